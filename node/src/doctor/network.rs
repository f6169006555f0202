//! What the network says: each line to each portal by UDP and by TCP, with the certificate the
//! service uses; the ports we listen on; names of other servers.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::http::Uri;
use engine::id::PeerId;
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::Finding;
use crate::{
    config::NodeConfig,
    transport::{
        ConnectionError, DialError, Dialer, Endpoint, Handle, Identity, PinSet, Transport, code,
    },
};

/// How long a refusal may take to arrive: more than the round trip of any line here.
const ADMITTED: Duration = Duration::from_millis(1500);
/// How long the path's longest packet is looked for, from time to time.
const MEASURED: Duration = Duration::from_millis(1000);
const GLANCE: Duration = Duration::from_millis(20);
/// What every path of QUIC carries.
const PACKET_BYTES_MIN: u16 = 1200;
/// Close code of a probe: nothing was wrong.
const DONE: u32 = 0;
/// Probes of one portal at once: it takes only some connections of one node, and the service needs
/// its own meanwhile.
const AT_ONCE: usize = 3;
/// A portal that has enough connections of this node is asked again so often, after this long.
const TRIES: usize = 8;
const PAUSE: Duration = Duration::from_millis(700);

/// One line to one address of a portal over one transport.
pub(super) struct Probe {
    identity: Identity,
    line: SocketAddr,
    portal: String,
    pin: PeerId,
    address: SocketAddr,
    transport: Transport,
    turn: Arc<Semaphore>,
}

/// All of them, with the first certificate that can be loaded.
pub(super) fn probes(config: &NodeConfig) -> Vec<Probe> {
    let identity = config.tenants.iter().find_map(|t| Identity::load(&t.cert, &t.key).ok());
    let Some(identity) = identity else { return Vec::new() };
    let mut lines: Vec<_> = config.lines.iter().map(|l| SocketAddr::new(l.address, 0)).collect();
    if lines.is_empty() {
        lines.push(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
    }
    let mut probes = Vec::new();
    for portal in &config.portals {
        let turn = Arc::new(Semaphore::new(AT_ONCE));
        for line in &lines {
            for address in &portal.addresses {
                for transport in [Transport::Quic, Transport::Tcp] {
                    probes.push(Probe {
                        identity: identity.clone(),
                        line: *line,
                        portal: portal.name.clone(),
                        pin: portal.pin,
                        address: *address,
                        transport,
                        turn: Arc::clone(&turn),
                    });
                }
            }
        }
    }
    probes
}

impl Probe {
    /// What there is to say of it.
    pub(super) async fn run(self) -> Finding {
        for _ in 0..TRIES {
            let turn = self.turn.acquire().await;
            if let Some(finding) = self.once().await {
                return finding;
            }
            drop(turn);
            sleep(PAUSE).await;
        }
        let cure = "look again in a minute: what this node opened before is forgotten by then";
        let what = "it answers with its pin, and takes no more connections of this node now";
        Finding::warning(&self.check(), what, cure)
    }

    fn check(&self) -> String {
        let over = match self.transport {
            Transport::Quic => "UDP",
            Transport::Tcp => "TCP",
        };
        let Self { line, portal, address, .. } = self;
        let from =
            if line.ip().is_unspecified() { "any line".into() } else { line.ip().to_string() };
        format!("portal {portal} at {address} by {over} over {from}")
    }

    /// One try; nothing where the portal has enough connections of this node already.
    async fn once(&self) -> Option<Finding> {
        let Self { identity, line, pin, address, transport, .. } = self;
        let check = self.check();
        let endpoint = match Endpoint::bind(*line).map(Endpoint::probing) {
            Ok(endpoint) => endpoint,
            Err(error) => {
                let cure = "check the address under [[line]]: it is that of a network card here";
                return Some(Finding::error(&check, error.to_string(), cure));
            }
        };
        let pins = PinSet::new([(*pin, None)].into());
        let dialer = Dialer::new(identity.clone(), pins, vec![endpoint]);
        Some(match dialer.dial(0, *address, *pin, *transport).await {
            Ok(connection) => {
                let handle = connection.handle();
                let (_sender, mut receiver) = connection.split();
                let connection = handle;
                // A certificate that is not admitted is told so just after; one that is, is
                // waited for to speak first.
                let refused = match timeout(ADMITTED, receiver.recv()).await {
                    Ok(Some(Err(why))) => Some(why),
                    _ => None,
                };
                if let Some(why) = refused {
                    if matches!(why, ConnectionError::ClosedByPeer { code: code::BUSY, .. }) {
                        return None;
                    }
                    let cure = "ask the intermediary whether this certificate is admitted";
                    return Some(Finding::error(&check, why.to_string(), cure));
                }
                let rtt = connection.rtt().map_or_else(String::new, |rtt| {
                    format!(", round trip {:.1} ms", rtt.as_secs_f64() * 1000.0)
                });
                let longest = longest(&connection).await;
                connection.abort(DONE, "doctor");
                match longest {
                    None => Finding::ok(check, format!("it answers with its pin{rtt}")),
                    Some(PACKET_BYTES_MIN) => Finding::warning(
                        &check,
                        format!("it answers with its pin{rtt}, but only short packets pass"),
                        "look at the MTU of the line's router or tunnel: 1492 is usual, all else is slow",
                    ),
                    Some(bytes) => {
                        let passes = format!("packets of {bytes} bytes pass");
                        Finding::ok(check, format!("it answers with its pin{rtt}, {passes}"))
                    }
                }
            }
            Err(error) => {
                let cure = cure(&error, *transport);
                Finding::error(&check, error.to_string(), cure)
            }
        })
    }
}

/// The longest packet that passes, once the path was tried; over TCP nobody knows.
async fn longest(connection: &Handle) -> Option<u16> {
    let end = tokio::time::Instant::now() + MEASURED;
    loop {
        let bytes = connection.path_mtu()?;
        if bytes > PACKET_BYTES_MIN || tokio::time::Instant::now() > end {
            return Some(bytes);
        }
        sleep(GLANCE).await;
    }
}

fn cure(error: &DialError, transport: Transport) -> &'static str {
    match (error, transport) {
        (DialError::PinRefusedHere(_), _) => {
            "the pin under [[portal]] is not that of this server: ask the intermediary for it"
        }
        (DialError::Timeout { .. } | DialError::Unreachable { .. }, Transport::Quic) => {
            "check the line, and that the router lets UDP to this port pass; TCP serves meanwhile"
        }
        (DialError::Timeout { .. } | DialError::Unreachable { .. }, Transport::Tcp) => {
            "check the line, the address, and that the router lets this port pass"
        }
        _ => "ask the intermediary whether this certificate is admitted",
    }
}

