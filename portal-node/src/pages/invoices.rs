//! Invoices: lists, one of them, its original, and sending one.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context as Task, Poll},
    time::Duration,
};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{
        IntoResponse as _, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use engine::{
    archive,
    document::{account::AccountRole, invoice::Direction},
    id::{BlobHash, DocumentId, Kind},
    record::OutcomeState,
};
use fatturapa::{
    Date,
    check::{Context, Report, check_bytes},
    invoice, view,
};
use futures_core::Stream;
use maud::{Markup, html};
use node::{
    api::{problem::Problem, query::hex, space::Records},
    intake::{Intake, safe_name},
    moment::today,
    reason::Reason,
    register::{Filter, Place, standing},
};
use tokio::{sync::mpsc, time::timeout};

use super::{
    Here, broken, file,
    layout::{notice, page, token},
    refused, words,
};
use crate::{
    door::{
        asked::Asked,
        pass::{Caller, Refused},
    },
    lang::Lang,
    portal::Portal,
};

/// Invoices of one page.
const PAGE: usize = 50;
/// How often somebody who follows changes is checked again.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// `GET /fatture/ricevute`
pub async fn received(portal: Arc<Portal>, who: Caller, asked: Asked) -> Response {
    list(portal, who, asked, Direction::Received).await
}

/// `GET /fatture/inviate`
pub async fn sent(portal: Arc<Portal>, who: Caller, asked: Asked) -> Response {
    list(portal, who, asked, Direction::Sent).await
}

async fn list(portal: Arc<Portal>, who: Caller, asked: Asked, direction: Direction) -> Response {
    let lang = who.lang();
    let some = |text: &str| (!text.is_empty()).then(|| text.chars().take(100).collect::<String>());
    let filter = Filter {
        direction: Some(direction),
        from: Date::parse(asked.query("dal")),
        to: Date::parse(asked.query("al")),
        party: some(asked.query("parte")),
        state: state_of(asked.query("stato")),
        text: some(asked.query("cerca")),
        ..Filter::default()
    };
    let after = place(asked.query("dopo"));
    let space = portal.spaces.of(who.tenant());
    let found = space.read(move |space| {
        let mut places = space.register().list(&filter, after, PAGE + 1)?;
        let more = places.len() > PAGE;
        places.truncate(PAGE);
        let next = places.last().filter(|_| more).map(cursor);
        let mut rows = Vec::with_capacity(places.len());
        for place in places {
            rows.extend(space.records(place.invoice)?);
        }
        Ok((rows, next))
    });
    let (rows, next) = match found.await {
        Ok(found) => found,
        Err(problem) => return broken(lang, &words_of(&problem)),
    };
    let (here, path, title) = match direction {
        Direction::Received => {
            (Here::Received, "/fatture/ricevute", lang.t("Fatture ricevute", "Received invoices"))
        }
        Direction::Sent => {
            (Here::Sent, "/fatture/inviate", lang.t("Fatture inviate", "Sent invoices"))
        }
    };
    let body = html! {
        form.line.filters method="get" action=(path) role="search" {
            div.field { label for="cerca" { (lang.t("Cerca", "Search")) }
                input id="cerca" name="cerca" type="search" maxlength="100" value=(asked.query("cerca"))
                    placeholder=(lang.t("numero, file, nome…", "number, file, name…")); }
            div.field { label for="parte" { @if direction == Direction::Received { (lang.t("Fornitore", "Supplier")) } @else { (lang.t("Cliente", "Buyer")) } }
                input id="parte" name="parte" maxlength="100" value=(asked.query("parte")); }
            div.field.short { label for="dal" { (lang.t("Dal", "From")) }
                input id="dal" name="dal" type="date" value=(asked.query("dal")); }
            div.field.short { label for="al" { (lang.t("Al", "To")) }
                input id="al" name="al" type="date" value=(asked.query("al")); }
            div.field.short { label for="stato" { (lang.t("Stato", "State")) }
                select id="stato" name="stato" {
                    option value="" { (lang.t("tutti", "all")) }
                    @for (state, word, _, _) in STATES.iter().filter(|(state, ..)| (*state == OutcomeState::Received) == (direction == Direction::Received)) {
                        option value=(word) selected[asked.query("stato") == *word] { (state_word(lang, *state)) }
                    }
                } }
            button { (lang.t("Mostra", "Show")) }
        }
        section.panel.list data-eventi="/fatture/eventi" aria-live="off" {
            @if rows.is_empty() {
                p { (lang.t("Nessuna fattura con questi criteri.", "No invoice matches.")) }
            } @else {
                div.scroll { table.dense {
                    thead { tr {
                        th scope="col" { (lang.t("Data", "Date")) }
                        th scope="col" { (lang.t("Numero", "Number")) }
                        th scope="col" { @if direction == Direction::Received { (lang.t("Fornitore", "Supplier")) } @else { (lang.t("Cliente", "Buyer")) } }
                        th scope="col" { (lang.t("Tipo", "Kind")) }
                        th.num scope="col" { (lang.t("Totale", "Total")) }
                        th scope="col" { (lang.t("Stato", "State")) }
                    } }
                    tbody { @for row in &rows { (one_row(lang, row)) } }
                    tfoot { @for (currency, total) in totals(&rows) { tr {
                        th colspan="4" scope="row" { (rows.len()) " " (lang.t("in questa pagina, somma", "on this page, sum")) }
                        td.num { strong { (total) } } td { (currency) }
                    } } }
                } }
                p.pager {
                    @if !asked.query("dopo").is_empty() { a href=(again(path, &asked, None)) { (lang.t("Dall'inizio", "From the start")) } }
                    @if let Some(next) = &next { a.button rel="next" href=(again(path, &asked, Some(next))) { (lang.t("Precedenti", "Earlier ones")) } }
                }
            }
        }
    };
    page(&portal, &who, here, title, &body)
}

/// `GET /fatture/{id}`
pub async fn show(portal: Arc<Portal>, who: Caller, asked: Asked) -> Response {
    let lang = who.lang();
    let records = match found(&portal, &who, &asked).await {
        Ok(records) => records,
        Err(response) => return response,
    };
    let held = held_by(&portal, &who, records.id).await;
    let content = &records.content;
    let is_received = content.direction == Direction::Received;
    let other = if is_received { &content.supplier } else { &content.buyer };
    let state = standing(is_received, records.outcome.as_ref().map(|outcome| outcome.state));
    let at = format!("/fatture/{}", records.id);
    let body = html! {
        p.lead { strong { (other.name) } @if !other.vat.is_empty() { " · " (other.vat) }
            " " span.badge.(state_tone(state)) { (state_word(lang, state)) } }
        @if records.outcome.as_ref().is_some_and(|outcome| outcome.alarm) {
            (notice(false, lang.t("I messaggi dell'SdI si contraddicono: guardateli.", "The SdI's messages contradict each other: look at them.")))
        }
        div.actions {
            a.button href={ (at) "/originale" } download { (lang.t("Scarica l'originale", "Download the original")) }
            a.button.quiet href={ (at) "/pdf" } { "PDF" }
            a.button.quiet href={ (at) "/vista" } { (lang.t("Apri da sola", "Open alone")) }
        }
        div.beside {
            section.panel {
                h2 { (lang.t("Dati", "Facts")) }
                dl.facts {
                    dt { (lang.t("Numero", "Number")) } dd { (content.number) }
                    dt { (lang.t("Data", "Date")) } dd { (day(&content.date)) }
                    dt { (lang.t("Totale", "Total")) } dd { (amount(&content.total)) " " (content.currency) }
                    dt { (lang.t("Tipo", "Kind")) } dd { (content.document_type) " · " (content.format) }
                    dt { "File" } dd { (content.file_name) }
                    @if let Some(receiving) = &content.receiving {
                        dt { (lang.t("Ricevuta", "Received")) } dd { (words::moment(receiving.at_ms)) }
                    }
                    dt { "SHA-256" } dd { code { (content.original) } }
                }
            }
            section.panel {
                h2 { (lang.t("Che cosa dice l'SdI", "What the SdI says")) }
                @match &records.outcome {
                    Some(outcome) if !outcome.entries.is_empty() => {
                        ol.timeline { @for entry in &outcome.entries { li {
                            time { (words::moment(entry.at_ms)) } strong { (receipt_word(lang, entry.receipt.code())) }
                            @if !entry.codes.is_empty() { " " code { (entry.codes) } }
                            @if !entry.note.is_empty() { p.hint { (entry.note) } }
                            @if let Some(hash) = entry.file { " " a href={ (at) "/messaggi/" (hash) } { (lang.t("messaggio", "message")) } }
                        } } }
                    }
                    _ => p { @if is_received { (lang.t("Consegnata dall'SdI.", "Delivered by the SdI.")) } @else { (lang.t("Ancora niente: è in coda.", "Nothing yet: it is queued.")) } }
                }
                h3 { (lang.t("Dove si trova al sicuro", "Where it is held safely")) }
                ul.places { @for (name, is_there) in &held { li.done[*is_there] {
                    (name) " " span.state { @if *is_there { (lang.t("c'è", "there")) } @else { (lang.t("non ancora", "not yet")) } }
                } } }
            }
        }
        iframe.paper src={ (at) "/vista" } title=(lang.t("La fattura da leggere", "The invoice to read")) {}
    };
    let here = if is_received { Here::Received } else { Here::Sent };
    let title = format!("{} {}", lang.t("Fattura", "Invoice"), content.number);
    page(&portal, &who, here, &title, &body)
}

/// `GET /fatture/{id}/vista`: the invoice as people read it. It comes from strangers: its page may do
/// nothing but be read.
pub async fn view(portal: Arc<Portal>, who: Caller, asked: Asked) -> Response {
    let (records, bytes) = match original_of(&portal, &who, &asked).await {
        Ok(found) => found,
        Err(response) => return response,
    };
    let name = records.content.file_name;
    let made = tokio::task::spawn_blocking(move || {
        invoice::read(&name, &bytes).map(|file| view::html(&file, Some(&bytes)))
    });
    let shown = match made.await {
        Ok(Ok(shown)) => shown,
        Ok(Err(error)) => return broken(who.lang(), &error),
        Err(error) => return broken(who.lang(), &error),
    };
    let mut response = shown.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'; sandbox allow-downloads";
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

/// `GET /fatture/{id}/originale`: byte for byte.
pub async fn original(portal: Arc<Portal>, who: Caller, asked: Asked) -> Response {
    match original_of(&portal, &who, &asked).await {
        Ok((records, bytes)) => {
            let kind = kind_of(&bytes);
            file(&records.content.file_name, kind, bytes, true)
        }
        Err(response) => response,
    }
}

/// `GET /fatture/{id}/pdf`
pub async fn pdf(portal: Arc<Portal>, who: Caller, asked: Asked) -> Response {
    let (records, bytes) = match original_of(&portal, &who, &asked).await {
        Ok(found) => found,
        Err(response) => return response,
    };
    let name = records.content.file_name;
    let title = format!("{name}.pdf");
    let made = tokio::task::spawn_blocking(move || {
        invoice::read(&name, &bytes).map(|file| view::pdf(&file))
    });
    match made.await {
        Ok(Ok(pdf)) => file(&title, "application/pdf", pdf, false),
        Ok(Err(error)) => broken(who.lang(), &error),
        Err(error) => broken(who.lang(), &error),
    }
}

/// `GET /fatture/{id}/messaggi/{sha}`: a message of the SdI, byte for byte.
pub async fn message(portal: Arc<Portal>, who: Caller, asked: Asked) -> Response {
    let records = match found(&portal, &who, &asked).await {
        Ok(records) => records,
        Err(response) => return response,
    };
    let hash = hex::<32>(asked.param("sha")).map(BlobHash::from_bytes);
    let entries = records.outcome.map(|outcome| outcome.entries).unwrap_or_default();
    let Some(entry) = entries.into_iter().find(|entry| entry.file.is_some() && entry.file == hash)
    else {
        return refused(Refused::NotFound, Some(&asked));
    };
    let (document, hash) = (records.id.sibling(Kind::Outcome), hash.unwrap_or(BlobHash::of(b"")));
    let space = portal.spaces.of(who.tenant());
    match space.read(move |space| space.file(document, &hash)).await {
        Ok(Some(bytes)) => file(&entry.file_name, kind_of(&bytes), bytes, true),
        Ok(None) => refused(Refused::NotFound, Some(&asked)),
        Err(problem) => broken(who.lang(), &words_of(&problem)),
    }
}

/// `GET /fatture/eventi`: tells a list that something changed (Server-Sent Events). It ends when its
/// listener may no longer come in.
pub async fn events(portal: Arc<Portal>, who: Caller, asked: Asked) -> Response {
    let _ = asked;
    let (told, listening) = mpsc::channel(4);
    tokio::spawn(async move {
        let mut moved = portal.mirror.moved();
        let position = || portal.mirror.position(who.tenant()).unwrap_or(0);
        let mut seen = position();
        loop {
            let waited = timeout(LOOK_AGAIN, moved.changed()).await;
            if told.is_closed() || matches!(waited, Ok(Err(_))) || !who.may_stay(&portal) {
                return;
            }
            let now = position();
            if now != seen {
                seen = now;
                if told
                    .send(Event::default().event("cambiato").data(now.to_string()))
                    .await
                    .is_err()
                {
                    return;
                }
            }
        }
    });
    let keep = KeepAlive::new().interval(Duration::from_secs(15));
    Sse::new(Events(listening)).keep_alive(keep).into_response()
}

struct Events(mpsc::Receiver<Event>);

impl Stream for Events {
    type Item = Result<Event, std::convert::Infallible>;
    fn poll_next(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(task).map(|event| event.map(Ok))
    }
}

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

fn one_row(lang: Lang, records: &Records) -> Markup {
    let content = &records.content;
    let is_received = content.direction == Direction::Received;
    let other = if is_received { &content.supplier } else { &content.buyer };
    let state = standing(is_received, records.outcome.as_ref().map(|outcome| outcome.state));
    let number =
        if content.number.is_empty() { content.file_name.as_str() } else { &content.number };
    html! {
        tr id={ "f" (records.id) } {
            td.nowrap { (day(&content.date)) }
            td { a href={ "/fatture/" (records.id) } { (number) } @if content.bodies > 1 { " +" (content.bodies - 1) } }
            td { (other.name) }
            td { (content.document_type) }
            td.num.nowrap { (amount(&content.total)) @if content.currency != "EUR" { " " (content.currency) } }
            td { span.badge.(state_tone(state)) { (state_word(lang, state)) } }
        }
    }
}

async fn found(portal: &Portal, who: &Caller, asked: &Asked) -> Result<Records, Response> {
    let nowhere = || refused(Refused::NotFound, Some(asked));
    let id = hex::<16>(asked.param("id")).map(DocumentId::from_bytes).ok_or_else(nowhere)?;
    if id.kind() != Some(Kind::Invoice) {
        return Err(nowhere());
    }
    let space = portal.spaces.of(who.tenant());
    let records = space.read(move |space| space.records(id)).await;
    let records = records.map_err(|problem| broken(who.lang(), &words_of(&problem)))?;
    records.ok_or_else(nowhere)
}

async fn original_of(
    portal: &Portal,
    who: &Caller,
    asked: &Asked,
) -> Result<(Records, Vec<u8>), Response> {
    let records = found(portal, who, asked).await?;
    let (id, hash) = (records.id, records.content.original);
    let space = portal.spaces.of(who.tenant());
    let bytes = space.read(move |space| space.file(id, &hash)).await;
    let bytes = bytes.map_err(|problem| broken(who.lang(), &words_of(&problem)))?;
    let bytes = bytes.ok_or_else(|| refused(Refused::NotFound, Some(asked)))?;
    Ok((records, bytes))
}

/// Where every bundle about an invoice is known to be durable: this portal, its twin, the
/// customer's nodes.
async fn held_by(portal: &Portal, who: &Caller, id: DocumentId) -> Vec<(String, bool)> {
    let (lang, tenant) = (who.lang(), who.tenant());
    let rows = archive::index(&*portal.store, tenant, &id).unwrap_or_default();
    let known = portal.host.view().await.known;
    let holds = |peer| {
        let held = known.get(&(peer, tenant));
        held.is_some_and(|held| rows.iter().all(|(log, seq)| held.get(log) >= *seq))
    };
    let mut held = vec![(lang.t("Questo portale", "This portal").to_owned(), true)];
    for (name, peer) in portal.portals.iter().skip(1) {
        held.push((format!("{} {name}", lang.t("Portale", "Portal")), holds(*peer)));
    }
    let customer = portal.office.customer(tenant).ok().flatten().unwrap_or_default();
    for (certificate, ended) in &customer.certificates {
        // A certificate that only opens the door belongs to no server: it never held anything.
        let peer = certificate.peer();
        if ended.is_none() && known.contains_key(&(peer, tenant)) {
            let name = format!("{} {}", lang.t("Vostro server", "Your server"), words::pin(&peer));
            held.push((name, holds(peer)));
        }
    }
    held
}

fn words_of(problem: &Problem) -> String {
    format!("{problem:?}")
}

fn kind_of(bytes: &[u8]) -> &'static str {
    let is_xml = bytes.iter().take(64).any(|byte| *byte == b'<');
    if is_xml { "application/xml" } else { "application/pkcs7-mime" }
}

/// `24/11/2026` from `2026-11-24`.
fn day(text: &str) -> String {
    Date::parse(text).map_or_else(|| text.to_owned(), Date::italian_text)
}

/// `1.234,56` from `1234.56`: as people in Italy write amounts.
fn amount(text: &str) -> String {
    let (sign, rest) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (whole, cents) = rest.split_once('.').unwrap_or((rest, ""));
    if whole.is_empty() || !whole.bytes().all(|b| b.is_ascii_digit()) {
        return text.to_owned();
    }
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place) % 3 == 0 {
            grouped.push('.');
        }
        grouped.push(digit);
    }
    let cents = if cents.is_empty() { "00" } else { cents };
    format!("{sign}{grouped},{cents}")
}

