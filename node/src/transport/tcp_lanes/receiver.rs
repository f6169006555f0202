//! The receiving half: segments taken apart, frames put together, those of held classes kept.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};

use super::{CLOSE, SEGMENT_BYTES_MAX, SEGMENT_HEADER_BYTES, TcpSender, explain, lock};
use crate::transport::{
    connection::{ConnectionError, REASON_BYTES_MAX, reason_text},
    frame::{Class, Decoder},
};

/// Bytes of held classes kept by the receiver; above it the socket is not read.
const HELD_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Plaintext read at once.
const READ_BYTES: usize = 64 * 1024;

/// See the header.
pub(in crate::transport) struct TcpReceiver {
    sender: Arc<TcpSender>,
    buffer: Box<[u8]>,
    unread: BytesMut,
    segment: Option<(Class, usize)>,
    lanes: [RecvLane; 3],
    failed: Option<ConnectionError>,
    ended: Pin<Box<dyn Future<Output = ConnectionError> + Send + Sync>>,
}

#[derive(Default)]
struct RecvLane {
    decoder: Decoder,
    frames: VecDeque<Bytes>,
    bytes: usize,
}

impl TcpReceiver {
    pub(in crate::transport) fn new(sender: &Arc<TcpSender>) -> Box<Self> {
        let ending = Arc::clone(sender);
        Box::new(Self {
            ended: Box::pin(async move { ending.closed().await }),
            sender: Arc::clone(sender),
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            unread: BytesMut::new(),
            segment: None,
            lanes: Default::default(),
            failed: None,
        })
    }

    pub(in crate::transport) fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        held: &[bool; 3],
    ) -> Poll<Result<(Class, Bytes), ConnectionError>> {
        loop {
            for class in Class::ALL {
                let lane = &mut self.lanes[class.index()];
                if !held[class.index()]
                    && let Some(frame) = lane.frames.pop_front()
                {
                    lane.bytes -= frame.len();
                    return Poll::Ready(Ok((class, frame)));
                }
            }
            // After the frames, so that what arrived before the end is still delivered.
            if let Some(error) = self.failed.take() {
                self.sender.end(error.clone());
                return Poll::Ready(Err(error));
            }
            if let Poll::Ready(error) = self.ended.as_mut().poll(cx) {
                return Poll::Ready(Err(error));
            }
            if self.lanes.iter().map(|lane| lane.bytes).sum::<usize>() > HELD_BYTES_MAX {
                // `hold` is lifted by whoever polls, so nobody is to be woken.
                return Poll::Pending;
            }
            self.failed = ready!(self.poll_read(cx)).err();
        }
    }

    /// Reads once and takes apart what has come.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        let mut buf = ReadBuf::new(&mut self.buffer);
        let read = {
            let mut stream = lock(&self.sender.stream);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf))
        };
        if let Err(error) = read {
            return Poll::Ready(Err(explain(&error)));
        }
        if buf.filled().is_empty() {
            let why = "the peer ended the connection without a close".to_owned();
            let cut = Class::ALL
                .into_iter()
                .find(|class| !self.lanes[class.index()].decoder.is_between_frames());
            return Poll::Ready(Err(
                cut.map_or(ConnectionError::Lost(why), |class| ConnectionError::FrameCut { class })
            ));
        }
        self.unread.extend_from_slice(buf.filled());
        Poll::Ready(self.take_apart())
    }

    fn take_apart(&mut self) -> Result<(), ConnectionError> {
        loop {
            let (class, left) = match self.segment.take() {
                Some(segment) => segment,
                None => match self.take_header()? {
                    Some(segment) => segment,
                    None => return Ok(()),
                },
            };
            let mut part = self.unread.split_to(left.min(self.unread.len()));
            let left = left - part.len();
            let lane = &mut self.lanes[class.index()];
            while part.has_remaining() {
                let frame = lane.decoder.feed(&mut part).map_err(|too_large| {
                    ConnectionError::FrameTooLarge { class, length: too_large.length }
                })?;
                if let Some(frame) = frame {
                    lane.bytes += frame.len();
                    lane.frames.push_back(frame);
                }
            }
            if left > 0 {
                self.segment = Some((class, left));
                return Ok(());
            }
        }
    }

    fn take_header(&mut self) -> Result<Option<(Class, usize)>, ConnectionError> {
        let Some((&[class, high, low], rest)) =
            self.unread.split_first_chunk::<SEGMENT_HEADER_BYTES>()
        else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if class == CLOSE {
            if !(4..=4 + REASON_BYTES_MAX).contains(&length) {
                return Err(ConnectionError::Malformed("a close of no lawful length"));
            }
            if rest.len() < length {
                return Ok(None);
            }
            let mut close = &rest[..length];
            let code = close.get_u32();
            return Err(ConnectionError::ClosedByPeer { code, reason: reason_text(close) });
        }
        let class = Class::from_byte(class)
            .ok_or(ConnectionError::Malformed("a segment of no known class"))?;
        if length == 0 || length > SEGMENT_BYTES_MAX {
            return Err(ConnectionError::Malformed("a segment of no lawful length"));
        }
        self.unread.advance(SEGMENT_HEADER_BYTES);
        Ok(Some((class, length)))
    }
}

impl fmt::Debug for TcpReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpReceiver").field("unread", &self.unread.len()).finish_non_exhaustive()
    }
}
