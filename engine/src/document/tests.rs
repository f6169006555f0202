//! The two readers give one answer, changes are the bytes Automerge would have made, and
//! hostile bytes end in an error or in nothing worse than a strange document.

use automerge::{
    ActorId, AutoCommit, Change, ObjType, ROOT, ReadDoc, ScalarValue,
    transaction::{CommitOptions, Transactable},
};
use proptest::prelude::*;

use super::{
    annotation::{self, AnnotationEdit},
    contract::{self, ContractEdit, TermsAcceptance},
    invoice::{self, Direction, InvoiceContent, Party, Receiving},
    outcome::{self, OutcomeEntry, Receipt},
    profile::{self, ProfileField},
    *,
};
use crate::{
    id::{BlobHash, DocumentId, Kind, LogId},
    record::{OutcomeState, Record},
};

fn log(byte: u8) -> LogId {
    LogId::from_bytes([byte; 16])
}

fn invoice_content() -> InvoiceContent {
    InvoiceContent {
        file_name: "IT02038490237_a0001.xml".to_owned(),
        original: BlobHash::of(b"<xml/>"),
        original_len: 5512,
        direction: Direction::Received,
        format: "FPR12".to_owned(),
        number: "2026/117".to_owned(),
        date: "2026-11-24".to_owned(),
        document_type: "TD01".to_owned(),
        supplier: Party {
            vat: "IT02038490237".to_owned(),
            tax_code: String::new(),
            name: "Officine Adige S.r.l.".to_owned(),
        },
        buyer: Party {
            vat: "IT12345678903".to_owned(),
            tax_code: "RSSMRA80A01H501U".to_owned(),
            name: "Mario Rossi".to_owned(),
        },
        recipient_code: "0000000".to_owned(),
        total: "1220.00".to_owned(),
        currency: "EUR".to_owned(),
        bodies: 1,
        receiving: Some(Receiving {
            sdi_id: "9876543210".to_owned(),
            at_ms: 1_764_000_000_000,
            metadata: Some(BlobHash::of(b"<mt/>")),
        }),
    }
}

fn invoice_id() -> DocumentId {
    DocumentId::invoice(&invoice_content().original)
}

#[test]
fn an_invoice_reads_back_as_it_was_written() {
    let content = invoice_content();
    let change = invoice::create(log(1), &content).unwrap();
    let Record::Invoice(record) = Record::derive(invoice_id(), &[&change]) else { panic!() };
    assert_eq!(record.content, content);
    // Written again by the other portal it is still the same invoice.
    let again = invoice::create(log(2), &content).unwrap();
    assert_eq!(Record::derive(invoice_id(), &[again, change]), Record::Invoice(record));
}

#[test]
fn an_invoice_is_written_once() {
    let create = invoice::create(log(1), &invoice_content()).unwrap();
    let edit = Edit::new("total", Scalar::text("0.01"));
    let tampered = author(log(2), &[&create], [edit]).unwrap().unwrap();
    let record = Record::derive(invoice_id(), std::slice::from_ref(&create));
    assert_eq!(Record::derive(invoice_id(), &[create, tampered]), record);
}

#[test]
fn an_invoice_under_anothers_name_is_unreadable() {
    let change = invoice::create(log(1), &invoice_content()).unwrap();
    let other = DocumentId::invoice(&BlobHash::of(b"another file"));
    assert!(matches!(Record::derive(other, &[change]), Record::Unreadable(_)));
}

#[test]
fn a_message_noted_twice_is_noted_once() {
    let mut entry = OutcomeEntry::new(Receipt::Rejected, "1234567890", 1_764_000_000_000);
    entry.file = Some(BlobHash::of(b"<ns/>"));
    entry.file_name = "IT02038490237_a0001_NS_001.xml".to_owned();
    entry.codes = "00404".to_owned();
    let by_a = outcome::add(log(1), &[], &entry).unwrap().unwrap();
    let by_b = outcome::add(log(2), &[], &entry).unwrap().unwrap();
    let later = OutcomeEntry { at_ms: entry.at_ms + 1, ..entry.clone() };
    assert_eq!(outcome::add(log(1), &[&by_a], &later), Ok(None));
    let id = invoice_id().sibling(Kind::Outcome);
    let Record::Outcome(record) = Record::derive(id, &[by_b, by_a]) else { panic!() };
    assert_eq!((record.state, record.entries), (OutcomeState::Rejected, vec![entry]));
}

