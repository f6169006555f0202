//! Prints what documents cost, one JSON line each: bytes of a change by kind, bytes each of a
//! thousand once compressed together, microseconds to author, bound and derive.
//!
//! `cargo run --release -p engine --example documents`

use std::{hint::black_box, time::Instant};

use automerge::{
    ActorId, AutoCommit, Automerge, Change, ObjType, ROOT, ReadDoc, ScalarValue,
    transaction::Transactable,
};
use engine::{
    chunk,
    document::{
        annotation::{self, AnnotationEdit},
        contract::{self, ContractEdit, TermsAcceptance},
        invoice::{self, Direction, InvoiceContent, Party},
        outcome::{self, OutcomeEntry, Receipt},
        profile::{self, ProfileField},
    },
    id::{BlobHash, DocumentId, Kind, LogId},
    limits::CHANGE_OPS_MAX,
    record::Record,
};

type Made = (DocumentId, Vec<u8>);

fn main() {
    let log = LogId::from_bytes(*b"0123456789abcdef");
    let original = |n: usize| BlobHash::of(format!("invoice {n}").as_bytes());
    let about = |n: usize, kind| DocumentId::invoice(&original(n)).sibling(kind);
    let at_ms = |n: usize| 1_764_000_000_000 + n as u64 * 731;
    // Identifiers grow by a few from one file to the next, as the SdI's do.
    let sdi_id = |n: usize| (9_876_543_210_u64 + n as u64 * 37).to_string();

    let sent = |n: usize| {
        let entry = OutcomeEntry::new(Receipt::Sent, &sdi_id(n), at_ms(n));
        (about(n, Kind::Outcome), made(outcome::add(log, &[], &entry)))
    };
    let delivered = |n: usize| {
        let mut entry = OutcomeEntry::new(Receipt::Delivered, &sdi_id(n), at_ms(n));
        entry.file = Some(BlobHash::of(format!("receipt {n}").as_bytes()));
        entry.file_name = format!("IT02038490237_a{n:04}_RC_001.xml");
        (about(n, Kind::Outcome), made(outcome::add(log, &[], &entry)))
    };
    let paid = |n: usize| {
        let edits = [AnnotationEdit::Paid(Some(at_ms(n)))];
        (about(n, Kind::Annotation), made(annotation::edit(log, &[], &edits)))
    };
    let content = |n: usize| InvoiceContent {
        file_name: format!("IT02038490237_a{n:04}.xml"),
        original: original(n),
        original_len: 5_000 + n as u64 % 700,
        direction: Direction::Sent,
        format: "FPR12".to_owned(),
        number: format!("2026/{n}"),
        date: format!("2026-11-{:02}", n % 28 + 1),
        document_type: "TD01".to_owned(),
        supplier: Party {
            vat: "IT02038490237".to_owned(),
            tax_code: String::new(),
            name: "Officine Adige S.r.l.".to_owned(),
        },
        buyer: Party {
            vat: format!("IT{:011}", n * 7_919 % 99_999_999_999),
            tax_code: String::new(),
            name: format!("Cliente numero {} S.p.A.", n * 31 % 997),
        },
        recipient_code: "0000000".to_owned(),
        total: format!("{}.{:02}", n * 13 % 9_000, n % 100),
        currency: "EUR".to_owned(),
        bodies: 1,
        receiving: None,
    };
    let invoice = |n: usize| {
        (DocumentId::invoice(&original(n)), made(invoice::create(log, &content(n)).map(Some)))
    };
    let profile = |n: usize| {
        let pec = format!("cliente{n}@pec.example.it");
        let edits = [(ProfileField::Pec, &*pec), (ProfileField::RecipientCode, "ABC1234")];
        (DocumentId::single(Kind::Profile), made(profile::edit(log, &[], &edits)))
    };
    let contract = |n: usize| {
        let terms = TermsAcceptance {
            version: "2026-10".to_owned(),
            at_ms: at_ms(n),
            user: format!("utente{n}"),
        };
        let edits = [ContractEdit::Terms(terms), ContractEdit::Enabled(Some(at_ms(n)))];
        (DocumentId::single(Kind::Contract), made(contract::edit(log, &[], &edits)))
    };
    report("invoice", invoice);
    report("outcome_sent", sent);
    report("outcome_delivered", delivered);
    report("annotation_paid", paid);
    report("profile_two_fields", profile);
    report("contract_terms", contract);
    edits(log);
    hostile();
}

fn made<E: std::fmt::Debug>(change: Result<Option<Vec<u8>>, E>) -> Vec<u8> {
    change.expect("short texts").expect("a new document")
}

