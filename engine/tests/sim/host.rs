//! A host: what `node/src/host.rs` does, word for word, with this world's clock and queue
//! where that one has tokio. Whoever changes the one changes the other.

mod effects;
mod lines;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use engine::{
    archive,
    bundle::{BlobRef, Origin, PublicKey, Signer},
    effect::{Alarm, Effect, Input, Ticket},
    engine::{Config, Engine},
    fault::Fault,
    grant::Role,
    id::{CutHash, Incarnation, LogId, PeerId, Seq, VatNumber},
    route::{
        AttemptId, Failure, Mode, RouteAction, RouteConfig, RouteId, Routes, SessionId, Transport,
    },
    time::Time,
    vector::Vector,
    wire::{Chunk, Effort, Form, Frame, Packing, Tenant},
};

use crate::{
    bug::Bug,
    committer::Committer,
    disk::Disk,
    keys::Key,
    mirror::Mirror,
    network::Path,
    plan::HostPlan,
    world::{Event, World, place, vat},
};

/// A machine: what stays when its process dies.
pub struct Host {
    pub n: usize,
    pub role: Role,
    pub tenant: Option<VatNumber>,
    pub key: Arc<Key>,
    pub disk: Arc<Disk>,
    pub mirror: Mirror,
    pub period: Option<Duration>,
    pub process: Option<Process>,
    /// Counts starts: what was meant for an earlier one is void.
    pub epoch: u32,
    /// Its loop stands still until then.
    pub still_until: Time,
    /// So does all of it.
    pub frozen: bool,
    pub slow_disk: bool,
    /// When the process wants to be called.
    pub deadline: Option<Time>,
    pub incarnation: [u8; 16],
    /// Whether a portal ended its grant.
    pub revoked: bool,
    portals: Vec<PeerId>,
}

/// A running service.
pub struct Process {
    pub engine: Engine,
    pub routes: Option<Routes>,
    pub log: LogId,
    pub committer: Committer,
    pub lines: BTreeSet<SessionId>,
    pub frames: VecDeque<(SessionId, Frame)>,
    pub fresh: BTreeMap<VatNumber, u64>,
    pub rebuilds: u64,
    pub rebuilt: u64,
    pub projecting: bool,
    pub pins: BTreeSet<PeerId>,
    pub alarms: Vec<Alarm>,
    attempts: BTreeMap<SessionId, AttemptId>,
    hedged: Option<SessionId>,
    tickets: u64,
    said: BTreeMap<Ticket, VatNumber>,
    start: Time,
    woken: Time,
}

/// Reads that the real host gives to other threads.
pub enum Read {
    Run {
        session: SessionId,
        tenant: VatNumber,
        origin: Origin,
        after: Seq,
        upto: Seq,
        held: Vector,
        form: Form,
    },
    Chunks {
        session: SessionId,
        tenant: VatNumber,
        cut: CutHash,
        next: u32,
        end: u32,
    },
    Missing {
        session: SessionId,
        tenant: VatNumber,
        log: LogId,
        lookup: u64,
        blobs: Vec<BlobRef>,
    },
    Truncate {
        tenant: VatNumber,
        origin: Origin,
        cut: Seq,
    },
}

struct HostSigner(Arc<Key>);

impl Signer for HostSigner {
    fn public_key(&self) -> &PublicKey {
        self.0.public()
    }
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message)
    }
}

impl Host {
    pub fn new(n: usize, plan: &HostPlan, portals: &[PeerId]) -> Self {
        Self {
            n,
            role: if plan.tenant.is_some() { Role::Node } else { Role::Portal },
            tenant: plan.tenant.map(vat),
            key: Arc::new(Key::new(plan.key)),
            disk: Arc::new(Disk::default()),
            mirror: Mirror::default(),
            period: plan.period,
            process: None,
            epoch: 0,
            still_until: Time::ZERO,
            frozen: false,
            slow_disk: false,
            deadline: None,
            incarnation: [0; 16],
            revoked: false,
            portals: portals.to_vec(),
        }
    }

    pub fn peer(&self) -> PeerId {
        self.key.peer()
    }
}

