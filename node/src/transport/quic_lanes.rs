//! Frames on QUIC streams: one stream per class and direction, no task of our own in between.
//!
//! A frame goes from the caller straight into quinn's send buffer and from quinn's receive buffer
//! straight to the caller. Backpressure is the stream's own flow control, so one class never waits
//! for another.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use quinn::{ReadError, RecvStream, SendStream, VarInt, WriteError};
use tokio::{sync::Mutex, time::timeout};

use super::{
    connection::{
        CLOSE_GRACE, ClosedHere, ConnectionError, RefusedBecause, Stats, clip, reason_text,
    },
    frame::{Class, Decoder},
};

/// Unidirectional streams a peer opens: bundles, blobs.
const UNI_STREAMS: usize = 2;
/// Packets' worth of bytes taken from quinn under one lock.
const CHUNKS_AT_ONCE: usize = 32;

/// The sending half.
pub(super) struct QuicSender {
    connection: quinn::Connection,
    lanes: [Mutex<SendLane>; 3],
    closed_here: ClosedHere,
}

#[derive(Default)]
struct SendLane {
    stream: Option<SendStream>,
    /// What a cancelled `send` left to write: frames are never cut.
    pending: VecDeque<Bytes>,
}

impl QuicSender {
    /// `control` is the sending half of the bidirectional stream.
    pub(super) fn new(connection: quinn::Connection, control: SendStream) -> Arc<Self> {
        set_priority(&control, Class::Control);
        let control = SendLane { stream: Some(control), pending: VecDeque::new() };
        let lanes = [Mutex::new(control), Mutex::default(), Mutex::default()];
        Arc::new(Self { connection, lanes, closed_here: ClosedHere::default() })
    }

    pub(super) fn connection(&self) -> &quinn::Connection {
        &self.connection
    }

    pub(super) async fn send(
        &self,
        class: Class,
        prefix: Bytes,
        frame: Bytes,
    ) -> Result<(), ConnectionError> {
        let mut lane = self.lanes[class.index()].lock().await;
        if lane.stream.is_none() {
            let stream = self.connection.open_uni().await.map_err(|error| self.explain(&error))?;
            set_priority(&stream, class);
            lane.stream = Some(stream);
            lane.pending.push_back(Bytes::copy_from_slice(&[class as u8]));
        }
        lane.pending.push_back(prefix);
        lane.pending.push_back(frame);
        let SendLane { stream: Some(stream), pending } = &mut *lane else {
            return Err(self.closed_here.error());
        };
        flush(stream, pending).await.map_err(|error| match error {
            WriteError::ConnectionLost(error) => self.explain(&error),
            WriteError::Stopped(_) => ConnectionError::Malformed("a stream was stopped"),
            WriteError::ClosedStream | WriteError::ZeroRttRejected => self.closed_here.error(),
        })
    }

    pub(super) async fn close(&self, code: u32, reason: &str) {
        let reason = clip(reason);
        self.closed_here.set(code, reason);
        let control_arrived = async {
            let mut lane = self.lanes[Class::Control.index()].lock().await;
            let SendLane { stream: Some(stream), pending } = &mut *lane else { return };
            // An error here means that the connection is gone already: nothing to wait for.
            if flush(stream, pending).await.is_ok() && stream.finish().is_ok() {
                let _ = stream.stopped().await;
            }
        };
        // When the path is dead the peer learns nothing either way.
        let _ = timeout(CLOSE_GRACE, control_arrived).await;
        self.connection.close(VarInt::from_u32(code), reason.as_bytes());
    }

    pub(super) fn abort(&self, code: u32, reason: &str) {
        let reason = clip(reason);
        self.closed_here.set(code, reason);
        self.connection.close(VarInt::from_u32(code), reason.as_bytes());
    }

    pub(super) async fn closed(&self) -> ConnectionError {
        let error = self.connection.closed().await;
        self.explain(&error)
    }

