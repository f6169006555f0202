//! What the SdI would say about the content of an invoice (RULES.md section 2, stage 5), row by row and
//! with exact decimals. Reports only what is true of the file; never changes it, never asks a registry.

mod document;
mod notes;
mod parties;
mod rates;
mod table;
mod totals;

use serde::Serialize;

use crate::date::Date;
use crate::invoice::{Invoice, InvoiceFile};
use crate::limits;

pub use self::table::{EMBEDDED, Rule, Table, TableError};

/// One thing found in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Code of the SdI; none for advice that rejects nothing.
    pub code: Option<String>,
    /// Italian sentence for a bookkeeper.
    pub sentence: String,
    /// XPath of the place.
    pub path: String,
    /// What is there.
    pub found: Option<String>,
    /// What should be there.
    pub expected: Option<String>,
    /// How to put it right, in Italian.
    pub fix: String,
}

/// What was sent or accepted before, as far as the caller knows.
pub trait Register {
    /// True when this transmitter already used this file name (00002).
    fn is_name_used(&self, _file_name: &str) -> bool {
        false
    }
    /// True when a file with this SHA-256 was already sent (00002).
    fn is_content_sent(&self, _sha256: &[u8; 32]) -> bool {
        false
    }
    /// True when an invoice with this key was accepted and not rejected since (00404).
    fn is_invoice_accepted(&self, _key: &InvoiceKey) -> bool {
        false
    }
}

/// A register that knows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRegister;
impl Register for NoRegister {}

/// What makes two invoices the same (00404, 00409): seller, number, year, and whether a credit note.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InvoiceKey {
    /// Country and code of the seller.
    pub supplier: String,
    /// Numero.
    pub number: String,
    /// Year of Data.
    pub year: i32,
    /// True for the class of credit notes.
    pub is_credit: bool,
}

impl InvoiceKey {
    /// The key of one invoice of a file.
    #[must_use]
    pub fn of(file: &InvoiceFile, invoice: &Invoice, table: &Table) -> Self {
        let supplier = file.supplier.vat.as_ref();
        Self {
            supplier: supplier.map_or_else(String::new, |id| format!("{}{}", id.country, id.code)),
            number: invoice.number.clone(),
            year: invoice.date.year(),
            is_credit: table.rule("00409").is_some_and(|rule| rule.is_about(&invoice.kind)),
        }
    }
}

/// Judges the content of a file received on a day.
#[must_use]
pub fn judge(
    file: &InvoiceFile,
    received: Date,
    table: &Table,
    register: &dyn Register,
) -> Vec<Finding> {
    let mut findings = Findings::new(table);
    parties::judge(file, &mut findings);
    for (place, invoice) in file.bodies.iter().enumerate() {
        let body = Body { file, invoice, place };
        document::judge(&body, received, &mut findings);
        rates::judge(&body, &mut findings);
        totals::judge(&body, &mut findings);
        notes::judge(&body, &mut findings);
    }
    document::twins(file, &mut findings, register);
    findings.list
}

/// One invoice of a file, with its place for paths.
struct Body<'f> {
    file: &'f InvoiceFile,
    invoice: &'f Invoice,
    place: usize,
}

impl Body<'_> {
    fn path(&self, rest: &str) -> String {
        if self.file.bodies.len() > 1 {
            format!("{}/FatturaElettronicaBody[{}]/{rest}", root(self.file), self.place + 1)
        } else {
            format!("{}/FatturaElettronicaBody/{rest}", root(self.file))
        }
    }

    fn document(&self, rest: &str) -> String {
        self.path(&format!("DatiGenerali/DatiGeneraliDocumento/{rest}"))
    }

    fn line(&self, place: usize, rest: &str) -> String {
        if self.is_simplified() {
            self.path(&format!("DatiBeniServizi[{}]/{rest}", place + 1))
        } else {
            self.path(&format!("DatiBeniServizi/DettaglioLinee[{}]/{rest}", place + 1))
        }
    }

    fn vat_row(&self, place: usize, rest: &str) -> String {
        self.path(&format!("DatiBeniServizi/DatiRiepilogo[{}]/{rest}", place + 1))
    }

    fn fund(&self, place: usize, rest: &str) -> String {
        self.document(&format!("DatiCassaPrevidenziale[{}]/{rest}", place + 1))
    }

    fn is_simplified(&self) -> bool {
        self.file.format == crate::invoice::Format::FSM10
    }
}

fn root(file: &InvoiceFile) -> &'static str {
    if file.format == crate::invoice::Format::FSM10 {
        "/FatturaElettronicaSemplificata"
    } else {
        "/FatturaElettronica"
    }
}

fn header(file: &InvoiceFile, rest: &str) -> String {
    format!("{}/FatturaElettronicaHeader/{rest}", root(file))
}

/// Findings as they are made, with the table that words them.
pub(crate) struct Findings<'t> {
    pub(crate) table: &'t Table,
    pub(crate) list: Vec<Finding>,
    /// How many were told of each code.
    told: Vec<(String, usize)>,
}

impl<'t> Findings<'t> {
    pub(crate) const fn new(table: &'t Table) -> Self {
        Self { table, list: Vec::new(), told: Vec::new() }
    }

    fn rule(&self, code: &str) -> Option<&'t Rule> {
        self.table.rule(code)
    }

    /// Adds a finding worded by the table, with what this file says after it.
    pub(crate) fn add(
        &mut self,
        code: &str,
        path: String,
        detail: &str,
        found: Option<String>,
        expected: Option<String>,
    ) {
        let Some(rule) = self.table.rule(code) else { return };
        match self.told.iter_mut().find(|(own, _)| own == code) {
            Some((_, count)) if *count >= limits::FINDINGS_PER_CODE_MAX => return,
            Some((_, count)) => *count += 1,
            None => self.told.push((rule.code.clone(), 1)),
        }
        let sentence = if detail.is_empty() {
            rule.sentence.clone()
        } else {
            format!("{} {detail}", rule.sentence)
        };
        let code = Some(rule.code.clone());
        let fix = rule.fix.clone();
        self.list.push(Finding { code, sentence, path, found, expected, fix });
    }

    /// Adds advice that rejects nothing.
    pub(crate) fn advise(&mut self, path: String, sentence: String, fix: &str) {
        let (found, expected) = (None, None);
        self.list.push(Finding {
            code: None,
            sentence,
            path,
            found,
            expected,
            fix: fix.to_owned(),
        });
    }
}
