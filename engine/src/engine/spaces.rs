//! What two replicas tell each other of a space, and what each makes of it.
//!
//! A vector grows by one entry with every start of a writer, and all but a few entries never
//! move again. So a replica with many logs names the few that moved last and a digest of the
//! others ([`SpaceState`]); the peer, which knows those others or all but its own newest,
//! finds by comparing digests what the whole vector must be. If it cannot, it asks for the
//! whole: one round trip more, once.

use std::collections::BTreeSet;

use super::{Engine, Space};
use crate::{
    id::{LogId, VatNumber},
    limits,
    log::Log,
    plant::{self, Bug},
    vector::{Digest, Vector},
    wire::{RestDigest, SpaceState, Tenant},
};

impl Engine {
    /// What is held of a space, in brief where that is shorter.
    pub(super) fn brief_state(&self, tenant: VatNumber) -> SpaceState {
        let space = self.spaces.get(&tenant);
        let newest = space.map(Space::newest).unwrap_or_default();
        let Some(space) = space.filter(|_| newest.len() > limits::BRIEF_LOGS_MAX) else {
            return self.full_state(tenant);
        };
        let named: BTreeSet<_> = newest.into_iter().take(limits::BRIEF_LOGS_MAX).collect();
        let logs = named.iter().map(|log| (*log, space.logs[log].durable().0)).collect();
        let rest = Some(space.rest(&named));
        SpaceState { tenant: Tenant(tenant), logs, rest, digest: space.digest() }
    }

    /// What is held of a space, whole.
    pub(super) fn full_state(&self, tenant: VatNumber) -> SpaceState {
        let logs = self.vector(tenant).iter().collect();
        SpaceState { tenant: Tenant(tenant), logs, rest: None, digest: self.digest(tenant) }
    }

    /// The vector that `state` stands for, or `None` if what is known here does not tell.
    pub(super) fn understand(&self, state: &SpaceState) -> Option<Vector> {
        let said = || state.logs.iter().copied();
        let Some(rest) = state.rest else { return Some(said().collect()) };
        let space = self.spaces.get(&state.tenant.0)?;
        if state.digest == space.digest() {
            return Some(space.vector());
        }
        let mut out: BTreeSet<LogId> = said().map(|(log, _)| log).collect();
        let newest: Vec<LogId> =
            space.newest().into_iter().filter(|log| !out.contains(log)).collect();
        // The peer may lack our newest logs: leave them out one by one.
        let newer = newest.iter().copied().map(Some).take(limits::BRIEF_NEWER_MAX);
        for leave_out in std::iter::once(None).chain(newer) {
            out.extend(leave_out);
            if space.rest(&out) == rest {
                let others = space.vector();
                let others = others.iter().filter(|(log, _)| !out.contains(log));
                return Some(others.chain(said()).collect());
            }
        }
        None
    }
}

impl Space {
    pub(super) fn vector(&self) -> Vector {
        let early = plant::is(Bug::VectorBeforeDurable);
        let place = |log: &Log| if early { log.pending() } else { log.durable() };
        self.logs.iter().map(|(id, log)| (*id, place(log).0)).collect()
    }

    pub(super) fn digest(&self) -> Digest {
        self.digest_without(&BTreeSet::new())
    }

    fn rest(&self, without: &BTreeSet<LogId>) -> RestDigest {
        let [a, b, c, d, e, f, g, h, ..] = self.digest_without(without).0;
        [a, b, c, d, e, f, g, h]
    }

    fn digest_without(&self, without: &BTreeSet<LogId>) -> Digest {
        let places: Vec<_> = self
            .logs
            .iter()
            .map(|(id, log)| (id, log.durable()))
            .filter(|(id, place)| place.0 > 0 && !without.contains(id))
            .collect();
        Digest::of_space(places.iter().map(|(id, place)| (*id, place.0, &place.1)))
    }

    /// The logs of which something is held, those that moved last first.
    fn newest(&self) -> Vec<LogId> {
        let mut logs: Vec<(&LogId, &Log)> =
            self.logs.iter().filter(|(_, log)| log.durable().0 > 0).collect();
        logs.sort_by_key(|(_, log)| std::cmp::Reverse(log.position()));
        logs.into_iter().map(|(id, _)| *id).collect()
    }
}
