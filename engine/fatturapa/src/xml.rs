//! XML as strangers send it, opened within limits. Never resolves an entity beyond the five of XML,
//! never reads a DTD, never follows a reference.

mod canonical;
mod encoding;
mod scan;
mod tree;

pub use self::encoding::{Decoded, Encoding, decode};
pub use self::scan::XmlError;
pub use self::tree::{Attribute, Element, Tree};

pub(crate) use self::canonical::{Mode, canonical};
pub(crate) use self::scan::{is_ncname, is_space};
