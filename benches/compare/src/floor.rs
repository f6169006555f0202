//! What no system can go below here: what is said compressed as one archive, the line's round trip,
//! the disk's own barrier, and hashing every original, verifying one signature a run, and storing it.

use std::{
    fs::File,
    hint::black_box,
    io::{self, Write},
    path::Path,
    time::{Duration, Instant},
};

use benches::{end::Papers, workload::Invoice};
use engine::{
    archive::{self, Stored},
    bundle::{BlobRef, Body, ChainHash, PublicKey, Signature},
    document::invoice::Receiving,
    id::{BlobHash, LogId, VatNumber},
    limits::{RUN_BUNDLES_MAX, RUN_RAW_BYTES_TARGET},
    store::{Batch, Store as _},
};
use node::{
    intake::Intake,
    truth::{Truth, TruthOptions},
};

use crate::{
    invoices::{as_json, change, tenant},
    results::{self, Line, figure, line, quantile},
};

/// zstd's strongest level that its own program takes without being asked twice.
const STRONGEST: i32 = 19;
/// So much of an archive stands for all of it: at the strongest level zstd looks back 8 MiB, and
/// more takes minutes.
const ARCHIVE_BYTES_MAX: usize = 60_000_000;

/// A line as it bounds what goes over it.
struct Bounds {
    round_trip_s: f64,
    seconds_a_byte: f64,
}

impl Bounds {
    fn of(settings: &str) -> Self {
        let setting = |name: &str| {
            let mut settings = settings.split(',').filter_map(|setting| setting.split_once('='));
            settings.find(|(here, _)| *here == name).and_then(|(_, value)| value.parse().ok())
        };
        let seconds_a_byte = setting("down_kbit").map_or(0.0, |kbit: f64| 8.0 / (kbit * 1e3));
        Self { round_trip_s: setting("rtt_ms").unwrap_or(0.0) / 1e3, seconds_a_byte }
    }
}

/// Puts the floor of a cold sync of `documents` over a line into the results.
pub fn cold(documents: u64, link: (&str, &str), dir: &Path, results: &Path) -> io::Result<()> {
    let tenant = tenant()?;
    let invoices: Vec<Vec<u8>> = (0..documents).map(|n| Invoice::received(tenant, n).xml).collect();
    let payload: usize = invoices.iter().map(Vec::len).sum();
    let runs = payload.div_ceil(RUN_RAW_BYTES_TARGET);
    let cpu_s =
        median(|| Ok(hashed(&invoices) + verified(runs)? + stored(tenant, documents, runs, dir)?))?;
    let json = (0..documents).map(|n| as_json(&Invoice::received(tenant, n), n).to_string() + "\n");
    let json = archived(json.map(String::into_bytes), ARCHIVE_BYTES_MAX)?;
    let least = archived(invoices.into_iter(), ARCHIVE_BYTES_MAX)?;
    let mut line = line("cold-sync", "floor", documents, 0, link.0);
    put_bounds(&mut line, link.1, least, cpu_s, dir)?;
    for (name, value) in
        [("json_archive_bytes", json), ("payload_bytes", payload as f64), ("disk_bytes", least)]
    {
        line.insert(name.into(), figure(value));
    }
    results::put(results, line)
}

/// Puts the floor of coming back after `changed` status changes into the results: what every
/// system is told of them, and which invoice each is about.
pub fn reconnect(
    (documents, changed): (u64, u64),
    link: (&str, &str),
    dir: &Path,
    results: &Path,
) -> io::Result<()> {
    let changes: Vec<Vec<u8>> =
        (0..changed).map(|k| format!("{}\n", change(k)).into_bytes()).collect();
    let runs = changes.len().div_ceil(RUN_BUNDLES_MAX);
    let cpu_s = hashed(&changes) + verified(runs)?;
    let least = match changed {
        0 => 0.0,
        _ => archived(changes.into_iter(), ARCHIVE_BYTES_MAX)?,
    };
    let mut line = line("reconnect", "floor", documents, changed, link.0);
    put_bounds(&mut line, link.1, least, cpu_s, dir)?;
    results::put(results, line)
}

/// What bounds time and bytes of anything that brings `least` bytes and makes them durable.
fn put_bounds(line: &mut Line, link: &str, least: f64, cpu_s: f64, dir: &Path) -> io::Result<()> {
    let bounds = Bounds::of(link);
    // Nothing new, nothing to make durable.
    let barrier_s = if least > 0.0 { barrier(dir)?.as_secs_f64() } else { 0.0 };
    let on_line = least * bounds.seconds_a_byte;
    for (name, value) in [
        ("wall_s", bounds.round_trip_s + on_line + barrier_s + cpu_s),
        ("bytes_up", 0.0),
        ("bytes_down", least),
        ("cpu_s", cpu_s),
        ("barrier_s", barrier_s),
        ("round_trip_s", bounds.round_trip_s),
    ] {
        line.insert(name.into(), figure(value));
    }
    Ok(())
}

