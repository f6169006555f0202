//! What a header says, and what is refused.

use automerge::transaction::{CommitOptions, Transactable};
use automerge::{ActorId, AutoCommit, ObjType, ROOT};

use super::*;

fn change(edit: impl FnOnce(&mut AutoCommit)) -> Vec<u8> {
    let mut doc = AutoCommit::new().with_actor(ActorId::from([7; 16]));
    edit(&mut doc);
    doc.commit_with(CommitOptions::default().with_time(1_700_000_000).with_message("why"));
    let change = doc.get_last_local_change().unwrap();
    unwrap(change.raw_bytes()).unwrap().to_vec()
}

fn rich() -> Vec<u8> {
    change(|doc| {
        let list = doc.put_object(ROOT, "list", ObjType::List).unwrap();
        for index in 0..100 {
            doc.insert(&list, index, index as i64).unwrap();
        }
        doc.delete(&list, 50).unwrap();
        let text = doc.put_object(ROOT, "text", ObjType::Text).unwrap();
        doc.splice_text(&text, 0, 0, "quaranta euro").unwrap();
        doc.put(ROOT, "total", -12.5).unwrap();
    })
}

#[test]
fn a_header_says_what_automerge_says() {
    let contents = rich();
    let header = bound(&contents).unwrap();
    let theirs = automerge::Change::try_from(&wrap(&contents)[..]).unwrap();
    assert_eq!(header.actor.as_slice(), theirs.actor_id().to_bytes());
    assert_eq!(header.seq, theirs.seq());
    assert_eq!(header.start_op, theirs.start_op().get());
    assert_eq!(header.time_s, theirs.timestamp());
    assert_eq!(header.message_len, 3);
    assert_eq!(header.deps().len(), theirs.deps().len());
    assert_eq!(hash(&contents), theirs.hash().0);
}

#[test]
fn a_change_is_bound_to_the_log_that_carries_it() {
    let contents = rich();
    assert_eq!(check_actor(&contents, LogId::from_bytes([7; 16])), Ok(()));
    let other = LogId::from_bytes([8; 16]);
    assert_eq!(check_actor(&contents, other), Err(ChunkError::WrongActor));
}

#[test]
fn every_cut_of_a_change_is_refused() {
    let contents = rich();
    for len in 0..contents.len() {
        assert!(bound(&contents[..len]).is_err(), "a prefix of {len} bytes passed");
    }
    let long = [&contents[..], &[0]].concat();
    assert_eq!(bound(&long), Err(ChunkError::Trailing { bytes: 1 }));
}

/// A change with these columns and nothing else of note.
fn forged(columns: &[(u8, &[u8])]) -> Vec<u8> {
    let mut out = vec![0, 16];
    out.extend([7; 16]);
    out.extend([1, 1, 0, 0, 0, u8::try_from(columns.len()).unwrap()]);
    for (spec, data) in columns {
        if *spec >= 0x80 {
            out.extend([*spec, 1]);
        } else {
            out.push(*spec);
        }
        out.push(u8::try_from(data.len()).unwrap());
    }
    columns.iter().for_each(|(_, data)| out.extend(*data));
    out
}

#[test]
fn a_few_bytes_cannot_declare_millions_of_rows() {
    let many = |what| Err(ChunkError::TooMany { what, found: 4_000_000 });
    // 4,000,000 in LEB128, unsigned and signed.
    let (unsigned, signed) = ([0x80, 0x92, 0xf4, 0x01], [0x80, 0x92, 0xf4, 0x01]);
    let run = [&signed[..], &[1]].concat();
    let nulls = [&[0], &unsigned[..]].concat();
    assert_eq!(bound(&forged(&[(0x42, &run)])), many("operations"));
    assert_eq!(bound(&forged(&[(0x56, &nulls)])), many("value lengths"));
    assert_eq!(bound(&forged(&[(0x34, &unsigned)])), many("insert marks"));
    assert_eq!(bound(&forged(&[(0x13, &run)])), many("key counters"));
    let members = [&[1], &unsigned[..]].concat();
    assert_eq!(bound(&forged(&[(0x70, &members)])), many("predecessors"));
}

#[test]
fn columns_are_known_ascending_and_plain() {
    let check = |columns: &[(u8, &[u8])], expected| {
        assert_eq!(bound(&forged(columns)).map(|_| ()), expected);
    };
    check(&[(0x42, &[1, 1])], Ok(()));
    check(&[(0x4a, &[1, 1])], Err(ChunkError::Deflated));
    check(&[(0x41, &[1, 1])], Err(ChunkError::UnknownColumn { spec: 0x41 }));
    check(&[(0x42, &[1, 1]), (0x34, &[1])], Err(ChunkError::ColumnOrder));
    check(&[(0x42, &[1, 1]), (0x42, &[1, 1])], Err(ChunkError::ColumnOrder));
    check(&[(0x57, b"loose")], Err(ChunkError::Value { column: "values" }));
    check(&[(0x11, &[1, 1])], Err(ChunkError::Value { column: "key actors" }));
    check(&[(0x13, &[1, 0x7f])], Err(ChunkError::Value { column: "key counters" }));
}

#[test]
fn numbers_have_one_spelling() {
    let unsigned = |bytes: &[u8]| Reader(bytes).u64();
    let signed = |bytes: &[u8]| Reader(bytes).i64();
    assert_eq!(unsigned(&[0x80, 1]), Ok(128));
    assert_eq!(unsigned(&[0x81, 0]), Err(ChunkError::Number));
    assert_eq!(unsigned(&[0xff; 12]), Err(ChunkError::Number));
    assert_eq!(unsigned(&[0x80]), Err(ChunkError::Truncated));
    assert_eq!(signed(&[0x7f]), Ok(-1));
    assert_eq!(signed(&[0x80, 0x40]), Ok(-8192));
    assert_eq!(signed(&[0x81, 0xff, 0x7f]), Err(ChunkError::Number));
    for value in [0, 1, 127, 128, u64::MAX] {
        let mut out = [0; 10];
        let len = write_u64(value, &mut out);
        assert_eq!(unsigned(&out[..len]), Ok(value));
    }
}
