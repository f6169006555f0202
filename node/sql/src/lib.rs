//! SQL for the ERP: one tenant's rows in a SQLite file, read over the PostgreSQL wire.
//!
//! The parts, from the file to the client: [`table`] says what there is, [`shelf`] keeps it,
//! [`reader`] reads it within bounds, [`translate`] turns PostgreSQL's SQL into SQLite's with its
//! types, [`session`](self) speaks the protocol, [`server`] listens. It knows nothing of
//! documents, the engine or the mirror: whoever fills the shelf and knows the users does
//! ([`server::House`], [`reader::Outside`]).
//!
//! Nothing can be written here. There is no path from a client's text to SQLite but through the
//! translator, and SQLite itself refuses all but reading.
#![forbid(unsafe_code)]

mod auth;
mod catalog;
mod clock;
mod cursor;
pub mod error;
mod flight;
mod functions;
mod queue;
pub mod reader;
pub mod server;
mod session;
pub mod shelf;
mod statement;
pub mod table;
pub mod translate;
pub mod ty;
mod wire;

pub use rusqlite::types::Value;
