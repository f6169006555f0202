//! What changed: by long poll, or as a stream of server-sent events.
//!
//! Each document appears once, at its last change, with what it says now. A cursor stays good
//! over restarts; where its past is no longer ours, the reader is told to begin again.

use std::{
    convert::Infallible,
    pin::Pin,
    str::FromStr as _,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::sse::{Event, KeepAlive, KeepAliveStream, Sse},
};
use engine::id::Kind;
use futures_core::Stream;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::{Instant, timeout_at},
};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api,
    caller::Caller,
    model::InvoiceSummary,
    problem::{Problem, ProblemBody},
    query::Asked,
    space::Space,
};
use crate::{
    feed::{Cursor, FeedError, Page},
    mirror::Change,
};

/// Most changes of one page.
const PAGE_MAX: u32 = 1000;
/// Changes of a page, unless said otherwise.
const PAGE: u32 = 200;
/// Longest wait of a long poll.
const WAIT_S_MAX: u64 = 60;
/// Events made ready for a stream before its reader takes them.
const AHEAD: usize = 16;
/// So that whoever stands between sees that the stream lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What a change is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// A new invoice.
    Invoice,
    /// The SdI said something about one.
    Outcome,
    /// Its marks changed.
    Annotation,
    /// The tenant's profile.
    Profile,
    /// The tenant's contract.
    Contract,
}

/// One document that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangeView {
    /// The place after it.
    pub cursor: String,
    /// What changed.
    pub kind: ChangeKind,
    /// The invoice's id, where it is about one.
    pub id: Option<String>,
    /// The invoice as it is now; null where it is about something else, or about an invoice
    /// that has not arrived yet.
    pub invoice: Option<InvoiceSummary>,
}

/// What changed after a cursor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangesPage {
    /// The changes, oldest first.
    pub changes: Vec<ChangeView>,
    /// Give it as `since` next time.
    pub next: String,
    /// Whether there is more at once.
    pub more: bool,
    /// When this server was last known to hold what a portal holds.
    #[schema(format = DateTime)]
    pub as_of: Option<String>,
}

/// Since when, how many, and how long to wait.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ChangesQuery {
    /// `next` of the answer before; `latest` for nothing but the cursor of now; absent for
    /// everything from the beginning.
    pub since: Option<String>,
    /// Changes of the page.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// Seconds to wait for a change where there is none.
    #[param(minimum = 0, maximum = 60)]
    pub wait: Option<u64>,
}

/// Since when.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StreamQuery {
    /// A cursor, or `latest`; absent for everything from the beginning. `Last-Event-ID` counts more.
    pub since: Option<String>,
}

/// One of the caller's streams or waits.
fn slot(api: &Api, caller: &Caller) -> Result<OwnedSemaphorePermit, Problem> {
    api.streams.of(caller.tenant()).try_acquire_owned().map_err(|_| {
        Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-streams",
            "ci sono già troppe attese aperte: riprovare fra poco",
            "too many waits are open already: try again shortly",
        )
        .retry_after(10)
    })
}

