//! Who we are: one certificate and its private key, read once and found whole.
//!
//! An [`Identity`] is valid by construction: the key is P-256, belongs to the certificate, and the
//! certificate had not expired when it was loaded. The private key is never printed, and nothing
//! here writes or makes keys: `certgen` does.

use std::{fmt, fs, io::Read, path::Path, sync::Arc};

use engine::id::{PeerId, VatNumber};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject},
    sign::{CertifiedKey, SingleCertAndKey},
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::{pin, tls, unix_seconds};

/// Longest certificate or key file: a chain of a few P-256 certificates takes under 4 KiB.
const PEM_BYTES_MAX: u64 = 64 * 1024;

/// Before the P.IVA in a certificate's alternative names.
const TENANT_URN: &str = "urn:staffetta:tenant:";

/// A certificate and its private key, which belong together. Cheap to clone.
#[derive(Clone)]
pub struct Identity {
    inner: Arc<Inner>,
}

struct Inner {
    peer: PeerId,
    spki: Vec<u8>,
    not_after: u64,
    tenant: Option<VatNumber>,
    signer: EcdsaKeyPair,
    random: SystemRandom,
    certified: Arc<SingleCertAndKey>,
}

impl Identity {
    /// Reads a PEM certificate (chain, leaf first) and a PEM PKCS#8 key.
    ///
    /// # Errors
    /// [`IdentityError`], one sentence that names the file and the cure.
    pub fn load(cert_path: &Path, key_path: &Path) -> Result<Self, IdentityError> {
        let (cert, key) = (cert_path.display().to_string(), key_path.display().to_string());
        let cert_pem = read_bounded(cert_path, &cert)?;
        refuse_key_others_can_read(key_path, &key)?;
        let key_pem = read_bounded(key_path, &key)?;
        Self::parse(&cert_pem, &cert, &key_pem, &key)
    }

    /// The same from PEM texts at hand, as tests have them.
    ///
    /// # Errors
    /// [`IdentityError`], as for [`Self::load`].
    pub fn from_pem(cert: &str, key: &str) -> Result<Self, IdentityError> {
        Self::parse(cert.as_bytes(), "the certificate given", key.as_bytes(), "the key given")
    }

    /// Our own name: what others must have in their pin sets.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.inner.peer
    }

    /// Our SubjectPublicKeyInfo in DER, as a log's origin carries it.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.inner.spki
    }

    /// When the certificate expires, in seconds since 1970.
    #[must_use]
    pub fn not_after(&self) -> u64 {
        self.inner.not_after
    }

    /// The P.IVA the certificate was issued for, if it names one.
    #[must_use]
    pub fn tenant(&self) -> Option<VatNumber> {
        self.inner.tenant
    }

    /// Signs `message` with ECDSA P-256 / SHA-256; the signature is `r || s`, 32 bytes each.
    ///
    /// # Panics
    /// When the system's random source fails, without which no handshake works either.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature = self
            .inner
            .signer
            .sign(&self.inner.random, message)
            .expect("signing fails only without a random source, and then TLS is gone too");
        let mut fixed = [0; 64];
        fixed.copy_from_slice(signature.as_ref());
        fixed
    }

    /// What rustls presents, in either role.
    pub(super) fn certified(&self) -> Arc<SingleCertAndKey> {
        Arc::clone(&self.inner.certified)
    }

    fn parse(
        cert_pem: &[u8],
        cert: &str,
        key_pem: &[u8],
        key: &str,
    ) -> Result<Self, IdentityError> {
        let ReadCertificate { chain, spki, not_after, not_after_text, tenant } =
            read_certificate(cert_pem, cert)?;

        let private = PrivatePkcs8KeyDer::from_pem_slice(key_pem).map_err(|_| {
            let sec1 = contains(key_pem, b"BEGIN EC PRIVATE KEY");
            let cure = if sec1 { SEC1_CURE } else { KEY_CURE };
            IdentityError::NotAKey { file: key.into(), cure }
        })?;
        let random = SystemRandom::new();
        let signer = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            private.secret_pkcs8_der(),
            &random,
        )
        .map_err(|_| IdentityError::NotP256 { file: key.into() })?;
        if signer.public_key().as_ref() != pin::p256_point(&spki) {
            return Err(IdentityError::Mismatch { key: key.into(), cert: cert.into() });
        }
        if not_after <= unix_seconds() {
            return Err(IdentityError::Expired { file: cert.into(), date: not_after_text });
        }

        let peer = PeerId::of_spki(&spki);
        let key_der = PrivateKeyDer::Pkcs8(private.clone_key());
        let tls_key = tls::provider()
            .key_provider
            .load_private_key(key_der)
            .map_err(|_| IdentityError::NotP256 { file: key.into() })?;
        let certified = Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, tls_key)));
        let inner = Inner { peer, spki, not_after, tenant, signer, random, certified };
        Ok(Self { inner: Arc::new(inner) })
    }
}

/// What a portal needs of a customer's certificate to admit it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// SubjectPublicKeyInfo (DER).
    pub spki: Vec<u8>,
    /// Second since 1970 at which it ends.
    pub not_after: u64,
    /// The P.IVA it was issued for, if it names one as `staffetta-certgen` writes it.
    pub tenant: Option<VatNumber>,
}

