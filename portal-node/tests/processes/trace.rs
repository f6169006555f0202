//! What a process did to its files, system call by system call, as `strace` saw it, and what a
//! disk would hold had the power failed after any of them.
//!
//! The disk is as unkind as POSIX allows: bytes are there once their file was synchronised, and a
//! name once its folder was. Where a synchronisation failed it is as unkind as Linux: what it was
//! to keep is taken for clean, and no later one keeps it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use crate::killed::Dice;

/// The calls that change files. The rest of `strace`'s arguments name where it writes.
pub const STRACE: [&str; 10] = [
    "strace",
    "-D",
    "-f",
    "-y",
    "-xx",
    "-s",
    "100000000",
    "--seccomp-bpf",
    "-e",
    "trace=openat,write,pwrite64,fsync,fdatasync,ftruncate,fallocate,rename,renameat,renameat2,\
     unlink,unlinkat,mkdir,mkdirat,rmdir,sync_file_range,pwritev,writev",
];

/// One call, in the order in which they ended.
#[derive(Debug)]
pub enum Op {
    Open {
        path: PathBuf,
        fd: u32,
        create: bool,
        empty: bool,
        append: bool,
    },
    /// At a place, or where the last one through this descriptor ended.
    Write {
        path: PathBuf,
        fd: u32,
        at: Option<u64>,
        bytes: Vec<u8>,
    },
    Length {
        path: PathBuf,
        len: u64,
    },
    /// Of a file or a folder: what had ended when it began is kept.
    Sync {
        path: PathBuf,
        begun: usize,
    },
    /// A synchronisation that failed: what had ended when it began reads well, is taken for clean,
    /// and never reaches the disk.
    Unsynced {
        path: PathBuf,
        begun: usize,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
    Folder {
        path: PathBuf,
    },
}

/// The calls of a trace that are about something below `root` and did not fail.
pub fn read(trace: &Path, root: &Path) -> Vec<Op> {
    let text = fs::read_to_string(trace).unwrap();
    let (mut ops, mut unfinished) = (Vec::new(), BTreeMap::new());
    for line in text.lines() {
        let (process, rest) = line.split_once(' ').unwrap();
        let rest = rest.trim_start();
        if let Some(half) = rest.strip_suffix("<unfinished ...>") {
            unfinished.insert(process, (half.to_owned(), ops.len()));
            continue;
        }
        let (whole, begun) = match rest.strip_prefix("<... ") {
            Some(rest) => {
                let (half, begun): (String, usize) = unfinished.remove(process).unwrap();
                (half + rest.split_once(" resumed>").unwrap().1, begun)
            }
            None => (rest.to_owned(), ops.len()),
        };
        let about = |path: &PathBuf| path.starts_with(root);
        if let Some(op) = op(&whole, begun)
            && (match &op {
                Op::Rename { from, to } => about(from) || about(to),
                Op::Open { path, .. }
                | Op::Write { path, .. }
                | Op::Length { path, .. }
                | Op::Sync { path, .. }
                | Op::Unsynced { path, .. }
                | Op::Remove { path }
                | Op::Folder { path } => about(path),
            })
        {
            ops.push(op);
        }
    }
    ops
}

/// The calls of the process after the one that made `ops`.
pub fn go_on(ops: &mut Vec<Op>, next: Vec<Op>) {
    let before = ops.len();
    ops.extend(next.into_iter().map(|mut op| {
        if let Op::Sync { begun, .. } | Op::Unsynced { begun, .. } = &mut op {
            *begun += before;
        }
        op
    }));
}

fn op(line: &str, begun: usize) -> Option<Op> {
    let (name, rest) = line.split_once('(')?;
    let (args, result) = rest.rsplit_once(" = ")?;
    let args = args.trim_end().strip_suffix(')')?;
    let failed = result.starts_with('-') || result.starts_with('?');
    let synchronises = matches!(name, "fsync" | "fdatasync");
    if failed && !(synchronises && result.contains("EIO")) {
        return None;
    }
    let args: Vec<&str> = args.split(", ").map(str::trim).collect();
    // Everything that was text is in hexadecimal: no comma, bracket or quote is part of it.
    let text = |n: usize| bytes(args.get(n)?.trim_matches('"'));
    let path = |n: usize| Some(PathBuf::from(String::from_utf8(text(n)?).ok()?));
    let number = |n: usize| args.get(n)?.trim().parse::<u64>().ok();
    let open = |n: usize| {
        let (fd, path) = args.get(n)?.split_once('<')?;
        let path = String::from_utf8(bytes(path.strip_suffix('>')?)?).ok()?;
        Some((fd.parse::<u32>().unwrap_or(u32::MAX), PathBuf::from(path)))
    };
    // A path beside an open folder.
    let at = |n: usize| Some(open(n)?.1.join(path(n + 1)?));
    Some(match name {
        "openat" => {
            let flags = *args.get(2)?;
            let fd = result.split_once('<')?.0.parse().ok()?;
            let (create, empty) = (flags.contains("O_CREAT"), flags.contains("O_TRUNC"));
            Op::Open { path: at(0)?, fd, create, empty, append: flags.contains("O_APPEND") }
        }
        "write" => {
            let (fd, path) = open(0)?;
            let mut bytes = text(1)?;
            bytes.truncate(result.parse().ok()?);
            Op::Write { path, fd, at: None, bytes }
        }
        "pwrite64" => {
            let (fd, path) = open(0)?;
            let mut bytes = text(1)?;
            bytes.truncate(result.parse().ok()?);
            Op::Write { path, fd, at: Some(number(3)?), bytes }
        }
        "ftruncate" => Op::Length { path: open(0)?.1, len: number(1)? },
        "fsync" | "fdatasync" if failed => Op::Unsynced { path: open(0)?.1, begun },
        "fsync" | "fdatasync" => Op::Sync { path: open(0)?.1, begun },
        "rename" => Op::Rename { from: path(0)?, to: path(1)? },
        "renameat" | "renameat2" => Op::Rename { from: at(0)?, to: at(2)? },
        "unlink" | "rmdir" => Op::Remove { path: path(0)? },
        "unlinkat" => Op::Remove { path: at(0)? },
        "mkdir" => Op::Folder { path: path(0)? },
        "mkdirat" => Op::Folder { path: at(0)? },
        // It promises nothing that a power loss would leave.
        "sync_file_range" => return None,
        "fallocate" | "pwritev" | "writev" => {
            // Of files nobody calls these; of sockets and pipes they are none of ours.
            let path = open(0).map(|(_, path)| path).unwrap_or_default();
            assert!(!path.starts_with("/tmp"), "the model does not know {name} of {path:?}");
            return None;
        }
        _ => return None,
    })
}

/// `\x61\x62` as bytes.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4);
    let mut rest = text.as_bytes();
    while let [b'\\', b'x', high, low, tail @ ..] = rest {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        out.push(u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?);
        rest = tail;
    }
    rest.is_empty().then_some(out)
}

