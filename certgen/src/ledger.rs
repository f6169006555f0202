//! The ledger of an authority: every certificate issued, renewed and revoked.
//!
//! `ledger.jsonl` holds one event a line and only ever grows. An event counts once its
//! line, with its line end, is durable; a line cut short by a crash never counted and is
//! cut off before the next one is written. `revoked.txt` beside it is an extract, one pin
//! in hexadecimal a line, replaced in one step: what portals read. The ledger never holds
//! a private key, and no decision is made on a stale copy: each runs under a file lock,
//! after reading what other processes appended.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use engine::id::PeerId;

use crate::files::{Batch, Existing, FileError, sync_folder};
use crate::moment::{Moment, Validity};
use crate::subject::Subject;

/// File of the events.
pub const LEDGER_FILE: &str = "ledger.jsonl";
/// File of the revoked pins.
pub const REVOKED_FILE: &str = "revoked.txt";

/// Raised when a line changes its meaning; an older certgen then stops instead of guessing.
const LINE_VERSION: u32 = 1;

/// A certificate as the ledger remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRecord {
    /// Its pin.
    #[serde(with = "pin_hex")]
    pub pin: PeerId,
    /// Whose it is.
    #[serde(flatten)]
    pub subject: Subject,
    /// Its serial number in hexadecimal.
    pub serial: String,
    /// From when until when.
    #[serde(flatten)]
    pub validity: Validity,
}

/// What can happen to a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// It was signed.
    Issued(CertificateRecord),
    /// It was signed to follow another, which stays valid until `overlap_ends`.
    Renewed {
        /// The pin before.
        #[serde(with = "pin_hex")]
        old_pin: PeerId,
        /// When the old certificate expires.
        overlap_ends: Moment,
        /// The new certificate.
        #[serde(flatten)]
        new: CertificateRecord,
    },
    /// Its pin must no longer be admitted.
    Revoked {
        /// The pin.
        #[serde(with = "pin_hex")]
        pin: PeerId,
        /// Why, in a person's words.
        reason: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Line {
    v: u32,
    at: Moment,
    #[serde(flatten)]
    event: Event,
}

/// How a certificate stands at some moment. Revoked wins over all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// In use.
    Valid,
    /// In use, and followed by a newer one.
    Overlap,
    /// Past its validity.
    Expired,
    /// Its pin was revoked.
    Revoked,
}

/// A certificate with all that happened to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The certificate.
    pub certificate: CertificateRecord,
    /// When it was signed.
    pub issued: Moment,
    /// The pin it followed.
    pub renews: Option<PeerId>,
    /// The pin that follows it.
    pub renewed_by: Option<PeerId>,
}

/// When and why a pin was revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// When.
    pub at: Moment,
    /// Why, in a person's words.
    pub reason: String,
}

/// The events so far, summed up.
#[derive(Debug, Default)]
pub struct Book {
    entries: Vec<Entry>,
    by_pin: BTreeMap<PeerId, Vec<usize>>,
    revoked: BTreeMap<PeerId, Revocation>,
}

impl Book {
    /// All certificates, oldest first.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The certificates of `pin`, oldest first: several when one was renewed with its key.
    pub fn of_pin(&self, pin: &PeerId) -> impl DoubleEndedIterator<Item = &Entry> {
        self.by_pin.get(pin).into_iter().flatten().map(|index| &self.entries[*index])
    }

    /// The revocation of `pin`, if it is revoked.
    #[must_use]
    pub fn revocation(&self, pin: &PeerId) -> Option<&Revocation> {
        self.revoked.get(pin)
    }

    /// All revoked pins.
    pub fn revoked_pins(&self) -> impl Iterator<Item = &PeerId> {
        self.revoked.keys()
    }

    /// How `entry` stands at `now`.
    #[must_use]
    pub fn standing(&self, entry: &Entry, now: Moment) -> Standing {
        if self.revoked.contains_key(&entry.certificate.pin) {
            Standing::Revoked
        } else if now > entry.certificate.validity.not_after {
            Standing::Expired
        } else if entry.renewed_by.is_some() {
            Standing::Overlap
        } else {
            Standing::Valid
        }
    }

