//! Everything that reads a stranger's bytes, one function each. A target fails by a panic.

use engine::{
    archive::{Recovered, Tip},
    bundle::{Body, ChainHash, Item, Origin, PublicKey, Signature, Signer},
    chunk,
    document::{
        annotation::{self, AnnotationEdit},
        outcome::{self, OutcomeEntry, Receipt},
        profile::{self, ProfileField},
    },
    effect::{Effect, Input},
    engine::{Config, Engine},
    grant::{Grant, Role},
    id::{BlobHash, DocumentId, Incarnation, Kind, LogId, Seq, VatNumber},
    limits,
    record::Record,
    session::SessionId,
    time::Time,
    wire::{Effort, Form, Frame, Packing, Run, Tenant},
};
use fatturapa::{Date, check, envelope, invoice, messages, view};

use crate::replay::Target;

/// Every target by its name, which is also its folder in `corpus/`.
pub const TARGETS: [(&str, Target); 10] = [
    ("frame", frame),
    ("sheet", sheet),
    ("bundle", bundle),
    ("session", session),
    ("vector", vector),
    ("change", change),
    ("document", document),
    ("xml", xml),
    ("p7m", p7m),
    ("message", message),
];

/// What decodes, encodes to what decodes the same; a run opens or says why not.
fn frame(data: &[u8]) {
    let Ok(frame) = Frame::decode(data) else { return };
    let again = Frame::decode(&frame.encode());
    assert_eq!(again.as_ref(), Ok(&frame));
    if let Frame::Run(run) = frame {
        let _ = run.last();
        let _ = run.open();
    }
}

/// A sheet as a run brings it, behind how many bodies there are that are as long as the first, and
/// the lengths of the first and last body and of their files (u16, big endian). What opens, laid out
/// anew, opens as the same.
fn sheet(data: &[u8]) {
    let Some((&[more, ref lengths @ ..], sheet)) = data.split_first_chunk::<7>() else { return };
    let lengths: Vec<_> =
        lengths.chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(two[1])).collect();
    let run = Run {
        tenant: Tenant(tenant()),
        log: held_log(1),
        first: 1,
        previous: ChainHash::START,
        origin: None,
        bodies: vec![lengths[0], 0, more.into(), lengths[1]],
        inline: lengths[2],
        signature: Signature::from_bytes(&[9; 64]),
        payload: [&[1][..], &stored(&sheet[..sheet.len().min(100_000)])].concat(),
    };
    let referring = Run { payload: [&[2][..], &run.payload[1..]].concat(), ..run.clone() };
    if let Ok(references) = referring.references() {
        assert!(references.len() <= limits::RUN_REFERENCES_MAX);
        let invoices: Vec<_> = references.iter().map(|(_, seq)| [*seq as u8; 15]).collect();
        let _ = referring.resolved(&invoices).map(|resolved| resolved.open());
    }
    let Ok(opened) = run.open() else { return };
    let payload = Run::pack(
        Packing { form: Form::Sheet, effort: Effort::Quick },
        opened.iter().map(|bundle| (&bundle.bytes[..], &bundle.inline[..])),
    );
    assert_eq!(Run { payload, ..run }.open(), Ok(opened));
}

/// A zstd frame of one block that is stored as it is (RFC 8878 section 3.1.1).
fn stored(block: &[u8]) -> Vec<u8> {
    let header = (block.len() as u32) << 3 | 1;
    [&[0x28, 0xb5, 0x2f, 0xfd, 0, 0x38][..], &header.to_le_bytes()[..3], block].concat()
}

fn bundle(data: &[u8]) {
    let Ok(body) = Body::decode(data) else { return };
    let _ = (body.inline_bytes(), body.documents());
    for blob in &body.blobs {
        let _ = (0..3).map(|index| blob.chunk_len(index)).collect::<Vec<_>>();
    }
    if let Ok(bytes) = body.encode() {
        assert_eq!(Body::decode(&bytes).as_ref(), Ok(&body));
    }
}

/// A change as the engine takes it: bounded, then read as every kind.
fn change(data: &[u8]) {
    if chunk::bound(data).is_err() {
        return;
    }
    for kind in [Kind::Profile, Kind::Contract] {
        let _ = Record::derive(DocumentId::single(kind), &[data]).encode();
    }
    let invoice = DocumentId::invoice(&BlobHash::of(b"invoice"));
    for kind in [Kind::Outcome, Kind::Annotation] {
        let _ = Record::derive(invoice.sibling(kind), &[data]).encode();
    }
    let _ = Record::derive(invoice, &[data]).encode();
}

