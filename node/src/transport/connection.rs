//! One authenticated connection, as the host sees it: classes of frames in and out.
//!
//! **Connected is not accepted.** In TLS 1.3 the dialler's handshake completes before the acceptor
//! has looked at the dialler's certificate, so a refused pin shows as
//! [`ConnectionError::RefusedByPeer`] from the first `recv`. The session is open at the peer's
//! `Hello`, and not before. An acceptor over QUIC in turn is given the connection once the dialler
//! has written its first control frame: the dialler's host must speak at once.
//!
//! Frames of one class arrive in order; between classes nothing is promised, except that control
//! goes first on the way out and on the way in.

use std::{
    fmt,
    future::poll_fn,
    net::SocketAddr,
    ops::Deref,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;

use super::{
    frame::Class,
    pin::Authenticated,
    quic_lanes::{QuicReceiver, QuicSender},
    tcp_lanes::{TcpReceiver, TcpSender},
};

/// Longest close reason kept or sent: one sentence.
pub(super) const REASON_BYTES_MAX: usize = 512;
/// How long a graceful close waits for control frames to arrive.
pub(super) const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// What carries a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// QUIC over UDP.
    Quic,
    /// TLS over TCP, where UDP is blocked.
    Tcp,
}

/// What a connection has carried, headers and retransmissions included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes sent: of UDP payload, or of TLS records.
    pub sent_bytes: u64,
    /// Datagrams sent; over TCP, writes.
    pub sent_datagrams: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Datagrams received; over TCP, reads.
    pub received_datagrams: u64,
    /// Acknowledgements received from the peer's QUIC: proof that the path works both ways,
    /// however long the frames themselves wait; over TCP unknown, 0.
    pub acknowledgements: u64,
    /// Packets declared lost; over TCP unknown, 0.
    pub lost_packets: u64,
    /// Bytes the congestion control lets fly at once; over TCP unknown, 0.
    pub congestion_window_bytes: u64,
}

/// A live connection with an authenticated peer. Dereferences to its [`Handle`].
#[derive(Debug)]
pub struct Connection {
    handle: Handle,
    receiver: Receiving,
}

impl Connection {
    pub(super) fn new(
        carrier: Carrier,
        receiver: Receiving,
        authenticated: Authenticated,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Self {
        let inner = Inner { carrier, authenticated, local, remote };
        Self { handle: Handle { inner: Arc::new(inner) }, receiver }
    }

    /// A handle that outlives the split.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Takes the connection apart into its two directions.
    #[must_use]
    pub fn split(self) -> (FrameSender, FrameReceiver) {
        let sender = FrameSender { handle: self.handle.clone() };
        let receiver = FrameReceiver {
            handle: self.handle,
            receiver: self.receiver,
            held: [false; 3],
            ended: false,
        };
        (sender, receiver)
    }
}

impl Deref for Connection {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

/// Who is at the other end, how far away, and the power to close. Cheap to clone. When the last
/// handle, sender and receiver of a connection are dropped it is closed with code 0.
#[derive(Clone)]
pub struct Handle {
    inner: Arc<Inner>,
}

struct Inner {
    carrier: Carrier,
    authenticated: Authenticated,
    local: SocketAddr,
    remote: SocketAddr,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.carrier.abort(super::code::DONE, "");
    }
}

impl Handle {
    /// The proof of who the peer is.
    #[must_use]
    pub fn authenticated(&self) -> &Authenticated {
        &self.inner.authenticated
    }

    /// QUIC or TCP.
    #[must_use]
    pub fn transport(&self) -> Transport {
        match self.inner.carrier {
            Carrier::Quic(_) => Transport::Quic,
            Carrier::Tcp(_) => Transport::Tcp,
        }
    }

