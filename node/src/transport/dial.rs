//! One attempt to reach one portal over one line. Racing and retrying are the engine's.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use engine::{id::PeerId, limits::DIAL_TIMEOUT_MS};
use tokio::time::timeout;

use super::{
    connection::{Carrier, Connection, ConnectionError, Receiving, RefusedBecause, Transport},
    gate::ConnectionPermit,
    identity::Identity,
    listen::keep_watch,
    pin::{PinRule, PinSet, Refusal},
    quic::Endpoint,
    quic_lanes::{self, QuicReceiver, QuicSender},
    tcp,
    tcp_lanes::{self, TcpReceiver, TcpSender},
    tls,
};

/// Dials with one identity over some lines. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Dialer {
    identity: Identity,
    pins: PinSet,
    lines: Arc<[Endpoint]>,
}

impl Dialer {
    /// `lines` in the order by which [`Self::dial`] names them. A peer must be in `pins` as well
    /// as be the one expected, so that revoking a portal's pin cuts it off here too.
    #[must_use]
    pub fn new(identity: Identity, pins: PinSet, lines: Vec<Endpoint>) -> Self {
        Self { identity, pins, lines: lines.into() }
    }

    /// The lines.
    #[must_use]
    pub fn lines(&self) -> &[Endpoint] {
        &self.lines
    }

    /// Connects over line number `line` to `remote`, which must hold the key of `expected`.
    ///
    /// A connection is not yet an accepted one: see [`super::connection`].
    ///
    /// # Errors
    /// [`DialError`], after at most `DIAL_TIMEOUT_MS`.
    pub async fn dial(
        &self,
        line: usize,
        remote: SocketAddr,
        expected: PeerId,
        transport: Transport,
    ) -> Result<Connection, DialError> {
        let endpoint = self.lines.get(line).ok_or(DialError::NoSuchLine { line })?;
        let attempt = async {
            match transport {
                Transport::Quic => self.dial_quic(endpoint, remote, expected).await,
                Transport::Tcp => self.dial_tcp(endpoint, remote, expected).await,
            }
        };
        timeout(Duration::from_millis(DIAL_TIMEOUT_MS), attempt)
            .await
            .unwrap_or(Err(DialError::Timeout { remote }))
    }

    async fn dial_quic(
        &self,
        endpoint: &Endpoint,
        remote: SocketAddr,
        expected: PeerId,
    ) -> Result<Connection, DialError> {
        let rule = PinRule::new(&self.pins, Some(expected));
        let setup = |error: String| DialError::Tls { remote, why: error };
        let tls = tls::client(&self.identity, &rule).map_err(|error| setup(error.to_string()))?;
        let config = endpoint.client_config(tls).map_err(|error| setup(error.to_string()))?;
        let connection = endpoint
            .quinn()
            .connect_with(config, remote, tls::SERVER_NAME)
            .map_err(|error| DialError::Unreachable { remote, why: error.to_string() })?
            .await
            .map_err(|error| quic_error(remote, &rule, &error))?;
        let subscription = self.pins.subscribe();
        let authenticated = self
            .pins
            .witness_quic(&connection, Some(expected))
            .map_err(DialError::PinRefusedHere)?;
        let (control_out, control_in) =
            connection.open_bi().await.map_err(|error| quic_error(remote, &rule, &error))?;
        let local = endpoint.local();
        let sender = QuicSender::new(connection, control_out);
        let receiver = Receiving::Quic(QuicReceiver::new(&sender, control_in));
        let carrier = Carrier::Quic(sender);
        let connection = Connection::new(carrier.clone(), receiver, authenticated, local, remote);
        let peer = connection.authenticated().peer();
        keep_watch(&self.pins, subscription, peer, carrier, None::<ConnectionPermit>);
        Ok(connection)
    }

