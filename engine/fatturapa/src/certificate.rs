//! X.509 certificates of signers: only what a finding about a signature needs (RFC 5280 section 4.1).
//! Never decides trust: the signature module does, with the caller's list.

use ring::signature;

use crate::ber::{
    BIT_STRING, BerError, GENERALIZED_TIME, INTEGER, OID, Reader, SEQUENCE, UTC_TIME, Value,
};

/// A certificate, borrowed from its DER.
#[derive(Clone, Debug)]
pub(crate) struct Certificate<'b> {
    pub(crate) whole: &'b [u8],
    tbs: &'b [u8],
    algorithm: &'b [u8],
    signature: &'b [u8],
    pub(crate) serial: &'b [u8],
    pub(crate) issuer: &'b [u8],
    pub(crate) subject: &'b [u8],
    /// First and last second of validity, since 1970-01-01 UTC.
    pub(crate) validity: (i64, i64),
    key: Key<'b>,
}

#[derive(Clone, Copy, Debug)]
enum Key<'b> {
    Rsa(&'b [u8]),
    P256(&'b [u8]),
    P384(&'b [u8]),
    Unknown,
}

/// Hash named by an algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    pub(crate) fn digest(self, bytes: &[u8]) -> ring::digest::Digest {
        let algorithm = match self {
            Self::Sha1 => &ring::digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &ring::digest::SHA256,
            Self::Sha384 => &ring::digest::SHA384,
            Self::Sha512 => &ring::digest::SHA512,
        };
        ring::digest::digest(algorithm, bytes)
    }

    /// From the OID of a digest or signature algorithm.
    pub(crate) fn of_oid(oid: &[u8]) -> Option<Self> {
        Some(match oid {
            [0x2B, 0x0E, 3, 2, 0x1A] => Self::Sha1,
            [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1] => Self::Sha256,
            [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2] => Self::Sha384,
            [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3] => Self::Sha512,
            [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 5] => Self::Sha1,
            [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 11] => Self::Sha256,
            [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 12] => Self::Sha384,
            [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 13] => Self::Sha512,
            [0x2A, 0x86, 0x48, 0xCE, 0x3D, 4, 3, 2] => Self::Sha256,
            [0x2A, 0x86, 0x48, 0xCE, 0x3D, 4, 3, 3] => Self::Sha384,
            _ => return None,
        })
    }
}

impl<'b> Certificate<'b> {
    pub(crate) fn parse(der: &'b [u8]) -> Result<Self, BerError> {
        let whole = Reader::new(der).expect(SEQUENCE)?;
        let mut outer = whole.inside();
        let tbs = outer.expect(SEQUENCE)?;
        let algorithm = outer.expect(SEQUENCE)?.inside().expect(OID)?.body;
        let signature = bits(outer.expect(BIT_STRING)?)?;
        let mut fields = tbs.inside();
        fields.optional(0xA0)?;
        let serial = fields.expect(INTEGER)?.body;
        fields.expect(SEQUENCE)?;
        let issuer = fields.expect(SEQUENCE)?.whole;
        let mut validity = fields.expect(SEQUENCE)?.inside();
        let validity = (time(validity.next()?)?, time(validity.next()?)?);
        let subject = fields.expect(SEQUENCE)?.whole;
        let mut spki = fields.expect(SEQUENCE)?.inside();
        let mut kind = spki.expect(SEQUENCE)?.inside();
        let kind = (kind.expect(OID)?.body, kind.optional(OID)?.map(|curve| curve.body));
        let key = bits(spki.expect(BIT_STRING)?)?;
        let key = match kind {
            ([0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 1], _) => Key::Rsa(key),
            (_, Some([0x2A, 0x86, 0x48, 0xCE, 0x3D, 3, 1, 7])) => Key::P256(key),
            (_, Some([0x2B, 0x81, 4, 0, 0x22])) => Key::P384(key),
            _ => Key::Unknown,
        };
        let whole = whole.whole;
        Ok(Self {
            whole,
            tbs: tbs.whole,
            algorithm,
            signature,
            serial,
            issuer,
            subject,
            validity,
            key,
        })
    }

