//! One conversation with one authenticated peer: what it is known to hold, what has been
//! sent to it, and what it should be sent next.
//!
//! A session decides nothing about the truth; [`crate::engine`] does, and asks the session
//! for the next run to send. The rule of sending is in [`Session::next_run`]: to a primary
//! session push whatever the peer lacks, portals' logs first; to a standby nothing but what
//! it asked for.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use crate::{
    bundle::BlobRef,
    id::{CutHash, LogId, PeerId, Seq, VatNumber},
    limits,
    log::Fresh,
    time::Time,
    vector::Vector,
    wire::Form,
};

/// Names one open session; given by the host and never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// A log with something to send, in sending order: portals' logs carry the grants that
/// admit other writers, so they come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// The tenant.
    pub tenant: VatNumber,
    /// 0 for a portal's log, 1 for a node's.
    pub rank: u8,
    /// The log.
    pub log: LogId,
}

/// What one session knows.
#[derive(Debug)]
pub struct Session {
    /// Who is on the other side.
    pub peer: PeerId,
    /// Whether we dialled.
    pub dialled: bool,
    /// Whether runs are pushed here.
    pub primary: bool,
    /// Whether runs are pushed here although it is a standby, because the primary is silent.
    pub hedging: bool,
    /// Whether the peer can store what is pushed here; if not, nothing is.
    pub takes: bool,
    /// Whether the peer's `Hello` has come.
    pub greeted: bool,
    /// The form of run that the peer reads, by its `Hello`.
    pub form: Form,
    /// When it opened.
    pub opened: Time,
    /// Last frame heard.
    pub heard: Time,
    /// Whether a `Pong` has come: the peer has read our `Hello`, and what it asks for because
    /// of it came before.
    pub answered: bool,
    spaces: BTreeMap<VatNumber, Remote>,
    due: BTreeSet<Due>,
    asked: BTreeSet<Due>,
    sending: Option<Due>,
    /// The peer asked for the log that is being sent, from after this bundle: what is on its
    /// way was chosen before that, so the answer comes after it.
    again: Option<Seq>,
    /// Asked for, and damaged here: answered, from after this bundle, when the log is offered
    /// again.
    unread: BTreeMap<Due, Seq>,
    /// Asked for before the peer's brief state of its space was understood.
    early: Vec<(Due, Seq)>,
    /// What we asked for and did not get yet, and when.
    wanted: BTreeMap<(VatNumber, LogId), Time>,
    /// Spaces whose state we asked for in full, and when.
    unclear: BTreeMap<VatNumber, Time>,
    flight: Flight,
    staged: BTreeMap<(VatNumber, LogId), Staged>,
    /// Logs of which a staged bundle lost its place to another one: to be asked for again once that
    /// is taken.
    displaced: BTreeSet<(VatNumber, LogId)>,
    /// Bundles staged so far.
    lookups: u64,
    /// Logs with a bundle that came while there was no room to stage it, and those of them
    /// that were asked for again.
    crowded: BTreeSet<(VatNumber, LogId)>,
    called: BTreeSet<(VatNumber, LogId)>,
    /// Logs whose writer was unknown when a run of them came.
    unadmitted: BTreeSet<(VatNumber, LogId)>,
}

/// What the peer holds of a space, and how far we have sent it.
#[derive(Debug, Default)]
struct Remote {
    held: Vector,
    sent: Vector,
    /// A bundle with a large blob was sent: nothing of its log follows until it is held.
    waits: BTreeMap<LogId, (u8, Seq)>,
}

impl Remote {
    /// Whether some of `due` may be sent now: nothing of a log follows a bundle with a large
    /// blob until that is held, and no node's log follows such a bundle of a portal, which may
    /// have that node's grant behind it.
    fn may_follow(&self, due: &Due) -> bool {
        !self.waits.contains_key(&due.log)
            && (due.rank == 0 || self.waits.values().all(|(rank, _)| *rank > 0))
    }
}

/// Runs sent and not acknowledged.
#[derive(Debug, Default)]
struct Flight {
    /// Of what, up to which bundle, and how many bytes.
    runs: VecDeque<(Due, Seq, usize)>,
    bytes: usize,
}

impl Flight {
    fn add(&mut self, due: Due, upto: Seq, bytes: usize) {
        self.runs.push_back((due, upto, bytes));
        self.bytes += bytes;
    }

    /// Nothing is waited for of these any more.
    fn forget(&mut self, over: impl Fn(&Due, Seq) -> bool) {
        self.runs.retain(|(due, upto, bytes)| {
            let over = over(due, *upto);
            self.bytes -= if over { *bytes } else { 0 };
            !over
        });
    }
}

