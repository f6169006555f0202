//! The process of an end: reads orders, does them, answers.

use std::{
    future::Future,
    io::{self, BufRead, Write},
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use engine::{
    bundle::{Item, PublicKey},
    document::invoice::Receiving,
    grant::{Grant, Role},
    id::{LogId, PeerId, VatNumber},
    route::Mode,
    store::{Store, StoreError},
};
use node::{
    host::{Host, HostConfig, HostHandle, PortalAddress, View},
    intake::Intake,
    mirror::{Mirror, MirrorOptions},
    projector::Projector,
    transport::{Dialer, Endpoint, Identity, Limits, Listener, PinSet, tcp},
    truth::{Truth, TruthOptions},
};
use tokio::{
    task::{JoinHandle, JoinSet, spawn_blocking},
    time::{Instant, interval, sleep},
};

use super::{Answer, AnyError, Order, Papers, Place, Said, State, What};
use crate::workload::{Invoice, delivered};

/// How long an order may take.
const PATIENCE: Duration = Duration::from_secs(900);
/// How often a state is looked at where nothing wakes us: the precision of what is awaited so.
const LOOK: Duration = Duration::from_millis(1);
/// The same where the answer is a figure: a timer of the runtime has steps of 1 ms.
const GLANCE: Duration = Duration::from_micros(100);

/// Reads a [`Place`] and then [`Order`]s from standard input until it ends.
///
/// # Errors
/// When the input makes no sense.
pub fn serve() -> Result<(), AnyError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut lines = io::stdin().lock().lines();
    let Some(place) = lines.next() else { return Ok(()) };
    let mut server = Server { place: serde_json::from_str(&place?)?, at_work: None };
    for line in lines {
        let order = serde_json::from_str(&line?)?;
        let answer = runtime.block_on(server.obey(order));
        let answer = answer.unwrap_or_else(|error| Answer::Failed(error.to_string()));
        let mut out = io::stdout().lock();
        writeln!(out, "{}", serde_json::to_string(&answer)?)?;
        out.flush()?;
    }
    Ok(())
}

struct Server {
    place: Place,
    at_work: Option<AtWork>,
}

struct AtWork {
    host: HostHandle,
    store: Arc<Truth>,
    mirror: Option<Arc<Mirror>>,
    projecting: Option<JoinHandle<()>>,
    accepting: Option<JoinHandle<()>>,
}

impl Server {
    async fn obey(&mut self, order: Order) -> Result<Answer, AnyError> {
        match order {
            Order::Start { dial, lines, mirror } => self.start(&dial, lines, mirror).await,
            Order::Stop => self.stop().await,
            Order::About { tenant } => {
                self.place.tenant = tenant;
                Ok(Answer::Done(now_ns()))
            }
            Order::Admit { cert, key } => self.admit(&Papers { cert, key }).await,
            Order::Write { what: What::Large, first, count, .. } => self.large(first, count).await,
            Order::Write { what, first, count, in_flight, every_ms, acknowledged } => {
                self.write(what, first..first + count, in_flight, every_ms, acknowledged).await
            }
            Order::Hold { bundles } => {
                let mut fresh = self.working()?.host.fresh();
                let tenant = self.place.tenant;
                let enough = async {
                    while self.bundles().await? < bundles {
                        // Positions count from what was here at the start; bundles are what counts.
                        fresh.changed().await?;
                        let position = fresh.borrow_and_update().get(&tenant).copied();
                        if position.is_some_and(|position| position >= bundles) {
                            break;
                        }
                    }
                    Ok(Answer::Done(now_ns()))
                };
                patiently(enough).await
            }
            Order::HoldInAll { bundles } => {
                let host = &self.working()?.host;
                let enough = async {
                    let held = |view: &View| -> u64 {
                        view.spaces
                            .values()
                            .flat_map(engine::vector::Vector::iter)
                            .map(|(_, seq)| seq)
                            .sum()
                    };
                    while held(&host.view().await) < bundles {
                        // A view of many tenants is not for nothing.
                        sleep(5 * LOOK).await;
                    }
                    Ok(Answer::Done(now_ns()))
                };
                patiently(enough).await
            }
            Order::Equal { peers } => {
                let peers = pins(&peers)?;
                let tenant = self.place.tenant;
                self.seen(|view| {
                    let ours = view.spaces.get(&tenant).cloned().unwrap_or_default();
                    peers.iter().all(|peer| {
                        view.known.get(&(*peer, tenant)).is_some_and(|held| *held == ours)
                    })
                })
                .await
            }
            Order::Greeted { sessions } => {
                self.seen(|view| view.sessions.iter().filter(|s| s.greeted).count() >= sessions)
                    .await
            }
            Order::Trace { bundles, count } => {
                let mut fresh = self.working()?.host.fresh();
                let tenant = self.place.tenant;
                let mirror = self.working()?.mirror.clone();
                let shown =
                    mirror.map(|mirror| tokio::spawn(watch_mirror(mirror, tenant, bundles, count)));
                let traced = async {
                    let mut times = Vec::new();
                    while (times.len() as u64) < count {
                        fresh.changed().await?;
                        let at = now_ns();
                        let position = fresh.borrow_and_update().get(&tenant).copied();
                        let new = position.unwrap_or(0).saturating_sub(bundles).min(count);
                        times.resize(times.len().max(new as usize), at);
                    }
                    let shown = match shown {
                        Some(shown) => shown.await??,
                        None => Vec::new(),
                    };
                    Ok(Answer::Traced(times, shown))
                };
                patiently(traced).await
            }
            Order::Mirrored { bundles } => {
                let mirror = self.working()?.mirror.clone().ok_or("there is no mirror")?;
                let tenant = self.place.tenant;
                watch_mirror(mirror, tenant, bundles - 1, 1).await?;
                Ok(Answer::Done(now_ns()))
            }
            Order::Read => Ok(Answer::State(Box::new(self.state().await?))),
        }
    }

