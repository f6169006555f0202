//! Frames and runs as bytes (PROTOCOL.md sections 3 and 4).
//!
//! [`Frame::decode`] and [`Run::open`] are the only ways from a stranger's bytes to our
//! types; what they return is within every limit. Nothing here knows who sent it. What other
//! versions may say differently is section 7.

use serde::{Deserialize, Serialize};

use crate::{
    fault::Fault,
    id::{CutHash, LogId, Seq, VatNumber},
    limits,
    vector::Digest,
};

mod effort;
mod run;
mod sheet;

pub use effort::{DICTIONARY, Effort};
pub use run::{Form, OriginParts, Packing, Received, Run};
pub use sheet::{InvoiceId, Known, Reference};

/// Protocol versions this program speaks, lowest and highest.
pub const VERSIONS: (u16, u16) = (1, 2);

/// One message in a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Frame {
    /// First in both directions: what I hold durably.
    Hello(Hello),
    /// The spaces of a peer that has too many for its `Hello`, sent if roots differ.
    Spaces(Vec<SpaceState>),
    /// Tell me these spaces in full: what you said in brief is not known here.
    WantSpaces(Vec<Tenant>),
    /// Bundles.
    Run(Run),
    /// These logs are durable here up to these numbers, blobs included.
    Ack {
        /// The tenant.
        tenant: Tenant,
        /// The logs that moved.
        logs: Vec<(LogId, Seq)>,
    },
    /// The same, unasked: there is more here than you may know.
    Have {
        /// The tenant.
        tenant: Tenant,
        /// The logs that moved.
        logs: Vec<(LogId, Seq)>,
    },
    /// Send me this log from after this number.
    Want {
        /// The tenant.
        tenant: Tenant,
        /// The log.
        log: LogId,
        /// The last number I have.
        after: Seq,
    },
    /// Send me these chunks of a large blob.
    WantChunks {
        /// The tenant.
        tenant: Tenant,
        /// The file, as the bundle cut it.
        cut: CutHash,
        /// First chunk.
        first: u32,
        /// How many.
        count: u32,
    },
    /// One chunk of a large blob.
    Chunk(Chunk),
    /// The dialler moves the primary role to this session, or away.
    Path {
        /// Whether this session is now the primary one.
        primary: bool,
    },
    /// Are you there? Answered at once, before any disk.
    Ping(u64),
    /// I am.
    Pong(u64),
    /// The last frame.
    Bye(Option<Fault>),
}

/// What a replica says first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Lowest and highest protocol version spoken.
    pub versions: (u16, u16),
    /// Version of the program, for the other side's log: which program, the ALPN has said.
    pub agent: String,
    /// Whether the dialler wants this to be its primary session.
    pub primary: bool,
    /// What is held of each space, unless there are too many.
    pub spaces: Vec<SpaceState>,
    /// Digest of all spaces, where there are too many or none at all; else zeros.
    pub root: Digest,
}

/// What a replica holds of one space. Logs grow in number with every start of a writer, and
/// all but a few are finished: so the vector may be told in brief, as the logs that moved
/// last and a digest of the others, from which a peer that knows those works it out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceState {
    /// The tenant.
    pub tenant: Tenant,
    /// Its vector, or the part of it that moved last.
    pub logs: Vec<(LogId, Seq)>,
    /// Digest of the other logs, when there are others.
    pub rest: Option<RestDigest>,
    /// Digest of the whole space.
    pub digest: Digest,
}

/// The first bytes of a [`Digest`] over a part of a space's logs. Enough to recognise what
/// is known: a collision, one in 2^64, shows as unequal digests once all is exchanged.
pub type RestDigest = [u8; 8];

/// A chunk of a large blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The tenant.
    pub tenant: Tenant,
    /// The file, as the bundle cut it.
    pub cut: CutHash,
    /// Which chunk, from 0.
    pub index: u32,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A VAT number as it travels: a varint. It becomes a [`VatNumber`] by being parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Tenant(pub VatNumber);

impl TryFrom<u64> for Tenant {
    type Error = fatturapa::id::VatNumberError;
    fn try_from(number: u64) -> Result<Self, Self::Error> {
        VatNumber::parse(&format!("{number:011}")).map(Self)
    }
}

impl From<Tenant> for u64 {
    fn from(tenant: Tenant) -> Self {
        tenant.0.as_u64()
    }
}

