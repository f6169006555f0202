//! What a person is told about each route: where it leads, what it is doing, and in one
//! sentence why it is not connected. It remembers sentences and decides nothing.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use engine::{
    fault::Fault,
    id::PeerId,
    route::{AttemptId, Failure, Role, RouteId, RouteState, RouteView, SessionId, Transport},
    time::Time,
};

use super::PortalAddress;
use crate::transport::{ConnectionError, DialError};

/// One route over one transport, for status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Our address: the line it leaves by.
    pub line: SocketAddr,
    /// The portal.
    pub portal: PeerId,
    /// The portal's address.
    pub address: SocketAddr,
    /// Over what.
    pub transport: Transport,
    /// What it is doing.
    pub state: PathState,
    /// Smoothed round trip, if it was ever measured.
    pub srtt: Option<Duration>,
    /// Why its last attempt or session ended, if none has opened since.
    pub last_error: Option<String>,
}

/// What a route is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathState {
    /// Not in use; nothing known against it.
    Idle,
    /// Being dialled.
    Dialling,
    /// Failed; dialled again after this long.
    Waiting(Duration),
    /// A session is open, for this.
    Open(Role),
}

type Key = (RouteId, Transport);

/// Sentences by route.
#[derive(Default)]
pub(super) struct Paths {
    dialling: BTreeMap<AttemptId, Key>,
    open: BTreeMap<SessionId, Key>,
    why: BTreeMap<Key, String>,
    /// What a portal that ended us for good said: a later refusal only says "unknown".
    revoked: BTreeMap<PeerId, String>,
}

impl Paths {
    pub(super) fn dialled(&mut self, attempt: AttemptId, route: RouteId, transport: Transport) {
        self.dialling.insert(attempt, (route, transport));
    }

    pub(super) fn failed(&mut self, attempt: AttemptId, error: &DialError) {
        if let Some(key) = self.dialling.remove(&attempt) {
            self.explain(key, error.to_string());
        }
    }

    pub(super) fn opened(&mut self, attempt: AttemptId, session: SessionId) {
        if let Some(key) = self.dialling.remove(&attempt) {
            self.open.insert(session, key);
        }
    }

    pub(super) fn greeted(&mut self, session: SessionId, peer: &PeerId) {
        if let Some(key) = self.open.get(&session) {
            self.why.remove(key);
        }
        self.revoked.remove(peer);
    }

    /// A session was ended with a fault, by either side.
    pub(super) fn faulted(&mut self, session: SessionId, peer: &PeerId, fault: Fault) {
        let why = fault.to_string();
        if fault == Fault::Revoked {
            self.revoked.insert(*peer, why.clone());
        }
        self.ended(session, Some(why));
    }

    /// The connection of a session ended.
    pub(super) fn lost(&mut self, session: SessionId, peer: &PeerId, error: &ConnectionError) {
        match fault_of(error) {
            // The close may be faster than the `Bye` that says the same.
            Some(fault) => self.faulted(session, peer, fault),
            None => self.ended(session, Some(error.to_string())),
        }
    }

    /// A session ended and nobody is to blame, or with a sentence.
    pub(super) fn ended(&mut self, session: SessionId, why: Option<String>) {
        if let (Some(key), Some(why)) = (self.open.remove(&session), why) {
            self.explain(key, why);
        }
    }

    /// Keeps a sentence; the log has it once for as long as it stays the same.
    fn explain(&mut self, key: Key, why: String) {
        if self.why.get(&key) != Some(&why) {
            let (RouteId { line, portal, address }, transport) = key;
            tracing::warn!(line, portal, address, ?transport, "not connected: {why}");
            self.why.insert(key, why);
        }
    }

    /// Every route in `views` in words.
    pub(super) fn view(
        &self,
        views: &[RouteView],
        lines: &[SocketAddr],
        portals: &[PortalAddress],
        now: Time,
    ) -> Vec<Path> {
        let path = |view: &RouteView| {
            let portal = portals.get(usize::from(view.route.portal))?;
            let address = *portal.addresses.get(usize::from(view.route.address))?;
            let sentence = |failure| {
                let revoked =
                    self.revoked.get(&portal.peer).filter(|_| failure == Failure::Refused);
                let why = revoked.or_else(|| self.why.get(&(view.route, view.transport)));
                why.cloned().unwrap_or_else(|| words(failure, address))
            };
            Some(Path {
                line: *lines.get(usize::from(view.route.line))?,
                portal: portal.peer,
                address,
                transport: view.transport,
                state: match view.state {
                    RouteState::Idle => PathState::Idle,
                    RouteState::Dialling(_) => PathState::Dialling,
                    RouteState::BackOff(at) => PathState::Waiting(at.since(now)),
                    RouteState::Open { role, .. } => PathState::Open(role),
                },
                srtt: view.srtt,
                last_error: view.error.map(sentence),
            })
        };
        views.iter().filter_map(path).collect()
    }
}

/// Whether dialling again soon is of no use: somebody must change something first.
pub(super) fn is_refusal(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::RefusedByPeer(_))
        || fault_of(error).is_some_and(Fault::needs_a_person)
}

/// The fault that a peer's close names, where its own sentence says no more.
fn fault_of(error: &ConnectionError) -> Option<Fault> {
    let ConnectionError::ClosedByPeer { code, .. } = error else { return None };
    [
        Fault::Version,
        Fault::UnknownPin,
        Fault::Revoked,
        Fault::WrongTenant,
        Fault::Busy,
        Fault::DiskFull,
        Fault::ShuttingDown,
        Fault::Forked,
    ]
    .into_iter()
    .find(|fault| u32::from(fault.code()) == *code)
}

fn words(failure: Failure, address: SocketAddr) -> String {
    match failure {
        Failure::TimedOut => format!("no answer from {address}"),
        Failure::Unreachable => format!("{address} cannot be reached"),
        Failure::Refused => format!("{address} refused us"),
        Failure::Lost => format!("the connection with {address} was lost"),
    }
}
