//! Invoices that a receiver has, looked up on both sides: by a sender, who says by which bundle
//! they came instead of naming them again, and by the receiver, who finds what was meant.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use super::{Stored, index::visit_index, row::bundle_key};
use crate::{
    bundle::{Body, Item},
    fault::Fault,
    id::{DocumentId, Kind, VatNumber},
    limits,
    store::{Store, Table},
    vector::Vector,
    wire::{Known, Reference, Run},
};

/// An invoice is said once, or by both portals; of one that is said more often no more is read.
const INDEX_ROWS_MAX: usize = 8;

/// The invoices that a body says something about without bringing them.
pub(super) fn about(body: &Body) -> impl Iterator<Item = DocumentId> + '_ {
    body.items.iter().filter_map(|item| match item {
        Item::Change { document, .. } => {
            let told = matches!(document.kind(), Some(Kind::Outcome | Kind::Annotation));
            told.then(|| document.sibling(Kind::Invoice))
        }
        Item::Grant(_) | Item::Revocation(_) => None,
    })
}

/// Those of the invoices that whoever holds `held` has, each with a bundle that brought it. What
/// cannot be read here is said in full.
pub(super) fn known(
    store: &dyn Store,
    tenant: VatNumber,
    invoices: &BTreeSet<DocumentId>,
    held: &Vector,
) -> Known {
    let mut bringers = Vec::new();
    for invoice in invoices.iter().take(limits::RUN_REFERENCES_MAX) {
        bringers.extend(bringer(store, tenant, invoice, held).map(|place| (place, invoice)));
    }
    // In the order in which they lie in the store.
    bringers.sort_unstable();
    let mut looking = Looking::up(store, tenant);
    bringers.retain(|(place, invoice)| looking.brought(*place) == Some(**invoice));
    bringers.into_iter().map(|(place, invoice)| (invoice.about(), place)).collect()
}

/// A bundle of `held` that says something of this invoice; one of the first to.
fn bringer(
    store: &dyn Store,
    tenant: VatNumber,
    invoice: &DocumentId,
    held: &Vector,
) -> Option<Reference> {
    let (mut found, mut rows) = (None, 0);
    let looked = visit_index(store, tenant, invoice, &mut |log, seq| {
        rows += 1;
        found = (seq <= held.get(&log)).then_some((log, seq));
        match found.is_some() || rows >= INDEX_ROWS_MAX {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    looked.ok().and(found)
}

/// What the receiver of a run does before its engine sees it: looks up what it refers to. A run that
/// still refers to something comes back where a row is not here or damaged: the engine then asks for
/// it without references.
///
/// # Errors
/// [`Fault`] names what is wrong with the bytes.
pub fn resolve(store: &dyn Store, run: Run) -> Result<Run, Fault> {
    if !run.refers() {
        return Ok(run);
    }
    let references = run.references()?;
    let mut looking = Looking::up(store, run.tenant.0);
    let mut found: BTreeMap<Reference, _> = references.iter().map(|of| (*of, None)).collect();
    for (place, invoice) in &mut found {
        let Some(document) = looking.brought(*place) else { return Ok(run) };
        *invoice = Some(document.about());
    }
    let invoices: Vec<_> = references.iter().filter_map(|of| found[of]).collect();
    run.resolved(&invoices)
}

/// Looks up what bundles brought, until that is too much for one run.
struct Looking<'a> {
    store: &'a dyn Store,
    tenant: VatNumber,
    bytes_left: usize,
}

impl<'a> Looking<'a> {
    fn up(store: &'a dyn Store, tenant: VatNumber) -> Self {
        Self { store, tenant, bytes_left: limits::RUN_REFERRED_BYTES_MAX }
    }

    /// The first invoice that a bundle brings, if its row is here and its body whole.
    fn brought(&mut self, (log, seq): Reference) -> Option<DocumentId> {
        let key = bundle_key(self.tenant, &log, seq);
        let value = self.store.get(Table::Bundles, &key).ok().flatten()?;
        self.bytes_left = self.bytes_left.checked_sub(value.len())?;
        let body = Stored::decode_body(self.tenant, &log, seq, &value)?;
        body.items.iter().find_map(|item| match item {
            Item::Change { document, .. } => {
                (document.kind() == Some(Kind::Invoice)).then_some(*document)
            }
            Item::Grant(_) | Item::Revocation(_) => None,
        })
    }
}
