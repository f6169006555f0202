//! What a file is wrapped in: plain XML, or a CMS envelope (.p7m) as DER, BER or base64. The bytes of
//! the file are what was signed and sent; what comes out of here is only a view of them.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::ber::{BerError, OCTET_STRING, OID, Reader, SEQUENCE};
use crate::limits;

/// id-signedData, 1.2.840.113549.1.7.2.
const SIGNED_DATA: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x07, 0x02];

/// base64 as found in files: padding optional, white space removed before.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A file without its wrapping.
#[derive(Clone, Debug)]
pub struct Opened<'b> {
    /// The XML inside.
    pub content: Cow<'b, [u8]>,
    /// The CMS envelope in binary form, when there is one.
    pub cms: Option<Cow<'b, [u8]>>,
}

/// Why a file could not be unwrapped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Nothing there.
    #[error("the file is empty; send the whole file")]
    Empty,
    /// Larger than anything we open.
    #[error("the file has {size} bytes, more than the {max} that are opened")]
    TooLarge {
        /// Size found.
        size: usize,
        /// The bound.
        max: usize,
    },
    /// A zip archive.
    #[error("the file is a zip archive; open it and give the invoices inside one by one")]
    Archive,
    /// Neither XML nor a CMS envelope, or a damaged one.
    #[error("the file is neither XML nor a signed envelope that can be opened ({why})")]
    Corrupt {
        /// What is wrong with it.
        why: String,
    },
}

impl From<BerError> for EnvelopeError {
    fn from(error: BerError) -> Self {
        Self::Corrupt { why: error.to_string() }
    }
}

/// Unwraps a file, telling what it is by its bytes, never by its name.
///
/// # Errors
/// [`EnvelopeError`] says what the file is instead.
pub fn open(bytes: &[u8]) -> Result<Opened<'_>, EnvelopeError> {
    if bytes.len() > limits::OPEN_BYTES_MAX {
        let (size, max) = (bytes.len(), limits::OPEN_BYTES_MAX);
        return Err(EnvelopeError::TooLarge { size, max });
    }
    let start = bytes.iter().position(|b| !b.is_ascii_whitespace()).ok_or(EnvelopeError::Empty)?;
    match &bytes[start..] {
        [b'<', ..] | [0xEF, 0xBB, 0xBF, ..] | [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => {
            Ok(Opened { content: Cow::Borrowed(bytes), cms: None })
        }
        [b'P', b'K', 3 | 5, ..] => Err(EnvelopeError::Archive),
        [SEQUENCE, ..] if bytes.len() > 2 => {
            let content = content(&bytes[start..])?;
            Ok(Opened { content, cms: Some(Cow::Borrowed(&bytes[start..])) })
        }
        _ => {
            let cms = from_base64(bytes)
                .ok_or_else(|| EnvelopeError::Corrupt { why: "no known beginning".to_owned() })?;
            if cms.first() == Some(&b'<') {
                return Ok(Opened { content: Cow::Owned(cms), cms: None });
            }
            let content = content(&cms)?.into_owned();
            Ok(Opened { content: Cow::Owned(content), cms: Some(Cow::Owned(cms)) })
        }
    }
}

/// Decodes base64 with any line ends, with or without PEM lines.
pub(crate) fn from_base64(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut compact = Vec::with_capacity(bytes.len());
    for line in bytes.split(|b| *b == b'\n') {
        if !line.starts_with(b"-----") {
            compact.extend(line.iter().copied().filter(|b| !b.is_ascii_whitespace()));
        }
    }
    if compact.is_empty() { None } else { BASE64.decode(&compact).ok() }
}

/// The encapsulated content of a SignedData (RFC 5652 section 5.1).
fn content(cms: &[u8]) -> Result<Cow<'_, [u8]>, EnvelopeError> {
    let mut outer = Reader::new(cms).expect(SEQUENCE)?.inside();
    if outer.expect(OID)?.body != SIGNED_DATA {
        return Err(EnvelopeError::Corrupt { why: "the envelope is not SignedData".to_owned() });
    }
    let mut signed = outer.expect(0xA0)?.inside().expect(SEQUENCE)?.inside();
    signed.next()?;
    signed.next()?;
    let mut encapsulated = signed.expect(SEQUENCE)?.inside();
    encapsulated.expect(OID)?;
    let Some(explicit) = encapsulated.optional(0xA0)? else {
        let why = "the signature is detached: the invoice is not inside".to_owned();
        return Err(EnvelopeError::Corrupt { why });
    };
    let octets = explicit.inside().next()?;
    if octets.tag & 0x1F != OCTET_STRING {
        return Err(BerError::Shape.into());
    }
    let content = octets.octets()?;
    // Some programs sign twice: the envelope inside is opened as well, once.
    if content.first() == Some(&SEQUENCE) && content.len() > 2 {
        return Ok(Cow::Owned(inner(&content)?));
    }
    Ok(content)
}

fn inner(cms: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    let mut outer = Reader::new(cms).expect(SEQUENCE)?.inside();
    outer.expect(OID)?;
    let mut signed = outer.expect(0xA0)?.inside().expect(SEQUENCE)?.inside();
    signed.next()?;
    signed.next()?;
    let mut encapsulated = signed.expect(SEQUENCE)?.inside();
    encapsulated.expect(OID)?;
    Ok(encapsulated.expect(0xA0)?.inside().next()?.octets()?.into_owned())
}
