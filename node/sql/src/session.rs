//! One client's conversation: simple and extended queries, prepared statements, portals and
//! cursors, transactions that hold nothing, and errors that leave the rest as it was.

mod command;
mod extended;
mod settings;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use rusqlite::types::Value;

use crate::{
    cursor::{self, Cursor, Formats},
    error::{SqlError, code},
    flight::{ANSWER_BYTES_MAX, Answer, Question, Turn},
    reader::{Reader, Watch},
    server::{Shared, Tenant},
    statement::{self, Statement},
    translate::{Output, Translated, translate},
    ty::Ty,
    wire::{Cut, Message, Wire, WireError, text_to},
};

use settings::{REPORTED, SETTINGS};

/// Prepared statements of one session.
const PREPARED_MAX: usize = 512;
/// Portals of one session; cursors among them have a thread each.
const PORTALS_MAX: usize = 64;
const CURSORS_MAX: usize = 8;
/// Statements SQLite keeps ready for a session.
const CACHED: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transaction {
    Idle,
    Open,
    Failed,
}

/// A statement as a client prepared it.
struct Prepared {
    statement: Statement,
    /// Set for queries.
    translated: Option<Translated>,
    parameters: Vec<Ty>,
}

struct Portal {
    prepared: Arc<Prepared>,
    values: Vec<Value>,
    formats: Formats,
    cursor: Option<Cursor>,
    done: bool,
    /// A cursor of SQL, which FETCH knows by name.
    declared: bool,
    hold: bool,
}

/// Why a message was not done: the client is told and goes on, or all ends.
enum Stop {
    Sql(SqlError),
    Wire(WireError),
}

impl From<SqlError> for Stop {
    fn from(error: SqlError) -> Self {
        Self::Sql(error)
    }
}

impl From<WireError> for Stop {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error.into())
    }
}

/// One client.
pub struct Session {
    shared: Arc<Shared>,
    user: String,
    tenant: Tenant,
    still: Box<dyn Fn() -> bool + Send>,
    watch: Arc<Watch>,
    reader: Option<Reader>,
    settings: BTreeMap<String, String>,
    transaction: Transaction,
    prepared: BTreeMap<String, Arc<Prepared>>,
    portals: BTreeMap<String, Portal>,
}

impl Session {
    pub fn new(
        shared: Arc<Shared>,
        user: String,
        tenant: Tenant,
        still: Box<dyn Fn() -> bool + Send>,
        watch: Arc<Watch>,
        parameters: &BTreeMap<String, String>,
    ) -> Self {
        let mut session = Self {
            shared,
            user,
            tenant,
            still,
            watch,
            reader: None,
            settings: BTreeMap::new(),
            transaction: Transaction::Idle,
            prepared: BTreeMap::new(),
            portals: BTreeMap::new(),
        };
        for (name, value) in parameters {
            let name = name.to_lowercase();
            if SETTINGS.iter().any(|(known, _)| *known == name) {
                // One that is no setting of ours is not worth refusing a client for.
                let _ = session.set(&name, value);
            }
        }
        session
    }

    /// Talks until the client leaves. `name` is what it is told to cancel by.
    pub fn run(&mut self, wire: &mut Wire, name: (i32, i32)) -> Result<(), WireError> {
        for (setting, shown) in REPORTED {
            self.report(wire, setting, shown)?;
        }
        wire.put(b'S', |out| {
            text_to(out, "session_authorization");
            text_to(out, &self.user);
        })?;
        wire.put(b'K', |out| {
            out.extend(name.0.to_be_bytes());
            out.extend(name.1.to_be_bytes());
        })?;
        self.ready(wire)?;
        // After an error in the extended protocol, messages are passed over up to a Sync.
        let mut skipping = false;
        loop {
            let message = self.next(wire)?;
            match message.kind {
                b'X' => return Ok(()),
                b'S' => {
                    skipping = false;
                    self.portals.retain(|name, portal| !name.is_empty() || portal.declared);
                    self.end_statement();
                    self.ready(wire)?;
                    continue;
                }
                b'Q' => {
                    skipping = false;
                    if let Err(stop) = self.simple(wire, &message) {
                        self.stopped(wire, stop)?;
                    }
                    self.end_statement();
                    self.ready(wire)?;
                    continue;
                }
                _ if skipping => continue,
                _ => {}
            }
            let done = match message.kind {
                b'P' => self.parse(wire, &message),
                b'B' => self.bind(wire, &message),
                b'D' => self.describe(wire, &message),
                b'E' => self.execute(wire, &message),
                b'C' => self.close(wire, &message),
                b'H' => wire.flush().map_err(Stop::from),
                // What a client may still send after a COPY that was refused.
                b'd' | b'c' | b'f' => Ok(()),
                b'F' => Err(SqlError::unsupported("the function call message").into()),
                kind => {
                    let shown = char::from(kind).escape_default().to_string();
                    return Err(WireError::protocol(format!(
                        "invalid frontend message type {shown}"
                    )));
                }
            };
            if let Err(stop) = done {
                self.stopped(wire, stop)?;
                wire.flush()?;
                skipping = true;
            }
        }
    }

