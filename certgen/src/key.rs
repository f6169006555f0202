//! Private and public keys: ECDSA on P-256, the one kind every part of Staffetta, Windows
//! and the browsers' NSS accept (NSS refuses to import an Ed25519 key).
//!
//! A private key exists as a [`PrivateKey`] in memory and as PKCS#8 text in a [`Secret`]
//! on its way to a file. Neither shows in `Debug` and both are wiped when dropped.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rcgen::PublicKeyData as _;
use zeroize::{Zeroize as _, Zeroizing};

use engine::id::PeerId;

/// Bytes that must not be seen: a key, a password, a bundle of both. `Debug` hides them
/// and they are wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes themselves, for the file or the handshake that needs them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A P-256 private key.
pub struct PrivateKey(rcgen::KeyPair);

impl PrivateKey {
    /// Makes a new key from the system's random source.
    ///
    /// # Errors
    /// [`KeyError::Random`] when the system gives no random bytes.
    pub fn generate() -> Result<Self, KeyError> {
        rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
            .map(Self)
            .map_err(|_| KeyError::Random)
    }

    /// Reads the first PKCS#8 `PRIVATE KEY` block of a PEM text.
    ///
    /// # Errors
    /// [`KeyError::Private`] when there is none, or it is not an ECDSA P-256 key.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let block = x509_parser::pem::Pem::iter_from_buffer(pem)
            .flatten()
            .find(|block| block.label == "PRIVATE KEY")
            .ok_or(KeyError::Private)?;
        let der = Zeroizing::new(block.contents);
        let pair = rcgen::KeyPair::try_from(der.as_slice()).map_err(|_| KeyError::Private)?;
        // Wrapped before the check, so that a key of another kind is wiped too.
        let key = Self(pair);
        if key.0.is_compatible(&rcgen::PKCS_ECDSA_P256_SHA256) {
            Ok(key)
        } else {
            Err(KeyError::Private)
        }
    }

    /// The key as a PEM text (PKCS#8), the content of a `.key` file.
    #[must_use]
    pub fn to_pem(&self) -> Secret {
        let body = Zeroizing::new(BASE64.encode(self.0.serialized_der()));
        // Room for all of it at once: a vector that grows leaves unwiped copies behind.
        let mut pem = Vec::with_capacity(body.len() + body.len() / 64 + 64);
        pem.extend_from_slice(b"-----BEGIN PRIVATE KEY-----\n");
        for line in body.as_bytes().chunks(64) {
            pem.extend_from_slice(line);
            pem.push(b'\n');
        }
        pem.extend_from_slice(b"-----END PRIVATE KEY-----\n");
        Secret::new(pem)
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey::from_spki(&self.0.subject_public_key_info())
            .expect("a P-256 key pair has a P-256 public key")
    }

    /// The name of the peer that holds this key.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        PeerId::of_spki(&self.0.subject_public_key_info())
    }

    pub(crate) fn as_rcgen(&self) -> &rcgen::KeyPair {
        &self.0
    }

    pub(crate) fn as_der(&self) -> &[u8] {
        self.0.serialized_der()
    }
}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({:?})", self.peer())
    }
}

/// A P-256 public key, uncompressed, exactly as it stands in a certificate.
#[derive(Clone)]
pub struct PublicKey {
    spki: Vec<u8>,
    parsed: rcgen::SubjectPublicKeyInfo,
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo in DER.
    ///
    /// # Errors
    /// [`KeyError::Public`] when it is not an uncompressed P-256 key in its one DER form.
    pub fn from_spki(spki: &[u8]) -> Result<Self, KeyError> {
        let parsed = rcgen::SubjectPublicKeyInfo::from_der(spki).map_err(|_| KeyError::Public)?;
        // The curve is read from the key itself: a signing request names only the
        // signature's algorithm, and a P-384 key may sign with SHA-256 as well. Another
        // encoding of the same key would be another pin, so only one is taken.
        let is_p256 = parsed.algorithm() == &rcgen::PKCS_ECDSA_P256_SHA256;
        let is_whole = parsed.der_bytes().len() == 65 && parsed.der_bytes()[0] == 4;
        if is_p256 && is_whole && parsed.subject_public_key_info() == spki {
            Ok(Self { spki: spki.to_vec(), parsed })
        } else {
            Err(KeyError::Public)
        }
    }

    /// The SubjectPublicKeyInfo in DER: what the pin is the SHA-256 of.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The name of the peer that holds the private half.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        PeerId::of_spki(&self.spki)
    }

    pub(crate) fn as_rcgen(&self) -> &rcgen::SubjectPublicKeyInfo {
        &self.parsed
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({:?})", self.peer())
    }
}

/// The pin in the form `curl --pinnedpubkey` takes: `sha256//` and base64.
#[must_use]
pub fn curl_pin(peer: &PeerId) -> String {
    format!("sha256//{}", BASE64.encode(peer.as_bytes()))
}

/// `N` bytes from the system's random source.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut bytes = [0; N];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)
        .map_err(|_| KeyError::Random)?;
    Ok(bytes)
}

/// What is wrong with a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a private key we take.
    #[error(
        "it is not an ECDSA P-256 private key in PKCS#8 PEM, give the .key file that \
         certgen wrote (or convert yours with openssl pkcs8 -topk8 -nocrypt)"
    )]
    Private,
    /// Not a public key we take.
    #[error("its key is not ECDSA P-256, make one with `staffetta-certgen request`")]
    Public,
    /// No entropy.
    #[error("the system gave no random bytes, try again")]
    Random,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_from_its_file_and_never_shows() {
        let key = PrivateKey::generate().unwrap();
        let pem = key.to_pem();
        let again = PrivateKey::from_pem(pem.expose()).unwrap();
        assert_eq!(again.peer(), key.peer());
        assert_eq!(again.public().peer(), key.peer());
        assert_eq!(format!("{pem:?}"), "Secret(..)");
        assert_eq!(format!("{key:?}"), format!("PrivateKey({:?})", key.peer()));
    }

    #[test]
    fn only_p256_keys_are_taken() {
        for other in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P384_SHA384] {
            let pair = rcgen::KeyPair::generate_for(other).unwrap();
            assert_eq!(
                PrivateKey::from_pem(pair.serialize_pem().as_bytes()).unwrap_err(),
                KeyError::Private
            );
            let spki = pair.subject_public_key_info();
            assert_eq!(PublicKey::from_spki(&spki).unwrap_err(), KeyError::Public);
        }
        assert_eq!(PrivateKey::from_pem(b"nothing").unwrap_err(), KeyError::Private);
    }

    #[test]
    fn a_public_key_followed_by_anything_is_another_pin_and_refused() {
        let mut spki = PrivateKey::generate().unwrap().public().spki().to_vec();
        spki.push(0);
        assert_eq!(PublicKey::from_spki(&spki).unwrap_err(), KeyError::Public);
    }
}
