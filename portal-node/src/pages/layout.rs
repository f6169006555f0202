//! The frame of every page: head, navigation, where one is, who one is.

use axum::{
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use engine::{document::account::AccountRole, id::OFFICE};
use maud::{DOCTYPE, Markup, html};

use super::sending::may_send;
use crate::{door::pass::Caller, lang::Lang, portal::Portal};

/// Which entry of the navigation is the page's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Here {
    /// Where the customer stands.
    Home,
    /// Received invoices.
    Received,
    /// Sent invoices.
    Sent,
    /// Sending one.
    Send,
    /// The data.
    Profile,
    /// Terms and contract.
    Contract,
    /// One's own account.
    Account,
    /// The office's customers.
    Customers,
    /// The office's network.
    Network,
}

type Entry = (Here, &'static str, &'static str, &'static str);

const CUSTOMER: [Entry; 6] = [
    (Here::Home, "/", "Situazione", "Overview"),
    (Here::Received, "/fatture/ricevute", "Ricevute", "Received"),
    (Here::Sent, "/fatture/inviate", "Inviate", "Sent"),
    (Here::Send, "/invia", "Invia", "Send"),
    (Here::Profile, "/dati", "Dati", "Company data"),
    (Here::Contract, "/contratto", "Contratto", "Contract"),
];
const OFFICE_ENTRIES: [Entry; 2] = [
    (Here::Customers, "/ufficio", "Clienti", "Customers"),
    (Here::Network, "/ufficio/rete", "Rete", "Network"),
];

/// A page for somebody who is logged in.
#[must_use]
pub fn page(portal: &Portal, caller: &Caller, here: Here, title: &str, body: &Markup) -> Response {
    let lang = caller.lang();
    let entries: &[Entry] = if caller.tenant() == OFFICE { &OFFICE_ENTRIES } else { &CUSTOMER };
    let choices = caller.choices();
    let name = |vat| {
        if vat == OFFICE {
            lang.t("Ufficio", "Office").to_owned()
        } else {
            let customer = portal.office.customer(vat).ok().flatten();
            let name = customer.map(|customer| customer.name.clone()).unwrap_or_default();
            format!("{name} · {vat}")
        }
    };
    let top = html! {
        header.top {
            a.skip href="#contenuto" { (lang.t("Vai al contenuto", "Skip to content")) }
            div.bar {
                a.brand href="/" { (mark()) span { (portal.door.name) } }
                @if choices.len() > 1 {
                    form.tenant method="post" action="/azienda" {
                        (token(caller.token()))
                        label.hidden for="vat" { (lang.t("Azienda", "Company")) }
                        select id="vat" name="vat" {
                            @for vat in choices {
                                option value=(vat) selected[vat == caller.tenant()] { (name(vat)) }
                            }
                        }
                        button.quiet { (lang.t("Passa", "Switch")) }
                    }
                } @else {
                    p.tenant { (name(caller.tenant())) }
                }
                div.me {
                    form method="post" action="/lingua" {
                        (token(caller.token()))
                        button.quiet name="lingua" value=(lang.t("en", "it"))
                            lang=(lang.t("en", "it")) { (lang.t("English", "Italiano")) }
                    }
                    a href="/account" aria-current=[(here == Here::Account).then_some("page")] {
                        (caller.account().name)
                    }
                    form method="post" action="/esci" {
                        (token(caller.token()))
                        button.quiet { (lang.t("Esci", "Log out")) }
                    }
                }
            }
            nav aria-label=(lang.t("Pagine", "Pages")) {
                ul {
                    @for (place, href, it, en) in entries
                        .iter()
                        .filter(|(place, ..)| *place != Here::Send || may_send(caller))
                    {
                        li {
                            a href=(href) aria-current=[(*place == here).then_some("page")] {
                                (lang.t(it, en))
                            }
                        }
                    }
                }
            }
        }
    };
    frame(StatusCode::OK, lang, title, &portal.door.name, &top, body)
}

/// A page for somebody who is not, or not yet.
#[must_use]
pub fn plain(status: StatusCode, lang: Lang, title: &str, body: &Markup) -> Response {
    let body = html! { div.card { (body) } };
    let top =
        html! { header.top.bare { div.bar { span.brand { (mark()) span { "Staffetta" } } } } };
    frame(status, lang, title, "Staffetta", &top, &body)
}

fn frame(
    status: StatusCode,
    lang: Lang,
    title: &str,
    name: &str,
    top: &Markup,
    body: &Markup,
) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang=(lang.code()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · " (name) }
                link rel="stylesheet" href="/stile.css";
                script src="/portale.js" defer {}
            }
            body {
                (top)
                main id="contenuto" tabindex="-1" { h1 { (title) } (body) }
            }
        }
    };
    (status, page).into_response()
}

/// The field that proves a form is ours.
#[must_use]
pub fn token(token: &str) -> Markup {
    html! { input type="hidden" name="token" value=(token); }
}

/// A short message above a page: what was done, or what is wrong.
#[must_use]
pub fn notice(is_good: bool, text: &str) -> Markup {
    html! { p.notice.good[is_good].bad[!is_good] role="status" { (text) } }
}

/// Whether the caller may do what an owner may.
#[must_use]
pub fn is_owner(caller: &Caller) -> bool {
    caller.role() >= AccountRole::Owner
}

fn mark() -> Markup {
    // Two runners' hands and the baton between them, in four strokes.
    html! {
        svg viewBox="0 0 32 32" width="26" height="26" aria-hidden="true" {
            rect width="32" height="32" rx="8" fill="#0b5563" {}
            path d="M7 21 L25 11" stroke="#fff" stroke-width="4" stroke-linecap="round" {}
            circle cx="9" cy="12" r="2.6" fill="#8fd3c8" {}
            circle cx="23" cy="20" r="2.6" fill="#8fd3c8" {}
        }
    }
}
