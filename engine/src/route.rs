//! Lines and portals: whom to dial, which session is primary, when to hedge.
//!
//! A **route** is a local line, a portal and one of its addresses. [`Routes`] keeps one
//! **primary** session, on which writes go, and one warm **standby** towards another portal over
//! another line if there is one; a third only while it replaces one of them (make before break).
//! A primary that owes an answer for longer than 1.25 round trips + 60 ms is *suspect*: what it
//! has not acknowledged goes on the standby too (a **hedge**, harmless because bundles are
//! idempotent), and so do new writes. The role moves only when the hedge was answered and the
//! old primary stayed silent for 3 round trips + 1.5 s, or when its session closed: under loss
//! false hedges are certain, false changes of primary must not happen.
//!
//! A pure state machine: time is an argument, chance is a seed, and it opens nothing itself.
//! After each input drain [`Routes::poll`]; come back with [`Routes::tick`] at
//! [`Routes::deadline`]. It never sees a frame, a peer's name, or what a bundle holds.
//!
//! ```
//! use engine::route::{Mode, RouteAction, RouteConfig, Routes, SessionId, Transport};
//! use engine::time::Time;
//!
//! let ms = Time::from_millis;
//! // Two lines, two portals with one address each.
//! let config = RouteConfig { lines: 2, portals: vec![1, 1], mode: Mode::Live, seed: 7 };
//! let mut routes = Routes::new(config, ms(0));
//! let Some(RouteAction::Dial { attempt: first, route, .. }) = routes.poll() else { panic!() };
//! assert_eq!((route.line, route.portal), (0, 0));
//!
//! // Line 0 is dead. After 250 ms the next dial shares neither line nor portal with the first.
//! routes.tick(routes.deadline().unwrap());
//! let Some(RouteAction::Dial { attempt: second, route, transport, .. }) = routes.poll() else { panic!() };
//! assert_eq!((route.line, route.portal, transport), (1, 1, Transport::Quic));
//!
//! // Its Hello arrives: it is primary, and is pinged to learn its round trip.
//! routes.opened(second, SessionId(1), ms(330));
//! assert_eq!(routes.poll(), Some(RouteAction::Promote { session: SessionId(1) }));
//! assert_eq!(routes.primary(), Some(SessionId(1)));
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use self::race::{Aim, Attempt, Dialler};
use crate::limits::{PING_PRIMARY_MS, PING_STANDBY_MS};
use crate::time::Time;

mod liveness;
mod race;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod stories;
mod view;

pub use self::liveness::{Liveness, Pulse};
pub use self::view::{RouteState, RouteView};

/// Sessions at a time: primary, standby, and one that replaces or is being replaced.
const SESSIONS_MAX: usize = 3;
/// How often a better session is looked for when the ones we have could be better: QUIC again
/// where TCP had to serve, or a line that was down when the standby was chosen.
const IMPROVE_MS: u64 = 180_000;
/// A session must have been well for this long before the role moves to it without need.
const STEADY_MS: u64 = 30_000;
/// The role moves without need to a path at least this much shorter than half the present one.
const SHORTER_MS: u64 = 20;
/// Dialling the very route whose session is silent comes after all others.
const AGAIN_COST: u32 = 100;
/// Lateness of the host that is not counted as silence of the peer.
const LATE_MS: u64 = 100;
/// A primary that is heard but does not deliver what the standby announced is given this long.
const PULL_MS_MIN: u64 = 100;

/// A local line, a portal, and one of that portal's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId {
    /// Index of the local line.
    pub line: u8,
    /// Index of the portal.
    pub portal: u8,
    /// Index of the address of that portal.
    pub address: u8,
}

impl RouteId {
    /// How little two routes share, 0 to 6: a different portal counts most, then a different
    /// line, then a different address (that is, line) of the same portal.
    fn differs(self, other: RouteId) -> u32 {
        let portal = self.portal != other.portal;
        4 * u32::from(portal)
            + 2 * u32::from(self.line != other.line)
            + u32::from(!portal && self.address != other.address)
    }
}