/// Reads a certificate (PEM) that is to be admitted.
///
/// # Errors
/// [`IdentityError`] when it is not an ECDSA P-256 certificate or has ended; `file` names it there.
pub fn certificate(cert_pem: &[u8], file: &str) -> Result<Certificate, IdentityError> {
    let ReadCertificate { spki, not_after, not_after_text, tenant, .. } =
        read_certificate(cert_pem, file)?;
    if not_after <= unix_seconds() {
        return Err(IdentityError::Expired { file: file.into(), date: not_after_text });
    }
    Ok(Certificate { spki, not_after, tenant })
}

struct ReadCertificate {
    chain: Vec<CertificateDer<'static>>,
    spki: Vec<u8>,
    not_after: u64,
    not_after_text: String,
    tenant: Option<VatNumber>,
}

fn read_certificate(cert_pem: &[u8], cert: &str) -> Result<ReadCertificate, IdentityError> {
    let not_a_certificate =
        || IdentityError::NotACertificate { file: cert.into(), cure: CERT_CURE };
    let chain = CertificateDer::pem_slice_iter(cert_pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| not_a_certificate())?;
    let leaf = chain.first().ok_or_else(not_a_certificate)?;
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| not_a_certificate())?;
    let spki = pin::p256_spki(leaf).map_err(|_| IdentityError::NotP256 { file: cert.into() })?;
    let end = parsed.validity().not_after;
    let not_after = u64::try_from(end.timestamp()).unwrap_or_default();
    let not_after_text = end.to_string();
    let tenant = named_tenant(&parsed);
    Ok(ReadCertificate { chain, spki, not_after, not_after_text, tenant })
}

/// The P.IVA in the certificate's names, which grants nothing: it only catches mistaken files.
fn named_tenant(certificate: &X509Certificate<'_>) -> Option<VatNumber> {
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(urn) => VatNumber::parse(urn.strip_prefix(TENANT_URN)?).ok(),
        _ => None,
    })
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("peer", &self.inner.peer)
            .field("not_after", &self.inner.not_after)
            .finish_non_exhaustive()
    }
}

/// Why a certificate and key do not make an identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// A file is missing, a directory, too large, or ours to list but not to read.
    #[error("cannot read {file}: {why}")]
    Unreadable {
        /// The file.
        file: String,
        /// What the system said.
        why: String,
    },
    /// Group or others may read the private key.
    #[error("the key in {file} can be read by others (mode {mode:03o}): run chmod 600 {file}")]
    Exposed {
        /// The key file.
        file: String,
        /// Its permission bits.
        mode: u32,
    },
    /// The file holds no readable certificate.
    #[error("{file} holds no certificate this program can read: {cure}")]
    NotACertificate {
        /// The certificate file.
        file: String,
        /// What to do.
        cure: &'static str,
    },
    /// The file holds no readable PKCS#8 key.
    #[error("{file} holds no private key this program can read: {cure}")]
    NotAKey {
        /// The key file.
        file: String,
        /// What to do.
        cure: &'static str,
    },
    /// A key of another kind: RSA, Ed25519, another curve.
    #[error(
        "the key in {file} is not ECDSA P-256, the only kind in use here: make one with staffetta-certgen"
    )]
    NotP256 {
        /// The file.
        file: String,
    },
    /// Both are fine alone and do not belong together.
    #[error("the key in {key} does not belong to the certificate in {cert}")]
    Mismatch {
        /// The key file.
        key: String,
        /// The certificate file.
        cert: String,
    },
    /// Portals would refuse it.
    #[error("the certificate in {file} expired on {date}: renew it with staffetta-certgen")]
    Expired {
        /// The certificate file.
        file: String,
        /// The date it ended.
        date: String,
    },
}

const CERT_CURE: &str = "it must be PEM, beginning with -----BEGIN CERTIFICATE-----";
const KEY_CURE: &str = "it must be PEM PKCS#8, beginning with -----BEGIN PRIVATE KEY-----";
const SEC1_CURE: &str =
    "it is in the older SEC1 form, convert it with openssl pkcs8 -topk8 -nocrypt";

fn read_bounded(path: &Path, name: &str) -> Result<Vec<u8>, IdentityError> {
    let unreadable = |why: String| IdentityError::Unreadable { file: name.into(), why };
    let file = fs::File::open(path).map_err(|error| unreadable(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(PEM_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(error.to_string()))?;
    if bytes.len() as u64 > PEM_BYTES_MAX {
        return Err(unreadable(format!("longer than {PEM_BYTES_MAX} bytes, so not a PEM file")));
    }
    Ok(bytes)
}

#[cfg(unix)]
fn refuse_key_others_can_read(path: &Path, name: &str) -> Result<(), IdentityError> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = fs::metadata(path)
        .map_err(|error| IdentityError::Unreadable { file: name.into(), why: error.to_string() })?;
    let mode = metadata.permissions().mode() & 0o777;
    if metadata.is_file() && mode & 0o077 != 0 {
        return Err(IdentityError::Exposed { file: name.into(), mode });
    }
    Ok(())
}

/// Elsewhere a file's readers are a matter of access lists, which the installer sets.
#[cfg(not(unix))]
fn refuse_key_others_can_read(_: &Path, _: &str) -> Result<(), IdentityError> {
    Ok(())
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
