//! The world: hosts, a network, and one queue of what happens next. It jumps from one moment
//! at which something happens to the next, and everything random comes from the seed.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

use engine::{
    effect::{CommitId, Input},
    id::{DocumentId, PeerId, VatNumber},
    route::{AttemptId, SessionId},
    time::Time,
    wire::Frame,
};

use crate::{
    bug::Bug,
    dice::Dice,
    disk::Snapshot,
    host::{Host, Read},
    imp::Imp,
    network::Network,
    oracle::Oracle,
    plan::{Fault, Plan, VATS},
    trace::Trace,
};

/// Something that happens.
pub enum Event {
    /// A frame arrives at a side of a wire.
    Deliver {
        wire: usize,
        side: usize,
        frame: Box<Frame>,
    },
    /// A side learns that its connection is gone.
    Gone {
        wire: usize,
        side: usize,
    },
    /// A dial came through. The portal's pins were asked when it accepted.
    Dialled {
        host: usize,
        epoch: u32,
        attempt: AttemptId,
        primary: bool,
        wire: usize,
    },
    /// A portal has a new connection.
    Accepted {
        host: usize,
        epoch: u32,
        wire: usize,
    },
    /// The committer's barrier is over.
    Barrier {
        host: usize,
        epoch: u32,
    },
    /// The committer tries whether the disk takes writes again.
    Probe {
        host: usize,
        epoch: u32,
    },
    /// The committer reports.
    Report {
        host: usize,
        epoch: u32,
        report: Report,
    },
    /// A read that the host started is carried out.
    Read {
        host: usize,
        epoch: u32,
        read: Box<Read>,
    },
    /// Something for the engine.
    Inject {
        host: usize,
        epoch: u32,
        input: Box<Input>,
    },
    /// The projector looks.
    Project {
        host: usize,
        epoch: u32,
    },
    /// A periodic node connects.
    Wake {
        host: usize,
        epoch: u32,
    },
    /// Somebody at a host has something to say.
    Write {
        host: usize,
    },
    /// A portal admits a node.
    Admit {
        node: usize,
    },
    Fault(usize),
    /// A disk is well again.
    Mended {
        host: usize,
    },
    Start {
        host: usize,
    },
    Calm(usize),
    Verdict(usize),
}

/// What became of a batch: the words of the node's committer.
pub enum Report {
    Committed(CommitId),
    Failed(engine::store::StoreError),
    Ready,
}

struct Due {
    at: Time,
    n: u64,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.n == other.n
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.n).cmp(&(other.at, other.n))
    }
}

/// See the module's header.
pub struct World {
    pub plan: Plan,
    pub now: Time,
    pub hosts: Vec<Host>,
    pub network: Network,
    pub oracle: Oracle,
    pub imp: Option<Imp>,
    pub dice: Dice,
    pub trace: Trace,
    pub calm: bool,
    pub bug: Option<Bug>,
    pub snapshots: Vec<(usize, Snapshot)>,
    /// Invoices ever said, and the last original, by tenant.
    pub invoices: BTreeMap<VatNumber, Vec<DocumentId>>,
    pub files: BTreeMap<VatNumber, Vec<u8>>,
    /// Steps of this simulated second, to notice a storm.
    pub second: (u64, u64),
    queue: BinaryHeap<Reverse<Due>>,
    pushed: u64,
}

/// How a run ended.
pub struct Outcome {
    pub hash: u64,
    pub steps: u64,
    pub bundles: usize,
    pub failure: Option<String>,
}

impl World {
    pub fn new(plan: Plan, verbose: bool, bug: Option<Bug>) -> Self {
        let seed = plan.seed;
        let portals: Vec<PeerId> =
            plan.hosts.iter().take(2).map(|h| crate::keys::Key::new(h.key).peer()).collect();
        let hosts = plan.hosts.iter().enumerate().map(|(n, p)| Host::new(n, p, &portals)).collect();
        let mut world = Self {
            now: Time::ZERO,
            hosts,
            network: Network::new(&plan),
            oracle: Oracle::new(&portals),
            imp: plan.imp.map(|tenant| Imp::new(vat(tenant), seed)),
            dice: Dice::new(seed, "world"),
            trace: Trace::new(verbose),
            calm: false,
            bug,
            snapshots: Vec::new(),
            invoices: BTreeMap::new(),
            files: BTreeMap::new(),
            second: (0, 0),
            queue: BinaryHeap::new(),
            pushed: 0,
            plan,
        };
        world.arrange();
        world
    }

