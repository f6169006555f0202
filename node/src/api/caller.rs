//! Who asks, and for which tenant. A handler takes a [`Caller`] and only a door makes one, so a
//! route that nobody guards refuses everybody.

use axum::{
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
};
use engine::id::VatNumber;

use super::problem::Problem;

/// Somebody a door let in, for one tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    tenant: VatNumber,
    name: String,
    may_write: bool,
}

impl Caller {
    /// For doors only, once they know who it is: they put it into the request's extensions.
    #[must_use]
    pub fn admitted(tenant: VatNumber, name: &str, may_write: bool) -> Self {
        Self { tenant, name: name.to_owned(), may_write }
    }

    /// Whose space is asked about.
    #[must_use]
    pub fn tenant(&self) -> VatNumber {
        self.tenant
    }

    /// What the caller is called, for logs and for keys that belong to one caller.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Problem::unauthorised)
    }
}

/// A caller that may also write.
#[derive(Clone, Debug)]
pub struct Writer(pub Caller);

impl<S: Send + Sync> FromRequestParts<S> for Writer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        if caller.may_write {
            return Ok(Self(caller));
        }
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "read-only",
            "questo utente può solo leggere",
            "this user may only read",
        ))
    }
}
