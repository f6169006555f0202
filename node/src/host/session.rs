//! One connection at work: tasks that move frames between it and the host's loop.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use engine::{
    archive,
    bundle::Origin,
    effect::Input,
    fault::Fault,
    id::{CutHash, Seq, VatNumber},
    limits,
    route::SessionId,
    store::Store,
    vector::Vector,
    wire::{Chunk, Effort, Form, Frame, Packing, Tenant},
};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    task::{JoinError, JoinHandle, spawn_blocking},
    time::timeout,
};

use super::{Event, meter::Meter};
use crate::transport::{Class, Connection, FrameReceiver, FrameSender, Handle};

/// How long a closing session waits until `Bye` is handed to the connection.
const BYE_GRACE: Duration = Duration::from_secs(1);

/// A round trip below this is that of a LAN or of one machine. TCP is what is dialled where a
/// company's firewall stops UDP, so it leads elsewhere.
const NEAR: Duration = Duration::from_millis(5);

/// Chunks of a large blob that a peer asks for.
pub(super) struct ChunkRequest {
    pub(super) tenant: VatNumber,
    pub(super) cut: CutHash,
    pub(super) indexes: std::ops::Range<u32>,
}

/// The sending side of one session.
pub(super) struct Line {
    pub(super) handle: Handle,
    control: mpsc::Sender<Bytes>,
    chunks: mpsc::Sender<ChunkRequest>,
    sender: FrameSender,
    writer: JoinHandle<()>,
    acknowledgements: u64,
    meter: Meter,
}

impl Line {
    /// Starts the tasks of `connection`.
    pub(super) fn start(
        session: SessionId,
        connection: Connection,
        store: Arc<dyn Store>,
        meter: Meter,
        events: mpsc::UnboundedSender<Event>,
        frames: mpsc::Sender<(SessionId, Result<Frame, Fault>)>,
    ) -> Self {
        let handle = connection.handle();
        let (sender, receiver) = connection.split();
        let (control, outbox) = mpsc::channel(limits::CONTROL_FRAMES_MAX);
        let writer = tokio::spawn(write_control(sender.clone(), outbox));
        let (chunks, requests) = mpsc::channel(limits::CHUNK_REQUESTS_MAX);
        tokio::spawn(write_chunks(sender.clone(), Arc::clone(&store), meter.clone(), requests));
        tokio::spawn(read(session, receiver, store, meter.clone(), events, frames));
        Self { handle, control, chunks, sender, writer, acknowledgements: 0, meter }
    }

    /// Queues a frame on the control stream. A peer that asks and does not read is cut off.
    pub(super) fn send(&self, frame: &Frame) {
        let bytes = Bytes::from(frame.encode());
        self.meter.said(frame);
        self.meter.sent(Class::Control, bytes.len());
        // A closed connection is told of by its reader.
        if let Err(TrySendError::Full(_)) = self.control.try_send(bytes) {
            let fault = Fault::Busy;
            self.handle.abort(u32::from(fault.code()), &fault.to_string());
        }
    }

    /// Whether the peer's transport acknowledged anything since the last call.
    pub(super) fn was_acknowledged(&mut self) -> bool {
        let acknowledgements = self.handle.stats().acknowledgements;
        std::mem::replace(&mut self.acknowledgements, acknowledgements) != acknowledgements
    }

    /// Reads a run and sends it; tells the host when it is on its way.
    pub(super) fn send_run(
        &self,
        session: SessionId,
        store: Arc<dyn Store>,
        (tenant, origin): (VatNumber, Origin),
        (after, upto, held): (Seq, Seq, Vector),
        form: Form,
        events: mpsc::UnboundedSender<Event>,
    ) {
        let (sender, meter) = (self.sender.clone(), self.meter.clone());
        let near = self.handle.rtt().is_some_and(|rtt| rtt < NEAR);
        let effort = match near {
            true if upto - after == 1 => Effort::Quick,
            true => Effort::Fair,
            false => Effort::Thorough,
        };
        let read = move || {
            let packing = Packing { form, effort };
            let (run, large) = archive::run(&*store, tenant, &origin, after, upto, &held, packing)?;
            let last = run.last().expect("a run that was read has bundles");
            let frame = Frame::Run(run);
            meter.said(&frame);
            let bytes = Bytes::from(frame.encode());
            meter.sent(Class::Bundles, bytes.len());
            Ok((bytes, last, large))
        };
        tokio::spawn(async move {
            // One bundle is what was just said: its pages are in memory, and a thread that has to
            // wake for it costs a live change 0.1 ms.
            let read = if upto - after == 1 { Ok(read()) } else { spawn_blocking(read).await };
            let input = match read {
                Ok(Ok((bytes, upto, large))) => {
                    let len = bytes.len();
                    if sender.send(Class::Bundles, bytes).await.is_err() {
                        return;
                    }
                    Input::RunSent { session, upto, bytes: len, large }
                }
                Ok(Err(error)) => Input::RunUnread { session, error },
                Err(_) => return,
            };
            let _ = events.send(Event::Input(input));
        });
    }

