//! Staffetta's own figures, taken by its own scenarios over the same line, in the words of the
//! comparison: bytes are those of all datagrams, handshake and padding included.

use std::{io, path::Path, process::Command};

use serde_json::Value;

use crate::results::{self, Line, line};

/// What is asked of the `benches` program.
pub struct Asked<'a> {
    /// The program.
    pub program: &'a Path,
    /// Its scenario with what only it has, such as `["reconnect", "--together"]`.
    pub scenario: Vec<&'a str>,
    /// As it stands in the results.
    pub name: &'a str,
    /// Invoices.
    pub documents: u64,
    /// Changes.
    pub changed: u64,
    /// The name of the line, and its settings.
    pub link: (&'a str, &'a str),
    /// The median of so many.
    pub runs: u64,
}

/// Runs a scenario and puts its median into the results.
pub fn run(asked: &Asked<'_>, results: &Path) -> io::Result<()> {
    let mut command = Command::new(asked.program);
    command.args(&asked.scenario);
    for (name, value) in
        [("--documents", asked.documents), ("--changed", asked.changed), ("--runs", asked.runs)]
    {
        command.arg(name).arg(value.to_string());
    }
    if !asked.link.1.is_empty() {
        command.args(["--link", asked.link.1]);
    }
    let out = command.output()?;
    if !out.status.success() {
        let why = String::from_utf8_lossy(&out.stderr);
        return Err(io::Error::other(format!("benches {:?}: {why}", asked.scenario)));
    }
    let text = String::from_utf8_lossy(&out.stdout);
    let last = text.lines().last().ok_or_else(|| io::Error::other("benches said nothing"))?;
    let said: Line = serde_json::from_str(last).map_err(io::Error::other)?;
    let mut line = line(asked.name, "staffetta", asked.documents, asked.changed, asked.link.0);
    let renamed = [
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
    for (name, value) in said {
        let as_here = renamed.iter().find(|(theirs, _)| *theirs == name);
        let name = as_here.map_or(name.as_str(), |(_, ours)| ours);
        if !["scenario", "system", "link", "run", "documents", "changed"].contains(&name) {
            line.insert(name.into(), value);
        }
    }
    if let Some(left) = line.remove("held_after_kill") {
        let left = left.as_u64().unwrap_or(0).saturating_sub(1);
        line.insert("durable".into(), format!("{left} of {}", asked.documents).into());
    }
    line.insert("capped".into(), Value::Bool(false));
    results::put(results, line)
}
