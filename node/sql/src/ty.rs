//! The types a client meets, how a value of each lies in SQLite, and how it goes over the wire.
//!
//! | type | in SQLite |
//! | --- | --- |
//! | bool, int2, int4, int8, oid | INTEGER |
//! | numeric | TEXT, its decimal digits, compared by the collation `NUM`: exact |
//! | float8 | REAL |
//! | text and its kin, arrays (`{a,b}`) | TEXT, compared byte by byte (collation `C`) |
//! | bytea | BLOB |
//! | date | INTEGER, days since 1970 |
//! | timestamp, timestamptz | INTEGER, microseconds since 1970, UTC |
//! | interval | TEXT, `months days microseconds` |
//!
//! Nothing here knows of SQL text or of a connection.

use rusqlite::types::{Value, ValueRef};

use crate::{
    clock,
    error::{SqlError, code},
};

pub(crate) mod array;
pub(crate) mod numeric;

use numeric::Small;

/// A type of PostgreSQL.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ty {
    Bool,
    Bytea,
    /// `"char"`, one byte.
    Char,
    Name,
    Int8,
    Int2,
    Int4,
    Text,
    Oid,
    Float8,
    /// A literal or parameter of which nothing is known yet.
    Unknown,
    Varchar,
    Date,
    Timestamp,
    Timestamptz,
    Interval,
    Numeric,
    Regclass,
    Regtype,
    TextArray,
    Int2Vector,
    Int2Array,
    OidArray,
    CharArray,
    Void,
}

impl Ty {
    /// Every type with its number in `pg_type`, its name there, the name SQL gives it, and its
    /// length in bytes (-1: it varies).
    pub const ALL: [(Self, u32, &'static str, &'static str, i16); 25] = [
        (Self::Bool, 16, "bool", "boolean", 1),
        (Self::Bytea, 17, "bytea", "bytea", -1),
        (Self::Char, 18, "char", "\"char\"", 1),
        (Self::Name, 19, "name", "name", 64),
        (Self::Int8, 20, "int8", "bigint", 8),
        (Self::Int2, 21, "int2", "smallint", 2),
        (Self::Int4, 23, "int4", "integer", 4),
        (Self::Text, 25, "text", "text", -1),
        (Self::Oid, 26, "oid", "oid", 4),
        (Self::Float8, 701, "float8", "double precision", 8),
        (Self::Unknown, 705, "unknown", "unknown", -2),
        (Self::Varchar, 1043, "varchar", "character varying", -1),
        (Self::Date, 1082, "date", "date", 4),
        (Self::Timestamp, 1114, "timestamp", "timestamp without time zone", 8),
        (Self::Timestamptz, 1184, "timestamptz", "timestamp with time zone", 8),
        (Self::Interval, 1186, "interval", "interval", 16),
        (Self::Numeric, 1700, "numeric", "numeric", -1),
        (Self::Regclass, 2205, "regclass", "regclass", 4),
        (Self::Regtype, 2206, "regtype", "regtype", 4),
        (Self::TextArray, 1009, "_text", "text[]", -1),
        (Self::Int2Vector, 22, "int2vector", "int2vector", -1),
        (Self::Int2Array, 1005, "_int2", "smallint[]", -1),
        (Self::OidArray, 1028, "_oid", "oid[]", -1),
        (Self::CharArray, 1002, "_char", "\"char\"[]", -1),
        (Self::Void, 2278, "void", "void", 4),
    ];

    fn row(self) -> (u32, &'static str, &'static str, i16) {
        let found = Self::ALL.iter().find(|row| row.0 == self);
        found.map_or((25, "text", "text", -1), |row| (row.1, row.2, row.3, row.4))
    }

    /// Its number.
    #[must_use]
    pub fn oid(self) -> u32 {
        self.row().0
    }

