//! One bundle made into another: by chance or by intent, with what covers it left as it was or
//! made anew.

use engine::{
    bundle::{BlobRef, Body, Item, Signature},
    id::{BlobHash, DocumentId, Incarnation, Kind, LogId},
    wire::{Effort, Form, Frame, Packing, Run, Tenant},
};

use crate::{
    keys::Key,
    scene::{FOREIGN, HONEST, RELAY, REVOKED, STRANGER, Writer, opened, other_tenant, tenant},
};

/// Where in a bundle's coat something was changed.
#[derive(Clone, Copy, Debug)]
pub enum How {
    /// The frame's bytes.
    Frame,
    /// A field of the run.
    Header,
    /// The bodies' bytes, with lengths made anew.
    Bodies,
    /// What a body says, encoded anew, with files' names made anew.
    Content,
    /// Bundles left out, said twice or in another order.
    Order,
    /// The same as `Content`, signed by the relay in the writer's log.
    SignedByRelay,
    /// The same in a log of its own by a key that nobody admitted.
    SignedByStranger,
    /// The same by a key that was revoked.
    SignedByRevoked,
    /// The same by another customer's node.
    SignedByForeigner,
}

const HOWS: [How; 9] = [
    How::Frame,
    How::Header,
    How::Bodies,
    How::Content,
    How::Order,
    How::SignedByRelay,
    How::SignedByStranger,
    How::SignedByRevoked,
    How::SignedByForeigner,
];

/// What became of a bundle.
#[derive(Debug)]
pub struct Mutant {
    pub how: How,
    pub frame: Vec<u8>,
}

/// Numbers that are the same in every run.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `sides`, which may be 0.
    pub fn below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides.max(1) as u64) as usize
    }

    /// The bytes with a few of them changed.
    pub fn mutated(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            match self.below(7) {
                _ if bytes.is_empty() => bytes.push(self.below(256) as u8),
                0 | 1 => bytes[at] ^= 1 << self.below(8),
                2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                3 => drop(bytes.remove(at)),
                4 => bytes.insert(at, self.below(256) as u8),
                5 => bytes.extend_from_within(at..),
                _ => bytes.truncate(at),
            }
        }
        bytes
    }
}

/// Mutates one run.
pub struct Mutator<'a> {
    genuine: &'a Run,
    bodies: Vec<Vec<u8>>,
    inline: Vec<Vec<u8>>,
}

impl<'a> Mutator<'a> {
    pub fn new(genuine: &'a Run) -> Self {
        let opened = opened(genuine);
        let bodies = opened.iter().map(|bundle| bundle.bytes.to_vec()).collect();
        let inline = opened.iter().map(|bundle| bundle.inline.to_vec()).collect();
        Self { genuine, bodies, inline }
    }

    /// A mutant. Never what was there before: changes that say the same are made again.
    pub fn mutate(&self, dice: &mut Dice) -> Mutant {
        loop {
            let how = HOWS[dice.below(HOWS.len())];
            let frame = match how {
                How::Frame => dice.mutated(Frame::Run(self.genuine.clone()).encode()),
                How::Header => Frame::Run(self.header(dice)).encode(),
                How::Bodies => self.bodies(dice),
                How::Content => self.content(dice),
                How::Order => self.order(dice),
                How::SignedByRelay => self.signed(dice, RELAY, HONEST),
                How::SignedByStranger => self.signed(dice, STRANGER, STRANGER),
                How::SignedByRevoked => self.signed(dice, REVOKED, REVOKED),
                How::SignedByForeigner => self.signed(dice, FOREIGN, FOREIGN),
            };
            if !self.is_genuine(&frame) {
                return Mutant { how, frame };
            }
        }
    }

    /// Whether a frame says what was said, in other words: zstd has several for one thing.
    fn is_genuine(&self, frame: &[u8]) -> bool {
        let Ok(Frame::Run(run)) = Frame::decode(frame) else { return false };
        let Ok(open) = run.open() else { return false };
        // Who writes a log is known once its first bundle is here, and not looked at any more.
        let origin = |run: &Run| run.origin.clone().filter(|_| run.first == 1);
        let bare = |run: &Run| Run { payload: Vec::new(), origin: origin(run), ..run.clone() };
        bare(&run) == bare(self.genuine) && open == opened(self.genuine)
    }

