//! What one tenant's tree can be asked. Every row read is checked; the caller guards the calls.

use std::collections::BTreeMap;

use engine::id::DocumentId;
use sled::{Batch, Tree};

use super::{
    Change, Damage, Derived,
    row::{self, Entry, Head},
};
use crate::feed::Cursor;

pub(super) fn apply(tree: &Tree, at: Cursor, changes: &[Derived]) -> Result<(), Damage> {
    let (mut head, position) = (head(tree)?, at.position);
    let mut batch = Batch::default();
    // A document named twice counts once, as it was named last.
    let latest: BTreeMap<_, _> = changes.iter().map(|change| (change.document, change)).collect();
    for (document, Derived { changed_at, record, .. }) in latest {
        let changed_at = (*changed_at).min(position);
        let key = row::record_key(document);
        if let Some(before) = tree.get(key)? {
            let before = Entry::open(&key, &before)?;
            batch.remove(&row::change_key(before.position, document)[..]);
            head.records -= u64::from(before.record.is_some()).min(head.records);
        }
        head.records += u64::from(record.is_some());
        batch
            .insert(&key[..], Entry { position: changed_at, record: record.as_deref() }.seal(&key));
        let key = row::change_key(changed_at, document);
        batch.insert(&key[..], row::seal(&key, &[]));
    }
    head.position = head.position.max(position);
    head.digest = at.digest();
    batch.insert(row::HEAD, head.seal());
    Ok(tree.apply_batch(batch)?)
}

pub(super) fn head(tree: &Tree) -> Result<Head, Damage> {
    tree.get(row::HEAD)?.map_or(Ok(Head::default()), |row| Head::open(&row))
}

pub(super) fn get(tree: &Tree, document: DocumentId) -> Result<Option<Vec<u8>>, Damage> {
    let key = row::record_key(document);
    let Some(row) = tree.get(key)? else { return Ok(None) };
    Ok(Entry::open(&key, &row)?.record.map(<[u8]>::to_vec))
}

pub(super) fn scan(
    tree: &Tree,
    prefix: &[u8],
    after: Option<DocumentId>,
    limit: usize,
) -> Result<Vec<(DocumentId, Vec<u8>)>, Damage> {
    let prefix = [&[row::RECORD], prefix].concat();
    let mut from = prefix.clone();
    if let Some(after) = after {
        let mut next = row::record_key(after).to_vec();
        next.push(0);
        from = from.max(next);
    }
    let mut records = Vec::new();
    for found in tree.range(from..) {
        let (key, row) = found?;
        if records.len() >= limit || !key.starts_with(&prefix) {
            break;
        }
        if let Some(record) = Entry::open(&key, &row)?.record {
            records.push((row::record_document(&key)?, record.to_vec()));
        }
    }
    Ok(records)
}

pub(super) fn changes_after(
    tree: &Tree,
    position: u64,
    limit: usize,
) -> Result<Vec<Change>, Damage> {
    let mut changes: Vec<Change> = Vec::new();
    let Some(from) = position.checked_add(1) else { return Ok(changes) };
    let mut first = vec![row::CHANGE];
    first.extend_from_slice(&from.to_be_bytes());
    for found in tree.range(first..vec![row::CHANGE + 1]) {
        let (key, row) = found?;
        let (position, document) = row::open_change(&key, &row)?;
        // A reader's cursor is a position: it must not come to stand inside one.
        if changes.len() >= limit && changes.last().is_none_or(|last| last.position != position) {
            break;
        }
        changes.push(Change { position, document });
    }
    Ok(changes)
}

pub(super) fn check(tree: &Tree) -> Result<(), Damage> {
    let head = head(tree)?;
    let (mut records, mut documents, mut changes) = (0, 0, 0);
    for found in tree {
        let (key, row) = found?;
        match key.first() {
            Some(&row::RECORD) => {
                row::record_document(&key)?;
                records += u64::from(Entry::open(&key, &row)?.record.is_some());
                documents += 1;
            }
            Some(&row::CHANGE) => {
                row::open_change(&key, &row)?;
                changes += 1;
            }
            _ if *key == *row::HEAD => {}
            _ => return Err(Damage::Row("a key")),
        }
    }
    if records != head.records {
        return Err(Damage::Count { found: records, said: head.records });
    }
    if documents != changes {
        return Err(Damage::Row("the change feed"));
    }
    Ok(())
}
