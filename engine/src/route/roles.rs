//! The decisions: who is primary, who stands by, who is let go, and whether to race.
//!
//! [`Routes::settle`] derives everything from the state and the time, in one order, after each
//! input. It never remembers that something *was to be* done: what is to be done follows anew.

use std::cmp::Reverse;
use std::time::Duration;

use super::race::{Aim, Attempt};
use super::{
    APART_MAX, AttemptId, CloseWhy, Failure, IMPROVE_MS, Liveness, Mode, Path, Pulse, Role,
    RouteAction, RouteId, Routes, SessionId, Transport, apart,
};
use crate::limits::{PING_PRIMARY_MS, PING_STANDBY_MS};
use crate::time::Time;

/// Sessions at a time: primary, standby, and one that replaces or is being replaced.
const SESSIONS_MAX: usize = 3;
/// A session must have been well for this long before the role moves to it without need.
const STEADY_MS: u64 = 30_000;
/// The role moves without need to a path at least this much shorter than half the present one.
const SHORTER_MS: u64 = 20;
/// A standby at the primary's own portal is a compromise: another portal is tried this often.
const PART_MS: u64 = 5_000;
/// Two peers whose disks are all but full take turns: the role follows no more often than this.
const SPARE_MS: u64 = 5_000;
/// Dialling the very route whose session is silent comes after all others.
const AGAIN_COST: u32 = 100;
/// A primary that is heard but does not deliver what the standby announced is given this long.
const PULL_MS_MIN: u64 = 100;

#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) route: RouteId,
    pub(super) transport: Transport,
    pub(super) role: Role,
    pub(super) opened: Time,
    pub(super) liveness: Liveness,
    /// Whether its peer can store what is pushed.
    pub(super) takes: bool,
    /// Since when it has not been suspect.
    pub(super) steady: Time,
}

