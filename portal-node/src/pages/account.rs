//! One's own account: language, password, which company one is working for.

use std::sync::Arc;

use axum::response::Response;
use engine::{
    document::{account::AccountEdit, step::Act},
    id::{OFFICE, VatNumber},
};
use maud::html;

use super::{
    Here, broken,
    entry::{new_password_fault, new_password_fields},
    layout::{notice, page, token},
    redirect, refused, words,
};
use crate::{
    door::{
        asked::Asked,
        pass::{Caller, Refused},
        sessions::digest,
        throttle::Key,
    },
    portal::{Portal, step},
};

/// `GET /account`
pub async fn show(portal: Arc<Portal>, who: Caller, asked: Asked) -> Response {
    let said = match asked.query("fatto") {
        "password" => Some((true, who.lang().t("Password cambiata.", "Password changed."))),
        _ => None,
    };
    form(&portal, &who, said)
}

/// `POST /account/password`
pub async fn change_password(portal: Arc<Portal>, who: Caller, asked: Asked) -> Response {
    let (lang, user) = (who.lang(), who.account().user.clone());
    let key = [Key::User(user.clone())];
    let now = std::time::Instant::now();
    if let Some(wait) = portal.throttle.wait(&key, now) {
        return refused(Refused::Wait(wait.as_secs().max(1)), Some(&asked));
    }
    if !portal.passwords.is(asked.secret("attuale"), Some(&who.account().password)).await {
        portal.throttle.failed(&key, now);
        let text = lang.t("La password attuale è sbagliata.", "The current password is wrong.");
        return form(&portal, &who, Some((false, text)));
    }
    if let Some(wrong) = new_password_fault(lang, &user, &asked) {
        return form(&portal, &who, Some((false, &wrong)));
    }
    let hash = match portal.passwords.hash(asked.secret("password")).await {
        Ok(hash) => hash,
        Err(error) => return broken(lang, &error),
    };
    let stamp = digest(&hash.0);
    let done = step(&who, Act::UserChanged, "password");
    let edits = vec![AccountEdit::Password(hash), AccountEdit::Step(done)];
    if let Err(error) = portal.books.edit_account(&user, |_| Ok(edits)).await {
        return broken(lang, &error);
    }
    // Every other session of this user ends, here and on the other portal; this one goes on.
    if let Some(session) = who.session() {
        portal.sessions.restamp(session, stamp);
    }
    redirect("/account?fatto=password")
}

/// `POST /lingua`
pub async fn language(portal: Arc<Portal>, who: Caller, asked: Asked) -> Response {
    let code = if asked.field("lingua") == "en" { "en" } else { "it" };
    let edits = vec![AccountEdit::Language(code.to_owned())];
    match portal.books.edit_account(&who.account().user, |_| Ok(edits)).await {
        Ok(()) => redirect("/"),
        Err(error) => broken(who.lang(), &error),
    }
}

/// `POST /azienda`
pub async fn turn_to(portal: Arc<Portal>, who: Caller, asked: Asked) -> Response {
    let wanted = VatNumber::parse(asked.field("vat")).ok();
    match (wanted.filter(|vat| who.choices().contains(vat)), who.session()) {
        (Some(vat), Some(session)) => {
            portal.sessions.turn_to(session, vat);
            redirect("/")
        }
        _ => refused(Refused::NotFound, Some(&asked)),
    }
}

fn form(portal: &Portal, who: &Caller, said: Option<(bool, &str)>) -> Response {
    let lang = who.lang();
    let account = who.account();
    let body = html! {
        @if let Some((is_good, text)) = said { (notice(is_good, text)) }
        section.panel {
            h2 { (lang.t("Chi siete", "Who you are")) }
            dl.facts {
                dt { (lang.t("Nome utente", "User name")) } dd { (account.user) }
                dt { (lang.t("Nome", "Name")) } dd { (account.name) }
                dt { "E-mail" } dd { (account.email) }
                dt { (lang.t("Certificato in uso", "Certificate in use")) }
                dd { code { (words::pin(&who.peer())) } }
                @for (vat, role) in &account.members {
                    dt { @if *vat == OFFICE { (lang.t("Ufficio", "Office")) } @else { "P.IVA " (vat) } }
                    dd { (words::role(lang, *role)) }
                }
            }
        }
        section.panel {
            h2 { (lang.t("Cambiare la password", "Change the password")) }
            form.stack method="post" action="/account/password" {
                (token(who.token()))
                input type="hidden" name="username" autocomplete="username" value=(account.user);
                label for="attuale" { (lang.t("Password attuale", "Current password")) }
                input id="attuale" name="attuale" type="password" required
                    autocomplete="current-password";
                (new_password_fields(lang))
                button { (lang.t("Cambia", "Change")) }
            }
            p.hint {
                (lang.t("Le altre sessioni aperte con la vecchia password finiscono subito, su tutti e due i portali.",
                    "Other sessions opened with the old password end at once, on both portals."))
            }
        }
    };
    page(portal, who, Here::Account, lang.t("Il mio account", "My account"), &body)
}
