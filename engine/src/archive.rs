//! How the truth lies in a [`Store`]: keys, rows, and the check of every row read.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | Bundles | tenant, log, seq | previous hash, hash, (signature, check)?, body, inline blobs |
//! | Blobs | tenant, cut, index | SHA-256 of the chunk, the chunk |
//! | Index | tenant, document, log, seq | nothing |
//! | Feed | tenant, position | log, seq, check |
//! | Tips | tenant, log | key, incarnation, seq, hash, position, check |
//! | Authority | tenant, log, seq, item | item, check |
//!
//! All numbers in keys are big endian, so that key order is number order, and every key
//! begins with its tenant: no scan of one tenant can meet another's rows. A store does not
//! promise that a value read is the value written, so this file does: a bundle and a chunk
//! are compared with their hashes and the small rows carry a check.

mod feed;
mod files;
mod index;
mod known;
mod row;

use std::{collections::BTreeSet, ops::ControlFlow};

use bytes::Bytes;

use crate::{
    bundle::{Body, ChainHash, Item, Origin, PublicKey, Signature},
    id::{BlobHash, Incarnation, LogId, Seq, VatNumber},
    limits,
    store::{Batch, Store, StoreError, Table, Value},
    vector::Vector,
    wire::{OriginParts, Packing, Run, Tenant},
};

pub use feed::{feed, feed_digest, fingerprint};
pub use files::{blob, missing_chunks, put_chunk, read_chunk};
pub use index::{changes, index};
pub use known::resolve;
use row::{after, be, bundle_key, checked, chunk, join, open_checked, read_tenant, tenant_key};

/// A bundle as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Hash of the bundle before.
    pub previous: ChainHash,
    /// Its own hash.
    pub hash: ChainHash,
    /// The writer's signature of it, where we hold it: always at the end of a run.
    pub signature: Option<Signature>,
    /// The body's bytes.
    pub body: Bytes,
    /// The inline blobs' bytes.
    pub inline: Bytes,
}

type Parts<'a> = (ChainHash, ChainHash, Option<&'a [u8; 72]>, &'a [u8], &'a [u8]);

/// The state of one log as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tip {
    /// The tenant.
    pub tenant: VatNumber,
    /// Who writes it.
    pub origin: Origin,
    /// The last bundle.
    pub seq: Seq,
    /// Its hash.
    pub hash: ChainHash,
    /// Where in the tenant's feed its last bundle stands: the logs in the order they moved.
    pub position: u64,
}

/// Everything an engine needs to know at start: O(logs + grants), no bundle is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Every log's tip.
    pub tips: Vec<Tip>,
    /// What portals said about who may do what, in the order of their logs.
    pub statements: Vec<(VatNumber, Item)>,
    /// The last feed position of each tenant.
    pub positions: Vec<(VatNumber, u64)>,
}

/// A read that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The store itself failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row does not match its hash: it is fetched again from a peer.
    #[error(
        "bundle {seq} of {log:?} of {tenant} is damaged on disk: it is fetched again from a portal"
    )]
    Damaged {
        /// The tenant.
        tenant: VatNumber,
        /// The log.
        log: LogId,
        /// The bundle.
        seq: Seq,
    },
    /// A small row or a chunk does not match its check.
    #[error("a row of table {0:?} is damaged on disk")]
    Row(Table),
}

impl Stored {
    /// Its row: a head, and what it shares with the run in which it came.
    fn row(&self) -> Value {
        let mut head = Vec::with_capacity(141);
        head.extend_from_slice(&self.previous.0);
        head.extend_from_slice(&self.hash.0);
        head.push(u8::from(self.signature.is_some()));
        if let Some(signature) = &self.signature {
            let signature = checked(&self.hash.0, signature.to_bytes().to_vec());
            head.extend_from_slice(&signature);
        }
        head.extend_from_slice(&(self.body.len() as u32).to_be_bytes());
        Value::joined([head.into(), self.body.clone(), self.inline.clone()])
    }

    /// Reads the body of a row and checks it, and nothing else of the row.
    fn decode_body(tenant: VatNumber, log: &LogId, seq: Seq, value: &[u8]) -> Option<Body> {
        let (previous, hash, _, body, _) = Self::split(value)?;
        let whole = previous.next(tenant, log, seq, body) == hash;
        whole.then(|| Body::decode(body).ok()).flatten()
    }