/// A bundle whose large blobs are still arriving: it counts only with all its blobs.
#[derive(Debug)]
pub struct Staged {
    /// The bundle.
    pub fresh: Fresh,
    /// Which look at its chunks stands for it.
    pub lookup: u64,
    /// Chunks that are not here, by file; unknown until the host has looked.
    pub missing: Option<BTreeMap<CutHash, BTreeSet<u32>>>,
    /// Chunks asked for and not arrived.
    pub asked: u32,
}

impl Staged {
    /// The large blob of this name.
    #[must_use]
    pub fn blob(&self, cut: &CutHash) -> Option<&BlobRef> {
        self.fresh.body.large_blobs().find(|blob| blob.cut() == *cut)
    }

    /// Whether every chunk is here.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.missing.as_ref().is_some_and(|missing| missing.values().all(BTreeSet::is_empty))
    }
}

impl Session {
    /// A session that was just authenticated.
    #[must_use]
    pub fn new(peer: PeerId, dialled: bool, now: Time) -> Self {
        Self {
            peer,
            dialled,
            primary: false,
            hedging: false,
            takes: true,
            greeted: false,
            form: Form::Plain,
            opened: now,
            heard: now,
            answered: false,
            spaces: BTreeMap::new(),
            due: BTreeSet::new(),
            asked: BTreeSet::new(),
            sending: None,
            again: None,
            unread: BTreeMap::new(),
            early: Vec::new(),
            wanted: BTreeMap::new(),
            unclear: BTreeMap::new(),
            flight: Flight::default(),
            staged: BTreeMap::new(),
            displaced: BTreeSet::new(),
            lookups: 0,
            crowded: BTreeSet::new(),
            called: BTreeSet::new(),
            unadmitted: BTreeSet::new(),
        }
    }

    /// The peer said what it holds of `tenant`'s space at the start of the session.
    pub fn open_space(&mut self, tenant: VatNumber, held: Vector) {
        self.unclear.remove(&tenant);
        let remote = self.spaces.entry(tenant).or_default();
        remote.sent = held.clone();
        remote.held = held;
        for (due, after) in std::mem::take(&mut self.early) {
            self.ask(due, after);
        }
    }

    /// Our log moved to `seq`, or the session opened and it is there.
    pub fn offer(&mut self, due: Due, seq: Seq) {
        if let Some(after) = self.unread.remove(&due) {
            self.ask(due, after);
        }
        if self.spaces.get(&due.tenant).is_some_and(|remote| remote.sent.get(&due.log) < seq) {
            self.due.insert(due);
        }
    }

    /// The peer asked for a log from after `after`, whatever was sent before. Asked twice, the
    /// answer begins where the earlier of the two wants it. Before a node's log go the portals'
    /// logs that the peer lacks: its writer's grant may be there.
    pub fn ask(&mut self, due: Due, after: Seq) {
        let Some(remote) = self.spaces.get_mut(&due.tenant) else {
            if self.early.len() < limits::LOGS_PER_SPACE_MAX {
                self.early.push((due, after));
            }
            return;
        };
        // What was sent before is sent again. Nodes' logs may have been dropped too, for want of a
        // grant in this: they are asked for then, and until then nothing waits for them (seed
        // 1795877930).
        self.flight.forget(|sent, _| {
            sent.tenant == due.tenant && (sent.log == due.log || due.rank == 0 && sent.rank > 0)
        });
        if self.sending == Some(due) {
            self.again = Some(self.again.map_or(after, |again| again.min(after)));
            return;
        }
        remote.sent.lower(due.log, after);
        if !self.asked.contains(&due) {
            remote.sent.raise(due.log, after);
        }
        remote.waits.remove(&due.log);
        self.due.insert(due);
        self.asked.insert(due);
        if due.rank > 0 {
            let portals = self.due.iter().filter(|other| other.tenant == due.tenant);
            self.asked.extend(portals.filter(|other| other.rank == 0));
        }
    }

    /// The peer holds these durably. Returns whether that was news.
    pub fn held(&mut self, tenant: VatNumber, logs: &[(LogId, Seq)]) -> bool {
        let Some(remote) = self.spaces.get_mut(&tenant) else { return false };
        let mut news = false;
        for (log, seq) in logs {
            if remote.held.len() >= limits::LOGS_PER_SPACE_MAX && remote.held.get(log) == 0 {
                continue;
            }
            news |= remote.held.raise(*log, *seq);
            // What was asked for goes out although it is held: the peer's copy is damaged.
            if !self.asked.iter().any(|due| due.tenant == tenant && due.log == *log) {
                remote.sent.raise(*log, *seq);
            }
            if remote.waits.get(log).is_some_and(|(_, wait)| wait <= seq) {
                remote.waits.remove(log);
            }
        }
        let spaces = &self.spaces;
        self.flight.forget(|sent, upto| {
            spaces.get(&sent.tenant).is_none_or(|remote| remote.held.get(&sent.log) >= upto)
        });
        news
    }

