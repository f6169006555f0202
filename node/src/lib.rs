//! Placeholder while the rooms are drawn.

pub mod transport;
pub mod committer;
pub mod truth;
