//! The lists of invoices received and sent, page by page.

use std::sync::Arc;

use axum::response::Response;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use engine::{document::invoice::Direction, id::DocumentId, record::OutcomeState};
use fatturapa::Date;
use maud::{Markup, html};
use node::{
    api::space::Records,
    register::{Filter, Place, Sums, standing},
};

use super::{
    Here,
    amount::{amount, thousands},
    broken,
    layout::page,
    standing::{STATES, state_of, state_tone, state_word},
    words,
};
use crate::{
    door::{asked::Asked, pass::Caller},
    lang::Lang,
    portal::Portal,
};

/// Invoices of one page.
const PAGE: usize = 50;

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
        let (mut places, sums) = space.register().page(&filter, after, PAGE + 1)?;
        let more = places.len() > PAGE;
        places.truncate(PAGE);
        let next = places.last().filter(|_| more).map(cursor);
        let mut rows = Vec::with_capacity(places.len());
        for place in places {
            rows.extend(space.records(place.invoice)?);
        }
        Ok((rows, next, sums))
    });
    let (rows, next, sums) = match found.await {
        Ok(found) => found,
        Err(problem) => return broken(lang, &words::problem(&problem)),
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
        noscript { p.hint { (lang.t("Senza JavaScript la lista non si aggiorna da sola: ricaricate la pagina.",
            "Without JavaScript the list does not renew itself: reload the page.")) } }
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
                    tfoot { (foot(lang, &sums)) }
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

fn one_row(lang: Lang, records: &Records) -> Markup {
    let content = &records.content;
    let is_received = content.direction == Direction::Received;
    let other = if is_received { &content.supplier } else { &content.buyer };
    let state = standing(is_received, records.outcome.as_ref().map(|outcome| outcome.state));
    let number =
        if content.number.is_empty() { content.file_name.as_str() } else { &content.number };
    html! {
        tr id={ "f" (records.id) } {
            td.nowrap { (words::day(&content.date)) }
            td { a href={ "/fatture/" (records.id) } { (number) } @if content.bodies > 1 { " +" (content.bodies - 1) } }
            td { (other.name) }
            td { (content.document_type) }
            td.num.nowrap { (amount(&content.total)) @if content.currency != "EUR" { " " (content.currency) } }
            td { span.badge.(state_tone(state)) { (state_word(lang, state)) } }
        }
    }
}

/// What the whole selection adds up to, of which the page shows a part.
fn foot(lang: Lang, sums: &Sums) -> Markup {
    let count = thousands(sums.invoices);
    let said = match sums.invoices {
        1 => lang.t("fattura con questi criteri", "invoice matches"),
        _ => lang.t("fatture con questi criteri", "invoices match"),
    };
    html! {
        @for (place, (currency, total)) in sums.totals.iter().enumerate() { tr {
            th colspan="4" scope="row" {
                @if place == 0 { (count) " " (said) }
                @if place == 0 && sums.credit_notes > 0 {
                    "; " (lang.t("note di credito, in detrazione", "credit notes, taken away")) ": " (thousands(sums.credit_notes)) }
                @if place == 0 && sums.batches > 0 {
                    "; " (lang.t("lotti, sommati per la prima fattura", "batches, of which the first invoice is summed")) ": " (thousands(sums.batches)) }
            }
            td.num.nowrap { strong { (amount(&total.to_string())) } } td { (String::from_utf8_lossy(currency)) }
        } }
    }
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

#[cfg(test)]
mod tests {
    use engine::id::BlobHash;

    use super::*;

    #[test]
    fn a_place_reads_back_and_nothing_else_is_one() {
        let place_ = Place { days: -3, invoice: DocumentId::invoice(&BlobHash::of(b"x")) };
        assert_eq!(place(&cursor(&place_)), Some(place_));
        assert_eq!(place("AAAA"), None);
    }
}