#[test]
fn the_last_mark_counts_and_a_conflict_shows() {
    let id = invoice_id().sibling(Kind::Annotation);
    let paid = |at| [AnnotationEdit::Paid(Some(at)), AnnotationEdit::Notes("bonifico".to_owned())];
    let first = annotation::edit(log(1), &[], &paid(5)).unwrap().unwrap();
    assert_eq!(annotation::edit(log(2), &[&first], &paid(5)), Ok(None));

    let undone = [AnnotationEdit::Paid(None)];
    let one = annotation::edit(log(1), &[&first], &undone).unwrap().unwrap();
    let two = annotation::edit(log(2), &[&first], &paid(7)).unwrap().unwrap();
    let all = [two, first, one];
    let Record::Annotation(record) = Record::derive(id, &all) else { panic!() };
    assert_eq!((record.paid_ms, &*record.notes), (Some(7), "bonifico"));
    assert_eq!(record.conflicts.len(), 1);
    assert_eq!(record.conflicts[0].values, ["7", ""]);

    // Writing the field again, knowing both, settles it.
    let settled = annotation::edit(log(1), &slices(&all), &paid(7)).unwrap().unwrap();
    let [two, first, one] = all;
    let Record::Annotation(record) = Record::derive(id, &[settled, one, two, first]) else {
        panic!()
    };
    assert_eq!((record.paid_ms, record.conflicts.len()), (Some(7), 0));
}

#[test]
fn profile_and_contract_merge_field_by_field() {
    let start = [(ProfileField::Pec, "a@pec.it"), (ProfileField::City, "Verona")];
    let first = profile::edit(log(1), &[], &start).unwrap().unwrap();
    let pec = [(ProfileField::Pec, "b@pec.it")];
    let one = profile::edit(log(1), &[&first], &pec).unwrap().unwrap();
    let name = [(ProfileField::Name, "Officine Adige")];
    let two = profile::edit(log(2), &[&first], &name).unwrap().unwrap();
    let id = DocumentId::single(Kind::Profile);
    let Record::Profile(record) = Record::derive(id, &[two, one, first]) else { panic!() };
    assert_eq!(record.get(ProfileField::Pec), "b@pec.it");
    assert_eq!(record.get(ProfileField::Name), "Officine Adige");
    assert_eq!(record.get(ProfileField::Phone), "");

    let terms = |version: &str, at_ms| TermsAcceptance {
        version: version.to_owned(),
        at_ms,
        user: "rossi".to_owned(),
    };
    let (old, new) = (terms("2025-01", 1), terms("2026-01", 2));
    let signed = [
        ContractEdit::Terms(old.clone()),
        ContractEdit::Signed(BlobHash::of(b"%PDF")),
        ContractEdit::SignedAt(3),
        ContractEdit::Enabled(Some(4)),
    ];
    let first = contract::edit(log(1), &[], &signed).unwrap().unwrap();
    let again = [ContractEdit::Terms(new.clone())];
    let second = contract::edit(log(2), &[&first], &again).unwrap().unwrap();
    let id = DocumentId::single(Kind::Contract);
    let Record::Contract(record) = Record::derive(id, &[second, first]) else { panic!() };
    assert_eq!(record.terms, [old, new]);
    assert_eq!(record.signed, Some(BlobHash::of(b"%PDF")));
    assert_eq!((record.signed_ms, record.enabled_ms), (Some(3), Some(4)));
}

