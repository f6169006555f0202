//! Bundles that follow one another lie together in one row of the file.
//!
//! A bundle of an invoice alone takes 2.1 kB compressed, and so a page of 4 kB by itself. Two dozen
//! of them compressed together take 0.7 kB each and fill one page of 16 kB: a sixth of the disk, and
//! less processor than to compress each by itself.
//!
//! A group lies under the key of its last row and says how many it holds: their keys are that one
//! counted down, so what is damaged inside a group still reads as so many rows that say nothing. No
//! other row of the file has a key between those of a group. A row is put into a group when its
//! barrier writes it and stays in it until one of that group is written again, or removed: then all
//! of them are stored anew.

use std::{collections::BTreeMap, ops::Range};

use engine::store::Value;
use redb::ReadableTable;

use super::{file::copied, layer::Row, row::Packer};

/// The most rows of a group.
pub(super) const ROWS_MAX: usize = 64;
/// What they may take unpacked: one that is read alone costs as much as all of its group, 0.1 ms.
pub(super) const BYTES_MAX: usize = 160 * 1024;
/// What a group may take packed: a page of 16 kB less what the page says of it.
pub(super) const PACKED_BYTES_MAX: usize = 16 * 1024 - 64;

/// Rows that lie in one row of the file: one, or a group.
pub(super) struct Group {
    last: Vec<u8>,
    /// All values, one after the other.
    raw: Vec<u8>,
    /// Where each is; all empty where the row is damaged.
    values: Vec<Range<usize>>,
}

impl Group {
    /// Rows under the key of the last one.
    pub(super) fn new(last: Vec<u8>, raw: Vec<u8>, values: Vec<Range<usize>>) -> Self {
        Self { last, raw, values }
    }

