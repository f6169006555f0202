//! Frames on one TLS stream: three classes in segments, the most urgent first.
//!
//! A segment is a class (u8), a length (u16, big endian) and that many bytes, at most
//! [`SEGMENT_BYTES_MAX`]; the bytes of one class, put together, are what its QUIC stream would
//! carry. A control frame so waits for one segment, not for a run of half a megabyte. Class 255 is
//! the close: code (u32, big endian) and a sentence, the last segment of its direction.
//!
//! One task per connection writes; reading is done by whoever receives.

mod receiver;

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use engine::limits::{FRAME_BYTES_MAX, RUN_RAW_BYTES_TARGET};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{Notify, Semaphore, watch},
    time::timeout,
};
use tokio_rustls::TlsStream;

use super::{
    connection::{CLOSE_GRACE, ConnectionError, RefusedBecause, Stats, clip},
    frame::Class,
    tcp::{Counted, Counters},
};

pub(super) use receiver::TcpReceiver;

/// Longest segment: one TLS record less its header and ours. 130 ms of a 1 Mbit/s uplink.
const SEGMENT_BYTES_MAX: usize = 16 * 1024 - SEGMENT_HEADER_BYTES;
const SEGMENT_HEADER_BYTES: usize = 3;
/// The class byte of a close.
const CLOSE: u8 = 255;
/// Bytes of one class queued for the writer: a frame of any length, and the next of the usual one.
const QUEUE_BYTES_MAX: usize = FRAME_BYTES_MAX + RUN_RAW_BYTES_TARGET;
/// How long a close that flushes nothing may take to be written.
const ABORT_GRACE: Duration = Duration::from_millis(250);
/// How long we read on after a close, for the peer's end: see `tcp::LINGER`.
const DRAIN_GRACE: Duration = Duration::from_millis(500);

/// The sending half, and the state both halves share.
pub(super) struct TcpSender {
    stream: Arc<Mutex<TlsStream<Counted>>>,
    counters: Arc<Counters>,
    queues: Mutex<Queues>,
    room: [Semaphore; 3],
    /// Wakes the writer: there is something to write.
    wake: Notify,
    /// Wakes the writer's clock: a close has begun.
    closing: Notify,
    /// Set once, when the connection has ended for its users.
    ended: watch::Sender<Option<ConnectionError>>,
}

#[derive(Default)]
struct Queues {
    lanes: [VecDeque<Bytes>; 3],
    closing: Option<Closing>,
}

#[derive(Clone)]
struct Closing {
    code: u32,
    reason: String,
    /// Control goes out first.
    flush: bool,
}

impl TcpSender {
    /// Starts the writer.
    pub(super) fn start(stream: TlsStream<Counted>, counters: Arc<Counters>) -> Arc<Self> {
        let room = || Semaphore::new(QUEUE_BYTES_MAX);
        let sender = Arc::new(Self {
            stream: Arc::new(Mutex::new(stream)),
            counters,
            queues: Mutex::default(),
            room: [room(), room(), room()],
            wake: Notify::new(),
            closing: Notify::new(),
            ended: watch::Sender::new(None),
        });
        tokio::spawn(write(Arc::clone(&sender)));
        sender
    }

    pub(super) async fn send(
        &self,
        class: Class,
        prefix: Bytes,
        frame: Bytes,
    ) -> Result<(), ConnectionError> {
        let bytes = u32::try_from(prefix.len() + frame.len())
            .expect("a frame that has a prefix is shorter than 4 GiB");
        let room = &self.room[class.index()];
        // A closed semaphore means that the connection has ended.
        let permit = room.acquire_many(bytes).await.map_err(|_| self.reason_or_lost())?;
        {
            let mut queues = lock(&self.queues);
            if let Some(closing) = &queues.closing {
                return Err(closing.error());
            }
            let lane = &mut queues.lanes[class.index()];
            lane.push_back(prefix);
            if !frame.is_empty() {
                lane.push_back(frame);
            }
        }
        permit.forget();
        self.wake.notify_one();
        Ok(())
    }

    pub(super) async fn close(&self, code: u32, reason: &str) {
        self.start_closing(code, reason, true);
        self.closed().await;
    }

    pub(super) fn abort(&self, code: u32, reason: &str) {
        let closing = self.start_closing(code, reason, false);
        self.end(closing);
    }

    pub(super) async fn closed(&self) -> ConnectionError {
        let mut ended = self.ended.subscribe();
        let ended = ended.wait_for(Option::is_some).await;
        ended.ok().and_then(|ended| ended.clone()).unwrap_or_else(lost)
    }

    pub(super) fn stats(&self) -> Stats {
        self.counters.stats()
    }

    /// Returns what users of the connection are told.
    fn start_closing(&self, code: u32, reason: &str, flush: bool) -> ConnectionError {
        let mut queues = lock(&self.queues);
        let closing = queues.closing.get_or_insert_with(|| Closing {
            code,
            reason: clip(reason).to_owned(),
            flush,
        });
        closing.flush &= flush;
        let error = closing.error();
        drop(queues);
        self.closing.notify_one();
        self.wake.notify_one();
        error
    }

    fn end(&self, error: ConnectionError) {
        self.ended.send_if_modified(|ended| {
            let first = ended.is_none();
            if first {
                *ended = Some(error);
            }
            first
        });
        self.room.iter().for_each(Semaphore::close);
        self.wake.notify_one();
    }

    fn has_ended(&self) -> Option<ConnectionError> {
        self.ended.borrow().clone()
    }

    fn reason_or_lost(&self) -> ConnectionError {
        self.has_ended().unwrap_or_else(lost)
    }

