//! What is measured of a rival: the one trait all of them are driven by.

pub mod program;
pub mod syncthing;

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

/// Why a measurement ended without its figure.
#[derive(Debug)]
pub enum Failure {
    /// The cap came first.
    Capped,
    /// It broke, with what it said.
    Broken(String),
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Broken(error.to_string())
    }
}

/// What a replica holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Invoices.
    pub documents: u64,
    /// Status changes.
    pub changes: u64,
}

/// A rival: a server and a client as processes of their own, each with its storage on disk.
///
/// Every call returns when the rival itself says it is done, or at `until`.
pub trait Rival {
    /// As it stands in the results.
    fn name(&self) -> &'static str;

    /// Version and the settings it runs with, in one line.
    fn settings(&self) -> String;

    /// Starts the server on an empty folder; where it listens.
    fn start_server(&mut self, dir: &Path, until: Instant) -> Result<SocketAddr, Failure>;

    /// Has the server hold the invoices `first..first + count` of a file of JSON lines.
    fn write(&mut self, lines: &Path, held: Held, until: Instant) -> Result<(), Failure>;

    /// Has the server make the status changes `first..first + count`.
    fn change(&mut self, first: u64, count: u64, until: Instant) -> Result<(), Failure>;

    /// Starts the client on a folder, not yet connected to `server`; how long its opening took.
    fn start_client(
        &mut self,
        dir: &Path,
        server: SocketAddr,
        until: Instant,
    ) -> Result<Duration, Failure>;

    /// Connects, and waits until the client holds `wanted`; how long that took.
    fn sync(&mut self, wanted: Held, until: Instant) -> Result<Duration, Failure>;

    /// What the client holds on its own, connected to nothing.
    fn held(&mut self, until: Instant) -> Result<Held, Failure>;

    /// Milliseconds of each of `count` changes, made every 30 ms on the held session from change
    /// `held.changes`; `None` where there is no live mode.
    fn live(&mut self, held: Held, count: u64, until: Instant)
    -> Result<Option<Vec<f64>>, Failure>;

    /// Ends the client: in good order, or by kill -9.
    fn stop_client(&mut self, kill: bool);

    /// The processes of client and server.
    fn processes(&self) -> [Vec<u32>; 2];
}

/// What processes cost so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Processor time.
    pub cpu_s: f64,
    /// Resident now.
    pub rss_bytes: u64,
    /// Resident at most.
    pub peak_bytes: u64,
}

/// The cost of processes, as the kernel tells it.
pub fn cost(pids: &[u32]) -> Cost {
    let mut cost = Cost::default();
    for pid in pids {
        let read = |what| std::fs::read_to_string(format!("/proc/{pid}/{what}"));
        let (Ok(stat), Ok(status)) = (read("stat"), read("status")) else { continue };
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let ticks: f64 = fields.iter().skip(11).take(2).filter_map(|n| n.parse::<f64>().ok()).sum();
        let ticks = ticks / rustix::param::clock_ticks_per_second() as f64;
        cost.cpu_s += ticks.max(threads_cpu_s(*pid));
        for line in status.lines() {
            let kilobytes = || line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok());
            if line.starts_with("VmRSS:") {
                cost.rss_bytes += 1024 * kilobytes().unwrap_or(0);
            } else if line.starts_with("VmHWM:") {
                cost.peak_bytes += 1024 * kilobytes().unwrap_or(0);
            }
        }
    }
    cost
}

/// Processor time of a process's threads, to the nanosecond, but only of those that have not ended:
/// the process's own is told in steps of 10 ms.
fn threads_cpu_s(pid: u32) -> f64 {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return 0.0 };
    let ns = threads.flatten().filter_map(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse::<f64>().ok()
    });
    ns.sum::<f64>() / 1e9
}

/// Bytes that a folder takes on disk, in blocks.
pub fn disk_bytes(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => 512 * meta.blocks() + disk_bytes(&entry.path()),
            Ok(meta) => 512 * meta.blocks(),
            Err(_) => 0,
        })
        .sum()
}
