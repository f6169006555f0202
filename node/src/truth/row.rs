//! How rows lie in the file: one byte that says how, then the value, compressed where it pays, or
//! the values of a [`Group`].
//!
//! Invoices are XML, so a bundle shrinks to a third or less; a signed PDF does not and is
//! kept as it is. zstd at level 1, which the wire needs anyway.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use engine::store::Value;
use zstd::bulk::{Compressor, Decompressor};

use super::group::{self, Group};

/// Shorter values are index and tip rows: hashes and numbers, which do not compress.
const PACK_BYTES_MIN: usize = 256;
/// Longest value read back. The largest the engine writes is a run's worth of bundle, 1 MiB.
const VALUE_BYTES_MAX: usize = 64 * 1024 * 1024;
const LEVEL: i32 = 1;
/// How often fewer rows are tried where those of a group were too many for its page.
const TRIES: usize = 3;

/// The value.
const PLAIN: u8 = 0;
/// Its length, and a zstd frame of it.
const ZSTD: u8 = 1;
/// How many values, the length of what follows, and a zstd frame of the length of each and all of
/// them.
const GROUP: u8 = 2;

/// Packs and unpacks values. Holds the one compression context, which is costly to make.
pub(super) struct Packer {
    packing: Mutex<Packing>,
    decompressor: Mutex<Option<Decompressor<'static>>>,
    /// The group that was read last: whoever reads one bundle often reads the next.
    last: Mutex<Option<Unpacked>>,
}

/// A row of the file, and what it holds.
type Unpacked = (Arc<[u8]>, Arc<Group>);

struct Packing {
    compressor: Option<Compressor<'static>>,
    /// What the last group came to, of what it was: how much the next may be.
    share: f64,
}

impl Packing {
    fn compress(&mut self, value: &[u8]) -> Option<Vec<u8>> {
        self.compressor.as_mut().and_then(|zstd| zstd.compress(value).ok())
    }
}

impl Packer {
    pub(super) fn new() -> Self {
        Self {
            packing: Mutex::new(Packing { compressor: Compressor::new(LEVEL).ok(), share: 0.2 }),
            decompressor: Mutex::new(Decompressor::new().ok()),
            last: Mutex::default(),
        }
    }

    /// The row of the first of these, which follow one another, with as many of the next as fit into
    /// a group with it; how many those are, at least one.
    pub(super) fn pack(&self, rows: &[(&[u8], &Value)]) -> (Vec<u8>, usize) {
        let mut packing = self.packing.lock().unwrap_or_else(PoisonError::into_inner);
        let packed_max = group::PACKED_BYTES_MAX as f64;
        let bytes_max = group::BYTES_MAX.min((packed_max / packing.share) as usize);
        let mut bytes = 0;
        let fits = rows.iter().take(group::ROWS_MAX).take_while(|(_, value)| {
            bytes += value.len();
            bytes <= bytes_max
        });
        let mut count = fits.count();
        for _ in 0..TRIES {
            if count < 2 {
                break;
            }
            let raw = together(&rows[..count]);
            let Some(packed) = packing.compress(&raw) else { break };
            packing.share = (packed.len() as f64 / raw.len() as f64).max(0.01);
            if packed.len() + 7 <= group::PACKED_BYTES_MAX
                && let Ok(length) = u32::try_from(raw.len())
            {
                let row =
                    [&[GROUP][..], &(count as u16).to_be_bytes(), &length.to_be_bytes(), &packed];
                return (row.concat(), count);
            }
            let fewer = (count as f64 * packed_max / packed.len() as f64) as usize;
            count = fewer.min(count - 1);
        }
        let value = rows.first().map(|(_, value)| value.contiguous()).unwrap_or_default();
        (packing.alone(&value), 1)
    }

    /// The value of a row that is in no group. What cannot be unpacked reads as nothing.
    pub(super) fn unpack_alone(&self, row: &[u8]) -> Vec<u8> {
        self.value(row).unwrap_or_default()
    }

    /// What a row of the file holds under its key.
    pub(super) fn unpack(&self, key: Vec<u8>, row: Arc<[u8]>) -> Arc<Group> {
        let Some((count, rest)) = grouped(&row) else {
            let value = self.unpack_alone(&row);
            let all = 0..value.len();
            return Arc::new(Group::new(key, value, vec![all]));
        };
        let last = || self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, group)) = &*last()
            && known[..] == row[..]
            && group.is_at(&key)
        {
            return Arc::clone(group);
        }
        let raw = self.decompressed(rest).unwrap_or_default();
        let (raw, values) = match apart(&raw, count) {
            Some(values) => (raw, values),
            None => (Vec::new(), vec![0..0; count]),
        };
        let group = Arc::new(Group::new(key, raw, values));
        *last() = Some((row, Arc::clone(&group)));
        group
    }

    /// The value of a row, or why it cannot be one.
    fn value(&self, row: &[u8]) -> Result<Vec<u8>, &'static str> {
        match row.split_first() {
            Some((&PLAIN, value)) => Ok(value.to_vec()),
            Some((&ZSTD, rest)) => self.decompressed(rest),
            _ => Err("a row of unknown kind"),
        }
    }

    /// What a length and a zstd frame of it stand for.
    fn decompressed(&self, row: &[u8]) -> Result<Vec<u8>, &'static str> {
        let (length, packed) = row.split_first_chunk::<4>().ok_or("a row is cut short")?;
        let length = u32::from_be_bytes(*length) as usize;
        if length > VALUE_BYTES_MAX {
            return Err("a row claims an impossible length");
        }
        let value = match self.decompressor.try_lock().as_deref_mut() {
            Ok(Some(zstd)) => zstd.decompress(packed, length),
            // Another reader has it.
            _ => zstd::bulk::decompress(packed, length),
        };
        let value = value.map_err(|_| "a row does not decompress")?;
        if value.len() == length { Ok(value) } else { Err("a row has another length") }
    }
}

