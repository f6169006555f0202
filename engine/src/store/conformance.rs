//! One suite for every store: the rules of the contract that types cannot say.
//!
//! Public, so that each store's own crate runs it in its tests. Each function panics with a
//! sentence when a rule is broken, as a test does.

use std::{
    ops::ControlFlow,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use super::{Batch, Store, Table};

/// Runs every rule that one open store can show on `store`, which should be empty.
pub fn conformance(store: &dyn Store) {
    an_empty_store_answers(store);
    a_key_reads_back_in_its_own_table_only(store);
    a_scan_is_ordered_and_half_open(store);
    keys_are_compared_as_bytes(store);
    a_later_write_of_a_batch_wins(store);
    what_is_applied_is_seen_through_what_is_durable(store);
    last_is_the_greatest_below_the_bound(store);
    long_and_empty_keys_and_values_survive(store);
    a_scan_stops_where_the_visitor_says(store);
    a_visitor_may_use_the_store(store);
    many_keys_keep_their_order(store);
    readers_see_whole_batches_while_a_writer_writes(store);
}

/// Runs the rules about what survives. `make` opens the same store each time; the one
/// before was dropped.
pub fn reopening(make: &mut dyn FnMut() -> Box<dyn Store>) {
    let mut batch = Batch::default();
    for table in Table::ALL {
        batch.put(table, b"kept".to_vec(), vec![table as u8; 3000]);
        batch.put(table, b"gone".to_vec(), vec![1]);
    }
    batch.put(Table::Meta, Vec::new(), Vec::new());
    let store = make();
    store.apply(batch).expect("a write to a healthy store succeeds");
    store.barrier().expect("a barrier on a healthy store succeeds");
    drop(store);

    let store = make();
    let mut batch = Batch::default();
    for table in Table::ALL {
        batch.remove(table, b"gone".to_vec());
    }
    store.apply(batch).expect("a reopened store takes writes");
    store.barrier().expect("a reopened store syncs");
    drop(store);

    let store = make();
    for table in Table::ALL {
        let kept = store.get(table, b"kept").expect("a read succeeds");
        assert_eq!(kept, Some(vec![table as u8; 3000]), "a barrier covered it: {table:?}");
        assert_eq!(store.get(table, b"gone"), Ok(None), "a removal is durable too: {table:?}");
    }
    assert_eq!(keys(&*store, Table::Meta, b"", b"z"), [&b""[..], b"kept"]);
}

fn put(store: &dyn Store, table: Table, key: &[u8], value: &[u8]) {
    apply(store, table, key, value);
    store.barrier().expect("a barrier on a healthy store succeeds");
}

fn apply(store: &dyn Store, table: Table, key: &[u8], value: &[u8]) {
    let mut batch = Batch::default();
    batch.put(table, key.to_vec(), value.to_vec());
    store.apply(batch).expect("a write to a healthy store succeeds");
}

fn rows(store: &dyn Store, table: Table, from: &[u8], to: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    store
        .scan(table, from, to, &mut |key, value| {
            rows.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })
        .expect("a scan of a healthy store succeeds");
    rows
}

fn keys(store: &dyn Store, table: Table, from: &[u8], to: &[u8]) -> Vec<Vec<u8>> {
    rows(store, table, from, to).into_iter().map(|(key, _)| key).collect()
}

fn an_empty_store_answers(store: &dyn Store) {
    store.barrier().expect("a barrier with nothing to cover succeeds");
    store.apply(Batch::default()).expect("an empty batch succeeds");
    for table in Table::ALL {
        assert!(rows(store, table, b"a", b"b").is_empty());
        assert_eq!(store.last(table, b"a", b"b"), Ok(None));
    }
    let mut batch = Batch::default();
    batch.remove(Table::Meta, b"never there".to_vec());
    store.apply(batch).expect("removing nothing succeeds");
}

fn a_key_reads_back_in_its_own_table_only(store: &dyn Store) {
    for (n, table) in Table::ALL.into_iter().enumerate() {
        put(store, table, b"same key", &[n as u8]);
    }
    for (n, table) in Table::ALL.into_iter().enumerate() {
        let value = store.get(table, b"same key").expect("a read succeeds");
        assert_eq!(value, Some(vec![n as u8]), "table {table:?}");
        assert_eq!(store.get(table, b"other"), Ok(None));
        assert_eq!(keys(store, table, b"same", b"samf"), [b"same key"], "table {table:?}");
    }
}

fn a_scan_is_ordered_and_half_open(store: &dyn Store) {
    for key in [b"s/3", b"s/1", b"s/4", b"s/2"] {
        put(store, Table::Bundles, key, b"v");
    }
    assert_eq!(keys(store, Table::Bundles, b"s/1", b"s/4"), [b"s/1", b"s/2", b"s/3"]);
    assert!(keys(store, Table::Bundles, b"s/1", b"s/1").is_empty(), "an empty range is empty");
    assert!(keys(store, Table::Bundles, b"s/4", b"s/1").is_empty(), "and so is a reversed one");
    assert_eq!(store.last(Table::Bundles, b"s/4", b"s/1"), Ok(None), "and so is a reversed one");
}

fn keys_are_compared_as_bytes(store: &dyn Store) {
    let ordered: [&[u8]; 6] = [&[9, 0], &[9, 0, 0], &[9, 0, 255], &[9, 1], &[9, 127], &[9, 128]];
    for key in ordered.iter().rev() {
        apply(store, Table::Index, key, key);
    }
    assert_eq!(keys(store, Table::Index, &[9], &[10]), ordered);
    store.barrier().expect("a barrier succeeds");
    assert_eq!(keys(store, Table::Index, &[9], &[10]), ordered);
    assert_eq!(keys(store, Table::Index, &[9, 0, 0], &[9, 127]), ordered[1..4]);
}

fn a_later_write_of_a_batch_wins(store: &dyn Store) {
    put(store, Table::Meta, b"gone", b"v");
    let mut batch = Batch::default();
    batch.put(Table::Meta, b"twice".to_vec(), b"first".to_vec());
    batch.put(Table::Meta, b"twice".to_vec(), b"second".to_vec());
    batch.remove(Table::Meta, b"gone".to_vec());
    batch.put(Table::Meta, b"passing".to_vec(), b"v".to_vec());
    batch.remove(Table::Meta, b"passing".to_vec());
    batch.remove(Table::Meta, b"back".to_vec());
    batch.put(Table::Meta, b"back".to_vec(), b"v".to_vec());
    store.apply(batch).expect("a write succeeds");
    for moment in ["before the barrier", "after it"] {
        let twice = store.get(Table::Meta, b"twice").expect("a read succeeds");
        assert_eq!(twice.as_deref(), Some(&b"second"[..]), "{moment}");
        assert_eq!(store.get(Table::Meta, b"gone"), Ok(None), "{moment}");
        assert_eq!(store.get(Table::Meta, b"passing"), Ok(None), "{moment}");
        assert_eq!(store.get(Table::Meta, b"back"), Ok(Some(b"v".to_vec())), "{moment}");
        store.barrier().expect("a barrier succeeds");
    }
}

fn what_is_applied_is_seen_through_what_is_durable(store: &dyn Store) {
    for key in [b"o/1", b"o/3", b"o/5", b"o/7"] {
        put(store, Table::Tips, key, b"durable");
    }
    let mut batch = Batch::default();
    for key in [b"o/0", b"o/4", b"o/5", b"o/8"] {
        batch.put(Table::Tips, key.to_vec(), b"applied".to_vec());
    }
    for key in [b"o/3", b"o/7"] {
        batch.remove(Table::Tips, key.to_vec());
    }
    store.apply(batch).expect("a write succeeds");
    for moment in ["before the barrier", "after it"] {
        let found = rows(store, Table::Tips, b"o/", b"o0");
        let expected: [(&[u8], &[u8]); 5] = [
            (b"o/0", b"applied"),
            (b"o/1", b"durable"),
            (b"o/4", b"applied"),
            (b"o/5", b"applied"),
            (b"o/8", b"applied"),
        ];
        let expected = expected.map(|(key, value)| (key.to_vec(), value.to_vec()));
        assert_eq!(found, expected, "{moment}");
        let last = |to: &[u8]| {
            store.last(Table::Tips, b"o/", to).expect("a read succeeds").map(|(key, _)| key)
        };
        assert_eq!(last(b"o0").as_deref(), Some(&b"o/8"[..]), "{moment}");
        assert_eq!(last(b"o/8").as_deref(), Some(&b"o/5"[..]), "{moment}: o/7 was removed");
        assert_eq!(last(b"o/4").as_deref(), Some(&b"o/1"[..]), "{moment}: o/3 was removed");
        store.barrier().expect("a barrier succeeds");
    }
}

fn last_is_the_greatest_below_the_bound(store: &dyn Store) {
    for key in [b"l/1", b"l/2", b"l/3"] {
        put(store, Table::Feed, key, key);
    }
    let last = |from: &[u8], to: &[u8]| store.last(Table::Feed, from, to).expect("a read succeeds");
    assert_eq!(last(b"l/", b"l/3"), Some((b"l/2".to_vec(), b"l/2".to_vec())));
    assert_eq!(last(b"l/", b"l0"), Some((b"l/3".to_vec(), b"l/3".to_vec())));
    assert_eq!(last(b"l/1", b"l/2"), Some((b"l/1".to_vec(), b"l/1".to_vec())));
    assert_eq!(last(b"l/2", b"l/2"), None);
    assert_eq!(last(b"m", b"n"), None);
}

fn long_and_empty_keys_and_values_survive(store: &dyn Store) {
    let text = b"<AliquotaIVA>22.00</AliquotaIVA>".repeat(1024 * 1024 / 32);
    // Nothing that compresses: a store must not count on that.
    let noise: Vec<u8> = (0..(1024 * 1024 / 4_u32))
        .flat_map(|n| n.wrapping_mul(2_654_435_761).rotate_left(n % 31).to_le_bytes())
        .collect();
    for value in [&text[..], &noise, &noise[..65_536], b"x", b""] {
        let mut key = value.len().to_be_bytes().to_vec();
        key.extend(value.iter().take(4));
        put(store, Table::Blobs, &key, value);
        assert_eq!(store.get(Table::Blobs, &key).expect("a read succeeds").as_deref(), Some(value));
    }
    put(store, Table::Index, b"", b"empty key");
    assert_eq!(store.get(Table::Index, b""), Ok(Some(b"empty key".to_vec())));
    assert_eq!(keys(store, Table::Index, b"", &[0]), [b""]);
    let long = [7; 200];
    put(store, Table::Index, &long, b"");
    assert_eq!(store.get(Table::Index, &long), Ok(Some(Vec::new())));
}

fn a_scan_stops_where_the_visitor_says(store: &dyn Store) {
    let mut seen = 0;
    store
        .scan(Table::Bundles, b"s/", b"s0", &mut |_, _| {
            seen += 1;
            if seen == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .expect("a scan succeeds");
    assert_eq!(seen, 2);
}

fn a_visitor_may_use_the_store(store: &dyn Store) {
    let mut seen = 0;
    store
        .scan(Table::Bundles, b"s/", b"s0", &mut |key, _| {
            seen += 1;
            assert!(store.get(Table::Bundles, key).expect("a read inside a scan").is_some());
            // Written behind the scan's own moment: not met by it.
            put(store, Table::Bundles, &[b"s/9", key].concat(), b"v");
            ControlFlow::Continue(())
        })
        .expect("a scan succeeds");
    assert_eq!(seen, 4, "a scan is of one moment");
}

fn many_keys_keep_their_order(store: &dyn Store) {
    let key = |n: u32| [&b"n/"[..], &n.to_be_bytes()].concat();
    for group in 0..20 {
        let mut batch = Batch::default();
        // 7919 is prime to 5000: every number once, in no order.
        for n in (group * 250)..(group * 250 + 250) {
            let n = n * 7919 % 5000;
            batch.put(Table::Feed, key(n), n.to_le_bytes().repeat(16));
        }
        store.apply(batch).expect("a write succeeds");
        if group % 3 == 0 {
            store.barrier().expect("a barrier succeeds");
        }
    }
    let found = rows(store, Table::Feed, &key(0), &key(5000));
    assert_eq!(found.len(), 5000);
    for (n, (found, value)) in (0..).zip(found) {
        assert_eq!(found, key(n));
        assert_eq!(value, n.to_le_bytes().repeat(16));
    }
}

fn readers_see_whole_batches_while_a_writer_writes(store: &dyn Store) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut newest = 0;
                while !done.load(Ordering::Relaxed) {
                    let found = rows(store, Table::Quarantine, b"w/", b"w0");
                    let Some((_, first)) = found.first() else { continue };
                    assert_eq!(found.len(), 8, "a batch is there whole or not at all");
                    assert!(found.iter().all(|(_, value)| value == first), "of one moment");
                    let n = u32::from_le_bytes(first[..4].try_into().expect("four bytes"));
                    assert!(n >= newest, "what was once seen stays");
                    newest = n;
                }
            });
        }
        for n in 0..200_u32 {
            let mut batch = Batch::default();
            for key in 0..8 {
                batch.put(Table::Quarantine, vec![b'w', b'/', key], n.to_le_bytes().repeat(100));
            }
            store.apply(batch).expect("a write succeeds");
            if n % 10 == 0 {
                store.barrier().expect("a barrier succeeds");
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::{StoreError, Visitor, memory::MemoryStore};

    /// A store in memory that outlives its handle.
    struct Shared(Arc<MemoryStore>);

    impl Store for Shared {
        fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
            self.0.get(table, key)
        }
        fn scan(&self, t: Table, from: &[u8], to: &[u8], v: Visitor<'_>) -> Result<(), StoreError> {
            self.0.scan(t, from, to, v)
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
            self.0.barrier()
        }
    }

    #[test]
    fn memory_conforms() {
        conformance(&MemoryStore::new());
        let store = Arc::new(MemoryStore::new());
        reopening(&mut || {
            store.crash();
            Box::new(Shared(Arc::clone(&store)))
        });
    }

    #[test]
    fn a_crash_takes_what_no_barrier_covered_and_a_full_disk_takes_nothing() {
        let store = MemoryStore::new();
        put(&store, Table::Meta, b"kept", b"v");
        let mut batch = Batch::default();
        batch.put(Table::Meta, b"lost".to_vec(), b"v".to_vec());
        store.apply(batch.clone()).unwrap();
        store.crash();
        assert_eq!(store.get(Table::Meta, b"lost"), Ok(None));
        assert!(store.get(Table::Meta, b"kept").unwrap().is_some());
        store.set_full(true);
        assert!(store.apply(batch).is_err());
        assert_eq!(store.get(Table::Meta, b"lost"), Ok(None));
    }
}
