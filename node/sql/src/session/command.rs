//! Everything that is asked for but rows: transactions that hold nothing, settings, cursors.

use std::sync::Arc;

use super::{
    CURSORS_MAX, PORTALS_MAX, Portal, Prepared, Session, Stop, Transaction, describe_rows,
    settings::REPORTED, shown_columns, tag,
};
use crate::{
    cursor::{Cursor, Formats},
    error::{SqlError, code},
    statement::Statement,
    translate::translate,
    wire::Wire,
};

impl Session {
    /// Everything but a query. In the extended protocol rows were described before.
    pub(super) fn command(
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

    pub(super) fn add_portal(&mut self, name: String, portal: Portal) -> Result<(), SqlError> {
        if self.portals.len() >= PORTALS_MAX && !self.portals.contains_key(&name) {
            let why = format!("a session has at most {PORTALS_MAX} portals: close some");
            return Err(SqlError::new(code::LIMIT, why));
        }
        self.portals.insert(name, portal);
        Ok(())
    }

    pub(super) fn start(&self, portal: &mut Portal) -> Result<(), SqlError> {
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

    pub(super) fn fetch(
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
}