    /// Fills `segment` with the next one, or says what else there is to do.
    fn next(&self, segment: &mut BytesMut) -> Next {
        let mut queues = lock(&self.queues);
        let closing = queues.closing.clone();
        let classes = match &closing {
            None => &Class::ALL[..],
            Some(Closing { flush: true, .. }) => &Class::ALL[..1],
            Some(_) => &[],
        };
        for class in classes {
            let lane = &mut queues.lanes[class.index()];
            if lane.is_empty() {
                continue;
            }
            segment.put_u8(*class as u8);
            segment.put_u16(0);
            let mut room = SEGMENT_BYTES_MAX;
            while room > 0
                && let Some(bytes) = lane.front_mut()
            {
                let part = bytes.split_to(bytes.len().min(room));
                segment.put_slice(&part);
                room -= part.len();
                if bytes.is_empty() {
                    lane.pop_front();
                }
            }
            let length = SEGMENT_BYTES_MAX - room;
            let field = u16::try_from(length).expect("a segment is shorter than 64 KiB");
            segment[1..SEGMENT_HEADER_BYTES].copy_from_slice(&field.to_be_bytes());
            return Next::Segment { class: *class, length };
        }
        closing.map_or(Next::Nothing, Next::Close)
    }
}

impl Closing {
    fn error(&self) -> ConnectionError {
        ConnectionError::ClosedHere { code: self.code, reason: self.reason.clone() }
    }
}

enum Next {
    Segment { class: Class, length: usize },
    Nothing,
    Close(Closing),
}

/// The writer: until the close, then the last words, then the socket's end.
async fn write(sender: Arc<TcpSender>) {
    let mut cut_off = std::pin::pin!(cut_off(&sender));
    let result = tokio::select! {
        result = write_all_queued(&sender) => result,
        () = &mut cut_off => Ok(()),
    };
    let error = match result {
        Ok(()) => lock(&sender.queues).closing.as_ref().map_or_else(lost, Closing::error),
        Err(error) => explain(&error),
    };
    sender.end(error);
    // The peer reads our last words only if no reset overtakes them: wait for its end.
    let _ = timeout(DRAIN_GRACE, drain(&sender.stream)).await;
    lock(&sender.stream).get_ref().0.cut();
}

/// Resolves when there is no more time to write: after a close and its grace, or when the receiver
/// saw the connection end.
async fn cut_off(sender: &TcpSender) {
    let closed_upon = async {
        // Our own close ends the connection too, and still has its last words to write.
        let mut ended = sender.ended.subscribe();
        let _ = ended.wait_for(Option::is_some).await;
        if lock(&sender.queues).closing.is_some() {
            std::future::pending::<()>().await;
        }
    };
    let out_of_time = async {
        let mut grace = None;
        loop {
            match grace {
                None => sender.closing.notified().await,
                Some(grace) => {
                    // A second, harder close may cut the first one's grace short.
                    if timeout(grace, sender.closing.notified()).await.is_err() {
                        return;
                    }
                }
            }
            let flush = lock(&sender.queues).closing.as_ref().is_some_and(|closing| closing.flush);
            grace = Some(if flush { CLOSE_GRACE } else { ABORT_GRACE });
        }
    };
    tokio::select! {
        () = closed_upon => {}
        () = out_of_time => {}
    }
}

async fn write_all_queued(sender: &TcpSender) -> io::Result<()> {
    let mut segment = BytesMut::with_capacity(SEGMENT_BYTES_MAX + SEGMENT_HEADER_BYTES);
    loop {
        segment.clear();
        match sender.next(&mut segment) {
            Next::Segment { class, length } => {
                write_all(&sender.stream, &segment).await?;
                sender.room[class.index()].add_permits(length);
            }
            Next::Nothing => {
                flush(&sender.stream).await?;
                sender.wake.notified().await;
            }
            Next::Close(closing) => {
                segment.put_u8(CLOSE);
                let length = u16::try_from(4 + closing.reason.len())
                    .expect("a reason is shorter than 64 KiB");
                segment.put_u16(length);
                segment.put_u32(closing.code);
                segment.put_slice(closing.reason.as_bytes());
                write_all(&sender.stream, &segment).await?;
                return poll_fn(|cx| Pin::new(&mut *lock(&sender.stream)).poll_shutdown(cx)).await;
            }
        }
    }
}

async fn write_all(stream: &Mutex<TlsStream<Counted>>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = poll_fn(|cx| Pin::new(&mut *lock(stream)).poll_write(cx, bytes)).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[written..];
    }
    Ok(())
}

async fn flush(stream: &Mutex<TlsStream<Counted>>) -> io::Result<()> {
    poll_fn(|cx| Pin::new(&mut *lock(stream)).poll_flush(cx)).await
}

/// Reads and forgets until the peer ends.
async fn drain(stream: &Mutex<TlsStream<Counted>>) {
    let mut bytes = vec![0; 4096];
    loop {
        let mut buf = ReadBuf::new(&mut bytes);
        let read = poll_fn(|cx| Pin::new(lock(stream).get_mut().0).poll_read(cx, &mut buf)).await;
        if read.is_err() || buf.filled().is_empty() {
            return;
        }
    }
}

/// An I/O error in our words; a TLS alert about our certificate is a refusal.
pub(super) fn explain(error: &io::Error) -> ConnectionError {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if let Some(rustls::Error::AlertReceived(alert)) = tls
        && let Some(because) = RefusedBecause::of_alert(u8::from(*alert))
    {
        return ConnectionError::RefusedByPeer(because);
    }
    match error.kind() {
        io::ErrorKind::TimedOut => ConnectionError::TimedOut,
        _ => ConnectionError::Lost(error.to_string()),
    }
}

fn lost() -> ConnectionError {
    ConnectionError::Lost("the connection is gone".into())
}

/// Takes a lock that no code of ours can poison: nothing panics while it is held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