    /// Verifies a signature with the key of this certificate. `is_fixed` is true for the XML form of
    /// ECDSA, two numbers side by side; CMS and X.509 use ASN.1.
    pub(crate) fn verifies(
        &self,
        hash: Hash,
        message: &[u8],
        signed: &[u8],
        is_fixed: bool,
    ) -> bool {
        let (algorithm, key): (&dyn signature::VerificationAlgorithm, _) =
            match (self.key, hash, is_fixed) {
                (Key::Rsa(key), Hash::Sha1, _) => {
                    (&signature::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, key)
                }
                (Key::Rsa(key), Hash::Sha256, _) => {
                    (&signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, key)
                }
                (Key::Rsa(key), Hash::Sha384, _) => (&signature::RSA_PKCS1_2048_8192_SHA384, key),
                (Key::Rsa(key), Hash::Sha512, _) => {
                    (&signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY, key)
                }
                (Key::P256(key), Hash::Sha256, true) => (&signature::ECDSA_P256_SHA256_FIXED, key),
                (Key::P256(key), Hash::Sha256, false) => (&signature::ECDSA_P256_SHA256_ASN1, key),
                (Key::P384(key), Hash::Sha384, true) => (&signature::ECDSA_P384_SHA384_FIXED, key),
                (Key::P384(key), Hash::Sha384, false) => (&signature::ECDSA_P384_SHA384_ASN1, key),
                _ => return false,
            };
        signature::UnparsedPublicKey::new(algorithm, key).verify(message, signed).is_ok()
    }

    /// True when `issuer` signed this certificate.
    pub(crate) fn is_issued_by(&self, issuer: &Certificate<'_>) -> bool {
        self.issuer == issuer.subject
            && Hash::of_oid(self.algorithm)
                .is_some_and(|hash| issuer.verifies(hash, self.tbs, self.signature, false))
    }

    /// The common name of the subject, else its last attribute.
    pub(crate) fn name(&self) -> String {
        name_of(self.subject)
    }

    /// The common name of the issuer.
    pub(crate) fn issuer_name(&self) -> String {
        name_of(self.issuer)
    }
}

fn name_of(name: &[u8]) -> String {
    let mut last = String::new();
    let Ok(sets) = Reader::new(name).next() else { return last };
    let mut sets = sets.inside();
    while let Ok(set) = sets.next() {
        let Ok(pair) = set.inside().next() else { continue };
        let mut pair = pair.inside();
        if let (Ok(oid), Ok(value)) = (pair.next(), pair.next()) {
            let text = String::from_utf8_lossy(value.body).trim().to_owned();
            if oid.body == [0x55, 4, 3] {
                return text;
            }
            last = text;
        }
    }
    last
}

fn bits<'b>(value: Value<'b>) -> Result<&'b [u8], BerError> {
    match value.body {
        [0, rest @ ..] => Ok(rest),
        _ => Err(BerError::Shape),
    }
}

/// UTCTime or GeneralizedTime in seconds since 1970-01-01 UTC.
pub(crate) fn time(value: Value<'_>) -> Result<i64, BerError> {
    let text = std::str::from_utf8(value.body).map_err(|_| BerError::Shape)?;
    let digits = text.trim_end_matches('Z');
    let (year, rest) = match value.tag {
        UTC_TIME => {
            let year: i32 = digits.get(..2).and_then(|y| y.parse().ok()).ok_or(BerError::Shape)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, digits.get(2..))
        }
        GENERALIZED_TIME => {
            let year = digits.get(..4).and_then(|y| y.parse().ok()).ok_or(BerError::Shape)?;
            (year, digits.get(4..))
        }
        _ => return Err(BerError::Shape),
    };
    let rest = rest.ok_or(BerError::Shape)?;
    let two = |at: usize| rest.get(at..at + 2).and_then(|part| part.parse::<u8>().ok());
    let (Some(month), Some(day), Some(hour), Some(minute)) = (two(0), two(2), two(4), two(6))
    else {
        return Err(BerError::Shape);
    };
    let second = two(8).unwrap_or(0);
    let date = crate::date::Date::new(year, month, day).ok_or(BerError::Shape)?;
    Ok(date.days() * 86_400 + i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second))
}
