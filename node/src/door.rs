//! The node's door for the ERP: the spaces it serves, and the users and tokens it knows.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, sync::Arc};

use axum::Router;
use engine::id::VatNumber;

use crate::{
    api::{
        Api,
        caller::Caller,
        keys::IdempotencyKeys,
        router,
        serve::{Accounts, Served, guarded, listen},
        space::{Space, Spaces},
    },
    config::ApiConfig,
    service::{ServiceError, io_error},
    token::Tokens,
    transport::Identity,
    user::Users,
};

/// Users and tokens of this node.
struct Known {
    users: Users,
    tokens: Tokens,
}

impl Accounts for Known {
    fn by_password(&self, name: &str, password: &str) -> Option<Caller> {
        match self.users.admit(name, password) {
            Ok(user) => user.map(|user| Caller::admitted(user.vat, &user.name, true)),
            Err(error) => {
                tracing::error!(%error, "nobody is let in");
                None
            }
        }
    }

    fn by_token(&self, token: &str) -> Option<Caller> {
        let known = self.tokens.admit(token).unwrap_or_else(|error| {
            tracing::error!(%error, "no token is let in");
            None
        })?;
        // A token and a user of one name are two callers.
        let name = format!("token {}", known.name);
        Some(Caller::admitted(known.tenant()?, &name, known.may_write))
    }
}

/// Opens the door on every address the configuration names. `ours` is the certificate to show
/// beyond loopback, unless it names another; `more` is what else is served there.
///
/// # Errors
/// [`ServiceError`]
pub async fn open(
    config: &ApiConfig,
    data: &Path,
    spaces: BTreeMap<VatNumber, Arc<Space>>,
    ours: &Identity,
    more: Router,
) -> Result<Vec<Served>, ServiceError> {
    for space in spaces.values() {
        let space = Arc::clone(space);
        // The first list after a start need not wait for the register to be filled.
        tokio::spawn(async move { space.read(|space| Ok(space.register().count()?)).await });
    }
    let keys = IdempotencyKeys::open(data).map_err(io_error(data.display()))?;
    let users = Users::open(data).map_err(|error| ServiceError::Users(error.to_string()))?;
    let known = Known { users, tokens: Tokens::of(data) };
    let spaces: Arc<dyn Spaces> = Arc::new(spaces);
    let router = guarded(router(Api::new(spaces, Arc::new(keys))).merge(more), known);
    let identity = match (&config.cert, &config.key) {
        (Some(cert), Some(key)) => Identity::load(cert, key)?,
        _ => ours.clone(),
    };
    let mut served = Vec::new();
    for address in &config.listen {
        let tls = is_tls(config, *address).then_some(&identity);
        let one = listen(*address, tls, router.clone()).await;
        let one = one.map_err(io_error(format!("the API's address {address}")))?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        tracing::info!("the API answers at {scheme}://{}", one.address());
        served.push(one);
    }
    Ok(served)
}

/// Passwords never cross a wire in clear.
fn is_tls(config: &ApiConfig, address: SocketAddr) -> bool {
    config.tls || !address.ip().is_loopback()
}
