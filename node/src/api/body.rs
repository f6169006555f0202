//! Reads a request's body, up to a bound.

use axum::body::{Body, Bytes};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::problem::Problem;

/// The whole body, if it has at most `max` bytes.
///
/// # Errors
/// It is longer, or its sender went away.
pub async fn whole(body: Body, max: usize) -> Result<Bytes, Problem> {
    match Limited::new(body, max).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Problem::too_large(max)),
        Err(_) => Err(Problem::body(
            "il corpo della richiesta non è arrivato intero".to_owned(),
            "the body of the request did not arrive whole".to_owned(),
        )),
    }
}
