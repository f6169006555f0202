//! Frames as they lie in a stream: a length, then that many bytes.
//!
//! A length above `FRAME_BYTES_MAX` is refused before anything is allocated, and a lawful one
//! that lies costs little: the buffer grows only as bytes arrive.

use bytes::{Buf, Bytes, BytesMut};
use engine::limits::FRAME_BYTES_MAX;

/// Bytes of the length that precedes a frame.
pub(super) const LENGTH_BYTES: usize = 4;
/// What a frame's buffer starts with, and then doubles from.
const BUFFER_BYTES_MIN: usize = 16 * 1024;

/// The class of a frame: which stream carries it, and what goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// Hellos, acknowledgements, pings: small, and before everything else.
    Control = 0,
    /// Runs.
    Bundles = 1,
    /// Chunks of large blobs, after everything else.
    Blobs = 2,
}

impl Class {
    /// All classes, most urgent first.
    pub const ALL: [Self; 3] = [Self::Control, Self::Bundles, Self::Blobs];

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|class| *class as u8 == byte)
    }

    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

/// A frame announced more bytes than a frame may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLarge {
    pub(super) length: u32,
}

/// The length prefix of `frame`, or nothing when it is too long to be sent.
pub(super) fn prefix(frame: &Bytes) -> Option<Bytes> {
    let length = u32::try_from(frame.len()).ok()?;
    (frame.len() <= FRAME_BYTES_MAX).then(|| Bytes::copy_from_slice(&length.to_be_bytes()))
}

/// Puts the frames of one stream together again.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    length: [u8; LENGTH_BYTES],
    length_read: usize,
    body: BytesMut,
}

impl Decoder {
    /// Takes bytes off the front of `input` until a frame is whole or `input` is empty.
    pub(super) fn feed(&mut self, input: &mut impl Buf) -> Result<Option<Bytes>, TooLarge> {
        while self.length_read < LENGTH_BYTES {
            if !input.has_remaining() {
                return Ok(None);
            }
            self.length[self.length_read] = input.get_u8();
            self.length_read += 1;
        }
        let length = u32::from_be_bytes(self.length);
        let whole = length as usize;
        if whole > FRAME_BYTES_MAX {
            return Err(TooLarge { length });
        }
        while self.body.len() < whole {
            let take = input.remaining().min(whole - self.body.len());
            if take == 0 {
                return Ok(None);
            }
            if self.body.capacity() - self.body.len() < take {
                let grown = take.max(self.body.len()).max(BUFFER_BYTES_MIN);
                self.body.reserve(grown.min(whole - self.body.len()));
            }
            let chunk = &input.chunk()[..take.min(input.chunk().len())];
            let taken = chunk.len();
            self.body.extend_from_slice(chunk);
            input.advance(taken);
        }
        self.length_read = 0;
        Ok(Some(std::mem::take(&mut self.body).freeze()))
    }

    /// True between two frames: a stream may end here.
    pub(super) fn is_between_frames(&self) -> bool {
        self.length_read == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(bodies: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for body in bodies {
            bytes.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(body);
        }
        bytes
    }

    #[test]
    fn frames_come_back_however_the_bytes_are_cut() {
        let bodies: [&[u8]; 4] = [b"one", b"", b"three", &[7; 70_000]];
        let bytes = framed(&bodies);
        for step in [1, 2, 3, 5, 1000, bytes.len()] {
            let (mut decoder, mut seen) = (Decoder::default(), Vec::new());
            for chunk in bytes.chunks(step) {
                let mut chunk = chunk;
                while let Some(frame) = decoder.feed(&mut chunk).unwrap() {
                    seen.push(frame);
                }
            }
            assert_eq!(seen, bodies, "in steps of {step}");
            assert!(decoder.is_between_frames());
        }
    }

    #[test]
    fn a_length_over_the_limit_is_refused_and_one_that_lies_allocates_little() {
        let mut decoder = Decoder::default();
        let mut over = &(u32::try_from(FRAME_BYTES_MAX).unwrap() + 1).to_be_bytes()[..];
        assert!(decoder.feed(&mut over).is_err());

        let mut decoder = Decoder::default();
        let mut lying = framed(&[&[1; FRAME_BYTES_MAX]]);
        lying.truncate(100);
        assert_eq!(decoder.feed(&mut &lying[..]), Ok(None));
        assert!(decoder.body.capacity() <= BUFFER_BYTES_MIN);
        assert!(!decoder.is_between_frames());
    }
}
