//! Merges changes that only put and delete scalars in the root map, without Automerge.
//!
//! That is all this house writes, and reading it from the columns takes a tenth of the time
//! of building an Automerge document. It answers only when it is certain: anything else
//! (an object, a list, a counter, an odd row, a predecessor that is not there) is `None`,
//! and then Automerge decides. So this file can be too careful, and never be wrong about
//! what Automerge would have said; `tests` compare the two on edits and on damage.

use std::{borrow::Cow, collections::BTreeMap};

use super::{Fields, Merged, Scalar, Version, causal::Order};
use crate::chunk::{ChunkError, Column, Header, Reader, Runs};

/// Versions of one key that are searched for a predecessor; beyond, Automerge does it better.
const VERSIONS_MAX: usize = 256;
const PUT: u64 = 1;
const DELETE: u64 = 3;

/// What the ready changes add up to, or `None` when only Automerge can say.
pub(super) fn merge<'a>(headers: &[Header<'a>], order: &Order) -> Option<Merged<'a>> {
    let mut merge = Merge::default();
    for place in &order.ready {
        merge.apply(&headers[*place])?;
    }
    let versions = merge
        .written
        .into_iter()
        .map(|(key, written)| {
            let visible =
                written.into_iter().filter(|version| !version.replaced).map(|w| w.version);
            (key, visible.collect())
        })
        .collect();
    Some(Merged {
        fields: Fields::from_versions(versions),
        max_op: merge.max_op,
        waiting: order.waiting.clone(),
    })
}

#[derive(Default)]
struct Merge<'a> {
    written: BTreeMap<Cow<'a, str>, Vec<Written<'a>>>,
    /// Last sequence number and counter of each actor.
    last: BTreeMap<[u8; 16], (u64, u64)>,
    max_op: u64,
}

struct Written<'a> {
    version: Version<'a>,
    replaced: bool,
}

impl<'a> Merge<'a> {
    fn apply(&mut self, header: &Header<'a>) -> Option<()> {
        let absent = [
            Column::ObjectActor,
            Column::ObjectCounter,
            Column::KeyActor,
            Column::KeyCounter,
            Column::Expand,
            Column::MarkName,
        ];
        if header.message_len > 0
            || absent.into_iter().any(|column| !header.column(column).is_empty())
        {
            return None;
        }
        let (seq, last_op) = self.last.get(&header.actor).copied().unwrap_or((0, 0));
        if header.seq != seq + 1 || header.start_op <= last_op {
            return None;
        }
        let others: Vec<_> = header.other_actors().collect();
        let mut rows = Rows::of(header);
        let mut counter = header.start_op;
        while let Some(row) = rows.next(&header.actor, &others)? {
            self.write(row, counter, header.actor)?;
            counter += 1;
        }
        self.last.insert(header.actor, (header.seq, counter - 1));
        self.max_op = self.max_op.max(counter - 1);
        Some(())
    }

    fn write(&mut self, row: Row<'a>, counter: u64, actor: [u8; 16]) -> Option<()> {
        let written = self.written.entry(Cow::Borrowed(row.key)).or_default();
        if written.len() > VERSIONS_MAX {
            return None;
        }
        for (counter, actor) in row.preds {
            let before = written.iter_mut().find(|written| {
                written.version.counter == counter && written.version.actor == actor
            })?;
            before.replaced = true;
        }
        if let Some(value) = row.value {
            let version = Version { counter, actor, value };
            written.push(Written { version, replaced: false });
        }
        Some(())
    }
}

/// One operation: a put, or a delete when there is no value.
struct Row<'a> {
    key: &'a str,
    value: Option<Scalar<'a>>,
    preds: Vec<(u64, [u8; 16])>,
}

/// The operations of one change, row by row.
struct Rows<'a> {
    actions: Expanded<'a, u64>,
    keys: Expanded<'a, &'a [u8]>,
    metas: Expanded<'a, u64>,
    values: Reader<'a>,
    groups: Expanded<'a, u64>,
    pred_actors: Expanded<'a, u64>,
    pred_deltas: Expanded<'a, i64>,
    pred_counter: i64,
    /// Rows not inserted, which must be all of them.
    plain: u64,
}