/// Changes of one document, each behind its length (u16, big endian), in whatever order: loaded,
/// read as every kind, and edited as this house does. What an edit says is then there.
fn document(data: &[u8]) {
    let parts = parts(data, 64);
    let changes: Vec<_> = parts.into_iter().filter(|part| chunk::bound(part).is_ok()).collect();
    let id = DocumentId::invoice(&BlobHash::of(b"invoice"));
    let mut backwards = changes.clone();
    backwards.reverse();
    for kind in Kind::ALL {
        let id = if kind == Kind::Invoice { id } else { id.sibling(kind) };
        let record = Record::derive(id, &changes);
        assert_eq!(record, Record::derive(id, &backwards), "the order is no matter");
        let bytes = record.encode();
        assert_eq!(Record::decode(&bytes), Ok(record));
    }
    let _ = engine::document::load(&changes);
    let actor = held_log(250);
    let fields = [(ProfileField::Pec, "new@pec.it")];
    if let Ok(Some(edit)) = profile::edit(actor, &changes, &fields) {
        let mut after = changes.clone();
        after.push(&edit);
        let record = Record::derive(DocumentId::single(Kind::Profile), &after);
        if let Record::Profile(record) = record {
            assert_eq!(record.get(ProfileField::Pec), "new@pec.it");
        }
    }
    let entry = OutcomeEntry::new(Receipt::Sent, "1234567890", 1);
    let _ = outcome::add(actor, &changes, &entry);
    let _ = annotation::edit(actor, &changes, &[AnnotationEdit::Paid(None)]);
}

/// What a replica holds of the tenant (the logs and numbers of the first frame, a `Have`), then what
/// an admitted node says that it holds: vectors in full and in brief, digests. Claims change
/// nothing that is held, are remembered within bounds, and a replica that holds the same
/// understands what the first says of itself.
fn vector(data: &[u8]) {
    let mut frames = parts(data, 64).into_iter().map(Frame::decode);
    let Some(Ok(Frame::Have { logs, .. })) = frames.next() else { return };
    let numbers: Vec<_> = logs.iter().take(100).map(|(_, seq)| (*seq).clamp(1, 1 << 40)).collect();
    let (mut engine, mut twin) = (portal_holding(&numbers), portal_holding(&numbers));
    let (held, digest) = (engine.vector(tenant()), engine.digest(tenant()));
    assert_eq!(digest, twin.digest(tenant()));
    let (id, peer) = (SessionId(2), peer_key().peer());
    for engine in [&mut engine, &mut twin] {
        let opened = Input::Opened { session: id, peer, dialled: false, primary: false };
        engine.handle(Time::ZERO, opened);
    }
    let mut hello = None;
    while let Some(effect) = engine.poll() {
        if let Effect::Send { frame: Frame::Hello(said), .. } = effect {
            hello = Some(said);
        }
    }
    let hello = hello.expect("a greeting");
    twin.handle(Time::ZERO, Input::Received { session: id, frame: Frame::Hello(hello.clone()) });
    while let Some(effect) = twin.poll() {
        let unclear = matches!(
            effect,
            Effect::Alarm(_)
                | Effect::Send { frame: Frame::WantSpaces(_) | Frame::Want { .. }, .. }
        );
        assert!(!unclear, "two that hold the same: {effect:?}");
    }
    engine.handle(Time::ZERO, Input::Received { session: id, frame: Frame::Hello(hello) });
    drain(&mut engine, 0);
    for frame in frames {
        let input = match frame {
            Ok(frame) => Input::Received { session: id, frame },
            Err(fault) => Input::Garbage { session: id, fault },
        };
        engine.handle(Time::from_millis(1), input);
        drain(&mut engine, 1);
    }
    assert_eq!((engine.vector(tenant()), engine.digest(tenant())), (held.clone(), digest));
    let known = engine.known(&peer, tenant()).cloned().unwrap_or_default();
    assert!(known.len() <= limits::LOGS_PER_SPACE_MAX + held.len());
    let _ = (known.ahead_of(&held), held.ahead_of(&known), engine.is_at_rest());
}

/// Parts of an input, each behind its length (u16, big endian).
fn parts(data: &[u8], most: usize) -> Vec<&[u8]> {
    let (mut parts, mut rest) = (Vec::new(), data);
    while let Some((length, after)) = rest.split_first_chunk::<2>()
        && parts.len() < most
    {
        let (part, after) =
            after.split_at(usize::from(u16::from_be_bytes(*length)).min(after.len()));
        parts.push(part);
        rest = after;
    }
    parts
}

/// Frames of an admitted node, each behind its length (u16, big endian), to a portal: vectors
/// and digests, runs, wants, in any order.
fn session(data: &[u8]) {
    let mut engine = portal();
    let (id, peer) = (SessionId(2), peer_key().peer());
    engine.handle(Time::ZERO, Input::Opened { session: id, peer, dialled: false, primary: false });
    for (at, bytes) in (1..).zip(parts(data, 200)) {
        let input = match Frame::decode(bytes) {
            Ok(frame) => Input::Received { session: id, frame },
            Err(fault) => Input::Garbage { session: id, fault },
        };
        engine.handle(Time::from_millis(at), input);
        drain(&mut engine, at);
    }
    engine.tick(Time::from_millis(1_000_000));
}