    pub(super) fn stats(&self) -> Stats {
        let stats = self.connection.stats();
        Stats {
            sent_bytes: stats.udp_tx.bytes,
            sent_datagrams: stats.udp_tx.datagrams,
            received_bytes: stats.udp_rx.bytes,
            received_datagrams: stats.udp_rx.datagrams,
            acknowledgements: stats.frame_rx.acks,
            lost_packets: stats.path.lost_packets,
            congestion_window_bytes: stats.path.cwnd,
        }
    }

    fn explain(&self, error: &quinn::ConnectionError) -> ConnectionError {
        match error {
            quinn::ConnectionError::LocallyClosed => self.closed_here.error(),
            other => explain(other),
        }
    }
}

/// Writes all of `pending`. Cancelled, what was written has left `pending` and the rest is there.
async fn flush(stream: &mut SendStream, pending: &mut VecDeque<Bytes>) -> Result<(), WriteError> {
    while !pending.is_empty() {
        let written = stream.write_chunks(pending.make_contiguous()).await?;
        pending.drain(..written.chunks);
    }
    Ok(())
}

fn set_priority(stream: &SendStream, class: Class) {
    let priority = match class {
        Class::Control => 2,
        Class::Bundles => 1,
        Class::Blobs => 0,
    };
    // Fails only on a stream that has ended, whose next write says so.
    let _ = stream.set_priority(priority);
}

/// The receiving half.
pub(super) struct QuicReceiver {
    sender: Arc<QuicSender>,
    lanes: [RecvLane; 3],
    accept: Option<Pin<Box<dyn Future<Output = Option<RecvStream>> + Send + Sync>>>,
    accepted: usize,
    /// Streams whose first byte, which names their class, has not come.
    unnamed: Vec<RecvStream>,
    closed: Pin<Box<dyn Future<Output = ConnectionError> + Send + Sync>>,
}

#[derive(Default)]
struct RecvLane {
    stream: Option<RecvStream>,
    named: bool,
    chunks: VecDeque<Bytes>,
    decoder: Decoder,
}

impl QuicReceiver {
    /// `control` is the receiving half of the bidirectional stream.
    pub(super) fn new(sender: &Arc<QuicSender>, control: RecvStream) -> Box<Self> {
        let mut lanes: [RecvLane; 3] = Default::default();
        lanes[Class::Control.index()].stream = Some(control);
        lanes[Class::Control.index()].named = true;
        let accept = Some(accept_uni(sender.connection.clone()));
        let closing = Arc::clone(sender);
        Box::new(Self {
            sender: Arc::clone(sender),
            lanes,
            accept,
            accepted: 0,
            unnamed: Vec::new(),
            closed: Box::pin(async move { closing.closed().await }),
        })
    }