    /// The parts of a row: both hashes, the signature with its check, the body, the inline blobs.
    fn split(value: &[u8]) -> Option<Parts<'_>> {
        let mut rest = value;
        let previous = ChainHash(*chunk(&mut rest)?);
        let hash = ChainHash(*chunk(&mut rest)?);
        let signature = match chunk::<1>(&mut rest)? {
            [0] => None,
            [1] => Some(chunk::<72>(&mut rest)?),
            _ => return None,
        };
        let body_len = u32::from_be_bytes(*chunk(&mut rest)?) as usize;
        let (body, inline) = rest.split_at_checked(body_len)?;
        Some((previous, hash, signature, body, inline))
    }

    /// Reads a row and checks it: the body against the bundle's hash, each inline blob
    /// against its name. The signature, which no hash covers and only its writer's key could
    /// tell from another, has a check of its own: whoever sent a damaged one would be blamed.
    fn decode(tenant: VatNumber, log: &LogId, seq: Seq, value: &[u8]) -> Option<Self> {
        let (previous, hash, signature, body, inline) = Self::split(value)?;
        let signature = match signature {
            Some(signature) => {
                let signature = open_checked(&hash.0, signature)?;
                Some(Signature::from_bytes(signature.try_into().ok()?))
            }
            None => None,
        };
        if previous.next(tenant, log, seq, body) != hash {
            return None;
        }
        let mut files = inline;
        for blob in Body::decode(body).ok()?.blobs.iter().filter(|blob| blob.is_inline()) {
            let (file, rest) = files.split_at_checked(blob.len as usize)?;
            if BlobHash::of(file) != blob.hash {
                return None;
            }
            files = rest;
        }
        files.is_empty().then(|| Self {
            previous,
            hash,
            signature,
            body: Bytes::copy_from_slice(body),
            inline: Bytes::copy_from_slice(inline),
        })
    }
}

/// Adds one bundle to `batch`: its row, its documents' index rows, its statements, and its
/// place in the feed. The log's tip is put once a batch, by [`put_tip`].
pub fn put_bundle(
    batch: &mut Batch,
    tenant: VatNumber,
    log: &LogId,
    seq: Seq,
    position: u64,
    stored: &Stored,
    body: &Body,
) {
    batch.put(Table::Bundles, bundle_key(tenant, log, seq), stored.row());
    for document in body.documents() {
        let key = join(&[&tenant_key(tenant), document.as_bytes(), log.as_bytes(), &be(seq)]);
        batch.put(Table::Index, key, Vec::new());
    }
    for (n, item) in body.items.iter().enumerate() {
        if matches!(item, Item::Grant(_) | Item::Revocation(_)) {
            let key = join(&[&tenant_key(tenant), log.as_bytes(), &be(seq), &be(n as u64)]);
            let row = postcard::to_stdvec(item).expect("an item of plain data always encodes");
            let value = checked(&key, row);
            batch.put(Table::Authority, key, value);
        }
    }
    let key = join(&[&tenant_key(tenant), &be(position)]);
    let value = checked(&key, join(&[log.as_bytes(), &be(seq)]));
    batch.put(Table::Feed, key, value);
}

/// Adds to `batch` what takes back [`put_bundle`] of the same bundle: after a failed barrier a
/// store may have kept it or not, and nobody was told that it is there.
pub fn drop_bundle(
    batch: &mut Batch,
    tenant: VatNumber,
    log: &LogId,
    seq: Seq,
    position: u64,
    body: &Body,
) {
    batch.remove(Table::Bundles, bundle_key(tenant, log, seq));
    for document in body.documents() {
        let key = join(&[&tenant_key(tenant), document.as_bytes(), log.as_bytes(), &be(seq)]);
        batch.remove(Table::Index, key);
    }
    for (n, item) in body.items.iter().enumerate() {
        if matches!(item, Item::Grant(_) | Item::Revocation(_)) {
            let key = join(&[&tenant_key(tenant), log.as_bytes(), &be(seq), &be(n as u64)]);
            batch.remove(Table::Authority, key);
        }
    }
    batch.remove(Table::Feed, join(&[&tenant_key(tenant), &be(position)]));
}

/// Writes one bundle's own row again, after it was found damaged. Its place in feed and
/// index is as it was.
pub fn mend_bundle(batch: &mut Batch, tenant: VatNumber, log: &LogId, seq: Seq, stored: &Stored) {
    batch.put(Table::Bundles, bundle_key(tenant, log, seq), stored.row());
}