    /// Everything the plan says will happen, into the queue.
    fn arrange(&mut self) {
        for host in 0..self.hosts.len() {
            self.push(Time::ZERO, Event::Start { host });
            let first = self.dice.ms(1_000..=600_000);
            self.push(Time::ZERO + first, Event::Write { host });
        }
        for node in 2..self.hosts.len() {
            self.push(self.plan.hosts[node].admit_at, Event::Admit { node });
        }
        if self.imp.is_some() {
            self.push(Time::from_millis(30_000), Event::Admit { node: usize::MAX });
        }
        for n in 0..self.plan.faults.len() {
            self.push(self.plan.faults[n].0, Event::Fault(n));
        }
        for n in 0..self.plan.calms.len() {
            let (from, to) = self.plan.calms[n];
            self.push(from, Event::Calm(n));
            self.push(to, Event::Verdict(n));
        }
    }

    /// Runs to the end of the plan, or to the first thing that is wrong.
    pub fn run(&mut self) -> Outcome {
        while self.oracle.failure.is_none() {
            let deadline =
                self.hosts.iter().filter_map(|host| Some((host.deadline?, host.n))).min();
            let next = self.queue.peek().map(|Reverse(due)| due.at);
            let at = match (next, deadline) {
                (Some(next), Some((at, _))) => next.min(at),
                (Some(at), None) | (None, Some((at, _))) => at,
                (None, None) => break,
            };
            if at > self.plan.end {
                break;
            }
            self.now = self.now.max(at);
            self.count();
            match deadline {
                Some((at, host)) if next.is_none_or(|next| at < next) => self.tick(host),
                _ => {
                    let Some(Reverse(due)) = self.queue.pop() else { break };
                    self.happen(due.event);
                }
            }
        }
        Outcome {
            hash: self.trace.hash(),
            steps: self.trace.steps(),
            bundles: self.oracle.bundles(),
            failure: self.oracle.failure.take(),
        }
    }

    pub fn push(&mut self, at: Time, event: Event) {
        self.pushed += 1;
        let n = self.pushed;
        self.queue.push(Reverse(Due { at: at.max(self.now), n, event }));
    }

    pub fn later(&mut self, span: Duration, event: Event) {
        self.push(self.now + span, event);
    }

    fn count(&mut self) {
        let second = self.now.as_millis() / 1_000;
        if self.second.0 != second {
            self.second = (second, 0);
        }
        self.second.1 += 1;
        if self.second.1 > 200_000 {
            self.oracle.fail("I6", || "200,000 steps in one second: a storm".to_owned());
        }
    }

    fn happen(&mut self, event: Event) {
        // What happens to a host that stands still waits until it goes on.
        if let Some(host) = self.touched(&event) {
            let until = self.hosts[host].still_until;
            if until > self.now {
                return self.push(until, event);
            }
        }
        self.trace.event(self.now, &event);
        match event {
            Event::Deliver { wire, side, frame } => self.deliver(wire, side, *frame),
            Event::Gone { wire, side } => self.gone(wire, side),
            Event::Dialled { host, epoch, attempt, primary, wire } => {
                self.dialled((host, epoch), attempt, primary, wire);
            }
            Event::Accepted { host, epoch, wire } => self.accepted((host, epoch), wire),
            Event::Barrier { host, epoch } if self.is(host, epoch) => self.barrier(host),
            Event::Probe { host, epoch } if self.is(host, epoch) => self.probe(host),
            Event::Report { host, epoch, report } if self.is(host, epoch) => {
                self.report(host, report);
            }
            Event::Read { host, epoch, read } if self.is(host, epoch) => self.read(host, *read),
            Event::Inject { host, epoch, input } if self.is(host, epoch) => {
                self.feed(host, *input);
                self.settle(host);
            }
            Event::Project { host, epoch } if self.is(host, epoch) => self.project(host),
            Event::Wake { host, epoch } if self.is(host, epoch) => self.wake(host),
            Event::Write { host } => self.write(host),
            Event::Admit { node } => self.admit(node),
            Event::Fault(n) => self.strike(self.plan.faults[n].1),
            Event::Mended { host } => self.mend(host),
            Event::Start { host } => self.start(host),
            Event::Calm(n) => self.begin_calm(n),
            Event::Verdict(n) => self.verdict(n),
            // Meant for an earlier start of the host.
            _ => {}
        }
    }

    fn is(&self, host: usize, epoch: u32) -> bool {
        self.hosts[host].epoch == epoch && self.hosts[host].process.is_some()
    }

