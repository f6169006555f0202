//! The truth on a real disk: killed while writing, damaged, and full.
#![allow(clippy::unwrap_used)]

mod damaged;
mod full;
mod killed;

use std::path::Path;

use engine::store::{Batch, Store as _, StoreError, Table};
use node::truth::{Truth, TruthOptions};

/// Options for disks far smaller than a customer's.
fn options() -> TruthOptions {
    TruthOptions { reserve_bytes: 0, ..TruthOptions::default() }
}

fn open(dir: &Path) -> Truth {
    Truth::open(dir, options()).unwrap()
}

/// What bundle `n` says: its number, and enough that compresses badly to fill pages.
fn value(n: u32) -> Vec<u8> {
    (0..500_u32).flat_map(|i| (n ^ i).wrapping_mul(2_654_435_761).to_be_bytes()).collect()
}

/// A bundle and its tip, as the archive writes them: both or neither.
fn bundle(n: u32) -> Batch {
    let mut batch = Batch::default();
    batch.put(Table::Bundles, n.to_be_bytes().to_vec(), value(n));
    batch.put(Table::Tips, b"tip".to_vec(), n.to_be_bytes().to_vec());
    batch
}

fn tip(truth: &Truth) -> Result<Option<u32>, StoreError> {
    let tip = truth.get(Table::Tips, b"tip")?;
    Ok(tip.map(|tip| u32::from_be_bytes(tip.try_into().unwrap())))
}

/// Asserts that bundles 1 to the tip are there and right and no others; returns the tip.
fn whole(truth: &Truth) -> u32 {
    let tip = tip(truth).unwrap().unwrap_or(0);
    for n in 1..=tip {
        let found = truth.get(Table::Bundles, &n.to_be_bytes()).unwrap();
        assert!(found == Some(value(n)), "bundle {n} of {tip}");
    }
    let last = truth.last(Table::Bundles, &[], &[255; 5]).unwrap();
    assert_eq!(last.map(|(key, _)| key), (tip > 0).then(|| tip.to_be_bytes().to_vec()));
    tip
}
