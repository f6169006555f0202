//! Dialling: which route next, and when (RFC 8305 over lines and portals instead of address
//! families).
//!
//! A [`Race`] runs while a session is wanted. Every stagger one more route is dialled, the most
//! promising first and unlike those under way; attempts that hang do not hold the others up. QUIC
//! has its own track and TCP another. One of them comes first, QUIC for a primary and for a standby
//! the transport that the primary has not; the other opens late, only when that does not get
//! through.
//! What each route did last is remembered as a back-off, so nobody is dialled in a busy loop.
//!
//! It knows nothing of roles: its owner says by a *cost* which routes are of any use now.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{AttemptId, Failure, RouteId, Transport};
use crate::limits::{BACKOFF_MS_MAX, BACKOFF_MS_MIN, DIAL_STAGGER_MS, DIAL_TIMEOUT_MS};
use crate::time::Time;

/// Staggers that the first transport is given before the other is dialled too.
const HEAD_START: u32 = 3;
/// Least time between two attempts when the first fails at once (RFC 8305 section 5).
const DIAL_GAP_MS_MIN: u64 = 100;
/// While the only session is suspect, a back-off counts no longer than this.
const BACKOFF_URGENT_MS_MAX: u64 = 2_000;
/// A session shorter than this does not clear its route's failures.
const STABLE_MS: u64 = 10_000;
/// Attempts under way at a time; the rest wait for one to end.
const ATTEMPTS_MAX: usize = 24;
/// Failures in a row after which the back-off grows no more (500 ms * 2^6 > 30 s).
const FAILURES_MAX: u32 = 7;

/// Of what use a route would be now: lower is better. None: of no use.
pub(super) type Cost = Option<u32>;

/// A session being opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    pub(super) route: RouteId,
    pub(super) transport: Transport,
    pub(super) started: Time,
    /// Whether it was dialled to become primary.
    pub(super) primary: bool,
}

/// What a route did last over one transport.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Past {
    failures: u32,
    tried: Option<Time>,
    not_before: Time,
    worked: bool,
    pub(super) srtt: Option<Duration>,
    pub(super) error: Option<Failure>,
}

/// Why a race runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    /// A session is missing: go on until one opens.
    Need,
    /// The only session is suspect: the same, and back-offs are cut short.
    Urgent,
    /// A better session may be had: try each route once.
    Improve,
}

#[derive(Clone, Debug)]
struct Race {
    aim: Aim,
    /// The transport that is dialled first.
    first: Transport,
    started: Time,
    /// Next turn of QUIC and of TCP.
    turns: [Time; 2],
    tried: BTreeSet<(RouteId, Transport)>,
}

/// All attempts and what is remembered of each route.
#[derive(Clone, Debug)]
pub(super) struct Dialler {
    routes: Vec<RouteId>,
    past: BTreeMap<(RouteId, Transport), Past>,
    attempts: BTreeMap<AttemptId, Attempt>,
    race: Option<Race>,
    next: u64,
    jitter: Jitter,
    /// TCP opened last time where QUIC had not: it need not wait long next time.
    quic_doubted: bool,
}

impl Dialler {
    pub(super) fn new(routes: Vec<RouteId>, seed: u64) -> Self {
        Self {
            routes,
            past: BTreeMap::new(),
            attempts: BTreeMap::new(),
            race: None,
            next: 1,
            jitter: Jitter(seed),
            quic_doubted: false,
        }
    }

    /// Starts a race in which `first` has the head start, or changes the aim of the one that runs.
    pub(super) fn aim(&mut self, aim: Aim, first: Transport, now: Time) {
        match &mut self.race {
            // What is under way serves as well, and the other transport follows soon.
            Some(race) if aim == Aim::Urgent && race.aim != Aim::Improve => race.aim = aim,
            Some(race) if race.first != first => self.restart(aim, first, now),
            Some(race) if race.aim != Aim::Improve && aim != Aim::Improve => race.aim = aim,
            Some(race) if race.aim == aim => {}
            _ => self.restart(aim, first, now),
        }
    }

    /// Ends the race; attempts under way stay until they end or are abandoned.
    pub(super) fn stop(&mut self) {
        self.race = None;
    }

    pub(super) fn aimed(&self) -> Option<Aim> {
        self.race.as_ref().map(|race| race.aim)
    }