    fn header(&self, dice: &mut Dice) -> Run {
        let mut run = self.genuine.clone();
        match dice.below(10) {
            0 => run.tenant = Tenant(other_tenant()),
            1 => run.log = Writer::new(RELAY, tenant()).id(),
            2 => run.log = LogId::from_bytes([dice.below(256) as u8; 16]),
            3 => run.first = [0, 1, 2, 3, 4, 1 << 40, u64::MAX][dice.below(7)],
            4 => run.previous.0[dice.below(32)] ^= 1 << dice.below(8),
            5 => {
                let mut signature = run.signature.to_bytes();
                signature[dice.below(64)] ^= 1 << dice.below(8);
                run.signature = Signature::from_bytes(&signature);
            }
            6 => {
                let own = Some((&Writer::new(RELAY, tenant()).origin).into());
                run.origin = if run.origin.is_some() && dice.below(2) == 0 { None } else { own };
            }
            7 => match &mut run.origin {
                Some(origin) if dice.below(2) == 0 => {
                    origin.incarnation = Incarnation([dice.below(256) as u8; 16]);
                }
                Some(origin) => origin.spki = dice.mutated(origin.spki.clone()),
                None => run.first += 1,
            },
            8 => {
                let at = dice.below(run.bodies.len());
                run.bodies[at] = run.bodies[at].wrapping_add_signed(dice.below(9) as i32 - 4);
            }
            _ => run.inline = [0, 1, u32::MAX, run.inline.wrapping_add(1)][dice.below(4)],
        }
        run
    }

    fn bodies(&self, dice: &mut Dice) -> Vec<u8> {
        let (mut bodies, mut inline) = (self.bodies.clone(), self.inline.clone());
        let at = dice.below(bodies.len());
        let part = if dice.below(4) == 0 { &mut inline } else { &mut bodies };
        part[at] = dice.mutated(std::mem::take(&mut part[at]));
        self.coated(&bodies, &inline)
    }

    fn content(&self, dice: &mut Dice) -> Vec<u8> {
        let (mut bodies, mut inline) = (self.bodies.clone(), self.inline.clone());
        let at = dice.below(bodies.len());
        (bodies[at], inline[at]) = self.said_otherwise(at, dice);
        self.coated(&bodies, &inline)
    }

    /// One bundle that says something else, in good form.
    fn said_otherwise(&self, at: usize, dice: &mut Dice) -> (Vec<u8>, Vec<u8>) {
        let mut body = Body::decode(&self.bodies[at]).unwrap();
        let mut inline = self.inline[at].clone();
        match dice.below(7) {
            0 => body.written_ms = [0, 1 << 50, u64::MAX][dice.below(3)],
            1 => drop(body.items.pop()),
            2 => body.items.push(Key::new(STRANGER).grant()),
            3 => body.items.extend(body.items.clone()),
            4 => {
                for item in &mut body.items {
                    let Item::Change { document, change } = item else { continue };
                    match dice.below(3) {
                        0 => *document = document.sibling(Kind::Outcome),
                        1 => *document = DocumentId::invoice(&BlobHash::of(b"another")),
                        _ => *change = dice.mutated(std::mem::take(change)),
                    }
                }
            }
            5 => body.blobs.push(BlobRef::of(&[9; 100_000])),
            _ => {
                // Other files, and their names made anew.
                inline = dice.mutated(inline);
                body.blobs = vec![BlobRef::of(&inline)];
            }
        }
        (body.encode().unwrap(), inline)
    }

    fn order(&self, dice: &mut Dice) -> Vec<u8> {
        let (mut bodies, mut inline) = (self.bodies.clone(), self.inline.clone());
        let at = dice.below(bodies.len());
        match dice.below(4) {
            0 => {
                bodies.insert(at, self.bodies[at].clone());
                inline.insert(at, self.inline[at].clone());
            }
            // A run of one says nothing without it.
            1 => {
                bodies.remove(at);
                inline.remove(at);
            }
            2 => {
                bodies.reverse();
                inline.reverse();
            }
            _ => {
                bodies.rotate_left(1);
                inline.rotate_left(1);
            }
        }
        self.coated(&bodies, &inline)
    }

    /// The run about other bodies, with its lengths made anew and nothing else.
    fn coated(&self, bodies: &[Vec<u8>], inline: &[Vec<u8>]) -> Vec<u8> {
        Frame::Run(Run {
            bodies: bodies.iter().map(|body| body.len() as u32).collect(),
            inline: inline.iter().map(|file| file.len() as u32).sum(),
            payload: Run::pack(
                Packing { form: Form::Sheet, effort: Effort::Quick },
                bodies.iter().map(Vec::as_slice).zip(inline.iter().map(Vec::as_slice)),
            ),
            ..self.genuine.clone()
        })
        .encode()
    }

    /// The last bundle says something else; chain and signature are made anew by `signer`, in the
    /// name of `owner`'s log.
    fn signed(&self, dice: &mut Dice, signer: usize, owner: usize) -> Vec<u8> {
        let mut writer = Writer::new(signer, tenant());
        let own = Writer::new(owner, tenant());
        for at in 0..self.bodies.len() {
            let (body, inline) = match at + 1 == self.bodies.len() {
                true => self.said_otherwise(at, dice),
                false => (self.bodies[at].clone(), self.inline[at].clone()),
            };
            writer.say_bytes(body, inline);
        }
        let signed = writer.joined(1..=writer.said());
        let origin = match dice.below(3) {
            0 => signed.origin.clone(),
            _ => Some((&own.origin).into()),
        };
        Frame::Run(Run { log: own.id(), origin, ..signed }).encode()
    }
}
