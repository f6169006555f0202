//! Accounts and customers as they stand in the truth now.
//!
//! Everything that decides whether somebody may come in is asked here at every request, so it
//! is kept in memory; and a password changed or a certificate ended a moment ago, here or on
//! the other portal, must count, so each question first follows the feed of the truth to its
//! end. If the truth cannot be read nobody comes in. It writes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use engine::{
    archive::{self, ReadError},
    bundle::Body,
    document::account::AccountRole,
    id::{DocumentId, OFFICE, PeerId, VatNumber},
    record::{AccountRecord, CustomerRecord, Record},
    store::Store,
};
use node::host::HostHandle;

/// Feed rows read at a time.
const BATCH_ROWS: usize = 1024;

/// Milliseconds since 1970.
#[must_use]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The office. See the module's header.
pub struct Office {
    store: Arc<dyn Store>,
    host: HostHandle,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    position: u64,
    rebuilt: u64,
    accounts: BTreeMap<String, Arc<AccountRecord>>,
    customers: BTreeMap<VatNumber, Arc<CustomerRecord>>,
    pins: BTreeMap<PeerId, BTreeSet<VatNumber>>,
    members: BTreeMap<VatNumber, BTreeSet<String>>,
}

impl Office {
    /// The office of `host`, which keeps its truth in `store`.
    #[must_use]
    pub fn new(host: HostHandle, store: Arc<dyn Store>) -> Self {
        Self { store, host, state: Mutex::default() }
    }

    /// The account of `user`.
    ///
    /// # Errors
    /// [`ReadError`]: nobody may be let in.
    pub fn account(&self, user: &str) -> Result<Option<Arc<AccountRecord>>, ReadError> {
        self.with(|state| state.accounts.get(user).cloned())
    }

    /// The open account whose link's secret has this hash.
    ///
    /// # Errors
    /// [`ReadError`]
    pub fn account_of_link(
        &self,
        hash: &[u8; 32],
        now: u64,
    ) -> Result<Option<Arc<AccountRecord>>, ReadError> {
        self.with(|state| {
            let mut accounts = state.accounts.values().filter(|account| !account.closed);
            let found = accounts.find(|account| {
                account.link.as_ref().is_some_and(|link| link.hash == *hash && link.until_ms > now)
            });
            found.cloned()
        })
    }

    /// Who has a role for `tenant`, by user name.
    ///
    /// # Errors
    /// [`ReadError`]
    pub fn accounts_of(
        &self,
        tenant: VatNumber,
    ) -> Result<Vec<(Arc<AccountRecord>, AccountRole)>, ReadError> {
        self.with(|state| {
            let users = state.members.get(&tenant).into_iter().flatten();
            let accounts = users.filter_map(|user| state.accounts.get(user));
            accounts
                .filter_map(|account| {
                    let role = account.members.iter().find(|(vat, _)| *vat == tenant)?.1;
                    Some((Arc::clone(account), role))
                })
                .collect()
        })
    }

    /// A customer.
    ///
    /// # Errors
    /// [`ReadError`]
    pub fn customer(&self, tenant: VatNumber) -> Result<Option<Arc<CustomerRecord>>, ReadError> {
        self.with(|state| state.customers.get(&tenant).cloned())
    }

    /// Every customer, the office itself left out.
    ///
    /// # Errors
    /// [`ReadError`]
    pub fn customers(&self) -> Result<Vec<(VatNumber, Arc<CustomerRecord>)>, ReadError> {
        self.with(|state| {
            let all = state.customers.iter().filter(|(vat, _)| **vat != OFFICE);
            all.map(|(vat, customer)| (*vat, Arc::clone(customer))).collect()
        })
    }

    /// The P.IVA for which this key may come in now: bound, not ended, not expired.
    ///
    /// # Errors
    /// [`ReadError`]
    pub fn tenants_of(&self, peer: &PeerId) -> Result<Vec<VatNumber>, ReadError> {
        let now = now_ms();
        self.with(|state| {
            let tenants = state.pins.get(peer).into_iter().flatten().copied();
            tenants
                .filter(|tenant| {
                    state.customers.get(tenant).is_some_and(|customer| {
                        customer.certificates.iter().any(|(certificate, ended)| {
                            certificate.peer() == *peer
                                && ended.is_none()
                                && certificate.not_after_ms > now
                        })
                    })
                })
                .collect()
        })
    }

    fn with<T>(&self, read: impl FnOnce(&State) -> T) -> Result<T, ReadError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let rebuilt = self.host.rebuilds().borrow().get(&OFFICE).copied().unwrap_or(0);
        if rebuilt != state.rebuilt {
            *state = State { rebuilt, ..State::default() };
        }
        let upto = self.host.fresh().borrow().get(&OFFICE).copied().unwrap_or(0);
        while state.position < upto {
            let rows = archive::feed(&*self.store, OFFICE, state.position, BATCH_ROWS)?;
            let Some((last, _, _)) = rows.last().copied() else { break };
            let mut touched = BTreeSet::new();
            for (_, log, seq) in rows {
                let stored = archive::bundle(&*self.store, OFFICE, &log, seq)?;
                let damaged = ReadError::Damaged { tenant: OFFICE, log, seq };
                let body = Body::decode(&stored.body).map_err(|_| {
                    self.host.damaged(&damaged);
                    damaged
                })?;
                touched.extend(body.documents());
            }
            for document in touched {
                let changes = archive::changes(&*self.store, OFFICE, &document)?;
                state.take(document, Record::derive(document, &changes));
            }
            state.position = last;
        }
        Ok(read(&state))
    }
}

impl State {
    fn take(&mut self, document: DocumentId, record: Record) {
        match record {
            Record::Account(account) => {
                for users in self.members.values_mut() {
                    users.remove(&account.user);
                }
                for (vat, _) in &account.members {
                    self.members.entry(*vat).or_default().insert(account.user.clone());
                }
                self.accounts.insert(account.user.clone(), Arc::new(account));
            }
            Record::Customer(customer) => {
                let Some(vat) = customer.vat else { return };
                for (certificate, _) in &customer.certificates {
                    self.pins.entry(certificate.peer()).or_default().insert(vat);
                }
                self.customers.insert(vat, Arc::new(customer));
            }
            other => tracing::error!(%document, ?other, "a document of the office is not counted"),
        }
    }
}
