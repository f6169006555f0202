//! Operators: comparisons, arithmetic, patterns, IN, ANY and ALL.

use std::borrow::Cow;

use sqlparser::ast::{BinaryOperator as Op, Expr, InTarget, UnaryOperator};

use super::{Made1, Maker, Scope};
use crate::{
    error::{SqlError, code},
    ty::Ty,
};

impl Maker {
    pub(super) fn unary(
        &mut self,
        op: UnaryOperator,
        expr: &Expr,
        scope: &mut Scope<'_>,
    ) -> Result<Made1, SqlError> {
        let made = self.expression(expr, scope)?;
        let ty = made.ty;
        Ok(match op {
            UnaryOperator::Not => {
                let sql = self.coerce(made, Ty::Bool)?.sql;
                Made1::new(format!("(NOT {sql})"), Ty::Bool)
            }
            UnaryOperator::Plus if ty.is_number() => made,
            UnaryOperator::Minus if ty == Ty::Numeric => {
                Made1::new(format!("n_neg({})", made.sql), ty)
            }
            UnaryOperator::Minus if ty.is_number() => Made1::new(format!("(- {})", made.sql), ty),
            UnaryOperator::Minus => {
                let sql = self.coerce(made, Ty::Int8)?.sql;
                Made1::new(format!("(- {sql})"), Ty::Int8)
            }
            other => return Err(SqlError::unsupported(format!("the operator {other}"))),
        })
    }

    pub(super) fn binary(
        &mut self,
        left: &Expr,
        op: &Op,
        right: &Expr,
        scope: &mut Scope<'_>,
    ) -> Result<Made1, SqlError> {
        let op = &*plain(op)?;
        match op {
            Op::And | Op::Or => {
                let (a, b) = (self.condition(left, scope)?, self.condition(right, scope)?);
                let op = if *op == Op::And { "AND" } else { "OR" };
                Ok(Made1::new(format!("({a} {op} {b})"), Ty::Bool))
            }
            Op::Eq => self.compared(left, "=", right, scope),
            Op::NotEq => self.compared(left, "<>", right, scope),
            Op::Lt => self.compared(left, "<", right, scope),
            Op::LtEq => self.compared(left, "<=", right, scope),
            Op::Gt => self.compared(left, ">", right, scope),
            Op::GtEq => self.compared(left, ">=", right, scope),
            Op::PGLikeMatch => self.like(left, right, None, false, false, scope),
            Op::PGNotLikeMatch => self.like(left, right, None, true, false, scope),
            Op::PGILikeMatch => self.like(left, right, None, false, true, scope),
            Op::PGNotILikeMatch => self.like(left, right, None, true, true, scope),
            Op::PGRegexMatch | Op::PGRegexIMatch | Op::PGRegexNotMatch | Op::PGRegexNotIMatch => {
                let (a, b) = (self.texts(left, scope)?, self.texts(right, scope)?);
                let small = i32::from(matches!(op, Op::PGRegexIMatch | Op::PGRegexNotIMatch));
                let negated = matches!(op, Op::PGRegexNotMatch | Op::PGRegexNotIMatch);
                let not = if negated { "NOT " } else { "" };
                Ok(Made1::new(format!("({not}re_match({a}, {b}, {small}))"), Ty::Bool))
            }
            Op::StringConcat => {
                let a = self.expression(left, scope)?;
                let b = self.expression(right, scope)?;
                let (a, b) = (self.cast(a, Ty::Text)?, self.cast(b, Ty::Text)?);
                Ok(Made1::new(format!("({} || {})", a.sql, b.sql), Ty::Text))
            }
            _ => {
                let a = self.expression(left, scope)?;
                let b = self.expression(right, scope)?;
                self.arithmetic(a, op, b)
            }
        }
    }

    fn texts(&mut self, expr: &Expr, scope: &mut Scope<'_>) -> Result<String, SqlError> {
        let made = self.expression(expr, scope)?;
        Ok(self.cast(made, Ty::Text)?.sql)
    }

    pub(super) fn compared(
        &mut self,
        left: &Expr,
        op: &str,
        right: &Expr,
        scope: &mut Scope<'_>,
    ) -> Result<Made1, SqlError> {
        let both = vec![self.expression(left, scope)?, self.expression(right, scope)?];
        if let (Expr::Tuple(a), Expr::Tuple(b)) = (left, right) {
            let mut sides = (Vec::new(), Vec::new());
            for (a, b) in a.iter().zip(b) {
                let pair = vec![self.expression(a, scope)?, self.expression(b, scope)?];
                let (pair, _) = self.alike(pair)?;
                sides.0.push(pair[0].ordered());
                sides.1.push(pair[1].sql.clone());
            }
            let (a, b) = (sides.0.join(", "), sides.1.join(", "));
            return Ok(Made1::new(format!("(({a}) {op} ({b}))"), Ty::Bool));
        }
        let (both, _) = self.alike(both)?;
        Ok(Made1::new(format!("({} {op} {})", both[0].ordered(), both[1].sql), Ty::Bool))
    }

