//! Much of what is allowed, and lies about what is held.

use engine::{
    bundle::BlobRef,
    fault::Fault,
    id::LogId,
    limits,
    wire::{Frame, Tenant},
};
use node::transport::Transport;

use crate::{
    peer::{Peer, RESET, empty_space},
    scene::{Scene, sent, soon, tenant, until},
};

fn made_up(n: u64) -> LogId {
    let mut bytes = [0xee; 16];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    LogId::from_bytes(bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_to_hold_what_nobody_wrote_change_nothing() {
    let mut scene = Scene::new().await;
    let mut peer = scene.greeted().await;
    let before = scene.held().await;
    let (tenant, log) = (Tenant(tenant()), scene.node.log());
    let known = async |scene: &Scene| {
        let key = (scene.bad.identity.peer(), tenant.0);
        scene.portal.view().await.known[&key].clone()
    };
    // It "acknowledges" a million bundles of the honest node: no more than there are count.
    peer.say(&Frame::Ack { tenant, logs: vec![(log, 1_000_000)] }).await;
    peer.is_served().await;
    let held = scene.portal.view().await.spaces[&tenant.0].get(&log);
    assert_eq!(known(&scene).await.get(&log), held);
    // It "has" more of that log and logs that do not exist, in every frame others.
    for n in 0..100 {
        let logs = (0..1000).map(|m| (made_up(n * 1000 + m), u64::MAX)).collect();
        peer.say(&Frame::Have { tenant, logs }).await;
    }
    peer.say(&Frame::Have { tenant, logs: vec![(log, u64::MAX)] }).await;
    peer.is_served().await;
    assert!(known(&scene).await.len() <= limits::LOGS_PER_SPACE_MAX, "it is not all remembered");
    for n in 0..1000 {
        let mut space = empty_space(tenant.0);
        space.logs = (0..100).map(|m| (made_up(n * 100 + m), 9)).collect();
        peer.say(&Frame::Spaces(vec![space])).await;
    }
    peer.is_served().await;
    assert!(known(&scene).await.len() <= limits::LOGS_PER_SPACE_MAX);
    assert_eq!(scene.held().await, before);
    scene.honest_goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wants_of_logs_that_do_not_exist_are_not_remembered() {
    let mut scene = Scene::new().await;
    let mut peer = scene.greeted().await;
    let tenant_ = Tenant(tenant());
    // A run is under way all the time, so that what is wanted next has to wait.
    for n in 0..300_000 {
        if n % 1000 == 0 {
            let log = scene.node.log();
            peer.say(&Frame::Want { tenant: tenant_, log, after: 0 }).await;
        }
        peer.say(&Frame::Want { tenant: tenant_, log: made_up(n), after: n }).await;
    }
    peer.is_served().await;
    scene.honest_goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_and_does_not_read_is_cut_off_and_nobody_else() {
    let mut scene = Scene::new().await;
    let large: Vec<u8> = (0..8_000_000_u32).map(|n| (n % 249) as u8).collect();
    let cut = BlobRef::of(&large).cut();
    let log = scene.node.log();
    let (item, _) = sent(log, &large);
    let (log, seq) = scene.node.append(tenant(), vec![item], vec![large]).await.unwrap();
    until("the portal holds it", async || {
        scene.portal.view().await.spaces[&tenant()].get(&log) >= seq
    })
    .await;
    let tenant = Tenant(tenant());
    let busy = u32::from(Fault::Busy.code());
    for transport in [Transport::Quic, Transport::Tcp] {
        for frame in [
            Frame::Ping(1),
            Frame::WantChunks { tenant, cut, first: 0, count: limits::CHUNKS_IN_FLIGHT_MAX },
        ] {
            let mut peer = Peer::dial_by(&scene, &scene.bad.identity, transport).await;
            peer.greet().await;
            let Peer { sender, receiver, digest } = peer;
            for _ in 0..2_000_000 {
                if sender
                    .send(node::transport::Class::Control, frame.encode().into())
                    .await
                    .is_err()
                {
                    break;
                }
            }
            let (_, code) = Peer { sender, receiver, digest }.ended().await;
            assert!([busy, RESET].contains(&code), "{transport:?} {frame:?}: code {code}");
            scene.honest_goes_on().await;
        }
    }
    let count = limits::CHUNKS_IN_FLIGHT_MAX + 1;
    let peer = scene.greeted().await;
    peer.say(&Frame::WantChunks { tenant, cut, first: 0, count }).await;
    assert_eq!(peer.ended().await.0, Some(Fault::TooLarge));
    // Chunks that are not there are no reason for anything.
    let mut peer = scene.greeted().await;
    for first in [200, u32::MAX - 1, 0] {
        peer.say(&Frame::WantChunks { tenant, cut: BlobRef::of(b"?").cut(), first, count: 2 })
            .await;
    }
    peer.say(&Frame::WantChunks { tenant, cut, first: 121, count: 32 }).await;
    peer.hear_until(|frame| matches!(frame, Frame::Chunk(_)).then_some(())).await;
    scene.honest_goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_peer_takes_no_more_sessions_than_its_share() {
    let mut scene = Scene::new().await;
    let mut peers = Vec::new();
    let refused = loop {
        let transport = [Transport::Quic, Transport::Tcp][peers.len() % 2];
        let dialled = Peer::try_dial(&scene, &scene.bad.identity, transport).await;
        let mut peer = match dialled {
            Ok(peer) => peer,
            Err(error) => break error.to_string(),
        };
        peer.say(&crate::peer::hello()).await;
        match soon(peer.receiver.recv()).await.expect("an answer, or an end") {
            Ok(_) => peers.push(peer),
            Err(error) => break error.to_string(),
        }
        assert!(peers.len() < 100, "as many as it likes");
    };
    assert!(peers.len() <= limits::SESSIONS_PER_PEER_MAX, "{}", peers.len());
    assert!(refused.contains("code 14"), "{refused}");
    scene.honest_goes_on().await;
}
