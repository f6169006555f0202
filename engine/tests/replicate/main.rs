//! Stories of replicas: two portals, a node, an invoice, and what goes wrong.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod references;
mod restores;
mod world;

use engine::{
    archive,
    bundle::Item,
    effect::{Alarm, Input},
    fault::Fault,
    grant::{Revocation, Role},
    id::{BlobHash, DocumentId, Kind},
    limits,
    store::Table,
    wire::Frame,
};
use world::{World, change, key, row, tenant};

/// Portal A (0), portal B (1), a node (2) that A admitted, all connected.
fn trio() -> World {
    let (a, b, node) = (key(), key(), key());
    let portals = [a.peer(), b.peer()];
    let mut world = World::default();
    world.add(Role::Portal, a, &portals);
    world.add(Role::Portal, b, &portals);
    world.add(Role::Node, node, &portals);
    world.say(0, vec![node.grant()], vec![]);
    world.connect(0, 1, true);
    world
}

fn invoice(world: &World, peer: usize, file: &[u8]) -> (Vec<Item>, Vec<Vec<u8>>) {
    let document = DocumentId::invoice(&BlobHash::of(file));
    let text = String::from_utf8_lossy(&file[..file.len().min(20)]).into_owned();
    (vec![change(document, world.peers[peer].log(), &text)], vec![file.to_vec()])
}

fn assert_equal(world: &World) {
    let first = &world.peers[0].engine;
    for peer in &world.peers {
        assert_eq!(peer.engine.vector(tenant()), first.vector(tenant()));
        assert_eq!(peer.engine.digest(tenant()), first.digest(tenant()));
        assert_eq!(peer.alarms, []);
    }
}

#[test]
fn an_invoice_dropped_offline_reaches_both_portals_and_comes_back_to_nobody() {
    let mut world = trio();
    let (items, files) = invoice(&world, 2, b"<xml>offline</xml>");
    world.say(2, items, files);
    world.connect(2, 0, true);
    assert_equal(&world);
    let hash = BlobHash::of(b"<xml>offline</xml>");
    for peer in &world.peers {
        let bytes =
            archive::blob(&*peer.store, tenant(), &DocumentId::invoice(&hash), &hash).unwrap();
        assert_eq!(bytes.as_deref(), Some(b"<xml>offline</xml>".as_slice()));
    }
    let runs = |peer: usize| {
        world.peers[peer].sent.iter().filter(|frame| matches!(frame, Frame::Run(_))).count()
    };
    assert_eq!(runs(2), 1, "the node sends its invoice once");
}

#[test]
fn nothing_changed_costs_two_hellos_whatever_is_held() {
    let mut world = trio();
    for n in 0..200 {
        let (items, files) = invoice(&world, 2, format!("<xml>{n}</xml>").as_bytes());
        world.say(2, items, files);
    }
    let session = world.connect(2, 0, true);
    assert_equal(&world);
    world.cut((2, session));
    world.bytes = 0;
    world.connect(2, 0, true);
    assert!(world.bytes <= 500, "two hellos took {} bytes", world.bytes);
    assert_equal(&world);
    // The other portal has the same vector: nothing is rewound.
    world.bytes = 0;
    world.connect(2, 1, false);
    assert!(world.bytes <= 500, "the other portal took {} bytes", world.bytes);
}

#[test]
fn many_restarts_do_not_make_a_hello_longer_nor_a_reconnection_slower() {
    let mut world = trio();
    for n in 0..40 {
        let session = world.connect(2, n % 2, true);
        let (items, files) = invoice(&world, 2, format!("<xml>{n}</xml>").as_bytes());
        world.say(2, items, files);
        world.cut((2, session));
        world.crash(2);
    }
    assert_eq!(world.peers[2].engine.vector(tenant()).len(), 41, "40 of its own, and A's");
    let asked = |world: &World| {
        let asks = |frame: &&Frame| matches!(frame, Frame::WantSpaces(_));
        world.peers.iter().map(|peer| peer.sent.iter().filter(asks).count()).sum::<usize>()
    };
    let before = asked(&world);
    for portal in [0, 1] {
        world.bytes = 0;
        let session = world.connect(2, portal, true);
        assert!(world.bytes <= 600, "two hellos took {} bytes", world.bytes);
        world.cut((2, session));
    }
    // Offline on both sides: each has a log the other has never heard of.
    let (items, files) = invoice(&world, 2, b"<xml>offline</xml>");
    world.say(2, items, files);
    world.crash(0);
    let outcome = DocumentId::invoice(&BlobHash::of(b"x")).sibling(Kind::Outcome);
    let item = change(outcome, world.peers[0].log(), "said after a restart");
    world.say(0, vec![item], vec![]);
    world.connect(2, 0, true);
    world.connect(0, 1, true);
    assert_equal(&world);
    assert_eq!(asked(&world), before, "understood at once");
}