    fn arithmetic(&mut self, a: Made1, op: &Op, b: Made1) -> Result<Made1, SqlError> {
        let moment = |ty| matches!(ty, Ty::Date | Ty::Timestamp | Ty::Timestamptz);
        let sign = if *op == Op::Minus { -1 } else { 1 };
        let adds = matches!(op, Op::Plus | Op::Minus);
        if adds && moment(a.ty) {
            let of_unknown = |made: &Made1| made.ty == Ty::Unknown && made.literal.is_some();
            if *op == Op::Minus && (moment(b.ty) || of_unknown(&b)) {
                let (pair, ty) = self.alike(vec![a, b])?;
                let (a, b) = (&pair[0].sql, &pair[1].sql);
                return Ok(if ty == Ty::Date {
                    Made1::new(format!("({a} - {b})"), Ty::Int4)
                } else {
                    Made1::new(format!("ts_between({a}, {b})"), Ty::Interval)
                });
            }
            if a.ty == Ty::Date && (b.ty.is_int() || b.ty == Ty::Unknown) {
                let b = self.coerce(b, Ty::Int4)?;
                let op = if sign < 0 { "-" } else { "+" };
                return Ok(Made1::new(format!("({} {op} {})", a.sql, b.sql), Ty::Date));
            }
            let ty = if a.ty == Ty::Timestamptz { Ty::Timestamptz } else { Ty::Timestamp };
            let (a, b) = (self.coerce(a, ty)?, self.coerce(b, Ty::Interval)?);
            return Ok(Made1::new(format!("ts_add({}, {}, {sign})", a.sql, b.sql), ty));
        }
        if *op == Op::Plus && moment(b.ty) {
            return self.arithmetic(b, op, a);
        }
        let (pair, ty) = match self.common(&[a.clone(), b.clone()])? {
            Ty::Unknown => (vec![self.coerce(a, Ty::Int4)?, self.coerce(b, Ty::Int4)?], Ty::Int4),
            _ => self.alike(vec![a, b])?,
        };
        let (a, b) = (&pair[0].sql, &pair[1].sql);
        if !ty.is_number() {
            let why = format!("operator does not exist: {} {op}", ty.sql_name());
            return Err(SqlError::new(code::NO_FUNCTION, why));
        }
        let call = |name: &str| Ok(Made1::new(format!("{name}({a}, {b})"), ty));
        let infix = |op: &str| Ok(Made1::new(format!("({a} {op} {b})"), ty));
        match (op, ty) {
            (Op::Plus, Ty::Numeric) => call("n_add"),
            (Op::Minus, Ty::Numeric) => call("n_sub"),
            (Op::Multiply, Ty::Numeric) => call("n_mul"),
            (Op::Divide, Ty::Numeric) => call("n_div"),
            (Op::Modulo, Ty::Numeric) => call("n_mod"),
            (Op::Plus, _) => infix("+"),
            (Op::Minus, _) => infix("-"),
            (Op::Multiply, _) => infix("*"),
            (Op::Divide, Ty::Float8) => infix("/"),
            (Op::Divide, _) => call("i_div"),
            (Op::Modulo, _) if ty.is_int() => call("i_mod"),
            (Op::BitwiseAnd, _) if ty.is_int() => infix("&"),
            (Op::BitwiseOr, _) if ty.is_int() => infix("|"),
            (Op::PGBitwiseShiftLeft, _) if ty.is_int() => infix("<<"),
            (Op::PGBitwiseShiftRight, _) if ty.is_int() => infix(">>"),
            _ => Err(SqlError::unsupported(format!("the operator {op} over {}", ty.sql_name()))),
        }
    }

    pub(super) fn like(
        &mut self,
        expr: &Expr,
        pattern: &Expr,
        escape: Option<&Expr>,
        negated: bool,
        small: bool,
        scope: &mut Scope<'_>,
    ) -> Result<Made1, SqlError> {
        let (mut of, mut pattern) = (self.texts(expr, scope)?, self.texts(pattern, scope)?);
        if small {
            (of, pattern) = (format!("t_lower({of})"), format!("t_lower({pattern})"));
        }
        let escape = match escape {
            Some(escape) => self.texts(escape, scope)?,
            None => "'\\'".to_owned(),
        };
        let not = if negated { "NOT " } else { "" };
        Ok(Made1::new(format!("({of} {not}LIKE {pattern} ESCAPE {escape})"), Ty::Bool))
    }

