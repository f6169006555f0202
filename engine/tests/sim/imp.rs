//! Somebody with a valid grant for one tenant who tries everything else: another tenant's data,
//! kinds a node may not write, another's name, altered bytes, files that are not the ones
//! named, two pasts. Nothing of it may be stored, told or believed.

use std::{sync::Arc, time::Duration};

use engine::{
    archive,
    bundle::{BlobRef, Body, ChainHash, Item, Origin, Signature},
    document::outcome::{self, OutcomeEntry, Receipt},
    grant::Grant,
    id::{Incarnation, Kind, LogId, PeerId, Seq, VatNumber},
    route::Transport,
    vector::{Digest, Vector},
    wire::{
        Chunk, Effort, Form, Frame, Hello, OriginParts, Packing, Run, SpaceState, Tenant, VERSIONS,
    },
};

use crate::{
    dice::Dice,
    keys::Key,
    network::Path,
    plan::IMP_KEY,
    world::{Event, World},
    write,
};

/// See the module's header.
pub struct Imp {
    key: Arc<Key>,
    tenant: VatNumber,
    dice: Dice,
    /// What it does on the wire it has, if it has one.
    trick: usize,
    /// The other past of a fork, for the next portal it talks to.
    other: Option<Run>,
}

/// A log of the imp's, and how far it has got.
struct Pen {
    origin: Origin,
    tip: (Seq, ChainHash),
}

impl Imp {
    pub fn new(tenant: VatNumber, seed: u64) -> Self {
        let key = Arc::new(Key::new(IMP_KEY));
        Self { key, tenant, dice: Dice::new(seed, "imp"), trick: 0, other: None }
    }

    pub fn peer(&self) -> PeerId {
        self.key.peer()
    }

    pub fn tenant(&self) -> VatNumber {
        self.tenant
    }

    pub fn grant(&self) -> Item {
        self.key.grant()
    }

    fn pen(&mut self) -> Pen {
        let incarnation = Incarnation(self.dice.bytes());
        let origin = Origin { key: self.key.public().clone(), incarnation };
        Pen { origin, tip: (0, ChainHash::START) }
    }

    /// A run of one bundle, signed by the imp.
    fn run(&self, pen: &mut Pen, body: &Body, inline: &[u8]) -> Run {
        let bytes = body.encode().unwrap();
        let log = pen.origin.log();
        let (seq, previous) = (pen.tip.0 + 1, pen.tip.1);
        let hash = previous.next(self.tenant, &log, seq, &bytes);
        pen.tip = (seq, hash);
        Run {
            tenant: Tenant(self.tenant),
            log,
            first: seq,
            previous,
            origin: (seq == 1).then(|| OriginParts::from(&pen.origin)),
            bodies: vec![bytes.len() as u32],
            inline: inline.len() as u32,
            signature: Signature::from_bytes(&self.key.sign(&hash.0)),
            payload: Run::pack(
                Packing { form: Form::Plain, effort: Effort::Quick },
                [(&bytes[..], inline)].into_iter(),
            ),
        }
    }

    /// An invoice as any node may write one.
    fn invoice(&mut self, log: LogId, large: bool) -> (Body, Vec<u8>) {
        let file = write::file(&mut self.dice, if large { 1_000 } else { 0 });
        let (document, change) = write::invoice(log, &file).unwrap();
        let items = vec![Item::Change { document, change }];
        (Body { written_ms: 0, items, blobs: vec![BlobRef::of(&file)] }, file)
    }
}

impl World {
    /// The imp dials a portal.
    pub fn imp_calls(&mut self, portal: usize, trick: usize) {
        let Some(imp) = &mut self.imp else { return };
        imp.trick = trick % 15;
        let hosts = [self.hosts.len(), portal];
        let path = Path { hosts, line: 0, address: 0, transport: Transport::Tcp };
        let epoch = self.hosts[portal].epoch;
        if self.hosts[portal].process.is_none() {
            return;
        }
        if let Some((wire, there, _)) = self.network.connect(path, self.now) {
            self.network.wires[wire].open[0] = true;
            self.push(there, Event::Accepted { host: portal, epoch, wire });
            for side in 0..2 {
                self.later(Duration::from_secs(90), Event::Gone { wire, side });
            }
        }
    }

