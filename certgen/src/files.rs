//! Writing a set of files so that no reader, crash or second run meets half of one.
//!
//! Each file is written beside its place under another name, made durable, and moved
//! into place in one step; without [`Existing::Replace`] a file that is already there is
//! never touched, even if it appears meanwhile. Secrets are born readable by their owner
//! only (0600): at no moment do their bytes stand in a file others can open.
//!
//! The set as a whole is not one step. Files are moved in the order they were added; if
//! one cannot be, those moved before it are taken back. A crash in between leaves some
//! whole files and not the others; a machine killed while writing may leave a
//! `.staffetta-*` file (0600) that can be deleted.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// What to do where a file is already there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// Refuse, and leave everything as it was.
    #[default]
    Refuse,
    /// Put the new one in its place.
    Replace,
}

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readers {
    Owner,
    All,
}

/// A set of files for one folder, written together by [`Batch::commit`].
#[derive(Debug)]
pub struct Batch {
    folder: PathBuf,
    planned: Vec<Planned>,
    removed: Vec<PathBuf>,
}

#[derive(Debug)]
struct Planned {
    path: PathBuf,
    temp: NamedTempFile,
    existing: Existing,
}

impl Batch {
    /// A set for `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// [`FileError::Io`] when it cannot be made.
    pub fn into_folder(folder: &Path) -> Result<Self, FileError> {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        fs::create_dir_all(folder).map_err(|e| FileError::io("make the folder", folder, e))?;
        Ok(Self { folder: folder.to_owned(), planned: Vec::new(), removed: Vec::new() })
    }

    /// Adds a file that all may read.
    ///
    /// # Errors
    /// [`FileError`] when it is there and must not be replaced, or cannot be written.
    pub fn public(
        &mut self,
        name: &str,
        bytes: &[u8],
        existing: Existing,
    ) -> Result<(), FileError> {
        self.stage(name, bytes, existing, Readers::All)
    }

    /// Adds a file that only its owner may read.
    ///
    /// # Errors
    /// As for [`Self::public`].
    pub fn secret(
        &mut self,
        name: &str,
        bytes: &[u8],
        existing: Existing,
    ) -> Result<(), FileError> {
        self.stage(name, bytes, existing, Readers::Owner)
    }

    /// Plans to remove a file, if it is there, once all others are in place.
    pub fn remove(&mut self, name: &str) {
        self.removed.push(self.folder.join(name));
    }

    /// Moves every file into place. Returns their paths in the order they were added.
    ///
    /// # Errors
    /// [`FileError`] when one cannot be moved; those moved before it are removed again,
    /// unless they replaced another.
    pub fn commit(self) -> Result<Vec<PathBuf>, FileError> {
        let mut placed: Vec<(PathBuf, Existing)> = Vec::new();
        for Planned { path, temp, existing } in self.planned {
            let moved = match existing {
                Existing::Replace => temp.persist(&path),
                Existing::Refuse => temp.persist_noclobber(&path),
            };
            if let Err(error) = moved {
                for (path, existing) in &placed {
                    if *existing == Existing::Refuse {
                        // Best effort: the error that matters is the first one.
                        let _ = fs::remove_file(path);
                    }
                }
                return Err(FileError::exists_or_io("write", &path, error.error));
            }
            placed.push((path, existing));
        }
        for path in &self.removed {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(FileError::io("remove", path, error));
                }
                _ => {}
            }
        }
        sync_folder(&self.folder)?;
        Ok(placed.into_iter().map(|(path, _)| path).collect())
    }

    fn stage(
        &mut self,
        name: &str,
        bytes: &[u8],
        existing: Existing,
        readers: Readers,
    ) -> Result<(), FileError> {
        let path = self.folder.join(name);
        if existing == Existing::Refuse && path.symlink_metadata().is_ok() {
            return Err(FileError::Exists(path));
        }
        let failed = |error| FileError::io("write", &path, error);
        let mut temp = tempfile::Builder::new()
            .prefix(".staffetta-")
            .tempfile_in(&self.folder)
            .map_err(failed)?;
        temp.write_all(bytes).map_err(failed)?;
        set_readers(temp.as_file(), readers).map_err(failed)?;
        temp.as_file().sync_all().map_err(failed)?;
        self.planned.push(Planned { path, temp, existing });
        Ok(())
    }
}

