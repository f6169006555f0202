//! Changes that Automerge cannot bear, said by an admitted node in a real session: what is over a
//! bound is refused, what is within and not in the form that this house writes makes one odd
//! document without Automerge ever seeing it, and the sessions, the mirror and everybody else's
//! documents go on.

use std::{panic::catch_unwind, sync::Arc};

use automerge::{
    ActorId, AutoCommit, Change, ObjType, ROOT, ScalarValue, transaction::Transactable as _,
};
use engine::{
    bundle::Item,
    chunk,
    document::annotation::{self, AnnotationEdit},
    fault::Fault,
    id::{BlobHash, DocumentId, Kind, LogId},
    limits,
    record::Record,
    wire::Frame,
};
use node::{
    mirror::{Mirror, MirrorOptions},
    projector::Projector,
};

use crate::{
    peer::{Peer, Writer},
    scene::{Scene, sent, tenant, until},
};

/// How many documents are broken.
const BROKEN: usize = 50;

/// The mirror of what the portal holds, followed as a portal does.
struct Shown {
    _home: tempfile::TempDir,
    mirror: Arc<Mirror>,
}

impl Shown {
    fn of(scene: &Scene) -> Self {
        let home = tempfile::tempdir().unwrap();
        let (mirror, _) =
            Mirror::open(&home.path().join("mirror"), MirrorOptions::default()).unwrap();
        let mirror = Arc::new(mirror);
        let projector = Projector::new(tenant(), Arc::clone(&scene.store), Arc::clone(&mirror));
        tokio::spawn(projector.run(scene.portal.clone()));
        Self { _home: home, mirror }
    }

    /// The record of `document`, waited for.
    async fn record(&self, document: DocumentId) -> Record {
        until("the mirror shows the document", async || {
            self.mirror.get(tenant(), document).unwrap().is_some()
        })
        .await;
        Record::decode(&self.mirror.get(tenant(), document).unwrap().unwrap()).unwrap()
    }
}

async fn says(peer: &mut Peer, writer: &mut Writer, document: DocumentId, change: Vec<u8>) {
    let run = writer.run(vec![Item::Change { document, change }], &[]);
    let expected = (run.log, run.first);
    peer.say(&Frame::Run(run)).await;
    let ack = |frame| match frame {
        Frame::Ack { logs, .. } => Some(logs[0]),
        _ => None,
    };
    assert_eq!(peer.hear_until(ack).await, expected);
}

fn note(n: usize) -> DocumentId {
    DocumentId::invoice(&BlobHash::of(&n.to_be_bytes())).sibling(Kind::Annotation)
}

fn contents(doc: &mut AutoCommit) -> Vec<u8> {
    doc.commit();
    chunk::unwrap(doc.get_last_local_change().unwrap().raw_bytes()).unwrap().to_vec()
}

fn doc(log: LogId) -> AutoCommit {
    AutoCommit::new().with_actor(ActorId::from(log.as_bytes()))
}

/// A change with things in it that this house never writes: what Automerge fails over.
fn rich(log: LogId) -> Vec<u8> {
    let mut doc = doc(log);
    let list = doc.put_object(ROOT, "list", ObjType::List).unwrap();
    for index in 0..40 {
        doc.insert(&list, index, index as i64).unwrap();
    }
    doc.delete(&list, 20).unwrap();
    let text = doc.put_object(ROOT, "text", ObjType::Text).unwrap();
    doc.splice_text(&text, 0, 0, "quaranta euro").unwrap();
    doc.put(ROOT, "count", ScalarValue::counter(3)).unwrap();
    contents(&mut doc)
}

/// Damaged so that it is within every bound, in its writer's name, and Automerge panics over it.
fn panics(log: LogId, from: &mut u64) -> Vec<u8> {
    let whole = rich(log);
    let start = whole.len() - 200;
    loop {
        *from += 1;
        let mut damaged = whole.clone();
        let at = start + (*from as usize * 7) % 200;
        damaged[at] = damaged[at].wrapping_add((*from / 200) as u8 + 1);
        let in_order = chunk::bound(&damaged).is_ok_and(|header| header.is_by(&log));
        let apply = || {
            let change = Change::try_from(&chunk::wrap(&damaged)[..]).ok();
            change.map(|change| AutoCommit::new().apply_changes([change]))
        };
        if in_order && catch_unwind(apply).is_err() {
            return damaged;
        }
    }
}

