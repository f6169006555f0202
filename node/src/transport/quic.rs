//! QUIC sockets: one endpoint per line, bound to the line's address, with every default decided.
//!
//! quinn's defaults suit a web server. Here two peers hold one connection for days over a domestic
//! line, the dialler may be a stranger, and three streams are all there will ever be. Each setting
//! below says why it is what it is.

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use quinn::{
    AckFrequencyConfig, ClientConfig, EndpointConfig, IdleTimeout, MtuDiscoveryConfig,
    NoneTokenLog, NoneTokenStore, ServerConfig, TokioRuntime, TransportConfig,
    ValidationTokenConfig, VarInt, congestion,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::congestion::SteadyConfig;

/// Silence after which a connection is forgotten. Collects the dead; whether a path lives is told
/// far earlier by the engine's pings and hedges.
const IDLE_TIMEOUT_MS: u32 = 30_000;
/// The dialler's keep-alive, a net under the engine's own pings (5 and 10 s): domestic routers
/// forget a UDP mapping after 30 s of silence (RFC 4787 asks for 2 minutes and is not obeyed).
const KEEP_ALIVE_MS: u64 = 15_000;
/// What a peer may send on one stream before we read it: 112 Mbit/s at 300 ms, 1 Gbit/s at 33 ms.
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Streams a peer may have open towards us: control, bundles, blobs.
const STREAMS: u32 = 3;
/// What we hold for a peer that does not acknowledge. More than its stream windows together, so
/// that this limit, which is one for all streams, is never the one that blocks control.
const SEND_WINDOW_BYTES: u64 = 16 * 1024 * 1024;
/// Before the first sample. Decides when a lost first packet is sent again: 3 x this. quinn's
/// 333 ms makes that 1 s; a domestic line has 30-60 ms, and at 300 ms one packet is sent twice.
pub(super) const INITIAL_RTT: Duration = Duration::from_millis(100);
/// Packets the peer may receive before it must acknowledge. With 2, the default, a download at
/// 20 Mbit/s spends 0.5 of a 1 Mbit/s uplink on acknowledgements; with 10 a fifth of that. The
/// 25 ms delay limit is unchanged.
const ACK_ELICITING_THRESHOLD: u32 = 9;
/// UDP payload, which passes everywhere. Longer packets would have to be probed for, 1.5 kB each way
/// of every new connection, a third of a reconnection with nothing changed; what 1452 bytes a packet
/// save is 0.4 % of what is sent in full ones, so it takes 700 kB to be worth it.
const PACKET_BYTES: u16 = 1200;
/// What `doctor` probes for: 1500 less 48 for IPv6 and UDP headers.
const PACKET_BYTES_MAX: u16 = 1452;
/// More than half of what lies between: so the first probe is of the longest, and the only one.
const PACKET_BYTES_BETWEEN: u16 = 127;
/// Attempts waiting for a handshake permit, per socket, in all 1.5 MiB of first packets.
const INCOMING_MAX: usize = 1024;
/// Further packets of one such attempt: a ClientHello takes one or two.
const INCOMING_BYTES_MAX: u64 = 8 * 1024;
/// The same for all attempts of a socket together.
const INCOMING_BYTES_TOTAL_MAX: u64 = 4 * 1024 * 1024;
/// Handshake bytes received out of order: a P-256 chain takes 1-4 KiB.
const CRYPTO_BUFFER_BYTES: usize = 16 * 1024;
/// Asked of the system, which may give less: a burst of 2 MiB is 10 ms at 1.6 Gbit/s.
const SOCKET_BUFFER_BYTES: usize = 2 * 1024 * 1024;

/// How the sending rate is found. Measured by `carry` with frames of 256-512 KiB and a ping on
/// control beside them, median ping / goodput / packets lost on the way, quinn 0.11.12:
///
/// | line, queue | steady | Cubic | BBR |
/// |---|---|---|---|
/// | 1 Mbit/s up, 40 ms, 256 KiB | 116 ms / 0.93 Mbit/s / 0 | 1,858 ms / 0.97 / 339 | 151 ms, p99 1.8 s / 0.89 / 0 |
/// | 20 Mbit/s, 40 ms, 128 KiB | 85 ms / 19.1 Mbit/s / 282 | 85 ms / 19.1 / 267 | 93 ms / 19.1 / 2,289-15,900 |
/// | 10 Mbit/s, 300 ms, 1 % loss, jitter | 349 ms / 4.3 Mbit/s / 275 | 355 ms / 0.8 / 11 | 352 ms / 5.5 / 250 |
/// | loopback, 52 MB after 2,000 pings | 0.14-0.23 s | 0.18-0.24 s | 0.36-0.40 s |
///
/// One to three runs each, on two busy cores: orders of magnitude, not decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Congestion {
    /// Cubic that tells noise from congestion and a queue from a line: see [`super::congestion`].
    #[default]
    Steady,
    /// quinn's, marked experimental there. On a short queue it sends up to twice what arrives. Two of
    /// its runs on loopback stalled (3 and 44 s) while `send_fairness` was off as well; none of three
    /// since.
    Bbr,
    /// RFC 9438.
    Cubic,
}

