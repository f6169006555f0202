//! The API for programs in Rust: typed calls to a node on the LAN, or to a portal.
//!
//! Answers are the types the server itself writes. Nothing is tried again by itself: submitting
//! the same file twice is harmless, so a caller that is not sure asks again.
//!
//! ```no_run
//! # async fn example() -> Result<(), node::client::ClientError> {
//! use node::client::{Client, Credentials};
//!
//! let erp = Client::new("http://127.0.0.1:8480", Credentials::Token("st_...".into()))?;
//! let taken = erp.submit("IT02038490237_00001.xml", b"<p:FatturaElettronica ...".to_vec(), None).await?;
//! println!("{}: {} findings", taken.id, taken.findings.len());
//! let mut since = None;
//! loop {
//!     let page = erp.changes(since.as_deref(), 60).await?;
//!     for change in &page.changes {
//!         println!("{:?} {:?}", change.kind, change.id);
//!     }
//!     since = Some(page.next);
//! }
//! # }
//! ```

use std::{fmt, fmt::Write as _, time::Duration};

use axum::http::{HeaderName, HeaderValue, Method, Uri, header};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use engine::id::PeerId;
use serde::de::DeserializeOwned;

use crate::{
    api::{
        changes::ChangesPage,
        model::{InvoiceDetail, InvoicePage, Submitted, SyncStatus},
    },
    http::{Answer, HttpError, Request, Trust, send},
    transport::Identity,
};

/// Longest answer read: a page of the longest invoices is far below.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// Longest time for a call, beside what the server is asked to wait.
const TIME_MAX: Duration = Duration::from_secs(30);

/// Who asks.
#[derive(Clone)]
pub enum Credentials {
    /// A user of the node, or an account of the portal.
    Password {
        /// Its name.
        user: String,
        /// Its password.
        password: String,
    },
    /// A token.
    Token(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { user, .. } => {
                f.debug_struct("Password").field("user", user).finish_non_exhaustive()
            }
            Self::Token(_) => f.write_str("Token(..)"),
        }
    }
}

/// One server and one caller.
#[derive(Clone)]
pub struct Client {
    base: String,
    authorization: HeaderValue,
    trust: Trust,
}

impl Client {
    /// A caller of the server at `base`: `http://127.0.0.1:8480`.
    ///
    /// # Errors
    /// [`ClientError::Http`] when that is no address.
    pub fn new(base: &str, credentials: Credentials) -> Result<Self, ClientError> {
        let base = base.trim_end_matches('/').to_owned();
        if base.parse::<Uri>().ok().is_none_or(|uri| uri.scheme().is_none()) {
            return Err(HttpError::Address(base).into());
        }
        let text = match credentials {
            Credentials::Token(token) => format!("Bearer {token}"),
            Credentials::Password { user, password } => {
                format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
            }
        };
        let mut authorization =
            HeaderValue::from_str(&text).map_err(|_| HttpError::Address("the token".to_owned()))?;
        authorization.set_sensitive(true);
        Ok(Self { base, authorization, trust: Trust::plain() })
    }

    /// The same over TLS to the server with this key, showing `identity` to it: a portal wants
    /// the certificate of the P.IVA, a node wants none.
    ///
    /// # Errors
    /// [`ClientError::Http`]
    pub fn pinned(mut self, pin: PeerId, identity: Option<&Identity>) -> Result<Self, ClientError> {
        self.trust = Trust::pin(pin, identity)?;
        Ok(self)
    }

