//! What the benches, tests and the demo share.

pub mod demo;
pub mod link;
