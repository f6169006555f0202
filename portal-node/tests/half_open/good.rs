//! A customer's node that writes, one bundle at a time, and counts how long each takes.

use std::time::{Duration, Instant};

use engine::{
    bundle::{Body, Item, Origin, PublicKey, Signature},
    document::annotation::{self, AnnotationEdit},
    id::{BlobHash, DocumentId, Incarnation, Kind},
    log::Log,
    vector::Digest,
    wire::{Effort, Form, Frame, Hello, Packing, Run, SpaceState, Tenant, VERSIONS},
};
use node::transport::{
    Class, Connection, Dialer, Endpoint, FrameReceiver, FrameSender, PinSet, Transport,
};

use crate::portal::{Portal, tenant};

pub struct GoodPeer {
    sender: FrameSender,
    receiver: FrameReceiver,
    sign: node::transport::Identity,
    origin: Origin,
    log: Log,
}

impl GoodPeer {
    pub async fn connected(portal: &Portal, transport: Transport) -> Self {
        let (sender, receiver) = dial(portal, transport).await.split();
        let key = PublicKey::from_spki(portal.customer.spki()).unwrap();
        let origin = Origin { key, incarnation: Incarnation([1; 16]) };
        let log = Log::new(tenant(), origin.clone());
        let mut peer = Self { sender, receiver, sign: portal.customer.clone(), origin, log };
        peer.greet().await;
        peer
    }

    /// Milliseconds until a newcomer is greeted.
    pub async fn connects(portal: &Portal, transport: Transport) -> f64 {
        let began = Instant::now();
        let mut peer = Self::connected(portal, transport).await;
        peer.sender.close(0, "that was all").await;
        while peer.receiver.recv().await.is_some_and(|heard| heard.is_ok()) {}
        began.elapsed().as_secs_f64() * 1e3
    }

    async fn greet(&mut self) {
        let (tenant, digest) = (Tenant(tenant()), Digest::default());
        let hello = Frame::Hello(Hello {
            versions: VERSIONS,
            agent: "good".to_owned(),
            primary: false,
            spaces: vec![SpaceState { tenant, logs: Vec::new(), rest: None, digest }],
            root: digest,
        });
        self.sender.send(Class::Control, hello.encode().into()).await.unwrap();
        while !matches!(self.hear().await, Frame::Hello(_)) {}
    }

    /// Milliseconds until the portal holds one more bundle durably.
    pub async fn acknowledged(&mut self) -> f64 {
        let id = self.origin.log();
        let seq = self.log.pending().0 + 1;
        let document =
            DocumentId::invoice(&BlobHash::of(&seq.to_be_bytes())).sibling(Kind::Annotation);
        let edits = [AnnotationEdit::Notes("pagata in contanti".to_owned())];
        let change = annotation::edit(id, &[], &edits).unwrap().unwrap();
        let items = vec![Item::Change { document, change }];
        let body = Body { written_ms: 1, items, blobs: Vec::new() }.encode().unwrap();
        let (first, stored) = self.log.append(body, Vec::new());
        let run = Run {
            tenant: Tenant(tenant()),
            log: id,
            first,
            previous: stored.previous,
            origin: (first == 1).then(|| (&self.origin).into()),
            bodies: vec![stored.body.len() as u32],
            inline: 0,
            signature: Signature::from_bytes(&self.sign.sign(&stored.hash.0)),
            payload: Run::pack(
                Packing { form: Form::Sheet, effort: Effort::Quick },
                [(&stored.body[..], &[][..])].into_iter(),
            ),
        };
        let began = Instant::now();
        self.sender.send(Class::Bundles, Frame::Run(run).encode().into()).await.unwrap();
        loop {
            match self.hear().await {
                Frame::Ack { logs, .. } if logs.contains(&(id, first)) => {
                    return began.elapsed().as_secs_f64() * 1e3;
                }
                Frame::Bye(fault) => panic!("turned away: {fault:?}"),
                _ => {}
            }
        }
    }

    async fn hear(&mut self) -> Frame {
        let heard = tokio::time::timeout(Duration::from_secs(120), self.receiver.recv()).await;
        let (_, bytes) = heard.expect("an answer in two minutes").unwrap().unwrap();
        let frame = Frame::decode(&bytes).unwrap();
        if let Frame::Ping(n) = frame {
            self.sender.send(Class::Control, Frame::Pong(n).encode().into()).await.unwrap();
        }
        frame
    }
}

/// From an address where no stranger is, as often as it takes: an attempt may be given up.
async fn dial(portal: &Portal, transport: Transport) -> Connection {
    let pins = PinSet::new([(portal.peer, None)].into());
    for _ in 0..60 {
        let line = Endpoint::bind("127.200.0.1:0".parse().unwrap()).unwrap();
        let dialer = Dialer::new(portal.customer.clone(), pins.clone(), vec![line]);
        let dialled = dialer.dial(0, portal.address, portal.peer, transport);
        match tokio::time::timeout(Duration::from_secs(10), dialled).await {
            Ok(Ok(connection)) => return connection,
            Ok(Err(error)) => println!("{transport:?}: {error}"),
            Err(_) => println!("{transport:?}: no answer in 10 s"),
        }
    }
    panic!("a customer is kept out");
}
