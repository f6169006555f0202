//! One tenant's rows in a SQLite file, for SQL to read: made from the mirror's records and the
//! original files by whoever fills it, and disposable like the mirror.
//!
//! A file holds one tenant, so that no query can meet another's rows. Each batch carries the
//! position in the mirror's feed that it reflects, and gives what stands there a name that nothing
//! had before. A file of another version, or one SQLite
//! finds damaged, is removed and filled anew; nothing is ever acknowledged because of what
//! stands here. Written by one, read by any number ([`crate::reader`]), who never wait for it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags, params_from_iter, types::Value};

use crate::{
    catalog, functions,
    table::{STATISTICS, TABLES, Table},
};

/// Of the schema, the catalogue, and how rows are made. Another version is filled anew.
const VERSION: i64 = 4;
/// The table of invoices.
const INVOICES: &str = "invoices";
/// Memory for the writer's pages.
const CACHE_KIB: i64 = 4096;

/// The writing end.
#[derive(Debug)]
pub struct Shelf {
    path: PathBuf,
    db: Connection,
}

/// Everything of one document, replacing what was there.
#[derive(Clone, Debug)]
pub enum Entry {
    /// An invoice's file: rows by table. Each row has the stored columns in order; the columns of
    /// `invoices` that come from outcomes and annotations are filled in here.
    Invoice(Vec<(&'static str, Vec<Value>)>),
    /// What the SdI said: state, SdI id, alarm, and the rows of `outcomes`.
    Outcome {
        /// `delivered`.
        state: &'static str,
        /// The transmission.
        sdi_id: Option<String>,
        /// Contradictions.
        alarm: bool,
        /// Rows of `outcomes`.
        rows: Vec<Vec<Value>>,
    },
    /// The ERP's marks.
    Annotation {
        /// Microseconds since 1970.
        registered_at: Option<i64>,
        /// Microseconds since 1970.
        paid_at: Option<i64>,
        /// Notes.
        notes: Option<String>,
    },
    /// The tenant.
    Profile(Vec<Value>),
    /// The contract.
    Contract(Vec<Value>),
    /// The document has no record any more, or none that can be read.
    Gone,
}

/// Why the shelf cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("the tables for SQL in {path} cannot be written: {why}")]
pub struct ShelfError {
    /// The file.
    pub path: String,
    /// What SQLite or the system says.
    pub why: String,
}

impl Shelf {
    /// Opens the file, or makes it. One that is damaged or of another version is removed first.
    ///
    /// # Errors
    /// [`ShelfError`] when not even an empty one can be made.
    pub fn open(path: &Path) -> Result<Self, ShelfError> {
        let named = |why: String| ShelfError { path: path.display().to_string(), why };
        if let Ok(shelf) = Self::connect(path) {
            let version = shelf.db.pragma_query_value(None, "user_version", |row| row.get(0));
            if version.is_ok_and(|found: i64| found == VERSION) {
                return Ok(shelf);
            }
        }
        remove(path).map_err(|error| named(error.to_string()))?;
        let shelf = Self::connect(path).map_err(|error| named(error.to_string()))?;
        shelf.create().map_err(|error| named(error.to_string()))?;
        Ok(shelf)
    }

    /// Empties every table, in place, and starts again from position 0.
    ///
    /// # Errors
    /// [`ShelfError`]; nothing was changed.
    pub fn empty(&mut self) -> Result<(), ShelfError> {
        let mut sql = String::from("BEGIN;\n");
        for table in TABLES.iter().filter(|table| !table.live) {
            sql += &format!("DELETE FROM \"{}\";\n", table.name);
        }
        sql += "DELETE FROM _standing; DELETE FROM _mark; DELETE FROM _document;
            UPDATE _head SET position = 0, digest = 0, documents = 0, state = random(); COMMIT;";
        self.db.execute_batch(&sql).map_err(|error| self.named(&error))
    }

    /// The position in the mirror's feed up to which everything is here, and the digest of what
    /// the truth held up to there, as the writer gave them.
    ///
    /// # Errors
    /// [`ShelfError`]
    pub fn place(&self) -> Result<(u64, u64), ShelfError> {
        let found = self.db.query_row("SELECT position, digest FROM _head", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        });
        let (position, digest): (i64, i64) = found.map_err(|error| self.named(&error))?;
        Ok((u64::try_from(position).unwrap_or(0), digest.cast_unsigned()))
    }

    /// Makes `entries` (a document's id in hexadecimal and what it says) and the place they lead
    /// to visible together. They are taken one by one. Many are written quickest in the order of their ids:
    /// rows lie in that order, and each page is then written once.
    ///
    /// # Errors
    /// [`ShelfError`], or that of an entry; nothing was changed.
    pub fn apply<E: From<ShelfError>>(
        &mut self,
        (position, digest): (u64, u64),
        entries: impl IntoIterator<Item = Result<(String, Entry), E>>,
    ) -> Result<(), E> {
        let path = &self.path;
        let named = |error: rusqlite::Error| E::from(named(path, &error));
        let all = self.db.transaction().map_err(named)?;
        let mut invoices = Vec::new();
        for entry in entries {
            let (document, entry) = entry?;
            put(&all, &document, entry, &mut invoices).map_err(named)?;
        }
        invoices.sort_by_key(|(_, values)| dated(values));
        for (document, values) in &invoices {
            insert(&all, INVOICES, values).map_err(named)?;
            stand(&all, document).map_err(named)?;
        }
        let position = i64::try_from(position).unwrap_or(i64::MAX);
        all.execute(
            "UPDATE _head SET position = ?1, digest = ?2, state = random()",
            [position, digest.cast_signed()],
        )
        .map_err(named)?;
        all.commit().map_err(named)
    }

    fn connect(path: &Path) -> rusqlite::Result<Self> {
        private(path);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags)?;
        functions::collations(&db)?;
        // Derived: after a crash a few batches are written again, and no more than that.
        db.execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA temp_store = MEMORY;
             PRAGMA cache_size = -{CACHE_KIB}; PRAGMA journal_size_limit = 16777216;"
        ))?;
        Ok(Self { path: path.to_owned(), db })
    }

    fn create(&self) -> rusqlite::Result<()> {
        let mut sql = String::from("BEGIN;\n");
        for table in TABLES.iter().filter(|table| !table.live) {
            let columns: Vec<_> = table
                .stored()
                .map(|column| {
                    let null = if column.nullable { "" } else { " NOT NULL" };
                    format!("\"{}\" {}{null}", column.name, column.ty.declared())
                })
                .collect();
            let (name, key) = (table.name, table.key.join(", "));
            // Rows of one invoice lie together, in the order of the key.
            let kind = if table.key.len() > 1 { " WITHOUT ROWID" } else { "" };
            sql += &format!(
                "CREATE TABLE \"{name}\" ({}, PRIMARY KEY ({key})){kind};\n",
                columns.join(", ")
            );
            for index in table.indexes {
                sql += index;
                sql += ";\n";
            }
        }
        sql += "CREATE TABLE _standing (document TEXT PRIMARY KEY, state TEXT, sdi_id TEXT, alarm INTEGER) WITHOUT ROWID;
            CREATE TABLE _mark (document TEXT PRIMARY KEY, registered_at INTEGER, paid_at INTEGER, notes TEXT) WITHOUT ROWID;
            CREATE TABLE _head (position INTEGER NOT NULL, digest INTEGER NOT NULL, documents INTEGER NOT NULL, state INTEGER NOT NULL);
            INSERT INTO _head VALUES (0, 0, 0, random());
            CREATE TABLE _document (document TEXT PRIMARY KEY) WITHOUT ROWID;\n";
        sql += &catalog::schema();
        sql += "ANALYZE sqlite_schema;\n";
        for (table, index, rows) in STATISTICS {
            sql += &format!("INSERT INTO sqlite_stat1 VALUES ('{table}', '{index}', '{rows}');\n");
        }
        sql += &format!("PRAGMA user_version = {VERSION}; COMMIT;");
        self.db.execute_batch(&sql)?;
        catalog::fill(&self.db)
    }

    fn named(&self, error: &rusqlite::Error) -> ShelfError {
        named(&self.path, error)
    }
}

