//! A person who may enter through the portal's door: password, and what for whom.
//!
//! It stands in the office, which only portals hold. The password is kept as the text that
//! Argon2id makes of it; of a one-time link only the hash of its secret is kept.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{DocumentError, Edit, Fields, Scalar, author, step::Step};
use crate::id::{LogId, VatNumber};

/// What a person may do for one P.IVA, or for the office.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AccountRole {
    /// Reads the invoices.
    Reader,
    /// Sends invoices too.
    Operator,
    /// Everything of the customer: profile, contract, signature.
    Owner,
    /// In the office: every customer's admission, certificates and users.
    Administrator,
}

impl AccountRole {
    /// All roles with the words they are stored as.
    pub const WORDS: [(Self, &'static str); 4] = [
        (Self::Reader, "reader"),
        (Self::Operator, "operator"),
        (Self::Owner, "owner"),
        (Self::Administrator, "administrator"),
    ];

    /// The word it is stored as.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(role, _)| *role == self).map_or("", |(_, word)| word)
    }

    /// The role that a word means.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(_, known)| *known == word).map(|(role, _)| *role)
    }
}

/// A password as Argon2id left it (PHC string). Not shown by `Debug`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordHash(pub String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

/// A secret that counts once: its SHA-256, until when, and what it is for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneTime {
    /// SHA-256 of the secret.
    pub hash: [u8; 32],
    /// Until when, milliseconds since 1970.
    pub until_ms: u64,
    /// What it is about: nothing for a link, the file to be signed for a code.
    pub about: Vec<u8>,
}

impl fmt::Debug for OneTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneTime").field("until_ms", &self.until_ms).finish_non_exhaustive()
    }
}

impl OneTime {
    pub(crate) fn edit<'a>(key: &'a str, of: Option<&Self>) -> Result<Edit<'a>, DocumentError> {
        let Some(of) = of else { return Ok(Edit::new(key, Scalar::Null)) };
        let bytes = postcard::to_stdvec(of).map_err(|_| DocumentError::Field("one-time secret"))?;
        Ok(Edit::new(key, Scalar::Bytes(bytes.into())))
    }

    pub(crate) fn read(fields: &Fields<'_>, key: &str) -> Option<Self> {
        let Some(Scalar::Bytes(bytes)) = fields.value(key) else { return None };
        postcard::from_bytes(bytes).ok()
    }
}

/// One thing to write into an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountEdit {
    /// What the person enters as user name. The document is named by it.
    User(String),
    /// Name and surname.
    Name(String),
    /// Where the person is written to.
    Email(String),
    /// `it` or `en`.
    Language(String),
    /// The password.
    Password(PasswordHash),
    /// The link by which the person sets a password, or that there is none.
    Link(Option<OneTime>),
    /// What the person may do for a P.IVA, or nothing any more.
    Member(VatNumber, Option<AccountRole>),
    /// Whether the account is closed.
    Closed(bool),
    /// Something that was done.
    Step(Step),
}

pub(crate) const USER: &str = "user";
pub(crate) const NAME: &str = "name";
pub(crate) const EMAIL: &str = "email";
pub(crate) const LANGUAGE: &str = "language";
pub(crate) const PASSWORD: &str = "password";
pub(crate) const LINK: &str = "link";
pub(crate) const CLOSED: &str = "closed";
/// Keys of memberships begin so.
pub(crate) const MEMBER: &str = "member/";

/// The contents of the change that makes `edits`, or `None` when all stands so already.
///
/// `existing` must hold every change that `actor` made to this document, and should hold all
/// there are: an edit replaces only what it knows of.
///
/// # Errors
/// [`DocumentError`]: the document cannot be read, or a text is longer than a change may be.
pub fn edit(
    actor: LogId,
    existing: &[&[u8]],
    edits: &[AccountEdit],
) -> Result<Option<Vec<u8>>, DocumentError> {
    let mut written = Vec::with_capacity(edits.len());
    for edit in edits {
        written.push(match edit {
            AccountEdit::User(text) => Edit::new(USER, Scalar::text(text)),
            AccountEdit::Name(text) => Edit::new(NAME, Scalar::text(text)),
            AccountEdit::Email(text) => Edit::new(EMAIL, Scalar::text(text)),
            AccountEdit::Language(text) => Edit::new(LANGUAGE, Scalar::text(text)),
            AccountEdit::Password(hash) => Edit::new(PASSWORD, Scalar::text(&hash.0)),
            AccountEdit::Link(link) => OneTime::edit(LINK, link.as_ref())?,
            AccountEdit::Member(vat, role) => Edit {
                key: format!("{MEMBER}{vat}").into(),
                value: role.map_or(Scalar::Null, |role| Scalar::text(role.word())),
            },
            AccountEdit::Closed(closed) => Edit::new(CLOSED, Scalar::Bool(*closed)),
            AccountEdit::Step(step) => step.edit()?,
        });
    }
    author(actor, existing, written)
}

/// What the person may do, by P.IVA. Where two said otherwise of one, the lesser role counts.
pub(crate) fn members(fields: &Fields<'_>) -> Vec<(VatNumber, AccountRole)> {
    let mut members = Vec::new();
    for (key, versions) in fields.iter() {
        let Some(vat) = key.strip_prefix(MEMBER) else { continue };
        let Ok(vat) = VatNumber::parse(vat) else { continue };
        let roles = versions.iter().map(|version| match &version.value {
            Scalar::Text(word) => AccountRole::from_word(word),
            _ => None,
        });
        // `None` is less than every role: a membership that ended anywhere has ended.
        if let Some(role) = roles.min().flatten() {
            members.push((vat, role));
        }
    }
    members
}
