//! A portal at work: one store, one host for every tenant, listeners on every line, the SdI
//! folder, and one door for questions.

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc};

use engine::{
    bundle::Item,
    document::{
        account::{AccountEdit, AccountRole, OneTime},
        customer::{CustomerEdit, DoorCertificate},
        step::{Act, Step},
    },
    grant::{Grant, Role},
    id::{OFFICE, PeerId, VatNumber},
    route::Mode,
    store::Store,
};
use node::{
    api::keys::IdempotencyKeys,
    control::{self, Question},
    host::{Host, HostConfig, HostHandle, PortalAddress},
    mirror::{Mirror, MirrorOptions},
    originals, private, rescue,
    service::{ServiceError, bind, days_left, io_error, stopped},
    status::{routes, tenant_status},
    transport::{Dialer, Endpoint, Identity, Limits, Listener, PinSet, tcp},
    truth::{Truth, TruthOptions},
};
use serde::{Deserialize, Serialize};
use tokio::{
    net::TcpListener,
    task::{JoinSet, spawn_blocking},
};

use crate::{
    books::BookError,
    config::PortalConfig,
    door::{self, sessions},
    enactor, lag,
    office::{Office, now_ms},
    pages,
    portal::Portal,
    records,
    sdi::SdiFolder,
};

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
    /// Make a link by which `user`, with this key, becomes an administrator.
    AdminLink {
        /// The user name.
        user: String,
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
    let (truth, _) = Truth::open_whole(&config.data.join("truth"), TruthOptions::default())?;
    let truth = Arc::new(truth);
    let store: Arc<dyn Store> = Arc::<Truth>::clone(&truth);
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
    let sdi = SdiFolder::open(&config.sdi, host.clone(), Arc::clone(&store))
        .map_err(io_error(config.sdi.display()))?;
    let (mirror, _) = Mirror::open(&config.data.join("mirror"), MirrorOptions::default())?;
    let mirror = Arc::new(mirror);
    let office = Arc::new(Office::new(host.clone(), Arc::clone(&store)));
    let door = open_door(config, &identity, &host, &office, &store, &mirror)?;
    if let Err(error) = enactor::bar(&office, &pins) {
        tracing::error!(%error, "who is suspended is not known yet");
    }
    let mut listener = Listener::start(&identity, &pins, quic, sockets, Limits::default())
        .map_err(io_error("the certificate"))?;
    let accepting = host.clone();
    let accept = async move {
        while let Some(connection) = listener.accept().await {
            accepting.accepted(connection);
        }
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(rescue::run(
        config.data.join("truth"),
        Arc::clone(&store),
        host.clone(),
        sdi.taken(),
    ));
    let records = records::run(host.clone(), Arc::clone(&store), mirror);
    let data = config.data.display();
    let questions = control::listen(&config.data).await.map_err(io_error(data))?;
    tracing::info!(pin = %identity.peer(), "portal is at work");
    tokio::select! {
        () = accept => {}
        () = sdi.run() => {}
        () = records => {}
        () = enactor::keep_out(office, host.clone(), pins) => {}
        () = at_the_door(door.clone()) => {}
        () = answer(config, &identity, &host, &store, door.as_ref(), questions) => {}
        error = truth.doubted() => return Err(error.into()),
        () = stopped() => tracing::info!("portal stops"),
    }
    Ok(())
}

/// The pages, bound and not served yet.
#[derive(Clone)]
struct Door {
    portal: Arc<Portal>,
    api: axum::Router,
    tls: Arc<rustls::ServerConfig>,
    sockets: Vec<Arc<std::net::TcpListener>>,
}

fn open_door(
    config: &PortalConfig,
    identity: &Identity,
    host: &HostHandle,
    office: &Arc<Office>,
    store: &Arc<dyn Store>,
    mirror: &Arc<Mirror>,
) -> Result<Option<Door>, ServiceError> {
    let Some(mut told) = config.door.clone() else { return Ok(None) };
    if told.listen.is_empty() {
        return Err(ServiceError::Nothing("listen address in [door]"));
    }
    told.read_authorities()
        .map_err(|error| io_error("trust in [door]")(io::Error::other(error)))?;
    let shown = match (&told.cert, &told.key) {
        (Some(cert), Some(key)) => Identity::load(cert, key)?,
        (None, None) => identity.clone(),
        _ => return Err(ServiceError::Nothing("pair of cert and key in [door]")),
    };
    let tls = door::tls(&shown)
        .map_err(io::Error::other)
        .map_err(io_error("the certificate of [door]"))?;
    let mut sockets = Vec::new();
    for address in &told.listen {
        let bound = std::net::TcpListener::bind(address)
            .and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
        sockets.push(Arc::new(bound.map_err(io_error(format!("door address {address}")))?));
    }
    let mut portals = vec![("questo portale".to_owned(), identity.peer())];
    portals.extend(config.portals.iter().map(|other| (other.name.clone(), other.pin)));
    let (store, mirror) = (Arc::clone(store), Arc::clone(mirror));
    let portal = Portal::new(told, host.clone(), Arc::clone(office), store, mirror, portals)
        .map_err(io::Error::other)
        .map_err(io_error("[door]"))?;
    let keys = IdempotencyKeys::open(&config.data).map_err(io_error(config.data.display()))?;
    let api = door::api::api(&portal, Arc::new(keys));
    Ok(Some(Door { portal: Arc::new(portal), api, tls, sockets }))
}

/// Serves the pages and does what is decided there; without a door it only waits.
async fn at_the_door(door: Option<Door>) {
    let Some(Door { portal, api, tls, sockets }) = door else {
        return std::future::pending().await;
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(enactor::run(Arc::clone(&portal)));
    tasks.spawn(lag::run(Arc::clone(&portal)));
    let letters = Arc::clone(&portal);
    tasks.spawn(async move { letters.post.run().await });
    for socket in sockets {
        let socket = socket.try_clone().and_then(TcpListener::from_std);
        match socket {
            Ok(socket) => {
                tasks.spawn(door::serve(
                    Arc::clone(&portal),
                    api.clone(),
                    Arc::clone(&tls),
                    socket,
                ));
            }
            Err(error) => tracing::error!(%error, "an address of the door is not served"),
        }
    }
    tasks.join_next().await;
}

/// A link by which `user` sets a password and is an administrator then.
async fn admin_link(
    door: Option<&Door>,
    identity: &Identity,
    user: &str,
    spki: Vec<u8>,
    not_after: u64,
) -> Result<String, String> {
    let door = door.ok_or("this portal has no [door] in its configuration")?;
    let portal = &door.portal;
    let secret = sessions::secret().map_err(|error| error.to_string())?;
    let now = now_ms();
    let step = |act, note: &str| Step {
        at_ms: now,
        act,
        user: String::new(),
        peer: identity.peer(),
        note: note.to_owned(),
    };
    let not_after_ms = not_after.saturating_mul(1000);
    let certificate = DoorCertificate { spki, not_after_ms, bound_ms: now };
    let bound = step(Act::CertificateBound, &certificate.peer().to_string());
    let edits = vec![CustomerEdit::Bound(certificate), CustomerEdit::Step(bound)];
    let told = |error: BookError| error.to_string();
    portal.books.edit_customer(OFFICE, |_| Ok(edits)).await.map_err(told)?;
    let link = OneTime {
        hash: sessions::digest(&secret),
        until_ms: now + pages::customer::LINK_MS,
        about: vec![],
    };
    let edits = vec![
        AccountEdit::Name(user.to_owned()),
        AccountEdit::Member(OFFICE, Some(AccountRole::Administrator)),
        AccountEdit::Link(Some(link)),
        AccountEdit::Step(step(Act::UserChanged, "administrator")),
    ];
    portal.books.edit_account(user, |_| Ok(edits)).await.map_err(told)?;
    Ok(format!("{}/invito/{secret}", portal.door.url.trim_end_matches('/')))
}

async fn answer(
    config: &PortalConfig,
    identity: &Identity,
    host: &HostHandle,
    store: &Arc<dyn Store>,
    door: Option<&Door>,
    mut questions: tokio::sync::mpsc::Receiver<Question<Ask>>,
) {
    while let Some((ask, reply)) = questions.recv().await {
        let answer = match ask {
            Ask::Status => {
                let mut told = status(config, identity, host).await;
                let pages = door.iter().flat_map(|door| &door.sockets);
                let pages: Vec<_> = pages.filter_map(|socket| socket.local_addr().ok()).collect();
                told["pages"] = serde_json::json!(pages);
                told["letters"] = door.map_or(serde_json::Value::Null, |door| {
                    let (waiting, lost) = (door.portal.post.waiting(), door.portal.post.lost());
                    let mut why = waiting.iter().chain(&lost).map(|letter| &letter.why);
                    let why = why.rfind(|why| !why.is_empty());
                    serde_json::json!({ "waiting": waiting.len(), "lost": lost.len(), "why": why })
                });
                told
            }
            Ask::Originals { vat, after } => {
                let (store, host) = (Arc::clone(store), host.clone());
                // Reading every file takes its time, and nobody else is to wait for it.
                spawn_blocking(move || reply.send(originals::answer(&*store, &host, vat, after)));
                continue;
            }
            Ask::Admit { vat, spki, not_after } => {
                let grant = Grant { spki, not_after_ms: not_after.saturating_mul(1000) };
                let said = host.append(vat, vec![Item::Grant(grant)], vec![]).await;
                said_json(said.map(|_| ()).map_err(|error| error.to_string()))
            }
            Ask::AdminLink { user, spki, not_after } => {
                match admin_link(door, identity, &user, spki, not_after).await {
                    Ok(link) => serde_json::json!({ "done": true, "link": link }),
                    Err(error) => said_json(Err(error)),
                }
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
        "admitted": view.admitted.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "routes": routes,
        "tenants": tenants,
    })
}
