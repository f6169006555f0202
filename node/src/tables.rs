//! Keeps each tenant's tables for SQL equal to its mirror, and opens the door to them.
//!
//! A shelf ([`sql::shelf`]) follows the mirror's feed by a cursor of its own, as any reader
//! does. Records have the fields that people search for; lines, VAT rows, payments and
//! attachments are read from the original file, once, when the invoice comes. Like the mirror it
//! is derived and disposable: whatever is wrong with it has one cure, to fill an empty one.
//! Nothing here writes a document, and what happens here never holds up replication.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use engine::{
    archive::{self, ReadError},
    id::{BlobHash, DocumentId, Kind, VatNumber},
    record::Record,
    store::Store,
};
use sql::{
    reader::{Outside, Status},
    shelf::{Entry, Shelf, ShelfError},
};

use crate::{
    api::{query::hex, space::Space},
    feed::Cursor,
    mirror::{Mirror, MirrorError},
};

pub mod door;
pub(crate) mod rows;

/// Documents of one batch at most. One has all that waits, so that a reader sees an invoice a
/// moment after it came; of very many each page of the tables is written once and not often.
const BATCH: usize = 8192;
/// How often a shelf looks whether there is more.
const PAUSE: Duration = Duration::from_millis(200);
/// Pause after something went wrong.
const RETRY: Duration = Duration::from_secs(2);

/// One tenant's truth and mirror, and who knows how fresh they are.
pub struct Source {
    /// The P.IVA.
    pub tenant: VatNumber,
    store: Arc<dyn Store>,
    mirror: Arc<Mirror>,
    asked: Option<Asked>,
}

/// The space of the tenant, which is asked from threads that are none of the runtime's. SQL says
/// of freshness what HTTP says.
pub struct Asked {
    /// The space.
    pub space: Arc<Space>,
    /// The runtime it lives in.
    pub runtime: tokio::runtime::Handle,
}

impl Source {
    /// What a shelf is made from; nobody knows how fresh it is where nobody is asked, as in tests.
    #[must_use]
    pub fn new(
        tenant: VatNumber,
        store: Arc<dyn Store>,
        mirror: Arc<Mirror>,
        asked: Option<Asked>,
    ) -> Self {
        Self { tenant, store, mirror, asked }
    }

    /// Position of the truth's feed.
    fn durable(&self) -> Option<u64> {
        let fresh = self.asked.as_ref()?.space.host().fresh();
        fresh.borrow().get(&self.tenant).copied()
    }

    fn file(&self, document: DocumentId, hash: &BlobHash) -> Option<Vec<u8>> {
        archive::blob(&*self.store, self.tenant, &document, hash).ok().flatten()
    }
}

impl Outside for Source {
    fn original(&self, document: &str, sha256: &str) -> Option<Vec<u8>> {
        let hash = BlobHash::from_bytes(hex(sha256)?);
        if document == "contract" {
            return self.file(DocumentId::single(Kind::Contract), &hash);
        }
        let document = DocumentId::from_bytes(hex(document.get(..32)?)?);
        let outcome = document.sibling(Kind::Outcome);
        self.file(document, &hash).or_else(|| self.file(outcome, &hash))
    }

    fn attachment(&self, original: &[u8], body: usize, position: usize) -> Option<Vec<u8>> {
        let (body, place) = (body.checked_sub(1)?, position.checked_sub(1)?);
        fatturapa::invoice::attachment(original, body, place).ok()
    }

    fn status(&self) -> Status {
        let vat = self.tenant.to_string();
        let Some(Asked { space, runtime }) = &self.asked else {
            return Status { vat, ..Status::default() };
        };
        let status = runtime.block_on(space.status());
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        Status {
            vat,
            as_of: status.as_of.map(|at| whole(at).saturating_mul(1_000_000)),
            connected: status.portals.iter().any(|portal| portal.connected),
            pending: whole(status.queued),
            feed: self.durable().unwrap_or(0),
        }
    }
}

/// Keeps one shelf filled, in a thread of its own, until it is dropped.
#[derive(Debug)]
pub struct Filler {
    stop: Arc<AtomicBool>,
    position: Arc<AtomicU64>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Filler {
    /// Starts to fill the shelf at `path` from `source`.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub fn start(path: PathBuf, source: Arc<Source>) -> io::Result<Self> {
        let (stop, position) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let work = Work { path, source, stop: Arc::clone(&stop), position: Arc::clone(&position) };
        let thread = thread::Builder::new().name("sql tables".into()).spawn(move || work.run())?;
        Ok(Self { stop, position, thread: Some(thread) })
    }

