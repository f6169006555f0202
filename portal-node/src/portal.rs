//! What every page works with: one portal, its truth, its mirror, its people.

use std::sync::Arc;

use engine::{
    document::step::{Act, Step},
    id::PeerId,
    store::Store,
};
use node::{host::HostHandle, mirror::Mirror};

use crate::{
    books::Books,
    config::DoorConfig,
    door::{
        api::Compared, pass::Caller, password::Passwords, sessions::Sessions, throttle::Throttle,
    },
    firsts::Firsts,
    lag::Lags,
    office::{Office, now_ms},
    post::Post,
    spaces::Customers,
};

/// A portal. See the module's header.
pub struct Portal {
    /// What it was told of its door.
    pub door: DoorConfig,
    /// Replication.
    pub host: HostHandle,
    /// The truth.
    pub store: Arc<dyn Store>,
    /// The records.
    pub mirror: Arc<Mirror>,
    /// Who may come in.
    pub office: Arc<Office>,
    /// Papers.
    pub books: Books,
    /// The customers' spaces, for lists and the API.
    pub spaces: Arc<Customers>,
    /// Passwords that programs gave a moment ago.
    pub compared: Compared,
    /// Who has sent an invoice.
    pub firsts: Firsts,
    /// How far peers were behind.
    pub lags: Lags,
    /// Letters.
    pub post: Post,
    /// Who came in.
    pub sessions: Sessions,
    /// Who was wrong.
    pub throttle: Throttle,
    /// Passwords.
    pub passwords: Passwords,
    /// The name of the session's cookie: two portals on one host must not share it.
    pub cookie: String,
    /// The portals, this one first, by the names people call them.
    pub portals: Vec<(String, PeerId)>,
}

/// Why a portal's door does not open.
#[derive(Debug, thiserror::Error)]
pub enum PortalError {
    /// No random numbers.
    #[error(transparent)]
    Random(#[from] crate::door::sessions::NoRandom),
    /// Argon2id does not work.
    #[error(transparent)]
    Hash(#[from] crate::door::password::HashError),
    /// No letters can be sent.
    #[error(transparent)]
    Post(#[from] crate::post::PostError),
}

impl Portal {
    /// A portal whose pages are told `door`.
    ///
    /// # Errors
    /// [`PortalError`]
    pub fn new(
        door: DoorConfig,
        host: HostHandle,
        office: Arc<Office>,
        store: Arc<dyn Store>,
        mirror: Arc<Mirror>,
        portals: Vec<(String, PeerId)>,
    ) -> Result<Self, PortalError> {
        let cookie = format!("__Host-staffetta-{:.8}", host.peer().to_string());
        Ok(Self {
            office,
            books: Books::new(host.clone(), Arc::clone(&store)),
            spaces: Arc::new(Customers::new(
                host.clone(),
                Arc::clone(&store),
                Arc::clone(&mirror),
                portals.iter().skip(1).cloned().collect(),
            )),
            firsts: Firsts::new(Arc::clone(&mirror)),
            lags: Lags::default(),
            compared: Compared::default(),
            post: Post::new(&door)?,
            sessions: Sessions::new()?,
            throttle: Throttle::default(),
            passwords: Passwords::new()?,
            door,
            host,
            store,
            mirror,
            cookie,
            portals,
        })
    }
}

/// What `caller` did just now.
#[must_use]
pub fn step(caller: &Caller, act: Act, note: impl Into<String>) -> Step {
    Step {
        at_ms: now_ms(),
        act,
        user: caller.account().user.clone(),
        peer: caller.peer(),
        note: note.into(),
    }
}