    /// Dials the next route whose turn it is, if any.
    pub(super) fn dial(
        &mut self,
        primary: bool,
        now: Time,
        cost: impl Fn(RouteId, Transport) -> Cost,
    ) -> Option<(AttemptId, Attempt)> {
        let transport =
            Transport::ALL.into_iter().find(|transport| self.turn(*transport, &cost) <= now)?;
        let route = self.best(transport, now, &cost)?;
        let race = self.race.as_mut()?;
        race.turns[transport.index()] = now + Duration::from_millis(DIAL_STAGGER_MS);
        race.tried.insert((route, transport));
        let past = self.past.entry((route, transport)).or_default();
        past.tried = Some(now);
        let id = AttemptId(self.next);
        self.next += 1;
        let attempt = Attempt { route, transport, started: now, primary };
        self.attempts.insert(id, attempt);
        Some((id, attempt))
    }

    /// An attempt opened a session: what was dialled, or nothing if it is not ours any more.
    pub(super) fn opened(&mut self, id: AttemptId, now: Time) -> Option<Attempt> {
        let attempt = self.attempts.remove(&id)?;
        let past = self.past.entry((attempt.route, attempt.transport)).or_default();
        past.worked = true;
        past.error = None;
        match attempt.transport {
            Transport::Quic => self.quic_doubted = false,
            Transport::Tcp => {
                self.quic_doubted |= self.race.as_ref().is_some_and(|r| r.first == Transport::Quic);
            }
        }
        // What is raced for next is another session: the head start begins anew.
        if let Some(race) = &self.race {
            let (aim, first) = (race.aim, race.first);
            self.restart(aim, first, now);
        }
        Some(attempt)
    }

    /// An attempt came to nothing.
    pub(super) fn failed(&mut self, id: AttemptId, why: Failure, now: Time) {
        let Some(attempt) = self.attempts.remove(&id) else { return };
        self.back_off(attempt.route, attempt.transport, why, now);
        // Its turn passes to the next at once, or nearly so.
        if let Some(race) = &mut self.race {
            let turn = &mut race.turns[attempt.transport.index()];
            *turn = (*turn).min(now + Duration::from_millis(DIAL_GAP_MS_MIN));
        }
    }

    /// A session that was opened at `opened` is gone; `why` is none if we closed it unblamed.
    pub(super) fn closed(
        &mut self,
        route: RouteId,
        transport: Transport,
        opened: Time,
        srtt: Option<Duration>,
        why: Option<Failure>,
        now: Time,
    ) {
        let past = self.past.entry((route, transport)).or_default();
        past.srtt = srtt.or(past.srtt);
        if now - opened >= Duration::from_millis(STABLE_MS) {
            past.failures = 0;
        }
        if let Some(why) = why {
            self.back_off(route, transport, why, now);
        }
    }

    /// The attempts that have had their time, or that `useful` does not want any more.
    pub(super) fn expired(
        &self,
        now: Time,
        useful: impl Fn(&Attempt) -> bool,
    ) -> Vec<(AttemptId, Option<Failure>)> {
        let late = |attempt: &Attempt| attempt.started + Self::timeout() <= now;
        self.attempts
            .iter()
            .filter(|(_, attempt)| late(attempt) || !useful(attempt))
            .map(|(id, attempt)| (*id, late(attempt).then_some(Failure::TimedOut)))
            .collect()
    }

    /// Forgets an attempt without a verdict on its route.
    pub(super) fn abandon(&mut self, id: AttemptId) {
        self.attempts.remove(&id);
    }

