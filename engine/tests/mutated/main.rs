//! Ten thousand bundles that somebody changed on their way, with and without new lengths, hashes
//! and signatures, are presented to a portal: none counts, nothing panics, the others go on.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "../sim/keys.rs"]
#[allow(dead_code, reason = "the simulator needs more of it")]
mod keys;
mod mutant;
mod scene;

use std::collections::BTreeMap;

use engine::{
    archive,
    bundle::Item,
    document::annotation::{self, AnnotationEdit},
    id::{BlobHash, DocumentId, Kind},
    limits,
    record::Record,
    wire::{Chunk, Frame, Run, Tenant},
};
use mutant::{Dice, Mutator};
use scene::{FOREIGN, HONEST, PORTAL, Portal, RELAY, Writer, opened, other_tenant, tenant};

const MUTANTS: usize = 10_000;
const CHUNKS: usize = 500;
const SIGNED: usize = 3_000;

/// A note about the invoice that is `text`.
fn note(writer: &Writer, text: &str) -> Item {
    let document = DocumentId::invoice(&BlobHash::of(text.as_bytes())).sibling(Kind::Annotation);
    let edits = [AnnotationEdit::Notes(text.to_owned()), AnnotationEdit::Paid(Some(9))];
    let change = annotation::edit(writer.id(), &[], &edits).unwrap().unwrap();
    Item::Change { document, change }
}

fn large_file() -> Vec<u8> {
    (0..150_000_u32).map(|n| (n % 251) as u8).collect()
}

/// What the honest writer said, in runs of different cut: the run, and how much of the log a
/// portal holds when it comes.
fn honest() -> Vec<(Run, Vec<Run>)> {
    let mut writer = Writer::new(HONEST, tenant());
    let items: Vec<_> = ["one", "two", "three"].map(|text| note(&writer, text)).into();
    let files: [&[&[u8]]; 3] = [&[], &[b"<xml>1</xml>"], &[b"<xml>2</xml>", b"<xml>3</xml>"]];
    let ones: Vec<_> = items
        .iter()
        .zip(files)
        .map(|(item, files)| writer.say(vec![item.clone()], files))
        .collect();
    vec![
        (ones[0].clone(), vec![]),
        (writer.joined(1..=3), vec![]),
        (ones[2].clone(), ones[..2].to_vec()),
        (writer.joined(2..=3), ones[..1].to_vec()),
    ]
}

#[test]
fn of_ten_thousand_mutated_bundles_none_is_accepted() {
    let mut dice = Dice::new(0x5eed);
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    let mut foreign = Writer::new(FOREIGN, other_tenant());
    for (genuine, before) in honest() {
        let mut portal = Portal::new();
        portal.meet(RELAY);
        before.iter().for_each(|run| portal.hear(RELAY, &Frame::Run(run.clone()).encode()));
        let held = portal.engine.vector(tenant());
        assert_eq!(held.get(&genuine.log), genuine.first - 1);
        let mutator = Mutator::new(&genuine);
        for n in 0..MUTANTS / 4 {
            let mutant = mutator.mutate(&mut dice);
            portal.meet(RELAY);
            portal.hear(RELAY, &mutant.frame);
            *ends.entry(format!("{:?}: {}", mutant.how, portal.answer(RELAY))).or_default() += 1;
            assert_eq!(portal.engine.vector(tenant()), held, "{mutant:?}");
            if n % 100 == 0 {
                let run = foreign.say(vec![note(&foreign, "more")], &[]);
                portal.meet(FOREIGN);
                // This portal may be a new one.
                for run in foreign.all().chain([run]) {
                    portal.hear(FOREIGN, &Frame::Run(run).encode());
                }
                let held = portal.engine.vector(other_tenant());
                assert_eq!(held.get(&foreign.id()), foreign.said(), "others go on");
            }
        }
        assert_eq!(portal.alarms, [], "nobody is taken for a writer with two pasts");
        portal.meet(RELAY);
        let last = genuine.last().unwrap();
        portal.hear(RELAY, &Frame::Run(genuine.clone()).encode());
        assert_eq!(portal.engine.vector(tenant()).get(&genuine.log), last, "what was meant");
    }
    ends.iter().for_each(|(end, count)| println!("{count:6} {end}"));
    assert_eq!(ends.values().sum::<usize>(), MUTANTS);
}

