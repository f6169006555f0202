//! Placeholder while the rooms are drawn.
