//! Sections of the page that are no rows of every system: failover by cause, what a portal does
//! besides, our frames beside the floor, what survives, and how costs grow.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use super::{
    BYTES, CLIENT_CPU, CPU, FLOOR, MEMORY, Measure, OURS, Row, SYSTEMS, WALL, bytes, curve, number,
    seconds, text,
};
use crate::{failover::CAUSES, results::Line};

/// Rows of a scenario, by line, documents and changes.
pub(super) type Rows<'a> = BTreeMap<(&'a str, u64, u64), Row<'a>>;

/// What stands for nothing that was measured.
const NOTHING: &str = "-";

/// How long nothing flowed, by cause and system.
pub(super) fn failover(lines: &[Line]) -> String {
    let measured = lines.iter().filter(|line| text(line, "scenario") == "failover");
    let measured: Vec<&Line> = measured.collect();
    let mut systems: Vec<&str> = measured.iter().map(|line| text(line, "system")).collect();
    systems.sort_by_key(|system| (*system != OURS, *system));
    systems.dedup();
    if systems.is_empty() {
        return String::new();
    }
    let mut out = String::from(
        "\n## Failover\nA client writes every 10 ms over two lines of 40 ms, and after two seconds \
         something fails. Time until the first message written after that was acknowledged, and in \
         brackets the longest time without any acknowledgement; ours is the median of three runs, a \
         yardstick one run. Ours has a warm standby and stores what it acknowledges; the yardsticks \
         store nothing.\n\n| what fails |",
    );
    for system in &systems {
        let _ = write!(out, " {system} |");
    }
    let _ = writeln!(out, "\n|---{}|", "|---".repeat(systems.len()));
    for cause in CAUSES {
        let _ = write!(out, "| {cause} |");
        for system in &systems {
            let of =
                |line: &&&Line| text(line, "system") == *system && text(line, "cause") == cause;
            let cell = measured.iter().find(of).map_or(NOTHING.to_owned(), |line| {
                let shown = |name| number(line, name).map_or_else(|| "never".to_owned(), seconds);
                format!("{} ({})", shown("flows_again_s"), shown("longest_gap_s"))
            });
            let _ = write!(out, " {cell} |");
        }
        out += "\n";
    }
    out += "\n";
    for system in systems.iter().filter(|system| **system != OURS) {
        let said = measured.iter().find(|line| text(line, "system") == *system);
        let _ = writeln!(out, "* {system}: {}", said.map_or("", |line| text(line, "settings")));
    }
    out
}

/// What a portal does besides serving one node.
pub(super) fn portal(lines: &[Line]) -> String {
    let mut rows = String::new();
    for line in lines {
        let get = |name| number(line, name).unwrap_or(f64::NAN);
        let documents = get("documents");
        match text(line, "scenario") {
            "relay" => {
                let _ = writeln!(
                    rows,
                    "| bundles passed on from its twin to a node | {:.0} a second a core, {:.0} us each |",
                    get("bundles_a_second_a_core"),
                    get("relay_us_a_bundle"),
                );
            }
            "sessions" => {
                let _ = writeln!(
                    rows,
                    "| {:.0} idle sessions of as many customers | {} each; {:.1} ms of processor for \
                     a handshake with its grant checked |",
                    get("sessions"),
                    bytes(get("bytes_a_session")),
                    get("cpu_us_a_handshake") / 1e3,
                );
            }
            "twins" => {
                let _ = writeln!(
                    rows,
                    "| catching up with its twin: {documents:.0} documents of {:.0} customers, {:.0} \
                     differences | {:.1} B of frames a difference both ways, {:.0} round trips, {} |",
                    get("tenants"),
                    get("changed"),
                    get("bytes_a_difference"),
                    get("round_trips_until_held"),
                    seconds(get("wall_s")),
                );
            }
            _ => {}
        }
    }
    if rows.is_empty() {
        return rows;
    }
    format!(
        "\n## A portal\nNo rival has these; `benches twins, sessions, relay`.\n\n| what | figure |\n|---|---|\n{rows}"
    )
}

/// Our frames alone beside the floor: what QUIC and TLS add is the same at any N and d.
pub(super) fn frames(cold: &Rows<'_>, back: &Rows<'_>) -> String {
    let mut out = String::from(
        "\n## Frames alone\nBytes of our frames both ways, without handshake, padding and \
         acknowledgements of QUIC, beside the same payload as one zstd archive (level 19).\n\n\
         | what | frames | floor | of the floor |\n|---|---|---|---|\n",
    );
    for (title, rows) in [("cold", cold), ("back", back)] {
        for ((link, documents, changed), row) in rows {
            let Some(line) = row.get(OURS) else { continue };
            let frames = number(line, "frame_bytes_up").zip(number(line, "frame_bytes_down"));
            let Some((up, down)) = frames else { continue };
            let least = row.get(FLOOR).and_then(|line| number(line, "bytes_down"));
            let d = if title == "cold" { String::new() } else { format!(", d={changed}") };
            let ratio = least.filter(|least| *least > 0.0);
            let _ = writeln!(
                out,
                "| {title}, N={documents}{d}, {link} | {} | {} | {} |",
                bytes(up + down),
                least.map_or(NOTHING.to_owned(), bytes),
                ratio.map_or(NOTHING.to_owned(), |least| format!("{:.2}", (up + down) / least)),
            );
        }
    }
    let json =
        cold.iter().filter(|((link, ..), _)| *link == "loopback").filter_map(|(key, row)| {
            let floor = row.get(FLOOR)?;
            let (xml, json) = (number(floor, "bytes_down")?, number(floor, "json_archive_bytes")?);
            Some(format!("{} as XML and {} as JSON at N={}", bytes(xml), bytes(json), key.1))
        });
    let json: Vec<String> = json.collect();
    if !json.is_empty() {
        let _ = writeln!(out, "\nThe invoices as one archive: {}.", json.join(", "));
    }
    out
}

