//! From what is said, here or by a peer, to what is durable: batches on their way to the store, and
//! what follows once they are there.

use super::{Engine, Pending, judge};
use crate::{
    archive,
    bundle::{BlobRef, Body, BodyError, Item},
    effect::{AppendError, CommitId, Effect, Ticket},
    grant::Role,
    id::{Kind, LogId, VatNumber},
    limits,
    log::{self, Fresh, Log},
    plant::{self, Bug},
    session::{Due, SessionId},
    store::Batch,
    vector::Vector,
    wire::{Frame, Tenant},
};

impl Engine {
    pub(super) fn append(
        &mut self,
        ticket: Ticket,
        tenant: VatNumber,
        written_ms: u64,
        items: Vec<Item>,
        files: &[Vec<u8>],
    ) -> Result<(), AppendError> {
        if let Some(why) = &self.stuck {
            return Err(AppendError::Store(why.clone()));
        }
        let opens = items.iter().any(|item| self.opens(item));
        if !self.serves(tenant) || !(opens || self.spaces.contains_key(&tenant)) {
            return Err(AppendError::NotHere(tenant));
        }
        let log = self.own.log();
        for item in &items {
            judge(item, self.config.role, tenant, log)
                .map_err(|_| AppendError::Forbidden(self.config.role))?;
        }
        let blobs: Vec<_> = files.iter().map(|file| BlobRef::of(file)).collect();
        let body = Body { written_ms, items, blobs };
        let bytes = body.encode()?;
        if bytes.len() + body.inline_bytes() > limits::RUN_RAW_BYTES_MAX {
            return Err(BodyError::TooLarge("a bundle").into());
        }
        let mut inline = Vec::with_capacity(body.inline_bytes());
        let mut batch = Batch::default();
        for (blob, file) in body.blobs.iter().zip(files) {
            if blob.is_inline() {
                inline.extend_from_slice(file);
                continue;
            }
            let cut = blob.cut();
            for (index, chunk) in file.chunks(limits::CHUNK_BYTES).enumerate() {
                archive::put_chunk(&mut batch, tenant, &cut, index as u32, chunk);
            }
        }
        let statement = |item: &&Item| !matches!(item, Item::Change { .. });
        let says = body.items.iter().filter(statement).cloned().collect();
        let own = self.own.clone();
        let space = self.spaces.entry(tenant).or_default();
        let entry = space.logs.entry(log).or_insert_with(|| Log::new(tenant, own));
        let (seq, mut stored) = entry.append(bytes, inline);
        let signature = self.config.signer.sign(&stored.hash.0);
        log::sign(&mut stored, &signature);
        let fresh = Fresh { seq, stored, body };
        self.commit(tenant, log, &[fresh], batch, Some(ticket), None);
        if let Some(pending) = self.commits.back_mut() {
            pending.says = says;
        }
        Ok(())
    }

    /// Hands bundles that already advanced `log`'s pending tip to the store.
    pub(super) fn commit(
        &mut self,
        tenant: VatNumber,
        log: LogId,
        fresh: &[Fresh],
        mut batch: Batch,
        said: Option<Ticket>,
        from: Option<SessionId>,
    ) {
        let Some(space) = self.spaces.get_mut(&tenant) else { return };
        let mut undo = Batch::default();
        for bundle in fresh {
            space.position += 1;
            let (seq, position) = (bundle.seq, space.position);
            archive::drop_bundle(&mut undo, tenant, &log, seq, position, &bundle.body);
            archive::put_bundle(
                &mut batch,
                tenant,
                &log,
                bundle.seq,
                space.position,
                &bundle.stored,
                &bundle.body,
            );
        }
        let mut place = None;
        if let Some(entry) = space.logs.get_mut(&log).filter(|_| !fresh.is_empty()) {
            entry.moved(space.position);
            archive::put_tip(&mut batch, &entry.tip());
            place = Some(entry.pending());
        }
        let commit = CommitId(self.next_commit);
        let (position, cuts, mends) = (space.position, false, Vec::new());
        let says = Vec::new();
        let pending =
            Pending { commit, tenant, log, place, position, said, from, cuts, mends, says, undo };
        self.hand_over(pending, batch);
    }

