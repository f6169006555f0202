//! The mirror's folder: opened with every guard sled needs, set aside when it is no use.
//!
//! sled panics on damaged files and its background thread, once it has panicked, never lets
//! the database be dropped. So that thread is not started, every call goes through
//! [`guarded`], and a database is dropped on a thread of its own.

use std::{
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use sled::Db;

use super::{Damage, MirrorError, display, row};

/// The format this program writes. Another one is set aside: the truth has everything.
pub const FORMAT: u8 = 3;
const FORMAT_KEY: &[u8] = b"format";
const HELD_TRIES: u32 = 20;
const HELD_PAUSE: Duration = Duration::from_millis(25);

pub(super) enum Opened {
    Whole(Db),
    /// Why it must be set aside.
    Unusable(String),
}

/// Opens the folder, or makes it so that only this user can read it. Where it is held, it is
/// waited for a moment: sled's own threads let go of it a little after its last user has.
pub(super) fn open(dir: &Path, cache_bytes: u64) -> Result<Opened, MirrorError> {
    private_dir(dir).map_err(|error| io_error(dir, &error))?;
    for _ in 0..HELD_TRIES {
        match try_open(dir, cache_bytes) {
            Err(MirrorError::InUse { .. }) => thread::sleep(HELD_PAUSE),
            opened => return opened,
        }
    }
    try_open(dir, cache_bytes)
}

fn try_open(dir: &Path, cache_bytes: u64) -> Result<Opened, MirrorError> {
    let opened = guarded(|| {
        let db = sled::Config::new()
            .path(dir)
            .cache_capacity(cache_bytes)
            .flush_every_ms(None)
            .open()?;
        match db.get(FORMAT_KEY)? {
            None if db.was_recovered() && db.tree_names().len() > 1 => {
                return Err(Damage::Row("the format"));
            }
            None => {
                db.insert(FORMAT_KEY, row::seal(FORMAT_KEY, &[&[FORMAT]]))?;
            }
            Some(row) if row::unseal(FORMAT_KEY, &row) == Some(&[FORMAT]) => {}
            Some(_) => return Err(Damage::Row("the format")),
        }
        Ok(db)
    });
    match opened {
        Ok(db) => Ok(Opened::Whole(db)),
        Err(Damage::Sled(sled::Error::Io(error))) if held_by_another(&error) => {
            Err(MirrorError::InUse { path: display(dir) })
        }
        Err(Damage::Sled(sled::Error::Io(error))) if is_about_the_disk(&error) => {
            Err(io_error(dir, &error))
        }
        Err(damage) => Ok(Opened::Unusable(damage.to_string())),
    }
}

/// Renames the folder to `<name>.broken-<n>`; an earlier one is removed.
pub(super) fn set_aside(dir: &Path) -> Result<(), MirrorError> {
    let run = || -> io::Result<()> {
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let home = dir.parent().map_or_else(PathBuf::new, Path::to_owned);
        let prefix = format!("{name}.broken-");
        let mut newest = 0;
        for entry in fs::read_dir(if home.as_os_str().is_empty() { Path::new(".") } else { &home })?
        {
            let entry = entry?;
            let found = entry.file_name().to_string_lossy().into_owned();
            if let Some(n) = found.strip_prefix(&prefix).and_then(|n| n.parse::<u64>().ok()) {
                newest = newest.max(n);
                fs::remove_dir_all(entry.path())?;
            }
        }
        match fs::rename(dir, home.join(format!("{prefix}{}", newest.saturating_add(1)))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    };
    run().map_err(|error| io_error(dir, &error))
}

/// Drops something of sled's where a panic or a hang does no harm. If no thread can be
/// started it is dropped here.
pub(super) fn close(value: impl Send + 'static) {
    let close = move || {
        let _ = catch_unwind(AssertUnwindSafe(move || drop(value)));
    };
    // Waited for only as long as an orderly close takes: the folder is renamed, not reused.
    if let Ok(thread) = thread::Builder::new().name("mirror-close".to_owned()).spawn(close) {
        for _ in 0..50 {
            if thread.is_finished() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Runs a call into sled; a panic comes back as [`Damage::Panic`].
pub(super) fn guarded<T>(call: impl FnOnce() -> Result<T, Damage>) -> Result<T, Damage> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason");
        Err(Damage::Panic(text.chars().take(200).collect()))
    })
}

pub(super) fn disk_bytes(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let bytes = entries.filter_map(Result::ok).map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    bytes.sum()
}

/// sled wraps the lock's error in text.
fn held_by_another(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        || error.to_string().starts_with("could not acquire lock")
}

/// What a new folder would not mend.
fn is_about_the_disk(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | PermissionDenied | ReadOnlyFilesystem)
}

fn io_error(dir: &Path, error: &io::Error) -> MirrorError {
    MirrorError::Io { path: display(dir), detail: error.to_string() }
}

fn private_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}
