//! A replica over any store, and a hand that writes bundles as version 1 does.

use std::sync::Arc;

use engine::{
    archive,
    bundle::{BlobRef, Body, Item, Origin, Signature, Signer as _},
    effect::{Effect, Input},
    engine::{Config, Engine},
    grant::Role,
    id::{Incarnation, LogId, PeerId, VatNumber},
    limits,
    log::Log,
    session::SessionId,
    store::Store,
    time::Time,
    vector::Digest,
    wire::{Chunk, Effort, Form, Frame, Hello, Packing, Run, SpaceState, Tenant, VERSIONS},
};

use crate::keys::Key;

/// The first portal's key, which all histories begin with.
pub const PORTAL: usize = 0;
/// A node's.
pub const NODE: usize = 1;

/// The large file of the history: its chunks are not kept, for who knows this knows them.
pub fn large_file() -> Vec<u8> {
    (0..150_000_u32).map(|n| (n % 251) as u8).collect()
}

pub fn tenant() -> VatNumber {
    VatNumber::parse("02038490237").unwrap()
}

/// The other portal, which one peer has a session with.
pub struct Replica {
    pub engine: Engine,
    pub store: Arc<dyn Store>,
    /// What it said.
    pub said: Vec<Frame>,
    /// In which form it was to send each run.
    pub forms: Vec<Form>,
    peer: PeerId,
    session: SessionId,
    now: u64,
}

impl Replica {
    /// Over what is in `store`, opened by `peer`.
    pub fn opened_by(peer: PeerId, store: Arc<dyn Store>) -> Self {
        let own = Key::new(11);
        let config = Config {
            portals: vec![Key::new(PORTAL).peer(), own.peer()],
            signer: Box::new(own),
            incarnation: Incarnation([1; 16]),
            role: Role::Portal,
            tenant: None,
            agent: "upgraded".to_owned(),
        };
        let engine = Engine::new(config, archive::recover(&*store).unwrap());
        let session = SessionId(0);
        let mut replica =
            Self { engine, store, said: Vec::new(), forms: Vec::new(), peer, session, now: 0 };
        let digest = Digest::default();
        let space = SpaceState { tenant: Tenant(tenant()), logs: Vec::new(), rest: None, digest };
        let hello = Frame::Hello(Hello {
            versions: VERSIONS,
            agent: "kept".to_owned(),
            primary: false,
            spaces: vec![space],
            root: Digest([1; 16]),
        });
        replica.greeted_with(&hello.encode());
        replica
    }

    /// Takes the runs of a history, and the chunks of the one large file where it asks for them.
    pub fn hear_history(&mut self, runs: impl IntoIterator<Item = Vec<u8>>) {
        for bytes in runs {
            let Ok(Frame::Run(run)) = Frame::decode(&bytes) else { panic!("no run") };
            self.said.clear();
            self.hear_bytes(&bytes);
            if self.said.iter().any(|said| matches!(said, Frame::WantChunks { .. })) {
                let (tenant, file) = (run.tenant, large_file());
                let cut = BlobRef::of(&file).cut();
                for (index, bytes) in (0..).zip(file.chunks(limits::CHUNK_BYTES)) {
                    self.hear(&Frame::Chunk(Chunk { tenant, cut, index, bytes: bytes.to_vec() }));
                }
            }
            let held = self.engine.vector(run.tenant.0).get(&run.log);
            assert!(held >= run.last().unwrap(), "{run:?}: {:?}", self.said);
        }
    }

    /// The peer comes anew and says this first.
    pub fn greeted_with(&mut self, hello: &[u8]) {
        self.tell(Input::Closed { session: self.session });
        self.session = SessionId(self.session.0 + 1);
        let (session, peer) = (self.session, self.peer);
        self.tell(Input::Opened { session, peer, dialled: false, primary: false });
        self.hear_bytes(hello);
    }

    /// Takes a frame as it comes over a line.
    pub fn hear(&mut self, frame: &Frame) {
        self.hear_bytes(&frame.encode());
    }