/// What carries the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TLS on TCP, where UDP is blocked.
    Tcp,
    /// QUIC: preferred.
    Quic,
}

impl Transport {
    const ALL: [Transport; 2] = [Transport::Quic, Transport::Tcp];

    const fn index(self) -> usize {
        match self {
            Transport::Quic => 0,
            Transport::Tcp => 1,
        }
    }
}

/// Names one dial. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub u64);

/// Names one open session. The host must never use a number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Whether sessions are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A primary and a warm standby at all times.
    Live,
    /// Asleep until [`Routes::wake`]; then a primary, and a standby only if it is suspect.
    Periodic,
}

/// What there is to choose from. Order is preference as long as nothing is known.
#[derive(Clone, Debug)]
pub struct RouteConfig {
    /// Local lines.
    pub lines: u8,
    /// Addresses of each portal.
    pub portals: Vec<u8>,
    /// Whether sessions are kept.
    pub mode: Mode,
    /// Spreads back-offs; differs from node to node.
    pub seed: u64,
}

/// Why an attempt or a session came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No answer in time.
    TimedOut,
    /// The system said at once that there is no way, or nobody listens.
    Unreachable,
    /// The peer would not have us, or broke the protocol: dialling again soon is of no use.
    Refused,
    /// An open session broke.
    Lost,
}

/// Why a session is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseWhy {
    /// A better session took its place, or it was not needed any more when it opened.
    Surplus,
    /// It was silent for too long.
    Silent,
    /// Everything is in sync until the next [`Routes::wake`].
    Rest,
}

/// What the owner is to do, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteAction {
    /// Open a session; answer with [`Routes::opened`] (when the peer's `Hello` arrived) or
    /// [`Routes::failed`].
    Dial {
        /// The name of the attempt.
        attempt: AttemptId,
        /// Where.
        route: RouteId,
        /// How.
        transport: Transport,
        /// There is no primary: our `Hello` may claim the role, which saves a round trip. If
        /// the session opens and is not promoted, a `Demote` follows.
        primary: bool,
    },
    /// Give up an attempt. Nothing need be answered.
    Abandon {
        /// The attempt.
        attempt: AttemptId,
    },
    /// Send `Ping { n }`. It is counted as sent.
    Ping {
        /// On this session.
        session: SessionId,
        /// The number.
        n: u64,
    },
    /// Send what `suspect` has not acknowledged on `on` too, and until `Unhedge` all new
    /// writes on both. A `Ping` on both follows. A second `Hedge` moves it to another `on`.
    Hedge {
        /// The silent primary.
        suspect: SessionId,
        /// The standby.
        on: SessionId,
    },
    /// Write on the primary alone again.
    Unhedge {
        /// The session that had been suspect.
        suspect: SessionId,
    },
    /// This is the primary now: send it whatever it has not acknowledged.
    Promote {
        /// The new primary.
        session: SessionId,
    },
    /// This is not the primary any more, but still open.
    Demote {
        /// The old primary.
        session: SessionId,
    },
    /// Close it; it is forgotten here and [`Routes::closed`] need not be called.
    Close {
        /// The session.
        session: SessionId,
        /// Why.
        why: CloseWhy,
    },
    /// Ask (`Want`) on this session for what it announced and the primary did not deliver.
    Pull {
        /// The session that announced.
        on: SessionId,
    },
}

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Too silent to be of use; a standby again if it is heard.
    Lame,
    /// Open and warm.
    Standby,
    /// Writes go here.
    Primary,
}

#[derive(Clone, Debug)]
struct Session {
    route: RouteId,
    transport: Transport,
    role: Role,
    opened: Time,
    liveness: Liveness,
    /// Since when it has not been suspect.
    steady: Time,
}

#[derive(Clone, Copy, Debug)]
struct Hedge {
    suspect: SessionId,
    on: SessionId,
    /// A pong of this number or above, on `on`, answers the hedge.
    ping: u64,
    answered: bool,
}

