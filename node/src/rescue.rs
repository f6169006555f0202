//! After a store was set aside, or went back by a transaction ([`crate::truth`]): invoices that only
//! it held are said again.
//!
//! Peers bring back what they hold. What had not reached any of them is in two places: the files
//! that were taken ([`crate::taken`]), and whatever a store that was set aside still gives whole. Both are
//! looked through once a peer has brought all it has, and each invoice that is not here is said, as it
//! was. The same file is the same document, so one that is said twice after all does no harm.
//!
//! What is not an invoice (a mark, an outcome) and reached nobody stays in what was set aside.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use engine::{
    archive,
    bundle::{Body, Item},
    document::invoice::{self, InvoiceContent, Receiving},
    id::{BlobHash, DocumentId, Kind, VatNumber},
    record::Record,
    store::Store,
};
use tokio::{task::spawn_blocking, time::sleep};

use crate::{
    host::{HostHandle, View},
    intake::Intake,
    moment::now_ms,
    private,
    taken::came_as,
    truth::{Note, Truth, TruthOptions, asides},
};

/// In a folder that was set aside, once it was looked through.
const DONE: &str = "looked-through";
/// A peer has brought all it has when so many looks in a row find nothing missing.
const LOOKS: u32 = 3;
const BEAT: Duration = Duration::from_secs(1);

/// A folder of files that were taken for a tenant, and whether they were received for it.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The tenant.
    pub tenant: VatNumber,
    /// The folder.
    pub folder: PathBuf,
    /// From the SdI, and not from the ERP.
    pub received: bool,
}

/// An invoice and its file.
struct Found {
    tenant: VatNumber,
    document: DocumentId,
    content: InvoiceContent,
    file: Vec<u8>,
}

/// Looks through whatever was set aside beside the store in `truth`, and through `taken`; returns
/// at once where that was done.
pub async fn run(truth: PathBuf, store: Arc<dyn Store>, host: HostHandle, taken: Vec<Taken>) {
    let asides = match asides(&truth) {
        Ok(all) => all.into_iter().filter(|aside| !aside.join(DONE).exists()).collect::<Vec<_>>(),
        Err(error) => {
            tracing::error!(%error, store = %truth.display(), "what was set aside cannot be listed");
            return;
        }
    };
    let went_back = Note::WentBack.is_on(&truth).then_some(None);
    let sources: Vec<_> = went_back.into_iter().chain(asides.into_iter().map(Some)).collect();
    if sources.is_empty() {
        return;
    }
    brought(&host).await;
    for aside in sources {
        let said = rescue(aside.as_deref(), &store, &host, taken.clone()).await;
        let noted = said.and_then(|said| note_done(&truth, aside.as_deref(), said).map(|()| said));
        let of = aside.as_deref().unwrap_or(&truth).display();
        match noted {
            Ok(said) => {
                tracing::warn!(
                    store = %of, said,
                    "after damage: invoices that only taken/ and what was set aside had were said again"
                );
            }
            Err(error) => {
                tracing::error!(
                    %error, store = %of,
                    "after damage: taken/ and what was set aside were not looked through, the next start tries again"
                );
            }
        }
    }
}

/// Waits until a peer has brought all it is known to hold.
async fn brought(host: &HostHandle) {
    let mut looks = 0;
    while looks < LOOKS {
        sleep(BEAT).await;
        looks = if has_brought(&host.view().await) { looks + 1 } else { 0 };
    }
}

fn has_brought(view: &View) -> bool {
    view.sessions.iter().filter(|session| session.greeted).any(|session| {
        let mut known = view.known.iter().filter(|((peer, _), _)| *peer == session.peer).peekable();
        let ours = |tenant| view.spaces.get(tenant).cloned().unwrap_or_default();
        known.peek().is_some() && known.all(|((_, tenant), held)| held.ahead_of(&ours(tenant)) == 0)
    })
}

