//! SELECT: its list, WHERE, GROUP BY, HAVING, ORDER BY.

use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, NamedWindowExpr, OrderByExpr, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, Value as Literal,
};

use super::{Field, Made1, Maker, Output, Scope, folded, parts, quoted};
use crate::{
    error::{SqlError, code},
    ty::Ty,
};

impl Maker {
    pub(super) fn select(
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
                    self.sums = true;
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
            return Ok(made.grouped());
        }
        match self.expression(expr, scope) {
            Ok(made) => Ok(made.grouped()),
            Err(error) if error.code == code::NO_COLUMN => {
                let Expr::Identifier(name) = expr else { return Err(error) };
                let name = folded(name);
                let place = columns.iter().position(|column| column.name == name);
                place.map(|place| list[place].grouped()).ok_or(error)
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
