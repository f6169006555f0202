//! How a value lies on disk: one byte that says how, then the value, compressed where it pays.
//!
//! Invoices are XML, so a bundle shrinks to a third or less; a signed PDF does not and is
//! kept as it is. zstd at level 1, which the wire needs anyway.

use std::sync::{Mutex, PoisonError};

use zstd::bulk::{Compressor, Decompressor};

/// Shorter values are index and tip rows: hashes and numbers, which do not compress.
const PACK_BYTES_MIN: usize = 256;
/// Longest value read back. The largest the engine writes is a run's worth of bundle, 1 MiB.
const VALUE_BYTES_MAX: usize = 64 * 1024 * 1024;
const LEVEL: i32 = 1;

const PLAIN: u8 = 0;
const ZSTD: u8 = 1;

/// Packs and unpacks values. Holds the one compression context, which is costly to make.
pub(super) struct Packer {
    compressor: Mutex<Option<Compressor<'static>>>,
    decompressor: Mutex<Option<Decompressor<'static>>>,
}

impl Packer {
    pub(super) fn new() -> Self {
        Self {
            compressor: Mutex::new(Compressor::new(LEVEL).ok()),
            decompressor: Mutex::new(Decompressor::new().ok()),
        }
    }

    /// The row of a value. Always succeeds: what cannot be compressed is kept plain.
    pub(super) fn pack(&self, value: &[u8]) -> Vec<u8> {
        if value.len() >= PACK_BYTES_MIN {
            let mut compressor = self.compressor.lock().unwrap_or_else(PoisonError::into_inner);
            let packed = compressor.as_mut().and_then(|zstd| zstd.compress(value).ok());
            if let Some(packed) = packed.filter(|packed| packed.len() + 5 < value.len())
                && let Ok(length) = u32::try_from(value.len())
            {
                let mut row = Vec::with_capacity(packed.len() + 5);
                row.push(ZSTD);
                row.extend_from_slice(&length.to_be_bytes());
                row.extend_from_slice(&packed);
                return row;
            }
        }
        let mut row = Vec::with_capacity(value.len() + 1);
        row.push(PLAIN);
        row.extend_from_slice(value);
        row
    }

    /// The value of a row, or why it cannot be one.
    pub(super) fn unpack(&self, row: &[u8]) -> Result<Vec<u8>, &'static str> {
        match row.split_first() {
            Some((&PLAIN, value)) => Ok(value.to_vec()),
            Some((&ZSTD, rest)) => {
                let (length, packed) = rest.split_first_chunk::<4>().ok_or("a row is cut short")?;
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
            _ => Err("a row of unknown kind"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_and_text_shrinks() {
        let packer = Packer::new();
        let text = b"<AliquotaIVA>22.00</AliquotaIVA>".repeat(100);
        let noise: Vec<u8> =
            (0..4000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        for value in [&b""[..], b"short", &text, &noise] {
            assert_eq!(packer.unpack(&packer.pack(value)).as_deref(), Ok(value));
        }
        assert!(packer.pack(&text).len() * 4 < text.len());
        assert!(packer.pack(&noise).len() <= noise.len() + 1);
    }

    #[test]
    fn a_damaged_row_is_refused_or_differs_and_never_panics() {
        let packer = Packer::new();
        let row = packer.pack(&b"<AliquotaIVA>22.00</AliquotaIVA>".repeat(20));
        for at in 0..row.len() {
            let _ = packer.unpack(&row[..at]);
            for bit in 0..8 {
                let mut row = row.clone();
                row[at] ^= 1 << bit;
                let _ = packer.unpack(&row);
            }
        }
        assert!(packer.unpack(&[]).is_err());
    }
}