#[test]
fn of_mutated_chunks_none_makes_its_bundle_count() {
    let mut dice = Dice::new(0xc0de);
    let mut writer = Writer::new(HONEST, tenant());
    let run = writer.say(vec![note(&writer, "large")], &[&large_file()]);
    let cut = opened(&run)[0].body.blobs[0].cut();
    let chunks: Vec<_> = (0..)
        .zip(large_file().chunks(limits::CHUNK_BYTES))
        .map(|(index, bytes)| {
            let bytes = bytes.to_vec();
            Frame::Chunk(Chunk { tenant: Tenant(tenant()), cut, index, bytes })
        })
        .collect();
    let mut portal = Portal::new();
    for _ in 0..CHUNKS {
        portal.meet(RELAY);
        portal.hear(RELAY, &Frame::Run(run.clone()).encode());
        let bent = dice.below(chunks.len());
        for (n, chunk) in chunks.iter().enumerate() {
            let mut frame = chunk.encode();
            while n == bent && Frame::decode(&frame).as_ref() == Ok(chunk) {
                frame = dice.mutated(frame);
            }
            portal.hear(RELAY, &frame);
        }
        assert_eq!(portal.engine.vector(tenant()).get(&run.log), 0, "chunk {bent}");
    }
    portal.meet(RELAY);
    portal.hear(RELAY, &Frame::Run(run.clone()).encode());
    chunks.iter().for_each(|chunk| portal.hear(RELAY, &chunk.encode()));
    assert_eq!(portal.engine.vector(tenant()).get(&run.log), 1);
}

/// Its own key signs whatever a writer makes up, so some of it counts: then it is within every
/// bound, the document it is about is at worst one odd record, and everybody else goes on.
#[test]
fn what_a_writer_signs_itself_harms_its_own_documents_at_worst() {
    let mut dice = Dice::new(0xfeed);
    let mut portal = Portal::new();
    let mut foreign = Writer::new(FOREIGN, other_tenant());
    let (mut taken, mut unreadable) = (0, 0);
    for n in 0..SIGNED {
        let mut writer = Writer::restarted(HONEST, tenant(), n);
        let (mut item, files): (_, &[&[u8]]) = (note(&writer, &format!("mine {n}")), &[b"<xml/>"]);
        if let Item::Change { change, .. } = &mut item
            && dice.below(2) == 0
        {
            *change = dice.mutated(change.clone());
        }
        let mut body = writer.body(vec![item], files);
        if dice.below(2) == 0 {
            body = dice.mutated(body);
        }
        let run = writer.say_bytes(body, files.concat());
        portal.meet(HONEST);
        portal.hear(HONEST, &Frame::Run(run.clone()).encode());
        if portal.engine.vector(tenant()).get(&run.log) == 0 {
            continue;
        }
        taken += 1;
        for document in opened(&run)[0].body.documents() {
            let changes = archive::changes(&portal.store, tenant(), &document).unwrap();
            let record = Record::derive(document, &changes);
            unreadable += usize::from(matches!(record, Record::Unreadable(_)));
            let _ = record.encode();
        }
        if n % 500 == 0 {
            let run = foreign.say(vec![note(&foreign, "more")], &[]);
            portal.meet(FOREIGN);
            portal.hear(FOREIGN, &Frame::Run(run).encode());
            let held = portal.engine.vector(other_tenant());
            assert_eq!(held.get(&foreign.id()), foreign.said(), "others go on");
        }
    }
    println!("{taken} of {SIGNED} count, {unreadable} of their documents cannot be read");
    assert!(taken > 0 && unreadable > 0, "{taken} {unreadable}");
    assert_eq!(portal.alarms, []);
    assert!(portal.engine.authority().is_portal(&keys::Key::new(PORTAL).peer()));
}