/// What was left after kill -9, what was asked of the disk, and the settings.
pub(super) fn durability(cold: &Rows<'_>) -> String {
    let mut said: BTreeMap<&str, (String, String)> = BTreeMap::new();
    for line in cold.values().flat_map(BTreeMap::values) {
        let entry = said.entry(text(line, "system")).or_default();
        let durable = text(line, "durable");
        if !durable.is_empty() {
            entry.0 = durable.into();
        }
        if !text(line, "settings").is_empty() {
            entry.1 = text(line, "settings").into();
        }
    }
    let mut out = String::from(
        "\n## What is left after kill -9 right after \"done\", and the settings\n\
         kill -9 ends a process, not the machine: what it wrote and did not sync stays in the \
         kernel's cache and reaches the disk later. So a system that never syncs keeps everything \
         here, and would lose its last seconds in a power cut.\n\n\
         | system | left | synced before \"done\" | version and settings |\n|---|---|---|---|\n",
    );
    for (system, (left, settings)) in said.iter().filter(|(system, _)| **system != FLOOR) {
        let settings = if *system == OURS { "redb, one barrier a group" } else { settings };
        let left = if left.is_empty() { "not measured" } else { left };
        let _ = writeln!(out, "| {system} | {left} | {} | {settings} |", synced(system));
    }
    out
}

/// What the client asks of the disk before it says that it is done, as `strace -e
/// fsync,fdatasync,msync` shows it.
fn synced(system: &str) -> &'static str {
    match system {
        OURS => "everything, by fdatasync",
        "syncthing" => "every file, not its index",
        "pouchdb" => "only LevelDB's manifest, when it opens",
        "iroh-docs" => "what is older than half a second",
        _ => "nothing",
    }
}

/// How time, processor and memory grow with N on loopback: the slope between logarithms.
pub(super) fn exponents(cold: &BTreeMap<(&str, u64, u64), Row<'_>>) -> String {
    let mut out = String::from(
        "\n## Growth with N\nCold sync on loopback, fitted as N to a power, over the N in brackets.\n\n\
         | system | time | processor | memory | bytes |\n|---|---|---|---|---|\n",
    );
    for system in SYSTEMS {
        let fit = |measure: &Measure| {
            let points = curve(cold, "loopback", system, measure.of);
            slope(&points).map_or("-".to_owned(), |slope| format!("{slope:.2}"))
        };
        let over: Vec<String> = curve(cold, "loopback", system, WALL.of)
            .iter()
            .map(|point| point.0.to_string())
            .collect();
        if over.len() > 1 {
            let _ = writeln!(
                out,
                "| {system} ({}) | {} | {} | {} | {} |",
                over.join(", "),
                fit(&WALL),
                fit(&CPU),
                fit(&MEMORY),
                fit(&BYTES)
            );
        }
    }
    out
}

/// What one document more takes of the client's processor, without what a session takes however
/// little it brings: between one N and the next, beside the floor.
pub(super) fn one_more(cold: &Rows<'_>) -> String {
    let mut out = String::from(
        "\n## One document more\nWhat one document more takes of the client's processor in a cold sync: the difference \
         between two N, divided by theirs. A handshake and a process that starts are in neither.\n\n\
         | what | staffetta | floor | of the floor |\n|---|---|---|---|\n",
    );
    let links: BTreeSet<&str> = cold.keys().map(|(link, ..)| *link).collect();
    for link in links {
        let each = |system| -> BTreeMap<(u64, u64), f64> {
            let points = curve(cold, link, system, CLIENT_CPU.of);
            let between = |two: &[(f64, f64)]| {
                let [(from, before), (to, after)] = [two[0], two[1]];
                ((from as u64, to as u64), (after - before) / (to - from))
            };
            points.windows(2).map(between).collect()
        };
        let floors = each(FLOOR);
        for ((from, to), ours) in each(OURS) {
            let Some(floor) = floors.get(&(from, to)) else { continue };
            let (what, ratio) = (format!("from N={from} to {to}, {link}"), ours / floor);
            let _ = writeln!(
                out,
                "| {what} | {:.1} us | {:.1} us | {ratio:.2} |",
                ours * 1e6,
                floor * 1e6
            );
        }
    }
    out
}

/// The slope of the line of least squares through the logarithms.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let logs: Vec<(f64, f64)> = points
        .iter()
        .filter(|point| point.0 > 0.0 && point.1 > 0.0)
        .map(|point| (point.0.ln(), point.1.ln()))
        .collect();
    let count = logs.len() as f64;
    let (mx, my) = (
        logs.iter().map(|p| p.0).sum::<f64>() / count,
        logs.iter().map(|p| p.1).sum::<f64>() / count,
    );
    let spread: f64 = logs.iter().map(|p| (p.0 - mx).powi(2)).sum();
    let along: f64 = logs.iter().map(|p| (p.0 - mx) * (p.1 - my)).sum();
    (logs.len() > 1 && spread > 0.0).then(|| along / spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_exponents() {
        let square = [(10.0, 100.0), (100.0, 10_000.0), (1000.0, 1_000_000.0)];
        assert!((slope(&square).unwrap() - 2.0).abs() < 1e-9);
        assert_eq!(slope(&square[..1]), None);
    }
}
