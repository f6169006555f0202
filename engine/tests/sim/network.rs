//! Lines, addresses, connections, and what the weather does to them.
//!
//! A connection carries three streams, each in order, as QUIC and TCP keep them: a lost packet
//! is a late frame and holds up what is behind it on its stream. Streams overtake each other,
//! sessions overtake each other, and what a path cannot carry for 30 s ends its connection.
//! Bytes take their time on a line; control goes before the rest.

use std::{collections::BTreeMap, time::Duration};

use engine::{
    route::{SessionId, Transport},
    time::Time,
    wire::Frame,
};

use crate::{
    dice::Dice,
    plan::{HostPlan, Plan, Sky, Weather},
};

/// The transport's idle time.
pub const IDLE: Duration = Duration::from_secs(30);

/// Whom a connection joins and by which way. Side 0 dialled, side 1 accepted.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    pub hosts: [usize; 2],
    pub line: u8,
    pub address: u8,
    pub transport: Transport,
}

/// One connection.
pub struct Wire {
    pub path: Path,
    pub sessions: [SessionId; 2],
    /// Whether each side still has it.
    pub open: [bool; 2],
    /// From when on: what arrives sooner waits in the transport.
    pub opens: [Time; 2],
    /// Last arrival, by sending side and stream.
    last: [[Time; 3]; 2],
    /// This direction lost something for good: nothing follows.
    broken: [bool; 2],
}

/// See the module's header.
pub struct Network {
    pub wires: Vec<Wire>,
    hosts: Vec<HostPlan>,
    weather: Vec<Weather>,
    jitter: Duration,
    /// When the bulk queue of a host's line is empty, upwards and downwards.
    busy: BTreeMap<(usize, u8, usize), Time>,
    dice: Dice,
    /// No weather any more.
    pub calm: bool,
}

/// When something sent arrives.
pub struct Passage {
    /// `None`: never, and the connection dies of it.
    pub arrives: Option<Time>,
    /// When its sender may hand over more.
    pub handed_over: Time,
}

impl Network {
    pub fn new(plan: &Plan) -> Self {
        let mut hosts = plan.hosts.clone();
        // The imp sits beside a portal.
        hosts.push(hosts[0].clone());
        Self {
            wires: Vec::new(),
            hosts,
            weather: plan.weather.clone(),
            jitter: plan.jitter,
            busy: BTreeMap::new(),
            dice: Dice::new(plan.seed, "network"),
            calm: false,
        }
    }

    /// A connection from `dialler` to `portal`, if the path carries the handshake: its number,
    /// when the portal has it, and when the dialler.
    pub fn connect(&mut self, path: Path, now: Time) -> Option<(usize, Time, Time)> {
        let n = self.wires.len();
        let legs = if path.transport == Transport::Quic { 4 } else { 6 };
        let mut at = now;
        let mut before = now;
        for leg in 0..legs {
            before = at;
            at = self.transit(path, leg % 2, at)?;
        }
        self.wires.push(Wire {
            path,
            sessions: [SessionId(2 * n as u64 + 2), SessionId(2 * n as u64 + 3)],
            open: [false; 2],
            opens: [at, before],
            last: [[now; 3]; 2],
            broken: [false; 2],
        });
        Some((n, before, at))
    }