    /// Queues chunks of a large blob; those that are here are sent. A peer that asks for more
    /// than it reads is cut off.
    pub(super) fn send_chunks(&self, request: ChunkRequest) {
        if let Err(TrySendError::Full(_)) = self.chunks.try_send(request) {
            let fault = Fault::Busy;
            self.handle.abort(u32::from(fault.code()), &fault.to_string());
        }
    }

    /// Closes once what is queued on control has left.
    pub(super) fn close(self, fault: Option<Fault>) {
        let Self { handle, control, chunks, sender, writer, .. } = self;
        drop((control, chunks, sender));
        tokio::spawn(async move {
            // The writer ends once it has sent what was queued: `Bye` among it. A peer that
            // does not read is told by the code alone.
            let _ = timeout(BYE_GRACE, writer).await;
            let code = fault.map_or(0, |fault| u32::from(fault.code()));
            let reason = fault.map_or_else(String::new, |fault| fault.to_string());
            handle.close(code, &reason).await;
        });
    }
}

/// Reads and sends what was asked for, one chunk in memory at a time.
async fn write_chunks(
    sender: FrameSender,
    store: Arc<dyn Store>,
    meter: Meter,
    mut requests: mpsc::Receiver<ChunkRequest>,
) {
    while let Some(ChunkRequest { tenant, cut, indexes }) = requests.recv().await {
        for index in indexes {
            let store = Arc::clone(&store);
            let read = spawn_blocking(move || archive::read_chunk(&*store, tenant, &cut, index));
            // What is not here, or is damaged, is not sent: the peer asks another.
            let Ok(Ok(Some(bytes))) = read.await else { break };
            let frame = Frame::Chunk(Chunk { tenant: Tenant(tenant), cut, index, bytes });
            let bytes = Bytes::from(frame.encode());
            meter.said(&frame);
            meter.sent(Class::Blobs, bytes.len());
            if sender.send(Class::Blobs, bytes).await.is_err() {
                return;
            }
        }
    }
}

async fn write_control(sender: FrameSender, mut outbox: mpsc::Receiver<Bytes>) {
    while let Some(frame) = outbox.recv().await {
        if sender.send(Class::Control, frame).await.is_err() {
            return;
        }
    }
}

async fn read(
    session: SessionId,
    mut receiver: FrameReceiver,
    store: Arc<dyn Store>,
    meter: Meter,
    events: mpsc::UnboundedSender<Event>,
    frames: mpsc::Sender<(SessionId, Result<Frame, Fault>)>,
) {
    let mut why = None;
    // Streams keep no order among each other: a run may arrive before the Hello that was said
    // before it. It waits.
    hold(&mut receiver, true);
    // A run whose references are being looked up. Runs come one after the other, so no other is
    // received meanwhile; control frames are, since a ping is answered before any disk.
    let mut resolving = None;
    loop {
        let frame = tokio::select! {
            resolved = resolved(&mut resolving) => {
                resolving = None;
                receiver.hold(Class::Bundles, false);
                match resolved {
                    Ok(frame) => frame,
                    Err(_) => break,
                }
            }
            received = receiver.recv() => match received {
                Some(Ok((class, bytes))) => {
                    if resolving.is_none() {
                        hold(&mut receiver, false);
                    }
                    meter.heard(class, bytes.len());
                    match Frame::decode(&bytes) {
                        Ok(Frame::Run(run)) if run.refers() => {
                            receiver.hold(Class::Bundles, true);
                            let store = Arc::clone(&store);
                            let resolve = move || archive::resolve(&*store, run).map(Frame::Run);
                            resolving = Some(spawn_blocking(resolve));
                            continue;
                        }
                        frame => frame,
                    }
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, session = session.0, "connection ended");
                    why = Some(error);
                    break;
                }
                None => break,
            },
        };
        let bad = frame.is_err();
        if frames.send((session, frame)).await.is_err() {
            break;
        }
        if bad {
            // The host names the fault and closes; told of the end first, it could not.
            receiver.closed().await;
            break;
        }
    }
    let _ = events.send(Event::Closed(session, why));
}

/// The end of a task, if there is one.
async fn resolved<T>(task: &mut Option<JoinHandle<T>>) -> Result<T, JoinError> {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}

/// Holds back, or lets come, everything but control frames.
fn hold(receiver: &mut FrameReceiver, held: bool) {
    receiver.hold(Class::Bundles, held);
    receiver.hold(Class::Blobs, held);
}
