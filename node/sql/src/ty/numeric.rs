//! Decimals: their text, their order, and PostgreSQL's binary form.
//!
//! What an invoice has is short. [`Small`] reads such a text in a few nanoseconds, where a decimal
//! of 28 digits takes fifty, for each row that is summed and each comparison of a sort.

use std::cmp::Ordering;

use rusqlite::types::Value;
use rust_decimal::Decimal;

/// A decimal from its digits; also `1e-3`.
#[must_use]
pub fn parse(text: &str) -> Option<Decimal> {
    Decimal::from_str_exact(text).or_else(|_| Decimal::from_scientific(text)).ok()
}

/// A decimal of at most 18 digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Small {
    /// Its digits, as if there were no point.
    pub digits: i64,
    /// How many of them stand after the point.
    pub scale: u32,
}

impl Small {
    /// None for what is longer or written in another way, which may be a decimal all the same.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (negative, text) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
        let (mut digits, mut count, mut after) = (0_i64, 0, None);
        for byte in text {
            match byte {
                b'0'..=b'9' if count < 18 => {
                    digits = digits * 10 + i64::from(byte - b'0');
                    count += 1;
                }
                b'.' if after.is_none() && count > 0 => after = Some(count),
                _ => return None,
            }
        }
        let scale = after.map_or(0, |after| count - after);
        let digits = if negative { -digits } else { digits };
        (count > 0).then_some(Self { digits, scale })
    }

    /// Without zeros at its end.
    fn shortest(mut self) -> Self {
        while self.scale > 0 && self.digits % 10 == 0 {
            self = Self { digits: self.digits / 10, scale: self.scale - 1 };
        }
        self
    }
}

/// The order of two decimals by their texts. What is no decimal comes last, as NaN does.
#[must_use]
pub fn compare(a: &str, b: &str) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    if let (Some(a), Some(b)) = (Small::parse(a.as_bytes()), Small::parse(b.as_bytes())) {
        // 18 digits and 18 more are within 39.
        let whole = |small: Small, other: Small| {
            i128::from(small.digits) * 10_i128.pow(other.scale.saturating_sub(small.scale))
        };
        return whole(a, b).cmp(&whole(b, a));
    }
    match (parse(a), parse(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (None, None) => a.cmp(b),
        (None, _) => Ordering::Greater,
        (_, None) => Ordering::Less,
    }
}

/// A value that is the same for equal decimals and no others, whatever zeros they end with: a
/// whole number where one suffices, which SQLite sorts without asking us.
#[must_use]
pub fn key(text: &str) -> Value {
    let packed = |small: Small| {
        let Small { digits, scale } = small.shortest();
        let fits = digits.unsigned_abs() < 1 << 57;
        fits.then(|| Value::Integer(digits << 5 | i64::from(scale)))
    };
    if let Some(key) = Small::parse(text.as_bytes()).and_then(packed) {
        return key;
    }
    let Some(number) = parse(text) else { return Value::Text(text.to_owned()) };
    let text = number.normalize().to_string();
    Small::parse(text.as_bytes()).and_then(packed).unwrap_or(Value::Text(text))
}

/// PostgreSQL's binary numeric: groups of four decimal digits. `digits` is as if there were no
/// point, `scale` of them stand after it.
pub(super) fn write_binary(digits: i128, scale: u32, out: &mut Vec<u8>) {
    // The last group must end at a multiple of four digits after the point.
    let whole = digits.unsigned_abs() * 10_u128.pow((4 - scale % 4) % 4);
    let (mut groups, mut count) = ([0_u16; 12], 0);
    let mut push = |group| {
        groups[count] = group;
        count += 1;
    };
    let mut long = whole;
    // Dividing what a processor has in one register is many times as quick.
    while long > u128::from(u64::MAX) {
        push((long % 10_000) as u16);
        long /= 10_000;
    }
    let mut short = long as u64;
    while short > 0 {
        push((short % 10_000) as u16);
        short /= 10_000;
    }
    let fraction = i16::try_from(scale.div_ceil(4)).unwrap_or(0);
    let weight = i16::try_from(count).unwrap_or(0) - fraction - 1;
    let groups = &groups[..count];
    let trailing = groups.iter().take_while(|group| **group == 0).count();
    let groups = &groups[trailing..];
    out.extend((groups.len() as u16).to_be_bytes());
    out.extend(if groups.is_empty() { 0 } else { weight }.to_be_bytes());
    out.extend(if digits < 0 { 0x4000_u16 } else { 0 }.to_be_bytes());
    out.extend((scale as u16).to_be_bytes());
    for group in groups.iter().rev() {
        out.extend(group.to_be_bytes());
    }
}

