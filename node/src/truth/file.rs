//! The one file of the truth, and what redb says about it in our words.
//!
//! redb promises not to panic only on files it wrote; a disk may return others. So every call
//! into it goes through [`guarded`], and a panic comes back as [`StoreError::Damaged`].

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

use engine::store::{StoreError, Table};
use redb::{
    AccessGuard, Builder, Database, ReadableDatabase as _, TableDefinition, TableError,
    backends::FileBackend,
};

use super::{Durable, Note, TruthOptions, group, layer::Layer, row::Packer};
use crate::private;

/// The format this program writes. 2: a bundle's signature has a check of its own, and chunks lie
/// under the cut of their file. 3: bundles lie in groups too.
pub const FORMAT: u32 = 3;
/// The oldest format this program goes on with: what it says is said in this one too. A store with
/// a number not between these is left alone.
pub const FORMAT_OLDEST: u32 = 2;
const FILE: &str = "truth.redb";
/// What redb says of a repair's progress only where the newest transaction is not whole, and the one
/// before takes its place (`do_repair` of its 4.6; a test notices if another version says otherwise).
const GOES_BACK: f64 = 0.3;
/// What the store knows about itself, apart from the engine's tables.
const ABOUT: TableDefinition<'static, &str, u32> = TableDefinition::new("about");
const FORMAT_KEY: &str = "format";

/// A table of the truth in the file.
pub(super) fn rows(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(match table {
        Table::Bundles => "bundles",
        Table::Blobs => "blobs",
        Table::Index => "index",
        Table::Feed => "feed",
        Table::Tips => "tips",
        Table::Authority => "authority",
        Table::Quarantine => "quarantine",
        Table::Meta => "meta",
    })
}

/// Whether rows of a table lie in groups: where they are long, alike, and numbered one after the
/// other.
pub(super) fn in_groups(table: Table) -> bool {
    table == Table::Bundles
}

/// A row of the file and its key, copied out of their page.
pub(super) fn copied(
    (key, row): (AccessGuard<'_, &'static [u8]>, AccessGuard<'_, &'static [u8]>),
) -> (Vec<u8>, Arc<[u8]>) {
    (key.value().to_vec(), Arc::from(row.value()))
}

/// Opens the file in `dir`, or makes both so that only this user can read them.
pub(super) fn open(dir: &Path, options: &TruthOptions) -> Result<Database, StoreError> {
    let path = dir.display().to_string();
    let file = private_file(dir).map_err(|error| io_error(&path, &error))?;
    let folder = dir.to_owned();
    guarded(&path, || {
        let length = file.metadata()?.len();
        let database = Builder::new()
            .set_cache_size(options.cache_bytes)
            .set_check_integrity_on_open(length > 0 && length <= options.check_on_open_bytes_max)
            .set_repair_callback(move |repair| {
                if (repair.progress() - GOES_BACK).abs() < f64::EPSILON {
                    note_went_back(&folder);
                }
            })
            .create_with_backend(FileBackend::new(file)?)?;
        if about(&database)?.is_none() {
            let writing = database.begin_write()?;
            for table in Table::ALL {
                writing.open_table(rows(table))?;
            }
            writing.open_table(ABOUT)?.insert(FORMAT_KEY, FORMAT)?;
            writing.commit()?;
        }
        Ok(database)
    })
    .and_then(|database| match guarded(&path, || about(&database))? {
        Some(found) if found > FORMAT => {
            Err(StoreError::Newer { path: path.clone(), found, known: FORMAT })
        }
        Some(found) if found < FORMAT_OLDEST => {
            Err(StoreError::Older { path: path.clone(), found, known: FORMAT })
        }
        Some(found) if found < FORMAT => guarded(&path, || {
            // Before anything is written that an older program would take for damage.
            let writing = database.begin_write()?;
            writing.open_table(ABOUT)?.insert(FORMAT_KEY, FORMAT)?;
            writing.commit()?;
            Ok(database)
        }),
        _ => Ok(database),
    })
}

/// The same, once the file is proven where it is not. Opening writes, and what it writes would
/// stand on pages that are on no disk.
pub(super) fn open_proven(
    dir: &Path,
    options: &TruthOptions,
    is_unproven: bool,
) -> Result<Database, StoreError> {
    if is_unproven {
        prove(dir).map_err(|error| io_error(&dir.display().to_string(), &error))?;
    }
    open(dir, options).inspect_err(|error| {
        if matches!(error, StoreError::Io { .. } | StoreError::Full { .. }) {
            Note::Unproven.put_on(dir, "");
        }
    })
}

