//! The mirror: every record of every tenant in sled, for the ERP to read.
//!
//! Derived and disposable. sled lost acknowledged writes in power-loss images, panics on
//! damaged files and does not notice a changed byte, so nothing here is ever acknowledged,
//! and every row carries a checksum. Each batch carries the position of the truth's feed it
//! reflects: after a loss the projector goes on from there. After damage the mirror says
//! [`MirrorError::Broken`] until [`Mirror::renew`] sets its folder aside; then the projector
//! fills an empty one from the truth.
//!
//! Readers follow changes with a cursor of their own: [`Mirror::changes_after`] lists each
//! document once, at the position where it last changed. The mirror never writes a document.

mod folder;
mod row;
mod tenant;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use engine::id::{DocumentId, VatNumber};
use sled::{Db, Tree};
use tokio::sync::watch;

pub use self::folder::FORMAT;
use self::folder::{Opened, guarded};
use crate::feed::Cursor;

/// Changes after which the mirror asks sled to write: bounds what a crash makes the
/// projector repeat, 0.2 s at its speed.
const FLUSH_CHANGES: usize = 4096;

/// Bounds of a [`Mirror`].
#[derive(Clone, Copy, Debug)]
pub struct MirrorOptions {
    /// Bytes of pages sled keeps in memory. Its own default is 1 GiB.
    pub cache_bytes: u64,
}

impl Default for MirrorOptions {
    fn default() -> Self {
        // Filling 20,000 records takes as long with 8 MiB as with 16, and 20 MB resident, not 23.
        Self { cache_bytes: 8 * 1024 * 1024 }
    }
}

/// One document of one tenant that changed, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Position in the tenant's feed: a reader that has seen it asks for what comes after.
    pub position: u64,
    /// The document. Its record may be gone.
    pub document: DocumentId,
}

/// A document's record as it is to stand in the mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derived {
    /// The document.
    pub document: DocumentId,
    /// Position of the last bundle that touched it. It is that of the feed and not of the batch,
    /// so a mirror built anew shows every change where a reader met it before.
    pub changed_at: u64,
    /// The record, encoded, or `None` where it has none any more.
    pub record: Option<Vec<u8>>,
}

/// The read side. See the module's header. One handle serves any number of readers and
/// one writer, the projector.
pub struct Mirror {
    dir: PathBuf,
    options: MirrorOptions,
    state: RwLock<State>,
    /// One batch at a time: a batch is made from what the one before left.
    writer: Mutex<()>,
    unflushed: AtomicUsize,
    renewals: AtomicUsize,
    clearings: Mutex<BTreeMap<VatNumber, usize>>,
    moved: watch::Sender<u64>,
}

enum State {
    Open { db: Db, trees: BTreeMap<VatNumber, Tree> },
    Broken { why: String },
}

impl Mirror {
    /// Opens the mirror in `dir`. One that cannot be read, or has another format, is renamed to
    /// `mirror.broken-<n>` beside it (the name is that of `dir`; one is kept) and an empty one
    /// takes its place: then the second value says why.
    ///
    /// # Errors
    /// [`MirrorError`] if another process has it, or not even an empty one can be made.
    pub fn open(dir: &Path, options: MirrorOptions) -> Result<(Self, Option<String>), MirrorError> {
        let (db, rebuilt) = match folder::open(dir, options.cache_bytes)? {
            Opened::Whole(db) => (db, None),
            Opened::Unusable(why) => {
                tracing::warn!(mirror = %dir.display(), %why, "set aside, it is rebuilt from the truth");
                folder::set_aside(dir)?;
                match folder::open(dir, options.cache_bytes)? {
                    Opened::Whole(db) => (db, Some(why)),
                    Opened::Unusable(why) => {
                        return Err(MirrorError::Io { path: display(dir), detail: why });
                    }
                }
            }
        };
        let mirror = Self {
            dir: dir.to_owned(),
            options,
            state: RwLock::new(State::Open { db, trees: BTreeMap::new() }),
            writer: Mutex::default(),
            unflushed: AtomicUsize::new(0),
            renewals: AtomicUsize::new(0),
            clearings: Mutex::default(),
            moved: watch::Sender::new(0),
        };
        Ok((mirror, rebuilt))
    }