/// One line's UDP socket. Dials and, once a [`super::Listener`] has it, answers. Clones are the
/// same socket.
#[derive(Clone, Debug)]
pub struct Endpoint {
    quinn: quinn::Endpoint,
    local: SocketAddr,
    congestion: Congestion,
    probes: bool,
}

impl Endpoint {
    /// Binds the line's own address, so that what is sent leaves by that line. Port 0 for any.
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the address is not ours or the port is taken.
    pub fn bind(local: SocketAddr) -> io::Result<Self> {
        Self::bind_with(local, Congestion::default())
    }

    /// The same with another congestion control, for measurements.
    ///
    /// # Errors
    /// As for [`Self::bind`].
    pub fn bind_with(local: SocketAddr, congestion: Congestion) -> io::Result<Self> {
        let socket = bind_udp(local)?;
        let local = socket.local_addr()?;
        let quinn = quinn::Endpoint::new(endpoint_config(), None, socket, Arc::new(TokioRuntime))?;
        Ok(Self { quinn, local, congestion, probes: false })
    }

    /// Its connections find out how long a packet may be, up to 1452 bytes: see
    /// [`super::Handle::path_mtu`].
    #[must_use]
    pub fn probing(self) -> Self {
        Self { probes: true, ..self }
    }

    /// The address bound, with the port the system chose.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Resolves when every connection of this endpoint has ended and told its peer so. For a
    /// program about to exit; bound it by a timeout.
    pub async fn wait_idle(&self) {
        self.quinn.wait_idle().await;
    }

    pub(super) fn quinn(&self) -> &quinn::Endpoint {
        &self.quinn
    }

    /// The source address of TCP connections on this line, if the line has one.
    pub(super) fn source_ip(&self) -> Option<IpAddr> {
        let ip = self.local.ip();
        (!ip.is_unspecified()).then_some(ip)
    }

    /// Starts answering with `tls`.
    pub(super) fn serve(&self, tls: rustls::ServerConfig) -> Result<(), rustls::Error> {
        let config = server_config(tls, self.congestion)?;
        self.quinn.set_server_config(Some(config));
        Ok(())
    }

    /// Answers no longer; connections stay.
    pub(super) fn stop_serving(&self) {
        self.quinn.set_server_config(None);
    }

    pub(super) fn client_config(
        &self,
        tls: rustls::ClientConfig,
    ) -> Result<ClientConfig, rustls::Error> {
        let crypto = QuicClientConfig::try_from(tls)
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let mut config = ClientConfig::new(Arc::new(crypto));
        let mut transport = transport_config(self.congestion, Role::Dialler);
        if self.probes {
            let mut probes = MtuDiscoveryConfig::default();
            probes.upper_bound(PACKET_BYTES_MAX).minimum_change(PACKET_BYTES_BETWEEN);
            transport.mtu_discovery_config(Some(probes));
        }
        config.transport_config(Arc::new(transport));
        // Address validation tokens would link our connections to each other for whoever looks on,
        // to spare a round trip that a busy portal asks for at most.
        config.token_store(Arc::new(NoneTokenStore));
        Ok(config)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Dialler,
    Acceptor,
}

fn endpoint_config() -> EndpointConfig {
    let mut config = EndpointConfig::default();
    // Packets to addresses that answer packets with packets must not start a loop; the default
    // 20 ms is enough for that, stated here since it is a limit on what strangers can make us send.
    config.min_reset_interval(Duration::from_millis(20));
    // Version 1 alone: the drafts (default) have no user here.
    config.supported_versions(vec![1]);
    config
}

fn server_config(
    tls: rustls::ServerConfig,
    congestion: Congestion,
) -> Result<ServerConfig, rustls::Error> {
    let crypto = QuicServerConfig::try_from(tls)
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport_config(congestion, Role::Acceptor)));
    // Defaults 65,536 attempts, 10 MiB each, 100 MiB in all: for strangers, too much.
    config.max_incoming(INCOMING_MAX);
    config.incoming_buffer_size(INCOMING_BYTES_MAX);
    config.incoming_buffer_size_total(INCOMING_BYTES_TOTAL_MAX);
    // Under load strangers are asked to show that their address is theirs (see `listen`); an answer
    // later than this is an attempt anew. Default 15 s.
    config.retry_token_lifetime(Duration::from_secs(5));
    // See `token_store` above; the default log of used tokens may also grow to 10 MiB.
    let mut tokens = ValidationTokenConfig::default();
    tokens.sent(0).log(Arc::new(NoneTokenLog));
    config.validation_token_config(tokens);
    // On: a domestic router gives another port, or another address, in mid connection. The keys and
    // the path challenge still tie the new address to the same peer.
    config.migration(true);
    Ok(config)
}