    async fn dial_tcp(
        &self,
        endpoint: &Endpoint,
        remote: SocketAddr,
        expected: PeerId,
    ) -> Result<Connection, DialError> {
        let rule = PinRule::new(&self.pins, Some(expected));
        let config = tls::client(&self.identity, &rule)
            .map_err(|error| DialError::Tls { remote, why: error.to_string() })?;
        let unreachable =
            |error: io::Error| DialError::Unreachable { remote, why: error.to_string() };
        let socket = tcp::connect(endpoint.source_ip(), remote).await.map_err(unreachable)?;
        let local = socket.local_addr().map_err(unreachable)?;
        let (stream, counters) = tcp::handshake_out(socket, config)
            .await
            .map_err(|error| tcp_error(remote, &rule, &error))?;
        let subscription = self.pins.subscribe();
        let authenticated = self
            .pins
            .witness_tls(stream.get_ref().1, Some(expected))
            .map_err(DialError::PinRefusedHere)?;
        let sender = TcpSender::start(stream, counters);
        let receiver = Receiving::Tcp(TcpReceiver::new(&sender));
        let carrier = Carrier::Tcp(sender);
        let connection = Connection::new(carrier.clone(), receiver, authenticated, local, remote);
        let peer = connection.authenticated().peer();
        keep_watch(&self.pins, subscription, peer, carrier, None::<ConnectionPermit>);
        Ok(connection)
    }
}

fn quic_error(remote: SocketAddr, rule: &PinRule, error: &quinn::ConnectionError) -> DialError {
    if let Some(refusal) = rule.refusal() {
        return DialError::PinRefusedHere(refusal);
    }
    if let quinn::ConnectionError::ConnectionClosed(close) = error
        && close.error_code == quinn::TransportErrorCode::CONNECTION_REFUSED
    {
        return DialError::Busy { remote };
    }
    match quic_lanes::explain(error) {
        ConnectionError::RefusedByPeer(because) => DialError::PinRefusedByPeer { remote, because },
        ConnectionError::TimedOut => DialError::Timeout { remote },
        _ if is_tls(error) => DialError::Tls { remote, why: error.to_string() },
        other => DialError::Unreachable { remote, why: other.to_string() },
    }
}

fn is_tls(error: &quinn::ConnectionError) -> bool {
    let code = match error {
        quinn::ConnectionError::TransportError(error) => error.code,
        quinn::ConnectionError::ConnectionClosed(close) => close.error_code,
        _ => return false,
    };
    quic_lanes::tls_alert(code).is_some()
}

fn tcp_error(remote: SocketAddr, rule: &PinRule, error: &io::Error) -> DialError {
    if let Some(refusal) = rule.refusal() {
        return DialError::PinRefusedHere(refusal);
    }
    match tcp_lanes::explain(error) {
        ConnectionError::RefusedByPeer(because) => DialError::PinRefusedByPeer { remote, because },
        // The peer hung up before it said anything: its limits, or a box in between.
        _ if error.kind() != io::ErrorKind::InvalidData => {
            DialError::Unreachable { remote, why: error.to_string() }
        }
        _ => DialError::Tls { remote, why: error.to_string() },
    }
}

/// Why an attempt did not connect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The caller named a line that is not there.
    #[error("there is no line number {line}")]
    NoSuchLine {
        /// The number.
        line: usize,
    },
    /// No answer: a dead line, a dead server, a closed UDP port, or UDP blocked.
    #[error("no answer from {remote}")]
    Timeout {
        /// Who was dialled.
        remote: SocketAddr,
    },
    /// The system or the other end said at once that there is nothing to connect to.
    #[error("{remote} cannot be reached: {why}")]
    Unreachable {
        /// Who was dialled.
        remote: SocketAddr,
        /// What the system said.
        why: String,
    },
    /// Too many attempts are under way there; try again later.
    #[error("{remote} is busy")]
    Busy {
        /// Who was dialled.
        remote: SocketAddr,
    },
    /// We do not admit who answered.
    #[error("refused here: {0}")]
    PinRefusedHere(Refusal),
    /// The other end does not admit us. More often learned from the first `recv`: see
    /// [`super::connection`].
    #[error("{remote} refused our certificate: {because}")]
    PinRefusedByPeer {
        /// Who was dialled.
        remote: SocketAddr,
        /// What its alert said.
        because: RefusedBecause,
    },
    /// The handshake failed otherwise: another protocol, another program.
    #[error("no TLS session with {remote}: {why}")]
    Tls {
        /// Who was dialled.
        remote: SocketAddr,
        /// What rustls said.
        why: String,
    },
}
