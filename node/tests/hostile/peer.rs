//! The bad peer: an authenticated connection and the freedom to say anything on it.

use bytes::Bytes;
use engine::{
    bundle::{BlobRef, Body, Item, Origin, PublicKey, Signature},
    fault::Fault,
    id::{Incarnation, LogId, VatNumber},
    log::Log,
    vector::Digest,
    wire::{Effort, Form, Frame, Hello, Packing, Run, SpaceState, Tenant, VERSIONS},
};
use node::transport::{
    Class, ConnectionError, DialError, Dialer, Endpoint, FrameReceiver, FrameSender, Identity,
    PinSet, Transport,
};

use crate::scene::{Scene, soon, tenant};

/// In the place of a close code that was lost.
pub const RESET: u32 = u32::MAX;

pub struct Peer {
    pub sender: FrameSender,
    pub receiver: FrameReceiver,
    /// The digest of the tenant's space, as the portal's `Hello` says it.
    pub digest: Digest,
}

pub fn hello() -> Frame {
    Frame::Hello(Hello {
        versions: VERSIONS,
        agent: "byzantine".into(),
        primary: false,
        spaces: vec![empty_space(tenant())],
        root: Digest::default(),
    })
}

pub fn empty_space(tenant: VatNumber) -> SpaceState {
    SpaceState { tenant: Tenant(tenant), logs: vec![], rest: None, digest: Digest::default() }
}

impl Peer {
    pub async fn dial(scene: &Scene, identity: &Identity) -> Self {
        // One transport, then the other: faults are the same over both.
        static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let transport = [Transport::Quic, Transport::Tcp][next % 2];
        Self::dial_by(scene, identity, transport).await
    }

    pub async fn dial_by(scene: &Scene, identity: &Identity, transport: Transport) -> Self {
        Self::try_dial(scene, identity, transport).await.unwrap()
    }

    pub async fn try_dial(
        scene: &Scene,
        identity: &Identity,
        transport: Transport,
    ) -> Result<Self, DialError> {
        let pins = PinSet::new([(scene.portal_peer, None)].into());
        let line = Endpoint::bind((std::net::Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let dialer = Dialer::new(identity.clone(), pins, vec![line]);
        let connection = soon(dialer.dial(0, scene.address, scene.portal_peer, transport)).await?;
        let (sender, receiver) = connection.split();
        Ok(Self { sender, receiver, digest: Digest::default() })
    }

    /// Says an honest `Hello` and hears the portal's.
    pub async fn greet(&mut self) {
        self.say(&hello()).await;
        let Frame::Hello(hello) = self.hear().await else { panic!("no Hello") };
        let space = hello.spaces.iter().find(|space| space.tenant.0 == tenant());
        self.digest = space.expect("the tenant's space").digest;
    }

    pub async fn say(&self, frame: &Frame) {
        let class = match frame {
            Frame::Run(_) => Class::Bundles,
            Frame::Chunk(_) => Class::Blobs,
            _ => Class::Control,
        };
        self.say_bytes(class, frame.encode().into()).await;
    }

    pub async fn say_bytes(&self, class: Class, bytes: Bytes) {
        // The portal may have closed already; what it said is heard by `fault`.
        let _ = soon(self.sender.send(class, bytes)).await;
    }

    pub async fn hear(&mut self) -> Frame {
        let (_, bytes) = soon(self.receiver.recv()).await.unwrap().unwrap();
        Frame::decode(&bytes).unwrap()
    }

    /// Hears until a frame of interest.
    pub async fn hear_until<T>(&mut self, mut wanted: impl FnMut(Frame) -> Option<T>) -> T {
        loop {
            let frame = self.hear().await;
            if let Some(found) = wanted(frame) {
                return found;
            }
        }
    }

    /// How the portal ended this: the fault in its `Bye`, if it said one, and the close code.
    pub async fn ended(mut self) -> (Option<Fault>, u32) {
        let mut bye = None;
        loop {
            match soon(self.receiver.recv()).await {
                Some(Ok((_, bytes))) => {
                    if let Ok(Frame::Bye(fault)) = Frame::decode(&bytes) {
                        bye = fault;
                    }
                }
                Some(Err(ConnectionError::ClosedByPeer { code, .. })) => return (bye, code),
                // Of a connection in which much was not read, the close may be lost: TCP resets
                // it, and QUIC answers what still comes with a reset.
                Some(Err(ConnectionError::Lost(_))) => return (bye, RESET),
                other => panic!("not closed by the portal: {other:?}"),
            }
        }
    }

    /// Answers that the session is alive.
    pub async fn is_served(&mut self) {
        self.say(&Frame::Ping(77)).await;
        self.hear_until(|frame| matches!(frame, Frame::Pong(77)).then_some(())).await;
    }
}

/// Writes bundles in a log of its own, as the engine would: sound until it is bent.
pub struct Writer {
    pub origin: Origin,
    identity: Identity,
    tenant: VatNumber,
    log: Log,
}

impl Writer {
    pub fn new(identity: &Identity, tenant: VatNumber, n: u8) -> Self {
        let key = PublicKey::from_spki(identity.spki()).unwrap();
        let origin = Origin { key, incarnation: Incarnation([n; 16]) };
        let log = Log::new(tenant, origin.clone());
        Self { origin, identity: identity.clone(), tenant, log }
    }

    pub fn id(&self) -> LogId {
        self.origin.log()
    }

    /// The next bundle, alone in its run, as if written in January 1970.
    pub fn run(&mut self, items: Vec<Item>, files: &[&[u8]]) -> Run {
        self.run_at(1, items, files)
    }

    /// The same with a date of one's choice.
    pub fn run_at(&mut self, written_ms: u64, items: Vec<Item>, files: &[&[u8]]) -> Run {
        let blobs: Vec<_> = files.iter().map(|file| BlobRef::of(file)).collect();
        let inline: Vec<u8> = files
            .iter()
            .zip(&blobs)
            .filter(|(_, blob)| blob.is_inline())
            .flat_map(|(file, _)| file.to_vec())
            .collect();
        let body = Body { written_ms, items, blobs }.encode().unwrap();
        self.run_of(body, &inline)
    }

    /// The same of a body's bytes, whatever they are.
    pub fn run_of(&mut self, body: Vec<u8>, inline: &[u8]) -> Run {
        let (seq, stored) = self.log.append(body, inline.to_vec());
        Run {
            tenant: Tenant(self.tenant),
            log: self.id(),
            first: seq,
            previous: stored.previous,
            origin: (seq == 1).then(|| (&self.origin).into()),
            bodies: vec![u32::try_from(stored.body.len()).unwrap()],
            inline: u32::try_from(inline.len()).unwrap(),
            signature: Signature::from_bytes(&self.identity.sign(&stored.hash.0)),
            payload: Run::pack(
                Packing { form: Form::Plain, effort: Effort::Quick },
                [(&stored.body[..], inline)].into_iter(),
            ),
        }
    }
}