impl<'a> Rows<'a> {
    fn of(header: &Header<'a>) -> Self {
        let column = |column| header.column(column);
        let mut insert = Reader(column(Column::Insert));
        // A boolean column starts with how many are false. What follows would be true.
        let plain = insert.u64().ok().filter(|_| insert.0.is_empty()).unwrap_or(0);
        Self {
            actions: Expanded::of(column(Column::Action), Reader::u64),
            keys: Expanded::of(column(Column::KeyText), Reader::prefixed),
            metas: Expanded::of(column(Column::ValueMeta), Reader::u64),
            values: Reader(column(Column::Value)),
            groups: Expanded::of(column(Column::PredGroup), Reader::u64),
            pred_actors: Expanded::of(column(Column::PredActor), Reader::u64),
            pred_deltas: Expanded::of(column(Column::PredCounter), Reader::i64),
            pred_counter: 0,
            plain,
        }
    }

    /// `None`: not certain. `Some(None)`: the end, and every column ended with it.
    fn next(&mut self, actor: &[u8; 16], others: &[[u8; 16]]) -> Option<Option<Row<'a>>> {
        let Some(action) = self.actions.next().ok()? else {
            let ended = self.plain == 0
                && self.keys.next().ok()?.is_none()
                && self.metas.next().ok()?.is_none()
                && self.values.0.is_empty()
                && self.groups.next().ok()?.is_none()
                && self.pred_actors.next().ok()?.is_none()
                && self.pred_deltas.next().ok()?.is_none();
            return ended.then_some(None);
        };
        self.plain = self.plain.checked_sub(1)?;
        let key =
            std::str::from_utf8(self.keys.next().ok()??).ok().filter(|key| !key.is_empty())?;
        let value = self.value()?;
        let members = self.groups.next().ok()??;
        let mut preds = Vec::new();
        for _ in 0..members {
            let index = usize::try_from(self.pred_actors.next().ok()??).ok()?;
            self.pred_counter = self.pred_counter.checked_add(self.pred_deltas.next().ok()??)?;
            let counter = u64::try_from(self.pred_counter).ok()?;
            let actor = if index == 0 { actor } else { others.get(index - 1)? };
            preds.push((counter, *actor));
        }
        let value = match (action, value) {
            (PUT, value) => Some(value),
            (DELETE, Scalar::Null) => None,
            _ => return None,
        };
        Some(Some(Row { key, value, preds }))
    }

    fn value(&mut self) -> Option<Scalar<'a>> {
        let meta = self.metas.next().ok()??;
        let len = usize::try_from(meta >> 4).ok()?;
        let bytes = self.values.take(len).ok()?;
        let mut number = Reader(bytes);
        let value = match (meta & 0xf, len) {
            (0, 0) => Scalar::Null,
            (1, 0) => Scalar::Bool(false),
            (2, 0) => Scalar::Bool(true),
            (3, 1..) => Scalar::Uint(number.u64().ok()?),
            (4, 1..) => Scalar::Int(number.i64().ok()?),
            (9, 1..) => Scalar::Time(number.i64().ok()?),
            (6, _) => return std::str::from_utf8(bytes).ok().map(Scalar::text),
            (7, _) => return Some(Scalar::bytes(bytes)),
            _ => return None,
        };
        number.0.is_empty().then_some(value)
    }
}

/// A run-length column row by row. A null row is an error here: no column read here has one.
struct Expanded<'a, T> {
    runs: Runs<'a>,
    read: fn(&mut Reader<'a>) -> Result<T, ChunkError>,
    left: u64,
    value: Option<T>,
}

impl<'a, T: Copy> Expanded<'a, T> {
    fn of(column: &'a [u8], read: fn(&mut Reader<'a>) -> Result<T, ChunkError>) -> Self {
        Self { runs: Runs::over(column), read, left: 0, value: None }
    }

    fn next(&mut self) -> Result<Option<T>, ChunkError> {
        if self.left == 0 {
            let Some((count, value)) = self.runs.next(self.read)? else { return Ok(None) };
            if count == 0 || value.is_none() {
                return Err(ChunkError::Truncated);
            }
            (self.left, self.value) = (count, value);
        }
        self.left -= 1;
        Ok(self.value)
    }
}