    /// Its name in `pg_type`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// What SQL calls it.
    #[must_use]
    pub fn sql_name(self) -> &'static str {
        self.row().2
    }

    /// Its length, -1 when it varies.
    #[must_use]
    pub fn width(self) -> i16 {
        self.row().3
    }

    /// The type of this number. What a driver names and we have not is text.
    #[must_use]
    pub fn of_oid(oid: u32) -> Option<Self> {
        match oid {
            0 => None,
            700 => Some(Self::Float8),
            1042 => Some(Self::Varchar),
            1015 => Some(Self::TextArray),
            _ => Some(Self::ALL.iter().find(|row| row.1 == oid).map_or(Self::Text, |row| row.0)),
        }
    }

    /// Whether arithmetic on it is on whole numbers.
    #[must_use]
    pub fn is_int(self) -> bool {
        matches!(self, Self::Int2 | Self::Int4 | Self::Int8 | Self::Oid)
    }

    /// Whether it is a number.
    #[must_use]
    pub fn is_number(self) -> bool {
        self.is_int() || matches!(self, Self::Numeric | Self::Float8)
    }

    /// Whether it lies in SQLite as text that is compared byte by byte.
    #[must_use]
    pub fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::Varchar | Self::Name | Self::Char | Self::Unknown)
    }

    /// Whether it is an array.
    #[must_use]
    pub fn is_array(self) -> bool {
        matches!(self, Self::TextArray | Self::Int2Array | Self::OidArray | Self::CharArray)
    }

    /// The type of its elements.
    #[must_use]
    pub fn element(self) -> Self {
        match self {
            Self::Int2Array => Self::Int2,
            Self::OidArray => Self::Oid,
            Self::CharArray => Self::Char,
            _ => Self::Text,
        }
    }

    /// How SQLite declares a column of it.
    #[must_use]
    pub fn declared(self) -> &'static str {
        match self {
            Self::Numeric => "TEXT COLLATE NUM",
            Self::Bytea => "BLOB",
            Self::Float8 => "REAL",
            Self::Bool | Self::Int2 | Self::Int4 | Self::Int8 | Self::Oid | Self::Date => "INTEGER",
            Self::Timestamp | Self::Timestamptz => "INTEGER",
            _ => "TEXT",
        }
    }

    /// Reads a value from its text, as a literal or a parameter has it.
    ///
    /// # Errors
    /// [`SqlError`] 22P02 names the text.
    pub fn parse(self, text: &str) -> Result<Value, SqlError> {
        let wrong = || {
            let text: String = text.chars().take(60).collect();
            let what = self.sql_name();
            SqlError::new(code::INVALID_TEXT, format!("invalid input for type {what}: \"{text}\""))
        };
        let trimmed = text.trim();
        Ok(match self {
            Self::Bool => match trimmed.to_ascii_lowercase().as_str() {
                "t" | "true" | "yes" | "y" | "on" | "1" => Value::Integer(1),
                "f" | "false" | "no" | "n" | "off" | "0" => Value::Integer(0),
                _ => return Err(wrong()),
            },
            Self::Int2 | Self::Int4 | Self::Int8 | Self::Oid => {
                let number: i64 = trimmed.parse().map_err(|_| wrong())?;
                let fits = match self {
                    Self::Int2 => i16::try_from(number).is_ok(),
                    Self::Int4 => i32::try_from(number).is_ok(),
                    Self::Oid => u32::try_from(number).is_ok(),
                    _ => true,
                };
                if !fits {
                    return Err(SqlError::new(code::OUT_OF_RANGE, wrong().message));
                }
                Value::Integer(number)
            }
            Self::Numeric => Value::Text(numeric::parse(trimmed).ok_or_else(wrong)?.to_string()),
            Self::Float8 => Value::Real(trimmed.parse().map_err(|_| wrong())?),
            Self::Date => {
                // Some drivers send a time or a zone with it.
                let date = trimmed.split([' ', 'T']).next().unwrap_or(trimmed);
                Value::Integer(clock::parse_date(date).ok_or_else(wrong)?)
            }
            Self::Timestamp | Self::Timestamptz => {
                Value::Integer(clock::parse_timestamp(trimmed).ok_or_else(wrong)?)
            }
            Self::Interval => Value::Text(clock::parse_interval(trimmed).ok_or_else(wrong)?),
            Self::Bytea => Value::Blob(parse_bytea(text).ok_or_else(wrong)?),
            Self::Regclass | Self::Regtype => match trimmed.parse() {
                Ok(number) => Value::Integer(number),
                Err(_) => Value::Text(text.to_owned()),
            },
            _ => Value::Text(text.to_owned()),
        })
    }

    /// Reads a parameter in the binary form.
    ///
    /// # Errors
    /// [`SqlError`] 22P03 when it has not the form of this type.
    pub fn parse_binary(self, bytes: &[u8]) -> Result<Value, SqlError> {
        let wrong = || {
            let what = self.sql_name();
            SqlError::new(code::INVALID_BINARY, format!("incorrect binary data for type {what}"))
        };
        fn fixed<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
            bytes.try_into().ok()
        }
        let int = match bytes.len() {
            1 => Some(i64::from(bytes[0])),
            2 => fixed(bytes).map(i16::from_be_bytes).map(i64::from),
            4 => fixed(bytes).map(i32::from_be_bytes).map(i64::from),
            8 => fixed(bytes).map(i64::from_be_bytes),
            _ => None,
        };
        Ok(match self {
            Self::Bool => Value::Integer(i64::from(int.ok_or_else(wrong)? != 0)),
            Self::Int2 | Self::Int4 | Self::Int8 => Value::Integer(int.ok_or_else(wrong)?),
            Self::Oid | Self::Regclass | Self::Regtype => {
                Value::Integer(i64::from(u32::from_be_bytes(fixed(bytes).ok_or_else(wrong)?)))
            }
            Self::Float8 => match bytes.len() {
                4 => Value::Real(f64::from(f32::from_be_bytes(fixed(bytes).ok_or_else(wrong)?))),
                _ => Value::Real(f64::from_be_bytes(fixed(bytes).ok_or_else(wrong)?)),
            },
            Self::Date => {
                let days = i32::from_be_bytes(fixed(bytes).ok_or_else(wrong)?);
                Value::Integer(i64::from(days) + clock::EPOCH_DAYS)
            }
            Self::Timestamp | Self::Timestamptz => {
                let micros = i64::from_be_bytes(fixed(bytes).ok_or_else(wrong)?);
                Value::Integer(micros.checked_add(clock::EPOCH_MICROS).ok_or_else(wrong)?)
            }
            Self::Numeric => {
                Value::Text(numeric::parse_binary(bytes).ok_or_else(wrong)?.to_string())
            }
            Self::Bytea => Value::Blob(bytes.to_vec()),
            Self::Interval => {
                let raw: [u8; 16] = fixed(bytes).ok_or_else(wrong)?;
                let micros = i64::from_be_bytes(fixed(&raw[..8]).ok_or_else(wrong)?);
                let days = i32::from_be_bytes(fixed(&raw[8..12]).ok_or_else(wrong)?);
                let months = i32::from_be_bytes(fixed(&raw[12..]).ok_or_else(wrong)?);
                Value::Text(format!("{months} {days} {micros}"))
            }
            _ => Value::Text(String::from_utf8(bytes.to_vec()).map_err(|_| wrong())?),
        })
    }

    /// Writes a value in the text form.
    pub fn write_text(self, value: ValueRef<'_>, out: &mut Vec<u8>) {
        match (self, value) {
            (_, ValueRef::Null) => {}
            (Self::Bool, ValueRef::Integer(n)) => out.push(if n == 0 { b'f' } else { b't' }),
            (Self::Date, ValueRef::Integer(n)) => out.extend(clock::date_text(n).bytes()),
            (Self::Timestamp, ValueRef::Integer(n)) => {
                out.extend(clock::timestamp_text(n).bytes());
            }
            (Self::Timestamptz, ValueRef::Integer(n)) => {
                out.extend(clock::timestamp_text(n).bytes());
                out.extend(b"+00");
            }
            (Self::Interval, ValueRef::Text(text)) => {
                let text = String::from_utf8_lossy(text);
                out.extend(clock::interval_text(&text).bytes());
            }
            (_, ValueRef::Integer(n)) => out.extend(n.to_string().bytes()),
            (_, ValueRef::Real(n)) => out.extend(float_text(n).bytes()),
            (_, ValueRef::Text(text)) => out.extend(text),
            (_, ValueRef::Blob(bytes)) => {
                out.extend(b"\\x");
                for byte in bytes {
                    out.push(b"0123456789abcdef"[usize::from(byte >> 4)]);
                    out.push(b"0123456789abcdef"[usize::from(byte & 15)]);
                }
            }
        }
    }

    /// Writes a value in the binary form.
    ///
    /// # Errors
    /// [`SqlError`] 0A000 for a value that has none here.
    pub fn write_binary(self, value: ValueRef<'_>, out: &mut Vec<u8>) -> Result<(), SqlError> {
        let none = || {
            let what = self.sql_name();
            let why = format!("no binary form of {what} for this value: ask for text");
            SqlError::new(code::NOT_SUPPORTED, why)
        };
        match (self, value) {
            (_, ValueRef::Null) => {}
            (Self::Bool, ValueRef::Integer(n)) => out.push(u8::from(n != 0)),
            (Self::Int2, ValueRef::Integer(n)) => {
                out.extend(i16::try_from(n).map_err(|_| none())?.to_be_bytes());
            }
            (Self::Int4, ValueRef::Integer(n)) => {
                out.extend(i32::try_from(n).map_err(|_| none())?.to_be_bytes());
            }
            (Self::Oid | Self::Regclass | Self::Regtype, ValueRef::Integer(n)) => {
                out.extend(u32::try_from(n).map_err(|_| none())?.to_be_bytes());
            }
            (Self::Date, ValueRef::Integer(n)) => {
                let days = i32::try_from(n - clock::EPOCH_DAYS).map_err(|_| none())?;
                out.extend(days.to_be_bytes());
            }
            (Self::Timestamp | Self::Timestamptz, ValueRef::Integer(n)) => {
                out.extend(n.saturating_sub(clock::EPOCH_MICROS).to_be_bytes());
            }
            (Self::Int8, ValueRef::Integer(n)) => out.extend(n.to_be_bytes()),
            (Self::Float8, ValueRef::Real(n)) => out.extend(n.to_be_bytes()),
            (Self::Float8, ValueRef::Integer(n)) => out.extend((n as f64).to_be_bytes()),
            (Self::Numeric, ValueRef::Text(text)) if let Some(small) = Small::parse(text) => {
                numeric::write_binary(small.digits.into(), small.scale, out);
            }
            (Self::Numeric, value) => {
                let mut text = Vec::new();
                self.write_text(value, &mut text);
                let text = String::from_utf8(text).map_err(|_| none())?;
                let number = numeric::parse(&text).ok_or_else(none)?;
                numeric::write_binary(number.mantissa(), number.scale(), out);
            }
            (Self::Interval, ValueRef::Text(text)) => {
                let text = String::from_utf8_lossy(text);
                let (months, days, micros) = clock::interval_parts(&text).ok_or_else(none)?;
                out.extend(micros.to_be_bytes());
                out.extend(i32::try_from(days).map_err(|_| none())?.to_be_bytes());
                out.extend(i32::try_from(months).map_err(|_| none())?.to_be_bytes());
            }
            (ty, ValueRef::Text(text)) if ty.is_array() => {
                let text = String::from_utf8_lossy(text);
                array::write_binary(ty, &array::elements(&text), out)?;
            }
            (_, ValueRef::Blob(bytes)) => out.extend(bytes),
            (_, ValueRef::Text(text)) => out.extend(text),
            (_, ValueRef::Integer(n)) => out.extend(n.to_string().bytes()),
            (_, ValueRef::Real(n)) => out.extend(float_text(n).bytes()),
        }
        Ok(())
    }
}

