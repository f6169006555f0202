//! Decimals: their text, and PostgreSQL's binary form.

use rust_decimal::Decimal;

/// A decimal from its digits; also `1e-3`.
#[must_use]
pub fn parse(text: &str) -> Option<Decimal> {
    Decimal::from_str_exact(text).or_else(|_| Decimal::from_scientific(text)).ok()
}

/// PostgreSQL's binary numeric: groups of four decimal digits.
pub(super) fn write_binary(value: Decimal, out: &mut Vec<u8>) {
    let scale = value.scale();
    let mut rest = value.mantissa().unsigned_abs();
    // The last group must end at a multiple of four digits after the point.
    rest *= 10_u128.pow((4 - scale % 4) % 4);
    let mut groups = Vec::new();
    while rest > 0 {
        groups.push((rest % 10_000) as u16);
        rest /= 10_000;
    }
    let fraction = i16::try_from(scale.div_ceil(4)).unwrap_or(0);
    let weight = i16::try_from(groups.len()).unwrap_or(0) - fraction - 1;
    let trailing = groups.iter().take_while(|group| **group == 0).count();
    groups.drain(..trailing);
    groups.reverse();
    out.extend((groups.len() as u16).to_be_bytes());
    out.extend(if groups.is_empty() { 0 } else { weight }.to_be_bytes());
    out.extend(if value.is_sign_negative() { 0x4000_u16 } else { 0 }.to_be_bytes());
    out.extend((scale as u16).to_be_bytes());
    for group in groups {
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
        write_binary(parse("12345678.90").unwrap(), &mut bytes);
        assert_eq!(bytes, [0, 3, 0, 1, 0, 0, 0, 2, 4, 210, 22, 46, 35, 40]);
    }
}
