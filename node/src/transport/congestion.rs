//! How fast to send on a line that is thin, shared, and sometimes noisy: Cubic, with two senses more.
//!
//! Cubic (RFC 9438) takes every loss for congestion and nothing else. Both are wrong on our lines:
//! at 1 % of random loss and 300 ms it falls to a tenth of the line, and a domestic router that
//! never drops lets it build a queue of seconds, in which control frames wait too. So here
//!
//! * a loss is **noise** while the queue is short and few packets are lost (2 %, the threshold of
//!   BBR version 2), and does not slow us down;
//! * a **queue** is congestion before it overflows: once the round trip has grown by half, or by
//!   60 ms if that is more, the window shrinks as for a loss, at most once per round trip.
//!
//! Everything else is quinn's Cubic. The figures beside quinn's BBR and plain Cubic are in
//! [`super::quic::Congestion`]; `carry` in `benches` prints them.
//!
//! It never reads a clock: quinn says what time it is.

use std::{
    any::Any,
    sync::Arc,
    time::{Duration, Instant},
};

use quinn::congestion::{Controller, ControllerFactory, Cubic, CubicConfig};
use quinn_proto::RttEstimator;

use super::quic::INITIAL_RTT;

/// A queue of this much time is not yet one: schedulers, radio and acknowledgement delays make
/// as much.
const QUEUE_TIME_MIN: Duration = Duration::from_millis(60);
/// The path's own round trip is the smallest of this long, and half of it at least: paths change,
/// and others' traffic is part of the path.
const BASE_WINDOW: Duration = Duration::from_secs(10);
/// Of 1000 bytes lost, these many are noise.
const NOISE_PER_MILLE: u64 = 20;
/// Bytes over which the share of losses is taken: some 400 packets, of which 8 may be lost. Fewer
/// would call 1 % of random loss congestion every now and then.
const SHARE_BYTES: u64 = 512 * 1024;

/// Builds [`Steady`] controllers.
#[derive(Debug, Default)]
pub(super) struct SteadyConfig;

impl ControllerFactory for SteadyConfig {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let cubic = Cubic::new(Arc::new(CubicConfig::default()), now, current_mtu);
        Box::new(Steady::new(cubic, now))
    }
}

/// Cubic that tells noise from congestion.
#[derive(Clone, Debug)]
struct Steady {
    cubic: Cubic,
    /// The smallest smoothed round trips of the last [`BASE_WINDOW`] and of this one.
    base: [Duration; 2],
    base_since: Instant,
    smoothed: Duration,
    /// When the window was last shrunk for a queue: once per round trip is enough.
    shrunk: Option<Instant>,
    acked_bytes: u64,
    lost_bytes: u64,
}

impl Steady {
    fn new(cubic: Cubic, now: Instant) -> Self {
        Self {
            cubic,
            base: [Duration::MAX; 2],
            base_since: now,
            smoothed: Duration::ZERO,
            shrunk: None,
            acked_bytes: 0,
            lost_bytes: 0,
        }
    }

    fn observe(&mut self, now: Instant, smoothed: Duration) {
        if smoothed == INITIAL_RTT {
            // The estimator's assumption, before any sample: on a longer path it would pass for
            // the path's own round trip, and all of the rest for a queue.
            return;
        }
        if now.saturating_duration_since(self.base_since) > BASE_WINDOW {
            self.base = [self.base[1], smoothed];
            self.base_since = now;
        }
        self.base[1] = self.base[1].min(smoothed);
        self.smoothed = smoothed;
    }

    fn has_queue(&self) -> bool {
        let base = self.base[0].min(self.base[1]);
        self.smoothed.saturating_sub(base) > QUEUE_TIME_MIN.max(base / 2)
    }

    fn is_noise(&self) -> bool {
        let seen = (self.acked_bytes + self.lost_bytes).max(SHARE_BYTES);
        !self.has_queue() && self.lost_bytes * 1000 <= seen * NOISE_PER_MILLE
    }

    /// Halves both counts now and then: the share is that of the recent past.
    fn fade(&mut self) {
        if self.acked_bytes + self.lost_bytes > 2 * SHARE_BYTES.max(self.cubic.window()) {
            self.acked_bytes /= 2;
            self.lost_bytes /= 2;
        }
    }
}

impl Controller for Steady {
    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.observe(now, rtt.get());
        self.acked_bytes += bytes;
        self.fade();
        let settled = self.shrunk.is_none_or(|shrunk| sent > shrunk);
        if !app_limited && settled && self.has_queue() {
            self.shrunk = Some(now);
            self.cubic.on_congestion_event(now, sent, false, 0);
        }
        self.cubic.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.lost_bytes += lost_bytes;
        self.fade();
        // No bytes lost means an ECN mark: a router that says so itself.
        if is_persistent_congestion || lost_bytes == 0 || !self.is_noise() {
            self.cubic.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.cubic.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        self.cubic.window()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.cubic.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const PACKET: u64 = 1452;

    /// A controller on a path of `base`, some time after its start.
    fn on_path(base: Duration, acked_packets: u64) -> (Steady, Instant) {
        let start = Instant::now();
        let mut config = CubicConfig::default();
        config.initial_window(200 * PACKET);
        let mut steady = Steady::new(Cubic::new(Arc::new(config), start, 1452), start);
        steady.observe(start, base);
        steady.acked_bytes = acked_packets * PACKET;
        (steady, start + 10 * base)
    }

    /// Whether losing `packets` shrinks the window while the round trip is `smoothed`.
    fn shrinks(base: Duration, smoothed: Duration, acked: u64, packets: u64) -> bool {
        let (mut steady, now) = on_path(base, acked);
        steady.observe(now, smoothed);
        let before = steady.window();
        for _ in 0..packets {
            steady.on_congestion_event(now, now, false, PACKET);
        }
        steady.window() < before
    }

    #[test]
    fn few_losses_without_a_queue_are_noise() {
        assert!(!shrinks(300 * MS, 330 * MS, 1000, 10));
        assert!(!shrinks(40 * MS, 41 * MS, 1000, 10));
        assert!(shrinks(40 * MS, 41 * MS, 1000, 40), "4 % are not noise");
        assert!(shrinks(40 * MS, 120 * MS, 1000, 1), "behind a queue one loss is enough");
    }

    #[test]
    fn marks_and_silence_are_never_noise() {
        for (persistent, lost) in [(false, 0), (true, PACKET)] {
            let (mut steady, now) = on_path(40 * MS, 1000);
            let before = steady.window();
            steady.on_congestion_event(now, now, persistent, lost);
            assert!(steady.window() < before);
        }
    }

    #[test]
    fn a_queue_is_what_exceeds_the_path_of_late() {
        let (mut steady, now) = on_path(40 * MS, 0);
        steady.observe(now, 90 * MS);
        assert!(!steady.has_queue(), "50 ms may be anything");
        steady.observe(now, 101 * MS);
        assert!(steady.has_queue());
        // Another route, or a neighbour's upload: after a while that is what the path is like.
        for second in 0..25 {
            steady.observe(now + second * 1000 * MS, 120 * MS);
        }
        assert!(!steady.has_queue());
    }

    #[test]
    fn the_assumed_round_trip_is_not_a_sample() {
        let start = Instant::now();
        let cubic = Cubic::new(Arc::new(CubicConfig::default()), start, 1452);
        let mut steady = Steady::new(cubic, start);
        steady.observe(start, INITIAL_RTT);
        steady.observe(start, 300 * MS);
        assert!(!steady.has_queue());
    }
}
