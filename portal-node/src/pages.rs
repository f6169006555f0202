//! What people see. A handler takes a value that the door made, asks the portal, and answers with
//! a page that works without script, by keyboard and on paper.

pub mod account;
mod amount;
pub mod assets;
pub mod changes;
pub mod contract;
pub mod customer;
mod drawing;
pub mod entry;
pub mod home;
pub mod invoice;
pub mod invoices;
mod layout;
pub mod network;
pub mod office;
pub mod profile;
pub mod sending;
mod standing;
mod words;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use maud::html;

pub use layout::{Here, page, plain};

use crate::{
    door::{asked::Asked, pass::Refused},
    lang::Lang,
};

/// The answer to somebody who does not come in, in words that tell no more than they must.
#[must_use]
pub fn refused(refused: Refused, asked: Option<&Asked>) -> Response {
    let lang = asked.map(Lang::asked).unwrap_or_default();
    if refused == Refused::Login && asked.is_some_and(|asked| asked.method == "GET") {
        return redirect("/entra");
    }
    let (status, title, text) = match refused {
        Refused::Certificate => (
            StatusCode::FORBIDDEN,
            ("Serve il certificato", "A certificate is needed"),
            (
                "Questo portale si apre solo con il certificato della vostra azienda (partitaiva.p12), \
                 valido e non revocato. Importatelo nel browser, chiudete tutte le finestre e riprovate; \
                 se è già importato, chiedetene uno nuovo all'intermediario.",
                "This portal opens only with your company's certificate (partitaiva.p12), valid and not \
                 revoked. Import it into the browser, close all windows and try again; if it is there \
                 already, ask the intermediary for a new one.",
            ),
        ),
        Refused::Login => (
            StatusCode::UNAUTHORIZED,
            ("La sessione è finita", "The session has ended"),
            ("Entrate di nuovo e riprovate.", "Log in again and retry."),
        ),
        Refused::Wrong => (
            StatusCode::UNAUTHORIZED,
            ("Non riconosciuto", "Not recognised"),
            (
                "Nome utente e password non corrispondono a questo certificato.",
                "User name and password do not belong to this certificate.",
            ),
        ),
        Refused::Wait(_) => (
            StatusCode::TOO_MANY_REQUESTS,
            ("Troppi tentativi", "Too many attempts"),
            ("Aspettate un minuto e riprovate.", "Wait a minute and try again."),
        ),
        Refused::Suspended => (
            StatusCode::FORBIDDEN,
            ("Utenza sospesa", "Suspended"),
            (
                "L'intermediario ha sospeso questa partita IVA. Le fatture già ricevute restano sul vostro server.",
                "The intermediary suspended this VAT number. Invoices already received remain on your server.",
            ),
        ),
        Refused::NotFound => (
            StatusCode::NOT_FOUND,
            ("Pagina non trovata", "Page not found"),
            ("Non c'è, o non è vostra.", "It is not there, or not yours."),
        ),
        Refused::Form => (
            StatusCode::FORBIDDEN,
            ("Il modulo è scaduto", "The form has expired"),
            (
                "Tornate indietro, ricaricate la pagina e inviatelo di nuovo.",
                "Go back, reload the page and send it again.",
            ),
        ),
        Refused::Unavailable => (
            StatusCode::SERVICE_UNAVAILABLE,
            ("Momentaneamente non disponibile", "Unavailable for now"),
            (
                "Riprovate tra poco, o usate l'altro portale: ha gli stessi dati.",
                "Try again shortly, or use the other portal: it has the same data.",
            ),
        ),
    };
    let body = html! { p { (lang.t(text.0, text.1)) } };
    let mut response = plain(status, lang, lang.t(title.0, title.1), &body);
    if let Refused::Wait(seconds) = refused
        && let Ok(value) = HeaderValue::try_from(seconds.to_string())
    {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}

/// A status in a few words, where there is no more to say.
#[must_use]
pub fn status(status: StatusCode) -> Response {
    let text = match status {
        StatusCode::PAYLOAD_TOO_LARGE => {
            "Il file è troppo grande: al massimo 5 MB. (The file is too large.)"
        }
        _ => "La richiesta non si capisce. (The request cannot be understood.)",
    };
    (status, text).into_response()
}

/// Go there and look (303).
#[must_use]
pub fn redirect(to: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    if let Ok(value) = HeaderValue::try_from(to) {
        response.headers_mut().insert(header::LOCATION, value);
    }
    response
}

/// A file to be shown or kept.
#[must_use]
pub fn file(name: &str, kind: &'static str, bytes: Vec<u8>, is_kept: bool) -> Response {
    let safe: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' })
        .collect();
    let way = if is_kept { "attachment" } else { "inline" };
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Ok(value) = HeaderValue::try_from(format!("{way}; filename=\"{safe}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    response
}

/// Something went wrong here; a person of the intermediary finds it in the log.
#[must_use]
pub fn broken(lang: Lang, error: &dyn std::fmt::Display) -> Response {
    tracing::error!(%error, "a page could not be answered");
    let text = lang.t(
        "Qualcosa non ha funzionato e l'abbiamo annotato. Riprovate tra poco, o usate l'altro portale.",
        "Something did not work and was noted. Try again shortly, or use the other portal.",
    );
    let title = lang.t("Non ha funzionato", "It did not work");
    plain(StatusCode::INTERNAL_SERVER_ERROR, lang, title, &html! { p { (text) } })
}
