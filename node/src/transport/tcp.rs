//! TCP sockets with TLS 1.3, for networks that block UDP: bound to the line, options set, counted.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use rustls::{ClientConfig, ServerConfig};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::{connection::Stats, tls};

/// Connections the system completes before we accept them; the kernel holds them, not we.
const BACKLOG: u32 = 1024;
/// Silence after which the system asks whether the peer is there, and how often it asks again: a
/// router forgets an idle TCP mapping after some minutes.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Data unacknowledged for this long ends the connection (RFC 5482): as long as QUIC's idle time.
/// The default is about 15 minutes.
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes the system takes and has not sent, so control overtakes what is still ours. The default
/// lets megabytes queue, half a minute of a 1 Mbit/s uplink.
#[cfg(target_os = "linux")]
const UNSENT_BYTES_MAX: u32 = 64 * 1024;
/// Encrypted bytes rustls holds when the system takes no more. Default 64 KiB; see above.
const TLS_BUFFER_BYTES: usize = 32 * 1024;
/// How long, and how much, we still read after refusing a handshake: closing a socket with unread
/// bytes sends a reset, which can destroy the alert that says why.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_BYTES_MAX: u64 = 64 * 1024;

/// Listens on one address. Must be called inside a tokio runtime.
///
/// # Errors
/// When the address is not ours or the port is taken.
pub fn listen(local: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket_for(local)?;
    // A restarted portal takes its port back while old connections still fade away.
    socket.set_reuseaddr(true)?;
    socket.bind(local)?;
    socket.listen(BACKLOG)
}

/// Connects from `source`, the line's address, if the line has one.
pub(super) async fn connect(source: Option<IpAddr>, remote: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket_for(remote)?;
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    socket.connect(remote).await
}

/// The dialler's handshake.
pub(super) async fn handshake_out(
    socket: TcpStream,
    config: ClientConfig,
) -> io::Result<(TlsStream<Counted>, Arc<Counters>)> {
    let (socket, counters) = prepare(socket)?;
    let mut stream =
        TlsConnector::from(Arc::new(config)).connect(tls::server_name(), socket).await?;
    stream.get_mut().1.set_buffer_limit(Some(TLS_BUFFER_BYTES));
    Ok((TlsStream::Client(stream), counters))
}

/// The acceptor's handshake. A refused peer is sent the alert and given time to read it.
pub(super) async fn handshake_in(
    socket: TcpStream,
    config: Arc<ServerConfig>,
) -> io::Result<(TlsStream<Counted>, Arc<Counters>)> {
    let (socket, counters) = prepare(socket)?;
    match TlsAcceptor::from(config).accept(socket).into_fallible().await {
        Ok(mut stream) => {
            stream.get_mut().1.set_buffer_limit(Some(TLS_BUFFER_BYTES));
            Ok((TlsStream::Server(stream), counters))
        }
        Err((error, socket)) => {
            linger(socket).await;
            Err(error)
        }
    }
}

fn socket_for(address: SocketAddr) -> io::Result<TcpSocket> {
    if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }
}

fn prepare(socket: TcpStream) -> io::Result<(Counted, Arc<Counters>)> {
    let reference = SockRef::from(&socket);
    // Our writer decides what waits for what; Nagle would hold acknowledgements back for a round
    // trip.
    reference.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    reference.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    {
        reference.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
        reference.set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
    }
    let counters = Arc::<Counters>::default();
    Ok((Counted { socket, counters: Arc::clone(&counters) }, counters))
}

/// Ends the sending side and reads on for a moment.
async fn linger(mut socket: Counted) {
    let drain = async {
        socket.shutdown().await?;
        tokio::io::copy(&mut (&mut socket).take(LINGER_BYTES_MAX), &mut tokio::io::sink()).await
    };
    // Whatever happens, the socket is dropped next.
    let _ = timeout(LINGER, drain).await;
}

/// What a socket has carried.
#[derive(Debug, Default)]
pub(super) struct Counters {
    sent_bytes: AtomicU64,
    writes: AtomicU64,
    received_bytes: AtomicU64,
    reads: AtomicU64,
}

impl Counters {
    pub(super) fn stats(&self) -> Stats {
        Stats {
            sent_bytes: self.sent_bytes.load(Ordering::Relaxed),
            sent_datagrams: self.writes.load(Ordering::Relaxed),
            received_bytes: self.received_bytes.load(Ordering::Relaxed),
            received_datagrams: self.reads.load(Ordering::Relaxed),
            acknowledgements: 0,
            lost_packets: 0,
            congestion_window_bytes: 0,
        }
    }
}

/// A TCP socket that counts.
#[derive(Debug)]
pub(super) struct Counted {
    socket: TcpStream,
    counters: Arc<Counters>,
}

impl Counted {
    /// Ends both directions at once; whoever waits on the socket wakes.
    pub(super) fn cut(&self) {
        // Fails only when the peer has cut it before us.
        let _ = SockRef::from(&self.socket).shutdown(std::net::Shutdown::Both);
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.socket).poll_read(cx, buf);
        if matches!(result, Poll::Ready(Ok(()))) {
            let read = buf.filled().len() - before;
            self.counters.received_bytes.fetch_add(read as u64, Ordering::Relaxed);
            self.counters.reads.fetch_add(1, Ordering::Relaxed);
        }
        result
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write(cx, buf);
        count_write(&self.counters, &result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        count_write(&self.counters, &result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

fn count_write(counters: &Counters, result: &Poll<io::Result<usize>>) {
    if let Poll::Ready(Ok(written)) = result {
        counters.sent_bytes.fetch_add(*written as u64, Ordering::Relaxed);
        counters.writes.fetch_add(1, Ordering::Relaxed);
    }
}
