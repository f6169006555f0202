//! Runs that refer to invoices which the receiver has, instead of naming them.

use std::sync::Arc;

use engine::{
    archive,
    effect::Input,
    id::{BlobHash, DocumentId, Kind},
    store::{Table, memory::MemoryStore},
    wire::Frame,
};

use crate::{
    assert_equal, invoice, trio,
    world::{World, change, row, tenant},
};

const INVOICES: usize = 20;

/// The node has invoices of its own and of portal A, and goes; A says something about each.
fn away() -> World {
    let mut world = trio();
    let session = world.connect(2, 0, true);
    for n in 0..INVOICES {
        let (items, files) = invoice(&world, n % 2 * 2, &file(n));
        world.say(n % 2 * 2, items, files);
    }
    assert_equal(&world);
    world.cut((2, session));
    say(&mut world);
    world.peers.iter_mut().for_each(|peer| peer.sent.clear());
    world
}

fn file(n: usize) -> Vec<u8> {
    format!("<xml>{n}</xml>").into_bytes()
}

fn say(world: &mut World) {
    for n in 0..INVOICES {
        let document = DocumentId::invoice(&BlobHash::of(&file(n))).sibling(Kind::Outcome);
        let item = change(document, world.peers[0].log(), &format!("delivered {n}"));
        world.say_later(0, vec![item], vec![]);
    }
    world.run();
}

/// Of each run that `peer` sent: how many bundles, and whether it refers to any.
fn runs(world: &World, peer: usize) -> Vec<(usize, bool)> {
    let sent = world.peers[peer].sent.iter().filter_map(|frame| match frame {
        Frame::Run(run) => Some((run.lengths().unwrap().len(), run.refers())),
        _ => None,
    });
    sent.collect()
}

fn wants(world: &World, peer: usize) -> usize {
    world.peers[peer].sent.iter().filter(|frame| matches!(frame, Frame::Want { .. })).count()
}

#[test]
fn what_is_said_of_invoices_that_the_receiver_has_refers_to_them() {
    let mut world = away();
    world.connect(2, 0, true);
    assert_equal(&world);
    assert_eq!((runs(&world, 0), wants(&world, 2)), (vec![(INVOICES, true)], 0));

    // One bundle is not worth it, and whoever has nothing is referred to nothing.
    let document = DocumentId::invoice(&BlobHash::of(&file(3))).sibling(Kind::Annotation);
    let item = change(document, world.peers[2].log(), "paid");
    world.say(2, vec![item], vec![]);
    assert_eq!(runs(&world, 2), [(1, false)]);
    world.restore(1, Arc::new(MemoryStore::new()));
    world.peers[0].sent.clear();
    world.connect(1, 0, true);
    let runs = runs(&world, 0);
    assert!(runs.iter().any(|(bundles, _)| *bundles > INVOICES), "{runs:?}");
    assert!(runs.iter().all(|(_, refers)| !refers), "{runs:?}");
    assert_equal(&world);
}

#[test]
fn a_run_that_refers_to_a_damaged_row_is_asked_for_and_comes_without_references() {
    let mut world = away();
    let node = world.peers[2].log();
    assert!(world.peers[2].store.damage(Table::Bundles, &row(node, 4), 99));
    let session = world.connect(2, 0, true);
    assert_eq!(wants(&world, 2), 1);
    assert_eq!(runs(&world, 0), [(INVOICES, true), (INVOICES, false)]);
    for peer in [0, 1] {
        assert_eq!(
            world.peers[peer].engine.digest(tenant()),
            world.peers[2].engine.digest(tenant())
        );
    }
    // Once the row is mended, all is referred to again.
    world.input(2, Input::Damaged { tenant: tenant(), log: node, seq: 4 });
    assert!(archive::bundle(&*world.peers[2].store, tenant(), &node, 4).is_ok());
    world.cut((2, session));
    say(&mut world);
    world.peers[0].sent.clear();
    world.connect(2, 0, true);
    assert_eq!(runs(&world, 0).last(), Some(&(INVOICES, true)));
}

#[test]
fn a_row_that_is_damaged_at_the_sender_is_not_referred_to() {
    let mut world = away();
    let node = world.peers[2].log();
    assert!(world.peers[0].store.damage(Table::Bundles, &row(node, 4), 99));
    world.connect(2, 0, true);
    assert_eq!((runs(&world, 0), wants(&world, 2)), (vec![(INVOICES, true)], 0));
    let Some(Frame::Run(run)) = world.peers[0].sent.iter().find(|f| matches!(f, Frame::Run(_)))
    else {
        panic!("a run")
    };
    assert_eq!(run.references().unwrap().len(), INVOICES - 1);
    assert_equal(&world);
}
