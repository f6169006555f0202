//! Queries: WITH, set operations, VALUES, LIMIT.

use sqlparser::ast::{
    Cte, Expr, LimitClause, OrderByKind, Query, SetExpr, SetOperator, SetQuantifier,
    Value as Literal, Values,
};

use super::{Made, Made1, Maker, Output, Scope, folded, quoted};
use crate::{
    error::{SqlError, code},
    ty::Ty,
};

impl Maker {
    pub(super) fn query(
        &mut self,
        query: &Query,
        outer: Option<&Scope<'_>>,
    ) -> Result<Made, SqlError> {
        self.deeper(|maker| {
            let known = maker.ctes.len();
            let made = maker.query_here(query, outer);
            maker.ctes.truncate(known);
            made
        })
    }

    fn query_here(&mut self, query: &Query, outer: Option<&Scope<'_>>) -> Result<Made, SqlError> {
        if !query.locks.is_empty() {
            let why = "cannot execute SELECT FOR UPDATE in a read-only transaction";
            return Err(SqlError::new(code::READ_ONLY, why));
        }
        if query.for_clause.is_some()
            || query.settings.is_some()
            || query.format_clause.is_some()
            || !query.pipe_operators.is_empty()
        {
            return Err(SqlError::unsupported("a clause that PostgreSQL has not"));
        }
        let mut sql = String::new();
        if let Some(with) = &query.with {
            let mut list = Vec::new();
            for cte in &with.cte_tables {
                list.push(self.cte(cte, with.recursive, outer)?);
            }
            let recursive = if with.recursive { "RECURSIVE " } else { "" };
            sql += &format!("WITH {recursive}{} ", list.join(", "));
        }
        let by = match query.order_by.as_ref().map(|by| &by.kind) {
            None => &[][..],
            Some(OrderByKind::Expressions(by)) => by,
            Some(OrderByKind::All(_)) => return Err(SqlError::unsupported("ORDER BY ALL")),
        };
        let (body, columns) = match &*query.body {
            SetExpr::Select(select) => self.select(select, by, outer)?,
            other => {
                let made = self.set(other, outer)?;
                let mut body = made.sql;
                if !by.is_empty() {
                    let mut scope = Scope::inside(None);
                    body +=
                        &format!(" ORDER BY {}", self.order(by, Some(&made.columns), &mut scope)?);
                }
                (body, made.columns)
            }
        };
        sql += &body;
        let (mut limit, mut offset) = (None, None);
        match &query.limit_clause {
            None => {}
            Some(LimitClause::LimitOffset { limit: l, offset: o, limit_by })
                if limit_by.is_empty() =>
            {
                limit = l.as_ref();
                offset = o.as_ref().map(|offset| &offset.value);
            }
            Some(_) => return Err(SqlError::unsupported("this form of LIMIT")),
        }
        if let Some(fetch) = &query.fetch {
            if fetch.with_ties || fetch.percent {
                return Err(SqlError::unsupported("FETCH WITH TIES"));
            }
            let one = Expr::Value(Literal::Number("1".into(), false).into());
            let limited = self.count(Some(fetch.quantity.as_ref().unwrap_or(&one)))?;
            sql += &format!(" LIMIT {limited}");
        } else if limit.is_some() || offset.is_some() {
            sql += &format!(" LIMIT {}", self.count(limit)?);
        }
        if offset.is_some() {
            sql += &format!(" OFFSET {}", self.count(offset)?);
        }
        Ok(Made { sql, columns })
    }

    /// How many rows: SQLite takes -1 for all.
    fn count(&mut self, expr: Option<&Expr>) -> Result<String, SqlError> {
        let Some(expr) = expr else { return Ok("-1".to_owned()) };
        let made = self.expression(expr, &mut Scope::inside(None))?;
        if made.is_null() {
            return Ok("-1".to_owned());
        }
        let sql = self.coerce(made, Ty::Int8)?.sql;
        Ok(format!("ifnull({sql}, -1)"))
    }

    fn cte(
        &mut self,
        cte: &Cte,
        recursive: bool,
        outer: Option<&Scope<'_>>,
    ) -> Result<String, SqlError> {
        let name = folded(&cte.alias.name);
        let given: Vec<_> = cte.alias.columns.iter().map(|column| folded(&column.name)).collect();
        let rename = |columns: &mut Vec<Output>| {
            for (column, name) in columns.iter_mut().zip(&given) {
                column.name.clone_from(name);
            }
        };
        if recursive && let SetExpr::SetOperation { left, .. } = &*cte.query.body {
            // What the first half returns is what the name stands for in the second.
            let first = self.set(left, outer)?;
            let mut columns = first.columns;
            rename(&mut columns);
            self.ctes.push((name.clone(), columns.clone()));
            let made = self.query(&cte.query, outer)?;
            let labels: Vec<_> = columns.iter().map(|column| quoted(&column.label)).collect();
            return Ok(format!("{}({}) AS ({})", quoted(&name), labels.join(", "), made.sql));
        }
        let mut made = self.query(&cte.query, outer)?;
        rename(&mut made.columns);
        let sql = format!("{} AS ({})", quoted(&name), made.sql);
        self.ctes.push((name, made.columns));
        Ok(sql)
    }

