//! The replication engine of Staffetta: inputs in, effects out.
#![forbid(unsafe_code)]

pub mod id;
pub mod limits;
pub mod store;
pub mod time;
