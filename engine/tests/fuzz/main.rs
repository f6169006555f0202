//! The corpus of `engine/fuzz`, replayed, and some thousand mutations of it: the same targets
//! as libFuzzer's, without it. What a long run finds is added to the corpus.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(
    clippy::disallowed_methods,
    reason = "the corpus is on a disk, of which the engine knows nothing"
)]

#[path = "../../fuzz/src/replay.rs"]
mod replay;
#[path = "../../fuzz/src/targets.rs"]
mod targets;

use std::{fs, path::PathBuf};

use engine::{
    bundle::{BlobRef, Body, Item},
    document::{
        annotation::{self, AnnotationEdit},
        outcome::{self, OutcomeEntry, Receipt},
        profile::{self, ProfileField},
    },
    grant::Revocation,
    id::{BlobHash, DocumentId, Incarnation, Kind, LogId},
    vector::Digest,
    wire::{
        Chunk, DICTIONARY, Effort, Form, Frame, Hello, OriginParts, Packing, Run, SpaceState,
        Tenant, VERSIONS,
    },
};
use targets::{TARGETS, peer_key, tenant};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

#[test]
fn the_corpus_stops_nothing() {
    replay::replay(&folder(), &TARGETS);
}

#[test]
fn mutations_of_the_corpus_stop_nothing() {
    replay::mutate(&folder(), &TARGETS);
}

