//! Which bundles say something of a document.

use std::ops::ControlFlow;

use super::{
    ReadError, bundle,
    row::{after, chunk, join, tenant_key},
};
use crate::{
    bundle::{Body, Item},
    id::{DocumentId, LogId, Seq, VatNumber},
    store::{Store, StoreError, Table},
};

/// The changes of one document, in the order of their logs and numbers.
///
/// # Errors
/// [`ReadError`]
pub fn changes(
    store: &dyn Store,
    tenant: VatNumber,
    document: &DocumentId,
) -> Result<Vec<Vec<u8>>, ReadError> {
    let mut changes = Vec::new();
    for (log, seq) in index(store, tenant, document)? {
        let stored = bundle(store, tenant, &log, seq)?;
        let Ok(body) = Body::decode(&stored.body) else {
            return Err(ReadError::Damaged { tenant, log, seq });
        };
        changes.extend(body.items.into_iter().filter_map(|item| match item {
            Item::Change { document: of, change } if of == *document => Some(change),
            _ => None,
        }));
    }
    Ok(changes)
}

/// The bundles that touch `document`.
///
/// # Errors
/// [`ReadError`]
pub fn index(
    store: &dyn Store,
    tenant: VatNumber,
    document: &DocumentId,
) -> Result<Vec<(LogId, Seq)>, ReadError> {
    let mut rows = Vec::new();
    visit_index(store, tenant, document, &mut |log, seq| {
        rows.push((log, seq));
        ControlFlow::Continue(())
    })?;
    Ok(rows)
}

pub(super) fn visit_index(
    store: &dyn Store,
    tenant: VatNumber,
    document: &DocumentId,
    visit: &mut dyn FnMut(LogId, Seq) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let prefix = join(&[&tenant_key(tenant), document.as_bytes()]);
    store.scan(Table::Index, &prefix, &after(&prefix), &mut |key, _| {
        let mut rest = &key[24..];
        match (chunk(&mut rest), chunk(&mut rest)) {
            (Some(log), Some(seq)) => visit(LogId::from_bytes(*log), u64::from_be_bytes(*seq)),
            _ => ControlFlow::Continue(()),
        }
    })
}
