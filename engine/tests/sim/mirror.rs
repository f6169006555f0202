//! The mirror, and the projector that keeps it equal to the truth (`node/src/projector.rs`):
//! records with the position they reflect, in one batch, on a disk that may lose the last ones.

use std::{collections::BTreeMap, time::Duration};

use engine::{
    archive::{self, ReadError},
    bundle::{Body, Item},
    effect::Input,
    id::{DocumentId, VatNumber},
    record::Record,
};

use crate::{
    bug::Bug,
    disk::Disk,
    world::{Event, World},
};

const BATCH_ROWS: usize = 256;
const RETRY: Duration = Duration::from_secs(1);
/// Batches after which the mirror is flushed.
const FLUSH: usize = 8;

/// Records by document.
pub type Records = BTreeMap<DocumentId, Vec<u8>>;

#[derive(Clone, Default)]
struct State {
    position: u64,
    digest: u64,
    records: Records,
}

#[derive(Clone)]
enum Op {
    Clear,
    Apply((u64, u64), Records),
}

/// One tenant's mirror.
#[derive(Default)]
pub struct Mirror {
    live: State,
    flushed: State,
    since: Vec<Op>,
    /// Whether it was found to stand on this truth, since the start.
    founded: bool,
}

impl State {
    fn apply(&mut self, op: Op) {
        match op {
            Op::Clear => *self = Self::default(),
            Op::Apply((position, digest), records) => {
                (self.position, self.digest) = (position, digest);
                self.records.extend(records);
            }
        }
    }
}

impl Mirror {
    pub fn records(&self) -> &Records {
        &self.live.records
    }

    fn write(&mut self, op: Op) {
        self.live.apply(op.clone());
        self.since.push(op);
        if self.since.len() >= FLUSH {
            self.flushed = self.live.clone();
            self.since.clear();
        }
    }

    /// Without power the last batches are gone.
    pub fn crash(&mut self, power: bool, chance: u64) {
        let kept = self.since.len() as u64 + 1;
        let kept = if power { (chance % kept) as usize } else { self.since.len() };
        for op in std::mem::take(&mut self.since).into_iter().take(kept) {
            self.flushed.apply(op);
        }
        self.live = self.flushed.clone();
        self.founded = false;
    }
}

impl World {
    /// The projector is woken.
    pub fn projects(&mut self, n: usize) {
        let takes = self.dice.ms(if self.hosts[n].slow_disk { 10..=2_000 } else { 1..=20 });
        let host = &mut self.hosts[n];
        let epoch = host.epoch;
        let Some(process) = &mut host.process else { return };
        if host.tenant.is_some() && !std::mem::replace(&mut process.projecting, true) {
            self.later(takes, Event::Project { host: n, epoch });
        }
    }

    pub fn project(&mut self, n: usize) {
        let epoch = self.hosts[n].epoch;
        let host = &mut self.hosts[n];
        let (Some(process), Some(tenant)) = (&mut host.process, host.tenant) else { return };
        process.projecting = false;
        let upto = process.fresh.get(&tenant).copied().unwrap_or(0);
        let anew = process.rebuilds != process.rebuilt;
        process.rebuilt = process.rebuilds;
        if anew && self.bug != Some(Bug::MirrorNotRebuilt) {
            host.mirror.write(Op::Clear);
        }
        if let Err(error) = follow(&host.disk, tenant, &mut host.mirror, upto, self.bug) {
            process.projecting = true;
            self.trace.note(self.now, || format!("mirror of {n} waits: {error}"));
            self.later(RETRY, Event::Project { host: n, epoch });
            if let ReadError::Damaged { tenant, log, seq } = error {
                self.feed(n, Input::Damaged { tenant, log, seq });
                self.settle(n);
            }
        }
    }
}

fn follow(
    disk: &Disk,
    tenant: VatNumber,
    mirror: &mut Mirror,
    upto: u64,
    bug: Option<Bug>,
) -> Result<(), ReadError> {
    loop {
        let State { position, digest, .. } = mirror.live;
        if !mirror.founded && position > 0 && position <= upto {
            mirror.founded = archive::feed_digest(disk, tenant, (0, 0), position)? == digest;
        }
        if position > upto || position > 0 && !mirror.founded {
            mirror.write(Op::Clear);
            if upto == 0 {
                return Ok(());
            }
            continue;
        }
        let from = position + u64::from(bug == Some(Bug::MirrorSkipsOne) && position > 0);
        let mut rows = archive::feed(disk, tenant, from, BATCH_ROWS)?;
        rows.retain(|(at, _, _)| *at <= upto);
        let Some((last, _, _)) = rows.last().copied() else { return Ok(()) };
        let prints = rows.iter().map(|(_, log, seq)| archive::fingerprint(log, *seq));
        let digest = prints.fold(digest, u64::wrapping_add);
        let mut touched: BTreeMap<DocumentId, Vec<Vec<u8>>> = BTreeMap::new();
        for (_, log, seq) in rows {
            let stored = archive::bundle(disk, tenant, &log, seq)?;
            let damaged = ReadError::Damaged { tenant, log, seq };
            let body = Body::decode(&stored.body).map_err(|_| damaged)?;
            for item in body.items {
                if let Item::Change { document, change } = item {
                    touched.entry(document).or_default().push(change);
                }
            }
        }
        if bug == Some(Bug::MirrorPositionFirst) {
            mirror.write(Op::Apply((last, digest), Records::new()));
        }
        let mut records = Records::new();
        for (document, mut changes) in touched {
            let alone = changes.len() == 1 && archive::index(disk, tenant, &document)?.len() == 1;
            if !alone {
                changes = archive::changes(disk, tenant, &document)?;
            }
            records.insert(document, Record::derive(document, &changes).encode());
        }
        mirror.founded = true;
        mirror.write(Op::Apply((last, digest), records));
    }
}
