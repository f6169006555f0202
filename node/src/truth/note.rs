//! What a file beside the truth says of it, to whoever opens it next: the process that knew may be
//! gone by then.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

use crate::private;

/// In the store's folder for as long as it is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// What is read of the file may not be on the disk. A loss of power takes what is on no disk, and
    /// this note may go with it.
    Unproven,
    /// It went back by a transaction, and what that held was not looked for yet.
    WentBack,
    /// It said what makes no sense while it was at work: it is to be read from end to end.
    Doubted,
}

impl Note {
    /// Whether the store in `dir` has it.
    #[must_use]
    pub fn is_on(self, dir: &Path) -> bool {
        dir.join(self.name()).exists()
    }

    /// Notes it, and why. Where that fails the log says so: whoever opens the store next may not
    /// learn of it.
    pub(super) fn put_on(self, dir: &Path, why: &str) {
        if let Err(error) = self.put(dir, why) {
            tracing::error!(%error, store = %dir.display(), note = self.name(), "what is so of the store cannot be noted");
        }
    }

    /// Written in place: of one that a failing disk took half of, the name is there, and it is enough.
    fn put(self, dir: &Path, why: &str) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(dir.join(self.name()))?;
        file.write_all(why.as_bytes())?;
        if self == Self::Unproven {
            // Of a disk that has just failed at this very thing.
            return Ok(());
        }
        file.sync_all()?;
        private::sync_folder(Some(dir))
    }

    /// It is so no more.
    ///
    /// # Errors
    /// When the note is there and cannot be removed.
    pub fn take_off(self, dir: &Path) -> io::Result<()> {
        match fs::remove_file(dir.join(self.name())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Unproven => "unproven",
            Self::WentBack => "went-back",
            Self::Doubted => "doubted",
        }
    }
}
