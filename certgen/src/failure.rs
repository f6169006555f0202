//! Why a command did not do what it was asked, and the exit code that says so.

use std::fmt::Display;
use std::path::Path;

use serde_json::json;

use certgen::{
    AuthorityError, CertificateError, FileError, KeyError, LedgerError, NameError, P12Error,
    ReadError, WordsError,
};
use engine::id::PeerId;

/// A failure, by who can mend it.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was given is not what it should be.
    Input(String),
    /// The file system or the random source failed.
    Io(String),
    /// It could be done, but must not.
    Refused(String),
}

impl Failure {
    /// Bad input, read from `path`.
    pub(crate) fn input(path: &Path, error: &impl Display) -> Self {
        Self::Input(format!("{}: {error}", path.display()))
    }

    /// Two pins that should be one.
    pub(crate) fn other_words(found: &PeerId) -> Self {
        Self::Refused(format!(
            "the words do not match, the request has: {}; ask the customer for the file again",
            certgen::Words::of(found)
        ))
    }

    /// The exit code.
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::Input(_) => 3,
            Self::Io(_) => 4,
            Self::Refused(_) => 5,
        }
    }

    /// Prints it on standard error.
    pub(crate) fn print(&self, as_json: bool) {
        let (Self::Input(text) | Self::Io(text) | Self::Refused(text)) = self;
        if as_json {
            eprintln!("{}", json!({ "error": text, "code": self.code() }));
        } else {
            eprintln!("staffetta-certgen: {text}");
        }
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        let text = error.to_string();
        match error {
            FileError::Exists(_) => Self::Refused(text),
            FileError::TooLarge(..) => Self::Input(text),
            FileError::Io { .. } => Self::Io(text),
        }
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::File(error) => error.into(),
            LedgerError::Damaged(..) | LedgerError::Newer(..) => Self::Io(error.to_string()),
        }
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Random => Self::Io(error.to_string()),
            KeyError::Private | KeyError::Public => Self::Input(error.to_string()),
        }
    }
}

impl From<CertificateError> for Failure {
    fn from(error: CertificateError) -> Self {
        match error {
            CertificateError::Key(error) => error.into(),
            CertificateError::WrongAuthority => Self::Io(error.to_string()),
            CertificateError::Read(_) | CertificateError::Encode(_) => {
                Self::Input(error.to_string())
            }
        }
    }
}

impl From<P12Error> for Failure {
    fn from(error: P12Error) -> Self {
        match error {
            P12Error::Key(error) => error.into(),
            P12Error::OtherKey => Self::Refused(error.to_string()),
            P12Error::Password | P12Error::Read(_) | P12Error::Encode(_) => {
                Self::Input(error.to_string())
            }
        }
    }
}

impl From<AuthorityError> for Failure {
    fn from(error: AuthorityError) -> Self {
        let text = error.to_string();
        match error {
            AuthorityError::File(error) => error.into(),
            AuthorityError::Ledger(error) => error.into(),
            AuthorityError::Key(error) => error.into(),
            AuthorityError::Certificate(error) => error.into(),
            AuthorityError::Read(_)
            | AuthorityError::Missing(_)
            | AuthorityError::Days(_)
            | AuthorityError::NotARequest => Self::Input(text),
            AuthorityError::Half(_) | AuthorityError::Stored(..) => Self::Io(text),
            AuthorityError::Ends(..)
            | AuthorityError::NotOurs(_)
            | AuthorityError::Revoked(..)
            | AuthorityError::OtherHolder { .. }
            | AuthorityError::UnknownPin(_) => Self::Refused(text),
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Self::Input(error.to_string())
    }
}

impl From<NameError> for Failure {
    fn from(error: NameError) -> Self {
        Self::Input(error.to_string())
    }
}

impl From<WordsError> for Failure {
    fn from(error: WordsError) -> Self {
        Self::Input(error.to_string())
    }
}
