//! One row of the truth that is not what was written: it comes again from a peer.

use std::ops::ControlFlow;

use engine::store::{Batch, Table};

use super::*;

/// Writes another value over the first row of a table that has one.
fn spoil(store: &dyn Store, table: Table) {
    let mut first = None;
    let _ = store.scan(table, &[], &[0xff; 64], &mut |key, value| {
        first = Some((key.to_vec(), value.to_vec()));
        ControlFlow::Break(())
    });
    let (key, mut value) = first.expect("a row");
    let middle = value.len() / 2;
    value[middle] ^= 1;
    let mut batch = Batch::default();
    batch.put(table, key, value);
    store.apply(batch).unwrap();
    store.barrier().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_bundle_and_a_damaged_chunk_are_fetched_again_by_node_and_portal() {
    let dirs: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let (portal, node) = portal_and_node(&dirs, Mode::Live).await;
    let large: Vec<u8> =
        (0..400_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    file(&node, node.host.log(), &large).await;
    file(&node, node.host.log(), b"<xml>small</xml>").await;
    let whole = |server: &Server| {
        let hash = BlobHash::of(&large);
        let found = archive::blob(&*server.store, tenant(), &DocumentId::invoice(&hash), &hash);
        found.is_ok_and(|found| found.as_deref() == Some(&*large))
    };
    let read = |server: &Server| {
        let damaged = |error: &archive::ReadError| server.host.damaged(error);
        originals::page(&*server.store, tenant(), 0, &damaged).unwrap()
    };
    until("the portal holds both", async || whole(&portal) && read(&portal).originals.len() == 2)
        .await;
    for server in [&node, &portal] {
        for table in [Table::Blobs, Table::Bundles] {
            spoil(&*server.store, table);
            assert!(!whole(server) || !read(server).unreadable.is_empty(), "the damage is real");
            until("it is whole again", async || {
                let page = read(server);
                whole(server) && page.originals.len() == 2 && page.unreadable.is_empty()
            })
            .await;
        }
    }
    // And what is said next is taken as ever.
    file(&node, node.host.log(), b"<xml>after</xml>").await;
    until("it goes on", async || read(&portal).originals.len() == 3).await;
}
