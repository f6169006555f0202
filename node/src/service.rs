//! A node at work: for each P.IVA a store, a host and a spool, and one door for questions.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use engine::{
    grant::Role,
    id::{PeerId, VatNumber},
    store::{Store, StoreError},
};
use serde::{Deserialize, Serialize};
use tokio::task::{JoinSet, spawn_blocking};

use crate::{
    api::space::{Space, SpaceParts},
    config::{NodeConfig, TenantConfig},
    control::{self, Question},
    door, export,
    freshness::{self, Remembered},
    host::{Host, HostConfig, HostHandle, PortalAddress, StartError},
    judgement::Judge,
    metrics,
    mirror::{Mirror, MirrorError, MirrorOptions},
    originals, private,
    projector::Projector,
    register::Register,
    rescue::{self, Taken},
    schedule,
    spool::{Spool, Troubles},
    status::{TenantStatus, routes, tenant_status},
    tables::{self, Asked, Source},
    transport::{Dialer, Endpoint, Identity, IdentityError, PinSet},
    truth::{Truth, TruthOptions},
    webhook::{PAUSES, Told, Webhook, WebhookError},
};

/// What a node can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// How are you?
    Status,
    /// Connect now.
    Sync,
    /// Which originals of `vat` can you read back?
    Originals {
        /// The P.IVA.
        vat: VatNumber,
        /// Where the page begins.
        after: u64,
    },
    /// Is the mirror of `vat` equal to the truth?
    Compare {
        /// The P.IVA.
        vat: VatNumber,
    },
    /// What do the invoices of `vat` say?
    Export {
        /// The P.IVA.
        vat: VatNumber,
        /// Where the page before ended.
        after: Option<export::Mark>,
    },
}

struct Served {
    vat: VatNumber,
    host: HostHandle,
    truth: Arc<Truth>,
    store: Arc<dyn Store>,
    spool: PathBuf,
    troubles: Troubles,
    not_after: u64,
    identity: Identity,
    remembered: PathBuf,
    judge: Judge,
}

/// Why a service does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Nothing to do.
    #[error("the configuration names no {0}: add at least one")]
    Nothing(&'static str),
    /// A certificate or key.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A certificate in another customer's place.
    #[error("the certificate in {file} was issued for P.IVA {found}, not for {vat}")]
    OtherTenant {
        /// The certificate file.
        file: String,
        /// The P.IVA it names.
        found: VatNumber,
        /// The P.IVA it is configured for.
        vat: VatNumber,
    },
    /// The truth.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The mirror.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// A webhook.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
    /// The host.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The users of the LAN.
    #[error("{0}")]
    Users(String),
    /// A folder or socket.
    #[error("cannot use {what}: {error}")]
    Io {
        /// What.
        what: String,
        /// What the system says.
        error: std::io::Error,
    },
}

impl ServiceError {
    /// What the process ends with: 3 when the configuration must be changed first, 4 when the
    /// same may work later.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Nothing(_) | Self::Identity(_) | Self::Webhook(_) | Self::OtherTenant { .. } => 3,
            Self::Store(_)
            | Self::Mirror(_)
            | Self::Start(_)
            | Self::Users(_)
            | Self::Io { .. } => 4,
        }
    }
}

/// Names what an I/O error was about.
pub fn io_error<'a>(what: impl ToString + 'a) -> impl FnOnce(std::io::Error) -> ServiceError + 'a {
    move |error| ServiceError::Io { what: what.to_string(), error }
}

/// Runs until the process is told to stop.
///
/// # Errors
/// [`ServiceError`] when it cannot start.
pub async fn run(config: &NodeConfig) -> Result<(), ServiceError> {
    run_until(config, stopped()).await
}

