//! Sending an invoice: judged at once, and said to the truth if it is one of this company.

use std::sync::Arc;

use axum::{http::StatusCode, response::Response};
use engine::{archive, document::account::AccountRole};
use fatturapa::check::{Context, Report, check_bytes};
use maud::html;
use node::{
    intake::{Intake, safe_name},
    moment::today,
    reason::Reason,
};

use super::{
    Here, broken,
    layout::{notice, page, token},
};
use crate::{
    door::{asked::Asked, pass::Caller},
    portal::Portal,
};

/// `GET /invia`
pub async fn compose(portal: Arc<Portal>, who: Caller, _: Asked) -> Response {
    sending(&portal, &who, StatusCode::OK, None, None)
}

/// `POST /invia`: judged at once; said to the truth if it is an invoice of this company.
pub async fn submit(portal: Arc<Portal>, who: Caller, asked: Asked) -> Response {
    let (lang, tenant) = (who.lang(), who.tenant());
    let wrong = |text: &str, report: Option<&Report>| {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        sending(&portal, &who, status, Some((false, text)), report)
    };
    let Some(upload) = asked.file("file") else {
        return wrong(lang.t("Scegliete un file.", "Choose a file."), None);
    };
    let (name, bytes) = (safe_name(&upload.name), upload.bytes.clone());
    let space = portal.spaces.of(tenant);
    let judged = tokio::task::spawn_blocking(move || {
        let intake = Intake::read(&name, &bytes, None).map_err(Reason::from);
        let report = match &intake {
            Ok(intake) => space.judge().report(&name, &bytes, intake),
            Err(_) => today().map(|day| check_bytes(&name, &bytes, &Context::received(day))),
        };
        (report, intake.and_then(|intake| intake.of(tenant)), bytes)
    });
    let (report, intake, bytes) = match judged.await {
        Ok((Some(report), intake, bytes)) => (report, intake, bytes),
        Ok((None, ..)) => return broken(lang, &"the clock is wrong"),
        Err(error) => return broken(lang, &error),
    };
    let intake = match intake {
        Ok(intake) => intake,
        Err(reason) => {
            let (it, en) = (reason.italian(), reason.to_string());
            let text = format!("{} {}", lang.t("Non inviata:", "Not sent:"), lang.t(&it, &en));
            return wrong(&text, Some(&report));
        }
    };
    if !report.is_accepted() && asked.field("comunque") != "si" {
        let text = lang.t(
            "Non inviata: l'SdI la scarterebbe. Correggetela, o inviatela comunque spuntando la casella.",
            "Not sent: the SdI would reject it. Mend it, or send it all the same by ticking the box.",
        );
        return wrong(text, Some(&report));
    }
    let document = intake.document;
    let known = match archive::index(&*portal.store, tenant, &document) {
        Ok(rows) => !rows.is_empty(),
        Err(error) => return broken(lang, &error),
    };
    if !known {
        let item = match intake.item(portal.host.log()) {
            Ok(item) => item,
            Err(error) => return broken(lang, &error),
        };
        if let Err(error) = portal.host.append(tenant, vec![item], vec![bytes]).await {
            return broken(lang, &error);
        }
    }
    portal.spaces.of(tenant).settled().await;
    super::redirect(&format!("/fatture/{document}"))
}

/// Whether somebody may send.
pub(super) fn may_send(who: &Caller) -> bool {
    who.role() >= AccountRole::Operator
}

fn sending(
    portal: &Portal,
    who: &Caller,
    status: StatusCode,
    said: Option<(bool, &str)>,
    report: Option<&Report>,
) -> Response {
    let lang = who.lang();
    let body = html! {
        @if let Some((is_good, text)) = said { (notice(is_good, text)) }
        @if let Some(report) = report {
            section.panel {
                h2 { (lang.t("Che cosa direbbe l'SdI", "What the SdI would say")) }
                @if report.findings.is_empty() { p { (lang.t("Niente da segnalare nel contenuto.", "Nothing to note in the content.")) } }
                ul.findings { @for finding in &report.findings { li {
                    @if let Some(code) = &finding.code { span.badge.bad { (code) } } @else { span.badge.wait { (lang.t("consiglio", "advice")) } }
                    " " (finding.sentence)
                    @if !finding.fix.is_empty() { p.hint { (finding.fix) } }
                    p.hint { code { (finding.path) } }
                } } }
            }
        }
        section.panel {
            form.stack method="post" action="/invia" enctype="multipart/form-data" {
                (token(who.token()))
                label for="file" { (lang.t("File FatturaPA (.xml o .xml.p7m)", "FatturaPA file (.xml or .xml.p7m)")) }
                input id="file" name="file" type="file" accept=".xml,.p7m" required aria-describedby="regola";
                p.hint id="regola" { (lang.t("Viene controllata subito, prima dell'invio. Al massimo 5 MB.", "It is judged at once, before it is sent. At most 5 MB.")) }
                p.check { input type="checkbox" id="comunque" name="comunque" value="si";
                    label for="comunque" { (lang.t("Inviare anche se l'SdI la scarterebbe", "Send even if the SdI would reject it")) } }
                button { (lang.t("Controlla e invia", "Check and send")) }
            }
        }
    };
    let title = lang.t("Inviare una fattura", "Send an invoice");
    let mut response = page(portal, who, Here::Send, title, &body);
    *response.status_mut() = status;
    response
}