    async fn start(
        &mut self,
        dial: &[(String, Vec<SocketAddr>)],
        lines: usize,
        mirror: bool,
    ) -> Result<Answer, AnyError> {
        let Place { dir, papers, role, tenant, portals, listen } = &self.place;
        let identity = papers.identity()?;
        let opened = loop {
            match Truth::open(dir, TruthOptions::default()) {
                // The last thread that had it open is still closing it.
                Err(StoreError::InUse { .. }) => sleep(LOOK).await,
                opened => break opened,
            }
        };
        let store = Arc::new(opened?);
        let portals = pins(portals)?;
        let pins = PinSet::new(portals.iter().map(|peer| (*peer, None)).collect());
        let own = (0..lines.max(1)).map(|_| Endpoint::bind((Ipv4Addr::LOCALHOST, 0).into()));
        let own = own.collect::<Result<Vec<_>, _>>()?;
        let dial = dial.iter().map(|(pin, addresses)| {
            Ok::<_, AnyError>(PortalAddress {
                peer: PeerId::parse_hex(pin)?,
                addresses: addresses.clone(),
            })
        });
        let host = Host::start(HostConfig {
            identity: identity.clone(),
            role: *role,
            tenant: (*role == Role::Node).then_some(*tenant),
            portals,
            dial: dial.collect::<Result<_, _>>()?,
            mode: Mode::Live,
            pins: pins.clone(),
            dialer: Some(Dialer::new(identity.clone(), pins.clone(), own)),
            store: Arc::clone(&store) as Arc<dyn Store>,
        })?;
        let accepting =
            listen.map(|address| accept(&identity, &pins, address, host.clone())).transpose()?;
        let mut at_work = AtWork { host, store, mirror: None, projecting: None, accepting };
        if mirror {
            let (mirror, _) = Mirror::open(&dir.join("mirror"), MirrorOptions::default())?;
            let mirror = Arc::new(mirror);
            let store = Arc::clone(&at_work.store) as Arc<dyn Store>;
            let projector = Projector::new(*tenant, store, Arc::clone(&mirror));
            at_work.projecting = Some(tokio::spawn(projector.run(at_work.host.clone())));
            at_work.mirror = Some(mirror);
        }
        self.at_work = Some(at_work);
        Ok(Answer::Done(now_ns()))
    }

    async fn stop(&mut self) -> Result<Answer, AnyError> {
        let Some(mut at_work) = self.at_work.take() else { return Ok(Answer::Done(now_ns())) };
        for task in [at_work.accepting.take(), at_work.projecting.take()].into_iter().flatten() {
            task.abort();
            let _ = task.await;
        }
        let store = Arc::downgrade(&at_work.store);
        drop(at_work);
        let released = async {
            while store.strong_count() > 0 {
                sleep(LOOK).await;
            }
            Ok(Answer::Done(now_ns()))
        };
        patiently(released).await
    }

    async fn admit(&self, node: &Papers) -> Result<Answer, AnyError> {
        let key = PublicKey::from_spki(node.identity()?.spki())?;
        let grant = Item::Grant(Grant { spki: key.spki().to_vec(), not_after_ms: u64::MAX });
        self.working()?.host.append(self.place.tenant, vec![grant], vec![]).await?;
        Ok(Answer::Done(now_ns()))
    }

