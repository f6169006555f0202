//! The folders an ERP shares with a node: `out/` to drop, `taken/` and `rejected/` to see
//! what became of it, `in/` to collect.
//!
//! A file in `out/` is waited for until it stands still, read, said to the engine, and moved
//! to `taken/` only once it is durable. A crash in between finds the file again; the same file
//! is the same document, so it is not said twice. Folders are looked at on a beat and not
//! watched: the ERP may write over a network share that tells nobody. What keeps a file from
//! being taken or delivered is kept for status.

pub mod waiting;

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use engine::{
    archive::{self, ReadError},
    document::invoice::Direction,
    id::{LogId, Seq, VatNumber},
    record::Record,
    store::Store,
};
use fatturapa::{invoice, view};
use tokio::{task::spawn_blocking, time::sleep};

use self::waiting::{STILL, Waiting};
use crate::{
    config::Form,
    feed::Cursor,
    host::HostHandle,
    intake::{Intake, file_name, free_name, safe_name},
    judgement::Judge,
    private,
    reason::Reason,
    taken,
};

/// How often `in/` is tried again after it could not be filled.
const DELIVER_RETRY: Duration = Duration::from_secs(5);
/// Troubles told in status; nobody reads more.
const TROUBLES_MAX: usize = 20;

/// One tenant's folders.
#[derive(Clone)]
pub struct Spool {
    tenant: VatNumber,
    root: PathBuf,
    cursor: PathBuf,
    host: HostHandle,
    store: Arc<dyn Store>,
    readable: Vec<Form>,
    /// Who says what the SdI would; files are only read where there is nobody.
    judge: Option<Judge>,
    troubles: Troubles,
    /// How often bundles had left the truth when the cursor was last found to be of this truth.
    founded: Arc<Mutex<Option<u64>>>,
}

/// What keeps files from being taken and delivered, in sentences. Clones are the same.
#[derive(Clone, Default)]
pub struct Troubles(Arc<Mutex<(Vec<String>, Option<String>)>>);

impl Troubles {
    /// The sentences, of `out/` first.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (out, delivering) = &*told;
        let mut sentences: Vec<_> = out.iter().take(TROUBLES_MAX).cloned().collect();
        if out.len() > TROUBLES_MAX {
            sentences.push(format!("and {} more files", out.len() - TROUBLES_MAX));
        }
        sentences.extend(delivering.clone());
        sentences
    }

    fn out(&self, sentences: Vec<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0 = sentences;
    }

    /// Returns whether it is news.
    fn delivering(&self, sentence: Option<&String>) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut told.1, sentence.cloned()).as_ref() != sentence
    }
}

/// What is to become of a file.
enum Fate {
    /// It is durable: to `taken/`.
    Taken,
    /// To `rejected/`.
    Rejected(Reason),
    /// It may still be being written.
    Waits,
}

/// An invoice that was not said before, and its bytes.
type News = (Vec<u8>, Intake);

impl Spool {
    /// Makes the folders below `root`. `cursor` is a file of ours that remembers how far
    /// `in/` was filled.
    ///
    /// # Errors
    /// When a folder cannot be made.
    pub fn open(
        tenant: VatNumber,
        root: &Path,
        cursor: PathBuf,
        host: HostHandle,
        store: Arc<dyn Store>,
    ) -> io::Result<Self> {
        for folder in ["out", "taken", "rejected", "in"] {
            private::shared_folder(&root.join(folder))?;
        }
        taken::tidy(&root.join("taken"));
        let root = root.to_owned();
        let (readable, judge, troubles) = (Vec::new(), None, Troubles::default());
        let founded = Arc::default();
        Ok(Self { tenant, root, cursor, host, store, readable, judge, troubles, founded })
    }

    /// Puts these forms beside each file in `in/`, for people.
    #[must_use]
    pub fn readable(mut self, forms: &[Form]) -> Self {
        self.readable = forms.to_vec();
        self
    }

    /// Rejects in `out/` what `judge` says the SdI would reject.
    #[must_use]
    pub fn strict(mut self, judge: Option<Judge>) -> Self {
        self.judge = judge;
        self
    }

    /// Empties `out/` and fills `in/` until the task is dropped.
    pub async fn run(self) {
        tokio::join!(self.take(), self.deliver());
    }

    /// What keeps files from being taken and delivered.
    #[must_use]
    pub fn troubles(&self) -> Troubles {
        self.troubles.clone()
    }

    async fn take(&self) {
        let mut waiting = Waiting::default();
        loop {
            let out = self.root.join("out");
            match waiting.look(&out, Instant::now()) {
                Ok(()) => {
                    self.take_ready(&mut waiting).await;
                    self.troubles.out(waiting.troubles());
                }
                Err(error) => {
                    let why = format!("{} cannot be read: {error}", out.display());
                    self.troubles.out(vec![why]);
                }
            }
            sleep(STILL).await;
        }
    }

