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
    redirect, words,
};
use crate::{
    books::BookError,
    door::{asked::Asked, pass::Officer},
    onboarding::Stage,
    portal::{Portal, step},
};

/// `GET /ufficio`
pub async fn customers(portal: Arc<Portal>, who: Officer, asked: Asked) -> Response {
    shown_list(&portal, &who, &asked, StatusCode::OK, None)
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
            return shown_list(&portal, &who, &asked, status, wrong.map(|text| (false, text)));
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

fn shown_list(
    portal: &Portal,
    who: &Officer,
    asked: &Asked,
    status: StatusCode,
    said: Option<(bool, &str)>,
) -> Response {
    let lang = who.lang();
    let rows = portal.office.customers().map_err(BookError::from).and_then(|all| {
        let row = |(vat, customer): (VatNumber, Arc<CustomerRecord>)| {
            let stage = stands(portal, vat, &customer)?.stage;
            Ok((vat, customer, stage))
        };
        all.into_iter().map(row).collect::<Result<Vec<_>, BookError>>()
    });
    let rows = match rows {
        Ok(rows) => rows,
        Err(error) => return broken(lang, &error),
    };
    let count = |stage| rows.iter().filter(|(_, _, here)| *here == stage).count();
    let body = html! {
        @if let Some((is_good, text)) = said { (notice(is_good, text)) }
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
                        th scope="col" { (lang.t("Pilota", "Pilot")) }
                        th scope="col" { (lang.t("Certificati", "Certificates")) }
                    } }
                    tbody { @for (vat, customer, stage) in &rows { tr {
                        td.nowrap { a href={ "/ufficio/clienti/" (vat) } { (vat) } }
                        td { (customer.name) }
                        td { span.badge.(tone(*stage)) { (words::stage(lang, *stage)) } }
                        td { @if customer.pilot { (lang.t("sì", "yes")) } }
                        td.num { (customer.certificates.iter().filter(|(_, ended)| ended.is_none()).count()) }
                    } } }
                } }
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