    fn set(&mut self, body: &SetExpr, outer: Option<&Scope<'_>>) -> Result<Made, SqlError> {
        self.deeper(|maker| match body {
            SetExpr::Select(select) => {
                let (sql, columns) = maker.select(select, &[], outer)?;
                Ok(Made { sql, columns })
            }
            SetExpr::Query(query) => {
                let made = maker.query(query, outer)?;
                Ok(Made { sql: format!("SELECT * FROM ({})", made.sql), columns: made.columns })
            }
            SetExpr::Values(values) => maker.values(values, outer),
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                maker.combined(left, *op, *set_quantifier, right, outer)
            }
            SetExpr::Table(table) => {
                let name =
                    table.table_name.as_ref().map_or(String::new(), |name| name.value.clone());
                let text = format!("SELECT * FROM {}", quoted(&name));
                let dialect = sqlparser::dialect::PostgreSqlDialect {};
                let parsed = sqlparser::parser::Parser::new(&dialect)
                    .try_with_sql(&text)
                    .and_then(|mut parser| parser.parse_query())
                    .map_err(|error| SqlError::new(code::SYNTAX, error.to_string()))?;
                maker.query(&parsed, outer)
            }
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                Err(crate::statement::read_only("a change inside WITH"))
            }
        })
    }

    fn combined(
        &mut self,
        left: &SetExpr,
        op: SetOperator,
        quantifier: SetQuantifier,
        right: &SetExpr,
        outer: Option<&Scope<'_>>,
    ) -> Result<Made, SqlError> {
        let (a, b) = (self.set(left, outer)?, self.set(right, outer)?);
        if a.columns.len() != b.columns.len() {
            let why = "each part of a set operation must have the same number of columns";
            return Err(SqlError::new(code::SYNTAX, why));
        }
        let all = quantifier == SetQuantifier::All;
        let word = match (op, all) {
            (SetOperator::Union, true) => "UNION ALL",
            (SetOperator::Union, false) => "UNION",
            (SetOperator::Intersect, false) => "INTERSECT",
            (SetOperator::Except, false) => "EXCEPT",
            _ => return Err(SqlError::unsupported(format!("{op} ALL"))),
        };
        let mut columns = a.columns.clone();
        let (mut sides, mut wraps) = ((Vec::new(), Vec::new()), !all);
        for (n, (x, y)) in a.columns.iter().zip(&b.columns).enumerate() {
            let side = |column: &Output| Made1::new(quoted(&column.label), column.ty);
            let mut ty = self.common(&[side(x), side(y)])?;
            if ty == Ty::Unknown {
                ty = Ty::Text;
            }
            wraps |= x.ty != ty || y.ty != ty;
            columns[n].ty = ty;
            columns[n].origin = (0, 0);
            columns[n].nullable = x.nullable || y.nullable;
            for (column, into) in [(x, &mut sides.0), (y, &mut sides.1)] {
                let mut made = side(column);
                if column.ty == Ty::Unknown && !ty.is_text() {
                    // A literal or null that had no type yet.
                    made = Made1::new(
                        format!("cast_to({}, {})", super::literal(ty.sql_name()), made.sql),
                        ty,
                    );
                } else {
                    made = self.coerce(made, ty)?;
                }
                into.push(format!("{} AS {}", made.ordered(), quoted(&columns[n].label)));
            }
        }
        let whole = |made: &Made, list: &[String], plain: bool| {
            if wraps || !plain {
                format!("SELECT {} FROM ({})", list.join(", "), made.sql)
            } else {
                made.sql.clone()
            }
        };
        let plain = |side: &SetExpr| matches!(side, SetExpr::Select(_));
        let sql = format!(
            "{} {word} {}",
            whole(&a, &sides.0, plain(left)),
            whole(&b, &sides.1, plain(right))
        );
        Ok(Made { sql, columns })
    }

    fn values(&mut self, values: &Values, outer: Option<&Scope<'_>>) -> Result<Made, SqlError> {
        let mut scope = Scope::inside(outer);
        let mut rows: Vec<Vec<Made1>> = Vec::new();
        for row in &values.rows {
            let row = row.content.iter().map(|expr| self.expression(expr, &mut scope));
            rows.push(row.collect::<Result<_, _>>()?);
        }
        let width = rows.first().map_or(0, Vec::len);
        if rows.iter().any(|row| row.len() != width) {
            return Err(SqlError::new(code::SYNTAX, "VALUES lists must all be the same length"));
        }
        let mut columns = Vec::new();
        for n in 0..width {
            let column: Vec<_> = rows.iter().map(|row| row[n].clone()).collect();
            let (column, ty) = self.alike(column)?;
            for (row, made) in rows.iter_mut().zip(column) {
                row[n] = made;
            }
            let name = format!("column{}", n + 1);
            columns.push(Output { label: name.clone(), name, ty, origin: (0, 0), nullable: true });
        }
        let list: Vec<_> = rows
            .iter()
            .map(|row| {
                let row: Vec<_> = row.iter().map(|made| made.sql.as_str()).collect();
                format!("({})", row.join(", "))
            })
            .collect();
        let names: Vec<_> = columns.iter().map(|column| column.label.as_str()).collect();
        let sql = format!("SELECT {} FROM (VALUES {})", names.join(", "), list.join(", "));
        Ok(Made { sql, columns })
    }
}
