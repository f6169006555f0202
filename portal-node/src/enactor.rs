//! Makes grants what onboarding says: an enabled customer's certificates may replicate, and one
//! that ended may not, without anybody restarting anything. A suspended customer's may not either
//! until it is resumed.
//!
//! It looks again whenever a space changed, here or on the other portal, since the last paper
//! may be signed on one while the administrator admits on the other. Doing it twice is doing it
//! once. A customer that only changes its data afterwards goes on replicating. A grant can only be
//! ended for ever, so suspension leaves it: both portals keep the customer's keys out instead, each
//! by what the office says now, and let them in again when it says otherwise.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use engine::{
    archive::ReadError,
    bundle::Item,
    document::{
        contract::ContractEdit,
        step::{Act, Step},
    },
    grant::Grant,
    id::{OFFICE, VatNumber},
};
use node::{host::HostHandle, transport::PinSet};
use tokio::time::sleep;

use crate::{
    books::BookError,
    office::{Office, now_ms},
    onboarding::{Stage, onboarding},
    portal::Portal,
};

/// Pause after something went wrong.
const RETRY: Duration = Duration::from_secs(1);

/// Follows every space until the host ends.
pub async fn run(portal: Arc<Portal>) {
    let mut fresh = portal.host.fresh();
    let mut seen: BTreeMap<VatNumber, u64> = BTreeMap::new();
    loop {
        let now = fresh.borrow_and_update().clone();
        let moved: Vec<_> =
            now.iter().filter(|(vat, at)| seen.get(vat) != Some(at)).map(|(vat, _)| *vat).collect();
        // The office says who is a customer and who was admitted: look at every one.
        let customers = portal.office.customers().map(|all| all.into_iter().map(|(vat, _)| vat));
        let due: Vec<_> = match customers {
            Ok(customers) if moved.contains(&OFFICE) => customers.collect(),
            Ok(customers) => customers.filter(|vat| moved.contains(vat)).collect(),
            Err(_) => vec![],
        };
        let mut failed = false;
        for vat in due {
            if let Err(error) = enact(&portal, vat).await {
                tracing::error!(%vat, %error, "what was decided is not done yet");
                failed = true;
            }
        }
        if failed {
            sleep(RETRY).await;
            continue;
        }
        seen = now;
        if fresh.changed().await.is_err() {
            return;
        }
    }
}

/// Keeps the nodes of suspended customers out until the host ends, whether or not this portal has
/// pages: what one decided both do.
pub async fn keep_out(office: Arc<Office>, host: HostHandle, pins: PinSet) {
    let (mut fresh, mut seen) = (host.fresh(), None);
    loop {
        let now = fresh.borrow_and_update().get(&OFFICE).copied();
        if now != seen {
            match bar(&office, &pins) {
                Ok(()) => seen = now,
                Err(error) => {
                    tracing::error!(%error, "who is suspended is not known now");
                    sleep(RETRY).await;
                    continue;
                }
            }
        }
        if fresh.changed().await.is_err() {
            return;
        }
    }
}

/// Keeps the nodes of suspended customers out. A key that serves another customer too, who is not
/// suspended, stays.
///
/// # Errors
/// [`ReadError`]; whoever was kept out stays out.
pub fn bar(office: &Office, pins: &PinSet) -> Result<(), ReadError> {
    let (mut barred, mut served) = (BTreeSet::new(), BTreeSet::new());
    for (_, customer) in office.customers()? {
        let keys = customer.certificates.iter().filter(|(_, ended)| ended.is_none());
        let keys = keys.map(|(certificate, _)| certificate.peer());
        if customer.suspended_ms.is_some() {
            barred.extend(keys);
        } else {
            served.extend(keys);
        }
    }
    barred.retain(|peer| !served.contains(peer));
    pins.bar(barred);
    Ok(())
}

/// Makes the grants of `vat` what its papers say now.
///
/// # Errors
/// [`BookError`]; it is tried again.
pub async fn enact(portal: &Portal, vat: VatNumber) -> Result<(), BookError> {
    let Some(customer) = portal.office.customer(vat)? else { return Ok(()) };
    let contract = portal.books.contract(vat)?;
    let profile = portal.books.profile(vat)?;
    let stage = onboarding(vat, &profile, &contract, &customer).stage;
    let is_enabled = contract.enabled_ms.is_some();
    let mut granted = false;
    for (certificate, ended) in &customer.certificates {
        let peer = certificate.peer();
        let standing = portal.host.standing(vat, peer).await;
        if ended.is_some() {
            if standing.may_hold {
                portal.host.revoke(vat, peer).await?;
            }
        } else if (stage == Stage::Enabled || (is_enabled && stage != Stage::Suspended))
            && !standing.may_hold
            && !standing.is_revoked
        {
            let not_after_ms = certificate.not_after_ms;
            let grant = Grant { spki: certificate.spki.clone(), not_after_ms };
            portal.host.append(vat, vec![Item::Grant(grant)], vec![]).await?;
            granted = true;
        }
    }
    if stage != Stage::Enabled || is_enabled {
        if granted {
            tracing::info!(%vat, "a further certificate may replicate");
        }
        return Ok(());
    }
    let (act, at_ms) = (Act::Enabled, now_ms());
    let since = Some(at_ms);
    let by = portal.host.peer();
    let step = Step { at_ms, act, user: String::new(), peer: by, note: String::new() };
    let edits = vec![ContractEdit::Enabled(since), ContractEdit::Step(step)];
    portal.books.edit_contract(vat, vec![], |_| Ok(edits)).await
}
