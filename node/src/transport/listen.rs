//! Strangers become connections: permits before work, pins before anything is read.
//!
//! One task per socket accepts; one short task per attempt shakes hands; one small task per
//! connection watches its pin. The host sees only authenticated connections, in [`Listener::accept`].

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use engine::id::PeerId;
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::AbortHandle,
    time::sleep,
};

use super::{
    code,
    connection::{Carrier, Connection, Receiving, Transport},
    gate::{Gate, Limits},
    identity::Identity,
    pin::{PinSet, Pins},
    quic::Endpoint,
    quic_lanes::{QuicReceiver, QuicSender},
    tcp,
    tcp_lanes::{TcpReceiver, TcpSender},
    tls, unix_seconds,
};

/// Connections ready and not taken by the host. Further ones keep their handshake permit.
const READY_MAX: usize = 64;
/// Pause after the system could not give us a socket (too many open files): it will not the next
/// microsecond either.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A pin's date is compared with the clock at least this often, since clocks are set.
const DATE_CHECK: Duration = Duration::from_secs(3600);

/// Accepts connections on all addresses of a portal. Dropped, it accepts no longer; connections
/// stay.
#[derive(Debug)]
pub struct Listener {
    ready: mpsc::Receiver<Connection>,
    shared: Arc<Shared>,
    endpoints: Vec<Endpoint>,
    tcp_locals: Vec<SocketAddr>,
    tasks: Vec<AbortHandle>,
}

#[derive(Debug)]
struct Shared {
    pins: PinSet,
    gate: Arc<Gate>,
    ready: mpsc::Sender<Connection>,
    accepted: AtomicU64,
    failed: AtomicU64,
    turned_away: AtomicU64,
}

/// What a listener has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerStats {
    /// Connections handed to the host.
    pub accepted: u64,
    /// Attempts that ended before that: refused pins, other protocols, timeouts.
    pub failed: u64,
    /// Attempts beyond a limit.
    pub turned_away: u64,
    /// Connections open now.
    pub connections: usize,
}

impl Listener {
    /// Answers on `endpoints` and `tcp` as `identity`, whoever is in `pins`. Must be called inside
    /// a tokio runtime.
    ///
    /// # Errors
    /// When rustls cannot work with the identity, or a socket has no address.
    pub fn start(
        identity: &Identity,
        pins: &PinSet,
        endpoints: Vec<Endpoint>,
        tcp: Vec<TcpListener>,
        limits: Limits,
    ) -> io::Result<Self> {
        let config = tls::server(identity, pins).map_err(io::Error::other)?;
        let tcp_locals = tcp.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?;
        let (sender, ready) = mpsc::channel(READY_MAX);
        let shared = Arc::new(Shared {
            pins: pins.clone(),
            gate: Gate::new(limits),
            ready: sender,
            accepted: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
        });
        let mut tasks = Vec::new();
        for endpoint in &endpoints {
            endpoint.serve(config.clone()).map_err(io::Error::other)?;
            let accepting = Arc::clone(&shared).accept_quic(endpoint.clone());
            tasks.push(tokio::spawn(accepting).abort_handle());
        }
        let config = Arc::new(config);
        for socket in tcp {
            let accepting = Arc::clone(&shared).accept_tcp(socket, Arc::clone(&config));
            tasks.push(tokio::spawn(accepting).abort_handle());
        }
        Ok(Self { ready, shared, endpoints, tcp_locals, tasks })
    }

    /// The next authenticated connection, its control stream open. Cancel safe.
    pub async fn accept(&mut self) -> Option<Connection> {
        let connection = self.ready.recv().await;
        if connection.is_some() {
            self.shared.accepted.fetch_add(1, Ordering::Relaxed);
        }
        connection
    }

    /// The UDP addresses, with the ports the system chose.
    #[must_use]
    pub fn quic_locals(&self) -> Vec<SocketAddr> {
        self.endpoints.iter().map(Endpoint::local).collect()
    }

