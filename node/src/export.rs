//! Invoices as tables, for programs that read files: CSV, Parquet, or one SQLite file.
//!
//! The running service is asked page by page, since it alone has the store open; the files are
//! written by whoever asks, anew and beside the old ones, and renamed once they are whole, so a
//! reader finds yesterday's or today's and nothing in between. Amounts are exact decimals.
//! Tables, columns and rows are those of SQL ([`sql::table`], [`crate::tables`]), said once.

pub mod command;
mod csv;
mod parquet;
mod sqlite;

use std::{
    io,
    path::PathBuf,
    sync::{Arc, LazyLock},
};

use engine::id::DocumentId;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sql::ty::Ty;

use crate::{
    api::{
        problem::Problem,
        query::invoice_id,
        space::{Records, Space},
    },
    moment,
    register::{Filter, Place},
    status::TenantStatus,
    tables::rows::all_rows,
};

/// Invoices of one page.
const PAGE: usize = 100;
/// Bytes of originals after which a page ends.
const PAGE_BYTES: usize = 1024 * 1024;

/// A value as the service tells it to the command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cell {
    /// Nothing.
    Null,
    /// A number, a truth, a day or a moment, as [`sql::ty`] keeps them.
    Whole(i64),
    /// A text or a decimal.
    Text(String),
}

/// What is exported of one invoice: its rows, each with the name of its table.
#[derive(Debug, Serialize, Deserialize)]
pub struct Exported {
    rows: Vec<(String, Vec<Cell>)>,
}

/// Where a page ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    days: i64,
    id: String,
}

/// One page of an export.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Page {
    /// The invoices, the latest day first.
    pub invoices: Vec<Exported>,
    /// Where the next page begins, unless this is the last.
    pub next: Option<Mark>,
    /// How fresh all this is: the row of `sync_status`. On the last page only.
    pub(crate) fresh: Option<Vec<Cell>>,
    /// Why there is nothing.
    pub error: Option<String>,
}

/// The page of `space` after `mark`.
pub async fn page(space: &Arc<Space>, mark: Option<Mark>) -> Page {
    // Asked before, so that it does not say more than was read.
    let fresh = fresh(&space.status().await);
    let read = space.read(move |space| read(space, mark.as_ref())).await;
    let read = read.map(|page| match page.next {
        None => Page { fresh: Some(fresh), ..page },
        Some(_) => page,
    });
    read.unwrap_or_else(|problem| {
        let error = Some(format!("the mirror does not answer: {}", problem.status()));
        Page { error, ..Page::default() }
    })
}

fn fresh(status: &TenantStatus) -> Vec<Cell> {
    let whole = |number: u64| Cell::Whole(i64::try_from(number).unwrap_or(i64::MAX));
    let as_of = status.as_of.map_or(Cell::Null, |seconds| whole(seconds.saturating_mul(1_000_000)));
    vec![
        Cell::Text(status.vat.clone()),
        as_of,
        Cell::Whole(status.portals.iter().any(|portal| portal.connected).into()),
        whole(status.queued),
        whole(status.mirror_behind),
        whole(status.records.unwrap_or(0)),
    ]
}

fn read(space: &Space, mark: Option<&Mark>) -> Result<Page, Problem> {
    let after = match mark {
        Some(Mark { days, id }) => Some(Place { days: *days, invoice: invoice_id(id)? }),
        None => None,
    };
    let places = space.register().list(&Filter::default(), after, PAGE + 1)?;
    let mut page = Page::default();
    let mut bytes = 0;
    for place in &places {
        if page.invoices.len() >= PAGE || bytes > PAGE_BYTES {
            break;
        }
        let id: DocumentId = place.invoice;
        page.next = Some(Mark { days: place.days, id: id.to_string() });
        let Some(records) = space.records(id)? else { continue };
        let original = space.file(id, &records.content.original)?;
        bytes += original.as_ref().map_or(0, Vec::len);
        page.invoices.push(Exported::of(&records, original.as_deref()));
    }
    let last = places.last().map(|place| place.invoice.to_string());
    if places.len() <= PAGE && page.next.as_ref().map(|mark| &mark.id) == last.as_ref() {
        page.next = None;
    }
    Ok(page)
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Whole,
    Decimal,
    Day,
    Moment,
    Truth,
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Null,
    Text(String),
    Whole(i64),
    Decimal(Decimal),
    /// Days since 1970.
    Day(i64),
    /// Microseconds since 1970.
    Moment(i64),
    Truth(bool),
}

