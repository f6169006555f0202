//! What a peer says, judged: the only way from a frame to the replica.

use std::collections::BTreeSet;

use super::{Engine, judge};
use crate::{
    archive,
    bundle::Origin,
    effect::{Alarm, Effect},
    fault::Fault,
    grant::Role,
    id::{LogId, PeerId, Seq, VatNumber},
    limits,
    log::{Admission, Fresh, Log},
    plant::{self, Bug},
    session::{Due, Session, SessionId},
    store::Batch,
    vector::{Digest, Vector},
    wire::{Form, Frame, Hello, Run, SpaceState, Tenant, VERSIONS, in_common},
};

impl Engine {
    pub(super) fn open(&mut self, id: SessionId, peer: PeerId, dialled: bool, primary: bool) {
        let held = self.sessions.values().filter(|session| session.peer == peer).count();
        let mut session = Session::new(peer, dialled, self.now);
        session.primary = dialled && primary;
        self.sessions.insert(id, session);
        if held >= limits::SESSIONS_PER_PEER_MAX {
            return self.end(id, Some(Fault::Busy));
        }
        let tenants = self.shared_with(&peer);
        let many = tenants.len() > limits::HELLO_SPACES_MAX;
        let spaces = match many {
            true => Vec::new(),
            false => tenants.iter().map(|tenant| self.brief_state(*tenant)).collect(),
        };
        // It stands for spaces that are not listed: where they are nobody looks at it.
        let root = if many || self.spaces.is_empty() { self.root() } else { Digest::default() };
        let agent = self.config.agent.clone();
        let hello = Hello { versions: VERSIONS, agent, primary, spaces, root };
        self.send(id, Frame::Hello(hello));
        if self.stuck.is_some() && !dialled {
            self.send(id, Frame::Path { primary: false });
        }
    }

