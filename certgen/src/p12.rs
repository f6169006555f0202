//! PKCS#12 files: key, certificate and authority in one file under a password, the form
//! in which Windows and Firefox import an identity.
//!
//! PBES2 with AES-256 and a SHA-256 MAC, which Windows 10 1709, Windows Server 2019,
//! NSS and OpenSSL 1.1 and later read; [`Strength::Legacy`] is 3DES with a SHA-1 MAC, for
//! older Windows only. The crate underneath does not wipe its own copies of the key.

use p12_keystore::{
    Certificate, EncryptionAlgorithm, KeyStore, KeyStoreEntry, MacAlgorithm, PrivateKeyChain,
};

use crate::inspect::{ReadError, inspect};
use crate::key::{KeyError, PrivateKey, Secret, random};

/// A generated password has 100 bits and needs no stretching; a chosen one does. About
/// 0.1 s per import; NSS accepts up to 600,000.
const ITERATIONS: u32 = 100_000;

/// 32 letters and digits that are not mistaken for one another when typed from paper.
const PASSWORD_ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Which algorithms protect the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strength {
    /// AES-256, SHA-256.
    #[default]
    Current,
    /// 3DES, SHA-1.
    Legacy,
}

/// The password of a PKCS#12 file: 1 to 127 printable ASCII characters. Programs disagree
/// on how others are encoded, and a password that opens the file in only some is a trap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Password(Secret);

impl Password {
    /// Draws one of 20 letters and digits (100 bits).
    ///
    /// # Errors
    /// [`KeyError::Random`] when the system gives no random bytes.
    pub fn generate() -> Result<Self, KeyError> {
        let bytes: [u8; 20] = random()?;
        let letters = bytes.iter().map(|byte| PASSWORD_ALPHABET[usize::from(byte % 32)]);
        Ok(Self(Secret::new(letters.collect())))
    }

    /// Takes the content of a password file; one line end at its end does not count.
    ///
    /// # Errors
    /// [`P12Error::Password`] when it is empty, too long or not printable ASCII.
    pub fn from_file(bytes: &[u8]) -> Result<Self, P12Error> {
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let is_printable = bytes.iter().all(|byte| (0x20..0x7f).contains(byte));
        if bytes.is_empty() || bytes.len() > 127 || !is_printable {
            return Err(P12Error::Password);
        }
        Ok(Self(Secret::new(bytes.to_vec())))
    }

    /// The characters, for the password file.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

/// Packs `key` and its certificate (PEM or DER), named `name`, with the authority's.
///
/// # Errors
/// [`P12Error::OtherKey`] when the certificate belongs to another key; others when a
/// certificate is unreadable.
pub fn pack(
    name: &str,
    key: &PrivateKey,
    cert: &[u8],
    authority: Option<&[u8]>,
    password: &Password,
    strength: Strength,
) -> Result<Secret, P12Error> {
    let cert = inspect(cert)?;
    if !cert.belongs_to(key) {
        return Err(P12Error::OtherKey);
    }
    let encode = |error: p12_keystore::error::Error| P12Error::Encode(error.to_string());
    let mut chain = vec![Certificate::from_der(cert.der()).map_err(encode)?];
    if let Some(authority) = authority {
        chain.push(Certificate::from_der(inspect(authority)?.der()).map_err(encode)?);
    }
    let key = p12_keystore::PrivateKey::from_der(key.as_der()).map_err(encode)?;
    // The id that ties key and certificate together inside the file.
    let id = cert.peer.as_bytes()[..20].to_vec();
    let mut store = KeyStore::new();
    store.add_entry(name, KeyStoreEntry::PrivateKeyChain(PrivateKeyChain::new(id, key, chain)));
    let (encryption, mac) = match strength {
        Strength::Current => {
            (EncryptionAlgorithm::PbeWithHmacSha256AndAes256, MacAlgorithm::HmacSha256)
        }
        Strength::Legacy => {
            (EncryptionAlgorithm::PbeWithShaAnd3KeyTripleDesCbc, MacAlgorithm::HmacSha1)
        }
    };
    let password = std::str::from_utf8(password.expose()).map_err(|_| P12Error::Password)?;
    store
        .writer(password)
        .encryption_algorithm(encryption)
        .encryption_iterations(ITERATIONS)
        .mac_algorithm(mac)
        .mac_iterations(ITERATIONS)
        .write()
        .map(Secret::new)
        .map_err(encode)
}

/// Why a PKCS#12 file could not be made.
#[derive(Debug, thiserror::Error)]
pub enum P12Error {
    /// The password does not travel between programs.
    #[error("the password must be one line of 1 to 127 printable ASCII characters")]
    Password,
    /// Key and certificate do not belong together.
    #[error("the certificate belongs to another key, give the .key it was made with")]
    OtherKey,
    /// A certificate is unreadable.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A key is unreadable, or no random bytes.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The encoder refused; a fault of ours.
    #[error("the PKCS#12 file could not be encoded: {0}")]
    Encode(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_file_is_one_printable_line() {
        let long = [b'a'; 128];
        for (bytes, expected) in [
            (&b"secret\n"[..], Some(&b"secret"[..])),
            (b"secret\r\n", Some(b"secret")),
            (b"two words", Some(b"two words")),
            (b"", None),
            (b"\n", None),
            (b"a\nb\n", None),
            ("perché".as_bytes(), None),
            (&long, None),
        ] {
            let found = Password::from_file(bytes).ok();
            assert_eq!(found.as_ref().map(Password::expose), expected);
        }
    }

    #[test]
    fn generated_passwords_differ_and_never_show() {
        let (one, two) = (Password::generate().unwrap(), Password::generate().unwrap());
        assert_ne!(one, two);
        assert_eq!(one.expose().len(), 20);
        assert_eq!(format!("{one:?}"), "Password(Secret(..))");
    }
}
