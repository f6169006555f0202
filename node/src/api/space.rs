//! One tenant's space as the API reaches it: the truth to read originals from, the mirror and its
//! register to list from, the host to say things through. A node has one for each P.IVA it serves,
//! a portal one for each customer.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use engine::bundle::Item;
use engine::{
    archive,
    document::annotation::{self, AnnotationEdit},
    document::invoice::InvoiceContent,
    id::{BlobHash, DocumentId, Kind, PeerId, VatNumber},
    record::{AnnotationRecord, OutcomeRecord, Record},
    store::Store,
};
use tokio::{sync::Mutex, task::spawn_blocking};

use super::{
    model::{InvoiceSummary, PortalView, SyncStatus},
    problem::Problem,
};
use crate::{
    feed::Feed,
    freshness::Remembered,
    host::{HostHandle, View},
    judgement::Judge,
    mirror::Mirror,
    moment::{now_ms, rfc3339},
    projector::Projector,
    register::Register,
    status::{TenantStatus, as_of, tenant_status},
    taken,
};

/// How long a view of the host is used again: lists ask more often than lines change.
const VIEW_AGE: Duration = Duration::from_secs(1);

/// Where the API finds spaces.
pub trait Spaces: Send + Sync + 'static {
    /// The space of `tenant`, if it is served here.
    fn space(&self, tenant: VatNumber) -> Option<Arc<Space>>;
}

/// Spaces that do not change while the service runs.
impl Spaces for std::collections::BTreeMap<VatNumber, Arc<Space>> {
    fn space(&self, tenant: VatNumber) -> Option<Arc<Space>> {
        self.get(&tenant).cloned()
    }
}

/// What a space is made of.
pub struct SpaceParts {
    /// The P.IVA.
    pub tenant: VatNumber,
    /// Through which things are said.
    pub host: HostHandle,
    /// The truth.
    pub store: Arc<dyn Store>,
    /// The mirror.
    pub mirror: Arc<Mirror>,
    /// Who says what the SdI would of an invoice to be sent, with the register of them all.
    pub judge: Judge,
    /// The portals by name. A portal, which is the source of what it shows, gives only its twin.
    pub portals: Vec<(String, PeerId)>,
    /// Whether this server is itself a portal: then what it shows is of now.
    pub is_source: bool,
    /// Since when what is shown is complete, as known before this start.
    pub remembered: Remembered,
    /// Where what is taken is kept too, until whoever minds the folder takes it away. A portal
    /// has no such folder: its twin has what it has.
    pub taken: Option<PathBuf>,
}

/// One tenant's space. See the module's header.
pub struct Space {
    parts: SpaceParts,
    feed: Feed,
    annotating: Mutex<()>,
    view: Mutex<Option<(Instant, Arc<View>)>>,
}

/// The records about one invoice.
pub struct Records {
    /// The invoice's document.
    pub id: DocumentId,
    /// What it says.
    pub content: InvoiceContent,
    /// What the SdI said.
    pub outcome: Option<OutcomeRecord>,
    /// The ERP's marks.
    pub annotation: Option<AnnotationRecord>,
}

impl Records {
    /// As a list shows it.
    #[must_use]
    pub fn summary(&self) -> InvoiceSummary {
        InvoiceSummary::of(self.id, &self.content, self.outcome.as_ref(), self.annotation.as_ref())
    }
}

impl Space {
    /// A space from its parts.
    #[must_use]
    pub fn new(parts: SpaceParts) -> Self {
        let feed = Feed::new(
            parts.tenant,
            Arc::clone(&parts.store),
            Arc::clone(&parts.mirror),
            parts.host.rebuilds(),
        );
        Self { parts, feed, annotating: Mutex::default(), view: Mutex::default() }
    }

    /// The P.IVA.
    #[must_use]
    pub fn tenant(&self) -> VatNumber {
        self.parts.tenant
    }

    /// Through which things are said.
    #[must_use]
    pub fn host(&self) -> &HostHandle {
        &self.parts.host
    }

