//! The same invoices in three forms, read back by other means than they were written with.

use ::parquet::{
    file::reader::{FileReader as _, SerializedFileReader},
    record::{Field, RowAccessor as _},
};
use rusqlite::Connection;

use super::{csv::Csv, parquet::Parquet, sqlite::Sqlite, *};
use crate::{api::model::DirectionName, intake::Intake};

fn exported() -> Exported {
    let intake = Intake::read("x.xml", include_bytes!("../../tests/invoice.xml"), None).unwrap();
    let mut summary = InvoiceSummary::of(intake.document, &intake.content, None, None);
    summary.supplier.name = "=CMD|' /C calc'!A0; \"Rossi\"".into();
    Exported { summary, outcomes: vec![], file: Some(intake.file) }
}

fn through(sink: impl Sink) {
    let mut sink: Box<dyn Sink> = Box::new(sink);
    exported().rows(&mut *sink).unwrap();
    sink.finish().unwrap();
}

#[test]
fn every_row_has_a_cell_for_each_column() {
    struct Count;
    impl Sink for Count {
        fn row(&mut self, table: usize, row: Vec<Value>) -> Result<(), ExportError> {
            let Table { name, columns } = &TABLES[table];
            assert_eq!(row.len(), columns.len(), "{name}");
            for (cell, (name, kind)) in row.iter().zip(*columns) {
                let fits = match cell {
                    Value::Null => true,
                    Value::Text(_) => *kind == Kind::Text,
                    Value::Whole(_) => *kind == Kind::Whole,
                    Value::Decimal(_) => *kind == Kind::Decimal,
                    Value::Day(_) => *kind == Kind::Day,
                    Value::Truth(_) => *kind == Kind::Truth,
                };
                assert!(fits, "{name}: {cell:?}");
            }
            Ok(())
        }
        fn finish(self: Box<Self>) -> Result<(), ExportError> {
            Ok(())
        }
    }
    through(Count);
    let mut with_outcome = exported();
    with_outcome.outcomes.push(OutcomeView {
        at: String::new(),
        receipt: "RC".into(),
        sdi_id: None,
        codes: vec![],
        note: String::new(),
        file: None,
        file_name: None,
    });
    with_outcome.rows(&mut Count).unwrap();
}

#[test]
fn csv_quotes_what_it_must_and_lets_no_formula_through() {
    let dir = tempfile::tempdir().unwrap();
    through(Csv::create(dir.path(), ';', false).unwrap());
    let text = std::fs::read_to_string(dir.path().join("invoices.csv")).unwrap();
    let rows: Vec<_> = text.split("\r\n").collect();
    assert!(rows[0].starts_with("id;direction;number;date;"), "{}", rows[0]);
    assert!(rows[1].contains(";\"'=CMD|' /C calc'!A0; \"\"Rossi\"\"\";"), "{}", rows[1]);
    assert_eq!((rows.len(), rows[2]), (3, ""));
    let lines = std::fs::read_to_string(dir.path().join("invoice_lines.csv")).unwrap();
    assert_eq!(lines.lines().count(), 1 + exported().file.unwrap().bodies[0].lines.len());
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
    let file = exported().file.unwrap();
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
    assert_eq!(direction, "sent");
    assert_eq!(exported().summary.direction, DirectionName::Sent);
    assert_eq!(Some(total), exported().summary.total);
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
    assert_eq!(row.get_string(0).unwrap(), &exported().summary.id);
    let day = exported().summary.date.and_then(|date| Date::parse(&date)).unwrap();
    let found = row.get_column_iter().nth(3).unwrap().1.clone();
    assert_eq!(found, Field::Date(i32::try_from(day.days()).unwrap()));
    let file = exported().file.unwrap();
    let mut sum = Decimal::ZERO;
    for row in open("vat_summary").get_row_iter(None).unwrap() {
        let row = row.unwrap();
        let bytes = row.get_decimal(6).unwrap().data().to_vec();
        let number = i128::from_be_bytes(bytes.try_into().unwrap());
        sum += Decimal::from_i128_with_scale(number, SCALE_READ);
    }
    assert_eq!(sum.normalize(), file.bodies[0].tax().normalize());
    assert_eq!(open("outcomes").metadata().file_metadata().num_rows(), 0);
}

/// As the schema says it.
const SCALE_READ: u32 = 8;
