//! Tells an ERP what changed, by HTTP: the change feed for those who would rather be called.
//!
//! Each hook is a reader of the feed with a cursor of its own, kept on disk and moved only after
//! the ERP has answered 2xx, so a restart, a month without an ERP, or a mirror built anew lose
//! nothing. A delivery whose answer got lost comes again under the same `webhook-id`. Signed as
//! Standard Webhooks 1.0 says: `webhook-signature: v1,` and HMAC-SHA256 of id, timestamp, body.

mod journal;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{digest::SHA256, digest::digest, hmac};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use self::journal::{Entry, Journal};
use crate::{
    api::{
        changes::{ChangeView, wait_after},
        space::Space,
    },
    config::WebhookConfig,
    feed::Cursor,
    http::{Request, Trust, send},
    moment::{now_ms, rfc3339},
};

/// Changes of one delivery.
const CHANGES_MAX: usize = 50;
/// Longest that an ERP may take to answer.
const ANSWER: Duration = Duration::from_secs(30);
/// What is read of an answer: only its status counts.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How long to wait for a change before looking again.
const WAIT: Duration = Duration::from_secs(300);
/// Shortest secret.
const SECRET_BYTES_MIN: usize = 24;
/// Before a secret, as Standard Webhooks writes it.
const SECRET_PREFIX: &str = "whsec_";

/// Pauses after failures in a row; the last one for all that follow.
pub const PAUSES: [Duration; 6] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
    Duration::from_secs(600),
    Duration::from_secs(1800),
    Duration::from_secs(3600),
];

/// One hook at work.
pub struct Webhook {
    space: Arc<Space>,
    uri: Uri,
    trust: Trust,
    key: hmac::Key,
    from_beginning: bool,
    pauses: Vec<Duration>,
    journal: Journal,
    told: Told,
}

/// How a hook is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookStatus {
    /// Where it delivers.
    pub url: String,
    /// Deliveries that were taken, since the start.
    pub delivered: u64,
    /// When the last one was taken, seconds since 1970.
    pub last_delivery: Option<u64>,
    /// Failures in a row.
    pub failures: u32,
    /// Why the last one failed.
    pub last_error: Option<String>,
}

/// How a hook is doing, for status. Clones are the same.
#[derive(Clone, Default)]
pub struct Told(Arc<Mutex<WebhookStatus>>);

impl Told {
    /// As it is now.
    #[must_use]
    pub fn status(&self) -> WebhookStatus {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, change: impl FnOnce(&mut WebhookStatus)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The body of a delivery.
#[derive(Serialize)]
struct Delivery<'d> {
    r#type: &'d str,
    timestamp: String,
    data: DeliveryData<'d>,
}

#[derive(Serialize)]
struct DeliveryData<'d> {
    vat: String,
    as_of: Option<String>,
    next: String,
    changes: &'d [ChangeView],
}

impl Webhook {
    /// A hook about `space`. Its cursor and log are kept in `dir`.
    ///
    /// # Errors
    /// [`WebhookError`]
    pub fn open(
        config: &WebhookConfig,
        space: Arc<Space>,
        dir: &Path,
        pauses: &[Duration],
    ) -> Result<Self, WebhookError> {
        let named = |why: String| WebhookError::Config { url: config.url.clone(), why };
        let uri: Uri = config.url.parse().map_err(|_| named("it is not an address".to_owned()))?;
        let trust = match (config.pin, &config.authorities) {
            (Some(pin), _) => Trust::pin(pin, None),
            (None, Some(path)) => Trust::authorities(path, None),
            (None, None) if uri.scheme_str() == Some("https") => {
                return Err(named("https needs `pin` or `authorities`".to_owned()));
            }
            (None, None) => Ok(Trust::plain()),
        };
        let trust = trust.map_err(|error| named(error.to_string()))?;
        let secret = secret(&config.secret_file).map_err(named)?;
        let name = hex::encode(&digest(&SHA256, config.url.as_bytes()).as_ref()[..8]);
        let journal = Journal::open(dir, &name)
            .map_err(|error| named(format!("{}: {error}", dir.display())))?;
        let told = Told::default();
        told.note(|status| status.url.clone_from(&config.url));
        Ok(Self {
            space,
            uri,
            trust,
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            from_beginning: config.from_beginning,
            pauses: pauses.to_vec(),
            journal,
            told,
        })
    }

    /// How it is doing.
    #[must_use]
    pub fn told(&self) -> Told {
        self.told.clone()
    }

    /// Delivers until the task is dropped.
    pub async fn run(self) {
        let mut failures = 0_usize;
        loop {
            match self.step().await {
                Ok(()) => failures = 0,
                Err(error) => {
                    let pause = self.pauses.get(failures).or(self.pauses.last()).copied();
                    failures += 1;
                    let url = &self.uri;
                    tracing::warn!(%url, %error, failures, "a webhook waits");
                    self.told.note(|status| {
                        status.failures = u32::try_from(failures).unwrap_or(u32::MAX);
                        status.last_error = Some(error.to_string());
                    });
                    sleep(pause.unwrap_or(Duration::from_secs(3600))).await;
                }
            }
        }
    }

