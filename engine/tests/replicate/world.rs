//! A small world for stories: replicas in memory, joined by wires that can be cut.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::ControlFlow,
    sync::Arc,
};

use engine::{
    archive,
    bundle::{Item, PublicKey, Signer},
    effect::{Alarm, AppendError, CommitId, Effect, Input, Ticket},
    engine::{Config, Engine},
    grant::{Grant, Role},
    id::{DocumentId, Incarnation, LogId, PeerId, VatNumber},
    session::SessionId,
    store::{Batch, Store, Table, memory::MemoryStore},
    time::Time,
    wire::{Chunk, Effort, Frame, Packing},
};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};

pub struct Key {
    pair: EcdsaKeyPair,
    public: PublicKey,
}

impl Key {
    pub fn new() -> Self {
        let rng = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &rng)
            .unwrap();
        let mut spki = vec![
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
            0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ];
        spki.extend_from_slice(pair.public_key().as_ref());
        let public = PublicKey::from_spki(&spki).unwrap();
        Self { pair, public }
    }

    pub fn peer(&self) -> PeerId {
        self.public.peer()
    }

    pub fn grant(&self) -> Item {
        Item::Grant(Grant { spki: self.public.spki().to_vec(), not_after_ms: u64::MAX })
    }
}

impl Signer for &'static Key {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature = self.pair.sign(&SystemRandom::new(), message).unwrap();
        signature.as_ref().try_into().unwrap()
    }
}

pub fn key() -> &'static Key {
    Box::leak(Box::new(Key::new()))
}

pub fn tenant() -> VatNumber {
    VatNumber::parse("02038490237").unwrap()
}

/// The key of a bundle's row.
pub fn row(log: LogId, seq: u64) -> Vec<u8> {
    [&tenant().as_u64().to_be_bytes()[..], log.as_bytes(), &seq.to_be_bytes()].concat()
}

pub struct Peer {
    pub engine: Engine,
    pub store: Arc<MemoryStore>,
    pub key: &'static Key,
    pub alarms: Vec<Alarm>,
    pub refused: Vec<AppendError>,
    pub ended: Vec<Option<engine::fault::Fault>>,
    pub sent: Vec<Frame>,
    pub rebuilds: u32,
    /// The last position told as fresh, and the one when it was last told that something is said.
    shown: u64,
    said: u64,
    role: Role,
    portals: Vec<PeerId>,
    starts: u8,
}

#[derive(Default)]
pub struct World {
    pub peers: Vec<Peer>,
    /// (peer, session) -> (peer, session)
    wires: BTreeMap<(usize, SessionId), (usize, SessionId)>,
    inputs: VecDeque<(usize, Input)>,
    next: u64,
    now: u64,
    /// Wires (from, to) on which nothing arrives.
    pub silent: Vec<(usize, usize)>,
    /// Wires (from, to) on which no chunk arrives.
    pub lost_chunks: Vec<(usize, usize)>,
    /// The wire (from, to) whose frames wait for [`World::release`].
    pub late: Option<(usize, usize)>,
    /// The same for chunks alone.
    pub late_chunks: Option<(usize, usize)>,
    /// Whether chunks are looked for and the answer waits for [`World::release`].
    pub late_lookups: bool,
    kept: VecDeque<(usize, Input)>,
    pub bytes: u64,
}

fn start(role: Role, key: &'static Key, portals: &[PeerId], store: &MemoryStore, n: u8) -> Engine {
    let config = Config {
        signer: Box::new(key),
        incarnation: Incarnation([n; 16]),
        role,
        tenant: (role == Role::Node).then(tenant),
        portals: portals.to_vec(),
        agent: "story".to_owned(),
    };
    Engine::new(config, archive::recover(store).unwrap())
}

impl World {
    pub fn add(&mut self, role: Role, key: &'static Key, portals: &[PeerId]) -> usize {
        let store = Arc::new(MemoryStore::new());
        let engine = start(role, key, portals, &store, 1);
        self.peers.push(Peer {
            engine,
            store,
            key,
            role,
            portals: portals.to_vec(),
            starts: 1,
            alarms: Vec::new(),
            refused: Vec::new(),
            ended: Vec::new(),
            sent: Vec::new(),
            rebuilds: 0,
            shown: 0,
            said: 0,
        });
        self.run();
        self.peers.len() - 1
    }

    /// The process is killed and its machine loses power, then it starts again.
    pub fn crash(&mut self, peer: usize) {
        let cut: Vec<_> = self.wires.keys().filter(|(at, _)| *at == peer).copied().collect();
        for end in cut {
            self.cut(end);
        }
        self.inputs.retain(|(at, _)| *at != peer);
        let Peer { engine, store, key, role, portals, starts, .. } = &mut self.peers[peer];
        store.crash();
        *starts += 1;
        *engine = start(*role, key, portals, store, *starts);
        (self.peers[peer].shown, self.peers[peer].said) = (0, 0);
        self.run();
    }