    pub fn imp_hears(&mut self, wire: usize, frame: &Frame) {
        match frame {
            Frame::Hello(_) => {
                for frame in self.imp_says(wire) {
                    self.send_on(wire, 0, frame);
                }
            }
            Frame::WantChunks { tenant, cut, first, count } => {
                let (tenant, cut) = (*tenant, *cut);
                for index in *first..first.saturating_add(*count).min(first + 4) {
                    let bytes = vec![index as u8; 65_536];
                    self.send_on(wire, 0, Frame::Chunk(Chunk { tenant, cut, index, bytes }));
                }
            }
            Frame::Ping(n) => {
                self.send_on(wire, 0, Frame::Pong(*n));
            }
            _ => {}
        }
    }

    fn imp_says(&mut self, wire: usize) -> Vec<Frame> {
        let portal = self.network.wires[wire].path.hosts[1];
        let Some(mut imp) = self.imp.take() else { return vec![] };
        let trick = imp.trick;
        let mut spaces = vec![state(imp.tenant)];
        let others: Vec<_> =
            self.oracle.said.keys().filter(|(t, _)| *t != imp.tenant).copied().collect();
        if trick == 0 {
            spaces.extend(others.first().map(|(tenant, _)| state(*tenant)));
        }
        let hello = Hello {
            versions: VERSIONS,
            agent: "imp".to_owned(),
            primary: true,
            spaces,
            root: Digest::default(),
        };
        let mut frames = vec![Frame::Hello(hello)];
        let mut pen = imp.pen();
        let log = pen.origin.log();
        match trick {
            0 | 1 => {
                // Another tenant's data, asked for in every way.
                for (tenant, log) in &others {
                    let (tenant, log) = (Tenant(*tenant), *log);
                    frames.push(match imp.dice.below(3) {
                        0 => Frame::Want { tenant, log, after: 0 },
                        1 => Frame::Have { tenant, logs: vec![(log, 1 << 40)] },
                        _ => Frame::Ack { tenant, logs: vec![(log, 0)] },
                    });
                }
            }
            2 => {
                let (body, _) = imp.invoice(log, false);
                let Item::Change { document, .. } = &body.items[0] else { return vec![] };
                let document = document.sibling(Kind::Outcome);
                let entry = OutcomeEntry::new(Receipt::Delivered, "1", 1);
                let change = outcome::add(log, &[], &entry).unwrap().unwrap();
                let items = vec![Item::Change { document, change }];
                let body = Body { written_ms: 0, items, blobs: vec![] };
                frames.push(Frame::Run(imp.run(&mut pen, &body, &[])));
            }
            3 => {
                let grant = Grant { spki: Key::new(0).public().spki().to_vec(), not_after_ms: 9 };
                let items = vec![Item::Grant(grant)];
                let body = Body { written_ms: 0, items, blobs: vec![] };
                frames.push(Frame::Run(imp.run(&mut pen, &body, &[])));
            }
            4 => {
                // In another's name: the actor, then the log.
                let other = others.first().map_or(LogId::from_bytes([7; 16]), |(_, log)| *log);
                let (body, file) = imp.invoice(other, false);
                frames.push(Frame::Run(imp.run(&mut pen, &body, &file)));
            }
            5 => {
                let (body, file) = imp.invoice(log, false);
                let mut run = imp.run(&mut pen, &body, &file);
                let mut signature = run.signature.to_bytes();
                signature[imp.dice.index(64)] ^= 1;
                run.signature = Signature::from_bytes(&signature);
                frames.push(Frame::Run(run));
            }
            6 => {
                let key = self.hosts.iter().find(|host| host.tenant == Some(imp.tenant));
                let key = key.map_or(imp.key.public().clone(), |host| host.key.public().clone());
                pen.origin = Origin { key, incarnation: Incarnation(imp.dice.bytes()) };
                let (body, file) = imp.invoice(pen.origin.log(), false);
                frames.push(Frame::Run(imp.run(&mut pen, &body, &file)));
            }
            7 => {
                let (body, mut file) = imp.invoice(log, false);
                let at = imp.dice.index(file.len());
                file[at] ^= 1;
                frames.push(Frame::Run(imp.run(&mut pen, &body, &file)));
            }
            8 => {
                // A large file whose chunks will be something else.
                let (body, _) = imp.invoice(log, true);
                let run = imp.run(&mut pen, &body, &[]);
                self.oracle.imp_said(imp.tenant, imp.peer(), &pen_of(&pen), false);
                frames.push(Frame::Run(run));
            }
            9 | 10 => {
                // Two pasts. The second goes to the same portal, or to the next one called.
                if let Some(run) = imp.other.take() {
                    frames.push(Frame::Run(run));
                } else {
                    let mut twin = Pen { origin: pen.origin.clone(), tip: pen.tip };
                    let (body, file) = imp.invoice(log, false);
                    frames.push(Frame::Run(imp.run(&mut pen, &body, &file)));
                    self.oracle.imp_said(imp.tenant, imp.peer(), &pen_of(&pen), false);
                    let mut second = None;
                    for _ in 0..2 {
                        let (body, file) = imp.invoice(log, false);
                        second = Some(imp.run(&mut twin, &body, &file));
                        self.oracle.imp_said(imp.tenant, imp.peer(), &pen_of(&twin), true);
                        frames.extend(second.clone().filter(|_| trick == 9).map(Frame::Run));
                    }
                    imp.other = second.filter(|_| trick == 10);
                }
            }
            11 => {
                // What others wrote, as it is, under another number, for another tenant; it may
                // refer to what that one has not.
                let form = if imp.dice.below(2) == 0 { Form::Plain } else { Form::Sheet };
                let held: Vector =
                    self.oracle.said.keys().map(|(_, log)| (*log, Seq::MAX)).collect();
                let disk = Arc::clone(&self.hosts[portal].disk);
                for ((tenant, log), said) in &self.oracle.said {
                    let Some(host) = self.hosts.iter().find(|h| Some(h.peer()) == said.writer)
                    else {
                        continue;
                    };
                    let incarnation = Incarnation(host.incarnation);
                    let origin = Origin { key: host.key.public().clone(), incarnation };
                    if origin.log() != *log {
                        continue;
                    }
                    let Ok((mut run, _)) = archive::run(
                        &*disk,
                        *tenant,
                        &origin,
                        0,
                        Seq::MAX - 1,
                        &held,
                        Packing { form, effort: Effort::Quick },
                    ) else {
                        continue;
                    };
                    match imp.dice.below(3) {
                        0 => run.tenant = Tenant(imp.tenant),
                        1 => run.first += 1,
                        _ => {}
                    }
                    frames.push(Frame::Run(run));
                }
            }
            12 => {
                let tenant = Tenant(imp.tenant);
                let logs: Vec<_> =
                    self.oracle.said.keys().map(|(_, log)| (*log, Seq::MAX)).collect();
                frames.push(Frame::Ack { tenant, logs: logs.clone() });
                frames.push(Frame::Have { tenant, logs });
            }
            13 => {
                frames.extend((0..500).map(Frame::Ping));
                frames.push(Frame::Path { primary: true });
                frames.push(frames[0].clone());
            }
            _ => {
                // An honest invoice: the imp is a customer after all.
                let (body, file) = imp.invoice(log, false);
                frames.push(Frame::Run(imp.run(&mut pen, &body, &file)));
                self.oracle.imp_said(imp.tenant, imp.peer(), &pen_of(&pen), false);
            }
        }
        self.imp = Some(imp);
        frames
    }
}

fn pen_of(pen: &Pen) -> (LogId, Seq, ChainHash) {
    (pen.origin.log(), pen.tip.0, pen.tip.1)
}

fn state(tenant: VatNumber) -> SpaceState {
    SpaceState { tenant: Tenant(tenant), logs: Vec::new(), rest: None, digest: Digest::default() }
}
