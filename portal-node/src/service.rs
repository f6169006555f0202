//! A portal at work: one store, one host for every tenant, listeners on every line, the SdI
//! folder, and one door for questions.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use engine::{
    bundle::Item,
    grant::{Grant, Role},
    id::{PeerId, VatNumber},
    route::Mode,
    store::Store,
};
use node::{
    control::{self, Question},
    host::{Host, HostConfig, HostHandle, PortalAddress},
    originals, private,
    service::{ServiceError, bind, days_left, io_error, stopped},
    status::{routes, tenant_status},
    transport::{Dialer, Endpoint, Identity, Limits, Listener, PinSet, tcp},
    truth::{Truth, TruthOptions},
};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use crate::{config::PortalConfig, sdi::SdiFolder};

/// What a portal can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// How are you?
    Status,
    /// Which originals of a P.IVA can you read back?
    Originals {
        /// The P.IVA.
        vat: VatNumber,
        /// Where the page begins.
        after: u64,
    },
    /// Admit a P.IVA's key.
    Admit {
        /// The P.IVA.
        vat: VatNumber,
        /// DER SubjectPublicKeyInfo.
        spki: Vec<u8>,
        /// End of the certificate, seconds since 1970.
        not_after: u64,
    },
    /// End a key's grant.
    Revoke {
        /// The P.IVA.
        vat: VatNumber,
        /// The pin, in hexadecimal.
        pin: String,
    },
}

/// Runs until the process is told to stop.
///
/// # Errors
/// [`ServiceError`] when it cannot start.
pub async fn run(config: &PortalConfig) -> Result<(), ServiceError> {
    if config.listen.is_empty() {
        return Err(ServiceError::Nothing("listen address"));
    }
    private::folder(&config.data).map_err(io_error(config.data.display()))?;
    let identity = Identity::load(&config.cert, &config.key)?;
    let store: Arc<dyn Store> =
        Arc::new(Truth::open(&config.data.join("truth"), TruthOptions::default())?);
    let mut portals: Vec<PeerId> = config.portals.iter().map(|portal| portal.pin).collect();
    portals.push(identity.peer());
    let pins = PinSet::new(portals.iter().map(|peer| (*peer, None)).collect());
    let lines = bind(config.lines.iter().map(|line| SocketAddr::new(line.address, 0)))?;
    // One of two portals dials, or each pair would hold two sets of sessions.
    let dial = config.portals.iter().filter(|other| identity.peer() < other.pin);
    let host = Host::start(HostConfig {
        identity: identity.clone(),
        role: Role::Portal,
        tenant: None,
        portals,
        dial: dial.map(|p| PortalAddress { peer: p.pin, addresses: p.addresses.clone() }).collect(),
        mode: Mode::Live,
        period: None,
        pins: pins.clone(),
        dialer: Some(Dialer::new(identity.clone(), pins.clone(), lines)),
        store: Arc::clone(&store),
    })?;
    let mut quic = Vec::new();
    let mut sockets = Vec::new();
    for address in &config.listen {
        let named = || format!("listen address {address}");
        quic.push(Endpoint::bind(*address).map_err(io_error(named()))?);
        sockets.push(tcp::listen(*address).map_err(io_error(named()))?);
    }
    let mut listener = Listener::start(&identity, &pins, quic, sockets, Limits::default())
        .map_err(io_error("the certificate"))?;
    let sdi = SdiFolder::open(&config.sdi, host.clone(), Arc::clone(&store))
        .map_err(io_error(config.sdi.display()))?;
    let accepting = host.clone();
    let accept = async move {
        while let Some(connection) = listener.accept().await {
            accepting.accepted(connection);
        }
    };
    let data = config.data.display();
    let questions = control::listen(&config.data).await.map_err(io_error(data))?;
    tracing::info!(pin = %identity.peer(), "portal is at work");
    tokio::select! {
        () = accept => {}
        () = sdi.run() => {}
        () = answer(config, &identity, &host, &store, questions) => {}
        () = stopped() => tracing::info!("portal stops"),
    }
    Ok(())
}

async fn answer(
    config: &PortalConfig,
    identity: &Identity,
    host: &HostHandle,
    store: &Arc<dyn Store>,
    mut questions: tokio::sync::mpsc::Receiver<Question<Ask>>,
) {
    while let Some((ask, reply)) = questions.recv().await {
        let answer = match ask {
            Ask::Status => status(config, identity, host).await,
            Ask::Originals { vat, after } => {
                let store = Arc::clone(store);
                // Reading every file takes its time, and nobody else is to wait for it.
                spawn_blocking(move || reply.send(originals::answer(&*store, vat, after)));
                continue;
            }
            Ask::Admit { vat, spki, not_after } => {
                let grant = Grant { spki, not_after_ms: not_after.saturating_mul(1000) };
                let said = host.append(vat, vec![Item::Grant(grant)], vec![]).await;
                said_json(said.map(|_| ()).map_err(|error| error.to_string()))
            }
            Ask::Revoke { vat, pin } => said_json(revoke(host, vat, &pin).await),
        };
        let _ = reply.send(answer);
    }
}

async fn revoke(host: &HostHandle, vat: VatNumber, pin: &str) -> Result<(), String> {
    let peer = PeerId::parse_hex(pin).map_err(|error| error.to_string())?;
    // A portal's key would be cut at nothing, and every grant it ever gave with it.
    if !host.view().await.admitted.contains(&peer) {
        return Err(format!("no node with pin {peer} is admitted here: nothing to revoke"));
    }
    host.revoke(vat, peer).await.map(|_| ()).map_err(|error| error.to_string())
}

fn said_json(said: Result<(), String>) -> serde_json::Value {
    match said {
        Ok(()) => serde_json::json!({ "done": true }),
        Err(error) => serde_json::json!({ "done": false, "error": error }),
    }
}

async fn status(
    config: &PortalConfig,
    identity: &Identity,
    host: &HostHandle,
) -> serde_json::Value {
    let view = host.view().await;
    let mut peers: Vec<(String, PeerId)> =
        config.portals.iter().map(|p| (p.name.clone(), p.pin)).collect();
    let names: BTreeMap<_, _> = peers.iter().map(|(name, pin)| (*pin, name.clone())).collect();
    peers.extend(
        view.admitted
            .iter()
            .filter(|peer| !names.contains_key(peer))
            .map(|peer| (format!("node {:.8}", peer.to_string()), *peer)),
    );
    let routes = routes(&view, &peers);
    let days = days_left(identity.not_after());
    let tenants: Vec<_> = view
        .spaces
        .keys()
        .map(|vat| {
            // A node appears only where it is known to hold something of that tenant.
            let here: Vec<_> = peers
                .iter()
                .filter(|(_, pin)| {
                    names.contains_key(pin) || view.known.contains_key(&(*pin, *vat))
                })
                .cloned()
                .collect();
            tenant_status(&view, *vat, &here, &host.log(), days, 0)
        })
        .collect();
    serde_json::json!({
        "pin": identity.peer().to_string(),
        "storage": view.stuck,
        "routes": routes,
        "tenants": tenants,
    })
}
