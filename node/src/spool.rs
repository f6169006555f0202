//! The folders an ERP shares with a node: `out/` to drop, `taken/` and `rejected/` to see
//! what became of it, `in/` to collect.
//!
//! A file in `out/` is waited for until its size and time stand still, read, said to the
//! engine, and moved to `taken/` only once it is durable. A crash in between finds the file
//! again; the same file is the same document, so it is not said twice. Folders are looked at
//! on a beat and not watched: the ERP may write over a network share that tells nobody.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use engine::{archive, document::invoice::Direction, id::VatNumber, record::Record, store::Store};
use tokio::{task::spawn_blocking, time::sleep};

use crate::{
    host::HostHandle,
    intake::{Intake, safe_name},
};

/// How often `out/` is looked at.
const BEAT: Duration = Duration::from_millis(500);
/// Files said at a time.
const BATCH_MAX: usize = 64;
/// Largest file read: what the engine takes, and a little, to say so in a sentence.
const FILE_BYTES_MAX: u64 = engine::limits::BLOB_BYTES_MAX;

/// One tenant's folders.
#[derive(Clone)]
pub struct Spool {
    tenant: VatNumber,
    root: PathBuf,
    cursor: PathBuf,
    host: HostHandle,
    store: Arc<dyn Store>,
}