fn report(what: &str, make: impl Fn(usize) -> Made) {
    const MANY: usize = 20_000;
    let all: Vec<Made> = (0..1_000).map(&make).collect();
    // What a run's payload holds of each: the document's id, a length, the change.
    let together = |count: usize| {
        let mut bytes = Vec::new();
        for (id, change) in &all[..count] {
            bytes.extend_from_slice(id.as_bytes());
            bytes.push(change.len() as u8);
            bytes.extend_from_slice(change);
        }
        let packed = zstd::bulk::compress(&bytes, 3).expect("in memory");
        packed.len() as f64 / count as f64
    };
    let raw = all.iter().map(|(_, change)| change.len()).sum::<usize>() as f64 / 1_000.0;
    let author = each(MANY, |n| drop(black_box(make(n))));
    let header = each(MANY * 10, |n| drop(black_box(chunk::Header::parse(&all[n % 1_000].1))));
    let bound = each(MANY * 10, |n| drop(black_box(chunk::bound(&all[n % 1_000].1))));
    let derive = each(MANY, |n| {
        let (id, change) = &all[n % 1_000];
        black_box(Record::derive(*id, std::slice::from_ref(change)));
    });
    let theirs = each(2_000, |n| automerge_alone(&all[n % 1_000].1));
    let records: Vec<_> =
        all.iter().map(|(id, c)| Record::derive(*id, std::slice::from_ref(c))).collect();
    assert!(!records.iter().any(|record| matches!(record, Record::Unreadable(_))));
    let encode = each(MANY, |n| drop(black_box(records[n % 1_000].encode())));
    let row = records.iter().map(|record| record.encode().len()).sum::<usize>() as f64 / 1_000.0;
    println!(
        "{{\"kind\":\"{what}\",\"change_bytes\":{raw:.1},\"zstd_each_of_1\":{:.1},\
         \"zstd_each_of_100\":{:.1},\"zstd_each_of_1000\":{:.1},\"record_bytes\":{row:.1},\
         \"author_us\":{author:.2},\"header_us\":{header:.3},\"bound_us\":{bound:.3},\
         \"derive_us\":{derive:.2},\"encode_us\":{encode:.2},\
         \"automerge_us\":{theirs:.2}}}",
        together(1),
        together(100),
        together(1_000),
    );
}

/// An outcome that got its messages one after the other, each upon the ones before.
fn edits(log: LogId) {
    let id = DocumentId::invoice(&BlobHash::of(b"<xml/>")).sibling(Kind::Outcome);
    let mut changes: Vec<Vec<u8>> = Vec::new();
    let receipts = [Receipt::Sent, Receipt::NotDelivered, Receipt::Delivered, Receipt::Outcome];
    for (n, receipt) in receipts.into_iter().enumerate() {
        let entry = OutcomeEntry::new(receipt, "9876543210", 1_764_000_000_000 + n as u64);
        let existing: Vec<&[u8]> = changes.iter().map(Vec::as_slice).collect();
        let author = each(5_000, |_| drop(black_box(outcome::add(log, &existing, &entry))));
        let change = made(outcome::add(log, &existing, &entry));
        changes.push(change);
        let derive = each(5_000, |_| drop(black_box(Record::derive(id, &changes))));
        println!(
            "{{\"outcome_changes\":{},\"change_bytes\":{},\"author_us\":{author:.2},\
             \"derive_us\":{derive:.2}}}",
            n + 1,
            changes[n].len(),
        );
    }
}

/// Loads a change and reads all it says with Automerge and nothing else.
fn automerge_alone(contents: &[u8]) {
    let change = Change::try_from(&chunk::wrap(contents)[..]).expect("sound");
    let mut doc = Automerge::new();
    doc.apply_changes([change]).expect("sound");
    for key in doc.keys(ROOT) {
        black_box(doc.get_all(ROOT, key.as_str()).expect("a map"));
    }
}

/// The largest changes that pass the bounds, shaped to hurt.
fn hostile() {
    let actor = || AutoCommit::new().with_actor(ActorId::from([9; 16]));
    let last = |mut doc: AutoCommit| {
        doc.commit();
        let change = doc.get_last_local_change().expect("just made");
        chunk::unwrap(change.raw_bytes()).expect("a change").to_vec()
    };
    let nested = {
        let (mut doc, mut here) = (actor(), ROOT);
        for _ in 0..CHANGE_OPS_MAX {
            here = doc.put_object(&here, "m", ObjType::Map).expect("a map");
        }
        last(doc)
    };
    let list = {
        let mut doc = actor();
        let list = doc.put_object(ROOT, "l", ObjType::List).expect("a map");
        for _ in 1..CHANGE_OPS_MAX {
            doc.insert(&list, 0, ScalarValue::Null).expect("a list");
        }
        last(doc)
    };
    let keys = {
        let mut doc = actor();
        for n in 0..5_000 {
            doc.put(ROOT, format!("{n:020}"), 1_u64).expect("a map");
        }
        last(doc)
    };
    // One key put again and again, nothing replaced: run lengths of the columns by hand.
    let crowd = {
        let mut contents = vec![0, 16];
        contents.extend([9; 16]);
        contents.extend([1, 1, 0, 0, 0, 5]);
        let rows = [0xa0, 0x9c, 0x01];
        contents.extend([0x15, 5, 0x34, 3, 0x42, 4, 0x56, 4, 0x70, 4]);
        for (before, after) in [(&rows, &[1, b'k'][..]), (&rows, &[]), (&rows, &[1]), (&rows, &[0])]
        {
            contents.extend(before);
            contents.extend(after);
        }
        contents.extend(rows);
        contents.push(0);
        contents
    };
    for (what, change) in [("nested", nested), ("list", list), ("keys", keys), ("crowd", crowd)] {
        let ops = chunk::bound(&change).map(|header| header.ops());
        let id = DocumentId::single(Kind::Annotation);
        let mut unreadable = false;
        let us = each(3, |_| {
            let record = Record::derive(id, std::slice::from_ref(&change));
            unreadable = matches!(record, Record::Unreadable(_));
        });
        println!(
            "{{\"hostile\":\"{what}\",\"change_bytes\":{},\"ops\":{},\"derive_us\":{us:.0},\
             \"unreadable\":{unreadable}}}",
            change.len(),
            ops.unwrap_or(0),
        );
    }
}

/// Microseconds each. An example is a host: it may look at the clock.
#[allow(clippy::disallowed_methods)]
fn each(count: usize, mut act: impl FnMut(usize)) -> f64 {
    let start = Instant::now();
    (0..count).for_each(&mut act);
    start.elapsed().as_secs_f64() * 1e6 / count as f64
}
