//! The files that bundles bring: inline beside their body, or in chunks with a row each.

use sha2::{Digest as _, Sha256};

use super::{
    ReadError, bundle, index,
    row::{chunk, chunk_key, join},
};
use crate::{
    bundle::{BlobRef, Body},
    id::{BlobHash, CutHash, DocumentId, VatNumber},
    store::{Batch, Store, Table},
};

/// Adds one chunk of a large blob to `batch`.
pub fn put_chunk(batch: &mut Batch, tenant: VatNumber, cut: &CutHash, index: u32, bytes: &[u8]) {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    batch.put(Table::Blobs, chunk_key(tenant, cut, index), join(&[&digest, bytes]));
}

/// The bytes of the file `hash` that came with `document`, or `None` if it brought no such file.
/// Two writers may have brought it, and one of them may have lied about its chunks or lost one:
/// any that is whole will do.
///
/// # Errors
/// [`ReadError`], when none is whole.
pub fn blob(
    store: &dyn Store,
    tenant: VatNumber,
    document: &DocumentId,
    hash: &BlobHash,
) -> Result<Option<Vec<u8>>, ReadError> {
    let mut failed = None;
    for (log, seq) in index(store, tenant, document)? {
        let stored = bundle(store, tenant, &log, seq)?;
        let Ok(body) = Body::decode(&stored.body) else {
            return Err(ReadError::Damaged { tenant, log, seq });
        };
        let mut inline = &stored.inline[..];
        for blob in &body.blobs {
            let len = if blob.is_inline() { blob.len as usize } else { 0 };
            let (bytes, rest) = inline.split_at(len.min(inline.len()));
            inline = rest;
            if blob.hash != *hash {
                continue;
            }
            if blob.is_inline() {
                return Ok(Some(bytes.to_vec()));
            }
            match large_blob(store, tenant, blob) {
                Ok(bytes) => return Ok(Some(bytes)),
                // Its chunks come again with the bundle that names them.
                Err(ReadError::Row(_)) => failed = Some(ReadError::Damaged { tenant, log, seq }),
                Err(error) => failed = Some(error),
            }
        }
    }
    failed.map_or(Ok(None), Err)
}

/// Reads one chunk of a large blob and checks it; `None` when it is not here.
///
/// # Errors
/// [`ReadError::Row`] when it is damaged.
pub fn read_chunk(
    store: &dyn Store,
    tenant: VatNumber,
    cut: &CutHash,
    index: u32,
) -> Result<Option<Vec<u8>>, ReadError> {
    let Some(value) = store.get(Table::Blobs, &chunk_key(tenant, cut, index))? else {
        return Ok(None);
    };
    let mut rest = value.as_slice();
    let digest: Option<&[u8; 32]> = chunk(&mut rest);
    if digest.is_some_and(|digest| Sha256::digest(rest).as_slice() == digest) {
        Ok(Some(rest.to_vec()))
    } else {
        Err(ReadError::Row(Table::Blobs))
    }
}

/// Which chunks of `blob` are not here, or are damaged.
///
/// # Errors
/// [`ReadError::Store`]
pub fn missing_chunks(
    store: &dyn Store,
    tenant: VatNumber,
    blob: &BlobRef,
) -> Result<Vec<u32>, ReadError> {
    let (mut missing, cut) = (Vec::new(), blob.cut());
    for index in 0..blob.chunks.len() as u32 {
        match read_chunk(store, tenant, &cut, index) {
            Ok(Some(_)) => {}
            Ok(None) | Err(ReadError::Row(_)) => missing.push(index),
            Err(error) => return Err(error),
        }
    }
    Ok(missing)
}

fn large_blob(store: &dyn Store, tenant: VatNumber, blob: &BlobRef) -> Result<Vec<u8>, ReadError> {
    let (mut bytes, cut) = (Vec::with_capacity(blob.len as usize), blob.cut());
    for index in 0..blob.chunks.len() as u32 {
        let chunk = read_chunk(store, tenant, &cut, index)?;
        bytes.extend(chunk.ok_or(ReadError::Row(Table::Blobs))?);
    }
    if BlobHash::of(&bytes) == blob.hash { Ok(bytes) } else { Err(ReadError::Row(Table::Blobs)) }
}
