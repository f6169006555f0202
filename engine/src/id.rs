//! Names of things: peers, writers' logs, documents, blobs.
//!
//! Every name is derived from what it names, so two processes that have never
//! met agree on it. None can be made from thin air: a [`PeerId`] needs a public
//! key, a [`LogId`] needs a peer and an incarnation, a [`BlobHash`] needs bytes.
//! Tenants are named by [`VatNumber`], which lives with the domain rules.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use fatturapa::VatNumber;

/// The intermediary's own space: accounts, and what was decided about customers. Nobody can be
/// admitted to it, so that only portals ever hold it (see [`crate::grant`]).
pub const OFFICE: VatNumber = VatNumber::UNASSIGNED;

/// SHA-256 of a certificate's SubjectPublicKeyInfo in DER: the name of a peer and
/// hence its **pin** (RFC 7469 section 2.4; the same value as `curl --pinnedpubkey`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PeerId([u8; 32]);

impl PeerId {
    /// The peer that holds the key whose SubjectPublicKeyInfo (DER) is `spki`.
    #[must_use]
    pub fn of_spki(spki: &[u8]) -> Self {
        Self(Sha256::digest(spki).into())
    }

    /// Parses 64 hexadecimal digits, as `certgen inspect` prints them.
    ///
    /// # Errors
    /// [`HexError`] when the text is not 64 hexadecimal digits.
    pub fn parse_hex(text: &str) -> Result<Self, HexError> {
        parse_hex(text).map(Self)
    }

    /// The raw digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A random number drawn when a store is opened for writing. A writer numbers its
/// bundles 1, 2, 3.. within one incarnation, so that a store restored from an old
/// backup can never use a number twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation(pub [u8; 16]);

/// Names one writer log: one peer's one incarnation. Also the Automerge actor id of
/// every change in that log, which ties authorship inside a document to a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogId([u8; 16]);

impl LogId {
    /// The log that `writer` keeps in `incarnation`: the first 16 bytes of
    /// `SHA-256("staffetta log 1" || writer || incarnation)`.
    #[must_use]
    pub fn derive(writer: &PeerId, incarnation: &Incarnation) -> Self {
        let digest = Sha256::new()
            .chain_update(b"staffetta log 1")
            .chain_update(writer.0)
            .chain_update(incarnation.0)
            .finalize();
        Self(first_16(&digest))
    }

    /// Reads a log id from a store key or an Automerge actor id.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The raw name, as it stands in store keys and actor ids.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// A bundle's number within its log, from 1. Zero means "nothing yet".
pub type Seq = u64;

/// SHA-256 of an original file's bytes: the name of a blob.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlobHash([u8; 32]);

impl BlobHash {
    /// Names `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Reads a name from a store key or a document; whether any bytes answer to it is
    /// for the store to say.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The raw digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A large file as one bundle cut it: SHA-256 over its hash, its length and the names of its
/// chunks. Chunks are asked for and stored under it and not under the file's hash, so that a
/// bundle that names a file and lies about its chunks touches only its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CutHash([u8; 32]);

impl CutHash {
    /// Names the file `hash` of `len` bytes, cut into `chunks`.
    #[must_use]
    pub fn of(hash: &BlobHash, len: u64, chunks: &[[u8; 32]]) -> Self {
        let mut digest = Sha256::new_with_prefix(hash.0);
        digest.update(len.to_be_bytes());
        chunks.iter().for_each(|chunk| digest.update(chunk));
        Self(digest.finalize().into())
    }

    /// The raw digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The kind of a document decides who may write it (see [`crate::grant`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Kind {
    /// The tenant's identifiers and addresses, checked by the customer.
    Profile = 1,
    /// The contract of intermediation, one per VAT number.
    Contract = 2,
    /// What an invoice says: written once, never changed.
    Invoice = 3,
    /// What the SdI said about an invoice: add only.
    Outcome = 4,
    /// The ERP's own marks on an invoice: registered, paid, notes.
    Annotation = 5,
    /// A person who may enter through the portal's door. In the [`OFFICE`] only.
    Account = 6,
    /// What the intermediary decided about a customer. In the [`OFFICE`] only.
    Customer = 7,
}

impl Kind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Profile,
        Self::Contract,
        Self::Invoice,
        Self::Outcome,
        Self::Annotation,
        Self::Account,
        Self::Customer,
    ];

