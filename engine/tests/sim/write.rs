//! What people and programs say: invoices, outcomes, marks, profiles, grants and their ends.
//! Few, since every bundle is signed and verified for real at each host it reaches.

use std::{fmt::Write as _, time::Duration};

use engine::{
    archive,
    bundle::Item,
    document::{
        annotation::{self, AnnotationEdit},
        contract::{self, ContractEdit},
        invoice::{self, Direction, InvoiceContent, Party},
        outcome::{self, OutcomeEntry, Receipt},
        profile::{self, ProfileField},
    },
    grant::{Revocation, Role},
    id::{BlobHash, DocumentId, Kind, LogId, VatNumber},
};

use crate::{
    dice::Dice,
    world::{Event, World},
};

impl World {
    pub fn write(&mut self, n: usize) {
        let pause = self.plan.pause.as_millis() as u64;
        let next = self.dice.ms(1_000..=2 * pause);
        self.later(next, Event::Write { host: n });
        if self.calm {
            return;
        }
        let times = if self.dice.permille(self.plan.bursts) { self.dice.within(5..=40) } else { 1 };
        for _ in 0..times {
            let Some(tenant) = self.tenant_for(n) else { return };
            let Some(process) = &self.hosts[n].process else { return };
            let log = process.log;
            if let Some((item, files)) = self.something(n, tenant, log) {
                self.say(n, vec![item], files, tenant);
            }
        }
    }

    fn tenant_for(&mut self, n: usize) -> Option<VatNumber> {
        let host = &self.hosts[n];
        let process = host.process.as_ref()?;
        let tenants: Vec<_> = process.engine.tenants().collect();
        (!tenants.is_empty()).then(|| self.dice.pick(&tenants))
    }

    fn something(
        &mut self,
        n: usize,
        tenant: VatNumber,
        log: LogId,
    ) -> Option<(Item, Vec<Vec<u8>>)> {
        let portal = self.hosts[n].role == Role::Portal;
        let what = self.dice.below(100);
        let known = self.invoices.get(&tenant).filter(|known| !known.is_empty());
        let about = known.map(|known| known[self.dice.index(known.len())]);
        match about {
            Some(invoice) if what < 35 && portal => {
                let document = invoice.sibling(Kind::Outcome);
                let receipt =
                    self.dice.pick(&[Receipt::Sent, Receipt::Delivered, Receipt::Rejected]);
                let sdi_id = self.dice.within(1..=3).to_string();
                let entry = OutcomeEntry::new(receipt, &sdi_id, self.now.as_millis());
                let existing = self.changes(n, tenant, &document)?;
                let change = outcome::add(log, &slices(&existing), &entry).ok()??;
                Some((Item::Change { document, change }, vec![]))
            }
            Some(invoice) if what < 35 => {
                let document = invoice.sibling(Kind::Annotation);
                let edit = match self.dice.below(3) {
                    0 => AnnotationEdit::Paid(Some(self.now.as_millis())),
                    1 => AnnotationEdit::Registered(None),
                    _ => AnnotationEdit::Notes(format!("note {}", self.dice.below(100))),
                };
                let existing = self.changes(n, tenant, &document)?;
                let change = annotation::edit(log, &slices(&existing), &[edit]).ok()??;
                Some((Item::Change { document, change }, vec![]))
            }
            _ if what < 45 => {
                let document = DocumentId::single(Kind::Profile);
                let existing = self.changes(n, tenant, &document)?;
                let field = self.dice.pick(&[ProfileField::Pec, ProfileField::City]);
                let text = format!("text {}", self.dice.below(50));
                let change = profile::edit(log, &slices(&existing), &[(field, &text)]).ok()??;
                Some((Item::Change { document, change }, vec![]))
            }
            _ if what < 50 && portal => {
                let document = DocumentId::single(Kind::Contract);
                let existing = self.changes(n, tenant, &document)?;
                let edit = ContractEdit::Signatory(format!("person {}", self.dice.below(50)));
                let change = contract::edit(log, &slices(&existing), &[edit]).ok()??;
                Some((Item::Change { document, change }, vec![]))
            }
            _ => {
                let again = self.dice.permille(50).then(|| self.files.get(&tenant)).flatten();
                let file = match again {
                    // The same file dropped twice, or filed by two of the tenant's servers.
                    Some(file) => file.clone(),
                    None => file(&mut self.dice, self.plan.large),
                };
                let (document, change) = invoice(log, &file)?;
                self.files.insert(tenant, file.clone());
                self.invoices.entry(tenant).or_default().push(document);
                Some((Item::Change { document, change }, vec![file]))
            }
        }
    }

