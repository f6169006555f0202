//! Real drivers against a real server: psql, psqlODBC through unixODBC, JDBC, psycopg 3 and 2;
//! and clients that no driver would be: bytes that are no messages, readers that never read.
//!
//! The programs are found on the PATH or where Debian puts them; one that is missing is a failure
//! that names its package, never a test that was not run. `make test` installs them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod drivers;
mod hostile;
mod house;
mod together;
