//! Functions: which there are, what they take and give, and what they are in SQLite.

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments,
};

use super::{
    Made1, Maker, Scope,
    aggregate::{AGGREGATES, WINDOWED},
    expression::distinct,
    parts,
    server::constant,
};
use crate::{
    error::{SqlError, code},
    ty::Ty,
};

/// Ty::Name, its name in SQLite, what it takes, what it gives.
const PLAIN: &[(&str, &str, &[Ty], Ty)] = &[
    ("lower", "t_lower", &[Ty::Text], Ty::Text),
    ("upper", "t_upper", &[Ty::Text], Ty::Text),
    ("initcap", "t_initcap", &[Ty::Text], Ty::Text),
    ("length", "length", &[Ty::Text], Ty::Int4),
    ("char_length", "length", &[Ty::Text], Ty::Int4),
    ("character_length", "length", &[Ty::Text], Ty::Int4),
    ("octet_length", "octet_length", &[Ty::Text], Ty::Int4),
    ("substr", "substr", &[Ty::Text, Ty::Int4, Ty::Int4], Ty::Text),
    ("substring", "substr", &[Ty::Text, Ty::Int4, Ty::Int4], Ty::Text),
    ("strpos", "instr", &[Ty::Text, Ty::Text], Ty::Int4),
    ("position", "instr", &[Ty::Text, Ty::Text], Ty::Int4),
    ("replace", "replace", &[Ty::Text, Ty::Text, Ty::Text], Ty::Text),
    ("translate", "t_translate", &[Ty::Text, Ty::Text, Ty::Text], Ty::Text),
    ("left", "t_left", &[Ty::Text, Ty::Int4], Ty::Text),
    ("right", "t_right", &[Ty::Text, Ty::Int4], Ty::Text),
    ("lpad", "t_lpad", &[Ty::Text, Ty::Int4, Ty::Text], Ty::Text),
    ("rpad", "t_rpad", &[Ty::Text, Ty::Int4, Ty::Text], Ty::Text),
    ("reverse", "t_reverse", &[Ty::Text], Ty::Text),
    ("repeat", "t_repeat", &[Ty::Text, Ty::Int4], Ty::Text),
    ("split_part", "t_split", &[Ty::Text, Ty::Text, Ty::Int4], Ty::Text),
    ("ascii", "unicode", &[Ty::Text], Ty::Int4),
    ("chr", "char", &[Ty::Int4], Ty::Text),
    ("decode", "t_decode", &[Ty::Text, Ty::Text], Ty::Bytea),
    ("quote_ident", "t_quote_ident", &[Ty::Text], Ty::Text),
    ("quote_literal", "t_quote_literal", &[Ty::Text], Ty::Text),
    ("make_date", "make_day", &[Ty::Int4, Ty::Int4, Ty::Int4], Ty::Date),
    ("sqrt", "sqrt", &[Ty::Float8], Ty::Float8),
    ("power", "pow", &[Ty::Float8, Ty::Float8], Ty::Float8),
    ("pow", "pow", &[Ty::Float8, Ty::Float8], Ty::Float8),
    ("exp", "exp", &[Ty::Float8], Ty::Float8),
    ("ln", "ln", &[Ty::Float8], Ty::Float8),
    ("log", "log10", &[Ty::Float8], Ty::Float8),
    ("floor", "floor", &[Ty::Float8], Ty::Float8),
    ("ceil", "ceil", &[Ty::Float8], Ty::Float8),
    ("ceiling", "ceil", &[Ty::Float8], Ty::Float8),
    ("trunc", "trunc", &[Ty::Float8], Ty::Float8),
    ("sign", "sign", &[Ty::Float8], Ty::Float8),
    ("hashtext", "length", &[Ty::Text], Ty::Int4),
    ("pg_encoding_to_char", "to_encoding", &[Ty::Int4], Ty::Name),
    ("int8", "+", &[Ty::Int8], Ty::Int8),
    ("format_type", "format_type", &[Ty::Oid], Ty::Text),
];

