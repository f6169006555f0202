//! What does not count after all: batches that the store did not keep, and bundles beyond
//! their writer's cut.

use super::Engine;
use crate::{
    effect::{AppendError, Effect},
    fault::Fault,
    id::{LogId, VatNumber},
    log::{Log, Place},
    store::Batch,
    wire::{Frame, Tenant},
};

impl Engine {
    pub(super) fn commit_failed(&mut self, why: &str) {
        for pending in std::mem::take(&mut self.commits) {
            if let Some(session) = pending.from {
                self.missed.insert((session, pending.tenant, pending.log));
            }
            if let Some(ticket) = pending.said {
                let why = AppendError::Store(why.to_owned());
                self.effects.push_back(Effect::Refused { ticket, why });
            }
        }
        for space in self.spaces.values_mut() {
            space.logs.values_mut().for_each(Log::roll_back);
        }
        self.stuck = Some(why.to_owned());
    }

    pub(super) fn store_ready(&mut self) {
        self.stuck = None;
        for (session, tenant, log) in std::mem::take(&mut self.missed) {
            let after = self.pending(tenant, &log);
            self.send(session, Frame::Want { tenant: Tenant(tenant), log, after });
        }
    }

    /// Asks to set back every log that goes beyond its writer's cut, and ends the sessions
    /// of peers that may no longer hold the space.
    pub(super) fn cut(&mut self, tenant: VatNumber) {
        let Some(space) = self.spaces.get(&tenant) else { return };
        for (id, log) in &space.logs {
            let writer = log.origin().key.peer();
            if let Some(cut) = self.authority.cut(&writer, tenant, id)
                && log.pending().0 > cut
            {
                let origin = log.origin().clone();
                self.effects.push_back(Effect::Truncate { tenant, origin, cut });
            }
        }
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

    pub(super) fn truncated(&mut self, tenant: VatNumber, log: LogId, end: Place, batch: Batch) {
        let entry = self.spaces.get_mut(&tenant).and_then(|space| space.logs.get_mut(&log));
        let Some(entry) = entry.filter(|entry| entry.pending().0 > end.0) else { return };
        entry.cut_back(end);
        self.commit(tenant, log, &[], batch, None, None);
        self.effects.push_back(Effect::Rebuild { tenant });
    }
}
