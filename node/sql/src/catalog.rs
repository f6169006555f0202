//! The catalogue: what `pg_catalog` and `information_schema` say, which is how drivers and tools
//! find out which tables there are. It follows from [`crate::table`], is the same for every
//! tenant, and stands in the shelf as ordinary tables, so that any query over it works.
//!
//! Relations that would be empty here are there and empty; columns that no tool was seen to ask
//! for are left out.

use std::{fmt::Write as _, sync::OnceLock};

use rusqlite::Connection;

use crate::{
    table::{TABLES, Table},
    ty::Ty,
};

mod relation;

use relation::{INFORMATION, PG};

/// What `public` has for a number.
pub const PUBLIC: u32 = 2200;
const PG_CATALOG: u32 = 11;
const INFORMATION_SCHEMA: u32 = 13_000;
/// The number of the first table; the next have the next, and their keys' indexes follow.
const FIRST_TABLE: u32 = 16_384;
const FIRST_INDEX: u32 = 16_500;
const FIRST_SYSTEM: u32 = 12_000;
const OWNER: u32 = 10;

/// A relation of the catalogue.
#[derive(Debug)]
pub struct Relation {
    /// `pg_catalog` or `information_schema`.
    pub schema: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its columns.
    pub columns: Vec<(&'static str, Ty)>,
    /// How its rows are worked out, where they are not stored.
    pub select: Option<&'static str>,
}

impl Relation {
    /// Its name in SQLite.
    #[must_use]
    pub fn stored_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }
}

/// Every relation of the catalogue.
pub fn relations() -> &'static [Relation] {
    static ALL: OnceLock<Vec<Relation>> = OnceLock::new();
    ALL.get_or_init(|| {
        let of = |schema, rows: &'static [(&str, &str, &str)]| {
            rows.iter().map(move |(name, columns, select)| Relation {
                schema,
                name,
                columns: columns.split(' ').filter_map(column).collect(),
                select: (!select.is_empty()).then_some(*select),
            })
        };
        of("pg_catalog", PG).chain(of("information_schema", INFORMATION)).collect()
    })
}

fn column(text: &'static str) -> Option<(&'static str, Ty)> {
    let (name, ty) = text.split_once(':')?;
    let ty = Ty::ALL.iter().find(|row| row.2 == ty).map(|row| row.0)?;
    Some((name, ty))
}

/// The relation that a query means by `schema.name` or `name`.
pub fn find(schema: Option<&str>, name: &str) -> Option<&'static Relation> {
    relations()
        .iter()
        .find(|relation| relation.name == name && relation.schema == schema.unwrap_or("pg_catalog"))
}

/// The number of a table.
#[must_use]
pub fn oid_of(name: &str) -> Option<u32> {
    let place = TABLES.iter().position(|table| table.name == name);
    if let Some(place) = place.and_then(|place| u32::try_from(place).ok()) {
        return Some(FIRST_TABLE + place);
    }
    let place = relations().iter().position(|relation| relation.name == name)?;
    Some(FIRST_SYSTEM + u32::try_from(place).ok()?)
}

/// The SQL that makes the catalogue's tables.
#[must_use]
pub fn schema() -> String {
    let mut sql = String::new();
    for relation in relations().iter().filter(|relation| relation.select.is_none()) {
        let columns: Vec<_> = relation
            .columns
            .iter()
            .map(|(name, ty)| format!("\"{name}\" {}", ty.declared()))
            .collect();
        let _ =
            writeln!(sql, "CREATE TABLE \"{}\" ({});", relation.stored_name(), columns.join(", "));
    }
    sql
}

