//! The table of SdI codes: which are checked, with what tolerance, since when, for which documents, and
//! the sentence a bookkeeper reads. Data, so that a new list of checks needs no release.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use rust_decimal::Decimal;

use crate::date::Date;

/// All codes.
#[derive(Clone, Debug)]
pub struct Table {
    rules: BTreeMap<String, Rule>,
}

/// One code of the "Elenco controlli" as RULES.md section 2 reports it.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Five digits.
    pub code: String,
    /// Stage at which the SdI checks it: a stage that fails ends the run.
    pub stage: u8,
    /// `off` decided from the file, `state` from our register, `reg` only by the SdI, `no` switched off.
    pub decided: String,
    /// Tolerance or bound.
    pub limit: Option<Decimal>,
    /// First day it holds for.
    pub since: Option<Date>,
    /// Documents or codes it is about.
    pub kinds: Vec<String>,
    /// Italian sentence.
    pub sentence: String,
    /// Italian advice.
    pub fix: String,
    /// The condition in English.
    pub english: String,
}

impl Rule {
    /// True when this document type, regime or code is among those of the rule.
    #[must_use]
    pub fn is_about(&self, kind: &str) -> bool {
        self.kinds.iter().any(|own| own == kind)
    }

    /// The tolerance; zero when the table gives none.
    #[must_use]
    pub fn tolerance(&self) -> Decimal {
        self.limit.unwrap_or_default()
    }

    /// True for a document of this date.
    #[must_use]
    pub fn holds_on(&self, date: Date) -> bool {
        self.since.is_none_or(|since| date >= since)
    }
}

/// Why a table cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("row {row} of the table of codes has a wrong {column}; compare it with the embedded table")]
pub struct TableError {
    row: usize,
    column: &'static str,
}

/// The table as shipped.
pub const EMBEDDED: &str = include_str!("../../rules/codes.tsv");

static TABLE: LazyLock<Table> =
    LazyLock::new(|| Table::parse(EMBEDDED).expect("the embedded table parses, as a test shows"));

impl Table {
    /// The table as shipped.
    #[must_use]
    pub fn embedded() -> &'static Self {
        &TABLE
    }

    /// Parses a table of tab-separated values with the columns of [`EMBEDDED`].
    ///
    /// # Errors
    /// [`TableError`] names the row and the column.
    pub fn parse(text: &str) -> Result<Self, TableError> {
        let mut rules = BTreeMap::new();
        for (row, line) in text.lines().enumerate().skip(1).filter(|(_, line)| !line.is_empty()) {
            let wrong = |column| TableError { row: row + 1, column };
            let cells: Vec<&str> = line.split('\t').collect();
            let &[code, stage, decided, limit, since, kinds, sentence, fix, english] = &cells[..]
            else {
                return Err(wrong("number of columns"));
            };
            let optional = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            let limit = optional(limit).map(|text| Decimal::from_str_exact(&text));
            let since = optional(since).map(|text| Date::parse(&text).ok_or(wrong("since")));
            if !matches!(decided, "off" | "state" | "reg" | "no") {
                return Err(wrong("decided"));
            }
            let rule = Rule {
                code: code.to_owned(),
                stage: stage.parse().map_err(|_| wrong("stage"))?,
                decided: decided.to_owned(),
                limit: limit.transpose().map_err(|_| wrong("limit"))?,
                since: since.transpose()?,
                kinds: kinds.split(' ').filter(|k| !k.is_empty()).map(str::to_owned).collect(),
                sentence: sentence.to_owned(),
                fix: fix.to_owned(),
                english: english.to_owned(),
            };
            rules.insert(code.to_owned(), rule);
        }
        Ok(Self { rules })
    }

    /// The rule of a code, if it is in the table and switched on.
    #[must_use]
    pub fn rule(&self, code: &str) -> Option<&Rule> {
        self.rules.get(code).filter(|rule| rule.decided != "no")
    }

    /// All rules in the order of their codes.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_table_parses_and_a_code_can_be_switched_off() {
        assert!(Table::embedded().rules().count() > 60);
        let off = EMBEDDED.replace("00425\t5\toff", "00425\t5\tno");
        assert!(Table::parse(&off).unwrap().rule("00425").is_none());
        assert!(Table::parse(&EMBEDDED.replace("\toff\t", "\tofff\t")).is_err());
    }
}
