//! The truth on disk: [`engine::store::Store`] in one redb file.
//!
//! What is applied waits in memory, where reads see it at once; [`Store::barrier`] writes all
//! of it as one transaction and one `fdatasync`. After a barrier that failed, the store is as
//! the last good one left it, and what was applied since must be applied again. What a failed
//! `fdatasync` left in the system's cache is on no disk, though it reads well and the next one
//! succeeds: so the file is closed, and written again as a whole before anything stands on it.
//!
//! Writes stop while less than a reserve is free on the disk, reads go on, and writes resume by
//! themselves. Neither engine we measured notices a damaged value, so [`engine::archive`]
//! checks every row it reads.
//!
//! # Why redb and not fjall
//! Both lost nothing in power-loss images. Measured on 2026-11-24 on two busy cores whose
//! `fdatasync` took 3-5 ms: 100,000 bundles of 2 kB, each with its index, feed and tip rows, a
//! barrier per 100; memtables and cache of fjall at 4 MiB, redb as below.
//!
//! | | redb | fjall, 2 threads, values apart | fjall, 1 thread |
//! | --- | --- | --- | --- |
//! | bundles/s on that disk | 10,700-16,500 | 15,200 | 11,500-23,100 |
//! | bundles/s where sync is free | 34,000 (lz4: 83,000) | 63,000 | |
//! | memory while writing | 14 MB | 20 MB (values in place: 87) | 210-260 MB |
//! | memory after opening | 4 MB | 7 MB | 200-250 MB |
//! | opening | 11 ms | 230 ms | 1,100-2,750 ms |
//! | opening after a kill | 280 ms, or 7 ms | | 1,600-1,900 ms |
//! | reading 10,000 in order | 26 ms | 48 ms | 11-25 ms |
//! | reading one | 5-9 us | 9 us | 5-14 us |
//! | size on disk, of the data | 0.62 | 0.65 | 0.9-1.1 |
//!
//! Where a sync costs what it does here both write as fast as it lets them, so memory and
//! opening decide: a node has 64 MB in all. fjall's memory depends on its threads keeping up
//! (a single one stopped flushing). By its source, not by a test of ours, it refuses every write
//! after a full disk until it is reopened, and may take damage inside a journal for its end.
//! redb loses where values do not compress and are longer than its 4 kB page: their pages are
//! powers of two. So bundles lie in groups that fill a page: see [`group`].

mod aside;
mod file;
mod group;
mod layer;
mod note;
mod row;

use std::{
    collections::BTreeMap,
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use engine::store::{Batch, Store, StoreError, Table, Value, Visitor};
use redb::{Database, ReadTransaction, ReadableDatabase as _};
use tokio::sync::watch;

pub use self::aside::{SetAside, asides};
pub use self::file::{FORMAT, FORMAT_OLDEST};
pub use self::note::Note;
use self::{
    file::{copied, guarded, in_groups},
    group::Group,
    layer::{Layer, Row},
    row::Packer,
};

/// What is applied without a barrier is made durable early beyond this: it is held in memory, and as
/// much again while a barrier writes it.
const UNSYNCED_BYTES_MAX: usize = 2 * 1024 * 1024;

/// What a barrier writes, and where.
type ToWrite = (Arc<Database>, Arc<Layer>);

/// How a barrier is made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durable {
    /// One `fdatasync`. After loss of power opening reads the whole file, 2 s a gigabyte.
    QuickToWrite,
    /// Two, and the allocator's state each time; opening is immediate. For a portal of many
    /// gigabytes.
    QuickToReopen,
}

/// Bounds of a [`Truth`].
#[derive(Clone, Copy, Debug)]
pub struct TruthOptions {
    /// Bytes of pages kept in memory.
    pub cache_bytes: usize,
    /// Bytes that must stay free on the disk for a write to be taken.
    pub reserve_bytes: u64,
    /// A file up to this size is read and checked whole when it is opened.
    pub check_on_open_bytes_max: u64,
    /// How a barrier is made durable.
    pub durable: Durable,
}

impl Default for TruthOptions {
    fn default() -> Self {
        Self {
            // A bundle is read once, to project or to send it: a cache buys little beyond the
            // inner pages of the trees.
            cache_bytes: 4 * 1024 * 1024,
            // Room to tell the user, to rotate logs and to stop in an orderly way.
            reserve_bytes: 64 * 1024 * 1024,
            // 64 ms at 2 s a gigabyte: twenty thousand invoices, most nodes.
            check_on_open_bytes_max: 32 * 1024 * 1024,
            durable: Durable::QuickToWrite,
        }
    }
}