    /// Sets the folder aside and starts an empty mirror, whether the old one was broken or not.
    /// Every position is 0 again.
    ///
    /// # Errors
    /// As [`Mirror::open`]; the mirror stays broken.
    pub fn renew(&self) -> Result<(), MirrorError> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let why = "it is being renewed".to_owned();
        self.replace(State::Broken { why });
        self.renewals.fetch_add(1, Ordering::Release);
        folder::set_aside(&self.dir)?;
        match folder::open(&self.dir, self.options.cache_bytes)? {
            Opened::Whole(db) => {
                self.replace(State::Open { db, trees: BTreeMap::new() });
                Ok(())
            }
            Opened::Unusable(why) => {
                self.replace(State::Broken { why: why.clone() });
                Err(MirrorError::Io { path: display(&self.dir), detail: why })
            }
        }
    }

    /// How often the tenant's records were begun anew since the mirror was opened, with the mirror or
    /// by themselves: what a reader keeps of them is worth nothing once this has grown, whatever the
    /// position says.
    #[must_use]
    pub fn renewals(&self, tenant: VatNumber) -> usize {
        self.renewals.load(Ordering::Acquire) + self.clearings(tenant)
    }

    /// How often all of the tenant was removed since the mirror was opened: from then on a position
    /// stands for something else.
    #[must_use]
    pub fn clearings(&self, tenant: VatNumber) -> usize {
        let clearings = self.clearings.lock().unwrap_or_else(PoisonError::into_inner);
        clearings.get(&tenant).copied().unwrap_or(0)
    }

    /// Makes `changes` and the place `at` that they lead to visible together. Positions only grow,
    /// and no change is beyond the position of its batch.
    ///
    /// # Errors
    /// [`MirrorError`]
    pub fn apply(
        &self,
        tenant: VatNumber,
        at: Cursor,
        changes: &[Derived],
    ) -> Result<(), MirrorError> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.with(tenant, |tree| tenant::apply(tree, at, changes))?;
        self.moved.send_modify(|count| *count += 1);
        let unflushed = self.unflushed.fetch_add(changes.len(), Ordering::Relaxed) + changes.len();
        if unflushed >= FLUSH_CHANGES { self.flush() } else { Ok(()) }
    }

    /// Removes all of a tenant: its grant ended, or its records are derived anew.
    ///
    /// # Errors
    /// [`MirrorError`]
    pub fn clear(&self, tenant: VatNumber) -> Result<(), MirrorError> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Open { trees, .. } = &mut *self.write_state() {
            trees.remove(&tenant);
        }
        let db = self.db()?;
        self.noted(guarded(|| Ok(db.drop_tree(tree_name(tenant)).map(|_| ())?)))?;
        // Behind the removal: who counts first and reads then has nothing of before.
        let mut clearings = self.clearings.lock().unwrap_or_else(PoisonError::into_inner);
        *clearings.entry(tenant).or_default() += 1;
        drop(clearings);
        self.moved.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Wakes whenever something changed, of whatever tenant.
    #[must_use]
    pub fn moved(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }

    /// Asks sled to write what it holds. Not a promise: see the module's header.
    ///
    /// # Errors
    /// [`MirrorError`]
    pub fn flush(&self) -> Result<(), MirrorError> {
        self.unflushed.store(0, Ordering::Relaxed);
        let db = self.db()?;
        self.noted(guarded(|| Ok(db.flush().map(|_| ())?)))
    }

    /// Position of the tenant's feed up to which the mirror is equal to the truth.
    ///
    /// # Errors
    /// [`MirrorError`]
    pub fn position(&self, tenant: VatNumber) -> Result<u64, MirrorError> {
        self.with(tenant, |tree| Ok(tenant::head(tree)?.position))
    }

    /// The same, with what the truth held up to there: one that was restored from a backup, or
    /// lost bundles to a revocation, gives its positions to others.
    ///
    /// # Errors
    /// [`MirrorError`]
    pub fn cursor(&self, tenant: VatNumber) -> Result<Cursor, MirrorError> {
        self.with(tenant, |tree| {
            let head = tenant::head(tree)?;
            Ok(Cursor::new(head.position, head.digest))
        })
    }

    /// How many documents of the tenant have a record.
    ///
    /// # Errors
    /// [`MirrorError`]
    pub fn count(&self, tenant: VatNumber) -> Result<u64, MirrorError> {
        self.with(tenant, |tree| Ok(tenant::head(tree)?.records))
    }

    /// A document's record.
    ///
    /// # Errors
    /// [`MirrorError`]
    pub fn get(
        &self,
        tenant: VatNumber,
        document: DocumentId,
    ) -> Result<Option<Vec<u8>>, MirrorError> {
        self.with(tenant, |tree| tenant::get(tree, document))
    }

    /// Up to `limit` records whose ids begin with `prefix` (a kind's byte, or nothing),
    /// in the order of ids, after `after`.
    ///
    /// # Errors
    /// [`MirrorError`]
    pub fn scan(
        &self,
        tenant: VatNumber,
        prefix: &[u8],
        after: Option<DocumentId>,
        limit: usize,
    ) -> Result<Vec<(DocumentId, Vec<u8>)>, MirrorError> {
        self.with(tenant, |tree| tenant::scan(tree, prefix, after, limit))
    }

    /// Documents that changed after `position`, each once, oldest change first: about `limit` of
    /// them, more where one position would be cut in two.
    ///
    /// # Errors
    /// [`MirrorError`]
    pub fn changes_after(
        &self,
        tenant: VatNumber,
        position: u64,
        limit: usize,
    ) -> Result<Vec<Change>, MirrorError> {
        self.with(tenant, |tree| tenant::changes_after(tree, position, limit))
    }

    /// Reads every row of the tenant and compares its checksum, and the number of records with
    /// what the mirror says it holds.
    ///
    /// # Errors
    /// [`MirrorError::Broken`] says what differs.
    pub fn check(&self, tenant: VatNumber) -> Result<(), MirrorError> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.with(tenant, tenant::check)
    }

    /// Bytes of the mirror's files.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        folder::disk_bytes(&self.dir)
    }

    /// Runs `call` on the tenant's tree. Its panic or error breaks the mirror.
    fn with<T>(
        &self,
        tenant: VatNumber,
        call: impl FnOnce(&Tree) -> Result<T, Damage>,
    ) -> Result<T, MirrorError> {
        let known = match &*self.read_state() {
            State::Open { trees, .. } => trees.get(&tenant).cloned(),
            State::Broken { .. } => None,
        };
        let tree = match known {
            Some(tree) => tree,
            None => {
                let db = self.db()?;
                let tree = self.noted(guarded(|| Ok(db.open_tree(tree_name(tenant))?)))?;
                if let State::Open { trees, .. } = &mut *self.write_state() {
                    trees.insert(tenant, tree.clone());
                }
                tree
            }
        };
        self.noted(guarded(|| call(&tree)))
    }

    fn db(&self) -> Result<Db, MirrorError> {
        match &*self.read_state() {
            State::Open { db, .. } => Ok(db.clone()),
            State::Broken { why } => Err(self.broken(why)),
        }
    }

    /// Marks the mirror broken if `result` says so.
    fn noted<T>(&self, result: Result<T, Damage>) -> Result<T, MirrorError> {
        result.map_err(|damage| {
            let why = damage.to_string();
            tracing::error!(mirror = %self.dir.display(), %why, "the mirror is broken");
            self.replace(State::Broken { why: why.clone() });
            self.broken(&why)
        })
    }

    fn broken(&self, why: &str) -> MirrorError {
        MirrorError::Broken { path: display(&self.dir), why: why.to_owned() }
    }

    fn replace(&self, state: State) {
        let before = std::mem::replace(&mut *self.write_state(), state);
        folder::close(before);
    }

    fn read_state(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_state(&self) -> std::sync::RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        if let Ok(db) = self.db() {
            let _ = guarded(|| Ok(db.flush().map(|_| ())?));
        }
    }
}

