//! The node's committer (`node/src/committer.rs`): groups of batches, one barrier, and after a
//! failure nothing until an empty write is durable again.

use std::{collections::VecDeque, time::Duration};

use engine::{
    effect::{CommitId, Input},
    store::{Batch, Store, StoreError, Table},
    time::Time,
};

use crate::{
    bug::Bug,
    world::{Event, Report, World},
};

const GROUP_MAX: usize = 64;
const RETRY: Duration = Duration::from_secs(1);

/// The thread's state.
#[derive(Default)]
pub struct Committer {
    pub queue: VecDeque<(CommitId, Batch)>,
    state: State,
}

#[derive(Default)]
enum State {
    #[default]
    Idle,
    /// A barrier is under way over batches up to this one; some batch may have failed behind.
    Working(CommitId, Option<StoreError>),
    /// Dropping what comes until a probe is durable; it is tried from this moment on.
    Failed(Time),
}

impl World {
    pub fn commit(&mut self, n: usize, commit: CommitId, batch: Batch) {
        let now = self.now;
        let Some(process) = &mut self.hosts[n].process else { return };
        let committer = &mut process.committer;
        match &mut committer.state {
            State::Idle => {
                committer.queue.push_back((commit, batch));
                self.next_group(n);
            }
            State::Working(..) => committer.queue.push_back((commit, batch)),
            State::Failed(at) => *at = now + RETRY,
        }
    }

    fn next_group(&mut self, n: usize) {
        let slow = self.hosts[n].slow_disk;
        let takes = self.dice.ms(if slow { 100..=3_000 } else { 1..=15 });
        let epoch = self.hosts[n].epoch;
        let disk = std::sync::Arc::clone(&self.hosts[n].disk);
        let Some(process) = &mut self.hosts[n].process else { return };
        let committer = &mut process.committer;
        let mut stored = None;
        let mut failed = None;
        for _ in 0..GROUP_MAX {
            let Some((commit, batch)) = committer.queue.pop_front() else { break };
            match disk.apply(batch) {
                Ok(()) => stored = Some(commit),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        match (stored, failed) {
            (Some(commit), failed) => {
                committer.state = State::Working(commit, failed);
                self.later(takes, Event::Barrier { host: n, epoch });
            }
            (None, Some(error)) => self.fail_commits(n, error),
            (None, None) => committer.state = State::Idle,
        }
    }

    pub fn barrier(&mut self, n: usize) {
        let disk = std::sync::Arc::clone(&self.hosts[n].disk);
        let trusting = self.bug == Some(Bug::BarrierNotChecked);
        let Some(process) = &mut self.hosts[n].process else { return };
        let State::Working(commit, failed) = std::mem::take(&mut process.committer.state) else {
            return;
        };
        match disk.barrier() {
            Err(error) if !trusting => self.fail_commits(n, error),
            _ => {
                self.tell(n, Report::Committed(commit));
                match failed {
                    Some(error) => self.fail_commits(n, error),
                    None => self.next_group(n),
                }
            }
        }
    }

    fn fail_commits(&mut self, n: usize, error: StoreError) {
        let (epoch, at) = (self.hosts[n].epoch, self.now + RETRY);
        self.tell(n, Report::Failed(error));
        if let Some(process) = &mut self.hosts[n].process {
            // What was handed over since is dropped: the engine rolls it back.
            process.committer.queue.clear();
            process.committer.state = State::Failed(at);
        }
        self.push(at, Event::Probe { host: n, epoch });
    }

    pub fn probe(&mut self, n: usize) {
        let (epoch, now) = (self.hosts[n].epoch, self.now);
        let disk = std::sync::Arc::clone(&self.hosts[n].disk);
        let Some(process) = &mut self.hosts[n].process else { return };
        let State::Failed(at) = process.committer.state else { return };
        if at > now {
            return self.push(at, Event::Probe { host: n, epoch });
        }
        let mut probe = Batch::default();
        probe.put(Table::Meta, b"probe".to_vec(), vec![0; 16]);
        if disk.apply(probe).and_then(|()| disk.barrier()).is_ok() {
            process.committer.state = State::Idle;
            self.tell(n, Report::Ready);
        } else {
            process.committer.state = State::Failed(now + RETRY);
            self.later(RETRY, Event::Probe { host: n, epoch });
        }
    }

    /// Reports travel through the host's inbox.
    fn tell(&mut self, n: usize, report: Report) {
        let epoch = self.hosts[n].epoch;
        self.push(self.now, Event::Report { host: n, epoch, report });
    }

    pub fn report(&mut self, n: usize, report: Report) {
        let input = match report {
            Report::Committed(commit) => {
                self.oracle.committed(n);
                Input::Committed { commit }
            }
            Report::Failed(error) => {
                self.oracle.commit_failed(n);
                Input::CommitFailed { error }
            }
            Report::Ready => Input::StoreReady,
        };
        self.feed(n, input);
        self.settle(n);
    }
}
