//! Identifiers of the Italian fiscal world, each a type that can only be parsed into existence.

mod address;
mod file_name;
mod tax_code;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::address::{PecAddress, RecipientCode};
pub use self::file_name::{MessageCode, SdiFileName};
pub use self::tax_code::TaxCode;

/// A partita IVA: 11 digits with a valid check digit, without country code. Names a tenant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VatNumber(u64);

impl VatNumber {
    /// A number that no company has or will have: its digits 8 to 10 name the office that
    /// assigned it (DPR 633/72 art. 35), and there is no office 000.
    pub const UNASSIGNED: Self = Self(10_009);

    /// Parses 11 digits (RULES.md section 1).
    ///
    /// # Errors
    /// [`VatNumberError`] names the text and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, VatNumberError> {
        let bad = |why| VatNumberError { text: text.chars().take(40).collect(), why };
        if text.len() != 11 || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad("a VAT number has 11 digits"));
        }
        let value: u64 = text.parse().map_err(|_| bad("a VAT number has 11 digits"))?;
        if value == 0 {
            return Err(bad("it is all zeros"));
        }
        let sum: u32 = text.bytes().take(10).map(|b| u32::from(b - b'0')).enumerate().fold(
            0,
            |sum, (i, digit)| match (i % 2, digit) {
                (0, d) => sum + d,
                (_, d) if d > 4 => sum + 2 * d - 9,
                (_, d) => sum + 2 * d,
            },
        );
        let check = (10 - sum % 10) % 10;
        if u64::from(check) != value % 10 {
            return Err(bad("its check digit is wrong"));
        }
        Ok(Self(value))
    }

    /// The eleven digits as a number, the form of store keys.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for VatNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:011}", self.0)
    }
}

impl fmt::Debug for VatNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VatNumber({self})")
    }
}

impl TryFrom<String> for VatNumber {
    type Error = VatNumberError;
    fn try_from(text: String) -> Result<Self, VatNumberError> {
        Self::parse(&text)
    }
}

impl From<VatNumber> for String {
    fn from(vat: VatNumber) -> Self {
        vat.to_string()
    }
}

/// A text that is not a VAT number, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a VAT number: {why}")]
pub struct VatNumberError {
    text: String,
    why: &'static str,
}

/// A text that is not the identifier it should be, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {kind}: {why}")]
pub struct NotAnId {
    text: String,
    kind: &'static str,
    why: &'static str,
}

impl NotAnId {
    fn new(text: &str, kind: &'static str, why: &'static str) -> Self {
        Self { text: text.chars().take(80).collect(), kind, why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_valid_check_digit_makes_a_vat_number() {
        assert!(VatNumber::parse("02038490237").is_ok());
        for bad in ["01234567890", "00000000000", "0203849023", "020384902377", "IT02038490237"] {
            assert!(VatNumber::parse(bad).is_err(), "{bad}");
        }
    }
}
