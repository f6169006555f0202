//! The measurements, one line of JSON each, in a file where a newer one takes the place of an older
//! one of the same kind: so the file is true at any moment, however much of a run was done.

use std::{io, path::Path};

use serde_json::{Map, Value};

/// What tells one kind of measurement from another.
const KEY: [&str; 12] = [
    "scenario",
    "system",
    "documents",
    "changed",
    "link",
    "cause",
    "sessions",
    "tenants",
    "with",
    "clients",
    "question",
    "phase",
];

/// One measurement.
pub type Line = Map<String, Value>;

/// Starts a line.
pub fn line(scenario: &str, system: &str, documents: u64, changed: u64, link: &str) -> Line {
    let mut line = Line::new();
    line.insert("scenario".into(), scenario.into());
    line.insert("system".into(), system.into());
    line.insert("documents".into(), documents.into());
    line.insert("changed".into(), changed.into());
    line.insert("link".into(), link.into());
    line
}

/// A figure, rounded to what is more than noise.
pub fn figure(value: f64) -> Value {
    let value = (value * 1e6).round() / 1e6;
    if value.fract() == 0.0 && value.abs() < 1e15 { (value as i64).into() } else { value.into() }
}

/// All lines of the file; none if there is no file.
pub fn read(path: &Path) -> io::Result<Vec<Line>> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            text.lines().map(|line| serde_json::from_str(line).map_err(io::Error::other)).collect()
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Whether both are measurements of one kind.
pub fn is_same(one: &Line, other: &Line) -> bool {
    KEY.iter().all(|name| one.get(*name) == other.get(*name))
}

/// Puts a line into the file, in the place of one of its kind, and prints it.
pub fn put(path: &Path, line: Line) -> io::Result<()> {
    println!("{}", Value::Object(line.clone()));
    let mut lines = read(path)?;
    match lines.iter().position(|other| is_same(other, &line)) {
        Some(at) => lines[at] = line,
        None => lines.push(line),
    }
    lines.sort_by_key(|line| {
        let text = |name: &str| line.get(name).map(Value::to_string).unwrap_or_default();
        let number = |name: &str| line.get(name).and_then(Value::as_u64).unwrap_or(0);
        let size = ["documents", "changed", "sessions", "tenants"].map(number);
        let kind = ["cause", "with", "clients", "question", "phase", "system"].map(text);
        (text("scenario"), text("link"), size, kind)
    });
    let text: String = lines.into_iter().map(|line| format!("{}\n", Value::Object(line))).collect();
    let draft = path.with_extension("draft");
    std::fs::write(&draft, text)?;
    std::fs::rename(draft, path)
}

/// The value below which `share` of the samples lie.
pub fn quantile(samples: &mut [f64], share: f64) -> f64 {
    benches::figures::quantile(samples, share)
}
