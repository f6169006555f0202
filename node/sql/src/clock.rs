//! Dates and moments as numbers, and the words SQL has for them. Gregorian throughout, UTC.
//! It never reads a clock.

/// Days from 1970-01-01 to 2000-01-01, where PostgreSQL's binary forms begin.
pub const EPOCH_DAYS: i64 = 10_957;
/// The same in microseconds.
pub const EPOCH_MICROS: i64 = EPOCH_DAYS * DAY;
/// Microseconds of a day.
pub const DAY: i64 = 86_400_000_000;
const SECOND: i64 = 1_000_000;

/// Year, month and day of a day since 1970 (Howard Hinnant, `civil_from_days`).
#[must_use]
pub fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    (yoe + era * 400 + i64::from(month <= 2), month, day)
}

/// The day since 1970 of a date.
#[must_use]
pub fn days(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let doy = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

fn month_days(year: i64, month: i64) -> i64 {
    days(year + i64::from(month == 12), month % 12 + 1, 1) - days(year, month, 1)
}

/// `2026-11-24`, also `20261124` and `24/11/2026`.
#[must_use]
pub fn parse_date(text: &str) -> Option<i64> {
    let number = |text: &str| {
        let digits =
            !text.is_empty() && text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<i64>().ok()).flatten()
    };
    let (y, m, d) = if let Some((d, rest)) = text.split_once('/') {
        let (m, y) = rest.split_once('/')?;
        (y, m, d)
    } else if text.len() == 8 && text.is_ascii() && !text.contains('-') {
        (&text[..4], &text[4..6], &text[6..])
    } else {
        let (y, rest) = text.split_once('-')?;
        let (m, d) = rest.split_once('-')?;
        (y, m, d)
    };
    let (y, m, d) = (number(y)?, number(m)?, number(d)?);
    ((1..=12).contains(&m) && y > 0 && d >= 1 && d <= month_days(y, m)).then(|| days(y, m, d))
}