    /// The pins of `subject` that are neither revoked nor expired at `now`.
    #[must_use]
    pub fn live_pins(&self, subject: &Subject, now: Moment) -> BTreeSet<PeerId> {
        let is_live = |entry: &&Entry| {
            entry.certificate.subject.is_same_holder(subject)
                && matches!(self.standing(entry, now), Standing::Valid | Standing::Overlap)
        };
        self.entries.iter().filter(is_live).map(|entry| entry.certificate.pin).collect()
    }

    fn apply(&mut self, at: Moment, event: Event) {
        let (certificate, renews) = match event {
            Event::Issued(certificate) => (certificate, None),
            Event::Renewed { old_pin, new, .. } => (new, Some(old_pin)),
            Event::Revoked { pin, reason } => {
                // The first revocation stands: a later one never moves it.
                self.revoked.entry(pin).or_insert(Revocation { at, reason });
                return;
            }
        };
        for index in renews.iter().filter_map(|old| self.by_pin.get(old)).flatten() {
            self.entries[*index].renewed_by = Some(certificate.pin);
        }
        self.by_pin.entry(certificate.pin).or_default().push(self.entries.len());
        self.entries.push(Entry { certificate, issued: at, renews, renewed_by: None });
    }
}

/// The ledger file of one authority.
#[derive(Debug)]
pub struct Ledger {
    folder: PathBuf,
    file: File,
    bytes_read: u64,
    lines_read: u64,
    book: Book,
}

impl Ledger {
    /// Opens the ledger in `folder` for writing; it is made if it is not there.
    ///
    /// # Errors
    /// [`LedgerError`] when it cannot be opened or a line is damaged.
    pub fn open_or_create(folder: &Path) -> Result<Self, LedgerError> {
        let path = folder.join(LEDGER_FILE);
        let options = OpenOptions::new().read(true).append(true).create(true).open(&path);
        let file = options.map_err(|error| FileError::io("open", &path, error))?;
        sync_folder(folder)?;
        let mut ledger = Self::over(folder, file);
        // A crash between a revocation and its extract is mended here.
        ledger.transact(|_| Ok::<_, LedgerError>(None))?;
        Ok(ledger)
    }

    /// Opens the ledger in `folder` to read it only.
    ///
    /// # Errors
    /// [`LedgerError`] when it is not there or a line is damaged.
    pub fn open_to_read(folder: &Path) -> Result<Self, LedgerError> {
        let path = folder.join(LEDGER_FILE);
        let file = File::open(&path).map_err(|error| FileError::io("open", &path, error))?;
        let mut ledger = Self::over(folder, file);
        ledger.file.lock_shared().map_err(|error| ledger.failed("lock", error))?;
        let caught_up = ledger.catch_up();
        ledger.file.unlock().map_err(|error| ledger.failed("unlock", error))?;
        caught_up?;
        Ok(ledger)
    }

    /// Lets `decide` look at all events so far and, under the same lock, appends the one
    /// it returns. The event is durable when this returns.
    ///
    /// # Errors
    /// What `decide` returns, or a [`LedgerError`]; nothing was appended then.
    pub fn transact<E: From<LedgerError>>(
        &mut self,
        decide: impl FnOnce(&Book) -> Result<Option<(Moment, Event)>, E>,
    ) -> Result<(), E> {
        self.file.lock().map_err(|error| self.failed("lock", error))?;
        let done = self.transact_locked(decide);
        // Closing the file would unlock too; an error here changes nothing that was done.
        let _ = self.file.unlock();
        done
    }

    /// The events so far.
    #[must_use]
    pub fn book(&self) -> &Book {
        &self.book
    }

    fn over(folder: &Path, file: File) -> Self {
        let folder = folder.to_owned();
        Self { folder, file, bytes_read: 0, lines_read: 0, book: Book::default() }
    }

