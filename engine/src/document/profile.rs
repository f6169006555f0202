//! The tenant's identifiers and addresses, checked by the customer, edited field by field.
//!
//! Texts as people gave them. Whether a VAT number or a recipient code is one is checked by
//! the domain rules before it is written here.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

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
    /// That the digital archive at the tax agency is enabled: `yes`, or empty.
    ArchiveEnabled,
    /// That suppliers were told the recipient code: `yes`, or empty.
    SuppliersTold,
    /// What the customer confirmed: a digest of the fields as they stood ([`confirmation`]).
    Confirmed,
}

impl ProfileField {
    /// All fields with the keys they stand under.
    pub const KEYS: [(Self, &'static str); 16] = [
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
        (Self::ArchiveEnabled, "archive_enabled"),
        (Self::SuppliersTold, "suppliers_told"),
        (Self::Confirmed, "confirmed"),
    ];

    /// Whether the field is part of what a customer confirms and the contract states.
    #[must_use]
    pub const fn is_datum(self) -> bool {
        !matches!(self, Self::ArchiveEnabled | Self::SuppliersTold | Self::Confirmed)
    }

    /// The key it stands under.
    #[must_use]
    pub fn key(self) -> &'static str {
        Self::KEYS.iter().find(|(field, _)| *field == self).map_or("", |(_, key)| key)
    }
}

/// What [`ProfileField::Confirmed`] holds once these data are confirmed: 32 hexadecimal digits.
/// Whatever changes afterwards, by whomever, is not confirmed.
#[must_use]
pub fn confirmation(fields: &[(ProfileField, String)]) -> String {
    let mut data: Vec<_> =
        fields.iter().filter(|(field, text)| field.is_datum() && !text.is_empty()).collect();
    data.sort_unstable();
    let mut digest = Sha256::new().chain_update(b"staffetta profile 1");
    for (field, text) in data {
        digest.update(field.key());
        digest.update((text.len() as u64).to_be_bytes());
        digest.update(text);
    }
    digest.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
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
