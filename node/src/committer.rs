//! Group commit: one thread stores many batches in order under one durable barrier.
//!
//! A batch is reported committed only after the barrier that covers it. After a failure
//! every batch behind it fails too, since later bundles stand on earlier ones, until the
//! store takes writes again: then [`Completion::Ready`] says so.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use engine::{
    effect::CommitId,
    store::{Batch, Store, StoreError, Table},
};

/// Batches under one barrier: enough to hide a slow disk, few enough to answer soon.
const GROUP_MAX: usize = 64;
/// Bytes handed over and not durable yet above which no more should come: a run that is stored and
/// the next one. Filling 10,000 invoices is as quick with 6 MiB, and peaks at 24 MB for 20; with 1 MiB it
/// takes a sixth longer, for 18 MB.
const WAITING_BYTES_MAX: usize = 2 * 1024 * 1024;
/// How often a full disk is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What became of a batch.
#[derive(Debug)]
pub enum Completion {
    /// Durable, and so is every one before it.
    Committed(CommitId),
    /// Not stored, nor is any batch handed over since.
    Failed(StoreError),
    /// After a failure: the store takes writes again.
    Ready,
}

/// What was made durable since the start, for `staffetta-node status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Commits {
    /// Barriers that succeeded.
    pub groups: u64,
    /// Batches they covered.
    pub batches: u64,
    /// Time they took, together.
    pub barrier_us: u64,
    /// Groups of which something was not stored.
    pub failed: u64,
}

#[derive(Default)]
struct Counters {
    groups: AtomicU64,
    batches: AtomicU64,
    barrier_us: AtomicU64,
    failed: AtomicU64,
    waiting_bytes: AtomicUsize,
}

/// The thread's handle. Dropping it stores what was handed over and ends the thread.
pub struct Committer {
    jobs: Option<Sender<(CommitId, Batch)>>,
    thread: Option<JoinHandle<()>>,
    counters: Arc<Counters>,
}