/// Carries out what a host would: everything is stored, every run is sent.
fn drain(engine: &mut Engine, at: u64) {
    for _ in 0..10_000 {
        let Some(effect) = engine.poll() else { return };
        let input = match effect {
            Effect::Commit { commit, .. } => Input::Committed { commit },
            Effect::SendRun { session, upto, .. } => {
                Input::RunSent { session, upto, bytes: 100, large: upto % 2 == 0 }
            }
            Effect::FindMissing { session, tenant, log, lookup, blobs } => {
                let chunks =
                    blobs.iter().map(|blob| (blob.cut(), (0..blob.chunks.len() as u32).collect()));
                Input::Missing { session, tenant, log, lookup, chunks: chunks.collect() }
            }
            _ => continue,
        };
        engine.handle(Time::from_millis(at), input);
    }
    panic!("the engine does not come to rest");
}

fn xml(data: &[u8]) {
    let day = Date::new(2026, 11, 24).expect("a day that exists");
    let report =
        check::check_bytes("IT01234567890_00001.xml", data, &check::Context::received(day));
    let _ = (report.to_json(), report.to_text());
    if let Ok(file) = invoice::read("IT01234567890_00001.xml", data) {
        let _ = (view::html(&file, Some(data)), view::text(&file), invoice::attachment(data, 0, 0));
    }
}

fn p7m(data: &[u8]) {
    let _ = envelope::open(data);
    let day = Date::new(2026, 11, 24).expect("a day that exists");
    let _ = check::check_bytes("IT01234567890_00001.xml.p7m", data, &check::Context::received(day));
}

fn message(data: &[u8]) {
    let _ = messages::read(data);
}

/// A key of which only the public half is used: what the portal signs here nobody verifies.
struct NoSigner(PublicKey);

impl Signer for NoSigner {
    fn public_key(&self) -> &PublicKey {
        &self.0
    }
    fn sign(&self, _: &[u8]) -> [u8; 64] {
        [0; 64]
    }
}

/// The log of the admitted node's `n`th start.
pub fn held_log(n: u8) -> LogId {
    LogId::derive(&peer_key().peer(), &Incarnation([n; 16]))
}

fn portal() -> Engine {
    portal_holding(&[])
}

/// A portal that holds as many logs of the tenant, up to these numbers.
fn portal_holding(numbers: &[Seq]) -> Engine {
    let key = key_of([
        "e62f5382b5a74c9c2967fc52acaeb8e2de4bcc488ea8ffb558adf80d75d04e6b",
        "88fdf4e438f85643d62cfef21557ae96c3880d391810cee11b61ba72840df80c",
    ]);
    let peer = key.peer();
    let config = Config {
        signer: Box::new(NoSigner(key)),
        incarnation: Incarnation([7; 16]),
        role: Role::Portal,
        tenant: None,
        portals: vec![peer],
        agent: "fuzzed".to_owned(),
    };
    let grant = Grant { spki: peer_key().spki().to_vec(), not_after_ms: u64::MAX };
    let statements = vec![(tenant(), Item::Grant(grant))];
    let tips = numbers.iter().zip(0..).map(|(seq, n)| Tip {
        tenant: tenant(),
        origin: Origin { key: peer_key(), incarnation: Incarnation([n; 16]) },
        seq: *seq,
        hash: ChainHash([n; 32]),
        position: u64::from(n) + 1,
    });
    let positions = vec![(tenant(), numbers.len() as u64)];
    Engine::new(config, Recovered { tips: tips.collect(), statements, positions })
}

/// The admitted node's key: the second of the simulator's.
pub fn peer_key() -> PublicKey {
    key_of([
        "b8cab4f8aeef05709389ffc4aa971a25c7330a144075432c1643a84da1653ba6",
        "47371e90d683e26633f478bfacb8f0e52ac7a348d7c9094cec785c0452371e25",
    ])
}

/// The one tenant that is spoken of.
pub fn tenant() -> VatNumber {
    VatNumber::parse("02038490237").expect("a VAT number")
}

fn key_of(point: [&str; 2]) -> PublicKey {
    let hex =
        ["3059301306072a8648ce3d020106082a8648ce3d03010703420004", point[0], point[1]].concat();
    let digit = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("two hexadecimal digits");
    let spki: Vec<u8> = (0..hex.len()).step_by(2).map(digit).collect();
    PublicKey::from_spki(&spki).expect("a P-256 key")
}
