//! Where an invoice goes: the recipient code and the certified e-mail address.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::NotAnId;

/// A codice destinatario: 6 characters of a public office, or 7 of a channel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RecipientCode(String);

impl RecipientCode {
    /// Parses a recipient code (RULES.md section 1; XSD CodiceDestinatarioType).
    ///
    /// # Errors
    /// [`NotAnId`] names the text and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, NotAnId> {
        let bad = |why| NotAnId::new(text, "a recipient code", why);
        if !matches!(text.len(), 6 | 7) {
            return Err(bad("it has 6 characters for a public office, 7 otherwise"));
        }
        if !text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()) {
            return Err(bad("only capital letters and digits are used"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for a public office: 6 characters, only in FPA12.
    #[must_use]
    pub fn is_office(&self) -> bool {
        self.0.len() == 6
    }

    /// True for `0000000`: no channel is known, the PEC or the reserved area is used.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.0 == "0000000"
    }

    /// True for `XXXXXXX`: a buyer not established in Italy.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.0 == "XXXXXXX"
    }
}

/// A PEC address: 7 to 256 characters with one `@` and a dotted domain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PecAddress(String);

impl PecAddress {
    /// Parses an address (RULES.md section 1; XSD EmailType).
    ///
    /// # Errors
    /// [`NotAnId`] names the text and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, NotAnId> {
        let bad = |why| NotAnId::new(text, "a PEC address", why);
        if !(7..=256).contains(&text.len()) {
            return Err(bad("it has 7 to 256 characters"));
        }
        let word = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_graphic() && !b"@()<>,;:\\\"[]".contains(&b))
                && part.split('.').all(|label| !label.is_empty())
        };
        match text.rsplit_once('@') {
            Some((local, domain)) if word(local) && word(domain) && domain.contains('.') => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(bad("it is written name@domain.it")),
        }
    }

    /// The characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! texts {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = NotAnId;
            fn try_from(text: String) -> Result<Self, NotAnId> {
                Self::parse(&text)
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }
    )*};
}
texts!(RecipientCode, PecAddress);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed_into_existence() {
        let code = |text| RecipientCode::parse(text).ok().map(|code| code.is_office());
        assert_eq!(code("QPQRMS"), Some(true));
        assert_eq!(code("KRRH6B9"), Some(false));
        assert_eq!(code("abc1234"), None);
        assert_eq!(code("12345"), None);
        assert!(PecAddress::parse("alfa@pec.example.it").is_ok());
        for bad in ["alfa@pec", "a@b.c", "alfa beta@pec.it", "alfa@@pec.it", "@pec.example.it"] {
            assert!(PecAddress::parse(bad).is_err(), "{bad}");
        }
    }
}
