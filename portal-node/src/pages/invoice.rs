//! One invoice: what it says, what the SdI says of it, where it is held safely, and the files
//! themselves.

use std::sync::Arc;

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use engine::{
    archive,
    document::invoice::Direction,
    id::{BlobHash, DocumentId, Kind},
};
use fatturapa::{invoice, view};
use maud::html;
use node::{
    api::{query::hex, space::Records},
    register::standing,
};

use super::{
    Here,
    amount::amount,
    broken, file,
    layout::{notice, page},
    refused,
    standing::{receipt_word, state_tone, state_word},
    words,
};
use crate::{
    door::{
        asked::Asked,
        pass::{Caller, Refused},
    },
    portal::Portal,
};

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
                    dt { (lang.t("Data", "Date")) } dd { (words::day(&content.date)) }
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
        Err(problem) => broken(who.lang(), &words::problem(&problem)),
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
    let records = records.map_err(|problem| broken(who.lang(), &words::problem(&problem)))?;
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
    let bytes = bytes.map_err(|problem| broken(who.lang(), &words::problem(&problem)))?;
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

fn kind_of(bytes: &[u8]) -> &'static str {
    let is_xml = bytes.iter().take(64).any(|byte| *byte == b'<');
    if is_xml { "application/xml" } else { "application/pkcs7-mime" }
}
