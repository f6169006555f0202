//! From PostgreSQL's SQL to SQLite's: names resolved, types worked out, so that a result can be
//! described before it is run and decimals stay exact.
//!
//! SQLite has no types to speak of; this room has them. Each expression becomes SQL text and a
//! [`Ty`]; where PostgreSQL's operator means something else than SQLite's (a sum of decimals, a
//! date and an interval, where nulls sort), a function or collation of ours stands in the text.
//! Clients' names are only ever looked up and then quoted, their texts only ever quoted: no byte
//! of theirs is read by SQLite as SQL. What is not known is an error, never passed on.

use std::collections::BTreeMap;

use sqlparser::ast::Query;

use crate::{
    error::{SqlError, code},
    ty::Ty,
};

mod aggregate;
mod call;
mod cast;
mod expression;
mod from;
mod name;
mod operator;
mod query;
mod select;
mod server;

/// Deepest nesting of a statement: SQLite stops at 1000 of its own levels, and ours have several.
const DEPTH_MAX: usize = 100;
/// Longest SQL made of one statement.
const SQL_BYTES_MAX: usize = 1024 * 1024;
/// Functions whose answer is not a matter of a shelf's rows alone.
const MOMENTARY: &[&str] = &["session_name(", "status(", "original(", "attachment(", "unixepoch("];

/// A statement ready for SQLite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translated {
    /// Its SQL.
    pub sql: String,
    /// What it returns.
    pub columns: Vec<Output>,
    /// The types of its parameters.
    pub parameters: Vec<Ty>,
    /// Whether it sums up rows, and asks nothing but rows: work for more than a moment, an answer
    /// that is short, and the same for whoever asks it of the same state.
    pub sums: bool,
}

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Ty,
    /// Number of the table and place of the column it is, or zeros.
    pub origin: (u32, i16),
    /// Its name in the SQL made, unique in its query.
    label: String,
    nullable: bool,
}

impl Output {
    /// A text of this name, of no table.
    #[must_use]
    pub fn text(name: &str) -> Self {
        let (name, label) = (name.to_owned(), name.to_owned());
        Self { name, ty: Ty::Text, origin: (0, 0), label, nullable: true }
    }
}

/// Translates a query whose parameters have the types given (as far as the client said).
///
/// # Errors
/// [`SqlError`]: what is not there, does not fit, or is not built.
pub fn translate(query: &Query, parameters: &[Option<Ty>]) -> Result<Translated, SqlError> {
    let mut maker = Maker {
        parameters: parameters.to_vec(),
        ctes: Vec::new(),
        depth: 0,
        names: 0,
        sums: false,
    };
    let made = maker.query(query, None)?;
    if made.sql.len() > SQL_BYTES_MAX {
        return Err(SqlError::new(code::TOO_COMPLEX, "the statement is too complex"));
    }
    let mut columns = made.columns;
    for column in &mut columns {
        if column.ty == Ty::Unknown {
            column.ty = Ty::Text;
        }
    }
    let parameters = maker.parameters.iter().map(|ty| ty.unwrap_or(Ty::Text)).collect();
    let sums = maker.sums && !MOMENTARY.iter().any(|call| made.sql.contains(call));
    Ok(Translated { sql: made.sql, columns, parameters, sums })
}

/// A query made.
struct Made {
    sql: String,
    columns: Vec<Output>,
}

/// The work on one statement.
struct Maker {
    parameters: Vec<Option<Ty>>,
    /// Queries named by WITH, the innermost last.
    ctes: Vec<(String, Vec<Output>)>,
    depth: usize,
    /// Names made up so far.
    names: usize,
    /// Whether there is an aggregate or a GROUP BY somewhere.
    sums: bool,
}

/// An expression made.
#[derive(Clone, Debug)]
struct Made1 {
    sql: String,
    ty: Ty,
    /// The text of a literal whose type is not known yet.
    literal: Option<String>,
    /// The number of a parameter.
    parameter: Option<usize>,
    /// Of a moment that is always midnight: the SQL of its day.
    day: Option<String>,
    nullable: bool,
    origin: (u32, i16),
}

impl Made1 {
    fn new(sql: impl Into<String>, ty: Ty) -> Self {
        Self {
            sql: sql.into(),
            ty,
            literal: None,
            parameter: None,
            day: None,
            nullable: true,
            origin: (0, 0),
        }
    }

    /// The midnight with which a day begins.
    fn midnight(day: &str, ty: Ty) -> Self {
        Self { day: Some(day.to_owned()), ..Self::new(format!("({day} * 86400000000)"), ty) }
    }

    fn is_null(&self) -> bool {
        self.ty == Ty::Unknown && self.sql == "NULL"
    }

    /// The SQL where an order matters: decimals are texts, and need theirs.
    fn ordered(&self) -> String {
        if self.ty == Ty::Numeric { format!("{} COLLATE NUM", self.sql) } else { self.sql.clone() }
    }

    /// The SQL where only equality matters.
    fn grouped(&self) -> String {
        if self.ty == Ty::Numeric { format!("n_key({})", self.sql) } else { self.sql.clone() }
    }
}

/// What names mean at one place of a query.
struct Scope<'a> {
    relations: Vec<Named>,
    /// Columns joined by USING: a name alone means either.
    shared: Vec<String>,
    /// Functions in the select list that give several rows: FROM items to add.
    unfolded: Vec<String>,
    windows: BTreeMap<String, String>,
    outer: Option<&'a Scope<'a>>,
}

impl<'a> Scope<'a> {
    fn inside(outer: Option<&'a Scope<'a>>) -> Self {
        Self {
            relations: Vec::new(),
            shared: Vec::new(),
            unfolded: Vec::new(),
            windows: BTreeMap::new(),
            outer,
        }
    }
}

/// A relation under the name a query gives it.
#[derive(Clone, Debug)]
struct Named {
    alias: String,
    schema: Option<&'static str>,
    columns: Vec<Field>,
    oid: u32,
}

/// A column of a relation.
#[derive(Clone, Debug)]
struct Field {
    name: String,
    sql: String,
    ty: Ty,
    nullable: bool,
    origin: (u32, i16),
}

impl Maker {
    fn deeper<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        if self.depth >= DEPTH_MAX {
            return Err(SqlError::new(code::TOO_COMPLEX, "the statement nests too deeply"));
        }
        self.depth += 1;
        let done = work(self);
        self.depth -= 1;
        done
    }

    fn name(&mut self, base: &str) -> String {
        self.names += 1;
        format!("_{base}{}", self.names)
    }
}

/// A name as PostgreSQL reads it: folded to small letters unless quoted.
fn folded(ident: &sqlparser::ast::Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

fn parts(name: &sqlparser::ast::ObjectName) -> Vec<String> {
    name.0.iter().filter_map(|part| part.as_ident()).map(folded).collect()
}

/// A name in SQLite's quotes.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in SQLite's quotes.
fn literal(text: &str) -> String {
    if text.contains('\0') {
        // SQLite ends its statements there.
        return format!("CAST(x'{}' AS TEXT)", hex(text.as_bytes()));
    }
    format!("'{}'", text.replace('\'', "''"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
