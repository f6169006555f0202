//! Which idempotency keys were used for what, so that one key is never taken for two files.
//!
//! A submission is harmless to repeat: the same file is the same document. What is left to guard
//! is a key used again for another file, which is a mistake of the caller's. Keys are kept for a
//! day, in a journal that survives restarts; it is derived from nothing, and losing it loses only
//! that guard.

use std::{
    collections::HashMap,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use engine::id::BlobHash;
use ring::digest::{SHA256, digest};

use super::{caller::Caller, query::hex};
use crate::{moment::now_ms, private};

/// How long a key is remembered.
const KEPT_MS: u64 = 24 * 3600 * 1000;
/// Keys remembered; beyond it the oldest go first. Some 10 MB.
const KEYS_MAX: usize = 100_000;

type Key = [u8; 32];

/// The memory of keys.
pub struct IdempotencyKeys {
    path: Option<PathBuf>,
    known: Mutex<HashMap<Key, (BlobHash, u64)>>,
}

impl IdempotencyKeys {
    /// Reads the journal in `dir`, and writes it anew without what is too old.
    ///
    /// # Errors
    /// When the journal cannot be read or written.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let path = dir.join("idempotency.keys");
        let text = match fs::read(&path) {
            Ok(text) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        // A line that a crash cut short, or a disk damaged, is no line.
        let mut known: HashMap<_, _> = text.lines().filter_map(read).collect();
        forget(&mut known, now_ms());
        let lines: String = known.iter().map(|(key, said)| line(key, said)).collect();
        private::write(&path, lines.as_bytes())?;
        Ok(Self { path: Some(path), known: Mutex::new(known) })
    }

    /// A memory that ends with the process.
    #[must_use]
    pub fn in_memory() -> Self {
        Self { path: None, known: Mutex::default() }
    }

    /// Whether `caller` used `key` for another file than `file`.
    pub fn is_for_another(&self, caller: &Caller, key: &str, file: &BlobHash) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let said = known.get(&name(caller, key));
        said.is_some_and(|(hash, at)| hash != file && now_ms().saturating_sub(*at) < KEPT_MS)
    }

    /// Remembers that `caller` used `key` for `file`, unless it was used for another. Durable
    /// once this returns true.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub fn claim(&self, caller: &Caller, key: &str, file: &BlobHash) -> io::Result<bool> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (key, said) = (name(caller, key), (*file, now_ms()));
        if let Some((hash, at)) = known.get(&key)
            && said.1.saturating_sub(*at) < KEPT_MS
        {
            return Ok(hash == file);
        }
        if let Some(path) = &self.path {
            let mut journal = fs::OpenOptions::new().append(true).open(path)?;
            journal.write_all(line(&key, &said).as_bytes())?;
            journal.sync_data()?;
        }
        known.insert(key, said);
        if known.len() > KEYS_MAX {
            forget(&mut known, said.1);
        }
        Ok(true)
    }
}

/// Keys of different callers never meet.
fn name(caller: &Caller, key: &str) -> Key {
    let whole = format!("{}\n{}\n{key}", caller.tenant(), caller.name());
    let mut name = [0; 32];
    name.copy_from_slice(digest(&SHA256, whole.as_bytes()).as_ref());
    name
}

fn line(key: &Key, (file, at): &(BlobHash, u64)) -> String {
    let key = hex::encode(key);
    format!("{key} {file} {at}\n")
}

fn read(line: &str) -> Option<(Key, (BlobHash, u64))> {
    let mut words = line.split(' ');
    let key = hex(words.next()?)?;
    let file = BlobHash::from_bytes(hex(words.next()?)?);
    Some((key, (file, words.next()?.parse().ok()?)))
}

fn forget(known: &mut HashMap<Key, (BlobHash, u64)>, now_ms: u64) {
    known.retain(|_, (_, at)| now_ms.saturating_sub(*at) < KEPT_MS);
    if known.len() > KEYS_MAX {
        let mut moments: Vec<_> = known.values().map(|(_, at)| *at).collect();
        moments.sort_unstable();
        let oldest = moments[moments.len() - KEYS_MAX / 2];
        known.retain(|_, (_, at)| *at >= oldest);
    }
}

#[cfg(test)]
mod tests {
    use engine::id::VatNumber;

    use super::*;

    #[test]
    fn a_key_is_for_one_file_of_one_caller_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let tenant = VatNumber::parse("02038490237").unwrap();
        let (anna, ugo) =
            (Caller::admitted(tenant, "anna", true), Caller::admitted(tenant, "ugo", true));
        let (one, two) = (BlobHash::of(b"one"), BlobHash::of(b"two"));
        let keys = IdempotencyKeys::open(dir.path()).unwrap();
        assert!(!keys.is_for_another(&anna, "k", &one));
        assert!(keys.claim(&anna, "k", &one).unwrap());
        assert!(keys.claim(&anna, "k", &one).unwrap());
        assert!(!keys.claim(&anna, "k", &two).unwrap());
        drop(keys);
        // Cut short by a crash.
        let path = dir.path().join("idempotency.keys");
        let mut text = fs::read_to_string(&path).unwrap();
        text.push_str("0123");
        fs::write(&path, text).unwrap();
        let keys = IdempotencyKeys::open(dir.path()).unwrap();
        assert!(!keys.is_for_another(&anna, "k", &one));
        assert!(keys.is_for_another(&anna, "k", &two));
        assert!(!keys.is_for_another(&ugo, "k", &two));
    }
}
