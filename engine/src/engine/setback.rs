//! What does not count after all: batches that the store did not keep, and bundles beyond
//! their writer's cut.
//!
//! After a failed barrier a store may hold what nobody was told of, so the first batch once
//! it takes writes again takes that back. A log is set back to a cut only while nothing of it
//! is on its way to the store, since the host works the cut out from what is stored; records
//! are derived anew once the cut is durable, and a start looks for cuts that were not made.

use super::{Engine, Pending};
use crate::{
    archive,
    effect::{AppendError, CommitId, Effect},
    fault::Fault,
    id::{LogId, VatNumber},
    log::Place,
    plant::{self, Bug},
    store::Batch,
    wire::{Frame, Tenant},
};

impl Engine {
    pub(super) fn commit_failed(&mut self, why: &str) {
        let cuts = self.commits.iter().filter(|pending| pending.cuts);
        self.uncut.extend(cuts.map(|pending| (pending.tenant, pending.log)));
        for pending in std::mem::take(&mut self.commits) {
            if let Some(session) = pending.from {
                self.missed.insert((session, pending.tenant, pending.log));
            }
            if let Some(ticket) = pending.said {
                let why = AppendError::Store(why.to_owned());
                self.effects.push_back(Effect::Refused { ticket, why });
            }
            self.undo.writes.extend(pending.undo.writes);
            let space = self.spaces.get_mut(&pending.tenant);
            if let Some(log) = space.and_then(|space| space.logs.get_mut(&pending.log)) {
                log.roll_back();
                for seq in pending.mends {
                    log.spoil(seq);
                }
                // Beyond a cut the tip stays where it is, so that a start sees what is to be done.
                if !self.uncut.contains(&(pending.tenant, pending.log)) {
                    archive::put_tip(&mut self.undo, &log.tip());
                }
            }
        }
        // Chunks that were on their way are gone: bundles that wait for them begin anew.
        for (id, session) in &mut self.sessions {
            self.missed
                .extend(session.unstage().into_iter().map(|(tenant, log)| (*id, tenant, log)));
        }
        if self.stuck.replace(why.to_owned()).is_none() {
            self.say_takes(false);
        }
    }

    /// Tells whoever pushes to us whether we can store it: while we cannot, they turn to another.
    fn say_takes(&mut self, takes: bool) {
        let pushers: Vec<_> =
            self.sessions.iter().filter(|(_, s)| !s.dialled).map(|(id, _)| *id).collect();
        for session in pushers {
            self.send(session, Frame::Path { primary: takes });
        }
    }

    pub(super) fn store_ready(&mut self) {
        if self.stuck.take().is_none() {
            return;
        }
        let mut batch = std::mem::take(&mut self.undo);
        if plant::is(Bug::UndoForgotten) {
            batch.writes.clear();
        }
        if let Some(tenant) =
            self.spaces.keys().next().copied().filter(|_| !batch.writes.is_empty())
        {
            let (commit, log) = (CommitId(self.next_commit), self.own.log());
            let (place, position, said, from, cuts) = (None, 0, None, None, false);
            let (undo, mends, says) = (batch.clone(), Vec::new(), Vec::new());
            let pending = Pending {
                commit,
                tenant,
                log,
                place,
                position,
                said,
                from,
                cuts,
                mends,
                says,
                undo,
            };
            self.hand_over(pending, batch);
        }
        self.set_back();
        self.say_takes(true);
        for (session, tenant, log) in std::mem::take(&mut self.missed) {
            let after = self.pending(tenant, &log);
            self.send(session, Frame::Want { tenant: Tenant(tenant), log, after });
        }
        // What came for damaged rows meanwhile was not stored.
        let tenants: Vec<_> = self.spaces.keys().copied().collect();
        for tenant in tenants {
            for (log, seq) in self.spoiled(tenant) {
                self.fetch(tenant, log, seq);
            }
        }
    }

    /// Notes every log that goes beyond its writer's cut, and ends the sessions of peers that
    /// may no longer hold the space.
    pub(super) fn cut(&mut self, tenant: VatNumber) {
        let Some(space) = self.spaces.get(&tenant) else { return };
        for (id, log) in &space.logs {
            let writer = log.origin().key.peer();
            let cut = self.authority.cut(&writer, tenant, id);
            if cut.is_some_and(|cut| log.pending().0 > cut) {
                self.uncut.insert((tenant, *id));
            }
        }
        self.set_back();
        let ended: Vec<_> = self
            .sessions
            .iter()
            .filter(|(_, s)| s.carries(tenant) && !self.authority.may_hold(&s.peer, tenant))
            .map(|(id, _)| *id)
            .collect();
        for session in ended {
            self.end(session, Some(Fault::Revoked));
        }
    }

    /// Asks the host to work out the cuts that are due and can be made now.
    pub(super) fn set_back(&mut self) {
        if self.stuck.is_some() || self.uncut.is_empty() {
            return;
        }
        for (tenant, id) in std::mem::take(&mut self.uncut) {
            let log = self.spaces.get(&tenant).and_then(|space| space.logs.get(&id));
            let Some(origin) = log.map(|log| log.origin().clone()) else { continue };
            let Some(cut) = self.authority.cut(&origin.key.peer(), tenant, &id) else { continue };
            if self.is_on_its_way(tenant, &id) || self.cutting.contains(&(tenant, id)) {
                self.uncut.insert((tenant, id));
            } else {
                self.cutting.insert((tenant, id));
                self.effects.push_back(Effect::Truncate { tenant, origin, cut });
            }
        }
    }

    /// The host's answer: applied unless the store failed, or took bundles, meanwhile.
    pub(super) fn truncated(&mut self, tenant: VatNumber, log: LogId, end: Place, batch: Batch) {
        self.cutting.remove(&(tenant, log));
        if self.stuck.is_some() || self.is_on_its_way(tenant, &log) {
            self.uncut.insert((tenant, log));
            return;
        }
        let entry = self.spaces.get_mut(&tenant).and_then(|space| space.logs.get_mut(&log));
        // After a failed barrier the log stands at the cut already, and its rows do not.
        let Some(entry) = entry.filter(|entry| entry.pending().0 >= end.0) else { return };
        entry.cut_back(end);
        self.sessions.values_mut().for_each(|session| session.cut_back(tenant, log, end.0));
        let (commit, undo) = (CommitId(self.next_commit), Batch::default());
        let (place, position, said, from, cuts) = (None, 0, None, None, true);
        let (mends, says) = (Vec::new(), Vec::new());
        let pending =
            Pending { commit, tenant, log, place, position, said, from, cuts, mends, says, undo };
        self.hand_over(pending, batch);
        self.set_back();
    }

    /// A log was set back to the last signature before its cut: asks for what is between.
    pub(super) fn regain(&mut self, tenant: VatNumber, log: LogId) {
        let entry = self.spaces.get(&tenant).and_then(|space| space.logs.get(&log));
        let Some(entry) = entry else { return };
        let (writer, after) = (entry.origin().key.peer(), entry.durable().0);
        if self.authority.cut(&writer, tenant, &log).is_some_and(|cut| after < cut) {
            let carriers = self.sessions.iter().filter(|(_, session)| session.carries(tenant));
            let carriers: Vec<_> = carriers.map(|(id, _)| *id).collect();
            for session in carriers {
                self.send(session, Frame::Want { tenant: Tenant(tenant), log, after });
            }
        }
    }

    fn is_on_its_way(&self, tenant: VatNumber, log: &LogId) -> bool {
        self.commits.iter().any(|pending| pending.tenant == tenant && pending.log == *log)
    }
}
