//! Keeps the mirror equal to the truth: follows the feed, derives records, writes them with
//! the position they reflect.
//!
//! Whatever is wrong with the mirror (missing, damaged, behind, ahead of a truth that was
//! restored from a backup) has one cure, which is also how it is filled the first time:
//! derive it from the truth. A document that cannot be read becomes a record that says so;
//! a bundle that is damaged on disk is reported, fetched again from a peer, and waited for.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use engine::{
    archive::{self, ReadError},
    bundle::{Body, Item},
    id::{DocumentId, LogId, Seq, VatNumber},
    record::Record,
    store::Store,
};
use serde::{Deserialize, Serialize};
use tokio::{task::spawn_blocking, time::sleep};

use crate::{
    feed::Cursor,
    host::HostHandle,
    mirror::{Derived, Mirror, MirrorError},
};

/// Feed rows per batch: large enough that sled's own cost is shared, small enough that a
/// reader never waits long for the writer.
const BATCH_ROWS: usize = 256;
/// Pause after something went wrong.
const RETRY: Duration = Duration::from_secs(1);

/// Follows one tenant's feed.
#[derive(Clone)]
pub struct Projector {
    tenant: VatNumber,
    store: Arc<dyn Store>,
    mirror: Arc<Mirror>,
    /// Whether the mirror was found to stand on this truth, since the start.
    founded: Arc<AtomicBool>,
}

/// What a comparison of the mirror with the truth found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// Documents in the truth.
    pub documents: u64,
    /// Documents in the mirror.
    pub shown: u64,
    /// Documents of which the mirror says something else.
    pub differing: Vec<DocumentId>,
    /// Whether something was written meanwhile, so that differences may be of that moment.
    pub moved: bool,
}

impl Compared {
    /// Whether the mirror shows what the truth says.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.differing.is_empty() && self.documents == self.shown
    }
}

/// Why the mirror does not move on for now.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// The truth cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The mirror cannot be written.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
}

impl Projector {
    /// A projector of `tenant`'s space from `store` into `mirror`.
    #[must_use]
    pub fn new(tenant: VatNumber, store: Arc<dyn Store>, mirror: Arc<Mirror>) -> Self {
        Self { tenant, store, mirror, founded: Arc::default() }
    }

    /// Follows the host's feed until the host ends.
    pub async fn run(self, host: HostHandle) {
        let (mut fresh, mut rebuilds) = (host.fresh(), host.rebuilds());
        let mut rebuilt = 0;
        loop {
            let upto = fresh.borrow_and_update().get(&self.tenant).copied().unwrap_or(0);
            let wanted = rebuilds.borrow_and_update().get(&self.tenant).copied().unwrap_or(0);
            let anew = wanted != rebuilt;
            rebuilt = wanted;
            let this = self.clone();
            let step = spawn_blocking(move || {
                if anew {
                    this.mirror.clear(this.tenant)?;
                }
                this.follow(upto)
            });
            match step.await {
                Ok(Ok(())) => tokio::select! {
                    changed = fresh.changed() => if changed.is_err() { return },
                    changed = rebuilds.changed() => if changed.is_err() { return },
                },
                Ok(Err(error)) => {
                    tracing::warn!(tenant = %self.tenant, %error, "the mirror waits");
                    if let ProjectError::Read(error) = &error {
                        host.damaged(error);
                    }
                    if fresh.has_changed().is_err() {
                        return;
                    }
                    sleep(RETRY).await;
                }
                Err(_) => return,
            }
        }
    }