/// A table as files have it: the columns that SQL has too, but for those worked out when asked.
struct Table {
    name: &'static str,
    key: &'static [&'static str],
    indexes: &'static [&'static str],
    columns: Vec<(&'static str, Kind)>,
}

/// Those of SQL (`docs/erp/sql.md`) that say something of invoices, and how fresh it is.
static TABLES: LazyLock<Vec<Table>> = LazyLock::new(|| {
    let names = [
        "invoices",
        "invoice_lines",
        "vat_summary",
        "payments",
        "attachments",
        "outcomes",
        "sync_status",
    ];
    names.into_iter().filter_map(sql::table::Table::named).map(Table::of).collect()
});

impl Table {
    fn of(table: &'static sql::table::Table) -> Self {
        let kind = |ty| match ty {
            Ty::Int2 | Ty::Int4 | Ty::Int8 => Kind::Whole,
            Ty::Numeric => Kind::Decimal,
            Ty::Date => Kind::Day,
            Ty::Timestamp | Ty::Timestamptz => Kind::Moment,
            Ty::Bool => Kind::Truth,
            _ => Kind::Text,
        };
        Self {
            name: table.name,
            key: table.key,
            indexes: table.indexes,
            columns: table.stored().map(|column| (column.name, kind(column.ty))).collect(),
        }
    }
}

/// Where rows go. `table` is a place in [`TABLES`]; a row has a cell for each column.
trait Sink {
    fn row(&mut self, table: usize, row: Vec<Value>) -> Result<(), ExportError>;
    /// Puts the files into their places.
    fn finish(self: Box<Self>) -> Result<(), ExportError>;
}

/// Why nothing was exported. What was there before is still there.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A file.
    #[error("cannot write {path}: {why}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The service and this program do not agree about the columns.
    #[error(
        "the running service has other columns of {table} than this program: restart the service"
    )]
    Version {
        /// The table.
        table: String,
    },
}

impl ExportError {
    fn file(path: &std::path::Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |error| Self::File { path: path.to_owned(), why: error.to_string() }
    }
}

impl Exported {
    fn of(records: &Records, original: Option<&[u8]>) -> Self {
        let Records { id, content, outcome, annotation } = records;
        let rows = all_rows(*id, content, original, outcome.as_ref(), annotation.as_ref());
        let cell = |value| match value {
            sql::Value::Integer(number) => Cell::Whole(number),
            sql::Value::Text(text) => Cell::Text(text),
            // No stored column has such a type.
            sql::Value::Null | sql::Value::Real(_) | sql::Value::Blob(_) => Cell::Null,
        };
        let row = |(table, row): (&str, Vec<sql::Value>)| {
            (table.to_owned(), row.into_iter().map(cell).collect())
        };
        Self { rows: rows.into_iter().map(row).collect() }
    }

    /// Its rows, table by table.
    fn write(self, sink: &mut dyn Sink) -> Result<(), ExportError> {
        self.rows.into_iter().try_for_each(|(name, cells)| write(name, cells, sink))
    }
}

fn write(name: String, cells: Vec<Cell>, sink: &mut dyn Sink) -> Result<(), ExportError> {
    let Some(place) = TABLES.iter().position(|table| table.name == name) else { return Ok(()) };
    let columns = &TABLES[place].columns;
    if cells.len() != columns.len() {
        return Err(ExportError::Version { table: name });
    }
    let cells = cells.into_iter().zip(columns);
    let row: Option<Vec<_>> = cells.map(|(cell, (_, kind))| cell.read(*kind)).collect();
    sink.row(place, row.ok_or(ExportError::Version { table: name })?)
}

impl Cell {
    fn read(self, kind: Kind) -> Option<Value> {
        Some(match (self, kind) {
            (Self::Null, _) => Value::Null,
            (Self::Text(text), Kind::Text) => Value::Text(text),
            (Self::Text(text), Kind::Decimal) => Value::Decimal(text.parse().ok()?),
            (Self::Whole(number), Kind::Whole) => Value::Whole(number),
            (Self::Whole(days), Kind::Day) => Value::Day(days),
            (Self::Whole(micros), Kind::Moment) => Value::Moment(micros),
            (Self::Whole(number), Kind::Truth) => Value::Truth(number != 0),
            _ => return None,
        })
    }
}

/// `2026-11-24`.
fn day_text(days: i64) -> String {
    let mut text = Vec::new();
    Ty::Date.write_text((&sql::Value::Integer(days)).into(), &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// `2026-11-24T09:30:00.000Z`.
fn moment_text(micros: i64) -> String {
    moment::rfc3339(u64::try_from(micros / 1000).unwrap_or(0))
}

#[cfg(test)]
mod tests;