/// Runs until `stop` says so.
///
/// # Errors
/// [`ServiceError`] when it cannot start.
pub async fn run_until(
    config: &NodeConfig,
    stop: impl Future<Output = ()>,
) -> Result<(), ServiceError> {
    if config.tenants.is_empty() {
        return Err(ServiceError::Nothing("[[tenant]]"));
    }
    if config.portals.is_empty() {
        return Err(ServiceError::Nothing("[[portal]]"));
    }
    private::folder(&config.data).map_err(io_error(config.data.display()))?;
    let (mirror, _) = Mirror::open(&config.data.join("mirror"), MirrorOptions::default())?;
    let mirror = Arc::new(mirror);
    let mut served = Vec::new();
    let mut tasks = JoinSet::new();
    for tenant in &config.tenants {
        let (one, spool) = serve(config, tenant, &mirror)?;
        let projector = Projector::new(one.vat, Arc::clone(&one.store), Arc::clone(&mirror));
        tasks.spawn(projector.run(one.host.clone()));
        tasks.spawn(spool.run());
        let taken = Taken { tenant: one.vat, folder: one.spool.join("taken"), received: false };
        let truth = config.data.join(one.vat.to_string()).join("truth");
        tasks.spawn(rescue::run(truth, Arc::clone(&one.store), one.host.clone(), vec![taken]));
        served.push(one);
    }
    let names: Vec<_> = config.portals.iter().map(|p| (p.name.clone(), p.pin)).collect();
    let spaces: BTreeMap<_, _> =
        served.iter().map(|one| (one.vat, Arc::new(one.space(&mirror, &names)))).collect();
    for one in &served {
        if let Some(space) = spaces.get(&one.vat) {
            let (remembered, spool) = (one.remembered.clone(), one.spool.clone());
            tasks.spawn(freshness::run(Arc::clone(space), remembered, spool));
        }
        tasks.spawn(schedule::run(one.host.clone(), config.sync, config.windows.clone()));
    }
    let _doors = match (&config.api, served.first()) {
        (Some(api), Some(first)) => {
            let metrics = metrics::router(spaces.clone());
            door::open(api, &config.data, spaces.clone(), &first.identity, metrics).await?
        }
        _ => Vec::new(),
    };
    let _sql = match (&config.sql, served.first()) {
        (Some(sql), Some(first)) => {
            let runtime = tokio::runtime::Handle::current();
            let source = |one: &Served| {
                let (store, mirror) = (Arc::clone(&one.store), Arc::clone(&mirror));
                let asked = spaces
                    .get(&one.vat)
                    .map(|space| Asked { space: Arc::clone(space), runtime: runtime.clone() });
                Arc::new(Source::new(one.vat, store, mirror, asked))
            };
            let sources = served.iter().map(source).collect();
            Some(tables::door::open(sql, &config.data, sources, &first.identity)?)
        }
        _ => None,
    };
    let mut hooks = Vec::new();
    for hook in &config.webhooks {
        let named = |why| WebhookError::Config { url: hook.url.clone(), why };
        let vat = config.tenant(hook.vat).map_err(named)?;
        if let Some(space) = spaces.get(&vat) {
            let dir = config.data.join(vat.to_string());
            let hook = Webhook::open(hook, Arc::clone(space), &dir, &PAUSES)?;
            hooks.push((vat, hook.told()));
            tasks.spawn(hook.run());
        }
    }
    let data = config.data.display().to_string();
    let questions = control::listen(&config.data).await.map_err(io_error(data))?;
    tracing::info!(tenants = served.len(), "node is at work");
    let mut doubts = JoinSet::new();
    for truth in served.iter().map(|one| Arc::clone(&one.truth)) {
        doubts.spawn(async move { truth.doubted().await });
    }
    tokio::select! {
        () = answer(config, &served, &spaces, &hooks, questions) => {}
        Some(Ok(error)) = doubts.join_next() => return Err(error.into()),
        () = stop => tracing::info!("node stops"),
    }
    Ok(())
}

impl Served {
    fn space(&self, mirror: &Arc<Mirror>, portals: &[(String, PeerId)]) -> Space {
        Space::new(SpaceParts {
            tenant: self.vat,
            host: self.host.clone(),
            store: Arc::clone(&self.store),
            mirror: Arc::clone(mirror),
            judge: self.judge.clone(),
            portals: portals.to_vec(),
            is_source: false,
            remembered: Remembered::read(&self.remembered),
            taken: Some(self.spool.join("taken")),
        })
    }
}

fn serve(
    config: &NodeConfig,
    tenant: &TenantConfig,
    mirror: &Arc<Mirror>,
) -> Result<(Served, Spool), ServiceError> {
    let identity = Identity::load(&tenant.cert, &tenant.key)?;
    if let Some(found) = identity.tenant().filter(|found| *found != tenant.vat) {
        let file = tenant.cert.display().to_string();
        return Err(ServiceError::OtherTenant { file, found, vat: tenant.vat });
    }
    let dir = config.data.join(tenant.vat.to_string());
    let (truth, _) = Truth::open_whole(&dir.join("truth"), TruthOptions::default())?;
    let truth = Arc::new(truth);
    let store: Arc<dyn Store> = Arc::<Truth>::clone(&truth);
    let portals: Vec<PeerId> = config.portals.iter().map(|portal| portal.pin).collect();
    let pins = PinSet::new(portals.iter().map(|peer| (*peer, None)).collect());
    let lines = bind(config.lines.iter().map(|line| SocketAddr::new(line.address, 0)))?;
    let host = Host::start(HostConfig {
        identity: identity.clone(),
        role: Role::Node,
        tenant: Some(tenant.vat),
        portals,
        dial: config
            .portals
            .iter()
            .map(|p| PortalAddress { peer: p.pin, addresses: p.addresses.clone() })
            .collect(),
        mode: schedule::first_mode(config.sync, &config.windows),
        pins: pins.clone(),
        dialer: Some(Dialer::new(identity.clone(), pins, lines)),
        store: Arc::clone(&store),
    })?;
    let cursor = dir.join("in.position");
    let judge = Judge::new(Arc::new(Register::new(tenant.vat, Arc::clone(mirror))));
    let spool = Spool::open(tenant.vat, &tenant.spool, cursor, host.clone(), Arc::clone(&store))
        .map_err(io_error(tenant.spool.display()))?
        .readable(&tenant.readable)
        .strict(tenant.strict.then(|| judge.clone()));
    let served = Served {
        judge,
        vat: tenant.vat,
        host,
        truth,
        store,
        spool: tenant.spool.clone(),
        troubles: spool.troubles(),
        not_after: identity.not_after(),
        identity,
        remembered: dir.join("as_of"),
    };
    Ok((served, spool))
}

