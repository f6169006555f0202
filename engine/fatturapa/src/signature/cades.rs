//! CAdES: the CMS envelope of a .p7m (RFC 5652 section 5).

use super::{Form, Signature, Trust};
use crate::ber::{BerError, OCTET_STRING, OID, Reader, SEQUENCE, SET, Value};
use crate::certificate::{Certificate, Hash, time};

const MESSAGE_DIGEST: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 9, 4];
const SIGNING_TIME: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 9, 5];

/// Verifies the signatures of an envelope in binary form over its content.
///
/// An envelope that cannot be read gives one signature with the fault 00102.
#[must_use]
pub fn cades(cms: &[u8], content: &[u8], trust: Trust<'_>, received_at: i64) -> Vec<Signature> {
    match read(cms, content, trust, received_at) {
        Ok(signatures) if !signatures.is_empty() => signatures,
        result => {
            let mut signature = Signature::new(Form::Cades);
            let why =
                result.err().map_or_else(|| "non c'è nessuna firma".to_owned(), |e| e.to_string());
            signature.fault("00102", format!("La busta non si può verificare ({why})."));
            vec![signature]
        }
    }
}

fn read(
    cms: &[u8],
    content: &[u8],
    trust: Trust<'_>,
    received_at: i64,
) -> Result<Vec<Signature>, BerError> {
    let mut outer = Reader::new(cms).expect(SEQUENCE)?.inside();
    outer.expect(OID)?;
    let mut signed = outer.expect(0xA0)?.inside().expect(SEQUENCE)?.inside();
    signed.next()?;
    signed.next()?;
    signed.expect(SEQUENCE)?;
    let mut certificates = Vec::new();
    if let Some(set) = signed.optional(0xA0)? {
        let mut set = set.inside();
        while !set.is_empty() {
            let value = set.next()?;
            if let Ok(certificate) = Certificate::parse(value.whole) {
                certificates.push(certificate);
            }
        }
    }
    signed.optional(0xA1)?;
    let mut infos = signed.expect(SET)?.inside();
    let mut signatures = Vec::new();
    while !infos.is_empty() {
        let info = infos.expect(SEQUENCE)?;
        signatures.push(signer(info, content, &certificates, trust, received_at)?);
    }
    Ok(signatures)
}

fn signer(
    info: Value<'_>,
    content: &[u8],
    certificates: &[Certificate<'_>],
    trust: Trust<'_>,
    received_at: i64,
) -> Result<Signature, BerError> {
    let mut fields = info.inside();
    fields.next()?;
    let id = fields.next()?;
    let digest = Hash::of_oid(fields.expect(SEQUENCE)?.inside().expect(OID)?.body);
    let attributes = fields.optional(0xA0)?;
    let algorithm = fields.expect(SEQUENCE)?.inside().expect(OID)?.body;
    let value = fields.next()?;
    if value.tag & 0x1F != OCTET_STRING {
        return Err(BerError::Shape);
    }
    let value = value.octets()?;
    let mut signature = Signature::new(Form::Cades);
    let certificate = if id.tag == SEQUENCE {
        let mut id = id.inside();
        let (issuer, serial) = (id.expect(SEQUENCE)?.whole, id.next()?.body);
        let exact = certificates.iter().find(|c| c.issuer == issuer && c.serial == serial);
        // Some programs repeat the name with another string type: the serial number, and then the
        // signature itself, tell the certificate as surely.
        exact.or_else(|| certificates.iter().find(|c| c.serial == serial))
    } else {
        // Named by key identifier: the leaf is the one that issued none of the others.
        certificates.iter().find(|c| !certificates.iter().any(|other| other.issuer == c.subject))
    };
    let Some(certificate) = certificate else {
        signature.fault("00107", "Nella busta manca il certificato del firmatario.");
        return Ok(signature);
    };
    let Some(digest) = digest else {
        signature.fault("00102", "L'algoritmo di impronta non è fra quelli ammessi.");
        return Ok(signature);
    };
    let signed = match attributes {
        None => content.to_vec(),
        Some(attributes) => {
            let mut stated = None;
            let mut list = attributes.inside();
            while !list.is_empty() {
                let mut attribute = list.expect(SEQUENCE)?.inside();
                let oid = attribute.expect(OID)?.body;
                let values = attribute.expect(SET)?;
                if oid == MESSAGE_DIGEST {
                    stated = Some(values.inside().next()?.body);
                } else if oid == SIGNING_TIME {
                    signature.signed_at = Some(time(values.inside().next()?)?);
                }
            }
            if stated != Some(digest.digest(content).as_ref()) {
                signature.fault("00102", "Il contenuto è stato modificato dopo la firma.");
            }
            attributes.retagged(SET)
        }
    };
    let hash = Hash::of_oid(algorithm).unwrap_or(digest);
    if !certificate.verifies(hash, &signed, &value, false) {
        signature.fault("00102", "La firma non corrisponde al certificato.");
    }
    signature.is_intact = signature.faults.is_empty();
    signature.judge(certificate, certificates, trust, received_at);
    Ok(signature)
}
