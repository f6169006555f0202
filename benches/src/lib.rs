//! What the benches, tests and the demo share.

pub mod link;