/// One endpoint per line, or one on an address the system chooses.
///
/// # Errors
/// [`ServiceError::Io`] names the address.
pub fn bind(
    addresses: impl IntoIterator<Item = SocketAddr>,
) -> Result<Vec<Endpoint>, ServiceError> {
    let mut addresses: Vec<_> = addresses.into_iter().collect();
    if addresses.is_empty() {
        addresses.push(SocketAddr::from(([0, 0, 0, 0], 0)));
    }
    addresses
        .into_iter()
        .map(|address| Endpoint::bind(address).map_err(io_error(format!("line {address}"))))
        .collect()
}

async fn answer(
    config: &NodeConfig,
    served: &[Served],
    spaces: &BTreeMap<VatNumber, Arc<Space>>,
    hooks: &[(VatNumber, Told)],
    mut questions: tokio::sync::mpsc::Receiver<Question<Ask>>,
) {
    let portals: Vec<_> = config.portals.iter().map(|p| (p.name.clone(), p.pin)).collect();
    while let Some((ask, reply)) = questions.recv().await {
        if let Ask::Originals { vat, after } = ask {
            let one = served.iter().find(|one| one.vat == vat);
            let one = one.map(|one| (Arc::clone(&one.store), one.host.clone()));
            // Reading every file takes its time, and nobody else is to wait for it.
            spawn_blocking(move || {
                let page = one.map(|(store, host)| originals::answer(&*store, &host, vat, after));
                let _ = reply.send(page.unwrap_or_default());
            });
            continue;
        }
        if let Ask::Compare { vat } = ask {
            let projector = spaces.get(&vat).map(|space| space.projector());
            spawn_blocking(move || {
                let compared = projector.map(|projector| projector.compare());
                let answer = match compared {
                    Some(Ok(compared)) => serde_json::json!({ "compared": compared }),
                    Some(Err(error)) => serde_json::json!({ "error": error.to_string() }),
                    None => {
                        serde_json::json!({ "error": format!("P.IVA {vat} is not served here") })
                    }
                };
                let _ = reply.send(answer);
            });
            continue;
        }
        if let Ask::Export { vat, after } = ask {
            let space = spaces.get(&vat).cloned();
            tokio::spawn(async move {
                let page = match &space {
                    Some(space) => export::page(space, after).await,
                    None => export::Page {
                        error: Some(format!("P.IVA {vat} is not served here")),
                        ..export::Page::default()
                    },
                };
                let _ = reply.send(serde_json::json!(page));
            });
            continue;
        }
        if ask == Ask::Sync {
            served.iter().for_each(|one| one.host.sync_now());
        }
        let mut tenants: Vec<TenantStatus> = Vec::new();
        for one in served {
            let view = one.host.view().await;
            let waiting = fs::read_dir(one.spool.join("out")).map_or(0, Iterator::count);
            let days = days_left(one.not_after);
            let mut status =
                tenant_status(&view, one.vat, &portals, &one.host.log(), days, waiting);
            let feed = one.host.fresh().borrow().get(&one.vat).copied().unwrap_or(0);
            status.spool = one.troubles.sentences();
            status.routes = routes(&view, &portals);
            let ours = hooks.iter().filter(|(vat, _)| *vat == one.vat);
            status.webhooks = ours.map(|(_, told)| told.status()).collect();
            if let Some(space) = spaces.get(&one.vat) {
                status.records = space.mirror().count(one.vat).ok();
                let shown = space.mirror().position(one.vat).unwrap_or(0);
                status.mirror_behind = feed.saturating_sub(shown);
                status.as_of = space.as_of_ms().await.map(|ms| ms / 1000);
            }
            tenants.push(status);
        }
        let _ = reply.send(serde_json::json!({ "tenants": tenants }));
    }
}

/// Whole days until `not_after`, seconds since 1970.
#[must_use]
pub fn days_left(not_after: u64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    (i64::try_from(not_after).unwrap_or(i64::MAX) - i64::try_from(now).unwrap_or(0)) / 86_400
}

/// Resolves when the process is told to stop: Ctrl-C, or SIGTERM.
pub async fn stopped() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut term) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = term.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
