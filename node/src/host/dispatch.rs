//! What the host does about each event, effect and route action: a table, no decisions.

use std::{sync::Arc, time::Duration};

use engine::{
    archive,
    bundle::Item,
    effect::{Effect, Input, Ticket},
    grant::Revocation,
    route::{AttemptId, Failure, Mode, RouteAction, Routes, SessionId},
};
use tokio::task::spawn_blocking;

use super::{
    Event, Host, Standing, next_session, now_ms, paths,
    session::{ChunkRequest, Line},
};
use crate::{
    committer::Completion,
    transport::{Connection, ConnectionError, DialError, Transport, pin::Pins},
};

/// Alarms kept for status.
const ALARMS_MAX: usize = 100;

impl Host {
    pub(super) fn take(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::Append { tenant, items, files, reply } => {
                let ticket = Ticket(self.ticket());
                self.replies.insert(ticket, reply);
                let written_ms = now_ms();
                self.feed(Input::Append { ticket, tenant, written_ms, items, files });
                if let Some(routes) = &mut self.routes {
                    routes.progressed(now);
                }
            }
            Event::Revoke { tenant, peer, reply } => {
                let ticket = Ticket(self.ticket());
                self.replies.insert(ticket, reply);
                let cuts = self.engine.cuts(&peer, tenant);
                let items = vec![Item::Revocation(Revocation { peer, cuts })];
                let written_ms = now_ms();
                self.feed(Input::Append { ticket, tenant, written_ms, items, files: vec![] });
            }
            Event::Standing { tenant, peer, reply } => {
                let authority = self.engine.authority();
                let may_hold = authority.may_hold(&peer, tenant);
                let is_revoked = authority.is_revoked(&peer, tenant);
                let _ = reply.send(Standing { may_hold, is_revoked });
            }
            Event::View(reply) => {
                let _ = reply.send(self.view());
            }
            Event::Accepted(connection) => {
                self.open(connection, None, false);
            }
            Event::Dialled { attempt, primary, connection } => {
                self.open(connection, Some(attempt), primary);
            }
            Event::DialFailed { attempt, error } => {
                let refused = matches!(
                    error,
                    DialError::PinRefusedHere(_) | DialError::PinRefusedByPeer { .. }
                );
                self.paths.failed(attempt, &error);
                if let Some(routes) = &mut self.routes {
                    let why = if refused { Failure::Refused } else { Failure::Unreachable };
                    routes.failed(attempt, why, now);
                }
            }
            Event::Closed(session, why) => self.closed(session, why.as_ref()),
            Event::Input(input) => self.feed(input),
            Event::Completion(Completion::Committed(commit)) => {
                self.feed(Input::Committed { commit });
            }
            Event::Completion(Completion::Failed(error)) => {
                self.stuck = Some(error.to_string());
                self.feed(Input::CommitFailed { error });
            }
            Event::Completion(Completion::Ready) => {
                self.stuck = None;
                self.feed(Input::StoreReady);
            }
            Event::Doubt(why) => self.config.store.doubt(&why),
            Event::Wake => {
                if let Some(routes) = &mut self.routes {
                    routes.wake(now);
                }
            }
            Event::Mode(mode) => {
                let talks = self.engine.sessions().any(|(_, session)| session.greeted);
                if let Some(routes) = &mut self.routes {
                    routes.set_mode(mode, now);
                    // Who reaches nobody does not go on trying outside of its hours.
                    if mode == Mode::Periodic && !talks {
                        routes.rest(now);
                    }
                }
            }
        }
    }

    /// Carries out everything the engine and the routes ask for, until neither does.
    pub(super) fn drain(&mut self) {
        loop {
            if let Some(effect) = self.engine.poll() {
                self.carry_out(effect);
            } else if let Some(action) = self.routes.as_mut().and_then(Routes::poll) {
                self.steer(action);
            } else {
                break;
            }
        }
        self.rest();
    }

    fn carry_out(&mut self, effect: Effect) {
        let now = self.now();
        match effect {
            Effect::Send { session, frame } => {
                if let Some(line) = self.lines.get(&session) {
                    line.send(&frame);
                }
            }
            Effect::SendRun { session, tenant, origin, after, upto, held, form } => {
                if let Some(line) = self.lines.get(&session) {
                    let store = Arc::clone(&self.config.store);
                    let events = self.events.clone();
                    let said = (after, upto, held);
                    line.send_run(session, store, (tenant, origin), said, form, events);
                    if let Some(routes) = &mut self.routes {
                        routes.sent(session, now);
                    }
                }
            }
            Effect::SendChunks { session, tenant, cut, first, count } => {
                if let Some(line) = self.lines.get(&session) {
                    let indexes = first..first.saturating_add(count);
                    line.send_chunks(ChunkRequest { tenant, cut, indexes });
                }
            }
            Effect::Commit { commit, batch } => self.committer.commit(commit, batch),
            Effect::FindMissing { session, tenant, log, lookup, blobs } => {
                let (store, events) = (Arc::clone(&self.config.store), self.events.clone());
                spawn_blocking(move || {
                    let chunks = blobs.iter().map(|blob| {
                        let missing = archive::missing_chunks(&*store, tenant, blob)?;
                        Ok((blob.cut(), missing))
                    });
                    match chunks.collect::<Result<_, archive::ReadError>>() {
                        Ok(chunks) => {
                            let missing = Input::Missing { session, tenant, log, lookup, chunks };
                            let _ = events.send(Event::Input(missing));
                        }
                        Err(error) => tracing::error!(%error, "cannot look for chunks"),
                    }
                });
            }
            Effect::Truncate { tenant, origin, cut } => {
                let (store, events) = (Arc::clone(&self.config.store), self.events.clone());
                spawn_blocking(move || match archive::truncate(&*store, tenant, &origin, cut) {
                    Ok((batch, end)) => {
                        let log = origin.log();
                        let truncated = Input::Truncated { tenant, log, end, batch };
                        let _ = events.send(Event::Input(truncated));
                    }
                    Err(error) => tracing::error!(%error, "cannot set a revoked log back"),
                });
            }
            Effect::Rebuild { tenant } => {
                self.rebuilds.send_modify(|rebuilds| *rebuilds.entry(tenant).or_default() += 1);
            }
            Effect::Appended { ticket, log, seq } => {
                if let Some(reply) = self.replies.remove(&ticket) {
                    let _ = reply.send(Ok((log, seq)));
                }
            }
            Effect::Refused { ticket, why } => {
                if let Some(reply) = self.replies.remove(&ticket) {
                    let _ = reply.send(Err(why));
                }
            }
            Effect::Fresh { tenant, position } => {
                self.fresh.send_modify(|fresh| {
                    fresh.insert(tenant, position);
                });
                self.satisfy();
            }
            Effect::Pins { nodes } => self.pins(&nodes),
            Effect::Heard { session, pong } => {
                self.note_sync();
                if let Some(routes) = &mut self.routes {
                    match pong {
                        Some(n) => routes.pong(session, n, now),
                        None => routes.heard(session, now),
                    }
                }
            }
            Effect::Greeted { session } => {
                if let Some(line) = self.lines.get(&session) {
                    self.paths.greeted(session, &line.handle.authenticated().peer());
                }
                let attempt = self.attempts.remove(&session);
                if let (Some(attempt), Some(routes)) = (attempt, &mut self.routes) {
                    routes.opened(attempt, session, now);
                }
            }
            Effect::Announced { session } => {
                if let Some(routes) = &mut self.routes {
                    routes.announced(session, now);
                }
            }
            Effect::Takes { session, takes } => {
                if !takes {
                    tracing::warn!(
                        session = session.0,
                        "the peer's disk is full: the role goes where it is not"
                    );
                }
                if let Some(routes) = &mut self.routes {
                    routes.takes(session, takes, now);
                }
            }
            Effect::Close { session, fault } => {
                if let Some(fault) = fault {
                    tracing::warn!(session = session.0, %fault, "session ends");
                }
                if let Some(line) = self.lines.remove(&session) {
                    let peer = line.handle.authenticated().peer();
                    match fault {
                        Some(fault) => self.paths.faulted(session, &peer, fault),
                        None => self.paths.ended(session, None),
                    }
                    self.meter.closed(line.handle.stats());
                    line.close(fault);
                }
                let refused = fault.is_some_and(engine::fault::Fault::needs_a_person);
                self.unroute(session, refused);
            }
            Effect::Alarm(alarm) => {
                tracing::error!(%alarm, "a person should look at this");
                if self.alarms.len() == ALARMS_MAX {
                    self.alarms.remove(0);
                }
                self.alarms.push(alarm);
            }
        }
    }

    fn steer(&mut self, action: RouteAction) {
        match action {
            RouteAction::Dial { attempt, route, transport, primary } => {
                self.dial(attempt, route, transport, primary);
            }
            RouteAction::Abandon { attempt: _ } => {}
            RouteAction::Ping { session, n } => self.feed(Input::Ping { session, n }),
            RouteAction::Hedge { suspect: _, on } => {
                self.meter.hedged();
                if let Some(before) = self.hedged.replace(on).filter(|before| *before != on) {
                    self.feed(Input::Hedge { session: before, on: false });
                }
                self.feed(Input::Hedge { session: on, on: true });
            }
            RouteAction::Unhedge { suspect: _ } => {
                if let Some(session) = self.hedged.take() {
                    self.feed(Input::Hedge { session, on: false });
                }
            }
            RouteAction::Promote { session } => {
                self.meter.promoted();
                self.feed(Input::Path { session, primary: true });
            }
            RouteAction::Demote { session } => self.feed(Input::Path { session, primary: false }),
            RouteAction::Close { session, why } => {
                tracing::debug!(session = session.0, ?why, "route closes a session");
                self.feed(Input::End { session, fault: None });
            }
            RouteAction::Pull { on } => self.feed(Input::Pull { session: on }),
        }
    }

    fn dial(
        &mut self,
        attempt: AttemptId,
        route: engine::route::RouteId,
        transport: engine::route::Transport,
        primary: bool,
    ) {
        let portal = self.config.dial.get(usize::from(route.portal));
        let target = portal
            .and_then(|p| p.addresses.get(usize::from(route.address)).map(|address| (p, *address)));
        let (Some((portal, remote)), Some(dialer)) = (target, self.config.dialer.clone()) else {
            return;
        };
        let (peer, events) = (portal.peer, self.events.clone());
        self.paths.dialled(attempt, route, transport);
        let transport = match transport {
            engine::route::Transport::Quic => Transport::Quic,
            engine::route::Transport::Tcp => Transport::Tcp,
        };
        tokio::spawn(async move {
            let event = match dialer.dial(usize::from(route.line), remote, peer, transport).await {
                Ok(connection) => Event::Dialled { attempt, primary, connection },
                Err(error) => {
                    tracing::debug!(%error, %remote, "no connection");
                    Event::DialFailed { attempt, error }
                }
            };
            let _ = events.send(event);
        });
    }

    fn open(&mut self, connection: Connection, attempt: Option<AttemptId>, primary: bool) {
        let session = next_session();
        let peer = connection.authenticated().peer();
        let (events, frames) = (self.events.clone(), self.frames.clone());
        let (store, meter) = (Arc::clone(&self.config.store), self.meter.clone());
        let line = Line::start(session, connection, store, meter, events, frames);
        self.lines.insert(session, line);
        let dialled = attempt.is_some();
        if let Some(attempt) = attempt {
            self.attempts.insert(session, attempt);
            self.paths.opened(attempt, session);
        }
        self.feed(Input::Opened { session, peer, dialled, primary });
    }

    fn closed(&mut self, session: SessionId, why: Option<&ConnectionError>) {
        if let Some(line) = self.lines.remove(&session) {
            let refused = why.is_some_and(paths::is_refusal);
            match why {
                Some(why) => self.paths.lost(session, &line.handle.authenticated().peer(), why),
                None => self.paths.ended(session, None),
            }
            self.meter.closed(line.handle.stats());
            self.feed(Input::Closed { session });
            self.unroute(session, refused);
        }
    }

    fn unroute(&mut self, session: SessionId, refused: bool) {
        let now = self.now();
        let why = if refused { Failure::Refused } else { Failure::Lost };
        if self.hedged == Some(session) {
            self.hedged = None;
        }
        let attempt = self.attempts.remove(&session);
        if let Some(routes) = &mut self.routes {
            match attempt {
                Some(attempt) => routes.failed(attempt, why, now),
                None => routes.closed(session, why, now),
            }
        }
    }

    fn pins(&self, nodes: &[(engine::id::PeerId, u64)]) {
        let mut pins: Pins = self.config.portals.iter().map(|peer| (*peer, None)).collect();
        pins.extend(nodes.iter().map(|(peer, end_ms)| (*peer, Some(end_ms / 1000))));
        pins.remove(&self.engine.peer());
        self.config.pins.replace(pins);
    }

    /// Notes which portals hold what this node holds and no more.
    fn note_sync(&mut self) {
        let Some(tenant) = self.config.tenant else { return };
        let now = now_ms() / 1000;
        let ours = self.engine.vector(tenant);
        for (_, session) in self.engine.sessions() {
            let fresh = self.in_sync.get(&session.peer) == Some(&now);
            if !fresh
                && let Some(theirs) = session.holding(tenant)
                && session.greeted
                && ours.ahead_of(theirs) == 0
                && theirs.ahead_of(&ours) == 0
            {
                self.in_sync.insert(session.peer, now);
            }
        }
    }

    /// Tells the routes when nothing announced is outstanding any more.
    fn satisfy(&mut self) {
        let now = self.now();
        self.note_sync();
        let (engine, Some(routes)) = (&self.engine, &mut self.routes) else { return };
        // Not every session with every tenant: a portal has thousands of both.
        let ahead = engine.sessions().any(|(_, session)| {
            session.holdings().any(|(tenant, theirs)| theirs.ahead_of(&engine.vector(tenant)) > 0)
        });
        if ahead { routes.progressed(now) } else { routes.satisfied(now) }
    }

    /// In periodic mode, closes everything once nothing is left to do. A portal whose bundle is
    /// damaged asks for it when it has our `Hello`: on a slow line that is later than its own
    /// (simulator's seed 15035531415), so it must have answered.
    fn rest(&mut self) {
        let now = self.now();
        let periodic = |routes: &&mut Routes| routes.mode() == Mode::Periodic;
        let Some(routes) = self.routes.as_mut().filter(periodic) else { return };
        let settled = Duration::from_millis(200);
        let talked = self.engine.sessions().any(|(_, session)| {
            session.primary && session.answered && now.since(session.heard) >= settled
        });
        if routes.awake() && talked && self.engine.is_at_rest() {
            routes.rest(now);
        }
    }
}
