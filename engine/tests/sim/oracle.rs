//! What must hold, looked at after every step: what was said, by whom, and what each host has
//! promised. The oracle never asks the engine what it thinks; it reads frames, batches and disks.

mod row;

use std::collections::{BTreeMap, BTreeSet};

use engine::{
    archive::{self, Recovered},
    bundle::{Body, ChainHash, Item},
    grant::{Revocation, Role},
    id::{BlobHash, Kind, LogId, PeerId, Seq, VatNumber},
    limits,
    store::{Batch, Table, Value, Write},
    wire::Frame,
};

use sha2::{Digest as _, Sha256};

use crate::{disk::Disk, world::World};

pub use row::unreadable;
use row::{Row, is_durable, misplaced, place_of, row, tenant_in, tenant_of, wrong_file};

type Space = (VatNumber, LogId);

/// One writer's log as it was said.
#[derive(Default)]
pub struct Said {
    pub writer: Option<PeerId>,
    pub bundles: Vec<ChainHash>,
    /// Up to here somebody was told: these numbers are taken for ever.
    disclosed: Seq,
    /// Other pasts of it, said by an imp.
    pub others: BTreeSet<(Seq, ChainHash)>,
}

/// A revocation as it was said.
pub struct Revoked {
    pub tenant: VatNumber,
    pub revocation: Revocation,
    log: LogId,
    seq: Seq,
    hash: ChainHash,
}

/// What one host has in its store, and what it told others.
#[derive(Default)]
pub struct Ledger {
    /// Hashes handed to the store, by log.
    held: BTreeMap<Space, Vec<ChainHash>>,
    /// Durable and checked up to here; what the host may acknowledge.
    proven: BTreeMap<Space, Seq>,
    /// What it did acknowledge, in whatever words.
    promised: BTreeMap<Space, Seq>,
    /// Revocations that are durable, and those on their way.
    revoked: BTreeMap<(VatNumber, PeerId), BTreeMap<LogId, Seq>>,
    coming: Vec<(VatNumber, Revocation)>,
}

/// See the module's header.
pub struct Oracle {
    pub failure: Option<String>,
    pub said: BTreeMap<Space, Said>,
    pub grants: BTreeSet<(PeerId, VatNumber)>,
    /// Every revocation said, and the place of the bundle that says it.
    pub revocations: Vec<Revoked>,
    /// Those that no host has any more. A backup may bring one back.
    lost: Vec<Revoked>,
    /// What must be everywhere at the end of the calm.
    pub required: BTreeMap<Space, Seq>,
    /// Logs of which nobody holds some bundle whole any more.
    pub broken: BTreeSet<Space>,
    ledgers: BTreeMap<usize, Ledger>,
    portals: Vec<PeerId>,
}

impl Oracle {
    pub fn new(portals: &[PeerId]) -> Self {
        Self {
            failure: None,
            said: BTreeMap::new(),
            grants: BTreeSet::new(),
            revocations: Vec::new(),
            lost: Vec::new(),
            required: BTreeMap::new(),
            broken: BTreeSet::new(),
            ledgers: BTreeMap::new(),
            portals: portals.to_vec(),
        }
    }

    pub fn fail(&mut self, invariant: &str, text: impl FnOnce() -> String) {
        if self.failure.is_none() {
            self.failure = Some(format!("{invariant}: {}", text()));
        }
    }

    pub fn bundles(&self) -> usize {
        self.said.values().map(|said| said.bundles.len()).sum()
    }

    /// A host lost its disk, or went back: it promises nothing any more.
    pub fn forget(&mut self, n: usize) {
        self.ledgers.insert(n, Ledger::default());
    }

