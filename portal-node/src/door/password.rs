//! Passwords: Argon2id, and what a password must be.
//!
//! Hashing is slow on purpose, so it runs on threads of its own, a few at a time: a crowd that
//! guesses passwords waits in line and leaves the rest of the portal alone.

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version,
    password_hash::phc::PasswordHash as Phc,
};
use engine::document::account::PasswordHash;
use tokio::{sync::Semaphore, task::spawn_blocking};

/// OWASP password storage, Argon2id: 19 MiB, 2 passes, 1 lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
/// Hashes at a time: each takes 19 MiB and one core.
const AT_A_TIME: usize = 2;
/// Shortest password, in characters.
pub const CHARS_MIN: usize = 12;
/// Longest: a bound on what is hashed, far beyond what people type.
pub const CHARS_MAX: usize = 200;

/// Hashes and compares passwords.
pub struct Passwords {
    permits: Semaphore,
    /// The hash of something nobody can type: compared where there is no account, so that an
    /// answer takes as long as for one.
    nobody: PasswordHash,
}

/// A password cannot be hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the password cannot be hashed: try again later")]
pub struct HashError;

impl Passwords {
    /// Ready to hash.
    ///
    /// # Errors
    /// [`HashError`] without a random source.
    pub fn new() -> Result<Self, HashError> {
        Ok(Self { permits: Semaphore::new(AT_A_TIME), nobody: hash("\0 nobody")? })
    }

    /// The hash to keep of `password`.
    ///
    /// # Errors
    /// [`HashError`]
    pub async fn hash(&self, password: &str) -> Result<PasswordHash, HashError> {
        let password = password.to_owned();
        let _permit = self.permits.acquire().await.map_err(|_| HashError)?;
        spawn_blocking(move || hash(&password)).await.map_err(|_| HashError)?
    }

    /// Whether `password` is the one that `kept` was made of. Without `kept` it takes as long
    /// and is false.
    pub async fn is(&self, password: &str, kept: Option<&PasswordHash>) -> bool {
        let known = kept.filter(|kept| !kept.0.is_empty());
        let against = known.unwrap_or(&self.nobody).clone();
        let password: String = password.chars().take(CHARS_MAX + 1).collect();
        let Ok(_permit) = self.permits.acquire().await else { return false };
        let same = spawn_blocking(move || verify(&password, &against)).await;
        same.unwrap_or(false) && known.is_some()
    }
}

/// What is wrong with a new password, Italian and English.
#[must_use]
pub fn fault(user: &str, password: &str) -> Option<(&'static str, &'static str)> {
    let length = password.chars().count();
    if length < CHARS_MIN {
        return Some(("deve avere almeno 12 caratteri", "it needs at least 12 characters"));
    }
    if length > CHARS_MAX {
        return Some(("è troppo lunga", "it is too long"));
    }
    let lower = password.to_lowercase();
    if lower.contains(&user.to_lowercase()) {
        return Some(("non deve contenere il nome utente", "it must not contain the user name"));
    }
    let mut letters: Vec<char> = lower.chars().collect();
    letters.sort_unstable();
    letters.dedup();
    if letters.len() < 5 {
        return Some((
            "usa troppo pochi caratteri diversi",
            "it uses too few different characters",
        ));
    }
    None
}

fn argon2() -> Result<Argon2<'static>, HashError> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).map_err(|_| HashError)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &str) -> Result<PasswordHash, HashError> {
    let made = argon2()?.hash_password(password.as_bytes()).map_err(|_| HashError)?;
    Ok(PasswordHash(made.to_string()))
}

fn verify(password: &str, kept: &PasswordHash) -> bool {
    let Ok(kept) = Phc::new(&kept.0) else { return false };
    // The parameters are those in the text that is kept.
    argon2().is_ok_and(|argon2| argon2.verify_password(password.as_bytes(), &kept).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_itself_and_nobody_has_one() {
        let passwords = Passwords::new().unwrap();
        let kept = passwords.hash("cavallo batteria graffetta").await.unwrap();
        assert!(kept.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(passwords.is("cavallo batteria graffetta", Some(&kept)).await);
        assert!(!passwords.is("cavallo batteria graffett", Some(&kept)).await);
        assert!(!passwords.is("\0 nobody", None).await);
        assert!(!passwords.is("", Some(&PasswordHash::default())).await);
    }

    #[test]
    fn weak_passwords_are_named() {
        assert!(fault("rossi", "corta").is_some());
        assert!(fault("rossi", "MarioRossi-2026!").is_some());
        assert!(fault("rossi", "aaaaaaaaaaaaaaaa").is_some());
        assert_eq!(fault("rossi", "cavallo batteria graffetta"), None);
    }
}