impl World {
    /// Opens what the disk has and starts working.
    pub fn start(&mut self, n: usize) {
        if self.hosts[n].process.is_some() {
            return;
        }
        let keep = self.bug == Some(Bug::IncarnationKept) && self.hosts[n].epoch > 0;
        let incarnation = if keep { self.hosts[n].incarnation } else { self.dice.bytes() };
        let disk = Arc::clone(&self.hosts[n].disk);
        let recovered = match archive::recover(&*disk) {
            Ok(recovered) => recovered,
            Err(error) => {
                // The store is set aside and rebuilt from a peer.
                self.trace.note(self.now, || format!("host {n} sets its store aside: {error}"));
                disk.restore(&crate::disk::Snapshot::default());
                self.hosts[n].mirror = Mirror::default();
                self.oracle.forget(n);
                archive::Recovered::default()
            }
        };
        self.oracle.recovered(n, &recovered);
        let seed = self.dice.next();
        let now = self.now;
        let host = &mut self.hosts[n];
        host.incarnation = incarnation;
        host.epoch += 1;
        let fresh = recovered.positions.iter().copied().collect();
        let config = Config {
            signer: Box::new(HostSigner(Arc::clone(&host.key))),
            incarnation: Incarnation(incarnation),
            role: host.role,
            tenant: host.tenant,
            portals: host.portals.clone(),
            agent: "simulated".to_owned(),
        };
        let engine = Engine::new(config, recovered);
        // One of two portals dials, or each pair would hold two sets of sessions.
        let me = host.peer();
        let dials = host.role == Role::Node || host.portals.iter().any(|other| me < *other);
        let routes = dials.then(|| {
            let portals = if host.role == Role::Node { vec![2, 2] } else { vec![2] };
            let mode = if host.period.is_some() { Mode::Periodic } else { Mode::Live };
            Routes::new(RouteConfig { lines: 2, portals, mode, seed }, Time::ZERO)
        });
        host.process = Some(Process {
            engine,
            routes,
            log: LogId::derive(&me, &Incarnation(incarnation)),
            committer: Committer::default(),
            lines: BTreeSet::new(),
            frames: VecDeque::new(),
            fresh,
            rebuilds: 0,
            rebuilt: 0,
            projecting: false,
            pins: BTreeSet::new(),
            alarms: Vec::new(),
            attempts: BTreeMap::new(),
            hedged: None,
            tickets: 0,
            said: BTreeMap::new(),
            start: now,
            woken: now,
        });
        let epoch = host.epoch;
        if let Some(period) = host.period {
            self.later(period, Event::Wake { host: n, epoch });
        }
        self.projects(n);
        self.settle(n);
    }

    /// The process dies; its peers find out by their idle time, or sooner.
    pub fn stop(&mut self, n: usize, power: bool) {
        let Some(process) = self.hosts[n].process.take() else { return };
        let unsynced = self.hosts[n].disk.unsynced() as u64;
        let kept = self.dice.below(unsynced + 1) as usize;
        self.hosts[n].disk.crash(power, kept);
        let flushed = self.dice.next();
        let host = &mut self.hosts[n];
        host.mirror.crash(power, flushed);
        host.deadline = None;
        host.still_until = self.now;
        let after = if power || self.dice.permille(500) {
            crate::network::IDLE
        } else {
            Duration::from_millis(40)
        };
        for session in process.lines {
            let (wire, side) = place(session);
            self.network.wires[wire].open[side] = false;
            self.later(after, Event::Gone { wire, side: 1 - side });
        }
    }

    pub fn tick(&mut self, n: usize) {
        let at = self.since_start(n);
        if let Some(process) = &mut self.hosts[n].process {
            process.engine.tick(at);
            if let Some(routes) = &mut process.routes {
                routes.tick(at);
            }
        }
        self.settle(n);
    }

    pub fn wake(&mut self, n: usize) {
        let (epoch, at) = (self.hosts[n].epoch, self.since_start(n));
        if let Some(period) = self.hosts[n].period {
            self.later(period, Event::Wake { host: n, epoch });
        }
        if let Some(process) = &mut self.hosts[n].process {
            process.woken = at;
            if let Some(routes) = &mut process.routes {
                routes.wake(at);
            }
        }
        self.settle(n);
    }

    pub fn feed(&mut self, n: usize, input: Input) {
        let at = self.since_start(n);
        if let Some(process) = &mut self.hosts[n].process {
            process.engine.handle(at, input);
        }
    }

    /// Says something; the answer comes as `Appended` or `Refused`.
    pub fn say(
        &mut self,
        n: usize,
        items: Vec<engine::bundle::Item>,
        files: Vec<Vec<u8>>,
        tenant: VatNumber,
    ) {
        let at = self.since_start(n);
        let Some(process) = &mut self.hosts[n].process else { return };
        process.tickets += 1;
        let ticket = Ticket(process.tickets);
        process.said.insert(ticket, tenant);
        let written_ms = at.as_millis();
        process.engine.handle(at, Input::Append { ticket, tenant, written_ms, items, files });
        if let Some(routes) = &mut process.routes {
            routes.progressed(at);
        }
        self.settle(n);
    }

