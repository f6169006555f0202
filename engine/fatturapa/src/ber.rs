//! ASN.1 values in BER, of which DER is a part: signed invoices come with indefinite lengths and
//! octet strings in pieces (X.690 section 8). Never trusts a length.

use std::borrow::Cow;

use crate::limits;

/// Why bytes are not ASN.1 that we read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BerError {
    #[error("the ASN.1 ends too early")]
    Short,
    #[error("the ASN.1 is not of the form expected here")]
    Shape,
    #[error("the ASN.1 is nested too deeply or has too many values")]
    Limit,
}

/// One value: its identifier octet, its contents, and all its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'b> {
    pub(crate) tag: u8,
    pub(crate) body: &'b [u8],
    pub(crate) whole: &'b [u8],
}

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;
const CONSTRUCTED: u8 = 0x20;

/// Reads values one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    pub(crate) const fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next value, whatever it is.
    pub(crate) fn next(&mut self) -> Result<Value<'b>, BerError> {
        let mut values = limits::BER_VALUES_MAX;
        let value = value(self.rest, 0, &mut values)?;
        self.rest = &self.rest[value.whole.len()..];
        Ok(value)
    }

    /// The next value if it has this identifier.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<Value<'b>>, BerError> {
        if self.rest.first() == Some(&tag) { self.next().map(Some) } else { Ok(None) }
    }

    /// The next value, which must have this identifier.
    pub(crate) fn expect(&mut self, tag: u8) -> Result<Value<'b>, BerError> {
        self.optional(tag)?.ok_or(BerError::Shape)
    }
}

impl<'b> Value<'b> {
    /// A reader over the values inside.
    pub(crate) const fn inside(&self) -> Reader<'b> {
        Reader::new(self.body)
    }

    /// Contents of an octet string, joined if it comes in pieces.
    pub(crate) fn octets(&self) -> Result<Cow<'b, [u8]>, BerError> {
        if self.tag & CONSTRUCTED == 0 {
            return Ok(Cow::Borrowed(self.body));
        }
        let mut out = Vec::new();
        self.join(&mut out, 0)?;
        Ok(Cow::Owned(out))
    }

    fn join(&self, out: &mut Vec<u8>, depth: usize) -> Result<(), BerError> {
        if depth > limits::BER_DEPTH_MAX {
            return Err(BerError::Limit);
        }
        let mut pieces = self.inside();
        while !pieces.is_empty() {
            let piece = pieces.next()?;
            match piece.tag {
                OCTET_STRING => out.extend_from_slice(piece.body),
                0x24 => piece.join(out, depth + 1)?,
                _ => return Err(BerError::Shape),
            }
        }
        Ok(())
    }

    /// The bytes as they are signed: DER of a `SET OF` when it stands as `[0]` in a SignerInfo.
    pub(crate) fn retagged(&self, tag: u8) -> Vec<u8> {
        let mut out = vec![tag];
        match self.body.len() {
            len @ 0..=0x7F => out.push(u8::try_from(len).unwrap_or_default()),
            len => {
                let bytes = len.to_be_bytes();
                let skip = bytes.iter().take_while(|b| **b == 0).count();
                out.push(0x80 | u8::try_from(bytes.len() - skip).unwrap_or_default());
                out.extend_from_slice(&bytes[skip..]);
            }
        }
        out.extend_from_slice(self.body);
        out
    }
}

fn value<'b>(bytes: &'b [u8], depth: usize, values: &mut usize) -> Result<Value<'b>, BerError> {
    if depth > limits::BER_DEPTH_MAX || *values == 0 {
        return Err(BerError::Limit);
    }
    *values -= 1;
    let [tag, length, rest @ ..] = bytes else { return Err(BerError::Short) };
    if tag & 0x1F == 0x1F {
        return Err(BerError::Shape);
    }
    if *length == 0x80 {
        if tag & CONSTRUCTED == 0 {
            return Err(BerError::Shape);
        }
        let mut at = 0;
        loop {
            match rest.get(at..) {
                Some([0, 0, ..]) => {
                    let whole = &bytes[..2 + at + 2];
                    return Ok(Value { tag: *tag, body: &rest[..at], whole });
                }
                Some(inner) => at += value(inner, depth + 1, values)?.whole.len(),
                None => return Err(BerError::Short),
            }
        }
    }
    let (length, header) = if *length < 0x80 {
        (usize::from(*length), 2)
    } else {
        let count = usize::from(length & 0x7F);
        if count > 4 {
            return Err(BerError::Limit);
        }
        let digits = rest.get(..count).ok_or(BerError::Short)?;
        (digits.iter().fold(0, |sum, b| sum << 8 | usize::from(*b)), 2 + count)
    };
    let end = header.checked_add(length).ok_or(BerError::Limit)?;
    let whole = bytes.get(..end).ok_or(BerError::Short)?;
    Ok(Value { tag: *tag, body: &whole[header..], whole })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indefinite_lengths_and_pieces_are_joined() {
        let bytes = [0x24, 0x80, 4, 1, b'a', 0x24, 3, 4, 1, b'b', 4, 1, b'c', 0, 0, 9];
        let mut reader = Reader::new(&bytes);
        assert_eq!(&*reader.next().unwrap().octets().unwrap(), b"abc");
        assert!(reader.next().is_err());
        let deep = [0x30, 0x80].repeat(100_000);
        assert_eq!(Reader::new(&deep).next().unwrap_err(), BerError::Limit);
        let many = [&[0x30, 0x80][..], &[5, 0].repeat(200_000)].concat();
        assert_eq!(Reader::new(&many).next().unwrap_err(), BerError::Limit);
        assert_eq!(Reader::new(&[4, 0x85, 1, 1, 1, 1, 1]).next().unwrap_err(), BerError::Limit);
    }
}
