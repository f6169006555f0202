//! Expressions: literals, names, CASE, arrays, casts, and where each operator and function is made.

use sqlparser::ast::{
    AccessExpr, Array, CaseWhen, DateTimeField, DuplicateTreatment, Expr, Interval, ObjectName,
    Subscript, TrimWhereField, Value as Literal,
};

use super::{
    Made1, Maker, Scope, folded, literal,
    name::{compound, find, no_column, of_field},
    parts,
};
use crate::{
    clock,
    error::{SqlError, code},
    ty::Ty,
};

impl Maker {
    pub(super) fn expression(
        &mut self,
        expr: &Expr,
        scope: &mut Scope<'_>,
    ) -> Result<Made1, SqlError> {
        self.deeper(|maker| maker.expression_here(expr, scope))
    }

    fn expression_here(&mut self, expr: &Expr, scope: &mut Scope<'_>) -> Result<Made1, SqlError> {
        match expr {
            Expr::Identifier(name) => {
                let name = folded(name);
                if let Some(field) = find(scope, None, None, &name)? {
                    return Ok(of_field(field));
                }
                if let Some(made) = self.register(&name) {
                    return Ok(made);
                }
                Err(no_column(&name))
            }
            Expr::CompoundIdentifier(names) => {
                let names: Vec<_> = names.iter().map(folded).collect();
                compound(scope, &names)
            }
            Expr::Nested(inner) => {
                let made = self.expression(inner, scope)?;
                Ok(if made.literal.is_some() || made.parameter.is_some() || made.is_null() {
                    made
                } else {
                    Made1 { sql: format!("({})", made.sql), ..made }
                })
            }
            Expr::Value(value) => self.value(&value.value),
            Expr::TypedString(typed) => {
                let made = self.value(&typed.value.value)?;
                self.cast_to(made, &typed.data_type)
            }
            Expr::Interval(interval) => interval_of(interval),
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right, scope),
            Expr::UnaryOp { op, expr } => self.unary(*op, expr, scope),
            Expr::Cast { expr, data_type, .. } => {
                let made = self.expression(expr, scope)?;
                self.cast_to(made, data_type)
            }
            Expr::IsNull(of) => self.is(of, "IS NULL", scope),
            Expr::IsNotNull(of) => self.is(of, "IS NOT NULL", scope),
            Expr::IsTrue(of) => self.truth(of, "IS TRUE", scope),
            Expr::IsNotTrue(of) => self.truth(of, "IS NOT TRUE", scope),
            Expr::IsFalse(of) => self.truth(of, "IS FALSE", scope),
            Expr::IsNotFalse(of) => self.truth(of, "IS NOT FALSE", scope),
            Expr::IsUnknown(of) => self.truth(of, "IS NULL", scope),
            Expr::IsNotUnknown(of) => self.truth(of, "IS NOT NULL", scope),
            Expr::IsDistinctFrom(a, b) => self.compared(a, "IS NOT", b, scope),
            Expr::IsNotDistinctFrom(a, b) => self.compared(a, "IS", b, scope),
            Expr::Between { expr, negated, low, high } => {
                let all = vec![
                    self.expression(expr, scope)?,
                    self.expression(low, scope)?,
                    self.expression(high, scope)?,
                ];
                let (all, _) = self.alike(all)?;
                let not = if *negated { "NOT " } else { "" };
                let (of, low, high) = (all[0].ordered(), &all[1].sql, &all[2].sql);
                Ok(Made1::new(format!("({of} {not}BETWEEN {low} AND {high})"), Ty::Bool))
            }
            Expr::In { expr, target, negated, .. } => self.within(expr, target, *negated, scope),
            Expr::Like { negated, expr, pattern, escape_char, any: false } => {
                self.like(expr, pattern, escape_char.as_deref(), *negated, false, scope)
            }
            Expr::ILike { negated, expr, pattern, escape_char, any: false } => {
                self.like(expr, pattern, escape_char.as_deref(), *negated, true, scope)
            }
            Expr::AnyOp { left, compare_op, right, .. } => {
                self.any(left, compare_op, right, scope, false)
            }
            Expr::AllOp { left, compare_op, right } => {
                self.any(left, compare_op, right, scope, true)
            }
            Expr::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref(), scope)
            }
            Expr::Exists { subquery, negated } => {
                let made = self.query(subquery, Some(scope))?;
                let not = if *negated { "NOT " } else { "" };
                Ok(Made1::new(format!("({not}EXISTS ({}))", made.sql), Ty::Bool))
            }
            Expr::Subquery(query) => {
                let made = self.query(query, Some(scope))?;
                let [column] = &made.columns[..] else {
                    return Err(SqlError::new(
                        code::SYNTAX,
                        "subquery must return only one column",
                    ));
                };
                Ok(Made1::new(format!("({})", made.sql), column.ty))
            }
            Expr::Function(function) => self.function(function, scope),
            Expr::Extract { field, expr, .. } => {
                let unit = unit_of(field);
                let of = self.expression(expr, scope)?;
                self.part(&unit, of)
            }
            Expr::Ceil { expr, .. } => self.by_name("ceil", &[expr], scope),
            Expr::Floor { expr, .. } => self.by_name("floor", &[expr], scope),
            Expr::Position { expr, r#in } => self.by_name("strpos", &[r#in, expr], scope),
            Expr::Substring { expr, substring_from, substring_for, .. } => {
                let one = Expr::Value(Literal::Number("1".into(), false).into());
                let from = substring_from.as_deref().unwrap_or(&one);
                match substring_for {
                    Some(length) => self.by_name("substr", &[expr, from, length], scope),
                    None => self.by_name("substr", &[expr, from], scope),
                }
            }
            Expr::Trim { trim_where, trim_what, expr, trim_characters } => {
                let name = match trim_where {
                    Some(TrimWhereField::Leading) => "ltrim",
                    Some(TrimWhereField::Trailing) => "rtrim",
                    _ => "btrim",
                };
                let what = trim_what.as_deref();
                let what = what.or_else(|| trim_characters.as_ref().and_then(|all| all.first()));
                match what {
                    Some(what) => self.by_name(name, &[expr, what], scope),
                    None => self.by_name(name, &[expr], scope),
                }
            }
            // One collation is all there is: byte by byte.
            Expr::Collate { expr, collation } => collated(self, expr, collation, scope),
            Expr::AtTimeZone { timestamp, time_zone } => {
                let of = self.expression(timestamp, scope)?;
                let zone = self.expression(time_zone, scope)?;
                let utc = zone.literal.is_some_and(|zone| {
                    ["utc", "gmt", "z", "etc/utc"].contains(&zone.to_lowercase().as_str())
                });
                if !utc {
                    return Err(SqlError::unsupported("a time zone other than UTC"));
                }
                let ty = if of.ty == Ty::Timestamptz { Ty::Timestamp } else { Ty::Timestamptz };
                Ok(Made1::new(self.coerce(of, Ty::Timestamptz)?.sql, ty))
            }
            Expr::Array(array) => self.array(array, scope),
            Expr::Tuple(all) => {
                let made: Vec<_> =
                    all.iter().map(|one| self.expression(one, scope)).collect::<Result<_, _>>()?;
                let sql: Vec<_> = made.iter().map(|one| one.sql.as_str()).collect();
                Ok(Made1::new(format!("({})", sql.join(", ")), Ty::Unknown))
            }
            Expr::CompoundFieldAccess { root, access_chain } => {
                self.access(root, access_chain, scope)
            }
            other => {
                let text: String = other.to_string().chars().take(80).collect();
                Err(SqlError::unsupported(format!("the expression {text}")))
            }
        }
    }

    pub(super) fn condition(
        &mut self,
        expr: &Expr,
        scope: &mut Scope<'_>,
    ) -> Result<String, SqlError> {
        let made = self.expression(expr, scope)?;
        Ok(self.coerce(made, Ty::Bool)?.sql)
    }

    fn value(&mut self, value: &Literal) -> Result<Made1, SqlError> {
        Ok(match value {
            Literal::Number(text, _) => match text.parse::<i64>() {
                Ok(n) if i32::try_from(n).is_ok() => Made1::new(n.to_string(), Ty::Int4),
                Ok(n) => Made1::new(n.to_string(), Ty::Int8),
                Err(_) => {
                    let value = Ty::Numeric.parse(text)?;
                    Made1::new(super::cast::constant(&value), Ty::Numeric)
                }
            },
            Literal::SingleQuotedString(text)
            | Literal::EscapedStringLiteral(text)
            | Literal::UnicodeStringLiteral(text)
            | Literal::NationalStringLiteral(text) => self.text(text),
            Literal::DollarQuotedString(text) => self.text(&text.value),
            Literal::Boolean(truth) => Made1::new(if *truth { "1" } else { "0" }, Ty::Bool),
            Literal::Null => Made1::new("NULL", Ty::Unknown),
            Literal::Placeholder(name) => {
                let number = name.strip_prefix('$').and_then(|n| n.parse::<usize>().ok());
                let Some(place) = number.and_then(|n| n.checked_sub(1)).filter(|n| *n < 1000)
                else {
                    return Err(SqlError::new(
                        code::SYNTAX,
                        format!("no parameter is called {name}"),
                    ));
                };
                if self.parameters.len() <= place {
                    self.parameters.resize(place + 1, None);
                }
                Made1 {
                    parameter: Some(place),
                    ..Made1::new(
                        format!("?{}", place + 1),
                        self.parameters[place].unwrap_or(Ty::Unknown),
                    )
                }
            }
            other => return Err(SqlError::unsupported(format!("the literal {other}"))),
        })
    }

    pub(super) fn text(&self, text: &str) -> Made1 {
        Made1 { literal: Some(text.to_owned()), ..Made1::new(literal(text), Ty::Unknown) }
    }

    /// A word that stands for a value.
    pub(super) fn register(&self, name: &str) -> Option<Made1> {
        const NOW: &str = "CAST(unixepoch('subsec') * 1000000 AS INTEGER)";
        Some(match name {
            "current_user" | "session_user" | "user" | "current_role" => {
                Made1::new("session_name()", Ty::Name)
            }
            "current_catalog" | "current_database" => Made1::new("database_name()", Ty::Name),
            "current_schema" => Made1::new("'public'", Ty::Name),
            "current_date" => Made1::new(format!("day_of({NOW})"), Ty::Date),
            "current_timestamp"
            | "now"
            | "transaction_timestamp"
            | "statement_timestamp"
            | "clock_timestamp" => Made1::new(NOW, Ty::Timestamptz),
            "localtimestamp" => Made1::new(NOW, Ty::Timestamp),
            _ => return None,
        })
    }

    fn is(&mut self, of: &Expr, what: &str, scope: &mut Scope<'_>) -> Result<Made1, SqlError> {
        let made = self.expression(of, scope)?;
        Ok(Made1 { nullable: false, ..Made1::new(format!("({} {what})", made.sql), Ty::Bool) })
    }

    fn truth(&mut self, of: &Expr, what: &str, scope: &mut Scope<'_>) -> Result<Made1, SqlError> {
        let sql = self.condition(of, scope)?;
        Ok(Made1::new(format!("({sql} {what})"), Ty::Bool))
    }

    fn case(
        &mut self,
        operand: Option<&Expr>,
        conditions: &[CaseWhen],
        otherwise: Option<&Expr>,
        scope: &mut Scope<'_>,
    ) -> Result<Made1, SqlError> {
        let mut tests = Vec::new();
        for when in conditions {
            tests.push(match operand {
                Some(operand) => self.compared(operand, "=", &when.condition, scope)?.sql,
                None => self.condition(&when.condition, scope)?,
            });
        }
        let mut results = Vec::new();
        for result in conditions.iter().map(|when| &when.result).chain(otherwise) {
            results.push(self.expression(result, scope)?);
        }
        let (results, ty) = self.alike(results)?;
        let mut sql = String::from("(CASE");
        for (test, result) in tests.iter().zip(&results) {
            sql += &format!(" WHEN {test} THEN {}", result.sql);
        }
        if otherwise.is_some() {
            sql += &format!(" ELSE {}", results[results.len() - 1].sql);
        }
        Ok(Made1::new(sql + " END)", ty))
    }

    fn array(&mut self, array: &Array, scope: &mut Scope<'_>) -> Result<Made1, SqlError> {
        let mut pieces = vec!["'{'".to_owned()];
        for (n, element) in array.elem.iter().enumerate() {
            if n > 0 {
                pieces.push("','".to_owned());
            }
            let made = self.expression(element, scope)?;
            let text = self.cast(made, Ty::Text)?;
            pieces.push(format!("ifnull(arr_quote({}), 'NULL')", text.sql));
        }
        pieces.push("'}'".to_owned());
        Ok(Made1::new(format!("({})", pieces.join(" || ")), Ty::TextArray))
    }

    fn access(
        &mut self,
        root: &Expr,
        chain: &[AccessExpr],
        scope: &mut Scope<'_>,
    ) -> Result<Made1, SqlError> {
        // `a.b[1]` comes as a name and accesses; what of it is a name is found first.
        let mut names: Vec<_> = match root {
            Expr::Identifier(name) => vec![folded(name)],
            Expr::CompoundIdentifier(names) => names.iter().map(folded).collect(),
            _ => Vec::new(),
        };
        let mut chain = chain;
        while !names.is_empty()
            && let [AccessExpr::Dot(Expr::Identifier(name)), rest @ ..] = chain
        {
            names.push(folded(name));
            chain = rest;
        }
        let mut made = match names.len() {
            0 | 1 => self.expression(root, scope)?,
            _ => compound(scope, &names)?,
        };
        for access in chain {
            made = match access {
                AccessExpr::Subscript(Subscript::Index { index }) => {
                    let index = self.expression(index, scope)?;
                    let index = self.coerce(index, Ty::Int4)?.sql;
                    match made.ty {
                        Ty::Int2Vector => {
                            Made1::new(format!("vec_get({}, {index})", made.sql), Ty::Int2)
                        }
                        ty if ty.is_array() => {
                            let element = ty.element();
                            let got = format!("arr_get({}, {index})", made.sql);
                            let name = literal(element.sql_name());
                            let sql = if element.is_text() {
                                got
                            } else {
                                format!("cast_to({name}, {got})")
                            };
                            Made1::new(sql, element)
                        }
                        _ => return Err(SqlError::unsupported("a subscript of what is no array")),
                    }
                }
                // The two fields of information_schema._pg_expandarray.
                AccessExpr::Dot(Expr::Identifier(field)) if field.value == "x" => made,
                AccessExpr::Dot(Expr::Identifier(field)) if field.value == "n" => {
                    let sql = made.sql.replace(".value", ".key");
                    Made1::new(format!("({sql} + 1)"), Ty::Int4)
                }
                _ => return Err(SqlError::unsupported("a field of a composite value")),
            };
        }
        Ok(made)
    }

    pub(super) fn part(&mut self, unit: &str, of: Made1) -> Result<Made1, SqlError> {
        if of.ty == Ty::Interval {
            return Err(SqlError::unsupported("extract from an interval"));
        }
        let of = self.coerce(of, Ty::Timestamptz)?;
        Ok(Made1::new(format!("d_part({}, {})", literal(unit), of.sql), Ty::Numeric))
    }
}

