//! FatturaPA and SdI: read, judge, explain every invoice and every message. Pure: no file, clock,
//! network or randomness; the time of reception is an argument. What comes in is never altered.

mod ber;
mod certificate;
pub mod check;
pub mod date;
pub mod envelope;
pub mod id;
pub mod invoice;
pub mod judge;
pub mod limits;
pub mod messages;
pub mod schema;
pub mod signature;
pub mod state;
pub mod view;
pub mod xml;

pub use date::Date;
pub use id::VatNumber;