fn named(path: &Path, error: &rusqlite::Error) -> ShelfError {
    ShelfError { path: path.display().to_string(), why: error.to_string() }
}

/// Puts a document's rows in the place of those it had, but those of `invoices` among `invoices`.
fn put(
    db: &Connection,
    document: &str,
    entry: Entry,
    invoices: &mut Vec<(String, Vec<Value>)>,
) -> rusqlite::Result<()> {
    let new =
        db.prepare_cached("INSERT OR IGNORE INTO _document VALUES (?1)")?.execute([document])?;
    if new > 0 {
        db.prepare_cached("UPDATE _head SET documents = documents + 1")?.execute([])?;
    }
    match entry {
        Entry::Invoice(rows) => {
            remove_invoice(db, document)?;
            for (table, values) in rows {
                if table == INVOICES {
                    invoices.push((document.to_owned(), values));
                } else {
                    insert(db, table, &values)?;
                }
            }
        }
        Entry::Outcome { state, sdi_id, alarm, rows } => {
            remove_outcomes(db, document)?;
            for values in rows {
                insert(db, "outcomes", &values)?;
            }
            db.prepare_cached("INSERT OR REPLACE INTO _standing VALUES (?1, ?2, ?3, ?4)")?
                .execute((document, state, sdi_id, alarm))?;
            stand(db, document)?;
        }
        Entry::Annotation { registered_at, paid_at, notes } => {
            db.prepare_cached("INSERT OR REPLACE INTO _mark VALUES (?1, ?2, ?3, ?4)")?
                .execute((document, registered_at, paid_at, notes))?;
            stand(db, document)?;
        }
        Entry::Profile(values) => {
            db.execute("DELETE FROM profile", [])?;
            insert(db, "profile", &values)?;
        }
        Entry::Contract(values) => {
            db.execute("DELETE FROM contracts", [])?;
            insert(db, "contracts", &values)?;
        }
        Entry::Gone => {
            remove_invoice(db, document)?;
            remove_outcomes(db, document)?;
        }
    }
    Ok(())
}

