//! The one loop: feeds what happens to an engine and carries its effects out.
//!
//! A [`Host`] is one identity at work: an engine, its routes, its connections and its share
//! of the truth. It decides nothing. Frames wait in bounded channels while the store is
//! behind, so a fast peer is slowed by its own stream and not buffered here.

mod dispatch;
mod handle;
pub mod meter;
mod paths;
mod session;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use engine::{
    archive::{self, ReadError},
    bundle::{Item, PublicKey, Signer},
    effect::{Alarm, Input, Ticket},
    engine::{Config, Engine},
    grant::Role,
    id::{Incarnation, LogId, PeerId, VatNumber},
    route::{AttemptId, Mode, RouteConfig, Routes, SessionId},
    store::Store,
    time::Time,
    wire::Frame,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::sleep,
};

use crate::{
    committer::{Committer, Completion},
    transport::{Connection, ConnectionError, DialError, Dialer, Endpoint, Identity, pin::PinSet},
};
use meter::{Meter, Reading};
use paths::Paths;
use session::Line;

pub use handle::{HostHandle, Said, SessionView, Standing, View};
pub use paths::{Path, PathState};

/// Frames waiting for the engine, of all sessions together: runs as they came, packed. What waits
/// longer waits in the windows of its connection.
const FRAMES_MAX: usize = 2;

/// A portal, and where it can be reached: one address a line of its own.
#[derive(Clone, Debug)]
pub struct PortalAddress {
    /// Its pin.
    pub peer: PeerId,
    /// Its addresses, in order of preference.
    pub addresses: Vec<SocketAddr>,
}

/// What a host is told once.
pub struct HostConfig {
    /// Who we are.
    pub identity: Identity,
    /// Node or portal.
    pub role: Role,
    /// A node's own tenant.
    pub tenant: Option<VatNumber>,
    /// The pins of all portals.
    pub portals: Vec<PeerId>,
    /// The portals to dial; none for a portal that only listens.
    pub dial: Vec<PortalAddress>,
    /// Live, or asleep until [`HostHandle::sync_now`], as it begins.
    pub mode: Mode,
    /// Who may connect; kept equal to the grants.
    pub pins: PinSet,
    /// The lines to dial over; `None` when nothing is dialled.
    pub dialer: Option<Dialer>,
    /// The truth.
    pub store: Arc<dyn Store>,
}

enum Event {
    Append {
        tenant: VatNumber,
        items: Vec<Item>,
        files: Vec<Vec<u8>>,
        reply: oneshot::Sender<Said>,
    },
    Revoke {
        tenant: VatNumber,
        peer: PeerId,
        reply: oneshot::Sender<Said>,
    },
    View(oneshot::Sender<View>),
    Standing {
        tenant: VatNumber,
        peer: PeerId,
        reply: oneshot::Sender<Standing>,
    },
    Accepted(Connection),
    Dialled {
        attempt: AttemptId,
        primary: bool,
        connection: Connection,
    },
    DialFailed {
        attempt: AttemptId,
        error: DialError,
    },
    Closed(SessionId, Option<ConnectionError>),
    Input(Input),
    Completion(Completion),
    Doubt(String),
    Wake,
    Mode(Mode),
}

/// One identity at work. See the module's header.
pub struct Host {
    config: HostConfig,
    engine: Engine,
    routes: Option<Routes>,
    committer: Committer,
    events: mpsc::UnboundedSender<Event>,
    frames: mpsc::Sender<(SessionId, Result<Frame, engine::fault::Fault>)>,
    lines: BTreeMap<SessionId, Line>,
    meter: Meter,
    attempts: BTreeMap<SessionId, AttemptId>,
    hedged: Option<SessionId>,
    replies: BTreeMap<Ticket, oneshot::Sender<Said>>,
    next: u64,
    fresh: watch::Sender<BTreeMap<VatNumber, u64>>,
    rebuilds: watch::Sender<BTreeMap<VatNumber, u64>>,
    alarms: Vec<Alarm>,
    paths: Paths,
    stuck: Option<String>,
    in_sync: BTreeMap<PeerId, u64>,
    start: Instant,
}

struct HostSigner {
    identity: Identity,
    key: PublicKey,
}

impl Signer for HostSigner {
    fn public_key(&self) -> &PublicKey {
        &self.key
    }
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.identity.sign(message)
    }
}

/// Why a host did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The truth cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The certificate's key is of another kind.
    #[error(transparent)]
    Key(#[from] engine::bundle::KeyError),
    /// The operating system gives no random numbers.
    #[error("the operating system gives no random numbers")]
    Random,
}

