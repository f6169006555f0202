//! One SQLite file with a table each, written anew and renamed: an ERP that has it open goes on
//! reading the old one.
//!
//! SQLite has no exact decimals: an amount is a text, and beside it `..._cents` is a whole number
//! that sums exactly; it is null where the amount has more than two decimals.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, params_from_iter, types::Value as Cell};
use rust_decimal::{Decimal, prelude::ToPrimitive as _};

use super::{ExportError, Kind, Sink, TABLES, Table, Value};

pub(super) struct Sqlite {
    db: Connection,
    half: PathBuf,
    whole: PathBuf,
}

impl Sqlite {
    pub(super) fn create(path: &Path) -> Result<Self, ExportError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let half = path.with_file_name(format!(".{name}.half"));
        if let Err(error) = fs::remove_file(&half)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(ExportError::file(&half)(error));
        }
        let made = Connection::open(&half).and_then(|db| {
            // Nothing reads it before it is whole, so a journal would guard nothing.
            db.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")?;
            for table in &TABLES {
                db.execute_batch(&definition(table.name, table.columns))?;
            }
            db.execute_batch("BEGIN")?;
            Ok(db)
        });
        let db = made.map_err(|error| failed(&half, &error))?;
        Ok(Self { db, half, whole: path.to_owned() })
    }
}

fn failed(path: &Path, error: &rusqlite::Error) -> ExportError {
    ExportError::File { path: path.to_owned(), why: error.to_string() }
}

fn definition(table: &str, columns: &[(&str, Kind)]) -> String {
    let column = |(name, kind): &(&str, Kind)| match kind {
        Kind::Text => format!("\"{name}\" TEXT"),
        Kind::Day => format!("\"{name}\" DATE"),
        Kind::Whole => format!("\"{name}\" INTEGER"),
        Kind::Truth => format!("\"{name}\" BOOLEAN"),
        Kind::Decimal => format!("\"{name}\" TEXT, \"{name}_cents\" INTEGER"),
    };
    let columns: Vec<_> = columns.iter().map(column).collect();
    format!("CREATE TABLE \"{table}\" ({});", columns.join(", "))
}

fn cells(value: Value, kind: Kind, into: &mut Vec<Cell>) {
    match value {
        Value::Null => into.push(Cell::Null),
        Value::Text(text) => into.push(Cell::Text(text)),
        Value::Whole(number) => into.push(Cell::Integer(number)),
        Value::Day(day) => into.push(Cell::Text(day.to_string())),
        Value::Truth(truth) => into.push(Cell::Integer(truth.into())),
        Value::Decimal(number) => {
            let cents = number.checked_mul(Decimal::ONE_HUNDRED).filter(Decimal::is_integer);
            into.push(Cell::Text(number.to_string()));
            into.push(cents.and_then(|cents| cents.to_i64()).map_or(Cell::Null, Cell::Integer));
            return;
        }
    }
    if kind == Kind::Decimal {
        into.push(Cell::Null);
    }
}

impl Sink for Sqlite {
    fn row(&mut self, table: usize, row: Vec<Value>) -> Result<(), ExportError> {
        let Table { name, columns } = &TABLES[table];
        let mut values = Vec::with_capacity(columns.len() + 4);
        for (value, (_, kind)) in row.into_iter().zip(*columns) {
            cells(value, *kind, &mut values);
        }
        let marks = vec!["?"; values.len()].join(",");
        let insert = self.db.prepare_cached(&format!("INSERT INTO \"{name}\" VALUES ({marks})"));
        insert
            .and_then(|mut insert| insert.execute(params_from_iter(values)))
            .map(|_| ())
            .map_err(|error| failed(&self.half, &error))
    }

    fn finish(self: Box<Self>) -> Result<(), ExportError> {
        let Self { db, half, whole } = *self;
        db.execute_batch(
            "COMMIT; CREATE UNIQUE INDEX invoices_id ON invoices (id); \
             CREATE INDEX invoices_date ON invoices (date); \
             CREATE INDEX lines_invoice ON invoice_lines (invoice_id); \
             CREATE INDEX vat_invoice ON vat_summary (invoice_id); \
             CREATE INDEX payments_invoice ON payments (invoice_id); \
             CREATE INDEX outcomes_invoice ON outcomes (invoice_id);",
        )
        .map_err(|error| failed(&half, &error))?;
        db.close().map_err(|(_, error)| failed(&half, &error))?;
        fs::File::open(&half)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&half, &whole))
            .map_err(ExportError::file(&whole))
    }
}