#[derive(Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

#[derive(Default)]
struct File {
    folder: bool,
    /// What was synchronised.
    kept: Vec<u8>,
    /// What was done since, and when.
    since: Vec<(usize, Change)>,
    len: u64,
}

/// What a loss of power does to what was not synchronised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// All of it is gone.
    Gone,
    /// All of it is there, but for the end of the last write.
    Torn,
    /// Some writes are there and some are not, in no order.
    Some,
}

/// A disk in the middle of a trace.
#[derive(Default)]
pub struct Disk {
    done: usize,
    files: Vec<File>,
    names: BTreeMap<PathBuf, usize>,
    kept: BTreeMap<PathBuf, usize>,
    /// Names that were given or taken since their folder was synchronised.
    since: Vec<(usize, PathBuf, Option<usize>)>,
    places: BTreeMap<u32, u64>,
    last: Option<usize>,
}

impl Disk {
    /// The next call.
    pub fn step(&mut self, op: &Op) {
        self.last = None;
        match op {
            Op::Open { path, fd, create, empty, append } => {
                if *create && !self.names.contains_key(path) {
                    self.name(path, File::default());
                }
                if let Some(id) = self.names.get(path).copied() {
                    if *empty && self.files[id].len > 0 {
                        self.change(id, Change::Length(0));
                    }
                    let place = if *append { self.files[id].len } else { 0 };
                    self.places.insert(*fd, place);
                }
            }
            Op::Write { path, fd, at, bytes } => {
                if let Some(id) = self.names.get(path).copied() {
                    let place = at.unwrap_or_else(|| self.places.get(fd).copied().unwrap_or(0));
                    if at.is_none() {
                        self.places.insert(*fd, place + bytes.len() as u64);
                    }
                    self.change(id, Change::Write(place, bytes.clone()));
                    self.last = Some(id);
                }
            }
            Op::Length { path, len } => {
                if let Some(id) = self.names.get(path).copied() {
                    self.change(id, Change::Length(*len));
                }
            }
            Op::Sync { path, begun } => self.sync(path, *begun),
            Op::Unsynced { path, begun } => {
                if let Some(id) = self.names.get(path) {
                    let written = |change: &Change| matches!(change, Change::Write(..));
                    self.files[*id].since.retain(|(at, change)| at >= begun || !written(change));
                }
            }
            Op::Rename { from, to } => {
                let moved: Vec<_> = self
                    .names
                    .range(from.clone()..)
                    .take_while(|(path, _)| path.starts_with(from))
                    .map(|(path, id)| (path.clone(), *id))
                    .collect();
                for (path, id) in moved {
                    let rest = path.strip_prefix(from).unwrap();
                    let target = if rest == Path::new("") { to.clone() } else { to.join(rest) };
                    self.names.remove(&path);
                    self.names.insert(target.clone(), id);
                    self.since.push((self.done, path, None));
                    self.since.push((self.done, target, Some(id)));
                }
            }
            Op::Remove { path } => {
                if self.names.remove(path).is_some() {
                    self.since.push((self.done, path.clone(), None));
                }
            }
            Op::Folder { path } => self.name(path, File { folder: true, ..File::default() }),
        }
        self.done += 1;
    }