/// Bytes of all parts as one archive: of its first `head_max` bytes, and the rest by its share.
fn archived(parts: impl Iterator<Item = Vec<u8>>, head_max: usize) -> io::Result<f64> {
    let (mut head, mut all) = (Vec::new(), 0);
    for part in parts {
        all += part.len();
        if head.len() < head_max {
            head.extend(part);
        }
    }
    let share = all as f64 / head.len().max(1) as f64;
    Ok((zstd::bulk::compress(&head, STRONGEST)?.len() as f64 * share).round())
}

/// The median of three, as ours is of three runs.
fn median(mut measure: impl FnMut() -> io::Result<f64>) -> io::Result<f64> {
    Ok(quantile(&mut [measure()?, measure()?, measure()?], 0.5))
}

/// Seconds to hash each once.
fn hashed(parts: &[Vec<u8>]) -> f64 {
    let started = Instant::now();
    for part in parts {
        black_box(BlobHash::of(part));
    }
    started.elapsed().as_secs_f64()
}

/// Seconds to verify so many signatures.
fn verified(signatures: usize) -> io::Result<f64> {
    let identity =
        Papers::issue().and_then(|papers| papers.identity()).map_err(io::Error::other)?;
    let key = PublicKey::from_spki(identity.spki()).map_err(io::Error::other)?;
    let said = ChainHash([7; 32]);
    let signature = Signature::from_bytes(&identity.sign(&said.0));
    let started = Instant::now();
    for _ in 0..signatures {
        if !black_box(key.verifies(&said, &signature)) {
            return Err(io::Error::other("a signature of our own does not hold"));
        }
    }
    Ok(started.elapsed().as_secs_f64())
}

/// Seconds of processor to make the documents durable, `runs` times as many, in our own store: rows
/// packed, written and synchronised, with nobody to bring them.
fn stored(tenant: VatNumber, documents: u64, runs: usize, dir: &Path) -> io::Result<f64> {
    let log = LogId::from_bytes([7; 16]);
    let mut bundles = Vec::new();
    for n in 0..documents {
        let invoice = Invoice::received(tenant, n);
        let receiving =
            Receiving { sdi_id: (20_000_000_000 + n * 11).to_string(), at_ms: 0, metadata: None };
        let intake = Intake::read(&invoice.name, &invoice.xml, Some(receiving));
        let item = intake.map_err(io::Error::other)?.item(log).map_err(io::Error::other)?;
        let blobs = vec![BlobRef::of(&invoice.xml)];
        let body = Body { written_ms: n, items: vec![item], blobs };
        let bytes = body.encode().map_err(io::Error::other)?;
        let (previous, hash) = (ChainHash::START, ChainHash([n as u8; 32]));
        bundles.push((
            Stored {
                previous,
                hash,
                signature: None,
                body: bytes.into(),
                inline: invoice.xml.into(),
            },
            body,
        ));
    }
    let dir = tempfile::tempdir_in(dir)?;
    let store = Truth::open(dir.path(), TruthOptions::default()).map_err(io::Error::other)?;
    let begun = processor_time();
    let mut seq = 0;
    for run in bundles.chunks(bundles.len().div_ceil(runs.max(1)).max(1)) {
        let mut batch = Batch::default();
        for (stored, body) in run {
            seq += 1;
            archive::put_bundle(&mut batch, tenant, &log, seq, seq, stored, body);
        }
        store.apply(batch).map_err(io::Error::other)?;
        store.barrier().map_err(io::Error::other)?;
    }
    Ok(processor_time() - begun)
}

/// Seconds of processor that this process has used.
fn processor_time() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_bounds_by_its_settings() {
        let bounds = Bounds::of("rtt_ms=40,up_kbit=1000,down_kbit=8000");
        assert_eq!((bounds.round_trip_s, bounds.seconds_a_byte), (0.04, 1e-6));
    }

    #[test]
    fn what_is_beyond_the_head_counts_by_its_share() {
        let part = b"la stessa fattura ".repeat(100);
        let archive = |parts| archived(vec![part.clone(); parts].into_iter(), part.len()).unwrap();
        assert!(archive(1) > 10.0);
        assert_eq!(archive(3), 3.0 * archive(1));
    }
}
