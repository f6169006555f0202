//! Runs that are laid out as sheets, with what they bring.

use engine::{
    bundle::{BlobRef, Body, Item},
    document::annotation::{self, AnnotationEdit},
    id::{BlobHash, DocumentId, Kind},
    wire::{Frame, Run},
};

use crate::{
    Kept, kept,
    replica::{NODE, Writer, tenant},
    spoken,
};

/// The first version that has sheets.
const SHEETS: u16 = 2;
const NOON: u64 = 1_764_000_000_000;

/// What a run brings: how many bundles, and the hash of all their bodies and files.
fn brings(run: &Run) -> String {
    let opened = run.open().unwrap();
    let bytes = opened.iter().flat_map(|bundle| [&bundle.bytes[..], &bundle.inline].concat());
    format!("{} bundles, {}", opened.len(), BlobHash::of(&bytes.collect::<Vec<_>>()))
}

#[test]
fn every_sheet_that_was_kept_brings_what_it_brought() {
    for version in spoken().filter(|version| *version >= SHEETS) {
        let kept = kept("sheets", version);
        assert_eq!(kept.len(), 2);
        for Kept { bytes, says } in kept {
            let Ok(Frame::Run(run)) = Frame::decode(&bytes) else { panic!("{says}") };
            assert_eq!(run.payload[0], 1, "a sheet");
            assert_eq!(brings(&run), says);
        }
    }
}

/// Marks that are alike, and one that is not; the same with a file that each brings.
pub fn samples() -> Vec<Kept> {
    [false, true].map(sample).into()
}

fn sample(files: bool) -> Kept {
    let mut node = Writer::new(NODE, tenant());
    let log = node.id();
    let bundles = (0..12_u8).map(|n| {
        let file = format!("<Nota><Numero>{n}</Numero><Testo>pagata</Testo></Nota>").repeat(3);
        let marked = DocumentId::invoice(&BlobHash::of(&[n]));
        let mut mark = vec![AnnotationEdit::Paid(Some(NOON + u64::from(n) * 977))];
        if n == 7 {
            mark.push(AnnotationEdit::Notes("pagata in contanti".to_owned()));
        }
        let change = annotation::edit(log, &[], &mark).unwrap().unwrap();
        let items = vec![Item::Change { document: marked.sibling(Kind::Annotation), change }];
        let inline = if files { file.into_bytes() } else { Vec::new() };
        let blobs = files.then(|| BlobRef::of(&inline)).into_iter().collect();
        (Body { written_ms: NOON, items, blobs }.encode().unwrap(), inline)
    });
    let run = node.say_bundles(bundles.collect());
    let says = brings(&run);
    Kept { bytes: Frame::Run(run).encode(), says }
}
