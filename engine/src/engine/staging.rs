//! Bundles with large files: they wait beside their session until every chunk is stored.

use std::collections::BTreeSet;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::Engine;
use crate::{
    archive,
    effect::Effect,
    fault::Fault,
    id::{CutHash, LogId, VatNumber},
    limits,
    log::{Fresh, Log},
    plant::{self, Bug},
    session::{Session, SessionId},
    store::Batch,
    wire::{Chunk, Frame, Tenant},
};

impl Engine {
    /// Which chunks of a staged bundle are missing: ask for them, or take the bundle. What was found
    /// for one that is not staged any more says nothing of the one in its place.
    pub(super) fn missing(
        &mut self,
        id: SessionId,
        tenant: VatNumber,
        log: LogId,
        lookup: u64,
        chunks: Vec<(CutHash, Vec<u32>)>,
    ) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let staged = session.staged_mut().get_mut(&(tenant, log));
        let Some(staged) = staged.filter(|staged| staged.lookup == lookup) else { return };
        let missing =
            chunks.into_iter().map(|(blob, missing)| (blob, missing.into_iter().collect()));
        staged.missing = Some(missing.collect());
        self.ask_chunks(id, tenant, log);
        self.call(id);
    }

    /// Bundles that follow: into the store, or aside until their large blobs are here.
    pub(super) fn take(&mut self, id: SessionId, tenant: VatNumber, log: LogId, fresh: Vec<Fresh>) {
        let large: Vec<_> =
            fresh.iter().flat_map(|bundle| bundle.body.large_blobs().cloned()).collect();
        if large.is_empty() {
            return self.accept(Some(id), tenant, log, &fresh);
        }
        // The sender cuts runs so that such a bundle is alone; if it did not, what came
        // before it is taken and the rest is asked for again.
        let (mut whole, mut rest) = (fresh, Vec::new());
        if let Some(at) = whole.iter().position(|b| b.body.large_blobs().next().is_some()) {
            rest = whole.split_off(at);
        }
        if !whole.is_empty() || rest.len() > 1 {
            return self.end(id, Some(Fault::Malformed));
        }
        let waits = rest.pop().map(|mut fresh| {
            // Of its run it keeps no more than its own.
            let stored = &mut fresh.stored;
            for own in [&mut stored.body, &mut stored.inline] {
                *own = Bytes::copy_from_slice(own);
            }
            fresh
        });
        if let (Some(fresh), Some(session)) = (waits, self.sessions.get_mut(&id))
            && let Some(lookup) = session.stage(tenant, log, fresh)
        {
            let look = Effect::FindMissing { session: id, tenant, log, lookup, blobs: large };
            self.effects.push_back(look);
        }
    }

    pub(super) fn chunk(&mut self, id: SessionId, chunk: &Chunk) -> Result<(), Fault> {
        let tenant = chunk.tenant.0;
        self.may_hold(id, tenant)?;
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
        let digest: [u8; 32] = Sha256::digest(&chunk.bytes).into();
        // Two bundles may wait for one file: two of a tenant's servers filed it.
        let (mut expected, mut right, mut fresh) = (false, false, Vec::new());
        for ((of, log), staged) in session.staged_mut() {
            let Some(blob) = staged.blob(&chunk.cut).filter(|_| *of == tenant) else { continue };
            expected = true;
            let fits = plant::is(Bug::ChunkUnchecked)
                || blob.chunk_len(chunk.index) == Some(chunk.bytes.len())
                    && blob.chunks[chunk.index as usize] == digest;
            right |= fits;
            // Unknown: asked for before this bundle came anew, and asked for again if not here.
            let missing = staged.missing.as_mut().and_then(|all| all.get_mut(&chunk.cut));
            if fits && missing.is_some_and(|missing| missing.remove(&chunk.index)) {
                staged.asked = staged.asked.saturating_sub(1);
                fresh.push(*log);
            }
        }
        if expected && !right {
            return Err(Fault::BadChunk);
        }
        if let Some(log) = fresh.first() {
            let mut batch = Batch::default();
            archive::put_chunk(&mut batch, tenant, &chunk.cut, chunk.index, &chunk.bytes);
            self.commit(tenant, *log, &[], batch, None, None);
        }
        fresh.into_iter().for_each(|log| self.ask_chunks(id, tenant, log));
        Ok(())
    }

    /// Asks for the next chunks of a staged bundle; takes it once it is whole.
    pub(super) fn ask_chunks(&mut self, id: SessionId, tenant: VatNumber, log: LogId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(staged) = session.staged_mut().get_mut(&(tenant, log)) else { return };
        if staged.is_whole() {
            if let Some(staged) = session.staged_mut().remove(&(tenant, log)) {
                let displaced = session.was_displaced(tenant, log);
                if self.spoiled(tenant).contains(&(log, staged.fresh.seq)) {
                    self.mend(tenant, log, &[staged.fresh]);
                } else if self.still_follows(tenant, &log, &staged.fresh) {
                    self.accept(Some(id), tenant, log, &[staged.fresh]);
                }
                if displaced {
                    self.resume(id, tenant, log);
                }
            }
            return;
        }
        if staged.asked > 0 {
            return;
        }
        let mut wants = Vec::new();
        for (cut, missing) in staged.missing.iter().flatten() {
            for (first, count) in ranges(missing) {
                let room = limits::CHUNKS_IN_FLIGHT_MAX - staged.asked;
                let count = count.min(room);
                if count > 0 {
                    staged.asked += count;
                    let (tenant, cut) = (Tenant(tenant), *cut);
                    wants.push(Frame::WantChunks { tenant, cut, first, count });
                }
            }
        }
        wants.into_iter().for_each(|want| self.send(id, want));
    }

    /// Asks for what is damaged of a log, and for what follows. False where the peer is not known to
    /// hold any of it.
    fn resume(&mut self, id: SessionId, tenant: VatNumber, log: LogId) -> bool {
        let holding = self.sessions.get(&id).and_then(|session| session.holding(tenant));
        let held = holding.map_or(0, |held| held.get(&log));
        let entry = self.spaces.get(&tenant).and_then(|space| space.logs.get(&log));
        let damaged = entry.into_iter().flat_map(Log::damaged).min().map(|seq| seq - 1);
        // A peer that has the same damage sends what follows all the same.
        let wants: Vec<_> = damaged
            .into_iter()
            .chain([self.pending(tenant, &log)])
            .filter(|after| *after < held)
            .collect();
        for after in &wants {
            self.send(id, Frame::Want { tenant: Tenant(tenant), log, after: *after });
        }
        !wants.is_empty()
    }

    /// Asks again for bundles that found no room among those that wait for their large blobs.
    pub(super) fn call(&mut self, id: SessionId) {
        while let Some((tenant, log)) = self.sessions.get_mut(&id).and_then(Session::call) {
            if !self.resume(id, tenant, log) {
                // Another session brought it meanwhile.
                self.on(id, |session| session.got(tenant, log));
            }
        }
    }

    /// Whether a bundle may be taken that waited for its large blobs: another session may have
    /// brought it meanwhile, its writer may be revoked since, or known to have two pasts.
    pub(super) fn still_follows(&self, tenant: VatNumber, id: &LogId, fresh: &Fresh) -> bool {
        let log = self.spaces.get(&tenant).and_then(|space| space.logs.get(id));
        log.is_some_and(|log| {
            let cut = self.authority.cut(&log.origin().key.peer(), tenant, id);
            log.pending() == (fresh.seq - 1, fresh.stored.previous)
                && !log.is_forked()
                && cut.is_none_or(|cut| fresh.seq <= cut)
        })
    }
}

/// Runs of consecutive numbers: (first, count).
fn ranges(numbers: &BTreeSet<u32>) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((first, count)) if *first + *count == *number => *count += 1,
            _ => ranges.push((*number, 1)),
        }
    }
    ranges
}