    /// What a host found on its disk when it started: everything it ever promised.
    pub fn recovered(&mut self, n: usize, recovered: &Recovered) {
        let before = self.ledgers.remove(&n).unwrap_or_default();
        let mut ledger = Ledger::default();
        for tip in &recovered.tips {
            let space = (tip.tenant, tip.origin.log());
            let mut held = before.held.get(&space).cloned().unwrap_or_default();
            if held.len() < tip.seq as usize {
                // After a restore: as it was said.
                held = self.said.get(&space).map(|said| said.bundles.clone()).unwrap_or_default();
            }
            held.truncate(tip.seq as usize);
            ledger.held.insert(space, held);
        }
        for (tenant, item) in &recovered.statements {
            if let Item::Revocation(revocation) = item {
                ledger.learn(*tenant, revocation);
                let is_back =
                    |lost: &mut Revoked| lost.tenant == *tenant && lost.revocation == *revocation;
                self.revocations.extend(self.lost.extract_if(.., is_back));
            }
        }
        for ((tenant, log), seq) in before.promised {
            let found = ledger.held.get(&(tenant, log)).map_or(0, |held| held.len() as Seq);
            if found < seq && self.cut(tenant, &log).is_none_or(|cut| found < cut) {
                self.fail("I1", || {
                    format!("host {n} acknowledged {log:?} of {tenant} up to {seq} and restarted with {found}")
                });
            }
        }
        self.ledgers.insert(n, ledger);
    }

    pub fn committed(&mut self, n: usize) {
        let ledger = self.ledgers.entry(n).or_default();
        for (tenant, revocation) in std::mem::take(&mut ledger.coming) {
            ledger.learn(tenant, &revocation);
        }
    }

    /// What a host handed over did not become durable.
    pub fn commit_failed(&mut self, n: usize) {
        self.ledgers.entry(n).or_default().coming.clear();
    }

    /// Where the revocations ever said cut a log.
    pub fn cut(&self, tenant: VatNumber, log: &LogId) -> Option<Seq> {
        let writer = self.said.get(&(tenant, *log))?.writer?;
        // As if one host had heard of all: by one rule (seed 5419040856, where there were two).
        let mut all = Ledger::default();
        let said = self.revocations.iter().filter(|said| said.tenant == tenant);
        said.for_each(|said| all.learn(tenant, &said.revocation));
        all.cut(tenant, writer, log)
    }

    /// Forgets revocations that no host has any more, however it lost them: with both portals
    /// put back at once there may be nobody left who was told.
    pub fn forget_lost_revocations(&mut self) {
        let ledgers = &self.ledgers;
        let lost = self.revocations.extract_if(.., |said| {
            !ledgers.values().any(|ledger| {
                let held = ledger.held.get(&(said.tenant, said.log));
                held.is_some_and(|held| held.get(said.seq as usize - 1) == Some(&said.hash))
            })
        });
        self.lost.extend(lost);
    }

    pub fn held(&self, n: usize) -> impl Iterator<Item = (&Space, &Vec<ChainHash>)> {
        self.ledgers.get(&n).into_iter().flat_map(|ledger| &ledger.held)
    }

    fn is_portal(&self, peer: &PeerId) -> bool {
        self.portals.contains(peer)
    }
}

impl Ledger {
    /// The smaller cut of a log wins; a portal that does not list it had not seen it, and the
    /// other's cut stands.
    fn learn(&mut self, tenant: VatNumber, revocation: &Revocation) {
        let cuts = self.revoked.entry((tenant, revocation.peer)).or_default();
        for (log, seq) in &revocation.cuts {
            let cut = cuts.entry(*log).or_insert(*seq);
            *cut = (*cut).min(*seq);
        }
    }

    fn cut(&self, tenant: VatNumber, writer: PeerId, log: &LogId) -> Option<Seq> {
        let cuts = self.revoked.get(&(tenant, writer))?;
        Some(cuts.get(log).copied().unwrap_or(0))
    }

    /// The same once what is on its way is durable: what is handed over after it is so too.
    fn cut_to_come(&self, tenant: VatNumber, writer: PeerId, log: &LogId) -> Option<Seq> {
        let mut then = Self { revoked: self.revoked.clone(), ..Self::default() };
        self.coming.iter().for_each(|(tenant, revocation)| then.learn(*tenant, revocation));
        then.cut(tenant, writer, log)
    }
}

