//! Queries: WITH, SELECT, set operations, ORDER BY, LIMIT.

use sqlparser::ast::{
    Cte, Distinct, Expr, GroupByExpr, LimitClause, NamedWindowExpr, OrderByExpr, OrderByKind,
    Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, SetOperator,
    SetQuantifier, Value as Literal, Values,
};

use super::{Field, Made, Made1, Maker, Output, Scope, folded, parts, quoted};
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

    fn select(
        &mut self,
        select: &Select,
        by: &[OrderByExpr],
        outer: Option<&Scope<'_>>,
    ) -> Result<(String, Vec<Output>), SqlError> {
        if select.into.is_some() {
            return Err(crate::statement::read_only("SELECT INTO"));
        }
        let mut scope = Scope::inside(outer);
        let from = self.from(&select.from, &mut scope)?;
        for window in &select.named_window {
            let NamedWindowExpr::WindowSpec(spec) = &window.1 else {
                return Err(SqlError::unsupported("a window made from another"));
            };
            let sql = self.window(spec, &mut scope)?;
            scope.windows.insert(folded(&window.0), sql);
        }
        let distinct = match &select.distinct {
            None | Some(Distinct::All) => false,
            Some(Distinct::Distinct) => true,
            Some(Distinct::On(_)) => return Err(SqlError::unsupported("DISTINCT ON")),
        };
        let (mut list, mut columns) = (Vec::new(), Vec::new());
        for item in &select.projection {
            self.project(item, &mut scope, &mut list, &mut columns)?;
        }
        // In a query that has no type for it, a literal is a text.
        let shown: Vec<_> = list
            .iter()
            .zip(&columns)
            .map(|(made, column): (&Made1, &Output)| {
                let sql = if distinct { made.ordered() } else { made.sql.clone() };
                format!("{sql} AS {}", quoted(&column.label))
            })
            .collect();
        let condition = match &select.selection {
            Some(expr) => format!(" WHERE {}", self.condition(expr, &mut scope)?),
            None => String::new(),
        };
        let mut grouped = String::new();
        match &select.group_by {
            GroupByExpr::Expressions(all, with) if with.is_empty() => {
                let mut keys = Vec::new();
                for expr in all {
                    keys.push(self.key(expr, &list, &columns, &mut scope)?);
                }
                if !keys.is_empty() {
                    grouped = format!(" GROUP BY {}", keys.join(", "));
                }
            }
            _ => return Err(SqlError::unsupported("GROUP BY ALL, CUBE and ROLLUP")),
        }
        if let Some(having) = &select.having {
            grouped += &format!(" HAVING {}", self.condition(having, &mut scope)?);
        }
        let mut ordered = String::new();
        if !by.is_empty() {
            ordered = format!(" ORDER BY {}", self.order(by, Some(&columns), &mut scope)?);
        }
        let mut items: Vec<_> = std::mem::take(&mut scope.unfolded);
        if !from.is_empty() {
            items.insert(0, from);
        }
        let from =
            if items.is_empty() { String::new() } else { format!(" FROM {}", items.join(", ")) };
        let word = if distinct { "DISTINCT " } else { "" };
        // PostgreSQL has rows without columns; nobody reads them.
        let shown = if shown.is_empty() { "NULL".to_owned() } else { shown.join(", ") };
        Ok((format!("SELECT {word}{shown}{from}{condition}{grouped}{ordered}"), columns))
    }

    fn project(
        &mut self,
        item: &SelectItem,
        scope: &mut Scope<'_>,
        list: &mut Vec<Made1>,
        columns: &mut Vec<Output>,
    ) -> Result<(), SqlError> {
        let mut add = |made: Made1, name: String| {
            let taken = columns.iter().any(|column| column.label == name);
            let label = if taken { format!("{name}:{}", columns.len()) } else { name.clone() };
            columns.push(Output {
                name,
                ty: made.ty,
                origin: made.origin,
                label,
                nullable: made.nullable,
            });
            list.push(made);
        };
        let field = |field: &Field| Made1 {
            origin: field.origin,
            nullable: field.nullable,
            ..Made1::new(field.sql.clone(), field.ty)
        };
        match item {
            SelectItem::UnnamedExpr(expr) => {
                let made = self.expression(expr, scope)?;
                add(self.settled(made), name_of(expr));
            }
            SelectItem::ExprWithAlias { expr, alias } => {
                let made = self.expression(expr, scope)?;
                add(self.settled(made), folded(alias));
            }
            SelectItem::Wildcard(_) => {
                let mut seen = Vec::new();
                if scope.relations.is_empty() {
                    return Err(SqlError::new(
                        code::SYNTAX,
                        "SELECT * with no tables is not valid",
                    ));
                }
                for column in scope.relations.iter().flat_map(|named| &named.columns) {
                    let shared = scope.shared.contains(&column.name);
                    if shared && seen.contains(&column.name) {
                        continue;
                    }
                    seen.push(column.name.clone());
                    add(field(column), column.name.clone());
                }
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                let name = parts(name).pop().unwrap_or_default();
                let Some(named) = scope.relations.iter().find(|named| named.alias == name) else {
                    let why = format!("missing FROM-clause entry for table \"{name}\"");
                    return Err(SqlError::new(code::NO_TABLE, why));
                };
                for column in &named.columns {
                    add(field(column), column.name.clone());
                }
            }
            _ => return Err(SqlError::unsupported("this form of a select list")),
        }
        Ok(())
    }

    /// A parameter of which nothing more can be known is a text.
    fn settled(&mut self, mut made: Made1) -> Made1 {
        if let Some(number) = made.parameter
            && made.ty == Ty::Unknown
        {
            made.ty = *self.parameters[number].get_or_insert(Ty::Text);
        }
        made
    }

    /// What to group by: a place, a column, a name of the select list, or an expression.
    fn key(
        &mut self,
        expr: &Expr,
        list: &[Made1],
        columns: &[Output],
        scope: &mut Scope<'_>,
    ) -> Result<String, SqlError> {
        let place = match expr {
            Expr::Value(value) => match &value.value {
                Literal::Number(text, _) => {
                    text.parse::<usize>().ok().and_then(|n| n.checked_sub(1))
                }
                _ => None,
            },
            _ => None,
        };
        if let Some(place) = place {
            let made = list.get(place).ok_or_else(|| no_place("GROUP BY", place + 1))?;
            return Ok(made.ordered());
        }
        match self.expression(expr, scope) {
            Ok(made) => Ok(made.ordered()),
            Err(error) if error.code == code::NO_COLUMN => {
                let Expr::Identifier(name) = expr else { return Err(error) };
                let name = folded(name);
                let place = columns.iter().position(|column| column.name == name);
                place.map(|place| list[place].ordered()).ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// ORDER BY: a name or place of the select list, or an expression. Nulls come last, or
    /// first where the order is descending, as PostgreSQL has it.
    pub(super) fn order(
        &mut self,
        by: &[OrderByExpr],
        columns: Option<&[Output]>,
        scope: &mut Scope<'_>,
    ) -> Result<String, SqlError> {
        let mut list = Vec::new();
        for one in by {
            let named = columns.and_then(|columns| {
                let place = match &one.expr {
                    Expr::Identifier(name) => {
                        let name = folded(name);
                        columns.iter().position(|column| column.name == name)
                    }
                    Expr::Value(value) => match &value.value {
                        Literal::Number(text, _) => {
                            text.parse::<usize>().ok().and_then(|n| n.checked_sub(1))
                        }
                        _ => None,
                    },
                    _ => None,
                }?;
                Some((place, columns.get(place)))
            });
            let (sql, nullable) = match named {
                Some((place, None)) => return Err(no_place("ORDER BY", place + 1)),
                Some((place, Some(column))) => {
                    let number = (place + 1).to_string();
                    (Made1::new(number, column.ty).ordered(), column.nullable)
                }
                None => {
                    let made = self.expression(&one.expr, scope)?;
                    (made.ordered(), made.nullable)
                }
            };
            let ascending = match &one.options.sort {
                None | Some(sqlparser::ast::OrderBySort::Asc) => true,
                Some(sqlparser::ast::OrderBySort::Desc) => false,
                Some(_) => return Err(SqlError::unsupported("ORDER BY USING")),
            };
            let word = if ascending { "ASC" } else { "DESC" };
            // Left out where there are none, so that an index can serve.
            let nulls = match one.options.nulls_first {
                _ if !nullable => "",
                Some(true) => " NULLS FIRST",
                Some(false) => " NULLS LAST",
                None if ascending => " NULLS LAST",
                None => " NULLS FIRST",
            };
            list.push(format!("{sql} {word}{nulls}"));
        }
        Ok(list.join(", "))
    }
}

fn no_place(clause: &str, place: usize) -> SqlError {
    let why = format!("{clause} position {place} is not in select list");
    SqlError::new("42P10", why)
}

/// The name PostgreSQL gives a column that was given none.
fn name_of(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(name) => folded(name),
        Expr::CompoundIdentifier(names) => names.last().map(folded).unwrap_or_default(),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => name_of(inner),
        Expr::Cast { expr, data_type, .. } => match name_of(expr).as_str() {
            "?column?" => super::cast::type_of(data_type).map_or("?column?", Ty::name).to_owned(),
            name => name.to_owned(),
        },
        Expr::Function(function) => parts(&function.name).pop().unwrap_or_default(),
        Expr::Case { .. } => "case".to_owned(),
        Expr::Exists { .. } => "exists".to_owned(),
        Expr::Extract { .. } => "extract".to_owned(),
        Expr::Substring { .. } => "substring".to_owned(),
        Expr::Position { .. } => "position".to_owned(),
        Expr::Trim { .. } => "btrim".to_owned(),
        Expr::Ceil { .. } => "ceil".to_owned(),
        Expr::Floor { .. } => "floor".to_owned(),
        Expr::Array(_) => "array".to_owned(),
        Expr::Interval(_) => "interval".to_owned(),
        Expr::TypedString(typed) => {
            super::cast::type_of(&typed.data_type).map_or("text", Ty::name).to_owned()
        }
        Expr::Subquery(query) => match &*query.body {
            SetExpr::Select(select) => match select.projection.first() {
                Some(SelectItem::UnnamedExpr(expr)) => name_of(expr),
                Some(SelectItem::ExprWithAlias { alias, .. }) => folded(alias),
                _ => "?column?".to_owned(),
            },
            _ => "?column?".to_owned(),
        },
        _ => "?column?".to_owned(),
    }
}