    /// Sends `bytes` from `side` on the stream of `frame`.
    pub fn send(
        &mut self,
        n: usize,
        side: usize,
        frame: &Frame,
        bytes: usize,
        now: Time,
    ) -> Passage {
        let path = self.wires[n].path;
        let (host, line) = (path.hosts[0], path.line);
        let (up, down) = self.hosts[host].kbps[usize::from(line)];
        let kbps = (if side == 0 { up } else { down } / self.slowness(host, line, now)).max(8);
        let takes = Duration::from_micros(bytes as u64 * 8_000 / kbps);
        let stream = stream(frame);
        let busy = self.busy.entry((host, line, side)).or_insert(now);
        let leaves = if stream == 0 {
            now + takes
        } else {
            *busy = (*busy).max(now) + takes;
            *busy
        };
        // A connection takes some 128 KiB more than the line has sent.
        let ahead = Duration::from_micros(131_072 * 8_000 / kbps);
        let handed_over = (leaves - ahead).max(now);
        if self.wires[n].broken[side] {
            return Passage { arrives: None, handed_over };
        }
        let opens = self.wires[n].opens[1 - side];
        let arrives = self.transit(path, side, leaves).map(|at| {
            let at = at.max(opens + Duration::from_micros(1));
            let last = &mut self.wires[n].last[side][stream];
            *last = at.max(*last + Duration::from_micros(1));
            *last
        });
        self.wires[n].broken[side] = arrives.is_none();
        Passage { arrives, handed_over }
    }

    /// When the close of `side` arrives at the other: behind what control carries, ahead of
    /// the rest, which is lost.
    pub fn close(&mut self, n: usize, side: usize, now: Time) -> Option<Time> {
        if self.wires[n].broken[side] {
            return None;
        }
        self.wires[n].broken[side] = true;
        let at = self.transit(self.wires[n].path, side, now)?;
        Some(at.max(self.wires[n].last[side][0] + Duration::from_micros(1)))
    }

    /// One way over a path. Lost by chance, a packet costs a probe timeout (RFC 9002: smoothed
    /// round trip and variations); on a dead path timeouts double until the idle time is over.
    fn transit(&mut self, path: Path, side: usize, sent: Time) -> Option<Time> {
        let way = self.hosts[path.hosts[0]].way;
        let mut timeout = way * 2 + self.jitter * 3 + Duration::from_millis(25);
        let mut leaves = sent;
        while leaves - sent < IDLE {
            let jitter = self.dice.below(self.jitter.as_micros() as u64 + 1);
            let arrives = leaves + way + Duration::from_micros(jitter);
            let (dead, permille) = self.sky(path, side, leaves);
            let dead = dead || self.sky(path, side, arrives).0;
            if !dead && !self.dice.permille(permille) {
                return Some(arrives);
            }
            leaves += timeout;
            if dead {
                timeout *= 2;
            }
        }
        None
    }

    /// Whether the path is dead at `at`, and else how much of it is lost.
    fn sky(&self, path: Path, side: usize, at: Time) -> (bool, u64) {
        let [dialler, portal] = path.hosts;
        let quic = path.transport == Transport::Quic;
        if quic && self.hosts[dialler].udp_blocked[usize::from(path.line)] {
            return (true, 0);
        }
        if self.calm {
            return (false, 0);
        }
        let (from, to) = if side == 0 { (dialler, portal) } else { (portal, dialler) };
        let mut lost = 0;
        for weather in self.weather.iter().filter(|w| w.from <= at && at < w.to) {
            let dead = match weather.what {
                Sky::LineDown { host, line } => host == dialler && line == path.line,
                Sky::AddressDown { portal: of, address } => of == portal && address == path.address,
                Sky::OneWay { from: a, to: b } => a == from && b == to,
                Sky::Lossy { permille } => {
                    lost = lost.max(permille);
                    false
                }
                Sky::Slow { .. } => false,
            };
            if dead {
                return (true, 0);
            }
        }
        (false, lost)
    }

    fn slowness(&self, on: usize, of: u8, at: Time) -> u64 {
        let slow =
            self.weather.iter().filter(|w| w.from <= at && at < w.to).map(|w| match w.what {
                Sky::Slow { host, line, times } if (host, line) == (on, of) => times,
                _ => 1,
            });
        slow.max().filter(|_| !self.calm).unwrap_or(1)
    }
}

/// Control, bundles or blobs.
pub fn stream(frame: &Frame) -> usize {
    match frame {
        Frame::Run(_) => 1,
        Frame::Chunk(_) => 2,
        _ => 0,
    }
}