    /// A copy of what a peer holds durably.
    pub fn backup(&self, peer: usize) -> Arc<MemoryStore> {
        let copy = MemoryStore::new();
        for table in Table::ALL {
            let mut batch = Batch::default();
            let mut put = |key: &[u8], value: &[u8]| {
                batch.put(table, key.to_vec(), value.to_vec());
                ControlFlow::Continue(())
            };
            self.peers[peer].store.scan(table, &[], &[0xff; 64], &mut put).unwrap();
            copy.apply(batch).unwrap();
        }
        copy.barrier().unwrap();
        Arc::new(copy)
    }

    /// The machine is put back to a backup, and starts.
    pub fn restore(&mut self, peer: usize, backup: Arc<MemoryStore>) {
        self.peers[peer].store = backup;
        self.crash(peer);
    }

    pub fn connect(&mut self, from: usize, to: usize, primary: bool) -> SessionId {
        self.next += 1;
        let session = SessionId(self.next);
        self.wires.insert((from, session), (to, session));
        self.wires.insert((to, session), (from, session));
        let (a, b) = (self.peers[from].key.peer(), self.peers[to].key.peer());
        let opened =
            |peer, dialled| Input::Opened { session, peer, dialled, primary: dialled && primary };
        self.inputs.push_back((from, opened(b, true)));
        self.inputs.push_back((to, opened(a, false)));
        self.run();
        session
    }

    pub fn cut(&mut self, end: (usize, SessionId)) {
        if let Some(other) = self.wires.remove(&end) {
            self.wires.remove(&other);
            self.inputs.push_back((end.0, Input::Closed { session: end.1 }));
            self.inputs.push_back((other.0, Input::Closed { session: other.1 }));
        }
        self.run();
    }

    pub fn say(&mut self, peer: usize, items: Vec<Item>, files: Vec<Vec<u8>>) {
        self.say_later(peer, items, files);
        self.run();
    }

    pub fn say_later(&mut self, peer: usize, items: Vec<Item>, files: Vec<Vec<u8>>) {
        self.next += 1;
        let ticket = Ticket(self.next);
        let append = Input::Append { ticket, tenant: tenant(), written_ms: 0, items, files };
        self.inputs.push_back((peer, append));
    }

    pub fn input(&mut self, peer: usize, input: Input) {
        self.inputs.push_back((peer, input));
        self.run();
    }

    /// Delivers what was kept of the frames that were [`World::late`].
    pub fn release(&mut self) {
        self.late = None;
        self.late_chunks = None;
        self.late_lookups = false;
        self.inputs.append(&mut self.kept);
        self.run();
    }

    /// The same, but the second half is delivered in turns with the first.
    pub fn release_interleaved(&mut self) {
        let second = self.kept.split_off(self.kept.len() / 2);
        let first = std::mem::take(&mut self.kept);
        self.kept = first.into_iter().zip(second).flat_map(|(a, b)| [a, b]).collect();
        self.release();
    }

    /// Until nothing happens any more.
    pub fn run(&mut self) {
        loop {
            for at in 0..self.peers.len() {
                while let Some(effect) = self.peers[at].engine.poll() {
                    self.carry_out(at, effect);
                }
            }
            let Some((at, input)) = self.inputs.pop_front() else { break };
            self.now += 1;
            let store = Arc::clone(&self.peers[at].store);
            let input = match input {
                Input::Received { session, frame: Frame::Run(run) } => {
                    match archive::resolve(&*store, run) {
                        Ok(run) => Input::Received { session, frame: Frame::Run(run) },
                        Err(fault) => Input::Garbage { session, fault },
                    }
                }
                input => input,
            };
            self.peers[at].engine.handle(Time::from_millis(self.now), input);
        }
    }

    fn deliver(&mut self, at: usize, session: SessionId, frame: Frame) {
        let bytes = frame.encode();
        self.peers[at].sent.push(frame);
        let Some((to, session)) = self.wires.get(&(at, session)).copied() else { return };
        let chunk = bytes.first() == Frame::Chunk(no_chunk()).encode().first();
        if self.silent.contains(&(at, to)) || chunk && self.lost_chunks.contains(&(at, to)) {
            return;
        }
        self.bytes += bytes.len() as u64;
        let input = match Frame::decode(&bytes) {
            Ok(frame) => Input::Received { session, frame },
            Err(fault) => Input::Garbage { session, fault },
        };
        let late = self.late == Some((at, to)) || chunk && self.late_chunks == Some((at, to));
        let queue = if late { &mut self.kept } else { &mut self.inputs };
        queue.push_back((to, input));
    }

