//! Reading a certificate or a signing request: whose it is, until when, and its pin.
//!
//! Reading proves nothing by itself except that a request's signature is its own key's;
//! whether a certificate is ours is for [`Inspection::is_signed_by`] and the ledger.

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use engine::id::PeerId;

use crate::key::{PrivateKey, PublicKey, curl_pin};
use crate::moment::{Moment, Validity};
use crate::subject::{Host, Subject};
use crate::words::Words;

/// A file larger than this is not a certificate: ours are under 2 kB, and the largest
/// chains in the wild stay below 20 kB.
pub const INPUT_BYTES_MAX: usize = 64 * 1024;

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A certificate (PEM or DER).
    Certificate,
    /// A signing request (PEM or DER), whose signature was checked.
    Request,
}

/// What a certificate or a signing request says.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Certificate or request.
    pub form: Form,
    /// The node or portal, or `None` for a certificate that is not of Staffetta's making.
    pub subject: Option<Subject>,
    /// The subject's distinguished name, as text.
    pub subject_name: String,
    /// The issuer's distinguished name; a request has none.
    pub issuer_name: Option<String>,
    /// The serial number in hexadecimal; a request has none.
    pub serial: Option<String>,
    /// From when until when; a request has none.
    pub validity: Option<Validity>,
    /// Whether it may sign other certificates.
    pub is_authority: bool,
    /// The pin: SHA-256 of the SubjectPublicKeyInfo.
    pub peer: PeerId,
    spki: Vec<u8>,
    der: Vec<u8>,
}

/// Reads the first certificate or signing request in `bytes` (PEM or DER).
///
/// # Errors
/// [`ReadError`] when there is none, it is damaged, or a request is not signed by its key.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, ReadError> {
    if bytes.len() > INPUT_BYTES_MAX {
        return Err(ReadError::TooLarge);
    }
    if !bytes.windows(11).any(|window| window == b"-----BEGIN ") {
        // Not PEM: DER says what it is only by parsing.
        return read_certificate(bytes).or_else(|error| match read_request(bytes) {
            Err(ReadError::NotACertificate) => Err(error),
            other => other,
        });
    }
    for block in x509_parser::pem::Pem::iter_from_buffer(bytes) {
        let block = block.map_err(|_| ReadError::NotACertificate)?;
        match block.label.as_str() {
            "CERTIFICATE" => return read_certificate(&block.contents),
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => {
                return read_request(&block.contents);
            }
            _ => {}
        }
    }
    Err(ReadError::NotACertificate)
}

impl Inspection {
    /// The pin as words to be read over the phone.
    #[must_use]
    pub fn words(&self) -> Words {
        Words::of(&self.peer)
    }

    /// The pin as `curl --pinnedpubkey` takes it.
    #[must_use]
    pub fn curl_pin(&self) -> String {
        curl_pin(&self.peer)
    }

    /// Whether `key` is the private half of the key in here.
    #[must_use]
    pub fn belongs_to(&self, key: &PrivateKey) -> bool {
        key.peer() == self.peer
    }

    /// Whether `now` lies in the validity; a request is never valid.
    #[must_use]
    pub fn is_valid_at(&self, now: Moment) -> bool {
        self.validity.is_some_and(|validity| validity.holds_at(now))
    }

    /// Whether this certificate was signed by `authority`'s key and names it as issuer.
    #[must_use]
    pub fn is_signed_by(&self, authority: &Self) -> bool {
        let (Ok((_, cert)), Ok((_, issuer))) =
            (X509Certificate::from_der(&self.der), X509Certificate::from_der(&authority.der))
        else {
            return false;
        };
        authority.is_authority
            && cert.issuer().as_raw() == issuer.subject().as_raw()
            && cert.verify_signature(Some(issuer.public_key())).is_ok()
    }

    /// The public key.
    ///
    /// # Errors
    /// [`ReadError::Key`] when it is not ECDSA P-256.
    pub fn public_key(&self) -> Result<PublicKey, ReadError> {
        PublicKey::from_spki(&self.spki).map_err(ReadError::Key)
    }

    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }
}