    pub(super) fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        held: &[bool; 3],
    ) -> Poll<Result<(Class, Bytes), ConnectionError>> {
        self.poll_accept(cx);
        self.poll_names(cx)?;
        for class in Class::ALL {
            if held[class.index()] {
                continue;
            }
            if let Poll::Ready(Some(frame)) = self.poll_lane(class, cx)? {
                return Poll::Ready(Ok((class, frame)));
            }
        }
        // Last, so that what arrived before the close is still delivered.
        self.closed.as_mut().poll(cx).map(Err)
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) {
        while let Some(accept) = &mut self.accept {
            match accept.as_mut().poll(cx) {
                Poll::Pending => return,
                Poll::Ready(None) => self.accept = None,
                Poll::Ready(Some(stream)) => {
                    self.unnamed.push(stream);
                    self.accepted += 1;
                    let more = self.accepted < UNI_STREAMS;
                    self.accept = more.then(|| accept_uni(self.sender.connection.clone()));
                }
            }
        }
    }

    fn poll_names(&mut self, cx: &mut Context<'_>) -> Result<(), ConnectionError> {
        let mut at = 0;
        while at < self.unnamed.len() {
            let mut name = [0];
            match self.unnamed[at].poll_read(cx, &mut name) {
                Poll::Pending => {
                    at += 1;
                    continue;
                }
                Poll::Ready(Ok(1)) => {}
                // The connection's end is told by `closed`.
                Poll::Ready(Err(ReadError::ConnectionLost(_))) => {
                    self.unnamed.remove(at);
                    continue;
                }
                Poll::Ready(_) => {
                    return Err(ConnectionError::Malformed("a stream without a class"));
                }
            }
            let class = Class::from_byte(name[0])
                .filter(|class| *class != Class::Control)
                .ok_or(ConnectionError::Malformed("a stream of no known class"))?;
            let stream = self.unnamed.remove(at);
            let lane = &mut self.lanes[class.index()];
            if lane.named {
                return Err(ConnectionError::Malformed("a second stream of one class"));
            }
            lane.named = true;
            lane.stream = Some(stream);
        }
        Ok(())
    }

    /// A frame, or `None` for a stream that has ended well.
    fn poll_lane(
        &mut self,
        class: Class,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, ConnectionError>> {
        let lane = &mut self.lanes[class.index()];
        loop {
            while let Some(chunk) = lane.chunks.front_mut() {
                let frame = lane.decoder.feed(chunk).map_err(|too_large| {
                    ConnectionError::FrameTooLarge { class, length: too_large.length }
                })?;
                if chunk.is_empty() {
                    lane.chunks.pop_front();
                }
                if frame.is_some() {
                    return Poll::Ready(Ok(frame));
                }
            }
            let Some(stream) = &mut lane.stream else { return Poll::Pending };
            let mut chunks = [const { Bytes::new() }; CHUNKS_AT_ONCE];
            // The future holds nothing between polls, so it may be made anew for each.
            let read = match pin!(stream.read_chunks(&mut chunks)).poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(read) => read,
            };
            match read {
                Ok(Some(count)) => lane.chunks.extend(chunks.into_iter().take(count)),
                Ok(None) => {
                    lane.stream = None;
                    return Poll::Ready(if lane.decoder.is_between_frames() {
                        Ok(None)
                    } else {
                        Err(ConnectionError::FrameCut { class })
                    });
                }
                Err(ReadError::Reset(_)) => {
                    return Poll::Ready(Err(ConnectionError::Malformed("a stream was reset")));
                }
                // The connection's end is told by `closed`.
                Err(_) => {
                    lane.stream = None;
                    return Poll::Pending;
                }
            }
        }
    }
}

impl fmt::Debug for QuicReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicReceiver").field("accepted", &self.accepted).finish_non_exhaustive()
    }
}

fn accept_uni(
    connection: quinn::Connection,
) -> Pin<Box<dyn Future<Output = Option<RecvStream>> + Send + Sync>> {
    Box::pin(async move { connection.accept_uni().await.ok() })
}

/// A connection's end in our words.
pub(super) fn explain(error: &quinn::ConnectionError) -> ConnectionError {
    match error {
        quinn::ConnectionError::ApplicationClosed(close) => ConnectionError::ClosedByPeer {
            code: u32::try_from(close.error_code.into_inner()).unwrap_or(u32::MAX),
            reason: reason_text(&close.reason),
        },
        quinn::ConnectionError::ConnectionClosed(close) => {
            tls_alert(close.error_code).and_then(RefusedBecause::of_alert).map_or_else(
                || ConnectionError::Lost(error.to_string()),
                ConnectionError::RefusedByPeer,
            )
        }
        quinn::ConnectionError::TimedOut => ConnectionError::TimedOut,
        quinn::ConnectionError::LocallyClosed => {
            ConnectionError::ClosedHere { code: 0, reason: String::new() }
        }
        other => ConnectionError::Lost(other.to_string()),
    }
}

/// The TLS alert in a QUIC error code: 0x0100-0x01ff (RFC 9001 section 4.8).
pub(super) fn tls_alert(code: quinn::TransportErrorCode) -> Option<u8> {
    let code = u64::from(code);
    (code >> 8 == 1).then_some((code & 0xff) as u8)
}