    /// The peer's address now: over QUIC its router may change it in mid connection.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        match &self.inner.carrier {
            Carrier::Quic(quic) => quic.connection().remote_address(),
            Carrier::Tcp(_) => self.inner.remote,
        }
    }

    /// Our address: which line this is.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.inner.local
    }

    /// The smoothed round trip as QUIC measures it; over TCP unknown.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        match &self.inner.carrier {
            Carrier::Quic(quic) => Some(quic.connection().rtt()),
            Carrier::Tcp(_) => None,
        }
    }

    /// Longest packet known to pass, over QUIC.
    #[must_use]
    pub fn path_mtu(&self) -> Option<u16> {
        match &self.inner.carrier {
            Carrier::Quic(quic) => Some(quic.connection().stats().path.current_mtu),
            Carrier::Tcp(_) => None,
        }
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        match &self.inner.carrier {
            Carrier::Quic(quic) => quic.stats(),
            Carrier::Tcp(tcp) => tcp.stats(),
        }
    }

    /// Closes, after the control frames sent so far have arrived or [`CLOSE_GRACE`] has passed.
    /// Queued bundles and blobs are dropped: they are offered again in the next session.
    pub async fn close(&self, code: u32, reason: &str) {
        match &self.inner.carrier {
            Carrier::Quic(quic) => quic.close(code, reason).await,
            Carrier::Tcp(tcp) => tcp.close(code, reason).await,
        }
    }

    /// Closes now. Whatever was not sent is dropped.
    pub fn abort(&self, code: u32, reason: &str) {
        self.inner.carrier.abort(code, reason);
    }

    /// Resolves when the connection has ended, with the reason.
    pub async fn closed(&self) -> ConnectionError {
        self.inner.carrier.closed().await
    }

    pub(super) fn carrier(&self) -> &Carrier {
        &self.inner.carrier
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("peer", &self.authenticated().peer())
            .field("transport", &self.transport())
            .field("local", &self.local())
            .field("remote", &self.remote())
            .finish()
    }
}

/// Sends frames. Clones share the connection: one per class and task, if wanted.
#[derive(Clone, Debug)]
pub struct FrameSender {
    handle: Handle,
}

impl FrameSender {
    /// Queues `frame` behind the earlier ones of its class, waiting while that class is full. A
    /// full class never delays another one's `send`. Control leaves before what other classes have
    /// queued.
    ///
    /// Cancelled, the frame may or may not be sent; one begun is completed by the next `send` of its
    /// class, so frames are never cut.
    ///
    /// # Errors
    /// [`ConnectionError`]: the connection has ended, or the frame is longer than `FRAME_BYTES_MAX`
    /// (the connection then stays as it was).
    pub async fn send(&self, class: Class, frame: Bytes) -> Result<(), ConnectionError> {
        let prefix = super::frame::prefix(&frame)
            .ok_or(ConnectionError::TooLargeToSend { length: frame.len() })?;
        match self.handle.carrier() {
            Carrier::Quic(quic) => quic.send(class, prefix, frame).await,
            Carrier::Tcp(tcp) => tcp.send(class, prefix, frame).await,
        }
    }
}

impl Deref for FrameSender {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

/// Receives frames of all classes. What is not received is not acknowledged to the peer's flow
/// control: bounded by the stream windows over QUIC, by the socket's and one class's buffer over
/// TCP.
#[derive(Debug)]
pub struct FrameReceiver {
    handle: Handle,
    receiver: Receiving,
    held: [bool; 3],
    ended: bool,
}

impl FrameReceiver {
    /// The next frame, the most urgent of those at hand. After an error, `None`. Cancel safe.
    ///
    /// A peer that breaks the framing is closed upon with the fault's code.
    pub async fn recv(&mut self) -> Option<Result<(Class, Bytes), ConnectionError>> {
        if self.ended {
            return None;
        }
        // quinn's streams do not count against tokio's budget; a peer that always has a frame ready
        // must not keep a thread to itself.
        tokio::task::coop::consume_budget().await;
        let (receiver, held) = (&mut self.receiver, &self.held);
        let result = poll_fn(|cx| match receiver {
            Receiving::Quic(quic) => quic.poll_recv(cx, held),
            Receiving::Tcp(tcp) => tcp.poll_recv(cx, held),
        })
        .await;
        if let Err(error) = &result {
            self.ended = true;
            if let Some(code) = error.fault_code() {
                self.handle.abort(code, &error.to_string());
            }
        }
        Some(result)
    }

    /// While `held`, frames of `class` stay where they are and the others keep coming. Over TCP,
    /// where one socket carries all, a full held class in the end stops the others too.
    pub fn hold(&mut self, class: Class, held: bool) {
        self.held[class.index()] = held;
    }
}

impl Deref for FrameReceiver {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

/// The sending half by transport, and the way to end it. Clones are the same connection.
#[derive(Clone)]
pub(super) enum Carrier {
    Quic(Arc<QuicSender>),
    Tcp(Arc<TcpSender>),
}

impl Carrier {
    pub(super) fn abort(&self, code: u32, reason: &str) {
        match self {
            Self::Quic(quic) => quic.abort(code, reason),
            Self::Tcp(tcp) => tcp.abort(code, reason),
        }
    }

