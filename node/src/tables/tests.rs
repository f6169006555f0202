//! Rows from a real file, and a shelf that follows a mirror.

use engine::{
    document::outcome::{OutcomeEntry, Receipt},
    record::{AnnotationRecord, InvoiceRecord, OutcomeRecord, ProfileRecord},
    store::memory::MemoryStore,
};
use sql::{
    Value,
    reader::{Reader, Watch},
    table::Table,
};

use super::*;
use crate::{
    feed::Cursor,
    intake::Intake,
    mirror::{Derived, MirrorOptions},
};

const FILE: &[u8] = include_bytes!("../../tests/invoice.xml");

fn tenant() -> VatNumber {
    VatNumber::parse("02038490237").unwrap()
}

fn records() -> (DocumentId, Vec<(DocumentId, Record)>) {
    let intake = Intake::read("x.xml", FILE, None).unwrap();
    let entry = OutcomeEntry::new(Receipt::Delivered, "111", 1_700_000_000_000);
    let marks = AnnotationRecord { paid_ms: Some(1_700_000_000_000), ..Default::default() };
    let id = intake.document;
    let records = vec![
        (id.sibling(Kind::Outcome), Record::Outcome(OutcomeRecord::of(vec![entry]))),
        (id, Record::Invoice(Box::new(InvoiceRecord { content: intake.content }))),
        (id.sibling(Kind::Annotation), Record::Annotation(marks)),
        (DocumentId::single(Kind::Profile), Record::Profile(ProfileRecord::default())),
        (DocumentId::single(Kind::Contract), Record::Contract(Default::default())),
    ];
    (id, records)
}

fn apply(mirror: &Mirror, position: u64, document: DocumentId, record: Option<&Record>) {
    let record = record.map(Record::encode);
    let derived = Derived { document, changed_at: position, record };
    mirror.apply(tenant(), Cursor::new(position, 0), &[derived]).unwrap();
}

#[test]
fn every_row_has_a_value_for_each_column() {
    let (_, records) = records();
    let check = |table: &str, row: &[Value]| {
        let table = Table::named(table).unwrap();
        assert_eq!(row.len(), table.stored().count(), "{}", table.name);
        for (value, column) in row.iter().zip(table.stored()) {
            assert!(column.nullable || *value != Value::Null, "{}.{}", table.name, column.name);
        }
    };
    for read in [Some(FILE.to_vec()), None, Some(b"<x/>".to_vec())] {
        for (document, record) in &records {
            match rows::entry(tenant(), *document, record, &|_| read.clone()) {
                Entry::Invoice(rows) => {
                    rows.iter().for_each(|(table, row)| check(table, row));
                    let lines = rows.iter().filter(|row| row.0 == "invoice_lines").count();
                    assert_eq!(lines > 0, read.as_deref() == Some(FILE));
                }
                Entry::Outcome { rows, .. } => rows.iter().for_each(|row| check("outcomes", row)),
                Entry::Profile(row) => check("profile", &row),
                Entry::Contract(row) => check("contracts", &row),
                Entry::Annotation { .. } | Entry::Gone => {}
            }
        }
    }
}

#[test]
fn a_shelf_follows_the_mirror_and_is_made_anew_when_it_must() {
    let home = tempfile::tempdir().unwrap();
    let (mirror, _) = Mirror::open(&home.path().join("mirror"), MirrorOptions::default()).unwrap();
    let mirror = Arc::new(mirror);
    let (id, records) = records();
    // The outcome comes first, and waits for its invoice.
    for (position, (document, record)) in (1_u64..).zip(&records) {
        apply(&mirror, position, *document, Some(record));
    }
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let source = Arc::new(Source::new(tenant(), store, Arc::clone(&mirror), None));
    let path = home.path().join("sql.sqlite");
    let filler = Filler::start(path.clone(), Arc::clone(&source)).unwrap();
    let wait = |position| {
        let end = Instant::now() + Duration::from_secs(20);
        while filler.position() != position {
            assert!(Instant::now() < end, "at {} and not {position}", filler.position());
            thread::sleep(Duration::from_millis(5));
        }
    };
    wait(5);
    let outside: Arc<dyn Outside> = Arc::clone(&source) as Arc<dyn Outside>;
    let reader = Reader::open(&path, "erp", "x", outside, Arc::new(Watch::default())).unwrap();
    let one = |sql: &str| reader.db.query_row(sql, [], |row| row.get::<_, Value>(0)).unwrap();
    assert_eq!(one("SELECT state FROM invoices"), Value::Text("delivered".into()));
    assert_eq!(one("SELECT paid_at FROM invoices"), Value::Integer(1_700_000_000_000_000));
    assert_eq!(one("SELECT id FROM invoices"), Value::Text(rows::key(id)));
    assert_eq!(one("SELECT count(*) FROM outcomes"), Value::Integer(1));
    // The file is not in this truth, and the row says so.
    let problem = one("SELECT problem FROM invoices");
    assert_eq!(problem, Value::Text("the original file is not here".into()));
    apply(&mirror, 6, id, None);
    wait(6);
    assert_eq!(one("SELECT count(*) FROM invoices"), Value::Integer(0));
    // Another truth: the mirror begins again, and so do the tables.
    mirror.clear(tenant()).unwrap();
    apply(&mirror, 1, id, Some(&records[1].1));
    wait(1);
    assert_eq!(one("SELECT state FROM invoices"), Value::Text("queued".into()));
    // One that is as far as this one before anybody looks.
    mirror.clear(tenant()).unwrap();
    apply(&mirror, 1, records[0].0, Some(&records[0].1));
    let end = Instant::now() + Duration::from_secs(20);
    while one("SELECT count(*) FROM invoices") != Value::Integer(0) {
        assert!(Instant::now() < end, "the tables show another truth");
        thread::sleep(Duration::from_millis(5));
    }
    // One that is as far when the process starts, and holds other bundles.
    drop(filler);
    apply(&mirror, 2, id, Some(&records[1].1));
    let mut shelf = Shelf::open(&path).unwrap();
    shelf.empty().unwrap();
    shelf.apply::<ShelfError>((2, 7), []).unwrap();
    drop(shelf);
    let _filler = Filler::start(path, Arc::clone(&source)).unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while one("SELECT count(*) FROM invoices") != Value::Integer(1) {
        assert!(Instant::now() < end, "the tables went on from another truth");
        thread::sleep(Duration::from_millis(5));
    }
}
