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

use super::{ExportError, Kind, Sink, TABLES, Table, Value, day_text, moment_text};

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
            for table in TABLES.iter() {
                db.execute_batch(&definition(table))?;
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

fn definition(table: &Table) -> String {
    let column = |(name, kind): &(&str, Kind)| match kind {
        Kind::Text | Kind::Moment => format!("\"{name}\" TEXT"),
        Kind::Day => format!("\"{name}\" DATE"),
        Kind::Whole => format!("\"{name}\" INTEGER"),
        Kind::Truth => format!("\"{name}\" BOOLEAN"),
        Kind::Decimal => format!("\"{name}\" TEXT, \"{name}_cents\" INTEGER"),
    };
    let columns: Vec<_> = table.columns.iter().map(column).collect();
    let (name, key) = (table.name, table.key.join(", "));
    format!("CREATE TABLE \"{name}\" ({}, PRIMARY KEY ({key}));", columns.join(", "))
}

fn cells(value: Value, kind: Kind, into: &mut Vec<Cell>) {
    match value {
        Value::Null => into.push(Cell::Null),
        Value::Text(text) => into.push(Cell::Text(text)),
        Value::Whole(number) => into.push(Cell::Integer(number)),
        Value::Day(days) => into.push(Cell::Text(day_text(days))),
        Value::Moment(micros) => into.push(Cell::Text(moment_text(micros))),
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
        let Table { name, columns, .. } = &TABLES[table];
        let mut values = Vec::with_capacity(columns.len() + 4);
        for (value, (_, kind)) in row.into_iter().zip(columns) {
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
        let indexes: Vec<_> = TABLES.iter().flat_map(|table| table.indexes).copied().collect();
        db.execute_batch(&format!("COMMIT; {};", indexes.join("; ")))
            .map_err(|error| failed(&half, &error))?;
        db.close().map_err(|(_, error)| failed(&half, &error))?;
        fs::File::open(&half)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&half, &whole))
            .map_err(ExportError::file(&whole))
    }
}