#[test]
fn what_waits_for_another_change_does_not_count_yet() {
    let id = invoice_id().sibling(Kind::Annotation);
    let note = |text: &str| [AnnotationEdit::Notes(text.to_owned())];
    let first = annotation::edit(log(1), &[], &note("one")).unwrap().unwrap();
    let second = annotation::edit(log(2), &[&first], &note("two")).unwrap().unwrap();
    let third = annotation::edit(log(3), &[&first, &second], &note("three")).unwrap().unwrap();
    let notes = |changes: &[&Vec<u8>]| match Record::derive(id, changes) {
        Record::Annotation(record) => record.notes,
        Record::Unreadable(_) => "unreadable".to_owned(),
        other => panic!("{other:?}"),
    };
    assert_eq!(notes(&[&third, &first]), "one");
    assert_eq!(notes(&[&third]), "unreadable");
    assert_eq!(notes(&[&third, &second, &first]), "three");
    let error = DocumentError::MissingDependencies { waiting: 1 };
    assert_eq!(load(&[&first, &third]).map(|_| ()), Err(error));
}

#[test]
fn a_number_used_twice_is_an_error_of_that_document() {
    let note = |text: &str| [AnnotationEdit::Notes(text.to_owned())];
    let one = annotation::edit(log(1), &[], &note("one")).unwrap().unwrap();
    let two = annotation::edit(log(1), &[], &note("two")).unwrap().unwrap();
    for changes in [[&one, &two], [&two, &one]] {
        assert!(matches!(load(&changes), Err(DocumentError::Odd { .. })));
    }
}

/// What a step of a made-up history does: which writer, knowing how much, writes what.
#[derive(Clone, Debug)]
struct Step {
    writer: u8,
    knows: usize,
    edits: Vec<(u8, u8)>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (1..4_u8, 0..8_usize, prop::collection::vec((0..4_u8, 0..12_u8), 1..4))
        .prop_map(|(writer, knows, edits)| Step { writer, knows, edits });
    prop::collection::vec(step, 1..8)
}

fn value(choice: u8) -> Scalar<'static> {
    match choice {
        0 => Scalar::Null,
        1 => Scalar::Bool(true),
        2 => Scalar::Bool(false),
        3 => Scalar::Uint(0),
        4 => Scalar::Uint(u64::MAX),
        5 => Scalar::Int(-129),
        6 => Scalar::Time(1_764_000_000_000),
        7 => Scalar::text(""),
        8 => Scalar::text("però €"),
        9 => Scalar::bytes(&[]),
        10 => Scalar::bytes(&[0, 255, 7]),
        _ => Scalar::text("the same long text over and over, the same long text over and over"),
    }
}

/// The history's changes. `existing` always holds the writer's own and what those rest on.
fn history(steps: &[Step]) -> Vec<Vec<u8>> {
    let mut all: Vec<(u8, Vec<u8>)> = Vec::new();
    for step in steps {
        // What the writer knows: a prefix that reaches its own last change at least.
        let own = all.iter().rposition(|(writer, _)| *writer == step.writer).map_or(0, |i| i + 1);
        let known: Vec<&[u8]> =
            all[..step.knows.max(own).min(all.len())].iter().map(|(_, c)| &c[..]).collect();
        let keys = ["notes", "paid", "registered", "é"];
        let edits = step.edits.iter().map(|(key, v)| Edit::new(keys[usize::from(*key)], value(*v)));
        let change = author(log(step.writer), &known, edits.clone()).unwrap();
        assert_eq!(change, by_automerge(step.writer, &known, edits.collect()));
        all.extend(change.map(|change| (step.writer, change)));
    }
    all.into_iter().map(|(_, change)| change).collect()
}

