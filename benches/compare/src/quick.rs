//! What is measured of ours alone: in short, by every scenario, for `make bench`; and what only a
//! portal does, at the sizes that the comparison shows.

use crate::{failover::LINE, ours::Asked};

const LOOPBACK: (&str, &str) = ("loopback", "");
const ADSL: (&str, &str) = ("7/1 Mbit/s 40 ms", "rtt_ms=40,up_kbit=1000,down_kbit=7000");

/// A scenario on loopback, the median of three.
const fn on_loopback(scenario: &'static str, words: &'static [&'static str]) -> Asked<'static> {
    Asked { scenario, words, documents: 10_000, changed: 0, link: LOOPBACK, runs: 3 }
}

const fn failover(words: &'static [&'static str]) -> Asked<'static> {
    Asked { documents: 0, link: LINE, ..on_loopback("failover", words) }
}

const fn sessions(words: &'static [&'static str]) -> Asked<'static> {
    Asked { documents: 0, runs: 1, ..on_loopback("sessions", words) }
}

const fn twins(words: &'static [&'static str]) -> Asked<'static> {
    Asked { documents: 1_000_000, changed: 1000, runs: 1, ..on_loopback("twins", words) }
}

/// The quick set.
pub const ALL: [Asked<'static>; 20] = [
    on_loopback("reconnect", &[]),
    Asked { changed: 100, ..on_loopback("reconnect", &["--restart"]) },
    Asked { changed: 100, ..on_loopback("reconnect", &["--together"]) },
    Asked { changed: 100, ..on_loopback("reconnect-other-portal", &[]) },
    on_loopback("cold-sync", &[]),
    Asked { documents: 1000, link: ADSL, ..on_loopback("cold-sync", &[]) },
    on_loopback("open", &[]),
    Asked { documents: 1000, changed: 100, ..on_loopback("live", &[]) },
    failover(&["--cause", "line-silent"]),
    failover(&["--cause", "line-down"]),
    failover(&["--cause", "portal-killed"]),
    failover(&["--cause", "portal-frozen"]),
    failover(&["--cause", "udp-blocked"]),
    Asked { documents: 0, link: ("8/20 Mbit/s 40 ms", ""), ..on_loopback("blob-resume", &[]) },
    sessions(&["--sessions", "1000"]),
    on_loopback("relay", &[]),
    twins(&["--tenants", "10"]),
    Asked { documents: 100_000, ..on_loopback("portal-list", &[]) },
    Asked { documents: 1000, ..on_loopback("portal-login", &[]) },
    Asked { documents: 50_000, runs: 1, ..on_loopback("mirror-rebuild", &[]) },
];

/// What only a portal does.
pub const PORTAL: [Asked<'static>; 5] = [
    on_loopback("relay", &[]),
    sessions(&["--sessions", "1000"]),
    sessions(&["--sessions", "10000"]),
    twins(&["--tenants", "1"]),
    twins(&["--tenants", "1000"]),
];