/// A store of bundles and blobs on disk. See the module's header.
pub struct Truth {
    dir: PathBuf,
    options: TruthOptions,
    packer: Packer,
    /// Held by a barrier from end to end: layers reach the file in the order they were applied.
    barrier: Mutex<()>,
    /// Why the file is doubted, once it is.
    doubt: watch::Sender<Option<StoreError>>,
    state: RwLock<State>,
}

struct State {
    /// `None` after a failure, until it could be opened again.
    database: Option<Arc<Database>>,
    /// Applied since the last barrier began.
    unsynced: Layer,
    /// What the barrier that is under way writes.
    storing: Arc<Layer>,
    /// What was applied during a barrier that failed went with it; the next barrier says so.
    lost: Option<StoreError>,
    /// A synchronisation failed: what is read of the file may not be on the disk.
    unproven: bool,
}

impl Truth {
    /// Opens the store in `dir`, or makes one there that only this user can read.
    ///
    /// # Errors
    /// [`StoreError`] names the folder and the cure.
    pub fn open(dir: &Path, options: TruthOptions) -> Result<Self, StoreError> {
        let database = Some(Arc::new(file::open_proven(dir, &options, Note::Unproven.is_on(dir))?));
        let (unsynced, storing) = (Layer::default(), Arc::default());
        Ok(Self {
            dir: dir.to_owned(),
            options,
            packer: Packer::new(),
            barrier: Mutex::default(),
            doubt: watch::Sender::new(None),
            state: RwLock::new(State { database, unsynced, storing, lost: None, unproven: false }),
        })
    }