/// Of what was set aside, or of the store in `truth` that went back: it was looked through.
fn note_done(truth: &Path, aside: Option<&Path>, said: usize) -> io::Result<()> {
    match aside {
        Some(aside) => {
            private::write(&aside.join(DONE), format!("{said} invoices said again\n").as_bytes())
        }
        None => Note::WentBack.take_off(truth),
    }
}

/// Says every invoice of `taken`, and of the store in `aside`, that is not here; how many.
async fn rescue(
    aside: Option<&Path>,
    store: &Arc<dyn Store>,
    host: &HostHandle,
    taken: Vec<Taken>,
) -> io::Result<usize> {
    let (here, from) = (Arc::clone(store), aside.map(Path::to_owned));
    let found = spawn_blocking(move || {
        let mut found = in_taken(&*here, &taken);
        found.extend(from.into_iter().flat_map(|from| in_store(&*here, &from)));
        found
    });
    let mut said = BTreeSet::new();
    for Found { tenant, document, content, file } in found.await.map_err(io::Error::other)? {
        // The ERP may have sent it again meanwhile.
        if is_here(&**store, tenant, &document) || !said.insert((tenant, document)) {
            continue;
        }
        let change = invoice::create(host.log(), &content).map_err(io::Error::other)?;
        let items = vec![Item::Change { document, change }];
        host.append(tenant, items, vec![file]).await.map_err(io::Error::other)?;
    }
    Ok(said.len())
}

fn is_here(store: &dyn Store, tenant: VatNumber, document: &DocumentId) -> bool {
    archive::index(store, tenant, document).is_ok_and(|rows| !rows.is_empty())
}

/// Invoices in the folders of taken files. What cannot be read there is no invoice any more.
fn in_taken(store: &dyn Store, taken: &[Taken]) -> Vec<Found> {
    let mut found = Vec::new();
    for Taken { tenant, folder, received } in taken {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let receiving = received.then(|| Receiving {
                sdi_id: String::new(),
                at_ms: now_ms(),
                metadata: None,
            });
            let read = Intake::from_file(&entry.path(), *tenant, receiving);
            let Ok(Ok((file, Intake { document, mut content, .. }))) = read else { continue };
            content.file_name = came_as(&content.file_name, &content.original).to_owned();
            if !is_here(store, *tenant, &document) {
                found.push(Found { tenant: *tenant, document, content, file });
            }
        }
    }
    found
}

/// Invoices that the store in `aside` still gives whole. It is read from a copy, so that it stays
/// as it was found.
fn in_store(store: &dyn Store, aside: &Path) -> Vec<Found> {
    let copy = aside.with_extension("copy");
    let opened = copy_files(aside, &copy).map_err(|error| error.to_string()).and_then(|()| {
        let options = TruthOptions {
            check_on_open_bytes_max: 0,
            reserve_bytes: 0,
            ..TruthOptions::default()
        };
        Truth::open(&copy, options).map_err(|error| error.to_string())
    });
    let found = match opened {
        Ok(damaged) => whole_invoices(&damaged, store),
        Err(why) => {
            tracing::warn!(aside = %aside.display(), %why, "only taken/ can be looked through");
            Vec::new()
        }
    };
    let _ = fs::remove_dir_all(&copy);
    found
}

fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    private::folder(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.metadata()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn whole_invoices(damaged: &dyn Store, store: &dyn Store) -> Vec<Found> {
    let mut found = Vec::new();
    let mut visit = |tenant: VatNumber, body: &Body| {
        for item in &body.items {
            let Item::Change { document, change } = item else { continue };
            if document.kind() != Some(Kind::Invoice) || is_here(store, tenant, document) {
                continue;
            }
            let Record::Invoice(record) = Record::derive(*document, &[change]) else { continue };
            let content = record.content;
            let original: BlobHash = content.original;
            if let Ok(Some(file)) = archive::blob(damaged, tenant, document, &original) {
                found.push(Found { tenant, document: *document, content, file });
            }
        }
    };
    archive::whole_bundles(damaged, &mut visit);
    found
}