#[derive(Clone, Copy, Debug)]
struct Pull {
    on: SessionId,
    since: Time,
}

/// The lines and portals of one node. See the [module](self).
#[derive(Clone, Debug)]
pub struct Routes {
    mode: Mode,
    awake: bool,
    all: Vec<RouteId>,
    dialler: Dialler,
    sessions: BTreeMap<SessionId, Session>,
    hedge: Option<Hedge>,
    pull: Option<Pull>,
    /// When a better session is looked for next.
    improve: Time,
    /// When the role last moved.
    moved: Time,
    actions: VecDeque<RouteAction>,
    now: Time,
    deadline: Option<Time>,
}

impl Routes {
    /// In [`Mode::Live`] it dials at once.
    #[must_use]
    pub fn new(config: RouteConfig, now: Time) -> Self {
        let RouteConfig { lines, portals, mode, seed } = config;
        let mut all = vec![];
        for line in 0..lines {
            for (portal, addresses) in (0..=u8::MAX).zip(&portals) {
                all.extend((0..*addresses).map(|address| RouteId { line, portal, address }));
            }
        }
        let mut routes = Self {
            mode,
            awake: mode == Mode::Live,
            dialler: Dialler::new(all.clone(), seed),
            all,
            sessions: BTreeMap::new(),
            hedge: None,
            pull: None,
            improve: now + Duration::from_millis(IMPROVE_MS),
            moved: now,
            actions: VecDeque::new(),
            now,
            deadline: None,
        };
        routes.settle();
        routes
    }

    /// There is something to say ([`Mode::Periodic`]): connect, if asleep.
    pub fn wake(&mut self, now: Time) {
        self.arrive(now);
        self.awake = true;
        self.settle();
    }

    /// Everything is in sync ([`Mode::Periodic`]): close all until the next [`Self::wake`].
    pub fn rest(&mut self, now: Time) {
        self.arrive(now);
        if self.mode == Mode::Periodic {
            self.awake = false;
            let open: Vec<SessionId> = self.sessions.keys().copied().collect();
            for session in open {
                self.close(session, CloseWhy::Rest);
            }
        }
        self.settle();
    }

    /// An attempt opened this session: the peer's `Hello` is here.
    pub fn opened(&mut self, attempt: AttemptId, session: SessionId, now: Time) {
        self.arrive(now);
        match self.dialler.opened(attempt, now) {
            Some(attempt) if self.awake => self.admit(attempt, session),
            _ => {
                self.actions.push_back(RouteAction::Close { session, why: CloseWhy::Surplus });
            }
        }
        self.settle();
    }

    /// An attempt came to nothing.
    pub fn failed(&mut self, attempt: AttemptId, why: Failure, now: Time) {
        self.arrive(now);
        self.dialler.failed(attempt, why, now);
        self.settle();
    }

    /// A session ended by itself, by the peer, or by a fault.
    pub fn closed(&mut self, session: SessionId, why: Failure, now: Time) {
        self.arrive(now);
        self.forget(session, Some(why));
        self.settle();
    }

    /// Something that expects an answer (a run) was sent on this session.
    pub fn sent(&mut self, session: SessionId, now: Time) {
        self.arrive(now);
        if let Some(session) = self.sessions.get_mut(&session) {
            session.liveness.sent(now);
        }
        self.settle();
    }

    /// Any frame arrived on this session; see [`Liveness::heard`] for what else counts.
    pub fn heard(&mut self, session: SessionId, now: Time) {
        self.arrive(now);
        if let Some(session) = self.sessions.get_mut(&session) {
            session.liveness.heard(now);
        }
        self.settle();
    }

    /// `Pong { n }` arrived ([`Self::heard`] is implied).
    pub fn pong(&mut self, session: SessionId, n: u64, now: Time) {
        self.arrive(now);
        if let Some(session) = self.sessions.get_mut(&session) {
            session.liveness.pong(n, now);
        }
        if let Some(hedge) = self.hedge.as_mut().filter(|hedge| hedge.on == session) {
            hedge.answered |= n >= hedge.ping;
        }
        self.settle();
    }

