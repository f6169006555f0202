//! The engine: one identity's replica of one or many spaces, as a state machine.
//!
//! [`Engine::handle`] takes what happened, [`Engine::poll`] gives what to do about it, one
//! effect at a time and in order. Frames are judged in [`frames`]; this file has the
//! replica itself: logs, what is said here, and what becomes durable.

mod frames;
mod setback;
mod spaces;
mod staging;
mod writing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    archive::{ReadError, Recovered},
    bundle::{Item, Origin, Signer},
    chunk,
    effect::{Alarm, CommitId, Effect, Input, Ticket},
    fault::Fault,
    grant::{Authority, Role},
    id::{Incarnation, LogId, PeerId, Seq, VatNumber},
    limits,
    log::{Log, Place},
    plant::{self, Bug},
    session::{Session, SessionId},
    store::Batch,
    time::Time,
    vector::{Digest, Vector},
    wire::{Frame, Tenant},
};

/// What an engine is told once.
pub struct Config {
    /// The identity's private key.
    pub signer: Box<dyn Signer>,
    /// Drawn at random for this start.
    pub incarnation: Incarnation,
    /// What this identity is.
    pub role: Role,
    /// A node's own tenant; a portal's is every admitted one.
    pub tenant: Option<VatNumber>,
    /// The portals' pins.
    pub portals: Vec<PeerId>,
    /// Version of the program, for the other side's log: which program, the ALPN has said.
    pub agent: String,
}

/// One identity's replica. See the module's header.
pub struct Engine {
    config: Config,
    own: Origin,
    authority: Authority,
    spaces: BTreeMap<VatNumber, Space>,
    sessions: BTreeMap<SessionId, Session>,
    /// What each peer was last known to hold, session or not.
    known: BTreeMap<(PeerId, VatNumber), Vector>,
    commits: VecDeque<Pending>,
    next_commit: u64,
    /// Why the store takes no writes, if it does not.
    stuck: Option<String>,
    /// Runs that came while stuck, to ask for again.
    missed: BTreeSet<(SessionId, VatNumber, LogId)>,
    /// Takes back what a failed barrier may have kept; the first thing stored afterwards.
    undo: Batch,
    /// Logs beyond their writer's cut: those the host was asked about, and those that wait
    /// until nothing of them is on its way to the store.
    cutting: BTreeSet<(VatNumber, LogId)>,
    uncut: BTreeSet<(VatNumber, LogId)>,
    effects: VecDeque<Effect>,
    now: Time,
}

#[derive(Default)]
struct Space {
    logs: BTreeMap<LogId, Log>,
    position: u64,
}

/// A batch on its way to the store, and what follows once it is durable.
struct Pending {
    commit: CommitId,
    tenant: VatNumber,
    log: LogId,
    /// The log's tip once this is durable; `None` for chunks.
    place: Option<Place>,
    position: u64,
    said: Option<Ticket>,
    from: Option<SessionId>,
    /// Whether this sets the log back to its writer's cut.
    cuts: bool,
    /// Damaged rows that this writes again.
    mends: Vec<Seq>,
    /// Statements of ours that count once they are durable.
    says: Vec<Item>,
    /// Takes back what this stores.
    undo: Batch,
}

impl Engine {
    /// A replica as the store has it.
    #[must_use]
    pub fn new(config: Config, recovered: Recovered) -> Self {
        let own =
            Origin { key: config.signer.public_key().clone(), incarnation: config.incarnation };
        let mut engine = Self {
            authority: Authority::new(config.portals.iter().copied()),
            config,
            own,
            spaces: BTreeMap::new(),
            sessions: BTreeMap::new(),
            known: BTreeMap::new(),
            commits: VecDeque::new(),
            next_commit: 1,
            stuck: None,
            missed: BTreeSet::new(),
            undo: Batch::default(),
            cutting: BTreeSet::new(),
            uncut: BTreeSet::new(),
            effects: VecDeque::new(),
            now: Time::ZERO,
        };
        engine.spaces.extend(engine.config.tenant.map(|tenant| (tenant, Space::default())));
        for tip in recovered.tips {
            if engine.serves(tip.tenant) {
                let log = Log::restored(tip.clone());
                engine.spaces.entry(tip.tenant).or_default().logs.insert(tip.origin.log(), log);
            }
        }
        for (tenant, position) in recovered.positions {
            if let Some(space) = engine.spaces.get_mut(&tenant) {
                space.position = position;
            }
        }
        for (tenant, item) in recovered.statements {
            engine.authority.learn(tenant, &item);
        }
        engine.say_pins();
        // The last start may have ended between a revocation and what follows from it.
        let tenants: Vec<_> = engine.spaces.keys().copied().collect();
        tenants.into_iter().for_each(|tenant| engine.cut(tenant));
        engine
    }

