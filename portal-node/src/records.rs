//! Keeps the portal's mirror equal to its truth, every tenant's in one loop: a portal has
//! thousands of tenants, and most of them rest.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use engine::{id::VatNumber, store::Store};
use node::{
    host::HostHandle,
    mirror::Mirror,
    projector::{ProjectError, Projector},
};
use tokio::{task::spawn_blocking, time::sleep};

/// Pause after something went wrong.
const RETRY: Duration = Duration::from_secs(1);

/// Follows the feed of every tenant until the host ends. The office is no tenant: what stands
/// there is read from the truth.
pub async fn run(host: HostHandle, store: Arc<dyn Store>, mirror: Arc<Mirror>) {
    let (mut fresh, mut rebuilds) = (host.fresh(), host.rebuilds());
    let mut done: BTreeMap<VatNumber, (u64, u64)> = BTreeMap::new();
    loop {
        let wanted = rebuilds.borrow_and_update().clone();
        let upto = fresh.borrow_and_update().clone();
        let mut failed = false;
        for (tenant, at) in upto {
            let count = wanted.get(&tenant).copied().unwrap_or(0);
            let before = done.get(&tenant).copied();
            if tenant == engine::id::OFFICE || before == Some((at, count)) {
                continue;
            }
            let anew = before.is_some_and(|(_, counted)| counted != count);
            let projector = Projector::new(tenant, Arc::clone(&store), Arc::clone(&mirror));
            let mirror = Arc::clone(&mirror);
            let step = spawn_blocking(move || {
                if anew {
                    mirror.clear(tenant)?;
                }
                projector.follow(at)
            });
            match step.await {
                Ok(Ok(())) => {
                    done.insert(tenant, (at, count));
                }
                Ok(Err(error)) => {
                    tracing::warn!(%tenant, %error, "the mirror waits");
                    if let ProjectError::Read(error) = &error {
                        host.damaged(error);
                    }
                    failed = true;
                }
                Err(_) => return,
            }
        }
        if failed {
            sleep(RETRY).await;
            continue;
        }
        tokio::select! {
            changed = fresh.changed() => if changed.is_err() { return },
            changed = rebuilds.changed() => if changed.is_err() { return },
        }
    }
}
