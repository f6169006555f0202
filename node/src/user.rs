//! Who may read the mirror from the LAN: names, each with one P.IVA and a verifier of its password.
//!
//! The passwords are not here and cannot be had from what is: the file holds SCRAM-SHA-256
//! verifiers (RFC 5802), written as PostgreSQL writes them. One verifier serves SQL, where the
//! password never travels, and HTTP, where it travels inside TLS; a second hash of the same
//! password for HTTP would not make the first harder to guess.
//!
//! A user sees one tenant, always. The file is read again whenever it changes, so a user removed
//! is refused at the next request and not at the next start. Nothing here listens or speaks TLS.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use engine::id::VatNumber;
use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::private;

pub use self::verifier::{Verifier, VerifierError};

pub mod command;
mod verifier;

/// Longest file of users read: some 250 bytes each.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Longest name: PostgreSQL's own limit, which its drivers know.
const NAME_CHARS_MAX: usize = 63;
/// Shortest password: what somebody who holds the file could try in a year is far below.
const PASSWORD_CHARS_MIN: usize = 10;
/// Longest password.
const PASSWORD_CHARS_MAX: usize = 128;
/// Passwords remembered as right, so that a client need not wait for the slow hash every time.
const REMEMBERED_MAX: usize = 64;

/// One user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// What it is called. Unique on this node.
    pub name: String,
    /// The one tenant it sees.
    #[serde(serialize_with = "vat_to_text", deserialize_with = "vat_from_text")]
    pub vat: VatNumber,
    /// What tells whether a password is its own.
    pub password: Verifier,
}

fn vat_to_text<S: Serializer>(vat: &VatNumber, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(vat)
}

fn vat_from_text<'de, D: Deserializer<'de>>(from: D) -> Result<VatNumber, D::Error> {
    VatNumber::parse(&String::deserialize(from)?).map_err(de::Error::custom)
}

/// The users of one node, as its file has them now.
pub struct Users {
    path: PathBuf,
    read: Mutex<Option<(Stamp, Arc<Vec<User>>)>>,
    /// Drawn at start. Keys the remembered passwords, and the salts of names that do not exist.
    secret: hmac::Key,
    remembered: Mutex<BTreeMap<String, (Verifier, hmac::Tag)>>,
}

/// Tells one state of the file from another.
type Stamp = (Option<SystemTime>, u64);

