//! `to_char`: dates, moments and decimals as people write them.

use rusqlite::{Connection, Result, types::Value};
use rust_decimal::{Decimal, RoundingStrategy};

use super::{int_of, number_of, strict, text_of};
use crate::clock;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

pub(super) fn register(db: &Connection) -> Result<()> {
    strict(db, "to_char_t", 2, |context| {
        Ok(Value::Text(moment(int_of(context, 0)?, &text_of(context, 1))))
    })?;
    strict(db, "to_char_n", 2, |context| {
        Ok(Value::Text(number(number_of(context.get_raw(0))?, &text_of(context, 1))))
    })
}

fn moment(micros: i64, pattern: &str) -> String {
    let day = micros.div_euclid(clock::DAY);
    let (y, m, d) = clock::civil(day);
    let part = |unit| clock::extract(unit, micros).unwrap_or(0) / 1_000_000;
    let month = MONTHS[usize::try_from(m - 1).unwrap_or(0)];
    let weekday = DAYS[usize::try_from((day + 3).rem_euclid(7)).unwrap_or(0)];
    let mut out = String::new();
    let mut rest = pattern;
    let mut fill = true;
    while let Some(first) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').unwrap_or(quoted.len());
            out += &quoted[..end];
            rest = quoted.get(end + 1..).unwrap_or_default();
            continue;
        }
        if let Some(after) = rest.strip_prefix("FM") {
            fill = false;
            rest = after;
            continue;
        }
        let two = |n: i64| if fill { format!("{n:02}") } else { n.to_string() };
        let hour = part("hour");
        let twelve = if hour % 12 == 0 { 12 } else { hour % 12 };
        let found = [
            ("YYYY", format!("{y:04}")),
            ("HH24", two(hour)),
            ("HH12", two(twelve)),
            ("Month", if fill { format!("{month:<9}") } else { month.to_owned() }),
            ("MONTH", month.to_uppercase()),
            ("month", month.to_lowercase()),
            ("DDD", format!("{:03}", part("doy"))),
            ("Mon", month[..3].to_owned()),
            ("MON", month[..3].to_uppercase()),
            ("mon", month[..3].to_lowercase()),
            ("Day", weekday.to_owned()),
            ("Dy", weekday[..3].to_owned()),
            ("YY", format!("{:02}", y % 100)),
            ("MM", two(m)),
            ("DD", two(d)),
            ("MI", two(part("minute"))),
            ("SS", two(part("second"))),
            ("MS", format!("{:03}", micros.rem_euclid(1_000_000) / 1000)),
            ("US", format!("{:06}", micros.rem_euclid(1_000_000))),
            ("HH", two(twelve)),
            ("IW", two(part("week"))),
            ("AM", if hour < 12 { "AM" } else { "PM" }.to_owned()),
            ("Q", part("quarter").to_string()),
        ]
        .into_iter()
        .find(|(name, _)| rest.starts_with(name));
        match found {
            Some((name, text)) => {
                out += &text;
                rest = &rest[name.len()..];
                fill = true;
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}

/// The digits of a pattern such as `FM999G990D00`; `,` and `.` stand as written.
fn number(value: Decimal, pattern: &str) -> String {
    let (fill, pattern) = pattern.strip_prefix("FM").map_or((true, pattern), |rest| (false, rest));
    let (whole, fraction) = pattern.split_once(['.', 'D']).unwrap_or((pattern, ""));
    let digits = |part: &str| part.chars().filter(|c| matches!(c, '9' | '0')).count();
    let scale = u32::try_from(digits(fraction)).unwrap_or(0);
    let mut rounded =
        value.abs().round_dp_with_strategy(scale, RoundingStrategy::MidpointAwayFromZero);
    rounded.rescale(scale);
    let text = rounded.to_string();
    let (have, have_fraction) = text.split_once('.').unwrap_or((&text, ""));
    let have = if have == "0" { "" } else { have };
    if have.len() > digits(whole) {
        return "#".repeat(pattern.len());
    }
    let mut out = String::new();
    let mut left: Vec<char> = have.chars().collect();
    let first_zero = whole.find('0').map_or(0, |at| digits(&whole[at..]));
    let mut shown = 0;
    for c in whole.chars().rev() {
        match c {
            '9' | '0' => {
                shown += 1;
                match left.pop() {
                    Some(digit) => out.push(digit),
                    None if shown <= first_zero => out.push('0'),
                    None if fill => out.push(' '),
                    None => {}
                }
            }
            ',' | 'G' if !left.is_empty() || shown < first_zero => out.push(','),
            ',' | 'G' if fill => out.push(' '),
            _ => {}
        }
    }
    let mut out: String = out.chars().rev().collect();
    let sign = if value.is_sign_negative() && !rounded.is_zero() {
        "-"
    } else if fill {
        " "
    } else {
        ""
    };
    let spaces = out.len() - out.trim_start().len();
    out.insert_str(spaces, sign);
    if pattern.contains(['.', 'D']) {
        out.push('.');
        out += have_fraction;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_postgresql_15_shows_them() {
        let at = clock::parse_timestamp("2026-03-05 14:07:09").unwrap();
        for (pattern, shown) in [
            ("YYYY-MM", "2026-03"),
            ("DD/MM/YYYY HH24:MI:SS", "05/03/2026 14:07:09"),
            ("FMDD FMMonth YYYY", "5 March 2026"),
            ("\"T\"Q", "T1"),
            ("HH12 AM", "02 PM"),
        ] {
            assert_eq!(moment(at, pattern), shown);
        }
        for (value, pattern, shown) in [
            ("1234.5", "FM999,990.00", "1,234.50"),
            ("-0.5", "FM990.00", "-0.50"),
            ("12", "999", "  12"),
            ("12345", "999", "###"),
        ] {
            assert_eq!(number(value.parse().unwrap(), pattern), shown);
        }
    }
}