    fn name(&mut self, path: &Path, file: File) {
        let id = self.files.len();
        self.files.push(file);
        self.names.insert(path.to_owned(), id);
        self.since.push((self.done, path.to_owned(), Some(id)));
    }

    fn change(&mut self, id: usize, change: Change) {
        let file = &mut self.files[id];
        file.len = match &change {
            Change::Write(at, bytes) => file.len.max(at + bytes.len() as u64),
            Change::Length(len) => *len,
        };
        file.since.push((self.done, change));
    }

    fn sync(&mut self, path: &Path, begun: usize) {
        if let Some(id) = self.names.get(path).copied().filter(|id| !self.files[*id].folder) {
            let file = &mut self.files[id];
            let (now, later) =
                std::mem::take(&mut file.since).into_iter().partition(|c| c.0 < begun);
            file.since = later;
            let now: Vec<(usize, Change)> = now;
            now.iter().for_each(|(_, change)| make(&mut file.kept, change));
            return;
        }
        for (at, name, id) in std::mem::take(&mut self.since) {
            if name.parent() == Some(path) && at < begun {
                match id {
                    Some(id) => self.kept.insert(name, id),
                    None => self.kept.remove(&name),
                };
            } else {
                self.since.push((at, name, id));
            }
        }
    }

    /// Writes what the disk would hold now into `target`, as if `root` were there.
    pub fn fail(&self, loss: Loss, dice: &Dice, root: &Path, target: &Path) {
        let mut names = self.kept.clone();
        for (_, name, id) in &self.since {
            if loss == Loss::Torn || loss == Loss::Some && dice.roll(2) == 0 {
                match id {
                    Some(id) => names.insert(name.clone(), *id),
                    None => names.remove(name),
                };
            }
        }
        fs::create_dir_all(target).unwrap();
        let mut folders = BTreeSet::from([root.to_owned()]);
        for (name, id) in &names {
            // What is in a folder that is not there is not there.
            if !name.parent().is_some_and(|folder| folders.contains(folder)) {
                continue;
            }
            let place = target.join(name.strip_prefix(root).unwrap());
            if self.files[*id].folder {
                fs::create_dir_all(place).unwrap();
                folders.insert(name.clone());
            } else {
                fs::write(place, self.content(*id, loss, dice)).unwrap();
            }
        }
    }

    fn content(&self, id: usize, loss: Loss, dice: &Dice) -> Vec<u8> {
        let file = &self.files[id];
        let mut bytes = file.kept.clone();
        for (n, (_, change)) in file.since.iter().enumerate() {
            let is_last = n + 1 == file.since.len() && self.last == Some(id);
            match (loss, change) {
                (Loss::Gone, _) => break,
                (Loss::Some, _) if dice.roll(2) == 0 => {}
                (Loss::Torn, Change::Write(at, whole)) if is_last => {
                    let half = whole.len() / 2 / 512 * 512;
                    make(&mut bytes, &Change::Write(*at, whole[..half].to_vec()));
                }
                _ => make(&mut bytes, change),
            }
        }
        bytes
    }
}

fn make(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(at, new) => {
            let at = usize::try_from(*at).unwrap();
            if bytes.len() < at + new.len() {
                bytes.resize(at + new.len(), 0);
            }
            bytes[at..at + new.len()].copy_from_slice(new);
        }
        Change::Length(len) => bytes.resize(usize::try_from(*len).unwrap(), 0),
    }
}