/// `2026-11-24 13:00:00.5+01`, with `T`, without seconds, without a time or a zone.
#[must_use]
pub fn parse_timestamp(text: &str) -> Option<i64> {
    let text = text.trim();
    let Some((date, rest)) = text.split_once(['T', ' ']) else {
        return parse_date(text)?.checked_mul(DAY);
    };
    let rest = rest.trim();
    let rest = rest.strip_suffix("UTC").or_else(|| rest.strip_suffix('Z')).unwrap_or(rest).trim();
    let (time, zone) = match rest.rfind(['+', '-']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let offset = if zone.is_empty() {
        0
    } else {
        let sign = if zone.starts_with('-') { -1 } else { 1 };
        let (h, m) = match zone[1..].split_once(':') {
            Some((h, m)) => (h, m.get(..2)?),
            None if zone.len() == 5 && zone.is_ascii() => (&zone[1..3], &zone[3..]),
            None => (&zone[1..], "0"),
        };
        let (h, m): (i64, i64) = (h.parse().ok()?, m.parse().ok()?);
        if h > 15 || m > 59 {
            return None;
        }
        sign * (h * 3600 + m * 60) * SECOND
    };
    let time = time.trim();
    let time = if time.is_empty() { 0 } else { parse_time(time)? };
    Some(parse_date(date)? * DAY + time - offset)
}

fn parse_time(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let (h, m, s) = (parts.next()?, parts.next()?, parts.next().unwrap_or("0"));
    let (whole, fraction) = s.split_once('.').unwrap_or((s, ""));
    let mut micros = 0;
    for (n, digit) in fraction.chars().take(6).enumerate() {
        micros += i64::from(digit.to_digit(10)?) * 10_i64.pow(5 - n as u32);
    }
    let (h, m, s): (i64, i64, i64) = (h.parse().ok()?, m.parse().ok()?, whole.parse().ok()?);
    let fits = (0..=24).contains(&h) && (0..60).contains(&m) && (0..=60).contains(&s);
    (fits && parts.next().is_none()).then_some((h * 3600 + m * 60 + s) * SECOND + micros)
}

/// `2026-11-24`.
#[must_use]
pub fn date_text(days: i64) -> String {
    let (y, m, d) = civil(days);
    format!("{y:04}-{m:02}-{d:02}")
}

/// `2026-11-24 12:00:00.5`.
#[must_use]
pub fn timestamp_text(micros: i64) -> String {
    let rest = micros.rem_euclid(DAY);
    let (seconds, fraction) = (rest / SECOND, rest % SECOND);
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut text = format!("{} {h:02}:{m:02}:{s:02}", date_text(micros.div_euclid(DAY)));
    if fraction > 0 {
        text += format!(".{fraction:06}").trim_end_matches('0');
    }
    text
}

/// `1 year 2 months 3 days 04:05:06` as `months days microseconds`.
#[must_use]
pub fn parse_interval(text: &str) -> Option<String> {
    let (mut months, mut days, mut micros) = (0_i64, 0_i64, 0_i64);
    let mut words = text.split_whitespace();
    let mut any = false;
    while let Some(word) = words.next() {
        any = true;
        if word.contains(':') {
            micros = micros.checked_add(parse_time(word)?)?;
            continue;
        }
        let n: i64 = word.parse().ok()?;
        let unit = words.next()?.to_ascii_lowercase();
        let (into, each) = match unit.trim_end_matches('s') {
            "year" | "yr" | "y" => (&mut months, 12),
            "month" | "mon" => (&mut months, 1),
            "week" | "w" => (&mut days, 7),
            "day" | "d" => (&mut days, 1),
            "hour" | "h" => (&mut micros, 3600 * SECOND),
            "minute" | "min" | "m" => (&mut micros, 60 * SECOND),
            "second" | "sec" | "" => (&mut micros, SECOND),
            _ => return None,
        };
        *into = into.checked_add(n.checked_mul(each)?)?;
    }
    any.then(|| format!("{months} {days} {micros}"))
}

/// Months, days, microseconds.
#[must_use]
pub fn interval_parts(text: &str) -> Option<(i64, i64, i64)> {
    let mut parts = text.split(' ').map(str::parse::<i64>);
    let parts = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    Some(parts)
}

/// As PostgreSQL shows it.
#[must_use]
pub fn interval_text(text: &str) -> String {
    let Some((months, days, micros)) = interval_parts(text) else { return text.to_owned() };
    let mut words = Vec::new();
    let mut word = |n: i64, one: &str, many: &str| {
        if n != 0 {
            words.push(format!("{n} {}", if n == 1 { one } else { many }));
        }
    };
    word(months / 12, "year", "years");
    word(months % 12, "mon", "mons");
    word(days, "day", "days");
    if micros != 0 || words.is_empty() {
        let sign = if micros < 0 { "-" } else { "" };
        let (seconds, rest) = (micros.abs() / SECOND, micros.abs() % SECOND);
        let fraction = if rest == 0 { String::new() } else { format!(".{rest:06}") };
        let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        words.push(format!("{sign}{h:02}:{m:02}:{s:02}{}", fraction.trim_end_matches('0')));
    }
    words.join(" ")
}

/// A moment and an interval; the day of the month is cut to what the month has.
#[must_use]
pub fn add(micros: i64, (months, more_days, more): (i64, i64, i64), sign: i64) -> Option<i64> {
    let (y, m, d) = civil(micros.div_euclid(DAY));
    let month = (y * 12 + m - 1).checked_add(months.checked_mul(sign)?)?;
    let (y, m) = (month.div_euclid(12), month.rem_euclid(12) + 1);
    if !(1..=9999).contains(&y) {
        return None;
    }
    let day = days(y, m, d.min(month_days(y, m))).checked_add(more_days.checked_mul(sign)?)?;
    day.checked_mul(DAY)?.checked_add(micros.rem_euclid(DAY))?.checked_add(more.checked_mul(sign)?)
}

/// `date_trunc`.
#[must_use]
pub fn trunc(unit: &str, micros: i64) -> Option<i64> {
    let span = match unit {
        "hour" => 3600 * SECOND,
        "minute" => 60 * SECOND,
        "second" => SECOND,
        _ => return trunc_day(unit, micros.div_euclid(DAY)).map(|day| day * DAY),
    };
    Some(micros - micros.rem_euclid(span))
}

/// The first day of the unit, a day or longer, that a day is in.
#[must_use]
pub fn trunc_day(unit: &str, day: i64) -> Option<i64> {
    let (y, m, _) = civil(day);
    Some(match unit {
        "year" => days(y, 1, 1),
        "quarter" => days(y, (m - 1) / 3 * 3 + 1, 1),
        "month" => days(y, m, 1),
        "week" => day - (day + 3).rem_euclid(7),
        "day" => day,
        _ => return None,
    })
}

/// `extract`, in microunits: seconds have a fraction.
#[must_use]
pub fn extract(unit: &str, micros: i64) -> Option<i64> {
    let day = micros.div_euclid(DAY);
    let (y, m, d) = civil(day);
    let rest = micros.rem_euclid(DAY);
    let whole = match unit {
        "year" => y,
        "quarter" => (m - 1) / 3 + 1,
        "month" => m,
        "day" => d,
        "hour" => rest / (3600 * SECOND),
        "minute" => rest / (60 * SECOND) % 60,
        "second" => return Some(rest % (60 * SECOND)),
        "epoch" => return Some(micros),
        "dow" => (day + 4).rem_euclid(7),
        "isodow" => (day + 3).rem_euclid(7) + 1,
        "doy" => day - days(y, 1, 1) + 1,
        "week" => {
            let thursday = day - (day + 3).rem_euclid(7) + 3;
            (thursday - days(civil(thursday).0, 1, 1)) / 7 + 1
        }
        _ => return None,
    };
    Some(whole * SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_is_one_date() {
        for day in (-1_000_000..2_900_000).step_by(997) {
            let (y, m, d) = civil(day);
            assert_eq!(days(y, m, d), day);
        }
        assert_eq!(date_text(EPOCH_DAYS), "2000-01-01");
        assert_eq!(parse_date("2024-02-29"), parse_date("29/02/2024"));
        assert_eq!(parse_date("2023-02-29"), None);
    }

    #[test]
    fn months_are_added_as_people_do_it() {
        let at = parse_timestamp("2026-01-31").unwrap();
        let text = |sign, interval: &str| {
            let parts = interval_parts(&parse_interval(interval).unwrap()).unwrap();
            timestamp_text(add(at, parts, sign).unwrap())
        };
        assert_eq!(text(1, "1 month"), "2026-02-28 00:00:00");
        assert_eq!(text(-1, "1 year 1 day 00:30"), "2025-01-29 23:30:00");
        assert_eq!(interval_text("14 0 -1500000"), "1 year 2 mons -00:00:01.5");
        assert_eq!(trunc("quarter", at), parse_timestamp("2026-01-01"));
        assert_eq!(trunc("week", at), parse_timestamp("2026-01-26"));
        assert_eq!(extract("week", at), Some(5_000_000));
    }
}
