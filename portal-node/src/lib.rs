//! The intermediary's portal: a node with doors. It adds who may come in and what the SdI
//! brings; replication is the node's, unchanged.
#![forbid(unsafe_code)]

pub mod config;
pub mod sdi;
pub mod service;
