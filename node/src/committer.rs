//! Group commit: one thread stores many batches in order under one durable barrier.
//!
//! A batch is reported committed only after the barrier that covers it. After a failure
//! every batch behind it fails too, since later bundles stand on earlier ones, until the
//! store takes writes again: then [`Completion::Ready`] says so.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use engine::{
    effect::CommitId,
    store::{Batch, Store, StoreError, Table},
};

/// Batches under one barrier: enough to hide a slow disk, few enough to answer soon.
const GROUP_MAX: usize = 64;
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

/// The thread's handle. Dropping it stores what was handed over and ends the thread.
pub struct Committer {
    jobs: Option<Sender<(CommitId, Batch)>>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    /// Starts the thread. `report` is called on it, in order.
    #[must_use]
    pub fn start(store: Arc<dyn Store>, report: impl Fn(Completion) + Send + 'static) -> Self {
        let (jobs, inbox) = channel();
        let thread = thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || run(&*store, &inbox, &report))
            .expect("a thread can be started at start-up");
        Self { jobs: Some(jobs), thread: Some(thread) }
    }

    /// Hands a batch over; the engine bounds how many wait (`COMMITS_IN_FLIGHT_MAX`).
    pub fn commit(&self, commit: CommitId, batch: Batch) {
        if let Some(jobs) = &self.jobs {
            // The thread ends only when this sender is dropped.
            let _ = jobs.send((commit, batch));
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

fn run(store: &dyn Store, inbox: &Receiver<(CommitId, Batch)>, report: &dyn Fn(Completion)) {
    while let Ok(first) = inbox.recv() {
        let mut group = vec![first];
        group.extend(inbox.try_iter().take(GROUP_MAX - 1));
        if let Err(error) = store_group(store, group, report) {
            tracing::error!(%error, "nothing is stored until this is mended");
            report(Completion::Failed(error));
            if !wait_until_ready(store, inbox) {
                return;
            }
            report(Completion::Ready);
        }
    }
}

fn store_group(
    store: &dyn Store,
    group: Vec<(CommitId, Batch)>,
    report: &dyn Fn(Completion),
) -> Result<(), StoreError> {
    let mut stored = None;
    let mut failed = None;
    for (commit, batch) in group {
        if let Err(error) = store.apply(batch) {
            failed = Some(error);
            break;
        }
        stored = Some(commit);
    }
    if let Some(commit) = stored {
        store.barrier()?;
        report(Completion::Committed(commit));
    }
    failed.map_or(Ok(()), Err)
}

/// Drops what is handed over (the engine has rolled it back and says it again) and tries an
/// empty write until one is durable. False when the handle is gone.
fn wait_until_ready(store: &dyn Store, inbox: &Receiver<(CommitId, Batch)>) -> bool {
    loop {
        match inbox.recv_timeout(RETRY) {
            Ok(_) => {}
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
    }
}
