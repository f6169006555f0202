//! Issues the pinned identities of nodes and portals.
//!
//! An identity is an ECDSA P-256 key and a certificate for it; peers know each other by
//! the **pin**, the SHA-256 of the certificate's public key. This crate makes keys and
//! certificates, reads them, and keeps the ledger of what was issued, renewed and
//! revoked. It never opens a socket, never admits or refuses a peer (that is
//! `engine::grant`), and nothing else in the house makes keys.
//!
//! ```
//! use certgen::{Authority, Existing, Moment, Options, inspect};
//! use engine::id::VatNumber;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let mut authority = Authority::open_or_create(&folder.path().join("ca"), Moment::now())?;
//! let issued = authority.issue_node(VatNumber::parse("02038490237")?, Options::default())?;
//! issued.write(folder.path(), Existing::Refuse)?;
//!
//! let read = inspect(&std::fs::read(folder.path().join("02038490237.cert"))?)?;
//! assert_eq!(read.peer, issued.peer());
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod authority;
mod certificate;
mod files;
mod inspect;
mod issued;
mod key;
mod ledger;
mod moment;
mod p12;
mod request;
mod subject;
mod words;

pub use authority::{
    AUTHORITY_CERT_FILE, AUTHORITY_KEY_FILE, Authority, AuthorityError, DAYS_DEFAULT, DAYS_MIN,
    Options,
};
pub use certificate::CertificateError;
pub use files::{Batch, Existing, FileError, read as read_file, refuse_existing};
pub use inspect::{Form, INPUT_BYTES_MAX, Inspection, ReadError, inspect};
pub use issued::{Certified, Issued, set_aside};
pub use key::{KeyError, PrivateKey, PublicKey, Secret, curl_pin};
pub use ledger::{
    Book, CertificateRecord, Entry, Event, LEDGER_FILE, Ledger, LedgerError, REVOKED_FILE,
    Revocation, Standing,
};
pub use moment::{Moment, MomentError, Validity};
pub use p12::{P12Error, Password, Strength, pack as pack_p12};
pub use request::Request;
pub use subject::{Host, NameError, PortalName, Subject};
pub use words::{WORD_COUNT, Words, WordsError};