    /// Bytes that are free on the disk that holds the store.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn free_bytes(&self) -> io::Result<u64> {
        fs4::available_space(&self.dir)
    }

    /// Bytes the store takes on disk.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        file::disk_bytes(&self.dir)
    }

    /// Reads the whole file and compares it with its checksums: 2 s a gigabyte, during which
    /// nothing else is done. False if something had to be mended.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if it cannot be mended, [`StoreError::Io`] while a scan is under way.
    pub fn check(&self) -> Result<bool, StoreError> {
        let _barrier = self.lock_barrier();
        let mut state = self.write_state();
        let path = self.path();
        let database = self.opened(&mut state)?;
        match Arc::get_mut(database) {
            Some(database) => guarded(&path, || Ok(database.check_integrity()?)),
            None => Err(StoreError::Io { path, detail: "it is being read".to_owned() }),
        }
    }

    /// A view of the file and the rows over it, of one moment.
    fn view<T>(&self, over: impl FnOnce(&State) -> T) -> Result<(ReadTransaction, T), StoreError> {
        let mut state = self.read_state();
        if state.database.is_none() {
            drop(state);
            self.opened(&mut self.write_state())?;
            state = self.read_state();
        }
        let Some(database) = state.database.as_ref() else {
            // Another thread's barrier failed between the two locks.
            return Err(StoreError::Io { path: self.path(), detail: "it is closed".to_owned() });
        };
        let reading = self.read(|| Ok(database.begin_read()?))?;
        Ok((reading, over(&state)))
    }

    fn rows_over(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
    ) -> Result<(ReadTransaction, BTreeMap<Vec<u8>, Row>), StoreError> {
        self.view(|state| {
            let mut rows = BTreeMap::new();
            state.storing.copy_range(table, from, to, &mut rows);
            state.unsynced.copy_range(table, from, to, &mut rows);
            rows
        })
    }

    /// What the file holds of a table from a key on, up to another: the last of it may be a group
    /// whose end is beyond. A row that cannot be unpacked reads as nothing: whoever knows what it
    /// should say notices, and has that row mended.
    fn stored<'r>(
        &'r self,
        reading: &ReadTransaction,
        table: Table,
        from: &[u8],
        to: &'r [u8],
    ) -> Result<impl FnMut() -> Result<Option<Arc<Group>>, StoreError> + 'r, StoreError> {
        let groups = in_groups(table);
        let mut rows = self.read(|| {
            let open = reading.open_table(file::rows(table))?;
            Ok(if groups { open.range(from..)? } else { open.range(from..to)? })
        })?;
        let mut is_over = false;
        Ok(move || {
            if is_over {
                return Ok(None);
            }
            let next = self.read(|| Ok(rows.next().transpose()?.map(copied)))?;
            Ok(next.map(|(key, row)| {
                is_over = key.as_slice() >= to;
                self.packer.unpack(key, row)
            }))
        })
    }

    /// As [`guarded`]; an answer that makes no sense has the whole file doubted.
    fn read<T>(&self, call: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, StoreError> {
        guarded(&self.path(), call).inspect_err(|error| {
            if let StoreError::Damaged { detail, .. } = error {
                self.doubt(detail);
            }
        })
    }

    /// Why the file is doubted, as soon as it is: it must be opened anew.
    pub async fn doubted(&self) -> StoreError {
        let mut doubt = self.doubt.subscribe();
        let found = doubt.wait_for(Option::is_some).await.map(|why| why.clone());
        // The sender is ours, so it is not gone.
        found
            .ok()
            .flatten()
            .unwrap_or(StoreError::Damaged { path: self.path(), detail: String::new() })
    }

    fn opened<'s>(&self, state: &'s mut State) -> Result<&'s mut Arc<Database>, StoreError> {
        if state.database.is_none() {
            let opened = file::open_proven(&self.dir, &self.options, state.unproven);
            state.unproven = opened.is_err();
            if let Err(StoreError::Damaged { detail, .. }) = &opened {
                self.doubt(detail);
            }
            state.database = Some(Arc::new(opened?));
        }
        let missing = || StoreError::Io { path: self.path(), detail: "it is closed".to_owned() };
        state.database.as_mut().ok_or_else(missing)
    }

    /// Takes what was applied, to be written while readers still find it.
    fn begin_barrier(&self) -> Result<Option<ToWrite>, StoreError> {
        let mut state = self.write_state();
        if let Some(error) = state.lost.take() {
            return Err(error);
        }
        if state.unsynced.is_empty() {
            return Ok(None);
        }
        if let Err(error) = self.opened(&mut state) {
            state.unsynced = Layer::default();
            return Err(error);
        }
        let layer = Arc::new(std::mem::take(&mut state.unsynced));
        state.storing = Arc::clone(&layer);
        Ok(state.database.clone().map(|database| (database, layer)))
    }

    /// After a failure: nothing of the layer counts. The engine refuses further work on a file
    /// that failed once, so it is closed here and opened again by the next call.
    fn abandon(&self, error: &StoreError) {
        let mut state = self.write_state();
        state.storing = Arc::default();
        if !state.unsynced.is_empty() {
            state.unsynced = Layer::default();
            state.lost = Some(error.clone());
        }
        let database = state.database.take();
        // Closing writes; on a damaged file it may panic as well.
        let _ = guarded(&self.path(), || {
            drop(database);
            Ok(())
        });
        // Linux takes the pages for clean now, so they can be read and are on no disk, and the next
        // synchronisation says that all is well. The note is for the process after this one.
        Note::Unproven.put_on(&self.dir, "");
        state.unproven = true;
    }

    fn barrier_locked(&self) -> Result<(), StoreError> {
        let Some((database, layer)) = self.begin_barrier()? else { return Ok(()) };
        let stored =
            self.read(|| file::store(&database, &layer, &self.packer, self.options.durable));
        drop(database);
        match &stored {
            Ok(()) => self.write_state().storing = Arc::default(),
            Err(error) => self.abandon(error),
        }
        stored
    }

    fn lock_barrier(&self) -> MutexGuard<'_, ()> {
        self.barrier.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_state(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self) -> String {
        self.dir.display().to_string()
    }
}

