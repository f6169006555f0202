//! Coming in and going out: log in, log out, the link by which a password is set.

use std::sync::Arc;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use engine::document::account::AccountEdit;
use maud::{Markup, html};

use super::{
    broken,
    layout::{notice, plain, token},
    redirect, refused, words,
};
use crate::{
    books::BookError,
    door::{
        asked::Asked,
        pass::{Caller, Refused, Visitor},
        password::{self, CHARS_MAX, CHARS_MIN},
        sessions::digest,
    },
    lang::Lang,
    office::now_ms,
    portal::Portal,
};

/// `GET /entra`
pub async fn ask(portal: Arc<Portal>, who: Visitor, asked: Asked) -> Response {
    let lang = who.lang();
    let said = match asked.query("fatto") {
        "uscito" => Some((true, lang.t("Siete usciti.", "You are logged out."))),
        "password" => Some((
            true,
            lang.t("La password è impostata: entrate.", "The password is set: log in."),
        )),
        _ => None,
    };
    form(&portal, &who, StatusCode::OK, "", said)
}

/// `POST /entra`
pub async fn log_in(portal: Arc<Portal>, who: Visitor, asked: Asked) -> Response {
    let (lang, user) = (who.lang(), asked.field("utente"));
    match who.log_in(&portal, user, asked.secret("password")).await {
        Ok(secret) => {
            let mut response = redirect("/");
            set_cookie(&mut response, &portal.cookie, &secret);
            response
        }
        Err(Refused::Wrong) => {
            let text = lang.t(
                "Nome utente e password non corrispondono a questo certificato.",
                "User name and password do not belong to this certificate.",
            );
            form(&portal, &who, StatusCode::UNAUTHORIZED, user, Some((false, text)))
        }
        Err(other) => refused(other, Some(&asked)),
    }
}

/// `POST /esci`
pub async fn log_out(portal: Arc<Portal>, who: Caller, _: Asked) -> Response {
    if let Some(session) = who.session() {
        portal.sessions.end(session);
    }
    let mut response = redirect("/entra?fatto=uscito");
    let gone = format!("{}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0", portal.cookie);
    if let Ok(value) = HeaderValue::try_from(gone) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}

/// `GET /invito/{token}`
pub async fn invited(portal: Arc<Portal>, who: Visitor, asked: Asked) -> Response {
    match linked(&portal, &who, &asked) {
        Ok(user) => invitation(&who, &asked, &user, None),
        Err(refusal) => refused(refusal, Some(&asked)),
    }
}

/// `POST /invito/{token}`
pub async fn set_password(portal: Arc<Portal>, who: Visitor, asked: Asked) -> Response {
    let lang = who.lang();
    let user = match linked(&portal, &who, &asked) {
        Ok(user) => user,
        Err(refusal) => return refused(refusal, Some(&asked)),
    };
    if let Some(wrong) = new_password_fault(lang, &user, &asked) {
        return invitation(&who, &asked, &user, Some(&wrong));
    }
    let hash = match portal.passwords.hash(asked.secret("password")).await {
        Ok(hash) => hash,
        Err(error) => return broken(lang, &error),
    };
    let used = digest(asked.param("token"));
    let set = portal.books.edit_account(&user, |account| {
        // Once: another request may have used the link meanwhile.
        let link = account.link.filter(|link| link.hash == used && link.until_ms > now_ms());
        link.ok_or(BookError::Moved)?;
        Ok(vec![AccountEdit::Password(hash), AccountEdit::Link(None)])
    });
    match set.await {
        Ok(()) => redirect("/entra?fatto=password"),
        Err(BookError::Moved) => refused(Refused::NotFound, Some(&asked)),
        Err(error) => broken(lang, &error),
    }
}

/// What is wrong with the new password in a form.
pub(super) fn new_password_fault(lang: Lang, user: &str, asked: &Asked) -> Option<String> {
    let password = asked.secret("password");
    if let Some((it, en)) = password::fault(user, password) {
        return Some(format!("{}: {}", lang.t("La password", "The password"), lang.t(it, en)));
    }
    (password != asked.secret("ripetuta"))
        .then(|| lang.t("Le due password sono diverse.", "The two passwords differ.").to_owned())
}

/// Two fields for a new password.
pub(super) fn new_password_fields(lang: Lang) -> Markup {
    html! {
        label for="password" { (lang.t("Nuova password", "New password")) }
        input id="password" name="password" type="password" required
            minlength=(CHARS_MIN) maxlength=(CHARS_MAX) autocomplete="new-password"
            aria-describedby="regola";
        p.hint id="regola" {
            (lang.t("Almeno 12 caratteri: una frase di quattro parole va bene.",
                "At least 12 characters: a phrase of four words is fine."))
        }
        label for="ripetuta" { (lang.t("Ancora una volta", "Once more")) }
        input id="ripetuta" name="ripetuta" type="password" required
            minlength=(CHARS_MIN) maxlength=(CHARS_MAX) autocomplete="new-password";
    }
}

/// The user whose link this is, if this certificate may be that user's.
fn linked(portal: &Portal, who: &Visitor, asked: &Asked) -> Result<String, Refused> {
    let hash = digest(asked.param("token"));
    let account = portal.office.account_of_link(&hash, now_ms()).map_err(|error| {
        tracing::error!(%error, "nobody is let in");
        Refused::Unavailable
    })?;
    let account = account.filter(|account| who.may_be(account)).ok_or(Refused::NotFound)?;
    Ok(account.user.clone())
}

fn invitation(who: &Visitor, asked: &Asked, user: &str, wrong: Option<&str>) -> Response {
    let lang = who.lang();
    let action = format!("/invito/{}", asked.param("token"));
    let body = html! {
        @if let Some(wrong) = wrong { (notice(false, wrong)) }
        p { (lang.t("Nome utente", "User name")) ": " strong { (user) } }
        form.stack method="post" action=(action) {
            (token(who.token()))
            input type="hidden" name="username" autocomplete="username" value=(user);
            (new_password_fields(lang))
            button { (lang.t("Imposta la password", "Set the password")) }
        }
    };
    let status = if wrong.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    plain(status, lang, lang.t("Scegliete la password", "Choose the password"), &body)
}

fn form(
    portal: &Portal,
    who: &Visitor,
    status: StatusCode,
    user: &str,
    said: Option<(bool, &str)>,
) -> Response {
    let lang = who.lang();
    let body = html! {
        @if let Some((is_good, text)) = said { (notice(is_good, text)) }
        form.stack method="post" action="/entra" {
            (token(who.token()))
            label for="utente" { (lang.t("Nome utente", "User name")) }
            input id="utente" name="utente" required maxlength="100" autocomplete="username"
                autocapitalize="none" spellcheck="false" autofocus value=(user);
            label for="password" { "Password" }
            input id="password" name="password" type="password" required maxlength=(CHARS_MAX)
                autocomplete="current-password";
            button { (lang.t("Entra", "Log in")) }
        }
        p.hint {
            (lang.t("Il certificato della vostra azienda è stato riconosciuto. Password dimenticata? \
                Chiedete un nuovo invito a ",
                "Your company's certificate was recognised. Forgot the password? Ask for a new \
                invitation from "))
            (words::ending(&portal.door.name))
        }
    };
    plain(status, lang, lang.t("Entrate nel portale", "Log in"), &body)
}

fn set_cookie(response: &mut Response, name: &str, secret: &str) {
    let cookie = format!("{name}={secret}; Path=/; Secure; HttpOnly; SameSite=Strict");
    if let Ok(value) = HeaderValue::try_from(cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}
