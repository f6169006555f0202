//! The codice fiscale of a person or a body.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{NotAnId, VatNumber};

/// A codice fiscale: 16 characters of a person (omocodia included) or 11 digits of a body, with a
/// valid check character. Upper case, as the schema wants it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaxCode(String);

/// Values of the characters in odd places, digits first (RULES.md section 1).
const ODD: [u32; 26] =
    [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];

impl TaxCode {
    /// Parses a codice fiscale (RULES.md section 1).
    ///
    /// # Errors
    /// [`NotAnId`] names the text and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, NotAnId> {
        let bad = |why| NotAnId::new(text, "a tax code", why);
        if text.len() == 11 && text.bytes().all(|b| b.is_ascii_digit()) {
            VatNumber::parse(text).map_err(|_| bad("its check digit is wrong"))?;
            return Ok(Self(text.to_owned()));
        }
        let bytes: &[u8; 16] = text
            .as_bytes()
            .try_into()
            .map_err(|_| bad("a tax code has 16 characters, or 11 digits"))?;
        if !bytes.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()) {
            return Err(bad("only capital letters and digits are used"));
        }
        let letters = [0, 1, 2, 3, 4, 5, 8, 11, 15];
        if !letters.iter().all(|place| bytes[*place].is_ascii_uppercase()) {
            return Err(bad("a letter is expected where a digit stands"));
        }
        let digit = |place: usize| match bytes[place] {
            b @ b'0'..=b'9' => Some(u32::from(b - b'0')),
            b => b"LMNPQRSTUV".iter().position(|l| *l == b).and_then(|d| u32::try_from(d).ok()),
        };
        let places = [6, 7, 9, 10, 12, 13, 14];
        if !places.iter().all(|place| digit(*place).is_some()) {
            return Err(bad("a digit is expected where another character stands"));
        }
        if !b"ABCDEHLMPRST".contains(&bytes[8]) {
            return Err(bad("its month letter does not exist"));
        }
        let day = digit(9).unwrap_or(0) * 10 + digit(10).unwrap_or(0);
        if !matches!(day, 1..=31 | 41..=71) {
            return Err(bad("its day of birth does not exist"));
        }
        let value = |b: u8| u32::from(if b.is_ascii_digit() { b - b'0' } else { b - b'A' });
        let sum: u32 = bytes[..15]
            .iter()
            .enumerate()
            .map(|(i, b)| if i % 2 == 0 { ODD[value(*b) as usize] } else { value(*b) })
            .sum();
        if value(bytes[15]) == sum % 26 {
            Ok(Self(text.to_owned()))
        } else {
            Err(bad("its check character is wrong"))
        }
    }

    /// The characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaxCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TaxCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaxCode({})", self.0)
    }
}

impl TryFrom<String> for TaxCode {
    type Error = NotAnId;
    fn try_from(text: String) -> Result<Self, NotAnId> {
        Self::parse(&text)
    }
}

impl From<TaxCode> for String {
    fn from(code: TaxCode) -> Self {
        code.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_character_holds_with_omocodia_too() {
        for good in ["RSSMRA80A41H501Y", "BNCMRA80A01D548T", "RSSMRA80A01H501U", "00484960588"] {
            assert!(TaxCode::parse(good).is_ok(), "{good}");
        }
        let omocodia = "RSSMRA80A01H50M";
        let checked = ('A'..='Z').filter(|c| TaxCode::parse(&format!("{omocodia}{c}")).is_ok());
        assert_eq!(checked.count(), 1);
        for bad in ["RSSMRA80A01H501X", "rssmra80a01h501u", "RSSMRA80F01H501U", "", "12345678901"] {
            assert!(TaxCode::parse(bad).is_err(), "{bad}");
        }
    }
}