    pub(super) fn hand_over(&mut self, pending: Pending, batch: Batch) {
        self.next_commit += 1;
        let commit = pending.commit;
        self.effects.push_back(Effect::Commit { commit, batch });
        self.commits.push_back(pending);
        if plant::is(Bug::AckBeforeBarrier) {
            self.committed(commit);
        }
    }

    pub(super) fn committed(&mut self, commit: CommitId) {
        let mut passed = Vec::new();
        while self.commits.front().is_some_and(|pending| pending.commit <= commit) {
            passed.extend(self.commits.pop_front());
        }
        // A barrier makes all of them durable at once: whoever is revoked in the last is told
        // nothing of the first.
        passed.iter().for_each(|pending| self.learn(pending.tenant, &pending.says));
        passed.iter().for_each(|pending| self.durable(pending));
        self.set_back();
    }

    /// The one place from which acknowledgements leave: the barrier has passed.
    pub(super) fn durable(&mut self, pending: &Pending) {
        let Pending { tenant, log, position, said, from, cuts, .. } = *pending;
        if cuts {
            self.effects.push_back(Effect::Rebuild { tenant });
            self.regain(tenant, log);
        }
        let Some(place) = pending.place else { return };
        let Some(entry) = self.spaces.get_mut(&tenant).and_then(|s| s.logs.get_mut(&log)) else {
            return;
        };
        if place.0 > entry.pending().0 {
            // Set back by a revocation while it was on its way to the store.
            return;
        }
        entry.settle(place);
        let due = Due { tenant, rank: self.rank(&log, tenant), log };
        let logs = vec![(log, place.0)];
        if let Some(session) = from.filter(|session| self.sessions.contains_key(session)) {
            self.send(session, Frame::Ack { tenant: Tenant(tenant), logs: logs.clone() });
        }
        // Before `Appended`: whoever learns that it is said finds a position that shows it.
        self.effects.push_back(Effect::Fresh { tenant, position });
        if let Some(ticket) = said {
            self.effects.push_back(Effect::Appended { ticket, log, seq: place.0 });
        }
        let carriers: Vec<_> = self
            .sessions
            .iter_mut()
            .map(|(id, session)| {
                if !session.greeted {
                    // Our Hello has left and does not say this. What the peer lacks is found
                    // when its own comes; that we hold what it has is said now or never.
                    let told = self.authority.may_hold(&session.peer, tenant);
                    return (*id, told, false);
                }
                // A space that came to life after the session opened.
                if !session.carries(tenant) && self.authority.may_hold(&session.peer, tenant) {
                    session.open_space(tenant, Vector::default());
                }
                session.offer(due, place.0);
                // A peer that has it already wants to know that it is here too: it may have
                // sent it on another way, or wait for a large blob that came from elsewhere.
                let has = session.holding(tenant).is_some_and(|held| held.get(&log) >= place.0);
                let pushing = session.primary || session.hedging;
                (*id, session.carries(tenant) && (has || !pushing), pushing)
            })
            .collect();
        for (id, tell, pushing) in carriers {
            if tell && from != Some(id) {
                self.send(id, Frame::Have { tenant: Tenant(tenant), logs: logs.clone() });
            }
            if pushing {
                self.pump(id);
            }
        }
    }

    /// Whether saying `item` may begin a space. A customer's begins with its papers or its grant,
    /// never with an invoice that was filed under a mistyped number.
    fn opens(&self, item: &Item) -> bool {
        match item {
            Item::Grant(_) => true,
            Item::Revocation(_) => false,
            Item::Change { document, .. } => {
                self.config.role == Role::Portal
                    && document.kind().is_some_and(|kind| {
                        kind.is_office() || matches!(kind, Kind::Profile | Kind::Contract)
                    })
            }
        }
    }
}
