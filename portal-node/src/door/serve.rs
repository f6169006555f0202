//! From a request to a handler: authentication first, then the form, then the page, and on every
//! answer the headers that keep a browser safe. The router is made from the table of routes.

use std::{net::IpAddr, sync::Arc};

use axum::{
    Router,
    extract::{DefaultBodyLimit, RawPathParams, Request},
    http::{HeaderValue, Method, StatusCode, header},
    response::Response,
    routing::{MethodFilter, on},
};
use engine::id::PeerId;

use super::{
    asked::{Asked, FORM_BYTES_MAX, Fields, UPLOAD_BYTES_MAX},
    pass::{Caller, Refused, Visitor},
    routes::{self, Handler, ROUTES, Route},
};
use crate::{pages, portal::Portal};

/// Nothing but this portal's own style, script and pictures; no inline script, no frame of ours
/// in another's page.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; \
    connect-src 'self'; form-action 'self'; frame-src 'self'; frame-ancestors 'self'; base-uri 'none'";

/// The pages' router of one connection, whose guest proved to hold the key of `peer`.
pub fn router(portal: Arc<Portal>, peer: Option<PeerId>, address: IpAddr) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let filter =
            if route.method == Method::POST { MethodFilter::POST } else { MethodFilter::GET };
        let portal = Arc::clone(&portal);
        let limit = match route.body {
            routes::Body::Files => UPLOAD_BYTES_MAX,
            routes::Body::None | routes::Body::Form => FORM_BYTES_MAX,
        };
        let handler = move |params: RawPathParams, request: Request| {
            let portal = Arc::clone(&portal);
            let params =
                params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            async move { answer(portal, peer, address, route, params, request).await }
        };
        router = router.route(route.path, on(filter, handler).layer(DefaultBodyLimit::max(limit)));
    }
    let nowhere = move |request: Request| {
        let portal = Arc::clone(&portal);
        async move {
            // A stranger must not learn which pages there are.
            let asked = Asked::head(&request, Fields::new(), address);
            let refused = match asked.map(|asked| Visitor::admit(&portal, peer, &asked)) {
                Ok(Err(refused)) => refused,
                Ok(Ok(_)) | Err(_) => Refused::NotFound,
            };
            safe(pages::refused(refused, None))
        }
    };
    router.fallback(nowhere.clone()).method_not_allowed_fallback(nowhere)
}

async fn answer(
    portal: Arc<Portal>,
    peer: Option<PeerId>,
    address: IpAddr,
    route: &'static Route,
    params: Fields,
    request: Request,
) -> Response {
    let mut asked = match Asked::head(&request, params, address) {
        Ok(asked) => asked,
        Err(status) => return safe(pages::status(status)),
    };
    let response = match let_in(portal, peer, route, &mut asked, request).await {
        Ok(response) => response,
        Err(Denied::Refused(refused)) => pages::refused(refused, Some(&asked)),
        Err(Denied::Status(status)) => pages::status(status),
    };
    safe(response)
}

enum Denied {
    Refused(Refused),
    Status(StatusCode),
}

impl From<Refused> for Denied {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

async fn let_in(
    portal: Arc<Portal>,
    peer: Option<PeerId>,
    route: &'static Route,
    asked: &mut Asked,
    request: Request,
) -> Result<Response, Denied> {
    let visitor = Visitor::admit(&portal, peer, asked)?;
    match route.handler {
        Handler::Visitor(handler) => {
            let token = visitor.token().to_owned();
            let asked = form(route, asked, request, &token).await?;
            Ok(handler(portal, visitor, asked).await)
        }
        Handler::Anyone(handler) => {
            let caller = Caller::admit(&portal, visitor, asked)?;
            let token = caller.token().to_owned();
            let asked = form(route, asked, request, &token).await?;
            Ok(handler(portal, caller, asked).await)
        }
        Handler::Caller(role, handler) => {
            let caller = Caller::admit(&portal, visitor, asked)?.needs(&portal, role)?;
            let token = caller.token().to_owned();
            let asked = form(route, asked, request, &token).await?;
            Ok(handler(portal, caller, asked).await)
        }
        Handler::Officer(handler) => {
            let officer = Caller::admit(&portal, visitor, asked)?.officer()?;
            let token = officer.token().to_owned();
            let asked = form(route, asked, request, &token).await?;
            Ok(handler(portal, officer, asked).await)
        }
    }
}

/// Reads the form of a request that changes something, and refuses one that is not ours.
async fn form(
    route: &Route,
    asked: &mut Asked,
    request: Request,
    token: &str,
) -> Result<Asked, Denied> {
    if route.method == Method::POST {
        if asked.is_from_another_site() {
            return Err(Refused::Form.into());
        }
        let has_files = matches!(route.body, routes::Body::Files);
        asked.read_form(request, has_files).await.map_err(Denied::Status)?;
        let given = asked.secret("token").as_bytes();
        let same = given.len() == token.len()
            && given.iter().zip(token.as_bytes()).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0;
        if !same {
            return Err(Refused::Form.into());
        }
    }
    let empty = Asked {
        method: asked.method.clone(),
        uri: String::new(),
        params: Fields::new(),
        query: Fields::new(),
        form: Fields::new(),
        files: Vec::new(),
        headers: Default::default(),
        address: asked.address,
    };
    Ok(std::mem::replace(asked, empty))
}

fn safe(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let mut set = |name, value| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    set(header::CACHE_CONTROL, "no-store");
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::X_FRAME_OPTIONS, "SAMEORIGIN");
    set(header::REFERRER_POLICY, "same-origin");
    set(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    set(header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(
        header::HeaderName::from_static("permissions-policy"),
        "camera=(), microphone=(), geolocation=(), payment=()",
    );
    response
}
