//! A read-only connection to one tenant's shelf, with the functions that SQL may call, bounds on
//! what a statement may use, and a way to stop it.
//!
//! Clients' text never comes here: only what [`crate::translate`] made of it. Should that err,
//! SQLite itself refuses everything but reading: the file is opened read-only, and the
//! authorizer denies every other action.

use std::{
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rusqlite::{
    Connection, OpenFlags,
    hooks::{AuthAction, AuthContext, Authorization},
    limits::Limit,
};

use crate::{
    error::SqlError,
    functions,
    queue::{Queue, Ticket},
};

/// Memory for one connection's pages, and for what a sort keeps before it goes to disk.
const CACHE_KIB: i64 = 1024;
/// Memory of all statements of all connections together; beyond it they fail with 53200. Pages of
/// 64 connections may be 64 MiB of it.
const HEAP_BYTES: i64 = 128 * 1024 * 1024;
/// Longest text or blob: above the longest original.
const VALUE_BYTES_MAX: i32 = 64 * 1024 * 1024;
/// Steps of SQLite's machine between two looks at the clock: about 0.1 ms.
const STEPS: i32 = 4000;

/// What a tenant's queries need from outside of the shelf.
pub trait Outside: Send + Sync + 'static {
    /// The bytes of the file with this SHA-256 that came with `document` (its id in hexadecimal,
    /// or `contract`), checked, or none.
    fn original(&self, document: &str, sha256: &str) -> Option<Vec<u8>>;
    /// Attachment `position` (from 1) of body `body` (from 1) of an original.
    fn attachment(&self, original: &[u8], body: usize, position: usize) -> Option<Vec<u8>>;
    /// How fresh the shelf is.
    fn status(&self) -> Status;
}

/// How fresh a shelf is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The tenant's VAT number.
    pub vat: String,
    /// Microseconds since 1970: everything a portal held then is here.
    pub as_of: Option<i64>,
    /// Whether a portal is connected.
    pub connected: bool,
    /// Bundles of ours that no portal holds.
    pub pending: i64,
    /// Position of the truth's feed.
    pub feed: u64,
}

/// Stops statements: by a client's wish, or when their time is over.
#[derive(Debug)]
pub struct Watch {
    start: Instant,
    /// Microseconds after `start`; 0 for never.
    deadline: AtomicU64,
    cancelled: AtomicBool,
    queue: Arc<Queue>,
}

/// Of one that works alone.
impl Default for Watch {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

impl Watch {
    /// Of one whose sums are worked out in their turn.
    pub(crate) fn new(queue: Arc<Queue>) -> Self {
        Self {
            start: Instant::now(),
            deadline: AtomicU64::new(0),
            cancelled: AtomicBool::new(false),
            queue,
        }
    }

    /// A statement begins, and may take this long.
    pub fn begin(&self, longest: Option<Duration>) {
        let at = longest.map_or(0, |longest| micros(self.start.elapsed() + longest).max(1));
        self.deadline.store(at, Ordering::SeqCst);
        self.cancelled.store(false, Ordering::SeqCst);
    }

    /// Stops the statement at work, if there is one.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
    }

    /// Why the statement must stop.
    ///
    /// # Errors
    /// [`SqlError`] 57014.
    pub fn check(&self) -> Result<(), SqlError> {
        let deadline = self.deadline.load(Ordering::SeqCst);
        let why = if self.cancelled.load(Ordering::SeqCst) {
            "canceling statement due to user request"
        } else if deadline > 0 && micros(self.start.elapsed()) > deadline {
            "canceling statement due to statement timeout"
        } else {
            return Ok(());
        };
        Err(SqlError::new(crate::error::code::CANCELED, why))
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// A connection.
pub struct Reader {
    /// The connection itself.
    pub db: Connection,
    /// What stops it.
    pub watch: Arc<Watch>,
    /// Its place among those that work.
    pub(crate) ticket: Arc<Ticket>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl Reader {
    /// Opens the shelf at `path` for `user`.
    ///
    /// # Errors
    /// [`SqlError`] when the file is not there yet or cannot be read.
    pub fn open(
        path: &Path,
        user: &str,
        database: &str,
        outside: Arc<dyn Outside>,
        watch: Arc<Watch>,
    ) -> Result<Self, SqlError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut db = Connection::open_with_flags(path, flags)?;
        db.busy_timeout(Duration::from_secs(5))?;
        db.execute_batch(&format!(
            "PRAGMA query_only = ON; PRAGMA cache_size = -{CACHE_KIB}; PRAGMA temp_store = FILE;
             PRAGMA case_sensitive_like = ON; PRAGMA trusted_schema = OFF; PRAGMA threads = 0;
             PRAGMA hard_heap_limit = {HEAP_BYTES};"
        ))?;
        db.set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)?;
        db.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
        db.set_limit(Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000)?;
        functions::collations(&db)?;
        functions::register(&db, user, database, outside)?;
        let (stop, ticket) = (Arc::clone(&watch), Arc::new(Ticket::new(&watch.queue)));
        let turn = Arc::clone(&ticket);
        db.progress_handler(STEPS, Some(move || turn.look(|| stop.check()).is_err()))?;
        db.authorizer(Some(only_reading))?;
        Ok(Self { db, watch, ticket })
    }
}

fn only_reading(context: AuthContext<'_>) -> Authorization {
    match context.action {
        AuthAction::Select
        | AuthAction::Read { .. }
        | AuthAction::Recursive
        | AuthAction::Function { .. } => Authorization::Allow,
        _ => Authorization::Deny,
    }
}