    /// The TCP addresses, with the ports the system chose.
    #[must_use]
    pub fn tcp_locals(&self) -> &[SocketAddr] {
        &self.tcp_locals
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> ListenerStats {
        ListenerStats {
            accepted: self.shared.accepted.load(Ordering::Relaxed),
            failed: self.shared.failed.load(Ordering::Relaxed),
            turned_away: self.shared.turned_away.load(Ordering::Relaxed),
            connections: self.shared.gate.connections(),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
        self.endpoints.iter().for_each(Endpoint::stop_serving);
    }
}

impl Shared {
    async fn accept_quic(self: Arc<Self>, endpoint: Endpoint) {
        while let Some(incoming) = endpoint.quinn().accept().await {
            if !incoming.remote_address_validated() && self.gate.is_busy() {
                // Costs a forger nothing to ask and us nothing to answer; a real dialler one round
                // trip. Fails only for an address already shown, which this one is not.
                let _ = incoming.retry();
                continue;
            }
            let Some(source) = self.gate.source(incoming.remote_address().ip()) else {
                self.turned_away.fetch_add(1, Ordering::Relaxed);
                incoming.refuse();
                continue;
            };
            let permit = self.gate.handshake(Transport::Quic).await;
            let (shared, local) = (Arc::clone(&self), endpoint.local());
            tokio::spawn(async move {
                shared.establish(Transport::Quic, shared.greet_quic(incoming, local)).await;
                drop((permit, source));
            });
        }
    }

    async fn accept_tcp(self: Arc<Self>, socket: TcpListener, config: Arc<ServerConfig>) {
        loop {
            let (stream, remote) = match socket.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept TCP connections");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(source) = self.gate.source(remote.ip()) else {
                self.turned_away.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            let permit = self.gate.handshake(Transport::Tcp).await;
            let (shared, config) = (Arc::clone(&self), Arc::clone(&config));
            tokio::spawn(async move {
                let greeting = shared.greet_tcp(stream, remote, config);
                shared.establish(Transport::Tcp, greeting).await;
                drop((permit, source));
            });
        }
    }

    /// Bounds one attempt in time and hands its connection to the host.
    async fn establish(&self, over: Transport, greeting: impl Future<Output = Option<Connection>>) {
        let greeted = tokio::select! {
            greeted = greeting => greeted,
            () = self.gate.handshake_over(over) => None,
        };
        match greeted {
            // The host has gone when this fails, and the connection goes with it.
            Some(connection) => drop(self.ready.send(connection).await),
            None => {
                self.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    async fn greet_quic(&self, incoming: quinn::Incoming, local: SocketAddr) -> Option<Connection> {
        let remote = incoming.remote_address();
        let connection = incoming
            .accept()
            .ok()?
            .await
            .inspect_err(|error| tracing::debug!(%remote, %error, "no QUIC handshake"))
            .ok()?;
        let subscription = self.pins.subscribe();
        let close = |code: u32, reason: &str| connection.close(code.into(), reason.as_bytes());
        let authenticated = self
            .pins
            .witness_quic(&connection, None)
            .inspect_err(|refusal| close(refusal.code(), &refusal.to_string()))
            .ok()?;
        let Some(permit) = self.gate.connection(authenticated.peer()) else {
            self.turned_away.fetch_add(1, Ordering::Relaxed);
            close(code::BUSY, "too many connections");
            return None;
        };
        // The dialler opens control with its first frame; until then there is nothing to answer on.
        let (control_out, control_in) = connection.accept_bi().await.ok()?;
        let local = SocketAddr::new(connection.local_ip().unwrap_or(local.ip()), local.port());
        let sender = QuicSender::new(connection, control_out);
        let receiver = Receiving::Quic(QuicReceiver::new(&sender, control_in));
        let carrier = Carrier::Quic(sender);
        let peer = authenticated.peer();
        let connection = Connection::new(carrier.clone(), receiver, authenticated, local, remote);
        keep_watch(&self.pins, subscription, peer, carrier, permit);
        Some(connection)
    }

    async fn greet_tcp(
        &self,
        socket: TcpStream,
        remote: SocketAddr,
        config: Arc<ServerConfig>,
    ) -> Option<Connection> {
        let local = socket.local_addr().ok()?;
        let (stream, counters) = tcp::handshake_in(socket, config)
            .await
            .inspect_err(|error| tracing::debug!(%remote, %error, "no TLS handshake"))
            .ok()?;
        let subscription = self.pins.subscribe();
        let witness = self.pins.witness_tls(stream.get_ref().1, None);
        let sender = TcpSender::start(stream, counters);
        let authenticated = witness
            .inspect_err(|refusal| sender.abort(refusal.code(), &refusal.to_string()))
            .ok()?;
        let Some(permit) = self.gate.connection(authenticated.peer()) else {
            self.turned_away.fetch_add(1, Ordering::Relaxed);
            sender.abort(code::BUSY, "too many connections");
            return None;
        };
        let receiver = Receiving::Tcp(TcpReceiver::new(&sender));
        let carrier = Carrier::Tcp(sender);
        let peer = authenticated.peer();
        let connection = Connection::new(carrier.clone(), receiver, authenticated, local, remote);
        keep_watch(&self.pins, subscription, peer, carrier, permit);
        Some(connection)
    }
}

/// Closes a connection when its pin leaves the set or its date passes; keeps `permit` while the
/// connection lives. `subscription` was made before the pin was checked, so no change is missed.
pub(super) fn keep_watch(
    pins: &PinSet,
    mut subscription: watch::Receiver<Arc<Pins>>,
    peer: PeerId,
    carrier: Carrier,
    permit: impl Send + 'static,
) {
    let pins = pins.clone();
    tokio::spawn(async move {
        loop {
            let now = unix_seconds();
            let next_check = match pins.check(peer, None, now) {
                Ok(not_after) => not_after
                    .map_or(DATE_CHECK, |end| Duration::from_secs(end - now + 1).min(DATE_CHECK)),
                Err(refusal) => {
                    tracing::info!(%refusal, "connection closed");
                    carrier.abort(code::REVOKED, &refusal.to_string());
                    break;
                }
            };
            tokio::select! {
                _ = carrier.closed() => break,
                // The set lives as long as `pins` here.
                _ = subscription.changed() => {}
                () = sleep(next_check) => {}
            }
        }
        drop(permit);
    });
}
