//! The contract of intermediation, one per VAT number: what was accepted, signed, enabled.
//!
//! Each acceptance of terms is a fact with a key of its own, by version, so that accepting a
//! new version never takes away that the old one was accepted. The same holds for the
//! [`Step`]s that led to a signature. The rest is field by field. Only portals write it: what
//! was signed is for the one to say who saw it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{DocumentError, Edit, Fields, Scalar, author, invoice::time, step::Step};
use crate::id::{BlobHash, LogId};

/// That someone accepted a version of the terms.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TermsAcceptance {
    /// Which version, `2026-10`.
    pub version: String,
    /// When, milliseconds since 1970.
    pub at_ms: u64,
    /// Which user.
    pub user: String,
}

/// One thing to write into the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContractEdit {
    /// Terms were accepted.
    Terms(TermsAcceptance),
    /// The signed contract's file.
    Signed(BlobHash),
    /// When it was signed, milliseconds since 1970.
    SignedAt(u64),
    /// Since when the tenant is enabled; `None` ends it.
    Enabled(Option<u64>),
    /// Who signed, in words.
    Signatory(String),
    /// The contract as it was drawn up: what is to be signed.
    Drawn(BlobHash),
    /// Which version of its text.
    Text(String),
    /// Something that was done.
    Step(Step),
}

pub(crate) const SIGNED: &str = "signed";
pub(crate) const SIGNED_AT: &str = "signed_at";
pub(crate) const ENABLED: &str = "enabled";
pub(crate) const SIGNATORY: &str = "signatory";
pub(crate) const DRAWN: &str = "drawn";
pub(crate) const TEXT: &str = "text";
/// Keys of acceptances begin so.
pub(crate) const TERMS: &str = "terms/";

/// The contents of the change that makes `edits`, or `None` when all stands so already.
///
/// `existing` must hold every change that `actor` made to this document, and should hold all
/// there are: an edit replaces only what it knows of.
///
/// # Errors
/// [`DocumentError`]: the document cannot be read, or a text is longer than a change may be.
pub fn edit(
    actor: LogId,
    existing: &[&[u8]],
    edits: &[ContractEdit],
) -> Result<Option<Vec<u8>>, DocumentError> {
    let mut written = Vec::with_capacity(edits.len());
    for edit in edits {
        written.push(match edit {
            ContractEdit::Terms(terms) => {
                let value = postcard::to_stdvec(&Stored::V1(terms.clone()))
                    .map_err(|_| DocumentError::Field("terms"))?;
                let key = Cow::Owned(format!("{TERMS}{}", terms.version));
                Edit { key, value: Scalar::Bytes(Cow::Owned(value)) }
            }
            ContractEdit::Signed(hash) => Edit::new(SIGNED, Scalar::blob(hash)),
            ContractEdit::SignedAt(at_ms) => Edit::new(SIGNED_AT, time(*at_ms)),
            ContractEdit::Enabled(at_ms) => Edit::new(ENABLED, at_ms.map_or(Scalar::Null, time)),
            ContractEdit::Signatory(text) => Edit::new(SIGNATORY, Scalar::text(text)),
            ContractEdit::Drawn(hash) => Edit::new(DRAWN, Scalar::blob(hash)),
            ContractEdit::Text(text) => Edit::new(TEXT, Scalar::text(text)),
            ContractEdit::Step(step) => step.edit()?,
        });
    }
    author(actor, existing, written)
}

/// How an acceptance stands in a document. A later version adds a variant.
#[derive(Serialize, Deserialize)]
enum Stored {
    V1(TermsAcceptance),
}

/// Every acceptance, conflicting ones included, ordered by version.
pub(crate) fn acceptances(fields: &Fields<'_>) -> Vec<TermsAcceptance> {
    let mut all = Vec::new();
    for (_, versions) in fields.iter().filter(|(key, _)| key.starts_with(TERMS)) {
        for version in versions {
            let Scalar::Bytes(bytes) = &version.value else { continue };
            if let Ok((Stored::V1(terms), [])) = postcard::take_from_bytes(bytes) {
                all.push(terms);
            }
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}