    async fn write(
        &self,
        what: What,
        documents: std::ops::Range<u64>,
        in_flight: usize,
        every_ms: u64,
        acknowledged: bool,
    ) -> Result<Answer, AnyError> {
        let host = &self.working()?.host;
        let (tenant, log) = (self.place.tenant, host.log());
        if what == What::StatusesTogether {
            let items = documents
                .map(|n| delivered(log, Invoice::received(tenant, n).document(), n))
                .collect();
            let said_ns = now_ns();
            host.append(tenant, items, vec![]).await?;
            let said = Said { said_ns, durable_ns: now_ns(), acknowledged_ns: 0 };
            return Ok(Answer::Written(vec![said]));
        }
        let last = Arc::new(AtomicU64::new(0));
        let portals = pins(&self.place.portals)?;
        let watching = acknowledged.then(|| {
            tokio::spawn(acknowledgements(host.clone(), portals, tenant, Arc::clone(&last)))
        });
        let mut tick = interval(Duration::from_millis(every_ms.max(1)));
        let mut open = JoinSet::new();
        let mut said = Vec::new();
        for n in documents {
            if every_ms > 0 {
                tick.tick().await;
            }
            while open.len() >= in_flight.max(1) {
                said.extend(open.join_next().await.transpose()?.transpose()?);
            }
            let host = host.clone();
            open.spawn(async move {
                let (items, files) = if every_ms > 0 {
                    words(what, tenant, log, n)?
                } else {
                    spawn_blocking(move || words(what, tenant, log, n)).await??
                };
                let said_ns = now_ns();
                let (_, seq) = host.append(tenant, items, files).await?;
                let said = Said { said_ns, durable_ns: now_ns(), acknowledged_ns: 0 };
                Ok::<_, AnyError>((seq, said))
            });
        }
        while let Some(one) = open.join_next().await {
            said.push(one??);
        }
        said.sort_by_key(|(seq, _)| *seq);
        last.store(said.last().map_or(0, |(seq, _)| *seq), Ordering::SeqCst);
        if let Some(watching) = watching {
            let held = watching.await??;
            for (seq, said) in &mut said {
                let at = held.partition_point(|(upto, _)| upto < seq);
                said.acknowledged_ns = held.get(at).map_or(0, |(_, at_ns)| *at_ns);
            }
        }
        Ok(Answer::Written(said.into_iter().map(|(_, said)| said).collect()))
    }

    async fn large(&self, seed: u64, bytes: u64) -> Result<Answer, AnyError> {
        let host = &self.working()?.host;
        let mut state = seed | 1;
        let noise = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        });
        let file: Vec<u8> = noise.take(bytes as usize).collect();
        let said_ns = now_ns();
        host.append(self.place.tenant, vec![], vec![file]).await?;
        let said = Said { said_ns, durable_ns: now_ns(), acknowledged_ns: 0 };
        Ok(Answer::Written(vec![said]))
    }

    async fn state(&self) -> Result<State, AnyError> {
        let mut state = State { at_ns: now_ns(), cpu_ns: cpu_ns(), ..State::default() };
        for line in std::fs::read_to_string("/proc/self/status")?.lines() {
            let kilobytes = || line.split_whitespace().nth(1).and_then(|text| text.parse().ok());
            if line.starts_with("VmRSS:") {
                state.rss_bytes = 1024 * kilobytes().unwrap_or(0);
            } else if line.starts_with("VmHWM:") {
                state.peak_bytes = 1024 * kilobytes().unwrap_or(0);
            }
        }
        if let Some(at_work) = &self.at_work {
            let view = at_work.host.view().await;
            state.bundles = count(&view, self.place.tenant);
            state.reading = view.reading;
            state.disk_bytes = at_work.store.disk_bytes();
            let primary = view.sessions.iter().find(|session| session.primary);
            state.primary = primary.map(|session| session.peer.to_string());
            state.alarms = view.alarms.iter().map(ToString::to_string).collect();
        }
        Ok(state)
    }

    async fn bundles(&self) -> Result<u64, AnyError> {
        Ok(count(&self.working()?.host.view().await, self.place.tenant))
    }

    /// Looks until `condition` holds.
    async fn seen(&self, mut condition: impl FnMut(&View) -> bool) -> Result<Answer, AnyError> {
        let host = &self.working()?.host;
        let seen = async {
            while !condition(&host.view().await) {
                sleep(LOOK).await;
            }
            Ok(Answer::Done(now_ns()))
        };
        patiently(seen).await
    }

    fn working(&self) -> Result<&AtWork, AnyError> {
        self.at_work.as_ref().ok_or_else(|| "it was not started".into())
    }
}

