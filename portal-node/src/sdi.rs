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
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use engine::{archive, document::invoice::Receiving, id::VatNumber, store::Store};
use node::{
    host::HostHandle,
    intake::{Intake, safe_name},
};
use tokio::time::sleep;

const BEAT: Duration = Duration::from_millis(500);

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
            fs::create_dir_all(root.join(folder))?;
        }
        Ok(Self { root: root.to_owned(), host, store })
    }

    /// Takes files until the task is dropped.
    pub async fn run(self) {
        let mut looks = BTreeMap::new();
        loop {
            let now = self.look();
            for ((tenant, path), look) in &now {
                if looks.get(&(*tenant, path.clone())) == Some(look)
                    && let Err(error) = self.take(*tenant, path).await
                {
                    tracing::error!(%tenant, path = %path.display(), %error, "a received file waits");
                }
            }
            looks = now;
            sleep(BEAT).await;
        }
    }

    fn look(&self) -> BTreeMap<(VatNumber, PathBuf), (u64, Option<SystemTime>)> {
        let mut found = BTreeMap::new();
        for folder in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let Ok(tenant) = VatNumber::parse(&folder.file_name().to_string_lossy()) else {
                continue;
            };
            for file in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
                let hidden = file.file_name().to_string_lossy().starts_with('.');
                if let Some(meta) = file.metadata().ok().filter(|m| m.is_file() && !hidden) {
                    found.insert((tenant, file.path()), (meta.len(), meta.modified().ok()));
                }
            }
        }
        found
    }

    async fn take(&self, tenant: VatNumber, path: &Path) -> io::Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = fs::read(path)?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let receiving = Receiving { sdi_id: String::new(), at_ms, metadata: None };
        let intake = match Intake::read(&name, &bytes, Some(receiving)) {
            Ok(intake) => intake,
            Err(error) => {
                return self.move_to("rejected", tenant, path, &name, Some(&error.to_string()));
            }
        };
        let known = archive::index(&*self.store, tenant, &intake.document);
        if known.map_err(io::Error::other)?.is_empty() {
            let item = match intake.item(self.host.log()) {
                Ok(item) => item,
                Err(error) => {
                    return self.move_to("rejected", tenant, path, &name, Some(&error.to_string()));
                }
            };
            self.host.append(tenant, vec![item], vec![bytes]).await.map_err(io::Error::other)?;
        }
        self.move_to("taken", tenant, path, &name, None)
    }

    fn move_to(
        &self,
        folder: &str,
        tenant: VatNumber,
        path: &Path,
        name: &str,
        why: Option<&str>,
    ) -> io::Result<()> {
        let folder = self.root.join(folder).join(tenant.to_string());
        fs::create_dir_all(&folder)?;
        let name = safe_name(name);
        if let Some(why) = why {
            tracing::warn!(%tenant, file = name, why, "not a FatturaPA file");
            fs::write(folder.join(format!("{name}.motivo.txt")), why)?;
        }
        fs::rename(path, folder.join(name))
    }
}
