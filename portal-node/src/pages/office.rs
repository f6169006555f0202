//! The intermediary's office: its customers, where each is, and inviting one.

use std::sync::Arc;

use axum::{http::StatusCode, response::Response};
use engine::{
    document::{customer::CustomerEdit, step::Act},
    id::{OFFICE, VatNumber},
    record::CustomerRecord,
};
use maud::html;

use super::{
    Here, broken,
    customer::stands,
    home::tone,
    layout::{notice, page, token},
    redirect, refused, words,
};
use crate::{
    books::BookError,
    door::{
        asked::Asked,
        pass::{Officer, Refused},
    },
    lang::Lang,
    office::now_ms,
    onboarding::Stage,
    portal::{Portal, step},
};

/// `GET /ufficio`
pub async fn customers(portal: Arc<Portal>, who: Officer, asked: Asked) -> Response {
    let done = asked.query("ammessi").parse::<usize>().ok();
    let lang = who.lang();
    let text = done.map(|n| format!("{} {n}", lang.t("Clienti ammessi:", "Customers admitted:")));
    let said = text.as_deref().map(|text| (true, text));
    shown_list(&portal, &who, &asked, StatusCode::OK, said).await
}

/// `POST /ufficio/ammetti`: all who have signed and wait, or those of the pilot group among them.
pub async fn admit(portal: Arc<Portal>, who: Officer, asked: Asked) -> Response {
    let only_pilots = match asked.field("chi") {
        "piloti" => true,
        "tutti" => false,
        _ => return refused(Refused::NotFound, Some(&asked)),
    };
    let rows = match rows(&portal) {
        Ok(rows) => rows,
        Err(error) => return broken(who.lang(), &error),
    };
    let mut admitted = 0_usize;
    for row in rows {
        if row.stage != Stage::Admission || (only_pilots && !row.customer.pilot) {
            continue;
        }
        let done = step(&who, Act::Admitted, "");
        let edited = portal.books.edit_customer(row.vat, |customer| {
            // Decided otherwise meanwhile: that stays.
            if customer.admitted_ms.is_some() || customer.suspended_ms.is_some() {
                return Ok(vec![]);
            }
            Ok(vec![CustomerEdit::Admitted(Some(now_ms())), CustomerEdit::Step(done)])
        });
        if let Err(error) = edited.await {
            return broken(who.lang(), &error);
        }
        admitted += 1;
    }
    redirect(&format!("/ufficio?ammessi={admitted}"))
}

/// `POST /ufficio/clienti`: a new customer.
pub async fn invite(portal: Arc<Portal>, who: Officer, asked: Asked) -> Response {
    let lang = who.lang();
    let (vat, name) = (VatNumber::parse(asked.field("vat")), asked.field("nome").to_owned());
    let wrong = match (&vat, name.is_empty()) {
        (Err(_), _) => Some(lang.t("La partita IVA non è giusta.", "The VAT number is wrong.")),
        (Ok(vat), _) if *vat == OFFICE => {
            Some(lang.t("La partita IVA non è giusta.", "The VAT number is wrong."))
        }
        (_, true) => Some(lang.t("Manca il nome.", "The name is missing.")),
        _ => None,
    };
    let vat = match (vat, wrong) {
        (Ok(vat), None) => vat,
        (_, wrong) => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            let said = wrong.map(|text| (false, text));
            return shown_list(&portal, &who, &asked, status, said).await;
        }
    };
    let done = step(&who, Act::Invited, name.clone());
    let edited = portal.books.edit_customer(vat, |customer| {
        if customer.vat.is_some() {
            return Ok(vec![]);
        }
        Ok(vec![CustomerEdit::Name(name), CustomerEdit::Step(done)])
    });
    match edited.await {
        Ok(()) => redirect(&format!("/ufficio/clienti/{vat}")),
        Err(error) => broken(lang, &error),
    }
}

struct Row {
    vat: VatNumber,
    customer: Arc<CustomerRecord>,
    stage: Stage,
}

fn rows(portal: &Portal) -> Result<Vec<Row>, BookError> {
    let mut rows = Vec::new();
    for (vat, customer) in portal.office.customers()? {
        let stage = stands(portal, vat, &customer)?.stage;
        rows.push(Row { vat, customer, stage });
    }
    // The pilot group first, then all.
    rows.sort_by_key(|row| !row.customer.pilot);
    Ok(rows)
}

/// The rows with whether each has sent an invoice.
async fn rows_with_tests(portal: &Arc<Portal>) -> Result<Vec<(Row, bool)>, String> {
    let portal = Arc::clone(portal);
    let read = tokio::task::spawn_blocking(move || {
        let rows = rows(&portal).map_err(|error| error.to_string())?;
        let with = |row: Row| portal.firsts.has_sent(row.vat).map(|has_sent| (row, has_sent));
        rows.into_iter().map(with).collect::<Result<_, _>>().map_err(|error| error.to_string())
    });
    read.await.map_err(|error| error.to_string())?
}