    /// A standby announced something (`Have`) that is missing here.
    pub fn announced(&mut self, session: SessionId, now: Time) {
        self.arrive(now);
        if self.sessions.contains_key(&session) {
            let since = self.pull.map_or(now, |pull| pull.since);
            self.pull = Some(Pull { on: session, since });
        }
        self.settle();
    }

    /// The primary delivered some of what was announced and more is missing: wait afresh.
    pub fn progressed(&mut self, now: Time) {
        self.arrive(now);
        if let Some(pull) = &mut self.pull {
            pull.since = now;
        }
        self.settle();
    }

    /// Nothing announced is missing any more.
    pub fn satisfied(&mut self, now: Time) {
        self.arrive(now);
        self.pull = None;
        self.settle();
    }

    /// Time passed.
    pub fn tick(&mut self, now: Time) {
        self.arrive(now);
        self.settle();
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<RouteAction> {
        self.actions.pop_front()
    }

    /// When [`Self::tick`] is wanted, at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.deadline
    }

    /// The session on which writes go.
    #[must_use]
    pub fn primary(&self) -> Option<SessionId> {
        self.with_role(Role::Primary)
    }

    /// The warm standby.
    #[must_use]
    pub fn standby(&self) -> Option<SessionId> {
        self.best_standby()
    }

    /// The session on which writes go *too*, while the primary is suspect.
    #[must_use]
    pub fn hedging(&self) -> Option<SessionId> {
        self.hedge.map(|hedge| hedge.on)
    }

    /// Sessions that are open.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Whether sessions are wanted now.
    #[must_use]
    pub fn awake(&self) -> bool {
        self.awake
    }

    /// Takes note of the time; silence while the host itself was late is forgiven.
    fn arrive(&mut self, now: Time) {
        let late = self.deadline.map_or(Duration::ZERO, |at| now - at);
        if late > Duration::from_millis(LATE_MS) {
            for session in self.sessions.values_mut() {
                session.liveness.forgive(late);
            }
        }
        self.now = self.now.max(now);
    }

    fn admit(&mut self, attempt: Attempt, session: SessionId) {
        // A handshake and the Hellos take two round trips, three over TCP and TLS.
        let trips = if attempt.transport == Transport::Quic { 2 } else { 3 };
        let guess = ((self.now - attempt.started) / trips).max(Duration::from_millis(1));
        let idle = Duration::from_millis(PING_STANDBY_MS);
        let liveness = Liveness::new(attempt.transport, guess, idle, self.now);
        self.sessions.insert(
            session,
            Session {
                route: attempt.route,
                transport: attempt.transport,
                role: Role::Standby,
                opened: self.now,
                liveness,
                steady: self.now,
            },
        );
        if attempt.primary && self.primary().is_some() {
            self.actions.push_back(RouteAction::Demote { session });
        }
    }

    /// All decisions that follow from the state and the time, in one order.
    fn settle(&mut self) {
        self.judge();
        self.choose_primary();
        self.hedge();
        self.shed();
        self.race();
        self.pull();
        self.ping();
        self.deadline = self.next_deadline();
    }

    /// Roles by pulse: who is lame, who is back, who is given up.
    fn judge(&mut self) {
        let now = self.now;
        let mut dead = vec![];
        for (id, session) in &mut self.sessions {
            let pulse = session.liveness.pulse(now);
            if pulse != Pulse::Well {
                session.steady = now;
            }
            session.role = match (session.role, pulse) {
                (_, Pulse::Dead) => {
                    dead.push(*id);
                    session.role
                }
                (Role::Standby, Pulse::Silent) => Role::Lame,
                (Role::Lame, Pulse::Well) => Role::Standby,
                (role, _) => role,
            };
        }
        for id in dead {
            self.close(id, CloseWhy::Silent);
        }
    }