    /// The position of the mirror's feed that the tables show.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position.load(Ordering::SeqCst)
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Work {
    path: PathBuf,
    source: Arc<Source>,
    stop: Arc<AtomicBool>,
    position: Arc<AtomicU64>,
}

/// Why the tables do not move on for now.
#[derive(Debug, thiserror::Error)]
enum FillError {
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    #[error(transparent)]
    Truth(#[from] ReadError),
    #[error("it is over")]
    Stopped,
}

impl Work {
    fn run(&self) {
        let mut clearings = 0;
        while !self.stop.load(Ordering::SeqCst) {
            let done = Shelf::open(&self.path)
                .map_err(FillError::from)
                .and_then(|mut shelf| self.follow(&mut shelf, &mut clearings));
            match done {
                Ok(()) | Err(FillError::Stopped) => return,
                Err(error) => {
                    let tenant = self.source.tenant;
                    tracing::warn!(%tenant, %error, "the tables for SQL wait");
                    self.rest(RETRY);
                }
            }
        }
    }

    fn follow(&self, shelf: &mut Shelf, clearings: &mut usize) -> Result<(), FillError> {
        let Source { tenant, mirror, store, .. } = &*self.source;
        let mut founded = false;
        while !self.stop.load(Ordering::SeqCst) {
            let (position, digest) = shelf.place()?;
            let at = Cursor::new(position, digest);
            self.position.store(position, Ordering::SeqCst);
            let cleared = mirror.clearings(*tenant);
            let shown = mirror.position(*tenant)?;
            // The mirror is behind while it is made anew, which changes nothing here; once it has
            // all there is and is still behind, what stands here came from another truth.
            let durable = self.source.durable();
            let complete = durable.is_none_or(|durable| shown >= durable);
            let mut foreign = cleared != *clearings || (shown < position && complete);
            // So did what stands here since before the start, perhaps: the process may have ended
            // between the mirror's clearing and this.
            if !founded && position <= durable.unwrap_or(shown) {
                founded = archive::feed_digest(&**store, *tenant, (0, 0), position)? == at.digest();
                foreign |= !founded;
            }
            if foreign {
                tracing::warn!(%tenant, "the tables for SQL are made anew");
                shelf.empty()?;
                *clearings = cleared;
                continue;
            }
            if !self.batch(shelf, at, shown)? {
                self.rest(PAUSE);
            }
        }
        Ok(())
    }

    /// One batch. False when there is nothing more.
    fn batch(&self, shelf: &mut Shelf, at: Cursor, shown: u64) -> Result<bool, FillError> {
        let Source { tenant, mirror, store, .. } = &*self.source;
        let mut changes = mirror.changes_after(*tenant, at.position, BATCH)?;
        let Some(last) = changes.last() else {
            if shown > at.position {
                shelf.apply::<FillError>((shown, self.digest(at, shown)?), [])?;
            }
            return Ok(false);
        };
        let upto = last.position;
        changes.sort_unstable_by_key(|change| change.document);
        let entries = changes.iter().map(|change| {
            if self.stop.load(Ordering::SeqCst) {
                return Err(FillError::Stopped);
            }
            let record = mirror.get(*tenant, change.document)?;
            let record = record.and_then(|bytes| Record::decode(&bytes).ok());
            let entry = record.map_or(Entry::Gone, |record| {
                let original = |hash: &BlobHash| {
                    archive::blob(&**store, *tenant, &change.document, hash).ok().flatten()
                };
                rows::entry(*tenant, change.document, &record, &original)
            });
            Ok((rows::key(change.document), entry))
        });
        shelf.apply((upto, self.digest(at, upto)?), entries)?;
        Ok(true)
    }

    /// The digest of what the truth holds up to `upto`, behind `at`.
    fn digest(&self, at: Cursor, upto: u64) -> Result<u64, ReadError> {
        let Source { tenant, store, .. } = &*self.source;
        archive::feed_digest(&**store, *tenant, (at.position, at.digest()), upto)
    }

    fn rest(&self, longest: Duration) {
        let end = Instant::now() + longest;
        while Instant::now() < end && !self.stop.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

#[cfg(test)]
mod tests;
