//! Italian, and English beside it.

use crate::door::asked::Asked;

/// The language a page is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lang {
    /// Italian.
    #[default]
    It,
    /// English.
    En,
}

/// The cookie that remembers the choice of somebody who is not logged in.
pub const COOKIE: &str = "__Host-lingua";

impl Lang {
    /// The text in this language.
    #[must_use]
    pub const fn t<'a>(self, italian: &'a str, english: &'a str) -> &'a str {
        match self {
            Self::It => italian,
            Self::En => english,
        }
    }

    /// `it` or `en`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.t("it", "en")
    }

    /// What the request's cookie says; Italian otherwise, whatever the browser prefers: the
    /// customers are Italian companies.
    #[must_use]
    pub fn asked(asked: &Asked) -> Self {
        asked.cookie(COOKIE).and_then(Self::of_code).unwrap_or_default()
    }

    /// The language that a code means.
    #[must_use]
    pub fn of_code(code: &str) -> Option<Self> {
        match code {
            "it" => Some(Self::It),
            "en" => Some(Self::En),
            _ => None,
        }
    }
}
