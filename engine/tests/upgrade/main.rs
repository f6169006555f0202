//! What each protocol version wrote, kept as it was written and read by the current code: every
//! kind of frame, a history of signed bundles with what it adds up to, and runs laid out as sheets.
//!
//! A fixture is never written anew for a version that is in use: `write_fixtures` is for a version
//! that is being made (`cargo test -p engine --test upgrade -- --ignored`), and reads whether the
//! change was meant.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(
    clippy::disallowed_methods,
    reason = "fixtures are on a disk, of which the engine knows nothing"
)]

mod earlier;
mod frames;
mod history;
#[path = "../sim/keys.rs"]
#[allow(dead_code, reason = "the simulator needs more of it")]
mod keys;
mod later;
mod replica;
mod sheets;

use std::{fs, path::PathBuf};

use engine::wire::VERSIONS;

/// Every version that a peer may speak with us.
fn spoken() -> impl Iterator<Item = u16> {
    VERSIONS.0..=VERSIONS.1
}

fn path(name: &str, version: u16) -> PathBuf {
    let file = format!("tests/upgrade/{name}-{version}.txt");
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(file)
}

/// One thing that was written: its bytes, and what they say.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    bytes: Vec<u8>,
    says: String,
}

/// Reads a fixture: a line of hexadecimal digits, a line of what they say, an empty one.
fn kept(name: &str, version: u16) -> Vec<Kept> {
    let path = path(name, version);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!("{}: {error}; version {version} is spoken, so keep what it writes", path.display())
    });
    let blocks = text.trim_end().split("\n\n");
    let read = blocks.map(|block| {
        let (hex, says) = block.split_once('\n').unwrap();
        Kept { bytes: unhex(hex), says: says.to_owned() }
    });
    read.collect()
}

fn keep(name: &str, all: &[Kept]) {
    let blocks: Vec<_> =
        all.iter().map(|kept| format!("{}\n{}\n", hex(&kept.bytes), kept.says)).collect();
    fs::write(path(name, VERSIONS.1), blocks.join("\n")).unwrap();
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits.map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

#[test]
#[ignore = "writes the fixtures of the newest version"]
fn write_fixtures() {
    keep("frames", &frames::samples());
    keep("history", &history::sample());
    keep("sheets", &sheets::samples());
}
