//! Programs that `make tools` installs for the tests.

use std::{env, path::PathBuf};

/// A program of the folder in which `make tools` puts what comes from PyPI.
pub fn python(name: &str) -> PathBuf {
    let home = || PathBuf::from(env::var_os("HOME").expect("HOME is set"));
    let home = env::var_os("STAFFETTA_PYTHON")
        .map_or_else(|| home().join(".cache/staffetta/python"), PathBuf::from);
    let path = home.join("bin").join(name);
    assert!(path.is_file(), "{} is needed for this test: make tools installs it", path.display());
    path
}
