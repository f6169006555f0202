//! Runs that are laid out as sheets, with what they bring.

use engine::{
    bundle::{BlobRef, Body, Item},
    document::{
        annotation::{self, AnnotationEdit},
        invoice::{self, Direction, InvoiceContent, Party},
    },
    id::{BlobHash, DocumentId, Kind, LogId},
    wire::{DICTIONARY, Effort, Form, Frame, Packing, Run},
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
    let references = run.references().unwrap();
    let invoices: Vec<_> = references.iter().map(|(_, seq)| marked(*seq as u8).about()).collect();
    let resolved =
        if run.refers() { run.clone().resolved(&invoices).unwrap() } else { run.clone() };
    let opened = resolved.open().unwrap();
    let bytes = opened.iter().flat_map(|bundle| [&bundle.bytes[..], &bundle.inline].concat());
    format!("{} bundles, {}", opened.len(), BlobHash::of(&bytes.collect::<Vec<_>>()))
}

#[test]
fn every_sheet_that_was_kept_brings_what_it_brought() {
    for version in spoken().filter(|version| *version >= SHEETS) {
        let kept = kept("sheets", version);
        assert_eq!(kept.len(), 4);
        for (Kept { bytes, says }, kind) in kept.into_iter().zip([1, 1, 2, 1]) {
            let Ok(Frame::Run(run)) = Frame::decode(&bytes) else { panic!("{says}") };
            assert_eq!(run.payload[0], kind, "a sheet");
            assert_eq!(brings(&run), says);
        }
    }
}

#[test]
fn the_dictionary_is_that_of_the_protocol() {
    let protocol = include_str!("../../PROTOCOL.md");
    assert!(protocol.contains(&format!("`{}`", BlobHash::of(DICTIONARY))), "it makes a version");
}

/// Marks that are alike, and one that is not; the same with a file that each brings, and for whoever
/// has the invoices; and invoices, which say much twice.
pub fn samples() -> Vec<Kept> {
    let mut node = Writer::new(NODE, tenant());
    let log = node.id();
    let bundles = |files: bool| (1..=12).map(move |n| bundle(log, n, files)).collect::<Vec<_>>();
    let plain = bundles(false);
    let invoices = (1..=12).map(|n| invoice(log, n)).collect();
    let mut runs =
        [plain.clone(), bundles(true), plain.clone(), invoices].map(|all| node.say_bundles(all));
    runs[2].payload = Run::pack_referring(
        Packing { form: Form::Sheet, effort: Effort::Quick },
        plain.iter().map(|(body, inline)| (&body[..], &inline[..])),
        log,
        &(1..=12_u8).map(|n| (marked(n).about(), (log, n.into()))).collect(),
    );
    let kept = |run: Run| Kept { says: brings(&run), bytes: Frame::Run(run).encode() };
    runs.map(kept).into()
}

/// An invoice of which one amount in three does not follow from the others.
fn invoice(log: LogId, n: u8) -> (Vec<u8>, Vec<u8>) {
    let (number, total) = (format!("{n}/FE"), if n.is_multiple_of(3) { "=" } else { "12.50" });
    let file = format!(
        "<p:FatturaElettronica><Denominazione>Ditta Uno</Denominazione><Numero>{number}</Numero>\
         <ImportoTotaleDocumento>{n}.50</ImportoTotaleDocumento><Quantita>5</Quantita>\
         <PrezzoUnitario>2.5</PrezzoUnitario><PrezzoTotale>{total}</PrezzoTotale>\
         <ImportoPagamento>{n}.50</ImportoPagamento></p:FatturaElettronica>"
    );
    let file = file.into_bytes();
    let content = InvoiceContent {
        file_name: format!("IT02038490237_{n}.xml"),
        original: BlobHash::of(&file),
        original_len: file.len() as u64,
        direction: Direction::Sent,
        format: "FPR12".to_owned(),
        number,
        date: "2026-11-28".to_owned(),
        document_type: "TD01".to_owned(),
        supplier: Party { name: "Ditta Uno".to_owned(), ..Party::default() },
        buyer: Party::default(),
        recipient_code: String::new(),
        total: format!("{n}.50"),
        currency: "EUR".to_owned(),
        bodies: 1,
        receiving: None,
    };
    let change = invoice::create(log, &content).unwrap();
    let items = vec![Item::Change { document: DocumentId::invoice(&content.original), change }];
    let blobs = vec![BlobRef::of(&file)];
    (Body { written_ms: NOON, items, blobs }.encode().unwrap(), file)
}

fn marked(n: u8) -> DocumentId {
    DocumentId::invoice(&BlobHash::of(&[n])).sibling(Kind::Annotation)
}

/// A body that marks invoice `n`, and the file that goes with it.
fn bundle(log: LogId, n: u8, files: bool) -> (Vec<u8>, Vec<u8>) {
    let file = format!("<Nota><Numero>{n}</Numero><Testo>pagata</Testo></Nota>").repeat(3);
    let mut mark = vec![AnnotationEdit::Paid(Some(NOON + u64::from(n) * 977))];
    if n == 7 {
        mark.push(AnnotationEdit::Notes("pagata in contanti".to_owned()));
    }
    let change = annotation::edit(log, &[], &mark).unwrap().unwrap();
    let items = vec![Item::Change { document: marked(n), change }];
    let inline = if files { file.into_bytes() } else { Vec::new() };
    let blobs = files.then(|| BlobRef::of(&inline)).into_iter().collect();
    (Body { written_ms: NOON, items, blobs }.encode().unwrap(), inline)
}
