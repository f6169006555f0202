//! A reader's place in a tenant's changes, which survives restarts and a mirror built anew.
//!
//! The mirror lists each document once, where it last changed, so a reader that was away for a
//! month meets every document that changed since, once. A [`Cursor`] is a position in the feed of
//! the truth, which the mirror shares, and a digest of the set of bundles up to there. Positions
//! mean something only together with what lies before them: where the truth was restored from a
//! backup, was fetched anew, or lost bundles to a revocation, the digest differs, and the reader is
//! told to begin again instead of missing something. Nothing of this is stored: it is derived.

use std::{
    collections::BTreeMap,
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use engine::{
    archive::{self, ReadError},
    id::VatNumber,
    store::Store,
};
use tokio::sync::watch;

use crate::mirror::{Change, Mirror, MirrorError};

/// Feed rows between two places whose digest is remembered: what one question may have to read
/// again, and 16 bytes each in memory.
const STRIDE: usize = 1024;

/// A place between two changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Position in the feed: everything up to it was seen.
    pub position: u64,
    digest: u64,
}

impl Cursor {
    /// Before the first change.
    pub const START: Self = Self { position: 0, digest: 0 };
    /// A place that is in no feed: its reader is told to begin again.
    pub const NOWHERE: Self = Self { position: u64::MAX, digest: 0 };

    /// At `position`, where the fingerprints of what lies before it sum up to `digest`
    /// ([`archive::feed_digest`]).
    #[must_use]
    pub const fn new(position: u64, digest: u64) -> Self {
        Self { position, digest }
    }

    /// The sum of the fingerprints of the bundles before it.
    #[must_use]
    pub const fn digest(&self) -> u64 {
        self.digest
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.position.to_be_bytes(), self.digest.to_be_bytes()].concat();
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Cursor {
    type Err = FeedError;
    fn from_str(text: &str) -> Result<Self, FeedError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| FeedError::NotACursor)?;
        let bytes: [u8; 16] = bytes.try_into().map_err(|_| FeedError::NotACursor)?;
        let number = |at: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[at..at + 8]);
            u64::from_be_bytes(number)
        };
        Ok(Self { position: number(0), digest: number(8) })
    }
}

/// What lies after a cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The changes, each with the cursor after it. Changes at one position share theirs.
    pub changes: Vec<(Change, Cursor)>,
    /// Where to go on.
    pub next: Cursor,
    /// Whether there is more at once.
    pub more: bool,
}

/// One tenant's changes.
pub struct Feed {
    tenant: VatNumber,
    store: Arc<dyn Store>,
    mirror: Arc<Mirror>,
    rebuilds: watch::Receiver<BTreeMap<VatNumber, u64>>,
    known: Mutex<Known>,
}

/// Digests at some positions, until bundles leave the truth.
#[derive(Default)]
struct Known {
    rebuilds: u64,
    digests: BTreeMap<u64, u64>,
}

impl Feed {
    /// The changes of `tenant`. `rebuilds` counts how often bundles left the truth.
    #[must_use]
    pub fn new(
        tenant: VatNumber,
        store: Arc<dyn Store>,
        mirror: Arc<Mirror>,
        rebuilds: watch::Receiver<BTreeMap<VatNumber, u64>>,
    ) -> Self {
        Self { tenant, store, mirror, rebuilds, known: Mutex::default() }
    }

    /// Up to about `limit` changes after `cursor`. Blocks.
    ///
    /// # Errors
    /// [`FeedError::Lost`] when the reader must begin again.
    pub fn after(&self, cursor: Cursor, limit: usize) -> Result<Page, FeedError> {
        self.admit(cursor)?;
        let shown = self.mirror.position(self.tenant)?;
        let mut changes = self.mirror.changes_after(self.tenant, cursor.position, limit)?;
        // What came in between moves on and is met later.
        let read = changes.len();
        changes.retain(|change| change.position <= shown);
        let more = read >= limit && changes.len() == read;
        let end = match changes.last() {
            Some(last) if more => last.position,
            _ => shown.max(cursor.position),
        };
        let mut positions: Vec<_> = changes.iter().map(|change| change.position).collect();
        positions.push(end);
        let digests = self.digests(&positions)?;
        let at = |place: usize| Cursor { position: positions[place], digest: digests[place] };
        let next = at(positions.len() - 1);
        let changes = changes.into_iter().enumerate().map(|(n, change)| (change, at(n))).collect();
        Ok(Page { changes, next, more })
    }

    /// The cursor after all that the mirror shows. Blocks.
    ///
    /// # Errors
    /// [`FeedError`]
    pub fn latest(&self) -> Result<Cursor, FeedError> {
        let position = self.mirror.position(self.tenant)?;
        let digest = self.digests(&[position])?[0];
        Ok(Cursor { position, digest })
    }

    /// Refuses a cursor whose past is not ours.
    fn admit(&self, cursor: Cursor) -> Result<(), FeedError> {
        let digest = self.digests(&[cursor.position])?[0];
        if digest == cursor.digest { Ok(()) } else { Err(FeedError::Lost) }
    }

    /// The digests at `positions`, which ascend.
    fn digests(&self, positions: &[u64]) -> Result<Vec<u64>, FeedError> {
        // What is not shown yet may still be taken back, and is not remembered.
        let shown = self.mirror.position(self.tenant)?;
        let rebuilds = self.rebuilds.borrow().get(&self.tenant).copied().unwrap_or(0);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.rebuilds != rebuilds {
            *known = Known { rebuilds, digests: BTreeMap::new() };
        }
        let mut found = Vec::with_capacity(positions.len());
        let first = positions.first().copied().unwrap_or(0);
        let before = known.digests.range(..=first).next_back();
        let (mut position, mut digest) = before.map_or((0, 0), |(at, digest)| (*at, *digest));
        let mut wanted = positions.iter().copied().peekable();
        while wanted.peek().is_some() {
            let rows = archive::feed(&*self.store, self.tenant, position, STRIDE)?;
            for (at, log, seq) in &rows {
                while wanted.next_if(|wanted| wanted < at).is_some() {
                    found.push(digest);
                }
                digest = digest.wrapping_add(archive::fingerprint(log, *seq));
                position = *at;
            }
            if rows.len() < STRIDE {
                // At the end of what is there, or beyond it: a position beyond is a lost cursor,
                // unless nothing was ever there.
                found.extend(
                    wanted.by_ref().map(
                        |wanted| {
                            if wanted <= position { digest } else { digest ^ wanted }
                        },
                    ),
                );
            } else if position <= shown {
                known.digests.insert(position, digest);
            }
        }
        Ok(found)
    }
}

/// Why the feed does not answer.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// Not a cursor of ours.
    #[error("this is not a cursor: give one back as it was received")]
    NotACursor,
    /// Its past is not what is here.
    #[error("the archive was restored or corrected since this cursor was given: begin again")]
    Lost,
    /// The truth cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The mirror does not answer.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
}
