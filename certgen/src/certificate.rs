//! What our certificates say, for an authority and for an end entity.
//!
//! Two types, so that neither can be made in the other's place: only a
//! [`SigningAuthority`] signs, and it signs only [`EndEntity`] certificates. Every field
//! that has a default in rcgen is set here: its default validity is 1975 to 4096.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyUsagePurpose, SanType, SerialNumber, date_time_ymd,
};

use crate::inspect::{Inspection, ReadError, inspect};
use crate::key::{KeyError, PrivateKey, PublicKey, random};
use crate::moment::{Moment, Validity};
use crate::subject::{Host, Subject};

/// An authority outlives the certificates it signs (825 days) by far; ten years is also
/// how long invoices must be kept.
const AUTHORITY_DAYS: u16 = 3_650;

/// OID of organizationIdentifier (ETSI EN 319 412-1 section 5.1.4: `VATIT-` and the number).
const ORGANIZATION_IDENTIFIER: &[u64] = &[2, 5, 4, 97];

/// The authority's key together with its certificate: what signs.
#[derive(Debug)]
pub(crate) struct SigningAuthority {
    key: PrivateKey,
    pem: String,
    inspection: Inspection,
}

impl SigningAuthority {
    /// Makes the self-signed certificate of `key`.
    pub(crate) fn create(key: PrivateKey, now: Moment) -> Result<Self, CertificateError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Staffetta");
        // The name carries the start of the pin: two authorities with one name confuse
        // every program that looks an issuer up by name.
        let pin = key.peer().to_string();
        let name = format!("Staffetta authority {}", &pin[..8]);
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(new_serial()?);
        set_validity(&mut params, Validity::starting(now, AUTHORITY_DAYS));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(key.as_rcgen())?;
        Self::from_parts(key, certificate.pem())
    }

    /// Puts a stored key and its stored certificate together.
    pub(crate) fn from_parts(key: PrivateKey, pem: String) -> Result<Self, CertificateError> {
        let inspection = inspect(pem.as_bytes())?;
        if !inspection.is_authority || !inspection.belongs_to(&key) {
            return Err(CertificateError::WrongAuthority);
        }
        Ok(Self { key, pem, inspection })
    }

    /// Signs the certificate of `public`.
    pub(crate) fn sign(
        &self,
        entity: &EndEntity,
        public: &PublicKey,
    ) -> Result<String, CertificateError> {
        let der = self.inspection.der().into();
        let issuer = Issuer::from_ca_cert_der(&der, self.key.as_rcgen())?;
        Ok(entity.0.signed_by(public.as_rcgen(), &issuer)?.pem())
    }

    /// The certificate in PEM.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// What the certificate says.
    pub(crate) fn inspection(&self) -> &Inspection {
        &self.inspection
    }
}

/// What the certificate of a node or portal says, before it is signed.
pub(crate) struct EndEntity(CertificateParams);

impl EndEntity {
    /// A certificate for `subject`, good for TLS in both roles: a node dials out, but
    /// also answers its ERP; a portal answers, but also dials the other portal.
    pub(crate) fn new(subject: &Subject, validity: Validity) -> Result<Self, CertificateError> {
        let mut params = named(subject)?;
        params.serial_number = Some(new_serial()?);
        set_validity(&mut params, validity);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        Ok(Self(params))
    }
}

/// Writes a signing request for `subject`, signed by `key`, in PEM. It carries the names
/// and nothing else: validity and usages are the authority's to decide.
pub(crate) fn request_pem(subject: &Subject, key: &PrivateKey) -> Result<String, CertificateError> {
    Ok(named(subject)?.serialize_request(key.as_rcgen())?.pem()?)
}

fn named(subject: &Subject) -> Result<CertificateParams, CertificateError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject.stem());
    if let Subject::Node(tenant) = subject {
        let identifier = DnType::CustomDnType(ORGANIZATION_IDENTIFIER.to_vec());
        params.distinguished_name.push(identifier, format!("VATIT-{tenant}"));
    }
    params.subject_alt_names.push(SanType::URI(subject.urn().try_into()?));
    for host in subject.hosts() {
        params.subject_alt_names.push(match host {
            Host::Dns(name) => SanType::DnsName(name.as_str().try_into()?),
            Host::Ip(address) => SanType::IpAddress(*address),
        });
    }
    Ok(params)
}

/// 16 random bytes with the first two bits 01: positive and never short in DER, with 126
/// random bits (RFC 5280 section 4.1.2.2 allows 20 bytes).
fn new_serial() -> Result<SerialNumber, KeyError> {
    let mut bytes: [u8; 16] = random()?;
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn set_validity(params: &mut CertificateParams, validity: Validity) {
    let epoch = date_time_ymd(1970, 1, 1);
    let since =
        |moment: Moment| Duration::from_secs(u64::try_from(moment.as_unix()).unwrap_or_default());
    params.not_before = epoch + since(validity.not_before);
    params.not_after = epoch + since(validity.not_after);
}

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The stored authority is not one, or its key is another's.
    #[error("ca.cert is not the certificate of ca.key, restore both from a backup")]
    WrongAuthority,
    /// The stored certificate is unreadable.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A key is of the wrong kind, or none could be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The encoder refused; a fault of ours.
    #[error("the certificate could not be encoded: {0}")]
    Encode(#[from] rcgen::Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::PortalName;

    const NOW: Moment = Moment::from_unix(1_795_508_046);

    #[test]
    fn an_end_entity_says_who_until_when_and_by_whom() {
        let authority = SigningAuthority::create(PrivateKey::generate().unwrap(), NOW).unwrap();
        let hosts = ["portal.example.it", "192.0.2.7", "2001:db8::1"];
        let subject = Subject::Portal {
            name: PortalName::parse("portal-a").unwrap(),
            hosts: hosts.iter().map(|host| Host::parse(host).unwrap()).collect(),
        };
        let key = PrivateKey::generate().unwrap();
        let validity = Validity::starting(NOW, 825);
        let entity = EndEntity::new(&subject, validity).unwrap();
        let pem = authority.sign(&entity, &key.public()).unwrap();

        let read = inspect(pem.as_bytes()).unwrap();
        assert_eq!(read.subject, Some(subject));
        assert_eq!(read.validity, Some(validity));
        assert!(!read.is_authority && read.belongs_to(&key));
        assert_eq!(read.serial.as_ref().map(String::len), Some(32));
        assert!(read.is_signed_by(authority.inspection()));

        let stranger = SigningAuthority::create(PrivateKey::generate().unwrap(), NOW).unwrap();
        assert!(!read.is_signed_by(stranger.inspection()));
    }

    #[test]
    fn an_end_entity_cannot_be_loaded_as_an_authority() {
        let authority = SigningAuthority::create(PrivateKey::generate().unwrap(), NOW).unwrap();
        let subject = Subject::Portal { name: PortalName::parse("a").unwrap(), hosts: Vec::new() };
        let key = PrivateKey::generate().unwrap();
        let entity = EndEntity::new(&subject, Validity::starting(NOW, 825)).unwrap();
        let pem = authority.sign(&entity, &key.public()).unwrap();
        assert!(matches!(
            SigningAuthority::from_parts(key, pem),
            Err(CertificateError::WrongAuthority)
        ));
    }

    #[test]
    fn an_authority_needs_its_own_key() {
        let authority = SigningAuthority::create(PrivateKey::generate().unwrap(), NOW).unwrap();
        let other = PrivateKey::generate().unwrap();
        assert!(SigningAuthority::from_parts(other, authority.pem().to_owned()).is_err());
    }
}