/// The change an Automerge transaction makes of the same edits.
fn by_automerge(writer: u8, known: &[&[u8]], edits: Vec<Edit<'_>>) -> Option<Vec<u8>> {
    let mut doc = AutoCommit::new().with_actor(ActorId::from([writer; 16]));
    let changes: Vec<_> =
        known.iter().map(|change| Change::try_from(&chunk::wrap(change)[..]).unwrap()).collect();
    doc.apply_changes(changes).unwrap();
    let edits: BTreeMap<_, _> = edits.into_iter().map(|edit| (edit.key, edit.value)).collect();
    for (key, value) in edits {
        let value = match value {
            Scalar::Null => ScalarValue::Null,
            Scalar::Bool(value) => ScalarValue::Boolean(value),
            Scalar::Uint(value) => ScalarValue::Uint(value),
            Scalar::Int(value) => ScalarValue::Int(value),
            Scalar::Time(value) => ScalarValue::Timestamp(value),
            Scalar::Text(value) => ScalarValue::Str(value.into()),
            Scalar::Bytes(value) => ScalarValue::Bytes(value.into_owned()),
            Scalar::Other => unreachable!(),
        };
        doc.put(ROOT, key.as_ref(), value).unwrap();
    }
    doc.commit_with(CommitOptions::default().with_time(0))?;
    Some(chunk::unwrap(doc.get_last_local_change()?.raw_bytes()).unwrap().to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn both_readers_agree_on_what_this_house_writes(steps in steps(), keep in any::<u8>()) {
        let mut changes = history(&steps);
        // Sometimes one has not arrived.
        if changes.len() > 2 && keep & 1 == 0 {
            changes.remove(usize::from(keep) % changes.len());
        }
        let changes = slices(&changes);
        let merged = merge(&changes).expect("all that we write is read");
        prop_assert_eq!(Ok(merged), yardstick::merge(&changes));
    }

    #[test]
    fn a_record_does_not_depend_on_the_order_of_arrival(
        (changes, shuffled) in steps().prop_map(|steps| history(&steps)).prop_flat_map(|changes| {
            let twice: Vec<_> = changes.iter().chain(&changes).cloned().collect();
            (Just(changes), Just(twice).prop_shuffle())
        })
    ) {
        for kind in Kind::ALL {
            let id = DocumentId::single(kind);
            prop_assert_eq!(Record::derive(id, &changes), Record::derive(id, &shuffled));
        }
    }

    #[test]
    fn records_read_back(steps in steps()) {
        for kind in Kind::ALL {
            let record = Record::derive(DocumentId::single(kind), &history(&steps));
            let bytes = record.encode();
            prop_assert_eq!(Record::decode(&bytes), Ok(record));
            for len in 0..bytes.len() {
                prop_assert!(Record::decode(&bytes[..len]).is_err());
            }
        }
    }

    #[test]
    fn damage_ends_in_an_error_or_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Record::decode(&bytes);
        let _ = chunk::bound(&bytes);
        let _ = Record::derive(DocumentId::single(Kind::Profile), &[bytes]);
    }
}

#[test]
fn a_record_of_another_version_is_not_read() {
    let mut bytes = Record::derive::<Vec<u8>>(DocumentId::single(Kind::Profile), &[]).encode();
    bytes[0] = 9;
    assert_eq!(Record::decode(&bytes), Err(crate::record::RecordError::Version { found: 9 }));
}

/// Xorshift: the same damage every time.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides.max(1) as u64) as usize
    }
}