    /// A page of invoices: `query` as in the description, `direction=received&limit=50`.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn list(&self, query: &str) -> Result<InvoicePage, ClientError> {
        self.json(Method::GET, &format!("/api/v1/invoices?{query}"), vec![], Bytes::new()).await
    }

    /// One invoice.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn read(&self, id: &str) -> Result<InvoiceDetail, ClientError> {
        self.json(Method::GET, &format!("/api/v1/invoices/{id}"), vec![], Bytes::new()).await
    }

    /// Its original file.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn original(&self, id: &str) -> Result<Bytes, ClientError> {
        let path = format!("/api/v1/invoices/{id}/original");
        Ok(self.ask(Method::GET, &path, vec![], Bytes::new(), TIME_MAX).await?.body)
    }

    /// Submits an invoice file, under an idempotency key if there is one.
    ///
    /// # Errors
    /// [`ClientError::Problem`] says why it is not taken.
    pub async fn submit(
        &self,
        name: &str,
        file: Vec<u8>,
        key: Option<&str>,
    ) -> Result<Submitted, ClientError> {
        let path = format!("/api/v1/invoices?name={}", escaped(name));
        let kind = HeaderValue::from_static("application/octet-stream");
        let mut headers = vec![(header::CONTENT_TYPE, kind)];
        if let Some(key) = key {
            let name = HeaderName::from_static("idempotency-key");
            let key = HeaderValue::from_str(key).map_err(|_| HttpError::Address(key.to_owned()))?;
            headers.push((name, key));
        }
        self.json(Method::POST, &path, headers, file.into()).await
    }

    /// Changes the marks on an invoice: `{"paid_at": "2026-11-30", "notes": "..."}`; null takes
    /// a mark back.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn annotate(
        &self,
        id: &str,
        marks: &serde_json::Value,
    ) -> Result<InvoiceDetail, ClientError> {
        let path = format!("/api/v1/invoices/{id}/annotation");
        let kind = HeaderValue::from_static("application/merge-patch+json");
        let headers = vec![(header::CONTENT_TYPE, kind)];
        self.json(Method::PATCH, &path, headers, marks.to_string().into()).await
    }

    /// What changed since a cursor, or from the beginning; waits up to `wait_s` seconds where
    /// there is nothing.
    ///
    /// # Errors
    /// [`ClientError::Problem`] with status 410 when the reader must begin again.
    pub async fn changes(
        &self,
        since: Option<&str>,
        wait_s: u64,
    ) -> Result<ChangesPage, ClientError> {
        let since = since.map_or_else(String::new, |since| format!("&since={}", escaped(since)));
        let path = format!("/api/v1/changes?wait={wait_s}{since}");
        let time_max = TIME_MAX + Duration::from_secs(wait_s);
        parse(&self.ask(Method::GET, &path, vec![], Bytes::new(), time_max).await?.body)
    }

    /// How fresh what the server shows is.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn sync_status(&self) -> Result<SyncStatus, ClientError> {
        self.json(Method::GET, "/api/v1/sync", vec![], Bytes::new()).await
    }

    /// Has the server connect to the portals now.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn sync_now(&self) -> Result<SyncStatus, ClientError> {
        self.json(Method::POST, "/api/v1/sync", vec![], Bytes::new()).await
    }

    async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        headers: Vec<(HeaderName, HeaderValue)>,
        body: Bytes,
    ) -> Result<T, ClientError> {
        parse(&self.ask(method, path, headers, body, TIME_MAX).await?.body)
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        mut headers: Vec<(HeaderName, HeaderValue)>,
        body: Bytes,
        time_max: Duration,
    ) -> Result<Answer, ClientError> {
        let whole = format!("{}{path}", self.base);
        let uri = whole.parse().map_err(|_| HttpError::Address(whole))?;
        headers.push((header::AUTHORIZATION, self.authorization.clone()));
        let request = Request { method, uri, headers, body, time_max, bytes_max: BYTES_MAX };
        let answer = send(&self.trust, request).await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        let problem = serde_json::from_slice(&answer.body).unwrap_or_default();
        Err(ClientError::Problem { status: answer.status.as_u16(), problem })
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(body).map_err(ClientError::Answer)
}

/// A text as one value of a query.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The server refused: RFC 9457.
    #[error("the server answers {status}: {}", problem["detail"].as_str().unwrap_or("it says no more"))]
    Problem {
        /// The status.
        status: u16,
        /// The problem.
        problem: serde_json::Value,
    },
    /// An answer of another version.
    #[error("the server's answer cannot be read: {0}")]
    Answer(serde_json::Error),
}