impl Users {
    /// The users of the node whose data folder is `data`. No file means no users.
    ///
    /// # Errors
    /// [`UserError::Random`] when the system has no random numbers.
    pub fn open(data: &Path) -> Result<Self, UserError> {
        let secret = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| UserError::Random)?;
        Ok(Self {
            path: data.join("users.json"),
            read: Mutex::default(),
            secret,
            remembered: Mutex::default(),
        })
    }

    /// Every user, by name.
    ///
    /// # Errors
    /// [`UserError`] when the file cannot be read; then nobody is admitted.
    pub fn list(&self) -> Result<Arc<Vec<User>>, UserError> {
        let stamp = match fs::metadata(&self.path) {
            Ok(metadata) => (metadata.modified().ok(), metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Arc::default()),
            Err(error) => return Err(self.unreadable(error)),
        };
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((before, users)) = &*read
            && *before == stamp
        {
            return Ok(Arc::clone(users));
        }
        let users = Arc::new(self.parse()?);
        *read = Some((stamp, Arc::clone(&users)));
        Ok(users)
    }

    /// The user of this name.
    ///
    /// # Errors
    /// As [`Users::list`].
    pub fn find(&self, name: &str) -> Result<Option<User>, UserError> {
        Ok(self.list()?.iter().find(|user| user.name == name).cloned())
    }

    /// The verifier of this name; of a name that does not exist, one that no password satisfies
    /// and that is always the same, so that asking does not tell which names exist.
    ///
    /// # Errors
    /// As [`Users::list`].
    pub fn verifier(&self, name: &str) -> Result<Verifier, UserError> {
        let known = self.find(name)?.map(|user| user.password);
        Ok(known.unwrap_or_else(|| {
            let digest = hmac::sign(&self.secret, name.as_bytes());
            Verifier::decoy(digest.as_ref())
        }))
    }

    /// The user of this name if that is its password. Takes as long for a name that does not
    /// exist; one that was right before is known again at once.
    ///
    /// # Errors
    /// As [`Users::list`].
    pub fn admit(&self, name: &str, password: &str) -> Result<Option<User>, UserError> {
        let user = self.find(name)?;
        let mark = hmac::sign(&self.secret, password.as_bytes());
        if let Some(user) = &user {
            let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((verifier, before)) = remembered.get(name)
                && *verifier == user.password
                && before.as_ref() == mark.as_ref()
            {
                return Ok(Some(user.clone()));
            }
        }
        let admitted = self.verifier(name)?.is_of(password);
        let Some(user) = user.filter(|_| admitted) else { return Ok(None) };
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(user.name.clone(), (user.password.clone(), mark));
        Ok(Some(user))
    }

    /// Adds a user.
    ///
    /// # Errors
    /// [`UserError`]: the name is taken, or name or password are not what they may be.
    pub fn add(&self, name: &str, vat: VatNumber, password: &str) -> Result<(), UserError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(plain) {
            return Err(UserError::Name { name: name.chars().take(NAME_CHARS_MAX).collect() });
        }
        let length = password.chars().count();
        let printable = password.chars().all(|c| c.is_ascii_graphic() || c == ' ');
        if !printable || !(PASSWORD_CHARS_MIN..=PASSWORD_CHARS_MAX).contains(&length) {
            return Err(UserError::Password);
        }
        let mut users = self.list()?.to_vec();
        if users.iter().any(|user| user.name == name) {
            return Err(UserError::Taken { name: name.to_owned() });
        }
        let password = Verifier::of(password).map_err(|_| UserError::Random)?;
        users.push(User { name: name.to_owned(), vat, password });
        users.sort_by(|a, b| a.name.cmp(&b.name));
        self.write(&users)
    }

    /// Removes a user.
    ///
    /// # Errors
    /// [`UserError::Unknown`], or the file cannot be written.
    pub fn remove(&self, name: &str) -> Result<(), UserError> {
        let mut users = self.list()?.to_vec();
        let before = users.len();
        users.retain(|user| user.name != name);
        if users.len() == before {
            return Err(UserError::Unknown { name: name.to_owned() });
        }
        self.write(&users)
    }

    fn parse(&self) -> Result<Vec<User>, UserError> {
        let file = fs::File::open(&self.path).map_err(|error| self.unreadable(error))?;
        let mut text = Vec::new();
        file.take(FILE_BYTES_MAX).read_to_end(&mut text).map_err(|error| self.unreadable(error))?;
        serde_json::from_slice(&text).map_err(|error| self.unreadable(error))
    }

    fn write(&self, users: &[User]) -> Result<(), UserError> {
        let text = serde_json::to_vec_pretty(users).map_err(|error| self.unreadable(error))?;
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if let Some(folder) = self.path.parent() {
            private::folder(folder).map_err(|error| self.unreadable(error))?;
        }
        private::write(&self.path, &text).map_err(|error| self.unreadable(error))
    }

    fn unreadable(&self, why: impl fmt::Display) -> UserError {
        UserError::File { path: self.path.display().to_string(), why: why.to_string() }
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A password nobody has to think of: 26 letters and digits, 130 bits.
///
/// # Errors
/// [`UserError::Random`]
pub fn new_password() -> Result<String, UserError> {
    // Crockford's alphabet: nothing that reads as something else.
    const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut bytes = [0; 26];
    SystemRandom::new().fill(&mut bytes).map_err(|_| UserError::Random)?;
    Ok(bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect())
}

/// Why a user is not added, removed or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// Not a name.
    #[error("{name:?} is no user name: use up to 63 of a-z, 0-9, '.', '_' and '-'")]
    Name {
        /// What was given.
        name: String,
    },
    /// Not a password.
    #[error("that is no password: use 10 to 128 printable characters without accents")]
    Password,
    /// There is one of this name.
    #[error("there is a user {name} already: remove it first, or choose another name")]
    Taken {
        /// The name.
        name: String,
    },
    /// There is none of this name.
    #[error("there is no user {name}: `staffetta-node user list` shows who there is")]
    Unknown {
        /// The name.
        name: String,
    },
    /// No P.IVA to see.
    #[error("{why}")]
    Tenant {
        /// What is wrong, and the cure.
        why: String,
    },
    /// The file of users.
    #[error("the users in {path} cannot be used: {why}")]
    File {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The system's random numbers.
    #[error("the system has no random numbers: try again")]
    Random,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vat() -> VatNumber {
        VatNumber::parse("02038490237").unwrap()
    }

    #[test]
    fn a_user_is_admitted_by_its_password_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let users = Users::open(dir.path()).unwrap();
        assert_eq!(users.admit("erp", "a fine password").unwrap(), None);
        users.add("erp", vat(), "a fine password").unwrap();
        for _ in 0..2 {
            assert_eq!(users.admit("erp", "a fine password").unwrap().unwrap().vat, vat());
            assert_eq!(users.admit("erp", "a fine passwore").unwrap(), None);
        }
        // Another handle, as the command line has one.
        let other = Users::open(dir.path()).unwrap();
        assert!(matches!(
            other.add("erp", vat(), "another password"),
            Err(UserError::Taken { .. })
        ));
        other.remove("erp").unwrap();
        assert_eq!(users.admit("erp", "a fine password").unwrap(), None);
        other.add("erp", vat(), "another password").unwrap();
        assert_eq!(users.admit("erp", "a fine password").unwrap(), None);
        assert!(users.admit("erp", "another password").unwrap().is_some());
    }

    #[test]
    fn the_file_is_private_and_holds_no_password() {
        let dir = tempfile::tempdir().unwrap();
        let users = Users::open(dir.path()).unwrap();
        users.add("erp", vat(), "a fine password").unwrap();
        let path = dir.path().join("users.json");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("SCRAM-SHA-256$") && !text.contains("fine"), "{text}");
        assert!(!format!("{:?}", users.find("erp")).contains("SCRAM"), "kept out of Debug");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn nonsense_is_refused_and_a_damaged_file_admits_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let users = Users::open(dir.path()).unwrap();
        for name in ["", "Erp", "a b", "x'; drop", &"a".repeat(64)] {
            let error = users.add(name, vat(), "a fine password").unwrap_err();
            assert!(matches!(error, UserError::Name { .. }), "{name}: {error}");
        }
        for password in ["", "short", "perché no, dunque", &"a".repeat(129)] {
            assert_eq!(users.add("erp", vat(), password), Err(UserError::Password));
        }
        assert!(matches!(users.remove("erp"), Err(UserError::Unknown { .. })));
        fs::write(dir.path().join("users.json"), "[{}]").unwrap();
        assert!(matches!(users.admit("erp", "a fine password"), Err(UserError::File { .. })));
    }

    #[test]
    fn a_name_that_does_not_exist_has_a_verifier_that_stays_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let users = Users::open(dir.path()).unwrap();
        let decoy = users.verifier("nobody").unwrap();
        assert_eq!(users.verifier("nobody").unwrap(), decoy);
        assert_ne!(users.verifier("nobody2").unwrap().salt(), decoy.salt());
        assert_eq!(new_password().unwrap().len(), 26);
    }
}
