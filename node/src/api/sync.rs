//! How fresh what is shown here is, and: become equal now.

use axum::{Json, extract::State, http::StatusCode};

use super::{
    Api,
    caller::{Caller, Writer},
    model::SyncStatus,
    problem::{Problem, ProblemBody},
};

/// How fresh what is shown here is.
#[utoipa::path(
    get,
    path = "/api/v1/sync",
    operation_id = "syncStatus",
    tag = "sync",
    responses(
        (status = 200, description = "The state", body = SyncStatus),
        (status = 401, description = "Not let in", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn status(State(api): State<Api>, caller: Caller) -> Result<Json<SyncStatus>, Problem> {
    Ok(Json(api.space(&caller)?.sync_status().await))
}

/// Connect now and become equal, also outside the hours of the schedule.
#[utoipa::path(
    post,
    path = "/api/v1/sync",
    operation_id = "syncNow",
    tag = "sync",
    responses(
        (status = 202, description = "Begun; the body is the state before", body = SyncStatus),
        (status = 401, description = "Not let in", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "This user may only read", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn now(
    State(api): State<Api>,
    Writer(caller): Writer,
) -> Result<(StatusCode, Json<SyncStatus>), Problem> {
    let space = api.space(&caller)?;
    space.host().sync_now();
    Ok((StatusCode::ACCEPTED, Json(space.sync_status().await)))
}
