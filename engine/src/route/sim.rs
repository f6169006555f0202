//! A small world for the stories: virtual time, paths with delay, jitter, loss and outages, and
//! two portals that answer at once. A lost frame arrives late, as QUIC would retransmit it, and
//! holds up what is behind it on its stream.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;

/// Which of the ordered streams of a session a frame takes.
const CONTROL: usize = 0;
const BUNDLES: usize = 1;
/// The transport's idle timeout.
const IDLE_MS: u64 = 30_000;

#[derive(Clone, Copy, Debug)]
pub(super) enum Frame {
    Ping(u64),
    Pong(u64),
    Run(u64),
    Ack(u64),
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Opened(AttemptId, RouteId, Transport),
    Failed(AttemptId, Failure),
    Up(SessionId, Frame),
    Down(SessionId, Frame),
    Write,
}

/// Milliseconds of one way, of jitter on one way, and lost frames of a thousand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    pub(super) way_ms: u64,
    pub(super) jitter_ms: u64,
    pub(super) loss_permille: u64,
}

#[derive(Debug)]
struct Open {
    route: RouteId,
    transport: Transport,
    /// Last arrival per direction and stream: order is kept.
    last: [[Time; 2]; 2],
    heard: Time,
}

/// Whether a path carries nothing at a moment.
type Outage = Box<dyn Fn(RouteId, Transport, Time) -> bool>;

pub(super) struct World {
    pub(super) routes: Routes,
    pub(super) now: Time,
    pub(super) path: Path,
    pub(super) outage: Outage,
    /// A dial to a dead path is answered by "unreachable" at once.
    pub(super) refuses: bool,
    pub(super) write_every: Option<Duration>,
    pub(super) log: Vec<(Time, RouteAction)>,
    pub(super) latencies: Vec<(Time, Duration)>,
    pub(super) sessions_max: usize,
    pub(super) ticks: u64,
    pub(super) runs_sent: u64,
    pub(super) unacked: BTreeMap<u64, Time>,
    open: BTreeMap<SessionId, Open>,
    events: BTreeMap<(Time, u64), Event>,
    dead: BTreeSet<AttemptId>,
    written: u64,
    counter: u64,
    chance: u64,
}

impl World {
    pub(super) fn new(config: RouteConfig, path: Path) -> Self {
        Self::with(config, path, |_, _, _| false)
    }

    pub(super) fn with(
        config: RouteConfig,
        path: Path,
        outage: impl Fn(RouteId, Transport, Time) -> bool + 'static,
    ) -> Self {
        let chance = config.seed.wrapping_mul(0x1234_5677).wrapping_add(99);
        let mut world = Self {
            routes: Routes::new(config, Time::ZERO),
            now: Time::ZERO,
            path,
            outage: Box::new(outage),
            refuses: false,
            write_every: None,
            log: vec![],
            latencies: vec![],
            sessions_max: 0,
            ticks: 0,
            runs_sent: 0,
            unacked: BTreeMap::new(),
            open: BTreeMap::new(),
            events: BTreeMap::new(),
            dead: BTreeSet::new(),
            written: 0,
            counter: 0,
            chance,
        };
        world.drain();
        world
    }

    /// Starts to write, this often.
    pub(super) fn write(&mut self, every: Duration) {
        self.write_every = Some(every);
        self.push(self.now, Event::Write);
    }

    pub(super) fn run_until(&mut self, end_ms: u64) {
        let end = Time::from_millis(end_ms);
        loop {
            let event = self.events.keys().next().copied();
            let deadline = self.routes.deadline();
            let next = event.map(|(at, _)| at).into_iter().chain(deadline).min();
            let Some(next) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            match event {
                Some(key) if key.0 == next => {
                    if let Some(event) = self.events.remove(&key) {
                        self.happen(event);
                    }
                }
                _ => {
                    self.ticks += 1;
                    self.routes.tick(self.now);
                    let deadline = self.routes.deadline();
                    assert!(deadline.is_none_or(|at| at > self.now), "no zero-delay loop");
                }
            }
            self.drain();
            self.time_out();
        }
        self.now = end;
    }

    /// The host stands still, then looks at its clock before it looks at its sockets.
    pub(super) fn suspend(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        self.routes.tick(self.now);
        self.drain();
    }

    /// The host loses a session.
    /// The peer of a session says whether it can store anything.
    pub(super) fn takes(&mut self, session: SessionId, takes: bool) {
        self.routes.takes(session, takes, self.now);
        self.drain();
    }

    pub(super) fn lose(&mut self, session: SessionId) {
        self.open.remove(&session);
        self.routes.closed(session, Failure::Lost, self.now);
        self.drain();
    }

    pub(super) fn route(&self, session: Option<SessionId>) -> Option<(u8, u8, Transport)> {
        let open = self.open.get(&session?)?;
        Some((open.route.line, open.route.portal, open.transport))
    }

    pub(super) fn count(&self, wanted: impl Fn(&RouteAction) -> bool) -> usize {
        self.log.iter().filter(|(_, action)| wanted(action)).count()
    }

    /// The longest wait of a write made from `from_ms` on; writes still waiting count.
    pub(super) fn stall(&self, from_ms: u64) -> Duration {
        let from = Time::from_millis(from_ms);
        let done = self.latencies.iter().filter(|(at, _)| *at >= from).map(|(_, wait)| *wait);
        let waiting = self.unacked.values().filter(|at| **at >= from).map(|at| self.now - *at);
        done.chain(waiting).max().unwrap_or_default()
    }