    fn choose_primary(&mut self) {
        let Some(primary) = self.primary() else {
            if let Some(best) = self.best_standby() {
                self.promote(best);
            }
            return;
        };
        let answered = self.hedge.filter(|hedge| {
            let warm = self.sessions.get(&hedge.on).is_some_and(|on| on.role == Role::Standby);
            hedge.answered && hedge.suspect == primary && warm
        });
        match answered {
            Some(hedge) if self.pulse(primary) >= Pulse::Silent => self.promote(hedge.on),
            _ => {
                if let Some((session, at)) = self.better_primary()
                    && at <= self.now
                {
                    self.promote(session);
                }
            }
        }
    }

    /// Hedges a suspect primary on the best standby, and stops when it is heard.
    fn hedge(&mut self) {
        let suspect = self.primary().filter(|primary| self.pulse(*primary) != Pulse::Well);
        if let Some(hedge) = self.hedge
            && suspect != Some(hedge.suspect)
        {
            self.unhedge();
        }
        let standing = self.hedge.is_some_and(|hedge| {
            let on = self.sessions.get(&hedge.on);
            on.is_some_and(|on| on.role == Role::Standby) && self.pulse(hedge.on) == Pulse::Well
        });
        if standing {
            return;
        }
        let (Some(suspect), Some(on)) = (suspect, self.best_standby()) else { return };
        if self.hedge.is_some_and(|hedge| hedge.on == on) {
            return;
        }
        let now = self.now;
        self.actions.push_back(RouteAction::Hedge { suspect, on });
        let mut pings = [suspect, on].map(|id| {
            let n = self.sessions.get_mut(&id).map_or(0, |session| session.liveness.ping(now));
            RouteAction::Ping { session: id, n }
        });
        pings.reverse();
        if let RouteAction::Ping { n, .. } = pings[0] {
            self.hedge = Some(Hedge { suspect, on, ping: n, answered: false });
        }
        self.actions.extend(pings);
    }

    /// Closes what is more than a primary and a standby, if all is well; more than three always.
    fn shed(&mut self) {
        loop {
            let primary_well = self.primary().is_some_and(|id| self.pulse(id) == Pulse::Well);
            let spare = self.worst_spare();
            let standbys = self.sessions.values().filter(|s| s.role == Role::Standby).count();
            let over = self.sessions.len() > SESSIONS_MAX || (primary_well && standbys > 1);
            match spare {
                Some(session) if over => self.close(session, CloseWhy::Surplus),
                _ => break,
            }
        }
    }

    /// Starts, feeds and ends races; abandons attempts that are of no more use.
    fn race(&mut self) {
        let now = self.now;
        let aim = self.need();
        let idle = !self.awake;
        let useful: Vec<(AttemptId, Option<Failure>)> = self.dialler.expired(now, |attempt| {
            !idle && (aim.is_some() || self.improves(attempt.route, attempt.transport))
        });
        for (attempt, late) in useful {
            self.actions.push_back(RouteAction::Abandon { attempt });
            match late {
                Some(why) => self.dialler.failed(attempt, why, now),
                None => self.dialler.abandon(attempt),
            }
        }
        match aim {
            Some(aim) => {
                self.dialler.aim(aim, now);
                self.postpone_improvement();
            }
            None if self.awake && self.mode == Mode::Live && self.improve <= now => {
                self.dialler.aim(Aim::Improve, now);
            }
            None if self.dialler.aimed() != Some(Aim::Improve) => self.dialler.stop(),
            None => {}
        }
        let primary = self.primary().is_none();
        let cost = self.cost();
        let mut dials = vec![];
        while let Some((attempt, Attempt { route, transport, .. })) =
            self.dialler.dial(primary, now, &cost)
        {
            dials.push(RouteAction::Dial { attempt, route, transport, primary });
        }
        self.actions.extend(dials);
        let aimed = self.dialler.aimed() == Some(Aim::Improve);
        if aimed && self.dialler.attempts().next().is_none() && self.dialler.exhausted(&cost) {
            self.dialler.stop();
            self.postpone_improvement();
        }
    }

    fn pull(&mut self) {
        if let Some(pull) = self.pull
            && self.pull_at(pull) <= self.now
        {
            self.pull = None;
            self.actions.push_back(RouteAction::Pull { on: pull.on });
        }
    }

