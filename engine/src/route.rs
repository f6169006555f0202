//! Lines and portals: whom to dial, which session is primary, when to hedge.
//!
//! A **route** is a local line, a portal and one of its addresses. [`Routes`] keeps one
//! **primary** session, on which writes go, and one warm **standby** that shares as little as
//! possible with it: another portal over another line by the other transport, so that neither a
//! server, nor a line, nor a firewall that begins to drop UDP takes both. A third there is only
//! while it replaces one of them (make before break). QUIC carries the primary where it gets
//! through: once the role has moved to TCP, the same route is dialled by QUIC, which takes over.
//! A primary that owes an answer for longer than 1.25 round trips + 60 ms is *suspect*: what it
//! has not acknowledged goes on the standby too (a **hedge**, harmless because bundles are
//! idempotent), and so do new writes. The role moves only when the hedge was answered and the
//! old primary stayed silent for 3 round trips + 1.5 s, or when its session closed: under loss
//! false hedges are certain, false changes of primary must not happen. Where a peer says that it
//! can store nothing for now, the role moves to a session whose peer can, if there is one.
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

use self::race::{Attempt, Dialler};
use self::roles::{Hedge, Pull, Session};
use crate::limits::PING_STANDBY_MS;
use crate::time::Time;

mod liveness;
mod race;
mod roles;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod stories;
mod view;

pub use self::liveness::{Liveness, Pulse};
pub use self::view::{RouteState, RouteView};
pub use crate::session::SessionId;

/// How often a better session is looked for when the ones we have could be better: QUIC again
/// where TCP had to serve as primary, or a line that was down when the standby was chosen.
const IMPROVE_MS: u64 = 180_000;
/// Lateness of the host that is not counted as silence of the peer.
const LATE_MS: u64 = 100;

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

/// What carries the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TLS on TCP: for the standby, and where UDP is blocked.
    Tcp,
    /// QUIC: preferred for the primary.
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

    const fn other(self) -> Self {
        match self {
            Transport::Quic => Transport::Tcp,
            Transport::Tcp => Transport::Quic,
        }
    }
}

/// A route over one transport: what a session runs on.
type Path = (RouteId, Transport);

/// What two paths that share nothing are apart.
const APART_MAX: u32 = 14;

/// How little two paths share, 0 to [`APART_MAX`]: a different portal counts most, then a
/// different line, then a different transport, then a different address (that is, line) of the
/// same portal.
fn apart(one: Path, other: Path) -> u32 {
    let (route, transport) = one;
    let (beside, by) = other;
    let portal = route.portal != beside.portal;
    8 * u32::from(portal)
        + 4 * u32::from(route.line != beside.line)
        + 2 * u32::from(transport != by)
        + u32::from(!portal && route.address != beside.address)
}

/// Names one dial. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub u64);

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
    /// When another portal is looked for, if primary and standby are at one.
    part: Time,
    /// When the role last moved.
    moved: Time,
    /// When it last moved because a peer could store nothing.
    spared: Option<Time>,
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
            part: now,
            moved: now,
            spared: None,
            actions: VecDeque::new(),
            now,
            deadline: None,
        };
        routes.settle();
        routes
    }

    /// From now on sessions are kept, or not. Those that are open stay until [`Self::rest`].
    pub fn set_mode(&mut self, mode: Mode, now: Time) {
        self.arrive(now);
        self.mode = mode;
        self.awake |= mode == Mode::Live;
        self.settle();
    }

    /// Whether sessions are kept.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
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

    /// The peer can store what is pushed to it, or not for now: its disk is full. It stays open
    /// for what it has, and the role moves to a session whose peer can.
    pub fn takes(&mut self, session: SessionId, takes: bool, now: Time) {
        self.arrive(now);
        if let Some(session) = self.sessions.get_mut(&session) {
            session.takes = takes;
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
                takes: true,
                steady: self.now,
            },
        );
        if attempt.primary && self.primary().is_some() {
            self.actions.push_back(RouteAction::Demote { session });
        }
    }
}
