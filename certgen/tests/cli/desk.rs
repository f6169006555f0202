//! A desk: a folder of its own in which the binary and OpenSSL are run.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

pub(crate) const TENANT: &str = "02038490237";
pub(crate) const OTHER_TENANT: &str = "00000000018";

pub(crate) struct Desk(tempfile::TempDir);

impl Desk {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub(crate) fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).expect("text")
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).expect("write");
    }

    /// The names of the files in a folder, in order.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.path(folder))
            .unwrap_or_else(|e| panic!("{folder}: {e}"))
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("a UTF-8 name"))
            .collect();
        names.sort();
        names
    }

    /// Runs the binary; returns exit code, standard output and standard error.
    pub(crate) fn certgen(&self, args: &[&str]) -> (i32, String, String) {
        let binary = Path::new(env!("CARGO_BIN_EXE_staffetta-certgen"));
        let output = self.run(Command::new(binary).args(args)).expect("the binary runs");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (output.status.code().expect("no signal"), text(output.stdout), text(output.stderr))
    }

    /// Runs the binary with `--json`, which must succeed; returns the object.
    pub(crate) fn done(&self, args: &[&str]) -> Value {
        let (code, out, err) = self.certgen(&[&["--json"], args].concat());
        assert_eq!(code, 0, "{args:?}: {err}");
        serde_json::from_str(&out).expect("one JSON object")
    }

    /// Runs the binary, which must fail with `code` in one sentence that holds `words`.
    pub(crate) fn fails(&self, args: &[&str], code: i32, words: &[&str]) {
        let (found, out, err) = self.certgen(args);
        assert_eq!(found, code, "{args:?}: {out}{err}");
        assert_eq!(out, "", "{args:?}");
        assert_eq!(err.lines().count(), 1, "{err}");
        for word in words {
            assert!(err.contains(word), "{args:?}: {word:?} is not in {err:?}");
        }
    }

    /// Runs OpenSSL; returns whether it succeeded and its standard output.
    pub(crate) fn try_openssl(&self, args: &[&str]) -> (bool, Vec<u8>, String) {
        let output = self
            .run(Command::new("openssl").args(args))
            .expect("these tests need the openssl command, install it (apt-get install openssl)");
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), output.stdout, err)
    }

    /// Runs OpenSSL, which must succeed; returns its standard output.
    pub(crate) fn openssl(&self, args: &[&str]) -> Vec<u8> {
        let (ok, out, err) = self.try_openssl(args);
        assert!(ok, "openssl {args:?}: {err}");
        out
    }

    /// Runs OpenSSL, which must succeed and print text.
    pub(crate) fn openssl_text(&self, args: &[&str]) -> String {
        String::from_utf8(self.openssl(args)).expect("text")
    }

    /// The pin of a key or certificate, as OpenSSL computes it.
    pub(crate) fn pin_by_openssl(&self, read_public_key: &[&str]) -> String {
        let pem = self.openssl(read_public_key);
        self.write("pin.pem", &pem);
        self.openssl(&["pkey", "-pubin", "-in", "pin.pem", "-outform", "der", "-out", "pin.der"]);
        let line = self.openssl_text(&["dgst", "-sha256", "-r", "pin.der"]);
        line[..64].to_owned()
    }

    fn run(&self, command: &mut Command) -> std::io::Result<Output> {
        command.current_dir(self.0.path()).output()
    }
}

/// The text of a field.
pub(crate) fn field<'a>(object: &'a Value, name: &str) -> &'a str {
    object[name].as_str().unwrap_or_else(|| panic!("{name} is missing in {object}"))
}

/// The permission bits of a file.
#[cfg(unix)]
pub(crate) fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).expect("metadata").permissions().mode() & 0o777
}
