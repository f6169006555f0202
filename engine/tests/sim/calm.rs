//! Calm: every fault ends, nobody writes, and after a while all must be one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use engine::{
    archive,
    bundle::{Body, Item},
    effect::Input,
    id::{DocumentId, LogId, PeerId, Seq, VatNumber},
    record::Record,
};

use crate::{
    disk::Disk,
    mirror::Records,
    oracle,
    world::{Event, World},
};

type Space = (VatNumber, LogId);
/// A host, how far it holds each log, and the records these make.
type Held = (usize, Vec<(LogId, Seq)>, Records);

impl World {
    /// The weather clears, disks are well, who was down comes back, and each host looks
    /// through its store once, as `check` does.
    pub fn begin_calm(&mut self, _: usize) {
        self.calm = true;
        self.network.calm = true;
        for n in 0..self.hosts.len() {
            self.mend(n);
            self.hosts[n].still_until = self.now;
            self.start(n);
        }
        for n in 0..self.hosts.len() {
            let damaged: Vec<_> = self
                .oracle
                .held(n)
                .flat_map(|((tenant, log), held)| {
                    let disk = &self.hosts[n].disk;
                    (1..=held.len() as Seq)
                        .filter(|seq| archive::bundle(&**disk, *tenant, log, *seq).is_err())
                        .map(|seq| (*tenant, *log, seq))
                        .collect::<Vec<_>>()
                })
                .collect();
            for (tenant, log, seq) in damaged {
                self.feed(n, Input::Damaged { tenant, log, seq });
            }
            self.settle(n);
        }
        self.oracle.forget_lost_revocations();
        for n in 2..self.hosts.len() {
            self.hosts[n].revoked = self.is_revoked(n);
        }
        // Whoever runs the portals admits a node again whose grant nobody has any more,
        // nor the end of it.
        for node in 2..self.hosts.len() {
            self.push(self.now, Event::Admit { node });
        }
        if self.imp.is_some() {
            self.push(self.now, Event::Admit { node: usize::MAX });
        }
        (self.oracle.required, self.oracle.broken) = self.required();
    }

    /// What somebody still holds whose word counts, and can pass on: it may not be lost now. A
    /// log ends where nobody can prove it any further, and counts no more at all when nobody
    /// can prove its writer's grant, or that grant's end; those logs are named too.
    fn required(&self) -> (BTreeMap<Space, Seq>, BTreeSet<Space>) {
        let mut holders: BTreeMap<Space, Vec<(usize, Seq)>> = BTreeMap::new();
        for n in self.replicas() {
            let Some(process) = &self.hosts[n].process else { continue };
            for tenant in process.engine.tenants() {
                for (log, seq) in process.engine.vector(tenant).iter() {
                    holders.entry((tenant, log)).or_default().push((n, seq));
                }
            }
        }
        let (mut required, mut broken) = (BTreeMap::new(), BTreeSet::new());
        let (mut granted, mut ended) = (BTreeSet::new(), BTreeSet::new());
        for (space, holders) in holders {
            let tip = holders.iter().map(|(_, seq)| *seq).max().unwrap_or(0);
            let (upto, items) = self.provable(space, &holders);
            for item in items {
                match item {
                    Item::Grant(grant) => {
                        granted.insert((space.0, PeerId::of_spki(&grant.spki)));
                    }
                    Item::Revocation(revocation) => {
                        ended.insert((space.0, revocation.peer));
                    }
                    _ => {}
                }
            }
            if upto < tip {
                broken.insert(space);
            }
            required.insert(space, upto);
        }
        let revoked = (2..self.hosts.len()).filter(|n| self.is_revoked(*n));
        let revoked: BTreeSet<_> = revoked.map(|n| self.hosts[n].peer()).collect();
        for (space, upto) in &mut required {
            let writer = self.oracle.said.get(space).and_then(|said| said.writer);
            let Some(writer) = writer.filter(|writer| revoked.contains(writer)) else { continue };
            let said = (space.0, writer);
            if !granted.contains(&said) || !ended.contains(&said) {
                *upto = 0;
                broken.insert(*space);
            }
        }
        (required, broken)
    }

    /// How far hosts can prove a log to one another, and what it says as far as that. One
    /// signature proves the bundles before it: with the bundle that carries it they are lost to
    /// others, whole as they may be (seed 13241417839).
    fn provable(&self, (tenant, log): Space, holders: &[(usize, Seq)]) -> (Seq, Vec<Item>) {
        let (mut upto, mut items) = (0, Vec::new());
        loop {
            let runs = holders.iter().map(|(n, tip)| {
                let disk = &*self.hosts[*n].disk;
                let whole: Vec<_> = (upto + 1..=*tip)
                    .map_while(|seq| archive::bundle(disk, tenant, &log, seq).ok())
                    .collect();
                let signed = whole.iter().rposition(|stored| stored.signature.is_some());
                whole.into_iter().take(signed.map_or(0, |last| last + 1)).collect::<Vec<_>>()
            });
            let Some(run) = runs.max_by_key(Vec::len).filter(|run| !run.is_empty()) else {
                return (upto, items);
            };
            upto += run.len() as Seq;
            let bodies = run.iter().filter_map(|stored| Body::decode(&stored.body).ok());
            items.extend(bodies.flat_map(|body| body.items));
        }
    }

    fn replicas(&self) -> Vec<usize> {
        (0..self.hosts.len()).filter(|n| !self.is_revoked(*n)).collect()
    }