fn tree_name(tenant: VatNumber) -> [u8; 8] {
    tenant.as_u64().to_be_bytes()
}

fn display(dir: &Path) -> String {
    dir.display().to_string()
}

/// What is wrong inside sled or one of its rows: always a reason to rebuild.
#[derive(Debug, thiserror::Error)]
enum Damage {
    #[error("{0}")]
    Sled(#[from] sled::Error),
    #[error("sled panicked: {0}")]
    Panic(String),
    #[error("{0} does not match its checksum")]
    Row(&'static str),
    #[error("it holds {found} records and says {said}")]
    Count { found: u64, said: u64 },
}

/// Why the mirror does not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MirrorError {
    /// Something in it is damaged. Nothing is lost: it is renewed from the truth.
    #[error("the mirror at {path} is broken ({why}): it is rebuilt from the truth")]
    Broken {
        /// The mirror's folder.
        path: String,
        /// What was found.
        why: String,
    },
    /// Another process has it open.
    #[error("the mirror at {path} is in use by another process: stop that one first")]
    InUse {
        /// The mirror's folder.
        path: String,
    },
    /// The folder cannot be made, renamed or written.
    #[error("the mirror at {path} cannot be used: {detail}")]
    Io {
        /// The mirror's folder.
        path: String,
        /// What the operating system says.
        detail: String,
    },
}

#[cfg(test)]
mod tests;
