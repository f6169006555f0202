//! What a running service says of itself, for people and, as JSON, for machines.

use std::fmt::Write as _;

use engine::{
    id::{PeerId, VatNumber},
    vector::Vector,
};
use serde::{Deserialize, Serialize};

use crate::{host::View, transport::Transport};

/// One tenant as the service sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TenantStatus {
    /// The P.IVA.
    pub vat: String,
    /// Bundles held durably here.
    pub bundles: u64,
    /// Documents in the mirror; absent where none is kept.
    pub records: Option<u64>,
    /// Bundles that the mirror does not show yet.
    pub mirror_behind: u64,
    /// Files waiting in `out/`.
    pub in_out: usize,
    /// Days until the certificate ends; negative when it has.
    pub certificate_days_left: i64,
    /// The portals.
    pub portals: Vec<PortalStatus>,
    /// Open sessions.
    pub sessions: Vec<SessionStatus>,
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
    /// Bundles it holds durably, as last heard; absent when it was never heard.
    pub holds: Option<u64>,
    /// Bundles that are here and not known to be there.
    pub pending_up: u64,
    /// Bundles that are there and not here.
    pub pending_down: u64,
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
    certificate_days_left: i64,
    in_out: usize,
) -> TenantStatus {
    let ours = view.spaces.get(&vat).cloned().unwrap_or_default();
    let name = |peer: &PeerId| {
        portals
            .iter()
            .find(|(_, pin)| pin == peer)
            .map_or_else(|| peer.to_string(), |(n, _)| n.clone())
    };
    TenantStatus {
        vat: vat.to_string(),
        bundles: count(&ours),
        records: None,
        mirror_behind: 0,
        in_out,
        certificate_days_left,
        portals: portals
            .iter()
            .map(|(name, pin)| {
                let known = view.known.get(&(*pin, vat));
                PortalStatus {
                    name: name.clone(),
                    connected: view.sessions.iter().any(|s| s.peer == *pin && s.greeted),
                    holds: known.map(count),
                    pending_up: known.map_or(count(&ours), |held| ours.ahead_of(held)),
                    pending_down: known.map_or(0, |held| held.ahead_of(&ours)),
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
        alarms: view.alarms.iter().map(ToString::to_string).collect(),
    }
}

fn count(vector: &Vector) -> u64 {
    vector.iter().map(|(_, seq)| seq).sum()
}

/// The same for people.
#[must_use]
pub fn to_text(tenants: &[TenantStatus]) -> String {
    let mut text = String::new();
    for tenant in tenants {
        let TenantStatus { vat, bundles, in_out, certificate_days_left, .. } = tenant;
        let _ = writeln!(
            text,
            "P.IVA {vat}: {bundles} bundles here, {in_out} files in out/, \
             certificate ends in {certificate_days_left} days"
        );
        for PortalStatus { name, connected, holds, pending_up, pending_down } in &tenant.portals {
            let state = if *connected { "connected" } else { "not connected" };
            let holds = holds.map_or_else(|| "unknown".to_owned(), |n| n.to_string());
            let _ = writeln!(
                text,
                "  portal {name}: {state}, holds {holds}, to send {pending_up}, to fetch {pending_down}"
            );
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
