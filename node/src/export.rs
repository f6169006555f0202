//! Invoices as tables, for programs that read files: CSV, Parquet, or one SQLite file.
//!
//! The running service is asked page by page, since it alone has the store open; the files are
//! written by whoever asks, anew and beside the old ones, and renamed once they are whole, so a
//! reader finds yesterday's or today's and nothing in between. Amounts are exact decimals.

pub mod command;
mod csv;
mod parquet;
mod sqlite;

use std::{io, path::PathBuf, sync::Arc};

use engine::id::DocumentId;
use fatturapa::{
    Date,
    invoice::{self, InvoiceFile},
};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::{
    api::{
        model::{InvoiceSummary, OutcomeView, PartyView},
        problem::Problem,
        query::invoice_id,
        space::Space,
    },
    register::{Filter, Place},
};

/// Invoices of one page.
const PAGE: usize = 100;
/// Bytes of originals after which a page ends.
const PAGE_BYTES: usize = 1024 * 1024;

/// What is exported of one invoice.
#[derive(Debug, Serialize, Deserialize)]
pub struct Exported {
    /// As a list shows it.
    pub summary: InvoiceSummary,
    /// What the SdI said.
    pub outcomes: Vec<OutcomeView>,
    /// What its file says; absent where the file cannot be read.
    pub file: Option<InvoiceFile>,
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
    /// Why there is nothing.
    pub error: Option<String>,
}

/// The page of `space` after `mark`.
pub async fn page(space: &Arc<Space>, mark: Option<Mark>) -> Page {
    let read = space.read(move |space| read(space, mark.as_ref())).await;
    read.unwrap_or_else(|problem| {
        let error = Some(format!("the mirror does not answer: {}", problem.status()));
        Page { error, ..Page::default() }
    })
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
        let original = space.file(id, &records.content.original)?.unwrap_or_default();
        bytes += original.len();
        let entries = records.outcome.iter().flat_map(|outcome| &outcome.entries);
        page.invoices.push(Exported {
            summary: records.summary(),
            outcomes: entries.map(OutcomeView::from).collect(),
            file: invoice::read(&records.content.file_name, &original).ok(),
        });
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
    Truth,
}

/// One cell.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Null,
    Text(String),
    Whole(i64),
    Decimal(Decimal),
    Day(Date),
    Truth(bool),
}

struct Table {
    name: &'static str,
    columns: &'static [(&'static str, Kind)],
}

/// The tables, which are a promise to whoever reads them: columns are only ever added.
const TABLES: [Table; 5] = [
    Table {
        name: "invoices",
        columns: &[
            ("id", Kind::Text),
            ("direction", Kind::Text),
            ("number", Kind::Text),
            ("date", Kind::Day),
            ("document_type", Kind::Text),
            ("format", Kind::Text),
            ("supplier_vat", Kind::Text),
            ("supplier_tax_code", Kind::Text),
            ("supplier_name", Kind::Text),
            ("buyer_vat", Kind::Text),
            ("buyer_tax_code", Kind::Text),
            ("buyer_name", Kind::Text),
            ("recipient_code", Kind::Text),
            ("total", Kind::Decimal),
            ("currency", Kind::Text),
            ("bodies", Kind::Whole),
            ("state", Kind::Text),
            ("sdi_id", Kind::Text),
            ("received_at", Kind::Text),
            ("registered_at", Kind::Text),
            ("paid_at", Kind::Text),
            ("notes", Kind::Text),
            ("alarm", Kind::Truth),
            ("file_name", Kind::Text),
            ("sha256", Kind::Text),
            ("bytes", Kind::Whole),
        ],
    },
    Table {
        name: "invoice_lines",
        columns: &[
            ("invoice_id", Kind::Text),
            ("body", Kind::Whole),
            ("place", Kind::Whole),
            ("line_number", Kind::Text),
            ("description", Kind::Text),
            ("article_code", Kind::Text),
            ("quantity", Kind::Decimal),
            ("unit", Kind::Text),
            ("unit_price", Kind::Decimal),
            ("total", Kind::Decimal),
            ("vat_rate", Kind::Decimal),
            ("nature", Kind::Text),
        ],
    },
    Table {
        name: "vat_summary",
        columns: &[
            ("invoice_id", Kind::Text),
            ("body", Kind::Whole),
            ("place", Kind::Whole),
            ("vat_rate", Kind::Decimal),
            ("nature", Kind::Text),
            ("taxable", Kind::Decimal),
            ("tax", Kind::Decimal),
            ("due", Kind::Text),
        ],
    },
    Table {
        name: "payments",
        columns: &[
            ("invoice_id", Kind::Text),
            ("body", Kind::Whole),
            ("place", Kind::Whole),
            ("method", Kind::Text),
            ("due_date", Kind::Day),
            ("amount", Kind::Decimal),
            ("iban", Kind::Text),
        ],
    },
    Table {
        name: "outcomes",
        columns: &[
            ("invoice_id", Kind::Text),
            ("place", Kind::Whole),
            ("at", Kind::Text),
            ("receipt", Kind::Text),
            ("sdi_id", Kind::Text),
            ("codes", Kind::Text),
            ("note", Kind::Text),
        ],
    },
];

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
}

