//! Bearer tokens for programs on the LAN: each names one P.IVA and says whether it may write.
//!
//! A token is 32 random bytes shown once; the file holds its SHA-256, which is enough to know it
//! again and useless to whoever reads it, since so many random bits cannot be guessed. The file
//! is read again whenever it changes. Passwords of people are in [`crate::user`].

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::Subcommand;
use engine::id::VatNumber;
use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom as _, SystemRandom},
};
use serde::{Deserialize, Serialize};

use crate::{
    config::{self, NodeConfig},
    private,
};

/// Before every token, so that one found in a log or a mail is known for what it is.
const PREFIX: &str = "st_";
/// Longest file of tokens read.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Longest name.
const NAME_CHARS_MAX: usize = 63;

/// What is known of one token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// What people call it. Unique on this node.
    pub name: String,
    /// The one P.IVA it sees.
    pub vat: String,
    /// Whether it may submit, mark and synchronise.
    pub may_write: bool,
    /// SHA-256 of the token, in hexadecimal.
    sha256: String,
}

impl Token {
    /// The P.IVA.
    #[must_use]
    pub fn tenant(&self) -> Option<VatNumber> {
        VatNumber::parse(&self.vat).ok()
    }
}

/// The tokens of one node.
pub struct Tokens {
    path: PathBuf,
}

impl Tokens {
    /// Those of the node whose data folder is `data`. No file means no tokens.
    #[must_use]
    pub fn of(data: &Path) -> Self {
        Self { path: data.join("tokens.json") }
    }

    /// The token this text is, if it is one. Reads the file, so one removed is refused at once.
    ///
    /// # Errors
    /// [`TokenError`] when the file cannot be read; then nobody is admitted.
    pub fn admit(&self, text: &str) -> Result<Option<Token>, TokenError> {
        if !text.starts_with(PREFIX) {
            return Ok(None);
        }
        let hash = hash(text);
        Ok(self.list()?.into_iter().find(|token| token.sha256 == hash))
    }

    /// Every token.
    ///
    /// # Errors
    /// [`TokenError`]
    pub fn list(&self) -> Result<Vec<Token>, TokenError> {
        let mut text = String::new();
        match fs::File::open(&self.path) {
            Ok(file) => file
                .take(FILE_BYTES_MAX)
                .read_to_string(&mut text)
                .map_err(|error| self.unusable(&error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.unusable(&error)),
        };
        serde_json::from_str(&text).map_err(|error| self.unusable(&error))
    }

    /// Makes one and returns it: it is kept nowhere.
    ///
    /// # Errors
    /// [`TokenError`]
    pub fn add(&self, name: &str, vat: VatNumber, may_write: bool) -> Result<String, TokenError> {
        if name.is_empty() || name.chars().count() > NAME_CHARS_MAX {
            return Err(TokenError::Name);
        }
        let mut tokens = self.list()?;
        if tokens.iter().any(|token| token.name == name) {
            return Err(TokenError::Taken { name: name.to_owned() });
        }
        let mut secret = [0; 32];
        SystemRandom::new().fill(&mut secret).map_err(|_| TokenError::Random)?;
        let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret));
        let (name, vat, sha256) = (name.to_owned(), vat.to_string(), hash(&text));
        tokens.push(Token { name, vat, may_write, sha256 });
        self.write(&tokens)?;
        Ok(text)
    }

    /// Ends one.
    ///
    /// # Errors
    /// [`TokenError`]
    pub fn remove(&self, name: &str) -> Result<(), TokenError> {
        let mut tokens = self.list()?;
        let before = tokens.len();
        tokens.retain(|token| token.name != name);
        if tokens.len() == before {
            return Err(TokenError::Unknown { name: name.to_owned() });
        }
        self.write(&tokens)
    }

    fn write(&self, tokens: &[Token]) -> Result<(), TokenError> {
        let text = serde_json::to_vec_pretty(tokens).map_err(|error| self.unusable(&error))?;
        let made = self.path.parent().map_or(Ok(()), private::folder);
        made.and_then(|()| private::write(&self.path, &text)).map_err(|error| self.unusable(&error))
    }

    fn unusable(&self, why: &dyn std::fmt::Display) -> TokenError {
        TokenError::File { path: self.path.display().to_string(), why: why.to_string() }
    }
}

