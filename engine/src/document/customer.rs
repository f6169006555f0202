//! What the intermediary decided about a customer: invited, admitted, suspended, and which
//! certificates may enter for it.
//!
//! It stands in the office, which only portals hold. A certificate is a fact with a key of its
//! own, and so is its end: an end counts whatever else was said.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    DocumentError, Edit, Fields, Scalar, account::OneTime, author, invoice::time, step::Step,
};
use crate::id::{LogId, PeerId, VatNumber};

/// A certificate that may enter through the door for this customer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DoorCertificate {
    /// Its key, as DER SubjectPublicKeyInfo.
    pub spki: Vec<u8>,
    /// When it ends, milliseconds since 1970.
    pub not_after_ms: u64,
    /// Since when it is bound.
    pub bound_ms: u64,
}

impl DoorCertificate {
    /// Its pin.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        PeerId::of_spki(&self.spki)
    }
}

/// One thing to write about a customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CustomerEdit {
    /// Its P.IVA. The document is named by it.
    Vat(VatNumber),
    /// What the administrator calls it.
    Name(String),
    /// Whether it is one of the pilot group.
    Pilot(bool),
    /// Since when it is admitted; `None` takes it back.
    Admitted(Option<u64>),
    /// Since when it is suspended; `None` ends that.
    Suspended(Option<u64>),
    /// A certificate may enter.
    Bound(DoorCertificate),
    /// A certificate ended, at this moment. For ever.
    Ended(PeerId, u64),
    /// The code that was sent to the PEC, or that there is none.
    Code(Option<OneTime>),
    /// Something that was done.
    Step(Step),
}

pub(crate) const VAT: &str = "vat";
pub(crate) const NAME: &str = "name";
pub(crate) const PILOT: &str = "pilot";
pub(crate) const ADMITTED: &str = "admitted";
pub(crate) const SUSPENDED: &str = "suspended";
pub(crate) const CODE: &str = "code";
const BOUND: &str = "bound/";
const ENDED: &str = "ended/";

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
    edits: &[CustomerEdit],
) -> Result<Option<Vec<u8>>, DocumentError> {
    let mut written = Vec::with_capacity(edits.len());
    for edit in edits {
        written.push(match edit {
            CustomerEdit::Vat(vat) => {
                Edit { key: VAT.into(), value: Scalar::Text(vat.to_string().into()) }
            }
            CustomerEdit::Name(text) => Edit::new(NAME, Scalar::text(text)),
            CustomerEdit::Pilot(pilot) => Edit::new(PILOT, Scalar::Bool(*pilot)),
            CustomerEdit::Admitted(at_ms) => Edit::new(ADMITTED, at_ms.map_or(Scalar::Null, time)),
            CustomerEdit::Suspended(at_ms) => {
                Edit::new(SUSPENDED, at_ms.map_or(Scalar::Null, time))
            }
            CustomerEdit::Bound(certificate) => {
                let value = postcard::to_stdvec(&Stored::V1(certificate.clone()))
                    .map_err(|_| DocumentError::Field("certificate"))?;
                let key = format!("{BOUND}{}", certificate.peer()).into();
                Edit { key, value: Scalar::Bytes(value.into()) }
            }
            CustomerEdit::Ended(peer, at_ms) => {
                Edit { key: format!("{ENDED}{peer}").into(), value: time(*at_ms) }
            }
            CustomerEdit::Code(code) => OneTime::edit(CODE, code.as_ref())?,
            CustomerEdit::Step(step) => step.edit()?,
        });
    }
    author(actor, existing, written)
}

/// How a certificate stands in a document. A later version adds a variant.
#[derive(Serialize, Deserialize)]
enum Stored {
    V1(DoorCertificate),
}

/// Every certificate, by pin, with the moment at which it was ended, if it was.
pub(crate) fn certificates(fields: &Fields<'_>) -> Vec<(DoorCertificate, Option<u64>)> {
    let mut ended = BTreeMap::new();
    for (key, versions) in fields.iter() {
        let Some(pin) = key.strip_prefix(ENDED) else { continue };
        let moments = versions.iter().filter_map(|version| match &version.value {
            Scalar::Time(ms) => u64::try_from(*ms).ok(),
            _ => None,
        });
        ended.insert(pin, moments.min().unwrap_or(0));
    }
    let mut found = BTreeMap::new();
    for (key, versions) in fields.iter() {
        let Some(pin) = key.strip_prefix(BOUND) else { continue };
        for version in versions {
            let Scalar::Bytes(bytes) = &version.value else { continue };
            match postcard::take_from_bytes(bytes) {
                Ok((Stored::V1(certificate), [])) if certificate.peer().to_string() == pin => {
                    found.entry(pin).or_insert((certificate, ended.get(pin).copied()));
                }
                _ => {}
            }
        }
    }
    found.into_values().collect()
}
