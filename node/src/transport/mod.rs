//! Identities, pins, and connections that carry frames: everything between a socket and the engine.
//!
//! A [`Connection`] is made by a [`Dialer`] or yielded by a [`Listener`], over QUIC or, where UDP is
//! blocked, over TLS on TCP; the host cannot tell them apart but by [`Connection::transport`]. It
//! always carries an [`Authenticated`], the proof that the peer holds the key it is known by, and
//! it ends at once when that key leaves the [`PinSet`].
//!
//! This room never looks inside a frame, never decides whom to dial, and never retries: those are
//! the engine's. It reads no certificate's name, issuer or date of a peer: only its key.
//!
//! ```text
//! identity -> tls <- pin          who we are, how we speak, whom we admit
//!              |
//!        quic     tcp             sockets, one per line, and every default set (congestion: how fast)
//!          |       |
//!  quic_lanes     tcp_lanes       frames on streams; frames in segments
//!           \     /
//! dial -> connection <- listen <- gate
//! ```

mod congestion;
pub mod connection;
pub mod dial;
mod frame;
mod gate;
pub mod guest;
pub mod identity;
pub mod listen;
pub mod pin;
pub mod quic;
mod quic_lanes;
pub mod tcp;
mod tcp_lanes;
pub mod tls;

pub use connection::{
    Connection, ConnectionError, FrameReceiver, FrameSender, Handle, Stats, Transport,
};
pub use dial::{DialError, Dialer};
pub use frame::Class;
pub use gate::Limits;
pub use identity::{Identity, IdentityError};
pub use listen::{Listener, ListenerStats};
pub use pin::{Authenticated, PinSet, Pins, Refusal};
pub use quic::{Congestion, Endpoint};
pub use tls::ALPN;

/// Close codes this room uses itself; the numbers are those of `engine/PROTOCOL.md` section 5.
pub mod code {
    /// Nothing is wrong: the host is done with the connection.
    pub const DONE: u32 = 0;
    /// The bytes are not this protocol.
    pub const MALFORMED: u32 = 1;
    /// A frame was announced that is longer than any frame may be.
    pub const TOO_LARGE: u32 = 2;
    /// Another application protocol than `staffetta/1`, or none.
    pub const VERSION: u32 = 3;
    /// The pin is not admitted. In a handshake this is a TLS alert instead.
    pub const UNKNOWN_PIN: u32 = 4;
    /// The pin was admitted and no longer is.
    pub const REVOKED: u32 = 5;
    /// Too many connections, of this peer or in all.
    pub const BUSY: u32 = 14;
}

/// Seconds since 1970. Only pins' dates are compared with it.
fn unix_seconds() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