fn hash(text: &str) -> String {
    hex::encode(digest(&SHA256, text.as_bytes()))
}

/// Why a token cannot be made, ended or known.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file.
    #[error("the tokens in {path} cannot be used: {why}")]
    File {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// Not a name.
    #[error("a token's name has 1 to {NAME_CHARS_MAX} characters: give it another")]
    Name,
    /// A name twice.
    #[error("there is a token called {name}: remove it first, or give this one another name")]
    Taken {
        /// The name.
        name: String,
    },
    /// No such name.
    #[error("there is no token called {name}: `staffetta-node token list` shows them")]
    Unknown {
        /// The name.
        name: String,
    },
    /// Not a tenant of this node.
    #[error("{why}")]
    Tenant {
        /// Why.
        why: String,
    },
    /// The configuration.
    #[error(transparent)]
    Config(#[from] config::ConfigError),
    /// The operating system gives no random numbers.
    #[error("the operating system gives no random numbers")]
    Random,
}

/// What to do with the tokens.
#[derive(Subcommand)]
pub enum TokenCommand {
    /// Makes a token for a program, and prints it: it is kept nowhere.
    Add {
        /// What to call it.
        name: String,
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
        /// The P.IVA it sees; may be left out where the node serves one only.
        #[arg(long, value_parser = VatNumber::parse)]
        vat: Option<VatNumber>,
        /// It may only read.
        #[arg(long)]
        read_only: bool,
    },
    /// Ends a token: refused from its next request on.
    Remove {
        /// Its name.
        name: String,
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Lists the tokens.
    List {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
}

/// Does it: exits 0 when done, 3 when something given is wrong, 4 when a file cannot be used.
#[must_use]
pub fn run(command: &TokenCommand) -> ExitCode {
    match act(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("staffetta-node: {error}");
            let ours = matches!(error, TokenError::File { .. } | TokenError::Random);
            ExitCode::from(if ours { 4 } else { 3 })
        }
    }
}

fn act(command: &TokenCommand) -> Result<(), TokenError> {
    let (TokenCommand::Add { config, .. }
    | TokenCommand::Remove { config, .. }
    | TokenCommand::List { config }) = command;
    let config = config::load::<NodeConfig>(config)?;
    let tokens = Tokens::of(&config.data);
    match command {
        TokenCommand::Add { name, vat, read_only, .. } => {
            let vat = config.tenant(*vat).map_err(|why| TokenError::Tenant { why })?;
            println!("{}", tokens.add(name, vat, !read_only)?);
        }
        TokenCommand::Remove { name, .. } => tokens.remove(name)?,
        TokenCommand::List { .. } => {
            for Token { name, vat, may_write, .. } in tokens.list()? {
                let rights = if may_write { "read and write" } else { "read" };
                println!("{name:<20} {vat} {rights}");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_again_until_it_is_removed_and_is_not_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::of(&dir.path().join("data"));
        let vat = VatNumber::parse("02038490237").unwrap();
        assert_eq!(tokens.admit("st_x").unwrap(), None);
        let text = tokens.add("erp", vat, false).unwrap();
        let known = tokens.admit(&text).unwrap().unwrap();
        assert_eq!((known.tenant(), known.may_write), (Some(vat), false));
        assert!(matches!(tokens.add("erp", vat, true), Err(TokenError::Taken { .. })));
        let file = fs::read_to_string(dir.path().join("data/tokens.json")).unwrap();
        assert!(!file.contains(&text[3..]));
        assert_eq!(tokens.admit(&format!("{text}x")).unwrap(), None);
        tokens.remove("erp").unwrap();
        assert_eq!(tokens.admit(&text).unwrap(), None);
        assert!(matches!(tokens.remove("erp"), Err(TokenError::Unknown { .. })));
    }
}