fn read_certificate(der: &[u8]) -> Result<Inspection, ReadError> {
    let (rest, cert) = X509Certificate::from_der(der).map_err(|_| ReadError::NotACertificate)?;
    if !rest.is_empty() {
        return Err(ReadError::NotACertificate);
    }
    let names = cert
        .subject_alternative_name()
        .map_err(|_| ReadError::NotACertificate)?
        .map(|extension| extension.value.general_names.as_slice())
        .unwrap_or_default();
    let (before, after) = (cert.validity().not_before, cert.validity().not_after);
    Ok(Inspection {
        form: Form::Certificate,
        subject: subject_of(names),
        subject_name: cert.subject().to_string(),
        issuer_name: Some(cert.issuer().to_string()),
        serial: Some(hex(cert.raw_serial())),
        validity: Some(Validity {
            not_before: Moment::from_unix(before.timestamp()),
            not_after: Moment::from_unix(after.timestamp()),
        }),
        is_authority: cert.is_ca(),
        peer: PeerId::of_spki(cert.public_key().raw),
        spki: cert.public_key().raw.to_vec(),
        der: der.to_vec(),
    })
}

fn read_request(der: &[u8]) -> Result<Inspection, ReadError> {
    let (rest, request) =
        X509CertificationRequest::from_der(der).map_err(|_| ReadError::NotACertificate)?;
    if !rest.is_empty() {
        return Err(ReadError::NotACertificate);
    }
    // Proof that whoever asks holds the private key.
    request.verify_signature().map_err(|_| ReadError::RequestSignature)?;
    let info = &request.certification_request_info;
    let mut subject = None;
    for extension in request.requested_extensions().into_iter().flatten() {
        if let ParsedExtension::SubjectAlternativeName(names) = extension {
            subject = subject_of(&names.general_names);
        }
    }
    Ok(Inspection {
        form: Form::Request,
        subject,
        subject_name: info.subject.to_string(),
        issuer_name: None,
        serial: None,
        validity: None,
        is_authority: false,
        peer: PeerId::of_spki(info.subject_pki.raw),
        spki: info.subject_pki.raw.to_vec(),
        der: der.to_vec(),
    })
}

/// The subject that the alternative names stand for: exactly one URI, and hosts. Anything
/// else was not written by us.
fn subject_of(names: &[GeneralName<'_>]) -> Option<Subject> {
    let (mut urn, mut hosts) = (None, Vec::new());
    for name in names {
        match name {
            GeneralName::URI(uri) if urn.is_none() => urn = Some(*uri),
            GeneralName::DNSName(dns) => match Host::parse(dns).ok()? {
                host @ Host::Dns(_) => hosts.push(host),
                Host::Ip(_) => return None,
            },
            GeneralName::IPAddress(octets) => {
                let v4 = <[u8; 4]>::try_from(*octets).map(|octets| Host::Ip(octets.into()));
                let v6 = <[u8; 16]>::try_from(*octets).map(|octets| Host::Ip(octets.into()));
                hosts.push(v4.or(v6).ok()?);
            }
            _ => return None,
        }
    }
    Subject::from_urn(urn?, hosts)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Why something is not a certificate or a request we can read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Neither.
    #[error("it is neither a certificate nor a signing request, give a .cert or .csr file")]
    NotACertificate,
    /// Over [`INPUT_BYTES_MAX`].
    #[error("it is larger than 64 kB, give a .cert or .csr file")]
    TooLarge,
    /// The request was tampered with, or its maker has no such key.
    #[error("the request is not signed by its own key, ask for a new one")]
    RequestSignature,
    /// The key is of another kind.
    #[error("{0}")]
    Key(super::key::KeyError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_is_named_as_such() {
        let long = vec![0; INPUT_BYTES_MAX + 1];
        for (bytes, expected) in [
            (&b""[..], ReadError::NotACertificate),
            (b"\x30\x03\x02\x01\x01", ReadError::NotACertificate),
            (b"-----BEGIN CERTIFICATE-----\nAAAA\n", ReadError::NotACertificate),
            (
                b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                ReadError::NotACertificate,
            ),
            (
                b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
                ReadError::NotACertificate,
            ),
            (&long, ReadError::TooLarge),
        ] {
            assert_eq!(inspect(bytes).unwrap_err(), expected);
        }
    }
}
