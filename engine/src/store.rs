//! The seam to durable storage: what the truth needs of a store, and nothing of what a store is.
//!
//! A [`Store`] keeps ordered byte keys in a few [`Table`]s. Its contract, which the
//! conformance suite checks on every implementation:
//!
//! * [`Store::apply`] is atomic: after a crash all of a batch is there or none of it.
//! * What was applied is visible to every later read at once, durable or not.
//! * When [`Store::barrier`] returns `Ok`, everything applied before the call survives
//!   loss of power. Batches become durable in the order they were applied.
//! * A failed `apply` changes nothing. After a failed `barrier` nothing may be
//!   acknowledged until a later one succeeds, and whoever applied what it should have covered
//!   applies it again: a store may have kept it or taken it back, each batch whole.
//! * No call panics, whatever the files hold.
//!
//! A store does not promise that a value read is the value written (no engine measured
//! detects a damaged value by itself): [`crate::archive`] checks every row it reads.

pub mod conformance;
pub mod memory;
mod value;

use std::ops::ControlFlow;

pub use value::Value;

/// The tables of the truth. Key layouts are in [`crate::archive`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// Bundles: the truth itself.
    Bundles = 0,
    /// Chunks of large blobs, and small blobs whole.
    Blobs = 1,
    /// Which bundles touch a document.
    Index = 2,
    /// Bundles in the order this replica took them: what readers follow.
    Feed = 3,
    /// One row a log: its tip and its writer.
    Tips = 4,
    /// Grants and revocations, so that opening does not read every bundle.
    Authority = 5,
    /// Bundles beyond a cut or a fork: kept, never counted.
    Quarantine = 6,
    /// Facts about this store itself: format version, last known vectors of peers.
    Meta = 7,
}

impl Table {
    /// All tables.
    pub const ALL: [Self; 8] = [
        Self::Bundles,
        Self::Blobs,
        Self::Index,
        Self::Feed,
        Self::Tips,
        Self::Authority,
        Self::Quarantine,
        Self::Meta,
    ];
}

/// One change to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Where.
    pub table: Table,
    /// The key.
    pub key: Vec<u8>,
    /// The new value, or `None` to remove the key.
    pub value: Option<Value>,
}

/// Writes that happen together or not at all, in order (a later write to a key wins).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The writes.
    pub writes: Vec<Write>,
}

impl Batch {
    /// Sets `key` to `value`.
    pub fn put(&mut self, table: Table, key: Vec<u8>, value: impl Into<Value>) {
        self.writes.push(Write { table, key, value: Some(value.into()) });
    }

    /// Removes `key`.
    pub fn remove(&mut self, table: Table, key: Vec<u8>) {
        self.writes.push(Write { table, key, value: None });
    }

    /// Bytes of keys and values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.writes.iter().map(|w| w.key.len() + w.value.as_ref().map_or(0, Value::len)).sum()
    }
}

/// Called with each key and value of a scan, in key order; `Break` ends the scan.
pub type Visitor<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Ordered, atomic, durable bytes. See the module's header for the contract.
pub trait Store: Send + Sync {
    /// The value at `key`.
    ///
    /// # Errors
    /// [`StoreError`]
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Visits the keys from `from` (included) up to `to` (excluded), ascending, as of one moment.
    ///
    /// # Errors
    /// [`StoreError`]
    fn scan(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        visit: Visitor<'_>,
    ) -> Result<(), StoreError>;

    /// The last key below `to` that is not below `from`, with its value.
    ///
    /// # Errors
    /// [`StoreError`]
    fn last(&self, table: Table, from: &[u8], to: &[u8]) -> Result<Option<Row>, StoreError>;

    /// Applies all writes or none. Visible at once, durable after the next [`Store::barrier`].
    ///
    /// # Errors
    /// [`StoreError::Full`] and others; nothing was changed.
    fn apply(&self, batch: Batch) -> Result<(), StoreError>;

    /// Makes everything applied so far durable.
    ///
    /// # Errors
    /// [`StoreError`]; durability is unknown, so acknowledge nothing.
    fn barrier(&self) -> Result<(), StoreError>;

    /// A reader met what cannot be, where no peer could mend one row: the store is to look at
    /// itself. One that cannot does nothing.
    fn doubt(&self, _why: &str) {}
}

/// What went wrong with the store. The host's business, never a peer's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No room, or the reserve was reached: reads go on, writes resume when there is room.
    #[error("the disk that holds {path} is full: free some space, work resumes by itself")]
    Full {
        /// The store's folder.
        path: String,
    },
    /// The files are there and make no sense.
    #[error("the store at {path} is damaged ({detail}): it is set aside and rebuilt from a portal")]
    Damaged {
        /// The store's folder.
        path: String,
        /// What the storage engine says.
        detail: String,
    },
    /// Another process has it open.
    #[error("the store at {path} is in use by another process: stop that one first")]
    InUse {
        /// The store's folder.
        path: String,
    },
    /// Written by a newer version.
    #[error(
        "the store at {path} has format {found}, this program knows up to {known}: use a newer one"
    )]
    Newer {
        /// The store's folder.
        path: String,
        /// Format version found.
        found: u32,
        /// Newest format version known.
        known: u32,
    },
    /// Written by a version whose rows mean something else.
    #[error(
        "the store at {path} has format {found}, this program reads {known}: move the folder away, \
         and what the portals hold of it is fetched again"
    )]
    Older {
        /// The store's folder.
        path: String,
        /// Format version found.
        found: u32,
        /// The format this program reads.
        known: u32,
    },
    /// Anything else the operating system says.
    #[error("the store at {path} cannot be used: {detail}")]
    Io {
        /// The store's folder.
        path: String,
        /// What the operating system says.
        detail: String,
    },
}