impl Session {
    fn path(&self) -> Path {
        (self.route, self.transport)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Hedge {
    pub(super) suspect: SessionId,
    pub(super) on: SessionId,
    /// A pong of this number or above, on `on`, answers the hedge.
    pub(super) ping: u64,
    pub(super) answered: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Pull {
    pub(super) on: SessionId,
    pub(super) since: Time,
}

impl Routes {
    /// All decisions that follow from the state and the time, in one order.
    pub(super) fn settle(&mut self) {
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
        if let Some(session) = self.next_primary() {
            self.promote(session);
            // A session by QUIC may be open already beside the one over TCP that has the role now.
            if let Some(heir) = self.next_primary() {
                self.promote(heir);
            }
        }
    }

    /// To whom the role is to move now, if to anybody.
    fn next_primary(&mut self) -> Option<SessionId> {
        let Some(primary) = self.primary() else { return self.best_standby() };
        let answered = self.hedge.filter(|hedge| {
            let warm = self.sessions.get(&hedge.on).is_some_and(|on| on.role == Role::Standby);
            hedge.answered && hedge.suspect == primary && warm
        });
        if let Some(hedge) = answered.filter(|_| self.pulse(primary) >= Pulse::Silent) {
            return Some(hedge.on);
        }
        let due = |(session, at): (SessionId, Time)| (at <= self.now).then_some(session);
        if let Some(session) = self.taking_primary().and_then(due) {
            self.spared = Some(self.now);
            return Some(session);
        }
        self.better_primary().and_then(due)
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
            let kept = 1 + usize::from(self.heir().is_some());
            let over = self.sessions.len() > SESSIONS_MAX || (primary_well && standbys > kept);
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
        let first = self.first_transport();
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
                self.dialler.aim(aim, first, now);
                self.postpone_improvement();
            }
            None if self.awake && self.mode == Mode::Live && self.improve_at() <= now => {
                self.dialler.aim(Aim::Improve, first, now);
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
        match self.sessions.get(&session).map(|new| new.transport) {
            // Its heir is dialled at once; what else could be better has time.
            Some(Transport::Tcp) => self.improve = self.now,
            _ => {
                self.dialler.stop();
                self.postpone_improvement();
            }
        }
    }

    fn unhedge(&mut self) {
        if let Some(hedge) = self.hedge.take() {
            self.actions.push_back(RouteAction::Unhedge { suspect: hedge.suspect });
        }
    }

    pub(super) fn close(&mut self, session: SessionId, why: CloseWhy) {
        let blame = (why == CloseWhy::Silent).then_some(Failure::Lost);
        self.forget(session, blame);
        self.actions.push_back(RouteAction::Close { session, why });
    }

    pub(super) fn forget(&mut self, session: SessionId, why: Option<Failure>) {
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
        self.part = self.now + self.dialler.spread(Duration::from_millis(PART_MS));
    }

    /// When a better standby is looked for next: soon, as long as one server carries both
    /// sessions and there is another. Routes that fail back off on their own.
    fn improve_at(&self) -> Time {
        let portal = |id: SessionId| self.sessions[&id].route.portal;
        let together = match (self.primary(), self.best_standby()) {
            (Some(primary), Some(standby)) => portal(primary) == portal(standby),
            _ => false,
        };
        let several = self.all.iter().any(|route| route.portal > 0);
        if together && several { self.part.min(self.improve) } else { self.improve }
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
            (false, None) if self.mode == Mode::Live || !self.sessions[&primary].takes => {
                Some(Aim::Need)
            }
            _ => None,
        }
    }

    /// A primary is to be over QUIC; a standby by what the primary is not over, unless the
    /// primary is suspect and any will do.
    fn first_transport(&self) -> Transport {
        match self.primary() {
            Some(primary) if self.pulse(primary) == Pulse::Well => {
                self.sessions[&primary].transport.other()
            }
            _ => Transport::Quic,
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
        let heir = self.heir_path();
        let better: Option<Vec<Path>> = improving.then(|| {
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
                if heir == Some((route, transport)) {
                    return 0;
                }
                let shared = |(r, t, role, silent): &(RouteId, Transport, Role, bool)| {
                    let avoid = *role == Role::Primary || *role == Role::Lame || *silent;
                    let again = if *r == route { AGAIN_COST } else { 0 };
                    if avoid { APART_MAX - apart((route, transport), (*r, *t)) + again } else { 0 }
                };
                open.iter().map(shared).sum()
            })
        }
    }

    /// Whether a session on this route would be a better standby than the one we have, or is to
    /// be primary.
    fn improves(&self, route: RouteId, transport: Transport) -> bool {
        if self.heir_path() == Some((route, transport)) {
            return true;
        }
        if self.heir().is_some() {
            // What is better depends on who is primary, which changes in a moment.
            return false;
        }
        let (Some(primary), Some(standby)) = (self.primary(), self.best_standby()) else {
            return false;
        };
        let primary = self.sessions[&primary].path();
        let standby = self.sessions[&standby].path();
        apart((route, transport), primary) > apart(standby, primary)
    }

    /// Where the primary's peer can store nothing: a standby whose peer can, and from when the
    /// role may move to it.
    fn taking_primary(&self) -> Option<(SessionId, Time)> {
        let primary = &self.sessions[&self.primary()?];
        let id = self.best_standby()?;
        let able = !primary.takes && self.sessions[&id].takes && self.pulse(id) == Pulse::Well;
        let pause = Duration::from_millis(SPARE_MS);
        able.then_some((id, self.spared.map_or(Time::ZERO, |spared| spared + pause)))
    }

    /// A standby that would be the better primary, and from when the role may move to it.
    fn better_primary(&self) -> Option<(SessionId, Time)> {
        let primary = &self.sessions[&self.primary()?];
        let heir = self.heir();
        let id = heir.or_else(|| self.best_standby())?;
        let standby = &self.sessions[&id];
        let well = [primary, standby].iter().all(|session| {
            session.liveness.measured() && session.liveness.pulse(self.now) == Pulse::Well
        });
        let shorter = |one: &Session, other: &Session| {
            let one = one.liveness.least_rtt() * 2 + Duration::from_millis(SHORTER_MS);
            one < other.liveness.least_rtt()
        };
        // Length counts more than transport, as the standby mostly is over the other.
        let better = shorter(standby, primary)
            || (standby.transport > primary.transport && !shorter(primary, standby));
        let since = standby.steady.max(self.moved) + Duration::from_millis(STEADY_MS);
        let at = if heir.is_some() { self.now } else { since };
        (well && better && standby.takes).then_some((id, at))
    }

    /// The session that takes over from a primary that is over TCP.
    fn heir(&self) -> Option<SessionId> {
        let path = self.heir_path()?;
        let mut sessions = self.sessions.iter();
        let heir = sessions.find(|(_, s)| s.role == Role::Standby && s.path() == path);
        heir.map(|(id, _)| *id)
    }

    /// The route of a primary that is over TCP, by QUIC: the path is proven, and only what carries
    /// the frames is to change.
    fn heir_path(&self) -> Option<Path> {
        let primary = &self.sessions[&self.primary()?];
        (primary.transport == Transport::Tcp).then_some((primary.route, Transport::Quic))
    }

    pub(super) fn pulse(&self, session: SessionId) -> Pulse {
        self.sessions.get(&session).map_or(Pulse::Dead, |session| session.liveness.pulse(self.now))
    }

    pub(super) fn with_role(&self, role: Role) -> Option<SessionId> {
        self.sessions.iter().find(|(_, session)| session.role == role).map(|(id, _)| *id)
    }

    /// How good a session is as standby of the present primary; the older wins a tie.
    fn rank(&self, id: SessionId) -> (Role, bool, bool, u32, Transport, Reverse<SessionId>) {
        let session = &self.sessions[&id];
        let primary = self.primary().map(|primary| self.sessions[&primary].path());
        let apart = primary.map_or(0, |primary| apart(session.path(), primary));
        let well = session.liveness.pulse(self.now) == Pulse::Well;
        (session.role, well, session.takes, apart, session.transport, Reverse(id))
    }

    pub(super) fn best_standby(&self) -> Option<SessionId> {
        let standby = |id: &SessionId| self.sessions[id].role == Role::Standby;
        self.sessions.keys().copied().filter(standby).max_by_key(|id| self.rank(*id))
    }

    /// The session to close first: never the primary, its heir, or the one that carries a hedge.
    /// One to another portal is kept before one whose peer can store more: it is read from.
    fn worst_spare(&self) -> Option<SessionId> {
        let kept = [self.primary(), self.heir(), self.hedging()];
        let spare = |id: &SessionId| !kept.contains(&Some(*id));
        self.sessions.keys().copied().filter(spare).min_by_key(|id| {
            let (role, well, takes, apart, transport, older) = self.rank(*id);
            (role, well, apart, takes, transport, older)
        })
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
            settled.then(|| self.improve_at()),
            self.taking_primary().map(|(_, at)| at),
            self.better_primary().map(|(_, at)| at),
            self.pull.map(|pull| self.pull_at(pull)),
        ];
        sessions.chain(rest.into_iter().flatten()).min()
    }
}
