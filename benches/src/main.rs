//! Placeholder while the rooms are drawn.
fn main() {}
