//! The customer's node: carries an engine's effects out.
//!
//! [`host`] is the loop; [`transport`] the connections; [`truth`] and [`committer`] the
//! durable store. Nothing here decides who may do what or what is sent: that is the engine's.
#![forbid(unsafe_code)]

pub mod committer;
pub mod config;
pub mod host;
pub mod intake;
pub mod spool;
pub mod transport;
pub mod truth;
