//! What the API says when it does not do what was asked: RFC 9457 `application/problem+json`, in
//! Italian, or in English for whoever asks for it with `Accept-Language`.

use std::borrow::Cow;

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use engine::{archive::ReadError, effect::AppendError};
use serde::Serialize;
use utoipa::ToSchema;

use crate::mirror::MirrorError;

/// The media type.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// A refusal or a failure. `kind` is stable and for programs; the sentences are for people.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    kind: &'static str,
    italian: Cow<'static, str>,
    english: Cow<'static, str>,
    extra: serde_json::Map<String, serde_json::Value>,
    retry_after_s: Option<u64>,
}

/// The body of a problem (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// `urn:staffetta:problem:` and a word that never changes.
    #[schema(example = "urn:staffetta:problem:not-found")]
    pub r#type: String,
    /// The status in words.
    pub title: String,
    /// The status code.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What happened and what to do, in Italian unless English was asked for.
    pub detail: String,
    /// What goes with it: for a refused invoice, the findings.
    #[serde(flatten)]
    #[schema(ignore)]
    pub extra: serde_json::Map<String, serde_json::Value>,
}

impl Problem {
    /// A problem.
    #[must_use]
    pub fn new(
        status: StatusCode,
        kind: &'static str,
        italian: impl Into<Cow<'static, str>>,
        english: impl Into<Cow<'static, str>>,
    ) -> Self {
        let (italian, english) = (italian.into(), english.into());
        Self { status, kind, italian, english, extra: serde_json::Map::new(), retry_after_s: None }
    }

    /// A field that goes with it.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Serialize) -> Self {
        let value = serde_json::to_value(value).unwrap_or_default();
        self.extra.insert(field.to_owned(), value);
        self
    }

    /// When to try again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Not there, or not the caller's: the same words for both.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not-found",
            "non c'è nulla con questo nome: controllare l'identificativo e il percorso",
            "there is nothing of this name: check the identifier and the path",
        )
    }

    /// Nobody known asks.
    #[must_use]
    pub fn unauthorised() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorised",
            "utente, password o token mancanti o errati",
            "user, password or token missing or wrong",
        )
    }

    /// A parameter that cannot be read.
    #[must_use]
    pub fn parameter(name: &str, wanted_italian: &str, wanted_english: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "parameter",
            format!("il parametro «{name}» non è valido: serve {wanted_italian}"),
            format!("parameter \"{name}\" is not valid: give {wanted_english}"),
        )
        .with("parameter", name)
    }

    /// The body cannot be read.
    #[must_use]
    pub fn body(italian: String, english: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "body", italian, english)
    }

    /// More than is read.
    #[must_use]
    pub fn too_large(max: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            format!("la richiesta supera i {max} byte che si possono leggere"),
            format!("the request is longer than the {max} bytes that are read"),
        )
    }

    /// Something here fails for now.
    #[must_use]
    pub fn unavailable(error: &dyn std::fmt::Display) -> Self {
        tracing::warn!(%error, "the API cannot answer");
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            format!("il servizio non può rispondere in questo momento ({error}): riprovare"),
            format!("the service cannot answer now ({error}): try again"),
        )
        .retry_after(5)
    }

    fn render(&self, english: bool) -> Response {
        let detail = if english { &self.english } else { &self.italian };
        let body = ProblemBody {
            r#type: format!("urn:staffetta:problem:{}", self.kind),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            detail: detail.clone().into_owned(),
            extra: self.extra.clone(),
        };
        let bytes = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = Response::new(Body::from(bytes));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        let language = HeaderValue::from_static(if english { "en" } else { "it" });
        headers.insert(header::CONTENT_LANGUAGE, language);
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Language"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let ask = HeaderValue::from_static("Basic realm=\"staffetta\", charset=\"UTF-8\"");
            headers.append(header::WWW_AUTHENTICATE, ask);
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.render(false);
        response.extensions_mut().insert(self);
        response
    }
}

/// The layer that says problems in the language asked for.
pub async fn in_the_language_asked(request: Request, next: Next) -> Response {
    let english = wants_english(request.headers());
    let response = next.run(request).await;
    match response.extensions().get::<Problem>() {
        Some(problem) if english => problem.render(true),
        _ => response,
    }
}

/// Whether English is preferred to Italian (RFC 9110 section 12.5.4). Italian is the default.
#[must_use]
pub fn wants_english(headers: &HeaderMap) -> bool {
    let said = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    let weight = |language: &str| {
        let ranges = said.unwrap_or_default().split(',').filter_map(|range| {
            let (range, weight) = range.split_once(';').unwrap_or((range, "q=1"));
            let range = range.trim().split('-').next().unwrap_or_default();
            let weight: f32 = weight.trim().strip_prefix("q=")?.parse().ok()?;
            range.eq_ignore_ascii_case(language).then_some(weight)
        });
        ranges.fold(0.0, f32::max)
    };
    weight("en") > weight("it")
}

impl From<MirrorError> for Problem {
    fn from(error: MirrorError) -> Self {
        Self::unavailable(&error)
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        Self::unavailable(&error)
    }
}

impl From<AppendError> for Problem {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Forbidden(_) => Self::new(
                StatusCode::FORBIDDEN,
                "wrong-door",
                "questo server non può scrivere questo dato: va scritto dal nodo del cliente",
                "this server may not write this: the customer's node writes it",
            ),
            AppendError::NotHere(_) => Self::not_found(),
            AppendError::Body(error) => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "too-large",
                format!("il contenuto supera un limite: {error}"),
                format!("the content is over a limit: {error}"),
            ),
            AppendError::Store(why) => Self::unavailable(&why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn italian_is_the_default_and_english_is_for_whoever_prefers_it() {
        for (said, english) in [
            (None, false),
            (Some("it"), false),
            (Some("en"), true),
            (Some("en-GB,en;q=0.9"), true),
            (Some("it-IT,it;q=0.9,en;q=0.8"), false),
            (Some("de, en;q=0.7, it;q=0.3"), true),
            (Some("*"), false),
            (Some(";;q=,,"), false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(said) = said {
                headers.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_static(said));
            }
            assert_eq!(wants_english(&headers), english, "{said:?}");
        }
    }
}
