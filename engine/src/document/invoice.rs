//! What an invoice says: the fields read from its original file, written once.
//!
//! The file itself is a blob; here stand its hash and what people search for. The document's
//! id is made from that hash, so an invoice that names another original is not this one.
//! Nothing here changes afterwards: only changes that were made upon nothing count.

use super::{DocumentError, Edit, Fields, Scalar, author};
use crate::id::{BlobHash, LogId};

/// Whether the tenant issued the invoice or was issued it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub enum Direction {
    /// The tenant is the supplier (active cycle).
    Sent,
    /// The tenant is the buyer (passive cycle).
    Received,
}

/// Supplier or buyer.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Party {
    /// VAT number with its country, `IT02038490237`; empty when it has none.
    pub vat: String,
    /// Codice fiscale; empty when not stated.
    pub tax_code: String,
    /// Denominazione, or name and surname.
    pub name: String,
}

/// How a received invoice came.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Receiving {
    /// IdentificativoSdI.
    pub sdi_id: String,
    /// When the channel received it, milliseconds since 1970.
    pub at_ms: u64,
    /// The metadata file (MT) that came with it.
    pub metadata: Option<BlobHash>,
}

/// The fields of an invoice. An empty text is an absent one.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct InvoiceContent {
    /// Name of the original file, as it came.
    pub file_name: String,
    /// SHA-256 of the original file.
    pub original: BlobHash,
    /// Its length in bytes.
    pub original_len: u64,
    /// Sent or received.
    pub direction: Direction,
    /// FormatoTrasmissione: `FPR12`, `FPA12`, `FSM10`.
    pub format: String,
    /// Numero, of the first body where there are several.
    pub number: String,
    /// Data, `2026-11-24`.
    pub date: String,
    /// TipoDocumento, `TD01`.
    pub document_type: String,
    /// Cedente/prestatore.
    pub supplier: Party,
    /// Cessionario/committente.
    pub buyer: Party,
    /// CodiceDestinatario.
    pub recipient_code: String,
    /// ImportoTotaleDocumento as written, an exact decimal; empty when not stated.
    pub total: String,
    /// Divisa, `EUR`.
    pub currency: String,
    /// How many invoices the file holds: more than one is a batch (lotto).
    pub bodies: u32,
    /// For a received invoice, how it came.
    pub receiving: Option<Receiving>,
}

/// The contents of the change that writes the invoice.
///
/// # Errors
/// [`DocumentError::Change`] when the texts are longer than a change may be.
pub fn create(actor: LogId, content: &InvoiceContent) -> Result<Vec<u8>, DocumentError> {
    let text = |key, text| Edit::new(key, Scalar::text(text));
    let mut edits = vec![
        text("file_name", &content.file_name),
        Edit::new("original", Scalar::blob(&content.original)),
        Edit::new("original_len", Scalar::Uint(content.original_len)),
        Edit::new("received", Scalar::Bool(content.direction == Direction::Received)),
        text("format", &content.format),
        text("number", &content.number),
        text("date", &content.date),
        text("type", &content.document_type),
        text("supplier_vat", &content.supplier.vat),
        text("supplier_tax", &content.supplier.tax_code),
        text("supplier_name", &content.supplier.name),
        text("buyer_vat", &content.buyer.vat),
        text("buyer_tax", &content.buyer.tax_code),
        text("buyer_name", &content.buyer.name),
        text("recipient", &content.recipient_code),
        text("total", &content.total),
        text("currency", &content.currency),
        Edit::new("bodies", Scalar::Uint(u64::from(content.bodies))),
    ];
    if let Some(receiving) = &content.receiving {
        edits.push(text("sdi_id", &receiving.sdi_id));
        edits.push(Edit::new("sdi_at", time(receiving.at_ms)));
        edits.extend(
            receiving.metadata.as_ref().map(|hash| Edit::new("metadata", Scalar::blob(hash))),
        );
    }
    edits.retain(|edit| !matches!(&edit.value, Scalar::Text(text) if text.is_empty()));
    // `original` is always there, so there is always something to say.
    author(actor, &[], edits)?.ok_or(DocumentError::Field("original"))
}

impl InvoiceContent {
    pub(crate) fn read(fields: &Fields<'_>) -> Result<Self, DocumentError> {
        let party = |vat, tax_code, name| Party {
            vat: fields.text(vat),
            tax_code: fields.text(tax_code),
            name: fields.text(name),
        };
        let direction = match fields.value("received") {
            Some(Scalar::Bool(true)) => Direction::Received,
            Some(Scalar::Bool(false)) => Direction::Sent,
            _ => return Err(DocumentError::Field("received")),
        };
        let receiving = fields.time_ms("sdi_at").map(|at_ms| Receiving {
            sdi_id: fields.text("sdi_id"),
            at_ms,
            metadata: fields.blob("metadata"),
        });
        Ok(Self {
            file_name: fields.text("file_name"),
            original: fields.blob("original").ok_or(DocumentError::Field("original"))?,
            original_len: fields.uint("original_len").unwrap_or(0),
            direction,
            format: fields.text("format"),
            number: fields.text("number"),
            date: fields.text("date"),
            document_type: fields.text("type"),
            supplier: party("supplier_vat", "supplier_tax", "supplier_name"),
            buyer: party("buyer_vat", "buyer_tax", "buyer_name"),
            recipient_code: fields.text("recipient"),
            total: fields.text("total"),
            currency: fields.text("currency"),
            bodies: fields.uint("bodies").and_then(|n| u32::try_from(n).ok()).unwrap_or(1),
            receiving,
        })
    }
}

/// Milliseconds as they stand in a document; a moment beyond the year 292,278,994 is that year.
pub(super) fn time(at_ms: u64) -> Scalar<'static> {
    Scalar::Time(i64::try_from(at_ms).unwrap_or(i64::MAX))
}