    async fn take_ready(&self, waiting: &mut Waiting) {
        let mut judged = Vec::new();
        for (path, may_reject) in waiting.ready(Instant::now()) {
            let (spool, file) = (self.clone(), path.clone());
            let fate = tokio::spawn(async move { spool.judge(&file, may_reject).await });
            judged.push((path, fate));
        }
        // They are said together and moved one by one: two names may come to the same.
        for (path, fate) in judged {
            let done = match fate.await {
                Ok(Ok(Fate::Waits)) => {
                    waiting.wait(&path);
                    Ok(())
                }
                Ok(Ok(fate)) => self.settle(&path, &fate),
                Ok(Err(error)) => Err(error),
                Err(error) => Err(io::Error::other(error)),
            };
            if let Err(error) = done {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let why = format!("{name} stays in out/ for now: {error}");
                if waiting.retry(&path, why.clone(), Instant::now()) {
                    tracing::error!(tenant = %self.tenant, "{why}");
                }
            }
        }
    }

    /// Reads a file and says it. It is durable when this returns [`Fate::Taken`].
    async fn judge(&self, path: &Path, may_reject: bool) -> io::Result<Fate> {
        let (spool, path) = (self.clone(), path.to_owned());
        let read = spawn_blocking(move || spool.read(&path, may_reject));
        let (bytes, intake) = match read.await.map_err(io::Error::other)?? {
            Ok(Some(news)) => news,
            Ok(None) => return Ok(Fate::Taken),
            Err(_) if !may_reject => return Ok(Fate::Waits),
            Err(reason) => return Ok(Fate::Rejected(reason)),
        };
        let item = match intake.item(self.host.log()) {
            Ok(item) => item,
            Err(error) => return Ok(Fate::Rejected(error.into())),
        };
        let said = self.host.append(self.tenant, vec![item], vec![bytes]).await;
        said.map_err(io::Error::other)?;
        Ok(Fate::Taken)
    }

    /// The invoice in a file, unless it was said before. Inside, why it is not taken.
    fn read(&self, path: &Path, may_reject: bool) -> io::Result<Result<Option<News>, Reason>> {
        let (bytes, intake) = match Intake::from_file(path, self.tenant, None)? {
            Ok(whole) => whole,
            Err(reason) => return Ok(Err(reason)),
        };
        let known = archive::index(&*self.store, self.tenant, &intake.document);
        if !known.map_err(io::Error::other)?.is_empty() {
            return Ok(Ok(None));
        }
        // One that may be rejected only later is judged then: it may still be being written.
        let judge = self.judge.as_ref().filter(|_| may_reject);
        let report = judge.and_then(|judge| judge.report(&file_name(path), &bytes, &intake));
        match report.filter(|report| !report.is_accepted()) {
            Some(report) => Ok(Err(Reason::WouldBeRejected(Box::new(report)))),
            None => Ok(Ok(Some((bytes, intake)))),
        }
    }

    fn settle(&self, path: &Path, fate: &Fate) -> io::Result<()> {
        let name = file_name(path);
        let Fate::Rejected(reason) = fate else {
            return fs::rename(path, free_name(&self.root.join("taken"), &name));
        };
        let target = free_name(&self.root.join("rejected"), &name);
        let mut note = target.clone().into_os_string();
        note.push(".motivo.txt");
        fs::write(note, reason.note(&name))?;
        fs::rename(path, target)?;
        tracing::warn!(tenant = %self.tenant, file = name, why = %reason, "rejected");
        Ok(())
    }

    async fn deliver(&self) {
        let mut fresh = self.host.fresh();
        loop {
            let spool = self.clone();
            let Ok(filled) = spawn_blocking(move || spool.fill()).await else { return };
            let pause = if filled.is_ok() { Duration::from_secs(30) } else { DELIVER_RETRY };
            let why = filled.err().map(|error| format!("in/ waits: {error}"));
            if self.troubles.delivering(why.as_ref())
                && let Some(why) = why
            {
                tracing::error!(tenant = %self.tenant, "{why}");
            }
            tokio::select! {
                changed = fresh.changed() => if changed.is_err() { return },
                () = sleep(pause) => {}
            }
        }
    }

    /// Writes every received invoice that the feed has brought since the cursor.
    fn fill(&self) -> io::Result<()> {
        let durable = self.host.fresh().borrow().get(&self.tenant).copied().unwrap_or(0);
        // Of what a process before this one wrote, nobody knows whether it was synchronised.
        let (cursor, mut written) = self.delivered(durable)?;
        let (mut position, mut digest) = (cursor.position, cursor.digest());
        loop {
            let rows = archive::feed(&*self.store, self.tenant, position, 256)
                .map_err(|error| self.unread(error))?;
            let before = position;
            for (at, log, seq) in rows {
                // What is applied and not yet durable is not there for anybody.
                if at > durable {
                    break;
                }
                written |= self.deliver_bundle(&log, seq)?;
                position = at;
                digest = digest.wrapping_add(archive::fingerprint(&log, seq));
            }
            // Only what survives loss of power is behind the cursor.
            if std::mem::take(&mut written) {
                private::sync_folder(Some(&self.root.join("in")))?;
            }
            if position == before {
                return Ok(());
            }
            let cursor = Cursor::new(position, digest);
            private::write(&self.cursor, cursor.to_string().as_bytes())?;
        }
    }