impl ExportError {
    fn file(path: &std::path::Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |error| Self::File { path: path.to_owned(), why: error.to_string() }
    }
}

fn text(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { Value::Text(text.to_owned()) }
}

fn some(value: Option<&String>) -> Value {
    value.map_or(Value::Null, |value| text(value))
}

fn whole(number: usize) -> Value {
    Value::Whole(i64::try_from(number).unwrap_or(i64::MAX))
}

fn decimal(value: Option<Decimal>) -> Value {
    value.map_or(Value::Null, Value::Decimal)
}

fn day(value: Option<Date>) -> Value {
    value.map_or(Value::Null, Value::Day)
}

impl Exported {
    /// Its rows, table by table.
    fn rows(&self, sink: &mut dyn Sink) -> Result<(), ExportError> {
        sink.row(0, self.invoice())?;
        let id = || text(&self.summary.id);
        for (body, invoice) in self.file.iter().flat_map(|file| &file.bodies).enumerate() {
            for (place, line) in invoice.lines.iter().enumerate() {
                let article = line.articles.first().map(|(_, value)| value);
                let row = vec![
                    id(),
                    whole(body + 1),
                    whole(place + 1),
                    text(&line.number),
                    text(&line.description),
                    some(article),
                    decimal(line.quantity),
                    some(line.unit.as_ref()),
                    decimal(line.unit_price),
                    Value::Decimal(line.total),
                    decimal(line.rate),
                    some(line.nature.as_ref()),
                ];
                sink.row(1, row)?;
            }
            for (place, vat) in invoice.vat.iter().enumerate() {
                let row = vec![
                    id(),
                    whole(body + 1),
                    whole(place + 1),
                    Value::Decimal(vat.rate),
                    some(vat.nature.as_ref()),
                    Value::Decimal(vat.taxable),
                    Value::Decimal(vat.tax),
                    some(vat.due.as_ref()),
                ];
                sink.row(2, row)?;
            }
            for (place, payment) in invoice.payments.iter().enumerate() {
                let row = vec![
                    id(),
                    whole(body + 1),
                    whole(place + 1),
                    text(&payment.method),
                    day(payment.due),
                    Value::Decimal(payment.amount),
                    some(payment.iban.as_ref()),
                ];
                sink.row(3, row)?;
            }
        }
        for (place, outcome) in self.outcomes.iter().enumerate() {
            let row = vec![
                id(),
                whole(place + 1),
                text(&outcome.at),
                text(&outcome.receipt),
                some(outcome.sdi_id.as_ref()),
                text(&outcome.codes.join(" ")),
                text(&outcome.note),
            ];
            sink.row(4, row)?;
        }
        Ok(())
    }

    fn invoice(&self) -> Vec<Value> {
        let InvoiceSummary { supplier, buyer, annotation, .. } = &self.summary;
        let one = &self.summary;
        let party = |party: &PartyView| {
            [some(party.vat.as_ref()), some(party.tax_code.as_ref()), text(&party.name)]
        };
        let [supplier_vat, supplier_tax, supplier_name] = party(supplier);
        let [buyer_vat, buyer_tax, buyer_name] = party(buyer);
        let direction = serde_json::to_value(one.direction).unwrap_or_default();
        vec![
            text(&one.id),
            text(direction.as_str().unwrap_or_default()),
            text(&one.number),
            day(one.date.as_deref().and_then(Date::parse)),
            text(&one.document_type),
            text(&one.format),
            supplier_vat,
            supplier_tax,
            supplier_name,
            buyer_vat,
            buyer_tax,
            buyer_name,
            some(one.recipient_code.as_ref()),
            decimal(one.total.as_deref().and_then(|total| total.parse().ok())),
            some(one.currency.as_ref()),
            Value::Whole(one.bodies.into()),
            text(one.state.word()),
            some(one.sdi_id.as_ref()),
            some(one.received_at.as_ref()),
            some(annotation.registered_at.as_ref()),
            some(annotation.paid_at.as_ref()),
            text(&annotation.notes),
            Value::Truth(one.alarm),
            text(&one.file_name),
            text(&one.sha256),
            Value::Whole(i64::try_from(one.bytes).unwrap_or(i64::MAX)),
        ]
    }
}

#[cfg(test)]
mod tests;
