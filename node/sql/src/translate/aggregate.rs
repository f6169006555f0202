//! Aggregates and windows.

use sqlparser::ast::{Expr, WindowFrameBound, WindowSpec, WindowType};

use super::{Made1, Maker, Scope, call::no_function, folded};
use crate::{error::SqlError, ty::Ty};

/// Aggregates, and functions that only windows have.
pub(super) const AGGREGATES: &[&str] = &[
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "string_agg",
    "array_agg",
    "bool_and",
    "bool_or",
    "every",
];
pub(super) const WINDOWED: &[&str] = &[
    "row_number",
    "rank",
    "dense_rank",
    "ntile",
    "lag",
    "lead",
    "first_value",
    "last_value",
    "nth_value",
    "percent_rank",
    "cume_dist",
];

impl Maker {
    pub(super) fn aggregate(
        &mut self,
        name: &str,
        mut arguments: Vec<Made1>,
        star: bool,
        distinct: &str,
        order: &str,
    ) -> Result<(String, Ty), SqlError> {
        self.sums = true;
        let first = arguments.first().cloned();
        let need = |first: Option<Made1>| first.ok_or_else(|| no_function(name, &[]));
        Ok(match name {
            "count" if star => ("count(*)".to_owned(), Ty::Int8),
            "count" => (format!("count({distinct}{})", need(first)?.ordered()), Ty::Int8),
            "sum" | "avg" => {
                let mut of = need(first)?;
                if of.ty == Ty::Unknown {
                    of = self.coerce(of, Ty::Numeric)?;
                }
                match (name, of.ty) {
                    ("sum", Ty::Int2 | Ty::Int4) => {
                        (format!("sum({distinct}{})", of.sql), Ty::Int8)
                    }
                    ("sum", Ty::Float8) => (format!("sum({distinct}{})", of.sql), Ty::Float8),
                    (_, Ty::Float8) => (format!("avg({distinct}{})", of.sql), Ty::Float8),
                    (_, ty) if ty.is_number() => {
                        (format!("n_{name}({distinct}{})", of.ordered()), Ty::Numeric)
                    }
                    (_, ty) => return Err(no_function(name, &[ty])),
                }
            }
            "min" | "max" => {
                let of = need(first)?;
                let ty = if of.ty == Ty::Unknown { Ty::Text } else { of.ty };
                (format!("{name}({})", of.ordered()), ty)
            }
            "bool_and" | "every" | "bool_or" => {
                let of = self.coerce(need(first)?, Ty::Bool)?;
                let call = if name == "bool_or" { "max" } else { "min" };
                (format!("{call}({})", of.sql), Ty::Bool)
            }
            "string_agg" => {
                let by = arguments.pop().filter(|_| arguments.len() == 1);
                let of = self.cast(need(first)?, Ty::Text)?;
                let by = self.cast(need(by)?, Ty::Text)?;
                // SQLite takes a separator only without DISTINCT, as it takes one argument then.
                if distinct.is_empty() {
                    (format!("group_concat({}, {}{order})", of.sql, by.sql), Ty::Text)
                } else {
                    return Err(SqlError::unsupported("string_agg with DISTINCT"));
                }
            }
            "array_agg" => {
                let of = self.cast(need(first)?, Ty::Text)?;
                (format!("group_concat({distinct}arr_quote({}){order})", of.sql), Ty::TextArray)
            }
            "row_number" | "rank" | "dense_rank" => (format!("{name}()"), Ty::Int8),
            "percent_rank" | "cume_dist" => (format!("{name}()"), Ty::Float8),
            "ntile" => {
                let of = self.coerce(need(first)?, Ty::Int4)?;
                (format!("ntile({})", of.sql), Ty::Int4)
            }
            _ => {
                let ty = need(first)?.ty;
                let list: Vec<_> = arguments.iter().map(|one| one.sql.as_str()).collect();
                (format!("{name}({})", list.join(", ")), ty)
            }
        })
    }

    pub(super) fn over(
        &mut self,
        over: &WindowType,
        scope: &mut Scope<'_>,
    ) -> Result<String, SqlError> {
        match over {
            WindowType::NamedWindow(name) => {
                let known = scope.windows.get(&folded(name)).cloned();
                known.ok_or_else(|| {
                    SqlError::new("42704", format!("window \"{}\" does not exist", name.value))
                })
            }
            WindowType::WindowSpec(spec) => self.window(spec, scope),
        }
    }

    pub(super) fn window(
        &mut self,
        spec: &WindowSpec,
        scope: &mut Scope<'_>,
    ) -> Result<String, SqlError> {
        if spec.window_name.is_some() {
            return Err(SqlError::unsupported("a window made from another"));
        }
        let mut sql = Vec::new();
        if !spec.partition_by.is_empty() {
            let mut by = Vec::new();
            for expr in &spec.partition_by {
                by.push(self.expression(expr, scope)?.grouped());
            }
            sql.push(format!("PARTITION BY {}", by.join(", ")));
        }
        if !spec.order_by.is_empty() {
            sql.push(format!("ORDER BY {}", self.order(&spec.order_by, None, scope)?));
        }
        if let Some(frame) = &spec.window_frame {
            let mut bound = |bound: &WindowFrameBound| -> Result<String, SqlError> {
                let mut side = |n: &Option<Box<Expr>>, word: &str| match n {
                    None => Ok(format!("UNBOUNDED {word}")),
                    Some(n) => {
                        Ok::<_, SqlError>(format!("{} {word}", self.expression(n, scope)?.sql))
                    }
                };
                match bound {
                    WindowFrameBound::CurrentRow => Ok("CURRENT ROW".to_owned()),
                    WindowFrameBound::Preceding(n) => side(n, "PRECEDING"),
                    WindowFrameBound::Following(n) => side(n, "FOLLOWING"),
                }
            };
            let start = bound(&frame.start_bound)?;
            let end = frame.end_bound.as_ref().map(&mut bound).transpose()?;
            sql.push(match end {
                Some(end) => format!("{} BETWEEN {start} AND {end}", frame.units),
                None => format!("{} {start}", frame.units),
            });
        }
        Ok(format!("({})", sql.join(" ")))
    }
}
