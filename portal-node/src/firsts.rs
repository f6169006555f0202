//! Which customers have sent an invoice: the test that ends a pilot's first day. Found out from
//! the mirror once and kept, since an invoice never goes away.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use engine::{
    document::invoice::Direction,
    id::{Kind, VatNumber},
    record::Record,
};
use node::mirror::{Mirror, MirrorError};

/// Changes read at a time.
const BATCH: usize = 1024;

/// See the module's header.
pub struct Firsts {
    mirror: Arc<Mirror>,
    seen: Mutex<BTreeMap<VatNumber, Seen>>,
}

#[derive(Clone, Copy, Default)]
struct Seen {
    has_sent: bool,
    position: u64,
    /// Which mirror the position is of.
    renewals: usize,
}

impl Firsts {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(mirror: Arc<Mirror>) -> Self {
        Self { mirror, seen: Mutex::default() }
    }

    /// Whether `tenant` has sent an invoice. Blocks: it reads the mirror.
    ///
    /// # Errors
    /// [`MirrorError`]
    pub fn has_sent(&self, tenant: VatNumber) -> Result<bool, MirrorError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.entry(tenant).or_default();
        let renewals = self.mirror.renewals(tenant);
        if seen.renewals != renewals {
            // The mirror was begun anew, maybe upon a truth that has its bundles in another order.
            (seen.renewals, seen.position) = (renewals, 0);
        }
        while !seen.has_sent {
            let changes = self.mirror.changes_after(tenant, seen.position, BATCH)?;
            let Some(last) = changes.last() else { break };
            seen.position = last.position;
            for change in &changes {
                if change.document.kind() == Some(Kind::Invoice)
                    && let Some(bytes) = self.mirror.get(tenant, change.document)?
                    && let Ok(Record::Invoice(record)) = Record::decode(&bytes)
                {
                    seen.has_sent |= record.content.direction == Direction::Sent;
                }
            }
        }
        Ok(seen.has_sent)
    }
}