fn float_text(n: f64) -> String {
    if n.is_nan() {
        "NaN".into()
    } else if n.is_infinite() {
        if n > 0.0 { "Infinity".into() } else { "-Infinity".into() }
    } else {
        n.to_string()
    }
}

fn parse_bytea(text: &str) -> Option<Vec<u8>> {
    let Some(hex) = text.strip_prefix("\\x") else { return Some(text.as_bytes().to_vec()) };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|n| u8::try_from(n).ok());
    let hex = hex.as_bytes();
    if hex.len() % 2 != 0 {
        return None;
    }
    hex.chunks(2).map(|two| Some(digit(two[0])? << 4 | digit(two[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_reads_what_it_writes() {
        for (ty, text, shown) in [
            (Ty::Bool, "true", "t"),
            (Ty::Int4, " 42", "42"),
            (Ty::Date, "2026-02-28", "2026-02-28"),
            (Ty::Timestamptz, "2026-11-24T13:00:00.5+01:00", "2026-11-24 12:00:00.5+00"),
            (Ty::Timestamp, "2026-11-24 13:00", "2026-11-24 13:00:00"),
            (Ty::Bytea, "\\x00ff", "\\x00ff"),
            (Ty::Interval, "1 month 2 days", "1 mon 2 days"),
            (Ty::Float8, "1.5", "1.5"),
            (Ty::OidArray, "{1,2}", "{1,2}"),
        ] {
            let value = ty.parse(text).unwrap();
            let mut out = Vec::new();
            ty.write_text(ValueRef::from(&value), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), shown);
            let mut bytes = Vec::new();
            ty.write_binary(ValueRef::from(&value), &mut bytes).unwrap();
            if !ty.is_array() {
                assert_eq!(ty.parse_binary(&bytes).unwrap(), value, "{shown}");
            }
        }
        for (ty, text) in [
            (Ty::Int2, "70000"),
            (Ty::Int4, "x"),
            (Ty::Date, "2026-02-30"),
            (Ty::Numeric, "1,5"),
            (Ty::Bool, "maybe"),
            (Ty::Bytea, "\\x0"),
            (Ty::Interval, "soon"),
        ] {
            assert!(ty.parse(text).is_err(), "{text}");
        }
        for ty in [Ty::Int4, Ty::Date, Ty::Numeric, Ty::Timestamptz, Ty::Interval, Ty::Bool] {
            assert!(ty.parse_binary(&[1, 2, 3]).is_err(), "{ty:?}");
        }
    }
}