/// What changed since a cursor. With `wait`, answers as soon as something changes.
#[utoipa::path(
    get,
    path = "/api/v1/changes",
    operation_id = "listChanges",
    tag = "changes",
    params(ChangesQuery),
    responses(
        (status = 200, description = "What changed", body = ChangesPage),
        (status = 400, description = "A parameter is wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "Not let in", body = ProblemBody, content_type = "application/problem+json"),
        (status = 410, description = "The archive was restored or corrected since: begin again without `since`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many waits are open", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn changes(
    State(api): State<Api>,
    caller: Caller,
    Asked(query): Asked<ChangesQuery>,
) -> Result<Json<ChangesPage>, Problem> {
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::parameter("limit", "un numero da 1 a 1000", "1 to 1000"));
    }
    let wait = query.wait.unwrap_or(0);
    if wait > WAIT_S_MAX {
        return Err(Problem::parameter("wait", "al massimo 60 secondi", "at most 60 seconds"));
    }
    let space = api.space(&caller)?;
    let since = since(&space, query.since).await?;
    let (changes, page) = if wait == 0 {
        after(&space, since, limit as usize).await?
    } else {
        let _slot = slot(&api, &caller)?;
        let until = Instant::now() + Duration::from_secs(wait);
        wait_after(&space, since, limit as usize, until).await?
    };
    let as_of = space.as_of().await;
    Ok(Json(ChangesPage { changes, next: page.next.to_string(), more: page.more, as_of }))
}

/// What changes, as it changes: `text/event-stream`, each event with the cursor after it as its
/// id. The event is `change`, or `reset` when the reader must forget what it has and everything
/// comes again.
#[utoipa::path(
    get,
    path = "/api/v1/changes/stream",
    operation_id = "streamChanges",
    tag = "changes",
    params(
        StreamQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event taken"),
    ),
    responses(
        (status = 200, description = "Events, each with a change as its data", body = String, content_type = "text/event-stream"),
        (status = 400, description = "A parameter is wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "Not let in", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many streams are open", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn stream(
    State(api): State<Api>,
    caller: Caller,
    Asked(query): Asked<StreamQuery>,
    headers: HeaderMap,
) -> Result<Sse<KeepAliveStream<Events>>, Problem> {
    let space = api.space(&caller)?;
    let last = headers.get("last-event-id").map(|id| id.to_str().unwrap_or("?").to_owned());
    let since = since(&space, last.or(query.since)).await?;
    let slot = slot(&api, &caller)?;
    let (events, out) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        follow(&space, since, &events).await;
        drop(slot);
    });
    Ok(Sse::new(Events(out)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// Sends changes until the reader is gone.
async fn follow(space: &Arc<Space>, mut since: Cursor, events: &mpsc::Sender<Event>) {
    loop {
        let until = Instant::now() + KEEP_ALIVE;
        let waited = tokio::select! {
            waited = wait_after(space, since, PAGE as usize, until) => waited,
            () = events.closed() => return,
        };
        match waited {
            Ok((changes, page)) => {
                for change in changes {
                    let event = Event::default().event("change").id(&change.cursor);
                    let Ok(event) = event.json_data(&change) else { return };
                    if events.send(event).await.is_err() {
                        return;
                    }
                }
                since = page.next;
            }
            Err(problem) if problem.status() == StatusCode::GONE => {
                since = Cursor::START;
                let reset = Event::default().event("reset").id(since.to_string()).data("{}");
                if events.send(reset).await.is_err() {
                    return;
                }
            }
            // The reader comes back by itself, with the id of its last event.
            Err(_) => return,
        }
    }
}

/// A stream of events whose maker waits while its reader is slow.
pub struct Events(mpsc::Receiver<Event>);

impl Stream for Events {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|event| event.map(Ok))
    }
}

/// Reads `since`: a cursor, `latest`, or nothing.
async fn since(space: &Arc<Space>, text: Option<String>) -> Result<Cursor, Problem> {
    match text.as_deref() {
        None | Some("") => Ok(Cursor::START),
        Some("latest") => space.read(|space| Ok(space.feed().latest()?)).await,
        Some(text) => Ok(Cursor::from_str(text)?),
    }
}

/// The same as [`after`], once there is something or at `until`.
pub(crate) async fn wait_after(
    space: &Arc<Space>,
    since: Cursor,
    limit: usize,
    until: Instant,
) -> Result<(Vec<ChangeView>, Page), Problem> {
    let mut moved = space.mirror().moved();
    loop {
        moved.mark_unchanged();
        let found = after(space, since, limit).await?;
        if !found.0.is_empty() {
            return Ok(found);
        }
        match timeout_at(until, moved.changed()).await {
            Ok(Ok(())) => {}
            // Also where the mirror is gone: the service stops.
            _ => return Ok(found),
        }
    }
}

/// What changed after `since`, with what each document says now.
pub(crate) async fn after(
    space: &Arc<Space>,
    since: Cursor,
    limit: usize,
) -> Result<(Vec<ChangeView>, Page), Problem> {
    space
        .read(move |space| {
            let page = space.feed().after(since, limit)?;
            let mut changes = Vec::with_capacity(page.changes.len());
            for (change, cursor) in &page.changes {
                changes.extend(view(space, change, cursor)?);
            }
            Ok((changes, page))
        })
        .await
}

fn view(space: &Space, change: &Change, cursor: &Cursor) -> Result<Option<ChangeView>, Problem> {
    let kind = match change.document.kind() {
        Some(Kind::Invoice) => ChangeKind::Invoice,
        Some(Kind::Outcome) => ChangeKind::Outcome,
        Some(Kind::Annotation) => ChangeKind::Annotation,
        Some(Kind::Profile) => ChangeKind::Profile,
        Some(Kind::Contract) => ChangeKind::Contract,
        // What this version, or the ERP, has no word for.
        _ => return Ok(None),
    };
    let about = change.document.sibling(Kind::Invoice);
    let is_invoice =
        matches!(kind, ChangeKind::Invoice | ChangeKind::Outcome | ChangeKind::Annotation);
    let records = if is_invoice { space.records(about)? } else { None };
    Ok(Some(ChangeView {
        cursor: cursor.to_string(),
        kind,
        id: is_invoice.then(|| about.to_string()),
        invoice: records.map(|records| records.summary()),
    }))
}

impl From<FeedError> for Problem {
    fn from(error: FeedError) -> Self {
        match error {
            FeedError::NotACursor => Self::parameter(
                "since",
                "il valore «next» ricevuto, o «latest»",
                "a \"next\" as received, or \"latest\"",
            ),
            FeedError::Lost => Self::new(
                StatusCode::GONE,
                "cursor-lost",
                "l'archivio è stato ripristinato o corretto dopo questo cursore: \
                 ricominciare senza «since»",
                "the archive was restored or corrected since this cursor was given: \
                 begin again without \"since\"",
            ),
            FeedError::Read(error) => error.into(),
            FeedError::Mirror(error) => error.into(),
        }
    }
}