    /// Waits for changes and delivers some of them.
    async fn step(&self) -> Result<(), StepError> {
        let since = match self.journal.cursor()? {
            Some(cursor) => cursor,
            None if self.from_beginning => Cursor::START,
            None => {
                let latest = self.space.read(|space| Ok(space.feed().latest()?)).await;
                let latest = latest.map_err(|problem| StepError::Feed(problem.status()))?;
                self.journal.keep(latest)?;
                latest
            }
        };
        let found = wait_after(&self.space, since, CHANGES_MAX, Instant::now() + WAIT).await;
        match found {
            Ok((changes, page)) if changes.is_empty() => {
                if page.next != since {
                    self.journal.keep(page.next)?;
                }
                Ok(())
            }
            Ok((changes, page)) => self.deliver("changes", since, page.next, &changes).await,
            Err(problem) if problem.status() == StatusCode::GONE => {
                self.deliver("changes.reset", since, Cursor::START, &[]).await
            }
            Err(problem) => Err(StepError::Feed(problem.status())),
        }
    }

    async fn deliver(
        &self,
        kind: &str,
        since: Cursor,
        next: Cursor,
        changes: &[ChangeView],
    ) -> Result<(), StepError> {
        let now = now_ms();
        // The same changes again are the same message.
        let seen = format!("{} {kind} {since} {next}", self.space.tenant());
        let seen = digest(&SHA256, seen.as_bytes());
        let id = format!("msg_{}", hex::encode(&seen.as_ref()[..12]));
        let body = serde_json::to_vec(&Delivery {
            r#type: kind,
            timestamp: rfc3339(now),
            data: DeliveryData {
                vat: self.space.tenant().to_string(),
                as_of: self.space.as_of().await,
                next: next.to_string(),
                changes,
            },
        })
        .map_err(io::Error::other)?;
        let seconds = (now / 1000).to_string();
        let signed = [id.as_bytes(), seconds.as_bytes(), &body].join(&b"."[..]);
        let signature = format!("v1,{}", STANDARD.encode(hmac::sign(&self.key, &signed)));
        let text = |text: &str| HeaderValue::from_str(text).map_err(io::Error::other);
        let headers = vec![
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (HeaderName::from_static("webhook-id"), text(&id)?),
            (HeaderName::from_static("webhook-timestamp"), text(&seconds)?),
            (HeaderName::from_static("webhook-signature"), text(&signature)?),
        ];
        let request = Request {
            method: Method::POST,
            uri: self.uri.clone(),
            headers,
            body: body.into(),
            time_max: ANSWER,
            bytes_max: ANSWER_BYTES_MAX,
        };
        let answer = send(&self.trust, request).await;
        let (status, error) = match answer {
            Ok(answer) if answer.status.is_success() => (Some(answer.status), None),
            Ok(answer) => {
                let why = format!("the ERP answers {}", answer.status);
                (Some(answer.status), Some(why))
            }
            Err(error) => (None, Some(error.to_string())),
        };
        self.journal.log(&Entry {
            at: rfc3339(now),
            id,
            changes: changes.len(),
            next: next.to_string(),
            status: status.map(|status| status.as_u16()),
            error: error.clone(),
            took_ms: now_ms().saturating_sub(now),
        })?;
        if let Some(error) = error {
            return Err(StepError::Erp(error));
        }
        self.journal.keep(next)?;
        self.told.note(|status| {
            status.delivered += 1;
            status.last_delivery = Some(now / 1000);
            status.failures = 0;
            status.last_error = None;
        });
        Ok(())
    }
}

/// The secret in a file: `whsec_` and base64, or base64 alone.
fn secret(path: &PathBuf) -> Result<Vec<u8>, String> {
    let named = |why: &str| format!("the secret in {}: {why}", path.display());
    let text = fs::read_to_string(path).map_err(|error| named(&error.to_string()))?;
    let text = text.trim();
    let bytes = STANDARD.decode(text.strip_prefix(SECRET_PREFIX).unwrap_or(text));
    let bytes = bytes.map_err(|_| named("it is not base64, with or without whsec_ before it"))?;
    if bytes.len() < SECRET_BYTES_MIN {
        return Err(named("it is shorter than 24 bytes: make one with openssl rand -base64 32"));
    }
    Ok(bytes)
}

#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error("{0}")]
    Erp(String),
    #[error("the feed cannot be read ({0})")]
    Feed(StatusCode),
    #[error("its journal cannot be written: {0}")]
    Journal(#[from] io::Error),
}

/// Why a hook is not opened.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// What the configuration says of it.
    #[error("the webhook {url} cannot be used: {why}")]
    Config {
        /// Where it delivers.
        url: String,
        /// Why not.
        why: String,
    },
}
