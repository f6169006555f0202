//! The files of a folder that others drop into, and when each is tried: once it stands still,
//! and again after a pause.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

/// A file must have stood still for this long to be read.
pub const STILL: Duration = Duration::from_millis(500);
/// And for this long to be rejected: a program that writes may pause, over a slow share longer
/// than one thinks.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Pause after a file could not be read, moved or stored.
const RETRY: Duration = Duration::from_secs(5);
/// Files tried at a time, and their bytes together: they are in memory until they are durable.
const BATCH_MAX: usize = 64;
const BATCH_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// What a file looked like at the last beat.
type Look = (u64, Option<SystemTime>);

struct File {
    look: Look,
    since: Instant,
    due: Instant,
    why: Option<String>,
}

/// What is in the folder.
#[derive(Default)]
pub struct Waiting {
    files: BTreeMap<PathBuf, File>,
    /// Things that are not files and are left alone.
    others: Vec<String>,
}

impl Waiting {
    /// Looks at the folder.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn look(&mut self, folder: &Path, now: Instant) -> io::Result<()> {
        let mut found = BTreeMap::new();
        self.others.clear();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let lower = name.to_lowercase();
            if lower.starts_with('.') || [".tmp", ".part", "~"].iter().any(|e| lower.ends_with(e)) {
                continue;
            }
            // A file that is gone meanwhile is nobody's trouble.
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_file() {
                found.insert(entry.path(), (meta.len(), meta.modified().ok()));
            } else {
                let what = if meta.is_dir() { "a folder" } else { "a link or a device" };
                self.others.push(format!("{name} is {what} and not a file: it stays where it is"));
            }
        }
        self.files.retain(|path, _| found.contains_key(path));
        for (path, look) in found {
            if self.files.get(&path).is_none_or(|file| file.look != look) {
                let file = File { look, since: now, due: now + STILL, why: None };
                self.files.insert(path, file);
            }
        }
        Ok(())
    }

    /// The files whose time has come, the longest due first, and whether each has stood still
    /// long enough to be rejected.
    #[must_use]
    pub fn ready(&self, now: Instant) -> Vec<(PathBuf, bool)> {
        let mut due: Vec<_> = self.files.iter().filter(|(_, file)| file.due <= now).collect();
        due.sort_by_key(|(_, file)| file.due);
        let mut bytes = 0_u64;
        due.into_iter()
            .take(BATCH_MAX)
            .take_while(|(_, file)| {
                let first = bytes == 0;
                bytes = bytes.saturating_add(file.look.0.max(1));
                first || bytes <= BATCH_BYTES_MAX
            })
            .map(|(path, file)| (path.clone(), now.duration_since(file.since) >= PATIENCE))
            .collect()
    }

    /// It is not readable yet: once more when it may be rejected.
    pub fn wait(&mut self, path: &Path) {
        if let Some(file) = self.files.get_mut(path) {
            file.due = file.since + PATIENCE;
        }
    }

    /// It could not be taken for now. Returns whether that is news.
    pub fn retry(&mut self, path: &Path, why: String, now: Instant) -> bool {
        let Some(file) = self.files.get_mut(path) else { return false };
        file.due = now + RETRY;
        file.why.replace(why.clone()) != Some(why)
    }

    /// What keeps files in the folder.
    #[must_use]
    pub fn troubles(&self) -> Vec<String> {
        self.files.values().filter_map(|file| file.why.clone()).chain(self.others.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_tried_when_it_stands_still_and_a_failing_one_starves_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.xml");
        let start = Instant::now();
        let mut waiting = Waiting::default();
        fs::write(&path, "half").unwrap();
        waiting.look(dir.path(), start).unwrap();
        assert_eq!(waiting.ready(start), []);
        fs::write(&path, "half and more").unwrap();
        let later = start + STILL;
        waiting.look(dir.path(), later).unwrap();
        assert_eq!(waiting.ready(later), [], "it was written to meanwhile");
        let still = later + STILL;
        waiting.look(dir.path(), still).unwrap();
        assert_eq!(waiting.ready(still), [(path.clone(), false)]);
        waiting.wait(&path);
        assert_eq!(waiting.ready(still), []);
        assert_eq!(waiting.ready(later + PATIENCE), [(path.clone(), true)]);

        let now = later + PATIENCE;
        for n in 0..100 {
            fs::write(dir.path().join(format!("b{n}.xml")), "x").unwrap();
        }
        waiting.look(dir.path(), now).unwrap();
        let first = waiting.ready(now + STILL);
        assert_eq!(first.len(), BATCH_MAX);
        for (path, _) in &first {
            assert!(waiting.retry(path, "no".into(), now + STILL));
            assert!(!waiting.retry(path, "no".into(), now + STILL), "said once");
        }
        let rest = waiting.ready(now + STILL);
        assert_eq!(rest.len(), 101 - BATCH_MAX, "those that failed wait for their turn");
        assert_eq!(waiting.troubles().len(), BATCH_MAX);
    }

    #[test]
    fn large_files_are_tried_one_by_one_and_folders_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let now = Instant::now();
        for name in ["a.xml", "b.xml"] {
            fs::File::create(dir.path().join(name)).unwrap().set_len(100 << 20).unwrap();
        }
        fs::create_dir(dir.path().join("inner")).unwrap();
        fs::write(dir.path().join(".hidden"), "x").unwrap();
        fs::write(dir.path().join("c.xml.part"), "x").unwrap();
        let mut waiting = Waiting::default();
        waiting.look(dir.path(), now).unwrap();
        assert_eq!(waiting.ready(now + STILL).len(), 1);
        assert_eq!(waiting.troubles(), ["inner is a folder and not a file: it stays where it is"]);
        assert!(waiting.look(&dir.path().join("none"), now).is_err());
    }
}