    pub(super) fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts.values()
    }

    pub(super) fn past(&self, route: RouteId, transport: Transport) -> Past {
        self.past.get(&(route, transport)).copied().unwrap_or_default()
    }

    /// When this route may be dialled again, if it is in a back-off.
    pub(super) fn not_before(&self, route: RouteId, transport: Transport) -> Option<Time> {
        let past = self.past.get(&(route, transport))?;
        (past.failures > 0).then_some(past.not_before)
    }

    /// Whether a race to improve has tried all there is.
    pub(super) fn exhausted(&self, cost: impl Fn(RouteId, Transport) -> Cost) -> bool {
        Transport::ALL.into_iter().all(|transport| self.turn(transport, &cost) == Time::MAX)
    }

    /// When an attempt times out or the next one is due.
    pub(super) fn deadline(&self, cost: impl Fn(RouteId, Transport) -> Cost) -> Option<Time> {
        let timeouts = self.attempts.values().map(|attempt| attempt.started + Self::timeout());
        let turns = Transport::ALL.into_iter().map(|transport| self.turn(transport, &cost));
        timeouts.chain(turns).filter(|at| *at < Time::MAX).min()
    }

    /// A pause around `span`, so that a thousand nodes do not act as one.
    pub(super) fn spread(&mut self, span: Duration) -> Duration {
        self.jitter.between(span * 3 / 4, span * 5 / 4)
    }

    const fn timeout() -> Duration {
        Duration::from_millis(DIAL_TIMEOUT_MS)
    }

    fn restart(&mut self, aim: Aim, first: Transport, now: Time) {
        let tried = match &self.race {
            Some(race) if race.aim == aim && aim == Aim::Improve => race.tried.clone(),
            _ => BTreeSet::new(),
        };
        let doubted = self.quic_doubted && first == Transport::Quic;
        let head_start = if doubted { 1 } else { HEAD_START };
        let mut turns = [now; 2];
        turns[first.other().index()] += Duration::from_millis(DIAL_STAGGER_MS) * head_start;
        self.race = Some(Race { aim, first, started: now, turns, tried });
    }

    fn back_off(&mut self, route: RouteId, transport: Transport, why: Failure, now: Time) {
        let past = self.past.entry((route, transport)).or_default();
        past.failures = match why {
            Failure::Refused => FAILURES_MAX,
            _ => (past.failures + 1).min(FAILURES_MAX),
        };
        past.worked = false;
        past.error = Some(why);
        let span = Duration::from_millis(BACKOFF_MS_MIN << (past.failures - 1))
            .min(Duration::from_millis(BACKOFF_MS_MAX));
        past.not_before = now + self.jitter.between(span / 2, span);
    }

    /// When this transport may dial next in the race; `Time::MAX` if it has nothing to dial.
    fn turn(&self, transport: Transport, cost: &impl Fn(RouteId, Transport) -> Cost) -> Time {
        let Some(race) = &self.race else { return Time::MAX };
        if self.attempts.len() >= ATTEMPTS_MAX {
            return Time::MAX;
        }
        let ready = |transport| {
            self.candidates(transport, cost)
                .map(|(route, _)| self.ready(route, transport))
                .min()
                .unwrap_or(Time::MAX)
        };
        let mut turn = race.turns[transport.index()];
        if transport != race.first && self.first_is_over(race, cost) {
            turn = race.started;
        }
        turn.max(ready(transport))
    }

    /// The first transport failed everywhere within this race: the other need not wait out the
    /// head start.
    fn first_is_over(&self, race: &Race, cost: &impl Fn(RouteId, Transport) -> Cost) -> bool {
        let first = race.first;
        let second_waits = !race.tried.iter().any(|(_, transport)| *transport != first);
        let under_way = self.attempts.values().any(|attempt| attempt.transport == first);
        let next = self.candidates(first, cost).map(|(route, _)| self.ready(route, first)).min();
        let turn = race.turns[first.index()];
        second_waits && !under_way && next.is_none_or(|at| at > turn)
    }

    fn best(
        &self,
        transport: Transport,
        now: Time,
        cost: &impl Fn(RouteId, Transport) -> Cost,
    ) -> Option<RouteId> {
        self.candidates(transport, cost)
            .filter(|(route, _)| self.ready(*route, transport) <= now)
            .min_by_key(|(route, cost)| {
                let past = self.past(*route, transport);
                (
                    past.failures > 0,
                    cost + self.crowd(*route, transport),
                    !past.worked,
                    past.failures,
                    past.srtt.unwrap_or(Duration::MAX),
                    *route,
                )
            })
            .map(|(route, _)| route)
    }

    /// Routes that are of use and not being dialled.
    fn candidates<'a>(
        &'a self,
        transport: Transport,
        cost: &'a impl Fn(RouteId, Transport) -> Cost,
    ) -> impl Iterator<Item = (RouteId, u32)> + 'a {
        let once = self.race.as_ref().filter(|race| race.aim == Aim::Improve);
        self.routes
            .iter()
            .filter(move |route| {
                !self.attempts.values().any(|a| a.route == **route && a.transport == transport)
                    && once.is_none_or(|race| !race.tried.contains(&(**route, transport)))
            })
            .filter_map(move |route| Some((*route, cost(*route, transport)?)))
    }

    /// What a route shares with attempts under way: if those hang, so may this one.
    fn crowd(&self, route: RouteId, transport: Transport) -> u32 {
        self.attempts
            .values()
            .filter(|attempt| attempt.transport == transport)
            .map(|attempt| {
                let line = attempt.route.line == route.line;
                let portal = attempt.route.portal == route.portal;
                u32::from(line) + u32::from(portal) + 2 * u32::from(line && portal)
            })
            .sum()
    }

    /// When a route's back-off ends.
    fn ready(&self, route: RouteId, transport: Transport) -> Time {
        let past = self.past(route, transport);
        match (past.tried, self.aimed()) {
            (Some(tried), Some(Aim::Urgent)) if past.error != Some(Failure::Refused) => {
                past.not_before.min(tried + Duration::from_millis(BACKOFF_URGENT_MS_MAX))
            }
            _ => past.not_before,
        }
    }
}

