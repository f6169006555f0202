//! What a running service says of itself, for people and, as JSON, for machines.

use std::{
    fmt::Write as _,
    time::{SystemTime, UNIX_EPOCH},
};

use engine::{
    id::{LogId, PeerId, VatNumber},
    vector::Vector,
};
use serde::{Deserialize, Serialize};

use crate::{
    host::{PathState, View},
    moment::now_ms,
    transport::Transport,
    webhook::WebhookStatus,
};

/// One tenant as the service sees it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TenantStatus {
    /// The P.IVA.
    pub vat: String,
    /// Bundles held durably here.
    pub bundles: u64,
    /// Those of them that were written here, since this start.
    pub written: u64,
    /// Those of them that no other place is known to hold: what would be lost with this machine.
    pub queued: u64,
    /// Documents in the mirror; absent where none is kept.
    pub records: Option<u64>,
    /// Bundles that the mirror does not show yet.
    pub mirror_behind: u64,
    /// Files waiting in `out/`.
    pub in_out: usize,
    /// Days until the certificate ends; negative when it has.
    pub certificate_days_left: i64,
    /// Bytes of frames sent since the start.
    pub sent_bytes: u64,
    /// Bytes of frames received since the start.
    pub received_bytes: u64,
    /// The portals.
    pub portals: Vec<PortalStatus>,
    /// Open sessions.
    pub sessions: Vec<SessionStatus>,
    /// Every way to a portal, used or not.
    pub routes: Vec<RouteStatus>,
    /// Why nothing can be stored now; absent when all is well.
    pub storage: Option<String>,
    /// What keeps files in the spool folders from being taken or delivered.
    pub spool: Vec<String>,
    /// ERPs that are called when something changes.
    #[serde(default)]
    pub webhooks: Vec<WebhookStatus>,
    /// When what is here was last known to be all that a portal holds, in seconds since 1970.
    #[serde(default)]
    pub as_of: Option<u64>,
    /// What a person should know.
    pub alarms: Vec<String>,
}

/// What a portal is known to hold.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PortalStatus {
    /// What people call it.
    pub name: String,
    /// Whether a session with it is open.
    pub connected: bool,
    /// Whether it says that it can store nothing for now.
    #[serde(default)]
    pub full: bool,
    /// Bundles it holds durably, as last heard; absent when it was never heard.
    pub holds: Option<u64>,
    /// Bundles that are here and not known to be there.
    pub pending_up: u64,
    /// Bundles that are there and not here.
    pub pending_down: u64,
    /// When both last held the same, in seconds since 1970; absent if not since the start.
    pub last_sync: Option<u64>,
}

/// One way to a portal: a line of ours, an address of its, a transport.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RouteStatus {
    /// Our address.
    pub line: String,
    /// The portal's name.
    pub portal: String,
    /// Its address.
    pub address: String,
    /// `quic` or `tcp`.
    pub transport: String,
    /// `idle`, `dialling`, `waiting` (for the next attempt) or `open`.
    pub state: String,
    /// `primary`, `standby` or `lame`, when open.
    pub role: Option<String>,
    /// Smoothed round trip in milliseconds, if it was ever measured.
    pub srtt_ms: Option<f64>,
    /// Why its last attempt or session ended, if none has opened since.
    pub last_error: Option<String>,
}

/// One session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SessionStatus {
    /// Whose.
    pub peer: String,
    /// Primary or standby.
    pub primary: bool,
    /// `quic` or `tcp`.
    pub transport: String,
    /// Our address: which line.
    pub local: String,
    /// Theirs.
    pub remote: String,
    /// Round trip in milliseconds, as QUIC measures it.
    pub rtt_ms: Option<f64>,
}

/// What is known of one tenant, from a host's view.
#[must_use]
pub fn tenant_status(
    view: &View,
    vat: VatNumber,
    portals: &[(String, PeerId)],
    log: &LogId,
    certificate_days_left: i64,
    in_out: usize,
) -> TenantStatus {
    let ours = view.spaces.get(&vat).cloned().unwrap_or_default();
    let name = |peer: &PeerId| named(portals, peer);
    TenantStatus {
        vat: vat.to_string(),
        bundles: count(&ours),
        written: ours.get(log),
        queued: queued(view, vat, &ours),
        records: None,
        mirror_behind: 0,
        in_out,
        certificate_days_left,
        sent_bytes: view.reading.sent.frame_bytes(),
        received_bytes: view.reading.heard.frame_bytes(),
        portals: portals
            .iter()
            .map(|(name, pin)| {
                let known = view.known.get(&(*pin, vat));
                PortalStatus {
                    name: name.clone(),
                    connected: view.sessions.iter().any(|s| s.peer == *pin && s.greeted),
                    full: view.sessions.iter().any(|s| s.peer == *pin && !s.takes),
                    holds: known.map(count),
                    pending_up: known.map_or(count(&ours), |held| ours.ahead_of(held)),
                    pending_down: known.map_or(0, |held| held.ahead_of(&ours)),
                    last_sync: view.in_sync.get(pin).copied(),
                }
            })
            .collect(),
        sessions: view
            .sessions
            .iter()
            .map(|session| SessionStatus {
                peer: name(&session.peer),
                primary: session.primary,
                transport: match session.transport {
                    Transport::Quic => "quic".to_owned(),
                    Transport::Tcp => "tcp".to_owned(),
                },
                local: session.local.to_string(),
                remote: session.remote.to_string(),
                rtt_ms: session.rtt.map(|rtt| rtt.as_secs_f64() * 1000.0),
            })
            .collect(),
        routes: Vec::new(),
        storage: view.stuck.clone(),
        spool: Vec::new(),
        webhooks: Vec::new(),
        as_of: as_of(view, vat, now_ms() / 1000),
        alarms: view.alarms.iter().map(ToString::to_string).collect(),
    }
}

