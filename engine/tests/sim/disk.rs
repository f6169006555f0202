//! A disk that keeps what a barrier covered and may lose the rest; that fills up, fails its
//! barriers, flips bits, and is put back as it was last week.
//!
//! It keeps the contract of `engine::store`: a batch is there whole or not at all, and batches
//! become durable in order, so what a power cut leaves of the unsynced ones is a prefix.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Bound, ControlFlow},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use engine::store::{Batch, Row, Store, StoreError, Table, Visitor};

type Value = Arc<Vec<u8>>;
/// One write; no value removes.
type Put = (Table, Vec<u8>, Option<Value>);
/// Keys to values, by table.
type Rows = [BTreeMap<Vec<u8>, Value>; 8];

/// What a disk held durably at some moment.
#[derive(Clone, Default)]
pub struct Snapshot(Rows, BTreeSet<(Table, Vec<u8>)>);

/// See the module's header.
#[derive(Default)]
pub struct Disk(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    live: Rows,
    durable: Rows,
    unsynced: Vec<Vec<Put>>,
    /// Rows with a flipped bit, until they are written again.
    damaged: BTreeSet<(Table, Vec<u8>)>,
    full: bool,
    barrier_fails: bool,
    /// What a failed barrier does with what it should have covered: keep it (and maybe lose it
    /// later), or take it back. The contract allows both.
    takes_back: bool,
}

impl Disk {
    /// The process died. Without power, only the first `kept` of the unsynced batches are there.
    pub fn crash(&self, power: bool, kept: usize) {
        let mut inner = self.lock();
        let unsynced = std::mem::take(&mut inner.unsynced);
        let kept = if power { kept } else { unsynced.len() };
        for batch in unsynced.into_iter().take(kept) {
            inner.settle(batch);
        }
        inner.live = inner.durable.clone();
    }

    pub fn unsynced(&self) -> usize {
        self.lock().unsynced.len()
    }

    pub fn set_full(&self, full: bool) {
        self.lock().full = full;
    }

    pub fn set_barrier_fails(&self, fails: bool, takes_back: bool) {
        let mut inner = self.lock();
        inner.barrier_fails = fails;
        inner.takes_back = takes_back;
    }

    pub fn snapshot(&self) -> Snapshot {
        let inner = self.lock();
        Snapshot(inner.durable.clone(), inner.damaged.clone())
    }

    /// Everything since is gone; an empty snapshot is a new disk.
    pub fn restore(&self, snapshot: &Snapshot) {
        let mut inner = self.lock();
        inner.live = snapshot.0.clone();
        inner.durable = snapshot.0.clone();
        inner.unsynced.clear();
        inner.damaged = snapshot.1.clone();
    }

    /// Flips one bit of the `nth` durable row of `table`. Gives its key.
    pub fn damage(&self, table: Table, nth: usize, bit: usize) -> Option<Vec<u8>> {
        let mut inner = self.lock();
        let rows = &inner.durable[table as usize];
        let key = rows.keys().nth(nth % rows.len().max(1))?.clone();
        let value = rows[&key].clone();
        // A row that waits to be written again is not on the disk yet.
        let current = inner.live[table as usize].get(&key).is_some_and(|live| *live == value);
        if value.is_empty() || !current {
            return None;
        }
        let mut flipped = value.to_vec();
        let bit = bit % (flipped.len() * 8);
        flipped[bit / 8] ^= 1 << (bit % 8);
        let flipped = Arc::new(flipped);
        inner.live[table as usize].insert(key.clone(), Arc::clone(&flipped));
        inner.durable[table as usize].insert(key.clone(), flipped);
        inner.damaged.insert((table, key.clone()));
        Some(key)
    }

    pub fn is_damaged(&self, table: Table, key: &[u8]) -> bool {
        let inner = self.lock();
        !inner.damaged.is_empty() && inner.damaged.contains(&(table, key.to_vec()))
    }

    /// What a barrier covered at `key`.
    pub fn durable(&self, table: Table, key: &[u8]) -> Option<Value> {
        self.lock().durable[table as usize].get(key).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn settle(&mut self, batch: Vec<Put>) {
        if !self.damaged.is_empty() {
            for (table, key, _) in &batch {
                self.damaged.remove(&(*table, key.clone()));
            }
        }
        write(&mut self.durable, batch);
    }
}

fn write(rows: &mut Rows, batch: Vec<Put>) {
    for (table, key, value) in batch {
        let rows = &mut rows[table as usize];
        match value {
            Some(value) => rows.insert(key, value),
            None => rows.remove(&key),
        };
    }
}

impl Store for Disk {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.lock().live[table as usize].get(key).map(|value| value.to_vec()))
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
        let rows: Vec<(Vec<u8>, Value)> = {
            let inner = self.lock();
            let bounds = (Bound::Included(from), Bound::Excluded(to));
            let range = inner.live[table as usize].range::<[u8], _>(bounds);
            range.map(|(key, value)| (key.clone(), Arc::clone(value))).collect()
        };
        for (key, value) in rows {
            if visit(&key, &value) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn last(&self, table: Table, from: &[u8], to: &[u8]) -> Result<Option<Row>, StoreError> {
        let mut last = None;
        if from < to {
            let inner = self.lock();
            let bounds = (Bound::Included(from), Bound::Excluded(to));
            let row = inner.live[table as usize].range::<[u8], _>(bounds).next_back();
            last = row.map(|(key, value)| (key.clone(), value.to_vec()));
        }
        Ok(last)
    }

    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        let mut inner = self.lock();
        if inner.full {
            return Err(StoreError::Full { path: "disk".to_owned() });
        }
        let writes: Vec<_> = batch
            .writes
            .into_iter()
            .map(|one| (one.table, one.key, one.value.map(|value| Arc::new(value.into()))))
            .collect();
        write(&mut inner.live, writes.clone());
        inner.unsynced.push(writes);
        Ok(())
    }

    fn barrier(&self) -> Result<(), StoreError> {
        let mut inner = self.lock();
        if inner.barrier_fails {
            if inner.takes_back {
                inner.unsynced.clear();
                inner.live = inner.durable.clone();
            }
            let detail = "the barrier failed".to_owned();
            return Err(StoreError::Io { path: "disk".to_owned(), detail });
        }
        for batch in std::mem::take(&mut inner.unsynced) {
            inner.settle(batch);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use engine::store::conformance;

    use super::*;

    #[test]
    fn a_power_cut_leaves_a_prefix_and_a_restore_forgets() {
        let disk = Disk::default();
        let put = |n: u8| {
            let mut batch = Batch::default();
            batch.put(Table::Meta, vec![n], vec![n]);
            disk.apply(batch).unwrap();
        };
        put(1);
        disk.barrier().unwrap();
        let snapshot = disk.snapshot();
        put(2);
        put(3);
        disk.crash(true, 1);
        let here = |n: u8| disk.get(Table::Meta, &[n]).unwrap().is_some();
        assert!(here(1) && here(2) && !here(3));
        disk.restore(&snapshot);
        assert!(here(1) && !here(2));
    }

    #[test]
    fn it_is_a_store() {
        conformance::conformance(&Disk::default());
    }
}
