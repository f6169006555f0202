//! The door for SQL: the node's users, each with its tenant's tables, over the PostgreSQL wire.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use engine::id::VatNumber;
use sql::{
    reader::Outside,
    server::{House, Login, Options, Server, Tenant},
};

use super::{Filler, Source};
use crate::{
    config::SqlConfig,
    service::{ServiceError, io_error},
    transport::{Identity, tls},
    user::Users,
};

/// Users and tenants of this node.
struct Known {
    users: Arc<Users>,
    tenants: BTreeMap<VatNumber, (PathBuf, Arc<Source>)>,
}

impl House for Known {
    fn login(&self, user: &str) -> Result<Login, String> {
        let found = self.users.find(user).map_err(|error| error.to_string())?;
        let verifier = self.users.verifier(user).map_err(|error| error.to_string())?;
        let tenant = found.as_ref().and_then(|user| {
            let (shelf, source) = self.tenants.get(&user.vat)?;
            let outside: Arc<dyn Outside> = Arc::clone(source) as Arc<dyn Outside>;
            Some(Tenant { vat: user.vat.to_string(), shelf: shelf.clone(), outside })
        });
        let users = Arc::clone(&self.users);
        // The same name, password and tenant as when it came in.
        let still = move || {
            found.as_ref().is_some_and(|before| {
                users.find(&before.name).is_ok_and(|now| now.as_ref() == Some(before))
            })
        };
        Ok(Login {
            salt: verifier.salt().to_vec(),
            iterations: verifier.iterations(),
            answer: Box::new(move |message, proof| verifier.answer(message, proof)),
            tenant,
            still: Box::new(still),
        })
    }
}

/// The door, open until it is dropped, and who fills the tables behind it.
#[derive(Debug)]
pub struct SqlDoor {
    servers: Vec<Server>,
    _fillers: Vec<Filler>,
}

impl SqlDoor {
    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> Vec<std::net::SocketAddr> {
        self.servers.iter().map(Server::address).collect()
    }
}

/// Opens it on every address the configuration names. `ours` is the certificate to show unless
/// it names another.
///
/// # Errors
/// [`ServiceError`]
pub fn open(
    config: &SqlConfig,
    data: &std::path::Path,
    sources: Vec<Arc<Source>>,
    ours: &Identity,
) -> Result<SqlDoor, ServiceError> {
    let identity = match (&config.cert, &config.key) {
        (Some(cert), Some(key)) => Identity::load(cert, key)?,
        _ => ours.clone(),
    };
    let mut tls = tls::https(&identity)
        .map_err(|error| io_error("TLS for SQL")(std::io::Error::other(error)))?;
    // Drivers name no protocol, or PostgreSQL's own.
    tls.alpn_protocols.clear();
    let tls = Arc::new(tls);
    let users = || Users::open(data).map_err(|error| ServiceError::Users(error.to_string()));
    let users = Arc::new(users()?);
    let (mut fillers, mut tenants) = (Vec::new(), BTreeMap::new());
    for source in sources {
        let path = data.join(source.tenant.to_string()).join("sql.sqlite");
        let filler = Filler::start(path.clone(), Arc::clone(&source));
        fillers.push(filler.map_err(io_error("a thread for the tables"))?);
        tenants.insert(source.tenant, (path, source));
    }
    let mut servers = Vec::new();
    for address in &config.listen {
        let house = Known { users: Arc::clone(&users), tenants: tenants.clone() };
        let options = Options {
            tls: Some(Arc::clone(&tls)),
            connections_max: config.connections_max,
            statement_timeout: config.statement_timeout(),
            ..Options::default()
        };
        let server = Server::start(*address, house, options);
        let server = server.map_err(io_error(format!("the address for SQL {address}")))?;
        tracing::info!("SQL answers at {}", server.address());
        servers.push(server);
    }
    Ok(SqlDoor { servers, _fillers: fillers })
}
