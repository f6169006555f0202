//! What the API shows: typed JSON, made from records and never the other way round. Amounts are
//! decimal texts, as written in the invoice; moments are RFC 3339 in UTC; what is absent is null.

use engine::{
    document::{
        invoice::{Direction, InvoiceContent, Party},
        outcome::OutcomeEntry,
    },
    id::{BlobHash, DocumentId, Kind},
    record::{AnnotationRecord, Conflict, OutcomeRecord, OutcomeState},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{moment::rfc3339, register::standing};

/// Whether the tenant issued the invoice or was issued it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DirectionName {
    /// Issued by the tenant.
    Sent,
    /// Issued to the tenant.
    Received,
}

impl From<Direction> for DirectionName {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Sent => Self::Sent,
            Direction::Received => Self::Received,
        }
    }
}

impl From<DirectionName> for Direction {
    fn from(name: DirectionName) -> Self {
        match name {
            DirectionName::Sent => Self::Sent,
            DirectionName::Received => Self::Received,
        }
    }
}

/// Where an invoice stands with the SdI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing was said yet about a transmission.
    Queued,
    /// A received invoice.
    Received,
    /// The SdI has it.
    Sent,
    /// Not delivered (MC); issued all the same when the buyer is private.
    NotDelivered,
    /// Delivered (RC).
    Delivered,
    /// Transmitted, undeliverable (AT).
    Attested,
    /// The public body's 15 days are over (DT).
    Expired,
    /// The public body accepted it (EC01).
    Accepted,
    /// The public body refused it (EC02).
    Refused,
    /// Rejected by the SdI (NS).
    Rejected,
}

impl State {
    const ALL: [(Self, OutcomeState, &'static str); 10] = [
        (Self::Queued, OutcomeState::Silent, "queued"),
        (Self::Received, OutcomeState::Received, "received"),
        (Self::Sent, OutcomeState::Sent, "sent"),
        (Self::NotDelivered, OutcomeState::NotDelivered, "not_delivered"),
        (Self::Delivered, OutcomeState::Delivered, "delivered"),
        (Self::Attested, OutcomeState::Attested, "attested"),
        (Self::Expired, OutcomeState::Expired, "expired"),
        (Self::Accepted, OutcomeState::Accepted, "accepted"),
        (Self::Refused, OutcomeState::Refused, "refused"),
        (Self::Rejected, OutcomeState::Rejected, "rejected"),
    ];

    /// The word for it in JSON and in exports.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(state, ..)| *state == self).map_or("", |(.., word)| word)
    }
}

impl From<OutcomeState> for State {
    fn from(outcome: OutcomeState) -> Self {
        let found = Self::ALL.iter().find(|(_, known, _)| *known == outcome);
        found.map_or(Self::Queued, |(state, ..)| *state)
    }
}

impl From<State> for OutcomeState {
    fn from(state: State) -> Self {
        let found = State::ALL.iter().find(|(known, ..)| *known == state);
        found.map_or(Self::Silent, |(_, outcome, _)| *outcome)
    }
}

/// Supplier or buyer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PartyView {
    /// VAT number with its country, `IT02038490237`.
    pub vat: Option<String>,
    /// Codice fiscale.
    pub tax_code: Option<String>,
    /// Name.
    pub name: String,
}

impl From<&Party> for PartyView {
    fn from(party: &Party) -> Self {
        Self { vat: some(&party.vat), tax_code: some(&party.tax_code), name: party.name.clone() }
    }
}

/// The ERP's own marks on an invoice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AnnotationView {
    /// When it was entered into the books.
    #[schema(format = DateTime)]
    pub registered_at: Option<String>,
    /// When it was paid.
    #[schema(format = DateTime)]
    pub paid_at: Option<String>,
    /// Notes.
    pub notes: String,
    /// Fields that two wrote without knowing of each other.
    pub conflicts: Vec<ConflictView>,
}

