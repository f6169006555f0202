//! The portal's pages, asked over TLS by a browser with a certificate.
#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]

mod bounds;
mod browser;
mod described;
mod invoices;
mod letters;
mod matrix;
mod onboarding;
mod people;
mod pilots;
#[path = "../../../benches/src/ports.rs"]
mod ports;
mod replication;
mod signing;
mod tools;
mod town;
