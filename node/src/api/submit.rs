//! Takes an invoice file from the ERP as the spool does, and judges it at once.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Json, Response},
};
use engine::{archive, id::BlobHash};
use fatturapa::check::{Context, Report, check_bytes};
use serde::Deserialize;
use tokio::task::spawn_blocking;
use utoipa::IntoParams;

use super::{
    Api, BODY_BYTES_MAX, body,
    caller::{Caller, Writer},
    model::{FindingView, Submitted},
    problem::{Problem, ProblemBody},
    query::Asked,
};
use crate::{
    intake::{Intake, safe_name},
    moment::today,
    reason::Reason,
};

/// Longest idempotency key.
const KEY_BYTES_MAX: usize = 255;

/// How to take it.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SubmitQuery {
    /// Name of the file.
    #[param(max_length = 120, example = "IT02038490237_00001.xml")]
    pub name: Option<String>,
    /// Refuse what the SdI would reject, as far as can be told here, and do not only say so.
    pub strict: Option<bool>,
}

/// Submit an invoice: the FatturaPA file itself, XML or p7m, is the body. It is durable here once
/// this answers, and goes to the portals as soon as a line is up.
#[utoipa::path(
    post,
    path = "/api/v1/invoices",
    operation_id = "submitInvoice",
    tag = "invoices",
    params(
        SubmitQuery,
        ("Idempotency-Key" = Option<String>, Header, description = "A name for this submission; the same one for the same file is harmless, for another file it is refused"),
    ),
    request_body(content(
        (Vec<u8> = "application/xml"), (Vec<u8> = "application/pkcs7-mime"), (Vec<u8> = "application/octet-stream")
    ), description = "The file, byte for byte"),
    responses(
        (status = 202, description = "Taken", body = Submitted, headers(("Location" = String, description = "The invoice"))),
        (status = 400, description = "A parameter is wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "Not let in", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "This user may only read", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "Too long", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "Not taken: `detail` and `findings` say why", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn submit(
    State(api): State<Api>,
    Writer(caller): Writer,
    Asked(query): Asked<SubmitQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let space = api.space(&caller)?;
    let key = idempotency_key(&headers)?;
    // Whoever waits here has sent no more than the system buffers.
    let closed = |error| Problem::unavailable(&error);
    let ours = api.submissions.of(caller.tenant());
    let _ours = ours.acquire().await.map_err(closed)?;
    let _all = api.all_submissions.acquire().await.map_err(closed)?;
    let bytes = body::whole(body, BODY_BYTES_MAX).await?;
    let hash = BlobHash::of(&bytes);
    if let Some(key) = &key
        && api.keys.is_for_another(&caller, key, &hash)
    {
        return Err(used());
    }
    let name = safe_name(query.name.as_deref().unwrap_or(if bytes.starts_with(b"<") {
        "fattura.xml"
    } else {
        "fattura.p7m"
    }));
    let tenant = space.tenant();
    let (name, bytes, report, intake) = space
        .read(move |space| {
            let wrong_clock = || Problem::unavailable(&"the clock of this machine is wrong");
            let intake = Intake::read(&name, &bytes, None).map_err(Reason::from);
            let report = match &intake {
                Ok(intake) => space.judge().report(&name, &bytes, intake),
                Err(_) => today().map(|day| check_bytes(&name, &bytes, &Context::received(day))),
            };
            let report = report.ok_or_else(wrong_clock)?;
            Ok((name, bytes, report, intake.and_then(|intake| intake.of(tenant))))
        })
        .await?;
    let intake = intake.map_err(|reason| refused(&reason, &report))?;
    if query.strict == Some(true) && !report.is_accepted() {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "would-be-rejected",
            "la fattura non è stata presa in carico: il SdI la scarterebbe",
            "the invoice was not taken: the SdI would reject it",
        )
        .with("codes", &report.codes)
        .with("findings", findings(&report)));
    }
    if let Some(key) = key {
        claim(&api, &caller, key, hash).await?;
    }
    let document = intake.document;
    let known = space
        .read(move |space| Ok(!archive::index(&**space.store(), tenant, &document)?.is_empty()))
        .await?;
    if !known {
        let item = intake.item(space.host().log());
        let item = item.map_err(|error| refused(&error.into(), &report))?;
        space.host().append(tenant, vec![item], vec![bytes.to_vec()]).await?;
    }
    // Also where it is known: whoever asks again may not have been answered because of this.
    space.read(move |space| space.keep(&name, &hash, &bytes)).await?;
    space.settled().await;
    let submitted = Submitted {
        id: document.to_string(),
        sha256: hash.to_string(),
        known,
        would_be_accepted: report.is_accepted(),
        findings: findings(&report),
    };
    let location = format!("/api/v1/invoices/{document}");
    let mut response = (StatusCode::ACCEPTED, Json(submitted)).into_response();
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Notes durably that the key is for this file, before the file is.
async fn claim(api: &Api, caller: &Caller, key: String, hash: BlobHash) -> Result<(), Problem> {
    let (keys, caller) = (api.keys.clone(), caller.clone());
    let claimed = spawn_blocking(move || keys.claim(&caller, &key, &hash)).await;
    match claimed {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err(used()),
        Ok(Err(error)) => Err(Problem::unavailable(&error)),
        Err(error) => Err(Problem::unavailable(&error)),
    }
}

fn used() -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "idempotency-key",
        "questa Idempotency-Key è già stata usata per un altro file",
        "this Idempotency-Key was already used for another file",
    )
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let text = key.to_str().ok().map(|text| text.trim_matches('"'));
    match text.filter(|text| (1..=KEY_BYTES_MAX).contains(&text.len())) {
        Some(text) => Ok(Some(text.to_owned())),
        None => Err(Problem::parameter(
            "Idempotency-Key",
            "un testo ASCII da 1 a 255 caratteri",
            "an ASCII text of 1 to 255 characters",
        )),
    }
}

fn refused(reason: &Reason, report: &Report) -> Problem {
    let kind = match reason {
        Reason::OtherTenant { .. } => "other-tenant",
        _ => "not-an-invoice",
    };
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        kind,
        format!("la fattura non è stata presa in carico: {}", reason.italian()),
        format!("the invoice was not taken: {reason}"),
    )
    .with("codes", &report.codes)
    .with("findings", findings(report))
}

fn findings(report: &Report) -> Vec<FindingView> {
    let view = |finding: &fatturapa::judge::Finding| FindingView {
        code: finding.code.clone(),
        path: finding.path.clone(),
        sentence: finding.sentence.clone(),
        fix: finding.fix.clone(),
    };
    report.findings.iter().map(view).collect()
}
