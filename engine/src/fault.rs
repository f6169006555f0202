//! What a peer did wrong. A fault ends that session only.

use serde::{Deserialize, Serialize};

/// Why a session ends. Codes are PROTOCOL.md section 5; the sentence is for the log of
/// whoever is told.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error,
)]
#[repr(u8)]
pub enum Fault {
    /// Bytes that are not a frame, a run or a body.
    #[error("malformed frame: the peer speaks another protocol or is damaged")]
    Malformed = 1,
    /// Over one of [`crate::limits`].
    #[error("a frame, bundle or file is over its limit")]
    TooLarge = 2,
    /// No protocol version in common.
    #[error("no protocol version in common: update the older side")]
    Version = 3,
    /// The key is in no pin set.
    #[error("unknown certificate: have the portal admit it")]
    UnknownPin = 4,
    /// The key was revoked.
    #[error("this certificate was revoked: ask the intermediary for a new one")]
    Revoked = 5,
    /// A tenant this peer has no grant for.
    #[error("this peer has no grant for that VAT number")]
    WrongTenant = 6,
    /// A log whose writer has no grant for the tenant.
    #[error("a bundle by a writer that has no grant for that VAT number")]
    UnknownWriter = 7,
    /// The signature does not verify: altered bytes or a forger.
    #[error("a bundle whose signature does not verify")]
    BadSignature = 8,
    /// A kind of document this writer's role may not write.
    #[error("a bundle with a kind of document its writer may not write")]
    ForbiddenKind = 9,
    /// A change whose Automerge actor is not its log.
    #[error("a change made in another writer's name")]
    WrongActor = 10,
    /// A change that breaks a bound of [`crate::chunk`].
    #[error("a change that is not a bounded Automerge change")]
    BadChange = 11,
    /// A chunk that is not the one its bundle names.
    #[error("a chunk that does not match the hash in its bundle")]
    BadChunk = 12,
    /// A frame before `Hello`, or a second `Hello`.
    #[error("a frame out of turn")]
    NotGreeted = 13,
    /// Too many sessions.
    #[error("too many sessions: try again later")]
    Busy = 14,
    /// The receiver cannot store anything now.
    #[error("the disk of the other side is full: try again later")]
    DiskFull = 15,
    /// An orderly end.
    #[error("the other side is shutting down")]
    ShuttingDown = 16,
    /// The writer signed two bundles with one number.
    #[error("a writer signed two different bundles with one number: its log is quarantined")]
    Forked = 17,
}

impl Fault {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Whether the peer should wait long before it comes back: its configuration or its
    /// grants must change first.
    #[must_use]
    pub const fn needs_a_person(self) -> bool {
        matches!(
            self,
            Self::Version | Self::UnknownPin | Self::Revoked | Self::WrongTenant | Self::Forked
        )
    }
}