/// Writes the catalogue's rows.
///
/// # Errors
/// What SQLite says.
pub fn fill(db: &Connection) -> rusqlite::Result<()> {
    let mut sql = String::from("BEGIN;\n");
    for (oid, name) in
        [(PG_CATALOG, "pg_catalog"), (PUBLIC, "public"), (INFORMATION_SCHEMA, "information_schema")]
    {
        row(&mut sql, "pg_namespace", &format!("{oid}, '{name}', {OWNER}, NULL"));
    }
    for (ty, oid, name, _, length) in Ty::ALL {
        let (category, array) = match ty {
            Ty::Bool => ("B", 0),
            Ty::Date | Ty::Timestamp | Ty::Timestamptz => ("D", 0),
            Ty::Interval => ("T", 0),
            Ty::Text => ("S", Ty::TextArray.oid()),
            Ty::Oid => ("N", Ty::OidArray.oid()),
            Ty::Int2 => ("N", Ty::Int2Array.oid()),
            Ty::Char => ("Z", Ty::CharArray.oid()),
            Ty::Name | Ty::Varchar => ("S", 0),
            ty if ty.is_number() => ("N", 0),
            ty if ty.is_array() => ("A", 0),
            Ty::Unknown => ("X", 0),
            Ty::Void => ("P", 0),
            _ => ("U", 0),
        };
        let kind = if ty == Ty::Void || ty == Ty::Unknown { "p" } else { "b" };
        let element = if ty.is_array() { ty.element().oid() } else { 0 };
        let input = if ty.is_array() { "array_in".to_owned() } else { format!("{name}in") };
        let collation = if ty.is_text() { 100 } else { 0 };
        let byval = i32::from((1..=8).contains(&length));
        row(
            &mut sql,
            "pg_type",
            &format!(
                "{oid}, '{name}', {PG_CATALOG}, {OWNER}, {length}, {byval}, '{kind}', '{category}', 0, 1, ',', 0, {element}, {array}, '{input}', '{name}out', '{name}recv', '{name}send', 'i', 'p', 0, 0, -1, 0, {collation}, NULL, NULL"
            ),
        );
    }
    for (place, table) in (0_u32..).zip(TABLES) {
        let columns: Vec<_> =
            table.columns.iter().map(|column| (column.name, column.ty, !column.nullable)).collect();
        class(&mut sql, FIRST_TABLE + place, table.name, PUBLIC, "r", &columns);
        describe(&mut sql, FIRST_TABLE + place, 0, table.about);
        for (number, column) in (1_i32..).zip(table.columns) {
            describe(&mut sql, FIRST_TABLE + place, number, column.about);
        }
        key(&mut sql, place, table);
    }
    for (place, relation) in (0_u32..).zip(relations()) {
        let namespace =
            if relation.schema == "pg_catalog" { PG_CATALOG } else { INFORMATION_SCHEMA };
        let kind = if relation.select.is_some() { "v" } else { "r" };
        let columns: Vec<_> =
            relation.columns.iter().map(|(name, ty)| (*name, *ty, false)).collect();
        class(&mut sql, FIRST_SYSTEM + place, relation.name, namespace, kind, &columns);
    }
    sql += "CREATE INDEX _attribute ON \"pg_catalog.pg_attribute\" (attrelid, attnum); COMMIT;";
    db.execute_batch(&sql)
}

fn row(sql: &mut String, relation: &str, values: &str) {
    let _ = writeln!(sql, "INSERT INTO \"pg_catalog.{relation}\" VALUES ({values});");
}

fn class(
    sql: &mut String,
    oid: u32,
    name: &str,
    namespace: u32,
    kind: &str,
    columns: &[(&str, Ty, bool)],
) {
    let (count, indexed) = (columns.len(), i32::from(kind == "r" && namespace == PUBLIC));
    let method = match kind {
        "i" => 403,
        "r" => 2,
        _ => 0,
    };
    row(
        sql,
        "pg_class",
        &format!(
            "{oid}, '{name}', {namespace}, 0, 0, {OWNER}, {method}, {oid}, 0, 0, -1, 0, 0, {indexed}, 0, 'p', '{kind}', {count}, 0, 0, 0, 0, 0, 0, 1, 'd', 0, 0, NULL, NULL, NULL"
        ),
    );
    for (number, (name, ty, not_null)) in (1_i32..).zip(columns) {
        let collation = if ty.is_text() { 100 } else { 0 };
        let byval = i32::from((1..=8).contains(&ty.width()));
        row(
            sql,
            "pg_attribute",
            &format!(
                "{oid}, '{name}', {}, -1, {}, {number}, 0, -1, -1, {byval}, 'i', 'p', '', {}, 0, 0, '', '', 0, 1, 0, {collation}, NULL, NULL, NULL",
                ty.oid(),
                ty.width(),
                i32::from(*not_null)
            ),
        );
    }
}

fn describe(sql: &mut String, oid: u32, number: i32, about: &str) {
    row(sql, "pg_description", &format!("{oid}, 1259, {number}, '{}'", about.replace('\'', "''")));
}

fn key(sql: &mut String, place: u32, table: &Table) {
    let (oid, index) = (FIRST_TABLE + place, FIRST_INDEX + place);
    let name = format!("{}_pkey", table.name);
    let found = |key: &str| table.columns.iter().position(|column| column.name == key);
    let places: Vec<_> = table.key.iter().filter_map(|key| found(key)).collect();
    let columns: Vec<_> = places
        .iter()
        .map(|place| (table.columns[*place].name, table.columns[*place].ty, false))
        .collect();
    class(sql, index, &name, PUBLIC, "i", &columns);
    let numbers: Vec<_> = places.iter().map(|place| (place + 1).to_string()).collect();
    let (count, vector) = (numbers.len(), numbers.join(" "));
    let zeros = vec!["0"; count].join(" ");
    row(
        sql,
        "pg_index",
        &format!(
            "{index}, {oid}, {count}, {count}, 1, 0, 1, 0, 1, 0, 1, 0, 1, 1, 0, '{vector}', '{zeros}', '{zeros}', '{zeros}', NULL, NULL"
        ),
    );
    row(
        sql,
        "pg_constraint",
        &format!(
            "{}, '{name}', {PUBLIC}, 'p', 0, 0, 1, {oid}, 0, {index}, 0, 0, ' ', ' ', ' ', 1, 0, 1, '{{{}}}', NULL, NULL",
            index + 1000,
            numbers.join(",")
        ),
    );
}
