//! What the benches, tests and the demo share.

pub mod demo;
pub mod end;
pub mod figures;
pub mod guest;
pub mod link;
pub mod packaged;
pub mod ports;
pub mod welcome;
pub mod workload;