    pub fn hear_bytes(&mut self, bytes: &[u8]) {
        let session = self.session;
        self.tell(match Frame::decode(bytes) {
            Ok(frame) => Input::Received { session, frame },
            Err(fault) => Input::Garbage { session, fault },
        });
    }

    fn tell(&mut self, input: Input) {
        self.now += 1;
        self.engine.handle(Time::from_millis(self.now), input);
        while let Some(effect) = self.engine.poll() {
            let input = match effect {
                Effect::Commit { commit, batch } => {
                    self.store.apply(batch).unwrap();
                    self.store.barrier().unwrap();
                    Input::Committed { commit }
                }
                Effect::FindMissing { session, tenant, log, lookup, blobs } => {
                    let missing = |blob: &BlobRef| {
                        (blob.cut(), archive::missing_chunks(&*self.store, tenant, blob).unwrap())
                    };
                    let chunks = blobs.iter().map(missing).collect();
                    Input::Missing { session, tenant, log, lookup, chunks }
                }
                Effect::Send { frame, .. } => {
                    self.said.push(frame);
                    continue;
                }
                Effect::SendRun { form, .. } => {
                    self.forms.push(form);
                    continue;
                }
                Effect::Alarm(alarm) => panic!("{alarm:?}"),
                _ => continue,
            };
            self.engine.handle(Time::from_millis(self.now), input);
        }
    }
}

/// Writes one log of one tenant, one bundle a run.
pub struct Writer {
    key: Key,
    origin: Origin,
    tenant: VatNumber,
    log: Log,
}

impl Writer {
    pub fn new(key: usize, tenant: VatNumber) -> Self {
        let key = Key::new(key);
        let origin = Origin {
            key: key.public_key().clone(),
            incarnation: Incarnation([key_byte(&key); 16]),
        };
        let log = Log::new(tenant, origin.clone());
        Self { key, origin, tenant, log }
    }

    pub fn id(&self) -> LogId {
        self.origin.log()
    }

    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    pub fn say(&mut self, items: Vec<Item>, files: &[&[u8]]) -> Run {
        let blobs: Vec<_> = files.iter().map(|file| BlobRef::of(file)).collect();
        let inline = files.iter().zip(&blobs).filter(|(_, blob)| blob.is_inline());
        let inline = inline.flat_map(|(file, _)| file.to_vec()).collect();
        let body = Body { written_ms: 1_764_000_000_000, items, blobs };
        self.say_bytes(body.encode().unwrap(), inline)
    }

    /// The same of a body's bytes, whatever they are.
    pub fn say_bytes(&mut self, body: Vec<u8>, inline: Vec<u8>) -> Run {
        self.say_bundles(vec![(body, inline)])
    }

    /// Several bundles in one run, each a body's bytes and its inline files.
    pub fn say_bundles(&mut self, bundles: Vec<(Vec<u8>, Vec<u8>)>) -> Run {
        let said: Vec<_> =
            bundles.into_iter().map(|(body, inline)| self.log.append(body, inline)).collect();
        let (first, last) = (said[0].0, &said[said.len() - 1].1);
        let lengths: Vec<_> = said.iter().map(|(_, stored)| stored.body.len() as u32).collect();
        Run {
            tenant: Tenant(self.tenant),
            log: self.id(),
            first,
            previous: said[0].1.previous,
            origin: (first == 1).then(|| (&self.origin).into()),
            bodies: Form::Sheet.told(&lengths),
            inline: said.iter().map(|(_, stored)| stored.inline.len() as u32).sum(),
            signature: Signature::from_bytes(&self.key.sign(&last.hash.0)),
            payload: Run::pack(
                Packing { form: Form::Sheet, effort: Effort::Quick },
                said.iter().map(|(_, stored)| (&stored.body[..], &stored.inline[..])),
            ),
        }
    }
}

/// An incarnation that differs by writer and is the same in every run.
fn key_byte(key: &Key) -> u8 {
    key.public_key().spki()[40]
}