    fn ping(&mut self) {
        for (id, session) in &mut self.sessions {
            while let Some(n) = session.liveness.poll_ping(self.now) {
                self.actions.push_back(RouteAction::Ping { session: *id, n });
            }
        }
    }

    fn promote(&mut self, session: SessionId) {
        let old = self.primary();
        self.set_role(session, Role::Primary, PING_PRIMARY_MS);
        self.actions.push_back(RouteAction::Promote { session });
        if let Some(old) = old {
            let role = match self.pulse(old) {
                Pulse::Well | Pulse::Suspect => Role::Standby,
                Pulse::Silent | Pulse::Dead => Role::Lame,
            };
            self.set_role(old, role, PING_STANDBY_MS);
            self.actions.push_back(RouteAction::Demote { session: old });
        }
        self.unhedge();
        self.moved = self.now;
    }

    fn unhedge(&mut self) {
        if let Some(hedge) = self.hedge.take() {
            self.actions.push_back(RouteAction::Unhedge { suspect: hedge.suspect });
        }
    }

    fn close(&mut self, session: SessionId, why: CloseWhy) {
        let blame = (why == CloseWhy::Silent).then_some(Failure::Lost);
        self.forget(session, blame);
        self.actions.push_back(RouteAction::Close { session, why });
    }

    fn forget(&mut self, session: SessionId, why: Option<Failure>) {
        let Some(gone) = self.sessions.remove(&session) else { return };
        let srtt = gone.liveness.measured().then(|| gone.liveness.srtt());
        self.dialler.closed(gone.route, gone.transport, gone.opened, srtt, why, self.now);
        if self.hedge.is_some_and(|hedge| hedge.suspect == session || hedge.on == session) {
            self.unhedge();
        }
        if self.pull.is_some_and(|pull| pull.on == session) {
            self.pull = None;
        }
    }

