//! The ERP's own marks on an invoice: registered, paid, notes.
//!
//! Each field stands for itself and the last writer wins it; two that did not know of each
//! other leave a conflict that the record shows. A mark taken back is written as null, not
//! deleted, so that taking it back and setting it anew is a conflict too.

use super::{DocumentError, Edit, Scalar, author, invoice::time};
use crate::id::LogId;

/// One mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnnotationEdit {
    /// Entered into the books at this moment (milliseconds since 1970), or not after all.
    Registered(Option<u64>),
    /// Paid at this moment, or not after all.
    Paid(Option<u64>),
    /// The notes, replacing what they were.
    Notes(String),
}

pub(crate) const REGISTERED: &str = "registered";
pub(crate) const PAID: &str = "paid";
pub(crate) const NOTES: &str = "notes";

/// The contents of the change that makes `edits`, or `None` when all stands so already.
///
/// `existing` must hold every change that `actor` made to this document, and should hold all
/// there are: an edit replaces only what it knows of.
///
/// # Errors
/// [`DocumentError`]: the document cannot be read, or the notes are longer than a change may be.
pub fn edit(
    actor: LogId,
    existing: &[&[u8]],
    edits: &[AnnotationEdit],
) -> Result<Option<Vec<u8>>, DocumentError> {
    author(
        actor,
        existing,
        edits.iter().map(|edit| match edit {
            AnnotationEdit::Registered(at_ms) => Edit::new(REGISTERED, moment(*at_ms)),
            AnnotationEdit::Paid(at_ms) => Edit::new(PAID, moment(*at_ms)),
            AnnotationEdit::Notes(notes) => Edit::new(NOTES, Scalar::text(notes)),
        }),
    )
}

fn moment(at_ms: Option<u64>) -> Scalar<'static> {
    at_ms.map_or(Scalar::Null, time)
}
