//! A store in memory that can lose power: for tests, doctests and the simulator.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{Batch, Row, Store, StoreError, Table, Visitor, Write};

type Rows = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// Keeps what was applied apart from what a barrier covered, so that [`MemoryStore::crash`]
/// can take the difference away.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    live: Rows,
    durable: Rows,
    unsynced: Vec<Write>,
    full: bool,
    barrier_fails: bool,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Power is lost: whatever no barrier covered is gone.
    pub fn crash(&self) {
        let mut inner = self.lock();
        inner.unsynced.clear();
        inner.live = inner.durable.clone();
    }

    /// From now on the disk has no room, or has some again.
    pub fn set_full(&self, full: bool) {
        self.lock().full = full;
    }

    /// From now on barriers fail, or work again.
    pub fn set_barrier_fails(&self, fails: bool) {
        self.lock().barrier_fails = fails;
    }

    /// Flips one bit of the value at `key`, live and durable, as a bad disk would. Returns
    /// whether there was a value to damage.
    pub fn damage(&self, table: Table, key: &[u8], bit: usize) -> bool {
        let mut inner = self.lock();
        let at = (table, key.to_vec());
        let Inner { live, durable, .. } = &mut *inner;
        let mut hit = false;
        for value in [live.get_mut(&at), durable.get_mut(&at)].into_iter().flatten() {
            let bits = value.len() * 8;
            if bits > 0 {
                value[bit % bits / 8] ^= 1 << (bit % 8);
                hit = true;
            }
        }
        hit
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write(rows: &mut Rows, write: Write) {
    let key = (write.table, write.key);
    match write.value {
        Some(value) => rows.insert(key, value.into()),
        None => rows.remove(&key),
    };
}

fn full() -> StoreError {
    StoreError::Full { path: "memory".to_owned() }
}

impl Store for MemoryStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.lock().live.get(&(table, key.to_vec())).cloned())
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
        let rows: Vec<_> = {
            let inner = self.lock();
            let range = (table, from.to_vec())..(table, to.to_vec());
            inner.live.range(range).map(|((_, key), value)| (key.clone(), value.clone())).collect()
        };
        for (key, value) in rows {
            if visit(&key, &value) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn last(&self, table: Table, from: &[u8], to: &[u8]) -> Result<Option<Row>, StoreError> {
        if from >= to {
            return Ok(None);
        }
        let inner = self.lock();
        let mut range = inner.live.range((table, from.to_vec())..(table, to.to_vec()));
        Ok(range.next_back().map(|((_, key), value)| (key.clone(), value.clone())))
    }

    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        let mut inner = self.lock();
        if inner.full {
            return Err(full());
        }
        for one in batch.writes {
            inner.unsynced.push(one.clone());
            write(&mut inner.live, one);
        }
        Ok(())
    }

    fn barrier(&self) -> Result<(), StoreError> {
        let mut inner = self.lock();
        if inner.barrier_fails {
            let detail = "the barrier failed".to_owned();
            return Err(StoreError::Io { path: "memory".to_owned(), detail });
        }
        for one in std::mem::take(&mut inner.unsynced) {
            write(&mut inner.durable, one);
        }
        Ok(())
    }
}