    /// Brings the mirror up to feed position `upto`, rebuilding it first if it must.
    ///
    /// # Errors
    /// [`ProjectError`]; what was done stays done.
    pub fn follow(&self, upto: u64) -> Result<(), ProjectError> {
        loop {
            match self.advance(upto) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(ProjectError::Mirror(MirrorError::Broken { why, .. })) => {
                    tracing::warn!(%why, "the mirror is rebuilt from the truth");
                    self.mirror.renew()?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Derives every document of the truth up to where the mirror stands and compares it with
    /// what the mirror shows. Blocks, and takes as long as building the mirror anew.
    ///
    /// # Errors
    /// [`ProjectError`]
    pub fn compare(&self) -> Result<Compared, ProjectError> {
        let upto = self.mirror.position(self.tenant)?;
        let mut seen = BTreeSet::new();
        let (mut position, mut differing) = (0, Vec::new());
        loop {
            let mut rows = archive::feed(&*self.store, self.tenant, position, BATCH_ROWS)?;
            rows.retain(|(at, _, _)| *at <= upto);
            let Some((last, _, _)) = rows.last().copied() else { break };
            position = last;
            for derived in self.records(&rows)? {
                let is_new = seen.insert(derived.document);
                let shown = self.mirror.get(self.tenant, derived.document)?;
                if is_new && shown != derived.record {
                    differing.push(derived.document);
                }
            }
        }
        // What changed while we looked is no difference once the mirror has followed.
        let moved = self.mirror.position(self.tenant)? != upto;
        let shown = self.mirror.count(self.tenant)?;
        let documents = seen.len() as u64;
        Ok(Compared { documents, shown: if moved { documents } else { shown }, differing, moved })
    }

    /// One batch. False when there is nothing more.
    fn advance(&self, upto: u64) -> Result<bool, ProjectError> {
        let at = self.mirror.cursor(self.tenant)?;
        if !self.is_founded(at, upto)? {
            tracing::warn!(tenant = %self.tenant, position = at.position, upto, "the truth is another than the mirror's: rebuilt");
            self.mirror.clear(self.tenant)?;
            return Ok(upto > 0);
        }
        let Cursor { position, .. } = at;
        let mut rows = archive::feed(&*self.store, self.tenant, position, BATCH_ROWS)?;
        rows.retain(|(at, _, _)| *at <= upto);
        let Some((last, _, _)) = rows.last().copied() else { return Ok(false) };
        let records = self.records(&rows)?;
        let prints = rows.iter().map(|(_, log, seq)| archive::fingerprint(log, *seq));
        let digest = prints.fold(at.digest(), u64::wrapping_add);
        self.mirror.apply(self.tenant, Cursor::new(last, digest), &records)?;
        Ok(true)
    }

    /// Whether what the mirror reflects is what the truth has before that position. A truth that
    /// was restored gives its positions to other bundles, and after a loss of power the mirror may
    /// be the one of before: so it is looked at once a start, and then followed.
    fn is_founded(&self, at: Cursor, upto: u64) -> Result<bool, ReadError> {
        if at.position > upto {
            return Ok(false);
        }
        if at.position > 0 && !self.founded.load(Ordering::Relaxed) {
            let digest = archive::feed_digest(&*self.store, self.tenant, (0, 0), at.position)?;
            if digest != at.digest() {
                return Ok(false);
            }
        }
        self.founded.store(true, Ordering::Relaxed);
        Ok(true)
    }

    /// The records of every document that these bundles touch.
    fn records(&self, rows: &[(u64, LogId, Seq)]) -> Result<Vec<Derived>, ReadError> {
        let mut touched: BTreeMap<DocumentId, (u64, Vec<Vec<u8>>)> = BTreeMap::new();
        for (at, log, seq) in rows {
            let stored = archive::bundle(&*self.store, self.tenant, log, *seq)?;
            let damaged = ReadError::Damaged { tenant: self.tenant, log: *log, seq: *seq };
            let body = Body::decode(&stored.body).map_err(|_| damaged)?;
            for item in body.items {
                if let Item::Change { document, change } = item {
                    let (changed_at, changes) = touched.entry(document).or_default();
                    *changed_at = *at;
                    changes.push(change);
                }
            }
        }
        let mut records = Vec::with_capacity(touched.len());
        for (document, (changed_at, mut changes)) in touched {
            // Most documents are one change in one bundle, which is at hand.
            let alone = changes.len() == 1
                && archive::index(&*self.store, self.tenant, &document)?.len() == 1;
            if !alone {
                changes = archive::changes(&*self.store, self.tenant, &document)?;
            }
            let record = Some(Record::derive(document, &changes).encode());
            records.push(Derived { document, changed_at, record });
        }
        Ok(records)
    }
}
