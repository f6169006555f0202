//! Streams: relayed in pieces that come out when their time has come.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use socket2::SockRef;

use super::{LOOK_AROUND, Shared, Switch, Way, bind_tcp, spawn};

/// Bytes read at once.
const PIECE_BYTES: usize = 16 * 1024;
/// Pieces between a reader and its writer: more than any queue and delay of ours hold.
const PIECES_MAX: usize = 8192;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

struct Piece {
    due: Instant,
    /// Empty for the end of the stream.
    bytes: Vec<u8>,
}

/// Accepts while the ports are open, and closes the port while they are not.
pub(super) fn accept(shared: &Arc<Shared>, listener: TcpListener) -> io::Result<JoinHandle<()>> {
    let shared = Arc::clone(shared);
    spawn("link-accept", move || {
        let mut listener = Some(listener);
        while shared.wait_until_open() {
            let Some(open) = listener.take().or_else(|| bind_tcp(shared.local).ok()) else {
                shared.wait_for_switch();
                continue;
            };
            while !shared.is_shut() {
                let Ok((client, _)) = open.accept() else {
                    thread::sleep(LOOK_AROUND);
                    continue;
                };
                let shared = Arc::clone(&shared);
                if let Err(error) = spawn("link-tcp", move || relay(&shared, client)) {
                    eprintln!("link: no thread for a connection: {error}");
                }
            }
        }
    })
}

/// One connection, to its end.
fn relay(shared: &Arc<Shared>, client: TcpStream) {
    // A connection made in silence goes on when there is a line again.
    if !wait_while_silent(shared) {
        return reset(&client);
    }
    let Ok(server) = TcpStream::connect_timeout(&shared.target, CONNECT_TIMEOUT) else {
        return reset(&client);
    };
    let (client, server) = (Arc::new(client), Arc::new(server));
    for socket in [&client, &server] {
        if prepare(socket).is_err() {
            return;
        }
    }
    let ways = [(Way::Up, &client, &server), (Way::Down, &server, &client)];
    let threads: Vec<_> = ways
        .into_iter()
        .filter_map(|(way, from, to)| {
            let (shared, from, to) = (Arc::clone(shared), Arc::clone(from), Arc::clone(to));
            spawn("link-tcp-way", move || carry(&shared, way, &from, &to)).ok()
        })
        .collect();
    for thread in threads {
        let _ = thread.join();
    }
    if shared.is_shut() {
        reset(&client);
        reset(&server);
    }
}

fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(LOOK_AROUND))?;
    socket.set_write_timeout(Some(LOOK_AROUND))
}

/// A close that is a reset, once the last handle is dropped.
fn reset(socket: &TcpStream) {
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

/// False when the ports are to be closed.
fn wait_while_silent(shared: &Shared) -> bool {
    while shared.switch() == Switch::Silent && !shared.is_stopped() {
        shared.wait_for_switch();
    }
    !shared.is_shut()
}

/// One direction of one connection: a reader here, a writer beside it.
fn carry(shared: &Arc<Shared>, way: Way, from: &Arc<TcpStream>, to: &Arc<TcpStream>) {
    let (sender, receiver) = sync_channel(PIECES_MAX);
    let (writing, destination) = (Arc::clone(shared), Arc::clone(to));
    let writer = spawn("link-tcp-write", move || write(&writing, way, &receiver, &destination));
    read(shared, way, from, &sender);
    drop(sender);
    if let Ok(writer) = writer {
        let _ = writer.join();
    }
}

fn read(shared: &Shared, way: Way, mut from: &TcpStream, sender: &SyncSender<Piece>) {
    let direction = shared.direction(way);
    let mut buffer = vec![0; PIECE_BYTES];
    while wait_while_silent(shared) {
        let length = match from.read(&mut buffer) {
            Ok(length) => length,
            Err(error) if is_timeout(&error) => continue,
            // The end, told as an end: the other side reads what came before.
            Err(_) => 0,
        };
        let due = loop {
            let admitted = direction.shaper().stream(Instant::now(), length);
            match admitted {
                Ok(due) => break due,
                Err(wait) => thread::sleep(wait.min(LOOK_AROUND)),
            }
            if shared.is_shut() {
                return;
            }
        };
        if length > 0 {
            direction.counters.came(length);
        }
        let mut piece = Piece { due, bytes: buffer[..length].to_vec() };
        while let Err(refused) = sender.try_send(piece) {
            match refused {
                TrySendError::Disconnected(_) => return,
                TrySendError::Full(back) => piece = back,
            }
            if shared.is_shut() {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
        if length == 0 {
            return;
        }
    }
}

fn write(shared: &Shared, way: Way, receiver: &Receiver<Piece>, mut to: &TcpStream) {
    let counters = &shared.direction(way).counters;
    loop {
        let piece = match receiver.recv_timeout(LOOK_AROUND) {
            Ok(piece) => piece,
            Err(RecvTimeoutError::Timeout) if !shared.is_shut() => continue,
            Err(_) => return,
        };
        // Pieces are made in order, so waiting for each in turn keeps their order.
        thread::sleep(piece.due.saturating_duration_since(Instant::now()));
        if piece.bytes.is_empty() {
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
        let mut left = &piece.bytes[..];
        while !left.is_empty() {
            if !wait_while_silent(shared) {
                counters.cut_packets.fetch_add(1, Ordering::Relaxed);
                return;
            }
            match to.write(left) {
                Ok(written) => left = &left[written..],
                Err(error) if is_timeout(&error) => {}
                Err(_) => return,
            }
        }
        counters.went(piece.bytes.len());
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