    pub(super) fn receive(&mut self, id: SessionId, frame: Frame) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.heard = now;
        session.answered |= session.greeted && matches!(frame, Frame::Pong(_));
        let pong = if let Frame::Pong(n) = frame { Some(n) } else { None };
        self.effects.push_back(Effect::Heard { session: id, pong });
        let greeted = self.sessions.get(&id).is_some_and(|session| session.greeted);
        let result = match frame {
            Frame::Hello(hello) if !greeted => self.hello(id, &hello),
            Frame::Ping(n) => {
                self.send(id, Frame::Pong(n));
                Ok(())
            }
            Frame::Pong(_) => Ok(()),
            Frame::Bye(fault) => {
                self.sessions.remove(&id);
                self.effects.push_back(Effect::Close { session: id, fault });
                Ok(())
            }
            _ if !greeted => Err(Fault::NotGreeted),
            Frame::Hello(_) => Err(Fault::NotGreeted),
            Frame::Spaces(spaces) => spaces.iter().try_for_each(|space| self.space(id, space)),
            Frame::WantSpaces(tenants) => self.want_spaces(id, &tenants),
            Frame::Run(run) => self.run(id, &run),
            Frame::Ack { tenant, logs } => self.held(id, tenant.0, &logs),
            Frame::Have { tenant, logs } => self.have(id, tenant.0, &logs),
            Frame::Want { tenant, log, after } => self.want(id, tenant.0, log, after),
            Frame::WantChunks { tenant, cut, first, count } => {
                self.may_hold(id, tenant.0).map(|()| {
                    let tenant = tenant.0;
                    let effect = Effect::SendChunks { session: id, tenant, cut, first, count };
                    self.effects.push_back(effect);
                })
            }
            Frame::Chunk(chunk) => self.chunk(id, &chunk),
            // Which path is primary is the dialler's to say; whether it can be, the other's.
            Frame::Path { primary } => {
                if self.sessions.get(&id).is_some_and(|session| session.dialled) {
                    self.takes(id, primary);
                } else {
                    self.on(id, |session| session.primary = primary);
                }
                Ok(())
            }
        };
        if let Err(fault) = result {
            self.end(id, Some(fault));
        }
        self.call(id);
        self.pump(id);
    }

    pub(super) fn end(&mut self, id: SessionId, fault: Option<Fault>) {
        if self.sessions.contains_key(&id) {
            self.send(id, Frame::Bye(fault));
            self.sessions.remove(&id);
            self.missed.retain(|(missed, _, _)| *missed != id);
            self.effects.push_back(Effect::Close { session: id, fault });
        }
    }

    /// The peer says whether it can store what is pushed to it.
    fn takes(&mut self, id: SessionId, takes: bool) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.takes = takes;
        let logs = if takes { BTreeSet::new() } else { session.lost_flight() };
        for (tenant, log) in logs {
            let durable = self.vector(tenant).get(&log);
            let due = Due { tenant, rank: self.rank(&log, tenant), log };
            self.on(id, |session| session.offer(due, durable));
        }
        self.effects.push_back(Effect::Takes { session: id, takes });
    }

    /// Asks the host for the session's next run, if one may be sent.
    pub(super) fn pump(&mut self, id: SessionId) {
        // A loop and no recursion: how much is due, the peer has a say in.
        while let Some(session) = self.sessions.get_mut(&id) {
            let form = session.form;
            let Some((due, after)) = session.next_run() else { return };
            let refers = form == Form::Sheet && !session.is_asked(&due);
            let log = self.spaces.get(&due.tenant).and_then(|space| space.logs.get(&due.log));
            match log.map(|log| (log.durable().0, log.origin().clone())) {
                Some((upto, origin)) if upto > after => {
                    let tenant = due.tenant;
                    let held = session
                        .holding(tenant)
                        .filter(|_| refers && upto - after >= limits::REFERRING_BUNDLES_MIN);
                    let held = held.cloned().unwrap_or_default();
                    let effect =
                        Effect::SendRun { session: id, tenant, origin, after, upto, held, form };
                    return self.effects.push_back(effect);
                }
                _ => self.on(id, Session::unsent),
            }
        }
    }

    pub(super) fn run_sent(&mut self, id: SessionId, upto: Seq, bytes: usize, large: bool) {
        let Some(due) = self.sessions.get(&id).and_then(Session::sending) else { return };
        let log = self.spaces.get(&due.tenant).and_then(|space| space.logs.get(&due.log));
        let tip = log.map_or(upto, |log| log.durable().0);
        self.on(id, |session| session.sent(upto, bytes, tip, large));
        self.pump(id);
    }

    /// Asks for everything the peer is known to hold and we do not.
    pub(super) fn pull(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else { return };
        let mut wants = Vec::new();
        for (tenant, space) in &self.spaces {
            let held = session.holding(*tenant).into_iter().flat_map(Vector::iter);
            for (log, seq) in held {
                let after = space.logs.get(&log).map_or(0, |log| log.pending().0);
                if seq > after {
                    wants.push(Frame::Want { tenant: Tenant(*tenant), log, after });
                }
            }
        }
        wants.into_iter().for_each(|want| self.send(id, want));
    }

    fn hello(&mut self, id: SessionId, hello: &Hello) -> Result<(), Fault> {
        if !in_common(hello.versions) {
            return Err(Fault::Version);
        }
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
        session.greeted = true;
        session.form = Form::for_version(hello.versions.1);
        if !session.dialled {
            session.primary = hello.primary;
        }
        let peer = session.peer;
        self.effects.push_back(Effect::Greeted { session: id });
        let shared = self.shared_with(&peer);
        let withheld = hello.spaces.is_empty() && hello.root != Digest::of_root([].into_iter());
        let many = shared.len() > limits::HELLO_SPACES_MAX;
        // Ours is a digest of every space, so it is not looked at where nothing depends on it.
        let same_root = (withheld || many) && hello.root == self.root();
        if withheld && same_root {
            for tenant in shared {
                let state = self.full_state(tenant);
                self.space(id, &state)?;
            }
            return Ok(());
        }
        if many && !same_root {
            for part in shared.chunks(limits::HELLO_SPACES_MAX) {
                let states = part.iter().map(|tenant| self.brief_state(*tenant)).collect();
                self.send(id, Frame::Spaces(states));
            }
        }
        hello.spaces.iter().try_for_each(|space| self.space(id, space))?;
        if !withheld {
            for tenant in shared {
                let unsaid = hello.spaces.iter().all(|space| space.tenant.0 != tenant);
                if unsaid {
                    let state = SpaceState {
                        tenant: Tenant(tenant),
                        logs: Vec::new(),
                        rest: None,
                        digest: Digest::default(),
                    };
                    self.space(id, &state)?;
                }
            }
        }
        Ok(())
    }

    fn want_spaces(&mut self, id: SessionId, tenants: &[Tenant]) -> Result<(), Fault> {
        for tenant in tenants {
            self.may_hold(id, tenant.0)?;
            let state = self.full_state(tenant.0);
            self.send(id, Frame::Spaces(vec![state]));
        }
        Ok(())
    }

    /// The peer says what it holds of a space: from here on we know what it lacks.
    fn space(&mut self, id: SessionId, state: &SpaceState) -> Result<(), Fault> {
        let tenant = state.tenant.0;
        self.may_hold(id, tenant)?;
        if !self.serves(tenant) {
            return Ok(());
        }
        let Some(peer) = self.sessions.get(&id).map(|session| session.peer) else {
            return Ok(());
        };
        let Some(theirs) = self.understand(state) else {
            let now = self.now;
            self.on(id, |session| session.unclear(tenant, now));
            self.send(id, Frame::WantSpaces(vec![state.tenant]));
            return Ok(());
        };
        let ours = self.vector(tenant);
        // Two that hold nothing cannot differ, though one may have heard of the space and have a
        // log of it that is not durable yet.
        if theirs == ours && !ours.is_empty() && state.digest != self.digest(tenant) {
            self.effects.push_back(Effect::Alarm(Alarm::Diverged { tenant, peer }));
        }
        let offers: Vec<_> = ours
            .iter()
            .map(|(log, seq)| (Due { tenant, rank: self.rank(&log, tenant), log }, seq))
            .collect();
        let ahead = theirs.ahead_of(&ours) > 0;
        self.known.insert((peer, tenant), theirs.clone());
        let mut standby = false;
        self.on(id, |session| {
            session.open_space(tenant, theirs.clone());
            offers.iter().for_each(|(due, seq)| session.offer(*due, *seq));
            standby = !session.primary;
        });
        for (log, seq) in self.spoiled(tenant) {
            if theirs.get(&log) >= seq {
                let after = seq - 1;
                self.send(id, Frame::Want { tenant: Tenant(tenant), log, after });
            }
        }
        if standby && ahead {
            self.effects.push_back(Effect::Announced { session: id });
        }
        if standby && ours.ahead_of(&theirs) > 0 {
            let logs = ours.iter().filter(|(log, seq)| theirs.get(log) < *seq).collect();
            self.send(id, Frame::Have { tenant: Tenant(tenant), logs });
        }
        Ok(())
    }

    fn held(
        &mut self,
        id: SessionId,
        tenant: VatNumber,
        logs: &[(LogId, Seq)],
    ) -> Result<(), Fault> {
        self.may_hold(id, tenant)?;
        // A peer cannot acknowledge what nobody wrote: it would stop us from sending it.
        let ours = self.vector(tenant);
        let logs: Vec<_> =
            logs.iter().map(|(log, seq)| (*log, (*seq).min(ours.get(log)))).collect();
        self.note(id, tenant, &logs);
        Ok(())
    }

    fn have(
        &mut self,
        id: SessionId,
        tenant: VatNumber,
        logs: &[(LogId, Seq)],
    ) -> Result<(), Fault> {
        self.may_hold(id, tenant)?;
        self.note(id, tenant, logs);
        if logs.iter().any(|(log, seq)| *seq > self.pending(tenant, log)) {
            self.effects.push_back(Effect::Announced { session: id });
        }
        Ok(())
    }

    fn note(&mut self, id: SessionId, tenant: VatNumber, logs: &[(LogId, Seq)]) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        // What is damaged here, and the peer did not hold when it was asked.
        let mut wants = Vec::new();
        for (log, seq) in logs {
            let entry = self.spaces.get(&tenant).and_then(|space| space.logs.get(log));
            let held = session.holding(tenant).map_or(0, |held| held.get(log));
            let damaged = entry.into_iter().flat_map(Log::damaged);
            if let Some(first) =
                damaged.filter(|at| (held.saturating_add(1)..=*seq).contains(at)).min()
            {
                wants.push(Frame::Want { tenant: Tenant(tenant), log: *log, after: first - 1 });
            }
        }
        session.held(tenant, logs);
        let known = self.known.entry((session.peer, tenant)).or_default();
        for (log, seq) in logs {
            if known.len() < limits::LOGS_PER_SPACE_MAX || known.get(log) > 0 {
                known.raise(*log, *seq);
            }
        }
        wants.into_iter().for_each(|want| self.send(id, want));
    }

    fn want(
        &mut self,
        id: SessionId,
        tenant: VatNumber,
        log: LogId,
        after: Seq,
    ) -> Result<(), Fault> {
        self.may_hold(id, tenant)?;
        // What is not here is not remembered: a peer can make up any number of logs.
        if self.pending(tenant, &log) > 0 {
            let due = Due { tenant, rank: self.rank(&log, tenant), log };
            self.on(id, |session| session.ask(due, after));
        }
        Ok(())
    }

    fn run(&mut self, id: SessionId, run: &Run) -> Result<(), Fault> {
        let (tenant, log) = (run.tenant.0, run.log);
        self.may_hold(id, tenant)?;
        self.on(id, |session| session.got(tenant, log));
        if !self.serves(tenant) {
            return Err(Fault::WrongTenant);
        }
        if self.stuck.is_some() {
            self.missed.insert((id, tenant, log));
            return Ok(());
        }
        let last = run.last()?;
        let session = self.sessions.get(&id);
        let entry = match self.spaces.get(&tenant).and_then(|space| space.logs.get(&log)) {
            Some(entry) => entry.clone(),
            None => match &run.origin {
                Some(parts) if run.first == 1 => {
                    let origin = Origin::try_from(parts)?;
                    if origin.log() != log {
                        return Err(Fault::Malformed);
                    }
                    let held = self.spaces.get(&tenant).map_or(0, |space| space.logs.len());
                    if held >= limits::LOGS_PER_SPACE_MAX {
                        return Err(Fault::TooLarge);
                    }
                    Log::new(tenant, origin)
                }
                // Its beginning was dropped, and is asked for when somebody is admitted.
                _ if session.is_some_and(|s| s.is_unadmitted(tenant, log)) => return Ok(()),
                _ => return self.ask_again(id, tenant, log),
            },
        };
        let writer = entry.origin().key.peer();
        let Some(role) = self.role(&writer, tenant) else {
            return self.unadmitted(id, tenant, log);
        };
        if self.authority.cut(&writer, tenant, &log).is_some_and(|cut| last > cut) {
            // Written after the writer's revocation: it counts nowhere, so it is not kept.
            return Ok(());
        }
        if run.refers() {
            return self.unresolved(id, tenant, log, last);
        }
        let received = run.open()?;
        for item in received.iter().flat_map(|bundle| &bundle.body.items) {
            judge(item, role, tenant, log)?;
        }
        match entry.admit(run, received)? {
            Admission::Fresh(fresh) => {
                self.note(id, tenant, &[(log, last)]);
                let space = self.spaces.entry(tenant).or_default();
                space.logs.entry(log).or_insert(entry);
                self.take(id, tenant, log, fresh);
            }
            // Alone in its run, and its large blobs may be what is damaged.
            Admission::Mends(mends, fresh)
                if fresh.is_empty()
                    && mends.iter().any(|b| b.body.large_blobs().next().is_some()) =>
            {
                self.take(id, tenant, log, mends);
            }
            Admission::Mends(mends, fresh) => {
                self.mend(tenant, log, &mends);
                if !fresh.is_empty() {
                    self.note(id, tenant, &[(log, last)]);
                    self.take(id, tenant, log, fresh);
                }
            }
            Admission::Known => self.already_here(id, tenant, log, last),
            Admission::Gap => return self.ask_again(id, tenant, log),
            Admission::Fork => {
                let alarm = Alarm::Fork { tenant, log, seq: run.first };
                self.effects.push_back(Effect::Alarm(alarm));
                let entry = self.spaces.get_mut(&tenant).and_then(|s| s.logs.get_mut(&log));
                entry.into_iter().for_each(Log::quarantine);
            }
        }
        Ok(())
    }

    /// Writes rows again that were damaged here and came whole from a peer. Once they are
    /// stored the log is offered again to whoever could not be sent it.
    pub(super) fn mend(&mut self, tenant: VatNumber, log: LogId, mends: &[Fresh]) {
        let mut batch = Batch::default();
        for bundle in mends {
            archive::mend_bundle(&mut batch, tenant, &log, bundle.seq, &bundle.stored);
            if let Some(entry) = self.spaces.get_mut(&tenant).and_then(|s| s.logs.get_mut(&log)) {
                entry.mend(bundle.seq);
            }
        }
        self.commit(tenant, log, &[], batch, None, None);
        let place = self.spaces.get(&tenant).and_then(|space| space.logs.get(&log));
        if let (Some(pending), Some(log)) = (self.commits.back_mut(), place) {
            pending.place = Some(log.durable());
            pending.mends = mends.iter().map(|bundle| bundle.seq).collect();
        }
    }

    pub(super) fn accept(
        &mut self,
        from: Option<SessionId>,
        tenant: VatNumber,
        log: LogId,
        fresh: &[Fresh],
    ) {
        for bundle in fresh {
            self.learn(tenant, &bundle.body.items);
        }
        if let Some(entry) = self.spaces.get_mut(&tenant).and_then(|s| s.logs.get_mut(&log)) {
            for bundle in fresh {
                entry.advance((bundle.seq, bundle.stored.hash));
            }
        }
        self.commit(tenant, log, fresh, Batch::default(), None, from);
    }

    /// A run by somebody with no grant that we know of: the sender's fault, unless it holds
    /// other bundles of the space that we do not, among which the grant may be. Then the run is
    /// dropped, and asked for again once somebody is admitted.
    fn unadmitted(&mut self, id: SessionId, tenant: VatNumber, log: LogId) -> Result<(), Fault> {
        let held = self.sessions.get(&id).and_then(|session| session.holding(tenant));
        let ahead = held.is_some_and(|held| {
            held.iter().any(|(other, seq)| other != log && seq > self.pending(tenant, &other))
        });
        if !ahead {
            return Err(Fault::UnknownWriter);
        }
        self.on(id, |session| session.unadmitted(tenant, log));
        Ok(())
    }

    fn ask_again(&mut self, id: SessionId, tenant: VatNumber, log: LogId) -> Result<(), Fault> {
        let after = self.pending(tenant, &log);
        self.send(id, Frame::Want { tenant: Tenant(tenant), log, after });
        Ok(())
    }

    /// A run refers to what cannot be read here: a row is damaged, or the peer takes us for further
    /// than we are. It is asked for, and so comes without references, unless all of it is here.
    fn unresolved(
        &mut self,
        id: SessionId,
        tenant: VatNumber,
        log: LogId,
        last: Seq,
    ) -> Result<(), Fault> {
        if self.pending(tenant, &log) < last {
            return self.ask_again(id, tenant, log);
        }
        self.already_here(id, tenant, log, last);
        Ok(())
    }

    /// All of a run up to `last` was here before it came: what is durable of it is acknowledged.
    fn already_here(&mut self, id: SessionId, tenant: VatNumber, log: LogId, last: Seq) {
        self.note(id, tenant, &[(log, last)]);
        let logs = vec![(log, self.vector(tenant).get(&log))];
        self.send(id, Frame::Ack { tenant: Tenant(tenant), logs });
    }

    fn role(&self, writer: &PeerId, tenant: VatNumber) -> Option<Role> {
        if *writer == self.peer() {
            return Some(self.config.role);
        }
        self.authority.role(writer, tenant)
    }

    pub(super) fn may_hold(&self, id: SessionId, tenant: VatNumber) -> Result<(), Fault> {
        let Some(session) = self.sessions.get(&id) else { return Ok(()) };
        if self.authority.may_hold(&session.peer, tenant) || plant::is(Bug::MissingGrantCheck) {
            Ok(())
        } else if self.authority.is_revoked(&session.peer, tenant) {
            Err(Fault::Revoked)
        } else {
            Err(Fault::WrongTenant)
        }
    }

    pub(super) fn spoiled(&self, tenant: VatNumber) -> Vec<(LogId, Seq)> {
        self.spaces.get(&tenant).map_or_else(Vec::new, |space| {
            space.logs.iter().flat_map(|(id, log)| log.damaged().map(|seq| (*id, seq))).collect()
        })
    }

    fn shared_with(&self, peer: &PeerId) -> Vec<VatNumber> {
        if self.authority.is_portal(peer) {
            return self.spaces.keys().copied().collect();
        }
        let granted = self.authority.tenants_of(peer);
        granted.filter(|tenant| self.spaces.contains_key(tenant)).collect()
    }
}
