//! A portal in memory with two customers, sessions with whoever comes, and writers' hands.

use std::{collections::BTreeMap, ops::RangeInclusive};

use engine::{
    archive,
    bundle::{BlobRef, Body, ChainHash, Item, Origin, Signature, Signer as _},
    effect::{Alarm, Effect, Input, Ticket},
    engine::{Config, Engine},
    grant::{Revocation, Role},
    id::{Incarnation, LogId, Seq, VatNumber},
    log::Log,
    session::SessionId,
    store::{Store as _, memory::MemoryStore},
    time::Time,
    vector::Digest,
    wire::{Effort, Form, Frame, Hello, Packing, Received, Run, SpaceState, Tenant, VERSIONS},
};

use crate::keys::Key;

pub const PORTAL: usize = 0;
/// A node of the tenant whose bundles are changed on their way.
pub const HONEST: usize = 1;
/// Another of its nodes, through which they come.
pub const RELAY: usize = 2;
/// Another customer's node.
pub const FOREIGN: usize = 3;
/// A node that was revoked before it said anything.
pub const REVOKED: usize = 4;
/// Nobody's.
pub const STRANGER: usize = 5;

pub fn tenant() -> VatNumber {
    VatNumber::parse("02038490237").unwrap()
}

pub fn other_tenant() -> VatNumber {
    VatNumber::parse("12345678903").unwrap()
}

/// A run taken apart.
pub fn opened(run: &Run) -> Vec<Received> {
    run.open().unwrap()
}

pub struct Portal {
    pub engine: Engine,
    pub store: MemoryStore,
    pub alarms: Vec<Alarm>,
    /// The session of each key, and what was last answered on it.
    sessions: BTreeMap<usize, (SessionId, Option<Frame>)>,
    next: u64,
}

impl Portal {
    pub fn new() -> Self {
        let key = Key::new(PORTAL);
        let config = Config {
            portals: vec![key.peer()],
            signer: Box::new(key),
            incarnation: Incarnation([1; 16]),
            role: Role::Portal,
            tenant: None,
            agent: "mutated".to_owned(),
        };
        let store = MemoryStore::new();
        let engine = Engine::new(config, archive::recover(&store).unwrap());
        let (alarms, sessions) = (Vec::new(), BTreeMap::new());
        let mut portal = Self { engine, store, alarms, sessions, next: 0 };
        let revoked = Revocation { peer: Key::new(REVOKED).peer(), cuts: Vec::new() };
        let mut grants: Vec<_> = [HONEST, RELAY, REVOKED].map(|node| Key::new(node).grant()).into();
        grants.push(Item::Revocation(revoked));
        portal.say(tenant(), grants);
        portal.say(other_tenant(), vec![Key::new(FOREIGN).grant()]);
        portal
    }

    fn say(&mut self, tenant: VatNumber, items: Vec<Item>) {
        let ticket = Ticket(self.next);
        self.tell(Input::Append { ticket, tenant, written_ms: 0, items, files: Vec::new() });
        assert!(!self.engine.vector(tenant).is_empty());
    }

    /// `node` comes, anew if it was here, and greets honestly.
    pub fn meet(&mut self, node: usize) {
        self.next += 1;
        let session = SessionId(self.next);
        if let Some((old, _)) = self.sessions.insert(node, (session, None)) {
            self.tell(Input::Closed { session: old });
        }
        let peer = Key::new(node).peer();
        self.tell(Input::Opened { session, peer, dialled: false, primary: false });
        let tenant = Tenant(if node == FOREIGN { other_tenant() } else { tenant() });
        let (logs, digest) = (Vec::new(), Digest::default());
        let hello = Frame::Hello(Hello {
            versions: VERSIONS,
            agent: "relay".to_owned(),
            primary: false,
            spaces: vec![SpaceState { tenant, logs, rest: None, digest }],
            root: digest,
        });
        self.hear(node, &hello.encode());
        if let Some((_, answer)) = self.sessions.get_mut(&node) {
            *answer = None;
        }
    }

    /// Takes bytes as they come over `node`'s line.
    pub fn hear(&mut self, node: usize, bytes: &[u8]) {
        let (session, _) = self.sessions[&node];
        self.tell(match Frame::decode(bytes) {
            Ok(frame) => Input::Received { session, frame },
            Err(fault) => Input::Garbage { session, fault },
        });
    }

