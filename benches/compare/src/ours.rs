//! Staffetta's own figures, taken by its own scenarios over the same line, in the words of the
//! comparison: bytes are those of all datagrams, handshake and padding included.

use std::{io, path::Path, process::Command};

use serde_json::Value;

use crate::results::{self, Line, line};

/// What is asked of the `benches` program.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// Its scenario.
    pub scenario: &'a str,
    /// What else the scenario is told, such as `["--cause", "line-down"]`.
    pub words: &'a [&'a str],
    /// Invoices.
    pub documents: u64,
    /// Changes; where there are none, as many as the scenario makes by itself.
    pub changed: u64,
    /// The name of the line, and its settings.
    pub link: (&'a str, &'a str),
    /// The median of so many.
    pub runs: u64,
}

/// What `benches` calls otherwise than the results do.
const RENAMED: [(&str, &str); 9] = [
    ("datagram_bytes_up", "bytes_up"),
    ("datagram_bytes_down", "bytes_down"),
    ("bytes_up", "frame_bytes_up"),
    ("bytes_down", "frame_bytes_down"),
    ("rss_portal_bytes", "rss_server_bytes"),
    ("cpu_node_s", "cpu_client_s"),
    ("cpu_portal_s", "cpu_server_s"),
    ("mirror_p50_ms", "p50_ms"),
    ("mirror_p99_ms", "p99_ms"),
];

/// Runs a scenario and puts its medians into the results.
pub fn run(program: &Path, asked: Asked<'_>, results: &Path) -> io::Result<()> {
    let mut command = Command::new(program);
    command.arg(asked.scenario).args(asked.words);
    command.args(["--documents", &asked.documents.to_string()]);
    command.args(["--runs", &asked.runs.to_string()]);
    if asked.changed > 0 {
        command.args(["--changed", &asked.changed.to_string()]);
    }
    if !asked.link.1.is_empty() {
        command.args(["--link", asked.link.1]);
    }
    let out = command.output()?;
    if !out.status.success() {
        let why = String::from_utf8_lossy(&out.stderr);
        return Err(io::Error::other(format!("benches {}: {why}", asked.scenario)));
    }
    // Runs come first, then their median: of a kind the last one counts.
    let mut kept: Vec<Line> = Vec::new();
    for text in String::from_utf8_lossy(&out.stdout).lines() {
        let said: Line = serde_json::from_str(text).map_err(io::Error::other)?;
        let line = as_here(said, &asked);
        match kept.iter_mut().find(|other| results::is_same(other, &line)) {
            Some(other) => *other = line,
            None => kept.push(line),
        }
    }
    if kept.is_empty() {
        return Err(io::Error::other(format!("benches {} said nothing", asked.scenario)));
    }
    kept.into_iter().try_for_each(|line| results::put(results, line))
}

/// A line of `benches` in the words of the comparison.
fn as_here(said: Line, asked: &Asked<'_>) -> Line {
    let mut line = line(asked.scenario, "staffetta", asked.documents, asked.changed, asked.link.0);
    for (name, value) in said {
        let as_here = RENAMED.iter().find(|(theirs, _)| *theirs == name);
        let name = as_here.map_or(name.as_str(), |(_, ours)| ours);
        if !["scenario", "system", "link", "run", "documents", "changed"].contains(&name) {
            line.insert(name.into(), value);
        }
    }
    if let Some(left) = line.remove("held_after_kill") {
        // The node's grant is a bundle too.
        let left = left.as_u64().unwrap_or(0).saturating_sub(1);
        line.insert("durable".into(), format!("{left} of {}", asked.documents).into());
    }
    line.insert("capped".into(), Value::Bool(false));
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_datagrams_and_the_grant_is_no_document() {
        let link = ("loopback", "");
        let asked =
            Asked { scenario: "cold-sync", words: &[], documents: 10, changed: 0, link, runs: 3 };
        let text = r#"{"run":"median","bytes_up":1,"datagram_bytes_up":2,"held_after_kill":11}"#;
        let line = as_here(serde_json::from_str(text).unwrap(), &asked);
        assert_eq!((&line["bytes_up"], &line["frame_bytes_up"]), (&2.into(), &1.into()));
        assert_eq!(line["durable"], "10 of 10");
        assert!(!line.contains_key("run"));
    }
}
