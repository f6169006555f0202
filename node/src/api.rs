//! The API for the ERP: HTTP and JSON, described by OpenAPI 3.1.
//!
//! One router for the node and for the portal. It knows nothing of users: a door in front of it
//! puts a [`caller::Caller`] into each request, and a request without one is refused. Routes and
//! description come from the same attributes, so neither can say what the other does not.
//! It never writes the mirror: what is submitted or marked goes through the engine, as from the
//! spool.
#![allow(unused_qualifications, reason = "utoipa's attributes write whole paths")]

pub mod annotate;
mod body;
pub mod caller;
pub mod changes;
pub mod invoices;
pub mod keys;
pub mod model;
pub mod problem;
pub mod query;
pub mod serve;
pub mod slots;
pub mod space;
pub mod submit;
pub mod sync;

use std::sync::Arc;

use axum::{
    Json, Router,
    http::{HeaderValue, StatusCode, header},
    middleware,
    response::IntoResponse,
    routing::get,
};
use tokio::sync::Semaphore;
use utoipa::{
    OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::{
    caller::Caller,
    keys::IdempotencyKeys,
    problem::{Problem, in_the_language_asked},
    slots::Slots,
    space::{Space, Spaces},
};

/// Longest body read: the longest invoice file, as the intake bounds it.
pub const BODY_BYTES_MAX: usize = fatturapa::limits::OPEN_BYTES_MAX;
/// Submissions of one tenant in memory at once: each may be as long as [`BODY_BYTES_MAX`].
const SUBMISSIONS_EACH: usize = 4;
/// Submissions in memory at once, of all tenants.
const SUBMISSIONS_MAX: usize = 32;
/// Streams and waits of one tenant at once.
const STREAMS_EACH: usize = 32;
/// Where the description is served.
pub const OPENAPI_PATH: &str = "/api/v1/openapi.json";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Staffetta",
        version = "1",
        description = "Fatture elettroniche: elenco, originali, invio, annotazioni, novità. \
                       The same on the node of the customer's LAN and on the portals."
    ),
    tags(
        (name = "invoices", description = "Fatture"),
        (name = "changes", description = "Novità: what changed, by long poll or as a stream"),
        (name = "sync", description = "Stato di allineamento"),
    ),
    security(("basic" = []), ("bearer" = []))
)]
struct Description;

/// What handlers share.
#[derive(Clone)]
pub struct Api {
    spaces: Arc<dyn Spaces>,
    keys: Arc<IdempotencyKeys>,
    streams: Slots,
    submissions: Slots,
    all_submissions: Arc<Semaphore>,
}

impl Api {
    /// The API over `spaces`, with the memory of idempotency keys.
    #[must_use]
    pub fn new(spaces: Arc<dyn Spaces>, keys: Arc<IdempotencyKeys>) -> Self {
        Self {
            spaces,
            keys,
            streams: Slots::of_each(STREAMS_EACH),
            submissions: Slots::of_each(SUBMISSIONS_EACH),
            all_submissions: Arc::new(Semaphore::new(SUBMISSIONS_MAX)),
        }
    }

    /// The caller's space.
    fn space(&self, caller: &Caller) -> Result<Arc<Space>, Problem> {
        self.spaces.space(caller.tenant()).ok_or_else(Problem::not_found)
    }
}

/// The routes, and what describes them.
fn described() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(invoices::list, submit::submit))
        .routes(routes!(invoices::read))
        .routes(routes!(invoices::original))
        .routes(routes!(invoices::content))
        .routes(routes!(invoices::html))
        .routes(routes!(invoices::pdf))
        .routes(routes!(invoices::receipt))
        .routes(routes!(annotate::annotate))
        .routes(routes!(changes::changes))
        .routes(routes!(changes::stream))
        .routes(routes!(sync::status, sync::now))
}

/// The description, as served.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    let (_, mut openapi) = described().split_for_parts();
    let components = openapi.components.get_or_insert_default();
    for (name, scheme) in [("basic", HttpAuthScheme::Basic), ("bearer", HttpAuthScheme::Bearer)] {
        components.add_security_scheme(name, SecurityScheme::Http(Http::new(scheme)));
    }
    openapi
}

/// The router. Every route but the description wants a [`Caller`] in the request's extensions.
pub fn router(api: Api) -> Router {
    let (router, _) = described().split_for_parts();
    let description = Json(openapi());
    router
        .route(OPENAPI_PATH, get(move || async move { description }))
        .fallback(|| async { Problem::not_found() })
        .method_not_allowed_fallback(|| async { method_not_allowed() })
        .layer(middleware::from_fn(in_the_language_asked))
        .layer(middleware::map_response(with_headers))
        .with_state(api)
}

fn method_not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method",
        "questo percorso non ammette questo metodo HTTP",
        "this path does not take this HTTP method",
    )
}

/// What every answer carries: nothing here may be kept by a proxy, sniffed or framed.
async fn with_headers(mut response: axum::response::Response) -> impl IntoResponse {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-store"));
    response
}
