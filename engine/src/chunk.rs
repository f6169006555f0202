//! What an Automerge change is made of, and its bounds.
//!
//! On the wire and in the store a change is only the *contents* of an uncompressed
//! change chunk: [`wrap`] adds magic, checksum, type and length again, [`unwrap`]
//! takes them off. [`Header::parse`] reads who made the change and where its columns
//! lie, in the time the header takes; [`bound`] walks the run lengths, so that what
//! a reader will expand is known before anything is expanded: 186 bytes can declare
//! four million rows.
//!
//! It never expands a row, never allocates, and says nothing about what a change
//! *means*: that is for `document`. It is stricter than Automerge: one spelling per
//! number, no unknown column, no bytes after the columns.
//!
//! Source: <https://automerge.org/automerge-binary-format-spec/>, sections 3 and 4.
//!
//! ```
//! use engine::chunk;
//! # use automerge::{ActorId, AutoCommit, ROOT, transaction::Transactable};
//! # let mut doc = AutoCommit::new().with_actor(ActorId::from([7; 16]));
//! # doc.put(ROOT, "paid", true)?;
//! # doc.commit();
//! # let change = doc.get_last_local_change().expect("just made");
//! let contents = chunk::unwrap(change.raw_bytes())?;
//! let header = chunk::bound(contents)?;
//! assert_eq!((header.actor, header.seq), ([7; 16], 1));
//! assert_eq!(chunk::hash(contents), change.hash().0);
//! assert_eq!(chunk::wrap(contents), change.raw_bytes());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub(crate) mod reader;

use sha2::{Digest, Sha256};

use crate::id::LogId;
use crate::limits::{CHANGE_BYTES_MAX, CHANGE_DEPS_MAX, CHANGE_OPS_MAX};

pub(crate) use reader::{Reader, Runs};

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
const CHANGE: u8 = 1;
/// Set in a column's specification when its data is deflated.
const DEFLATED: u32 = 0b1000;
/// Longest key. A run repeats its key in every row, so this bounds what a run of
/// [`CHANGE_OPS_MAX`] rows expands to (5 MB).
const KEY_BYTES_MAX: usize = 256;
/// Automerge keeps counters in 32 bits and panics above.
const COUNTER_MAX: u64 = u32::MAX as u64;

/// The columns of a change, in the order they stand in the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    ObjectActor,
    ObjectCounter,
    KeyActor,
    KeyCounter,
    KeyText,
    Insert,
    Action,
    ValueMeta,
    Value,
    PredGroup,
    PredActor,
    PredCounter,
    Expand,
    MarkName,
}

use Column::{
    Action, Expand, Insert, KeyActor, KeyCounter, KeyText, MarkName, ObjectActor, ObjectCounter,
    PredActor, PredCounter, PredGroup, Value, ValueMeta,
};

/// Each column and its specification: id in the high bits, type in the lowest three.
const COLUMNS: [(Column, u32); 14] = [
    (ObjectActor, 0x01),
    (ObjectCounter, 0x02),
    (KeyActor, 0x11),
    (KeyCounter, 0x13),
    (KeyText, 0x15),
    (Insert, 0x34),
    (Action, 0x42),
    (ValueMeta, 0x56),
    (Value, 0x57),
    (PredGroup, 0x70),
    (PredActor, 0x71),
    (PredCounter, 0x73),
    (Expand, 0x94),
    (MarkName, 0xa5),
];

/// What a change says about itself, borrowed from its contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The actor, which must be the log that carries the change: see [`Header::is_by`].
    pub actor: [u8; 16],
    /// The number of this change among its actor's changes to this document, from 1.
    pub seq: u64,
    /// The counter of the first operation, from 1.
    pub start_op: u64,
    /// Seconds since 1970 by the author's clock; 0 when unsaid. Advice, never compared.
    pub time_s: i64,
    /// Length of the commit message in bytes.
    pub message_len: usize,
    deps: &'a [u8],
    other_actors: &'a [u8],
    columns: [&'a [u8]; COLUMNS.len()],
}

