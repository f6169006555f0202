//! How many may come in: handshakes at a time, in all and per source; connections, in all and per
//! peer.
//!
//! A stranger costs us a first packet in a bounded queue, or a socket in the kernel's, until it is
//! given one of a few handshake permits. So thousands of half-open attempts cost a fixed amount.
//! QUIC and TCP have permits of their own, and while somebody waits for one a handshake that takes
//! long gives way: so thousands of them delay a newcomer, and keep nobody out.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use engine::{id::PeerId, limits::SESSIONS_PER_PEER_MAX};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{sleep, timeout},
};

use super::connection::Transport;

/// Bounds of a [`super::Listener`]; the defaults are a portal's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Handshakes under way at a time over QUIC, and as many over TCP. One costs about 0.5 ms of a
    /// core and 50 KiB, so all together are 13 MiB.
    pub handshakes_max: usize,
    /// The same from one source address: half, so that one cannot keep all others out.
    pub handshakes_per_source_max: usize,
    /// From the first byte to the dialler's first control frame: five round trips of 300 ms, two of
    /// them lost.
    pub handshake_timeout: Duration,
    /// The same while others wait for a permit: three round trips of 300 ms. Who loses a packet
    /// then comes again, as diallers do.
    pub handshake_timeout_when_full: Duration,
    /// Authenticated connections in all.
    pub connections_max: usize,
    /// Authenticated connections of one peer.
    pub connections_per_peer_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshakes_max: 128,
            handshakes_per_source_max: 64,
            handshake_timeout: Duration::from_secs(5),
            handshake_timeout_when_full: Duration::from_secs(1),
            connections_max: 10_000,
            connections_per_peer_max: SESSIONS_PER_PEER_MAX,
        }
    }
}

/// Counts who is in.
#[derive(Debug)]
pub(super) struct Gate {
    limits: Limits,
    quic: Handshakes,
    tcp: Handshakes,
    counts: Mutex<Counts>,
}

/// The handshakes over one transport.
#[derive(Debug)]
struct Handshakes {
    permits: Arc<Semaphore>,
    /// How many wait for a permit.
    waiting: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Counts {
    sources: HashMap<IpAddr, usize>,
    peers: HashMap<PeerId, usize>,
    connections: usize,
}

impl Gate {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        let handshakes = || Handshakes {
            permits: Arc::new(Semaphore::new(limits.handshakes_max)),
            waiting: watch::Sender::new(0),
        };
        Arc::new(Self { limits, quic: handshakes(), tcp: handshakes(), counts: Mutex::default() })
    }

    /// True when a quarter of QUIC's permits is in use: strangers then have to show their address.
    pub(super) fn is_busy(&self) -> bool {
        self.quic.permits.available_permits() < self.limits.handshakes_max / 4 * 3
    }

    /// Waits for a handshake permit, while which handshakes that take long give way.
    pub(super) async fn handshake(&self, over: Transport) -> OwnedSemaphorePermit {
        let Handshakes { permits, waiting } = self.over(over);
        if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
            return permit;
        }
        let _waits = Waits::new(waiting);
        Arc::clone(permits).acquire_owned().await.expect("the gate's semaphore is never closed")
    }

    /// Ends when a handshake that begins now has had its time, which is shorter while others wait.
    pub(super) async fn handshake_over(&self, over: Transport) {
        let Limits { handshake_timeout, handshake_timeout_when_full, .. } = self.limits;
        let mut waiting = self.over(over).waiting.subscribe();
        let gives_way = async {
            sleep(handshake_timeout_when_full).await;
            // The sender lives as long as the gate.
            let _ = waiting.wait_for(|waiting| *waiting > 0).await;
        };
        let _ = timeout(handshake_timeout, gives_way).await;
    }

    fn over(&self, transport: Transport) -> &Handshakes {
        match transport {
            Transport::Quic => &self.quic,
            Transport::Tcp => &self.tcp,
        }
    }

    /// Counts a handshake from `source`, or `None` when it has its share already.
    pub(super) fn source(self: &Arc<Self>, source: IpAddr) -> Option<SourcePermit> {
        let mut counts = self.counts();
        let taken = counts.sources.entry(source).or_default();
        if *taken >= self.limits.handshakes_per_source_max {
            return None;
        }
        *taken += 1;
        Some(SourcePermit { gate: Arc::clone(self), source })
    }

    /// Counts a connection of `peer`, or `None` when there are too many.
    pub(super) fn connection(self: &Arc<Self>, peer: PeerId) -> Option<ConnectionPermit> {
        let mut counts = self.counts();
        let of_peer = counts.peers.get(&peer).copied().unwrap_or_default();
        if counts.connections >= self.limits.connections_max
            || of_peer >= self.limits.connections_per_peer_max
        {
            return None;
        }
        counts.connections += 1;
        counts.peers.insert(peer, of_peer + 1);
        Some(ConnectionPermit { gate: Arc::clone(self), peer })
    }

    pub(super) fn connections(&self) -> usize {
        self.counts().connections
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody waits for a permit while this lives.
struct Waits<'a>(&'a watch::Sender<usize>);

impl<'a> Waits<'a> {
    fn new(waiting: &'a watch::Sender<usize>) -> Self {
        waiting.send_modify(|count| *count += 1);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// One handshake of one source, counted while this lives.
#[derive(Debug)]
pub(super) struct SourcePermit {
    gate: Arc<Gate>,
    source: IpAddr,
}

impl Drop for SourcePermit {
    fn drop(&mut self) {
        release(&mut self.gate.counts().sources, &self.source);
    }
}

/// One connection of one peer, counted while this lives.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    gate: Arc<Gate>,
    peer: PeerId,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut counts = self.gate.counts();
        counts.connections -= 1;
        release(&mut counts.peers, &self.peer);
    }
}

/// Takes one off, and forgets who has none left: the map holds only who is here.
fn release<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
