//! The replication engine of Staffetta: inputs in, effects out.
#![forbid(unsafe_code)]

pub mod archive;
pub mod bundle;
pub mod chunk;
pub mod document;
pub mod effect;
pub mod engine;
pub mod fault;
pub mod grant;
pub mod id;
pub mod limits;
pub mod log;
pub mod record;
pub mod route;
pub mod session;
pub mod store;
pub mod time;
pub mod vector;
pub mod wire;