/// One over which Automerge panics while it unwinds from a panic, in its writer's name.
fn ends_processes(log: LogId) -> Vec<u8> {
    let found =
        include_bytes!("../../../engine/fuzz/corpus/change/panics-while-unwinding").to_vec();
    // No dependencies, then the length of the actor.
    assert_eq!(found[..2], [0, 16]);
    [&found[..2], log.as_bytes(), &found[18..]].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_that_automerge_panics_over_make_odd_documents_and_nothing_else() {
    let mut scene = Scene::new().await;
    let shown = Shown::of(&scene);
    let mut peer = scene.greeted().await;
    let mut writer = Writer::new(&scene.bad.identity, tenant(), 1);
    let (log, mut from) = (writer.id(), 0);
    // Something of its own that is in order, before and after.
    let good = |text: &str| {
        let edits = [AnnotationEdit::Notes(text.to_owned())];
        annotation::edit(log, &[], &edits).unwrap().unwrap()
    };
    says(&mut peer, &mut writer, note(1000), good("before")).await;
    says(&mut peer, &mut writer, note(0), ends_processes(log)).await;
    for n in 1..BROKEN {
        says(&mut peer, &mut writer, note(n), panics(log, &mut from)).await;
    }
    says(&mut peer, &mut writer, note(2000), good("after")).await;
    for n in 0..BROKEN {
        let Record::Unreadable(why) = shown.record(note(n)).await else { panic!("{n} is read") };
        assert!(why.reason.contains("is odd"), "{why:?}");
    }
    for (n, text) in [(1000, "before"), (2000, "after")] {
        let Record::Annotation(record) = shown.record(note(n)).await else { panic!("no note") };
        assert_eq!(record.notes, text);
    }
    peer.is_served().await;
    scene.honest_goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_over_a_bound_ends_the_session() {
    let mut scene = Scene::new().await;
    let mut doc = doc(Writer::new(&scene.bad.identity, tenant(), 1).id());
    let list = doc.put_object(ROOT, "list", ObjType::List).unwrap();
    for index in 0..100 {
        doc.insert(&list, index, ScalarValue::Null).unwrap();
    }
    let plain = contents(&mut doc);
    // A count of 100 in a run, made one of 4,194,303: tens of bytes that become gigabytes.
    let at = plain.windows(2).rposition(|two| two == [0xe4, 0x00]).unwrap();
    let mut bomb = plain.clone();
    bomb[at..at + 2].copy_from_slice(&[0xff, 0xff]);
    bomb.splice(at + 2..at + 2, [0xff, 0x00]);
    let mut wide = plain;
    wide.resize(limits::CHANGE_BYTES_MAX + 1, 0);
    for change in [bomb, wide] {
        assert!(chunk::bound(&change).is_err());
        let before = scene.held().await;
        let mut writer = Writer::new(&scene.bad.identity, tenant(), 1);
        let peer = scene.greeted().await;
        let run = writer.run(vec![Item::Change { document: note(1), change }], &[]);
        peer.say(&Frame::Run(run)).await;
        assert_eq!(peer.ended().await, (Some(Fault::BadChange), 11));
        assert_eq!(scene.held().await, before);
        scene.honest_goes_on().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deep_wide_and_endless_documents_are_set_aside_one_by_one() {
    let mut scene = Scene::new().await;
    let shown = Shown::of(&scene);
    let mut peer = scene.greeted().await;
    let mut writer = Writer::new(&scene.bad.identity, tenant(), 1);
    let log = writer.id();
    // As deep as a change may be: whoever walked down there would overflow the stack.
    let (mut deep, mut here) = (doc(log), ROOT);
    for _ in 0..limits::CHANGE_OPS_MAX - 1 {
        here = deep.put_object(&here, "m", ObjType::Map).unwrap();
    }
    deep.put(&here, "notes", "down here").unwrap();
    says(&mut peer, &mut writer, note(1), contents(&mut deep)).await;
    // More operations than a document may add up to, each change within its bound.
    let mut changes: Vec<Vec<u8>> = Vec::new();
    let mut wide = doc(log);
    for n in 0..7_u64 {
        for key in 0..limits::CHANGE_OPS_MAX - 1 {
            wide.put(ROOT, format!("{}", key % 50), key + n).unwrap();
        }
        changes.push(contents(&mut wide));
    }
    for change in changes {
        assert!(chunk::bound(&change).is_ok(), "{} bytes", change.len());
        says(&mut peer, &mut writer, note(2), change).await;
    }
    let Record::Unreadable(why) = shown.record(note(1)).await else { panic!("it is read") };
    assert!(why.reason.contains("objects"), "what is nested is not entered: {why:?}");
    until("the wide document is refused", async || {
        let record = shown.record(note(2)).await;
        matches!(record, Record::Unreadable(why) if why.reason.contains("too many"))
    })
    .await;
    let (item, invoice) = sent(log, b"<xml/>");
    let Item::Change { change, .. } = item else { unreachable!() };
    says(&mut peer, &mut writer, invoice, change).await;
    assert!(matches!(shown.record(invoice).await, Record::Invoice(_)));
    scene.honest_goes_on().await;
}