    /// The next run to send, if one may be sent now: (what, after which bundle).
    pub fn next_run(&mut self) -> Option<(Due, Seq)> {
        let bytes_max = if self.primary {
            limits::SESSION_IN_FLIGHT_BYTES_MAX
        } else {
            limits::HEDGE_IN_FLIGHT_BYTES_MAX
        };
        if self.sending.is_some() || !self.greeted || self.flight.bytes >= bytes_max {
            return None;
        }
        let pushing = self.takes && (self.primary || self.hedging);
        let due = *self.due.iter().find(|due| {
            (pushing || self.asked.contains(due))
                && self.spaces.get(&due.tenant).is_some_and(|remote| remote.may_follow(due))
        })?;
        self.sending = Some(due);
        let after = self.spaces[&due.tenant].sent.get(&due.log);
        Some((due, after))
    }

    /// Whether the peer asked for this.
    #[must_use]
    pub fn is_asked(&self, due: &Due) -> bool {
        self.asked.contains(due)
    }

    /// The peer stores nothing of what it did not acknowledge: nothing is on its way any more.
    /// Returns the logs that are to be offered again.
    pub fn lost_flight(&mut self) -> BTreeSet<(VatNumber, LogId)> {
        let mut logs = BTreeSet::new();
        for (Due { tenant, log, .. }, ..) in std::mem::take(&mut self.flight).runs {
            if let Some(remote) = self.spaces.get_mut(&tenant) {
                remote.sent.lower(log, remote.held.get(&log));
                remote.waits.remove(&log);
                logs.insert((tenant, log));
            }
        }
        logs
    }

    /// The host sent what [`Session::next_run`] chose, up to `upto`; `tip` is our durable tip
    /// and `large` tells that the run's bundle has a large blob.
    pub fn sent(&mut self, upto: Seq, bytes: usize, tip: Seq, large: bool) {
        let Some(due) = self.sending.take() else { return };
        let Some(remote) = self.spaces.get_mut(&due.tenant) else { return };
        remote.sent.raise(due.log, upto);
        if remote.held.get(&due.log) < upto {
            self.flight.add(due, upto, bytes);
            if large {
                remote.waits.insert(due.log, (due.rank, upto));
            }
        }
        if remote.sent.get(&due.log) >= tip {
            self.due.remove(&due);
            self.asked.remove(&due);
        }
        self.answer_again(due);
    }

    /// Our copy of a log was set back to `end`: the peer takes no more than that of it from us
    /// as held, and may hold another past beyond it.
    pub fn cut_back(&mut self, tenant: VatNumber, log: LogId, end: Seq) {
        let Some(remote) = self.spaces.get_mut(&tenant) else { return };
        remote.held.lower(log, end);
        remote.sent.lower(log, end);
        remote.waits.remove(&log);
        self.flight.forget(|sent, _| (sent.tenant, sent.log) == (tenant, log));
    }

    /// What [`Session::next_run`] chose is damaged in the store.
    pub fn unread(&mut self) {
        if let Some(due) = self.sending.filter(|due| self.asked.contains(due)) {
            let after = self.spaces.get(&due.tenant).map_or(0, |remote| remote.sent.get(&due.log));
            let from = self.unread.entry(due).or_insert(after);
            *from = after.min(*from);
        }
        self.unsent();
    }

    /// There is nothing to send of what [`Session::next_run`] chose.
    pub fn unsent(&mut self) {
        if let Some(due) = self.sending.take() {
            self.due.remove(&due);
            self.asked.remove(&due);
            self.answer_again(due);
        }
    }

    /// What [`Session::next_run`] chose and the host has not sent yet.
    #[must_use]
    pub fn sending(&self) -> Option<Due> {
        self.sending
    }

    /// Keeps a bundle until its large blobs are here, in the place of another one of its log.
    /// Returns the number under which its chunks are to be looked for, if there was room; if not,
    /// its log is remembered for [`Session::call`].
    pub fn stage(&mut self, tenant: VatNumber, log: LogId, fresh: Fresh) -> Option<u64> {
        let (at, seq) = ((tenant, log), fresh.seq);
        let full = self.staged.len() >= limits::STAGED_PER_SESSION_MAX;
        if full && !self.staged.contains_key(&at) {
            self.crowded.insert(at);
            return None;
        }
        self.lookups += 1;
        let staged = Staged { fresh, lookup: self.lookups, missing: None, asked: 0 };
        if self.staged.insert(at, staged).is_some_and(|before| before.fresh.seq != seq) {
            self.displaced.insert(at);
        }
        Some(self.lookups)
    }