fn collated(
    maker: &mut Maker,
    expr: &Expr,
    collation: &ObjectName,
    scope: &mut Scope<'_>,
) -> Result<Made1, SqlError> {
    let name = parts(collation).pop().unwrap_or_default();
    if !["default", "c", "C", "posix", "ucs_basic"].contains(&name.as_str()) {
        let why = format!("collation \"{name}\" does not exist: texts are ordered by their bytes");
        return Err(SqlError::new("42704", why));
    }
    maker.expression(expr, scope)
}

fn unit_of(field: &DateTimeField) -> String {
    match field {
        DateTimeField::Custom(name) => name.value.to_lowercase(),
        other => other.to_string().to_lowercase(),
    }
}

fn interval_of(interval: &Interval) -> Result<Made1, SqlError> {
    let Expr::Value(value) = &*interval.value else {
        return Err(SqlError::unsupported("an interval that is no literal"));
    };
    let (Literal::SingleQuotedString(text) | Literal::Number(text, _)) = &value.value else {
        return Err(SqlError::unsupported("this form of interval"));
    };
    let text = match &interval.leading_field {
        Some(field) => format!("{text} {}", unit_of(field)),
        None => text.clone(),
    };
    let parsed = clock::parse_interval(&text).ok_or_else(|| {
        SqlError::new(code::INVALID_TEXT, format!("invalid input for type interval: \"{text}\""))
    })?;
    Ok(Made1::new(literal(&parsed), Ty::Interval))
}

/// DISTINCT in the arguments of an aggregate.
pub(super) fn distinct(of: Option<DuplicateTreatment>) -> &'static str {
    if of == Some(DuplicateTreatment::Distinct) { "DISTINCT " } else { "" }
}
