//! Folders and files that only the service's user can read, each whole or not there.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

/// Makes a folder, and those above it, for this user only. One that is there stays as it is. It
/// survives loss of power once this returns.
///
/// # Errors
/// What the operating system says.
pub fn folder(path: &Path) -> io::Result<()> {
    #[cfg_attr(not(unix), allow(unused_mut))]
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    make(builder, path)
}

/// The same where who may read it is the share's affair.
///
/// # Errors
/// What the operating system says.
pub fn shared_folder(path: &Path) -> io::Result<()> {
    make(fs::DirBuilder::new(), path)
}

fn make(mut builder: fs::DirBuilder, path: &Path) -> io::Result<()> {
    let missing: Vec<_> = path.ancestors().take_while(|folder| !folder.exists()).collect();
    builder.recursive(true).create(path)?;
    for parent in missing.iter().filter_map(|folder| folder.parent()) {
        // One that may be written and not read cannot be synchronised by us.
        match sync_folder(Some(parent)) {
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Writes a file that only its owner can read. It survives loss of power once this returns.
///
/// # Errors
/// What the operating system says.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let half = path.with_file_name(format!(".{name}.half"));
    // One that a crash left may have another owner or mode: it is never written into.
    match fs::remove_file(&half) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&half)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&half, path)?;
    sync_folder(path.parent())
}

/// Writes a short text with a check of itself: another one is never taken for it.
///
/// # Errors
/// What the operating system says.
pub fn write_checked(path: &Path, text: &str) -> io::Result<()> {
    write(path, format!("{text} {}\n", check(text)).as_bytes())
}

/// What [`write_checked`] wrote; nothing where that is not what is there.
#[must_use]
pub fn read_checked(path: &Path) -> Option<String> {
    let text = String::from_utf8(fs::read(path).ok()?).ok()?;
    let (text, found) = text.strip_suffix('\n')?.rsplit_once(' ')?;
    (found == check(text)).then(|| text.to_owned())
}

fn check(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    hex::encode(&digest.as_ref()[..8])
}

/// A file is there after loss of power only if its folder's entry is. The folder of a bare name
/// (`""`) is the one at hand.
///
/// # Errors
/// What the operating system says.
pub fn sync_folder(path: Option<&Path>) -> io::Result<()> {
    #[cfg(unix)]
    if let Some(path) = path {
        let at_hand = path.as_os_str().is_empty();
        fs::File::open(if at_hand { Path::new(".") } else { path })?.sync_all()?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_checked_text_is_what_was_written_or_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("as_of");
        assert_eq!(read_checked(&path), None);
        write_checked(&path, "1764000000000").unwrap();
        assert_eq!(read_checked(&path).as_deref(), Some("1764000000000"));
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                fs::write(&path, bytes).unwrap();
                assert_eq!(read_checked(&path), None, "bit {bit} of byte {at}");
            }
            fs::write(&path, &whole[..at]).unwrap();
            assert_eq!(read_checked(&path), None, "{at} bytes of it");
        }
    }

    #[test]
    fn a_bare_name_has_a_folder_too() {
        sync_folder(Path::new("bundle.json").parent()).unwrap();
        sync_folder(Path::new("/").parent()).unwrap();
        sync_folder(Path::new("nowhere/bundle.json").parent()).unwrap_err();
    }

    #[test]
    fn only_the_owner_reads_whatever_a_crash_left() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        folder(&inner).unwrap();
        folder(&inner).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&inner), 0o700);
        let path = inner.join("control.json");
        let half = inner.join(".control.json.half");
        fs::write(&half, "left by a crash").unwrap();
        fs::set_permissions(&half, fs::Permissions::from_mode(0o666)).unwrap();
        write(&path, b"secret").unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"secret".to_vec(), 0o600));
        assert!(!half.exists());
    }
}
