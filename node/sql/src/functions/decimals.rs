//! Exact arithmetic over decimals, 28 digits. A quotient has up to 20 digits after the point.

use rusqlite::{
    Connection, Result,
    functions::{Aggregate, Context, FunctionFlags, WindowAggregate},
    types::{Value, ValueRef},
};
use rust_decimal::{Decimal, RoundingStrategy};

use super::{int_of, number_of, strict};
use crate::{
    error::{SqlError, code},
    ty::numeric::{Small, key},
};

/// Digits after the point of a quotient at most.
const QUOTIENT_SCALE: u32 = 20;

fn range() -> SqlError {
    SqlError::new(code::OUT_OF_RANGE, "numeric value has more than 28 digits")
}

fn value(number: Decimal) -> Value {
    Value::Text(number.to_string())
}

fn quotient(a: Decimal, b: Decimal) -> std::result::Result<Decimal, SqlError> {
    if b.is_zero() {
        return Err(SqlError::new(code::DIVISION_BY_ZERO, "division by zero"));
    }
    let mut exact = a.checked_div(b).ok_or_else(range)?;
    exact = exact.round_dp_with_strategy(QUOTIENT_SCALE, half()).normalize();
    let scale = a.scale().max(b.scale());
    if exact.scale() < scale {
        exact.rescale(scale);
    }
    Ok(exact)
}

/// As PostgreSQL rounds: half away from zero.
fn half() -> RoundingStrategy {
    RoundingStrategy::MidpointAwayFromZero
}

pub(super) fn register(db: &Connection) -> Result<()> {
    type Binary = fn(Decimal, Decimal) -> std::result::Result<Decimal, SqlError>;
    let binary: [(&str, Binary); 5] = [
        ("n_add", |a, b| a.checked_add(b).ok_or_else(range)),
        ("n_sub", |a, b| a.checked_sub(b).ok_or_else(range)),
        ("n_mul", |a, b| a.checked_mul(b).ok_or_else(range)),
        ("n_div", quotient),
        ("n_mod", |a, b| {
            let zero = || SqlError::new(code::DIVISION_BY_ZERO, "division by zero");
            if b.is_zero() { Err(zero()) } else { a.checked_rem(b).ok_or_else(range) }
        }),
    ];
    for (name, call) in binary {
        strict(db, name, 2, move |context| {
            call(number_of(context.get_raw(0))?, number_of(context.get_raw(1))?).map(value)
        })?;
    }
    type Unary = fn(Decimal) -> Decimal;
    let unary: [(&str, Unary); 6] = [
        ("n_neg", |n| -n),
        ("n_abs", |n| n.abs()),
        ("n_ceil", |n| n.ceil()),
        ("n_floor", |n| n.floor()),
        ("n_sign", |n| {
            if n.is_zero() {
                n.trunc()
            } else if n.is_sign_negative() {
                Decimal::NEGATIVE_ONE
            } else {
                Decimal::ONE
            }
        }),
        ("n_from", |n| n),
    ];
    for (name, call) in unary {
        strict(db, name, 1, move |context| Ok(value(call(number_of(context.get_raw(0))?))))?;
    }
    for (name, strategy) in [("n_round", half()), ("n_trunc", RoundingStrategy::ToZero)] {
        strict(db, name, 2, move |context| {
            let number = number_of(context.get_raw(0))?;
            let scale = int_of(context, 1)?;
            Ok(value(rounded(number, scale, strategy)?))
        })?;
    }
    // What to group by.
    strict(db, "n_key", 1, |context| {
        let of = context.get_raw(0);
        Ok(match of {
            ValueRef::Text(text) => key(&String::from_utf8_lossy(text)),
            _ => key(&number_of(of)?.to_string()),
        })
    })?;
    strict(db, "n_cast", 3, |context| {
        let (precision, scale) = (int_of(context, 1)?, int_of(context, 2)?);
        let number = rounded(number_of(context.get_raw(0))?, scale, half())?;
        let digits = number.trunc().mantissa().unsigned_abs().checked_ilog10().map_or(0, |n| n + 1);
        if i64::from(digits) > precision - scale {
            return Err(SqlError::new(code::OUT_OF_RANGE, "numeric field overflow"));
        }
        Ok(value(number))
    })?;
    strict(db, "i_div", 2, |context| {
        let (a, b) = (int_of(context, 0)?, int_of(context, 1)?);
        a.checked_div(b).map(Value::Integer).ok_or_else(|| divided(b))
    })?;
    strict(db, "i_mod", 2, |context| {
        let (a, b) = (int_of(context, 0)?, int_of(context, 1)?);
        a.checked_rem(b).map(Value::Integer).ok_or_else(|| divided(b))
    })?;
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    db.create_window_function("n_sum", 1, flags, Sum)?;
    db.create_window_function("n_avg", 1, flags, Average)
}