    pub(super) async fn closed(&self) -> ConnectionError {
        match self {
            Self::Quic(quic) => quic.closed().await,
            Self::Tcp(tcp) => tcp.closed().await,
        }
    }
}

/// The receiving half by transport.
#[derive(Debug)]
pub(super) enum Receiving {
    Quic(Box<QuicReceiver>),
    Tcp(Box<TcpReceiver>),
}

/// The code and reason we closed with: told once, by whoever is first.
#[derive(Debug, Default)]
pub(super) struct ClosedHere(OnceLock<(u32, String)>);

impl ClosedHere {
    pub(super) fn set(&self, code: u32, reason: &str) {
        // A second close changes nothing.
        let _ = self.0.set((code, reason.to_owned()));
    }

    pub(super) fn error(&self) -> ConnectionError {
        let (code, reason) = self.0.get().cloned().unwrap_or_default();
        ConnectionError::ClosedHere { code, reason }
    }
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionError {
    /// The peer closed, with a code of `engine/PROTOCOL.md` section 5.
    #[error("closed by the peer with code {code}: {reason}")]
    ClosedByPeer {
        /// Its code.
        code: u32,
        /// Its sentence.
        reason: String,
    },
    /// We closed.
    #[error("closed here with code {code}: {reason}")]
    ClosedHere {
        /// Our code.
        code: u32,
        /// Our sentence.
        reason: String,
    },
    /// The peer does not admit our certificate; the dialler learns it from the first `recv`.
    #[error("the peer refused our certificate: {0}")]
    RefusedByPeer(RefusedBecause),
    /// The peer announced a frame longer than any may be.
    #[error("a frame of {length} bytes was announced, more than {max}", max = engine::limits::FRAME_BYTES_MAX)]
    FrameTooLarge {
        /// On which stream.
        class: Class,
        /// What it announced.
        length: u32,
    },
    /// The peer ended a stream in the middle of a frame.
    #[error("a stream ended in the middle of a frame")]
    FrameCut {
        /// On which stream.
        class: Class,
    },
    /// The peer's bytes are not this protocol.
    #[error("not this protocol: {0}")]
    Malformed(&'static str),
    /// Our own frame is too long; nothing was sent and the connection is as it was.
    #[error("a frame of {length} bytes is too long to be sent")]
    TooLargeToSend {
        /// Its length.
        length: usize,
    },
    /// Nothing came for the idle timeout.
    #[error("the connection timed out")]
    TimedOut,
    /// The path or the peer's program went away.
    #[error("the connection was lost: {0}")]
    Lost(String),
}

impl ConnectionError {
    /// The code to close with, when the peer broke the framing.
    fn fault_code(&self) -> Option<u32> {
        match self {
            Self::FrameTooLarge { .. } => Some(super::code::TOO_LARGE),
            Self::FrameCut { .. } | Self::Malformed(_) => Some(super::code::MALFORMED),
            _ => None,
        }
    }
}

/// What the peer's TLS alert says about our certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedBecause {
    /// Our pin is not in its set.
    #[error("it does not admit this key, which must be enrolled there")]
    NotAdmitted,
    /// Our pin's date has passed.
    #[error("this key's admission has expired and must be renewed there")]
    Expired,
    /// Our key is of another kind, or unreadable.
    #[error("it cannot use this kind of certificate")]
    Unusable,
}

impl RefusedBecause {
    /// Reads a TLS alert (RFC 8446 section 6); `None` when it is not about our certificate.
    pub(super) fn of_alert(alert: u8) -> Option<Self> {
        match alert {
            // access_denied, unknown_ca, certificate_revoked
            49 | 48 | 44 => Some(Self::NotAdmitted),
            // certificate_expired
            45 => Some(Self::Expired),
            // bad_certificate, unsupported_certificate, certificate_unknown, certificate_required
            42 | 43 | 46 | 116 => Some(Self::Unusable),
            _ => None,
        }
    }
}

/// Cuts a close reason to [`REASON_BYTES_MAX`], on a character's boundary.
pub(super) fn clip(reason: &str) -> &str {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}

/// A peer's close reason: cut, and made text.
pub(super) fn reason_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(REASON_BYTES_MAX)]).into_owned()
}
