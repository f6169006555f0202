//! What a command tells: rows for people, an object for programs, from one source.

use std::io::Write as _;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use certgen::{Certified, Words, curl_pin};
use engine::id::PeerId;

/// The outcome of a command that did what it was asked.
pub(crate) struct Report {
    headline: String,
    rows: Vec<(&'static str, String)>,
    object: Map<String, Value>,
    /// 0, or 1 when a comparison found a difference.
    pub(crate) code: u8,
}

impl Report {
    /// Starts with one line on what was done.
    pub(crate) fn new(headline: String) -> Self {
        Self { headline, rows: Vec::new(), object: Map::new(), code: 0 }
    }

    /// Adds a value that reads the same to both.
    pub(crate) fn add(&mut self, name: &'static str, value: impl Into<String>) {
        let value = value.into();
        self.object.insert(name.to_owned(), value.clone().into());
        self.rows.push((name, value));
    }

    /// Adds a row for people only.
    pub(crate) fn row(&mut self, name: &'static str, text: impl Into<String>) {
        self.rows.push((name, text.into()));
    }

    /// Adds a value for programs only.
    pub(crate) fn value(&mut self, name: &'static str, value: impl Into<Value>) {
        self.object.insert(name.to_owned(), value.into());
    }

    /// Adds a pin in its three forms.
    pub(crate) fn pin(&mut self, peer: &PeerId) {
        self.add("pin", peer.to_string());
        self.add("curl_pin", curl_pin(peer));
        self.add("words", Words::of(peer).to_string());
    }

    /// Adds what a new certificate says.
    pub(crate) fn certified(&mut self, certified: &Certified) {
        self.value("subject", json!(certified.subject));
        self.pin(&certified.peer);
        self.add("serial", certified.serial.clone());
        self.add("not_before", certified.validity.not_before.to_string());
        self.add("not_after", certified.validity.not_after.to_string());
    }

    /// Adds the files that were written.
    pub(crate) fn files(&mut self, paths: &[PathBuf]) {
        let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
        for path in &paths {
            self.row("written", path.clone());
        }
        self.value("files", paths);
    }

    /// Prints it on standard output.
    pub(crate) fn print(&self, as_json: bool) {
        let mut text = String::new();
        if as_json {
            text = format!("{}\n", Value::from(self.object.clone()));
        } else {
            text.push_str(&self.headline);
            text.push('\n');
            for (name, value) in &self.rows {
                text.push_str(&format!("  {:<14}{value}\n", name.replace('_', " ")));
            }
        }
        // Whoever closed the pipe does not want the rest.
        let _ = std::io::stdout().write_all(text.as_bytes());
    }
}
