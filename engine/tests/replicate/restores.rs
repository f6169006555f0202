//! Stories of backups: portals and a node put back to how they were an hour or thirty days
//! ago. What others hold comes back, and no number is used a second time.

use std::collections::BTreeMap;

use engine::{
    archive,
    bundle::ChainHash,
    id::{DocumentId, Kind, LogId, Seq},
};

use super::{assert_equal, invoice, trio};
use crate::world::{World, change, tenant};

const A: usize = 0;
const B: usize = 1;
const NODE: usize = 2;
/// Bundles of thirty days and of an hour.
const MONTH: usize = 300;
const HOUR: usize = 12;

/// The node files invoices and the portals note things, all connected.
fn work(world: &mut World, from: usize, count: usize) {
    for n in from..from + count {
        let (items, files) = invoice(world, NODE, format!("<xml>{n}</xml>").as_bytes());
        world.say(NODE, items, files);
        if n % 3 == 0 {
            let portal = n % 2;
            let profile = DocumentId::single(Kind::Profile);
            let said = change(profile, world.peers[portal].log(), &format!("{n}"));
            world.say(portal, vec![said], vec![]);
        }
    }
}

/// Every bundle that `peer` holds, by its place.
fn held(world: &World, peer: usize) -> BTreeMap<(LogId, Seq), ChainHash> {
    let peer = &world.peers[peer];
    let mut all = BTreeMap::new();
    for (log, tip) in peer.engine.vector(tenant()).iter() {
        for seq in 1..=tip {
            let stored = archive::bundle(&*peer.store, tenant(), &log, seq).unwrap();
            all.insert((log, seq), stored.hash);
        }
    }
    all
}

/// The sessions of the three, as their routes would make them.
fn meet(world: &mut World) {
    world.connect(A, B, true);
    world.connect(NODE, A, true);
    world.connect(NODE, B, false);
}

/// `back` are put back to the first or the second backup; all meet; everything that was held
/// is held by all, whoever was put back goes on under numbers of its own.
fn check(back: &[(usize, Age)]) {
    let mut world = trio();
    meet(&mut world);
    work(&mut world, 0, 5);
    let month_ago = [A, B, NODE].map(|peer| world.backup(peer));
    work(&mut world, 5, MONTH);
    let hour_ago = [A, B, NODE].map(|peer| world.backup(peer));
    work(&mut world, 5 + MONTH, HOUR);
    assert_equal(&world);
    let before = held(&world, NODE);
    for (peer, age) in back {
        let backup = match age {
            Age::Month => &month_ago[*peer],
            Age::Hour => &hour_ago[*peer],
        };
        world.restore(*peer, backup.clone());
        let lacks = before.len() - held(&world, *peer).len();
        assert!(lacks >= HOUR, "the backup of {peer} lacks {lacks}");
    }
    // They write before they have heard of what they once wrote.
    for (peer, _) in back {
        let said = change(DocumentId::single(Kind::Profile), world.peers[*peer].log(), "back");
        if *peer != NODE {
            world.say(*peer, vec![said], vec![]);
        }
    }
    work(&mut world, 5 + MONTH + HOUR, 3);
    meet(&mut world);
    assert_equal(&world);
    for peer in [A, B, NODE] {
        let after = held(&world, peer);
        for (place, hash) in &before {
            assert_eq!(after.get(place), Some(hash), "{place:?} at {peer}, back: {back:?}");
        }
        assert!(after.len() >= before.len() + 3);
    }
}

#[derive(Clone, Copy, Debug)]
enum Age {
    Hour,
    Month,
}

#[test]
fn a_portal_put_back_by_an_hour_or_by_thirty_days_is_healed() {
    check(&[(A, Age::Hour)]);
    check(&[(B, Age::Month)]);
}

#[test]
fn both_portals_put_back_at_once_are_healed_by_the_node() {
    check(&[(A, Age::Hour), (B, Age::Hour)]);
    check(&[(A, Age::Month), (B, Age::Hour)]);
    check(&[(A, Age::Month), (B, Age::Month)]);
}

#[test]
fn a_node_put_back_is_healed_and_writes_on_under_new_numbers() {
    check(&[(NODE, Age::Hour)]);
    check(&[(NODE, Age::Month)]);
}

#[test]
fn all_but_one_portal_put_back_are_healed_by_it() {
    check(&[(A, Age::Month), (NODE, Age::Hour)]);
}