impl<'a> Header<'a> {
    /// Reads the header of a change's `contents`. Takes time in the length of the header
    /// only: what the columns hold is for [`bound`] to look at.
    ///
    /// # Errors
    /// [`ChunkError`], the change's author being at fault.
    pub fn parse(contents: &'a [u8]) -> Result<Self, ChunkError> {
        if contents.len() > CHANGE_BYTES_MAX {
            return Err(ChunkError::TooLarge { bytes: contents.len() });
        }
        let mut input = Reader(contents);
        let deps = input.count("dependencies", CHANGE_DEPS_MAX)?;
        let deps = input.take(deps * 32)?;
        let actor = input.actor()?;
        let seq = input.counter("sequence number")?;
        let start_op = input.counter("first operation")?;
        if seq == 0 || start_op == 0 {
            return Err(ChunkError::Zero);
        }
        let time_s = input.i64()?;
        let message_len = input.prefixed()?.len();
        let others = input.count("actors", CHANGE_DEPS_MAX)?;
        let start = input.0;
        for _ in 0..others {
            input.actor()?;
        }
        let other_actors = &start[..start.len() - input.0.len()];
        let columns = Self::columns(&mut input)?;
        Ok(Self { actor, seq, start_op, time_s, message_len, deps, other_actors, columns })
    }

    /// Whether `log` made this change.
    #[must_use]
    pub fn is_by(&self, log: &LogId) -> bool {
        self.actor == *log.as_bytes()
    }

    /// Hashes of the changes this one was made upon.
    pub fn deps(&self) -> impl ExactSizeIterator<Item = [u8; 32]> + 'a {
        self.deps.chunks_exact(32).map(|hash| {
            let mut bytes = [0; 32];
            bytes.copy_from_slice(hash);
            bytes
        })
    }

    /// The other actors whose operations this change mentions.
    pub fn other_actors(&self) -> impl ExactSizeIterator<Item = [u8; 16]> + 'a {
        // Each stands as its length, 16, and its bytes.
        self.other_actors.chunks_exact(17).map(|actor| {
            let mut bytes = [0; 16];
            bytes.copy_from_slice(&actor[1..]);
            bytes
        })
    }

    /// How many operations the change has; 0 if its action column is malformed, which
    /// [`bound`] refuses.
    #[must_use]
    pub fn ops(&self) -> u64 {
        let mut runs = Runs::over(self.column(Action));
        let mut ops = 0_u64;
        while let Ok(Some((count, _))) = runs.next(Reader::u64) {
            ops = ops.saturating_add(count);
        }
        ops
    }

    /// The bytes of one column; empty when the change has none.
    pub(crate) fn column(&self, column: Column) -> &'a [u8] {
        self.columns[column as usize]
    }

    fn columns(input: &mut Reader<'a>) -> Result<[&'a [u8]; COLUMNS.len()], ChunkError> {
        let count = input.count("columns", COLUMNS.len())?;
        let mut layout = [(0, 0); COLUMNS.len()];
        let mut next = 0;
        for slot in layout.iter_mut().take(count) {
            let spec = u32::try_from(input.u64()?).unwrap_or(u32::MAX);
            if spec & DEFLATED != 0 {
                return Err(ChunkError::Deflated);
            }
            let Some(index) = COLUMNS.iter().position(|(_, known)| *known == spec) else {
                return Err(ChunkError::UnknownColumn { spec });
            };
            if index < next {
                return Err(ChunkError::ColumnOrder);
            }
            next = index + 1;
            *slot = (index, input.len()?);
        }
        let mut columns: [&[u8]; COLUMNS.len()] = [&[]; COLUMNS.len()];
        for (index, len) in layout.into_iter().take(count) {
            columns[index] = input.take(len)?;
        }
        if !input.0.is_empty() {
            return Err(ChunkError::Trailing { bytes: input.0.len() });
        }
        Ok(columns)
    }

    /// Walks the runs of one column and refuses what Automerge would expand beyond measure.
    fn bound_column(&self, column: Column, actors: u64) -> Result<(), ChunkError> {
        let mut runs = Runs::over(self.column(column));
        let mut rows = Tally::rows(column);
        match column {
            // Raw bytes: their share-out is checked where the lengths stand, in `ValueMeta`.
            Value => {}
            ObjectActor | KeyActor | PredActor => {
                while let Some((count, actor)) = runs.next(Reader::u64)? {
                    rows.add(count)?;
                    if actor.is_some_and(|actor| actor >= actors) {
                        return Err(ChunkError::Value { column: name(column) });
                    }
                }
            }
            ObjectCounter => {
                while let Some((count, counter)) = runs.next(Reader::u64)? {
                    rows.add(count)?;
                    if counter.is_some_and(|counter| counter > COUNTER_MAX) {
                        return Err(ChunkError::Value { column: name(column) });
                    }
                }
            }
            KeyCounter | PredCounter => {
                let mut counter = 0_i64;
                while let Some((count, delta)) = runs.next(Reader::i64)? {
                    rows.add(count)?;
                    let Some(delta) = delta else { continue };
                    // `count` is at most CHANGE_OPS_MAX here. A delta has one sign, so if the
                    // last value of a run is in range all are.
                    counter = i64::try_from(count)
                        .ok()
                        .and_then(|count| delta.checked_mul(count))
                        .and_then(|step| counter.checked_add(step))
                        .filter(|counter| (0..=i64::from(u32::MAX)).contains(counter))
                        .ok_or(ChunkError::Value { column: name(column) })?;
                }
            }
            KeyText | MarkName => {
                while let Some((count, text)) = runs.next(Reader::prefixed)? {
                    rows.add(count)?;
                    if text.is_some_and(|text| text.len() > KEY_BYTES_MAX) {
                        return Err(ChunkError::Value { column: name(column) });
                    }
                }
            }
            Action => {
                while let Some((count, _)) = runs.next(Reader::u64)? {
                    rows.add(count)?;
                }
            }
            Insert | Expand => {
                let mut input = Reader(self.column(column));
                while !input.0.is_empty() {
                    rows.add(input.u64()?)?;
                }
            }
            PredGroup => {
                let mut preds = Tally::rows(PredActor);
                while let Some((count, members)) = runs.next(Reader::u64)? {
                    rows.add(count)?;
                    preds.add(count.saturating_mul(members.unwrap_or(0)))?;
                }
            }
            ValueMeta => {
                let declared = self.column(Value).len() as u64;
                let mut bytes = 0_u64;
                while let Some((count, meta)) = runs.next(Reader::u64)? {
                    rows.add(count)?;
                    bytes = bytes.saturating_add(count.saturating_mul(meta.unwrap_or(0) >> 4));
                }
                if bytes != declared {
                    return Err(ChunkError::Value { column: name(Value) });
                }
            }
        }
        Ok(())
    }
}

