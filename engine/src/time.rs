//! A moment, as the host tells it: microseconds since a start that only the host knows.
//!
//! The engine never reads a clock. Two moments of one host can be compared and subtracted; a
//! moment means nothing to another host and never travels. All arithmetic saturates: a clock
//! that steps back gives a zero duration, not a panic.
//!
//! ```
//! use std::time::Duration;
//! use engine::time::Time;
//!
//! let start = Time::ZERO;
//! let later = start + Duration::from_millis(250);
//! assert_eq!(later - start, Duration::from_millis(250));
//! assert_eq!(start - later, Duration::ZERO);
//! ```

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// A moment in microseconds since the host's own start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// The host's start.
    pub const ZERO: Time = Time(0);
    /// Later than any moment a host can tell.
    pub const MAX: Time = Time(u64::MAX);

    /// The moment this many microseconds after the host's start.
    pub const fn from_micros(micros: u64) -> Self {
        Time(micros)
    }

    /// The moment this many milliseconds after the host's start.
    pub const fn from_millis(millis: u64) -> Self {
        Time(millis.saturating_mul(1000))
    }

    /// Microseconds since the host's start.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Milliseconds since the host's start, rounded down.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1000
    }

    /// How long ago `earlier` was; zero if it was not.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, span: Duration) -> Time {
        Time(self.0.saturating_add(micros(span)))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

impl Sub<Duration> for Time {
    type Output = Time;

    fn sub(self, span: Duration) -> Time {
        Time(self.0.saturating_sub(micros(span)))
    }
}

impl Sub for Time {
    type Output = Duration;

    fn sub(self, earlier: Time) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        let second = Duration::from_secs(1);
        assert_eq!(Time::ZERO - second, Time::ZERO);
        assert_eq!(Time::MAX + second, Time::MAX);
        assert_eq!(Time::ZERO - Time::MAX, Duration::ZERO);
        assert_eq!(Time::from_millis(u64::MAX), Time::MAX);
        assert_eq!(Time::from_micros(5) + Duration::MAX, Time::MAX);
    }

    #[test]
    fn a_moment_reads_as_seconds() {
        assert_eq!(format!("{:?}", Time::from_millis(1_250)), "1.250000s");
        assert_eq!(Time::from_micros(1_999).as_millis(), 1);
        assert_eq!(Time::from_millis(3).as_micros(), 3_000);
    }
}
