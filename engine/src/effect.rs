//! Everything that can happen to an engine, and everything it can ask for. Reading these
//! two enums tells the whole conversation between an engine and its host.

use crate::{
    archive::ReadError,
    bundle::{BlobRef, Item, Origin},
    fault::Fault,
    grant::Role,
    id::{CutHash, LogId, PeerId, Seq, VatNumber},
    log::Place,
    session::SessionId,
    store::{Batch, StoreError},
    vector::Vector,
    wire::{Form, Frame},
};

/// The host's name for something it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// The engine's name for a batch it handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(pub u64);

/// What happens to an engine.
#[derive(Debug)]
pub enum Input {
    /// Somebody here has something to say about a tenant.
    Append {
        /// Comes back in [`Effect::Appended`] or [`Effect::Refused`].
        ticket: Ticket,
        /// The tenant.
        tenant: VatNumber,
        /// The host's clock, milliseconds since 1970, for people to read.
        written_ms: u64,
        /// What to say; together in one bundle.
        items: Vec<Item>,
        /// The original files that go with it.
        files: Vec<Vec<u8>>,
    },
    /// An authenticated connection is up.
    Opened {
        /// Its name, never used before.
        session: SessionId,
        /// Whose key it is.
        peer: PeerId,
        /// Whether we dialled.
        dialled: bool,
        /// Whether, having dialled, we want to be pushed to here.
        primary: bool,
    },
    /// A frame arrived. What a run refers to was looked up (see [`crate::archive::resolve`]).
    Received {
        /// Where.
        session: SessionId,
        /// What.
        frame: Frame,
    },
    /// Bytes arrived that are not a frame.
    Garbage {
        /// Where.
        session: SessionId,
        /// What is wrong with them.
        fault: Fault,
    },
    /// The run asked for by [`Effect::SendRun`] was handed to the connection.
    RunSent {
        /// Where.
        session: SessionId,
        /// Number of its last bundle.
        upto: Seq,
        /// Bytes of the frame.
        bytes: usize,
        /// Whether its bundle has a large blob.
        large: bool,
    },
    /// The run asked for by [`Effect::SendRun`] could not be read.
    RunUnread {
        /// Where.
        session: SessionId,
        /// Why.
        error: ReadError,
    },
    /// The answer to [`Effect::FindMissing`].
    Missing {
        /// The session that wants to bring the bundle.
        session: SessionId,
        /// The tenant.
        tenant: VatNumber,
        /// The log.
        log: LogId,
        /// What it answers.
        lookup: u64,
        /// Chunks that are not here, by file.
        chunks: Vec<(CutHash, Vec<u32>)>,
    },
    /// The answer to [`Effect::Truncate`]: the writes, and where the log now ends.
    Truncated {
        /// The tenant.
        tenant: VatNumber,
        /// The log.
        log: LogId,
        /// Its last bundle that counts.
        end: Place,
        /// What to store.
        batch: Batch,
    },
    /// A reader found the row of a bundle damaged.
    Damaged {
        /// The tenant.
        tenant: VatNumber,
        /// The log.
        log: LogId,
        /// The bundle.
        seq: Seq,
    },
    /// A connection is gone.
    Closed {
        /// Which.
        session: SessionId,
    },
    /// A batch is durable. Batches become durable in the order of their effects.
    Committed {
        /// Which.
        commit: CommitId,
    },
    /// A batch, and every one after it, was not stored.
    CommitFailed {
        /// Why.
        error: StoreError,
    },
    /// The store takes writes again.
    StoreReady,
    /// The dialler moves the primary role to this session, or away.
    Path {
        /// Which.
        session: SessionId,
        /// To it, or away.
        primary: bool,
    },
    /// Send on this session too what was not acknowledged elsewhere, or stop doing so.
    Hedge {
        /// Which.
        session: SessionId,
        /// Start, or stop.
        on: bool,
    },
    /// Ask the peer for what it announced and nobody delivered.
    Pull {
        /// Which.
        session: SessionId,
    },
    /// Ask whether the peer is there.
    Ping {
        /// Which.
        session: SessionId,
        /// Comes back in the `Pong`.
        n: u64,
    },
    /// End a session.
    End {
        /// Which.
        session: SessionId,
        /// Why, or an orderly end.
        fault: Option<Fault>,
    },
}

