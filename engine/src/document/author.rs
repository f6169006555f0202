//! Makes one Automerge change out of edits to a flat document.
//!
//! The change is put together by Automerge's own encoder from the operations and what they
//! replace. No Automerge document is made for it, and so no actor id is drawn: the actor is
//! always the log's, the time always 0, and the same arguments give the same bytes.
//! `tests` compare them with the bytes of an Automerge transaction.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU64,
};

use automerge::{
    ActorId, Change, ChangeHash, ExpandedChange, ScalarValue,
    legacy::{Key, ObjectId, Op, OpId, OpType},
};

use super::{DocumentError, Edit, Scalar, Version, merge, seqs};
use crate::{
    chunk::{self, Header},
    id::LogId,
};

/// The contents of the change by which `actor` makes `edits` to the document of `existing`
/// changes; `None` when everything already stands so.
///
/// Every change that `actor` made to this document must be among `existing`: Automerge
/// numbers changes per actor, and a number used twice makes the document unreadable. For the
/// first change of a document nothing is loaded.
///
/// # Errors
/// [`DocumentError`]: the document cannot be read, or the change would be over a limit.
pub(crate) fn author<'a>(
    actor: LogId,
    existing: &[&[u8]],
    edits: impl IntoIterator<Item = Edit<'a>>,
) -> Result<Option<Vec<u8>>, DocumentError> {
    let merged = merge(existing)?;
    let headers = super::headers(existing)?;
    if merged.waiting.iter().any(|place| headers[*place].is_by(&actor)) {
        return Err(DocumentError::MissingDependencies { waiting: merged.waiting.len() });
    }
    // Key order, so that the bytes do not depend on the order of the arguments.
    let edits: BTreeMap<_, _> = edits.into_iter().map(|edit| (edit.key, edit.value)).collect();
    let mut operations = Vec::with_capacity(edits.len());
    for (key, value) in edits {
        let before = merged.fields.versions(&key);
        // As Automerge does it: where the winner stands already, only the others go.
        let (action, replaced) = match before {
            [winner] if winner.value == value => continue,
            [winner, others @ ..] if winner.value == value => (OpType::Delete, others),
            _ => match stored(value) {
                Some(value) => (OpType::Put(value), before),
                None => continue,
            },
        };
        operations.push(Op {
            action,
            obj: ObjectId::Root,
            key: Key::Map(key.into()),
            pred: replaced.iter().map(name).collect(),
            insert: false,
        });
    }
    if operations.is_empty() {
        return Ok(None);
    }
    let seq = seqs(&headers).get(actor.as_bytes()).copied().unwrap_or(0) + 1;
    let change = Change::from(ExpandedChange {
        operations,
        actor_id: ActorId::from(actor.as_bytes()),
        hash: None,
        seq,
        start_op: NonZeroU64::MIN.saturating_add(merged.max_op),
        time: 0,
        message: None,
        deps: deps(existing, &headers, &merged.waiting, (actor, seq - 1)),
        extra_bytes: Vec::new(),
        author: None,
    });
    let refused = |source| DocumentError::Change { index: existing.len(), source };
    let contents = chunk::unwrap(change.raw_bytes()).map_err(refused)?;
    chunk::bound(contents).map_err(refused)?;
    Ok(Some(contents.to_vec()))
}

/// The changes nothing else here was made upon, and the author's own last change, which
/// Automerge always names.
fn deps(
    existing: &[&[u8]],
    headers: &[Header<'_>],
    waiting: &[usize],
    (actor, last): (LogId, u64),
) -> Vec<ChangeHash> {
    let mut heads = BTreeSet::new();
    let mut followed = BTreeSet::new();
    let mut own = None;
    // By hash: one that came twice waits twice, and is listed once.
    let waits: BTreeSet<_> = waiting.iter().map(|place| chunk::hash(existing[*place])).collect();
    for (change, header) in existing.iter().zip(headers) {
        let hash = chunk::hash(change);
        if waits.contains(&hash) {
            continue;
        }
        if header.is_by(&actor) && header.seq == last {
            own = Some(hash);
        }
        heads.insert(hash);
        followed.extend(header.deps());
    }
    heads.retain(|head| !followed.contains(head));
    heads.extend(own);
    heads.into_iter().map(ChangeHash).collect()
}

fn name(version: &Version<'_>) -> OpId {
    OpId::new(version.counter, &ActorId::from(&version.actor))
}

fn stored(value: Scalar<'_>) -> Option<ScalarValue> {
    Some(match value {
        Scalar::Null => ScalarValue::Null,
        Scalar::Bool(value) => ScalarValue::Boolean(value),
        Scalar::Uint(value) => ScalarValue::Uint(value),
        Scalar::Int(value) => ScalarValue::Int(value),
        Scalar::Time(value) => ScalarValue::Timestamp(value),
        Scalar::Text(value) => ScalarValue::Str(value.into()),
        Scalar::Bytes(value) => ScalarValue::Bytes(value.into_owned()),
        // Nothing of ours writes what it cannot read.
        Scalar::Other => return None,
    })
}