async fn shown_list(
    portal: &Arc<Portal>,
    who: &Officer,
    asked: &Asked,
    status: StatusCode,
    said: Option<(bool, &str)>,
) -> Response {
    let lang = who.lang();
    let rows = rows_with_tests(portal).await;
    let rows = match rows {
        Ok(rows) => rows,
        Err(error) => return broken(lang, &error),
    };
    let count = |stage| rows.iter().filter(|(row, _)| row.stage == stage).count();
    let waiting = |pilot: bool| {
        let waits = rows.iter().filter(|(row, _)| row.stage == Stage::Admission);
        waits.filter(|(row, _)| !pilot || row.customer.pilot).count()
    };
    let (pilots, tested) = rows
        .iter()
        .filter(|(row, _)| row.customer.pilot)
        .fold((0_usize, 0_usize), |(all, tested), (_, has_sent)| {
            (all + 1, tested + usize::from(*has_sent))
        });
    let body = html! {
        @if let Some((is_good, text)) = said { (notice(is_good, text)) }
        @if let Some(text) = letters(portal, lang) { (notice(false, &text)) }
        ul.counts {
            @for (stage, it, en) in Stage::NAMES {
                li { strong { (count(stage)) } " " (lang.t(it, en)) }
            }
        }
        section.panel {
            h2 { (lang.t("Clienti", "Customers")) }
            @if rows.is_empty() { p { (lang.t("Ancora nessuno: invitate il primo qui sotto.", "Nobody yet: invite the first below.")) } }
            @else {
                div.scroll { table {
                    thead { tr {
                        th scope="col" { "P.IVA" }
                        th scope="col" { (lang.t("Nome", "Name")) }
                        th scope="col" { (lang.t("A che punto è", "Where it is")) }
                        th scope="col" { (lang.t("Gruppo", "Group")) }
                        th scope="col" { (lang.t("Fattura di prova", "Test invoice")) }
                        th.num scope="col" { (lang.t("Certificati", "Certificates")) }
                    } }
                    tbody { @for (row, has_sent) in &rows { tr {
                        td.nowrap { a href={ "/ufficio/clienti/" (row.vat) } { (row.vat) } }
                        td { (row.customer.name) }
                        td { span.badge.(tone(row.stage)) { (words::stage(lang, row.stage)) } }
                        td { @if row.customer.pilot { span.badge.wait { (lang.t("Pilota", "Pilot")) } } }
                        td { @if *has_sent { span.badge.good { (lang.t("inviata", "sent")) } } @else { (lang.t("non ancora", "not yet")) } }
                        td.num { (row.customer.certificates.iter().filter(|(_, ended)| ended.is_none()).count()) }
                    } } }
                } }
            }
        }
        section.panel {
            h2 { (lang.t("Ammettere chi ha firmato: prima il gruppo pilota, poi tutti", "Admit who has signed: the pilot group first, then all")) }
            p { (lang.t("Piloti che hanno inviato la fattura di prova: ", "Pilots who have sent the test invoice: "))
                strong { (tested) " " (lang.t("su", "of")) " " (pilots) } "." }
            form.actions method="post" action="/ufficio/ammetti" {
                (token(who.token()))
                button name="chi" value="piloti" disabled[waiting(true) == 0] { (lang.t("Ammetti i piloti", "Admit the pilots")) " (" (waiting(true)) ")" }
                button.quiet[tested < pilots || pilots == 0] name="chi" value="tutti" disabled[waiting(false) == 0] { (lang.t("Ammetti tutti", "Admit all")) " (" (waiting(false)) ")" }
            }
            @if tested < pilots {
                p.hint { (lang.t("Non tutti i piloti hanno provato: conviene aspettare prima di ammettere gli altri.",
                    "Not every pilot has tried: better wait before admitting the others.")) }
            }
        }
        section.panel {
            h2 { (lang.t("Invitare un cliente", "Invite a customer")) }
            form.line method="post" action="/ufficio/clienti" {
                (token(who.token()))
                div.field { label for="vat" { "P.IVA" }
                    input id="vat" name="vat" required inputmode="numeric" maxlength="11" value=(asked.field("vat")); }
                div.field { label for="nome" { (lang.t("Nome", "Name")) }
                    input id="nome" name="nome" required maxlength="200" value=(asked.field("nome")); }
                button { (lang.t("Invita", "Invite")) }
            }
        }
    };
    let mut response = page(portal, who, Here::Customers, lang.t("Clienti", "Customers"), &body);
    *response.status_mut() = status;
    response
}

/// What to say of letters that wait for the mail server.
fn letters(portal: &Portal, lang: Lang) -> Option<String> {
    let waiting = portal.post.waiting();
    let last = waiting.last()?;
    let text = match waiting.len() {
        1 => lang
            .t("1 lettera aspetta il server di posta", "1 letter waits for the mail server")
            .into(),
        n => format!(
            "{n} {}",
            lang.t("lettere aspettano il server di posta", "letters wait for the mail server")
        ),
    };
    Some(format!("{text}: {}", last.why))
}
