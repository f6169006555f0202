//! Calendar dates of invoices, as XML Schema writes them. Never asks what day it is.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A day of the Gregorian calendar.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Date {
    year: i32,
    month: u8,
    day: u8,
}

impl Date {
    /// A day that exists, between the years 1 and 9999.
    #[must_use]
    pub fn new(year: i32, month: u8, day: u8) -> Option<Self> {
        let ok = (1..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=days_in(year, month)).contains(&day);
        ok.then_some(Self { year, month, day })
    }

    /// Parses `xs:date`: `YYYY-MM-DD` with an optional zone; outer white space is ignored (XSD 1.0
    /// part 2, whiteSpace=collapse).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_matches([' ', '\t', '\n', '\r']);
        let (day, zone) = text.split_at_checked(10)?;
        is_zone(zone).then_some(())?;
        let bytes = day.as_bytes();
        let shape = bytes.iter().enumerate().all(|(i, b)| match i {
            4 | 7 => *b == b'-',
            _ => b.is_ascii_digit(),
        });
        shape.then_some(())?;
        Self::new(day[..4].parse().ok()?, day[5..7].parse().ok()?, day[8..].parse().ok()?)
    }

    /// The day of a moment given in seconds since 1970-01-01 UTC, in the Italian calendar (UTC+1, and
    /// UTC+2 from the last Sunday of March to the last of October at 01:00 UTC).
    #[must_use]
    pub fn italian(unix_seconds: i64) -> Option<Self> {
        let winter = Self::from_days(unix_seconds.checked_add(3600)?.div_euclid(86_400))?;
        let switch = |month| {
            let last = Self::new(winter.year, month, 31)?.days();
            // 1970-01-01 was a Thursday, hence Sunday is day 3 of a week that starts there.
            Some((last - (last - 3).rem_euclid(7)) * 86_400 + 3600)
        };
        let is_summer = (switch(3)?..switch(10)?).contains(&unix_seconds);
        let shift = if is_summer { 7200 } else { 3600 };
        Self::from_days(unix_seconds.checked_add(shift)?.div_euclid(86_400))
    }

    /// Year.
    #[must_use]
    pub const fn year(self) -> i32 {
        self.year
    }

    /// Month, 1 to 12.
    #[must_use]
    pub const fn month(self) -> u8 {
        self.month
    }

    /// Day of the month.
    #[must_use]
    pub const fn day(self) -> u8 {
        self.day
    }

    /// Days since 1970-01-01.
    #[must_use]
    pub fn days(self) -> i64 {
        let year = i64::from(self.year) - i64::from(self.month <= 2);
        let era = year.div_euclid(400);
        let of_era = year.rem_euclid(400);
        let month = i64::from((self.month + 9) % 12);
        let of_year = (153 * month + 2) / 5 + i64::from(self.day) - 1;
        era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
    }

    /// As Italians write it: `31/12/2025`.
    #[must_use]
    pub fn italian_text(self) -> String {
        format!("{:02}/{:02}/{:04}", self.day, self.month, self.year)
    }

    fn from_days(days: i64) -> Option<Self> {
        let days = days + 719_468;
        let era = days.div_euclid(146_097);
        let of_era = days.rem_euclid(146_097);
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = year + era * 400 + i64::from(month <= 2);
        Self::new(i32::try_from(year).ok()?, u8::try_from(month).ok()?, u8::try_from(day).ok()?)
    }
}

/// True for an XML Schema time zone, or none.
pub(crate) fn is_zone(zone: &str) -> bool {
    match zone.as_bytes() {
        [] | [b'Z'] => true,
        [b'+' | b'-', h1, h2, b':', m1, m2] => {
            let two = |a: &u8, b: &u8| {
                (a.is_ascii_digit() && b.is_ascii_digit()).then(|| (a - b'0') * 10 + b - b'0')
            };
            matches!((two(h1, h2), two(m1, m2)), (Some(h), Some(m)) if h < 14 && m < 60 || h == 14 && m == 0)
        }
        _ => false,
    }
}

const fn days_in(year: i32, month: u8) -> u8 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl fmt::Debug for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl TryFrom<String> for Date {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} is not a date like 2025-12-31"))
    }
}

impl From<Date> for String {
    fn from(date: Date) -> Self {
        date.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_invoices_are_days_that_exist() {
        for (text, ok) in [
            ("2025-05-10", true),
            (" 2024-02-29\n", true),
            ("2025-02-29", false),
            ("2025-05-10+02:00", true),
            ("2025-05-10Z", true),
            ("2025-5-10", false),
            ("10/05/2025", false),
            ("2025-05-10T00:00:00", false),
        ] {
            assert_eq!(Date::parse(text).is_some(), ok, "{text}");
        }
    }

    #[test]
    fn midnight_is_italian() {
        let check = |seconds, day: &str| assert_eq!(Date::italian(seconds), Date::parse(day));
        check(0, "1970-01-01");
        check(1_735_685_999, "2024-12-31");
        check(1_735_686_000, "2025-01-01");
        check(1_751_320_800, "2025-07-01");
        check(1_751_320_799, "2025-06-30");
    }
}
