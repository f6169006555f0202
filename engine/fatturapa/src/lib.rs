//! FatturaPA and SdI: parse, judge, explain. Pure: no file, clock or network.

pub mod id;

pub use id::VatNumber;
