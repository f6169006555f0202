//! A line of our own: a relay on loopback between a node and a portal, with delay, jitter, rate,
//! queue and loss in each direction, and a switch.
//!
//! It carries UDP and TCP at one port. UDP datagrams are shaped one by one, as a router would. TCP
//! is relayed, not routed: its bytes are delayed and paced in order, a loss shows as the pause of a
//! retransmission, a full queue stops the reading, and the sender's own congestion control sees only
//! loopback. So figures over TCP are kinder than a real line's; figures over UDP are not.
//!
//! The queue keeps the order of arrival also under jitter, as lines do: a relay that let packets
//! overtake each other would make every loss detection lie. Timers are the kernel's, on threads of
//! their own; [`check`] prints what they really do.
//!
//! Never part of a product, and never bound to anything but loopback by the benches.

mod check;
mod shaper;
mod tcp;
mod udp;

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

pub use check::{Check, check};

use shaper::Shaper;

/// How long a blocked thread may overlook that the switch was thrown to `Refusing`, or the link
/// stopped. The two other positions act at once.
const LOOK_AROUND: Duration = Duration::from_millis(20);
/// A thread of ours needs little; hundreds of clients need hundreds of threads.
const STACK_BYTES: usize = 128 * 1024;
/// Ports tried for one that is free for UDP and TCP alike.
const PORT_ATTEMPTS: usize = 32;

/// One direction of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Path {
    /// One way, before jitter: half the round trip of a symmetric line.
    pub delay: Duration,
    /// Added to the delay, evenly from nothing to this much, in order.
    pub jitter: Duration,
    /// Bits per second of payload; `None` for as fast as the machine is.
    pub rate: Option<u64>,
    /// Bytes that wait for the rate before datagrams are dropped: the router's buffer.
    pub queue_bytes: usize,
    /// Share of datagrams lost, 0 to 1.
    pub loss: f64,
    /// Share of datagrams that may overtake others, 0 to 1. No line does this; some radio does.
    pub reorder: f64,
}

impl Path {
    /// Nothing in the way.
    pub const CLEAR: Self = Self {
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        rate: None,
        queue_bytes: 256 * 1024,
        loss: 0.0,
        reorder: 0.0,
    };

    /// Half of a round trip of `rtt_ms` milliseconds and nothing else.
    #[must_use]
    pub fn of_rtt_ms(rtt_ms: f64) -> Self {
        Self { delay: Duration::from_secs_f64(rtt_ms / 2000.0), ..Self::CLEAR }
    }

    /// The same path at `rate` bits per second.
    #[must_use]
    pub fn with_rate(self, rate: u64) -> Self {
        Self { rate: Some(rate), ..self }
    }
}

/// What to put between whom.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkSpec {
    /// Where the node dials; port 0 for any.
    pub listen: SocketAddr,
    /// Where the portal answers, over UDP and TCP.
    pub target: SocketAddr,
    /// Node to portal.
    pub up: Path,
    /// Portal to node.
    pub down: Path,
    /// Of losses and jitter: the same seed and the same packets give the same losses.
    pub seed: u64,
}

impl LinkSpec {
    /// A clear link from any port of loopback to `target`.
    #[must_use]
    pub fn clear(target: SocketAddr) -> Self {
        let listen = (std::net::Ipv4Addr::LOCALHOST, 0).into();
        Self { listen, target, up: Path::CLEAR, down: Path::CLEAR, seed: 1 }
    }

    /// Reads one setting as programs take them, `rtt_ms=40`: `rtt_ms`, `jitter_ms`, `loss`,
    /// `reorder` and `queue_kb` for both directions, `up_kbit` and `down_kbit`, `seed`.
    ///
    /// # Errors
    /// A sentence, when there is no such setting or it is no number.
    pub fn set(&mut self, setting: &str) -> Result<(), String> {
        let (name, value) = setting
            .split_once('=')
            .ok_or_else(|| format!("{setting} should look like rtt_ms=40"))?;
        let number: f64 =
            value.parse().map_err(|_| format!("{value} in {setting} is no number"))?;
        let apply: fn(&mut Path, f64) = match name {
            "rtt_ms" => |path, ms| path.delay = Duration::from_secs_f64(ms / 2000.0),
            "jitter_ms" => |path, ms| path.jitter = Duration::from_secs_f64(ms / 1000.0),
            "loss" => |path, share| path.loss = share,
            "reorder" => |path, share| path.reorder = share,
            "queue_kb" => |path, kb| path.queue_bytes = (kb * 1024.0) as usize,
            "up_kbit" => {
                self.up.rate = Some((number * 1e3) as u64);
                return Ok(());
            }
            "down_kbit" => {
                self.down.rate = Some((number * 1e3) as u64);
                return Ok(());
            }
            "seed" => {
                self.seed = number as u64;
                return Ok(());
            }
            _ => return Err(format!("there is no setting {name}")),
        };
        apply(&mut self.up, number);
        apply(&mut self.down, number);
        Ok(())
    }
}

