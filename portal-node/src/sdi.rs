//! A folder that stands for the SdI: files dropped below a P.IVA's name are invoices
//! received for it.
//!
//! A file is said once it stands still and moves to `taken/` once it is durable here; a
//! crash in between finds it again, and the same file is the same document.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use engine::{archive, document::invoice::Receiving, id::VatNumber, store::Store};
use node::{
    host::HostHandle,
    intake::{Intake, file_name, free_name},
    private,
    reason::Reason,
    rescue::Taken,
    spool::waiting::{STILL, Waiting},
};
use tokio::time::sleep;

/// The folder at work.
pub struct SdiFolder {
    root: PathBuf,
    host: HostHandle,
    store: Arc<dyn Store>,
}

impl SdiFolder {
    /// Makes the folders below `root`.
    ///
    /// # Errors
    /// When a folder cannot be made.
    pub fn open(root: &Path, host: HostHandle, store: Arc<dyn Store>) -> io::Result<Self> {
        for folder in ["taken", "rejected"] {
            private::shared_folder(&root.join(folder))?;
        }
        Ok(Self { root: root.to_owned(), host, store })
    }

    /// Where files go once they are taken, by tenant.
    #[must_use]
    pub fn taken(&self) -> Vec<Taken> {
        let root = self.root.join("taken");
        let entries = fs::read_dir(&root).into_iter().flatten().flatten();
        let named = |entry: fs::DirEntry| VatNumber::parse(&entry.file_name().to_string_lossy());
        let tenants = entries.filter_map(|entry| named(entry).ok());
        let of = |tenant: VatNumber| Taken {
            tenant,
            folder: root.join(tenant.to_string()),
            received: true,
        };
        tenants.map(of).collect()
    }

    /// Takes files until the task is dropped.
    pub async fn run(self) {
        let mut folders = BTreeMap::new();
        loop {
            for tenant in self.tenants() {
                self.take_ready(tenant, folders.entry(tenant).or_default()).await;
            }
            sleep(STILL).await;
        }
    }

    fn tenants(&self) -> Vec<VatNumber> {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let named = |entry: fs::DirEntry| VatNumber::parse(&entry.file_name().to_string_lossy());
        entries.filter_map(|entry| named(entry).ok()).collect()
    }

    async fn take_ready(&self, tenant: VatNumber, waiting: &mut Waiting) {
        let folder = self.root.join(tenant.to_string());
        if let Err(error) = waiting.look(&folder, Instant::now()) {
            tracing::debug!(%tenant, %error, "the folder cannot be read");
            return;
        }
        for (path, may_reject) in waiting.ready(Instant::now()) {
            match self.take(tenant, &path, may_reject).await {
                Ok(true) => {}
                Ok(false) => waiting.wait(&path),
                Err(error) => {
                    let why = format!("{} waits: {error}", path.display());
                    if waiting.retry(&path, why.clone(), Instant::now()) {
                        tracing::error!(%tenant, "{why}");
                    }
                }
            }
        }
    }

    /// Returns false when the file may still be being written.
    async fn take(&self, tenant: VatNumber, path: &Path, may_reject: bool) -> io::Result<bool> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let receiving = Receiving { sdi_id: String::new(), at_ms, metadata: None };
        let (bytes, intake) = match Intake::from_file(path, tenant, Some(receiving))? {
            Ok(whole) => whole,
            Err(_) if !may_reject => return Ok(false),
            Err(reason) => return self.reject(tenant, path, &reason).map(|()| true),
        };
        let known = archive::index(&*self.store, tenant, &intake.document);
        if known.map_err(io::Error::other)?.is_empty() {
            let item = match intake.item(self.host.log()) {
                Ok(item) => item,
                Err(error) => return self.reject(tenant, path, &error.into()).map(|()| true),
            };
            self.host.append(tenant, vec![item], vec![bytes]).await.map_err(io::Error::other)?;
        }
        fs::rename(path, free_name(&self.folder("taken", tenant)?, &file_name(path)))?;
        Ok(true)
    }

    fn reject(&self, tenant: VatNumber, path: &Path, reason: &Reason) -> io::Result<()> {
        let name = file_name(path);
        let target = free_name(&self.folder("rejected", tenant)?, &name);
        let mut note = target.clone().into_os_string();
        note.push(".motivo.txt");
        fs::write(note, reason.note(&name))?;
        fs::rename(path, target)?;
        tracing::warn!(%tenant, file = name, why = %reason, "rejected");
        Ok(())
    }

    fn folder(&self, name: &str, tenant: VatNumber) -> io::Result<PathBuf> {
        let folder = self.root.join(name).join(tenant.to_string());
        private::shared_folder(&folder)?;
        Ok(folder)
    }
}
