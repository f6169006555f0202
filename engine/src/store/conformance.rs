//! One suite for every store: the rules of the contract that types cannot say.
//!
//! Each function panics with a sentence when a rule is broken, as a test does.

use std::ops::ControlFlow;

use super::{Batch, Store, Table};

/// Runs every rule on `store`, which should be empty.
pub fn conformance(store: &dyn Store) {
    a_key_reads_back_in_its_own_table_only(store);
    a_scan_is_ordered_and_half_open(store);
    a_later_write_of_a_batch_wins(store);
    last_is_the_greatest_below_the_bound(store);
    long_and_empty_values_survive(store);
    a_scan_stops_where_the_visitor_says(store);
}

fn put(store: &dyn Store, table: Table, key: &[u8], value: &[u8]) {
    let mut batch = Batch::default();
    batch.put(table, key.to_vec(), value.to_vec());
    store.apply(batch).expect("a write to a healthy store succeeds");
    store.barrier().expect("a barrier on a healthy store succeeds");
}

fn keys(store: &dyn Store, table: Table, from: &[u8], to: &[u8]) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    store
        .scan(table, from, to, &mut |key, _| {
            keys.push(key.to_vec());
            ControlFlow::Continue(())
        })
        .expect("a scan of a healthy store succeeds");
    keys
}

fn a_key_reads_back_in_its_own_table_only(store: &dyn Store) {
    for (n, table) in Table::ALL.into_iter().enumerate() {
        put(store, table, b"same key", &[n as u8]);
    }
    for (n, table) in Table::ALL.into_iter().enumerate() {
        let value = store.get(table, b"same key").expect("a read succeeds");
        assert_eq!(value, Some(vec![n as u8]), "table {table:?}");
        assert_eq!(store.get(table, b"other").expect("a read succeeds"), None);
    }
}

fn a_scan_is_ordered_and_half_open(store: &dyn Store) {
    for key in [b"s/3", b"s/1", b"s/4", b"s/2"] {
        put(store, Table::Bundles, key, b"v");
    }
    assert_eq!(keys(store, Table::Bundles, b"s/1", b"s/4"), [b"s/1", b"s/2", b"s/3"]);
    assert!(keys(store, Table::Bundles, b"s/4", b"s/1").is_empty(), "an empty range is empty");
}

fn a_later_write_of_a_batch_wins(store: &dyn Store) {
    put(store, Table::Meta, b"gone", b"v");
    let mut batch = Batch::default();
    batch.put(Table::Meta, b"twice".to_vec(), b"first".to_vec());
    batch.put(Table::Meta, b"twice".to_vec(), b"second".to_vec());
    batch.remove(Table::Meta, b"gone".to_vec());
    store.apply(batch).expect("a write succeeds");
    let twice = store.get(Table::Meta, b"twice").expect("visible before any barrier");
    assert_eq!(twice.as_deref(), Some(b"second".as_slice()));
    assert_eq!(store.get(Table::Meta, b"gone").expect("a read succeeds"), None);
}

fn last_is_the_greatest_below_the_bound(store: &dyn Store) {
    for key in [b"l/1", b"l/2", b"l/3"] {
        put(store, Table::Feed, key, key);
    }
    let last = |from: &[u8], to: &[u8]| {
        store.last(Table::Feed, from, to).expect("a read succeeds").map(|(key, _)| key)
    };
    assert_eq!(last(b"l/", b"l/3").as_deref(), Some(b"l/2".as_slice()));
    assert_eq!(last(b"l/", b"l0").as_deref(), Some(b"l/3".as_slice()));
    assert_eq!(last(b"m", b"n"), None);
}

fn long_and_empty_values_survive(store: &dyn Store) {
    let long = vec![7; 1024 * 1024];
    put(store, Table::Blobs, b"long", &long);
    put(store, Table::Index, b"empty", b"");
    assert_eq!(store.get(Table::Blobs, b"long").expect("a read succeeds"), Some(long));
    assert_eq!(store.get(Table::Index, b"empty").expect("a read succeeds"), Some(Vec::new()));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    #[test]
    fn memory_conforms() {
        conformance(&MemoryStore::new());
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
