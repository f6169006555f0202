//! The customers' spaces as lists and the API reach them: made when first asked for, and let go
//! when many others were asked for since, since each keeps its register in memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use engine::{
    id::{OFFICE, PeerId, VatNumber},
    store::Store,
};
use node::{
    api::space::{Space, SpaceParts, Spaces},
    freshness::Remembered,
    host::HostHandle,
    judgement::Judge,
    mirror::Mirror,
    register::Register,
};

/// Spaces kept: some 200 bytes an invoice each.
const SPACES_MAX: usize = 256;

/// The spaces of this portal.
pub struct Customers {
    host: HostHandle,
    store: Arc<dyn Store>,
    mirror: Arc<Mirror>,
    twins: Vec<(String, PeerId)>,
    kept: Mutex<Kept>,
}

/// The turn, and each space with the turn in which it was last asked for.
type Kept = (u64, BTreeMap<VatNumber, (u64, Arc<Space>)>);

impl Customers {
    /// None yet. `twins` are the other portals.
    #[must_use]
    pub fn new(
        host: HostHandle,
        store: Arc<dyn Store>,
        mirror: Arc<Mirror>,
        twins: Vec<(String, PeerId)>,
    ) -> Self {
        Self { host, store, mirror, twins, kept: Mutex::default() }
    }

    /// The space of a customer. The caller has the right to it.
    #[must_use]
    pub fn of(&self, tenant: VatNumber) -> Arc<Space> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (turn, spaces) = &mut *kept;
        *turn += 1;
        if let Some((used, space)) = spaces.get_mut(&tenant) {
            *used = *turn;
            return Arc::clone(space);
        }
        if spaces.len() >= SPACES_MAX
            && let Some(oldest) = spaces.iter().min_by_key(|(_, (used, _))| *used).map(|(v, _)| *v)
        {
            spaces.remove(&oldest);
        }
        let space = Arc::new(Space::new(SpaceParts {
            tenant,
            host: self.host.clone(),
            store: Arc::clone(&self.store),
            mirror: Arc::clone(&self.mirror),
            judge: Judge::new(Arc::new(Register::new(tenant, Arc::clone(&self.mirror)))),
            portals: self.twins.clone(),
            is_source: true,
            // What a source shows is of now.
            remembered: Remembered::default(),
            taken: None,
        }));
        spaces.insert(tenant, (*turn, Arc::clone(&space)));
        space
    }
}

impl Spaces for Customers {
    fn space(&self, tenant: VatNumber) -> Option<Arc<Space>> {
        (tenant != OFFICE).then(|| self.of(tenant))
    }
}
