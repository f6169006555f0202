//! Types meeting: what a literal becomes, what two sides have in common, and casts.

use rusqlite::types::Value;
use sqlparser::ast::{ArrayElemTypeDef, DataType, ExactNumberInfo, TimezoneInfo};

use super::{Made1, Maker, hex, literal, parts};
use crate::{
    catalog,
    error::{SqlError, code},
    ty::Ty,
};

/// A value as SQL.
pub(super) fn constant(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(n) => n.to_string(),
        Value::Real(n) if n.is_finite() => format!("{n:e}"),
        Value::Real(n) if n.is_nan() => "NULL".to_owned(),
        Value::Real(n) => if *n > 0.0 { "9e999" } else { "-9e999" }.to_owned(),
        Value::Text(text) => literal(text),
        Value::Blob(bytes) => format!("x'{}'", hex(bytes)),
    }
}

impl Maker {
    /// `made` as a `ty`, where PostgreSQL would do so without being told.
    pub(super) fn coerce(&mut self, mut made: Made1, ty: Ty) -> Result<Made1, SqlError> {
        if made.ty == ty {
            return Ok(made);
        }
        if made.is_null() {
            made.ty = ty;
            return Ok(made);
        }
        if let Some(number) = made.parameter
            && made.ty == Ty::Unknown
        {
            match self.parameters[number] {
                None => {
                    self.parameters[number] = Some(ty);
                    made.ty = ty;
                    return Ok(made);
                }
                Some(known) => made.ty = known,
            }
            return self.coerce(made, ty);
        }
        if let Some(text) = &made.literal {
            if ty == Ty::Unknown {
                return Ok(made);
            }
            if matches!(ty, Ty::Regclass | Ty::Regtype) {
                return self.cast(made, ty);
            }
            made.sql = constant(&ty.parse(text)?);
            made.literal = None;
            made.ty = ty;
            return Ok(made);
        }
        let number = |ty: Ty| ty.is_int() || matches!(ty, Ty::Regclass | Ty::Regtype);
        let sql = match (made.ty, ty) {
            (from, to) if number(from) && number(to) => made.sql.clone(),
            (from, Ty::Numeric) if from.is_int() => match made.sql.parse::<i64>() {
                Ok(n) => format!("'{n}'"),
                Err(_) => format!("CAST({} AS TEXT)", made.sql),
            },
            (from, Ty::Float8) if from.is_number() => format!("CAST({} AS REAL)", made.sql),
            (Ty::Date, Ty::Timestamp | Ty::Timestamptz) => {
                let nullable = made.nullable;
                return Ok(Made1 { nullable, ..Made1::midnight(&made.sql, ty) });
            }
            (Ty::Timestamp, Ty::Timestamptz) | (Ty::Timestamptz, Ty::Timestamp) => {
                return Ok(Made1 { ty, origin: (0, 0), parameter: None, ..made });
            }
            (from, to) if from.is_text() && (to.is_text() || to.is_array()) => made.sql.clone(),
            (from, to) if from.is_array() && (to.is_array() || to.is_text()) => made.sql.clone(),
            (Ty::Int2Vector, to) if to.is_text() => made.sql.clone(),
            // A driver calls every parameter text that it was given as one.
            (from, to) if from.is_text() && made.parameter.is_some() => {
                format!("cast_to({}, {})", literal(to.sql_name()), made.sql)
            }
            (from, to) => {
                let (from, to) = (from.sql_name(), to.sql_name());
                let why = format!("a value of type {from} is not one of type {to}");
                return Err(SqlError::new(code::MISMATCH, why).hint("Cast it: value::type."));
            }
        };
        Ok(Made1 { sql, ty, nullable: made.nullable, ..Made1::new("", ty) })
    }

    /// The type that all of these have in common.
    pub(super) fn common(&self, all: &[Made1]) -> Result<Ty, SqlError> {
        let mut found = Ty::Unknown;
        for made in all {
            let ty = match made.parameter {
                Some(number) if made.ty == Ty::Unknown => {
                    self.parameters[number].unwrap_or(Ty::Unknown)
                }
                _ => made.ty,
            };
            // A parameter that came as text yields to what it is compared with.
            let yields = made.parameter.is_some() && ty.is_text();
            found = match (found, ty) {
                (found, ty) if found == ty => found,
                (Ty::Unknown, ty) => ty,
                (found, Ty::Unknown) => found,
                (found, _) if yields => found,
                (found, ty)
                    if found.is_text()
                        && all.iter().any(|one| one.parameter.is_some() && one.ty.is_text())
                        && !ty.is_text() =>
                {
                    ty
                }
                (found, ty) => joined(found, ty).ok_or_else(|| {
                    let (a, b) = (found.sql_name(), ty.sql_name());
                    let why = format!("types {a} and {b} cannot be matched");
                    SqlError::new(code::MISMATCH, why).hint("Cast one of them: value::type.")
                })?,
            };
        }
        Ok(found)
    }

