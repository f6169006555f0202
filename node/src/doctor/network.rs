//! What the network says: each line to each portal by UDP and by TCP, with the certificate the
//! service uses; the ports we listen on; names of other servers.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use axum::http::Uri;
use engine::id::PeerId;
use tokio::time::timeout;

use super::Finding;
use crate::{
    config::NodeConfig,
    transport::{DialError, Dialer, Endpoint, Identity, PinSet, Transport},
};

/// How long a refusal may take to arrive: more than the round trip of any line here.
const ADMITTED: Duration = Duration::from_millis(1500);
/// Close code of a probe: nothing was wrong.
const DONE: u32 = 0;

/// One line to one address of a portal over one transport.
pub(super) struct Probe {
    identity: Identity,
    line: SocketAddr,
    portal: String,
    pin: PeerId,
    address: SocketAddr,
    transport: Transport,
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
    for line in &lines {
        for portal in &config.portals {
            for address in &portal.addresses {
                for transport in [Transport::Quic, Transport::Tcp] {
                    probes.push(Probe {
                        identity: identity.clone(),
                        line: *line,
                        portal: portal.name.clone(),
                        pin: portal.pin,
                        address: *address,
                        transport,
                    });
                }
            }
        }
    }
    probes
}

impl Probe {
    pub(super) async fn run(self) -> Finding {
        let Self { identity, line, portal, pin, address, transport } = self;
        let over = match transport {
            Transport::Quic => "UDP",
            Transport::Tcp => "TCP",
        };
        let from =
            if line.ip().is_unspecified() { "any line".into() } else { line.ip().to_string() };
        let check = format!("portal {portal} at {address} by {over} over {from}");
        let endpoint = match Endpoint::bind(line) {
            Ok(endpoint) => endpoint,
            Err(error) => {
                let cure = "check the address under [[line]]: it is that of a network card here";
                return Finding::error(&check, error.to_string(), cure);
            }
        };
        let pins = PinSet::new([(pin, None)].into());
        let dialer = Dialer::new(identity, pins, vec![endpoint]);
        match dialer.dial(0, address, pin, transport).await {
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
                    let cure = "ask the intermediary whether this certificate is admitted";
                    return Finding::error(&check, why.to_string(), cure);
                }
                let rtt = connection.rtt().map_or_else(String::new, |rtt| {
                    format!(", round trip {:.1} ms", rtt.as_secs_f64() * 1000.0)
                });
                let mtu = connection
                    .path_mtu()
                    .map_or_else(String::new, |mtu| format!(", packets of {mtu} bytes pass"));
                connection.abort(DONE, "doctor");
                Finding::ok(check, format!("it answers with its pin{rtt}{mtu}"))
            }
            Err(error) => {
                let cure = cure(&error, transport);
                Finding::error(&check, error.to_string(), cure)
            }
        }
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

/// Whether the host of an address has a name that is known.
pub(super) async fn name(url: &str) -> Finding {
    let uri: Option<Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(Uri::host).map(str::to_owned);
    let check = format!("name {}", host.as_deref().unwrap_or(url));
    let Some(host) = host else {
        return Finding::error(&check, "it is no address", "write it as https://host/path");
    };
    match tokio::net::lookup_host((host.as_str(), 0)).await {
        Ok(mut found) => match found.next() {
            Some(address) => Finding::ok(check, format!("it is {}", address.ip())),
            None => Finding::error(&check, "it has no address", "check the DNS server"),
        },
        Err(error) => {
            Finding::error(&check, error.to_string(), "check the name and the DNS server")
        }
    }
}
