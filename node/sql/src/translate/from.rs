//! FROM: tables, relations of the catalogue, subqueries, functions that give rows, and joins.

use sqlparser::ast::{
    FunctionArg, FunctionArgExpr, JoinConstraint, JoinOperator, ObjectName, TableAlias,
    TableFactor, TableWithJoins,
};

use super::{Field, Made1, Maker, Named, Output, Scope, call::json, folded, parts, quoted};
use crate::{
    catalog,
    error::{SqlError, code},
    table::{TABLES, Table},
    ty::Ty,
};

impl Maker {
    /// The FROM clause, without the word; names become known in `scope`.
    pub(super) fn from(
        &mut self,
        from: &[TableWithJoins],
        scope: &mut Scope<'_>,
    ) -> Result<String, SqlError> {
        let mut items = Vec::new();
        for item in from {
            items.push(self.joined(item, scope)?);
        }
        Ok(items.join(", "))
    }

    fn joined(&mut self, item: &TableWithJoins, scope: &mut Scope<'_>) -> Result<String, SqlError> {
        let mut sql = self.factor(&item.relation, scope)?;
        for join in &item.joins {
            let before = scope.relations.len();
            let right = self.factor(&join.relation, scope)?;
            let (word, constraint) = match &join.join_operator {
                JoinOperator::Join(on) | JoinOperator::Inner(on) => ("JOIN", on),
                JoinOperator::Left(on) | JoinOperator::LeftOuter(on) => ("LEFT JOIN", on),
                JoinOperator::Right(on) | JoinOperator::RightOuter(on) => ("RIGHT JOIN", on),
                JoinOperator::FullOuter(on) => ("FULL JOIN", on),
                JoinOperator::CrossJoin(on) => ("CROSS JOIN", on),
                _ => return Err(SqlError::unsupported("this kind of join")),
            };
            if matches!(word, "LEFT JOIN" | "FULL JOIN") {
                outer(&mut scope.relations[before..]);
            }
            if matches!(word, "RIGHT JOIN" | "FULL JOIN") {
                outer(&mut scope.relations[..before]);
            }
            sql += &format!(" {word} {right}");
            match constraint {
                JoinConstraint::On(on) => sql += &format!(" ON {}", self.condition(on, scope)?),
                JoinConstraint::Using(names) => {
                    let names: Vec<_> = names.iter().filter_map(|name| parts(name).pop()).collect();
                    sql += &using(names, scope);
                }
                JoinConstraint::Natural => {
                    let has =
                        |named: &Named, name: &str| named.columns.iter().any(|f| f.name == name);
                    let (left, right) = scope.relations.split_at(before);
                    let names: Vec<_> = right
                        .iter()
                        .flat_map(|named| &named.columns)
                        .filter(|field| left.iter().any(|named| has(named, &field.name)))
                        .map(|field| field.name.clone())
                        .collect();
                    if !names.is_empty() {
                        sql += &using(names, scope);
                    }
                }
                JoinConstraint::None if word == "CROSS JOIN" => {}
                _ => return Err(SqlError::new(code::SYNTAX, "a join needs ON or USING")),
            }
        }
        Ok(sql)
    }

