//! Rows one after the other: at once for a query, or as many as asked for, with pauses between,
//! for a cursor. A cursor is a thread with a connection of its own, so that it can stand still
//! in the middle of its rows while the session does other things.

use std::{
    sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    thread,
};

use rusqlite::{params_from_iter, types::Value};

use crate::{
    error::{SqlError, code},
    reader::Reader,
    translate::{Output, Translated},
    ty::Ty,
    wire::{begin, end},
};

/// Rows made before the session takes them.
const AHEAD: usize = 16;

/// How a result goes over the wire: text or binary, by column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Formats(pub Vec<u16>);

impl Formats {
    /// True when the column goes in binary.
    #[must_use]
    pub fn is_binary(&self, column: usize) -> bool {
        match &self.0[..] {
            [] => false,
            [all] => *all == 1,
            each => each.get(column) == Some(&1),
        }
    }
}

/// Writes one row as a message.
///
/// # Errors
/// [`SqlError`] when a value cannot be read or has no such form.
pub fn encode(
    row: &rusqlite::Row<'_>,
    columns: &[Output],
    formats: &Formats,
    out: &mut Vec<u8>,
) -> Result<(), SqlError> {
    let message = begin(out, b'D');
    out.extend((columns.len() as u16).to_be_bytes());
    for (n, column) in columns.iter().enumerate() {
        let value = row.get_ref(n)?;
        if value == rusqlite::types::ValueRef::Null {
            out.extend((-1_i32).to_be_bytes());
            continue;
        }
        let start = out.len();
        out.extend([0; 4]);
        let ty = if column.ty == Ty::Unknown { Ty::Text } else { column.ty };
        if formats.is_binary(n) {
            ty.write_binary(value, out)?;
        } else {
            ty.write_text(value, out);
        }
        let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }
    end(out, message);
    Ok(())
}

/// Runs a statement and hands each row on, until `each` says stop.
///
/// # Errors
/// [`SqlError`] of the statement.
pub fn run(
    reader: &Reader,
    statement: &Translated,
    values: &[Value],
    formats: &Formats,
    mut each: impl FnMut(&[u8]) -> bool,
) -> Result<u64, SqlError> {
    let mut prepared = reader.db.prepare_cached(&statement.sql)?;
    let mut rows = prepared.query(params_from_iter(values))?;
    let (mut count, mut bytes) = (0, Vec::new());
    loop {
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(count),
            // SQLite says only that it was interrupted, not why.
            Err(error) => {
                reader.watch.check()?;
                return Err(error.into());
            }
        };
        bytes.clear();
        encode(row, &statement.columns, formats, &mut bytes)?;
        count += 1;
        reader.watch.check()?;
        if !each(&bytes) {
            return Ok(count);
        }
    }
}

/// What a cursor's thread says.
enum Said {
    Row(Vec<u8>),
    /// As many as asked for; there may be more.
    Pause,
    End,
    Failed(SqlError),
}

/// A statement that stands still between rows.
#[derive(Debug)]
pub struct Cursor {
    wanted: Sender<usize>,
    said: Receiver<Said>,
    /// Whether all rows were taken.
    pub done: bool,
}

impl Cursor {
    /// Starts one; it makes no row before one is asked for.
    ///
    /// # Errors
    /// [`SqlError`] 53200 when there is no thread for it.
    pub fn start(
        reader: Reader,
        statement: Translated,
        values: Vec<Value>,
        formats: Formats,
    ) -> Result<Self, SqlError> {
        let (wanted, asked) = channel();
        let (say, said) = sync_channel(AHEAD);
        let work = move || work(&reader, &statement, &values, &formats, &asked, &say);
        thread::Builder::new()
            .name("sql cursor".to_owned())
            .spawn(work)
            .map_err(|error| SqlError::new(code::OUT_OF_MEMORY, error.to_string()))?;
        Ok(Self { wanted, said, done: false })
    }

    /// Up to `count` rows, each handed on.
    ///
    /// # Errors
    /// [`SqlError`] of the statement, or what `each` says.
    pub fn fetch<E: From<SqlError>>(
        &mut self,
        count: usize,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<u64, E> {
        if self.done || count == 0 {
            return Ok(0);
        }
        let gone = || SqlError::new(code::INTERNAL, "the cursor is gone");
        self.wanted.send(count).map_err(|_| gone())?;
        let mut rows = 0;
        loop {
            match self.said.recv().map_err(|_| gone())? {
                Said::Row(row) => {
                    rows += 1;
                    each(&row)?;
                }
                Said::Pause => return Ok(rows),
                Said::End => {
                    self.done = true;
                    return Ok(rows);
                }
                Said::Failed(error) => {
                    self.done = true;
                    return Err(error.into());
                }
            }
        }
    }
}

fn work(
    reader: &Reader,
    statement: &Translated,
    values: &[Value],
    formats: &Formats,
    asked: &Receiver<usize>,
    say: &SyncSender<Said>,
) {
    let Ok(mut left) = asked.recv() else { return };
    let run = run(reader, statement, values, formats, |row| {
        if left == 0 {
            if say.send(Said::Pause).is_err() {
                return false;
            }
            match asked.recv() {
                Ok(more) => left = more,
                Err(_) => return false,
            }
        }
        left -= 1;
        say.send(Said::Row(row.to_vec())).is_ok()
    });
    let _ = say.send(match run {
        Ok(_) => Said::End,
        Err(error) => Said::Failed(error),
    });
}