impl Frame {
    /// Encodes a frame, without its length prefix.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Every field is plain data with a known length: postcard has no reason to fail.
        postcard::to_stdvec(self).expect("a frame of plain data always encodes")
    }

    /// Decodes a frame.
    ///
    /// # Errors
    /// [`Fault::TooLarge`] or [`Fault::Malformed`]; [`Fault::Version`] for a `Hello` that is not
    /// understood and says itself why.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        if bytes.len() > limits::FRAME_BYTES_MAX {
            return Err(Fault::TooLarge);
        }
        match postcard::take_from_bytes::<Self>(bytes) {
            // What a later version adds to its greeting stands behind what is known here.
            Ok((frame @ Self::Hello(_), _) | (frame, [])) => frame.check().map(|()| frame),
            _ if greets_in_another_version(bytes) => Err(Fault::Version),
            _ => Err(Fault::Malformed),
        }
    }

    fn check(&self) -> Result<(), Fault> {
        let fits = match self {
            Self::Hello(hello) => {
                hello.agent.len() <= limits::AGENT_BYTES_MAX
                    && hello.spaces.len() <= limits::HELLO_SPACES_MAX
                    && hello.spaces.iter().all(|s| s.logs.len() <= limits::LOGS_PER_SPACE_MAX)
            }
            Self::WantSpaces(tenants) => tenants.len() <= limits::HELLO_SPACES_MAX,
            Self::Spaces(spaces) => {
                spaces.iter().all(|s| s.logs.len() <= limits::LOGS_PER_SPACE_MAX)
            }
            Self::Ack { logs, .. } | Self::Have { logs, .. } => {
                logs.len() <= limits::LOGS_PER_SPACE_MAX
            }
            Self::WantChunks { count, .. } => *count <= limits::CHUNKS_IN_FLIGHT_MAX,
            Self::Chunk(chunk) => chunk.bytes.len() <= limits::CHUNK_BYTES,
            Self::Run(run) => run.bodies.len() <= limits::RUN_BUNDLES_MAX,
            Self::Want { .. }
            | Self::Path { .. }
            | Self::Ping(_)
            | Self::Pong(_)
            | Self::Bye(_) => true,
        };
        if fits { Ok(()) } else { Err(Fault::TooLarge) }
    }
}

/// Whether a peer that speaks these versions, lowest and highest, can be spoken with.
#[must_use]
pub const fn in_common(versions: (u16, u16)) -> bool {
    versions.0 <= VERSIONS.1 && versions.1 >= VERSIONS.0
}

/// Whether these bytes begin as a `Hello` of versions none of which is spoken here. This much of
/// a `Hello` is the same in every version, so that the older side can be told to update.
fn greets_in_another_version(bytes: &[u8]) -> bool {
    const HELLO: u32 = 0;
    postcard::take_from_bytes::<(u32, (u16, u16))>(bytes)
        .is_ok_and(|((kind, versions), _)| kind == HELLO && !in_common(versions))
}

#[cfg(test)]
mod tests {
    use super::{run::tests::run, *};
    use crate::bundle::{BlobRef, Body};

    #[test]
    fn every_truncation_of_every_frame_is_a_fault_and_never_a_panic() {
        let body = Body { blobs: vec![BlobRef::of(b"x")], ..Body::default() };
        let tenant = Tenant(VatNumber::parse("02038490237").unwrap());
        let log = LogId::from_bytes([2; 16]);
        let frames = [
            Frame::Run(run(&body, b"x")),
            Frame::Ack { tenant, logs: vec![(log, 9)] },
            Frame::Want { tenant, log, after: 3 },
            Frame::Bye(Some(Fault::DiskFull)),
        ];
        for frame in frames {
            let bytes = frame.encode();
            assert_eq!(Frame::decode(&bytes), Ok(frame));
            for len in 0..bytes.len() {
                assert!(Frame::decode(&bytes[..len]).is_err());
            }
        }
    }

    fn hello(versions: (u16, u16)) -> Hello {
        Hello {
            versions,
            agent: "node 9".to_owned(),
            primary: true,
            spaces: Vec::new(),
            root: Digest::default(),
        }
    }

    #[test]
    fn a_greeting_of_a_later_version_is_read_or_refused_by_its_version() {
        let later = Frame::Hello(hello((1, 9)));
        let longer = [&later.encode()[..], b"what version 9 adds"].concat();
        assert_eq!(Frame::decode(&longer), Ok(later));
        let strange = postcard::to_stdvec(&(0_u32, (3_u16, 9_u16), "nothing else is alike"));
        assert_eq!(Frame::decode(&strange.unwrap()), Err(Fault::Version));
        let known = postcard::to_stdvec(&(0_u32, (1_u16, 9_u16), 9_u8)).unwrap();
        assert_eq!(Frame::decode(&known), Err(Fault::Malformed));
        let longer = [&Frame::Ping(1).encode()[..], b"more"].concat();
        assert_eq!(Frame::decode(&longer), Err(Fault::Malformed));
    }

    #[test]
    fn a_tenant_with_a_wrong_check_digit_is_no_tenant() {
        let bytes = postcard::to_stdvec(&1_234_567_890_u64).unwrap();
        assert!(postcard::from_bytes::<Tenant>(&bytes).is_err());
    }
}
