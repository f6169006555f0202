//! Keys, and small rows with the check that a store does not make.

use sha2::{Digest as _, Sha256};

use crate::id::{CutHash, LogId, Seq, VatNumber};

pub(super) fn read_tenant(key: &[u8]) -> Option<VatNumber> {
    let number = u64::from_be_bytes(key.get(..8)?.try_into().ok()?);
    VatNumber::parse(&format!("{number:011}")).ok()
}

pub(super) fn bundle_key(tenant: VatNumber, log: &LogId, seq: Seq) -> Vec<u8> {
    join(&[&tenant_key(tenant), log.as_bytes(), &be(seq)])
}

pub(super) fn chunk_key(tenant: VatNumber, cut: &CutHash, index: u32) -> Vec<u8> {
    join(&[&tenant_key(tenant), cut.as_bytes(), &index.to_be_bytes()])
}

pub(super) fn tenant_key(tenant: VatNumber) -> [u8; 8] {
    tenant.as_u64().to_be_bytes()
}

pub(super) const fn be(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

pub(super) fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// The first key after every key that begins with `prefix`. No prefix here is all `ff`:
/// each begins with a tenant, and a VAT number is below 10^11.
pub(super) fn after(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while end.pop_if(|byte| *byte == 0xff).is_some() {}
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

/// A small row followed by the first 8 bytes of SHA-256 over key and row.
pub(super) fn checked(key: &[u8], mut row: Vec<u8>) -> Vec<u8> {
    let check = check_of(key, &row);
    row.extend_from_slice(&check);
    row
}

pub(super) fn open_checked<'a>(key: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
    let (row, check) = value.split_last_chunk::<8>()?;
    (check_of(key, row) == *check).then_some(row)
}

pub(super) fn check_of(key: &[u8], row: &[u8]) -> [u8; 8] {
    let digest = Sha256::new().chain_update(key).chain_update(row).finalize();
    let mut check = [0; 8];
    check.copy_from_slice(&digest[..8]);
    check
}

pub(super) fn chunk<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(head)
}
