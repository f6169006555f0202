//! List and read invoices, their originals, and the pages people read.

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderValue, Response, StatusCode, header},
    response::Json,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use engine::id::{BlobHash, DocumentId, Kind};
use fatturapa::{
    Date,
    invoice::{self, InvoiceFile},
    view,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    Api,
    caller::Caller,
    model::{DirectionName, InvoiceDetail, InvoicePage, OutcomeView, State as StateName},
    problem::{Problem, ProblemBody},
    query::{Asked, hex, invoice_id},
    space::{Records, Space},
};
use crate::{
    intake::safe_name,
    reason::Reason,
    register::{Filter, Place},
};

/// Most invoices of one page.
pub const PAGE_MAX: u32 = 500;
/// Invoices of a page, unless said otherwise.
const PAGE: u32 = 100;
/// Longest filter text.
const TEXT_BYTES_MAX: usize = 200;

/// Which invoices, and how many.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Sent or received.
    pub direction: Option<DirectionName>,
    /// First day, `2026-01-01`.
    #[param(format = Date)]
    pub from: Option<String>,
    /// Last day.
    #[param(format = Date)]
    pub to: Option<String>,
    /// Part of the name, VAT number or tax code of supplier or buyer.
    #[param(max_length = 200)]
    pub party: Option<String>,
    /// Where it stands with the SdI.
    pub state: Option<StateName>,
    /// Words that must all be found in number, file name, SdI id, parties or notes.
    #[param(max_length = 200)]
    pub text: Option<String>,
    /// Whether the ERP has registered it.
    pub registered: Option<bool>,
    /// Whether it is paid.
    pub paid: Option<bool>,
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// Invoices of the page.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
}

impl ListQuery {
    fn read(self) -> Result<(Filter, Option<Place>, usize), Problem> {
        let day = |name, text: Option<String>| {
            let wanted =
                || Problem::parameter(name, "una data come 2026-01-31", "a day like 2026-01-31");
            text.map(|text| Date::parse(&text).ok_or_else(wanted)).transpose()
        };
        for (name, text) in [("party", &self.party), ("text", &self.text)] {
            if text.as_ref().is_some_and(|text| text.len() > TEXT_BYTES_MAX) {
                return Err(Problem::parameter(name, "al massimo 200 byte", "at most 200 bytes"));
            }
        }
        let cursor = self.cursor.map(|text| {
            let wanted = || {
                Problem::parameter("cursor", "il valore «next» ricevuto", "a \"next\" as received")
            };
            place(&text).ok_or_else(wanted)
        });
        let limit = self.limit.unwrap_or(PAGE);
        if !(1..=PAGE_MAX).contains(&limit) {
            let wanted = || Problem::parameter("limit", "un numero da 1 a 500", "1 to 500");
            return Err(wanted());
        }
        let filter = Filter {
            direction: self.direction.map(Into::into),
            from: day("from", self.from)?,
            to: day("to", self.to)?,
            party: self.party,
            state: self.state.map(Into::into),
            text: self.text,
            registered: self.registered,
            paid: self.paid,
        };
        Ok((filter, cursor.transpose()?, limit as usize))
    }
}