    /// The next message. A client may take its time, unless it holds a cursor meanwhile.
    fn next(&self, wire: &mut Wire) -> Result<Message, WireError> {
        let (shared, since) = (&self.shared, Instant::now());
        let stands = |portal: &Portal| portal.cursor.as_ref().is_some_and(|cursor| !cursor.done);
        let holds = self.portals.values().any(stands);
        let rested = || holds && since.elapsed() > shared.options.cursor_rest;
        let stopping = || shared.stopping.load(Ordering::SeqCst);
        match wire.message(true, &|| !stopping() && !rested()) {
            Err(WireError::Stopped) if !stopping() => {
                let why = "terminating connection: a cursor stood still for too long";
                Err(WireError::Fatal(SqlError::new(code::IDLE, why)))
            }
            message => message,
        }
    }

    fn stopped(&mut self, wire: &mut Wire, stop: Stop) -> Result<(), WireError> {
        match stop {
            Stop::Wire(error) => Err(error),
            Stop::Sql(error) => {
                if self.transaction == Transaction::Open {
                    self.transaction = Transaction::Failed;
                }
                // The shelf was put aside and filled anew: the next statement opens the new one.
                if error.code == code::IO {
                    self.reader = None;
                }
                wire.error(&error, false)
            }
        }
    }

    fn ready(&mut self, wire: &mut Wire) -> Result<(), WireError> {
        let state = match self.transaction {
            Transaction::Idle => b'I',
            Transaction::Open => b'T',
            Transaction::Failed => b'E',
        };
        wire.put(b'Z', |out| out.push(state))?;
        wire.flush()
    }

    fn begin_statement(&self) -> Result<(), Stop> {
        if self.shared.stopping.load(Ordering::SeqCst) {
            return Err(WireError::Stopped.into());
        }
        if !(self.still)() {
            let why = format!("user \"{}\" may not come in any more", self.user);
            return Err(WireError::Fatal(SqlError::new(code::AUTHORIZATION, why)).into());
        }
        self.watch.begin(Some(self.longest()));
        Ok(())
    }

    fn end_statement(&self) {
        self.watch.begin(None);
    }

    fn open(&self) -> Result<Reader, SqlError> {
        let reader = Reader::open(
            &self.tenant.shelf,
            &self.user,
            &self.tenant.vat,
            Arc::clone(&self.tenant.outside),
            Arc::clone(&self.watch),
        );
        let reader = reader.map_err(|error| {
            let why = format!("the tables are being made: {}", error.message);
            SqlError::new(code::NOT_NOW, why).hint("Try again in a moment.")
        })?;
        reader.db.set_prepared_statement_cache_capacity(CACHED);
        Ok(reader)
    }

    fn reader(&mut self) -> Result<&Reader, SqlError> {
        if self.reader.is_none() {
            self.reader = Some(self.open()?);
        }
        self.reader.as_ref().ok_or_else(|| SqlError::new(code::INTERNAL, "no connection"))
    }

    // The simple protocol.

    fn simple(&mut self, wire: &mut Wire, message: &Message) -> Result<(), Stop> {
        let text = Cut(&message.body).text()?.to_owned();
        self.begin_statement()?;
        let statements = statement::parse(&text)?;
        if statements.is_empty() {
            wire.put(b'I', |_| {})?;
        }
        for statement in statements {
            self.begin_statement()?;
            if let Statement::Query(query) = &statement {
                self.allowed(&statement)?;
                let translated = translate(query, &[])?;
                if !translated.parameters.is_empty() {
                    return Err(SqlError::new("42P02", "there is no parameter $1").into());
                }
                describe_rows(wire, &translated.columns, &Formats::default())?;
                let rows = self.rows(wire, &translated, &[], &Formats::default())?;
                tag(wire, &format!("SELECT {rows}"))?;
            } else {
                self.command(wire, &statement, true)?;
            }
        }
        Ok(())
    }

