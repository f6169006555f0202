//! Stories of the transport on real loopback sockets: who gets in, what gets through, what a
//! stranger can do. Times here only guard against hanging.

// Helpers of tests unwrap too; clippy excuses only functions marked as tests.
#![allow(missing_docs, clippy::unwrap_used)]

mod frames;
mod hostile;
mod identities;
mod pins;
mod support;