/// What a client sent in that form.
pub(super) fn parse_binary(bytes: &[u8]) -> Option<Decimal> {
    let word = |at: usize| Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk::<2>()?));
    let (count, weight) = (usize::from(word(0)?), word(2)? as i16);
    let (sign, scale) = (word(4)?, u32::from(word(6)?));
    if bytes.len() != 8 + 2 * count || !matches!(sign, 0 | 0x4000) || scale > 28 || count > 20 {
        return None;
    }
    let mut mantissa: i128 = 0;
    for n in 0..count {
        let group = word(8 + 2 * n).filter(|group| *group < 10_000)?;
        mantissa = mantissa.checked_mul(10_000)?.checked_add(i128::from(group))?;
    }
    // The groups give this many digits after the point; the scale wants others.
    let have = 4 * (i32::try_from(count).ok()? - 1 - i32::from(weight));
    let differ = i32::try_from(scale).ok()? - have;
    let power = 10_i128.checked_pow(differ.unsigned_abs())?;
    mantissa = if differ >= 0 { mantissa.checked_mul(power)? } else { mantissa / power };
    let value = Decimal::try_from_i128_with_scale(mantissa, scale).ok()?;
    Some(if sign == 0x4000 { -value } else { value })
}

#[cfg(test)]
mod tests {
    use rusqlite::types::ValueRef;

    use super::*;
    use crate::ty::Ty;

    #[test]
    fn a_decimal_goes_out_and_comes_back_exact() {
        for text in [
            "0",
            "0.00",
            "1",
            "-1",
            "22.00",
            "0.0001",
            "10000",
            "12345678.90",
            "-0.07",
            "99999999999.99999999",
            "100000000",
            "0.00000001",
            "79228162514264337593543950335",
        ] {
            let mut bytes = Vec::new();
            let value = Ty::Numeric.parse(text).unwrap();
            Ty::Numeric.write_binary(ValueRef::from(&value), &mut bytes).unwrap();
            assert_eq!(Ty::Numeric.parse_binary(&bytes).unwrap(), value, "{text}: {bytes:?}");
        }
        // As PostgreSQL 15 sends 12345678.90.
        let mut bytes = Vec::new();
        write_binary(1_234_567_890, 2, &mut bytes);
        assert_eq!(bytes, [0, 3, 0, 1, 0, 0, 0, 2, 4, 210, 22, 46, 35, 40]);
    }

    #[test]
    fn the_short_way_says_what_the_long_way_says() {
        let texts = [
            "0",
            "-0.00",
            "1",
            "1.0",
            "1.00",
            "-1",
            "22.00",
            "22",
            "0.01",
            "-0.01",
            "10",
            "1e2",
            "100",
            "999999999999999999",
            "9999999999999999990",
            "123456789012345678.9",
            "0.000000000000000001",
            "0.0000000000000000001",
            "1.0000000000000000000",
            "100000000000000000",
            "144115188075855872",
            "-144115188075855872.0",
            "79228162514264337593543950335",
        ];
        for a in texts {
            let long = parse(a).unwrap();
            if let Some(small) = Small::parse(a.as_bytes()) {
                assert_eq!(Decimal::new(small.digits, small.scale), long, "{a}");
            }
            for b in texts {
                let order = long.cmp(&parse(b).unwrap());
                assert_eq!(compare(a, b), order, "{a} {b}");
                assert_eq!(key(a) == key(b), order == Ordering::Equal, "{a} {b}");
            }
        }
        for odd in ["", "-", ".", "1.2.3", "1,5", "NaN", "+1", " 1", ".5"] {
            assert_eq!(Small::parse(odd.as_bytes()), None, "{odd}");
        }
        assert_eq!(compare("NaN", "5"), Ordering::Greater);
        assert_eq!(key("22.00"), Value::Integer(22 << 5));
    }
}
