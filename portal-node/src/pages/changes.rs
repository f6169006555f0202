//! Tells an open list that something changed, so that it shows it without being asked again.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context as Task, Poll},
    time::Duration,
};

use axum::response::{
    IntoResponse as _, Response,
    sse::{Event, KeepAlive, Sse},
};
use futures_core::Stream;
use tokio::{sync::mpsc, time::timeout};

use crate::{
    door::{asked::Asked, pass::Caller},
    portal::Portal,
};

/// How often somebody who follows changes is checked again.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// `GET /fatture/eventi`: tells a list that something changed (Server-Sent Events). It ends when its
/// listener may no longer come in.
pub async fn events(portal: Arc<Portal>, who: Caller, asked: Asked) -> Response {
    let _ = asked;
    let (told, listening) = mpsc::channel(4);
    tokio::spawn(async move {
        let mut moved = portal.mirror.moved();
        let position = || portal.mirror.position(who.tenant()).unwrap_or(0);
        let mut seen = position();
        loop {
            let waited = timeout(LOOK_AGAIN, moved.changed()).await;
            if told.is_closed() || matches!(waited, Ok(Err(_))) || !who.may_stay(&portal) {
                return;
            }
            let now = position();
            if now != seen {
                seen = now;
                if told
                    .send(Event::default().event("cambiato").data(now.to_string()))
                    .await
                    .is_err()
                {
                    return;
                }
            }
        }
    });
    let keep = KeepAlive::new().interval(Duration::from_secs(15));
    Sse::new(Events(listening)).keep_alive(keep).into_response()
}

struct Events(mpsc::Receiver<Event>);

impl Stream for Events {
    type Item = Result<Event, std::convert::Infallible>;
    fn poll_next(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(task).map(|event| event.map(Ok))
    }
}
