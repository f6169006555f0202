//! The page: tables of what is in the results, the rows we lose marked, and the plots beside it.

use std::{collections::BTreeMap, fmt::Write as _, io, path::Path};

use serde_json::Value;

mod sections;
mod summary;

use crate::{
    results::{self, Line},
    svg::{Plot, Series},
};

const OURS: &str = "staffetta";
const FLOOR: &str = "floor";
/// The systems in the order of the columns.
const SYSTEMS: [&str; 7] =
    [OURS, "pouchdb", "syncthing", "automerge-repo", "samod", "iroh-docs", FLOOR];

/// What is compared in a row: less is better.
struct Measure {
    title: &'static str,
    of: fn(&Line) -> Option<f64>,
    shown: fn(f64) -> String,
}

fn number(line: &Line, name: &str) -> Option<f64> {
    line.get(name).and_then(Value::as_f64)
}

fn text<'a>(line: &'a Line, name: &str) -> &'a str {
    line.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn ended(line: &Line) -> bool {
    line.get("capped") == Some(&Value::Bool(true)) || line.contains_key("failed")
}

fn is_floor(line: &Line) -> bool {
    text(line, "system") == FLOOR
}

fn both_ways(line: &Line) -> Option<f64> {
    Some(number(line, "bytes_up")? + number(line, "bytes_down")?)
}

fn seconds(value: f64) -> String {
    match value {
        v if v < 0.1 => format!("{:.1} ms", v * 1e3),
        v => format!("{v:.2} s"),
    }
}

fn bytes(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{:.2} MB", v / 1e6),
        v if v >= 1e3 => format!("{:.1} kB", v / 1e3),
        v => format!("{v:.0} B"),
    }
}

const WALL: Measure = Measure { title: "time", of: |line| number(line, "wall_s"), shown: seconds };
const BYTES: Measure = Measure { title: "bytes both ways", of: both_ways, shown: bytes };
const CPU: Measure =
    Measure { title: "processor, both ends", of: |line| number(line, "cpu_s"), shown: seconds };
/// Of the end that receives: it hashes, verifies and stores, which is all the floor does.
const CLIENT_CPU: Measure = Measure {
    title: "processor, client",
    of: |line| {
        number(line, "cpu_client_s").or_else(|| number(line, "cpu_s").filter(|_| is_floor(line)))
    },
    shown: seconds,
};
const MEMORY: Measure = Measure {
    title: "client's memory at most",
    of: |line| number(line, "peak_bytes").or_else(|| number(line, "rss_bytes")),
    shown: bytes,
};
const DISK: Measure =
    Measure { title: "client's disk", of: |line| number(line, "disk_bytes"), shown: bytes };
const P50: Measure =
    Measure { title: "p50", of: |line| number(line, "p50_ms").map(|ms| ms / 1e3), shown: seconds };
const P99: Measure =
    Measure { title: "p99", of: |line| number(line, "p99_ms").map(|ms| ms / 1e3), shown: seconds };

/// Lines of one kind, by system.
type Row<'a> = BTreeMap<&'a str, &'a Line>;