    fn changes(&self, n: usize, tenant: VatNumber, document: &DocumentId) -> Option<Vec<Vec<u8>>> {
        archive::changes(&*self.hosts[n].disk, tenant, document).ok()
    }

    /// Has a portal admit `node` (or the imp), unless one already does.
    pub fn admit(&mut self, node: usize) {
        let (peer, tenant, grant) = match (self.hosts.get(node), &self.imp) {
            (Some(host), _) => (host.peer(), host.tenant, host.key.grant()),
            (None, Some(imp)) => (imp.peer(), Some(imp.tenant()), imp.grant()),
            (None, None) => return,
        };
        let Some(tenant) = tenant.filter(|_| self.hosts.get(node).is_none_or(|h| !h.revoked))
        else {
            return;
        };
        let portals: Vec<_> = (0..2).filter(|n| self.hosts[*n].process.is_some()).collect();
        let admits = |n: &usize| {
            let process = self.hosts[*n].process.as_ref();
            process.is_some_and(|process| process.engine.authority().may_hold(&peer, tenant))
        };
        // A grant whose bundle is damaged at one portal and lost at the other counts at one only,
        // for good (seed 17234395212): in calm, whoever runs the portals looks at both.
        let admitted =
            if self.calm { portals.iter().all(admits) } else { portals.iter().any(admits) };
        if admitted {
            return;
        }
        if !portals.is_empty() {
            let portal = self.dice.pick(&portals);
            if self.hosts[portal].still_until <= self.now {
                self.say(portal, vec![grant], vec![], tenant);
            }
        }
        // Until it is so: the disk may be full, the portal down.
        self.later(Duration::from_secs(60), Event::Admit { node });
    }

    pub fn revoke(&mut self, portal: usize, node: usize) {
        let (peer, tenant) = (self.hosts[node].peer(), self.hosts[node].tenant);
        let (Some(process), Some(tenant)) = (&self.hosts[portal].process, tenant) else { return };
        if self.hosts[portal].still_until > self.now
            || !process.engine.authority().may_hold(&peer, tenant)
        {
            return;
        }
        let cuts = process.engine.cuts(&peer, tenant);
        self.say(portal, vec![Item::Revocation(Revocation { peer, cuts })], vec![], tenant);
        self.hosts[node].revoked = true;
    }
}

pub fn slices(changes: &[Vec<u8>]) -> Vec<&[u8]> {
    changes.iter().map(Vec::as_slice).collect()
}

/// An original: some text, seldom more than a run takes.
pub fn file(dice: &mut Dice, large: u64) -> Vec<u8> {
    let bytes =
        if dice.permille(large) { dice.within(70_000..=300_000) } else { dice.within(300..=4_000) };
    let mut text = String::from("<FatturaElettronica>");
    while (text.len() as u64) < bytes {
        let _ = write!(text, "<Riga>{:x}</Riga>", dice.next());
    }
    text.into_bytes()
}

/// The document and the change that file an original.
pub fn invoice(log: LogId, file: &[u8]) -> Option<(DocumentId, Vec<u8>)> {
    let original = BlobHash::of(file);
    let content = InvoiceContent {
        file_name: "IT01234567890_00001.xml".to_owned(),
        original,
        original_len: file.len() as u64,
        direction: Direction::Sent,
        format: "FPR12".to_owned(),
        number: "1".to_owned(),
        date: "2026-11-24".to_owned(),
        document_type: "TD01".to_owned(),
        supplier: Party::default(),
        buyer: Party::default(),
        recipient_code: "0000000".to_owned(),
        total: "100.00".to_owned(),
        currency: "EUR".to_owned(),
        bodies: 1,
        receiving: None,
    };
    Some((DocumentId::invoice(&original), invoice::create(log, &content).ok()?))
}