#[test]
fn a_brief_state_that_is_not_understood_is_asked_for_in_full() {
    let mut world = trio();
    // The node restarts often while nobody hears it: the portals know none of its logs.
    for n in 0..30 {
        let (items, files) = invoice(&world, 2, format!("<xml>{n}</xml>").as_bytes());
        world.say(2, items, files);
        world.crash(2);
    }
    world.connect(2, 0, true);
    assert_equal(&world);
}

#[test]
fn an_acknowledged_invoice_survives_a_crash_of_whoever_acknowledged_it() {
    let mut world = trio();
    world.connect(2, 0, true);
    for n in 0..20 {
        let (items, files) = invoice(&world, 2, format!("<xml>{n}</xml>").as_bytes());
        world.say(2, items, files);
    }
    let before = world.peers[0].engine.vector(tenant());
    world.crash(0);
    assert_eq!(world.peers[0].engine.vector(tenant()), before);
    world.crash(2);
    let (items, files) = invoice(&world, 2, b"<xml>after</xml>");
    world.say(2, items, files);
    world.connect(0, 1, true);
    world.connect(2, 0, true);
    assert_equal(&world);
}

#[test]
fn a_failed_barrier_acknowledges_nothing_and_a_full_disk_resumes() {
    let mut world = trio();
    world.connect(2, 0, true);
    let mine = world.peers[2].log();
    world.peers[0].store.set_full(true);
    let (items, files) = invoice(&world, 2, b"<xml>full</xml>");
    world.say(2, items, files);
    assert_eq!(world.peers[0].engine.vector(tenant()).get(&mine), 0);
    let held = world.peers[2].engine.known(&world.peers[0].key.peer(), tenant()).unwrap();
    assert_eq!(held.get(&mine), 0, "nothing durable, nothing acknowledged");
    let takes = |world: &World| world.peers[2].engine.sessions().all(|(_, session)| session.takes);
    assert!(!takes(&world), "the node is told, and pushes nothing more");
    let (items, files) = invoice(&world, 2, b"<xml>another</xml>");
    let runs = |world: &World| {
        world.peers[2].sent.iter().filter(|frame| matches!(frame, Frame::Run(_))).count()
    };
    let before = runs(&world);
    world.say(2, items, files);
    assert_eq!(runs(&world), before);
    world.peers[0].store.set_full(false);
    world.input(0, Input::StoreReady);
    assert!(takes(&world));
    assert_equal(&world);
}

#[test]
fn a_large_file_resumes_with_the_chunks_it_lacks() {
    let mut world = trio();
    let session = world.connect(2, 0, true);
    let file: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    // The wire goes silent towards the portal after the bundle was announced.
    let (items, files) = invoice(&world, 2, &file);
    world.say(2, items, files);
    assert_equal(&world);
    let chunks = |world: &World| {
        world.peers[2].sent.iter().filter(|frame| matches!(frame, Frame::Chunk(_))).count()
    };
    assert_eq!(chunks(&world), 16);
    world.cut((2, session));
    world.connect(2, 1, true);
    assert_eq!(chunks(&world), 16, "B had it from A: no chunk is sent twice");
    let hash = BlobHash::of(&file);
    let back = archive::blob(&*world.peers[1].store, tenant(), &DocumentId::invoice(&hash), &hash);
    assert_eq!(back.unwrap(), Some(file));
}