    pub(super) fn within(
        &mut self,
        expr: &Expr,
        target: &InTarget,
        negated: bool,
        scope: &mut Scope<'_>,
    ) -> Result<Made1, SqlError> {
        let not = if negated { "NOT " } else { "" };
        let of = self.expression(expr, scope)?;
        match target {
            InTarget::List(list) => {
                let mut all = vec![of];
                for one in list {
                    all.push(self.expression(one, scope)?);
                }
                let (all, _) = self.alike(all)?;
                let list: Vec<_> = all[1..].iter().map(|one| one.sql.as_str()).collect();
                let (of, list) = (all[0].ordered(), list.join(", "));
                Ok(Made1::new(format!("({of} {not}IN ({list}))"), Ty::Bool))
            }
            InTarget::Subquery(query) => {
                let made = self.query(query, Some(scope))?;
                let of = match &made.columns[..] {
                    [column] => {
                        let side = Made1::new("", column.ty);
                        let ty = self.common(&[of.clone(), side])?;
                        self.coerce(of, ty)?
                    }
                    _ => of,
                };
                Ok(Made1::new(format!("({} {not}IN ({}))", of.ordered(), made.sql), Ty::Bool))
            }
            _ => Err(SqlError::unsupported("this form of IN")),
        }
    }

    pub(super) fn any(
        &mut self,
        left: &Expr,
        op: &Op,
        right: &Expr,
        scope: &mut Scope<'_>,
        all: bool,
    ) -> Result<Made1, SqlError> {
        let op = &*plain(op)?;
        let negated = match (op, all) {
            (Op::Eq, false) => false,
            (Op::NotEq, true) => true,
            _ => return Err(SqlError::unsupported(format!("{op} with ANY or ALL"))),
        };
        let mut right = right;
        while let Expr::Nested(inner) = right {
            right = inner;
        }
        match right {
            Expr::Subquery(query) => {
                return self.within(left, &InTarget::Subquery(query.clone()), negated, scope);
            }
            Expr::Array(array) => {
                return self.within(left, &InTarget::List(array.elem.clone()), negated, scope);
            }
            _ => {}
        }
        let of = self.expression(left, scope)?;
        let array = self.expression(right, scope)?;
        let not = if negated { "NOT " } else { "" };
        if array.ty == Ty::Int2Vector {
            let sql = format!(
                "({not}{} IN (SELECT value FROM json_each(vec_json({}))))",
                of.sql, array.sql
            );
            return Ok(Made1::new(sql, Ty::Bool));
        }
        let array = if array.ty.is_array() { array } else { self.coerce(array, Ty::TextArray)? };
        let of = self.cast(of, Ty::Text)?;
        Ok(Made1::new(format!("({not}arr_has({}, {}))", array.sql, of.sql), Ty::Bool))
    }
}

/// The operator itself, where `OPERATOR(pg_catalog.=)` spells it out.
fn plain(op: &Op) -> Result<Cow<'_, Op>, SqlError> {
    Ok(match op {
        Op::PGCustomBinaryOperator(parts) => {
            Cow::Owned(operator(parts.last().map_or("", String::as_str))?)
        }
        op => Cow::Borrowed(op),
    })
}

fn operator(symbol: &str) -> Result<Op, SqlError> {
    Ok(match symbol {
        "=" => Op::Eq,
        "<>" | "!=" => Op::NotEq,
        "<" => Op::Lt,
        "<=" => Op::LtEq,
        ">" => Op::Gt,
        ">=" => Op::GtEq,
        "+" => Op::Plus,
        "-" => Op::Minus,
        "*" => Op::Multiply,
        "/" => Op::Divide,
        "||" => Op::StringConcat,
        "~" => Op::PGRegexMatch,
        "~*" => Op::PGRegexIMatch,
        "!~" => Op::PGRegexNotMatch,
        "!~*" => Op::PGRegexNotIMatch,
        "~~" => Op::PGLikeMatch,
        "!~~" => Op::PGNotLikeMatch,
        "~~*" => Op::PGILikeMatch,
        "!~~*" => Op::PGNotILikeMatch,
        other => return Err(SqlError::unsupported(format!("the operator {other}"))),
    })
}
