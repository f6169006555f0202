//! The replica of one writer's log in one space: how far it is held, what may follow.
//!
//! Two tips: **pending** is what has been handed to the store, **durable** what a barrier
//! has covered. New bundles chain on the pending tip; vectors and acknowledgements speak
//! of the durable one only.

use std::collections::{BTreeSet, VecDeque};

use crate::{
    archive::{Stored, Tip},
    bundle::{Body, ChainHash, Origin, Signature},
    fault::Fault,
    id::{Seq, VatNumber},
    limits,
    plant::{self, Bug},
    wire::{Received, Run},
};

/// A place in a log: a bundle's number and its hash.
pub type Place = (Seq, ChainHash);

/// One writer's log as this replica holds it.
#[derive(Clone, Debug)]
pub struct Log {
    tenant: VatNumber,
    origin: Origin,
    pending: Place,
    durable: Place,
    /// The last places before `pending`, so that a run that overlaps what we hold (a hedge,
    /// a reconnection) can be compared with it. Never empty.
    recent: VecDeque<Place>,
    forked: bool,
    /// Where in the tenant's feed its last bundle stands.
    position: u64,
    /// Bundles whose rows were found damaged and are being fetched again.
    damaged: BTreeSet<Seq>,
}

/// A bundle that may follow the pending tip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fresh {
    /// Its number.
    pub seq: Seq,
    /// Its row.
    pub stored: Stored,
    /// What it says.
    pub body: Body,
}

/// What a run whose signature verified means for this log.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    /// These follow.
    Fresh(Vec<Fresh>),
    /// All of it is here already.
    Known,
    /// Among it are these whose rows here were damaged; the second part follows, as above.
    Mends(Vec<Fresh>, Vec<Fresh>),
    /// Something before it is missing.
    Gap,
    /// The writer signed another past: proof against the writer, not the sender.
    Fork,
}

impl Log {
    /// A log of which nothing is held yet.
    #[must_use]
    pub fn new(tenant: VatNumber, origin: Origin) -> Self {
        Self::at(tenant, origin, (0, ChainHash::START), 0)
    }

    /// A log as the store has it.
    #[must_use]
    pub fn restored(tip: Tip) -> Self {
        Self::at(tip.tenant, tip.origin, (tip.seq, tip.hash), tip.position)
    }

    fn at(tenant: VatNumber, origin: Origin, place: Place, position: u64) -> Self {
        Self {
            tenant,
            origin,
            pending: place,
            durable: place,
            recent: VecDeque::from([place]),
            forked: false,
            position,
            damaged: BTreeSet::new(),
        }
    }

    /// Chains `body` after the pending tip. The caller signs the returned row's hash.
    pub fn append(&mut self, bytes: Vec<u8>, inline: Vec<u8>) -> (Seq, Stored) {
        let (seq, previous) = (self.pending.0 + 1, self.pending.1);
        let hash = previous.next(self.tenant, &self.origin.log(), seq, &bytes);
        self.advance((seq, hash));
        (seq, Stored { previous, hash, signature: None, body: bytes.into(), inline: inline.into() })
    }

    /// Judges an opened run. Nothing changes until [`Log::advance`].
    ///
    /// # Errors
    /// [`Fault::BadSignature`]: the sender altered it, or made it up.
    pub fn admit(&self, run: &Run, received: Vec<Received>) -> Result<Admission, Fault> {
        let log = self.origin.log();
        let mut hash = run.previous;
        let mut fork = self.contradicts((run.first - 1, hash));
        let (mut fresh, mut mends) = (Vec::new(), Vec::new());
        let count = received.len();
        for (n, Received { bytes, body, inline }) in received.into_iter().enumerate() {
            let seq = run.first + n as Seq;
            let previous = hash;
            hash = previous.next(self.tenant, &log, seq, &bytes);
            fork |= self.contradicts((seq, hash));
            let follows = seq > self.pending.0;
            if follows || self.damaged.contains(&seq) {
                let signature = (n + 1 == count).then_some(run.signature);
                let stored = Stored { previous, hash, signature, body: bytes, inline };
                let into = if follows { &mut fresh } else { &mut mends };
                into.push(Fresh { seq, stored, body });
            }
        }
        let good = self.origin.key.verifies(&hash, &run.signature);
        if !good && !plant::is(Bug::SignatureUnchecked) {
            return Err(Fault::BadSignature);
        }
        Ok(if (fork || self.forked) && !plant::is(Bug::ForkAccepted) {
            Admission::Fork
        } else if !mends.is_empty() {
            Admission::Mends(mends, fresh)
        } else if fresh.is_empty() {
            Admission::Known
        } else if run.first > self.pending.0 + 1 {
            Admission::Gap
        } else {
            Admission::Fresh(fresh)
        })
    }