    fn factor(&mut self, factor: &TableFactor, scope: &mut Scope<'_>) -> Result<String, SqlError> {
        match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                self.table(name, alias.as_ref(), scope)
            }
            TableFactor::Table { name, alias, args: Some(args), .. } => {
                self.rows_of(name, &args.args, alias.as_ref(), scope)
            }
            TableFactor::Function { name, args, alias, .. } => {
                self.rows_of(name, args, alias.as_ref(), scope)
            }
            TableFactor::UNNEST { alias, array_exprs, .. } => {
                let [array] = &array_exprs[..] else {
                    return Err(SqlError::unsupported("unnest of several arrays"));
                };
                let array = self.expression(array, scope)?;
                self.unnest(array, alias.as_ref(), scope)
            }
            TableFactor::Derived { lateral: false, subquery, alias, .. } => {
                let made = self.query(subquery, scope.outer)?;
                let alias_name = match alias {
                    Some(alias) => folded(&alias.name),
                    None => self.name("query"),
                };
                let names = renamed(&made.columns, alias.as_ref())?;
                let mut columns = made.columns;
                let mut sql = made.sql;
                if alias.as_ref().is_some_and(|alias| !alias.columns.is_empty()) {
                    // USING must find them under the names given.
                    for (column, name) in columns.iter_mut().zip(&names) {
                        column.label.clone_from(name);
                    }
                    let labels: Vec<_> = names.iter().map(|name| quoted(name)).collect();
                    sql = format!("WITH v({}) AS ({sql}) SELECT * FROM v", labels.join(", "));
                }
                known(scope, &alias_name, None, 0, fields(&alias_name, &columns, &names));
                Ok(format!("({sql}) AS {}", quoted(&alias_name)))
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                let sql = self.joined(table_with_joins, scope)?;
                Ok(format!("({sql})"))
            }
            _ => Err(SqlError::unsupported("this form of FROM")),
        }
    }

    fn table(
        &mut self,
        name: &ObjectName,
        alias: Option<&TableAlias>,
        scope: &mut Scope<'_>,
    ) -> Result<String, SqlError> {
        let path = parts(name);
        let (schema, table) = match &path[..] {
            [table] => (None, table.as_str()),
            [schema, table] | [_, schema, table] => (Some(schema.as_str()), table.as_str()),
            _ => return Err(no_table(&name.to_string())),
        };
        let shown = alias.map_or_else(|| table.to_owned(), |alias| folded(&alias.name));
        if schema.is_none()
            && let Some((cte, columns)) = self.ctes.iter().rev().find(|(cte, _)| cte == table)
        {
            let names = renamed(columns, alias)?;
            let sql = format!("{} AS {}", quoted(cte), quoted(&shown));
            let fields = fields(&shown, columns, &names);
            known(scope, &shown, None, 0, fields);
            return Ok(sql);
        }
        if schema.is_none_or(|schema| schema == "public")
            && let Some(found) = Table::named(table)
        {
            let mut fields = table_fields(found, &shown);
            rename_fields(&mut fields, alias)?;
            let oid = catalog::oid_of(found.name).unwrap_or(0);
            known(scope, &shown, Some("public"), oid, fields);
            if found.live {
                return Ok(format!("{} AS {}", live(), quoted(&shown)));
            }
            return Ok(format!("{} AS {}", quoted(found.name), quoted(&shown)));
        }
        let Some(found) = catalog::find(schema, table) else {
            return Err(no_table(&path.join(".")));
        };
        let mut fields: Vec<_> = found
            .columns
            .iter()
            .map(|(name, ty)| Field {
                name: (*name).to_owned(),
                sql: format!("{}.{}", quoted(&shown), quoted(name)),
                ty: *ty,
                nullable: true,
                origin: (0, 0),
            })
            .collect();
        rename_fields(&mut fields, alias)?;
        let oid = catalog::oid_of(found.name).unwrap_or(0);
        known(scope, &shown, Some(found.schema), oid, fields);
        Ok(match found.select {
            None => format!("{} AS {}", quoted(&found.stored_name()), quoted(&shown)),
            Some(select) => {
                let names: Vec<_> = found.columns.iter().map(|(name, _)| quoted(name)).collect();
                let names = names.join(", ");
                format!("(WITH v({names}) AS ({select}) SELECT * FROM v) AS {}", quoted(&shown))
            }
        })
    }

    fn rows_of(
        &mut self,
        name: &ObjectName,
        arguments: &[FunctionArg],
        alias: Option<&TableAlias>,
        scope: &mut Scope<'_>,
    ) -> Result<String, SqlError> {
        let name = parts(name).pop().unwrap_or_default();
        let mut made = Vec::new();
        for argument in arguments {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = argument else {
                return Err(SqlError::unsupported("this form of argument"));
            };
            made.push(self.expression(expr, scope)?);
        }
        let shown = alias.map_or_else(|| name.clone(), |alias| folded(&alias.name));
        let of = |name: &str, ty| Output {
            name: name.to_owned(),
            ty,
            origin: (0, 0),
            label: name.to_owned(),
            nullable: true,
        };
        match (name.as_str(), made.len()) {
            ("unnest", 1) => {
                let array = made.remove(0);
                self.unnest(array, alias, scope)
            }
            ("generate_series", 2 | 3) => {
                let moment =
                    |made: &Made1| matches!(made.ty, Ty::Date | Ty::Timestamp | Ty::Timestamptz);
                let (ty, next) = if moment(&made[0]) {
                    let step = made.pop().filter(|_| made.len() == 2).ok_or_else(|| {
                        SqlError::unsupported("generate_series over moments without a step")
                    })?;
                    let ty =
                        if made[0].ty == Ty::Timestamptz { Ty::Timestamptz } else { Ty::Timestamp };
                    let step = self.coerce(step, Ty::Interval)?.sql;
                    (ty, format!("ts_add(v, {step}, 1)"))
                } else {
                    let step = match made.len() {
                        3 => made.pop().map_or_else(String::new, |step| step.sql),
                        _ => "1".to_owned(),
                    };
                    (Ty::Int8, format!("v + {step}"))
                };
                let mut bounds = Vec::new();
                for bound in made {
                    bounds.push(self.coerce(bound, ty)?.sql);
                }
                let (from, to) = (&bounds[0], &bounds[1]);
                let column = [of("generate_series", ty)];
                let names = match alias {
                    Some(alias) if alias.columns.is_empty() => vec![folded(&alias.name)],
                    alias => renamed(&column, alias)?,
                };
                known(scope, &shown, None, 0, fields(&shown, &column, &names));
                Ok(format!(
                    "(WITH RECURSIVE s(v) AS (SELECT {from} WHERE {from} <= {to} UNION ALL SELECT {next} FROM s WHERE {next} <= {to}) SELECT v AS \"generate_series\" FROM s) AS {}",
                    quoted(&shown)
                ))
            }
            ("pg_get_keywords", 0) => {
                let columns = [
                    of("word", Ty::Text),
                    of("catcode", Ty::Char),
                    of("barelabel", Ty::Bool),
                    of("catdesc", Ty::Text),
                    of("baredesc", Ty::Text),
                ];
                let names = renamed(&columns, alias)?;
                known(scope, &shown, None, 0, fields(&shown, &columns, &names));
                Ok(format!(
                    "(WITH k(word, catcode, barelabel, catdesc, baredesc) AS (VALUES ('select', 'R', 1, 'reserved', ''), ('from', 'R', 1, 'reserved', ''), ('where', 'R', 1, 'reserved', ''), ('order', 'R', 1, 'reserved', ''), ('group', 'R', 1, 'reserved', '')) SELECT * FROM k) AS {}",
                    quoted(&shown)
                ))
            }
            _ => {
                Err(SqlError::new(code::NO_FUNCTION, format!("function {name} gives no rows here")))
            }
        }
    }

    fn unnest(
        &mut self,
        array: Made1,
        alias: Option<&TableAlias>,
        scope: &mut Scope<'_>,
    ) -> Result<String, SqlError> {
        let shown = alias.map_or_else(|| "unnest".to_owned(), |alias| folded(&alias.name));
        let name = match alias.and_then(|alias| alias.columns.first()) {
            Some(column) => folded(&column.name),
            None => shown.clone(),
        };
        let array =
            if array.ty == Ty::Unknown { self.coerce(array, Ty::TextArray)? } else { array };
        let ty = if array.ty == Ty::Int2Vector { Ty::Int2 } else { array.ty.element() };
        let sql = format!("{}.value", quoted(&shown));
        let field = Field { name, sql, ty, nullable: true, origin: (0, 0) };
        known(scope, &shown, None, 0, vec![field]);
        Ok(format!("json_each({}) AS {}", json(&array), quoted(&shown)))
    }
}