    fn touched(&self, event: &Event) -> Option<usize> {
        match event {
            Event::Deliver { wire, side, .. } | Event::Gone { wire, side } => {
                let host = self.network.wires[*wire].path.hosts[*side];
                (host < self.hosts.len()).then_some(host)
            }
            Event::Dialled { host, .. }
            | Event::Accepted { host, .. }
            | Event::Report { host, .. }
            | Event::Inject { host, .. }
            | Event::Write { host } => Some(*host),
            // The disk and its threads go on while the loop lags; a frozen process does nothing.
            Event::Barrier { host, .. }
            | Event::Probe { host, .. }
            | Event::Read { host, .. }
            | Event::Project { host, .. } => self.hosts[*host].frozen.then_some(*host),
            _ => None,
        }
    }

    fn strike(&mut self, fault: Fault) {
        if self.calm {
            return;
        }
        match fault {
            Fault::Crash { host, power, down } => {
                self.stop(host, power);
                self.later(down, Event::Start { host });
            }
            Fault::Freeze { host, span } | Fault::Lag { host, span } => {
                let frozen = matches!(fault, Fault::Freeze { .. });
                let host = &mut self.hosts[host];
                if host.still_until <= self.now {
                    host.still_until = self.now + span;
                    host.frozen = frozen;
                    host.deadline = host.deadline.map(|at| at.max(host.still_until));
                }
            }
            Fault::Full { host, span } => {
                self.hosts[host].disk.set_full(true);
                self.later(span, Event::Mended { host });
            }
            Fault::BarrierFails { host, span, takes_back } => {
                self.hosts[host].disk.set_barrier_fails(true, takes_back);
                self.later(span, Event::Mended { host });
            }
            Fault::SlowDisk { host, span } => {
                self.hosts[host].slow_disk = true;
                self.later(span, Event::Mended { host });
            }
            Fault::Damage { host, table } => {
                let (nth, bit) = (self.dice.next() as usize >> 1, self.dice.next() as usize >> 1);
                let key = self.hosts[host].disk.damage(table, nth, bit);
                self.trace.note(self.now, || format!("damaged {table:?} {key:02x?} bit {bit}"));
            }
            Fault::Backup { host, slot } => {
                self.snapshots.push((slot, self.hosts[host].disk.snapshot()));
            }
            Fault::Restore { host, slot, down } => self.restore(host, slot, down),
            Fault::Revoke { portal, node } => self.revoke(portal, node),
            Fault::Imp { portal, trick } => self.imp_calls(portal, trick),
        }
    }

    fn restore(&mut self, host: usize, slot: usize, down: Duration) {
        self.stop(host, true);
        let found = self.snapshots.iter().find(|(here, _)| *here == slot);
        let snapshot = found.map(|(_, snapshot)| snapshot.clone()).unwrap_or_default();
        self.hosts[host].disk.restore(&snapshot);
        // Half of the time the mirror's folder was not part of it.
        if self.dice.permille(500) {
            self.hosts[host].mirror = crate::mirror::Mirror::default();
        }
        self.oracle.forget(host);
        self.later(down, Event::Start { host });
    }

    pub fn mend(&mut self, host: usize) {
        self.hosts[host].disk.set_full(false);
        self.hosts[host].disk.set_barrier_fails(false, false);
        self.hosts[host].slow_disk = false;
    }

    pub fn send_on(&mut self, wire: usize, side: usize, frame: Frame) -> Time {
        let bytes = frame.encode();
        self.trace.frame(self.now, wire, side, &frame, &bytes);
        let passage = self.network.send(wire, side, &frame, bytes.len() + 4, self.now);
        match passage.arrives {
            Some(at) => {
                let frame = Box::new(frame);
                self.push(at, Event::Deliver { wire, side: 1 - side, frame });
            }
            None => self.doom(wire),
        }
        passage.handed_over
    }

    /// Both sides will notice that nothing passes any more.
    pub fn doom(&mut self, wire: usize) {
        for side in 0..2 {
            self.later(crate::network::IDLE, Event::Gone { wire, side });
        }
    }
}

/// The `n`th tenant.
pub fn vat(n: usize) -> VatNumber {
    VatNumber::parse(VATS[n]).unwrap()
}

/// A session's wire and side.
pub fn place(session: SessionId) -> (usize, usize) {
    (((session.0 - 2) / 2) as usize, (session.0 % 2) as usize)
}