    /// Whether it lies under this key.
    pub(super) fn is_at(&self, key: &[u8]) -> bool {
        self.last == key
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// The key of one of them; `None` where damage has it say more rows than there are numbers.
    pub(super) fn key(&self, at: usize) -> Option<Vec<u8>> {
        before(&self.last, (self.len() - 1).checked_sub(at)?)
    }

    /// The value of one of them; nothing where the row is damaged.
    pub(super) fn value(&self, at: usize) -> &[u8] {
        self.values.get(at).and_then(|range| self.raw.get(range.clone())).unwrap_or_default()
    }

    /// Which of them has this key.
    pub(super) fn position(&self, key: &[u8]) -> Option<usize> {
        let from_last = usize::try_from(distance(key, &self.last)?).ok()?;
        (self.len() - 1).checked_sub(from_last)
    }

    /// Whether what it holds cannot be read.
    fn is_damaged(&self) -> bool {
        self.values.iter().all(Range::is_empty)
    }
}

/// A key as what comes before its number, and its number.
fn numbered(key: &[u8]) -> (&[u8], u64) {
    let (before, number) = key.split_at(key.len().saturating_sub(8));
    (before, number.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

/// How far `key` is before `last`, of the same length and with the same beginning.
fn distance(key: &[u8], last: &[u8]) -> Option<u64> {
    let ((start, number), (same, upto)) = (numbered(key), numbered(last));
    (key.len() == last.len() && start == same).then(|| upto.checked_sub(number)).flatten()
}

/// The key `count` before this one.
fn before(key: &[u8], count: usize) -> Option<Vec<u8>> {
    let (start, number) = numbered(key);
    let number = number.checked_sub(count as u64)?.to_be_bytes();
    let digits = key.len() - start.len();
    Some([start, &number[number.len() - digits..]].concat())
}

/// Writes rows into the table in the file, in groups.
pub(super) fn store(
    table: &mut redb::Table<'_, &'static [u8], &'static [u8]>,
    rows: &BTreeMap<Vec<u8>, Row>,
    packer: &Packer,
) -> Result<(), redb::Error> {
    let beside = take_out(table, rows, packer)?;
    let mut all: BTreeMap<&[u8], Option<&Value>> =
        beside.iter().map(|(key, value)| (key.as_slice(), Some(value))).collect();
    all.extend(rows.iter().map(|(key, row)| (key.as_slice(), row.as_ref())));
    let mut together: Vec<(&[u8], &Value)> = Vec::new();
    for (key, value) in all {
        let follows = together.last().is_some_and(|(last, _)| distance(last, key) == Some(1));
        if !follows || value.is_none() {
            put(table, &together, packer)?;
            together.clear();
        }
        match value {
            Some(value) => together.push((key, value)),
            None => drop(table.remove(key)?),
        }
    }
    put(table, &together, packer)
}

/// Takes the rows that are written out of the file, with the groups they lie in; gives what lies
/// beside them. A group that cannot be read stays: rows that are mended come before it.
fn take_out(
    table: &mut redb::Table<'_, &'static [u8], &'static [u8]>,
    rows: &BTreeMap<Vec<u8>, Row>,
    packer: &Packer,
) -> Result<BTreeMap<Vec<u8>, Value>, redb::Error> {
    let mut beside = BTreeMap::new();
    // No row of the file holds a key below this one that is yet to be looked at.
    let mut free: Option<Vec<u8>> = None;
    for key in rows.keys() {
        if free.as_ref().is_some_and(|free| key < free) {
            continue;
        }
        let next = table.range(key.as_slice()..)?.next().transpose()?.map(copied);
        let Some((at, row)) = next else { break };
        let group = packer.unpack(at, row);
        let holds = group.position(key).is_some();
        if holds && (group.len() == 1 || !group.is_damaged()) {
            table.remove(group.last.as_slice())?;
            let kept = (0..group.len())
                .filter_map(|at| Some((group.key(at)?, Value::from(group.value(at).to_vec()))))
                .filter(|(key, _)| !rows.contains_key(key));
            beside.extend(kept);
        }
        free = if holds { Some(group.last.clone()) } else { group.key(0) };
    }
    Ok(beside)
}

/// Puts rows that follow one another, in as many groups as they need.
fn put(
    table: &mut redb::Table<'_, &'static [u8], &'static [u8]>,
    mut rows: &[(&[u8], &Value)],
    packer: &Packer,
) -> Result<(), redb::Error> {
    while !rows.is_empty() {
        let (packed, count) = packer.pack(rows);
        let (group, rest) = rows.split_at(count);
        if let Some((last, _)) = group.last() {
            table.insert(*last, packed.as_slice())?;
        }
        rows = rest;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use engine::store::{Batch, Store, Table, memory::MemoryStore};

    use super::{super::Truth, *};
    use crate::truth::TruthOptions;

    const LOGS: u64 = 3;
    const BUNDLES: u64 = 300;

    fn key(log: u64, seq: u64) -> Vec<u8> {
        [b"tenant".as_slice(), &log.to_be_bytes(), &seq.to_be_bytes()].concat()
    }

    fn rows(store: &dyn Store, from: &[u8], to: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut rows = Vec::new();
        let mut visit = |key: &[u8], value: &[u8]| {
            rows.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        };
        store.scan(Table::Bundles, from, to, &mut visit).unwrap();
        rows
    }

    /// Runs, single rows, rows written again and removed, in any order and between any barriers:
    /// it reads as a store without groups does.
    #[test]
    fn groups_are_not_to_be_seen() {
        let mut state = 7_u64;
        let mut dice = |sides: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % sides
        };
        let dir = tempfile::tempdir().unwrap();
        let options = TruthOptions { reserve_bytes: 0, ..TruthOptions::default() };
        let (memory, mut truth) =
            (MemoryStore::default(), Truth::open(dir.path(), options).unwrap());
        for step in 0..400 {
            let mut batch = Batch::default();
            let (log, first) = (dice(LOGS), dice(BUNDLES));
            let count = if dice(3) == 0 { 1 + dice(120) } else { 1 };
            for seq in first..first + count {
                let value = match dice(40) {
                    0 => (0..5000).map(|_| dice(256) as u8).collect(),
                    _ => format!("<Numero>{step}</Numero>").repeat(dice(300) as usize).into_bytes(),
                };
                match dice(6) {
                    0 if count == 1 => batch.remove(Table::Bundles, key(log, seq)),
                    _ => batch.put(Table::Bundles, key(log, seq), value),
                }
            }
            memory.apply(batch.clone()).unwrap();
            truth.apply(batch).unwrap();
            if dice(2) == 0 {
                truth.barrier().unwrap();
            }
            if dice(40) == 0 {
                truth.barrier().unwrap();
                drop(truth);
                truth = Truth::open(dir.path(), options).unwrap();
            }
            for _ in 0..5 {
                let one = key(dice(LOGS), dice(BUNDLES + 140));
                assert_eq!(
                    truth.get(Table::Bundles, &one).unwrap(),
                    memory.get(Table::Bundles, &one).unwrap()
                );
                let (from, to) = (key(dice(LOGS), dice(BUNDLES)), key(dice(LOGS), dice(BUNDLES)));
                assert_eq!(
                    truth.last(Table::Bundles, &from, &to).unwrap(),
                    memory.last(Table::Bundles, &from, &to).unwrap()
                );
                assert_eq!(rows(&truth, &from, &to), rows(&memory, &from, &to));
            }
        }
        truth.barrier().unwrap();
        let (reading, ()) = truth.view(|_| ()).unwrap();
        let mut next = truth.stored(&reading, Table::Bundles, b"", b"u").unwrap();
        let lengths: Vec<usize> =
            std::iter::from_fn(|| next().unwrap()).map(|group| group.len()).collect();
        let all: usize = lengths.iter().sum();
        assert!(all > 400 && all == rows(&truth, b"", b"u").len(), "{lengths:?}");
        assert!(lengths.iter().filter(|length| **length > 5).count() > 10, "{lengths:?}");
    }

    #[test]
    fn keys_are_counted_down_from_the_last() {
        let key = |n: u64| [&b"log"[..], &n.to_be_bytes()].concat();
        assert_eq!(before(&key(300), 45), Some(key(255)));
        assert_eq!(before(&key(3), 4), None);
        assert_eq!(before(b"s/4", 2), Some(b"s/2".to_vec()));
        assert_eq!(distance(&key(255), &key(300)), Some(45));
        assert_eq!(distance(&key(300), &key(255)), None);
        assert_eq!(distance(b"other..1", b"another.1"), None);
        let group = Group::new(key(300), Vec::new(), vec![0..0; 3]);
        assert_eq!((group.key(0), group.key(2)), (Some(key(298)), Some(key(300))));
        assert_eq!(
            [297, 298, 300, 301].map(|n| group.position(&key(n))),
            [None, Some(0), Some(2), None]
        );
    }
}