/// What a file looked like at the last beat.
type Look = (u64, Option<SystemTime>);

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
            fs::create_dir_all(root.join(folder))?;
        }
        Ok(Self { tenant, root: root.to_owned(), cursor, host, store })
    }

    /// Empties `out/` and fills `in/` until the task is dropped.
    pub async fn run(self) {
        tokio::join!(self.take(), self.deliver());
    }

    async fn take(&self) {
        let mut looks: BTreeMap<PathBuf, Look> = BTreeMap::new();
        loop {
            let mut now = BTreeMap::new();
            let mut ready = Vec::new();
            for (path, look) in list(&self.root.join("out")) {
                if looks.get(&path) == Some(&look) && ready.len() < BATCH_MAX {
                    ready.push(path.clone());
                }
                now.insert(path, look);
            }
            looks = now;
            let said = ready.into_iter().map(|path| {
                let spool = self.clone();
                tokio::spawn(async move { spool.take_one(&path).await })
            });
            for one in said.collect::<Vec<_>>() {
                if let Ok(Err(error)) = one.await {
                    tracing::error!(tenant = %self.tenant, %error, "a file stays in out/");
                }
            }
            sleep(BEAT).await;
        }
    }

    async fn take_one(&self, path: &Path) -> io::Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if fs::metadata(path)?.len() > FILE_BYTES_MAX {
            return self.reject(path, &name, "il file supera la dimensione massima di 32 MB");
        }
        let (bytes, intake) = {
            let (path, name) = (path.to_owned(), name.clone());
            let read = spawn_blocking(move || {
                let bytes = fs::read(path)?;
                let intake = Intake::read(&name, &bytes, None);
                io::Result::Ok((bytes, intake))
            });
            read.await.map_err(io::Error::other)??
        };
        let intake = match intake {
            Ok(intake) => intake,
            Err(error) => return self.reject(path, &name, &error.to_string()),
        };
        let known = archive::index(&*self.store, self.tenant, &intake.document);
        if known.map_err(io::Error::other)?.is_empty() {
            let item = match intake.item(self.host.log()) {
                Ok(item) => item,
                Err(error) => return self.reject(path, &name, &error.to_string()),
            };
            self.host
                .append(self.tenant, vec![item], vec![bytes])
                .await
                .map_err(io::Error::other)?;
        }
        let target = free_name(&self.root.join("taken"), &name);
        fs::rename(path, target)
    }

    fn reject(&self, path: &Path, name: &str, why: &str) -> io::Result<()> {
        let target = free_name(&self.root.join("rejected"), name);
        let mut reason = target.clone().into_os_string();
        reason.push(".motivo.txt");
        let text = format!(
            "Il file {name} non è stato accettato.\nMotivo: {why}\n\
             Correggere il file e rimetterlo nella cartella out.\n\n\
             (The file was not accepted: {why})\n"
        );
        fs::write(reason, text)?;
        tracing::warn!(tenant = %self.tenant, file = name, why, "rejected");
        fs::rename(path, target)
    }

    async fn deliver(&self) {
        let mut fresh = self.host.fresh();
        loop {
            let spool = self.clone();
            match spawn_blocking(move || spool.fill()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(tenant = %self.tenant, %error, "in/ waits"),
                Err(_) => return,
            }
            tokio::select! {
                changed = fresh.changed() => if changed.is_err() { return },
                () = sleep(Duration::from_secs(30)) => {}
            }
        }
    }

    /// Writes every received invoice that the feed has brought since the cursor.
    fn fill(&self) -> io::Result<()> {
        let durable = self.host.fresh().borrow().get(&self.tenant).copied().unwrap_or(0);
        let mut position = fs::read_to_string(&self.cursor)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0);
        if position > durable {
            // The truth was restored: its positions mean other things. What is there stays.
            position = 0;
        }
        loop {
            let rows = archive::feed(&*self.store, self.tenant, position, 256)
                .map_err(io::Error::other)?;
            let Some((last, _, _)) = rows.last().copied() else { return Ok(()) };
            for (at, log, seq) in rows {
                // What is applied and not yet durable is not there for anybody.
                if at > durable {
                    return write_new(&self.cursor, position.to_string().as_bytes());
                }
                self.deliver_bundle(&log, seq)?;
                position = at;
            }
            position = position.max(last);
            write_new(&self.cursor, position.to_string().as_bytes())?;
        }
    }

    fn deliver_bundle(&self, log: &engine::id::LogId, seq: u64) -> io::Result<()> {
        let stored =
            archive::bundle(&*self.store, self.tenant, log, seq).map_err(io::Error::other)?;
        let Ok(body) = engine::bundle::Body::decode(&stored.body) else { return Ok(()) };
        for document in body.documents() {
            if document.kind() != Some(engine::id::Kind::Invoice) {
                continue;
            }
            let changes =
                archive::changes(&*self.store, self.tenant, &document).map_err(io::Error::other)?;
            let Record::Invoice(invoice) = Record::derive(document, &changes) else { continue };
            if invoice.content.direction != Direction::Received {
                continue;
            }
            let original = invoice.content.original;
            let bytes = archive::blob(&*self.store, self.tenant, &document, &original)
                .map_err(io::Error::other)?;
            let Some(bytes) = bytes else { continue };
            let name = safe_name(&invoice.content.file_name);
            let mut target = self.root.join("in").join(&name);
            if fs::read(&target).is_ok_and(|there| there != bytes) {
                target = self.root.join("in").join(format!("{:.8}_{name}", original.to_string()));
            }
            if !target.exists() {
                write_new(&target, &bytes)?;
            }
        }
        Ok(())
    }
}

/// The files of `folder` that are not hidden and not another program's half-written ones.
fn list(folder: &Path) -> Vec<(PathBuf, Look)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| {
            let name = entry.file_name().to_string_lossy().to_lowercase();
            !name.starts_with('.') && ![".tmp", ".part", "~"].iter().any(|end| name.ends_with(end))
        })
        .filter_map(|entry| {
            let meta = entry.metadata().ok().filter(fs::Metadata::is_file)?;
            Some((entry.path(), (meta.len(), meta.modified().ok())))
        })
        .collect()
}

/// `name` in `folder`, numbered if something of that name is there.
fn free_name(folder: &Path, name: &str) -> PathBuf {
    let name = safe_name(name);
    let mut path = folder.join(&name);
    let mut n = 1;
    while path.exists() {
        n += 1;
        path = folder.join(format!("{n}_{name}"));
    }
    path
}

/// Writes a file that is either not there or whole.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let half = path.with_file_name(format!(".{name}.half"));
    fs::write(&half, bytes)?;
    fs::rename(half, path)
}
