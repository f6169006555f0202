//! Runs that are well formed and not what they say.

use engine::{
    archive,
    bundle::{BlobRef, Body, Item, Signature},
    fault::Fault,
    grant::{Grant, Revocation},
    id::{BlobHash, DocumentId, Kind, LogId},
    limits,
    wire::{Chunk, Effort, Form, Frame, Packing, Run, Tenant},
};

use crate::{
    peer::{Peer, Writer},
    scene::{Scene, party, sent, tenant, until},
};

/// Says `run` on a session of its own, which ends so, and nothing of it is stored.
async fn ends(scene: &mut Scene, what: &str, run: Run, fault: Fault) {
    let before = scene.held().await;
    let peer = scene.greeted().await;
    peer.say(&Frame::Run(run)).await;
    let code = u32::from(fault.code());
    assert_eq!(peer.ended().await, (Some(fault), code), "{what}");
    assert_eq!(scene.held().await, before, "{what}: nothing of it is stored");
    scene.honest_goes_on().await;
}

fn unpacked(run: &Run) -> Vec<u8> {
    zstd::bulk::decompress(&run.payload, limits::RUN_RAW_BYTES_MAX).unwrap()
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 1).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_or_damaged_run_ends_that_session_with_its_fault() {
    let mut scene = Scene::new().await;
    let id = scene.bad.identity.clone();
    let good = || {
        let mut writer = Writer::new(&id, tenant(), 1);
        writer.run(vec![sent(writer.id(), b"<xml/>").0], &[b"<xml/>"])
    };

    // Damaged on the way, or by the sender.
    let mut run = good();
    let mut bytes = unpacked(&run);
    bytes[0] ^= 1; // The time it was written: the body still reads.
    run.payload = packed(&bytes);
    ends(&mut scene, "a flipped bit in the body", run, Fault::BadSignature).await;
    let mut run = good();
    let mut signature = run.signature.to_bytes();
    signature[40] ^= 1;
    run.signature = Signature::from_bytes(&signature);
    ends(&mut scene, "a flipped bit in the signature", run, Fault::BadSignature).await;
    let mut run = good();
    let mut bytes = unpacked(&run);
    *bytes.last_mut().unwrap() ^= 1;
    run.payload = packed(&bytes);
    ends(&mut scene, "a flipped bit in the file", run, Fault::BadChunk).await;
    let mut run = good();
    let middle = run.payload.len() / 2;
    run.payload.truncate(middle);
    ends(&mut scene, "a cut payload", run, Fault::Malformed).await;

    // A sheet names the file that is in it: the body is another than the one that was signed.
    let mut run = good();
    let bytes = unpacked(&run);
    let (body, file) = bytes.split_at(run.bodies[0] as usize);
    let packing = Packing { form: Form::Sheet, effort: Effort::Quick };
    run.payload = Run::pack(packing, [(body, &b"<xmm/>"[..])].into_iter());
    assert_eq!((run.payload[0], file.len()), (1, 6), "a sheet of as many bytes");
    ends(&mut scene, "a sheet with another file", run, Fault::BadSignature).await;
    let mut run = good();
    run.payload = [&[1][..], &packed(&vec![0; 50_000_000])].concat();
    ends(&mut scene, "50 MB in a sheet", run, Fault::Malformed).await;

    // Bombs.
    let mut run = good();
    run.payload = packed(&vec![0; 50_000_000]);
    ends(&mut scene, "50 MB in a few kB", run, Fault::Malformed).await;
    let mut run = good();
    run.inline = u32::MAX;
    ends(&mut scene, "4 GB declared", run, Fault::TooLarge).await;
    let mut run = good();
    run.bodies = vec![u32::MAX; limits::RUN_BUNDLES_MAX];
    ends(&mut scene, "16 TB declared", run, Fault::TooLarge).await;
    let mut run = good();
    run.bodies = vec![0; limits::RUN_BUNDLES_MAX + 1];
    ends(&mut scene, "too many bundles", run, Fault::TooLarge).await;
    let mut run = good();
    run.bodies = vec![9, 0, u32::MAX];
    ends(&mut scene, "4 thousand million bundles in three numbers", run, Fault::TooLarge).await;
    let mut run = good();
    run.first = u64::MAX;
    run.bodies = vec![1, 1];
    ends(&mut scene, "numbers that overflow", run, Fault::Malformed).await;

    // Somebody else's word.
    let stranger = party().identity;
    let mut writer = Writer::new(&stranger, tenant(), 1);
    let run = writer.run(vec![sent(writer.id(), b"a").0], &[b"a"]);
    ends(&mut scene, "a writer without a grant", run, Fault::UnknownWriter).await;
    let mut run = good();
    run.log = LogId::from_bytes([7; 16]);
    ends(&mut scene, "a log that is not its writer's", run, Fault::Malformed).await;
    let honest = scene.node.log();
    let mut run = Writer::new(&id, tenant(), 1).run(vec![sent(honest, b"d").0], &[b"d"]);
    run.log = honest;
    ends(&mut scene, "the honest node's log", run, Fault::BadSignature).await;

    // What a node may not say.
    let grant = Item::Grant(Grant { spki: stranger.spki().to_vec(), not_after_ms: u64::MAX });
    let revoke = Item::Revocation(Revocation { peer: scene.node.peer(), cuts: vec![] });
    for (what, item) in [("a grant by a node", grant), ("a revocation by a node", revoke)] {
        let run = Writer::new(&id, tenant(), 1).run(vec![item], &[]);
        ends(&mut scene, what, run, Fault::ForbiddenKind).await;
    }
    let mut writer = Writer::new(&id, tenant(), 1);
    let (Item::Change { document, change }, _) = sent(writer.id(), b"b") else { unreachable!() };
    for document in [document.sibling(Kind::Outcome), DocumentId::from_bytes([0xff; 16])] {
        let run = writer.run(vec![Item::Change { document, change: change.clone() }], &[]);
        ends(&mut scene, "an outcome by a node", run, Fault::ForbiddenKind).await;
        writer = Writer::new(&id, tenant(), 1);
    }
    let run = writer.run(vec![sent(honest, b"c").0], &[b"c"]);
    ends(&mut scene, "another's actor", run, Fault::WrongActor).await;
    for change in [vec![], b"no change".to_vec(), vec![1; limits::CHANGE_BYTES_MAX + 1]] {
        let mut writer = Writer::new(&id, tenant(), 1);
        let run = writer.run(vec![Item::Change { document, change }], &[]);
        ends(&mut scene, "no bounded change", run, Fault::BadChange).await;
    }
    let mut writer = Writer::new(&id, tenant(), 1);
    let run = writer.run_of(b"no body".to_vec(), b"");
    ends(&mut scene, "no body", run, Fault::Malformed).await;

    // The same hands, honest for once: the grant is good and the log was never begun.
    let mut peer = scene.greeted().await;
    let run = good();
    let log = run.log;
    peer.say(&Frame::Run(run)).await;
    let acknowledged = peer.hear_until(|frame| match frame {
        Frame::Ack { logs, .. } => Some(logs),
        _ => None,
    });
    assert_eq!(acknowledged.await, [(log, 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gaps_and_replays_are_answered_and_store_nothing() {
    let mut scene = Scene::new().await;
    let mut writer = Writer::new(&scene.bad.identity, tenant(), 1);
    let log = writer.id();
    let runs: Vec<_> = (1..=3_u8).map(|n| writer.run(vec![sent(log, &[n]).0], &[&[n]])).collect();
    let mut peer = scene.greeted().await;
    let before = scene.held().await;
    peer.say(&Frame::Run(runs[2].clone())).await;
    let after = peer.hear_until(|frame| match frame {
        Frame::Want { after, .. } => Some(after),
        _ => None,
    });
    assert_eq!(after.await, 0, "what is missing is asked for");
    assert_eq!(scene.held().await, before);
    peer.say(&Frame::Run(runs[0].clone())).await;
    let acknowledged = |frame| match frame {
        Frame::Ack { logs, .. } => Some(logs[0]),
        _ => None,
    };
    assert_eq!(peer.hear_until(acknowledged).await, (log, 1));
    let before = scene.held().await;
    for _ in 0..100 {
        peer.say(&Frame::Run(runs[0].clone())).await;
    }
    for _ in 0..100 {
        assert_eq!(peer.hear_until(acknowledged).await, (log, 1), "a replay is acknowledged");
    }
    assert_eq!(scene.held().await, before, "and not stored twice");
    // A later bundle over a gap, its writer's other past, or signed by the wrong place.
    let mut bent = runs[1].clone();
    bent.first = 3;
    peer.say(&Frame::Run(bent)).await;
    assert_eq!(peer.ended().await.0, Some(Fault::BadSignature));
    assert_eq!(scene.held().await, before);
    scene.honest_goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_that_is_not_the_one_named_ends_the_session() {
    let mut scene = Scene::new().await;
    let file: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let cut = BlobRef::of(&file).cut();
    let before = scene.held().await;
    for (index, bytes) in [
        (0, vec![1; limits::CHUNK_BYTES]),
        (0, vec![1; 10]),
        (4, file[..limits::CHUNK_BYTES].to_vec()),
        (99, vec![1; limits::CHUNK_BYTES]),
    ] {
        let mut writer = Writer::new(&scene.bad.identity, tenant(), 1);
        let mut peer = scene.greeted().await;
        peer.say(&Frame::Run(writer.run(vec![sent(writer.id(), &file).0], &[&file]))).await;
        peer.hear_until(|frame| matches!(frame, Frame::WantChunks { .. }).then_some(())).await;
        peer.say(&Frame::Chunk(Chunk { tenant: Tenant(tenant()), cut, index, bytes })).await;
        assert_eq!(peer.ended().await, (Some(Fault::BadChunk), 12), "chunk {index}");
    }
    assert_eq!(scene.held().await, before, "a bundle without its file does not count");
    // A file whose chunks do not add up.
    let mut large = BlobRef::of(&file);
    large.chunks.pop();
    let body = Body { written_ms: 1, items: vec![], blobs: vec![large] };
    let bytes = postcard::to_stdvec(&body).unwrap();
    let run = Writer::new(&scene.bad.identity, tenant(), 1).run_of(bytes, b"");
    ends(&mut scene, "a file too few chunks", run, Fault::Malformed).await;
    let peer: Peer = scene.greeted().await;
    drop(peer);
    scene.honest_goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lies_about_the_chunks_of_an_honest_file_does_not_touch_it() {
    let mut scene = Scene::new().await;
    let file: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let (item, document) = sent(scene.node.log(), &file);
    let (log, seq) = scene.node.append(tenant(), vec![item], vec![file.clone()]).await.unwrap();
    until("the portal holds it", async || {
        scene.portal.view().await.spaces[&tenant()].get(&log) >= seq
    })
    .await;
    let read = || archive::blob(&*scene.store, tenant(), &document, &BlobHash::of(&file));
    assert_eq!(read().unwrap().as_ref(), Some(&file));

    // The same file by name and length, of the same document, and every chunk another.
    let lies = vec![b'!'; file.len()];
    let lie = BlobRef { hash: BlobHash::of(&file), ..BlobRef::of(&lies) };
    let (tenant_, cut) = (Tenant(tenant()), lie.cut());
    let mut writer = Writer::new(&scene.bad.identity, tenant(), 1);
    let body = Body { written_ms: 1, items: vec![sent(writer.id(), &file).0], blobs: vec![lie] };
    let mut peer = scene.greeted().await;
    peer.say(&Frame::Run(writer.run_of(body.encode().unwrap(), b""))).await;
    let wanted = |frame| match frame {
        Frame::WantChunks { cut, first, count, .. } => Some((cut, first, count)),
        _ => None,
    };
    assert_eq!(peer.hear_until(wanted).await, (cut, 0, 4));
    for (index, bytes) in (0..).zip(lies.chunks(limits::CHUNK_BYTES)) {
        let bytes = bytes.to_vec();
        peer.say(&Frame::Chunk(Chunk { tenant: tenant_, cut, index, bytes })).await;
    }
    peer.hear_until(|frame| matches!(frame, Frame::Ack { .. }).then_some(())).await;
    assert_eq!(read().unwrap(), Some(file.clone()), "the honest file is as it was");
    scene.honest_goes_on().await;
}
