//! The short table of the README, between two marks there: a few rows of the page, and among them
//! those we lose.

use std::{fmt::Write as _, io, path::Path};

use super::{
    BYTES, CPU, DISK, FLOOR, MEMORY, Measure, OURS, P50, Row, SYSTEMS, WALL, ended, sections::Rows,
};

const BEGIN: &str = "<!-- made by make compare -->\n";
const END: &str = "<!-- end -->\n";
const ADSL: &str = "7/1 Mbit/s 40 ms";
const LOOPBACK: &str = "loopback";

/// Puts the table into the README, in the place of an older one.
pub(super) fn write(
    readme: &Path,
    cold: &Rows<'_>,
    back: &Rows<'_>,
    live: &Rows<'_>,
) -> io::Result<()> {
    let text = std::fs::read_to_string(readme)?;
    let parts = text.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let (before, after) =
        parts.ok_or_else(|| io::Error::other(format!("{} has no marks", readme.display())))?;
    let mut table =
        String::from("| what | Staffetta | best of the others | floor |\n|---|---|---|---|\n");
    for (what, rows, key, measures) in [
        ("1,000 invoices over 7/1 Mbit/s, 40 ms", cold, (ADSL, 1000, 0), &[WALL, BYTES][..]),
        ("10,000 invoices, no line", cold, (LOOPBACK, 10_000, 0), &[WALL, CPU, MEMORY, DISK]),
        ("back with 1,000, nothing changed, 40 ms", back, (ADSL, 1000, 0), &[WALL, BYTES]),
        ("back with 1,000, 100 changed, 40 ms", back, (ADSL, 1000, 100), &[WALL, BYTES]),
        ("back with 10,000, 100 changed", back, (LOOPBACK, 10_000, 100), &[BYTES, CPU]),
        ("one live change", live, (LOOPBACK, 1000, 100), &[P50]),
    ] {
        let Some(row) = rows.get(&key) else { continue };
        for measure in measures {
            table += &line(what, row, measure);
        }
    }
    std::fs::write(readme, format!("{before}{BEGIN}{table}{END}{after}"))
}

fn line(what: &str, row: &Row<'_>, measure: &Measure) -> String {
    let value = |system: &str| row.get(system).filter(|l| !ended(l)).and_then(|l| (measure.of)(l));
    let rivals = SYSTEMS.iter().filter(|system| ![OURS, FLOOR].contains(system));
    let best = rivals
        .filter_map(|system| Some((value(system)?, *system)))
        .min_by(|one, other| one.0.total_cmp(&other.0));
    let shown = |value: Option<f64>| value.map_or("-".to_owned(), measure.shown);
    let ours = value(OURS);
    let is_lost = ours.zip(best).is_some_and(|(ours, (best, _))| ours > best);
    let bold = if is_lost { "**" } else { "" };
    let others = best
        .map_or("-".to_owned(), |(best, system)| format!("{} ({system})", (measure.shown)(best)));
    let mut line = String::new();
    let _ = writeln!(
        line,
        "| {what}: {} | {bold}{}{bold} | {others} | {} |",
        measure.title,
        shown(ours),
        shown(value(FLOOR))
    );
    line
}