/// A stream of pauses from a seed (SplitMix64): for spreading load, never for secrets.
#[derive(Clone, Debug)]
struct Jitter(u64);

impl Jitter {
    fn between(&mut self, low: Duration, high: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let part = u32::try_from((z ^ (z >> 31)) >> 48).unwrap_or(0);
        low + high.saturating_sub(low) * part / 65_536
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    fn routes(lines: u8, portals: u8) -> Vec<RouteId> {
        (0..lines)
            .flat_map(|line| (0..portals).map(move |portal| RouteId { line, portal, address: 0 }))
            .collect()
    }

    /// All dials of a race in which nobody answers, up to `until`.
    fn hang(dialler: &mut Dialler, until: Time) -> Vec<(Time, RouteId, Transport)> {
        let mut dials = vec![];
        while let Some(now) = dialler.deadline(|_, _| Some(0)).filter(|at| *at <= until) {
            for (id, why) in dialler.expired(now, |_| true) {
                dialler.failed(id, why.unwrap(), now);
            }
            while let Some((_, attempt)) = dialler.dial(true, now, |_, _| Some(0)) {
                dials.push((now, attempt.route, attempt.transport));
            }
        }
        dials
    }

    #[test]
    fn a_race_spreads_over_lines_and_portals_then_over_tcp() {
        let mut dialler = Dialler::new(routes(2, 2), 1);
        dialler.aim(Aim::Need, Transport::Quic, ms(0));
        let seen: Vec<_> = hang(&mut dialler, ms(1_100))
            .into_iter()
            .map(|(at, route, transport)| (at.as_millis(), route.line, route.portal, transport))
            .collect();
        assert_eq!(
            seen,
            [
                (0, 0, 0, Transport::Quic),
                (250, 1, 1, Transport::Quic),
                (500, 0, 1, Transport::Quic),
                (750, 1, 0, Transport::Quic),
                (750, 0, 0, Transport::Tcp),
                (1_000, 1, 1, Transport::Tcp),
            ]
        );
    }

    #[test]
    fn tcp_does_not_wait_when_quic_failed_everywhere() {
        let mut dialler = Dialler::new(routes(1, 1), 1);
        dialler.aim(Aim::Need, Transport::Quic, ms(0));
        let (id, _) = dialler.dial(true, ms(0), |_, _| Some(0)).unwrap();
        dialler.failed(id, Failure::Unreachable, ms(5));
        assert!(dialler.deadline(|_, _| Some(0)).unwrap() <= ms(105));
        let (_, attempt) = dialler.dial(true, ms(105), |_, _| Some(0)).unwrap();
        assert_eq!(attempt.transport, Transport::Tcp);
    }

    #[test]
    fn back_off_grows_to_its_bound_with_jitter() {
        let mut dialler = Dialler::new(routes(1, 1), 7);
        let route = dialler.routes[0];
        let mut pauses = vec![];
        for _ in 0..9 {
            dialler.back_off(route, Transport::Quic, Failure::Unreachable, ms(0));
            pauses.push(dialler.past(route, Transport::Quic).not_before.as_millis());
        }
        assert!((250..=500).contains(&pauses[0]), "{pauses:?}");
        assert!(pauses[6..].iter().all(|p| (15_000..=30_000).contains(p)), "{pauses:?}");
        assert!(pauses[7] != pauses[8], "{pauses:?}");
    }

    #[test]
    fn a_refusal_waits_long_at_once_and_a_short_session_clears_nothing() {
        let mut dialler = Dialler::new(routes(1, 1), 7);
        let (route, quic) = (dialler.routes[0], Transport::Quic);
        dialler.back_off(route, quic, Failure::Refused, ms(0));
        assert!(dialler.past(route, quic).not_before >= ms(15_000));
        dialler.closed(route, quic, ms(20_000), None, Some(Failure::Lost), ms(20_900));
        assert!(dialler.past(route, quic).not_before >= ms(35_900));
        dialler.closed(route, quic, ms(60_000), None, Some(Failure::Lost), ms(80_000));
        assert!(dialler.past(route, quic).not_before <= ms(80_500));
    }
}
