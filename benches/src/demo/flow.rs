//! How long invoices wait for a portal, watched from outside.
//!
//! Every node is asked every [`POLL`] what it has written and what of it no portal is known
//! to hold. An invoice waits from the moment it is durable on its node until the first portal
//! has acknowledged it, durable there. The longest wait of a phase is its **gap**.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use node::status::TenantStatus;
use tokio::task::JoinSet;

use super::town::status;

/// How often each node is asked. The figures are no finer than this.
pub const POLL: Duration = Duration::from_millis(10);

/// The watch over all nodes. It ends when dropped.
pub struct Flow {
    tracks: Vec<Arc<Mutex<Track>>>,
    _watches: JoinSet<()>,
}

/// What the watch saw of one node.
#[derive(Default)]
struct Track {
    last: Option<TenantStatus>,
    written: u64,
    waiting: VecDeque<(u64, Instant)>,
    longest: Duration,
    acknowledged: u64,
    last_acknowledgement: Option<Instant>,
}

impl Flow {
    /// Watches the nodes whose data folders are `nodes`.
    #[must_use]
    pub fn watch(nodes: Vec<PathBuf>) -> Self {
        let mut watches = JoinSet::new();
        let tracks = nodes
            .into_iter()
            .map(|data| {
                let track = Arc::new(Mutex::new(Track::default()));
                let seen = Arc::clone(&track);
                watches.spawn(async move {
                    let mut beat = tokio::time::interval(POLL);
                    loop {
                        beat.tick().await;
                        if let Some(status) = status(&data).await {
                            let mut track = lock(&seen);
                            track.see(Instant::now(), status.written, status.queued);
                            track.last = Some(status);
                        }
                    }
                });
                track
            })
            .collect();
        Self { tracks, _watches: watches }
    }

    /// The longest wait since the last call, of those that ended and those that go on.
    #[must_use]
    pub fn take_gap(&self) -> Duration {
        let now = Instant::now();
        self.tracks.iter().map(|track| lock(track).take_gap(now)).max().unwrap_or_default()
    }

    /// Invoices that wait for a portal now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.tracks.iter().map(|track| lock(track).waiting.len()).sum()
    }

    /// Invoices of the nodes that a portal has acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.tracks.iter().map(|track| lock(track).acknowledged).sum()
    }

    /// When a portal last acknowledged anything.
    #[must_use]
    pub fn last_acknowledgement(&self) -> Option<Instant> {
        self.tracks.iter().filter_map(|track| lock(track).last_acknowledgement).max()
    }

    /// The last answer of each node.
    #[must_use]
    pub fn statuses(&self) -> Vec<Option<TenantStatus>> {
        self.tracks.iter().map(|track| lock(track).last.clone()).collect()
    }
}

impl Track {
    fn see(&mut self, now: Instant, written: u64, queued: u64) {
        if written < self.written {
            // It started again, in a new log: what waited there is queued no more than it was.
            self.written = 0;
            self.waiting.clear();
        }
        for number in self.written + 1..=written {
            self.waiting.push_back((number, now));
        }
        self.written = written;
        let held = written.saturating_sub(queued);
        while let Some((number, since)) = self.waiting.front().copied()
            && number <= held
        {
            self.waiting.pop_front();
            self.longest = self.longest.max(now - since);
            self.acknowledged += 1;
            self.last_acknowledgement = Some(now);
        }
    }

    fn take_gap(&mut self, now: Instant) -> Duration {
        let going_on = self.waiting.front().map(|(_, since)| now - *since);
        let gap = self.longest.max(going_on.unwrap_or_default());
        self.longest = Duration::ZERO;
        gap
    }
}

/// No code of ours panics while it holds a lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_is_the_longest_wait_for_the_first_portal() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut track = Track::default();
        track.see(at(0), 1, 1);
        track.see(at(40), 1, 0);
        track.see(at(100), 3, 2);
        track.see(at(150), 3, 1);
        assert_eq!(track.take_gap(at(400)), Duration::from_millis(300), "one still waits");
        track.see(at(500), 3, 0);
        assert_eq!(track.take_gap(at(600)), Duration::from_millis(400));
        assert_eq!((track.acknowledged, track.waiting.len()), (3, 0));
        track.see(at(700), 0, 0);
        track.see(at(710), 1, 0);
        assert_eq!(track.acknowledged, 4, "a node that started again writes a new log");
    }
}