/// The position of the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Switch {
    /// Carries.
    Up = 0,
    /// A cut cable: everything vanishes, also what is under way. TCP connections are not told and
    /// go on when the switch is up again; new ones connect, as far as the relay, and hear nothing.
    Silent = 1,
    /// A server that is off behind a line that is on: TCP connections are reset, ports are closed.
    Refusing = 2,
}

/// What one direction has seen. Over TCP a packet is one read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets that came in.
    pub packets: u64,
    /// Their payload.
    pub bytes: u64,
    /// Packets that went out.
    pub delivered_packets: u64,
    /// Their payload.
    pub delivered_bytes: u64,
    /// Lost by [`Path::loss`].
    pub lost_packets: u64,
    /// Dropped by a full queue.
    pub overflow_packets: u64,
    /// Dropped by the switch or by `block_udp`.
    pub cut_packets: u64,
}

/// Makes links.
#[derive(Debug)]
pub struct Link;

impl Link {
    /// Starts relaying.
    ///
    /// # Errors
    /// When the address to listen on is not to be had.
    pub fn start(spec: LinkSpec) -> io::Result<LinkHandle> {
        let (udp, tcp) = bind_both(spec.listen)?;
        let local = udp.local_addr()?;
        let shared = Arc::new(Shared {
            local,
            target: spec.target,
            up: Direction::new(spec.up, spec.seed),
            down: Direction::new(spec.down, spec.seed ^ 0x5bd1_e995),
            switch: AtomicU8::new(Switch::Up as u8),
            udp_blocked: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            thrown: (Mutex::new(()), Condvar::new()),
        });
        let mut threads = vec![
            udp::deliver(&shared, Way::Up)?,
            udp::deliver(&shared, Way::Down)?,
            udp::receive_from_clients(&shared, udp)?,
        ];
        threads.push(tcp::accept(&shared, tcp)?);
        Ok(LinkHandle { shared, threads })
    }
}

/// A running link. Dropped, it stops, and its ports are free.
#[derive(Debug)]
pub struct LinkHandle {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl LinkHandle {
    /// Where the node dials.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.shared.local
    }

    /// Changes the direction from node to portal, for what comes from now on.
    pub fn set_up(&self, path: Path) {
        self.shared.up.shaper().set_path(path);
    }

    /// Changes the direction from portal to node, for what comes from now on.
    pub fn set_down(&self, path: Path) {
        self.shared.down.shaper().set_path(path);
    }

    /// Throws the switch.
    pub fn set_switch(&self, switch: Switch) {
        self.shared.switch.store(switch as u8, Ordering::SeqCst);
        self.shared.wake();
    }

    /// Drops all UDP and no TCP, as some offices do.
    pub fn block_udp(&self, blocked: bool) {
        self.shared.udp_blocked.store(blocked, Ordering::SeqCst);
    }

    /// Node to portal so far.
    #[must_use]
    pub fn up(&self) -> Traffic {
        self.shared.up.counters.traffic()
    }

    /// Portal to node so far.
    #[must_use]
    pub fn down(&self) -> Traffic {
        self.shared.down.counters.traffic()
    }
}

impl Drop for LinkHandle {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.shared.wake();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

#[derive(Debug)]
struct Shared {
    local: SocketAddr,
    target: SocketAddr,
    up: Direction,
    down: Direction,
    switch: AtomicU8,
    udp_blocked: AtomicBool,
    stopped: AtomicBool,
    thrown: (Mutex<()>, Condvar),
}

impl Shared {
    fn direction(&self, way: Way) -> &Direction {
        match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        }
    }