/// Sets a log back to the last bundle at or before `cut` whose signature we hold: what came
/// later was written after its writer's revocation and counts nowhere. Those rows move to
/// quarantine and leave index and feed; nothing is destroyed. Gives the writes and the place
/// where the log now ends.
///
/// # Errors
/// [`ReadError::Store`]; rows too damaged to read are moved as they are.
pub fn truncate(
    store: &dyn Store,
    tenant: VatNumber,
    origin: &Origin,
    cut: Seq,
) -> Result<(Batch, (Seq, ChainHash)), ReadError> {
    let log = origin.log();
    let mut end = (0, ChainHash::START);
    for seq in (1..=cut).rev() {
        let stored = bundle(store, tenant, &log, seq);
        if let Ok(Stored { hash, signature: Some(_), .. }) = stored {
            end = (seq, hash);
            break;
        }
    }
    let mut batch = Batch::default();
    let from = bundle_key(tenant, &log, end.0 + 1);
    let to = bundle_key(tenant, &log, Seq::MAX);
    store.scan(Table::Bundles, &from, &to, &mut |key, value| {
        batch.put(Table::Quarantine, key.to_vec(), value.to_vec());
        batch.remove(Table::Bundles, key.to_vec());
        ControlFlow::Continue(())
    })?;
    let prefix = tenant_key(tenant);
    for (table, at) in [(Table::Index, 24), (Table::Authority, 8)] {
        store.scan(table, &prefix, &after(&prefix), &mut |key, _| {
            let mut rest = key.get(at..).unwrap_or_default();
            let row = chunk::<16>(&mut rest).zip(chunk::<8>(&mut rest));
            if row.is_some_and(|(l, s)| l == log.as_bytes() && u64::from_be_bytes(*s) > end.0) {
                batch.remove(table, key.to_vec());
            }
            ControlFlow::Continue(())
        })?;
    }
    store.scan(Table::Feed, &prefix, &after(&prefix), &mut |key, value| {
        let mut rest = open_checked(key, value).unwrap_or_default();
        let row = chunk::<16>(&mut rest).zip(chunk::<8>(&mut rest));
        if row.is_some_and(|(l, s)| l == log.as_bytes() && u64::from_be_bytes(*s) > end.0) {
            batch.remove(Table::Feed, key.to_vec());
        }
        ControlFlow::Continue(())
    })?;
    let (seq, hash) = end;
    put_tip(&mut batch, &Tip { tenant, origin: origin.clone(), seq, hash, position: 0 });
    Ok((batch, end))
}

/// Adds a log's tip to `batch`; a log of which nothing is held has no row.
pub fn put_tip(batch: &mut Batch, tip: &Tip) {
    let key = join(&[&tenant_key(tip.tenant), tip.origin.log().as_bytes()]);
    if tip.seq == 0 {
        return batch.remove(Table::Tips, key);
    }
    let row = join(&[
        tip.origin.key.spki(),
        &tip.origin.incarnation.0,
        &be(tip.seq),
        &tip.hash.0,
        &be(tip.position),
    ]);
    let value = checked(&key, row);
    batch.put(Table::Tips, key, value);
}

/// Reads what an engine needs at start.
///
/// # Errors
/// [`ReadError`]
pub fn recover(store: &dyn Store) -> Result<Recovered, ReadError> {
    let mut recovered = Recovered::default();
    let mut damaged = None;
    visit_all(store, Table::Tips, &mut |key, value| match read_tip(key, value) {
        Some(tip) => recovered.tips.push(tip),
        None => damaged = Some(Table::Tips),
    })?;
    visit_all(store, Table::Authority, &mut |key, value| {
        let item = open_checked(key, value).and_then(|row| postcard::from_bytes(row).ok());
        match (read_tenant(key), item) {
            (Some(tenant), Some(item)) => recovered.statements.push((tenant, item)),
            _ => damaged = Some(Table::Authority),
        }
    })?;
    if let Some(table) = damaged {
        return Err(ReadError::Row(table));
    }
    let mut tenants: Vec<_> = recovered.tips.iter().map(|tip| tip.tenant).collect();
    tenants.dedup();
    for tenant in tenants {
        let from = tenant_key(tenant);
        if let Some((key, _)) = store.last(Table::Feed, &from, &after(&from))? {
            let position = key.get(8..16).and_then(|p| p.try_into().ok()).map(u64::from_be_bytes);
            recovered.positions.push((tenant, position.ok_or(ReadError::Row(Table::Feed))?));
        }
    }
    Ok(recovered)
}

/// Reads one bundle and checks it against its hash.
///
/// # Errors
/// [`ReadError::Damaged`] when it is not what was written, missing included.
pub fn bundle(
    store: &dyn Store,
    tenant: VatNumber,
    log: &LogId,
    seq: Seq,
) -> Result<Stored, ReadError> {
    store
        .get(Table::Bundles, &bundle_key(tenant, log, seq))?
        .and_then(|value| Stored::decode(tenant, log, seq, &value))
        .ok_or(ReadError::Damaged { tenant, log: *log, seq })
}

