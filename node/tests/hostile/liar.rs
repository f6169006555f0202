//! A portal in bad hands: its pin is trusted, and it lies about what it holds. The other portal
//! still gets everything, the node is not drowned, and the truth said later counts.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use engine::{
    bundle::Item,
    effect::Alarm,
    grant::{Grant, Role},
    id::{LogId, PeerId, Seq},
    vector::Digest,
    wire::{Frame, Hello, Run, SpaceState, Tenant, VERSIONS},
};
use node::{
    host::{HostHandle, PortalAddress},
    transport::{Class, FrameReceiver, FrameSender, Identity, Limits, Listener, PinSet},
};

use crate::scene::{endpoints, party, sent, soon, start, tenant, until};

/// An honest portal, one that lies, and a node that knows both.
struct Scene {
    _dirs: [tempfile::TempDir; 2],
    honest: HostHandle,
    liar: Listener,
    node: HostHandle,
    said: u32,
}

fn listener(identity: &Identity, pins: &PinSet) -> (Listener, PortalAddress) {
    let (quic, socket, address) = endpoints();
    let listener =
        Listener::start(identity, pins, vec![quic], vec![socket], Limits::default()).unwrap();
    (listener, PortalAddress { peer: identity.peer(), addresses: vec![address] })
}

impl Scene {
    async fn new() -> Self {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [honest_id, liar_id, node_id] = [party(), party(), party()].map(|party| party.identity);
        let portals = vec![honest_id.peer(), liar_id.peer()];
        let (honest, pins, _) =
            start(dirs[0].path(), &honest_id, Role::Portal, portals.clone(), vec![]);
        let (mut accepting, to_honest) = listener(&honest_id, &pins);
        let host = honest.clone();
        tokio::spawn(async move {
            while let Some(connection) = accepting.accept().await {
                host.accepted(connection);
            }
        });
        let grant = Grant { spki: node_id.spki().to_vec(), not_after_ms: u64::MAX };
        honest.append(tenant(), vec![Item::Grant(grant)], vec![]).await.unwrap();
        let known: BTreeMap<PeerId, _> = [(node_id.peer(), None)].into();
        let (liar, to_liar) = listener(&liar_id, &PinSet::new(known));
        let (node, ..) =
            start(dirs[1].path(), &node_id, Role::Node, portals, vec![to_honest, to_liar]);
        Self { _dirs: dirs, honest, liar, node, said: 0 }
    }

    async fn node_says(&mut self) -> (LogId, Seq) {
        self.said += 1;
        let file = format!("<xml>{}</xml>", self.said).into_bytes();
        let item = sent(self.node.log(), &file).0;
        self.node.append(tenant(), vec![item], vec![file]).await.unwrap()
    }

    /// The node writes, and the honest portal has it.
    async fn goes_on(&mut self) {
        let (log, seq) = self.node_says().await;
        until("the honest portal holds what the node says", async || {
            self.honest.view().await.spaces[&tenant()].get(&log) >= seq
        })
        .await;
    }

    /// The node's next session with the liar, who begins it with `hello`.
    async fn lies(&mut self, hello: Hello, then: Vec<Frame>) -> Ear {
        let (sender, receiver) = soon(self.liar.accept()).await.unwrap().split();
        Ear::open(sender, receiver, Frame::Hello(hello), then)
    }
}

/// The liar's end of a session: answers pings, and keeps what it hears.
struct Ear {
    runs: Arc<Mutex<Vec<Run>>>,
    frames: Arc<AtomicUsize>,
    sender: FrameSender,
}

impl Ear {
    fn open(
        sender: FrameSender,
        mut receiver: FrameReceiver,
        hello: Frame,
        then: Vec<Frame>,
    ) -> Self {
        let (runs, frames) = (Arc::default(), Arc::default());
        let ear = Self { runs, frames, sender: sender.clone() };
        let (runs, frames) = (Arc::clone(&ear.runs), Arc::clone(&ear.frames));
        tokio::spawn(async move {
            for frame in std::iter::once(hello).chain(then) {
                let _ = sender.send(Class::Control, frame.encode().into()).await;
            }
            while let Some(Ok((_, bytes))) = receiver.recv().await {
                frames.fetch_add(1, Ordering::Relaxed);
                match Frame::decode(&bytes).unwrap() {
                    Frame::Ping(n) => {
                        let _ = sender.send(Class::Control, Frame::Pong(n).encode().into()).await;
                    }
                    Frame::Run(run) => runs.lock().unwrap().push(run),
                    _ => {}
                }
            }
        });
        ear
    }

    fn runs(&self) -> Vec<Run> {
        self.runs.lock().unwrap().clone()
    }
}

fn hello(logs: Vec<(LogId, Seq)>, digest: Digest) -> Hello {
    Hello {
        versions: VERSIONS,
        agent: "liar".to_owned(),
        primary: false,
        spaces: vec![SpaceState { tenant: Tenant(tenant()), logs, rest: None, digest }],
        root: digest,
    }
}

fn made_up(n: u64) -> LogId {
    let mut bytes = [0xee; 16];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    LogId::from_bytes(bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_portal_that_claims_to_hold_everything_keeps_nothing_from_the_other() {
    let mut scene = Scene::new().await;
    let (log, _) = scene.node_says().await;
    let held = (0..1000).map(|n| (made_up(n), u64::MAX)).chain([(log, u64::MAX)]).collect();
    let tenant_ = Tenant(tenant());
    let acks = (0..1000).map(|n| Frame::Ack { tenant: tenant_, logs: vec![(log, u64::MAX - n)] });
    let ear = scene.lies(hello(held, Digest([7; 16])), acks.collect()).await;
    for _ in 0..20 {
        scene.goes_on().await;
    }
    assert_eq!(ear.runs(), [], "it is sent nothing that it says it has");
    let wants = ear.frames.load(Ordering::Relaxed);
    assert!(wants < 20_000, "{wants} frames for its thousand made-up logs");
    // Its next session is with what it really has, which is nothing: it gets the whole log.
    ear.sender.close(0, "until later").await;
    let want = Frame::Want { tenant: tenant_, log, after: 0 };
    let ear = scene.lies(hello(Vec::new(), Digest::default()), vec![want]).await;
    until("all of it is sent after all", async || {
        ear.runs().iter().any(|run| run.log == log && run.first == 1)
    })
    .await;
    scene.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_portal_that_claims_another_past_is_reported() {
    let mut scene = Scene::new().await;
    scene.goes_on().await;
    until("the node has the portal's log", async || {
        scene.node.view().await.spaces.get(&tenant()).is_some_and(|held| held.len() == 2)
    })
    .await;
    let held = scene.node.view().await.spaces[&tenant()].iter().collect();
    let _ear = scene.lies(hello(held, Digest([7; 16])), vec![]).await;
    until("the node reports that they differ", async || {
        let alarms = scene.node.view().await.alarms;
        alarms.iter().any(|alarm| matches!(alarm, Alarm::Diverged { .. }))
    })
    .await;
    scene.goes_on().await;
}
