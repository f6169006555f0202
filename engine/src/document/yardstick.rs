//! What Automerge itself makes of changes, for tests to compare [`super::flat`] with.
//!
//! Damaged changes make it panic in 1-2 % of cases, so it runs inside `catch_unwind`: all that a
//! test can do about it, and not enough for a process that serves, since some panics come while
//! another one unwinds.
//!
//! `load_incremental` and friends swallow the errors of a bad chunk. Here each change is
//! decoded on its own and asked for afterwards by its hash.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use automerge::{ActorId, Automerge, Change, ChangeHash, ObjId, ROOT, ReadDoc, ScalarValue, Value};

use super::{DocumentError, Fields, Merged, Scalar, Version, causal::Order, headers};
use crate::chunk;

/// Why Automerge gives no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum No {
    /// It was not asked.
    Unasked(DocumentError),
    /// It says that the changes are not sound.
    Refused(String),
    /// It panicked.
    Panicked,
}

/// What the ready changes add up to, as Automerge sees it.
pub(super) fn merge<'a>(changes: &[&'a [u8]]) -> Result<Merged<'a>, No> {
    let headers = headers(changes).map_err(No::Unasked)?;
    let order = Order::of(changes, &headers);
    // Nothing that outlives a panic is shared with the closure: it borrows bytes, and builds.
    let versions = catch_unwind(AssertUnwindSafe(|| read(&apply(changes, &order)?)))
        .unwrap_or(Err(No::Panicked))?;
    let last_op = |place: &usize| headers[*place].start_op + headers[*place].ops();
    Ok(Merged {
        fields: Fields::from_versions(versions),
        max_op: order.ready.iter().map(last_op).max().map_or(0, |next| next - 1),
        waiting: order.waiting.clone(),
    })
}

fn apply(changes: &[&[u8]], order: &Order) -> Result<Automerge, No> {
    let refused = |error: &dyn std::fmt::Display| No::Refused(error.to_string());
    let mut ready = Vec::with_capacity(order.ready.len());
    for place in &order.ready {
        let chunk = chunk::wrap(changes[*place]);
        ready.push(Change::try_from(&chunk[..]).map_err(|error| refused(&error))?);
    }
    let hashes: Vec<_> = ready.iter().map(Change::hash).collect();
    // `Automerge::new` draws an actor id, which nothing here uses: this document is read and
    // dropped. The fixed one makes sure that none could get out.
    let mut doc = Automerge::new().with_actor(ActorId::from([0; 16]));
    doc.apply_changes(ready).map_err(|error| refused(&error))?;
    let lacks = |hash: &ChangeHash| doc.get_change_meta_by_hash(hash).is_none();
    if !doc.get_missing_deps(&[]).is_empty() || hashes.iter().any(lacks) {
        return Err(refused(&"a change was not applied"));
    }
    Ok(doc)
}

type Versions<'a> = BTreeMap<Cow<'a, str>, Vec<Version<'a>>>;

fn read<'a>(doc: &Automerge) -> Result<Versions<'a>, No> {
    let refused = |error: &dyn std::fmt::Display| No::Refused(error.to_string());
    let mut versions = BTreeMap::new();
    for key in doc.keys(ROOT) {
        let mut here = Vec::new();
        for (value, id) in doc.get_all(ROOT, key.as_str()).map_err(|error| refused(&error))? {
            let ObjId::Id(counter, actor, _) = id else { return Err(refused(&"value unnamed")) };
            let actor = actor.to_bytes().try_into().map_err(|_| refused(&"odd actor"))?;
            here.push(Version { counter, actor, value: scalar(&value) });
        }
        versions.insert(Cow::Owned(key), here);
    }
    Ok(versions)
}

fn scalar<'a>(value: &Value<'_>) -> Scalar<'a> {
    let Value::Scalar(value) = value else { return Scalar::Other };
    match &**value {
        ScalarValue::Null => Scalar::Null,
        ScalarValue::Boolean(value) => Scalar::Bool(*value),
        ScalarValue::Uint(value) => Scalar::Uint(*value),
        ScalarValue::Int(value) => Scalar::Int(*value),
        ScalarValue::Timestamp(value) => Scalar::Time(*value),
        ScalarValue::Str(value) => Scalar::Text(Cow::Owned(value.to_string())),
        ScalarValue::Bytes(value) => Scalar::Bytes(Cow::Owned(value.clone())),
        ScalarValue::F64(_) | ScalarValue::Counter(_) | ScalarValue::Unknown { .. } => {
            Scalar::Other
        }
    }
}