/// The sums of a page by currency, in hundredths exactly.
fn totals(rows: &[Records]) -> Vec<(String, String)> {
    let mut sums: std::collections::BTreeMap<&str, i128> = std::collections::BTreeMap::new();
    for row in rows {
        if let Some(cents) = cents(&row.content.total) {
            *sums.entry(&row.content.currency).or_default() += cents;
        }
    }
    let text = |cents: i128| {
        let sign = if cents < 0 { "-" } else { "" };
        amount(&format!("{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100))
    };
    sums.into_iter().map(|(currency, cents)| (currency.to_owned(), text(cents))).collect()
}

fn cents(text: &str) -> Option<i128> {
    let (sign, rest) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, cents) = rest.split_once('.').unwrap_or((rest, "0"));
    let cents: String = format!("{cents}00").chars().take(2).collect();
    Some(sign * (whole.parse::<i128>().ok()? * 100 + cents.parse::<i128>().ok()?))
}

fn again(path: &str, asked: &Asked, next: Option<&str>) -> String {
    let mut query = String::new();
    let kept = ["cerca", "parte", "dal", "al", "stato"].map(|name| (name, asked.query(name)));
    for (name, value) in kept.into_iter().chain([("dopo", next.unwrap_or_default())]) {
        if !value.is_empty() {
            query.push(if query.is_empty() { '?' } else { '&' });
            query.push_str(name);
            query.push('=');
            for byte in value.bytes() {
                if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
                    query.push(byte.into());
                } else {
                    query.push_str(&format!("%{byte:02X}"));
                }
            }
        }
    }
    format!("{path}{query}")
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

type StateWords = (OutcomeState, &'static str, &'static str, &'static str);

/// States with the word for the address, Italian and English.
const STATES: [StateWords; 10] = [
    (OutcomeState::Silent, "coda", "in coda", "queued"),
    (OutcomeState::Received, "ricevuta", "ricevuta", "received"),
    (OutcomeState::Sent, "inviata", "inviata all'SdI", "with the SdI"),
    (OutcomeState::NotDelivered, "non-consegnata", "mancata consegna", "not delivered"),
    (OutcomeState::Delivered, "consegnata", "consegnata", "delivered"),
    (OutcomeState::Attested, "attestata", "trasmessa, non recapitabile", "undeliverable"),
    (OutcomeState::Expired, "scaduta", "decorrenza termini", "terms expired"),
    (OutcomeState::Accepted, "accettata", "accettata", "accepted"),
    (OutcomeState::Refused, "rifiutata", "rifiutata", "refused"),
    (OutcomeState::Rejected, "scartata", "scartata", "rejected"),
];

fn state_of(word: &str) -> Option<OutcomeState> {
    STATES.iter().find(|(_, known, ..)| *known == word).map(|(state, ..)| *state)
}

fn state_word(lang: Lang, state: OutcomeState) -> &'static str {
    let found = STATES.iter().find(|(known, ..)| *known == state);
    found.map_or("", |(_, _, it, en)| lang.t(it, en))
}

fn state_tone(state: OutcomeState) -> &'static str {
    match state {
        OutcomeState::Received | OutcomeState::Delivered | OutcomeState::Accepted => "good",
        OutcomeState::Refused | OutcomeState::Rejected => "bad",
        OutcomeState::NotDelivered | OutcomeState::Attested | OutcomeState::Expired => "wait",
        OutcomeState::Silent | OutcomeState::Sent => "todo",
    }
}

