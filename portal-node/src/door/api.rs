//! The door of the ERP's API: certificate, user and password at every request, and the node's
//! router behind it, so that a portal and a node answer alike.
//!
//! Where an account and its certificate have several P.IVA, the header `X-Partita-Iva` says
//! which. A password that was compared a moment ago is not hashed again: what is remembered is
//! a mark of user, password and the hash that is kept, so a new password counts at once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use engine::{
    document::account::AccountRole,
    id::{PeerId, VatNumber},
};
use node::api::{Api, caller, keys::IdempotencyKeys, problem::Problem, router};

use super::{
    asked::{Asked, Fields, UPLOAD_BYTES_MAX},
    pass::{Refused, Visitor},
};
use crate::portal::Portal;

/// How long a comparison is remembered.
const REMEMBERED: Duration = Duration::from_secs(300);
/// Comparisons remembered.
const MARKS_MAX: usize = 10_000;

/// Passwords compared a moment ago.
#[derive(Default)]
pub struct Compared(Mutex<HashMap<String, Instant>>);

impl Compared {
    /// Whether this mark was right a moment ago.
    pub fn knows(&self, mark: &str, now: Instant) -> bool {
        let marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        marks.get(mark).is_some_and(|at| now.duration_since(*at) < REMEMBERED)
    }

    /// It was right now.
    pub fn remember(&self, mark: String, now: Instant) {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if marks.len() >= MARKS_MAX {
            marks.retain(|_, at| now.duration_since(*at) < REMEMBERED);
            if marks.len() >= MARKS_MAX {
                marks.clear();
            }
        }
        marks.insert(mark, now);
    }
}

/// The API of `portal`, for nobody yet.
pub fn api(portal: &Portal, keys: Arc<IdempotencyKeys>) -> Router {
    router(Api::new(Arc::clone(&portal.spaces) as _, keys))
}

/// The same for one connection, whose guest proved to hold the key of `peer`.
pub fn guarded(
    api: Router,
    portal: Arc<Portal>,
    peer: Option<PeerId>,
    address: std::net::IpAddr,
) -> Router {
    api.layer(middleware::from_fn(move |mut request: Request, next: Next| {
        let portal = Arc::clone(&portal);
        async move {
            let asked = Asked::head(&request, Fields::new(), address);
            let admitted = match asked {
                Ok(asked) => admit(&portal, peer, &asked).await,
                Err(_) => Err(Refused::NotFound),
            };
            match admitted {
                Ok(caller) => {
                    request.extensions_mut().insert(caller);
                    match whole(request).await {
                        Ok(request) => next.run(request).await,
                        Err(problem) => problem.into_response(),
                    }
                }
                Err(refused) => answer(refused),
            }
        }
    }))
}

/// The request with its body read to the end. Over TLS a program that is still sending does not hear
/// an answer, only that the connection ends: what is refused for its length must be read too.
async fn whole(request: Request) -> Result<Request, Problem> {
    let (parts, body) = request.into_parts();
    match to_bytes(body, UPLOAD_BYTES_MAX).await {
        Ok(bytes) => Ok(Request::from_parts(parts, Body::from(bytes))),
        Err(_) => Err(Problem::too_large(UPLOAD_BYTES_MAX)),
    }
}

async fn admit(
    portal: &Portal,
    peer: Option<PeerId>,
    asked: &Asked,
) -> Result<caller::Caller, Refused> {
    let visitor = Visitor::admit(portal, peer, asked)?;
    // A browser that remembers a password sends it for other sites too.
    if asked.is_from_another_site() {
        return Err(Refused::Form);
    }
    let (user, password) = basic(asked.header("authorization")).ok_or(Refused::Wrong)?;
    let vat = match asked.header("x-partita-iva") {
        "" => None,
        text => Some(VatNumber::parse(text).map_err(|_| Refused::Wrong)?),
    };
    let who = visitor.admit_program(portal, &user, &password, vat).await?;
    let who = who.needs(portal, AccountRole::Reader)?;
    let may_write = who.role() >= AccountRole::Operator;
    Ok(caller::Caller::admitted(who.tenant(), &who.account().user, may_write))
}

/// User and password of a Basic header (RFC 7617).
fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, rest) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

fn answer(refused: Refused) -> Response {
    let status = match refused {
        Refused::Wait(seconds) => {
            return Problem::new(
                axum::http::StatusCode::TOO_MANY_REQUESTS,
                "too-many-attempts",
                "troppi tentativi errati: attendere",
                "too many wrong attempts: wait",
            )
            .retry_after(seconds)
            .into_response();
        }
        Refused::Certificate => (
            "certificate",
            "serve il certificato della partita IVA, valido e non revocato",
            "the VAT number's certificate is needed, valid and not revoked",
        ),
        Refused::Suspended => {
            ("suspended", "la partita IVA è sospesa", "the VAT number is suspended")
        }
        Refused::Form => ("other-site", "richiesta di un altro sito", "request of another site"),
        Refused::Unavailable => return Problem::unavailable(&"the office").into_response(),
        Refused::NotFound => return Problem::not_found().into_response(),
        Refused::Login | Refused::Wrong => return Problem::unauthorised().into_response(),
    };
    let forbidden = axum::http::StatusCode::FORBIDDEN;
    Problem::new(forbidden, status.0, status.1, status.2).into_response()
}
