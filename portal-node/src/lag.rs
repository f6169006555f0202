//! How far each peer was behind over the last day, by five minutes.
//!
//! Kept in memory and bounded: a portal that starts begins anew, and the other portal still shows
//! its own. Nothing is decided by it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use engine::id::PeerId;
use tokio::time::sleep;

use crate::{network, office::now_ms, portal::Portal};

/// One slot, in milliseconds.
const SLOT_MS: u64 = 5 * 60 * 1000;
/// Slots of a day.
pub const SLOTS: usize = 288;
/// Peers kept, 1.2 kB each; beyond it the history of new ones is not.
const PEERS_MAX: usize = 4096;
/// How often it is looked.
const LOOK: Duration = Duration::from_secs(10);
/// Nobody looked.
const UNKNOWN: u32 = u32::MAX;

/// The history of every peer.
#[derive(Default)]
pub struct Lags(Mutex<BTreeMap<PeerId, Day>>);

struct Day {
    /// The last slot written, counted since 1970.
    last: u64,
    /// The worst of each slot; slot `n` is at `n % SLOTS`.
    worst: Box<[u32; SLOTS]>,
}

impl Lags {
    /// `peer` misses so many bundles at `now_ms`.
    pub fn note(&self, peer: PeerId, behind: u64, now_ms: u64) {
        let mut days = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if days.len() >= PEERS_MAX && !days.contains_key(&peer) {
            return;
        }
        let slot = now_ms / SLOT_MS;
        let day = days
            .entry(peer)
            .or_insert_with(|| Day { last: slot, worst: Box::new([UNKNOWN; SLOTS]) });
        let skipped = slot.saturating_sub(day.last).min(SLOTS as u64);
        for n in 0..skipped {
            day.worst[index(slot - n)] = UNKNOWN;
        }
        day.last = day.last.max(slot);
        let worst = &mut day.worst[index(slot)];
        let behind = u32::try_from(behind).unwrap_or(UNKNOWN - 1).min(UNKNOWN - 1);
        *worst = if *worst == UNKNOWN { behind } else { (*worst).max(behind) };
    }

    /// The last day of `peer`, the oldest slot first; `None` where nobody looked.
    #[must_use]
    pub fn of(&self, peer: &PeerId, now_ms: u64) -> Vec<Option<u32>> {
        let days = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (slot, day) = (now_ms / SLOT_MS, days.get(peer));
        let first = slot.saturating_sub(SLOTS as u64 - 1);
        let seen = |n: u64| {
            let day = day.filter(|day| n <= day.last && n + SLOTS as u64 > day.last)?;
            Some(day.worst[index(n)]).filter(|worst| *worst != UNKNOWN)
        };
        (first..=slot).map(seen).collect()
    }
}

fn index(slot: u64) -> usize {
    usize::try_from(slot % SLOTS as u64).unwrap_or(0)
}

/// Looks at every peer again and again.
pub async fn run(portal: Arc<Portal>) {
    loop {
        match network::peers(&portal).await {
            Ok(peers) => {
                for peer in peers {
                    portal.lags.note(peer.pin, peer.misses, now_ms());
                }
            }
            Err(error) => tracing::warn!(%error, "who is behind is not known now"),
        }
        sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_each_slot_is_kept_for_a_day() {
        let (lags, peer) = (Lags::default(), PeerId::of_spki(b"key"));
        let start = 1_795_000_000_000 / SLOT_MS * SLOT_MS;
        for (minutes, behind) in [(0, 3), (1, 7), (2, 0), (10, 1)] {
            lags.note(peer, behind, start + minutes * 60_000);
        }
        let now = start + 12 * 60_000;
        let day = lags.of(&peer, now);
        assert_eq!(day.len(), SLOTS);
        assert_eq!(day[SLOTS - 3..], [Some(7), None, Some(1)]);
        assert_eq!(day[..SLOTS - 3], vec![None; SLOTS - 3]);
        let later = lags.of(&peer, now + SLOT_MS * (SLOTS as u64 - 2));
        assert_eq!(later[1], Some(1));
        assert_eq!(later[0], None);
        lags.note(peer, 2, now + SLOT_MS * 1000);
        let day = lags.of(&peer, now + SLOT_MS * 1000);
        assert_eq!(day.iter().flatten().collect::<Vec<_>>(), [&2], "what is older is gone");
        assert!(lags.of(&PeerId::of_spki(b"other"), now).iter().all(Option::is_none));
    }
}
