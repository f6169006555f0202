//! When a node connects: always or every so often, at any hour or within hours of the day.
//!
//! Hours are those of the wall clock in Italy, whatever the machine is set to, and a window may
//! go over midnight. Asking to synchronise now works at any hour.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engine::route::Mode;
use fatturapa::Date;
use serde::{Deserialize, Deserializer, de};
use tokio::time::sleep;

use crate::{config::Sync, host::HostHandle};

/// How often it is looked whether a window has opened.
const LOOK: Duration = Duration::from_secs(20);
const DAY_MINUTES: u32 = 24 * 60;

/// Hours of a day, `08:00-20:00`: the first minute is in it, the last is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    from: u32,
    to: u32,
}

impl Window {
    /// Reads `08:00-20:00`, or `22:00-06:00` over midnight.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (from, to) = text.split_once('-')?;
        let minute = |text: &str| {
            let (hours, minutes) = text.trim().split_once(':')?;
            let number = |text: &str, max: u32| {
                let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
                digits.then(|| text.parse::<u32>().ok()).flatten().filter(|n| *n <= max)
            };
            Some(number(hours, 24)? * 60 + number(minutes, 59)?).filter(|m| *m <= DAY_MINUTES)
        };
        let (from, to) = (minute(from)?, minute(to)?);
        (from != to && from < DAY_MINUTES).then_some(Self { from, to })
    }

    fn holds(self, minute: u32) -> bool {
        if self.from < self.to {
            (self.from..self.to).contains(&minute)
        } else {
            minute >= self.from || minute < self.to
        }
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).ok_or_else(|| {
            de::Error::custom(format!("{text:?} are no hours: write them as \"08:00-20:00\""))
        })
    }
}

/// Whether it is within `windows` at this second since 1970; always where there are none.
#[must_use]
pub fn is_open(windows: &[Window], unix_seconds: i64) -> bool {
    let minute = italian_minute(unix_seconds);
    windows.is_empty() || windows.iter().any(|window| window.holds(minute))
}

/// Minutes since midnight in Italy.
fn italian_minute(unix_seconds: i64) -> u32 {
    // The Italian day begins 60 or 120 minutes before that of UTC: the calendar says which.
    let utc_minute = unix_seconds.div_euclid(60);
    let shift = [120, 60].into_iter().find(|shift| {
        let midnight = (utc_minute + shift).div_euclid(1440) * 1440 - shift;
        Date::italian(midnight * 60) != Date::italian(midnight * 60 - 1)
    });
    let minute = (utc_minute + shift.unwrap_or(60)).rem_euclid(1440);
    u32::try_from(minute).unwrap_or(0)
}

/// As which a node begins: outside of its hours it sleeps, and so it does between its periods.
#[must_use]
pub fn first_mode(sync: Sync, windows: &[Window]) -> Mode {
    if sync == Sync::Live && windows.is_empty() { Mode::Live } else { Mode::Periodic }
}

/// Says to `host` when to connect, beginning at once.
pub async fn run(host: HostHandle, sync: Sync, windows: Vec<Window>) {
    match sync {
        Sync::Every(period) => every(&host, period, &windows).await,
        Sync::Live if windows.is_empty() => {}
        Sync::Live => within(&host, &windows).await,
    }
}

fn open_now(windows: &[Window]) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    is_open(windows, i64::try_from(now).unwrap_or(0))
}

/// Live while a window is open.
async fn within(host: &HostHandle, windows: &[Window]) {
    let mut open = false;
    loop {
        let now = open_now(windows);
        if now != open {
            host.set_mode(if now { Mode::Live } else { Mode::Periodic });
            open = now;
        }
        sleep(LOOK).await;
    }
}

/// Wakes it every `period` while a window is open.
async fn every(host: &HostHandle, period: Duration, windows: &[Window]) {
    let mut last: Option<tokio::time::Instant> = None;
    loop {
        let due = last.is_none_or(|last| last.elapsed() >= period);
        if due && open_now(windows) {
            host.sync_now();
            last = Some(tokio::time::Instant::now());
        }
        let left = last.map_or(LOOK, |last| period.saturating_sub(last.elapsed()));
        // Never longer than a look: the machine may have slept through a window's opening.
        sleep(left.clamp(Duration::from_millis(100), LOOK)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_italian_also_in_summer_and_over_midnight() {
        let day = [Window::parse("08:00-20:00").unwrap()];
        let night = [Window::parse("22:00-06:00").unwrap()];
        for (seconds, by_day, by_night) in [
            (1_764_053_999, false, false), // 2025-11-25 06:59:59 UTC, 07:59 in Italy
            (1_764_054_000, true, false),  // 08:00
            (1_764_097_199, true, false),  // 19:59
            (1_764_097_200, false, false), // 20:00
            (1_764_104_400, false, true),  // 22:00
            (1_764_046_799, false, true),  // 05:59
            (1_764_046_800, false, false), // 06:00
            (1_751_349_600, true, false),  // 2025-07-01 06:00 UTC, 08:00 in summer
            (1_751_349_599, false, false),
        ] {
            assert_eq!(is_open(&day, seconds), by_day, "{seconds}");
            assert_eq!(is_open(&night, seconds), by_night, "{seconds}");
        }
        assert!(is_open(&[], 0));
        assert!(is_open(&[Window::parse("00:00-24:00").unwrap()], 0));
    }

    #[test]
    fn nonsense_is_no_window() {
        for bad in [
            "",
            "8-20",
            "08:00",
            "08:00-08:00",
            "25:00-26:00",
            "08:60-09:00",
            "24:00-01:00",
            "+8:00-09:00",
        ] {
            assert_eq!(Window::parse(bad), None, "{bad}");
        }
    }
}