    /// Sends all rows of a statement, at the pace of the client. Sums are worked out once for all
    /// who ask them of the same state at the same time.
    fn rows(
        &mut self,
        wire: &mut Wire,
        translated: &Translated,
        values: &[Value],
        formats: &Formats,
    ) -> Result<u64, Stop> {
        let (shared, shelf) = (Arc::clone(&self.shared), self.tenant.shelf.clone());
        let reader = self.reader()?;
        if !translated.sums {
            return stream(reader, translated, values, formats, |row| wire.put_whole(row));
        }
        // This row is not let go of before the end, so that what follows reads the state it names.
        let mut head = reader.db.prepare_cached("SELECT state FROM _head")?;
        let mut held = head.query([])?;
        let state = held.next()?.map_or(Ok(0), |row| row.get(0))?;
        let types: Vec<_> = translated.columns.iter().map(|column| column.ty).collect();
        let form = format!("{values:?} {formats:?} {types:?}");
        let question = Question { shelf, state, sql: translated.sql.clone(), form };
        let mut lead = match shared.flights.join(question, &reader.watch)? {
            Turn::Lead(lead) => Some(lead),
            Turn::Alone => None,
            Turn::Told(answer) => {
                wire.put_whole(&answer.bytes)?;
                return Ok(answer.rows);
            }
        };
        let (mut bytes, mut turn) = (Vec::new(), Some(reader.ticket.begin()));
        let rows = stream(reader, translated, values, formats, |row| {
            if lead.is_some() && bytes.len() + row.len() <= ANSWER_BYTES_MAX {
                bytes.extend_from_slice(row);
                return Ok(());
            }
            (lead, turn) = (None, None);
            wire.put_whole(&std::mem::take(&mut bytes))?;
            wire.put_whole(row)
        })?;
        drop(turn);
        if let Some(lead) = lead {
            wire.put_whole(&lead.tell(Answer { bytes, rows }).bytes)?;
        }
        Ok(rows)
    }

    fn allowed(&self, statement: &Statement) -> Result<(), SqlError> {
        let ends = matches!(statement, Statement::Commit | Statement::Rollback);
        if self.transaction == Transaction::Failed && !ends {
            let why =
                "current transaction is aborted, commands ignored until end of transaction block";
            return Err(SqlError::new(code::FAILED_TRANSACTION, why));
        }
        Ok(())
    }
}

/// Works a statement out and hands each row on.
fn stream(
    reader: &Reader,
    translated: &Translated,
    values: &[Value],
    formats: &Formats,
    mut each: impl FnMut(&[u8]) -> Result<(), WireError>,
) -> Result<u64, Stop> {
    let mut broken = None;
    let count = cursor::run(reader, translated, values, formats, |row| {
        broken = each(row).err();
        broken.is_none()
    })?;
    broken.map_or(Ok(count), |error| Err(error.into()))
}

fn tag(wire: &mut Wire, done: &str) -> Result<(), WireError> {
    wire.put(b'C', |out| text_to(out, done))
}

fn describe_rows(wire: &mut Wire, columns: &[Output], formats: &Formats) -> Result<(), WireError> {
    wire.put(b'T', |out| {
        out.extend((columns.len() as u16).to_be_bytes());
        for (n, column) in columns.iter().enumerate() {
            text_to(out, &column.name);
            out.extend(column.origin.0.to_be_bytes());
            out.extend(column.origin.1.to_be_bytes());
            out.extend(column.ty.oid().to_be_bytes());
            out.extend(column.ty.width().to_be_bytes());
            out.extend((-1_i32).to_be_bytes());
            out.extend(u16::from(formats.is_binary(n)).to_be_bytes());
        }
    })
}

fn shown_columns(name: &str) -> Vec<Output> {
    let names = if name == "all" { vec!["name", "setting", "description"] } else { vec![name] };
    names.into_iter().map(Output::text).collect()
}
