//! A SCRAM-SHA-256 verifier (RFC 5802, 7677): tells whether a password, or a proof of one, is
//! right, and holds nothing by which one could log in elsewhere.
//!
//! Passwords are printable ASCII, for which SASLprep changes nothing.

use std::{fmt, num::NonZeroU32};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    digest, hmac, pbkdf2,
    rand::{SecureRandom, SystemRandom},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Rounds of PBKDF2: four times PostgreSQL's own, and some 10 ms of a client's time.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(16_384).expect("not zero");
/// Rounds a file may ask for: what a login may cost at most.
const ITERATIONS_MAX: u32 = 1_000_000;
const SALT_BYTES: usize = 16;

/// What is kept of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    iterations: NonZeroU32,
    salt: [u8; SALT_BYTES],
    stored_key: [u8; 32],
    server_key: [u8; 32],
}

/// No verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifierError {
    /// Not `SCRAM-SHA-256$rounds:salt$key:key`.
    #[error("that is no SCRAM-SHA-256 verifier: add the user again")]
    Malformed,
    /// The system's random numbers.
    #[error("the system has no random numbers: try again")]
    Random,
}

impl Verifier {
    /// A verifier of `password`, with a salt of its own.
    ///
    /// # Errors
    /// [`VerifierError::Random`]
    pub fn of(password: &str) -> Result<Self, VerifierError> {
        let mut salt = [0; SALT_BYTES];
        SystemRandom::new().fill(&mut salt).map_err(|_| VerifierError::Random)?;
        Ok(Self::derive(password, salt, ITERATIONS))
    }

    /// One that no password satisfies, made from `seed`.
    pub(super) fn decoy(seed: &[u8]) -> Self {
        let mut salt = [0; SALT_BYTES];
        salt.copy_from_slice(&digest::digest(&digest::SHA256, seed).as_ref()[..SALT_BYTES]);
        // No key hashes to zeros.
        Self { iterations: ITERATIONS, salt, stored_key: [0; 32], server_key: [0; 32] }
    }

    /// Rounds of PBKDF2.
    #[must_use]
    pub fn iterations(&self) -> u32 {
        self.iterations.get()
    }

    /// The salt.
    #[must_use]
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// Whether this is the password. Slow on purpose.
    #[must_use]
    pub fn is_of(&self, password: &str) -> bool {
        let other = Self::derive(password, self.salt, self.iterations);
        same(&other.stored_key, &self.stored_key)
    }

    /// What the server answers to `proof` over `message` (RFC 5802 section 3), if it proves that
    /// the client has the password.
    #[must_use]
    pub fn answer(&self, message: &[u8], proof: &[u8]) -> Option<[u8; 32]> {
        let signature = mac(&self.stored_key, message);
        let proof = <[u8; 32]>::try_from(proof).ok()?;
        let mut client_key = [0; 32];
        for (n, byte) in client_key.iter_mut().enumerate() {
            *byte = proof[n] ^ signature[n];
        }
        same(&hash(&client_key), &self.stored_key).then(|| mac(&self.server_key, message))
    }

    fn derive(password: &str, salt: [u8; SALT_BYTES], iterations: NonZeroU32) -> Self {
        let mut salted = [0; 32];
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(algorithm, iterations, &salt, password.as_bytes(), &mut salted);
        let stored_key = hash(&mac(&salted, b"Client Key"));
        Self { iterations, salt, stored_key, server_key: mac(&salted, b"Server Key") }
    }

    fn parse(text: &str) -> Option<Self> {
        let (rounds, rest) = text.strip_prefix("SCRAM-SHA-256$")?.split_once(':')?;
        let (salt, keys) = rest.split_once('$')?;
        let (stored, server) = keys.split_once(':')?;
        let iterations = NonZeroU32::new(rounds.parse().ok()?)?;
        let bytes = |text: &str| STANDARD.decode(text).ok();
        Some(Self {
            iterations: (iterations.get() <= ITERATIONS_MAX).then_some(iterations)?,
            salt: bytes(salt)?.try_into().ok()?,
            stored_key: bytes(stored)?.try_into().ok()?,
            server_key: bytes(server)?.try_into().ok()?,
        })
    }

    fn text(&self) -> String {
        format!(
            "SCRAM-SHA-256${}:{}${}:{}",
            self.iterations,
            STANDARD.encode(self.salt),
            STANDARD.encode(self.stored_key),
            STANDARD.encode(self.server_key)
        )
    }
}

fn mac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    out.copy_from_slice(hmac::sign(&key, message).as_ref());
    out
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// Takes the same time wherever they differ.
fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(..)")
    }
}

impl Serialize for Verifier {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text())
    }
}

impl<'de> Deserialize<'de> for Verifier {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom(VerifierError::Malformed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677, section 3: user `user`, password `pencil`.
    #[test]
    fn the_example_of_the_standard() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap().try_into().unwrap();
        let verifier = Verifier::derive("pencil", salt, NonZeroU32::new(4096).unwrap());
        let message = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let proof = STANDARD.decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap();
        let answer = verifier.answer(message.as_bytes(), &proof).unwrap();
        assert_eq!(STANDARD.encode(answer), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        assert!(verifier.is_of("pencil") && !verifier.is_of("pencils"));
        for at in 0..32 {
            let mut wrong = proof.clone();
            wrong[at] ^= 1;
            assert_eq!(verifier.answer(message.as_bytes(), &wrong), None);
        }
        assert_eq!(verifier.answer(message.as_bytes(), &proof[..31]), None);
        assert_eq!(Verifier::decoy(b"x").answer(message.as_bytes(), &proof), None);
    }

    #[test]
    fn it_is_written_as_postgresql_writes_it_and_read_back() {
        let verifier = Verifier::of("pencil case").unwrap();
        assert_eq!(Verifier::parse(&verifier.text()), Some(verifier.clone()));
        let text = verifier.text();
        for wrong in [
            "",
            "md5abc",
            &text[..text.len() - 4],
            &text.replacen("16384", "0", 1),
            &text.replacen("16384", "4000000000", 1),
            &text.replace("256$", "1$"),
        ] {
            assert_eq!(Verifier::parse(wrong), None, "{wrong}");
        }
    }
}