    /// What was last said to `node`, in a word.
    pub fn answer(&self, node: usize) -> String {
        match &self.sessions[&node].1 {
            Some(Frame::Bye(Some(fault))) => format!("{fault:?}"),
            Some(Frame::Want { .. }) => "wants what is missing".to_owned(),
            Some(Frame::Ack { .. }) => "has it".to_owned(),
            Some(frame) => format!("{frame:?}").chars().take(12).collect(),
            None => "dropped".to_owned(),
        }
    }

    fn tell(&mut self, input: Input) {
        self.next += 1;
        let now = Time::from_millis(self.next);
        self.engine.handle(now, input);
        while let Some(effect) = self.engine.poll() {
            let input = match effect {
                Effect::Commit { commit, batch } => {
                    self.store.apply(batch).unwrap();
                    self.store.barrier().unwrap();
                    Input::Committed { commit }
                }
                Effect::FindMissing { session, tenant, log, lookup, blobs } => {
                    let missing = |blob: &BlobRef| {
                        (blob.cut(), archive::missing_chunks(&self.store, tenant, blob).unwrap())
                    };
                    let chunks = blobs.iter().map(missing).collect();
                    Input::Missing { session, tenant, log, lookup, chunks }
                }
                Effect::Send { session, frame } => {
                    let here = self.sessions.values_mut().find(|(id, _)| *id == session);
                    here.into_iter().for_each(|(_, answer)| *answer = Some(frame.clone()));
                    continue;
                }
                Effect::Alarm(alarm) => {
                    self.alarms.push(alarm);
                    continue;
                }
                _ => continue,
            };
            self.engine.handle(now, input);
        }
    }
}

/// Writes one log of one tenant.
pub struct Writer {
    key: Key,
    pub origin: Origin,
    tenant: VatNumber,
    log: Log,
    said: Vec<(Vec<u8>, Vec<u8>, ChainHash, Signature)>,
}

impl Writer {
    pub fn new(key: usize, tenant: VatNumber) -> Self {
        Self::restarted(key, tenant, 0)
    }

    /// The writer's `n`th start, which has a log of its own.
    pub fn restarted(key: usize, tenant: VatNumber, n: usize) -> Self {
        let key = Key::new(key);
        let mut incarnation = [7; 16];
        incarnation[..8].copy_from_slice(&(n as u64).to_be_bytes());
        let incarnation = Incarnation(incarnation);
        let origin = Origin { key: key.public_key().clone(), incarnation };
        let log = Log::new(tenant, origin.clone());
        Self { key, origin, tenant, log, said: Vec::new() }
    }

    pub fn id(&self) -> LogId {
        self.origin.log()
    }

    /// The number of the last bundle.
    pub fn said(&self) -> Seq {
        self.said.len() as Seq
    }

    pub fn body(&self, items: Vec<Item>, files: &[&[u8]]) -> Vec<u8> {
        let blobs = files.iter().map(|file| BlobRef::of(file)).collect();
        Body { written_ms: 1, items, blobs }.encode().unwrap()
    }

    /// The next bundle, alone in its run.
    pub fn say(&mut self, items: Vec<Item>, files: &[&[u8]]) -> Run {
        let inline = files.iter().filter(|file| BlobRef::of(file).is_inline());
        self.say_bytes(self.body(items, files), inline.flat_map(|file| file.to_vec()).collect())
    }

    /// The same of a body's bytes, whatever they are.
    pub fn say_bytes(&mut self, body: Vec<u8>, inline: Vec<u8>) -> Run {
        let (seq, stored) = self.log.append(body, inline);
        let signature = Signature::from_bytes(&self.key.sign(&stored.hash.0));
        self.said.push((stored.body.into(), stored.inline.into(), stored.previous, signature));
        self.joined(seq..=seq)
    }

    /// These bundles in one run.
    pub fn joined(&self, bundles: RangeInclusive<Seq>) -> Run {
        let first = *bundles.start();
        let said = &self.said[first as usize - 1..*bundles.end() as usize];
        Run {
            tenant: Tenant(self.tenant),
            log: self.id(),
            first,
            previous: said[0].2,
            origin: (first == 1).then(|| (&self.origin).into()),
            bodies: said.iter().map(|(body, ..)| body.len() as u32).collect(),
            inline: said.iter().map(|(_, inline, ..)| inline.len() as u32).sum(),
            signature: said[said.len() - 1].3,
            payload: Run::pack(
                Packing { form: Form::Sheet, effort: Effort::Quick },
                said.iter().map(|(body, inline, ..)| (&body[..], &inline[..])),
            ),
        }
    }

    /// Every bundle so far.
    pub fn all(&self) -> impl Iterator<Item = Run> + '_ {
        (1..=self.said()).map(|seq| self.joined(seq..=seq))
    }
}
