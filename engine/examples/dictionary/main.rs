//! Makes the dictionary with which sheets are compressed (PROTOCOL.md section 3.4).
//!
//! It is made of invoices that were written for it, by every form and field that the rules know,
//! and of what is said about invoices; of nobody's data. What zstd finds best stands last.
//! It is not trained on samples: those are somebody's. One of 19 kB, trained on two thirds of those
//! of public projects, took less for a file of the last third (812 bytes at level 3, this one 1,042,
//! none 2,023), in which the same companies come again, and more for any other (1,004 at level 9,
//! this one 780, none 1,894) and for a status change (82, this one 71).
//!
//! `cargo run -p engine --example dictionary -- engine/src/wire/dictionary.bin`, if a version is to
//! have another one.
#![allow(clippy::unwrap_used, reason = "a tool that cannot go on panics")]
#![allow(clippy::disallowed_methods, reason = "it writes one file, and no engine is there")]

use std::fs;

use engine::{
    bundle::{BlobRef, Body, Item},
    document::{
        annotation::{self, AnnotationEdit},
        invoice::{self, Direction, InvoiceContent, Party, Receiving},
        outcome::{self, OutcomeEntry, Receipt},
    },
    id::{BlobHash, DocumentId, Kind, LogId},
    wire::{DICTIONARY, Effort, Form, Packing, Run},
};

type Bundle = (Vec<u8>, Vec<u8>);

/// The usual last.
const INVOICES: [&str; 3] = [
    include_str!("administration.xml"),
    include_str!("professional.xml"),
    include_str!("ordinary.xml"),
];
/// As many status changes as lie side by side.
const STATUSES: u64 = 12;
const LOG: LogId =
    LogId::from_bytes(*b"\xb4\x0e\x6a\xf1\x93\x2d\x57\xc8\x1f\x7b\xe2\x44\x9a\xd3\x05\x8c");
const NOON: u64 = 1_780_000_000_000;

fn main() {
    let path = std::env::args().nth(1).expect("the file to write");
    let known = |n: u64| (about(n, Kind::Invoice).about(), (LOG, n));
    let mut parts: Vec<_> = INVOICES.iter().map(|file| sheet(&[received(file)], &[])).collect();
    let paid = |n| [AnnotationEdit::Paid(Some(NOON + n))];
    let marked = |n| annotation::edit(LOG, &[], &paid(n)).unwrap().unwrap();
    parts.push(sheet(&[body(about(1, Kind::Annotation), marked(1), "")], &[]));
    for (receipt, file) in [
        (Receipt::Sent, ""),
        (Receipt::Rejected, "IT12345678903_00001_NS_001.xml"),
        (Receipt::Delivered, "IT12345678903_00001_RC_001.xml"),
    ] {
        parts.push(sheet(&[said(1, receipt, file)], &[]));
    }
    let delivered: Vec<_> = (1..=STATUSES).map(|n| said(n, Receipt::Delivered, "")).collect();
    parts.push(sheet(&delivered[..1], &[]));
    parts.push(sheet(&delivered, &(1..=STATUSES).map(known).collect::<Vec<_>>()));
    let bytes = parts.concat();
    fs::write(&path, &bytes).unwrap();
    println!("{} bytes, SHA-256 {}", bytes.len(), BlobHash::of(&bytes));
}

/// The sheet of bundles, for whoever has the known invoices.
fn sheet(bundles: &[Bundle], known: &[([u8; 15], (LogId, u64))]) -> Vec<u8> {
    let packing = Packing { form: Form::Sheet, effort: Effort::Thorough };
    let parts = bundles.iter().map(|(body, inline)| (&body[..], &inline[..]));
    let payload = Run::pack_referring(packing, parts, LOG, &known.iter().copied().collect());
    let mut opener = zstd::bulk::Decompressor::with_dictionary(DICTIONARY).unwrap();
    opener.decompress(&payload[1..], 1 << 20).unwrap()
}

fn about(n: u64, kind: Kind) -> DocumentId {
    DocumentId::invoice(&BlobHash::of(&n.to_be_bytes())).sibling(kind)
}

fn body(document: DocumentId, change: Vec<u8>, file: &str) -> Bundle {
    let blobs = if file.is_empty() { vec![] } else { vec![BlobRef::of(file.as_bytes())] };
    let items = vec![Item::Change { document, change }];
    (Body { written_ms: NOON, items, blobs }.encode().unwrap(), file.as_bytes().to_vec())
}

fn said(n: u64, receipt: Receipt, file_name: &str) -> Bundle {
    let mut entry = OutcomeEntry::new(receipt, &(10_000_000_000 + n).to_string(), NOON + n);
    if !file_name.is_empty() {
        entry.file = Some(BlobHash::of(file_name.as_bytes()));
        entry.file_name = file_name.to_owned();
    }
    let change = outcome::add(LOG, &[], &entry).unwrap().unwrap();
    body(about(n, Kind::Outcome), change, "")
}

fn received(file: &str) -> Bundle {
    let text = |mark: &str, nth: usize| {
        let behind = file.split(&format!("<{mark}>")).nth(nth + 1).unwrap_or_default();
        behind.split('<').next().unwrap_or_default().to_owned()
    };
    let party = |nth| Party {
        vat: format!("IT{}", text("IdCodice", nth)),
        tax_code: text("CodiceFiscale", nth - 1),
        name: text("Denominazione", nth - 1),
    };
    let original = BlobHash::of(file.as_bytes());
    let content = InvoiceContent {
        file_name: format!("IT12345678903_{}.xml", text("ProgressivoInvio", 0)),
        original,
        original_len: file.len() as u64,
        direction: Direction::Received,
        format: text("FormatoTrasmissione", 0),
        number: text("Numero", 0),
        date: text("Data", 0),
        document_type: text("TipoDocumento", 0),
        supplier: party(1),
        buyer: party(2),
        recipient_code: text("CodiceDestinatario", 0),
        total: text("ImportoTotaleDocumento", 0),
        currency: text("Divisa", 0),
        bodies: 1,
        receiving: Some(Receiving {
            sdi_id: "10000000000".to_owned(),
            at_ms: NOON,
            metadata: None,
        }),
    };
    let change = invoice::create(LOG, &content).unwrap();
    body(DocumentId::invoice(&original), change, file)
}
