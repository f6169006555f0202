//! Writes that were applied and are not durable yet: a layer over the tables on disk.
//!
//! A barrier hands one whole layer to the storage engine as one transaction, so a group of
//! batches costs one. Until then reads look here first. Nothing here touches a disk.

use std::collections::BTreeMap;

use engine::store::{Batch, Table, Value};

/// A value, or `None` where the key was removed. It is packed by the barrier that writes it.
pub(super) type Row = Option<Value>;

/// Rows by table and key.
#[derive(Debug, Default)]
pub(super) struct Layer {
    tables: [BTreeMap<Vec<u8>, Row>; Table::ALL.len()],
    bytes: usize,
}

impl Layer {
    /// A batch as a layer of its own.
    pub(super) fn of(batch: Batch) -> Self {
        let mut layer = Self::default();
        for write in batch.writes {
            layer.set(write.table, write.key, write.value);
        }
        layer
    }

    /// Takes in a later layer, whose rows win.
    pub(super) fn absorb(&mut self, later: Self) {
        for (table, rows) in Table::ALL.into_iter().zip(later.tables) {
            for (key, row) in rows {
                self.set(table, key, row);
            }
        }
    }

    fn set(&mut self, table: Table, key: Vec<u8>, row: Row) {
        self.bytes += key.len() + size(&row);
        let length = key.len();
        if let Some(before) = self.tables[table as usize].insert(key, row) {
            self.bytes -= length + size(&before);
        }
    }

    /// Bytes of keys and rows.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing was applied.
    pub(super) fn is_empty(&self) -> bool {
        self.tables.iter().all(BTreeMap::is_empty)
    }

    /// What was last said about a key, if anything.
    pub(super) fn get(&self, table: Table, key: &[u8]) -> Option<&Row> {
        self.tables[table as usize].get(key)
    }

    /// The rows of one table.
    pub(super) fn table(&self, table: Table) -> &BTreeMap<Vec<u8>, Row> {
        &self.tables[table as usize]
    }

    /// Copies the rows of a half-open range into `rows`, over what is there. Values are shared.
    pub(super) fn copy_range(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        rows: &mut BTreeMap<Vec<u8>, Row>,
    ) {
        use std::ops::Bound::{Excluded, Included};
        let range = self.tables[table as usize].range::<[u8], _>((Included(from), Excluded(to)));
        rows.extend(range.map(|(key, row)| (key.clone(), row.clone())));
    }
}

fn size(row: &Row) -> usize {
    row.as_ref().map_or(0, Value::len)
}