    /// How far `in/` was filled, and whether that was looked at just now. A cursor that is
    /// damaged, or of a truth that was restored, made anew or cut since, is the beginning:
    /// positions mean something only together with what lies before them. What is there stays.
    fn delivered(&self, durable: u64) -> io::Result<(Cursor, bool)> {
        let rebuilds = self.host.rebuilds().borrow().get(&self.tenant).copied().unwrap_or(0);
        let text = match fs::read(&self.cursor) {
            Ok(text) => String::from_utf8_lossy(&text).trim().to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let digest = |position| {
            archive::feed_digest(&*self.store, self.tenant, (0, 0), position)
                .map_err(|error| self.unread(error))
        };
        let cursor = match text.parse::<u64>() {
            // As versions before this one wrote it.
            Ok(position) if position <= durable => Cursor::new(position, digest(position)?),
            _ => text.parse().unwrap_or(Cursor::START),
        };
        let mut founded = self.founded.lock().unwrap_or_else(PoisonError::into_inner);
        if *founded == Some(rebuilds) {
            return Ok((cursor, false));
        }
        let is_ours = cursor.position <= durable && digest(cursor.position)? == cursor.digest();
        if !is_ours {
            tracing::warn!(tenant = %self.tenant, "in/ is looked through from the beginning");
            private::write(&self.cursor, Cursor::START.to_string().as_bytes())?;
        }
        *founded = Some(rebuilds);
        Ok((if is_ours { cursor } else { Cursor::START }, true))
    }

    /// Has the row fetched again.
    fn unread(&self, error: ReadError) -> io::Error {
        self.host.damaged(&error);
        io::Error::other(error)
    }

    /// Returns whether a file was written.
    fn deliver_bundle(&self, log: &LogId, seq: Seq) -> io::Result<bool> {
        let read = |error| self.unread(error);
        let stored = archive::bundle(&*self.store, self.tenant, log, seq).map_err(read)?;
        let Ok(body) = engine::bundle::Body::decode(&stored.body) else { return Ok(false) };
        let mut written = false;
        for document in body.documents() {
            if document.kind() != Some(engine::id::Kind::Invoice) {
                continue;
            }
            let changes = archive::changes(&*self.store, self.tenant, &document).map_err(read)?;
            let Record::Invoice(invoice) = Record::derive(document, &changes) else { continue };
            if invoice.content.direction != Direction::Received {
                continue;
            }
            let original = invoice.content.original;
            let bytes =
                archive::blob(&*self.store, self.tenant, &document, &original).map_err(read)?;
            let Some(bytes) = bytes else { continue };
            let name = safe_name(&invoice.content.file_name);
            let other = |name: &str| format!("{:.8}_{name}", original.to_string());
            written |= self.put_in(&name, &other(&name), &bytes)?;
            for (name, page) in self.pages(&name, &bytes) {
                written |= self.put_in(&name, &other(&name), &page)?;
            }
        }
        Ok(written)
    }

    /// What a person can read of the file, under its name with another ending.
    fn pages(&self, name: &str, bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
        if self.readable.is_empty() {
            return Vec::new();
        }
        // What cannot be read as an invoice is there as it came, and that is all there is.
        let Ok(file) = invoice::read(name, bytes) else { return Vec::new() };
        let page = |form: &Form| match form {
            Form::Html => (format!("{name}.html"), view::html(&file, Some(bytes)).into_bytes()),
            Form::Pdf => (format!("{name}.pdf"), view::pdf(&file)),
        };
        self.readable.iter().map(page).collect()
    }

    /// Puts `bytes` into `in/` as `name`, or as `other` where that is another file. Returns
    /// whether it was not there yet.
    fn put_in(&self, name: &str, other: &str, bytes: &[u8]) -> io::Result<bool> {
        for name in [name, other] {
            let target = self.root.join("in").join(name);
            match fs::read(&target) {
                Ok(there) if there == bytes => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return write_new(&target, bytes).map(|()| true);
                }
                _ => {}
            }
        }
        Err(io::Error::other(format!("{name} cannot be written: something else has its name")))
    }
}

/// Writes a file that is either not there or whole, also after loss of power once its folder
/// is synchronised. Who may read it is the share's affair.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let half = path.with_file_name(format!(".{name}.half"));
    let mut file = fs::File::create(&half)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    fs::rename(half, path)
}
