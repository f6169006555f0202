//! Where the customer stands: what is done, what comes next.

use std::sync::Arc;

use axum::response::Response;
use engine::{document::profile::ProfileField, id::OFFICE};
use maud::{Markup, html};

use super::{Here, broken, layout::page, redirect, refused, words};
use crate::{
    door::{
        asked::Asked,
        pass::{Caller, Refused},
    },
    lang::Lang,
    onboarding::{Stage, onboarding},
    portal::Portal,
};

/// `GET /`
pub async fn show(portal: Arc<Portal>, who: Caller, asked: Asked) -> Response {
    if who.tenant() == OFFICE {
        return redirect("/ufficio");
    }
    let (lang, vat) = (who.lang(), who.tenant());
    let papers = portal.books.profile(vat).and_then(|profile| {
        let customer = portal.office.customer(vat)?.unwrap_or_default();
        Ok((profile, portal.books.contract(vat)?, customer))
    });
    let (profile, contract, customer) = match papers {
        Ok(papers) => papers,
        Err(error) => return broken(lang, &error),
    };
    let here = onboarding(vat, &profile, &contract, &customer);
    if here.stage == Stage::Suspended {
        return refused(Refused::Suspended, Some(&asked));
    }
    let has = |field| !profile.get(field).is_empty();
    let next = match here.stage {
        Stage::Data => Some(("/dati", lang.t("Controllate i dati", "Check the data"))),
        Stage::Terms => Some(("/contratto", lang.t("Leggete le condizioni", "Read the terms"))),
        Stage::Contract => {
            Some(("/contratto", lang.t("Firmate il contratto", "Sign the contract")))
        }
        _ => None,
    };
    let body = html! {
        p.lead {
            (lang.t("Situazione di ", "Where ")) strong { (customer.name) }
            " (P.IVA " (vat) "): "
            span.badge.(tone(here.stage)) { (words::stage(lang, here.stage)) }
        }
        @if here.stage == Stage::Admission {
            p { (lang.t("Avete fatto tutto: ora tocca a noi. Vi abilitiamo appena controllato il contratto.",
                "You have done everything; it is our turn now. We admit you once the contract is checked.")) }
        }
        section.panel aria-labelledby="passi" {
            h2 id="passi" { (lang.t("Passi", "Steps")) }
            ol.steps {
                (line(lang, here.is_confirmed, "/dati", lang.t("Dati controllati e confermati", "Data checked and confirmed")))
                (line(lang, here.is_accepted, "/contratto", lang.t("Condizioni accettate", "Terms accepted")))
                (line(lang, here.is_signed, "/contratto", lang.t("Contratto firmato", "Contract signed")))
                (line(lang, here.is_admitted, "", lang.t("Abilitazione da parte dell'intermediario", "Admission by the intermediary")))
            }
            @if let Some((href, text)) = next { p { a.button href=(href) { (text) } } }
        }
        section.panel aria-labelledby="prima" {
            h2 id="prima" { (lang.t("Da fare fuori di qui", "To be done elsewhere")) }
            ol.steps {
                (line(lang, has(ProfileField::ArchiveEnabled), "/dati#altro",
                    lang.t("Archivio digitale attivato all'Agenzia delle Entrate", "Digital archive enabled at the tax agency")))
                (line(lang, has(ProfileField::SuppliersTold), "/dati#altro",
                    lang.t("Codice destinatario comunicato ai fornitori", "Recipient code told to suppliers")))
            }
        }
    };
    page(&portal, &who, Here::Home, lang.t("Situazione", "Overview"), &body)
}

/// The colour that goes with a stage; the words say it too.
pub(super) fn tone(stage: Stage) -> &'static str {
    match stage {
        Stage::Enabled => "good",
        Stage::Suspended => "bad",
        Stage::Admission => "wait",
        Stage::Data | Stage::Terms | Stage::Contract => "todo",
    }
}

fn line(lang: Lang, is_done: bool, href: &str, text: &str) -> Markup {
    let state = if is_done { lang.t("fatto", "done") } else { lang.t("da fare", "to do") };
    html! {
        li.done[is_done] {
            @if href.is_empty() { span { (text) } } @else { a href=(href) { (text) } }
            " " span.state { (state) }
        }
    }
}