/// Damage that keeps the shape: a byte, a column's length and its data, a number made large.
fn damage(seed: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=dice.throw(3) {
        let at = dice.throw(bytes.len());
        match dice.throw(7) {
            0 => bytes[at] ^= 1 << dice.throw(8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][dice.throw(5)],
            2 => bytes.insert(at, dice.throw(256) as u8),
            3 => drop(bytes.remove(at)),
            4 => bytes[at] = bytes[at].wrapping_add(1),
            5 => drop(bytes.splice(at..=at, [0xff, 0xff, 0x03])),
            // Move a byte from one column to the next, in lengths and data both.
            _ => {
                let to = dice.throw(bytes.len());
                bytes.swap(at, to);
            }
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

#[test]
fn ten_thousand_damaged_changes_stop_nothing() {
    let note = |text: &str| [AnnotationEdit::Notes(text.to_owned()), AnnotationEdit::Paid(Some(9))];
    let first = annotation::edit(log(1), &[], &note("one")).unwrap().unwrap();
    let second = annotation::edit(log(2), &[&first], &note("two")).unwrap().unwrap();
    let entry = OutcomeEntry::new(Receipt::Sent, "1234567890", 1_764_000_000_000);
    let seeds = [
        invoice::create(log(1), &invoice_content()).unwrap(),
        outcome::add(log(1), &[], &entry).unwrap().unwrap(),
        first.clone(),
        second,
        rich(),
    ];
    let mut dice = Dice(0x5eed);
    let (mut bounded, mut agreed, mut panicked) = (0, 0, 0);
    for round in 0..10_000 {
        let damaged = damage(&seeds[round % seeds.len()], &mut dice);
        let changes: [&[u8]; 2] = [&first, &damaged];
        let changes = if damaged == first { &changes[..1] } else { &changes[..] };
        if chunk::bound(&damaged).is_err() {
            continue;
        }
        bounded += 1;
        let automerge = yardstick::merge(changes);
        panicked += usize::from(automerge == Err(yardstick::No::Panicked));
        if let Ok(merged) = merge(changes) {
            assert_eq!(Ok(merged), automerge, "round {round}: {damaged:02x?}");
            agreed += 1;
        }
        let _ = Record::derive(invoice_id(), changes);
    }
    println!("{{\"damaged\":10000,\"bounded\":{bounded},\"read\":{agreed},\"panics\":{panicked}}}");
    assert!(bounded > 1000 && agreed > 500, "the damage is too coarse to prove anything");
}

/// A change with everything Automerge knows and this house does not write.
fn rich() -> Vec<u8> {
    let mut doc = AutoCommit::new().with_actor(ActorId::from([9; 16]));
    let list = doc.put_object(ROOT, "list", ObjType::List).unwrap();
    for index in 0..40 {
        doc.insert(&list, index, index as i64).unwrap();
    }
    doc.delete(&list, 20).unwrap();
    let text = doc.put_object(ROOT, "text", ObjType::Text).unwrap();
    doc.splice_text(&text, 0, 0, "quaranta euro").unwrap();
    doc.put(ROOT, "count", ScalarValue::counter(3)).unwrap();
    doc.increment(ROOT, "count", 4).unwrap();
    doc.commit_with(CommitOptions::default().with_time(0));
    chunk::unwrap(doc.get_last_local_change().unwrap().raw_bytes()).unwrap().to_vec()
}

#[test]
fn twenty_thousand_maps_in_maps_overflow_nothing() {
    let mut doc = AutoCommit::new().with_actor(ActorId::from([9; 16]));
    let mut here = ROOT;
    for _ in 0..limits::CHANGE_OPS_MAX {
        here = doc.put_object(&here, "m", ObjType::Map).unwrap();
    }
    doc.commit();
    let change = doc.get_last_local_change().unwrap();
    let contents = chunk::unwrap(change.raw_bytes()).unwrap().to_vec();
    let record = Record::derive(DocumentId::single(Kind::Profile), &[contents]);
    assert!(matches!(&record, Record::Unreadable(why) if why.reason.contains("objects")));
}

/// A change over which Automerge panics while it unwinds from a panic: no wall holds that.
#[test]
fn what_would_end_a_process_inside_automerge_never_reaches_it() {
    let whole = include_bytes!("../../fuzz/corpus/document/panics-while-unwinding");
    let change = &whole[2..2 + usize::from(whole[1])];
    assert!(chunk::bound(change).is_ok(), "it is within every bound");
    let why = "change 1 of log a1a09bf420521d4ca1ecfa1606f46074 to the document is odd: ";
    let record = Record::derive(DocumentId::single(Kind::Profile), &[change]);
    let Record::Unreadable(unreadable) = record else { panic!("{record:?}") };
    assert!(unreadable.reason.starts_with(why), "{}", unreadable.reason);
}

#[test]
fn a_key_that_is_written_a_thousand_times_is_read() {
    let mut changes: Vec<Vec<u8>> = Vec::new();
    for n in 0..1000_u64 {
        // Two that never hear of each other, and one who knows all.
        let writer = if n % 50 == 49 { 3 } else { 1 + (n % 2) as u8 };
        let knows = |change: &&Vec<u8>| {
            writer == 3 || Header::parse(change).is_ok_and(|header| !header.is_by(&log(3 - writer)))
        };
        let known: Vec<_> = changes.iter().filter(knows).collect();
        let edit = Edit::new("notes", Scalar::Uint(n));
        changes.extend(author(log(writer), &slices(&known), [edit]).unwrap());
    }
    let changes = slices(&changes);
    assert_eq!(Ok(merge(&changes).unwrap()), yardstick::merge(&changes));
}

#[test]
fn a_float_of_a_later_version_spoils_nothing_beside_it() {
    let mut doc = AutoCommit::new().with_actor(ActorId::from([9; 16]));
    doc.put(ROOT, "notes", "four").unwrap();
    doc.put(ROOT, "share", 0.25).unwrap();
    doc.commit_with(CommitOptions::default().with_time(0));
    let change = doc.get_last_local_change().unwrap();
    let contents = chunk::unwrap(change.raw_bytes()).unwrap();
    assert_eq!(Ok(merge(&[contents]).unwrap()), yardstick::merge(&[contents]));
    let id = invoice_id().sibling(Kind::Annotation);
    let Record::Annotation(record) = Record::derive(id, &[contents]) else { panic!() };
    assert_eq!(record.notes, "four");
}

#[test]
fn a_list_of_four_million_nulls_is_refused_unread() {
    let mut doc = AutoCommit::new().with_actor(ActorId::from([9; 16]));
    let list = doc.put_object(ROOT, "list", ObjType::List).unwrap();
    for index in 0..100 {
        doc.insert(&list, index, ScalarValue::Null).unwrap();
    }
    doc.commit_with(CommitOptions::default().with_time(0));
    assert_eq!(doc.length(&list), 100);
    let change = doc.get_last_local_change().unwrap();
    let plain = chunk::unwrap(change.raw_bytes()).unwrap();
    // Every run of 100 or so becomes one of 4,000,000, column lengths adjusted.
    let bomb = inflate(plain, 4_000_000);
    assert!(bomb.len() < 200, "{} bytes", bomb.len());
    let error = chunk::bound(&bomb).unwrap_err();
    assert!(matches!(error, ChunkError::TooMany { .. }), "{error}");
    assert!(matches!(
        Record::derive(DocumentId::single(Kind::Profile), &[bomb]),
        Record::Unreadable(_)
    ));
}

/// Replaces the signed LEB128 of 98..=100 (`e2 00`..`e4 00`) and of 99 in booleans by `rows`.
fn inflate(contents: &[u8], rows: u32) -> Vec<u8> {
    let header = Header::parse(contents).unwrap();
    let action = header.column(chunk::Column::Action);
    let start = action.as_ptr() as usize - contents.as_ptr() as usize;
    // The action column ends in one run of 100 puts: a two-byte count and the action.
    let count_at = start + action.len() - 3;
    assert_eq!(contents[count_at..count_at + 2], [0xe4, 0x00]);
    let mut number = Vec::new();
    let mut left = rows;
    while left > 0x3f {
        number.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    number.push(left as u8);
    let mut bomb = contents.to_vec();
    bomb.splice(count_at..count_at + 2, number.iter().copied());
    // The declared length of the action column grows with it.
    let spec_at = bomb.windows(2).position(|w| w == [0x42, action.len() as u8]).unwrap();
    bomb[spec_at + 1] += number.len() as u8 - 2;
    bomb
}