    pub(super) fn dice(&mut self, sides: u64) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.chance;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn push(&mut self, at: Time, event: Event) {
        self.counter += 1;
        self.events.insert((at, self.counter), event);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Opened(attempt, route, transport) if !self.dead.contains(&attempt) => {
                let session = SessionId(1_000 + attempt.0);
                let last = [[self.now; 2]; 2];
                self.open.insert(session, Open { route, transport, last, heard: self.now });
                self.routes.opened(attempt, session, self.now);
            }
            Event::Failed(attempt, why) if !self.dead.contains(&attempt) => {
                self.routes.failed(attempt, why, self.now);
            }
            Event::Opened(..) | Event::Failed(..) => {}
            Event::Up(session, frame) => match frame {
                Frame::Ping(n) => self.send(session, Frame::Pong(n)),
                Frame::Run(id) => self.send(session, Frame::Ack(id)),
                _ => {}
            },
            Event::Down(session, frame) => {
                let Some(open) = self.open.get_mut(&session) else { return };
                open.heard = self.now;
                match frame {
                    Frame::Pong(n) => self.routes.pong(session, n, self.now),
                    Frame::Ack(id) => {
                        self.routes.heard(session, self.now);
                        if let Some(at) = self.unacked.remove(&id) {
                            self.latencies.push((at, self.now - at));
                        }
                    }
                    _ => {}
                }
            }
            Event::Write => {
                let Some(every) = self.write_every else { return };
                self.written += 1;
                self.unacked.insert(self.written, self.now);
                let on = [self.routes.primary(), self.routes.hedging()];
                for session in on.into_iter().flatten() {
                    self.send_run(session, self.written);
                }
                self.push(self.now + every, Event::Write);
            }
        }
    }

    fn drain(&mut self) {
        while let Some(action) = self.routes.poll() {
            self.log.push((self.now, action));
            match action {
                RouteAction::Dial { attempt, route, transport, .. } => {
                    self.dial(attempt, route, transport);
                }
                RouteAction::Abandon { attempt } => {
                    self.dead.insert(attempt);
                }
                RouteAction::Ping { session, n } => self.send(session, Frame::Ping(n)),
                RouteAction::Hedge { on: session, .. } | RouteAction::Promote { session } => {
                    let unacked: Vec<u64> = self.unacked.keys().copied().collect();
                    for id in unacked {
                        self.send_run(session, id);
                    }
                }
                RouteAction::Close { session, .. } => {
                    self.open.remove(&session);
                }
                _ => {}
            }
        }
        self.sessions_max = self.sessions_max.max(self.routes.sessions());
        assert_eq!(self.routes.sessions(), self.open.len(), "host and routes agree");
    }

    fn dial(&mut self, attempt: AttemptId, route: RouteId, transport: Transport) {
        if self.refuses && (self.outage)(route, transport, self.now) {
            self.push(self.now, Event::Failed(attempt, Failure::Unreachable));
            return;
        }
        let legs = if transport == Transport::Quic { 4 } else { 6 };
        let mut at = Some(self.now);
        for _ in 0..legs {
            at = at.and_then(|at| self.transit(route, transport, at));
        }
        if let Some(at) = at {
            self.push(at, Event::Opened(attempt, route, transport));
        }
    }

    fn send_run(&mut self, session: SessionId, id: u64) {
        self.runs_sent += 1;
        self.send(session, Frame::Run(id));
        self.routes.sent(session, self.now);
    }

    fn send(&mut self, session: SessionId, frame: Frame) {
        let Some(open) = self.open.get(&session) else { return };
        let (route, transport) = (open.route, open.transport);
        let up = matches!(frame, Frame::Ping(_) | Frame::Run(_));
        let stream = if matches!(frame, Frame::Run(_)) { BUNDLES } else { CONTROL };
        let Some(at) = self.transit(route, transport, self.now) else { return };
        let Some(open) = self.open.get_mut(&session) else { return };
        // TCP has one stream.
        let stream = if transport == Transport::Tcp { CONTROL } else { stream };
        let last = &mut open.last[usize::from(up)][stream];
        let at = at.max(*last);
        *last = at;
        self.push(at, if up { Event::Up(session, frame) } else { Event::Down(session, frame) });
    }

    /// When a frame sent now arrives. Lost by chance, it costs a probe timeout, as other frames
    /// are acknowledged meanwhile; on a dead path timeouts double.
    fn transit(&mut self, route: RouteId, transport: Transport, sent: Time) -> Option<Time> {
        let Path { way_ms, jitter_ms, loss_permille } = self.path;
        let ms = Duration::from_millis;
        // RFC 9002: srtt + 4 rttvar + max_ack_delay.
        let mut timeout = ms(2 * way_ms + jitter_ms + 2 * jitter_ms + 25);
        let mut leaves = sent;
        while leaves - sent < ms(IDLE_MS) {
            let way = Duration::from_micros(way_ms * 1_000 + self.dice(jitter_ms * 1_000 + 1));
            let cut = [leaves, leaves + way].iter().any(|at| (self.outage)(route, transport, *at));
            if !cut && self.dice(1_000) >= loss_permille {
                return Some(leaves + way);
            }
            leaves += timeout;
            if cut {
                timeout *= 2;
            }
        }
        None
    }

    fn time_out(&mut self) {
        let idle = Duration::from_millis(IDLE_MS);
        let gone: Vec<SessionId> = self
            .open
            .iter()
            .filter(|(_, open)| self.now - open.heard >= idle)
            .map(|(session, _)| *session)
            .collect();
        for session in gone {
            self.lose(session);
        }
    }
}
