//! Datagrams: one socket towards each client's portal, one queue and one clock per direction.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    io,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{Shared, Way, bind_udp, lock, prepare_udp, shaper::Fate, spawn};

/// Largest datagram UDP can carry.
const DATAGRAM_BYTES_MAX: usize = 65_536;
/// A client that says nothing for this long is forgotten, as a router would.
const MAPPING_TIMEOUT: Duration = Duration::from_secs(60);

/// Packets under way, by when they come out.
#[derive(Debug, Default)]
pub(super) struct Queue {
    packets: BinaryHeap<Reverse<Packet>>,
    count: u64,
}

#[derive(Debug)]
struct Packet {
    due: Instant,
    /// Of two due at once, the first in goes first.
    number: u64,
    bytes: Box<[u8]>,
    socket: Arc<UdpSocket>,
    to: SocketAddr,
}

impl PartialEq for Packet {
    fn eq(&self, other: &Self) -> bool {
        (self.due, self.number) == (other.due, other.number)
    }
}

impl Eq for Packet {}

impl PartialOrd for Packet {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Packet {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

/// The clock of one direction.
pub(super) fn deliver(shared: &Arc<Shared>, way: Way) -> io::Result<JoinHandle<()>> {
    let shared = Arc::clone(shared);
    spawn("link-deliver", move || {
        let direction = shared.direction(way);
        let mut ready = Vec::new();
        let mut state = direction.state();
        while !shared.is_stopped() {
            let now = Instant::now();
            while let Some(Reverse(first)) = state.queue.packets.peek()
                && first.due <= now
            {
                ready.extend(state.queue.packets.pop().map(|Reverse(packet)| packet));
            }
            if ready.is_empty() {
                let next = state.queue.packets.peek().map(|Reverse(first)| first.due - now);
                let wait = next.unwrap_or(Duration::from_secs(1));
                let waited = direction.arrived.wait_timeout(state, wait);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            drop(state);
            for packet in ready.drain(..) {
                send(&shared, way, &packet.socket, packet.to, &packet.bytes);
            }
            state = direction.state();
        }
    })
}

/// What clients send, and the upstream sockets they are given.
pub(super) fn receive_from_clients(
    shared: &Arc<Shared>,
    socket: UdpSocket,
) -> io::Result<JoinHandle<()>> {
    let shared = Arc::clone(shared);
    spawn("link-up", move || {
        let mut socket = Some(Arc::new(socket));
        while shared.wait_until_open() {
            let open = match socket.take() {
                Some(open) => open,
                None => match bind_udp(shared.local) {
                    Ok(open) => Arc::new(open),
                    Err(_) => {
                        // The last upstream thread still has the old one.
                        shared.wait_for_switch();
                        continue;
                    }
                },
            };
            serve_clients(&shared, &open);
        }
    })
}

/// Until the ports must be closed.
fn serve_clients(shared: &Arc<Shared>, socket: &Arc<UdpSocket>) {
    let mut clients: HashMap<SocketAddr, Arc<Client>> = HashMap::new();
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    while !shared.is_shut() {
        // Errors are timeouts, or an earlier reply's ICMP message: nothing to do about either.
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            clients.retain(|_, client| !client.is_gone());
            continue;
        };
        let known = clients.get(&from).filter(|client| !client.is_gone());
        let client = match known {
            Some(client) => Arc::clone(client),
            None => match Client::open(shared, socket, from) {
                Ok(client) => {
                    clients.insert(from, Arc::clone(&client));
                    client
                }
                Err(error) => {
                    eprintln!("link: no socket for {from}: {error}");
                    continue;
                }
            },
        };
        client.touch();
        forward(shared, Way::Up, &client.upstream, shared.target, &buffer[..length]);
    }
    clients.values().for_each(|client| client.gone.store(true, Ordering::SeqCst));
}

#[derive(Debug)]
struct Client {
    upstream: Arc<UdpSocket>,
    last_heard: Mutex<Instant>,
    gone: AtomicBool,
}

impl Client {
    /// Opens the socket by which the portal knows this client, and listens to it.
    fn open(
        shared: &Arc<Shared>,
        downstream: &Arc<UdpSocket>,
        from: SocketAddr,
    ) -> io::Result<Arc<Self>> {
        let mut any = shared.local;
        any.set_port(0);
        let upstream = UdpSocket::bind(any)?;
        prepare_udp(&upstream)?;
        let client = Arc::new(Self {
            upstream: Arc::new(upstream),
            last_heard: Mutex::new(Instant::now()),
            gone: AtomicBool::new(false),
        });
        // Weak, so that closing the port does not wait for this thread's timeout.
        let (shared, downstream) = (Arc::clone(shared), Arc::downgrade(downstream));
        let listening = Arc::clone(&client);
        spawn("link-down", move || {
            let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
            while !listening.is_gone() && !shared.is_shut() {
                let Ok((length, _)) = listening.upstream.recv_from(&mut buffer) else {
                    if listening.is_idle() {
                        listening.gone.store(true, Ordering::SeqCst);
                    }
                    continue;
                };
                listening.touch();
                let Some(downstream) = downstream.upgrade() else { return };
                forward(&shared, Way::Down, &downstream, from, &buffer[..length]);
            }
        })?;
        Ok(client)
    }

    fn touch(&self) {
        *lock(&self.last_heard) = Instant::now();
    }

    fn is_idle(&self) -> bool {
        lock(&self.last_heard).elapsed() > MAPPING_TIMEOUT
    }

    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }
}

fn forward(shared: &Shared, way: Way, socket: &Arc<UdpSocket>, to: SocketAddr, bytes: &[u8]) {
    let direction = shared.direction(way);
    let counters = &direction.counters;
    counters.came(bytes.len());
    if !shared.carries_udp() {
        counters.cut_packets.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let now = Instant::now();
    let mut state = direction.state();
    let due = match state.shaper.datagram(now, bytes.len()) {
        Fate::Due(due) => due,
        Fate::Lost => {
            counters.lost_packets.fetch_add(1, Ordering::Relaxed);
            return;
        }
        Fate::Overflow => {
            counters.overflow_packets.fetch_add(1, Ordering::Relaxed);
            return;
        }
    };
    if due <= now && state.queue.packets.is_empty() {
        // Sent under the lock: the next one must not overtake it.
        send(shared, way, socket, to, bytes);
        return;
    }
    state.queue.count += 1;
    let packet = Packet {
        due,
        number: state.queue.count,
        bytes: bytes.into(),
        socket: Arc::clone(socket),
        to,
    };
    let sooner = state.queue.packets.peek().is_none_or(|Reverse(first)| due < first.due);
    state.queue.packets.push(Reverse(packet));
    drop(state);
    if sooner {
        direction.arrived.notify_one();
    }
}

fn send(shared: &Shared, way: Way, socket: &UdpSocket, to: SocketAddr, bytes: &[u8]) {
    let counters = &shared.direction(way).counters;
    // Also what was under way when the cable was cut is gone. A send that fails is a packet that
    // the network drops.
    if shared.carries_udp() && socket.send_to(bytes, to).is_ok() {
        counters.went(bytes.len());
    } else {
        counters.cut_packets.fetch_add(1, Ordering::Relaxed);
    }
}
