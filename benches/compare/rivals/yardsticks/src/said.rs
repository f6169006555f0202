//! What a client says: message `n` at its time, whatever the line does, and what is known of it.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

/// Between two messages.
const EVERY: Duration = Duration::from_millis(10);
/// Messages in all: eight seconds.
const COUNT: u64 = 800;
/// How long after the last one an acknowledgement is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// Of a message: its number, and as much as a small invoice takes once it is compressed.
pub const MESSAGE_BYTES: usize = 512;

/// All messages.
pub struct Said {
    start: Instant,
    start_ms: f64,
    acknowledged_ms: Vec<f64>,
}

impl Said {
    /// Message 0 is said now.
    pub fn start() -> Self {
        Self { start: Instant::now(), start_ms: now_ms(), acknowledged_ms: Vec::new() }
    }

    /// All below `upto` are acknowledged.
    pub fn acknowledge(&mut self, upto: u64) {
        let more = self.acknowledged_ms.len().max(upto as usize);
        self.acknowledged_ms.resize(more, now_ms());
    }

    /// How many were said by now.
    pub fn count(&self) -> u64 {
        let passed = self.start.elapsed().as_micros() / EVERY.as_micros();
        COUNT.min(1 + passed as u64)
    }

    /// How many are acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged_ms.len() as u64
    }

    /// When message `n` is said; after the last one, when nobody waits any longer.
    pub fn at(&self, n: u64) -> Instant {
        match u32::try_from(n) {
            Ok(n) if u64::from(n) < COUNT => self.start + EVERY * n,
            _ => self.end(),
        }
    }

    /// Whether there is nothing left to say or to wait for.
    pub fn is_over(&self) -> bool {
        self.acknowledged() == COUNT || Instant::now() > self.end()
    }

    /// When nobody waits any longer.
    pub fn end(&self) -> Instant {
        self.start + EVERY * COUNT as u32 + PATIENCE
    }

    /// Message `n`.
    pub fn message(n: u64) -> [u8; MESSAGE_BYTES] {
        let mut message = [7; MESSAGE_BYTES];
        message[..8].copy_from_slice(&n.to_be_bytes());
        message
    }

    /// Prints when each was said and acknowledged.
    pub fn print(&self) {
        let every = EVERY.as_secs_f64() * 1e3;
        let said: Vec<f64> = (0..COUNT).map(|n| self.start_ms + n as f64 * every).collect();
        let mut acknowledged = self.acknowledged_ms.clone();
        acknowledged.resize(COUNT as usize, 0.0);
        println!("{}", json!({"said_ms": said, "acknowledged_ms": acknowledged}));
    }
}

/// The number that begins a message or is an acknowledgement.
pub fn number(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn now_ms() -> f64 {
    // CLOCK_MONOTONIC, the same in every process.
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}