impl Store for Truth {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let (reading, over) = self.view(|state| {
            state.unsynced.get(table, key).or_else(|| state.storing.get(table, key)).cloned()
        })?;
        if let Some(row) = over {
            return Ok(row.map(Vec::from));
        }
        let found = self.read(|| {
            let open = reading.open_table(file::rows(table))?;
            Ok(if in_groups(table) {
                open.range(key..)?.next().transpose()?.map(copied)
            } else {
                open.get(key)?.map(|row| (key.to_vec(), Arc::from(row.value())))
            })
        })?;
        Ok(found.and_then(|(at, row)| {
            let group = self.packer.unpack(at, row);
            Some(group.value(group.position(key)?).to_vec())
        }))
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        visit: Visitor<'_>,
    ) -> Result<(), StoreError> {
        if from >= to {
            return Ok(());
        }
        let (reading, over) = self.rows_over(table, from, to)?;
        let mut over = over.into_iter().peekable();
        let mut next = self.stored(&reading, table, from, to)?;
        // Damage may have a group say keys that come before it once more.
        let mut seen: Option<Vec<u8>> = None;
        while let Some(group) = next()? {
            for at in 0..group.len() {
                let Some(key) = group.key(at).filter(|key| from <= &key[..] && &key[..] < to)
                else {
                    continue;
                };
                if seen.as_ref().is_some_and(|seen| *seen >= key) {
                    continue;
                }
                while let Some((before, row)) = over.next_if(|(over, _)| *over < key) {
                    if let Some(value) = row
                        && visit(&before, &value.contiguous()) == ControlFlow::Break(())
                    {
                        return Ok(());
                    }
                }
                let goes_on = match over.next_if(|(over, _)| *over == key) {
                    Some((_, None)) => ControlFlow::Continue(()),
                    Some((_, Some(value))) => visit(&key, &value.contiguous()),
                    None => visit(&key, group.value(at)),
                };
                if goes_on == ControlFlow::Break(()) {
                    return Ok(());
                }
                seen = Some(key);
            }
        }
        for (key, row) in over {
            if let Some(value) = row
                && visit(&key, &value.contiguous()) == ControlFlow::Break(())
            {
                return Ok(());
            }
        }
        Ok(())
    }

    fn last(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
    ) -> Result<Option<(Vec<u8>, Vec<u8>)>, StoreError> {
        if from >= to {
            return Ok(None);
        }
        let (reading, over) = self.rows_over(table, from, to)?;
        // The rows over the file decide for their keys.
        let last_of = |group: &Group| {
            let found = (0..group.len()).rev().find_map(|at| {
                let key = group.key(at).filter(|key| from <= &key[..] && &key[..] < to)?;
                (!over.contains_key(&key)).then_some((at, key))
            });
            found.map(|(at, key)| (key, Value::from(group.value(at).to_vec())))
        };
        let open = self.read(|| Ok(reading.open_table(file::rows(table))?))?;
        // The first that ends beyond may begin before.
        let beyond =
            in_groups(table).then(|| self.stored(&reading, table, to, to)?()).transpose()?;
        let mut stored = beyond.flatten().and_then(|group| last_of(&group));
        if stored.is_none() {
            let mut rows = self.read(|| Ok(open.range(from..to)?.rev()))?;
            while stored.is_none() {
                let next = self.read(|| Ok(rows.next().transpose()?.map(copied)))?;
                let Some((key, row)) = next else { break };
                stored = last_of(&self.packer.unpack(key, row));
            }
        }
        let over = over.iter().rev().find_map(|(key, row)| Some((key.clone(), row.clone()?)));
        let last = stored.into_iter().chain(over).max_by(|(a, _), (b, _)| a.cmp(b));
        Ok(last.map(|(key, value)| (key, value.into())))
    }

    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        let layer = Layer::of(batch);
        let waiting = self.read_state().unsynced.bytes();
        let needed = self.options.reserve_bytes.saturating_add((waiting + layer.bytes()) as u64);
        if self.free_bytes().is_ok_and(|free| free < needed) {
            return Err(StoreError::Full { path: self.path() });
        }
        if waiting > UNSYNCED_BYTES_MAX {
            self.barrier()?;
        }
        self.write_state().unsynced.absorb(layer);
        Ok(())
    }

    fn barrier(&self) -> Result<(), StoreError> {
        let _barrier = self.lock_barrier();
        self.barrier_locked()
    }

    fn doubt(&self, why: &str) {
        let error = file::damaged(&self.path(), why);
        let is_news = self
            .doubt
            .send_if_modified(|doubt| doubt.is_none().then(|| *doubt = Some(error)).is_some());
        if is_news {
            Note::Doubted.put_on(&self.dir, why);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use engine::store::conformance::{conformance, reopening};

    use super::*;

    fn open(dir: &Path) -> Result<Truth, StoreError> {
        Truth::open(dir, TruthOptions::default())
    }

    fn one(key: &[u8], value: &[u8]) -> Batch {
        let mut batch = Batch::default();
        batch.put(Table::Bundles, key.to_vec(), value.to_vec());
        batch
    }

    #[test]
    fn the_truth_conforms() {
        for durable in [Durable::QuickToWrite, Durable::QuickToReopen] {
            let dir = tempfile::tempdir().unwrap();
            let options = TruthOptions { durable, ..TruthOptions::default() };
            conformance(&Truth::open(dir.path(), options).unwrap());
            let dir = tempfile::tempdir().unwrap();
            reopening(&mut || Box::new(Truth::open(dir.path(), options).unwrap()));
        }
    }

    #[test]
    fn two_processes_on_one_store_and_a_store_of_another_format_are_refused_with_a_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let truth = open(dir.path()).unwrap();
        assert!(matches!(open(dir.path()), Err(StoreError::InUse { .. })));
        drop(truth);
        file::tests::set_format(dir.path(), 99);
        assert!(matches!(open(dir.path()), Err(StoreError::Newer { found: 99, known: 3, .. })));
        file::tests::set_format(dir.path(), 1);
        assert!(matches!(open(dir.path()), Err(StoreError::Older { found: 1, known: 3, .. })));
    }

    #[test]
    fn writes_stop_at_the_reserve_and_reads_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let truth = open(dir.path()).unwrap();
        truth.apply(one(b"k", b"v")).unwrap();
        truth.barrier().unwrap();
        drop(truth);
        let options = TruthOptions { reserve_bytes: u64::MAX / 2, ..TruthOptions::default() };
        let truth = Truth::open(dir.path(), options).unwrap();
        assert!(matches!(truth.apply(one(b"k", b"w")), Err(StoreError::Full { .. })));
        truth.barrier().unwrap();
        assert_eq!(truth.get(Table::Bundles, b"k").unwrap().as_deref(), Some(&b"v"[..]));
    }

    #[test]
    fn a_file_that_may_be_on_no_disk_is_written_again_before_it_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let truth = open(dir.path()).unwrap();
        truth.apply(one(b"k", b"v")).unwrap();
        truth.barrier().unwrap();
        drop(truth);
        let path = dir.path().join("truth.redb");
        let whole = std::fs::read(&path).unwrap();
        Note::Unproven.put_on(dir.path(), "");
        assert!(Note::Unproven.is_on(dir.path()));
        file::prove(dir.path()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole, "byte for byte");
        assert!(!Note::Unproven.is_on(dir.path()));
        Note::Unproven.put_on(dir.path(), "");
        let truth = open(dir.path()).unwrap();
        assert_eq!(truth.get(Table::Bundles, b"k").unwrap().as_deref(), Some(&b"v"[..]));
        assert!(!Note::Unproven.is_on(dir.path()));
    }

    /// Bytes that do not compress.
    fn noise(bytes: u32) -> Vec<u8> {
        (0..bytes / 4)
            .flat_map(|n| n.wrapping_mul(2_654_435_761).rotate_left(n % 31).to_le_bytes())
            .collect()
    }

    #[test]
    fn a_newest_transaction_that_is_not_whole_is_noted_and_the_one_before_is_there() {
        for check_on_open_bytes_max in [0, u64::MAX] {
            let options = TruthOptions { check_on_open_bytes_max, ..TruthOptions::default() };
            let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let truth = Truth::open(dir.path(), options).unwrap();
            let mut newest = Batch::default();
            newest.put(Table::Meta, b"l".to_vec(), noise(2000));
            for batch in [one(b"k", b"v"), newest] {
                truth.apply(batch).unwrap();
                truth.barrier().unwrap();
            }
            // As it stands when its process is killed: not closed.
            let mut bytes = std::fs::read(dir.path().join("truth.redb")).unwrap();
            let part = &noise(2000)[1000..1032];
            let at = bytes.windows(part.len()).position(|window| window == part).unwrap();
            let file = copy.path().join("truth.redb");
            std::fs::write(&file, &bytes).unwrap();
            drop(Truth::open(copy.path(), options).unwrap());
            assert!(!Note::WentBack.is_on(copy.path()));
            bytes[at] ^= 1;
            std::fs::write(&file, &bytes).unwrap();
            let truth = Truth::open(copy.path(), options).unwrap();
            assert_eq!(truth.get(Table::Bundles, b"k").unwrap().as_deref(), Some(&b"v"[..]));
            assert_eq!(truth.get(Table::Meta, b"l"), Ok(None));
            drop(truth);
            // Until somebody says that it was looked for.
            drop(Truth::open(copy.path(), options).unwrap());
            assert!(Note::WentBack.is_on(copy.path()));
            Note::WentBack.take_off(copy.path()).unwrap();
            assert!(!Note::WentBack.is_on(copy.path()));
        }
    }

    #[test]
    fn what_is_applied_without_end_does_not_stay_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let truth = open(dir.path()).unwrap();
        let noise = noise(1_000_000);
        for n in 0..30_u8 {
            truth.apply(one(&[n], &noise)).unwrap();
            assert!(truth.read_state().unsynced.bytes() < UNSYNCED_BYTES_MAX + 2 * noise.len());
        }
        assert_eq!(truth.get(Table::Bundles, &[0]).unwrap(), Some(noise));
    }

    #[test]
    fn a_whole_store_checks_and_only_its_user_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("a/b");
        let truth = open(&home).unwrap();
        truth.apply(one(b"k", b"v")).unwrap();
        truth.barrier().unwrap();
        assert_eq!(truth.check(), Ok(true));
        assert!(truth.disk_bytes() > 0);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&home), 0o700);
        for entry in std::fs::read_dir(&home).unwrap() {
            assert_eq!(mode(&entry.unwrap().path()), 0o600);
        }
    }
}
