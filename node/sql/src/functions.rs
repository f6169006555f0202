//! What SQLite lacks: exact decimals, dates, moments, patterns and the catalogue's functions. The
//! translator calls these by the names given here; clients cannot.
//!
//! All are strict (null in, null out) unless they say otherwise, and pure unless they ask
//! [`Outside`]. Errors carry PostgreSQL's codes through SQLite (see [`crate::error`]).

use std::sync::Arc;

use regex_lite::RegexBuilder;
use rusqlite::{
    Connection, Result,
    functions::{Context, FunctionFlags},
    types::{Value, ValueRef},
};
use rust_decimal::Decimal;

use crate::{
    clock,
    error::{SqlError, code},
    reader::Outside,
    ty::{Ty, array::elements, numeric},
};

mod decimals;
mod format;
mod text;

const PURE: FunctionFlags = FunctionFlags::SQLITE_UTF8.union(FunctionFlags::SQLITE_DETERMINISTIC);
/// Longest pattern of a regular expression, and the memory one may take.
const PATTERN_BYTES_MAX: usize = 1000;
const PATTERN_MEMORY_BYTES: usize = 256 * 1024;

/// The order of decimals, which are texts: `NUM`.
///
/// # Errors
/// None in practice.
pub fn collations(db: &Connection) -> Result<()> {
    db.create_collation("NUM", numeric::compare)
}

/// Makes every function known to `db`.
///
/// # Errors
/// None in practice.
pub fn register(
    db: &Connection,
    user: &str,
    database: &str,
    outside: Arc<dyn Outside>,
) -> Result<()> {
    decimals::register(db)?;
    text::register(db)?;
    format::register(db)?;
    times(db)?;
    casts(db)?;
    let user = user.to_owned();
    db.create_scalar_function("session_name", 0, FunctionFlags::SQLITE_UTF8, move |_| {
        Ok(user.clone())
    })?;
    let database = database.to_owned();
    db.create_scalar_function("database_name", 0, FunctionFlags::SQLITE_UTF8, move |_| {
        Ok(database.clone())
    })?;
    let files = Arc::clone(&outside);
    db.create_scalar_function("original", 2, FunctionFlags::SQLITE_UTF8, move |context| {
        let (document, hash) = (text_of(context, 0), text_of(context, 1));
        Ok(if hash.is_empty() { None } else { files.original(&document, &hash) })
    })?;
    let files = Arc::clone(&outside);
    db.create_scalar_function("attachment", 3, FunctionFlags::SQLITE_UTF8, move |context| {
        let ValueRef::Blob(original) = context.get_raw(0) else { return Ok(None) };
        let place = |n| usize::try_from(context.get::<i64>(n).unwrap_or(0)).unwrap_or(0);
        Ok(files.attachment(original, place(1), place(2)))
    })?;
    db.create_scalar_function("status", 1, FunctionFlags::SQLITE_UTF8, move |context| {
        let status = outside.status();
        Ok(match context.get_raw(0) {
            ValueRef::Text(b"vat") => Value::Text(status.vat),
            ValueRef::Text(b"as_of") => status.as_of.map_or(Value::Null, Value::Integer),
            ValueRef::Text(b"connected") => Value::Integer(i64::from(status.connected)),
            ValueRef::Text(b"pending") => Value::Integer(status.pending),
            _ => Value::Integer(i64::try_from(status.feed).unwrap_or(i64::MAX)),
        })
    })
}