/// Visits every bundle that a damaged store still gives whole: each by itself, so that one that
/// cannot be read hides no other.
pub fn whole_bundles(store: &dyn Store, visit: &mut dyn FnMut(VatNumber, &Body)) {
    // What is readable of the tips is enough to ask for each bundle.
    let mut tips = Vec::new();
    let _ = visit_all(store, Table::Tips, &mut |key, value| tips.extend(read_tip(key, value)));
    for Tip { tenant, origin, seq: last, .. } in tips {
        for seq in 1..=last {
            let whole = bundle(store, tenant, &origin.log(), seq);
            if let Some(body) = whole.ok().and_then(|stored| Body::decode(&stored.body).ok()) {
                visit(tenant, &body);
            }
        }
    }
}

/// Reads the run that begins after `after`, cut at a bundle whose signature we hold, near
/// [`Packing::raw_bytes_target`] and at or before `upto`. A bundle with a large blob is
/// alone in its run; the second value tells whether this is one. The run refers to what the
/// receiver has of `held`, where that is not empty.
///
/// # Errors
/// [`ReadError`]
pub fn run(
    store: &dyn Store,
    tenant: VatNumber,
    origin: &Origin,
    after: Seq,
    upto: Seq,
    held: &Vector,
    packing: Packing,
) -> Result<(Run, bool), ReadError> {
    let log = origin.log();
    let mut taken: Vec<(Stored, bool)> = Vec::new();
    let mut signed = 0;
    let mut raw = 0;
    let mut seq = after;
    let mut damaged = None;
    let mut about = BTreeSet::new();
    store.scan(
        Table::Bundles,
        &bundle_key(tenant, &log, after + 1),
        &bundle_key(tenant, &log, upto.saturating_add(1)),
        &mut |key, value| {
            seq += 1;
            let here = key == bundle_key(tenant, &log, seq);
            let Some(stored) = here.then(|| Stored::decode(tenant, &log, seq, value)).flatten()
            else {
                damaged = Some(seq);
                return ControlFlow::Break(());
            };
            let body = Body::decode(&stored.body).unwrap_or_default();
            let large = body.large_blobs().next().is_some();
            let size = stored.body.len() + stored.inline.len();
            let full = signed > 0
                && (large
                    || raw + size > packing.raw_bytes_target()
                    || taken.len() >= limits::RUN_BUNDLES_MAX);
            if full {
                return ControlFlow::Break(());
            }
            raw += size;
            if !held.is_empty() {
                about.extend(known::about(&body));
            }
            let ends_run = stored.signature.is_some();
            taken.push((stored, large));
            if ends_run {
                signed = taken.len();
            }
            if large { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        },
    )?;
    if signed == 0 {
        return Err(ReadError::Damaged { tenant, log, seq: damaged.unwrap_or(after + 1) });
    }
    taken.truncate(signed);
    let large = taken.iter().any(|(_, large)| *large);
    let (last, _) = taken.last().expect("at least one signed bundle was taken");
    let signature = last.signature.expect("a run ends at a signed bundle");
    let lengths: Vec<_> = taken.iter().map(|(stored, _)| stored.body.len() as u32).collect();
    let run = Run {
        tenant: Tenant(tenant),
        log,
        first: after + 1,
        previous: taken[0].0.previous,
        origin: (after == 0).then(|| OriginParts::from(origin)),
        bodies: packing.form.told(&lengths),
        inline: taken.iter().map(|(stored, _)| stored.inline.len() as u32).sum(),
        signature,
        payload: Run::pack_referring(
            packing,
            taken.iter().map(|(stored, _)| (&stored.body[..], &stored.inline[..])),
            log,
            &known::known(store, tenant, &about, held),
        ),
    };
    Ok((run, large))
}

fn read_tip(key: &[u8], value: &[u8]) -> Option<Tip> {
    let mut row = open_checked(key, value)?;
    let key_of_writer = PublicKey::from_spki(chunk::<91>(&mut row)?).ok()?;
    let origin = Origin { key: key_of_writer, incarnation: Incarnation(*chunk(&mut row)?) };
    let seq = u64::from_be_bytes(*chunk(&mut row)?);
    let hash = ChainHash(*chunk(&mut row)?);
    let position = u64::from_be_bytes(*chunk(&mut row)?);
    (key.get(8..)? == origin.log().as_bytes()).then_some(Tip {
        tenant: read_tenant(key)?,
        origin,
        seq,
        hash,
        position,
    })
}

fn visit_all(
    store: &dyn Store,
    table: Table,
    visit: &mut dyn FnMut(&[u8], &[u8]),
) -> Result<(), StoreError> {
    store.scan(table, &[], &[0xff; 64], &mut |key, value| {
        visit(key, value);
        ControlFlow::Continue(())
    })
}