    /// The truth.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.parts.store
    }

    /// The mirror.
    #[must_use]
    pub fn mirror(&self) -> &Mirror {
        &self.parts.mirror
    }

    /// What keeps this space's mirror equal to its truth, to compare them.
    #[must_use]
    pub fn projector(&self) -> Projector {
        let Self { parts, .. } = self;
        Projector::new(parts.tenant, Arc::clone(&parts.store), Arc::clone(&parts.mirror))
    }

    /// The invoices in order. Its questions block.
    #[must_use]
    pub fn register(&self) -> &Register {
        self.parts.judge.register()
    }

    /// Who says what the SdI would of an invoice to be sent. It blocks.
    #[must_use]
    pub fn judge(&self) -> &Judge {
        &self.parts.judge
    }

    /// What changed. Its questions block.
    #[must_use]
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Keeps a file that was taken beside the truth. Blocks; durable once it returns.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn keep(&self, name: &str, file: &BlobHash, bytes: &[u8]) -> Result<(), Problem> {
        let Some(folder) = &self.parts.taken else { return Ok(()) };
        taken::keep(folder, name, file, bytes).map_err(|error| Problem::unavailable(&error))
    }

    /// Runs what reads a disk where it keeps nobody else waiting.
    ///
    /// # Errors
    /// What `call` says, or that it failed altogether.
    pub async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        call: impl FnOnce(&Self) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let space = Arc::clone(self);
        let read = spawn_blocking(move || call(&space)).await;
        read.unwrap_or_else(|error| Err(Problem::unavailable(&error)))
    }

    /// The records about `invoice`, if there is such an invoice. Blocks.
    ///
    /// # Errors
    /// The mirror does not answer.
    pub fn records(&self, invoice: DocumentId) -> Result<Option<Records>, Problem> {
        let record = |kind| -> Result<Option<Record>, Problem> {
            let bytes = self.mirror().get(self.tenant(), invoice.sibling(kind))?;
            bytes
                .map(|bytes| Record::decode(&bytes))
                .transpose()
                .map_err(|error| Problem::unavailable(&error))
        };
        let Some(Record::Invoice(found)) = record(Kind::Invoice)? else { return Ok(None) };
        let outcome = match record(Kind::Outcome)? {
            Some(Record::Outcome(outcome)) => Some(outcome),
            _ => None,
        };
        let annotation = match record(Kind::Annotation)? {
            Some(Record::Annotation(annotation)) => Some(annotation),
            _ => None,
        };
        let content = found.content;
        Ok(Some(Records { id: invoice, content, outcome, annotation }))
    }

    /// The bytes of the file `hash` that came with `document`. Blocks.
    ///
    /// # Errors
    /// The truth cannot be read; then it is fetched again from a peer.
    pub fn file(&self, document: DocumentId, hash: &BlobHash) -> Result<Option<Vec<u8>>, Problem> {
        archive::blob(&**self.store(), self.tenant(), &document, hash).map_err(|error| {
            self.host().damaged(&error);
            error.into()
        })
    }

    /// Makes `edits` to the marks on `invoice`. They are durable once this returns.
    ///
    /// # Errors
    /// The invoice is not here, or the marks cannot be written.
    pub async fn annotate(
        self: &Arc<Self>,
        invoice: DocumentId,
        edits: Vec<AnnotationEdit>,
    ) -> Result<(), Problem> {
        // A change is made upon every change of ours before it, so one at a time.
        let _annotating = self.annotating.lock().await;
        let document = invoice.sibling(Kind::Annotation);
        let change = self
            .read(move |space| {
                let known = archive::index(&**space.store(), space.tenant(), &invoice)?;
                if known.is_empty() {
                    return Err(Problem::not_found());
                }
                let existing = archive::changes(&**space.store(), space.tenant(), &document)?;
                let existing: Vec<_> = existing.iter().map(Vec::as_slice).collect();
                annotation::edit(space.host().log(), &existing, &edits).map_err(|error| {
                    Problem::body(
                        format!("le annotazioni non si possono scrivere: {error}"),
                        format!("the marks cannot be written: {error}"),
                    )
                })
            })
            .await?;
        if let Some(change) = change {
            let items = vec![Item::Change { document, change }];
            self.host().append(self.tenant(), items, vec![]).await?;
        }
        Ok(())
    }

    /// Waits until the mirror shows all that is durable now, but not for long: whoever wrote
    /// reads what it wrote.
    pub async fn settled(&self) {
        let durable = self.host().fresh().borrow().get(&self.tenant()).copied().unwrap_or(0);
        let mut moved = self.mirror().moved();
        let wait = async {
            while self.mirror().position(self.tenant()).is_ok_and(|shown| shown < durable) {
                if moved.changed().await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(2), wait).await;
    }

    /// When what is shown was last known to be all there is, milliseconds since 1970.
    pub async fn as_of_ms(&self) -> Option<u64> {
        if self.parts.is_source {
            return Some(now_ms());
        }
        let known = as_of(&*self.view().await, self.tenant(), now_ms() / 1000);
        self.parts.remembered.or(known.map(|seconds| seconds * 1000))
    }

    /// The same as text.
    pub async fn as_of(&self) -> Option<String> {
        self.as_of_ms().await.map(rfc3339)
    }

    /// The portals that hold every bundle about `document`, by name.
    ///
    /// # Errors
    /// The truth cannot be read.
    pub async fn held_by(self: &Arc<Self>, document: DocumentId) -> Result<Vec<String>, Problem> {
        let rows = self
            .read(move |space| Ok(archive::index(&**space.store(), space.tenant(), &document)?))
            .await?;
        let view = self.view().await;
        let holds = |pin: &PeerId| {
            let known = view.known.get(&(*pin, self.tenant()));
            known.is_some_and(|held| rows.iter().all(|(log, seq)| held.get(log) >= *seq))
        };
        let portals = self.parts.portals.iter().filter(|(_, pin)| !rows.is_empty() && holds(pin));
        Ok(portals.map(|(name, _)| name.clone()).collect())
    }

    /// How fresh what is shown here is.
    pub async fn sync_status(&self) -> SyncStatus {
        let status = self.status().await;
        SyncStatus {
            vat: status.vat,
            as_of: status.as_of.map(|seconds| rfc3339(seconds * 1000)),
            bundles: status.bundles,
            queued: status.queued,
            mirror_behind: status.mirror_behind,
            records: status.records.unwrap_or(0),
            portals: status
                .portals
                .into_iter()
                .map(|portal| PortalView {
                    name: portal.name,
                    connected: portal.connected,
                    to_send: portal.pending_up,
                    to_fetch: portal.pending_down,
                    last_sync: portal.last_sync.map(|seconds| rfc3339(seconds * 1000)),
                })
                .collect(),
            storage: status.storage,
            alarms: status.alarms,
        }
    }

    /// The same with routes and sessions left as the host sees them: for figures.
    pub async fn status(&self) -> TenantStatus {
        let view = self.view().await;
        let Self { parts, .. } = self;
        let log = parts.host.log();
        let mut status = tenant_status(&view, parts.tenant, &parts.portals, &log, 0, 0);
        let durable = self.host().fresh().borrow().get(&self.tenant()).copied().unwrap_or(0);
        let shown = self.mirror().position(self.tenant()).unwrap_or(0);
        status.mirror_behind = durable.saturating_sub(shown);
        status.records = self.mirror().count(self.tenant()).ok();
        status.as_of = self.as_of_ms().await.map(|ms| ms / 1000);
        status
    }

    async fn view(&self) -> Arc<View> {
        let mut kept = self.view.lock().await;
        if let Some((at, view)) = &*kept
            && at.elapsed() < VIEW_AGE
        {
            return Arc::clone(view);
        }
        let view = Arc::new(self.host().view().await);
        *kept = Some((Instant::now(), Arc::clone(&view)));
        view
    }
}
