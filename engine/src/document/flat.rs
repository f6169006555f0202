//! Merges the changes of a document: puts and deletions of scalars in one map.
//!
//! It reads the columns itself and is the only reader there is: no Automerge document is built
//! from what somebody else wrote, since Automerge panics over damage, also while it unwinds from
//! a panic, which ends a process. Whatever is not in the form that this house writes (an object,
//! a list, a counter, rows that do not end together, a predecessor that is not there) makes the
//! document odd. `tests` hold what it says equal to what Automerge says.

use std::{borrow::Cow, collections::BTreeMap};

use super::{DocumentError, Fields, Merged, Scalar, Version, causal::Order};
use crate::{
    chunk::{ChunkError, Column, Header, Reader, Runs},
    id::LogId,
};

const PUT: u64 = 1;
const DELETE: u64 = 3;

/// What the ready changes add up to.
pub(super) fn merge<'a>(
    headers: &[Header<'a>],
    order: &Order,
) -> Result<Merged<'a>, DocumentError> {
    let mut merge = Merge::default();
    for place in &order.ready {
        let header = &headers[*place];
        merge.apply(header).map_err(|why| DocumentError::Odd {
            by: LogId::from_bytes(header.actor),
            number: header.seq,
            why,
        })?;
    }
    Ok(merge.done(order))
}

/// What is wrong with a change.
type Odd = &'static str;

const FOREIGN: Odd = "it has objects, lists or marks";
const ROWS: Odd = "its columns do not fit together";
const VALUE: Odd = "it has a value of an unknown kind";
const ACTION: Odd = "it does something else than put and delete";
const NUMBER: Odd = "it does not follow its writer's last change";
const BEFORE: Odd = "it replaces what is not there";

#[derive(Default)]
struct Merge<'a> {
    /// Every operation so far: those of one change stand together.
    ops: Vec<Op<'a>>,
    actors: BTreeMap<[u8; 16], Actor>,
    max_op: u64,
}

#[derive(Default)]
struct Actor {
    /// Number of the last change.
    seq: u64,
    /// Its changes: the first one's counter, where its operations begin, and how many.
    changes: Vec<(u64, usize, u64)>,
}

struct Op<'a> {
    key: &'a str,
    counter: u64,
    actor: [u8; 16],
    /// A deletion has none.
    value: Option<Scalar<'a>>,
    replaced: bool,
}

