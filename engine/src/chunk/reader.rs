//! Numbers, lengths and runs as the format writes them: one spelling each, nothing beyond the end.

use super::{COUNTER_MAX, ChunkError};

/// The runs of a run-length column, as (rows, value); a literal run comes row by row.
pub(crate) struct Runs<'a> {
    input: Reader<'a>,
    literal: u64,
}

impl<'a> Runs<'a> {
    pub(crate) fn over(column: &'a [u8]) -> Self {
        Self { input: Reader(column), literal: 0 }
    }

    /// The next run, its value read by `read`; a null run has none. `None` at the end.
    pub(crate) fn next<T>(
        &mut self,
        read: impl FnOnce(&mut Reader<'a>) -> Result<T, ChunkError>,
    ) -> Result<Option<(u64, Option<T>)>, ChunkError> {
        if self.literal == 0 {
            if self.input.0.is_empty() {
                return Ok(None);
            }
            match self.input.i64()? {
                0 => return Ok(Some((self.input.u64()?, None))),
                count @ 1.. => {
                    return Ok(Some((count.unsigned_abs(), Some(read(&mut self.input)?))));
                }
                count => self.literal = count.unsigned_abs(),
            }
        }
        self.literal -= 1;
        Ok(Some((1, Some(read(&mut self.input)?))))
    }
}

/// Reads numbers and slices off the front of some bytes.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], ChunkError> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(ChunkError::Truncated)?;
        self.0 = rest;
        Ok(head)
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> Result<u64, ChunkError> {
        // Nearly all are small.
        match self.0 {
            [byte @ 0..0x80, rest @ ..] => {
                self.0 = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_u64(),
        }
    }

    fn long_u64(&mut self) -> Result<u64, ChunkError> {
        let mut value = 0;
        for (index, byte) in self.0.iter().copied().enumerate() {
            if index == 9 && byte > 1 {
                return Err(ChunkError::Number);
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                if byte == 0 && index > 0 {
                    return Err(ChunkError::Number);
                }
                self.0 = &self.0[index + 1..];
                return Ok(value);
            }
        }
        Err(ChunkError::Truncated)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, ChunkError> {
        let mut value = 0_i64;
        let mut previous = 0_u8;
        for (index, byte) in self.0.iter().copied().enumerate() {
            if index == 9 && byte != 0 && byte != 0x7f {
                return Err(ChunkError::Number);
            }
            value |= i64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                let sign_repeated =
                    (byte == 0 && previous & 0x40 == 0) || (byte == 0x7f && previous & 0x40 != 0);
                if index > 0 && sign_repeated {
                    return Err(ChunkError::Number);
                }
                if index < 9 && byte & 0x40 != 0 {
                    value |= -1 << (7 * (index + 1));
                }
                self.0 = &self.0[index + 1..];
                return Ok(value);
            }
            previous = byte;
        }
        Err(ChunkError::Truncated)
    }

    /// Bytes after their length.
    pub(crate) fn prefixed(&mut self) -> Result<&'a [u8], ChunkError> {
        let len = self.len()?;
        self.take(len)
    }

    pub(super) fn len(&mut self) -> Result<usize, ChunkError> {
        usize::try_from(self.u64()?).map_err(|_| ChunkError::Truncated)
    }

    pub(super) fn count(&mut self, what: &'static str, max: usize) -> Result<usize, ChunkError> {
        let found = self.u64()?;
        match usize::try_from(found) {
            Ok(count) if count <= max => Ok(count),
            _ => Err(ChunkError::TooMany { what, found }),
        }
    }

    pub(super) fn counter(&mut self, what: &'static str) -> Result<u64, ChunkError> {
        let found = self.u64()?;
        if found > COUNTER_MAX { Err(ChunkError::TooMany { what, found }) } else { Ok(found) }
    }

    pub(super) fn actor(&mut self) -> Result<[u8; 16], ChunkError> {
        let bytes = self.prefixed()?;
        bytes.try_into().map_err(|_| ChunkError::Actor { bytes: bytes.len() })
    }
}