impl Maker {
    pub(super) fn function(
        &mut self,
        function: &Function,
        scope: &mut Scope<'_>,
    ) -> Result<Made1, SqlError> {
        let path = parts(&function.name);
        let name = path.last().cloned().unwrap_or_default();
        let list = match &function.args {
            FunctionArguments::None => {
                return self.register(&name).ok_or_else(|| no_function(&name, &[]));
            }
            FunctionArguments::List(list) => list,
            FunctionArguments::Subquery(query) if name == "array" => {
                let made = self.query(query, Some(scope))?;
                let [column] = &made.columns[..] else {
                    return Err(SqlError::new(
                        code::SYNTAX,
                        "subquery must return only one column",
                    ));
                };
                let label = super::quoted(&column.label);
                let sql = format!(
                    "(SELECT '{{' || ifnull(group_concat(arr_quote({label}), ','), '') || '}}' FROM ({}))",
                    made.sql
                );
                return Ok(Made1::new(sql, Ty::TextArray));
            }
            FunctionArguments::Subquery(_) => {
                return Err(SqlError::unsupported("a query as argument"));
            }
        };
        let mut star = false;
        let mut arguments = Vec::new();
        for argument in &list.args {
            match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => {
                    arguments.push(self.expression(expr, scope)?);
                }
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => star = true,
                _ => return Err(SqlError::unsupported("this form of argument")),
            }
        }
        if AGGREGATES.contains(&name.as_str()) || WINDOWED.contains(&name.as_str()) {
            let mut order = String::new();
            for clause in &list.clauses {
                match clause {
                    FunctionArgumentClause::OrderBy(by) => {
                        order = format!(" ORDER BY {}", self.order(by, None, scope)?);
                    }
                    _ => return Err(SqlError::unsupported("this clause of an aggregate")),
                }
            }
            let distinct = distinct(list.duplicate_treatment);
            let (mut sql, ty) = self.aggregate(&name, arguments, star, distinct, &order)?;
            if let Some(filter) = &function.filter {
                sql += &format!(" FILTER (WHERE {})", self.condition(filter, scope)?);
            }
            match &function.over {
                None if WINDOWED.contains(&name.as_str()) => {
                    let why = format!("window function {name} requires an OVER clause");
                    return Err(SqlError::new("42809", why));
                }
                None => {}
                Some(over) => sql += &format!(" OVER {}", self.over(over, scope)?),
            }
            // array_agg makes a list between braces.
            let sql = if name == "array_agg" { format!("('{{' || {sql} || '}}')") } else { sql };
            return Ok(Made1::new(sql, ty));
        }
        if function.over.is_some() {
            let why = format!("{name} is no window function nor an aggregate");
            return Err(SqlError::new("42809", why));
        }
        if matches!(name.as_str(), "unnest" | "_pg_expandarray" | "generate_subscripts") {
            let array = arguments.into_iter().next().ok_or_else(|| no_function(&name, &[]))?;
            let alias = self.name("each");
            let ty = if array.ty == Ty::Int2Vector { Ty::Int2 } else { array.ty.element() };
            let call = format!("json_each({}) AS ", json(&array));
            // The same list named twice goes forward once, as PostgreSQL has it.
            let known = scope.unfolded.iter().find_map(|item| item.strip_prefix(&call));
            let alias = known.map_or(alias, str::to_owned);
            if !scope.unfolded.iter().any(|item| *item == format!("{call}{alias}")) {
                scope.unfolded.push(format!("{call}{alias}"));
            }
            return Ok(match name.as_str() {
                "generate_subscripts" => Made1::new(format!("({alias}.key + 1)"), Ty::Int4),
                _ => Made1::new(format!("{alias}.value"), ty),
            });
        }
        self.call(&name, arguments)
    }

    pub(super) fn by_name(
        &mut self,
        name: &str,
        arguments: &[&Expr],
        scope: &mut Scope<'_>,
    ) -> Result<Made1, SqlError> {
        let arguments =
            arguments.iter().map(|one| self.expression(one, scope)).collect::<Result<_, _>>()?;
        self.call(name, arguments)
    }

    /// A function of the catalogue or of SQL, over arguments made.
    pub(super) fn call(&mut self, name: &str, arguments: Vec<Made1>) -> Result<Made1, SqlError> {
        if arguments.is_empty()
            && let Some(made) = self.register(name)
        {
            return Ok(made);
        }
        if let Some(made) = constant(name, &arguments) {
            return Ok(made);
        }
        let types: Vec<_> = arguments.iter().map(|one| one.ty).collect();
        let count = arguments.len();
        let first = types.first().copied().unwrap_or(Ty::Void);
        match (name, count) {
            ("coalesce", 1..) | ("ifnull", 2) => {
                let (all, ty) = self.alike(arguments)?;
                return Ok(made(if count > 1 { "coalesce" } else { "" }, &all, ty));
            }
            ("greatest" | "least", 1..) => {
                let (all, ty) = self.alike(arguments)?;
                // Unlike SQLite's max and min, these pass over nulls.
                let call = if name == "greatest" { "max" } else { "min" };
                let rows: Vec<_> =
                    all.iter().map(|one| format!("SELECT {} AS v", one.sql)).collect();
                let v = if ty == Ty::Numeric { "v COLLATE NUM" } else { "v" };
                let sql = format!("(SELECT {call}({v}) FROM ({}))", rows.join(" UNION ALL "));
                return Ok(Made1::new(sql, ty));
            }
            ("nullif", 2) => {
                let (all, ty) = self.alike(arguments)?;
                let (a, b) = (all[0].ordered(), &all[1].sql);
                return Ok(Made1::new(format!("nullif({a}, {b})"), ty));
            }
            ("round" | "trunc", 1 | 2) if first != Ty::Float8 => {
                return self.typed(
                    &format!("n_{name}"),
                    arguments,
                    &[Ty::Numeric, Ty::Int4],
                    Ty::Numeric,
                    "0",
                );
            }
            ("abs" | "ceil" | "ceiling" | "floor" | "sign", 1)
                if first == Ty::Numeric || first == Ty::Unknown =>
            {
                let name = if name == "ceiling" { "ceil" } else { name };
                return self.typed(
                    &format!("n_{name}"),
                    arguments,
                    &[Ty::Numeric],
                    Ty::Numeric,
                    "",
                );
            }
            ("abs", 1) if first.is_number() => return Ok(made("abs", &arguments, first)),
            ("round", 1) => return Ok(made("round", &arguments, Ty::Float8)),
            ("mod", 2) => {
                let (pair, ty) = self.alike(arguments)?;
                return Ok(made(if ty == Ty::Numeric { "n_mod" } else { "i_mod" }, &pair, ty));
            }
            ("concat", 0..) => {
                let mut pieces = Vec::new();
                for one in arguments {
                    pieces.push(format!("ifnull({}, '')", self.cast(one, Ty::Text)?.sql));
                }
                return Ok(Made1::new(format!("({})", pieces.join(" || ")), Ty::Text));
            }
            ("concat_ws", 2..) => {
                let mut all = Vec::new();
                for one in arguments {
                    all.push(self.cast(one, Ty::Text)?);
                }
                let rows: Vec<_> =
                    all[1..].iter().map(|one| format!("SELECT {} AS v", one.sql)).collect();
                let rows = rows.join(" UNION ALL ");
                let sql =
                    format!("(SELECT ifnull(group_concat(v, {}), '') FROM ({rows}))", all[0].sql);
                return Ok(Made1::new(sql, Ty::Text));
            }
            ("to_char", 2) => {
                let (call, ty) = if first.is_number() {
                    ("to_char_n", Ty::Numeric)
                } else {
                    ("to_char_t", Ty::Timestamptz)
                };
                return self.typed(call, arguments, &[ty, Ty::Text], Ty::Text, "");
            }
            ("date_trunc", 2) => {
                let ty = match types[1] {
                    Ty::Timestamp => Ty::Timestamp,
                    _ => Ty::Timestamptz,
                };
                let unit = arguments[0].literal.as_deref().map(str::to_ascii_lowercase);
                let unit = unit.filter(|unit| crate::clock::trunc_day(unit, 0).is_some());
                if let (Some(unit), Ok(of)) = (unit, self.coerce(arguments[1].clone(), ty))
                    && let Some(day) = of.day
                {
                    return Ok(Made1::midnight(&format!("day_trunc('{unit}', {day})"), ty));
                }
                return self.typed("d_trunc", arguments, &[Ty::Text, ty], ty, "");
            }
            ("date_part" | "extract", 2) => {
                let mut all = arguments.into_iter();
                let (Some(unit), Some(of)) = (all.next(), all.next()) else {
                    return Err(no_function(name, &types));
                };
                let Some(unit) = unit.literal else {
                    return Err(SqlError::unsupported("a field that is no literal"));
                };
                let part = self.part(&unit, of)?;
                return Ok(Made1::new(format!("CAST({} AS REAL)", part.sql), Ty::Float8));
            }
            ("date", 1) => {
                let one = arguments.into_iter().next().ok_or_else(|| no_function(name, &[]))?;
                return self.cast(one, Ty::Date);
            }
            ("to_date", 2) => {
                let iso = arguments[1].literal.as_deref().map(str::to_uppercase);
                if !matches!(iso.as_deref(), Some("YYYY-MM-DD" | "DD/MM/YYYY" | "YYYYMMDD")) {
                    return Err(SqlError::unsupported("to_date with this pattern"));
                }
                let one = arguments.into_iter().next().ok_or_else(|| no_function(name, &[]))?;
                let one = self.cast(one, Ty::Text)?;
                return self.cast(one, Ty::Date);
            }
            ("to_timestamp", 1) => {
                let one = arguments.into_iter().next().ok_or_else(|| no_function(name, &[]))?;
                let one = self.cast(one, Ty::Float8)?;
                return Ok(Made1::new(
                    format!("CAST({} * 1000000 AS INTEGER)", one.sql),
                    Ty::Timestamptz,
                ));
            }
            ("trim" | "btrim" | "ltrim" | "rtrim", 1 | 2) => {
                let call = if name == "btrim" { "trim" } else { name };
                return self.typed(call, arguments, &[Ty::Text, Ty::Text], Ty::Text, "");
            }
            ("lpad" | "rpad", 2) => {
                return self.typed(
                    &format!("t_{name}"),
                    arguments,
                    &[Ty::Text, Ty::Int4, Ty::Text],
                    Ty::Text,
                    "' '",
                );
            }
            ("octet_length", 1) | ("length", 1) if first == Ty::Bytea => {
                return Ok(made("length", &arguments, Ty::Int4));
            }
            ("encode", 2) => {
                return self.typed("t_encode", arguments, &[Ty::Bytea, Ty::Text], Ty::Text, "");
            }
            ("array_to_string", 2) => {
                return self.typed("arr_join", arguments, &[Ty::TextArray, Ty::Text], Ty::Text, "");
            }
            ("array_length" | "array_upper" | "cardinality", 1 | 2) => {
                let one = arguments.into_iter().take(1).collect();
                return self.typed("arr_len", one, &[Ty::TextArray], Ty::Int4, "");
            }
            ("obj_description" | "shobj_description", 1 | 2) => {
                let of = self.coerce(arguments[0].clone(), Ty::Oid)?.sql;
                return Ok(Made1::new(
                    format!(
                        "(SELECT description FROM \"pg_catalog.pg_description\" WHERE objoid = {of} AND objsubid = 0)"
                    ),
                    Ty::Text,
                ));
            }
            ("col_description", 2) => {
                let of = self.coerce(arguments[0].clone(), Ty::Oid)?.sql;
                let at = self.coerce(arguments[1].clone(), Ty::Int4)?.sql;
                return Ok(Made1::new(
                    format!(
                        "(SELECT description FROM \"pg_catalog.pg_description\" WHERE objoid = {of} AND objsubid = {at} AND objsubid > 0)"
                    ),
                    Ty::Text,
                ));
            }
            // The names within are none that a client gives: what is asked about may be called `i`.
            ("pg_get_indexdef", 1..=3) => {
                let of = self.coerce(arguments[0].clone(), Ty::Oid)?.sql;
                let part = match arguments.get(1).filter(|at| at.sql != "0") {
                    Some(at) => format!(
                        "(SELECT attname FROM \"pg_catalog.pg_attribute\" WHERE attrelid = {of} AND attnum = {})",
                        at.sql
                    ),
                    None => format!(
                        "(SELECT 'CREATE UNIQUE INDEX ' || _c.relname || ' ON public.' || _t.relname || ' USING btree (' || (SELECT group_concat(attname, ', ') FROM \"pg_catalog.pg_attribute\" _a WHERE _a.attrelid = _c.oid) || ')' FROM \"pg_catalog.pg_index\" _i JOIN \"pg_catalog.pg_class\" _c ON _c.oid = _i.indexrelid JOIN \"pg_catalog.pg_class\" _t ON _t.oid = _i.indrelid WHERE _c.oid = {of})"
                    ),
                };
                return Ok(Made1::new(part, Ty::Text));
            }
            ("pg_get_constraintdef", 1 | 2) => {
                let of = self.coerce(arguments[0].clone(), Ty::Oid)?.sql;
                return Ok(Made1::new(
                    format!(
                        "(SELECT 'PRIMARY KEY (' || (SELECT group_concat(attname, ', ') FROM \"pg_catalog.pg_attribute\" _a WHERE _a.attrelid = _o.conindid) || ')' FROM \"pg_catalog.pg_constraint\" _o WHERE _o.oid = {of})"
                    ),
                    Ty::Text,
                ));
            }
            ("to_regclass", 1) => {
                let one = arguments.into_iter().next().ok_or_else(|| no_function(name, &[]))?;
                return Ok(self
                    .cast(one, Ty::Regclass)
                    .unwrap_or(Made1::new("NULL", Ty::Regclass)));
            }
            ("current_setting", 1 | 2) => {
                let one = self.cast(arguments[0].clone(), Ty::Text)?.sql;
                let settings = crate::catalog::find(None, "pg_settings")
                    .and_then(|r| r.select)
                    .unwrap_or("SELECT NULL, NULL");
                return Ok(Made1::new(
                    format!(
                        "(WITH s AS ({settings}) SELECT column2 FROM (SELECT \"column1\" AS k, column2 FROM s) WHERE lower(k) = lower({one}))"
                    ),
                    Ty::Text,
                ));
            }
            ("set_config", 3) => {
                let one = arguments.into_iter().nth(1).ok_or_else(|| no_function(name, &[]))?;
                return self.cast(one, Ty::Text);
            }
            _ => {}
        }
        if name == "format_type" {
            let one = arguments.into_iter().take(1).collect();
            return self.typed("format_type", one, &[Ty::Oid], Ty::Text, "");
        }
        match PLAIN.iter().find(|row| row.0 == name && count <= row.2.len() && count > 0) {
            Some((_, "to_encoding", ..)) => Ok(Made1::new("'UTF8'", Ty::Name)),
            Some((_, call, takes, gives)) => self.typed(call, arguments, takes, *gives, ""),
            None => Err(no_function(name, &types)),
        }
    }

    /// A call whose arguments are made what it takes; the last one may be left out for `default`.
    fn typed(
        &mut self,
        call: &str,
        arguments: Vec<Made1>,
        takes: &[Ty],
        gives: Ty,
        default: &str,
    ) -> Result<Made1, SqlError> {
        let mut list = Vec::new();
        for (one, ty) in arguments.into_iter().zip(takes) {
            let fits = one.ty.is_text() || *ty != Ty::Text;
            let one = if fits { self.coerce(one, *ty) } else { self.cast(one, *ty) };
            list.push(
                one.map_err(|error| {
                    SqlError::new(code::NO_FUNCTION, format!("{call}: {}", error.message))
                })?
                .sql,
            );
        }
        if list.len() < takes.len() && !default.is_empty() {
            list.push(default.to_owned());
        }
        Ok(Made1::new(format!("{call}({})", list.join(", ")), gives))
    }
}

fn made(call: &str, arguments: &[Made1], ty: Ty) -> Made1 {
    let list: Vec<_> = arguments.iter().map(|one| one.sql.as_str()).collect();
    Made1::new(format!("{call}({})", list.join(", ")), ty)
}

/// An array or vector as SQLite unfolds it.
pub(super) fn json(array: &Made1) -> String {
    let call = if array.ty == Ty::Int2Vector { "vec_json" } else { "arr_json" };
    format!("{call}({})", array.sql)
}

pub(super) fn no_function(name: &str, types: &[Ty]) -> SqlError {
    let types: Vec<_> = types.iter().map(|ty| ty.sql_name()).collect();
    let why = format!("function {name}({}) does not exist", types.join(", "));
    SqlError::new(code::NO_FUNCTION, why)
}