impl<'a> Merge<'a> {
    fn apply(&mut self, header: &Header<'a>) -> Result<(), Odd> {
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
            return Err(FOREIGN);
        }
        let actor = self.actors.entry(header.actor).or_default();
        let next = actor.changes.last().map_or(1, |(first, _, count)| first + count);
        if header.seq != actor.seq + 1 || header.start_op < next {
            return Err(NUMBER);
        }
        actor.seq = header.seq;
        actor.changes.push((header.start_op, self.ops.len(), 0));
        let others: Vec<_> = header.other_actors().collect();
        let mut rows = Rows::of(header);
        let mut counter = header.start_op;
        while let Some(row) = rows.next(&header.actor, &others)? {
            self.write(row, counter, header.actor)?;
            counter += 1;
        }
        self.max_op = self.max_op.max(counter - 1);
        Ok(())
    }

    fn write(&mut self, row: Row<'a>, counter: u64, actor: [u8; 16]) -> Result<(), Odd> {
        let Row { key, value, preds } = row;
        for (counter, actor) in preds {
            let place = self.place(counter, &actor).ok_or(BEFORE)?;
            let before = &mut self.ops[place];
            if before.key != key || before.value.is_none() {
                return Err(BEFORE);
            }
            before.replaced = true;
        }
        self.ops.push(Op { key, counter, actor, value, replaced: false });
        if let Some((_, _, count)) = self.actors.get_mut(&actor).and_then(|a| a.changes.last_mut())
        {
            *count += 1;
        }
        Ok(())
    }

    /// Where the operation of this name is.
    fn place(&self, counter: u64, actor: &[u8; 16]) -> Option<usize> {
        let changes = &self.actors.get(actor)?.changes;
        let at = changes.partition_point(|(first, ..)| *first <= counter).checked_sub(1)?;
        let (first, place, count) = changes[at];
        let within = counter - first;
        (within < count).then_some(place + usize::try_from(within).ok()?)
    }

    fn done(self, order: &Order) -> Merged<'a> {
        let mut versions: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for Op { key, counter, actor, value, replaced } in self.ops {
            if let Some(value) = value.filter(|_| !replaced) {
                let version = Version { counter, actor, value };
                versions.entry(Cow::Borrowed(key)).or_default().push(version);
            }
        }
        Merged {
            fields: Fields::from_versions(versions),
            max_op: self.max_op,
            waiting: order.waiting.clone(),
        }
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

    /// The next row; `None` at the end, where every column ended with it.
    fn next(&mut self, actor: &[u8; 16], others: &[[u8; 16]]) -> Result<Option<Row<'a>>, Odd> {
        let Some(action) = self.actions.next()? else {
            let ended = self.plain == 0
                && self.keys.next()?.is_none()
                && self.metas.next()?.is_none()
                && self.values.0.is_empty()
                && self.groups.next()?.is_none()
                && self.pred_actors.next()?.is_none()
                && self.pred_deltas.next()?.is_none();
            return if ended { Ok(None) } else { Err(ROWS) };
        };
        self.plain = self.plain.checked_sub(1).ok_or(ROWS)?;
        let key = self.keys.next()?.ok_or(ROWS)?;
        let key = std::str::from_utf8(key).ok().filter(|key| !key.is_empty()).ok_or(ROWS)?;
        let value = self.value()?;
        let members = self.groups.next()?.ok_or(ROWS)?;
        let mut preds = Vec::new();
        for _ in 0..members {
            preds.push(self.pred(actor, others)?);
        }
        let value = match (action, value) {
            (PUT, value) => Some(value),
            (DELETE, Scalar::Null) => None,
            _ => return Err(ACTION),
        };
        Ok(Some(Row { key, value, preds }))
    }

    fn pred(&mut self, actor: &[u8; 16], others: &[[u8; 16]]) -> Result<(u64, [u8; 16]), Odd> {
        let index = self.pred_actors.next()?.ok_or(ROWS)?;
        let delta = self.pred_deltas.next()?.ok_or(ROWS)?;
        self.pred_counter = self.pred_counter.checked_add(delta).ok_or(ROWS)?;
        let counter = u64::try_from(self.pred_counter).map_err(|_| ROWS)?;
        let other = |index| others.get(usize::try_from(index).ok()?);
        let actor = match index.checked_sub(1) {
            None => actor,
            Some(index) => other(index).ok_or(ROWS)?,
        };
        Ok((counter, *actor))
    }

    fn value(&mut self) -> Result<Scalar<'a>, Odd> {
        let meta = self.metas.next()?.ok_or(ROWS)?;
        let len = usize::try_from(meta >> 4).map_err(|_| ROWS)?;
        let bytes = self.values.take(len).map_err(|_| ROWS)?;
        let mut number = Reader(bytes);
        let int = |number: &mut Reader<'_>| number.i64().map_err(|_| VALUE);
        let value = match (meta & 0xf, len) {
            (0, 0) => Scalar::Null,
            (1, 0) => Scalar::Bool(false),
            (2, 0) => Scalar::Bool(true),
            (3, 1..) => Scalar::Uint(number.u64().map_err(|_| VALUE)?),
            (4, 1..) => Scalar::Int(int(&mut number)?),
            (9, 1..) => Scalar::Time(int(&mut number)?),
            // A float, which no document of ours has.
            (5, 8) => return Ok(Scalar::Other),
            (6, _) => return std::str::from_utf8(bytes).map(Scalar::text).map_err(|_| VALUE),
            (7, _) => return Ok(Scalar::bytes(bytes)),
            _ => return Err(VALUE),
        };
        if number.0.is_empty() { Ok(value) } else { Err(VALUE) }
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

    fn next(&mut self) -> Result<Option<T>, Odd> {
        if self.left == 0 {
            let Some((count, value)) = self.runs.next(self.read).map_err(|_| ROWS)? else {
                return Ok(None);
            };
            if count == 0 || value.is_none() {
                return Err(ROWS);
            }
            (self.left, self.value) = (count, value);
        }
        self.left -= 1;
        Ok(self.value)
    }
}