    fn transact_locked<E: From<LedgerError>>(
        &mut self,
        decide: impl FnOnce(&Book) -> Result<Option<(Moment, Event)>, E>,
    ) -> Result<(), E> {
        self.catch_up()?;
        if let Some((at, event)) = decide(&self.book)? {
            self.append(at, event)?;
        }
        self.refresh_revoked()?;
        Ok(())
    }

    /// Reads the lines that were appended since the last time.
    fn catch_up(&mut self) -> Result<(), LedgerError> {
        let mut bytes = Vec::new();
        self.file
            .seek(SeekFrom::Start(self.bytes_read))
            .and_then(|_| self.file.read_to_end(&mut bytes))
            .map_err(|error| self.failed("read", error))?;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            // Without its end a line was never durable: see `append`.
            let Some(text) = line.strip_suffix(b"\n") else { break };
            let number = self.lines_read + 1;
            let line_error = |newer| {
                let path = self.folder.join(LEDGER_FILE);
                if newer {
                    LedgerError::Newer(path, number)
                } else {
                    LedgerError::Damaged(path, number)
                }
            };
            let line_version = serde_json::from_slice::<LineVersion>(text);
            let line_version = line_version.map_err(|_| line_error(false))?.v;
            if line_version != LINE_VERSION {
                return Err(line_error(true));
            }
            let parsed: Line = serde_json::from_slice(text).map_err(|_| line_error(false))?;
            self.book.apply(parsed.at, parsed.event);
            self.bytes_read += line.len() as u64;
            self.lines_read = number;
        }
        Ok(())
    }

    fn append(&mut self, at: Moment, event: Event) -> Result<(), LedgerError> {
        let line = Line { v: LINE_VERSION, at, event };
        let mut text = serde_json::to_vec(&line)
            .map_err(io::Error::other)
            .map_err(|error| self.failed("write", error))?;
        text.push(b'\n');
        // Cut off what a crash left of an earlier, unfinished line.
        let length = self.file.metadata().map_err(|error| self.failed("read", error))?.len();
        if length > self.bytes_read {
            self.file.set_len(self.bytes_read).map_err(|error| self.failed("write", error))?;
        }
        let written = self.file.write_all(&text).and_then(|()| self.file.sync_all());
        if let Err(error) = written {
            // A full disk: take the piece back, so that nobody counts it.
            let _ = self.file.set_len(self.bytes_read);
            return Err(self.failed("write", error));
        }
        self.bytes_read += text.len() as u64;
        self.lines_read += 1;
        self.book.apply(at, line.event);
        Ok(())
    }

    fn refresh_revoked(&self) -> Result<(), LedgerError> {
        let text: String = self.book.revoked_pins().map(|pin| format!("{pin}\n")).collect();
        let path = self.folder.join(REVOKED_FILE);
        if std::fs::read(&path).is_ok_and(|found| found == text.as_bytes()) {
            return Ok(());
        }
        let mut batch = Batch::into_folder(&self.folder)?;
        batch.public(REVOKED_FILE, text.as_bytes(), Existing::Replace)?;
        batch.commit()?;
        Ok(())
    }

    fn failed(&self, doing: &'static str, error: io::Error) -> LedgerError {
        FileError::io(doing, &self.folder.join(LEDGER_FILE), error).into()
    }
}

#[derive(Deserialize)]
struct LineVersion {
    v: u32,
}

/// Pins as 64 hexadecimal digits.
pub(crate) mod pin_hex {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use engine::id::PeerId;

    pub(crate) fn serialize<S: Serializer>(pin: &PeerId, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(pin)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PeerId, D::Error> {
        let text = String::deserialize(from)?;
        PeerId::parse_hex(&text).map_err(D::Error::custom)
    }
}

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// A line is not an event.
    #[error("{file}, line {1}, is damaged, restore the file from a backup", file = .0.display())]
    Damaged(PathBuf, u64),
    /// A line has a version this program does not know.
    #[error("{file}, line {1}, was written by a newer certgen, use that one", file = .0.display())]
    Newer(PathBuf, u64),
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::id::VatNumber;

