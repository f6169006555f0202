//! A host's lines: whom it dials, who comes, and which way is taken.

use super::*;

impl World {
    pub fn accepted(&mut self, (n, epoch): (usize, u32), wire: usize) {
        let peer = self.peer_of(wire, 0);
        let welcome = self.hosts[n].epoch == epoch
            && self.hosts[n].process.as_ref().is_some_and(|process| process.pins.contains(&peer));
        if welcome {
            self.open(n, wire, 1, None, false);
        } else {
            // A refused pin arrives as a close right after the dialler's connect returned.
            let at = self.now + self.plan.hosts[0].way + Duration::from_millis(30);
            let at = at.max(self.network.wires[wire].opens[0] + Duration::from_millis(1));
            self.push(at, Event::Gone { wire, side: 0 });
        }
    }

    pub fn dialled(
        &mut self,
        (n, epoch): (usize, u32),
        attempt: AttemptId,
        primary: bool,
        wire: usize,
    ) {
        if self.hosts[n].epoch == epoch && self.hosts[n].process.is_some() {
            self.open(n, wire, 0, Some(attempt), primary);
        } else {
            self.doom(wire);
        }
    }

    pub(super) fn open(
        &mut self,
        n: usize,
        wire: usize,
        side: usize,
        attempt: Option<AttemptId>,
        primary: bool,
    ) {
        let session = self.network.wires[wire].sessions[side];
        let peer = self.peer_of(wire, 1 - side);
        self.network.wires[wire].open[side] = true;
        let Some(process) = &mut self.hosts[n].process else { return };
        process.lines.insert(session);
        if let Some(attempt) = attempt {
            process.attempts.insert(session, attempt);
        }
        let dialled = attempt.is_some();
        self.feed(n, Input::Opened { session, peer, dialled, primary });
        self.settle(n);
    }

    pub(super) fn peer_of(&self, wire: usize, side: usize) -> PeerId {
        let host = self.network.wires[wire].path.hosts[side];
        match (self.hosts.get(host), &self.imp) {
            (Some(host), _) => host.peer(),
            (None, Some(imp)) => imp.peer(),
            (None, None) => unreachable!("only an imp is no host"),
        }
    }

    pub(super) fn steer(&mut self, n: usize, action: RouteAction) {
        match action {
            RouteAction::Dial { attempt, route, transport, primary } => {
                self.dial(n, attempt, route, transport, primary);
            }
            RouteAction::Abandon { attempt: _ } => {}
            RouteAction::Ping { session, n: number } => {
                self.feed(n, Input::Ping { session, n: number });
            }
            RouteAction::Hedge { suspect: _, on } => {
                let before = self.hosts[n].process.as_mut().and_then(|p| p.hedged.replace(on));
                if let Some(before) = before.filter(|before| *before != on) {
                    self.feed(n, Input::Hedge { session: before, on: false });
                }
                self.feed(n, Input::Hedge { session: on, on: true });
            }
            RouteAction::Unhedge { suspect: _ } => {
                let hedged = self.hosts[n].process.as_mut().and_then(|p| p.hedged.take());
                if let Some(session) = hedged {
                    self.feed(n, Input::Hedge { session, on: false });
                }
            }
            RouteAction::Promote { session } => {
                self.feed(n, Input::Path { session, primary: true });
            }
            RouteAction::Demote { session } => {
                self.feed(n, Input::Path { session, primary: false });
            }
            RouteAction::Close { session, why } => {
                self.trace.note(self.now, || format!("host {n} lets {session:?} go: {why:?}"));
                self.feed(n, Input::End { session, fault: None });
            }
            RouteAction::Pull { on } => self.feed(n, Input::Pull { session: on }),
        }
    }

    pub(super) fn dial(
        &mut self,
        n: usize,
        attempt: AttemptId,
        route: RouteId,
        transport: Transport,
        primary: bool,
    ) {
        // A portal dials the other one.
        let portal = if n < 2 { 1 - n } else { usize::from(route.portal) };
        let path = Path { hosts: [n, portal], line: route.line, address: route.address, transport };
        let (epoch, portal_epoch) = (self.hosts[n].epoch, self.hosts[portal].epoch);
        if self.hosts[portal].process.is_none() || self.hosts[portal].frozen_at(self.now) {
            // Nobody answers: the routes give the attempt up by themselves.
            return;
        }
        let Some((wire, there, here)) = self.network.connect(path, self.now) else {
            return;
        };
        self.push(there, Event::Accepted { host: portal, epoch: portal_epoch, wire });
        self.push(here, Event::Dialled { host: n, epoch, attempt, primary, wire });
    }

    pub(super) fn unroute(&mut self, n: usize, session: SessionId, refused: bool) {
        let at = self.since_start(n);
        let Some(process) = &mut self.hosts[n].process else { return };
        let why = if refused { Failure::Refused } else { Failure::Lost };
        if process.hedged == Some(session) {
            process.hedged = None;
        }
        let attempt = process.attempts.remove(&session);
        if let Some(routes) = &mut process.routes {
            match attempt {
                Some(attempt) => routes.failed(attempt, why, at),
                None => routes.closed(session, why, at),
            }
        }
    }

    /// Closes our side now and the other when it hears of it.
    pub fn close(&mut self, session: SessionId) {
        let (wire, side) = place(session);
        self.network.wires[wire].open[side] = false;
        match self.network.close(wire, side, self.now) {
            Some(at) => self.push(at, Event::Gone { wire, side: 1 - side }),
            None => self.doom(wire),
        }
    }
}