/// Checks every limit of [`crate::limits`] on a change: its size, what it depends on, that
/// its columns are known, ascending and fit exactly, and that no column declares more than
/// [`CHANGE_OPS_MAX`] rows. What passes expands to a bounded size; whether it is a sound
/// change, `document` says.
///
/// # Errors
/// [`ChunkError`], the change's author being at fault.
pub fn bound(contents: &[u8]) -> Result<Header<'_>, ChunkError> {
    let header = Header::parse(contents)?;
    if header.start_op > COUNTER_MAX - CHANGE_OPS_MAX {
        return Err(ChunkError::TooMany { what: "operations", found: header.start_op });
    }
    let actors = 1 + header.other_actors().len() as u64;
    for (column, _) in COLUMNS {
        if !header.column(column).is_empty() || column == ValueMeta {
            header.bound_column(column, actors)?;
        }
    }
    Ok(header)
}

/// Checks that the change was made by the log that carries it, which ties what stands in a
/// document to a key. Other actors may be mentioned: an edit names what it replaces.
///
/// # Errors
/// [`ChunkError::WrongActor`], or what [`Header::parse`] says.
pub fn check_actor(contents: &[u8], log: LogId) -> Result<(), ChunkError> {
    if Header::parse(contents)?.is_by(&log) { Ok(()) } else { Err(ChunkError::WrongActor) }
}

/// SHA-256 of type, length and contents: the name Automerge gives the change.
#[must_use]
pub fn hash(contents: &[u8]) -> [u8; 32] {
    let mut prefix = [CHANGE; 11];
    let len = write_u64(contents.len() as u64, &mut prefix[1..]);
    Sha256::new().chain_update(&prefix[..=len]).chain_update(contents).finalize().into()
}