/// Whether one of our own addresses is listened on.
pub(super) async fn port(name: &str, address: SocketAddr, is_running: bool) -> Finding {
    let check = format!("{name} address {address}");
    let is_answered = tokio::net::TcpStream::connect(address).await.is_ok();
    match (is_running, is_answered) {
        (true, true) => Finding::ok(check, "it answers"),
        (true, false) => Finding::error(&check, "nobody answers", "look at the service's log"),
        (false, true) => Finding::error(
            &check,
            "another program has it",
            "end that program, or choose another port",
        ),
        (false, false) => Finding::ok(check, "it is free"),
    }
}

/// The names of other servers in the configuration, each once. A portal's addresses are numbers:
/// the service needs no DNS to find it.
pub(super) fn names(config: &NodeConfig) -> Vec<String> {
    let time = config.time_server.rsplit_once(':').map_or(&*config.time_server, |(host, _)| host);
    let mut names: Vec<_> = config.webhooks.iter().map(|hook| host_of(&hook.url)).collect();
    names.push(time.to_owned());
    names.retain(|name| !name.is_empty());
    names.sort();
    names.dedup();
    names
}

/// The host of an address, or all of it where it has none.
fn host_of(url: &str) -> String {
    let uri: Option<Uri> = url.parse().ok();
    uri.as_ref().and_then(Uri::host).unwrap_or(url).to_owned()
}

/// Whether a name is known.
pub(super) async fn name(host: &str) -> Finding {
    let check = format!("name {host}");
    match tokio::net::lookup_host((host.trim_matches(['[', ']']), 0)).await {
        Ok(mut found) => match found.next() {
            Some(address) => Finding::ok(check, format!("it is {}", address.ip())),
            None => Finding::error(&check, "it has no address", "check the DNS server"),
        },
        Err(error) => {
            Finding::error(&check, error.to_string(), "check the name and the DNS server")
        }
    }
}
