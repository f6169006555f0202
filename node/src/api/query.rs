//! Parameters of requests, read strictly: a name nobody knows or a value that cannot be read is
//! refused, since a filter that is ignored shows what was not asked for.

use axum::{
    extract::{FromRequestParts, Query},
    http::request::Parts,
};
use engine::id::{DocumentId, Kind};
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// Query parameters, as `T` names them.
#[derive(Clone, Debug)]
pub struct Asked<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(asked)| Self(asked)).map_err(|rejection| {
            Problem::body(
                format!("i parametri della richiesta non sono validi: {rejection}"),
                format!("the parameters of the request are not valid: {rejection}"),
            )
        })
    }
}

/// An invoice's id. What is none is answered like one that is not there.
///
/// # Errors
/// [`Problem::not_found`]
pub fn invoice_id(text: &str) -> Result<DocumentId, Problem> {
    let bytes = hex::<16>(text).ok_or_else(Problem::not_found)?;
    let id = DocumentId::from_bytes(bytes);
    if id.kind() == Some(Kind::Invoice) { Ok(id) } else { Err(Problem::not_found()) }
}

/// `N` bytes in lower-case hexadecimal.
#[must_use]
pub fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N || !digits.iter().all(|b| b"0123456789abcdef".contains(b)) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}
