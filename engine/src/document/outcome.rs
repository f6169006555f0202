//! What the SdI said about an invoice: add only.
//!
//! One key per message, made from what the message is, so the same one noted twice, or by
//! both portals, is one. The value is the whole entry in a few bytes (postcard after a
//! version), because an entry is never edited: named fields would be named a million times.
//! A status change costs some 70 bytes as a change, and less once compressed with others.

use serde::{Deserialize, Serialize};

use super::{DocumentError, Edit, Fields, Scalar, author, merge};
use crate::id::{BlobHash, LogId};

/// What a message is. RULES.md section 3 has the schemas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Receipt {
    /// The SdI took the file and named it. No file comes with it.
    Sent,
    /// RC, RicevutaConsegna: delivered to the buyer.
    Delivered,
    /// NS, NotificaScarto: rejected by the SdI.
    Rejected,
    /// MC: not delivered. Final for private buyers (the invoice is issued), interim for public bodies.
    NotDelivered,
    /// NE, NotificaEsito: what a public body answered, EC01 or EC02 among the codes.
    Outcome,
    /// AT: transmitted, undeliverable.
    Undeliverable,
    /// DT, NotificaDecorrenzaTermini: the 15 days are over.
    TermsExpired,
    /// SE: the SdI did not take our EC.
    AnswerRejected,
    /// EC, NotificaEsitoCommittente: our own answer to a received invoice.
    Answer,
    /// MT: the metadata of a received invoice.
    Metadata,
}

impl Receipt {
    /// All receipts with the two letters the SdI has for them in file names.
    pub const CODES: [(Self, &'static str); 10] = [
        (Self::Sent, "Sent"),
        (Self::Delivered, "RC"),
        (Self::Rejected, "NS"),
        (Self::NotDelivered, "MC"),
        (Self::Outcome, "NE"),
        (Self::Undeliverable, "AT"),
        (Self::TermsExpired, "DT"),
        (Self::AnswerRejected, "SE"),
        (Self::Answer, "EC"),
        (Self::Metadata, "MT"),
    ];

    /// `RC`, `NS` and so on; `Sent` for what has no file.
    #[must_use]
    pub fn code(self) -> &'static str {
        Self::CODES.iter().find(|(receipt, _)| *receipt == self).map_or("", |(_, code)| code)
    }

    /// The receipt a code means.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::CODES.iter().find(|(_, known)| *known == code).map(|(receipt, _)| *receipt)
    }
}

/// One message of the SdI about one invoice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OutcomeEntry {
    /// When it came, milliseconds since 1970, by the clock of the portal it came to.
    pub at_ms: u64,
    /// What it is.
    pub receipt: Receipt,
    /// IdentificativoSdI: which transmission it is about.
    pub sdi_id: String,
    /// The message's file, if it is one.
    pub file: Option<BlobHash>,
    /// Name of that file.
    pub file_name: String,
    /// Codes in it, separated by spaces: `00404`, `EC02`.
    pub codes: String,
    /// What it says in words.
    pub note: String,
}

impl OutcomeEntry {
    /// An entry without a file, codes or a note.
    #[must_use]
    pub fn new(receipt: Receipt, sdi_id: &str, at_ms: u64) -> Self {
        Self {
            at_ms,
            receipt,
            sdi_id: sdi_id.to_owned(),
            file: None,
            file_name: String::new(),
            codes: String::new(),
            note: String::new(),
        }
    }

    /// The entry's key: 16 hexadecimal digits of its file's hash, or receipt and SdI id.
    #[must_use]
    pub fn key(&self) -> String {
        match &self.file {
            Some(hash) => hash.to_string()[..16].to_owned(),
            None => format!("{}{}", self.receipt.code(), self.sdi_id),
        }
    }
}

/// How an entry stands in a document. A later version adds a variant.
#[derive(Serialize, Deserialize)]
enum Stored {
    V1(OutcomeEntry),
}

/// The contents of the change that notes `entry`, or `None` when it is noted already.
///
/// `existing` must hold every change that `actor` made to this document, and should hold all
/// there are; for the first entry it is empty and nothing is loaded.
///
/// # Errors
/// [`DocumentError`]: the document cannot be read, or the entry is longer than a change may be.
pub fn add(
    actor: LogId,
    existing: &[&[u8]],
    entry: &OutcomeEntry,
) -> Result<Option<Vec<u8>>, DocumentError> {
    let key = entry.key();
    if !existing.is_empty() && !merge(existing)?.fields.versions(&key).is_empty() {
        return Ok(None);
    }
    // Encoding to memory fails only for types without a known length, which this has not.
    let value = postcard::to_stdvec(&Stored::V1(entry.clone()))
        .map_err(|_| DocumentError::Field("entry"))?;
    author(actor, existing, [Edit::new(&key, Scalar::bytes(&value))])
}

/// Every entry that can be read, ordered, each once. What cannot be read is not an entry: a
/// newer version may have written it.
pub(crate) fn read(fields: &Fields<'_>) -> Vec<OutcomeEntry> {
    let mut entries = Vec::new();
    for (key, versions) in fields.iter() {
        for version in versions {
            let Scalar::Bytes(bytes) = &version.value else { continue };
            match postcard::take_from_bytes(bytes) {
                Ok((Stored::V1(entry), [])) if entry.key() == key => entries.push(entry),
                _ => {}
            }
        }
    }
    entries.sort_unstable();
    entries.dedup();
    entries
}
