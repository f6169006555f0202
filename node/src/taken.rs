//! Files that were taken, kept beside the truth: what [`crate::rescue`] says again should the
//! truth be damaged before a portal had it. What the ERP put into `out/` is moved there under its
//! name; what came by the API is written there under its name behind the beginning of its hash,
//! so that one file has one name however often it comes.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use engine::id::BlobHash;

use crate::{intake::safe_name, private};

/// Digits of the hash in a name.
const DIGITS: usize = 16;

/// Keeps a file in `folder`. It survives loss of power once this returns.
///
/// # Errors
/// What the operating system says.
pub fn keep(folder: &Path, name: &str, file: &BlobHash, bytes: &[u8]) -> io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let path = folder.join(format!("{}{}", prefix(file), safe_name(name)));
    if !fs::read(&path).is_ok_and(|there| there == bytes) {
        // Two may bring the same file at once.
        let half = folder.join(format!(".{file}.{}.half", NEXT.fetch_add(1, Ordering::Relaxed)));
        let written = write(&half, bytes).and_then(|()| fs::rename(&half, &path));
        if written.is_err() {
            let _ = fs::remove_file(&half);
        }
        written?;
    }
    // Also of one that was there: whoever wrote it may not have lived to do this.
    private::sync_folder(Some(folder))
}

/// Removes what a crash left half written.
pub fn tidy(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && name.ends_with(".half") {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The name that a file in the folder came under.
#[must_use]
pub fn came_as<'n>(name: &'n str, file: &BlobHash) -> &'n str {
    name.strip_prefix(&prefix(file)).filter(|name| !name.is_empty()).unwrap_or(name)
}

fn prefix(file: &BlobHash) -> String {
    format!("{:.DIGITS$}_", file.to_string())
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_has_one_name_and_the_name_it_came_under_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = b"<xml/>";
        let file = BlobHash::of(bytes);
        for _ in 0..2 {
            keep(dir.path(), "../fattura.xml", &file, bytes).unwrap();
        }
        keep(dir.path(), "fattura.xml", &BlobHash::of(b"<b/>"), b"<b/>").unwrap();
        let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(names.len(), 2);
        names.retain(|entry| fs::read(entry.as_ref().unwrap().path()).unwrap() == bytes);
        let name = names[0].as_ref().unwrap().file_name().into_string().unwrap();
        assert_eq!(came_as(&name, &file), "fattura.xml");
        // Another file's name is its own, whatever it begins with.
        assert_eq!(came_as(&name, &BlobHash::of(b"<b/>")), name);
        assert_eq!(came_as("fattura.xml", &file), "fattura.xml");
    }

    #[test]
    fn a_half_written_one_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = BlobHash::of(b"<xml/>");
        let path = dir.path().join(format!("{}a.xml", prefix(&file)));
        fs::write(&path, b"<x").unwrap();
        fs::write(dir.path().join(".a.1.half"), b"<x").unwrap();
        keep(dir.path(), "a.xml", &file, b"<xml/>").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"<xml/>");
        tidy(dir.path());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