    /// Whether a staged bundle of this log lost its place. Tells it once.
    pub fn was_displaced(&mut self, tenant: VatNumber, log: LogId) -> bool {
        self.displaced.remove(&(tenant, log))
    }

    /// A log whose bundle found no room and finds one now, to be asked for: its sender sends
    /// nothing further of it by itself, since it waits for that bundle to be acknowledged.
    pub fn call(&mut self) -> Option<(VatNumber, LogId)> {
        if self.staged.len() + self.called.len() >= limits::STAGED_PER_SESSION_MAX {
            return None;
        }
        let at = self.crowded.pop_first()?;
        self.called.insert(at);
        Some(at)
    }

    /// Forgets every bundle that waits for chunks or for room, and names their logs.
    pub fn unstage(&mut self) -> BTreeSet<(VatNumber, LogId)> {
        let mut logs = std::mem::take(&mut self.crowded);
        logs.append(&mut self.called);
        logs.extend(std::mem::take(&mut self.staged).into_keys());
        self.displaced.clear();
        logs
    }

    /// A run came whose writer nobody admitted, as far as is known here.
    pub fn unadmitted(&mut self, tenant: VatNumber, log: LogId) {
        if self.unadmitted.len() < limits::LOGS_PER_SPACE_MAX {
            self.unadmitted.insert((tenant, log));
        }
    }

    /// Whether a run of this log was dropped so, and what follows it has no beginning here.
    #[must_use]
    pub fn is_unadmitted(&self, tenant: VatNumber, log: LogId) -> bool {
        self.unadmitted.contains(&(tenant, log))
    }

    /// Somebody was admitted to `tenant`'s space: the logs to ask for again.
    pub fn admit(&mut self, tenant: VatNumber) -> Vec<LogId> {
        self.unadmitted.extract_if(.., |(of, _)| *of == tenant).map(|(_, log)| log).collect()
    }

    /// The staged bundles, to find the one a chunk belongs to.
    pub fn staged_mut(&mut self) -> &mut BTreeMap<(VatNumber, LogId), Staged> {
        &mut self.staged
    }

    /// Whether the session carries `tenant`'s space.
    #[must_use]
    pub fn carries(&self, tenant: VatNumber) -> bool {
        self.spaces.contains_key(&tenant)
    }

    /// What the peer is known to hold of `tenant`'s space.
    #[must_use]
    pub fn holding(&self, tenant: VatNumber) -> Option<&Vector> {
        self.spaces.get(&tenant).map(|remote| &remote.held)
    }

    /// The same of every space that the session carries.
    pub fn holdings(&self) -> impl Iterator<Item = (VatNumber, &Vector)> {
        self.spaces.iter().map(|(tenant, remote)| (*tenant, &remote.held))
    }

    /// We ask the peer for a log.
    pub fn wants(&mut self, tenant: VatNumber, log: LogId, now: Time) {
        self.wanted.insert((tenant, log), now);
    }

    /// What the peer said in brief of a space tells us nothing: we ask for the whole.
    pub fn unclear(&mut self, tenant: VatNumber, now: Time) {
        self.unclear.insert(tenant, now);
    }

    /// The peer sent some of a log.
    pub fn got(&mut self, tenant: VatNumber, log: LogId) {
        self.wanted.remove(&(tenant, log));
        self.called.remove(&(tenant, log));
    }

    /// Whether everything sent was acknowledged, nothing is due, and what we asked for came,
    /// or was asked so long ago that the peer does not have it.
    #[must_use]
    pub fn is_quiet(&self, now: Time) -> bool {
        let patience = Duration::from_millis(limits::WANT_MS_MAX);
        self.wanted.values().chain(self.unclear.values()).all(|asked| now.since(*asked) >= patience)
            && self.flight.runs.is_empty()
            && self.sending.is_none()
            && self.staged.is_empty()
            && self.crowded.is_empty()
            && (self.due.is_empty() || !(self.primary || self.hedging))
    }

    /// Whether something sent waits for its acknowledgement.
    #[must_use]
    pub fn awaits(&self) -> bool {
        !self.flight.runs.is_empty()
    }

    /// Bytes of runs sent and not acknowledged.
    #[must_use]
    pub fn in_flight_bytes(&self) -> usize {
        self.flight.bytes
    }

    fn answer_again(&mut self, due: Due) {
        if let Some(after) = self.again.take() {
            self.ask(due, after);
        }
    }
}

#[cfg(test)]
mod tests;
