//! The intermediary's portal: a node with doors. It adds who may come in and what the SdI
//! brings; replication is the node's, unchanged.
#![forbid(unsafe_code)]

pub mod books;
pub mod config;
pub mod contract;
pub mod door;
pub mod enactor;
pub mod firsts;
pub mod lag;
pub mod lang;
pub mod network;
pub mod office;
pub mod onboarding;
pub mod pades;
pub mod pages;
pub mod portal;
pub mod post;
pub mod records;
pub mod sdi;
pub mod service;
pub mod spaces;