/// Rows of a scenario, by line, documents and changes.
fn rows<'a>(lines: &'a [Line], scenario: &str) -> BTreeMap<(&'a str, u64, u64), Row<'a>> {
    let mut rows: BTreeMap<_, Row<'a>> = BTreeMap::new();
    // One made with a switch of our own, such as `--restart`, has no like among the rivals.
    let of = |line: &&Line| text(line, "scenario") == scenario && !line.contains_key("with");
    for line in lines.iter().filter(of) {
        let count = |name: &str| line.get(name).and_then(Value::as_u64).unwrap_or(0);
        let key = (text(line, "link"), count("documents"), count("changed"));
        rows.entry(key).or_default().insert(text(line, "system"), line);
    }
    rows
}

/// One row of a table, and whether we lose it.
fn table_row(title: &str, row: &Row<'_>, measure: &Measure) -> (String, bool) {
    let value = |system: &str| row.get(system).filter(|l| !ended(l)).and_then(|l| (measure.of)(l));
    let rivals = SYSTEMS.iter().filter(|system| ![OURS, FLOOR].contains(system));
    let best = rivals.filter_map(|system| value(system)).min_by(f64::total_cmp);
    let ours = value(OURS);
    let lost = matches!((ours, best), (Some(ours), Some(best)) if ours > best);
    let mut cells = String::new();
    for system in SYSTEMS {
        let cell = match row.get(system) {
            Some(line) if line.contains_key("failed") => "broke".into(),
            Some(line) if ended(line) => {
                format!("not in {} s", number(line, "cap_s").unwrap_or(0.0))
            }
            _ => value(system).map_or("-".into(), measure.shown),
        };
        let bold = if system == OURS && lost { "**" } else { "" };
        let _ = write!(cells, " {bold}{cell}{bold} |");
    }
    let ratio = |other: Option<f64>| match (ours, other) {
        (Some(ours), Some(other)) if other > 0.0 && ours > 0.0 => format!("{:.2}", ours / other),
        _ => "-".into(),
    };
    let (to_best, to_floor) = (ratio(best), ratio(value(FLOOR)));
    (format!("| {title}, {} |{cells} {to_best} | {to_floor} |\n", measure.title), lost)
}

/// Writes the page and its plots beside the results.
pub fn write(results: &Path) -> io::Result<()> {
    let lines = results::read(results)?;
    let dir = results.parent().unwrap_or(Path::new("."));
    let mut page = String::from(HEAD);
    let mut lost = Vec::new();
    let (cold, back, live) =
        (rows(&lines, "cold-sync"), rows(&lines, "reconnect"), rows(&lines, "live"));
    for (title, rows, measures) in [
        ("Cold sync", &cold, &[WALL, BYTES, CPU, CLIENT_CPU, MEMORY, DISK][..]),
        ("Coming back", &back, &[WALL, BYTES, CPU, MEMORY][..]),
        ("Live", &live, &[P50, P99, CPU][..]),
    ] {
        let _ = write!(page, "\n## {title}\n| what |");
        for system in SYSTEMS {
            let _ = write!(page, " {system} |");
        }
        let _ = writeln!(page, " of the best rival | of the floor |");
        page += "|---";
        page += &"|---".repeat(SYSTEMS.len() + 2);
        page += "|\n";
        for ((link, documents, changed), row) in rows {
            let among = row.keys().filter(|system| ![OURS, FLOOR].contains(system)).count();
            let d = if title == "Cold sync" { String::new() } else { format!(" d={changed},") };
            let what = format!("N={documents},{d} {link}");
            for measure in measures {
                let (text, is_lost) = table_row(&what, row, measure);
                page += &text;
                if is_lost && among > 0 {
                    lost.push(format!("{title}, {what}: {}", measure.title));
                }
            }
        }
    }
    page += &sections::failover(&lines);
    page += &sections::portal(&lines);
    page += &sections::frames(&cold, &back);
    page += &sections::durability(&cold);
    page += &sections::exponents(&cold);
    page += &sections::one_more(&cold);
    page += "\n## Rows we lose\n";
    if lost.is_empty() {
        page += "None of those above.\n";
    }
    for row in lost {
        let _ = writeln!(page, "* {row}");
    }
    page += "\n## Plots\n";
    for (name, plot) in plots(&cold, &back) {
        std::fs::write(dir.join(format!("{name}.svg")), plot.to_svg())?;
        let _ = writeln!(page, "![{}]({name}.svg)\n", plot.title);
    }
    std::fs::write(dir.join("comparison.md"), page.trim_end().to_owned() + "\n")?;
    // Results that lie elsewhere have no README to go into.
    match dir.join("../../README.md") {
        readme if readme.is_file() => summary::write(&readme, &cold, &back, &live),
        _ => Ok(()),
    }
}

fn curve(
    rows: &BTreeMap<(&str, u64, u64), Row<'_>>,
    link: &str,
    system: &str,
    of: fn(&Line) -> Option<f64>,
) -> Vec<(f64, f64)> {
    rows.iter()
        .filter(|((here, ..), _)| *here == link)
        .filter_map(|((_, documents, _), row)| {
            let line = row.get(system).filter(|line| !ended(line))?;
            Some((*documents as f64, of(line)?))
        })
        .collect()
}

fn plots(
    cold: &BTreeMap<(&str, u64, u64), Row<'_>>,
    back: &BTreeMap<(&str, u64, u64), Row<'_>>,
) -> Vec<(&'static str, Plot)> {
    let over_n = |title: &str, y: &str, of: fn(&Line) -> Option<f64>| Plot {
        title: title.into(),
        x: "documents (N)".into(),
        y: y.into(),
        series: SYSTEMS
            .iter()
            .map(|system| Series {
                name: (*system).into(),
                points: curve(cold, "loopback", system, of),
            })
            .filter(|series| !series.points.is_empty())
            .collect(),
    };
    let each = |line: &Line| Some(both_ways(line)? / number(line, "documents")?);
    let mut plots = vec![
        ("cold-time", over_n("Cold sync on loopback: time", "seconds", WALL.of)),
        ("cold-bytes", over_n("Cold sync: bytes of a document", "bytes a document", each)),
        ("cold-cpu", over_n("Cold sync: processor time of both ends", "seconds", CPU.of)),
        ("cold-memory", over_n("Cold sync: client's memory at most", "bytes", MEMORY.of)),
    ];
    // Nothing changed stands at 0.5, since a logarithm has no zero.
    for (name, documents) in [("reconnect-1k", 1_000), ("reconnect-10k", 10_000)] {
        let series = SYSTEMS.iter().map(|system| Series {
            name: (*system).into(),
            points: back
                .iter()
                .filter(|((link, n, _), _)| *link == "loopback" && *n == documents)
                .filter_map(|((_, _, changed), row)| {
                    let line = row.get(system).filter(|line| !ended(line))?;
                    Some(((*changed as f64).max(0.5), both_ways(line)?))
                })
                .collect(),
        });
        let plot = Plot {
            title: format!("Coming back at N = {documents}: bytes both ways"),
            x: "documents changed (d); nothing changed stands at 0.5".into(),
            y: "bytes".into(),
            series: series.filter(|series| !series.points.is_empty()).collect(),
        };
        plots.push((name, plot));
    }
    plots
}

const HEAD: &str = "\
# Beside what a user would pick instead

Made by `make compare` from `results.jsonl`; not written by hand. The same invoices for all: 5.5 kB of FatturaPA XML for ours, the same
fields as JSON (3.7 kB) for the others. Every end is a process of its own with its storage on disk, and both share two cores. Bytes are all
those above UDP or TCP, handshakes and padding included, both ways: the relay in between counts them for a rival, our own transport for ours.
*Coming back* is a client that was stopped and holds all but d status changes. Less is better in every row; ours is bold where a rival has less.
A store of ours of up to 32 MiB is read and compared with its checksums when it is opened: some 6 ms and 4 MB at N=10000, nothing at N=100000.

Ours is the median of three runs (one at N=100000), a rival's figure is one run; a measurement that took longer than its cap says so, and
one that a rival did not get to, because an earlier or a smaller one did not end, has a dash. Ours fills the truth, from which the mirror for the ERP is
made: it is part of *Live* only. It runs with what its service's unit sets (`MALLOC_ARENA_MAX=1`) and is built as our releases are, in one unit of
code; a rival runs as it comes, and one in Rust is built as cargo builds a release: built as ours is, iroh-docs takes 24 MB at N=1000. A rival's client
is asked nothing but whether it holds everything. The floor's processor time is that of one end which hashes every original, verifies one signature a run
and stores it all: so it stands beside the client's; a sender's work has no such floor.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::line;

    fn measured(system: &str, wall_s: f64) -> Line {
        let mut line = line("cold-sync", system, 1000, 0, "loopback");
        line.insert("wall_s".into(), wall_s.into());
        line
    }

    #[test]
    fn a_row_that_is_lost_is_marked_and_a_capped_rival_wins_nothing() {
        let (ours, quick) = (measured(OURS, 2.0), measured("pouchdb", 1.0));
        let row: Row<'_> = [(OURS, &ours), ("pouchdb", &quick)].into();
        let (text, lost) = table_row("N", &row, &WALL);
        assert!(lost && text.contains("**2.00 s**") && text.contains("| 2.00 |"), "{text}");

        let mut capped = measured("pouchdb", 1.0);
        capped.insert("capped".into(), true.into());
        capped.insert("cap_s".into(), 50.into());
        let row: Row<'_> = [(OURS, &ours), ("pouchdb", &capped)].into();
        let (text, lost) = table_row("N", &row, &WALL);
        assert!(!lost && text.contains("not in 50 s"), "{text}");
    }
}
