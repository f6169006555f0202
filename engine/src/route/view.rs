//! What a person is told about the routes: `staffetta-node status` prints it.

use std::time::Duration;

use super::{Failure, Role, RouteId, Routes, Transport};
use crate::time::Time;

/// What a route is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteState {
    /// Not in use; nothing known against it.
    Idle,
    /// Being dialled since.
    Dialling(Time),
    /// Failed, and not dialled again before.
    BackOff(Time),
    /// A session is open.
    Open {
        /// What it is for.
        role: Role,
        /// Whether it owes us an answer for too long.
        suspect: bool,
    },
}

/// One route over one transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteView {
    /// Which.
    pub route: RouteId,
    /// Over what.
    pub transport: Transport,
    /// What it is doing.
    pub state: RouteState,
    /// Smoothed round trip, if it was ever measured.
    pub srtt: Option<Duration>,
    /// When anything was last heard on its open session.
    pub heard: Option<Time>,
    /// How the last attempt or session failed, if none has opened since.
    pub error: Option<Failure>,
}

impl Routes {
    /// Each route and transport that was ever tried, and every route over QUIC.
    #[must_use]
    pub fn view(&self) -> Vec<RouteView> {
        let each = |route: &RouteId| Transport::ALL.map(|transport| (*route, transport));
        self.all
            .iter()
            .flat_map(each)
            .map(|(route, transport)| self.view_of(route, transport))
            .filter(|view| {
                let known = view.srtt.is_some() || view.error.is_some();
                view.transport == Transport::Quic || view.state != RouteState::Idle || known
            })
            .collect()
    }

    fn view_of(&self, route: RouteId, transport: Transport) -> RouteView {
        let session = self
            .sessions
            .values()
            .filter(|session| session.route == route && session.transport == transport)
            .max_by_key(|session| session.role);
        let attempt =
            self.dialler.attempts().find(|a| a.route == route && a.transport == transport);
        let past = self.dialler.past(route, transport);
        let state = if let Some(session) = session {
            let suspect = session.liveness.pulse(self.now) != super::Pulse::Well;
            RouteState::Open { role: session.role, suspect }
        } else if let Some(attempt) = attempt {
            RouteState::Dialling(attempt.started)
        } else {
            match self.dialler.not_before(route, transport) {
                Some(at) if at > self.now => RouteState::BackOff(at),
                _ => RouteState::Idle,
            }
        };
        let measured = session.filter(|session| session.liveness.measured());
        RouteView {
            route,
            transport,
            state,
            srtt: measured.map(|session| session.liveness.srtt()).or(past.srtt),
            heard: session.map(|session| session.liveness.last_heard()),
            error: past.error,
        }
    }
}