/// The chunk Automerge reads: magic, checksum, type and length before `contents`.
#[must_use]
pub fn wrap(contents: &[u8]) -> Vec<u8> {
    let mut len = [0; 10];
    let len_len = write_u64(contents.len() as u64, &mut len);
    let mut chunk = Vec::with_capacity(9 + len_len + contents.len());
    chunk.extend_from_slice(&MAGIC);
    chunk.extend_from_slice(&hash(contents)[..4]);
    chunk.push(CHANGE);
    chunk.extend_from_slice(&len[..len_len]);
    chunk.extend_from_slice(contents);
    chunk
}

/// The contents of one whole, uncompressed change chunk (`Change::raw_bytes`).
///
/// # Errors
/// [`ChunkError::NotAChange`] when the bytes are something else, or the checksum is wrong.
pub fn unwrap(raw_chunk: &[u8]) -> Result<&[u8], ChunkError> {
    let mut input = Reader(raw_chunk);
    let magic = input.take(4)?;
    let checksum = input.take(4)?;
    let kind = input.take(1)?;
    let len = input.len()?;
    let contents = input.0;
    if magic != MAGIC || kind != [CHANGE] || len != contents.len() {
        return Err(ChunkError::NotAChange);
    }
    if hash(contents)[..4] != *checksum { Err(ChunkError::NotAChange) } else { Ok(contents) }
}

/// Why a change is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// Above [`CHANGE_BYTES_MAX`].
    #[error("change of {bytes} bytes is larger than {CHANGE_BYTES_MAX}")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The bytes end before what they declare.
    #[error("change ends before what it declares")]
    Truncated,
    /// A LEB128 number that is too large, or longer than it need be.
    #[error("change has a number that is not in its shortest form")]
    Number,
    /// A count above its limit.
    #[error("change declares {found} {what}, which is too many")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// How many are declared.
        found: u64,
    },
    /// Sequence numbers and counters start at one.
    #[error("change numbers itself or its operations from zero")]
    Zero,
    /// An actor that is not 16 bytes long, as every log id is.
    #[error("change has an actor of {bytes} bytes, expected 16")]
    Actor {
        /// Its length.
        bytes: usize,
    },
    /// The change is not by the log that carries it.
    #[error("change was not made by the log that carries it")]
    WrongActor,
    /// A column that does not exist in a change.
    #[error("change has an unknown column {spec:#x}")]
    UnknownColumn {
        /// Its specification.
        spec: u32,
    },
    /// Columns twice or out of order.
    #[error("change has its columns out of order")]
    ColumnOrder,
    /// A deflated column, which a change never has.
    #[error("change has a compressed column")]
    Deflated,
    /// Bytes after the last column.
    #[error("change has {bytes} bytes after its columns")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// A column holds a number or length that cannot be.
    #[error("change has an impossible value in column {column}")]
    Value {
        /// Which column.
        column: &'static str,
    },
    /// Not a whole, uncompressed change chunk.
    #[error("not a change chunk with a right checksum")]
    NotAChange,
}

/// Counts the rows of one column and stops at the limit.
struct Tally {
    column: Column,
    rows: u64,
}

impl Tally {
    fn rows(column: Column) -> Self {
        Self { column, rows: 0 }
    }

    fn add(&mut self, count: u64) -> Result<(), ChunkError> {
        self.rows = self.rows.saturating_add(count);
        if self.rows > CHANGE_OPS_MAX {
            return Err(ChunkError::TooMany { what: name(self.column), found: self.rows });
        }
        Ok(())
    }
}

/// What a column is called in an error.
fn name(column: Column) -> &'static str {
    match column {
        ObjectActor => "object actors",
        ObjectCounter => "object counters",
        KeyActor => "key actors",
        KeyCounter => "key counters",
        KeyText => "keys",
        Insert => "insert marks",
        Action => "operations",
        ValueMeta => "value lengths",
        Value => "values",
        PredGroup => "predecessor lists",
        PredActor => "predecessors",
        PredCounter => "predecessor counters",
        Expand => "expand marks",
        MarkName => "mark names",
    }
}

/// Writes `value` as LEB128 to the front of `out` (at least 10 bytes) and says how many it took.
fn write_u64(mut value: u64, out: &mut [u8]) -> usize {
    let mut len = 0;
    loop {
        let more = value > 0x7f;
        out[len] = (value & 0x7f) as u8 | if more { 0x80 } else { 0 };
        value >>= 7;
        len += 1;
        if !more {
            return len;
        }
    }
}

#[cfg(test)]
mod tests;