fn about(database: &Database) -> Result<Option<u32>, redb::Error> {
    match database.begin_read()?.open_table(ABOUT) {
        Ok(table) => {
            let format = table.get(FORMAT_KEY)?.map(|found| found.value());
            Ok(Some(format.unwrap_or(u32::MAX)))
        }
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Writes a layer in one transaction. When it returns `Ok`, the layer survives loss of power.
pub(super) fn store(
    database: &Database,
    layer: &Layer,
    packer: &Packer,
    how: Durable,
) -> Result<(), redb::Error> {
    let mut writing = database.begin_write()?;
    writing.set_quick_repair(how == Durable::QuickToReopen);
    for table in Table::ALL {
        if layer.table(table).is_empty() {
            continue;
        }
        let mut open = writing.open_table(rows(table))?;
        if in_groups(table) {
            group::store(&mut open, layer.table(table), packer)?;
            continue;
        }
        for (key, row) in layer.table(table) {
            match row {
                Some(value) => {
                    let (row, _) = packer.pack(&[(key, value)]);
                    drop(open.insert(&key[..], &row[..])?);
                }
                None => drop(open.remove(&key[..])?),
            }
        }
    }
    Ok(writing.commit()?)
}

/// Notes that the newest transaction of a file that was not closed is not whole. After a loss of
/// power that is one that was never answered for, and all is well; but a page of it may be damaged
/// since, and redb cannot tell the one from the other. Noted before anything is written to the file.
fn note_went_back(dir: &Path) {
    tracing::warn!(
        store = %dir.display(),
        "the newest transaction of the store is not whole, as after a loss of power: the one before \
         takes its place, and files that were taken are looked through"
    );
    Note::WentBack.put_on(dir, "");
}

/// Writes every page of the file again as it reads, and synchronises that: afterwards what is
/// read of it is what the disk has. Nothing may write to it meanwhile. A loss of power in between
/// finds each page as it was before or as it reads, as any other does.
pub(super) fn prove(dir: &Path) -> io::Result<()> {
    const BLOCK: usize = 64 * 1024;
    let file = match OpenOptions::new().read(true).write(true).open(dir.join(FILE)) {
        // Set aside meanwhile: what takes its place begins anew.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let mut block = Vec::with_capacity(BLOCK);
    let mut at = 0;
    loop {
        block.clear();
        let read = (&file).take(BLOCK as u64).read_to_end(&mut block)?;
        if read == 0 {
            break;
        }
        // Holes stay holes: no page of a tree is all zero.
        if block.iter().any(|byte| *byte != 0) {
            write_at(&file, &block, at)?;
        }
        at += read as u64;
    }
    file.sync_all()?;
    Note::Unproven.take_off(dir)
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(not(unix))]
fn write_at(mut file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    use std::io::{Seek as _, SeekFrom, Write as _};
    file.seek(SeekFrom::Start(at))?;
    file.write_all(bytes)
}

/// Runs a call into redb; its errors, and a panic on damaged files, come back as one of ours.
pub(super) fn guarded<T>(
    path: &str,
    call: impl FnOnce() -> Result<T, redb::Error>,
) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(named(path, &error)),
        Err(_) => Err(damaged(path, "the storage engine panicked")),
    }
}

pub(super) fn damaged(path: &str, detail: &str) -> StoreError {
    StoreError::Damaged { path: path.to_owned(), detail: detail.to_owned() }
}

pub(super) fn io_error(path: &str, error: &io::Error) -> StoreError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { path },
        // The file is shorter than it says it is.
        io::ErrorKind::UnexpectedEof => damaged(&path, "the file is cut short"),
        // It does not begin as a store does.
        io::ErrorKind::InvalidData => damaged(&path, &error.to_string()),
        _ => StoreError::Io { path, detail: error.to_string() },
    }
}

fn named(path: &str, error: &redb::Error) -> StoreError {
    match error {
        redb::Error::Io(error) => io_error(path, error),
        redb::Error::DatabaseAlreadyOpen => StoreError::InUse { path: path.to_owned() },
        redb::Error::PreviousIo
        | redb::Error::DatabaseClosed
        | redb::Error::TransactionInProgress => {
            StoreError::Io { path: path.to_owned(), detail: error.to_string() }
        }
        other => damaged(path, &other.to_string()),
    }
}

fn private_file(dir: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    private::folder(dir)?;
    let file = options.open(dir.join(FILE))?;
    private::sync_folder(Some(dir))?;
    Ok(file)
}

/// Bytes the file takes on disk, which is less than its length: redb grows it ahead of need.
pub(super) fn disk_bytes(dir: &Path) -> u64 {
    let Ok(metadata) = fs::metadata(dir.join(FILE)) else { return 0 };
    #[cfg(unix)]
    let bytes = std::os::unix::fs::MetadataExt::blocks(&metadata) * 512;
    #[cfg(not(unix))]
    let bytes = metadata.len();
    bytes
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Leaves the store in `dir` as another version of this program would.
    pub(in super::super) fn set_format(dir: &Path, format: u32) {
        let database = Database::open(dir.join(FILE)).unwrap();
        let writing = database.begin_write().unwrap();
        writing.open_table(ABOUT).unwrap().insert(FORMAT_KEY, format).unwrap();
        writing.commit().unwrap();
    }
}
