//! A byzantine peer against a real portal: each lie, forgery or flood ends its session only,
//! by a named fault, and nothing of it is stored; an honest node's session goes on.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod documents;
mod floods;
mod forgeries;
mod frames;
mod liar;
mod peer;
mod references;
mod scene;
mod writers;
