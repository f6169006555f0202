//! Names: which column of which relation one means, from the innermost query outwards.

use super::{Field, Made1, Scope};
use crate::{
    error::{SqlError, code},
    ty::Ty,
};

pub(super) fn of_field(field: Field) -> Made1 {
    Made1 { nullable: field.nullable, origin: field.origin, ..Made1::new(field.sql, field.ty) }
}

/// `a`, `a.b` and so on: a column, or a function's column under its relation's name.
pub(super) fn compound(scope: &Scope<'_>, names: &[String]) -> Result<Made1, SqlError> {
    let found = match names {
        [relation, name] => find(scope, None, Some(relation), name)?,
        [schema, relation, name] | [_, schema, relation, name] => {
            find(scope, Some(schema), Some(relation), name)?
        }
        _ => None,
    };
    match found {
        Some(field) => Ok(of_field(field)),
        None => Err(missing(scope, names)),
    }
}

fn missing(scope: &Scope<'_>, names: &[String]) -> SqlError {
    let relation = names.len().checked_sub(2).map_or("", |n| names[n].as_str());
    let mut here = Some(scope);
    while let Some(scope) = here {
        if scope.relations.iter().any(|named| named.alias == relation) {
            return no_column(&names.join("."));
        }
        here = scope.outer;
    }
    let why = format!("missing FROM-clause entry for table \"{relation}\"");
    SqlError::new(code::NO_TABLE, why)
}

pub(super) fn no_column(name: &str) -> SqlError {
    SqlError::new(code::NO_COLUMN, format!("column \"{name}\" does not exist"))
}

pub(super) fn find(
    scope: &Scope<'_>,
    schema: Option<&str>,
    relation: Option<&str>,
    name: &str,
) -> Result<Option<Field>, SqlError> {
    let mut here = Some(scope);
    while let Some(scope) = here {
        let mut found: Option<Field> = None;
        for named in &scope.relations {
            if relation.is_some_and(|relation| relation != named.alias)
                || schema.is_some_and(|schema| named.schema.is_some_and(|known| known != schema))
            {
                continue;
            }
            let column = named.columns.iter().find(|field| field.name == name).cloned();
            let Some(column) = column.or_else(|| relation.and_then(|_| system(named, name))) else {
                continue;
            };
            if found.is_some() {
                if relation.is_none() && scope.shared.iter().any(|shared| shared == name) {
                    continue;
                }
                let why = format!("column reference \"{name}\" is ambiguous");
                return Err(SqlError::new(code::AMBIGUOUS, why));
            }
            found = Some(column);
        }
        if found.is_some() {
            return Ok(found);
        }
        here = scope.outer;
    }
    Ok(None)
}

/// The columns that every table has unseen, which tools ask the catalogue for.
fn system(named: &super::Named, name: &str) -> Option<Field> {
    let (sql, ty) = match name {
        "tableoid" => (named.oid.to_string(), Ty::Oid),
        "xmin" | "xmax" => ("0".to_owned(), Ty::Int8),
        "ctid" => ("'(0,0)'".to_owned(), Ty::Text),
        _ => return None,
    };
    Some(Field { name: name.to_owned(), sql, ty, nullable: false, origin: (0, 0) })
}
