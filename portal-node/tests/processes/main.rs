//! Portals and nodes as real processes, and what may go wrong around them: files, keys,
//! configurations, grants, disks. Each gets one clear sentence, and everything else goes on.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod access;
mod apart;
mod chrome;
mod customer;
mod damaged;
mod disks;
mod files;
mod image;
mod killed;
mod power;
mod restored;
mod starting;
#[path = "../pages/tools.rs"]
mod tools;
mod town;
mod trace;
