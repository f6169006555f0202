//! The ERP's own marks on an invoice: registered, paid, notes. They replicate like everything
//! else, and only a customer's node may write them.

use axum::{
    body::Body,
    extract::{Path, State},
    response::Json,
};
use engine::document::annotation::AnnotationEdit;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    Api, body,
    caller::Writer,
    invoices::detail,
    model::InvoiceDetail,
    problem::{Problem, ProblemBody},
    query::invoice_id,
};
use crate::moment::parse_rfc3339;

/// Longest body: the longest notes and two moments.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Longest notes.
const NOTES_BYTES_MAX: usize = 16 * 1024;

/// What to change (RFC 7396): an absent field stays, null takes a mark back.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnnotationPatch {
    /// When it was entered into the books: a moment or a day.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, example = "2026-11-24T09:30:00Z")]
    pub registered_at: Option<Option<String>>,
    /// When it was paid: a moment or a day.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, example = "2026-11-30")]
    pub paid_at: Option<Option<String>>,
    /// Notes, replacing what they were.
    #[schema(max_length = 16384)]
    pub notes: Option<String>,
}

/// Tells null from absent.
fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(from).map(Some)
}

impl AnnotationPatch {
    fn edits(self) -> Result<Vec<AnnotationEdit>, Problem> {
        let moment = |name, text: Option<String>| {
            let wanted = || {
                Problem::parameter(
                    name,
                    "una data (2026-11-30) o un istante (2026-11-30T10:00:00Z)",
                    "a day (2026-11-30) or a moment (2026-11-30T10:00:00Z)",
                )
            };
            text.map(|text| parse_rfc3339(&text).ok_or_else(wanted)).transpose()
        };
        let mut edits = Vec::new();
        if let Some(at) = self.registered_at {
            edits.push(AnnotationEdit::Registered(moment("registered_at", at)?));
        }
        if let Some(at) = self.paid_at {
            edits.push(AnnotationEdit::Paid(moment("paid_at", at)?));
        }
        if let Some(notes) = self.notes {
            if notes.len() > NOTES_BYTES_MAX {
                return Err(Problem::parameter("notes", "al massimo 16 KiB", "at most 16 KiB"));
            }
            edits.push(AnnotationEdit::Notes(notes));
        }
        Ok(edits)
    }
}

/// Mark an invoice as registered or paid, take a mark back, or replace the notes.
#[utoipa::path(
    patch,
    path = "/api/v1/invoices/{id}/annotation",
    operation_id = "annotateInvoice",
    tag = "invoices",
    params(("id" = String, Path, description = "The invoice's id")),
    request_body(content = AnnotationPatch, content_type = "application/merge-patch+json"),
    responses(
        (status = 200, description = "The invoice as it is now", body = InvoiceDetail),
        (status = 400, description = "The body is wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "Not let in", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "This user may only read, or this server may not write marks", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "Not there", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "Too long", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn annotate(
    State(api): State<Api>,
    Writer(caller): Writer,
    Path(id): Path<String>,
    body: Body,
) -> Result<Json<InvoiceDetail>, Problem> {
    let id = invoice_id(&id)?;
    let space = api.space(&caller)?;
    let bytes = body::whole(body, BODY_BYTES_MAX).await?;
    let patch: AnnotationPatch = serde_json::from_slice(&bytes).map_err(|error| {
        Problem::body(
            format!("il corpo non è il JSON atteso (registered_at, paid_at, notes): {error}"),
            format!("the body is not the JSON expected (registered_at, paid_at, notes): {error}"),
        )
    })?;
    space.annotate(id, patch.edits()?).await?;
    space.settled().await;
    detail(&space, id).await.map(Json)
}
