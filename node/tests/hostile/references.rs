//! Runs that refer to other invoices than they mean, or to nothing.

use engine::{
    bundle::Item,
    document::annotation::{self, AnnotationEdit},
    fault::Fault,
    id::{DocumentId, Kind, LogId, Seq},
    wire::{Effort, Form, Frame, Known, Packing, Run},
};

use crate::{
    peer::{Peer, Writer},
    scene::{Scene, sent, tenant},
    writers::{acknowledged, joined},
};

const MARKS: Seq = 9;

/// The bad node's invoice, which the portal has, and what it says of it in one run.
async fn said(scene: &Scene, peer: &mut Peer, incarnation: u8) -> (DocumentId, Run) {
    let mut writer = Writer::new(&scene.bad.identity, tenant(), incarnation);
    let log = writer.id();
    let file = [b"<xml>", &[b'a' + incarnation][..], b"</xml>"].concat();
    let (item, document) = sent(log, &file);
    peer.say(&Frame::Run(writer.run(vec![item], &[&file]))).await;
    assert_eq!(acknowledged(peer).await, (log, 1));
    let (mut changes, mut runs): (Vec<Vec<u8>>, _) = (Vec::new(), Vec::new());
    for n in 0..MARKS {
        let existing: Vec<_> = changes.iter().map(Vec::as_slice).collect();
        let mark = [AnnotationEdit::Paid(Some(n))];
        let change = annotation::edit(log, &existing, &mark).unwrap().unwrap();
        changes.push(change.clone());
        let document = document.sibling(Kind::Annotation);
        runs.push(writer.run(vec![Item::Change { document, change }], &[]));
    }
    (document, joined(&runs.iter().collect::<Vec<_>>()))
}

/// The run with its invoice said to be the one that this bundle brought.
fn referring(run: &Run, document: DocumentId, place: (LogId, Seq)) -> Frame {
    let opened = run.open().unwrap();
    let payload = Run::pack_referring(
        Packing { form: Form::Sheet, effort: Effort::Quick },
        opened.iter().map(|bundle| (&bundle.bytes[..], &bundle.inline[..])),
        run.log,
        &Known::from([(document.about(), place)]),
    );
    let run = Run { payload, ..run.clone() };
    assert_eq!(run.references(), Ok(vec![place; MARKS as usize]));
    Frame::Run(run)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reference_is_followed_and_one_to_nothing_is_answered_by_a_want() {
    let mut scene = Scene::new().await;
    let mut peer = scene.greeted().await;
    let (document, run) = said(&scene, &mut peer, 1).await;
    peer.say(&referring(&run, document, (run.log, 1))).await;
    assert_eq!(acknowledged(&mut peer).await, (run.log, 1 + MARKS));

    let (document, run) = said(&scene, &mut peer, 2).await;
    let honest = scene.node.log();
    let none = [(run.log, 2), (run.log, 0), (honest, u64::MAX), (LogId::from_bytes([7; 16]), 1)];
    for place in none {
        peer.say(&referring(&run, document, place)).await;
        let want = peer.hear_until(|frame| match frame {
            Frame::Want { log, after, .. } => Some((log, after)),
            Frame::Ack { logs, .. } => panic!("{place:?}: {logs:?}"),
            _ => None,
        });
        assert_eq!(want.await, (run.log, 1), "{place:?}");
    }
    peer.is_served().await;
    peer.say(&Frame::Run(run.clone())).await;
    assert_eq!(acknowledged(&mut peer).await, (run.log, 1 + MARKS));
    // All of it is here: what it refers to does not matter any more.
    peer.say(&referring(&run, document, none[0])).await;
    assert_eq!(acknowledged(&mut peer).await, (run.log, 1 + MARKS));
    scene.honest_goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reference_to_another_invoice_ends_that_session() {
    let mut scene = Scene::new().await;
    let honest = (scene.node.log(), 1);
    let mut peer = scene.greeted().await;
    let (document, run) = said(&scene, &mut peer, 1).await;
    let before = scene.held().await;
    let fault = |fault: Fault| (Some(fault), u32::from(fault.code()));
    peer.say(&referring(&run, document, honest)).await;
    assert_eq!(peer.ended().await, fault(Fault::BadSignature));

    // More references than a run may have, and bytes that are none.
    let many = [&[1][..], &[7; 16], &[0x81, 0x20], &[0; 2 * 4097]].concat();
    for sheet in [many, vec![1, 2, 3], Vec::new()] {
        let packed = zstd::bulk::compress(&sheet, 1).unwrap();
        let run = Run { payload: [&[2][..], &packed].concat(), ..run.clone() };
        let peer = scene.greeted().await;
        peer.say(&Frame::Run(run)).await;
        assert_eq!(peer.ended().await, fault(Fault::Malformed), "{} bytes", sheet.len());
    }
    assert_eq!(scene.held().await, before, "nothing of it is stored");
    scene.honest_goes_on().await;
}