    /// Moves the pending tip: the bundle at `place` was handed to the store.
    pub fn advance(&mut self, place: Place) {
        debug_assert_eq!(place.0, self.pending.0 + 1, "a log has no gaps");
        self.pending = place;
        self.recent.push_back(place);
        if self.recent.len() > limits::LOG_RECENT_MAX {
            self.recent.pop_front();
        }
    }

    /// The log's last bundle stands at `position` of the tenant's feed.
    pub fn moved(&mut self, position: u64) {
        self.position = position;
    }

    /// Moves the durable tip: a barrier covered everything up to `place`.
    pub fn settle(&mut self, place: Place) {
        debug_assert!(place.0 <= self.pending.0, "only what was handed over becomes durable");
        if place.0 > self.durable.0 {
            self.durable = place;
        }
    }

    /// Forgets what was handed over and did not become durable.
    pub fn roll_back(&mut self) {
        self.pending = self.durable;
        self.recent = VecDeque::from([self.durable]);
    }

    /// The log ends at `place`: what followed does not count.
    pub fn cut_back(&mut self, place: Place) {
        self.pending = place;
        self.durable = place;
        self.recent = VecDeque::from([place]);
        self.damaged.retain(|seq| *seq <= place.0);
    }

    /// The row of bundle `seq` was found damaged. Returns whether that was news.
    pub fn spoil(&mut self, seq: Seq) -> bool {
        seq > 0 && seq <= self.pending.0 && self.damaged.insert(seq)
    }

    /// The row of bundle `seq` was written again.
    pub fn mend(&mut self, seq: Seq) {
        self.damaged.remove(&seq);
    }

    /// Bundles whose rows are damaged.
    pub fn damaged(&self) -> impl Iterator<Item = Seq> + '_ {
        self.damaged.iter().copied()
    }

    /// Takes no further bundle: its writer signed two pasts.
    pub fn quarantine(&mut self) {
        self.forked = true;
    }

    /// Who writes it.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The last bundle handed to the store.
    #[must_use]
    pub fn pending(&self) -> Place {
        self.pending
    }

    /// The last bundle a barrier covered.
    #[must_use]
    pub fn durable(&self) -> Place {
        self.durable
    }

    /// Where in the tenant's feed its last bundle stands: orders logs by when they moved.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Whether its writer signed two pasts.
    #[must_use]
    pub fn is_forked(&self) -> bool {
        self.forked
    }

    /// The tip row that goes with the pending tip.
    #[must_use]
    pub fn tip(&self) -> Tip {
        let (seq, hash) = self.pending;
        let (tenant, origin) = (self.tenant, self.origin.clone());
        Tip { tenant, origin, seq, hash, position: self.position }
    }

    fn contradicts(&self, place: Place) -> bool {
        if place.0 == 0 {
            return place.1 != ChainHash::START;
        }
        self.recent.iter().any(|known| known.0 == place.0 && known.1 != place.1)
    }
}

/// Puts the writer's signature on a row it just chained.
pub fn sign(stored: &mut Stored, signature: &[u8; 64]) {
    stored.signature = Some(Signature::from_bytes(signature));
}