/// List invoices, the latest day first.
#[utoipa::path(
    get,
    path = "/api/v1/invoices",
    operation_id = "listInvoices",
    tag = "invoices",
    params(ListQuery),
    responses(
        (status = 200, description = "A page", body = InvoicePage),
        (status = 400, description = "A parameter is wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "Not let in", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    State(api): State<Api>,
    caller: Caller,
    Asked(query): Asked<ListQuery>,
) -> Result<Json<InvoicePage>, Problem> {
    let (filter, after, limit) = query.read()?;
    let space = api.space(&caller)?;
    let (invoices, next) = space
        .read(move |space| {
            let mut places = space.register().list(&filter, after, limit + 1)?;
            let more = places.len() > limit;
            places.truncate(limit);
            let next = places.last().filter(|_| more).map(cursor);
            let mut invoices = Vec::with_capacity(places.len());
            for place in places {
                // One that went away between the two looks is not there.
                invoices.extend(space.records(place.invoice)?.map(|records| records.summary()));
            }
            Ok((invoices, next))
        })
        .await?;
    Ok(Json(InvoicePage { invoices, next, as_of: space.as_of().await }))
}

/// Read one invoice with all that is known about it.
#[utoipa::path(
    get,
    path = "/api/v1/invoices/{id}",
    operation_id = "readInvoice",
    tag = "invoices",
    params(("id" = String, Path, description = "The invoice's id")),
    responses(
        (status = 200, description = "The invoice", body = InvoiceDetail),
        (status = 401, description = "Not let in", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "Not there", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn read(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<InvoiceDetail>, Problem> {
    let id = invoice_id(&id)?;
    let space = api.space(&caller)?;
    detail(&space, id).await.map(Json)
}

/// What [`read`] shows, also after a mark was made.
pub(super) async fn detail(
    space: &std::sync::Arc<Space>,
    id: DocumentId,
) -> Result<InvoiceDetail, Problem> {
    let records = space.read(move |space| space.records(id)).await?;
    let records = records.ok_or_else(Problem::not_found)?;
    let entries = records.outcome.iter().flat_map(|outcome| &outcome.entries);
    Ok(InvoiceDetail {
        summary: records.summary(),
        outcomes: entries.map(OutcomeView::from).collect(),
        held_by: space.held_by(id).await?,
        as_of: space.as_of().await,
    })
}

/// The original file, byte for byte: XML, or p7m where it is signed so.
#[utoipa::path(
    get,
    path = "/api/v1/invoices/{id}/original",
    operation_id = "readOriginal",
    tag = "invoices",
    params(("id" = String, Path, description = "The invoice's id")),
    responses(
        (status = 200, description = "The file", content(
            (Vec<u8> = "application/xml"), (Vec<u8> = "application/pkcs7-mime")
        )),
        (status = 401, description = "Not let in", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "Not there", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn original(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response<Body>, Problem> {
    let (records, bytes) = opened(&api, &caller, &id).await?;
    let name = &records.content.file_name;
    Ok(download(&bytes_type(&bytes), name, bytes))
}

/// What the original says, typed: every line, VAT row and payment.
#[utoipa::path(
    get,
    path = "/api/v1/invoices/{id}/content",
    operation_id = "readContent",
    tag = "invoices",
    params(("id" = String, Path, description = "The invoice's id")),
    responses(
        (status = 200, description = "The invoice file as JSON; amounts are decimal texts", body = serde_json::Value),
        (status = 401, description = "Not let in", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "Not there", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The original cannot be read as an invoice", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn content(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<InvoiceFile>, Problem> {
    let (records, bytes) = opened(&api, &caller, &id).await?;
    shown(records, bytes, |file, _| file).await.map(Json)
}

/// The invoice as a page that needs nothing else.
#[utoipa::path(
    get,
    path = "/api/v1/invoices/{id}/html",
    operation_id = "readHtml",
    tag = "invoices",
    params(("id" = String, Path, description = "The invoice's id")),
    responses(
        (status = 200, description = "The page", body = String, content_type = "text/html; charset=utf-8"),
        (status = 401, description = "Not let in", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "Not there", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The original cannot be read as an invoice", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn html(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response<Body>, Problem> {
    let (records, bytes) = opened(&api, &caller, &id).await?;
    let page = shown(records, bytes, |file, bytes| view::html(&file, Some(bytes))).await?;
    let mut response = Response::new(Body::from(page));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    // An invoice comes from strangers: its page may do nothing but be read.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; sandbox allow-downloads";
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    Ok(response)
}

/// The invoice as PDF.
#[utoipa::path(
    get,
    path = "/api/v1/invoices/{id}/pdf",
    operation_id = "readPdf",
    tag = "invoices",
    params(("id" = String, Path, description = "The invoice's id")),
    responses(
        (status = 200, description = "The document", body = Vec<u8>, content_type = "application/pdf"),
        (status = 401, description = "Not let in", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "Not there", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The original cannot be read as an invoice", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn pdf(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response<Body>, Problem> {
    let (records, bytes) = opened(&api, &caller, &id).await?;
    let name = format!("{}.pdf", records.content.file_name);
    let pdf = shown(records, bytes, |file, _| view::pdf(&file)).await?;
    Ok(download("application/pdf", &name, pdf))
}

/// A message of the SdI about the invoice, byte for byte.
#[utoipa::path(
    get,
    path = "/api/v1/invoices/{id}/receipts/{sha256}",
    operation_id = "readReceipt",
    tag = "invoices",
    params(
        ("id" = String, Path, description = "The invoice's id"),
        ("sha256" = String, Path, description = "The message's file, as the invoice's outcomes name it"),
    ),
    responses(
        (status = 200, description = "The file", content(
            (Vec<u8> = "application/xml"), (Vec<u8> = "application/pkcs7-mime")
        )),
        (status = 401, description = "Not let in", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "Not there", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn receipt(
    State(api): State<Api>,
    caller: Caller,
    Path((id, sha256)): Path<(String, String)>,
) -> Result<Response<Body>, Problem> {
    let id = invoice_id(&id)?;
    let hash = hex::<32>(&sha256).map(BlobHash::from_bytes).ok_or_else(Problem::not_found)?;
    let space = api.space(&caller)?;
    let found = space
        .read(move |space| {
            let Some(records) = space.records(id)? else { return Ok(None) };
            let entries = records.outcome.map(|outcome| outcome.entries).unwrap_or_default();
            let entry = entries.into_iter().find(|entry| entry.file == Some(hash));
            let Some(entry) = entry else { return Ok(None) };
            let bytes = space.file(id.sibling(Kind::Outcome), &hash)?;
            Ok(bytes.map(|bytes| (entry.file_name, bytes)))
        })
        .await?;
    let (name, bytes) = found.ok_or_else(Problem::not_found)?;
    Ok(download(&bytes_type(&bytes), &name, bytes))
}

/// An invoice's records and its original.
async fn opened(api: &Api, caller: &Caller, id: &str) -> Result<(Records, Vec<u8>), Problem> {
    let id = invoice_id(id)?;
    let space = api.space(caller)?;
    let found = space
        .read(move |space| {
            let Some(records) = space.records(id)? else { return Ok(None) };
            let bytes = space.file(id, &records.content.original)?;
            Ok(bytes.map(|bytes| (records, bytes)))
        })
        .await?;
    found.ok_or_else(Problem::not_found)
}

/// Reads the original and makes something of it, on a thread that may take its time.
async fn shown<T: Send + 'static>(
    records: Records,
    bytes: Vec<u8>,
    make: impl FnOnce(InvoiceFile, &[u8]) -> T + Send + 'static,
) -> Result<T, Problem> {
    let made = tokio::task::spawn_blocking(move || {
        invoice::read(&records.content.file_name, &bytes).map(|file| make(file, &bytes))
    });
    match made.await {
        Ok(Ok(made)) => Ok(made),
        Ok(Err(error)) => Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "unreadable",
            format!(
                "il file originale non si legge come fattura: {}",
                Reason::from(error.clone()).italian()
            ),
            format!("the original cannot be read as an invoice: {error}"),
        )),
        Err(error) => Err(Problem::unavailable(&error)),
    }
}

fn bytes_type(bytes: &[u8]) -> String {
    let is_xml = bytes.iter().take(64).any(|byte| *byte == b'<');
    let name = if is_xml { "application/xml" } else { "application/pkcs7-mime" };
    name.to_owned()
}

fn download(content_type: &str, name: &str, bytes: Vec<u8>) -> Response<Body> {
    let etag = format!("\"{}\"", BlobHash::of(&bytes));
    let disposition = format!("attachment; filename=\"{}\"", safe_name(name));
    let mut response = Response::new(Body::from(bytes));
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_DISPOSITION, &disposition),
        (header::ETAG, &etag),
    ] {
        // All three are made of plain letters.
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    response
}

fn cursor(place: &Place) -> String {
    let bytes = [&place.days.to_be_bytes()[..], place.invoice.as_bytes()].concat();
    URL_SAFE_NO_PAD.encode(bytes)
}

fn place(text: &str) -> Option<Place> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (days, id) = bytes.split_first_chunk::<8>()?;
    let invoice = DocumentId::from_bytes(id.try_into().ok()?);
    Some(Place { days: i64::from_be_bytes(*days), invoice })
}