/// What a row of `invoices` has for its date, for sorting.
fn dated(values: &[Value]) -> Option<i64> {
    let mut columns = Table::named(INVOICES)?.stored();
    let place = columns.position(|column| column.name == "date")?;
    match values.get(place)? {
        Value::Integer(date) => Some(*date),
        _ => None,
    }
}

fn remove_outcomes(db: &Connection, document: &str) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM outcomes WHERE invoice_id = ?1")?.execute([document])?;
    Ok(())
}

/// Gives the invoices of a document what its outcome and annotation say.
fn stand(db: &Connection, document: &str) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE invoices SET (state, sdi_id, alarm) = (SELECT state, ifnull(s.sdi_id, invoices.sdi_id), s.alarm
           FROM _standing s WHERE s.document = ?1) WHERE document = ?1
           AND EXISTS (SELECT 1 FROM _standing WHERE document = ?1)",
    )?
    .execute([document])?;
    db.prepare_cached(
        "UPDATE invoices SET (registered_at, paid_at, notes) = (SELECT registered_at, paid_at, notes
           FROM _mark WHERE document = ?1) WHERE document = ?1
           AND EXISTS (SELECT 1 FROM _mark WHERE document = ?1)",
    )?
    .execute([document])?;
    Ok(())
}

fn remove_invoice(db: &Connection, document: &str) -> rusqlite::Result<()> {
    let held: i64 = db
        .prepare_cached("SELECT count(*) FROM invoices WHERE document = ?1")?
        .query_row([document], |row| row.get(0))?;
    if held == 0 {
        return Ok(());
    }
    for table in ["invoice_lines", "vat_summary", "payments", "attachments"] {
        db.prepare_cached(&format!(
            "DELETE FROM {table} WHERE invoice_id IN (SELECT id FROM invoices WHERE document = ?1)"
        ))?
        .execute([document])?;
    }
    db.prepare_cached("DELETE FROM originals WHERE document = ?1")?.execute([document])?;
    db.prepare_cached("DELETE FROM invoices WHERE document = ?1")?.execute([document])?;
    Ok(())
}

fn insert(db: &Connection, table: &str, values: &[Value]) -> rusqlite::Result<()> {
    let places = vec!["?"; values.len()].join(",");
    db.prepare_cached(&format!("INSERT OR REPLACE INTO \"{table}\" VALUES ({places})"))?
        .execute(params_from_iter(values))?;
    Ok(())
}

/// SQLite makes its files as the process makes files: this one is for the service's user only.
fn private(path: &Path) {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    // What cannot be made here, SQLite cannot open either, and says so.
    drop(options.open(path));
}

fn remove(path: &Path) -> io::Result<()> {
    for end in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        match fs::remove_file(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
