//! Rows of a batch or a disk, as far as the oracle reads them, and what is wrong with one.

use super::*;

/// A bundle's row, as far as it is looked at.
pub(super) struct Row<'a> {
    pub(super) tenant: VatNumber,
    pub(super) log: LogId,
    pub(super) seq: Seq,
    pub(super) previous: ChainHash,
    pub(super) hash: ChainHash,
    pub(super) body: &'a [u8],
    pub(super) inline: &'a [u8],
}

/// An item that the writer's role may not write.
pub(super) fn misplaced(body: &Body, portal: bool) -> Option<&'static str> {
    body.items.iter().find_map(|item| match item {
        Item::Change { document, .. } => match document.kind() {
            Some(Kind::Outcome) if !portal => Some("an outcome by a node"),
            Some(Kind::Annotation) if portal => Some("an annotation by a portal"),
            Some(Kind::Contract) if !portal => Some("a contract by a node"),
            Some(kind) if kind.is_office() => Some("an office document among a tenant's"),
            None => Some("a document of no kind"),
            _ => None,
        },
        Item::Grant(_) | Item::Revocation(_) if !portal => Some("a statement by a node"),
        Item::Grant(_) | Item::Revocation(_) => None,
    })
}

pub(super) fn wrong_file(body: &Body, inline: &[u8]) -> Option<&'static str> {
    let mut rest = inline;
    for blob in body.blobs.iter().filter(|blob| blob.is_inline()) {
        let Some((file, after)) = rest.split_at_checked(blob.len as usize) else {
            return Some("a file cut short");
        };
        if BlobHash::of(file) != blob.hash {
            return Some("a file that is not the one named");
        }
        rest = after;
    }
    None
}

/// Whether a bundle, with all its files, would survive a loss of power now. A row with a
/// flipped bit was durable.
pub(super) fn is_durable(disk: &Disk, tenant: VatNumber, log: &LogId, seq: Seq) -> bool {
    let tenant_key = tenant.as_u64().to_be_bytes();
    let tip = [&tenant_key[..], log.as_bytes()].concat();
    let tip = disk.durable(Table::Tips, &tip);
    if tip.is_none_or(|tip| Seq::from_be_bytes(tip[107..115].try_into().unwrap()) < seq) {
        return false;
    }
    let key = [&tenant_key[..], log.as_bytes(), &seq.to_be_bytes()].concat();
    if disk.is_damaged(Table::Bundles, &key) {
        return true;
    }
    let Some(value) = disk.durable(Table::Bundles, &key) else { return false };
    let Some(row) = row(&key, &value) else { return false };
    let Ok(body) = Body::decode(row.body) else { return false };
    row.previous.next(tenant, log, seq, row.body) == row.hash
        && body.large_blobs().all(|blob| {
            blob.chunks.iter().zip(0_u32..).all(|(name, index)| {
                let key = [&tenant_key[..], blob.cut().as_bytes(), &index.to_be_bytes()].concat();
                let chunk = disk.durable(Table::Blobs, &key);
                let right = |chunk: &[u8]| Sha256::digest(&chunk[32..]).as_slice() == name;
                disk.is_damaged(Table::Blobs, &key) || chunk.is_some_and(|chunk| right(&chunk))
            })
        })
}

pub(super) fn row<'a>(key: &[u8], value: &'a [u8]) -> Option<Row<'a>> {
    let (tenant, log, seq) = place_of(key)?;
    let previous = ChainHash(value.get(..32)?.try_into().ok()?);
    let hash = ChainHash(value.get(32..64)?.try_into().ok()?);
    let at = if *value.get(64)? == 1 { 137 } else { 65 };
    let len = u32::from_be_bytes(value.get(at..at + 4)?.try_into().ok()?) as usize;
    let (body, inline) = value.get(at + 4..)?.split_at_checked(len)?;
    Some(Row { tenant, log, seq, previous, hash, body, inline })
}

pub(super) fn place_of(key: &[u8]) -> Option<(VatNumber, LogId, Seq)> {
    let log = LogId::from_bytes(key.get(8..24)?.try_into().ok()?);
    let seq = Seq::from_be_bytes(key.get(24..32)?.try_into().ok()?);
    Some((tenant_in(key)?, log, seq))
}

pub(super) fn tenant_in(key: &[u8]) -> Option<VatNumber> {
    let number = u64::from_be_bytes(key.get(..8)?.try_into().ok()?);
    VatNumber::parse(&format!("{number:011}")).ok()
}

pub(super) fn tenant_of(write: &Write) -> Option<VatNumber> {
    if write.table == Table::Meta { None } else { tenant_in(&write.key) }
}

/// Whether every bundle up to the tip of a log reads whole.
pub fn unreadable(disk: &Disk, tenant: VatNumber, log: &LogId, tip: Seq) -> Option<Seq> {
    (1..=tip).find(|seq| archive::bundle(disk, tenant, log, *seq).is_err())
}