    fn switch(&self) -> Switch {
        match self.switch.load(Ordering::SeqCst) {
            0 => Switch::Up,
            1 => Switch::Silent,
            _ => Switch::Refusing,
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    fn carries_udp(&self) -> bool {
        self.switch() == Switch::Up && !self.udp_blocked.load(Ordering::SeqCst)
    }

    /// True when ports must be closed.
    fn is_shut(&self) -> bool {
        self.is_stopped() || self.switch() == Switch::Refusing
    }

    fn wake(&self) {
        drop(lock(&self.thrown.0));
        self.thrown.1.notify_all();
        self.up.arrived.notify_all();
        self.down.arrived.notify_all();
        if self.is_shut() {
            // The acceptor waits for a connection; here is one. It is refused if it waits no more.
            let _ = TcpStream::connect_timeout(&self.local, LOOK_AROUND);
        }
    }

    /// Waits a little, or until the switch is thrown.
    fn wait_for_switch(&self) {
        let guard = lock(&self.thrown.0);
        drop(self.thrown.1.wait_timeout(guard, LOOK_AROUND));
    }

    /// Waits until the ports may be open again. False when the link has stopped.
    fn wait_until_open(&self) -> bool {
        while self.is_shut() {
            if self.is_stopped() {
                return false;
            }
            self.wait_for_switch();
        }
        true
    }
}

#[derive(Debug)]
struct Direction {
    state: Mutex<State>,
    arrived: Condvar,
    counters: Counters,
}

#[derive(Debug)]
struct State {
    shaper: Shaper,
    queue: udp::Queue,
}

impl Direction {
    fn new(path: Path, seed: u64) -> Self {
        let state = State { shaper: Shaper::new(path, seed), queue: udp::Queue::default() };
        Self { state: Mutex::new(state), arrived: Condvar::new(), counters: Counters::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn shaper(&self) -> impl std::ops::DerefMut<Target = Shaper> + '_ {
        struct Part<'a>(MutexGuard<'a, State>);
        impl std::ops::Deref for Part<'_> {
            type Target = Shaper;
            fn deref(&self) -> &Shaper {
                &self.0.shaper
            }
        }
        impl std::ops::DerefMut for Part<'_> {
            fn deref_mut(&mut self) -> &mut Shaper {
                &mut self.0.shaper
            }
        }
        Part(self.state())
    }
}

#[derive(Debug, Default)]
struct Counters {
    packets: AtomicU64,
    bytes: AtomicU64,
    delivered_packets: AtomicU64,
    delivered_bytes: AtomicU64,
    lost_packets: AtomicU64,
    overflow_packets: AtomicU64,
    cut_packets: AtomicU64,
}

impl Counters {
    fn came(&self, bytes: usize) {
        self.packets.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn went(&self, bytes: usize) {
        self.delivered_packets.fetch_add(1, Ordering::Relaxed);
        self.delivered_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn traffic(&self) -> Traffic {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            packets: read(&self.packets),
            bytes: read(&self.bytes),
            delivered_packets: read(&self.delivered_packets),
            delivered_bytes: read(&self.delivered_bytes),
            lost_packets: read(&self.lost_packets),
            overflow_packets: read(&self.overflow_packets),
            cut_packets: read(&self.cut_packets),
        }
    }
}

/// One port for both.
fn bind_both(listen: SocketAddr) -> io::Result<(std::net::UdpSocket, TcpListener)> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let udp = bind_udp(listen)?;
        match bind_tcp(udp.local_addr()?) {
            Ok(tcp) => return Ok((udp, tcp)),
            // Another program has this port for TCP; the system offers another one.
            Err(_) if listen.port() == 0 && attempt < PORT_ATTEMPTS => {}
            Err(error) => return Err(error),
        }
    }
}

fn bind_udp(local: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    socket.bind(&local.into())?;
    let socket = std::net::UdpSocket::from(socket);
    prepare_udp(&socket)?;
    Ok(socket)
}

/// The only queue that drops is to be ours.
fn prepare_udp(socket: &std::net::UdpSocket) -> io::Result<()> {
    let reference = SockRef::from(socket);
    reference.set_recv_buffer_size(4 * 1024 * 1024)?;
    reference.set_send_buffer_size(4 * 1024 * 1024)?;
    socket.set_read_timeout(Some(LOOK_AROUND))
}

fn bind_tcp(local: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(local), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // Inherited by what is accepted: what waits is to wait in our queue, where it is counted.
    socket.set_recv_buffer_size(128 * 1024)?;
    socket.bind(&local.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.into()).stack_size(STACK_BYTES).spawn(run)
}

/// No code of ours panics while it holds a lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