fn accept(
    identity: &Identity,
    pins: &PinSet,
    address: SocketAddr,
    host: HostHandle,
) -> Result<JoinHandle<()>, AnyError> {
    let (quic, socket) = (Endpoint::bind(address)?, tcp::listen(address)?);
    let mut listener =
        Listener::start(identity, pins, vec![quic], vec![socket], Limits::default())?;
    Ok(tokio::spawn(async move {
        while let Some(connection) = listener.accept().await {
            host.accepted(connection);
        }
    }))
}

/// When the mirror showed each of the next `count` bundles after `bundles`.
async fn watch_mirror(
    mirror: Arc<Mirror>,
    tenant: VatNumber,
    bundles: u64,
    count: u64,
) -> Result<Vec<u64>, AnyError> {
    let mut moved = mirror.moved();
    let mut times = Vec::new();
    loop {
        let new = mirror.position(tenant)?.saturating_sub(bundles).min(count);
        times.resize(times.len().max(new as usize), now_ns());
        if times.len() as u64 == count {
            return Ok(times);
        }
        let _ = tokio::time::timeout(PATIENCE, moved.changed())
            .await
            .map_err(|_| "the mirror did not follow")?;
    }
}

/// When which bundle of our log was known to be held by some portal, until all up to `last` are.
async fn acknowledgements(
    host: HostHandle,
    portals: Vec<PeerId>,
    tenant: VatNumber,
    last: Arc<AtomicU64>,
) -> Result<Vec<(u64, u64)>, AnyError> {
    let until = Instant::now() + PATIENCE;
    let mut held: Vec<(u64, u64)> = Vec::new();
    loop {
        let view = host.view().await;
        let known = portals.iter().filter_map(|portal| view.known.get(&(*portal, tenant)));
        let upto = known.map(|known| known.get(&host.log())).max().unwrap_or(0);
        if held.last().is_none_or(|(before, _)| *before < upto) {
            held.push((upto, now_ns()));
        }
        let last = last.load(Ordering::SeqCst);
        if last > 0 && upto >= last {
            return Ok(held);
        }
        if Instant::now() > until {
            return Err(format!("of {last} bundles a portal holds {upto}").into());
        }
        spawn_blocking(|| std::thread::sleep(GLANCE)).await?;
    }
}

/// What is said about document `n`, by the same way a spool or the SdI's folder takes.
fn words(
    what: What,
    tenant: VatNumber,
    log: LogId,
    n: u64,
) -> Result<(Vec<Item>, Vec<Vec<u8>>), AnyError> {
    let received = || {
        Some(Receiving { sdi_id: (20_000_000_000 + n * 11).to_string(), at_ms: 0, metadata: None })
    };
    let (invoice, receiving) = match what {
        What::Sent => (Invoice::sent(tenant, n), None),
        What::Received => (Invoice::received(tenant, n), received()),
        _ => {
            let document = Invoice::received(tenant, n).document();
            return Ok((vec![delivered(log, document, n)], vec![]));
        }
    };
    let intake = Intake::read(&invoice.name, &invoice.xml, receiving)?;
    Ok((vec![intake.item(log)?], vec![invoice.xml]))
}

fn count(view: &View, tenant: VatNumber) -> u64 {
    view.spaces.get(&tenant).map_or(0, |held| held.iter().map(|(_, seq)| seq).sum())
}

fn pins(texts: &[String]) -> Result<Vec<PeerId>, AnyError> {
    Ok(texts.iter().map(|text| PeerId::parse_hex(text)).collect::<Result<_, _>>()?)
}

async fn patiently(
    work: impl Future<Output = Result<Answer, AnyError>>,
) -> Result<Answer, AnyError> {
    let until = Instant::now() + PATIENCE;
    tokio::time::timeout_at(until, work).await.map_err(|_| "it did not come about")?
}

/// The machine's monotonic clock, the same for every process.
pub fn now_ns() -> u64 {
    nanoseconds(rustix::time::ClockId::Monotonic)
}

fn cpu_ns() -> u64 {
    nanoseconds(rustix::time::ClockId::ProcessCPUTime)
}

fn nanoseconds(clock: rustix::time::ClockId) -> u64 {
    let time = rustix::time::clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
