//! The replication engine of Staffetta: inputs in, effects out.
#![forbid(unsafe_code)]

pub mod archive;
pub mod bundle;
pub mod chunk;
pub mod fault;
pub mod grant;
pub mod id;
pub mod limits;
pub mod store;
pub mod time;
pub mod vector;
pub mod wire;
