//! When a packet leaves a direction: rate first, then delay and jitter, in order; or never.

use std::time::{Duration, Instant};

use super::Path;

/// Bytes of a full-sized TCP segment: the unit in which loss befalls a stream.
const SEGMENT_BYTES: f64 = 1448.0;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Goes out then.
    Due(Instant),
    /// Lost on the way, having taken its time on the line.
    Lost,
    /// The queue is full.
    Overflow,
}

#[derive(Debug)]
pub(super) struct Shaper {
    path: Path,
    /// When the line has sent all it has.
    idle_at: Option<Instant>,
    /// When the latest packet comes out: nothing comes out before it.
    last_due: Option<Instant>,
    noise: u64,
}

impl Shaper {
    pub(super) fn new(path: Path, seed: u64) -> Self {
        // Xorshift stands still at zero.
        Self { path, idle_at: None, last_due: None, noise: seed | 1 }
    }

    pub(super) fn set_path(&mut self, path: Path) {
        if self.path.rate != path.rate {
            self.idle_at = None;
        }
        self.path = path;
    }

    /// A datagram of `bytes` that came at `now`.
    pub(super) fn datagram(&mut self, now: Instant, bytes: usize) -> Fate {
        if self.waiting_bytes(now) + bytes > self.path.queue_bytes.max(bytes) {
            return Fate::Overflow;
        }
        let sent = self.serialize(now, bytes);
        if self.path.loss > 0.0 && self.chance() < self.path.loss {
            return Fate::Lost;
        }
        let due = sent + self.path.delay + self.jitter();
        if self.path.reorder > 0.0 && self.chance() < self.path.reorder {
            return Fate::Due(due);
        }
        Fate::Due(self.in_order(due))
    }

    /// Bytes of a stream, or how long to wait until they fit.
    pub(super) fn stream(&mut self, now: Instant, bytes: usize) -> Result<Instant, Duration> {
        let over =
            (self.waiting_bytes(now) + bytes).saturating_sub(self.path.queue_bytes.max(bytes));
        if over > 0 {
            return Err(self.transmission(over).max(Duration::from_micros(200)));
        }
        let sent = self.serialize(now, bytes);
        let mut due = sent + self.path.delay + self.jitter();
        let segments = (bytes as f64 / SEGMENT_BYTES).max(1.0);
        if self.path.loss > 0.0 && self.chance() < 1.0 - (1.0 - self.path.loss).powf(segments) {
            // Fast retransmission: one round trip, taken to be twice this way.
            due += 2 * self.path.delay + Duration::from_millis(1);
        }
        Ok(due)
    }

    fn serialize(&mut self, now: Instant, bytes: usize) -> Instant {
        let start = self.idle_at.map_or(now, |idle_at| idle_at.max(now));
        let sent = start + self.transmission(bytes);
        self.idle_at = Some(sent);
        sent
    }

    fn in_order(&mut self, due: Instant) -> Instant {
        let due = self.last_due.map_or(due, |last| last.max(due));
        self.last_due = Some(due);
        due
    }

    /// Bytes the line has been given and has not sent.
    fn waiting_bytes(&self, now: Instant) -> usize {
        match (self.idle_at, self.path.rate) {
            (Some(idle_at), Some(rate)) => {
                let busy = idle_at.saturating_duration_since(now).as_secs_f64();
                (busy * rate as f64 / 8.0) as usize
            }
            _ => 0,
        }
    }

    fn transmission(&self, bytes: usize) -> Duration {
        self.path.rate.map_or(Duration::ZERO, |rate| {
            Duration::from_secs_f64(bytes as f64 * 8.0 / rate as f64)
        })
    }

    fn jitter(&mut self) -> Duration {
        if self.path.jitter.is_zero() {
            Duration::ZERO
        } else {
            self.path.jitter.mul_f64(self.chance())
        }
    }

    /// Evenly in [0, 1), xorshift64*.
    fn chance(&mut self) -> f64 {
        self.noise ^= self.noise >> 12;
        self.noise ^= self.noise << 25;
        self.noise ^= self.noise >> 27;
        let bits = self.noise.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11;
        bits as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn fates(path: Path, seed: u64, packets: usize) -> (Instant, Vec<Fate>) {
        let (start, mut shaper) = (Instant::now(), Shaper::new(path, seed));
        (start, (0..packets).map(|_| shaper.datagram(start, 1000)).collect())
    }

    #[test]
    fn a_rate_spaces_packets_and_a_full_queue_drops_them() {
        let path = Path { queue_bytes: 5000, ..Path::of_rtt_ms(20.0).with_rate(8_000_000) };
        let (start, fates) = fates(path, 1, 8);
        for (n, fate) in (1..).zip(&fates[..5]) {
            assert_eq!(*fate, Fate::Due(start + 10 * MS + n * MS));
        }
        assert_eq!(fates[5..], [Fate::Overflow; 3]);
    }

    #[test]
    fn jitter_keeps_the_order_unless_asked_otherwise() {
        let due = |fate: &Fate| match fate {
            Fate::Due(due) => *due,
            other => panic!("{other:?}"),
        };
        let path = Path { jitter: 20 * MS, ..Path::of_rtt_ms(40.0) };
        let (start, in_order) = fates(path, 7, 1000);
        assert!(in_order.is_sorted_by_key(due));
        assert!(in_order.iter().all(|fate| (20 * MS..=40 * MS).contains(&(due(fate) - start))));
        let (_, overtaking) = fates(Path { reorder: 0.5, ..path }, 7, 1000);
        assert!(!overtaking.is_sorted_by_key(due));
    }

    #[test]
    fn losses_are_as_many_as_asked_and_the_same_for_the_same_seed() {
        let path = Path { loss: 0.1, ..Path::CLEAR };
        let lost = |seed| {
            let (start, fates) = fates(path, seed, 10_000);
            fates.into_iter().map(|fate| fate == Fate::Due(start)).collect::<Vec<_>>()
        };
        let count = lost(3).into_iter().filter(|carried| !carried).count();
        assert!((900..1100).contains(&count), "{count} of 10,000");
        assert_eq!(lost(3), lost(3));
        assert_ne!(lost(3), lost(5));
    }

    #[test]
    fn a_stream_waits_where_a_datagram_is_dropped() {
        let path = Path { queue_bytes: 5000, ..Path::CLEAR.with_rate(8_000_000) };
        let (start, mut shaper) = (Instant::now(), Shaper::new(path, 1));
        assert_eq!(shaper.stream(start, 5000), Ok(start + 5 * MS));
        assert_eq!(shaper.stream(start, 2000), Err(2 * MS));
        assert_eq!(shaper.stream(start + 2 * MS, 2000), Ok(start + 7 * MS));
    }
}