    fn set_role(&mut self, session: SessionId, role: Role, idle_ms: u64) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.role = role;
            session.liveness.set_idle(Duration::from_millis(idle_ms));
        }
    }

    fn postpone_improvement(&mut self) {
        self.improve = self.now + self.dialler.spread(Duration::from_millis(IMPROVE_MS));
    }

    /// Whether another session is needed, and how badly.
    fn need(&self) -> Option<Aim> {
        if !self.awake {
            return None;
        }
        let Some(primary) = self.primary() else { return Some(Aim::Need) };
        let suspect = self.pulse(primary) != Pulse::Well;
        let warm = self.best_standby().map(|standby| self.pulse(standby) == Pulse::Well);
        match (suspect, warm) {
            (true, None | Some(false)) => Some(Aim::Urgent),
            (false, None) if self.mode == Mode::Live => Some(Aim::Need),
            _ => None,
        }
    }

    /// Of what use a route is now, for the race.
    fn cost(&self) -> impl Fn(RouteId, Transport) -> Option<u32> + use<> {
        // Copies, so that the dialler may be changed while it asks.
        let improving = self.dialler.aimed() == Some(Aim::Improve);
        let now = self.now;
        let open: Vec<(RouteId, Transport, Role, bool)> = self
            .sessions
            .values()
            .map(|s| (s.route, s.transport, s.role, s.liveness.pulse(now) >= Pulse::Silent))
            .collect();
        let better: Option<Vec<(RouteId, Transport)>> = improving.then(|| {
            let each = |route: &RouteId| Transport::ALL.map(|transport| (*route, transport));
            let all = self.all.iter().flat_map(each);
            all.filter(|(route, transport)| self.improves(*route, *transport)).collect()
        });
        move |route, transport| {
            // A route is dialled again beside its own session only if that is silent, or TCP.
            let taken =
                open.iter().any(|(r, t, _, silent)| *r == route && *t >= transport && !*silent);
            let wanted = better.as_ref().is_none_or(|better| better.contains(&(route, transport)));
            (!taken && wanted).then(|| {
                let shared = |(r, _, role, silent): &(RouteId, Transport, Role, bool)| {
                    let avoid = *role == Role::Primary || *role == Role::Lame || *silent;
                    let again = if *r == route { AGAIN_COST } else { 0 };
                    if avoid { 6 - route.differs(*r) + again } else { 0 }
                };
                open.iter().map(shared).sum()
            })
        }
    }

    /// Whether a session on this route would be a better standby than the one we have.
    fn improves(&self, route: RouteId, transport: Transport) -> bool {
        let (Some(primary), Some(standby)) = (self.primary(), self.best_standby()) else {
            return false;
        };
        let primary = &self.sessions[&primary];
        let standby = &self.sessions[&standby];
        let quality = |route: RouteId, transport| (route.differs(primary.route), transport);
        quality(route, transport) > quality(standby.route, standby.transport)
    }

    /// A standby that would be the better primary, and from when the role may move to it.
    fn better_primary(&self) -> Option<(SessionId, Time)> {
        let primary = &self.sessions[&self.primary()?];
        let id = self.best_standby()?;
        let standby = &self.sessions[&id];
        let well = [primary, standby].iter().all(|session| {
            session.liveness.measured() && session.liveness.pulse(self.now) == Pulse::Well
        });
        let shorter = standby.liveness.least_rtt() * 2 + Duration::from_millis(SHORTER_MS)
            < primary.liveness.least_rtt();
        let better = match standby.transport.cmp(&primary.transport) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Equal => shorter,
            std::cmp::Ordering::Less => false,
        };
        let since = standby.steady.max(self.moved);
        (well && better).then_some((id, since + Duration::from_millis(STEADY_MS)))
    }

    fn pulse(&self, session: SessionId) -> Pulse {
        self.sessions.get(&session).map_or(Pulse::Dead, |session| session.liveness.pulse(self.now))
    }

    fn with_role(&self, role: Role) -> Option<SessionId> {
        self.sessions.iter().find(|(_, session)| session.role == role).map(|(id, _)| *id)
    }

    /// How good a session is as standby of the present primary; the older wins a tie.
    fn rank(&self, id: SessionId) -> (Role, bool, u32, Transport, std::cmp::Reverse<SessionId>) {
        let session = &self.sessions[&id];
        let primary = self.primary().map(|primary| self.sessions[&primary].route);
        let differs = primary.map_or(0, |primary| session.route.differs(primary));
        let well = session.liveness.pulse(self.now) == Pulse::Well;
        (session.role, well, differs, session.transport, std::cmp::Reverse(id))
    }

    fn best_standby(&self) -> Option<SessionId> {
        let standby = |id: &SessionId| self.sessions[id].role == Role::Standby;
        self.sessions.keys().copied().filter(standby).max_by_key(|id| self.rank(*id))
    }

    /// The session to close first: never the primary, nor the one that carries a hedge.
    fn worst_spare(&self) -> Option<SessionId> {
        let spare =
            |id: &SessionId| self.sessions[id].role != Role::Primary && self.hedging() != Some(*id);
        self.sessions.keys().copied().filter(spare).min_by_key(|id| self.rank(*id))
    }

    fn pull_at(&self, pull: Pull) -> Time {
        let Some(primary) = self.primary() else { return self.now };
        if self.pulse(primary) != Pulse::Well {
            return self.now;
        }
        let wait = self.sessions[&primary].liveness.hedge_after();
        pull.since + wait.max(Duration::from_millis(PULL_MS_MIN))
    }

    fn next_deadline(&self) -> Option<Time> {
        let sessions =
            self.sessions.values().filter_map(|session| session.liveness.deadline(self.now));
        let settled = self.awake && self.mode == Mode::Live && self.dialler.aimed().is_none();
        let rest = [
            self.dialler.deadline(self.cost()),
            settled.then_some(self.improve),
            self.better_primary().map(|(_, at)| at),
            self.pull.map(|pull| self.pull_at(pull)),
        ];
        sessions.chain(rest.into_iter().flatten()).min()
    }
}
