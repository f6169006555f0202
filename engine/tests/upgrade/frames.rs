//! Every kind of frame and every fault, as bytes.

use engine::{
    bundle::{BlobRef, ChainHash, Signature},
    fault::Fault,
    id::{Incarnation, LogId, VatNumber},
    vector::Digest,
    wire::{Chunk, Frame, Hello, OriginParts, Run, SpaceState, Tenant},
};

use crate::{Kept, kept, keys::Key, spoken};

/// The kinds there are. [`kind`] does not compile without a new one.
const KINDS: [&str; 13] = [
    "Hello",
    "Spaces",
    "WantSpaces",
    "Run",
    "Ack",
    "Have",
    "Want",
    "WantChunks",
    "Chunk",
    "Path",
    "Ping",
    "Pong",
    "Bye",
];

fn kind(frame: &Frame) -> &'static str {
    let place = match frame {
        Frame::Hello(_) => 0,
        Frame::Spaces(_) => 1,
        Frame::WantSpaces(_) => 2,
        Frame::Run(_) => 3,
        Frame::Ack { .. } => 4,
        Frame::Have { .. } => 5,
        Frame::Want { .. } => 6,
        Frame::WantChunks { .. } => 7,
        Frame::Chunk(_) => 8,
        Frame::Path { .. } => 9,
        Frame::Ping(_) => 10,
        Frame::Pong(_) => 11,
        Frame::Bye(_) => 12,
    };
    KINDS[place]
}

/// Every fault by its code.
const FAULTS: [Fault; 17] = [
    Fault::Malformed,
    Fault::TooLarge,
    Fault::Version,
    Fault::UnknownPin,
    Fault::Revoked,
    Fault::WrongTenant,
    Fault::UnknownWriter,
    Fault::BadSignature,
    Fault::ForbiddenKind,
    Fault::WrongActor,
    Fault::BadChange,
    Fault::BadChunk,
    Fault::NotGreeted,
    Fault::Busy,
    Fault::DiskFull,
    Fault::ShuttingDown,
    Fault::Forked,
];

#[test]
fn every_frame_that_was_kept_says_what_it_said() {
    for version in spoken() {
        let kept = kept("frames", version);
        for Kept { bytes, says } in &kept {
            let frame = Frame::decode(bytes).unwrap_or_else(|fault| panic!("{says}: {fault}"));
            assert_eq!(format!("{frame:?}"), *says);
            assert_eq!(frame.encode(), *bytes, "{says}");
        }
        let frames = kept.iter().map(|kept| Frame::decode(&kept.bytes).unwrap());
        let (mut kinds, mut faults) = (Vec::new(), Vec::new());
        for frame in frames {
            kinds.push(kind(&frame));
            faults.extend(if let Frame::Bye(fault) = frame { fault } else { None });
        }
        assert!(KINDS.iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
        assert_eq!(faults, FAULTS);
        let codes: Vec<_> = faults.iter().map(|fault| fault.code()).collect();
        assert_eq!(codes, (1..=17).collect::<Vec<_>>());
    }
}

/// A frame of each kind with no field left empty.
pub fn samples() -> Vec<Kept> {
    let (key, incarnation) = (Key::new(1), Incarnation([7; 16]));
    let log = LogId::derive(&key.peer(), &incarnation);
    let other = LogId::from_bytes([0xab; 16]);
    let tenant = Tenant(VatNumber::parse("02038490237").unwrap());
    let office = Tenant(engine::id::OFFICE);
    let digest = Digest([0xd1; 16]);
    let cut = BlobRef::of(&[7; 90_000]).cut();
    let brief = SpaceState {
        tenant,
        logs: vec![(log, 3), (other, u64::MAX)],
        rest: Some([0x4e; 8]),
        digest,
    };
    let full = SpaceState { tenant: office, logs: vec![(log, 300)], rest: None, digest };
    let logs = vec![(log, 4), (other, 70_000)];
    let run = Run {
        tenant,
        log,
        first: 1,
        previous: ChainHash([0xc4; 32]),
        origin: Some(OriginParts { spki: key.public().spki().to_vec(), incarnation }),
        bodies: vec![3, 400],
        inline: 70_000,
        signature: Signature::from_bytes(&std::array::from_fn(|n| n as u8)),
        payload: b"not opened here".to_vec(),
    };
    let later = Run { first: 300, origin: None, bodies: vec![3, 0, 9, 400], ..run.clone() };
    let mut frames = vec![
        Frame::Hello(Hello {
            versions: engine::wire::VERSIONS,
            agent: "staffetta-node 0.1.0".to_owned(),
            primary: true,
            spaces: vec![brief.clone(), full.clone()],
            root: Digest([0x40; 16]),
        }),
        Frame::Spaces(vec![brief, full]),
        Frame::WantSpaces(vec![tenant, office]),
        Frame::Run(run),
        Frame::Run(later),
        Frame::Ack { tenant, logs: logs.clone() },
        Frame::Have { tenant, logs },
        Frame::Want { tenant, log, after: 299 },
        Frame::WantChunks { tenant, cut, first: 1, count: 31 },
        Frame::Chunk(Chunk { tenant, cut, index: 1, bytes: vec![7; 20] }),
        Frame::Path { primary: true },
        Frame::Path { primary: false },
        Frame::Ping(u64::MAX),
        Frame::Pong(1 << 40),
        Frame::Bye(None),
    ];
    frames.extend(FAULTS.map(|fault| Frame::Bye(Some(fault))));
    frames.iter().map(|frame| Kept { bytes: frame.encode(), says: format!("{frame:?}") }).collect()
}