/// A field with several values, none of which knew of the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConflictView {
    /// The field.
    pub field: String,
    /// Its values, the one that counts first.
    pub values: Vec<String>,
}

impl From<&AnnotationRecord> for AnnotationView {
    fn from(record: &AnnotationRecord) -> Self {
        let conflict = |conflict: &Conflict| ConflictView {
            field: conflict.field.clone(),
            values: conflict.values.clone(),
        };
        Self {
            registered_at: record.registered_ms.map(rfc3339),
            paid_at: record.paid_ms.map(rfc3339),
            notes: record.notes.clone(),
            conflicts: record.conflicts.iter().map(conflict).collect(),
        }
    }
}

/// One invoice in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InvoiceSummary {
    /// Its id: 32 hexadecimal digits, made from its original file.
    #[schema(pattern = "^[0-9a-f]{32}$", example = "03a1b2c3d4e5f60718293a4b5c6d7e8f")]
    pub id: String,
    /// Sent or received.
    pub direction: DirectionName,
    /// Name of the original file.
    pub file_name: String,
    /// SHA-256 of the original file.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
    /// FormatoTrasmissione.
    pub format: String,
    /// TipoDocumento.
    pub document_type: String,
    /// Numero, of the first body where there are several.
    pub number: String,
    /// Data, `2026-11-24`.
    pub date: Option<String>,
    /// Cedente/prestatore.
    pub supplier: PartyView,
    /// Cessionario/committente.
    pub buyer: PartyView,
    /// CodiceDestinatario.
    pub recipient_code: Option<String>,
    /// ImportoTotaleDocumento, an exact decimal.
    #[schema(example = "122.00")]
    pub total: Option<String>,
    /// Divisa.
    pub currency: Option<String>,
    /// How many invoices the file holds.
    pub bodies: u32,
    /// Where it stands with the SdI.
    pub state: State,
    /// Whether nothing more can come from the SdI.
    pub is_final: bool,
    /// IdentificativoSdI.
    pub sdi_id: Option<String>,
    /// When the SdI's channel received it, for a received one.
    #[schema(format = DateTime)]
    pub received_at: Option<String>,
    /// The SdI's messages contradict each other: a person should look.
    pub alarm: bool,
    /// The ERP's marks.
    pub annotation: AnnotationView,
}

impl InvoiceSummary {
    /// From the records about one invoice.
    #[must_use]
    pub fn of(
        id: DocumentId,
        content: &InvoiceContent,
        outcome: Option<&OutcomeRecord>,
        annotation: Option<&AnnotationRecord>,
    ) -> Self {
        let received = content.direction == Direction::Received;
        let state = standing(received, outcome.map(|outcome| outcome.state));
        let said = outcome.map(|outcome| outcome.sdi_id.as_str()).filter(|id| !id.is_empty());
        let came = content.receiving.as_ref();
        let sdi_id = said.or_else(|| came.map(|came| came.sdi_id.as_str()));
        Self {
            id: id.sibling(Kind::Invoice).to_string(),
            direction: content.direction.into(),
            file_name: content.file_name.clone(),
            sha256: content.original.to_string(),
            bytes: content.original_len,
            format: content.format.clone(),
            document_type: content.document_type.clone(),
            number: content.number.clone(),
            date: some(&content.date),
            supplier: (&content.supplier).into(),
            buyer: (&content.buyer).into(),
            recipient_code: some(&content.recipient_code),
            total: some(&content.total),
            currency: some(&content.currency),
            bodies: content.bodies,
            state: state.into(),
            is_final: state.is_final(content.format == "FPA12"),
            sdi_id: sdi_id.and_then(some),
            received_at: came.map(|came| rfc3339(came.at_ms)),
            alarm: outcome.is_some_and(|outcome| outcome.alarm),
            annotation: annotation.map(AnnotationView::from).unwrap_or_default(),
        }
    }
}

