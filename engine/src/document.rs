//! Automerge documents by kind: authored, merged and read.
//!
//! Every document here is **flat**: one map whose values are scalars. Nothing nests, so
//! there is nothing to walk, and what a stranger nests is not descended into. Each kind
//! has a file that says which keys it has: [`invoice`], [`outcome`], [`annotation`],
//! [`profile`], [`contract`], [`account`], [`customer`].
//!
//! What others wrote is read by [`flat`] alone, straight from the columns of changes that put
//! and delete scalars in the root map, which is all that this house writes. Anything else makes
//! the document odd: it is kept, passed on and shown as unreadable. Automerge encodes what is
//! written here and never sees a stranger's bytes: over some it panics while it unwinds from a
//! panic, and that ends a process. In tests it is the yardstick: both readers give one answer.
//!
//! It never reads a clock, draws a number or keeps a document between two calls: what is
//! stored is changes. Changes made here carry the time 0, since their bundle says when it
//! was written.
//!
//! Two portals note what the SdI said, neither having heard of the other:
//!
//! ```
//! use engine::document::outcome::{self, OutcomeEntry, Receipt};
//! use engine::id::{BlobHash, DocumentId, Kind, LogId};
//! use engine::record::{OutcomeState, Record};
//!
//! let (a, b) = (LogId::from_bytes([1; 16]), LogId::from_bytes([2; 16]));
//! let sent = OutcomeEntry::new(Receipt::Sent, "1234567890", 1_700_000_000_000);
//! let delivered = OutcomeEntry::new(Receipt::Delivered, "1234567890", 1_700_000_600_000);
//! let one = outcome::add(a, &[], &sent)?.expect("nothing stood there");
//! let two = outcome::add(b, &[], &delivered)?.expect("nothing stood there");
//!
//! let id = DocumentId::invoice(&BlobHash::of(b"<xml/>")).sibling(Kind::Outcome);
//! let record = Record::derive(id, &[two, one]);
//! let Record::Outcome(record) = record else { panic!("an outcome") };
//! assert_eq!(record.state, OutcomeState::Delivered);
//! # Ok::<(), engine::document::DocumentError>(())
//! ```

use std::collections::BTreeMap;

use crate::{
    chunk::{self, ChunkError, Header},
    id::LogId,
    limits,
};

pub mod account;
pub mod annotation;
mod author;
mod causal;
pub mod contract;
pub mod customer;
mod fields;
mod flat;
pub mod invoice;
pub mod outcome;
#[cfg(test)]
mod papers;
pub mod profile;
pub mod step;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod yardstick;

pub(crate) use author::author;
pub(crate) use fields::{Edit, Fields, Scalar, Version};

/// Bytes of changes one document may add up to: far more than the notes and receipts of an
/// invoice, few enough that loading them is a matter of milliseconds.
pub const DOCUMENT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Operations one document may add up to, for the same reason.
pub const DOCUMENT_OPS_MAX: u64 = 100_000;

/// A document that loaded: every change bounded, and every change applied.
#[derive(Clone, Debug)]
pub struct Doc<'a> {
    fields: Fields<'a>,
}

impl Doc<'_> {
    /// The document's keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(key, _)| key)
    }

    /// Every value that stands at `key`, as text, the winner first. More than one means that
    /// they were written without knowing of each other.
    #[must_use]
    pub fn conflicts(&self, key: &str) -> Vec<String> {
        self.fields.versions(key).iter().map(|version| version.value.to_string()).collect()
    }
}

/// Loads a document from its changes, in whatever order and however often they come.
///
/// # Errors
/// [`DocumentError`]; every one of them concerns this document only.
pub fn load<C: AsRef<[u8]>>(changes: &[C]) -> Result<Doc<'_>, DocumentError> {
    let merged = merge(&slices(changes))?;
    match merged.waiting.len() {
        0 => Ok(Doc { fields: merged.fields }),
        waiting => Err(DocumentError::MissingDependencies { waiting }),
    }
}

/// What a set of changes adds up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Merged<'a> {
    /// What stands in the root map.
    pub(crate) fields: Fields<'a>,
    /// The highest counter in use.
    pub(crate) max_op: u64,
    /// Changes, by place, that depend on a change which is not here.
    pub(crate) waiting: Vec<usize>,
}

/// Merges what is causally ready and says what waits. Bounds every change first.
pub(crate) fn merge<'a>(changes: &[&'a [u8]]) -> Result<Merged<'a>, DocumentError> {
    let headers = headers(changes)?;
    let order = causal::Order::of(changes, &headers);
    flat::merge(&headers, &order)
}

/// The changes as slices.
pub(crate) fn slices<C: AsRef<[u8]>>(changes: &[C]) -> Vec<&[u8]> {
    changes.iter().map(AsRef::as_ref).collect()
}

fn headers<'a>(changes: &[&'a [u8]]) -> Result<Vec<Header<'a>>, DocumentError> {
    if changes.len() > limits::DOCUMENT_CHANGES_MAX {
        return Err(DocumentError::TooLarge { what: "changes", found: changes.len() as u64 });
    }
    let bytes: usize = changes.iter().map(|change| change.len()).sum();
    if bytes > DOCUMENT_BYTES_MAX {
        return Err(DocumentError::TooLarge { what: "bytes", found: bytes as u64 });
    }
    let mut headers = Vec::with_capacity(changes.len());
    let mut ops = 0;
    for (index, change) in changes.iter().enumerate() {
        let header =
            chunk::bound(change).map_err(|source| DocumentError::Change { index, source })?;
        ops += header.ops();
        headers.push(header);
    }
    if ops > DOCUMENT_OPS_MAX {
        return Err(DocumentError::TooLarge { what: "operations", found: ops });
    }
    Ok(headers)
}

/// The highest sequence number of each actor.
fn seqs(headers: &[Header<'_>]) -> BTreeMap<[u8; 16], u64> {
    let mut seqs = BTreeMap::new();
    for header in headers {
        let seq = seqs.entry(header.actor).or_insert(0);
        *seq = header.seq.max(*seq);
    }
    seqs
}

/// Why a document cannot be read, or an edit not be made. Concerns one document, never the
/// process: whoever meets it sets that document aside and goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// A change is over a limit or malformed.
    #[error("change {index} of the document is refused: {source}")]
    Change {
        /// Its place among the changes given.
        index: usize,
        /// What is wrong with it.
        source: ChunkError,
    },
    /// More than a document may hold.
    #[error("document has {found} {what}, which is too many")]
    TooLarge {
        /// What is counted.
        what: &'static str,
        /// How many there are.
        found: u64,
    },
    /// Nothing stands in it.
    #[error("document is empty")]
    Empty,
    /// Some changes were made upon others that are not here.
    #[error("{waiting} changes depend on changes that have not arrived")]
    MissingDependencies {
        /// How many wait.
        waiting: usize,
    },
    /// A change is not one of puts and deletions in one map, or its parts do not fit together.
    #[error("change {number} of log {by} to the document is odd: {why}")]
    Odd {
        /// Who made it.
        by: LogId,
        /// Its number among that writer's changes to the document.
        number: u64,
        /// What is odd about it.
        why: &'static str,
    },
    /// A portal could not read it, and says why.
    #[error("the document is unreadable: {reason}")]
    Unreadable {
        /// What was found.
        reason: String,
    },
    /// A field that this kind of document must have is missing or of another type.
    #[error("document has no readable field {0:?}")]
    Field(&'static str),
}
