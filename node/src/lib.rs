//! Placeholder while the rooms are drawn.

pub mod transport;