/// Simulator, seed 15634268185: a restored portal that lacked more of them than a session
/// keeps waiting dropped the others, and their sender waits for an Ack before it goes on.
#[test]
fn more_large_files_than_wait_at_once_all_arrive() {
    let mut world = trio();
    let files: Vec<Vec<u8>> = (0..2 * limits::STAGED_PER_SESSION_MAX as u32 + 3)
        .map(|log| (0..200_000_u32).map(|n| (n % (101 + log)) as u8).collect())
        .collect();
    for file in &files {
        // A writer's log each: it was restarted in between.
        let (items, files) = invoice(&world, 2, file);
        world.say(2, items, files);
        world.crash(2);
    }
    world.late_chunks = Some((2, 0));
    world.connect(2, 0, true);
    world.release();
    assert_equal(&world);
    for file in files {
        let hash = BlobHash::of(&file);
        let document = DocumentId::invoice(&hash);
        let back = archive::blob(&*world.peers[1].store, tenant(), &document, &hash).unwrap();
        assert_eq!(back, Some(file));
    }
}

/// Simulator, seed 125: a chunk was counted for one bundle only, and of the other's requests
/// some were answered while the first still waited.
#[test]
fn one_large_file_in_two_bundles_arrives_with_both() {
    let mut world = trio();
    let file: Vec<u8> = (0..500_000_u32).map(|n| (n % 239) as u8).collect();
    for _ in 0..2 {
        let (items, files) = invoice(&world, 2, &file);
        world.say(2, items, files);
        world.crash(2);
    }
    world.late_chunks = Some((2, 0));
    world.connect(2, 0, true);
    world.release_interleaved();
    assert_equal(&world);
}

/// Simulator, seed 10696523812: where a log's next bundle and a damaged one took turns to wait for
/// their chunks, what had been found of the one was taken for the other, which counted without its
/// file. What lost its turn is asked for again.
#[test]
fn a_large_file_and_a_damaged_one_of_a_log_do_not_pass_for_each_other() {
    let mut world = trio();
    let files = [229_u32, 233].map(|n| (0..300_000).map(|at| (at % n) as u8).collect::<Vec<_>>());
    let log = world.peers[2].log();
    let session = {
        let (items, sent) = invoice(&world, 2, &files[0]);
        world.say(2, items, sent);
        world.connect(2, 0, true)
    };
    world.cut((2, session));
    // Nobody else brings it.
    world.crash(1);
    assert!(world.peers[0].store.damage(Table::Bundles, &row(log, 1), 300));
    world.input(0, Input::Damaged { tenant: tenant(), log, seq: 1 });
    let (items, sent) = invoice(&world, 2, &files[1]);
    world.say(2, items, sent);
    world.late_lookups = true;
    world.connect(2, 0, true);
    assert_eq!(world.peers[0].engine.vector(tenant()).get(&log), 1);
    world.release();
    for (file, seq) in files.iter().zip(1..) {
        let store = &*world.peers[0].store;
        assert!(archive::bundle(store, tenant(), &log, seq).is_ok(), "{seq}");
        let hash = BlobHash::of(file);
        let back = archive::blob(store, tenant(), &DocumentId::invoice(&hash), &hash).unwrap();
        assert_eq!(back.as_ref(), Some(file), "{seq}");
    }
    assert_eq!(world.peers[0].engine.vector(tenant()).get(&log), 2);
}

#[test]
fn whoever_brought_a_bundle_learns_that_it_is_held_though_another_was_quicker() {
    let mut world = trio();
    let file: Vec<u8> = (0..300_000_u32).map(|n| (n % 241) as u8).collect();
    let (items, files) = invoice(&world, 2, &file);
    world.say(2, items, files);
    // B hears of the bundle from the node, whose chunks never arrive, and gets it from A.
    world.lost_chunks = vec![(2, 1)];
    world.connect(2, 1, true);
    world.connect(2, 0, false);
    let standby = world.connect(2, 0, false);
    world.input(2, Input::Hedge { session: standby, on: true });
    let mine = world.peers[2].log();
    let b = world.peers[1].key.peer();
    assert_eq!(world.peers[1].engine.vector(tenant()).get(&mine), 1);
    assert_eq!(world.peers[2].engine.known(&b, tenant()).unwrap().get(&mine), 1);
}

#[test]
fn a_stranger_gets_a_fault_and_nothing_else() {
    let mut world = trio();
    let stranger = world.add(Role::Node, key(), &[world.peers[0].key.peer()]);
    let (items, files) = invoice(&world, stranger, b"<xml>mine</xml>");
    world.say(stranger, items, files);
    world.connect(stranger, 0, true);
    assert_eq!(world.peers[0].ended, [Some(Fault::WrongTenant)]);
    assert!(world.peers[stranger].engine.vector(tenant()).len() == 1, "it learned nothing");
}

