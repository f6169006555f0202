//! The same invoices in three forms, read back by other means than they were written with.

use ::parquet::{
    file::reader::{FileReader as _, SerializedFileReader},
    record::{Field, RowAccessor as _},
};
use engine::{
    document::outcome::{OutcomeEntry, Receipt},
    record::{AnnotationRecord, OutcomeRecord},
};
use fatturapa::{
    Date,
    invoice::{InvoiceFile, read},
};
use rusqlite::Connection;

use super::{csv::Csv, parquet::Parquet, sqlite::Sqlite, *};
use crate::intake::Intake;

const FILE: &[u8] = include_bytes!("../../tests/invoice.xml");

fn file() -> InvoiceFile {
    read("x.xml", FILE).unwrap()
}

fn records() -> Records {
    let intake = Intake::read("x.xml", FILE, None).unwrap();
    let mut content = intake.content;
    content.supplier.name = "=CMD|' /C calc'!A0; \"Rossi\"".into();
    let entry = OutcomeEntry::new(Receipt::Delivered, "111", 1_795_521_600_000);
    Records {
        id: intake.document,
        content,
        outcome: Some(OutcomeRecord::of(vec![entry])),
        annotation: Some(AnnotationRecord {
            paid_ms: Some(1_795_521_600_500),
            ..Default::default()
        }),
    }
}

/// As it comes over the control socket.
fn exported() -> Exported {
    let said = serde_json::to_string(&Exported::of(&records(), Some(FILE))).unwrap();
    serde_json::from_str(&said).unwrap()
}

fn through(sink: impl Sink) {
    let mut sink: Box<dyn Sink> = Box::new(sink);
    exported().write(&mut *sink).unwrap();
    let status = TenantStatus { as_of: Some(1_795_521_600), ..Default::default() };
    write("sync_status".to_owned(), fresh(&status), &mut *sink).unwrap();
    sink.finish().unwrap();
}

#[test]
fn every_row_of_sql_is_exported_with_its_types() {
    struct Count(Vec<usize>);
    impl Sink for &mut Count {
        fn row(&mut self, table: usize, row: Vec<Value>) -> Result<(), ExportError> {
            assert_eq!(row.len(), TABLES[table].columns.len());
            self.0[table] += 1;
            Ok(())
        }
        fn finish(self: Box<Self>) -> Result<(), ExportError> {
            Ok(())
        }
    }
    let mut count = Count(vec![0; TABLES.len()]);
    exported().write(&mut &mut count).unwrap();
    let bodies = file().bodies;
    let sum = |each: fn(&fatturapa::invoice::Invoice) -> usize| bodies.iter().map(each).sum();
    let wanted = [
        bodies.len(),
        sum(|body| body.lines.len()),
        sum(|body| body.vat.len()),
        sum(|body| body.payments.len()),
        sum(|body| body.attachments.len()),
        1,
        0,
    ];
    assert_eq!(count.0, wanted);
    // A program of another version than the service says so.
    let mut older = exported();
    older.rows[1].1.pop();
    assert!(matches!(older.write(&mut &mut count), Err(ExportError::Version { .. })));
}

#[test]
fn csv_quotes_what_it_must_and_lets_no_formula_through() {
    let dir = tempfile::tempdir().unwrap();
    through(Csv::create(dir.path(), ';', false).unwrap());
    let text = std::fs::read_to_string(dir.path().join("invoices.csv")).unwrap();
    let rows: Vec<_> = text.split("\r\n").collect();
    assert!(rows[0].starts_with("id;document;body;direction;number;date;"), "{}", rows[0]);
    assert!(rows[1].contains(";\"'=CMD|' /C calc'!A0; \"\"Rossi\"\"\";"), "{}", rows[1]);
    assert!(rows[1].contains(";delivered;111;false;;;2026-11-24T12:00:00.500Z;"), "{}", rows[1]);
    assert_eq!((rows.len(), rows[2]), (3, ""));
    let fresh = std::fs::read_to_string(dir.path().join("sync_status.csv")).unwrap();
    assert!(fresh.contains(";2026-11-24T12:00:00.000Z;false;"), "{fresh}");
    let lines = std::fs::read_to_string(dir.path().join("invoice_lines.csv")).unwrap();
    assert_eq!(lines.lines().count(), 1 + file().bodies[0].lines.len());
    through(Csv::create(dir.path(), ',', true).unwrap());
    let text = std::fs::read_to_string(dir.path().join("invoices.csv")).unwrap();
    assert!(text.contains(",\"=CMD|"), "raw is raw, and the file is the new one");
    let left = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, TABLES.len(), "nothing half is left");
}

#[test]
fn sqlite_sums_exactly_and_replaces_the_file_under_a_reader() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fatture.sqlite");
    through(Sqlite::create(&path).unwrap());
    let reader = Connection::open(&path).unwrap();
    let file = file();
    let cents = |sum: Decimal| (sum * Decimal::ONE_HUNDRED).to_string();
    let found: i64 =
        reader.query_row("SELECT sum(tax_cents) FROM vat_summary", [], |row| row.get(0)).unwrap();
    assert_eq!(Decimal::from(found), cents(file.bodies[0].tax()).parse::<Decimal>().unwrap());
    through(Sqlite::create(&path).unwrap());
    let count: i64 = reader.query_row("SELECT count(*) FROM invoices", [], |r| r.get(0)).unwrap();
    assert_eq!(count, 1, "whoever has the old one open goes on");
    let (direction, total): (String, String) = Connection::open(&path)
        .unwrap()
        .query_row("SELECT direction, total FROM invoices", [], |r| Ok((r.get(0)?, r.get(1)?)))
        .unwrap();
    assert_eq!((&*direction, total), ("sent", file.bodies[0].total().to_string()));
}

#[test]
fn parquet_reads_back_with_its_types() {
    let dir = tempfile::tempdir().unwrap();
    through(Parquet::create(dir.path()).unwrap());
    let open = |table: &str| {
        let path = dir.path().join(format!("{table}.parquet"));
        SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap()
    };
    let row = open("invoices").get_row_iter(None).unwrap().next().unwrap().unwrap();
    let column =
        |wanted: &str| row.get_column_iter().find(|(name, _)| *name == wanted).unwrap().1.clone();
    let day = Date::parse(&records().content.date).unwrap();
    assert_eq!(column("date"), Field::Date(i32::try_from(day.days()).unwrap()));
    assert_eq!(column("paid_at"), Field::TimestampMicros(1_795_521_600_500_000));
    assert_eq!(column("alarm"), Field::Bool(false));
    let file = file();
    let mut sum = Decimal::ZERO;
    for row in open("vat_summary").get_row_iter(None).unwrap() {
        let row = row.unwrap();
        let bytes = row.get_decimal(5).unwrap().data().to_vec();
        let number = i128::from_be_bytes(bytes.try_into().unwrap());
        sum += Decimal::from_i128_with_scale(number, SCALE_READ);
    }
    assert_eq!(sum.normalize(), file.bodies[0].tax().normalize());
    assert_eq!(open("outcomes").metadata().file_metadata().num_rows(), 1);
    assert_eq!(open("attachments").metadata().file_metadata().num_rows(), 0);
}

/// As the schema says it.
const SCALE_READ: u32 = 8;