/// When, in seconds since 1970, what is held of `vat` was last known to be all that a portal
/// holds: `now` while a session is open and nothing is to be fetched over it.
#[must_use]
pub fn as_of(view: &View, vat: VatNumber, now: u64) -> Option<u64> {
    let ours = view.spaces.get(&vat).cloned().unwrap_or_default();
    let is_equal =
        |peer| view.known.get(&(peer, vat)).is_some_and(|held| held.ahead_of(&ours) == 0);
    if view.sessions.iter().any(|session| session.greeted && is_equal(session.peer)) {
        return Some(now);
    }
    view.in_sync.values().max().copied()
}

/// Every way to a portal, from a host's view.
#[must_use]
pub fn routes(view: &View, portals: &[(String, PeerId)]) -> Vec<RouteStatus> {
    view.paths
        .iter()
        .map(|path| {
            let (state, role) = match path.state {
                PathState::Idle => ("idle", None),
                PathState::Dialling => ("dialling", None),
                PathState::Waiting(_) => ("waiting", None),
                PathState::Open(role) => ("open", Some(role)),
            };
            RouteStatus {
                line: path.line.ip().to_string(),
                portal: named(portals, &path.portal),
                address: path.address.to_string(),
                transport: match path.transport {
                    engine::route::Transport::Quic => "quic".to_owned(),
                    engine::route::Transport::Tcp => "tcp".to_owned(),
                },
                state: state.to_owned(),
                role: role.map(|role| format!("{role:?}").to_lowercase()),
                srtt_ms: path.srtt.map(|srtt| srtt.as_secs_f64() * 1000.0),
                last_error: path.last_error.clone(),
            }
        })
        .collect()
}

fn named(portals: &[(String, PeerId)], peer: &PeerId) -> String {
    let known = portals.iter().find(|(_, pin)| pin == peer);
    known.map_or_else(|| peer.to_string(), |(name, _)| name.clone())
}

fn count(vector: &Vector) -> u64 {
    vector.iter().map(|(_, seq)| seq).sum()
}

fn queued(view: &View, vat: VatNumber, ours: &Vector) -> u64 {
    let mut elsewhere = Vector::default();
    for ((_, tenant), held) in &view.known {
        if *tenant == vat {
            held.iter().for_each(|(log, seq)| {
                elsewhere.raise(log, seq);
            });
        }
    }
    ours.ahead_of(&elsewhere)
}

/// The same for people.
#[must_use]
pub fn to_text(tenants: &[TenantStatus]) -> String {
    let mut text = String::new();
    for tenant in tenants {
        let TenantStatus { vat, bundles, queued, in_out, certificate_days_left, .. } = tenant;
        let TenantStatus { sent_bytes, received_bytes, .. } = tenant;
        let as_of = tenant.as_of.map_or_else(|| "never".to_owned(), ago);
        let _ = writeln!(
            text,
            "P.IVA {vat}: {bundles} bundles here, {queued} only here, {in_out} files in out/, \
             certificate ends in {certificate_days_left} days, as of {as_of}"
        );
        if let Some(why) = &tenant.storage {
            let _ = writeln!(text, "  STORAGE {why}");
        }
        let _ =
            writeln!(text, "  since the start {sent_bytes} bytes sent, {received_bytes} received");
        for portal in &tenant.portals {
            let PortalStatus { name, connected, full, holds, pending_up, pending_down, .. } =
                portal;
            let state = match (connected, full) {
                (true, true) => "connected, its disk is full",
                (true, false) => "connected",
                (false, _) => "not connected",
            };
            let holds = holds.map_or_else(|| "unknown".to_owned(), |n| n.to_string());
            let last = portal.last_sync.map_or_else(|| "never".to_owned(), ago);
            let _ = writeln!(
                text,
                "  portal {name}: {state}, holds {holds}, to send {pending_up}, \
                 to fetch {pending_down}, in sync {last}"
            );
        }
        write_routes(&mut text, &tenant.routes);
        for why in &tenant.spool {
            let _ = writeln!(text, "  FILES {why}");
        }
        for WebhookStatus { url, delivered, failures, last_error, .. } in &tenant.webhooks {
            let why = last_error
                .as_deref()
                .map_or_else(String::new, |why| format!(", {failures} failures in a row: {why}"));
            let _ = writeln!(text, "  webhook {url}: {delivered} deliveries taken{why}");
        }
        for session in &tenant.sessions {
            let role = if session.primary { "primary" } else { "standby" };
            let rtt = session.rtt_ms.map_or_else(String::new, |ms| format!(", {ms:.1} ms"));
            let SessionStatus { peer, transport, local, remote, .. } = session;
            let _ = writeln!(text, "  {role} to {peer} by {transport}, {local} -> {remote}{rtt}");
        }
        for alarm in &tenant.alarms {
            let _ = writeln!(text, "  ALARM {alarm}");
        }
    }
    text
}

/// The ways that are in trouble, one line each: those that work show as sessions.
pub fn write_routes(text: &mut String, routes: &[RouteStatus]) {
    for RouteStatus { line, portal, address, transport, state, last_error, .. } in routes {
        if let Some(why) = last_error {
            let _ = writeln!(
                text,
                "  route to {portal} at {address} by {transport} over {line}: {state}; the last time: {why}"
            );
        }
    }
}

fn ago(seconds: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    match now.saturating_sub(seconds) {
        0..=9 => "now".to_owned(),
        age @ 10..=119 => format!("{age} s ago"),
        age @ 120..=7199 => format!("{} min ago", age / 60),
        age => format!("{} h ago", age / 3600),
    }
}