    /// Takes one input at the moment `now`.
    pub fn handle(&mut self, now: Time, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Append { ticket, tenant, written_ms, items, files } => {
                if let Err(why) = self.append(ticket, tenant, written_ms, items, &files) {
                    self.effects.push_back(Effect::Refused { ticket, why });
                }
            }
            Input::Opened { session, peer, dialled, primary } => {
                self.open(session, peer, dialled, primary);
            }
            Input::Received { session, frame } => self.receive(session, frame),
            Input::Garbage { session, fault } => self.end(session, Some(fault)),
            Input::RunSent { session, upto, bytes, large } => {
                self.run_sent(session, upto, bytes, large);
            }
            Input::RunUnread { session, error } => {
                self.on(session, Session::unread);
                if let ReadError::Damaged { tenant, log, seq } = error {
                    self.spoil(tenant, log, seq);
                } else {
                    self.effects.push_back(Effect::Alarm(Alarm::Damaged(error.to_string())));
                }
                self.pump(session);
            }
            Input::Missing { session, tenant, log, lookup, chunks } => {
                self.missing(session, tenant, log, lookup, chunks);
            }
            Input::Truncated { tenant, log, end, batch } => {
                self.truncated(tenant, log, end, batch);
            }
            Input::Damaged { tenant, log, seq } => self.spoil(tenant, log, seq),
            Input::Closed { session } => {
                self.sessions.remove(&session);
                self.missed.retain(|(missed, _, _)| *missed != session);
            }
            Input::Committed { commit } => self.committed(commit),
            Input::CommitFailed { error } => self.commit_failed(&error.to_string()),
            Input::StoreReady => self.store_ready(),
            Input::Path { session, primary } => {
                // Our `Hello` may have said so already.
                if self.sessions.get(&session).is_some_and(|s| s.primary != primary) {
                    self.on(session, |s| s.primary = primary);
                    self.send(session, Frame::Path { primary });
                }
                self.pump(session);
            }
            Input::Hedge { session, on } => {
                self.on(session, |s| s.hedging = on);
                self.pump(session);
            }
            Input::Pull { session } => self.pull(session),
            Input::Ping { session, n } => self.send(session, Frame::Ping(n)),
            Input::End { session, fault } => self.end(session, fault),
        }
    }

    /// The next thing to do, if there is one.
    pub fn poll(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When the engine wants to be called though nothing happened: to close sessions whose
    /// peer never said `Hello` (see [`Engine::tick`]).
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let timeout = std::time::Duration::from_millis(limits::HELLO_TIMEOUT_MS);
        self.sessions.values().filter(|s| !s.greeted).map(|s| s.opened + timeout).min()
    }

    /// Time passed.
    pub fn tick(&mut self, now: Time) {
        self.now = self.now.max(now);
        let timeout = std::time::Duration::from_millis(limits::HELLO_TIMEOUT_MS);
        let late: Vec<_> = self
            .sessions
            .iter()
            .filter(|(_, s)| !s.greeted && s.opened + timeout <= self.now)
            .map(|(id, _)| *id)
            .collect();
        for session in late {
            self.end(session, Some(Fault::NotGreeted));
        }
    }

    /// Whether the host should hold back what arrives: enough is on its way to the store.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.commits.len() >= limits::COMMITS_IN_FLIGHT_MAX
    }

    /// This identity's name.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.own.key.peer()
    }

    /// Who may do what.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The tenants whose space is held.
    pub fn tenants(&self) -> impl Iterator<Item = VatNumber> + '_ {
        self.spaces.keys().copied()
    }

    /// What is held durably of `tenant`'s space.
    #[must_use]
    pub fn vector(&self, tenant: VatNumber) -> Vector {
        self.spaces.get(&tenant).map(Space::vector).unwrap_or_default()
    }

    /// The digest of what is held durably of `tenant`'s space.
    #[must_use]
    pub fn digest(&self, tenant: VatNumber) -> Digest {
        self.spaces.get(&tenant).map(Space::digest).unwrap_or_default()
    }

    /// What `peer` was last known to hold durably of `tenant`'s space.
    #[must_use]
    pub fn known(&self, peer: &PeerId, tenant: VatNumber) -> Option<&Vector> {
        self.known.get(&(*peer, tenant))
    }

    /// The same of every peer and tenant, for status.
    pub fn all_known(&self) -> impl Iterator<Item = (&(PeerId, VatNumber), &Vector)> {
        self.known.iter()
    }

    /// The sessions, for status.
    pub fn sessions(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.sessions.iter().map(|(id, session)| (*id, session))
    }

    /// Whether every greeted session has nothing to send, to receive or to acknowledge.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.commits.is_empty()
            && self.sessions.values().all(|session| session.is_quiet(self.now))
            && self.spaces.iter().all(|(tenant, space)| {
                let ours = space.vector();
                self.sessions
                    .values()
                    .filter_map(|s| s.holding(*tenant))
                    .all(|theirs| theirs.ahead_of(&ours) == 0)
            })
    }

    /// The cuts of a revocation made now: what is held durably of each log of `peer`.
    #[must_use]
    pub fn cuts(&self, peer: &PeerId, tenant: VatNumber) -> Vec<(LogId, Seq)> {
        self.spaces.get(&tenant).map_or_else(Vec::new, |space| {
            space
                .logs
                .iter()
                .filter(|(_, log)| log.origin().key.peer() == *peer)
                .map(|(id, log)| (*id, log.durable().0))
                .collect()
        })
    }

    fn learn(&mut self, tenant: VatNumber, items: &[Item]) {
        let mut changed = false;
        for item in items {
            changed |= self.authority.learn(tenant, item);
        }
        if changed {
            self.say_pins();
            self.cut(tenant);
            let ids: Vec<_> = self.sessions.keys().copied().collect();
            for id in ids {
                let logs = self.sessions.get_mut(&id).map(|session| session.admit(tenant));
                for log in logs.into_iter().flatten() {
                    let after = self.pending(tenant, &log);
                    self.send(id, Frame::Want { tenant: Tenant(tenant), log, after });
                }
            }
        }
    }

    /// A row is damaged: any peer that holds the bundle may bring it again.
    fn spoil(&mut self, tenant: VatNumber, log: LogId, seq: Seq) {
        let entry = self.spaces.get_mut(&tenant).and_then(|space| space.logs.get_mut(&log));
        if !entry.is_some_and(|entry| entry.spoil(seq)) {
            return;
        }
        let alarm = ReadError::Damaged { tenant, log, seq }.to_string();
        self.effects.push_back(Effect::Alarm(Alarm::Damaged(alarm)));
        self.fetch(tenant, log, seq);
    }

    /// Asks whoever holds it for a bundle whose row is damaged.
    fn fetch(&mut self, tenant: VatNumber, log: LogId, seq: Seq) {
        let holders: Vec<_> = self
            .sessions
            .iter()
            .filter(|(_, s)| s.holding(tenant).is_some_and(|held| held.get(&log) >= seq))
            .map(|(id, _)| *id)
            .collect();
        for session in holders {
            let after = seq - 1;
            self.send(session, Frame::Want { tenant: Tenant(tenant), log, after });
        }
    }

    fn say_pins(&mut self) {
        let nodes = self.authority.admitted().into_iter().collect();
        self.effects.push_back(Effect::Pins { nodes });
    }

    fn send(&mut self, session: SessionId, frame: Frame) {
        let now = self.now;
        let Some(open) = self.sessions.get_mut(&session) else { return };
        if let Frame::Want { tenant, log, .. } = frame {
            open.wants(tenant.0, log, now);
        }
        self.effects.push_back(Effect::Send { session, frame });
    }

    fn on(&mut self, session: SessionId, act: impl FnOnce(&mut Session)) {
        if let Some(session) = self.sessions.get_mut(&session) {
            act(session);
        }
    }

    fn serves(&self, tenant: VatNumber) -> bool {
        self.config.tenant.is_none_or(|own| own == tenant)
    }

    fn pending(&self, tenant: VatNumber, log: &LogId) -> Seq {
        let log = self.spaces.get(&tenant).and_then(|space| space.logs.get(log));
        log.map_or(0, |log| log.pending().0)
    }

    fn rank(&self, log: &LogId, tenant: VatNumber) -> u8 {
        let writer = self.spaces.get(&tenant).and_then(|space| space.logs.get(log));
        let portal = writer.is_some_and(|log| self.authority.is_portal(&log.origin().key.peer()));
        u8::from(!portal)
    }

    fn root(&self) -> Digest {
        let digests: Vec<_> =
            self.spaces.iter().map(|(tenant, space)| (*tenant, space.digest())).collect();
        Digest::of_root(digests.iter().map(|(tenant, digest)| (*tenant, digest)))
    }
}

/// Whether a writer in `role` may say `item` in `log`: kind, actor, bounds. O(1) in the
/// document, no look inside the CRDT.
fn judge(item: &Item, role: Role, tenant: VatNumber, log: LogId) -> Result<(), Fault> {
    match item {
        Item::Change { document, change } => {
            let kind = document.kind().ok_or(Fault::ForbiddenKind)?;
            if !role.may_write_in(tenant, kind) && !plant::is(Bug::KindUnchecked) {
                return Err(Fault::ForbiddenKind);
            }
            let header = chunk::bound(change).map_err(|_| Fault::BadChange)?;
            if header.is_by(&log) || plant::is(Bug::ActorUnchecked) {
                Ok(())
            } else {
                Err(Fault::WrongActor)
            }
        }
        Item::Grant(_) | Item::Revocation(_) if role == Role::Portal => Ok(()),
        Item::Grant(_) | Item::Revocation(_) => Err(Fault::ForbiddenKind),
    }
}
