//! What a host has sent, heard and carried since it started. Counted, and never decided upon.

use std::{
    ops::AddAssign,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use engine::wire::Frame;
use serde::{Deserialize, Serialize};

use crate::{
    committer::Commits,
    transport::{Class, Stats},
};

/// Bytes of the length that precedes a frame in its stream.
const LENGTH_BYTES: u64 = 4;

/// Frames of one class in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How many.
    pub frames: u64,
    /// Their bytes, lengths included: what lies in the stream.
    pub bytes: u64,
}

/// One direction, by class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// Hellos, acknowledgements, pings.
    pub control: Tally,
    /// Runs.
    pub bundles: Tally,
    /// Chunks of large blobs.
    pub blobs: Tally,
    /// Datagrams (over TCP, writes or reads) of every connection, and their payload: handshakes,
    /// headers and retransmissions included.
    pub datagrams: Tally,
}

/// Everything counted, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// To peers.
    pub sent: Carried,
    /// From peers.
    pub heard: Carried,
    /// Times that something was heard after something was asked, pings apart: round trips, as
    /// long as one session is open.
    pub round_trips: u64,
    /// Bundles in the runs sent: one that was sent twice counts twice.
    pub bundles_sent: u64,
    /// Bundles in the runs that came.
    pub bundles_heard: u64,
    /// Times that a session became the primary one.
    pub promotions: u64,
    /// Times that a silent primary's writes went on a standby too.
    pub hedges: u64,
    /// Barriers passed, and the batches under them.
    pub barriers: u64,
    /// See `barriers`.
    pub batches: u64,
    /// Microseconds spent in barriers.
    pub barrier_us: u64,
}

impl Carried {
    /// Bytes of frames of all classes.
    #[must_use]
    pub fn frame_bytes(&self) -> u64 {
        self.control.bytes + self.bundles.bytes + self.blobs.bytes
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.frames += other.frames;
        self.bytes += other.bytes;
    }
}

/// Counts for one host. Clones count into the same.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    sent: [Counter; 3],
    heard: [Counter; 3],
    /// Of connections that are closed: datagrams sent and received.
    closed: [Counter; 2],
    bundles_sent: AtomicU64,
    bundles_heard: AtomicU64,
    promotions: AtomicU64,
    hedges: AtomicU64,
    round_trips: AtomicU64,
    asking: AtomicBool,
}

#[derive(Debug, Default)]
struct Counter {
    frames: AtomicU64,
    bytes: AtomicU64,
}

impl Meter {
    /// A frame of `bytes` is on its way out.
    pub(super) fn sent(&self, class: Class, bytes: usize) {
        self.0.sent[class as usize].count(bytes);
    }

    /// A frame of `bytes` came in.
    pub(super) fn heard(&self, class: Class, bytes: usize) {
        self.0.heard[class as usize].count(bytes);
    }

    /// `frame` is said. What no replica waits to hear the answer of does not count: pings, the
    /// roles of paths, and acknowledgements, of which many follow one another while runs come.
    pub(super) fn said(&self, frame: &Frame) {
        self.0.bundles_sent.fetch_add(bundles(frame), Ordering::Relaxed);
        if !is_ping(frame) && !matches!(frame, Frame::Ack { .. }) {
            self.0.asking.store(true, Ordering::Relaxed);
        }
    }

    /// The other half of [`Meter::said`]: `frame` is handled now. All that the frame before it
    /// made us say is said, so that no part of that is taken for a question that this one answers.
    pub(super) fn answered(&self, frame: &Frame) {
        self.0.bundles_heard.fetch_add(bundles(frame), Ordering::Relaxed);
        if !is_ping(frame) && self.0.asking.swap(false, Ordering::Relaxed) {
            self.0.round_trips.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A session became the primary one.
    pub(super) fn promoted(&self) {
        self.0.promotions.fetch_add(1, Ordering::Relaxed);
    }

    /// A primary fell silent.
    pub(super) fn hedged(&self) {
        self.0.hedges.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection is closed: `stats` is all it ever carried.
    pub(super) fn closed(&self, stats: Stats) {
        let [sent, received] = &self.0.closed;
        sent.add(stats.sent_datagrams, stats.sent_bytes);
        received.add(stats.received_datagrams, stats.received_bytes);
    }

    /// What was counted so far; `open` are the counters of the connections that are open.
    pub(super) fn read(&self, open: impl Iterator<Item = Stats>, commits: Commits) -> Reading {
        let mut reading = Reading {
            sent: carried(&self.0.sent),
            heard: carried(&self.0.heard),
            round_trips: self.0.round_trips.load(Ordering::Relaxed),
            bundles_sent: self.0.bundles_sent.load(Ordering::Relaxed),
            bundles_heard: self.0.bundles_heard.load(Ordering::Relaxed),
            promotions: self.0.promotions.load(Ordering::Relaxed),
            hedges: self.0.hedges.load(Ordering::Relaxed),
            barriers: commits.groups,
            batches: commits.batches,
            barrier_us: commits.barrier_us,
        };
        reading.sent.datagrams = self.0.closed[0].tally();
        reading.heard.datagrams = self.0.closed[1].tally();
        for stats in open {
            reading.sent.datagrams +=
                Tally { frames: stats.sent_datagrams, bytes: stats.sent_bytes };
            reading.heard.datagrams +=
                Tally { frames: stats.received_datagrams, bytes: stats.received_bytes };
        }
        reading
    }
}

impl Counter {
    fn count(&self, bytes: usize) {
        self.add(1, bytes as u64 + LENGTH_BYTES);
    }

    fn add(&self, frames: u64, bytes: u64) {
        self.frames.fetch_add(frames, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn tally(&self) -> Tally {
        Tally {
            frames: self.frames.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

fn carried(counters: &[Counter; 3]) -> Carried {
    let [control, bundles, blobs] = counters;
    Carried {
        control: control.tally(),
        bundles: bundles.tally(),
        blobs: blobs.tally(),
        datagrams: Tally::default(),
    }
}

fn bundles(frame: &Frame) -> u64 {
    match frame {
        Frame::Run(run) => run.lengths().map_or(0, |lengths| lengths.len() as u64),
        _ => 0,
    }
}

fn is_ping(frame: &Frame) -> bool {
    matches!(frame, Frame::Ping(_) | Frame::Pong(_) | Frame::Path { .. })
}

#[cfg(test)]
mod tests {
    use engine::{id::VatNumber, wire::Tenant};

    use super::*;

    #[test]
    fn a_round_trip_is_something_heard_after_something_asked_and_a_ping_is_none() {
        let meter = Meter::default();
        let read = || meter.read([].into_iter(), Commits::default());
        let (ping, bye) = (Frame::Ping(1), Frame::Bye(None));
        meter.answered(&bye);
        assert_eq!(read().round_trips, 0, "nothing was said");
        meter.said(&bye);
        meter.said(&bye);
        meter.answered(&Frame::Pong(1));
        meter.answered(&bye);
        meter.answered(&bye);
        meter.said(&ping);
        let tenant = Tenant(VatNumber::parse("02038490237").unwrap());
        meter.said(&Frame::Ack { tenant, logs: vec![] });
        meter.answered(&bye);
        assert_eq!(read().round_trips, 1);
        meter.sent(Class::Control, 6);
        assert_eq!(read().sent.control, Tally { frames: 1, bytes: 10 });
    }
}