fn transport_config(congestion: Congestion, role: Role) -> TransportConfig {
    let mut config = TransportConfig::default();
    let (bidi, uni): (u32, u32) = if role == Role::Acceptor { (1, 2) } else { (0, 2) };
    config
        // Default 100 of each. The dialler opens control; each side opens bundles and blobs.
        .max_concurrent_bidi_streams(bidi.into())
        .max_concurrent_uni_streams(uni.into())
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT_MS))))
        // One side is enough, and the dialler's router is the one that forgets.
        .keep_alive_interval(
            (role == Role::Dialler).then_some(Duration::from_millis(KEEP_ALIVE_MS)),
        )
        .stream_receive_window(STREAM_WINDOW_BYTES.into())
        // Default unlimited. The sum of the streams', so that bundles left unread never take
        // control's share.
        .receive_window((STREAM_WINDOW_BYTES * STREAMS).into())
        .send_window(SEND_WINDOW_BYTES)
        // On, and it must be: off, quinn goes on with the stream it has begun whatever the priority
        // of others, and control waits until bundles pause (measured: for the whole transfer).
        .send_fairness(true)
        .initial_rtt(INITIAL_RTT)
        .initial_mtu(PACKET_BYTES)
        .min_mtu(PACKET_BYTES)
        .mtu_discovery_config(None)
        .ack_frequency_config(Some(ack_frequency()))
        .crypto_buffer_size(CRYPTO_BUFFER_BYTES)
        // Not used, hence not offered: default 1.25 MB each way per connection.
        .datagram_receive_buffer_size(None)
        .datagram_send_buffer_size(0)
        // Would tell onlookers the round trip, and nobody here asks them to look.
        .allow_spin(false)
        // RFC 9002's loss detection, stated: 3 packets, 9/8 of a round trip, 3 timeouts in a row.
        .packet_threshold(3)
        .time_threshold(9.0 / 8.0)
        .persistent_congestion_threshold(3)
        // Sizes of frames are no secret worth padding a 1 Mbit/s uplink for.
        .pad_to_mtu(false)
        .enable_segmentation_offload(true);
    match congestion {
        Congestion::Steady => config.congestion_controller_factory(Arc::new(SteadyConfig)),
        Congestion::Bbr => {
            config.congestion_controller_factory(Arc::new(congestion::BbrConfig::default()))
        }
        Congestion::Cubic => {
            config.congestion_controller_factory(Arc::new(congestion::CubicConfig::default()))
        }
    };
    config
}

fn ack_frequency() -> AckFrequencyConfig {
    let mut config = AckFrequencyConfig::default();
    config.ack_eliciting_threshold(ACK_ELICITING_THRESHOLD.into());
    config
}

fn bind_udp(local: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    if local.is_ipv6() {
        // One family per line; what `[::]` means would else depend on the system.
        socket.set_only_v6(true)?;
    }
    socket.bind(&local.into())?;
    let reference = SockRef::from(&socket);
    // A wish: the system caps it (net.core.rmem_max), and a smaller buffer only costs speed.
    if let Err(error) = reference
        .set_recv_buffer_size(SOCKET_BUFFER_BYTES)
        .and_then(|()| reference.set_send_buffer_size(SOCKET_BUFFER_BYTES))
    {
        tracing::debug!(%error, "socket buffers stay as they are");
    }
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The settings whose loss no other test would notice on a fast loopback.
    #[test]
    fn the_settings_that_matter_are_set() {
        for role in [Role::Dialler, Role::Acceptor] {
            let shown = format!("{:?}", transport_config(Congestion::default(), role));
            for setting in [
                "send_fairness: true",
                "datagram_receive_buffer_size: None",
                "receive_window: 12582912",
                "stream_receive_window: 4194304",
                "max_concurrent_uni_streams: 2",
                "max_idle_timeout: Some(30000)",
                "allow_spin: false",
            ] {
                assert!(shown.contains(setting), "{setting} is missing in {shown}");
            }
        }
    }
}