    /// Whether documents of this kind stand in the [`OFFICE`], where all others do not.
    #[must_use]
    pub const fn is_office(self) -> bool {
        matches!(self, Self::Account | Self::Customer)
    }

    /// The kind a document id's first byte names, or `None` for one this version does not know.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Names a document inside a tenant's space: one byte of [`Kind`], 15 bytes that the
/// documents about one invoice share. So the outcome of an invoice can be found, and
/// written by either portal, without asking anyone what it is called.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DocumentId([u8; 16]);

impl DocumentId {
    /// The invoice whose original file is `original`. The same file is the same
    /// document whoever files it, so filing twice (a crash, both portals) is harmless.
    #[must_use]
    pub fn invoice(original: &BlobHash) -> Self {
        let mut id = [0; 16];
        id[0] = Kind::Invoice as u8;
        id[1..].copy_from_slice(&original.0[..15]);
        Self(id)
    }

    /// The tenant's one document of `kind` (profile, contract).
    #[must_use]
    pub fn single(kind: Kind) -> Self {
        let mut id = [0; 16];
        id[0] = kind as u8;
        Self(id)
    }

    /// The document of `kind` about whoever is called `name`: a user, a VAT number.
    #[must_use]
    pub fn named(kind: Kind, name: &str) -> Self {
        let digest = Sha256::new()
            .chain_update(b"staffetta name 1")
            .chain_update([kind as u8])
            .chain_update(name.as_bytes())
            .finalize();
        let mut id = [0; 16];
        id[0] = kind as u8;
        id[1..].copy_from_slice(&digest[..15]);
        Self(id)
    }

    /// The document of another kind about the same invoice.
    #[must_use]
    pub fn sibling(&self, kind: Kind) -> Self {
        let mut id = self.0;
        id[0] = kind as u8;
        Self(id)
    }

    /// How much the documents about one invoice share of their ids: all but the kind.
    pub const ABOUT_BYTES: usize = 15;

    /// What the documents about one invoice share of their ids.
    #[must_use]
    pub fn about(&self) -> [u8; Self::ABOUT_BYTES] {
        let [_, about @ ..] = self.0;
        about
    }

    /// Reads an id from a store key or a bundle. Its kind may be unknown: see [`Self::kind`].
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The kind, or `None` when a newer version made this document.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        Kind::from_byte(self.0[0])
    }

    /// The raw id, as it stands in store keys.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// A text that is not the hexadecimal form of a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hexadecimal digits, found {0:?}")]
pub struct HexError(String);

fn parse_hex(text: &str) -> Result<[u8; 32], HexError> {
    let bad = || HexError(text.chars().take(80).collect());
    let text = text.trim();
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(bad());
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| bad())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| bad())?;
    }
    Ok(bytes)
}

fn first_16(digest: &[u8]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// `Display` is the whole name in hexadecimal; `Debug` its first four bytes, enough to
/// follow one peer or document through a log.
macro_rules! names {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}(", stringify!($name))?;
                write_hex(f, &self.0[..4])?;
                f.write_str("..)")
            }
        }
    )*};
}
names!(PeerId, Incarnation, LogId, BlobHash, CutHash, DocumentId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_reads_back_from_its_hexadecimal_form() {
        let peer = PeerId::of_spki(b"a public key");
        assert_eq!(PeerId::parse_hex(&peer.to_string()), Ok(peer));
        assert!(PeerId::parse_hex("12ab").is_err());
        assert!(PeerId::parse_hex(&"zz".repeat(32)).is_err());
    }

    #[test]
    fn documents_about_one_invoice_share_a_name_but_for_the_kind() {
        let invoice = DocumentId::invoice(&BlobHash::of(b"<xml/>"));
        let outcome = invoice.sibling(Kind::Outcome);
        assert_eq!(outcome.kind(), Some(Kind::Outcome));
        assert_eq!(outcome.sibling(Kind::Invoice), invoice);
        assert_eq!(DocumentId::from_bytes([200; 16]).kind(), None);
    }

    #[test]
    fn the_office_is_named_by_a_number_that_parses() {
        assert_eq!(VatNumber::parse(&OFFICE.to_string()), Ok(OFFICE));
        assert_eq!(OFFICE.to_string(), "00000010009");
    }

    #[test]
    fn another_incarnation_is_another_log() {
        let peer = PeerId::of_spki(b"a public key");
        let (one, two) = (Incarnation([1; 16]), Incarnation([2; 16]));
        assert_ne!(LogId::derive(&peer, &one), LogId::derive(&peer, &two));
    }
}
