//! What a webhook keeps on disk: the cursor up to which all was taken, and a log of deliveries
//! that a person reads. The log is bounded, and nothing depends on it.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{feed::Cursor, private};

/// Length at which the log begins anew; the one before is kept beside it.
const LOG_BYTES_MAX: u64 = 1024 * 1024;

pub(super) struct Journal {
    cursor: PathBuf,
    log: PathBuf,
}

/// One attempt.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    pub(super) at: String,
    pub(super) id: String,
    pub(super) changes: usize,
    pub(super) next: String,
    pub(super) status: Option<u16>,
    pub(super) error: Option<String>,
    pub(super) took_ms: u64,
}

impl Journal {
    pub(super) fn open(dir: &Path, name: &str) -> io::Result<Self> {
        private::folder(dir)?;
        Ok(Self {
            cursor: dir.join(format!("webhook-{name}.cursor")),
            log: dir.join(format!("webhook-{name}.log")),
        })
    }

    /// The cursor, if one was ever kept. One that cannot be read is nowhere, so that the ERP is
    /// told to begin again.
    pub(super) fn cursor(&self) -> io::Result<Option<Cursor>> {
        match fs::read(&self.cursor) {
            Ok(text) => {
                let text = String::from_utf8_lossy(&text);
                Ok(Some(text.trim().parse().unwrap_or(Cursor::NOWHERE)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Durable once this returns.
    pub(super) fn keep(&self, cursor: Cursor) -> io::Result<()> {
        private::write(&self.cursor, cursor.to_string().as_bytes())
    }

    pub(super) fn log(&self, entry: &Entry) -> io::Result<()> {
        if fs::metadata(&self.log).is_ok_and(|log| log.len() > LOG_BYTES_MAX) {
            fs::rename(&self.log, self.log.with_extension("log.1"))?;
        }
        let mut options = fs::OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        options.open(&self.log)?.write_all(&line)
    }
}