    const NOW: Moment = Moment::from_unix(1_795_508_046);

    fn record(key: &[u8]) -> CertificateRecord {
        CertificateRecord {
            pin: PeerId::of_spki(key),
            subject: Subject::Node(VatNumber::parse("02038490237").unwrap()),
            serial: "40".to_owned(),
            validity: Validity::starting(NOW, 825),
        }
    }

    fn add(ledger: &mut Ledger, event: Event) {
        ledger.transact(|_| Ok::<_, LedgerError>(Some((NOW, event)))).unwrap();
    }

    #[test]
    fn a_renewed_certificate_stays_good_beside_the_new_one_until_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open_or_create(folder.path()).unwrap();
        let (old, new) = (record(b"old"), record(b"new"));
        add(&mut ledger, Event::Issued(old.clone()));
        let overlap_ends = old.validity.not_after;
        add(&mut ledger, Event::Renewed { old_pin: old.pin, overlap_ends, new: new.clone() });
        assert_eq!(ledger.book().live_pins(&old.subject, NOW), [old.pin, new.pin].into());
        add(&mut ledger, Event::Revoked { pin: old.pin, reason: "lost".to_owned() });

        let again = Ledger::open_to_read(folder.path()).unwrap();
        let book = again.book();
        let standings: Vec<_> = book.entries().iter().map(|e| book.standing(e, NOW)).collect();
        assert_eq!(standings, [Standing::Revoked, Standing::Valid]);
        assert_eq!(book.entries()[0].renewed_by, Some(new.pin));
        let revoked = std::fs::read_to_string(folder.path().join(REVOKED_FILE)).unwrap();
        assert_eq!(revoked, format!("{}\n", old.pin));
    }

    #[test]
    fn two_processes_see_each_others_events() {
        let folder = tempfile::tempdir().unwrap();
        let mut one = Ledger::open_or_create(folder.path()).unwrap();
        let mut two = Ledger::open_or_create(folder.path()).unwrap();
        add(&mut one, Event::Issued(record(b"a")));
        add(&mut two, Event::Issued(record(b"b")));
        add(&mut one, Event::Issued(record(b"c")));
        assert_eq!(one.book().entries().len(), 3);
        assert_eq!(Ledger::open_to_read(folder.path()).unwrap().book().entries().len(), 3);
    }

    #[test]
    fn a_line_cut_short_never_counted_and_a_damaged_one_stops_everything() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LEDGER_FILE);
        let mut ledger = Ledger::open_or_create(folder.path()).unwrap();
        add(&mut ledger, Event::Issued(record(b"a")));
        let whole = std::fs::read(&path).unwrap();

        std::fs::write(&path, [&whole[..], &whole[..whole.len() - 9]].concat()).unwrap();
        let mut ledger = Ledger::open_or_create(folder.path()).unwrap();
        assert_eq!(ledger.book().entries().len(), 1);
        add(&mut ledger, Event::Issued(record(b"b")));
        assert_eq!(Ledger::open_to_read(folder.path()).unwrap().book().entries().len(), 2);

        std::fs::write(&path, [&whole[1..], &whole[..]].concat()).unwrap();
        let damaged = Ledger::open_to_read(folder.path()).unwrap_err();
        assert!(matches!(damaged, LedgerError::Damaged(_, 1)), "{damaged}");
        std::fs::write(&path, b"{\"v\":2,\"event\":\"moved\"}\n").unwrap();
        let newer = Ledger::open_to_read(folder.path()).unwrap_err();
        assert!(matches!(newer, LedgerError::Newer(_, 1)), "{newer}");
    }

    #[test]
    fn a_lost_extract_is_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(REVOKED_FILE);
        let mut ledger = Ledger::open_or_create(folder.path()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"", "none revoked is an empty file");
        add(&mut ledger, Event::Revoked { pin: record(b"a").pin, reason: String::new() });
        let extract = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        Ledger::open_or_create(folder.path()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), extract);
    }
}