fn using(names: Vec<String>, scope: &mut Scope<'_>) -> String {
    let list: Vec<_> = names.iter().map(|name| quoted(name)).collect();
    scope.shared.extend(names);
    format!(" USING ({})", list.join(", "))
}

fn outer(relations: &mut [Named]) {
    for field in relations.iter_mut().flat_map(|named| &mut named.columns) {
        field.nullable = true;
    }
}

fn known(
    scope: &mut Scope<'_>,
    alias: &str,
    schema: Option<&'static str>,
    oid: u32,
    columns: Vec<Field>,
) {
    scope.relations.push(Named { alias: alias.to_owned(), schema, columns, oid });
}

/// The columns of a query's result under the names given.
fn fields(alias: &str, columns: &[Output], names: &[String]) -> Vec<Field> {
    let field = |(column, name): (&Output, &String)| Field {
        name: name.clone(),
        sql: format!("{}.{}", quoted(alias), quoted(&column.label)),
        ty: column.ty,
        nullable: column.nullable,
        origin: column.origin,
    };
    columns.iter().zip(names).map(field).collect()
}

fn table_fields(table: &'static Table, alias: &str) -> Vec<Field> {
    let oid = catalog::oid_of(table.name).unwrap_or(0);
    (1_i16..)
        .zip(table.columns)
        .map(|(number, column)| Field {
            name: column.name.to_owned(),
            sql: match column.worked_out {
                None => format!("{}.{}", quoted(alias), quoted(column.name)),
                Some(sql) => sql.replace("{t}", &quoted(alias)),
            },
            ty: column.ty,
            nullable: column.nullable,
            origin: (oid, number),
        })
        .collect()
}

/// The names of the columns, some of them given anew by `AS alias (a, b)`.
fn renamed(columns: &[Output], alias: Option<&TableAlias>) -> Result<Vec<String>, SqlError> {
    let given = alias.map_or(&[][..], |alias| &alias.columns);
    if given.len() > columns.len() {
        return Err(SqlError::new("42P10", "the alias names more columns than there are"));
    }
    let mut names: Vec<_> = columns.iter().map(|column| column.name.clone()).collect();
    for (name, given) in names.iter_mut().zip(given) {
        *name = folded(&given.name);
    }
    Ok(names)
}

fn rename_fields(fields: &mut [Field], alias: Option<&TableAlias>) -> Result<(), SqlError> {
    let given = alias.map_or(&[][..], |alias| &alias.columns);
    if given.len() > fields.len() {
        return Err(SqlError::new("42P10", "the alias names more columns than there are"));
    }
    for (field, given) in fields.iter_mut().zip(given) {
        field.name = folded(&given.name);
    }
    Ok(())
}

/// The one row of `sync_status`.
fn live() -> &'static str {
    "(SELECT status('vat') AS \"vat\", status('as_of') AS \"as_of\", status('connected') AS \"connected\", \
     status('pending') AS \"pending\", max(0, status('feed') - position) AS \"behind\", \
     documents AS \"documents\" FROM _head)"
}

fn no_table(name: &str) -> SqlError {
    let tables: Vec<_> = TABLES.iter().map(|table| table.name).collect();
    let mut error = SqlError::new(code::NO_TABLE, format!("relation \"{name}\" does not exist"));
    if !name.contains('.') {
        error.message += &format!("; there are {}", tables.join(", "));
    }
    error
}