impl World {
    /// A batch on its way to a host's store.
    pub fn check_commit(&mut self, n: usize, batch: &Batch) {
        let own = self.hosts[n].process.as_ref().map(|process| process.log);
        let (role, tenant) = (self.hosts[n].role, self.hosts[n].tenant);
        let me = self.hosts[n].peer();
        for write in &batch.writes {
            let of = tenant_of(write);
            let mine = match (role, of) {
                (_, None) => write.table == Table::Meta,
                (Role::Node, of) => of == tenant,
                (Role::Portal, Some(_)) => true,
            };
            if !mine {
                self.oracle.fail("I2", || format!("host {n} stores a row of {of:?}: {write:?}"));
            }
            match (write.table, &write.value) {
                (Table::Bundles, Some(value)) => {
                    let value = value.contiguous();
                    let Some(row) = row(&write.key, &value) else {
                        self.oracle.fail("I1", || format!("host {n} stores a malformed bundle"));
                        continue;
                    };
                    if Some(row.log) == own {
                        self.oracle.say(n, me, &row);
                    }
                    self.oracle.take(n, &row);
                }
                (Table::Bundles, None) => self.oracle.remove(n, &write.key),
                (Table::Tips, value) => {
                    let value = value.as_ref().map(Value::contiguous);
                    self.oracle.tip(n, &write.key, value.as_deref());
                }
                _ => {}
            }
        }
    }

    /// A frame on its way to a peer: what it says must be durable here and meant for them.
    pub fn check_frame(&mut self, n: usize, peer: PeerId, frame: &Frame) {
        let mut claims: Vec<(VatNumber, &[(LogId, Seq)])> = Vec::new();
        let mut about: Vec<VatNumber> = Vec::new();
        match frame {
            Frame::Hello(hello) => {
                claims.extend(hello.spaces.iter().map(|s| (s.tenant.0, s.logs.as_slice())));
            }
            Frame::Spaces(spaces) => {
                claims.extend(spaces.iter().map(|s| (s.tenant.0, s.logs.as_slice())));
            }
            Frame::Ack { tenant, logs } | Frame::Have { tenant, logs } => {
                claims.push((tenant.0, logs));
            }
            Frame::Run(run) => {
                about.push(run.tenant.0);
                let last = run.last().expect("a run has bundles");
                self.oracle.disclose(run.tenant.0, run.log, last);
            }
            Frame::Chunk(chunk) => about.push(chunk.tenant.0),
            Frame::WantSpaces(tenants) => about.extend(tenants.iter().map(|tenant| tenant.0)),
            Frame::Want { tenant, .. } | Frame::WantChunks { tenant, .. } => about.push(tenant.0),
            Frame::Path { .. } | Frame::Ping(_) | Frame::Pong(_) | Frame::Bye(_) => {}
        }
        about.extend(claims.iter().map(|(tenant, _)| *tenant));
        if !self.oracle.is_portal(&peer) {
            for tenant in about {
                let revoked = self
                    .oracle
                    .ledgers
                    .get(&n)
                    .is_some_and(|ledger| ledger.revoked.contains_key(&(tenant, peer)));
                if revoked || !self.oracle.grants.contains(&(peer, tenant)) {
                    self.oracle.fail("I2", || {
                        format!(
                            "host {n} tells {peer:?} about {tenant}, revoked={revoked}: {frame:?}"
                        )
                    });
                }
            }
        }
        for (tenant, logs) in claims {
            for (log, seq) in logs {
                self.promise(n, tenant, *log, *seq);
            }
        }
    }

    /// Somebody was told that this is durable here.
    fn promise(&mut self, n: usize, tenant: VatNumber, log: LogId, seq: Seq) {
        let disk = std::sync::Arc::clone(&self.hosts[n].disk);
        let ledger = self.oracle.ledgers.entry(n).or_default();
        let space = (tenant, log);
        let proven = ledger.proven.entry(space).or_default();
        let promised = ledger.promised.entry(space).or_default();
        *promised = seq.max(*promised);
        let from = *proven + 1;
        *proven = seq.max(*proven);
        let failed = (from..=seq).find(|seq| !is_durable(&disk, tenant, &log, *seq));
        self.oracle.disclose(tenant, log, seq);
        if let Some(failed) = failed {
            self.oracle.fail("I1", || {
                format!("host {n} says it holds {log:?} of {tenant} up to {seq}, and {failed} is not durable")
            });
        }
    }

