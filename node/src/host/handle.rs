//! A host's remote control, and what it tells of itself.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use engine::{
    archive::ReadError,
    bundle::Item,
    effect::{Alarm, AppendError, Input},
    id::{LogId, PeerId, Seq, VatNumber},
    route::Mode,
    vector::Vector,
};
use tokio::sync::{mpsc, oneshot, watch};

use super::{Event, meter::Reading, paths::Path};
use crate::transport::{Connection, Transport};

/// A host's remote control. Clones steer the same host, which ends when all are dropped.
#[derive(Clone)]
pub struct HostHandle {
    pub(super) orders: mpsc::UnboundedSender<Event>,
    pub(super) fresh: watch::Receiver<BTreeMap<VatNumber, u64>>,
    pub(super) rebuilds: watch::Receiver<BTreeMap<VatNumber, u64>>,
    pub(super) peer: PeerId,
    pub(super) log: LogId,
}

/// What a host holds and whom it talks to, at one moment.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// What is held durably, by tenant.
    pub spaces: BTreeMap<VatNumber, Vector>,
    /// What each peer is known to hold durably.
    pub known: BTreeMap<(PeerId, VatNumber), Vector>,
    /// Open sessions.
    pub sessions: Vec<SessionView>,
    /// Who may connect.
    pub admitted: Vec<PeerId>,
    /// What a person should know, newest last.
    pub alarms: Vec<Alarm>,
    /// Every route towards the portals that are dialled.
    pub paths: Vec<Path>,
    /// Why nothing can be stored now, if so.
    pub stuck: Option<String>,
    /// When, in seconds since 1970, each portal was last known to hold what is held here and
    /// nothing more. Only a node keeps count.
    pub in_sync: BTreeMap<PeerId, u64>,
    /// What was carried since the start.
    pub reading: Reading,
}

/// One open session.
#[derive(Clone, Debug)]
pub struct SessionView {
    /// Whose.
    pub peer: PeerId,
    /// Whether runs are pushed on it.
    pub primary: bool,
    /// Whether its `Hello` has come.
    pub greeted: bool,
    /// Whether the peer can store what is pushed to it.
    pub takes: bool,
    /// QUIC or TCP.
    pub transport: Transport,
    /// Our address: which line.
    pub local: SocketAddr,
    /// Theirs.
    pub remote: SocketAddr,
    /// Round trip as QUIC measures it.
    pub rtt: Option<Duration>,
}

/// What the grants say of a key in a tenant's space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// It may hold the space.
    pub may_hold: bool,
    /// It was revoked, for ever.
    pub is_revoked: bool,
}

/// The answer to an append: where it stands, durably.
pub type Said = Result<(LogId, Seq), AppendError>;

impl HostHandle {
    /// Says `items` about `tenant`, with the files that go with them, in one bundle; answers
    /// once it is durable here.
    ///
    /// # Errors
    /// [`AppendError`]
    pub async fn append(&self, tenant: VatNumber, items: Vec<Item>, files: Vec<Vec<u8>>) -> Said {
        self.ask(|reply| Event::Append { tenant, items, files, reply }).await.unwrap_or_else(gone)
    }

    /// Ends `peer`'s grant for `tenant` at what is held of it now.
    ///
    /// # Errors
    /// [`AppendError`]
    pub async fn revoke(&self, tenant: VatNumber, peer: PeerId) -> Said {
        self.ask(|reply| Event::Revoke { tenant, peer, reply }).await.unwrap_or_else(gone)
    }

    /// What the host holds and whom it talks to.
    pub async fn view(&self) -> View {
        self.ask(Event::View).await.unwrap_or_default()
    }

    /// What the grants say of `peer` in `tenant`'s space.
    pub async fn standing(&self, tenant: VatNumber, peer: PeerId) -> Standing {
        self.ask(|reply| Event::Standing { tenant, peer, reply }).await.unwrap_or_default()
    }

    /// Hands over a connection that a listener accepted.
    pub fn accepted(&self, connection: Connection) {
        let _ = self.orders.send(Event::Accepted(connection));
    }

    /// From now on keeps sessions, or hangs up once all is said and connects when woken.
    pub fn set_mode(&self, mode: Mode) {
        let _ = self.orders.send(Event::Mode(mode));
    }

    /// Connects now ([`Mode::Periodic`]), and hangs up once both sides hold the same.
    pub fn sync_now(&self) {
        let _ = self.orders.send(Event::Wake);
    }

    /// Wakes whenever the feed of a tenant moved durably: tenant -> last position.
    #[must_use]
    pub fn fresh(&self) -> watch::Receiver<BTreeMap<VatNumber, u64>> {
        self.fresh.clone()
    }

    /// Counts, by tenant, how often bundles left the truth: whatever was derived from it must
    /// then be derived again.
    #[must_use]
    pub fn rebuilds(&self) -> watch::Receiver<BTreeMap<VatNumber, u64>> {
        self.rebuilds.clone()
    }

    /// A reader found a row of the truth damaged: a bundle is fetched again from a peer; a row
    /// that no peer has makes the store doubt itself.
    pub fn damaged(&self, error: &ReadError) {
        let event = match error {
            ReadError::Damaged { tenant, log, seq } => {
                Event::Input(Input::Damaged { tenant: *tenant, log: *log, seq: *seq })
            }
            ReadError::Row(_) => Event::Doubt(error.to_string()),
            ReadError::Store(_) => return,
        };
        let _ = self.orders.send(event);
    }

    /// The log in which this start writes: the actor of every change it makes.
    #[must_use]
    pub fn log(&self) -> LogId {
        self.log
    }

    /// This identity's name.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    async fn ask<T>(&self, event: impl FnOnce(oneshot::Sender<T>) -> Event) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.orders.send(event(reply)).ok()?;
        answer.await.ok()
    }
}

fn gone() -> Said {
    Err(AppendError::Store("this service is shutting down".to_owned()))
}