fn receipt_word(lang: Lang, code: &str) -> String {
    let (it, en) = match code {
        "Sent" => ("presa in carico dall'SdI", "taken by the SdI"),
        "RC" => ("consegnata", "delivered"),
        "NS" => ("scartata", "rejected"),
        "MC" => ("mancata consegna", "not delivered"),
        "NE" => ("esito del committente", "the buyer's outcome"),
        "AT" => ("trasmessa, non recapitabile", "transmitted, undeliverable"),
        "DT" => ("decorrenza termini", "terms expired"),
        "SE" => ("esito non accettato", "our answer not taken"),
        "EC" => ("esito inviato", "our answer"),
        "MT" => ("metadati", "metadata"),
        _ => (code, code),
    };
    format!("{} ({code})", lang.t(it, en))
}

/// Whether somebody may send.
pub(super) fn may_send(who: &Caller) -> bool {
    who.role() >= AccountRole::Operator
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_people_do_and_summed_exactly() {
        assert_eq!(amount("1234567.5"), "1.234.567,5");
        assert_eq!(amount("-12.00"), "-12,00");
        assert_eq!(amount("100"), "100,00");
        assert_eq!(amount("molto"), "molto");
        assert_eq!(
            (cents("0.1"), cents("-12.34"), cents("7"), cents("x")),
            (Some(10), Some(-1234), Some(700), None)
        );
    }

    #[test]
    fn a_place_reads_back_and_nothing_else_is_one() {
        let place_ = Place { days: -3, invoice: DocumentId::invoice(&BlobHash::of(b"x")) };
        assert_eq!(place(&cursor(&place_)), Some(place_));
        assert_eq!(place("AAAA"), None);
    }
}
