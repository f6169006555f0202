//! The extended protocol: statements prepared, bound to values, described and executed, each by a
//! message of its own.

use std::sync::Arc;

use rusqlite::types::Value;

use super::{PREPARED_MAX, Portal, Prepared, Session, Stop, describe_rows, shown_columns, tag};
use crate::{
    cursor::Formats,
    error::{SqlError, code},
    statement::{self, Statement},
    translate::translate,
    ty::Ty,
    wire::{Cut, Message, Wire, WireError},
};

impl Session {
    pub(super) fn parse(&mut self, wire: &mut Wire, message: &Message) -> Result<(), Stop> {
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

    pub(super) fn bind(&mut self, wire: &mut Wire, message: &Message) -> Result<(), Stop> {
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

    pub(super) fn describe(&mut self, wire: &mut Wire, message: &Message) -> Result<(), Stop> {
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

    pub(super) fn execute(&mut self, wire: &mut Wire, message: &Message) -> Result<(), Stop> {
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

    pub(super) fn close(&mut self, wire: &mut Wire, message: &Message) -> Result<(), Stop> {
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