/// A strict, pure function.
fn strict(
    db: &Connection,
    name: &str,
    arguments: i32,
    call: impl Fn(&Context<'_>) -> std::result::Result<Value, SqlError> + Send + 'static,
) -> Result<()> {
    db.create_scalar_function(name, arguments, PURE, move |context| {
        if (0..context.len()).any(|n| context.get_raw(n) == ValueRef::Null) {
            return Ok(Value::Null);
        }
        call(context).map_err(SqlError::raise)
    })
}

fn data(message: impl Into<String>) -> SqlError {
    SqlError::new(code::DATA, message)
}

fn text_of<'a>(context: &'a Context<'_>, n: usize) -> std::borrow::Cow<'a, str> {
    match context.get_raw(n) {
        ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8_lossy(text),
        ValueRef::Integer(n) => n.to_string().into(),
        ValueRef::Real(n) => n.to_string().into(),
        ValueRef::Null => "".into(),
    }
}

fn int_of(context: &Context<'_>, n: usize) -> std::result::Result<i64, SqlError> {
    match context.get_raw(n) {
        ValueRef::Integer(n) => Ok(n),
        ValueRef::Real(n) => Ok(n.round() as i64),
        _ => {
            let text = text_of(context, n);
            let whole = numeric::parse(&text).map(|n| n.round());
            whole.and_then(|n| n.try_into().ok()).ok_or_else(|| {
                SqlError::new(
                    code::INVALID_TEXT,
                    format!("invalid input for type bigint: \"{text}\""),
                )
            })
        }
    }
}

fn number_of(value: ValueRef<'_>) -> std::result::Result<Decimal, SqlError> {
    let found = match value {
        ValueRef::Integer(n) => Some(Decimal::from(n)),
        ValueRef::Real(n) => Decimal::try_from(n).ok(),
        ValueRef::Text(text) => std::str::from_utf8(text).ok().and_then(numeric::parse),
        _ => None,
    };
    found.ok_or_else(|| SqlError::new(code::INVALID_TEXT, "invalid input for type numeric"))
}

fn times(db: &Connection) -> Result<()> {
    let field = |what: &str, unit: &str| {
        SqlError::new(code::INVALID_PARAMETER, format!("unit \"{unit}\" not recognized for {what}"))
    };
    strict(db, "d_trunc", 2, move |context| {
        let (unit, at) = (text_of(context, 0), int_of(context, 1)?);
        let found = clock::trunc(&unit, at);
        let found = found.or_else(|| clock::trunc(&unit.to_ascii_lowercase(), at));
        found.map(Value::Integer).ok_or_else(|| field("date_trunc", &unit))
    })?;
    // Of days alone: no time of the day to cut off and put back.
    strict(db, "day_trunc", 2, move |context| {
        let (unit, day) = (text_of(context, 0), int_of(context, 1)?);
        let found = clock::trunc_day(&unit, day);
        found.map(Value::Integer).ok_or_else(|| field("date_trunc", &unit))
    })?;
    strict(db, "d_part", 2, move |context| {
        let unit = text_of(context, 0).to_ascii_lowercase();
        let found =
            clock::extract(&unit, int_of(context, 1)?).ok_or_else(|| field("extract", &unit))?;
        Ok(Value::Text(if matches!(&*unit, "second" | "epoch") {
            Decimal::new(found, 6).to_string()
        } else {
            (found / 1_000_000).to_string()
        }))
    })?;
    strict(db, "ts_add", 3, |context| {
        let interval = text_of(context, 1);
        let parts = clock::interval_parts(&interval).ok_or_else(|| data("invalid interval"))?;
        clock::add(int_of(context, 0)?, parts, int_of(context, 2)?)
            .map(Value::Integer)
            .ok_or_else(|| SqlError::new(code::OUT_OF_RANGE, "timestamp out of range"))
    })?;
    strict(db, "ts_between", 2, |context| {
        let micros = int_of(context, 0)? - int_of(context, 1)?;
        Ok(Value::Text(format!("0 {} {}", micros / clock::DAY, micros % clock::DAY)))
    })?;
    strict(db, "day_of", 1, |context| {
        Ok(Value::Integer(int_of(context, 0)?.div_euclid(clock::DAY)))
    })?;
    strict(db, "make_day", 3, |context| {
        let (y, m, d) = (int_of(context, 0)?, int_of(context, 1)?, int_of(context, 2)?);
        clock::parse_date(&format!("{y:04}-{m:02}-{d:02}"))
            .map(Value::Integer)
            .ok_or_else(|| SqlError::new(code::OUT_OF_RANGE, "date field value out of range"))
    })
}

fn casts(db: &Connection) -> Result<()> {
    // cast_to(type, text): as a literal of that type is read.
    strict(db, "cast_to", 2, |context| {
        let name = text_of(context, 0);
        let ty = Ty::ALL.iter().find(|row| row.3 == name).map_or(Ty::Text, |row| row.0);
        let text = text_of(context, 1);
        if ty.is_int() {
            return ty.parse(&int_of(context, 1)?.to_string());
        }
        ty.parse(&text)
    })?;
    // to_text(type, value): as the wire would show it.
    strict(db, "to_text", 2, |context| {
        let name = text_of(context, 0);
        let ty = Ty::ALL.iter().find(|row| row.3 == name).map_or(Ty::Text, |row| row.0);
        if ty == Ty::Bool {
            let truth = context.get_raw(1) != ValueRef::Integer(0);
            return Ok(Value::Text(if truth { "true" } else { "false" }.to_owned()));
        }
        let mut out = Vec::new();
        ty.write_text(context.get_raw(1), &mut out);
        Ok(Value::Text(String::from_utf8_lossy(&out).into_owned()))
    })?;
    strict(db, "re_match", 3, |context| {
        let pattern = text_of(context, 1);
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(SqlError::new(code::LIMIT, "the pattern is too long"));
        }
        let regex = RegexBuilder::new(&pattern)
            .case_insensitive(int_of(context, 2)? != 0)
            .size_limit(PATTERN_MEMORY_BYTES)
            .build()
            .map_err(|error| data(format!("invalid regular expression: {error}")))?;
        Ok(Value::Integer(i64::from(regex.is_match(&text_of(context, 0)))))
    })?;
    strict(db, "arr_has", 2, |context| {
        let wanted = text_of(context, 1);
        let array = text_of(context, 0);
        let has = elements(&array).iter().any(|element| element.as_deref() == Some(&*wanted));
        Ok(Value::Integer(i64::from(has)))
    })?;
    strict(db, "arr_get", 2, |context| {
        let place = usize::try_from(int_of(context, 1)?).unwrap_or(0);
        let array = text_of(context, 0);
        let element = place.checked_sub(1).and_then(|n| elements(&array).get(n).cloned());
        Ok(element.flatten().map_or(Value::Null, Value::Text))
    })?;
    // int2vector counts from 0.
    strict(db, "vec_get", 2, |context| {
        let place = usize::try_from(int_of(context, 1)?).ok();
        let vector = text_of(context, 0);
        let element = place.and_then(|n| vector.split_whitespace().nth(n));
        Ok(element.and_then(|n| n.parse().ok()).map_or(Value::Null, Value::Integer))
    })?;
    strict(db, "vec_json", 1, |context| {
        let vector = text_of(context, 0);
        let parts: Vec<_> = vector.split_whitespace().collect();
        Ok(Value::Text(format!("[{}]", parts.join(","))))
    })?;
    strict(db, "arr_len", 1, |context| {
        let array = text_of(context, 0);
        let count = elements(&array).len();
        Ok(if count == 0 { Value::Null } else { Value::Integer(i64::try_from(count).unwrap_or(0)) })
    })?;
    strict(db, "arr_join", 2, |context| {
        let array = text_of(context, 0);
        let elements: Vec<_> = elements(&array).into_iter().flatten().collect();
        Ok(Value::Text(elements.join(&text_of(context, 1))))
    })?;
    // For json_each, which is how SQLite unfolds a list.
    strict(db, "arr_json", 1, |context| {
        let array = text_of(context, 0);
        let quoted = |text: &String| {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"");
            let text: String = text.chars().filter(|c| !c.is_control()).collect();
            format!("\"{text}\"")
        };
        let elements: Vec<_> = elements(&array)
            .iter()
            .map(|element| element.as_ref().map_or("null".to_owned(), quoted))
            .collect();
        Ok(Value::Text(format!("[{}]", elements.join(","))))
    })?;
    strict(db, "arr_quote", 1, |context| {
        let text = text_of(context, 0);
        Ok(Value::Text(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))))
    })?;
    strict(db, "format_type", 1, |context| {
        let oid = u32::try_from(int_of(context, 0)?).unwrap_or(0);
        let known = Ty::ALL.iter().find(|row| row.1 == oid).map_or("???", |row| row.3);
        Ok(Value::Text(known.to_owned()))
    })?;
    strict(db, "raise", 2, |context| {
        Err(match &*text_of(context, 0) {
            "21000" => SqlError::new(code::DATA, text_of(context, 1)),
            _ => data(text_of(context, 1)),
        })
    })
}