fn divided(by: i64) -> SqlError {
    if by == 0 {
        SqlError::new(code::DIVISION_BY_ZERO, "division by zero")
    } else {
        SqlError::new(code::OUT_OF_RANGE, "bigint out of range")
    }
}

fn rounded(
    number: Decimal,
    scale: i64,
    strategy: RoundingStrategy,
) -> std::result::Result<Decimal, SqlError> {
    if let Ok(scale) = u32::try_from(scale) {
        let scale = scale.min(28);
        let mut number = number.round_dp_with_strategy(scale, strategy);
        if number.scale() < scale {
            number.rescale(scale);
        }
        return Ok(number);
    }
    let power =
        u32::try_from(-scale).ok().and_then(|n| 10_i128.checked_pow(n)).ok_or_else(range)?;
    let unit = Decimal::try_from_i128_with_scale(power, 0).map_err(|_| range())?;
    let units = (number / unit).round_dp_with_strategy(0, strategy);
    units.checked_mul(unit).ok_or_else(range)
}

/// A sum under way, and how many are in it: its digits as a whole number, with the longest scale
/// met. Sums over the ends of the range are an error at the end, not a wrong number.
#[derive(Debug, Default)]
pub struct Running {
    digits: i128,
    scale: u32,
    count: i64,
    overflow: bool,
}

impl Running {
    fn step(&mut self, context: &Context<'_>, sign: i64) -> Result<()> {
        let (digits, scale) = match context.get_raw(0) {
            ValueRef::Null => return Ok(()),
            ValueRef::Text(text) if let Some(small) = Small::parse(text) => {
                (i128::from(small.digits), small.scale)
            }
            raw => {
                let number = number_of(raw).map_err(SqlError::raise)?;
                (number.mantissa(), number.scale())
            }
        };
        self.count += sign;
        if self.add(digits * i128::from(sign), scale).is_none() {
            self.overflow = true;
        }
        Ok(())
    }

    fn add(&mut self, mut digits: i128, scale: u32) -> Option<()> {
        if scale > self.scale {
            self.digits = self.digits.checked_mul(10_i128.checked_pow(scale - self.scale)?)?;
            self.scale = scale;
        } else if scale < self.scale {
            digits = digits.checked_mul(10_i128.checked_pow(self.scale - scale)?)?;
        }
        self.digits = self.digits.checked_add(digits)?;
        Some(())
    }

    fn total(&self) -> Result<Option<Decimal>> {
        if self.count <= 0 {
            return Ok(None);
        }
        let sum = Decimal::try_from_i128_with_scale(self.digits, self.scale).ok();
        sum.filter(|_| !self.overflow).map(Some).ok_or_else(|| range().raise())
    }

    fn mean(&self) -> Result<Option<Decimal>> {
        let Some(sum) = self.total()? else { return Ok(None) };
        quotient(sum, Decimal::from(self.count)).map(Some).map_err(SqlError::raise)
    }
}

struct Sum;
struct Average;

macro_rules! aggregate {
    ($name:ident, $result:ident) => {
        impl Aggregate<Running, Option<String>> for $name {
            fn init(&self, _: &mut Context<'_>) -> Result<Running> {
                Ok(Running::default())
            }
            fn step(&self, context: &mut Context<'_>, running: &mut Running) -> Result<()> {
                running.step(context, 1)
            }
            fn finalize(
                &self,
                _: &mut Context<'_>,
                running: Option<Running>,
            ) -> Result<Option<String>> {
                Ok(running.unwrap_or_default().$result()?.map(|number| number.to_string()))
            }
        }
        impl WindowAggregate<Running, Option<String>> for $name {
            fn value(&self, running: Option<&mut Running>) -> Result<Option<String>> {
                let Some(running) = running else { return Ok(None) };
                Ok(running.$result()?.map(|number| number.to_string()))
            }
            fn inverse(&self, context: &mut Context<'_>, running: &mut Running) -> Result<()> {
                running.step(context, -1)
            }
        }
    };
}

aggregate!(Sum, total);
aggregate!(Average, mean);
