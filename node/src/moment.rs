//! Moments as people and programs exchange them: RFC 3339 in UTC. Milliseconds since 1970 inside.

use std::time::{SystemTime, UNIX_EPOCH};

use fatturapa::Date;

/// This machine's clock, milliseconds since 1970.
#[must_use]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The day it is in Italy; `None` when this machine's clock says none.
#[must_use]
pub fn today() -> Option<Date> {
    i64::try_from(now_ms() / 1000).ok().and_then(Date::italian)
}

/// `2026-11-24T09:30:00.000Z`. A moment beyond the year 9999 is its last.
#[must_use]
pub fn rfc3339(ms: u64) -> String {
    const LAST: u64 = 253_402_300_799_999;
    let ms = ms.min(LAST);
    let (seconds, rest) = (ms / 1000, ms % 1000);
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let day = civil(days);
    format!("{day}T{:02}:{:02}:{:02}.{rest:03}Z", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

/// Reads what [`rfc3339`] writes, with any offset and any fraction, or a day alone, which is its
/// first moment in UTC. `None` for anything else, and for what lies before 1970.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let (day, rest) = text.split_at_checked(10)?;
    let days = Date::parse(day)?.days();
    if rest.is_empty() {
        return u64::try_from(days.checked_mul(86_400_000)?).ok();
    }
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let digits = |text: &str| {
        text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<i64>().ok()).flatten()
    };
    let mut parts = clock.split(':');
    let mut part = |max| {
        let part = parts.next().filter(|part| part.len() == 2)?;
        digits(part).filter(|n| *n <= max)
    };
    let (hours, minutes, seconds) = (part(23)?, part(59)?, part(60)?);
    let (fraction, zone) = match rest.strip_prefix('.') {
        Some(rest) => {
            let end = rest.find(|c: char| !c.is_ascii_digit())?;
            (rest.get(..end).filter(|digits| !digits.is_empty())?, rest.get(end..)?)
        }
        None => ("", rest),
    };
    let ms = digits(&format!("{fraction:0<3}")[..3])?;
    let offset = match zone {
        "Z" | "z" => 0,
        _ => {
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            let (h, m) = zone.strip_prefix(['+', '-'])?.split_once(':')?;
            (h.len() == 2 && m.len() == 2).then_some(())?;
            sign * (digits(h).filter(|h| *h < 24)? * 60 + digits(m).filter(|m| *m < 60)?)
        }
    };
    let of_day = hours * 3600 + (minutes - offset) * 60 + seconds;
    u64::try_from((days * 86_400 + of_day) * 1000 + ms).ok()
}

/// The day so many days after 1970-01-01. Howard Hinnant's `civil_from_days`, as in `Date`.
fn civil(days: u64) -> String {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_reads_back_and_nonsense_does_not() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_123, "2000-02-29T00:00:00.123Z"),
            (1_764_003_599_999, "2025-11-24T16:59:59.999Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(rfc3339(ms), text);
            assert_eq!(parse_rfc3339(text), Some(ms.min(253_402_300_799_999)));
        }
        for (text, ms) in [
            ("1970-01-02", 86_400_000),
            ("1970-01-01T01:00:00+01:00", 0),
            ("1970-01-01T00:00:00.5Z", 500),
            ("1970-01-01t00:00:00.123456-00:30", 1_800_123),
        ] {
            assert_eq!(parse_rfc3339(text), Some(ms), "{text}");
        }
        for bad in [
            "",
            "ieri",
            "2026-02-30",
            "2026-11-24T",
            "2026-11-24T25:00:00Z",
            "1969-12-31",
            "2026-11-24T10:00:00",
            "2026-11-24T10:00:00.Z",
            "2026-11-24T10:00:00+1:00",
            "2026-11-24T1a:00:00Z",
            "\u{20ac}\u{20ac}\u{20ac}\u{20ac}",
        ] {
            assert_eq!(parse_rfc3339(bad), None, "{bad}");
        }
    }
}