/// What an engine asks of its host, in order.
#[derive(Debug)]
pub enum Effect {
    /// Send a frame on the control stream, or a chunk on the blob stream.
    Send {
        /// Where.
        session: SessionId,
        /// What.
        frame: Frame,
    },
    /// Read a run from the store (see [`crate::archive::run`]), send it on the bundle
    /// stream, and answer [`Input::RunSent`] or [`Input::RunUnread`].
    SendRun {
        /// Where.
        session: SessionId,
        /// The tenant.
        tenant: VatNumber,
        /// Who writes the log.
        origin: Origin,
        /// The last bundle the peer has.
        after: Seq,
        /// The last bundle to send at most.
        upto: Seq,
        /// What the peer is known to hold, which a run may refer to; empty where it may not.
        held: Vector,
        /// The form that the peer reads.
        form: Form,
    },
    /// Read chunks from the store and send them on the blob stream.
    SendChunks {
        /// Where.
        session: SessionId,
        /// The tenant.
        tenant: VatNumber,
        /// The file, as the bundle cut it.
        cut: CutHash,
        /// First chunk.
        first: u32,
        /// How many.
        count: u32,
    },
    /// Store a batch, then answer [`Input::Committed`] after the durable barrier. The host
    /// may join batches under one barrier but keeps their order.
    Commit {
        /// Comes back.
        commit: CommitId,
        /// What to store.
        batch: Batch,
    },
    /// Look up which chunks of these blobs are not here; answer [`Input::Missing`].
    FindMissing {
        /// Comes back.
        session: SessionId,
        /// Comes back.
        tenant: VatNumber,
        /// Comes back.
        log: LogId,
        /// Comes back: which of the session's, since of one log several may be under way.
        lookup: u64,
        /// The blobs.
        blobs: Vec<BlobRef>,
    },
    /// A log goes beyond its writer's cut: work out [`crate::archive::truncate`] and answer
    /// [`Input::Truncated`].
    Truncate {
        /// The tenant.
        tenant: VatNumber,
        /// Who writes the log.
        origin: Origin,
        /// The last bundle that counts.
        cut: Seq,
    },
    /// Bundles left the truth, so records must be derived again: drop the tenant's mirror.
    Rebuild {
        /// The tenant.
        tenant: VatNumber,
    },
    /// What was said is durable here, as this bundle.
    Appended {
        /// Whose.
        ticket: Ticket,
        /// The log.
        log: LogId,
        /// The bundle.
        seq: Seq,
    },
    /// What was said was not taken.
    Refused {
        /// Whose.
        ticket: Ticket,
        /// Why.
        why: AppendError,
    },
    /// The feed of a tenant reaches to here durably: readers may follow.
    Fresh {
        /// The tenant.
        tenant: VatNumber,
        /// The last position.
        position: u64,
    },
    /// Who may connect has changed: replace the pins and cut whoever is not among them.
    Pins {
        /// Nodes that may connect, each with the end of its certificate (ms since 1970).
        nodes: Vec<(PeerId, u64)>,
    },
    /// Something was heard on a session.
    Heard {
        /// Where.
        session: SessionId,
        /// The number of a `Pong`.
        pong: Option<u64>,
    },
    /// The peer's `Hello` was accepted: the session is open.
    Greeted {
        /// Which.
        session: SessionId,
    },
    /// The peer announced bundles that are not here.
    Announced {
        /// Where.
        session: SessionId,
    },
    /// The peer said whether it can store what is pushed to it: the role goes where it can.
    Takes {
        /// Where.
        session: SessionId,
        /// Whether.
        takes: bool,
    },
    /// Say `Bye` and close the connection.
    Close {
        /// Which.
        session: SessionId,
        /// Why, or an orderly end.
        fault: Option<Fault>,
    },
    /// A person should know.
    Alarm(Alarm),
}

/// Something a person should know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Alarm {
    /// A writer signed two pasts.
    #[error(
        "log {log} of {tenant} is forked near bundle {seq}: its writer signed two different pasts; it is quarantined"
    )]
    Fork {
        /// The tenant.
        tenant: VatNumber,
        /// The log.
        log: LogId,
        /// About where.
        seq: Seq,
    },
    /// Two replicas with one vector hold different bundles.
    #[error("{peer} and this replica hold the same numbers and different bundles of {tenant}")]
    Diverged {
        /// The tenant.
        tenant: VatNumber,
        /// The other replica.
        peer: PeerId,
    },
    /// A row of the store is damaged; it is fetched again.
    #[error("{0}")]
    Damaged(String),
}

/// Why nothing was said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// This role may not write that.
    #[error("a {0:?} may not write this kind of document")]
    Forbidden(Role),
    /// Over a limit.
    #[error(transparent)]
    Body(#[from] crate::bundle::BodyError),
    /// This engine does not hold that tenant's space.
    #[error("{0} is not served here")]
    NotHere(VatNumber),
    /// The store takes no writes now.
    #[error("nothing can be stored now: {0}")]
    Store(String),
}
