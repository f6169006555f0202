//! What happened, as one number and as the last lines before a failure.

use std::{collections::VecDeque, fmt::Write as _};

use engine::{time::Time, wire::Frame};

use crate::world::{Event, Report};

/// Lines kept when somebody wants to read them.
const LINES: usize = 120;

/// The number is kept always; lines only when asked for, since they cost more than the run.
pub struct Trace {
    hash: u64,
    steps: u64,
    lines: Option<VecDeque<String>>,
}

impl Trace {
    pub fn new(verbose: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, steps: 0, lines: verbose.then(VecDeque::new) }
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    pub fn steps(&self) -> u64 {
        self.steps
    }

    pub fn add(&mut self, number: u64) {
        // FNV-1a's shape, a word at a time.
        self.hash = (self.hash ^ number).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }

    pub fn event(&mut self, now: Time, event: &Event) {
        self.steps += 1;
        self.add(now.as_micros());
        let (kind, host) = name(event);
        self.add(host as u64 * 256 + kind.len() as u64);
        if self.lines.is_some() && !matches!(event, Event::Deliver { .. }) {
            self.line(format!("{now:?} {kind} {host}"));
        }
    }

    pub fn frame(&mut self, now: Time, wire: usize, side: usize, frame: &Frame, bytes: &[u8]) {
        self.add((wire * 2 + side) as u64);
        self.add(bytes.len() as u64);
        if let Frame::Run(run) = frame {
            // All but the signature, which ring salts.
            self.add(run.first);
            self.add(u64::from_le_bytes(run.previous.0[..8].try_into().unwrap()));
        } else {
            for part in bytes.chunks(8) {
                let mut word = [0; 8];
                word[..part.len()].copy_from_slice(part);
                self.add(u64::from_le_bytes(word));
            }
        }
        if self.lines.is_some() {
            let text = brief(frame);
            self.line(format!("{now:?} wire {wire} side {side} sends {text}"));
        }
    }

    /// Something worth a line.
    pub fn note(&mut self, now: Time, text: impl FnOnce() -> String) {
        if self.lines.is_some() {
            let text = text();
            self.line(format!("{now:?} {text}"));
        }
    }

    pub fn last(&self) -> String {
        self.lines.iter().flatten().fold(String::new(), |mut all, line| {
            let _ = writeln!(all, "  {line}");
            all
        })
    }

    fn line(&mut self, text: String) {
        if let Ok(path) = std::env::var("SIM_TRACE") {
            use std::io::Write as _;
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
            let _ = file.and_then(|mut file| writeln!(file, "{text}"));
        }
        let lines = self.lines.get_or_insert_default();
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(text);
    }
}

fn name(event: &Event) -> (&'static str, usize) {
    match event {
        Event::Deliver { wire, .. } => ("deliver on wire", *wire),
        Event::Gone { wire, .. } => ("gone: wire", *wire),
        Event::Dialled { host, .. } => ("dialled by", *host),
        Event::Accepted { host, .. } => ("accepted by", *host),
        Event::Barrier { host, .. } => ("barrier at", *host),
        Event::Probe { host, .. } => ("probe at", *host),
        Event::Report { host, report, .. } => match report {
            Report::Committed(_) => ("committed at", *host),
            Report::Failed(_) => ("commit failed at", *host),
            Report::Ready => ("store ready at", *host),
        },
        Event::Read { host, .. } => ("read at", *host),
        Event::Inject { host, .. } => ("input of", *host),
        Event::Project { host, .. } => ("projector of", *host),
        Event::Wake { host, .. } => ("wake", *host),
        Event::Write { host } => ("write at", *host),
        Event::Admit { node } => ("admit", node & 0xff),
        Event::Fault(n) => ("fault", *n),
        Event::Mended { host } => ("disk mended at", *host),
        Event::Start { host } => ("start", *host),
        Event::Calm(n) => ("calm", *n),
        Event::Verdict(n) => ("verdict", *n),
    }
}

fn brief(frame: &Frame) -> String {
    match frame {
        Frame::Run(run) => {
            format!("Run {:?} {}-{:?} of {}", run.log, run.first, run.last(), run.tenant.0)
        }
        Frame::Chunk(chunk) => format!("Chunk {:?} {}", chunk.cut, chunk.index),
        Frame::Hello(hello) => {
            let spaces: Vec<_> = hello.spaces.iter().map(|s| (s.tenant.0, &s.logs)).collect();
            format!("Hello primary={} {spaces:?}", hello.primary)
        }
        other => format!("{other:?}"),
    }
}