    /// Whoever said something was told that it is durable.
    pub fn appended(&mut self, n: usize, tenant: VatNumber, log: LogId, seq: Seq) {
        self.promise(n, tenant, log, seq);
    }

    /// Nothing grows without bound (I6).
    pub fn check_bounds(&mut self, n: usize) {
        let Some(process) = &self.hosts[n].process else { return };
        let mut wrong = None;
        if process.committer.queue.len() > 4 * limits::COMMITS_IN_FLIGHT_MAX {
            wrong = Some(format!("{} batches wait for the disk", process.committer.queue.len()));
        }
        if process.frames.len() > 10_000 {
            wrong = Some(format!("{} frames wait for the engine", process.frames.len()));
        }
        let mut sessions = 0;
        for (id, session) in process.engine.sessions() {
            sessions += 1;
            let flight = session.in_flight_bytes();
            if flight > limits::SESSION_IN_FLIGHT_BYTES_MAX + limits::FRAME_BYTES_MAX {
                wrong = Some(format!("{flight} bytes in flight on {id:?}"));
            }
            if !process.lines.contains(&id) {
                wrong = Some(format!("{id:?} outlived its connection"));
            }
        }
        if sessions > limits::SESSIONS_PER_PEER_MAX * self.hosts.len() {
            wrong = Some(format!("{sessions} sessions"));
        }
        if let Some(wrong) = wrong {
            self.oracle.fail("I6", || format!("host {n}: {wrong}"));
        }
    }
}

impl Oracle {
    /// A host says something in its own log.
    fn say(&mut self, n: usize, writer: PeerId, row: &Row<'_>) {
        let said = self.said.entry((row.tenant, row.log)).or_default();
        said.writer = Some(writer);
        let at = row.seq as usize - 1;
        match said.bundles.get(at) {
            Some(hash) if *hash == row.hash => {}
            Some(_) if row.seq <= said.disclosed => {
                self.fail("I4", || {
                    format!("host {n} uses number {} of {:?} a second time", row.seq, row.log)
                });
            }
            Some(_) => {
                // Nobody was told of the first one.
                said.bundles.truncate(at);
                said.bundles.push(row.hash);
            }
            None if at == said.bundles.len() => said.bundles.push(row.hash),
            None => self.fail("I1", || format!("host {n} leaves a gap before {}", row.seq)),
        }
        self.note_statements(row);
    }

    fn note_statements(&mut self, row: &Row<'_>) {
        let Ok(body) = Body::decode(row.body) else { return };
        for item in body.items {
            match item {
                Item::Grant(grant) => {
                    self.grants.insert((PeerId::of_spki(&grant.spki), row.tenant));
                }
                Item::Revocation(revocation) => {
                    let Row { tenant, log, seq, hash, .. } = *row;
                    self.revocations.push(Revoked { tenant, revocation, log, seq, hash });
                }
                Item::Change { .. } => {}
            }
        }
    }

    /// The imp signed this, which its role allows: its log's next bundle, or another past.
    pub fn imp_said(
        &mut self,
        tenant: VatNumber,
        writer: PeerId,
        (log, seq, hash): &(LogId, Seq, ChainHash),
        other: bool,
    ) {
        let said = self.said.entry((tenant, *log)).or_default();
        said.writer = Some(writer);
        if other {
            said.others.insert((*seq, *hash));
        } else {
            said.bundles.push(*hash);
        }
    }

