//! The tenant's identifiers and addresses, checked by the customer, edited field by field.
//!
//! Texts as people gave them. Whether a VAT number or a recipient code is one is checked by
//! the domain rules before it is written here.

use serde::{Deserialize, Serialize};

use super::{DocumentError, Edit, Scalar, author};
use crate::id::LogId;

/// A field of the profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ProfileField {
    /// Denominazione.
    Name,
    /// Partita IVA, 11 digits.
    VatNumber,
    /// Codice fiscale.
    TaxCode,
    /// Codice destinatario under which the tenant receives.
    RecipientCode,
    /// Certified e-mail address.
    Pec,
    /// Ordinary e-mail address.
    Email,
    /// Telephone.
    Phone,
    /// Street and number.
    Street,
    /// CAP.
    PostalCode,
    /// Comune.
    City,
    /// Two letters.
    Province,
    /// Two letters, `IT`.
    Country,
    /// Regime fiscale, `RF01`.
    TaxRegime,
}

impl ProfileField {
    /// All fields with the keys they stand under.
    pub const KEYS: [(Self, &'static str); 13] = [
        (Self::Name, "name"),
        (Self::VatNumber, "vat_number"),
        (Self::TaxCode, "tax_code"),
        (Self::RecipientCode, "recipient_code"),
        (Self::Pec, "pec"),
        (Self::Email, "email"),
        (Self::Phone, "phone"),
        (Self::Street, "street"),
        (Self::PostalCode, "postal_code"),
        (Self::City, "city"),
        (Self::Province, "province"),
        (Self::Country, "country"),
        (Self::TaxRegime, "tax_regime"),
    ];

    /// The key it stands under.
    #[must_use]
    pub fn key(self) -> &'static str {
        Self::KEYS.iter().find(|(field, _)| *field == self).map_or("", |(_, key)| key)
    }
}

/// The contents of the change that sets these fields, or `None` when all stand so already.
///
/// `existing` must hold every change that `actor` made to this document, and should hold all
/// there are: an edit replaces only what it knows of.
///
/// # Errors
/// [`DocumentError`]: the document cannot be read, or a text is longer than a change may be.
pub fn edit(
    actor: LogId,
    existing: &[&[u8]],
    edits: &[(ProfileField, &str)],
) -> Result<Option<Vec<u8>>, DocumentError> {
    let edits = edits.iter().map(|(field, text)| Edit::new(field.key(), Scalar::text(text)));
    author(actor, existing, edits)
}
