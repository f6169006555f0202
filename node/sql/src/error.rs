//! An error as a client of PostgreSQL expects it: five characters that programs read, and a
//! sentence that people read.

/// The codes used here (PostgreSQL, appendix A).
#[allow(missing_docs)]
pub mod code {
    pub const PROTOCOL: &str = "08P01";
    pub const NOT_SUPPORTED: &str = "0A000";
    pub const DATA: &str = "22000";
    pub const OUT_OF_RANGE: &str = "22003";
    pub const DIVISION_BY_ZERO: &str = "22012";
    pub const INVALID_PARAMETER: &str = "22023";
    pub const INVALID_TEXT: &str = "22P02";
    pub const INVALID_BINARY: &str = "22P03";
    pub const NO_TRANSACTION: &str = "25P01";
    pub const READ_ONLY: &str = "25006";
    pub const FAILED_TRANSACTION: &str = "25P02";
    pub const IDLE: &str = "25P03";
    pub const NO_STATEMENT: &str = "26000";
    pub const AUTHORIZATION: &str = "28000";
    pub const PASSWORD: &str = "28P01";
    pub const NO_CURSOR: &str = "34000";
    pub const CARDINALITY: &str = "21000";
    pub const SYNTAX: &str = "42601";
    pub const NO_COLUMN: &str = "42703";
    pub const AMBIGUOUS: &str = "42702";
    pub const NO_FUNCTION: &str = "42883";
    pub const NO_TABLE: &str = "42P01";
    pub const DUPLICATE_CURSOR: &str = "42P03";
    pub const DUPLICATE_STATEMENT: &str = "42P05";
    pub const MISMATCH: &str = "42804";
    pub const GROUPING: &str = "42803";
    pub const OUT_OF_MEMORY: &str = "53200";
    pub const TOO_MANY: &str = "53300";
    pub const LIMIT: &str = "54000";
    pub const TOO_COMPLEX: &str = "54001";
    pub const CANCELED: &str = "57014";
    pub const SHUTDOWN: &str = "57P01";
    pub const NOT_NOW: &str = "57P03";
    pub const IO: &str = "58030";
    pub const INTERNAL: &str = "XX000";
}

/// What went wrong with a statement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SqlError {
    /// Five characters, see [`code`].
    pub code: &'static str,
    /// A sentence.
    pub message: String,
    /// What to do instead, if there is something.
    pub hint: Option<&'static str>,
}

impl SqlError {
    /// An error without a hint.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    /// What has not been built.
    pub fn unsupported(what: impl std::fmt::Display) -> Self {
        Self::new(code::NOT_SUPPORTED, format!("{what} is not supported here"))
    }
}

/// Functions of ours can only raise text: the code goes before it, and comes off here.
const RAISED: &str = "\u{1}sql ";

impl SqlError {
    pub(crate) fn raise(self) -> rusqlite::Error {
        rusqlite::Error::UserFunctionError(format!("{RAISED}{} {}", self.code, self.message).into())
    }
}

impl From<rusqlite::Error> for SqlError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        let text = match &error {
            rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
            other => other.to_string(),
        };
        if let Some((found, message)) = text.strip_prefix(RAISED).and_then(|t| t.split_once(' ')) {
            let known = [
                code::DIVISION_BY_ZERO,
                code::OUT_OF_RANGE,
                code::INVALID_TEXT,
                code::INVALID_PARAMETER,
                code::LIMIT,
            ];
            let code = known.into_iter().find(|known| *known == found).unwrap_or(code::DATA);
            return Self::new(code, message);
        }
        let code = match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => code::CANCELED,
            Some(ErrorCode::OutOfMemory) => code::OUT_OF_MEMORY,
            Some(ErrorCode::TooBig) => code::LIMIT,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => code::IO,
            Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::DiskFull) => {
                code::IO
            }
            Some(ErrorCode::ReadOnly) => code::READ_ONLY,
            _ => code::INTERNAL,
        };
        Self::new(code, text)
    }
}
