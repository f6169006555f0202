//! Names of the files that go to the SdI and come from it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::NotAnId;

/// The name of an invoice file or of a message about it (RULES.md section 1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SdiFileName {
    country: String,
    transmitter: String,
    progressive: String,
    message: Option<(MessageCode, String)>,
    extension: String,
}

/// The two letters that tell the kind of a message in its file name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum MessageCode {
    RC,
    NS,
    MC,
    NE,
    EC,
    SE,
    DT,
    AT,
    MT,
}

impl MessageCode {
    /// Parses the two letters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "RC" => Self::RC,
            "NS" => Self::NS,
            "MC" => Self::MC,
            "NE" => Self::NE,
            "EC" => Self::EC,
            "SE" => Self::SE,
            "DT" => Self::DT,
            "AT" => Self::AT,
            "MT" => Self::MT,
            _ => return None,
        })
    }
}

impl SdiFileName {
    /// Parses a name. The extension is taken in any case: receivers meet `.XML`.
    ///
    /// # Errors
    /// [`NotAnId`] names the text and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, NotAnId> {
        let bad = |why| NotAnId::new(text, "an SdI file name", why);
        let (stem, extension) = text.split_once('.').ok_or_else(|| bad("it has no extension"))?;
        let lower = extension.to_ascii_lowercase();
        if !matches!(lower.as_str(), "xml" | "xml.p7m" | "zip") {
            return Err(bad("it ends in .xml, .xml.p7m or .zip"));
        }
        let mut parts = stem.split('_');
        let id = parts.next().unwrap_or_default();
        let progressive =
            parts.next().ok_or_else(|| bad("a progressive follows the transmitter after _"))?;
        let (country, transmitter) = id
            .split_at_checked(2)
            .filter(|(country, _)| country.bytes().all(|b| b.is_ascii_uppercase()))
            .ok_or_else(|| bad("it begins with the two letters of the country"))?;
        let lengths = if country == "IT" { 11..=16 } else { 2..=28 };
        if !lengths.contains(&transmitter.len())
            || !transmitter.bytes().all(|b| b.is_ascii_alphanumeric())
        {
            return Err(bad("the transmitter's code has 11 to 16 characters, 2 to 28 abroad"));
        }
        if !(1..=5).contains(&progressive.len())
            || !progressive.bytes().all(|b| b.is_ascii_alphanumeric())
        {
            return Err(bad("the progressive has 1 to 5 letters or digits"));
        }
        let message = match parts.next() {
            None => None,
            Some(code) => {
                let code = MessageCode::parse(code).ok_or_else(|| bad("unknown message type"))?;
                let number = parts.next().unwrap_or_default();
                if number.len() > 3 || !number.bytes().all(|b| b.is_ascii_alphanumeric()) {
                    return Err(bad("a message number has at most 3 letters or digits"));
                }
                Some((code, number.to_owned()))
            }
        };
        if parts.next().is_some() {
            return Err(bad("it has too many parts"));
        }
        Ok(Self {
            country: country.to_owned(),
            transmitter: transmitter.to_owned(),
            progressive: progressive.to_owned(),
            message,
            extension: extension.to_owned(),
        })
    }

    /// Country of the transmitter.
    #[must_use]
    pub fn country(&self) -> &str {
        &self.country
    }

    /// Code of the transmitter, without country.
    #[must_use]
    pub fn transmitter(&self) -> &str {
        &self.transmitter
    }

    /// The progressive, unique for ever for one transmitter.
    #[must_use]
    pub fn progressive(&self) -> &str {
        &self.progressive
    }

    /// Which message this names; none for an invoice.
    #[must_use]
    pub fn message(&self) -> Option<MessageCode> {
        self.message.as_ref().map(|(code, _)| *code)
    }

    /// True for `.xml.p7m`.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.extension.eq_ignore_ascii_case("xml.p7m")
    }

    /// The part that names the invoice, without extension: what messages repeat.
    #[must_use]
    pub fn invoice(&self) -> String {
        format!("{}{}_{}", self.country, self.transmitter, self.progressive)
    }
}

impl fmt::Display for SdiFileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}_{}", self.country, self.transmitter, self.progressive)?;
        if let Some((code, number)) = &self.message {
            write!(f, "_{code:?}")?;
            if !number.is_empty() {
                write!(f, "_{number}")?;
            }
        }
        write!(f, ".{}", self.extension)
    }
}

impl TryFrom<String> for SdiFileName {
    type Error = NotAnId;
    fn try_from(text: String) -> Result<Self, NotAnId> {
        Self::parse(&text)
    }
}

impl From<SdiFileName> for String {
    fn from(name: SdiFileName) -> Self {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_back() {
        for (name, message) in [
            ("IT02038490237_00001.xml", None),
            ("IT02038490237_00001.XML", None),
            ("DE123456789_00001.xml.p7m", None),
            ("IT02038490237_00001_RC_001.xml", Some(MessageCode::RC)),
            ("ITBNCMRA80A01D548T_20005.xml", None),
        ] {
            let parsed = SdiFileName::parse(name).unwrap();
            assert_eq!(parsed.message(), message, "{name}");
            assert_eq!(parsed.to_string(), name);
        }
        for bad in [
            "IT02038490237.xml",
            "IT02038490237_00-01.xml",
            "IT02038490237_00001_XX_001.xml",
            "IT02038490237_000001.xml",
            "it02038490237_00001.xml",
            "IT0203849023_00001.xml",
            "IT02038490237_00001.pdf",
            "../IT02038490237_00001.xml",
            "",
        ] {
            assert!(SdiFileName::parse(bad).is_err(), "{bad}");
        }
    }
}
