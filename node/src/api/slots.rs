//! What each tenant may hold at once, so that one that holds all of its own keeps no other
//! waiting.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use engine::id::VatNumber;
use tokio::sync::Semaphore;

/// So many of something for each tenant. Clones are the same.
#[derive(Clone)]
pub struct Slots {
    each: usize,
    tenants: Arc<Mutex<HashMap<VatNumber, Arc<Semaphore>>>>,
}

impl Slots {
    /// `each` for each tenant.
    #[must_use]
    pub fn of_each(each: usize) -> Self {
        Self { each, tenants: Arc::default() }
    }

    /// Those of `tenant`, which is one that is served here.
    #[must_use]
    pub fn of(&self, tenant: VatNumber) -> Arc<Semaphore> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let slots = tenants.entry(tenant).or_insert_with(|| Arc::new(Semaphore::new(self.each)));
        Arc::clone(slots)
    }
}
