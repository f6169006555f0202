//! The shared cases: where they are and what is expected of each. They are test data and stay outside
//! of the repository.

#![allow(clippy::disallowed_methods, reason = "tests read the cases; the crate itself never does")]
#![allow(dead_code, reason = "each test uses a part of this")]

use std::path::{Path, PathBuf};

/// The folder of the cases, from `STAFFETTA_FATTURAPA`, or beside the workspace.
pub fn folder() -> PathBuf {
    let folder = std::env::var_os("STAFFETTA_FATTURAPA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fatturapa"),
        PathBuf::from,
    );
    assert!(
        folder.join("MANIFEST.tsv").is_file(),
        "the shared cases are not in {}: set STAFFETTA_FATTURAPA to the folder with MANIFEST.tsv",
        folder.display()
    );
    folder
}

/// Rows of a table, split at tabs, without its heading.
pub fn rows(name: &str) -> Vec<Vec<String>> {
    let path = folder().join(name);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()));
    let row = |line: &str| line.split('\t').map(str::to_owned).collect();
    text.lines().skip(1).filter(|line| !line.is_empty()).map(row).collect()
}

/// The bytes of a case.
pub fn bytes(path: &str) -> Vec<u8> {
    let path = folder().join(path);
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()))
}
