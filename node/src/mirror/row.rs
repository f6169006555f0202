//! Keys and rows of one tenant's tree, each row with a checksum over key and value.
//!
//! | key | row | is |
//! | --- | --- | --- |
//! | `h` | position, number of records, digest | what the tree reflects |
//! | `r`, document | position, 1, record; or position, 0 | a record, or that there is none now |
//! | `c`, position, document | nothing | the change feed |
//!
//! All in one tree, because a sled batch is atomic within one tree only. A checksum is the
//! first eight bytes of SHA-256: it meets damage, not malice.

use engine::id::DocumentId;
use ring::digest::{Context, SHA256};

use super::Damage;

const CHECK: usize = 8;

pub(super) const HEAD: &[u8] = b"h";
pub(super) const RECORD: u8 = b'r';
pub(super) const CHANGE: u8 = b'c';

/// What a tree reflects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// Position in the truth's feed.
    pub(super) position: u64,
    /// Documents that have a record.
    pub(super) records: u64,
    /// Which bundles lie before the position.
    pub(super) digest: u64,
}

impl Head {
    pub(super) fn seal(self) -> Vec<u8> {
        let Self { position, records, digest } = self;
        seal(HEAD, &[position, records, digest].map(u64::to_be_bytes).each_ref().map(|n| &n[..]))
    }

    pub(super) fn open(row: &[u8]) -> Result<Self, Damage> {
        let damage = Damage::Row("the position");
        let Some(value) = unseal(HEAD, row) else { return Err(damage) };
        match (number(value, 0), number(value, 8), number(value, 16)) {
            (Some(position), Some(records), Some(digest)) if value.len() == 24 => {
                Ok(Self { position, records, digest })
            }
            _ => Err(damage),
        }
    }
}

/// A document's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// Where it last changed.
    pub(super) position: u64,
    /// Its record, if it has one.
    pub(super) record: Option<&'a [u8]>,
}

impl<'a> Entry<'a> {
    pub(super) fn seal(self, key: &[u8]) -> Vec<u8> {
        let there = [u8::from(self.record.is_some())];
        seal(key, &[&self.position.to_be_bytes(), &there, self.record.unwrap_or_default()])
    }

    pub(super) fn open(key: &[u8], row: &'a [u8]) -> Result<Self, Damage> {
        let damage = Damage::Row("a record");
        let Some(value) = unseal(key, row) else { return Err(damage) };
        match (number(value, 0), value.get(8), value.get(9..)) {
            (Some(position), Some(0), Some([])) => Ok(Self { position, record: None }),
            (Some(position), Some(1), Some(record)) => Ok(Self { position, record: Some(record) }),
            _ => Err(damage),
        }
    }
}

pub(super) fn record_key(document: DocumentId) -> [u8; 17] {
    let mut key = [RECORD; 17];
    key[1..].copy_from_slice(document.as_bytes());
    key
}

pub(super) fn change_key(position: u64, document: DocumentId) -> [u8; 25] {
    let mut key = [CHANGE; 25];
    key[1..9].copy_from_slice(&position.to_be_bytes());
    key[9..].copy_from_slice(document.as_bytes());
    key
}

pub(super) fn open_change(key: &[u8], row: &[u8]) -> Result<(u64, DocumentId), Damage> {
    let position = number(key, 1);
    let document = key.get(9..).and_then(|id| <[u8; 16]>::try_from(id).ok());
    match (unseal(key, row), position, document) {
        (Some([]), Some(position), Some(document)) => {
            Ok((position, DocumentId::from_bytes(document)))
        }
        _ => Err(Damage::Row("a change")),
    }
}

pub(super) fn record_document(key: &[u8]) -> Result<DocumentId, Damage> {
    let id = key.get(1..).and_then(|id| <[u8; 16]>::try_from(id).ok());
    id.map(DocumentId::from_bytes).ok_or(Damage::Row("a record's key"))
}

/// A row: the checksum, then the parts.
pub(super) fn seal(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut row = vec![0; CHECK];
    row.reserve_exact(length);
    for part in parts {
        row.extend_from_slice(part);
    }
    let check = checksum(key, &row[CHECK..]);
    row[..CHECK].copy_from_slice(&check);
    row
}

/// The value of a row, if it is what was sealed under `key`.
pub(super) fn unseal<'a>(key: &[u8], row: &'a [u8]) -> Option<&'a [u8]> {
    let (check, value) = row.split_first_chunk::<CHECK>()?;
    (*check == checksum(key, value)).then_some(value)
}

fn checksum(key: &[u8], value: &[u8]) -> [u8; CHECK] {
    let mut context = Context::new(&SHA256);
    // Keys differ in length by their first byte, so key and value cannot run into each other.
    context.update(key);
    context.update(value);
    let mut check = [0; CHECK];
    check.copy_from_slice(&context.finish().as_ref()[..CHECK]);
    check
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_be_bytes(*bytes))
}