/// The first corpus, which a long run grows from.
#[test]
#[ignore = "writes engine/fuzz/corpus"]
fn write_seeds() {
    let log = LogId::derive(&peer_key().peer(), &Incarnation([1; 16]));
    let invoice = DocumentId::invoice(&BlobHash::of(b"one"));
    let note = [AnnotationEdit::Notes("one".to_owned()), AnnotationEdit::Paid(Some(9))];
    let entry = OutcomeEntry::new(Receipt::Sent, "1234567890", 1_764_000_000_000);
    let changes = [
        annotation::edit(log, &[], &note).unwrap().unwrap(),
        outcome::add(log, &[], &entry).unwrap().unwrap(),
        profile::edit(log, &[], &[(ProfileField::Pec, "a@b.it")]).unwrap().unwrap(),
    ];
    let small = Body {
        written_ms: 5,
        items: vec![Item::Change {
            document: invoice.sibling(Kind::Annotation),
            change: changes[0].clone(),
        }],
        blobs: vec![BlobRef::of(b"<xml/>")],
    };
    let peer = peer_key().peer();
    let statement = Item::Revocation(Revocation { peer, cuts: vec![(log, 3)] });
    let large =
        Body { written_ms: 6, items: vec![statement], blobs: vec![BlobRef::of(&[7; 90_000])] };
    let bodies = [Body::default(), small, large].map(|body| body.encode().unwrap());
    let (tenant, digest) = (Tenant(tenant()), Digest::default());
    let run = Run {
        tenant,
        log,
        first: 1,
        previous: engine::bundle::ChainHash::START,
        origin: Some(OriginParts {
            spki: peer_key().spki().to_vec(),
            incarnation: Incarnation([1; 16]),
        }),
        bodies: vec![bodies[1].len() as u32],
        inline: 6,
        signature: engine::bundle::Signature::from_bytes(&[9; 64]),
        payload: Run::pack(
            Packing { form: Form::Sheet, effort: Effort::Quick },
            [(&bodies[1][..], &b"<xml/>"[..])].into_iter(),
        ),
    };
    let space = |rest| SpaceState { tenant, logs: vec![(log, 3)], rest, digest };
    let hello = |spaces| {
        let (agent, root) = ("node".to_owned(), digest);
        Frame::Hello(Hello { versions: VERSIONS, agent, primary: true, spaces, root })
    };
    let cut = BlobRef::of(&[7; 90_000]).cut();
    let frames = [
        hello(vec![space(None)]),
        hello(vec![]),
        Frame::Spaces(vec![space(Some([1; 8]))]),
        Frame::WantSpaces(vec![tenant]),
        Frame::Run(run),
        Frame::Ack { tenant, logs: vec![(log, 1)] },
        Frame::Have { tenant, logs: vec![(log, 4)] },
        Frame::Want { tenant, log, after: 0 },
        Frame::WantChunks { tenant, cut, first: 0, count: 2 },
        Frame::Chunk(Chunk { tenant, cut, index: 0, bytes: vec![7; 100] }),
        Frame::Path { primary: true },
        Frame::Ping(1),
        Frame::Pong(1),
        Frame::Bye(None),
    ]
    .map(|frame| frame.encode());
    let told = |order: &[usize]| -> Vec<u8> {
        let frames = order.iter().map(|at| &frames[*at]);
        frames.flat_map(|f| [&(f.len() as u16).to_be_bytes()[..], f].concat()).collect()
    };
    let sessions =
        [told(&[0, 4, 5, 6, 7, 8, 9, 10, 11]), told(&[1, 2, 3, 4]), told(&[0, 2, 7, 7, 12, 13])];
    // What a replica holds, then what peers say that they do.
    let held = |of: &[(u8, u64)]| {
        let logs = of.iter().map(|(n, seq)| (targets::held_log(*n), *seq)).collect();
        Frame::Have { tenant, logs }
    };
    let says = |spaces: Vec<SpaceState>| Frame::Spaces(spaces);
    let state = |of: &[(u8, u64)], rest| {
        let logs = of.iter().map(|(n, seq)| (targets::held_log(*n), *seq)).collect();
        SpaceState { tenant, logs, rest, digest }
    };
    let lengths = |frames: &[Frame]| -> Vec<u8> {
        let frames = frames.iter().map(Frame::encode);
        frames.flat_map(|f| [&(f.len() as u16).to_be_bytes()[..], &f].concat()).collect()
    };
    let many: Vec<_> = (0..20).map(|n| (n, u64::from(n) + 1)).collect();
    let vectors = [
        lengths(&[held(&[(0, 3), (1, 9)]), says(vec![state(&[(0, 4)], None)])]),
        lengths(&[held(&many), says(vec![state(&many[14..], Some([7; 8]))])]),
        lengths(&[
            held(&many),
            held(&[(3, 900)]),
            says(vec![state(&many, None); 2]),
            hello(vec![]),
        ]),
        lengths(&[held(&[]), hello(vec![state(&[(0, 1), (40, u64::MAX)], None)])]),
    ];
    // Two invoices and no invoice, as they would be laid out.
    let files = [1, 2].map(|n| {
        let line = format!(
            "<Riga><NumeroLinea>{n}</NumeroLinea><Quantita>{n}.00</Quantita>\
             <PrezzoUnitario>2.50</PrezzoUnitario><PrezzoTotale>2.50</PrezzoTotale></Riga>"
        );
        let head = format!("<?xml version=\"1.0\"?>\n<Fattura><Numero>{n}/FE</Numero>");
        format!("{head}{}</Fattura>", line.repeat(n)).into_bytes()
    });
    let told = [(1, &files[0]), (2, &files[1])].map(|(n, file)| {
        let document = DocumentId::invoice(&BlobHash::of(file));
        let change = [format!("{n}/FE").as_bytes(), BlobHash::of(file).as_bytes()].concat();
        let items = vec![Item::Change { document, change }];
        Body { written_ms: 5, items, blobs: vec![BlobRef::of(file)] }.encode().unwrap()
    });
    let unpacked = |packed: &[u8]| {
        let mut opener = zstd::bulk::Decompressor::with_dictionary(DICTIONARY).unwrap();
        opener.decompress(&packed[1..], 10_000).unwrap()
    };
    let sheet = |bodies: &[&[u8]], inline: &[&[u8]]| {
        let packing = Packing { form: Form::Sheet, effort: Effort::Quick };
        let packed = Run::pack(packing, bodies.iter().copied().zip(inline.iter().copied()));
        let sheet = unpacked(&packed);
        let last = bodies.len() - 1;
        let lengths = [bodies[0].len(), bodies[last].len(), inline.concat().len()];
        let lengths = lengths.map(|len| (len as u16).to_be_bytes()).concat();
        [&[last as u8 - 1][..], &lengths, &sheet].concat()
    };
    // Ten marks as an ERP sets them, and one word.
    let mark = |n: u8| {
        let document = DocumentId::invoice(&BlobHash::of(&[n])).sibling(Kind::Annotation);
        let note = [AnnotationEdit::Paid(Some(1_764_000_000_000 + u64::from(n) * 999))];
        let change = annotation::edit(log, &[], &note).unwrap().unwrap();
        let items = vec![Item::Change { document, change }];
        Body { written_ms: 5 + u64::from(n), items, blobs: Vec::new() }.encode().unwrap()
    };
    let marks: Vec<_> = (0..10).map(mark).collect();
    let marks: Vec<_> = marks.iter().chain([&bodies[0]]).map(Vec::as_slice).collect();
    let known = |n: u8| (DocumentId::invoice(&BlobHash::of(&[n])).about(), (log, n.into()));
    let packed = Run::pack_referring(
        Packing { form: Form::Sheet, effort: Effort::Quick },
        marks.iter().map(|mark| (*mark, &b""[..])),
        log,
        &(0..10).map(known).collect(),
    );
    let head = sheet(&marks, &[&b""[..]; 11])[..7].to_vec();
    let referring = [head, unpacked(&packed)].concat();
    let sheets = [
        sheet(&[&told[0], &told[1]], &[&files[0], &files[1]]),
        sheet(&[&told[1], &bodies[0]], &[&files[1], &[]]),
        sheet(&[&told[0], &told[0]], &[&files[0], &files[0]]),
        sheet(&marks, &[&b""[..]; 11]),
        referring,
    ];
    // Changes of one document, each behind its length.
    let chain = |changes: &[&[u8]]| -> Vec<u8> {
        changes
            .iter()
            .flat_map(|change| [&(change.len() as u16).to_be_bytes()[..], change].concat())
            .collect()
    };
    let second = annotation::edit(LogId::from_bytes([2; 16]), &[&changes[0]], &note[..1]);
    let unlike = [AnnotationEdit::Notes("two".to_owned())];
    let other = annotation::edit(LogId::from_bytes([3; 16]), &[], &unlike).unwrap().unwrap();
    let more = profile::edit(log, &[&changes[2]], &[(ProfileField::Pec, "c@d.it")]);
    let documents = [
        chain(&[&changes[0], &other]),
        chain(&[&other, &changes[0], &other, &changes[1]]),
        chain(&[&changes[2], &more.unwrap().unwrap()]),
    ];
    assert_eq!(second, Ok(None), "it stands so already");
    let all = [
        ("vector", vectors.to_vec()),
        ("document", documents.to_vec()),
        ("frame", frames.to_vec()),
        ("sheet", sheets.to_vec()),
        ("bundle", bodies.to_vec()),
        ("change", changes.to_vec()),
        ("session", sessions.to_vec()),
    ];
    for (name, seeds) in all {
        let folder = folder().join(name);
        fs::create_dir_all(&folder).unwrap();
        for (n, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{n:02}")), seed).unwrap();
        }
    }
}