impl Committer {
    /// Starts the thread. `report` is called on it, in order.
    #[must_use]
    pub fn start(store: Arc<dyn Store>, report: impl Fn(Completion) + Send + 'static) -> Self {
        let (jobs, inbox) = channel();
        let counters = Arc::new(Counters::default());
        let counted = Arc::clone(&counters);
        let thread = thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || run(&*store, &inbox, &report, &counted))
            .expect("a thread can be started at start-up");
        Self { jobs: Some(jobs), thread: Some(thread), counters }
    }

    /// Hands a batch over; the engine bounds how many wait (`COMMITS_IN_FLIGHT_MAX`).
    pub fn commit(&self, commit: CommitId, batch: Batch) {
        if let Some(jobs) = &self.jobs {
            self.counters.waiting_bytes.fetch_add(batch.bytes(), Ordering::Relaxed);
            // The thread ends only when this sender is dropped.
            let _ = jobs.send((commit, batch));
        }
    }

    /// Whether what waits is enough: the host reads nothing from the network until a completion.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.counters.waiting_bytes.load(Ordering::Relaxed) >= WAITING_BYTES_MAX
    }

    /// What was made durable since the start.
    #[must_use]
    pub fn commits(&self) -> Commits {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Commits {
            groups: read(&self.counters.groups),
            batches: read(&self.counters.batches),
            barrier_us: read(&self.counters.barrier_us),
            failed: read(&self.counters.failed),
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(
    store: &dyn Store,
    inbox: &Receiver<(CommitId, Batch)>,
    report: &dyn Fn(Completion),
    counters: &Counters,
) {
    while let Ok(first) = inbox.recv() {
        let mut group = vec![first];
        group.extend(inbox.try_iter().take(GROUP_MAX - 1));
        let bytes = group.iter().map(|(_, batch)| batch.bytes()).sum();
        let (stored, failed) = store_group(store, group, counters);
        // Before anything is reported: whoever is told looks at once whether this is full.
        counters.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(commit) = stored {
            report(Completion::Committed(commit));
        }
        if let Some(error) = failed {
            counters.failed.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%error, "nothing is stored until this is mended");
            report(Completion::Failed(error));
            if !wait_until_ready(store, inbox, counters) {
                return;
            }
            report(Completion::Ready);
        }
    }
}

/// Stores batches under one barrier: the last one that is durable, and what stopped the others.
fn store_group(
    store: &dyn Store,
    group: Vec<(CommitId, Batch)>,
    counters: &Counters,
) -> (Option<CommitId>, Option<StoreError>) {
    let mut stored = None;
    let mut batches = 0;
    let mut failed = None;
    for (commit, batch) in group {
        if let Err(error) = store.apply(batch) {
            failed = Some(error);
            break;
        }
        stored = Some(commit);
        batches += 1;
    }
    if stored.is_some() {
        let begun = Instant::now();
        if let Err(error) = store.barrier() {
            return (None, Some(error));
        }
        let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        counters.groups.fetch_add(1, Ordering::Relaxed);
        counters.batches.fetch_add(batches, Ordering::Relaxed);
        counters.barrier_us.fetch_add(took, Ordering::Relaxed);
    }
    (stored, failed)
}

/// Drops what is handed over (the engine has rolled it back and says it again) and tries an
/// empty write until one is durable. False when the handle is gone.
fn wait_until_ready(
    store: &dyn Store,
    inbox: &Receiver<(CommitId, Batch)>,
    counters: &Counters,
) -> bool {
    loop {
        match inbox.recv_timeout(RETRY) {
            Ok((_, batch)) => {
                counters.waiting_bytes.fetch_sub(batch.bytes(), Ordering::Relaxed);
            }
            Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) => {
                let mut probe = Batch::default();
                probe.put(Table::Meta, b"probe".to_vec(), vec![0; 16]);
                if store.apply(probe).and_then(|()| store.barrier()).is_ok() {
                    return true;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use engine::store::memory::MemoryStore;

    use super::*;

    fn batch(n: u8) -> Batch {
        let mut batch = Batch::default();
        batch.put(Table::Bundles, vec![n], vec![n]);
        batch
    }

    #[test]
    fn what_is_reported_survives_a_crash_and_a_full_disk_resumes() {
        let store = Arc::new(MemoryStore::new());
        let (sender, reports) = channel();
        let committer = Committer::start(Arc::clone(&store) as Arc<dyn Store>, move |report| {
            sender.send(report).unwrap();
        });
        committer.commit(CommitId(1), batch(1));
        assert!(matches!(reports.recv().unwrap(), Completion::Committed(CommitId(1))));
        store.crash();
        assert!(store.get(Table::Bundles, &[1]).unwrap().is_some());

        store.set_full(true);
        committer.commit(CommitId(2), batch(2));
        assert!(matches!(reports.recv().unwrap(), Completion::Failed(StoreError::Full { .. })));
        store.set_full(false);
        assert!(matches!(reports.recv().unwrap(), Completion::Ready));
        committer.commit(CommitId(3), batch(3));
        assert!(matches!(reports.recv().unwrap(), Completion::Committed(CommitId(3))));
        assert_eq!(store.get(Table::Bundles, &[2]).unwrap(), None);
        let commits = committer.commits();
        assert_eq!((commits.batches, commits.failed), (2, 1));
        assert_eq!(committer.counters.waiting_bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn many_batches_share_a_barrier_and_dropping_the_handle_stores_them_all() {
        /// A store whose first barrier waits until all batches are handed over.
        struct Gate(MemoryStore, Mutex<Receiver<()>>);
        impl Store for Gate {
            fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
                self.0.get(table, key)
            }
            fn scan(
                &self,
                table: Table,
                from: &[u8],
                to: &[u8],
                visit: engine::store::Visitor<'_>,
            ) -> Result<(), StoreError> {
                self.0.scan(table, from, to, visit)
            }
            fn last(
                &self,
                table: Table,
                from: &[u8],
                to: &[u8],
            ) -> Result<Option<(Vec<u8>, Vec<u8>)>, StoreError> {
                self.0.last(table, from, to)
            }
            fn apply(&self, batch: Batch) -> Result<(), StoreError> {
                self.0.apply(batch)
            }
            fn barrier(&self) -> Result<(), StoreError> {
                let _ = self.1.lock().unwrap().recv();
                self.0.barrier()
            }
        }

        let (open, gate) = channel();
        let store = Arc::new(Gate(MemoryStore::new(), Mutex::new(gate)));
        let (sender, reports) = channel();
        let committer = Committer::start(Arc::clone(&store) as Arc<dyn Store>, move |report| {
            sender.send(report).unwrap();
        });
        for n in 1..=101 {
            committer.commit(CommitId(u64::from(n)), batch(n));
        }
        drop(open);
        let counters = Arc::clone(&committer.counters);
        drop(committer);
        let committed: Vec<_> = reports
            .iter()
            .map(|report| match report {
                Completion::Committed(CommitId(n)) => n,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(committed.last(), Some(&101), "what was handed over is stored");
        assert!(committed.is_sorted());
        assert!(committed.len() <= 4, "a hundred batches took {} barriers", committed.len());
        assert_eq!(counters.batches.load(Ordering::Relaxed), 101);
        store.0.crash();
        assert!((1..=101).all(|n| store.get(Table::Bundles, &[n]).unwrap().is_some()));
    }
}
