//! What no system can go below on this machine: the invoices compressed as one archive, the line's
//! round trip, the disk's own barrier, and hashing every original once.
//!
//! Signatures are left out of the processor's floor: one stands for a run of bundles.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    time::{Duration, Instant},
};

use benches::workload::Invoice;
use engine::id::BlobHash;

use crate::{
    invoices::tenant,
    results::{self, figure, line, quantile},
};

/// zstd's strongest level that its own program takes without being asked twice.
const STRONGEST: i32 = 19;
/// Beyond this the strongest level takes minutes: the usual one stands for it there.
const STRONGEST_BYTES_MAX: usize = 80_000_000;

/// Puts the floor of a cold sync of `documents` over a line into the results.
pub fn cold(documents: u64, link: (&str, &str), dir: &Path, results: &Path) -> io::Result<()> {
    let tenant = tenant()?;
    let invoices: Vec<Vec<u8>> = (0..documents).map(|n| Invoice::received(tenant, n).xml).collect();
    let started = Instant::now();
    for invoice in &invoices {
        std::hint::black_box(BlobHash::of(invoice));
    }
    let hash_s = started.elapsed().as_secs_f64();
    let archive = invoices.concat();
    let usual = zstd::bulk::compress(&archive, 3)?.len();
    let least = match archive.len() <= STRONGEST_BYTES_MAX {
        true => zstd::bulk::compress(&archive, STRONGEST)?.len(),
        false => usual,
    };
    let barrier_s = barrier(dir)?.as_secs_f64();
    let setting = |name: &str| {
        let mut settings = link.1.split(',').filter_map(|setting| setting.split_once('='));
        settings.find(|(here, _)| *here == name).and_then(|(_, value)| value.parse::<f64>().ok())
    };
    let on_line = setting("down_kbit").map_or(0.0, |kbit| least as f64 * 8.0 / (kbit * 1e3));
    let round_trip_s = setting("rtt_ms").unwrap_or(0.0) / 1e3;
    let mut line = line("cold-sync", "floor", documents, 0, link.0);
    for (name, value) in [
        ("wall_s", round_trip_s + on_line + barrier_s + hash_s),
        ("bytes_up", 0.0),
        ("bytes_down", least as f64),
        ("zstd_3_bytes", usual as f64),
        ("payload_bytes", archive.len() as f64),
        ("cpu_s", hash_s),
        ("barrier_s", barrier_s),
        ("round_trip_s", round_trip_s),
        ("disk_bytes", least as f64),
    ] {
        line.insert(name.into(), figure(value));
    }
    results::put(results, line)
}

/// The median of `fdatasync` after a page was appended.
fn barrier(dir: &Path) -> io::Result<Duration> {
    let mut file = File::create(dir.join("barrier"))?;
    let mut times = Vec::new();
    for _ in 0..50 {
        file.write_all(&[7; 4096])?;
        let started = Instant::now();
        file.sync_data()?;
        times.push(started.elapsed().as_secs_f64());
    }
    Ok(Duration::from_secs_f64(quantile(&mut times, 0.5)))
}