    fn carry_out(&mut self, at: usize, effect: Effect) {
        let store = Arc::clone(&self.peers[at].store);
        match effect {
            Effect::Send { session, frame } => self.deliver(at, session, frame),
            Effect::SendRun { session, tenant, origin, after, upto, held, form } => {
                match archive::run(
                    &*store,
                    tenant,
                    &origin,
                    after,
                    upto,
                    &held,
                    Packing { form, effort: Effort::Quick },
                ) {
                    Ok((run, large)) => {
                        let upto = run.last().unwrap();
                        self.deliver(at, session, Frame::Run(run));
                        let sent = Input::RunSent { session, upto, bytes: 1, large };
                        self.inputs.push_back((at, sent));
                    }
                    Err(error) => {
                        self.inputs.push_back((at, Input::RunUnread { session, error }));
                    }
                }
            }
            Effect::SendChunks { session, tenant, cut, first, count } => {
                for index in first..first + count {
                    let bytes = archive::read_chunk(&*store, tenant, &cut, index).unwrap();
                    let tenant = engine::wire::Tenant(tenant);
                    let chunk = Chunk { tenant, cut, index, bytes: bytes.unwrap() };
                    self.deliver(at, session, Frame::Chunk(chunk));
                }
            }
            Effect::Commit { commit, batch } => self.commit(at, commit, batch),
            Effect::FindMissing { session, tenant, log, lookup, blobs } => {
                let chunks = blobs
                    .iter()
                    .map(|b| (b.cut(), archive::missing_chunks(&*store, tenant, b).unwrap()))
                    .collect();
                let missing = Input::Missing { session, tenant, log, lookup, chunks };
                let queue = if self.late_lookups { &mut self.kept } else { &mut self.inputs };
                queue.push_back((at, missing));
            }
            Effect::Truncate { tenant, origin, cut } => {
                let (batch, end) = archive::truncate(&*store, tenant, &origin, cut).unwrap();
                let log = origin.log();
                self.inputs.push_back((at, Input::Truncated { tenant, log, end, batch }));
            }
            Effect::Rebuild { .. } => self.peers[at].rebuilds += 1,
            Effect::Close { session, fault } => {
                self.peers[at].ended.push(fault);
                if let Some(other) = self.wires.remove(&(at, session)) {
                    self.wires.remove(&other);
                    self.inputs.push_back((other.0, Input::Closed { session: other.1 }));
                }
            }
            Effect::Alarm(alarm) => self.peers[at].alarms.push(alarm),
            Effect::Refused { why, .. } => self.peers[at].refused.push(why),
            Effect::Fresh { position, .. } => self.peers[at].shown = position,
            Effect::Appended { .. } => {
                let peer = &mut self.peers[at];
                assert!(peer.shown > peer.said, "whoever learns that it is said finds it shown");
                peer.said = peer.shown;
            }
            Effect::Pins { .. }
            | Effect::Heard { .. }
            | Effect::Greeted { .. }
            | Effect::Announced { .. }
            | Effect::Takes { .. } => {}
        }
    }

    fn commit(&mut self, at: usize, commit: CommitId, batch: Batch) {
        let store = &self.peers[at].store;
        let input = match store.apply(batch).and_then(|()| store.barrier()) {
            Ok(()) => Input::Committed { commit },
            Err(error) => Input::CommitFailed { error },
        };
        self.inputs.push_back((at, input));
    }
}

fn no_chunk() -> Chunk {
    let cut = engine::bundle::BlobRef::of(b"").cut();
    Chunk { tenant: engine::wire::Tenant(tenant()), cut, index: 0, bytes: Vec::new() }
}

/// An invoice-like change in the name of `log`: Automerge's own bytes.
pub fn change(document: DocumentId, log: LogId, text: &str) -> Item {
    use automerge::{ActorId, AutoCommit, ROOT, ReadDoc, transaction::Transactable};
    let mut doc = AutoCommit::new();
    doc.set_actor(ActorId::from(log.as_bytes()));
    doc.put(ROOT, "text", text).unwrap();
    doc.commit();
    let change = doc.get_changes(&[]).remove(0);
    assert_eq!(doc.length(ROOT), 1);
    let contents = engine::chunk::unwrap(change.raw_bytes()).unwrap().to_vec();
    Item::Change { document, change: contents }
}

impl Peer {
    pub fn log(&self) -> LogId {
        LogId::derive(&self.key.peer(), &Incarnation([self.starts; 16]))
    }
}