    fn is_revoked(&self, n: usize) -> bool {
        let (peer, tenant) = (self.hosts[n].peer(), self.hosts[n].tenant);
        let mut revocations = self.oracle.revocations.iter();
        revocations.any(|said| Some(said.tenant) == tenant && said.revocation.peer == peer)
    }

    /// All replicas of a tenant hold the same, nothing is missing, and each mirror says what
    /// its truth says.
    pub fn verdict(&mut self, _: usize) {
        let tenants: BTreeSet<_> = self.oracle.grants.iter().map(|(_, tenant)| *tenant).collect();
        // Two pasts of a log are never one again.
        let forked = self.oracle.said.iter().filter(|(_, said)| !said.others.is_empty());
        let mut odd: BTreeSet<_> = forked.map(|(space, _)| *space).collect();
        odd.extend(&self.oracle.broken);
        for tenant in tenants {
            if let Err((invariant, text)) = self.judge(tenant, &odd) {
                self.oracle.fail(invariant, || text);
            }
        }
        self.calm = false;
        self.network.calm = false;
    }

    fn judge(
        &self,
        tenant: VatNumber,
        odd: &BTreeSet<Space>,
    ) -> Result<(), (&'static str, String)> {
        let replicas: Vec<_> = self
            .replicas()
            .into_iter()
            .filter(|n| self.hosts[*n].tenant.is_none_or(|own| own == tenant))
            .collect();
        let mut first: Option<Held> = None;
        for n in replicas {
            let host = &self.hosts[n];
            let Some(process) = &host.process else { continue };
            let vector = process.engine.vector(tenant);
            let whole: Vec<_> =
                vector.iter().filter(|(log, _)| !odd.contains(&(tenant, *log))).collect();
            for (log, seq) in &whole {
                if let Some(damaged) = oracle::unreadable(&host.disk, tenant, log, *seq) {
                    let text = format!("host {n} holds {log:?} {damaged} of {tenant} damaged");
                    return Err(("I3", text));
                }
                if self.oracle.cut(tenant, log).is_some_and(|cut| *seq > cut) {
                    let text = format!("host {n} counts {log:?} up to {seq}, beyond its cut");
                    return Err(("I4", text));
                }
            }
            for ((of, log), seq) in &self.oracle.required {
                let cut = self.oracle.cut(tenant, log).unwrap_or(Seq::MAX);
                let need = (*seq).min(cut);
                let space = (*of, *log);
                if *of == tenant && !odd.contains(&space) && vector.get(log) < need {
                    let has = vector.get(log);
                    let text = format!("host {n} has {log:?} of {tenant} up to {has} of {need}");
                    return Err(("I3", text));
                }
            }
            let records = rebuild(&host.disk, tenant, &whole).map_err(|text| ("I3", text))?;
            if host.tenant.is_some() && odd.iter().all(|(of, _)| *of != tenant) {
                same(host.mirror.records(), &records)
                    .map_err(|text| ("I8", format!("mirror of host {n}: {text}")))?;
            }
            match &first {
                None => first = Some((n, whole, records)),
                Some((other, theirs, theirs_records)) => {
                    if *theirs != whole {
                        let text = format!(
                            "hosts {other} and {n} differ in {tenant}: {theirs:?} {whole:?}"
                        );
                        return Err(("I3", text));
                    }
                    same(theirs_records, &records)
                        .map_err(|text| ("I3", format!("records of {other} and {n}: {text}")))?;
                    let digest =
                        self.hosts[*other].process.as_ref().map(|p| p.engine.digest(tenant));
                    if odd.is_empty() && digest != Some(process.engine.digest(tenant)) {
                        let text = format!("hosts {other} and {n} hold {tenant} differently");
                        return Err(("I3", text));
                    }
                }
            }
        }
        Ok(())
    }
}

/// The records that these logs make, read bundle by bundle: neither feed nor index is asked.
fn rebuild(disk: &Arc<Disk>, tenant: VatNumber, logs: &[(LogId, Seq)]) -> Result<Records, String> {
    let mut changes: BTreeMap<DocumentId, Vec<Vec<u8>>> = BTreeMap::new();
    for (log, tip) in logs {
        for seq in 1..=*tip {
            let stored =
                archive::bundle(&**disk, tenant, log, seq).map_err(|error| error.to_string())?;
            let body = Body::decode(&stored.body).map_err(|error| error.to_string())?;
            for item in body.items {
                if let Item::Change { document, change } = item {
                    changes.entry(document).or_default().push(change);
                }
            }
        }
    }
    let records = changes
        .into_iter()
        .map(|(document, changes)| (document, Record::derive(document, &changes).encode()));
    Ok(records.collect())
}

fn same(one: &Records, other: &Records) -> Result<(), String> {
    if one == other {
        return Ok(());
    }
    let documents: BTreeSet<_> = one.keys().chain(other.keys()).collect();
    let odd: Vec<_> = documents.into_iter().filter(|id| one.get(id) != other.get(id)).collect();
    let read = |records: &Records, id: &DocumentId| {
        records.get(id).map(|bytes| Record::decode(bytes).map_err(|error| error.to_string()))
    };
    let shown = odd.iter().take(2).map(|id| (id, read(one, id), read(other, id)));
    Err(format!("{} of {} differ: {:?}", odd.len(), other.len(), shown.collect::<Vec<_>>()))
}
