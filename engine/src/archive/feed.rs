//! The order in which a tenant's bundles came to be held here, for whoever follows them.

use std::ops::ControlFlow;

use sha2::{Digest as _, Sha256};

use super::{
    ReadError,
    row::{after, be, chunk, join, open_checked, tenant_key},
};
use crate::{
    id::{LogId, Seq, VatNumber},
    store::{Store, Table},
};

/// The feed of `tenant` after `position`, at most `max` rows: (position, log, seq).
///
/// # Errors
/// [`ReadError`]
pub fn feed(
    store: &dyn Store,
    tenant: VatNumber,
    position: u64,
    max: usize,
) -> Result<Vec<(u64, LogId, Seq)>, ReadError> {
    let prefix = tenant_key(tenant);
    let mut rows = Vec::new();
    let mut damaged = false;
    let from = join(&[&prefix, &be(position.saturating_add(1))]);
    store.scan(Table::Feed, &from, &after(&prefix), &mut |key, value| {
        let row = open_checked(key, value).and_then(|mut row| {
            let log = LogId::from_bytes(*chunk(&mut row)?);
            let seq = u64::from_be_bytes(*chunk(&mut row)?);
            let at = key.get(8..16)?.try_into().ok().map(u64::from_be_bytes)?;
            Some((at, log, seq))
        });
        match row {
            Some(row) => rows.push(row),
            None => damaged = true,
        }
        if damaged || rows.len() >= max {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    if damaged { Err(ReadError::Row(Table::Feed)) } else { Ok(rows) }
}

/// Eight bytes for one bundle. Their wrapping sum stands for a set of bundles, in whatever order
/// they came: it tells whether what lies before a position is what lay there before.
#[must_use]
pub fn fingerprint(log: &LogId, seq: Seq) -> u64 {
    let digest = Sha256::new().chain_update(log.as_bytes()).chain_update(be(seq)).finalize();
    u64::from_be_bytes(*digest.first_chunk().unwrap_or(&[0; 8]))
}

/// The sum of the fingerprints of the feed up to `upto`, where `digest` is that up to `at`.
///
/// # Errors
/// [`ReadError`]
pub fn feed_digest(
    store: &dyn Store,
    tenant: VatNumber,
    (mut at, mut digest): (u64, u64),
    upto: u64,
) -> Result<u64, ReadError> {
    const ROWS: usize = 1024;
    loop {
        let rows = feed(store, tenant, at, ROWS)?;
        for (place, log, seq) in rows.iter().take_while(|(place, ..)| *place <= upto) {
            digest = digest.wrapping_add(fingerprint(log, *seq));
            at = *place;
        }
        if rows.len() < ROWS || rows.last().is_some_and(|(place, ..)| *place >= upto) {
            return Ok(digest);
        }
    }
}