#[test]
fn a_node_may_not_write_an_outcome_nor_in_anothers_name() {
    let mut world = trio();
    let outcome = DocumentId::invoice(&BlobHash::of(b"x")).sibling(Kind::Outcome);
    let item = change(outcome, world.peers[2].log(), "accepted");
    world.say(2, vec![item], vec![]);
    let other = change(DocumentId::invoice(&BlobHash::of(b"x")), world.peers[0].log(), "forged");
    world.say(2, vec![other], vec![]);
    assert_eq!(world.peers[2].refused.len(), 2);
    assert!(world.peers[2].engine.vector(tenant()).is_empty());
}

#[test]
fn a_revoked_key_loses_its_sessions_and_what_it_wrote_after_the_cut() {
    let mut world = trio();
    let session = world.connect(2, 0, true);
    let (items, files) = invoice(&world, 2, b"<xml>before</xml>");
    world.say(2, items, files);
    world.cut((2, session));
    let (items, files) = invoice(&world, 2, b"<xml>after</xml>");
    world.say(2, items, files);
    let peer = world.peers[2].key.peer();
    let cuts = world.peers[0].engine.cuts(&peer, tenant());
    assert_eq!(cuts.len(), 1);
    world.say(0, vec![Item::Revocation(Revocation { peer, cuts })], vec![]);
    for portal in [0, 1] {
        assert!(world.peers[portal].engine.authority().admitted().is_empty());
        world.connect(2, portal, true);
        assert_eq!(world.peers[portal].ended.last(), Some(&Some(Fault::Revoked)));
    }
    let mine = world.peers[2].log();
    assert_eq!(world.peers[1].engine.vector(tenant()).get(&mine), 1);
}

#[test]
fn what_one_portal_took_beyond_the_others_cut_counts_nowhere_and_is_kept_aside() {
    let mut world = trio();
    let session = world.connect(2, 0, true);
    let (items, files) = invoice(&world, 2, b"<xml>before</xml>");
    world.say(2, items, files);
    world.cut((2, session));
    // The portals cannot see each other; B takes one more and then A revokes.
    world.silent = vec![(0, 1), (1, 0)];
    let (items, files) = invoice(&world, 2, b"<xml>after</xml>");
    world.say(2, items, files);
    world.connect(2, 1, true);
    let mine = world.peers[2].log();
    assert_eq!(world.peers[1].engine.vector(tenant()).get(&mine), 2);
    let peer = world.peers[2].key.peer();
    let cuts = world.peers[0].engine.cuts(&peer, tenant());
    world.say(0, vec![Item::Revocation(Revocation { peer, cuts })], vec![]);
    world.silent.clear();
    world.connect(0, 1, true);
    assert_eq!(world.peers[1].ended.last(), Some(&Some(Fault::Revoked)), "B cuts it off too");
    for portal in [0, 1] {
        assert_eq!(world.peers[portal].engine.vector(tenant()).get(&mine), 1);
        assert_eq!(world.peers[portal].alarms, []);
    }
    assert_eq!(world.peers[1].rebuilds, 1);
    let hash = BlobHash::of(b"<xml>after</xml>");
    let after = DocumentId::invoice(&hash);
    let store = &*world.peers[1].store;
    assert_eq!(archive::blob(store, tenant(), &after, &hash), Ok(None));
    assert_eq!(world.peers[1].engine.digest(tenant()), world.peers[0].engine.digest(tenant()));
    world.crash(1);
    assert_eq!(world.peers[1].engine.vector(tenant()).get(&mine), 1, "and after a restart");
}

