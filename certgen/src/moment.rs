//! Moments and spans of validity, to the second, in UTC.
//!
//! Time is an argument everywhere in this library; only [`Moment::now`] reads the
//! clock, and only the binary calls it. Never formats or parses local time.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

const DAY_SECONDS: i64 = 86_400;

/// Seconds since 1970 in UTC. Written as `2026-11-24T08:14:06Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Moment(i64);

impl Moment {
    /// The moment the machine's clock shows.
    #[must_use]
    pub fn now() -> Self {
        // A clock before 1970 is a broken clock; the certificate would be refused anyway.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }

    /// The moment `seconds` after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_unix(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Parses `2026-11-24T08:14:06Z` (RFC 3339, UTC, whole seconds).
    ///
    /// # Errors
    /// [`MomentError`] names the text when it has another shape or no such day exists.
    pub fn parse(text: &str) -> Result<Self, MomentError> {
        let bad = || MomentError(text.chars().take(40).collect());
        let bytes = text.as_bytes();
        if bytes.len() != 20 || !text.is_ascii() {
            return Err(bad());
        }
        let number = |from: usize, to: usize| -> Result<i64, MomentError> {
            let digits = &text[from..to];
            if !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Err(bad());
            }
            digits.parse().map_err(|_| bad())
        };
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        let moment = Self(
            days_from_civil(year, month, day) * DAY_SECONDS + hour * 3600 + minute * 60 + second,
        );
        // Writing it back catches wrong separators, 31 February and 25 o'clock at once.
        if moment.to_string() == text { Ok(moment) } else { Err(bad()) }
    }

    /// Seconds since 1970; negative before.
    #[must_use]
    pub const fn as_unix(self) -> i64 {
        self.0
    }

    /// The moment `days` later (earlier when negative).
    #[must_use]
    pub const fn plus_days(self, days: i64) -> Self {
        Self(self.0.saturating_add(days.saturating_mul(DAY_SECONDS)))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.0.div_euclid(DAY_SECONDS));
        let second = self.0.rem_euclid(DAY_SECONDS);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

impl TryFrom<String> for Moment {
    type Error = MomentError;
    fn try_from(text: String) -> Result<Self, MomentError> {
        Self::parse(&text)
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> Self {
        moment.to_string()
    }
}

/// A text that is not a moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a moment like 2026-11-24T08:14:06Z")]
pub struct MomentError(String);

/// From when until when a certificate counts. Both ends are inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validity {
    /// The first second.
    pub not_before: Moment,
    /// The last second.
    pub not_after: Moment,
}

impl Validity {
    /// `days` in all, the first of which lies before `now`: a customer's clock that runs
    /// late must not refuse a certificate made today. Counting the back-dated day inside
    /// keeps the span within the 825 days some platforms allow at most.
    #[must_use]
    pub const fn starting(now: Moment, days: u16) -> Self {
        let not_before = now.plus_days(-1);
        Self { not_before, not_after: not_before.plus_days(days as i64) }
    }

    /// Whether `now` lies inside.
    #[must_use]
    pub fn holds_at(&self, now: Moment) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

/// Days since 1970 of a day in the Gregorian calendar (H. Hinnant,
/// "chrono-compatible low-level date algorithms").
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The inverse of [`days_from_civil`].
const fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year + era * 400 + (month <= 2) as i64, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, unix: i64) {
        assert_eq!(Moment::parse(text), Ok(Moment(unix)), "{text}");
        assert_eq!(Moment(unix).to_string(), text);
    }

    #[test]
    fn moments_read_back_as_written() {
        check("1970-01-01T00:00:00Z", 0);
        check("2000-02-29T23:59:59Z", 951_868_799);
        check("2026-11-24T08:14:06Z", 1_795_508_046);
        check("2100-03-01T00:00:00Z", 4_107_542_400);
        for bad in ["", "2026-02-30T00:00:00Z", "2026-01-01 00:00:00Z", "2026-01-01T24:00:00Z"] {
            assert!(Moment::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_first_day_of_a_validity_lies_in_the_past() {
        let now = Moment::from_unix(1_795_508_046);
        let validity = Validity::starting(now, 825);
        assert_eq!(validity.not_before, now.plus_days(-1));
        assert_eq!(validity.not_after, now.plus_days(824));
        assert!(validity.holds_at(now) && validity.holds_at(validity.not_after));
        assert!(!validity.holds_at(now.plus_days(825)));
    }
}