/// One message of the SdI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OutcomeView {
    /// When it came.
    #[schema(format = DateTime)]
    pub at: String,
    /// `RC`, `NS`, `MC`, `NE`, `AT`, `DT`, `SE`, `EC`, `MT`, or `Sent`.
    pub receipt: String,
    /// Which transmission it is about.
    pub sdi_id: Option<String>,
    /// Its codes.
    pub codes: Vec<String>,
    /// What it says in words.
    pub note: String,
    /// SHA-256 of its file, if it is one: the name under `receipts/`.
    pub file: Option<String>,
    /// Name of that file.
    pub file_name: Option<String>,
}

impl From<&OutcomeEntry> for OutcomeView {
    fn from(entry: &OutcomeEntry) -> Self {
        Self {
            at: rfc3339(entry.at_ms),
            receipt: entry.receipt.code().to_owned(),
            sdi_id: some(&entry.sdi_id),
            codes: entry.codes.split_whitespace().map(str::to_owned).collect(),
            note: entry.note.clone(),
            file: entry.file.as_ref().map(BlobHash::to_string),
            file_name: some(&entry.file_name),
        }
    }
}

/// One invoice with all that is known about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InvoiceDetail {
    /// What a list shows.
    #[serde(flatten)]
    pub summary: InvoiceSummary,
    /// Every message of the SdI, by time of arrival.
    pub outcomes: Vec<OutcomeView>,
    /// The portals known to hold it durably.
    pub held_by: Vec<String>,
    /// When this server was last known to hold what a portal holds.
    #[schema(format = DateTime)]
    pub as_of: Option<String>,
}

/// A page of invoices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InvoicePage {
    /// The invoices, the latest day first.
    pub invoices: Vec<InvoiceSummary>,
    /// Where the next page begins: give it as `cursor`. Null on the last page.
    pub next: Option<String>,
    /// When this server was last known to hold what a portal holds.
    #[schema(format = DateTime)]
    pub as_of: Option<String>,
}

/// Something found in a submitted invoice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FindingView {
    /// The SdI's code for it; null for advice.
    pub code: Option<String>,
    /// Where in the file.
    pub path: String,
    /// What is wrong, in Italian.
    pub sentence: String,
    /// What to do, in Italian.
    pub fix: String,
}

/// The answer to a submission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Submitted {
    /// The invoice's id.
    #[schema(pattern = "^[0-9a-f]{32}$")]
    pub id: String,
    /// SHA-256 of the file as it came.
    pub sha256: String,
    /// Whether the same file was here already.
    pub known: bool,
    /// Whether the SdI would accept it, as far as can be told here.
    pub would_be_accepted: bool,
    /// What was found, with advice that rejects nothing.
    pub findings: Vec<FindingView>,
}

/// What is known of one portal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PortalView {
    /// What people call it.
    pub name: String,
    /// Whether a session with it is open.
    pub connected: bool,
    /// Bundles that are here and not known to be there.
    pub to_send: u64,
    /// Bundles that are there and not here.
    pub to_fetch: u64,
    /// When both last held the same.
    #[schema(format = DateTime)]
    pub last_sync: Option<String>,
}

/// How fresh what is shown here is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SyncStatus {
    /// The P.IVA.
    #[schema(pattern = "^[0-9]{11}$")]
    pub vat: String,
    /// When this server was last known to hold what a portal holds: now, while a session is open
    /// and equal. Null if never.
    #[schema(format = DateTime)]
    pub as_of: Option<String>,
    /// Bundles held durably here.
    pub bundles: u64,
    /// Those of them that no other place is known to hold.
    pub queued: u64,
    /// Bundles that lists and queries do not show yet.
    pub mirror_behind: u64,
    /// Documents shown.
    pub records: u64,
    /// The portals.
    pub portals: Vec<PortalView>,
    /// Why nothing can be stored now.
    pub storage: Option<String>,
    /// What a person should know.
    pub alarms: Vec<String>,
}

/// The text, unless it is empty.
pub(super) fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