    /// All as what they have in common.
    pub(super) fn alike(&mut self, all: Vec<Made1>) -> Result<(Vec<Made1>, Ty), SqlError> {
        let mut ty = self.common(&all)?;
        if ty == Ty::Unknown && all.iter().any(|made| !made.is_null()) {
            ty = Ty::Text;
        }
        let all = all.into_iter().map(|made| self.coerce(made, ty)).collect::<Result<_, _>>()?;
        Ok((all, ty))
    }

    /// `made::ty`.
    pub(super) fn cast(&mut self, made: Made1, ty: Ty) -> Result<Made1, SqlError> {
        if matches!(ty, Ty::Regclass | Ty::Regtype) {
            return class(made, ty);
        }
        if let Ok(done) = self.coerce(made.clone(), ty) {
            return Ok(done);
        }
        if made.literal.is_some() {
            return self.coerce(made, ty);
        }
        let value = &made.sql;
        let target = literal(ty.sql_name());
        let source = literal(made.ty.sql_name());
        let sql = match (made.ty, ty) {
            (Ty::Regclass, to) if to.is_text() => {
                format!("(SELECT relname FROM \"pg_catalog.pg_class\" WHERE oid = {value})")
            }
            (Ty::Regtype, to) if to.is_text() => format!("format_type({value})"),
            (from, to) if to.is_text() || to.is_array() => {
                if from.is_text() {
                    value.clone()
                } else {
                    format!("to_text({source}, {value})")
                }
            }
            (from, Ty::Numeric) if from.is_text() || from.is_number() => format!("n_from({value})"),
            (Ty::Bool, to) if to.is_int() => value.clone(),
            (from, Ty::Bool) if from.is_int() => format!("({value} <> 0)"),
            (from, to) if to.is_int() && from.is_number() => format!("cast_to({target}, {value})"),
            (Ty::Timestamp | Ty::Timestamptz, Ty::Date) => match &made.day {
                Some(day) => day.clone(),
                None => format!("day_of({value})"),
            },
            (Ty::Bytea, _) | (_, Ty::Bytea) => {
                return Err(SqlError::unsupported("this cast of a bytea"));
            }
            (from, to) if from.is_text() => {
                let _ = to;
                format!("cast_to({target}, {value})")
            }
            (from, to) => {
                let why = format!("cannot cast type {} to {}", from.sql_name(), to.sql_name());
                return Err(SqlError::new("42846", why));
            }
        };
        Ok(Made1::new(sql, ty))
    }

    /// A cast as written, with its precision.
    pub(super) fn cast_to(&mut self, made: Made1, to: &DataType) -> Result<Made1, SqlError> {
        let ty = type_of(to)?;
        if let (Some(text), DataType::Custom(name, _)) = (&made.literal, to)
            && parts(name).last().is_some_and(|name| name == "regproc")
        {
            let text = text.rsplit('.').next().unwrap_or(text);
            return Ok(Made1::new(literal(text), Ty::Name));
        }
        let made = self.cast(made, ty)?;
        let info = match to {
            DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => *info,
            _ => ExactNumberInfo::None,
        };
        let sql = match info {
            ExactNumberInfo::None => return Ok(made),
            ExactNumberInfo::Precision(p) => format!("n_cast({}, {p}, 0)", made.sql),
            ExactNumberInfo::PrecisionAndScale(p, s) => format!("n_cast({}, {p}, {s})", made.sql),
        };
        Ok(Made1::new(sql, Ty::Numeric))
    }
}

/// What two types have in common.
fn joined(a: Ty, b: Ty) -> Option<Ty> {
    let either = |ty| a == ty || b == ty;
    let number = |ty: Ty| ty.is_number() || matches!(ty, Ty::Regclass | Ty::Regtype);
    if number(a) && number(b) {
        return Some(if either(Ty::Float8) {
            Ty::Float8
        } else if either(Ty::Numeric) {
            Ty::Numeric
        } else if either(Ty::Oid) {
            Ty::Oid
        } else if either(Ty::Int8) || either(Ty::Regclass) {
            Ty::Int8
        } else {
            Ty::Int4
        });
    }
    if a.is_text() && b.is_text() {
        return Some(Ty::Text);
    }
    if (a.is_array() || a.is_text()) && (b.is_array() || b.is_text()) {
        return Some(if a.is_array() { a } else { b });
    }
    let moment = |ty| matches!(ty, Ty::Date | Ty::Timestamp | Ty::Timestamptz);
    (moment(a) && moment(b))
        .then(|| if either(Ty::Timestamptz) { Ty::Timestamptz } else { Ty::Timestamp })
}