impl Host {
    /// Opens what the store has and starts working on the current tokio runtime.
    ///
    /// # Errors
    /// [`StartError`]
    pub fn start(config: HostConfig) -> Result<HostHandle, StartError> {
        let recovered = archive::recover(&*config.store)?;
        let positions = recovered.positions.iter().copied().collect();
        let key = PublicKey::from_spki(config.identity.spki())?;
        let peer = key.peer();
        let incarnation = Incarnation(random()?);
        let signer = HostSigner { identity: config.identity.clone(), key };
        let engine = Engine::new(
            Config {
                signer: Box::new(signer),
                incarnation,
                role: config.role,
                tenant: config.tenant,
                portals: config.portals.clone(),
                agent: env!("CARGO_PKG_VERSION").to_owned(),
            },
            recovered,
        );
        let routes = config.dialer.as_ref().filter(|_| !config.dial.is_empty()).map(|dialer| {
            let route_config = RouteConfig {
                lines: u8::try_from(dialer.lines().len()).unwrap_or(u8::MAX),
                portals: config
                    .dial
                    .iter()
                    .map(|portal| u8::try_from(portal.addresses.len()).unwrap_or(u8::MAX))
                    .collect(),
                mode: config.mode,
                seed: u64::from_be_bytes(random::<8>().unwrap_or_default()),
            };
            Routes::new(route_config, Time::ZERO)
        });
        let (events, inbox) = mpsc::unbounded_channel();
        let (frames, frames_in) = mpsc::channel(FRAMES_MAX);
        let (fresh, fresh_out) = watch::channel(positions);
        let (rebuilds, rebuilds_out) = watch::channel(BTreeMap::new());
        let completions = events.clone();
        let committer = Committer::start(Arc::clone(&config.store), move |completion| {
            // The host is gone only when the process ends.
            let _ = completions.send(Event::Completion(completion));
        });
        let (orders, orders_in) = mpsc::unbounded_channel();
        let host = Self {
            config,
            engine,
            routes,
            committer,
            events,
            frames,
            lines: BTreeMap::new(),
            meter: Meter::default(),
            attempts: BTreeMap::new(),
            hedged: None,
            replies: BTreeMap::new(),
            next: 0,
            fresh,
            rebuilds,
            alarms: Vec::new(),
            paths: Paths::default(),
            stuck: None,
            in_sync: BTreeMap::new(),
            start: Instant::now(),
        };
        tokio::spawn(host.run(orders_in, inbox, frames_in));
        let log = LogId::derive(&peer, &incarnation);
        Ok(HostHandle { orders, fresh: fresh_out, rebuilds: rebuilds_out, peer, log })
    }

    async fn run(
        mut self,
        mut orders: mpsc::UnboundedReceiver<Event>,
        mut inbox: mpsc::UnboundedReceiver<Event>,
        mut frames: mpsc::Receiver<(SessionId, Result<Frame, engine::fault::Fault>)>,
    ) {
        loop {
            self.drain();
            let nap = self.nap();
            let busy = self.engine.is_busy() || self.committer.is_full();
            tokio::select! {
                biased;
                Some(event) = inbox.recv() => self.take(event),
                order = orders.recv() => match order {
                    Some(order) => self.take(order),
                    None => break,
                },
                Some((session, frame)) = frames.recv(), if !busy => {
                    let input = match frame {
                        Ok(frame) => {
                            self.meter.answered(&frame);
                            Input::Received { session, frame }
                        }
                        Err(fault) => Input::Garbage { session, fault },
                    };
                    self.feed(input);
                }
                () = sleep(nap) => self.tick(),
            }
        }
        let open: Vec<_> = self.lines.keys().copied().collect();
        for session in open {
            let fault = Some(engine::fault::Fault::ShuttingDown);
            self.feed(Input::End { session, fault });
        }
        self.drain();
        sleep(Duration::from_millis(50)).await;
    }

    fn nap(&self) -> Duration {
        let now = self.now();
        let routes = self.routes.as_ref().and_then(Routes::deadline);
        let next = [routes, self.engine.deadline()].into_iter().flatten().min();
        let nap = next.map_or(Duration::from_secs(60), |deadline| deadline.since(now));
        // Never zero: a deadline already here is handled by the next tick.
        nap.max(Duration::from_millis(1))
    }

    fn tick(&mut self) {
        let now = self.now();
        self.engine.tick(now);
        if let Some(routes) = &mut self.routes {
            // A slow line that is busy with a large upload may owe a frame for long and be well.
            for (session, line) in &mut self.lines {
                if line.was_acknowledged() {
                    routes.heard(*session, now);
                }
            }
            routes.tick(now);
        }
    }

    fn feed(&mut self, input: Input) {
        let now = self.now();
        self.engine.handle(now, input);
    }

    fn now(&self) -> Time {
        Time::from_micros(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn ticket(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn reading(&self) -> Reading {
        let open = self.lines.values().map(|line| line.handle.stats());
        self.meter.read(open, self.committer.commits())
    }

    fn view(&self) -> View {
        let mut view = View {
            alarms: self.alarms.clone(),
            paths: self.view_paths(),
            stuck: self.stuck.clone(),
            in_sync: self.in_sync.clone(),
            reading: self.reading(),
            ..View::default()
        };
        view.spaces.extend(self.engine.tenants().map(|one| (one, self.engine.vector(one))));
        let admitted = self.engine.authority().admitted();
        // Each once: a portal has thousands of tenants, and a peer for each of them.
        for ((peer, tenant), known) in self.engine.all_known() {
            let spoken_with = self.config.portals.contains(peer) || admitted.contains_key(peer);
            if spoken_with && view.spaces.contains_key(tenant) {
                view.known.insert((*peer, *tenant), known.clone());
            }
        }
        view.admitted = admitted.into_keys().collect();
        for (id, session) in self.engine.sessions() {
            if let Some(line) = self.lines.get(&id) {
                view.sessions.push(SessionView {
                    peer: session.peer,
                    primary: session.primary,
                    greeted: session.greeted,
                    takes: session.takes,
                    transport: line.handle.transport(),
                    local: line.handle.local(),
                    remote: line.handle.remote(),
                    rtt: line.handle.rtt(),
                });
            }
        }
        view
    }

    fn view_paths(&self) -> Vec<Path> {
        let (Some(routes), Some(dialer)) = (&self.routes, &self.config.dialer) else {
            return Vec::new();
        };
        let lines: Vec<_> = dialer.lines().iter().map(Endpoint::local).collect();
        self.paths.view(&routes.view(), &lines, &self.config.dial, self.now())
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn random<const N: usize>() -> Result<[u8; N], StartError> {
    use ring::rand::{SecureRandom, SystemRandom};
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| StartError::Random)?;
    Ok(bytes)
}

/// Names sessions for all hosts of a process: a number is never used twice.
fn next_session() -> SessionId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    SessionId(NEXT.fetch_add(1, Ordering::Relaxed))
}
