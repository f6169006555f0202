//! One client's conversation: simple and extended queries, prepared statements, portals and
//! cursors, transactions that hold nothing, and errors that leave the rest as it was.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use rusqlite::types::Value;

use crate::{
    cursor::{self, Cursor, Formats},
    error::{SqlError, code},
    reader::{Reader, Watch},
    server::{Shared, Tenant},
    statement::{self, Statement},
    translate::{Output, Translated, translate},
    ty::Ty,
    wire::{Cut, Message, Wire, WireError, text_to},
};

/// Prepared statements of one session.
const PREPARED_MAX: usize = 512;
/// Portals of one session; cursors among them have a thread each.
const PORTALS_MAX: usize = 64;
const CURSORS_MAX: usize = 8;
/// Statements SQLite keeps ready for a session.
const CACHED: usize = 32;

/// What a session says of itself: name and value, as `SHOW` and the start have it.
const SETTINGS: &[(&str, &str)] = &[
    ("server_version", "15.0"),
    ("server_version_num", "150000"),
    ("server_encoding", "UTF8"),
    ("client_encoding", "UTF8"),
    ("datestyle", "ISO, MDY"),
    ("timezone", "UTC"),
    ("intervalstyle", "postgres"),
    ("integer_datetimes", "on"),
    ("standard_conforming_strings", "on"),
    ("is_superuser", "off"),
    ("default_transaction_read_only", "on"),
    ("in_hot_standby", "on"),
    ("transaction_isolation", "read committed"),
    ("transaction_read_only", "on"),
    ("default_transaction_isolation", "read committed"),
    ("search_path", "public"),
    ("application_name", ""),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
    ("max_identifier_length", "63"),
    ("max_index_keys", "32"),
    ("lc_collate", "C"),
    ("lc_ctype", "C"),
    ("lc_messages", "C"),
    ("lc_monetary", "C"),
    ("row_security", "off"),
    ("ssl", "on"),
    ("escape_string_warning", "off"),
    ("client_min_messages", "notice"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
];
/// Those told at the start, with the spelling drivers look for.
const REPORTED: &[(&str, &str)] = &[
    ("server_version", "server_version"),
    ("server_encoding", "server_encoding"),
    ("client_encoding", "client_encoding"),
    ("datestyle", "DateStyle"),
    ("timezone", "TimeZone"),
    ("intervalstyle", "IntervalStyle"),
    ("integer_datetimes", "integer_datetimes"),
    ("standard_conforming_strings", "standard_conforming_strings"),
    ("is_superuser", "is_superuser"),
    ("default_transaction_read_only", "default_transaction_read_only"),
    ("in_hot_standby", "in_hot_standby"),
    ("application_name", "application_name"),
];

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

    fn report(&self, wire: &mut Wire, setting: &str, shown: &str) -> Result<(), WireError> {
        let value = self.setting(setting).unwrap_or_default();
        wire.put(b'S', |out| {
            text_to(out, shown);
            text_to(out, &value);
        })
    }

    fn setting(&self, name: &str) -> Option<String> {
        if let Some(value) = self.settings.get(name) {
            return Some(value.clone());
        }
        match name {
            "session_authorization" => Some(self.user.clone()),
            "statement_timeout" => Some(format!("{}ms", self.longest().as_millis())),
            _ => SETTINGS.iter().find(|row| row.0 == name).map(|row| row.1.to_owned()),
        }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), SqlError> {
        let bad = |why: String| SqlError::new(code::INVALID_PARAMETER, why);
        let lower = value.to_lowercase();
        match name {
            "client_encoding" if !["", "utf8", "utf-8", "unicode"].contains(&lower.as_str()) => {
                return Err(bad(format!("client_encoding {value} is not served: use UTF8")));
            }
            "client_encoding" => return Ok(()),
            // Moments are shown in UTC, whatever the client's zone.
            "timezone" => return Ok(()),
            "datestyle" => return Ok(()),
            "server_version" | "is_superuser" | "server_encoding" | "integer_datetimes" => {
                return Err(bad(format!("parameter \"{name}\" cannot be changed")));
            }
            "default_transaction_read_only" | "transaction_read_only"
                if ["off", "false", "0", "no"].contains(&lower.as_str()) =>
            {
                return Err(statement::read_only("SET transaction_read_only = off"));
            }
            "statement_timeout" => {
                parse_span(value).ok_or_else(|| {
                    bad(format!("invalid value for statement_timeout: \"{value}\""))
                })?;
            }
            _ => {}
        }
        if self.settings.len() > 64 || value.len() > 1000 {
            return Err(SqlError::new(code::LIMIT, "too many settings"));
        }
        if value.is_empty() || lower == "default" {
            self.settings.remove(name);
        } else {
            self.settings.insert(name.to_owned(), value.to_owned());
        }
        Ok(())
    }

    fn longest(&self) -> Duration {
        let most = self.shared.options.statement_timeout;
        let asked = self.settings.get("statement_timeout").and_then(|text| parse_span(text));
        asked.filter(|asked| !asked.is_zero()).map_or(most, |asked| asked.min(most))
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

    /// Sends all rows of a statement, at the pace of the client.
    fn rows(
        &mut self,
        wire: &mut Wire,
        translated: &Translated,
        values: &[Value],
        formats: &Formats,
    ) -> Result<u64, Stop> {
        let mut broken = None;
        let reader = self.reader()?;
        let count =
            cursor::run(reader, translated, values, formats, |row| match wire.put_whole(row) {
                Ok(()) => true,
                Err(error) => {
                    broken = Some(error);
                    false
                }
            })?;
        match broken {
            Some(error) => Err(error.into()),
            None => Ok(count),
        }
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

    /// Everything but a query. In the extended protocol rows were described before.
    fn command(
        &mut self,
        wire: &mut Wire,
        statement: &Statement,
        describes: bool,
    ) -> Result<(), Stop> {
        self.allowed(statement)?;
        match statement {
            Statement::Empty | Statement::Query(_) => wire.put(b'I', |_| {})?,
            Statement::Begin => {
                self.transaction = Transaction::Open;
                tag(wire, "BEGIN")?;
            }
            Statement::Commit | Statement::Rollback => {
                let failed = self.transaction == Transaction::Failed;
                self.transaction = Transaction::Idle;
                self.portals.retain(|_, portal| portal.hold);
                let rolled = failed || *statement == Statement::Rollback;
                tag(wire, if rolled { "ROLLBACK" } else { "COMMIT" })?;
            }
            Statement::Nothing(done) => tag(wire, done)?,
            Statement::Set(name, value) => {
                if name == "all" && value.is_empty() {
                    self.settings.clear();
                } else {
                    self.set(name, value)?;
                }
                if let Some((_, shown)) = REPORTED.iter().find(|row| row.0 == name) {
                    self.report(wire, name, shown)?;
                }
                tag(wire, "SET")?;
            }
            Statement::Show(name) => {
                let rows = self.show(name)?;
                if describes {
                    describe_rows(wire, &shown_columns(name), &Formats::default())?;
                }
                for row in &rows {
                    wire.put(b'D', |out| {
                        out.extend((row.len() as u16).to_be_bytes());
                        for value in row {
                            out.extend((value.len() as u32).to_be_bytes());
                            out.extend(value.bytes());
                        }
                    })?;
                }
                tag(wire, "SHOW")?;
            }
            Statement::Declare { name, hold, query } => {
                if self.transaction != Transaction::Open && !hold {
                    let why = "DECLARE CURSOR can only be used in transaction blocks";
                    return Err(SqlError::new(code::NO_TRANSACTION, why).into());
                }
                if self.portals.contains_key(name) {
                    let why = format!("cursor \"{name}\" already exists");
                    return Err(SqlError::new(code::DUPLICATE_CURSOR, why).into());
                }
                let translated = translate(query, &[])?;
                let prepared = Prepared {
                    statement: Statement::Empty,
                    parameters: translated.parameters.clone(),
                    translated: Some(translated),
                };
                if !prepared.parameters.is_empty() {
                    return Err(SqlError::unsupported("a parameter in DECLARE").into());
                }
                let mut portal = Portal {
                    prepared: Arc::new(prepared),
                    values: Vec::new(),
                    formats: Formats::default(),
                    cursor: None,
                    done: false,
                    declared: true,
                    hold: *hold,
                };
                self.start(&mut portal)?;
                self.add_portal(name.clone(), portal)?;
                tag(wire, "DECLARE CURSOR")?;
            }
            Statement::Fetch { name, count, skip } => {
                let no =
                    || SqlError::new(code::NO_CURSOR, format!("cursor \"{name}\" does not exist"));
                let mut portal = self.portals.remove(name).ok_or_else(no)?;
                let done = self.fetch(wire, &mut portal, *count, *skip, describes);
                self.portals.insert(name.clone(), portal);
                let rows = done?;
                tag(wire, &format!("{} {rows}", if *skip { "MOVE" } else { "FETCH" }))?;
            }
            Statement::Close(name) => {
                match name {
                    None => self.portals.retain(|_, portal| !portal.declared),
                    Some(name) if self.portals.remove(name).is_some() => {}
                    Some(name) => {
                        let why = format!("cursor \"{name}\" does not exist");
                        return Err(SqlError::new(code::NO_CURSOR, why).into());
                    }
                }
                tag(wire, "CLOSE CURSOR")?;
            }
            Statement::Deallocate(name) => {
                match name {
                    None => self.prepared.clear(),
                    Some(name) if self.prepared.remove(name).is_some() => {}
                    Some(name) => {
                        let why = format!("prepared statement \"{name}\" does not exist");
                        return Err(SqlError::new(code::NO_STATEMENT, why).into());
                    }
                }
                tag(wire, "DEALLOCATE")?;
            }
            Statement::Discard => {
                self.prepared.clear();
                self.portals.clear();
                self.settings.clear();
                tag(wire, "DISCARD ALL")?;
            }
        }
        Ok(())
    }

    fn show(&self, name: &str) -> Result<Vec<Vec<String>>, SqlError> {
        if name == "all" {
            let row = |(name, _): &(&str, &str)| {
                vec![(*name).to_owned(), self.setting(name).unwrap_or_default(), String::new()]
            };
            return Ok(SETTINGS.iter().map(row).collect());
        }
        let value = self.setting(name).ok_or_else(|| {
            SqlError::new("42704", format!("unrecognized configuration parameter \"{name}\""))
        })?;
        Ok(vec![vec![value]])
    }

    // Portals and cursors.

    fn add_portal(&mut self, name: String, portal: Portal) -> Result<(), SqlError> {
        if self.portals.len() >= PORTALS_MAX && !self.portals.contains_key(&name) {
            let why = format!("a session has at most {PORTALS_MAX} portals: close some");
            return Err(SqlError::new(code::LIMIT, why));
        }
        self.portals.insert(name, portal);
        Ok(())
    }

    fn start(&self, portal: &mut Portal) -> Result<(), SqlError> {
        let cursors = self.portals.values().filter(|portal| portal.cursor.is_some()).count();
        if cursors >= CURSORS_MAX {
            let why = format!("a session has at most {CURSORS_MAX} open cursors: close some");
            return Err(SqlError::new(code::LIMIT, why));
        }
        let translated = portal
            .prepared
            .translated
            .clone()
            .ok_or_else(|| SqlError::new(code::NO_CURSOR, "that portal gives no rows"))?;
        let values = portal.values.clone();
        let cursor = Cursor::start(self.open()?, translated, values, portal.formats.clone())?;
        portal.cursor = Some(cursor);
        Ok(())
    }

    fn fetch(
        &mut self,
        wire: &mut Wire,
        portal: &mut Portal,
        count: Option<usize>,
        skip: bool,
        describes: bool,
    ) -> Result<u64, Stop> {
        if describes && !skip {
            let columns = portal.prepared.translated.as_ref().map_or(&[][..], |t| &t.columns);
            describe_rows(wire, columns, &portal.formats)?;
        }
        let Some(cursor) = &mut portal.cursor else { return Ok(0) };
        let count = count.unwrap_or(usize::MAX);
        cursor
            .fetch(count, |row| if skip { Ok(()) } else { wire.put_whole(row).map_err(Stop::from) })
    }

    // The extended protocol.

    fn parse(&mut self, wire: &mut Wire, message: &Message) -> Result<(), Stop> {
        let mut cut = Cut(&message.body);
        let (name, text) = (cut.text()?.to_owned(), cut.text()?);
        let count = cut.short_int()?;
        let mut types = Vec::new();
        for _ in 0..count {
            types.push(Ty::of_oid(cut.int()? as u32));
        }
        self.begin_statement()?;
        let mut statements = statement::parse(text)?;
        if statements.len() > 1 {
            let why = "cannot insert multiple commands into a prepared statement";
            return Err(SqlError::new(code::SYNTAX, why).into());
        }
        let statement = statements.pop().unwrap_or(Statement::Empty);
        let translated = match &statement {
            Statement::Query(query) => Some(translate(query, &types)?),
            _ => None,
        };
        let parameters = translated.as_ref().map_or_else(Vec::new, |t| t.parameters.clone());
        if !name.is_empty() {
            if self.prepared.contains_key(&name) {
                let why = format!("prepared statement \"{name}\" already exists");
                return Err(SqlError::new(code::DUPLICATE_STATEMENT, why).into());
            }
            if self.prepared.len() >= PREPARED_MAX {
                let why =
                    format!("a session has at most {PREPARED_MAX} prepared statements: close some");
                return Err(SqlError::new(code::LIMIT, why).into());
            }
        }
        self.prepared.insert(name, Arc::new(Prepared { statement, translated, parameters }));
        Ok(wire.put(b'1', |_| {})?)
    }

    fn bind(&mut self, wire: &mut Wire, message: &Message) -> Result<(), Stop> {
        let mut cut = Cut(&message.body);
        let (portal, name) = (cut.text()?.to_owned(), cut.text()?);
        let prepared = self.prepared_named(name)?;
        let mut formats = Vec::new();
        for _ in 0..cut.short_int()? {
            formats.push(cut.short_int()?);
        }
        let count = usize::from(cut.short_int()?);
        if count != prepared.parameters.len() {
            let wanted = prepared.parameters.len();
            let why = format!(
                "bind message supplies {count} parameters, but prepared statement \"{name}\" requires {wanted}"
            );
            return Err(SqlError::new(code::PROTOCOL, why).into());
        }
        if formats.len() > 1 && formats.len() != count {
            let why = format!(
                "bind message has {} parameter formats but {count} parameters",
                formats.len()
            );
            return Err(SqlError::new(code::PROTOCOL, why).into());
        }
        let formats = Formats(formats);
        let mut values = Vec::new();
        for (n, ty) in prepared.parameters.iter().enumerate() {
            let Ok(length) = usize::try_from(cut.int()?) else {
                values.push(Value::Null);
                continue;
            };
            let bytes = cut.bytes(length)?;
            values.push(if formats.is_binary(n) {
                ty.parse_binary(bytes)?
            } else {
                let text = std::str::from_utf8(bytes).map_err(|_| {
                    SqlError::new("22021", "invalid byte sequence for encoding UTF8")
                })?;
                ty.parse(text)?
            });
        }
        let mut formats = Vec::new();
        for _ in 0..cut.short_int()? {
            formats.push(cut.short_int()?);
        }
        let columns = prepared.translated.as_ref().map_or(0, |t| t.columns.len());
        if formats.len() > 1 && formats.len() != columns {
            let why = format!(
                "bind message has {} result formats but query has {columns} columns",
                formats.len()
            );
            return Err(SqlError::new(code::PROTOCOL, why).into());
        }
        if !portal.is_empty() && self.portals.contains_key(&portal) {
            let why = format!("cursor \"{portal}\" already exists");
            return Err(SqlError::new(code::DUPLICATE_CURSOR, why).into());
        }
        let bound = Portal {
            prepared,
            values,
            formats: Formats(formats),
            cursor: None,
            done: false,
            declared: false,
            hold: false,
        };
        self.add_portal(portal, bound)?;
        Ok(wire.put(b'2', |_| {})?)
    }

    fn prepared_named(&self, name: &str) -> Result<Arc<Prepared>, SqlError> {
        self.prepared.get(name).cloned().ok_or_else(|| {
            SqlError::new(
                code::NO_STATEMENT,
                format!("prepared statement \"{name}\" does not exist"),
            )
        })
    }

    fn describe(&mut self, wire: &mut Wire, message: &Message) -> Result<(), Stop> {
        let mut cut = Cut(&message.body);
        let (kind, name) = (cut.byte()?, cut.text()?);
        let (prepared, formats) = match kind {
            b'S' => {
                let prepared = self.prepared_named(name)?;
                wire.put(b't', |out| {
                    out.extend((prepared.parameters.len() as u16).to_be_bytes());
                    for ty in &prepared.parameters {
                        out.extend(ty.oid().to_be_bytes());
                    }
                })?;
                (prepared, Formats::default())
            }
            b'P' => {
                let portal = self.portals.get(name).ok_or_else(|| {
                    SqlError::new(code::NO_CURSOR, format!("portal \"{name}\" does not exist"))
                })?;
                (Arc::clone(&portal.prepared), portal.formats.clone())
            }
            _ => return Err(WireError::protocol("invalid DESCRIBE message subtype").into()),
        };
        match (&prepared.translated, &prepared.statement) {
            (Some(translated), _) => describe_rows(wire, &translated.columns, &formats)?,
            (None, Statement::Show(name)) => describe_rows(wire, &shown_columns(name), &formats)?,
            (None, Statement::Fetch { name, skip: false, .. }) => {
                let columns =
                    self.portals.get(name).and_then(|portal| portal.prepared.translated.as_ref());
                let columns =
                    columns.map_or_else(Vec::new, |translated| translated.columns.clone());
                describe_rows(wire, &columns, &formats)?;
            }
            _ => wire.put(b'n', |_| {})?,
        }
        Ok(())
    }

    fn execute(&mut self, wire: &mut Wire, message: &Message) -> Result<(), Stop> {
        let mut cut = Cut(&message.body);
        let name = cut.text()?.to_owned();
        let most = usize::try_from(cut.int()?).unwrap_or(0);
        self.begin_statement()?;
        let mut portal = self.portals.remove(&name).ok_or_else(|| {
            SqlError::new(code::NO_CURSOR, format!("portal \"{name}\" does not exist"))
        })?;
        let done = self.execute_portal(wire, &mut portal, most);
        // COMMIT and ROLLBACK end portals; this one is over either way.
        self.portals.insert(name, portal);
        self.end_statement();
        done
    }

    fn execute_portal(
        &mut self,
        wire: &mut Wire,
        portal: &mut Portal,
        most: usize,
    ) -> Result<(), Stop> {
        let prepared = Arc::clone(&portal.prepared);
        let Some(translated) = &prepared.translated else {
            return self.command(wire, &prepared.statement, false);
        };
        self.allowed(&prepared.statement)?;
        if portal.done {
            return Ok(tag(wire, "SELECT 0")?);
        }
        if most == 0 && portal.cursor.is_none() {
            portal.done = true;
            let rows = self.rows(wire, translated, &portal.values, &portal.formats)?;
            return Ok(tag(wire, &format!("SELECT {rows}"))?);
        }
        if portal.cursor.is_none() {
            self.start(portal)?;
        }
        let count = (most > 0).then_some(most);
        let rows = self.fetch(wire, portal, count, false, false)?;
        portal.done = portal.cursor.as_ref().is_none_or(|cursor| cursor.done);
        if portal.done {
            portal.cursor = None;
            Ok(tag(wire, &format!("SELECT {rows}"))?)
        } else {
            Ok(wire.put(b's', |_| {})?)
        }
    }

    fn close(&mut self, wire: &mut Wire, message: &Message) -> Result<(), Stop> {
        let mut cut = Cut(&message.body);
        let (kind, name) = (cut.byte()?, cut.text()?);
        match kind {
            b'S' => drop(self.prepared.remove(name)),
            b'P' => drop(self.portals.remove(name)),
            _ => return Err(WireError::protocol("invalid CLOSE message subtype").into()),
        }
        Ok(wire.put(b'3', |_| {})?)
    }
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

/// `100`, `100ms`, `5s`, `1min`.
fn parse_span(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let each = match unit.trim() {
        "" | "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(each)?))
}