    /// A host takes a bundle, its own or another's.
    fn take(&mut self, n: usize, row: &Row<'_>) {
        let space = (row.tenant, row.log);
        let (tenant, log, seq) = (row.tenant, row.log, row.seq);
        let Some(said) = self.said.get(&space) else {
            return self.fail("I5", || format!("host {n} takes {log:?} {seq}, which nobody said"));
        };
        let known = said.bundles.get(seq as usize - 1) == Some(&row.hash)
            || said.others.contains(&(seq, row.hash));
        if !known {
            return self.fail("I5", || {
                format!("host {n} takes bundle {seq} of {log:?} of {tenant}, which nobody said so")
            });
        }
        let writer = said.writer;
        let portal = writer.is_some_and(|writer| self.is_portal(&writer));
        let wrong = Body::decode(row.body).map_or(Some("a body that does not decode"), |body| {
            misplaced(&body, portal).or_else(|| wrong_file(&body, row.inline))
        });
        if let Some(wrong) = wrong {
            return self.fail("I5", || format!("host {n} takes {wrong} in {log:?} {seq}"));
        }
        let ledger = self.ledgers.entry(n).or_default();
        if let Some(writer) = writer.filter(|_| !portal)
            && let Some(cut) = ledger.cut(tenant, writer, &log)
            && seq > cut
            && ledger.cut_to_come(tenant, writer, &log).is_none_or(|cut| seq > cut)
        {
            return self.fail("I4", || {
                format!("host {n} takes {log:?} {seq} of {tenant}, beyond the cut {cut} it has")
            });
        }
        let held = ledger.held.entry(space).or_default();
        let before = if seq == 1 { Some(&ChainHash::START) } else { held.get(seq as usize - 2) };
        if before != Some(&row.previous) {
            return self.fail("I1", || {
                format!(
                    "host {n} takes {log:?} {seq} of {tenant}, which does not follow what it has"
                )
            });
        }
        let proven = ledger.proven.get(&space).copied().unwrap_or(0);
        match held.get(seq as usize - 1) {
            Some(hash) if *hash == row.hash => {}
            Some(_) if seq <= proven => {
                self.fail("I1", || {
                    format!("host {n} replaces {log:?} {seq}, which it acknowledged")
                });
            }
            _ => {
                held.truncate(seq as usize - 1);
                held.push(row.hash);
            }
        }
        if portal && let Ok(body) = Body::decode(row.body) {
            for item in body.items {
                if let Item::Revocation(revocation) = item {
                    self.ledgers.entry(n).or_default().coming.push((tenant, revocation));
                }
            }
        }
    }

    /// A host removes a bundle: a revocation is a reason, and that nobody was told of it.
    fn remove(&mut self, n: usize, key: &[u8]) {
        let Some((tenant, log, seq)) = place_of(key) else { return };
        let ledger = self.ledgers.entry(n).or_default();
        if seq > ledger.promised.get(&(tenant, log)).copied().unwrap_or(0) {
            return;
        }
        // Set back to a bundle whose signature is held, maybe before the cut: the rest comes
        // again from whoever made the cut.
        if self.cut(tenant, &log).is_none() {
            self.fail("I1", || format!("host {n} removes bundle {seq} of {log:?} of {tenant}"));
        }
    }

    /// A host writes a log's tip. Back is only to a cut.
    fn tip(&mut self, n: usize, key: &[u8], value: Option<&[u8]>) {
        let Some(tenant) = tenant_in(key) else { return };
        let log = LogId::from_bytes(key[8..24].try_into().unwrap());
        let seq = value.map_or(0, |value| Seq::from_be_bytes(value[107..115].try_into().unwrap()));
        let cut = self.cut(tenant, &log);
        let ledger = self.ledgers.entry(n).or_default();
        if let Some(held) = ledger.held.get_mut(&(tenant, log)) {
            held.truncate(seq as usize);
        }
        let mut back = false;
        for claims in [&mut ledger.proven, &mut ledger.promised] {
            if let Some(claim) = claims.get_mut(&(tenant, log)).filter(|claim| **claim > seq) {
                back |= cut.is_none();
                *claim = seq;
            }
        }
        if back {
            self.fail("I1", || format!("host {n} sets {log:?} of {tenant} back to {seq}"));
        }
    }

    fn disclose(&mut self, tenant: VatNumber, log: LogId, seq: Seq) {
        if let Some(said) = self.said.get_mut(&(tenant, log)) {
            said.disclosed = seq.max(said.disclosed);
        }
    }
}
