//! A store that makes no sense is set aside as it is, and an empty one takes its place: a peer
//! brings back what it holds, and [`crate::rescue`] looks through what was set aside for the rest.
//!
//! Nothing is removed here. A store that was found damaged at work is *doubted* ([`Note::Doubted`]):
//! when it is opened next it is read from end to end, however large it is.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use engine::{
    archive::{self, ReadError},
    store::StoreError,
};

use super::{Note, Truth, TruthOptions, file};
use crate::private;

/// Rows of a feed read at a time.
const FEED_ROWS: usize = 1024;

/// A store that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Where all of it is now.
    pub path: PathBuf,
    /// What was wrong with it.
    pub why: String,
}

impl Truth {
    /// Opens the store in `dir` as a service does when it starts. One that cannot be opened, or
    /// of which nobody could start, is renamed to `<dir>.damaged-<n>` and an empty one takes its
    /// place: then the second value says so.
    ///
    /// # Errors
    /// [`StoreError`], where another store would not help either.
    pub fn open_whole(
        dir: &Path,
        options: TruthOptions,
    ) -> Result<(Self, Option<SetAside>), StoreError> {
        let doubted = Note::Doubted.is_on(dir);
        let mut thorough = options;
        if doubted {
            thorough.check_on_open_bytes_max = u64::MAX;
        }
        let opened = Self::open(dir, thorough).and_then(|truth| {
            sound(&truth, doubted)?;
            Ok(truth)
        });
        match opened {
            Ok(truth) => {
                if doubted {
                    // It is whole, or was mended: what was read then was not what is there.
                    let _ = Note::Doubted.take_off(dir);
                }
                Ok((truth, None))
            }
            Err(StoreError::Damaged { detail, .. }) => {
                let aside = set_aside(dir)
                    .map_err(|error| file::io_error(&dir.display().to_string(), &error))?;
                tracing::error!(
                    store = %dir.display(), aside = %aside.display(), why = %detail,
                    "the store is damaged: it is set aside, and what the portals hold is fetched again. \
                     Keep what was set aside until everything is there"
                );
                let truth = Self::open(dir, options)?;
                Ok((truth, Some(SetAside { path: aside, why: detail })))
            }
            Err(other) => Err(other),
        }
    }
}

/// What a replica reads when it starts can be read; of a doubted store, also its feeds.
fn sound(truth: &Truth, doubted: bool) -> Result<(), StoreError> {
    let path = truth.dir.display().to_string();
    let named = |error: ReadError| match error {
        ReadError::Store(error) => error,
        other => file::damaged(&path, &other.to_string()),
    };
    let recovered = archive::recover(truth).map_err(named)?;
    if doubted {
        for (tenant, end) in recovered.positions {
            let mut position = 0;
            while position < end {
                let rows = archive::feed(truth, tenant, position, FEED_ROWS).map_err(named)?;
                let Some((last, ..)) = rows.last() else { break };
                position = *last;
            }
        }
    }
    Ok(())
}

/// What the names of whatever is set aside from `dir` begin with; a number follows.
fn prefix(dir: &Path) -> String {
    format!("{}.damaged-", dir.file_name().unwrap_or_default().to_string_lossy())
}

/// What was set aside from the store in `dir`, by name.
///
/// # Errors
/// When the folder around it cannot be listed.
pub fn asides(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let prefix = prefix(dir);
    let mut found = Vec::new();
    for entry in fs::read_dir(dir.parent().unwrap_or(Path::new(".")))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

fn set_aside(dir: &Path) -> io::Result<PathBuf> {
    let prefix = prefix(dir);
    for n in 1_u32.. {
        let aside = dir.with_file_name(format!("{prefix}{n}"));
        if !aside.exists() {
            fs::rename(dir, &aside)?;
            private::sync_folder(dir.parent())?;
            return Ok(aside);
        }
    }
    Err(io::Error::other("every name for it is taken"))
}

#[cfg(test)]
mod tests {
    use engine::store::{Batch, Store as _, Table};

    use super::*;

    fn one(value: &[u8]) -> Batch {
        let mut batch = Batch::default();
        batch.put(Table::Meta, b"k".to_vec(), value.to_vec());
        batch
    }

    #[test]
    fn what_cannot_be_opened_is_kept_under_another_name_and_an_empty_one_is_there() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("truth");
        let options = TruthOptions { reserve_bytes: 0, ..TruthOptions::default() };
        for n in 1..=2 {
            let (truth, aside) = Truth::open_whole(&dir, options).unwrap();
            assert_eq!(aside, None);
            truth.apply(one(b"v")).unwrap();
            truth.barrier().unwrap();
            drop(truth);
            let file = dir.join("truth.redb");
            let garbage = vec![n; 40_000];
            fs::write(&file, &garbage).unwrap();
            let (truth, aside) = Truth::open_whole(&dir, options).unwrap();
            let aside = aside.unwrap();
            assert_eq!(aside.path, home.path().join(format!("truth.damaged-{n}")));
            assert_eq!(fs::read(aside.path.join("truth.redb")).unwrap(), garbage);
            assert_eq!(truth.get(Table::Meta, b"k"), Ok(None));
        }
    }

    #[test]
    fn a_store_too_large_to_check_is_read_whole_once_it_is_doubted() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("truth");
        let options = TruthOptions {
            reserve_bytes: 0,
            check_on_open_bytes_max: 0,
            ..TruthOptions::default()
        };
        let (truth, _) = Truth::open_whole(&dir, options).unwrap();
        for n in 0..100_u8 {
            let mut batch = Batch::default();
            batch.put(Table::Bundles, vec![n], vec![n; 3000]);
            truth.apply(batch).unwrap();
        }
        truth.barrier().unwrap();
        truth.doubt("a test says so");
        drop(truth);
        // Whole: it stays, and is doubted no more.
        assert_eq!(Truth::open_whole(&dir, options).unwrap().1, None);
        assert!(!Note::Doubted.is_on(&dir));
        let file = dir.join("truth.redb");
        let mut bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[8192..middle].fill(0);
        fs::write(&file, bytes).unwrap();
        if let Ok((truth, None)) = Truth::open_whole(&dir, options) {
            truth.doubt("a row cannot be read");
        }
        assert!(
            Truth::open_whole(&dir, options).unwrap().1.is_some() || !Note::Doubted.is_on(&dir)
        );
    }
}