impl Packing {
    /// The row of a value by itself. Always succeeds: what cannot be compressed is kept plain.
    fn alone(&mut self, value: &[u8]) -> Vec<u8> {
        if value.len() >= PACK_BYTES_MIN {
            let packed = self.compress(value);
            if let Some(packed) = packed.filter(|packed| packed.len() + 5 < value.len())
                && let Ok(length) = u32::try_from(value.len())
            {
                return [&[ZSTD][..], &length.to_be_bytes(), &packed].concat();
            }
        }
        [&[PLAIN], value].concat()
    }
}

/// Whether this row of the file is a group: of how many, and what follows.
fn grouped(row: &[u8]) -> Option<(usize, &[u8])> {
    let (count, rest) = row.strip_prefix(&[GROUP])?.split_first_chunk::<2>()?;
    let count = usize::from(u16::from_be_bytes(*count));
    (1..=group::ROWS_MAX).contains(&count).then_some((count, rest))
}

/// The length of each value, then all of them.
fn together(rows: &[(&[u8], &Value)]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(rows.iter().map(|(_, value)| 4 + value.len()).sum());
    for (_, value) in rows {
        raw.extend_from_slice(&(value.len() as u32).to_be_bytes());
    }
    rows.iter().flat_map(|(_, value)| value.parts()).for_each(|part| raw.extend_from_slice(part));
    raw
}

/// Where so many values are, if these bytes are so many.
fn apart(raw: &[u8], count: usize) -> Option<Vec<Range<usize>>> {
    let lengths = raw.get(..4 * count)?;
    let mut at = lengths.len();
    let values = lengths.chunks_exact(4).map(|length| {
        let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        let from = at;
        at += length;
        from..at
    });
    let values = values.collect();
    (at == raw.len()).then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: u32) -> Vec<u8> {
        (0..4000_u32).flat_map(|n| (n ^ seed).wrapping_mul(2_654_435_761).to_le_bytes()).collect()
    }

    #[test]
    fn a_value_comes_back_and_text_shrinks() {
        let packer = Packer::new();
        let text = b"<AliquotaIVA>22.00</AliquotaIVA>".repeat(100);
        let noise = noise(0);
        let pack = |value: &[u8]| packer.pack(&[(b"key", &Value::from(value.to_vec()))]).0;
        for value in [&b""[..], b"short", &text, &noise] {
            assert_eq!(packer.unpack_alone(&pack(value)), value);
        }
        assert!(pack(&text).len() * 4 < text.len());
        assert!(pack(&noise).len() <= noise.len() + 1);
    }

    #[test]
    fn what_fits_into_a_page_lies_together_and_comes_back() {
        let packer = Packer::new();
        let text = |n: usize| format!("<Numero>{n}</Numero>").repeat(200 + n).into_bytes();
        let values = (0..100).map(|n| if n % 40 == 39 { noise(n as u32) } else { text(n) });
        let values: Vec<Value> = values.map(Value::from).collect();
        let keys: Vec<[u8; 8]> = (0..100_u64).map(u64::to_be_bytes).collect();
        let rows: Vec<(&[u8], &Value)> =
            keys.iter().zip(&values).map(|(key, value)| (&key[..], value)).collect();
        let (mut at, mut groups) = (0, 0);
        while at < rows.len() {
            let (row, count) = packer.pack(&rows[at..]);
            let group = packer.unpack(keys[at + count - 1].to_vec(), Arc::from(row));
            assert_eq!(group.len(), count);
            for n in 0..count {
                assert_eq!(group.key(n).as_deref(), Some(&keys[at + n][..]));
                assert_eq!(group.value(n), &*values[at + n].contiguous());
            }
            (at, groups) = (at + count, groups + 1);
        }
        assert!((4..20).contains(&groups), "{groups}");
    }

    #[test]
    fn a_damaged_row_is_refused_or_differs_and_never_panics() {
        let packer = Packer::new();
        let text = Value::from(b"<AliquotaIVA>22.00</AliquotaIVA>".repeat(20));
        let values = [(&b"kex"[..], &text), (b"key", &text)];
        for (row, count) in [packer.pack(&values[..1]), packer.pack(&values)] {
            let read = |row: &[u8]| packer.unpack(b"key".to_vec(), Arc::from(row));
            assert_eq!(read(&row).len(), count);
            for at in 0..row.len() {
                read(&row[..at]);
                for bit in 0..8 {
                    let mut row = row.clone();
                    row[at] ^= 1 << bit;
                    let group = read(&row);
                    let keys = (0..group.len()).filter_map(|n| group.key(n));
                    assert!(keys.count() <= group::ROWS_MAX);
                }
            }
        }
        assert!(packer.value(&[]).is_err());
    }
}