/// `'invoices'::regclass`, by name or number.
fn class(made: Made1, ty: Ty) -> Result<Made1, SqlError> {
    let Some(text) = &made.literal else {
        if made.ty.is_text() {
            let sql =
                format!("(SELECT oid FROM \"pg_catalog.pg_class\" WHERE relname = {})", made.sql);
            return Ok(Made1::new(sql, ty));
        }
        return Ok(Made1 { ty, ..made });
    };
    if let Ok(number) = text.parse::<u32>() {
        return Ok(Made1::new(number.to_string(), ty));
    }
    let name = text.rsplit('.').next().unwrap_or(text).trim_matches('"');
    let number = if ty == Ty::Regclass {
        catalog::oid_of(name)
    } else {
        Ty::ALL.iter().find(|row| row.2 == name || row.3 == text).map(|row| row.1)
    };
    let number = number.ok_or_else(|| {
        SqlError::new(code::NO_TABLE, format!("relation \"{text}\" does not exist"))
    })?;
    Ok(Made1::new(number.to_string(), ty))
}

/// The type that SQL names.
pub(super) fn type_of(ty: &DataType) -> Result<Ty, SqlError> {
    Ok(match ty {
        DataType::Bool | DataType::Boolean => Ty::Bool,
        DataType::SmallInt(_) | DataType::Int2(_) => Ty::Int2,
        DataType::Int(_) | DataType::Integer(_) | DataType::Int4(_) => Ty::Int4,
        DataType::BigInt(_) | DataType::Int8(_) => Ty::Int8,
        DataType::Numeric(_) | DataType::Decimal(_) | DataType::Dec(_) => Ty::Numeric,
        DataType::Real
        | DataType::Float(_)
        | DataType::Float4
        | DataType::Float8
        | DataType::Double(_)
        | DataType::DoublePrecision => Ty::Float8,
        DataType::Text | DataType::Clob(_) => Ty::Text,
        DataType::Varchar(_)
        | DataType::CharacterVarying(_)
        | DataType::CharVarying(_)
        | DataType::Char(_)
        | DataType::Character(_) => Ty::Varchar,
        DataType::Bytea => Ty::Bytea,
        DataType::Date => Ty::Date,
        DataType::Timestamp(_, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => Ty::Timestamptz,
        DataType::Timestamp(..) => Ty::Timestamp,
        DataType::Interval { .. } => Ty::Interval,
        DataType::Regclass => Ty::Regclass,
        DataType::Array(of) => {
            let element = match of {
                ArrayElemTypeDef::SquareBracket(of, _)
                | ArrayElemTypeDef::AngleBracket(of)
                | ArrayElemTypeDef::Parenthesis(of) => type_of(of)?,
                _ => Ty::Text,
            };
            match element {
                Ty::Int2 => Ty::Int2Array,
                Ty::Oid => Ty::OidArray,
                Ty::Char => Ty::CharArray,
                _ => Ty::TextArray,
            }
        }
        DataType::Custom(name, _) => {
            let name = parts(name).pop().unwrap_or_default();
            let name = name.as_str();
            let known = Ty::ALL.iter().find(|row| row.2 == name).map(|row| row.0);
            match (known, name) {
                (Some(ty), _) => ty,
                (None, "bpchar") => Ty::Varchar,
                (None, "float4") => Ty::Float8,
                (None, "regproc") => Ty::Name,
                (None, "regprocedure" | "regoper" | "regnamespace" | "regrole") => Ty::Oid,
                (None, "xid" | "cid" | "xid8") => Ty::Int8,
                (None, "pg_node_tree" | "aclitem" | "json" | "jsonb" | "uuid") => Ty::Text,
                _ => return Err(SqlError::new("42704", format!("type \"{name}\" does not exist"))),
            }
        }
        DataType::JSON | DataType::JSONB | DataType::Uuid => Ty::Text,
        other => return Err(SqlError::unsupported(format!("type {other}"))),
    })
}