    pub fn deliver(&mut self, wire: usize, side: usize, frame: Frame) {
        let to = &self.network.wires[wire];
        let (n, session) = (to.path.hosts[side], to.sessions[side]);
        if !to.open[side] {
            return;
        }
        if n >= self.hosts.len() {
            return self.imp_hears(wire, &frame);
        }
        if let Some(process) = &mut self.hosts[n].process {
            process.frames.push_back((session, frame));
        }
        self.settle(n);
    }

    pub fn gone(&mut self, wire: usize, side: usize) {
        let to = &mut self.network.wires[wire];
        let (n, session) = (to.path.hosts[side], to.sessions[side]);
        if !std::mem::take(&mut to.open[side]) || n >= self.hosts.len() {
            return;
        }
        let open = self.hosts[n].process.as_mut().is_some_and(|p| p.lines.remove(&session));
        if open {
            self.feed(n, Input::Closed { session });
            self.unroute(n, session, false);
            self.settle(n);
        }
    }

    fn since_start(&self, n: usize) -> Time {
        let start = self.hosts[n].process.as_ref().map_or(self.now, |process| process.start);
        Time::ZERO + (self.now - start)
    }

    /// Carries out everything the engine and the routes ask for, until neither does and no
    /// frame waits that may be read.
    pub fn settle(&mut self, n: usize) {
        while self.oracle.failure.is_none() {
            self.drain(n);
            let Some(process) = &mut self.hosts[n].process else { return };
            if process.engine.is_busy() {
                break;
            }
            let Some((session, frame)) = process.frames.pop_front() else { break };
            let disk = &*self.hosts[n].disk;
            let input = match frame {
                Frame::Run(run) => match archive::resolve(disk, run) {
                    Ok(run) => Input::Received { session, frame: Frame::Run(run) },
                    Err(fault) => Input::Garbage { session, fault },
                },
                frame => Input::Received { session, frame },
            };
            self.feed(n, input);
        }
        self.rest(n);
        self.check_bounds(n);
        self.schedule(n);
    }

    fn schedule(&mut self, n: usize) {
        let now = self.now;
        let host = &mut self.hosts[n];
        let Some(process) = &host.process else { return };
        let routes = process.routes.as_ref().and_then(Routes::deadline);
        let next = [routes, process.engine.deadline()].into_iter().flatten().min();
        // Never now: a deadline already here is handled by the next tick.
        let least = (now + Duration::from_millis(1)).max(host.still_until);
        host.deadline = next.map(|at| (process.start + (at - Time::ZERO)).max(least));
    }

    fn pins(&mut self, n: usize, nodes: &[(PeerId, u64)]) {
        let host = &mut self.hosts[n];
        let me = host.peer();
        let portals = host.portals.clone();
        let Some(process) = &mut host.process else { return };
        process.pins = portals.into_iter().chain(nodes.iter().map(|(peer, _)| *peer)).collect();
        process.pins.remove(&me);
        // Live connections of whoever is not among them are cut.
        let lines: Vec<_> = process.lines.iter().copied().collect();
        for session in lines {
            let (wire, side) = place(session);
            let peer = self.peer_of(wire, 1 - side);
            let known = self.hosts[n].process.as_ref().is_some_and(|p| p.pins.contains(&peer));
            if !known {
                self.close(session);
                self.network.wires[wire].open[side] = true;
                self.push(self.now, Event::Gone { wire, side });
            }
        }
    }

    /// Tells the routes when nothing announced is outstanding any more.
    fn satisfy(&mut self, n: usize) {
        let at = self.since_start(n);
        let Some(process) = &mut self.hosts[n].process else { return };
        let Some(routes) = &mut process.routes else { return };
        let engine = &process.engine;
        let ahead = engine.sessions().any(|(_, session)| {
            engine.tenants().any(|tenant| {
                let ours = engine.vector(tenant);
                session.holding(tenant).is_some_and(|theirs| theirs.ahead_of(&ours) > 0)
            })
        });
        if ahead { routes.progressed(at) } else { routes.satisfied(at) }
    }

    /// In periodic mode, closes everything once nothing is left to do (`node/src/host/dispatch.rs`).
    fn rest(&mut self, n: usize) {
        let at = self.since_start(n);
        if self.hosts[n].period.is_none() {
            return;
        }
        let Some(process) = &mut self.hosts[n].process else { return };
        let Some(routes) = &mut process.routes else { return };
        let settled = Duration::from_millis(200);
        let talked = process.engine.sessions().any(|(_, session)| {
            session.primary && session.answered && at.since(session.heard) >= settled
        });
        if routes.awake() && talked && process.engine.is_at_rest() {
            routes.rest(at);
            self.drain(n);
        }
    }
}

impl Host {
    fn frozen_at(&self, now: Time) -> bool {
        self.frozen && self.still_until > now
    }
}