#[test]
fn a_damaged_bundle_is_fetched_again() {
    let mut world = trio();
    for n in 0..3 {
        let (items, files) = invoice(&world, 2, format!("<xml>{n}</xml>").as_bytes());
        world.say(2, items, files);
    }
    let session = world.connect(2, 0, true);
    let log = world.peers[2].log();
    let key = row(log, 2);
    let read = |world: &World| archive::bundle(&*world.peers[0].store, tenant(), &log, 2);
    let whole = read(&world).unwrap();
    for bit in [0, 300, 600, 1000] {
        assert!(world.peers[0].store.damage(Table::Bundles, &key, bit));
        assert!(read(&world).is_err(), "bit {bit}: every read is checked");
        world.input(0, Input::Damaged { tenant: tenant(), log, seq: 2 });
        assert_eq!(read(&world).unwrap().body, whole.body);
    }
    // Nobody is connected: it is asked for when somebody is.
    world.cut((2, session));
    let b = world.peers[1].store.damage(Table::Bundles, &key, 7);
    assert!(b);
    world.crash(1);
    world.input(1, Input::Damaged { tenant: tenant(), log, seq: 2 });
    world.connect(0, 1, true);
    assert!(archive::bundle(&*world.peers[1].store, tenant(), &log, 2).is_ok());
}

#[test]
fn a_standby_announces_and_delivers_when_asked() {
    let mut world = trio();
    world.connect(2, 0, true);
    let standby = world.connect(2, 1, false);
    // A goes silent towards the node; B still hears A.
    world.silent = vec![(0, 2), (2, 0)];
    let outcome = DocumentId::invoice(&BlobHash::of(b"x")).sibling(Kind::Outcome);
    let item = change(outcome, world.peers[0].log(), "delivered");
    world.say(0, vec![item], vec![]);
    let log = world.peers[0].log();
    assert_eq!(world.peers[2].engine.vector(tenant()).get(&log), 1, "only the grant so far");
    world.input(2, Input::Pull { session: standby });
    assert_eq!(world.peers[2].engine.vector(tenant()).get(&log), 2);
    // And what the node writes flows over the standby when it is hedged.
    let (items, files) = invoice(&world, 2, b"<xml>hedged</xml>");
    world.say(2, items, files);
    let mine = world.peers[2].log();
    assert_eq!(world.peers[1].engine.vector(tenant()).get(&mine), 0);
    world.input(2, Input::Hedge { session: standby, on: true });
    assert_eq!(world.peers[1].engine.vector(tenant()).get(&mine), 1);
}

#[test]
fn a_writer_that_signs_two_pasts_is_quarantined_with_an_alarm() {
    let mut world = trio();
    let twin = world.add(
        Role::Node,
        world.peers[2].key,
        &[world.peers[0].key.peer(), world.peers[1].key.peer()],
    );
    for (peer, file) in [(2, b"<xml>one</xml>"), (twin, b"<xml>two</xml>")] {
        let (items, files) = invoice(&world, peer, file);
        world.say(peer, items, files);
    }
    world.connect(2, 0, true);
    world.connect(twin, 1, true);
    // Both pasts are one bundle long; the twin's next one stands on the other past.
    let (items, files) = invoice(&world, twin, b"<xml>three</xml>");
    world.say(twin, items, files);
    let forks =
        |peer: usize| world.peers[peer].alarms.iter().any(|a| matches!(a, Alarm::Fork { .. }));
    assert!(forks(1), "B holds proof: a valid signature over another past");
    let mine = world.peers[2].log();
    assert_eq!(world.peers[1].engine.vector(tenant()).get(&mine), 1, "nothing was added to it");
}

#[test]
fn what_came_between_two_hellos_is_told_to_whoever_had_it_already() {
    let mut world = trio();
    let (items, files) = invoice(&world, 2, b"<xml>before</xml>");
    world.say(2, items, files);
    world.connect(2, 0, true);
    world.crash(1);
    let (items, files) = invoice(&world, 2, b"<xml>while B is down</xml>");
    world.say(2, items, files);
    // B says what it holds, and catches up with A before the node's Hello has come.
    world.late = Some((2, 1));
    world.connect(2, 1, false);
    world.connect(0, 1, true);
    world.release();
    assert_equal(&world);
    let (node, b) = (&world.peers[2].engine, world.peers[1].key.peer());
    assert_eq!(node.known(&b, tenant()), Some(&node.vector(tenant())), "held by both, and known");
}

#[test]
fn two_replicas_that_hold_nothing_of_a_tenant_do_not_differ() {
    let (a, b) = (key(), key());
    let portals = [a.peer(), b.peer()];
    let mut world = World::default();
    world.add(Role::Portal, a, &portals);
    world.add(Role::Portal, b, &portals);
    // Said, and not durable yet when the portals greet each other.
    world.say_later(0, vec![key().grant()], vec![]);
    world.connect(0, 1, true);
    assert_equal(&world);
}