/// Refuses when any of `names` is already in `folder`: asked before the work that the
/// files are the result of.
///
/// # Errors
/// [`FileError::Exists`] names the first one found.
pub fn refuse_existing(folder: &Path, names: &[String]) -> Result<(), FileError> {
    match names.iter().map(|name| folder.join(name)).find(|path| path.symlink_metadata().is_ok()) {
        Some(path) => Err(FileError::Exists(path)),
        None => Ok(()),
    }
}

/// Reads a whole file of at most `bytes_max`.
///
/// # Errors
/// [`FileError`] when it is not there, is larger, or cannot be read.
pub fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>, FileError> {
    use io::Read as _;
    let failed = |error| FileError::io("read", path, error);
    let file = File::open(path).map_err(failed)?;
    // One byte more than allowed tells "too large" from "just fits". The capacity is set
    // at once so that a key is not copied about as the vector grows.
    let mut bytes = Vec::with_capacity(bytes_max.min(64 * 1024) + 1);
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > bytes_max {
        return Err(FileError::TooLarge(path.to_owned(), bytes_max));
    }
    Ok(bytes)
}

/// Makes the names in a folder durable. Other systems than Unix do so by themselves.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), FileError> {
    if cfg!(unix) {
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| FileError::io("make durable", folder, error))?;
    }
    Ok(())
}

#[cfg(unix)]
fn set_readers(file: &File, readers: Readers) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = match readers {
        Readers::Owner => 0o600,
        Readers::All => 0o644,
    };
    file.set_permissions(fs::Permissions::from_mode(mode))
}

/// On Windows a file inherits the rights of its folder, which the installer sets.
#[cfg(not(unix))]
fn set_readers(_: &File, _: Readers) -> io::Result<()> {
    Ok(())
}

/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is there already.
    #[error("{} exists already, choose another folder or give --force to replace it", .0.display())]
    Exists(PathBuf),
    /// It is larger than such a file can be.
    #[error("{file} is larger than {1} bytes, it cannot be the right file", file = .0.display())]
    TooLarge(PathBuf, usize),
    /// The system refused.
    #[error("could not {doing} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl FileError {
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), source }
    }

    fn exists_or_io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::AlreadyExists {
            Self::Exists(path.to_owned())
        } else {
            Self::io(doing, path, source)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_in(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn nothing_shows_until_the_commit() {
        let folder = tempfile::tempdir().unwrap();
        let mut batch = Batch::into_folder(folder.path()).unwrap();
        batch.secret("a.key", b"key", Existing::Refuse).unwrap();
        batch.public("a.cert", b"cert", Existing::Refuse).unwrap();
        assert!(names_in(folder.path()).iter().all(|name| name.starts_with(".staffetta-")));
        drop(batch);
        assert!(names_in(folder.path()).is_empty(), "an abandoned batch leaves nothing");
    }

    #[test]
    fn a_file_that_appears_meanwhile_is_kept_and_the_others_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut batch = Batch::into_folder(folder.path()).unwrap();
        batch.secret("a.key", b"key", Existing::Refuse).unwrap();
        batch.public("a.cert", b"cert", Existing::Refuse).unwrap();
        fs::write(folder.path().join("a.cert"), b"theirs").unwrap();
        assert!(matches!(batch.commit(), Err(FileError::Exists(_))));
        assert_eq!(names_in(folder.path()), ["a.cert"]);
        assert_eq!(fs::read(folder.path().join("a.cert")).unwrap(), b"theirs");
    }

    #[test]
    fn a_dangling_link_counts_as_existing() {
        #[cfg(unix)]
        {
            let folder = tempfile::tempdir().unwrap();
            std::os::unix::fs::symlink("/nowhere/at/all", folder.path().join("a.key")).unwrap();
            let mut batch = Batch::into_folder(folder.path()).unwrap();
            let refused = batch.secret("a.key", b"key", Existing::Refuse);
            assert!(matches!(refused, Err(FileError::Exists(_))));
        }
    }

    #[test]
    fn reading_stops_at_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, b"12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert!(matches!(read(&path, 4), Err(FileError::TooLarge(_, 4))));
    }
}
