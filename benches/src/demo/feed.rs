//! The world outside: an ERP for each company that drops invoices into `out/`, and an SdI that
//! drops received ones at a portal, at a steady beat whatever happens to lines and servers.
//!
//! Everything fed is written down with its hash: the ledger that the end is compared with.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use engine::id::{BlobHash, VatNumber};
use tokio::{task::JoinHandle, time::sleep};

use super::samples::{Sample, Samples, Way};

/// One invoice in so many is received, the others are sent.
const RECEIVED_ONE_IN: usize = 5;
/// One received invoice in so many is delivered twice, once at each portal.
const TWICE_ONE_IN: usize = 4;
/// One sent invoice in so many is written slowly, in two halves.
const SLOWLY_ONE_IN: usize = 7;
/// The pause between the halves.
const HALF_TIME: Duration = Duration::from_millis(150);

/// One invoice that was fed.
#[derive(Clone, Debug)]
pub struct Fed {
    /// Whose it is.
    pub vat: VatNumber,
    /// Which way.
    pub way: Way,
    /// The name it was fed under.
    pub file_name: String,
    /// Its length.
    pub bytes: u64,
    /// Whether it is a sample as it is in the folder.
    pub pristine: bool,
}

/// Everything fed, by SHA-256 in hexadecimal.
pub type Ledger = BTreeMap<String, Fed>;

/// Where to drop files.
#[derive(Clone, Debug)]
pub struct Doors {
    /// The `out/` folder of each company.
    pub out: Vec<(VatNumber, PathBuf)>,
    /// The folder of each portal that stands for the SdI.
    pub sdi: Vec<PathBuf>,
}

/// Feeding, until it is stopped.
pub struct Feed {
    shared: Arc<Shared>,
    task: JoinHandle<io::Result<()>>,
}

struct Shared {
    feeder: Mutex<Feeder>,
    stopped: AtomicBool,
    reachable: [AtomicBool; 2],
}

struct Feeder {
    samples: Samples,
    doors: Doors,
    ledger: Ledger,
    received: usize,
}

impl Feed {
    /// Feeds one invoice every `beat`.
    #[must_use]
    pub fn start(samples: Samples, doors: Doors, beat: Duration) -> Self {
        let feeder = Feeder { samples, doors, ledger: Ledger::new(), received: 0 };
        let shared = Arc::new(Shared {
            feeder: Mutex::new(feeder),
            stopped: AtomicBool::new(false),
            reachable: [AtomicBool::new(true), AtomicBool::new(true)],
        });
        let feeding = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(beat);
            while !feeding.stopped.load(Ordering::SeqCst) {
                ticks.tick().await;
                let reachable = [0, 1].map(|n| feeding.reachable[n].load(Ordering::SeqCst));
                let slow = lock(&feeding.feeder).feed_one(reachable)?;
                if let Some((path, rest)) = slow {
                    sleep(HALF_TIME).await;
                    append(&path, &rest)?;
                }
            }
            Ok(())
        });
        Self { shared, task }
    }

    /// Tells the SdI that a portal can be reached, or cannot: it delivers to the other then,
    /// and to a folder that waits when it can reach none.
    pub fn set_reachable(&self, portal: usize, reachable: bool) {
        self.shared.reachable[portal].store(reachable, Ordering::SeqCst);
    }

    /// Invoices fed so far.
    #[must_use]
    pub fn count(&self) -> usize {
        lock(&self.shared.feeder).ledger.len()
    }

    /// Stops, and gives what was fed.
    ///
    /// # Errors
    /// What the operating system said when a file could not be written.
    pub async fn stop(self) -> io::Result<Ledger> {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.task.await.map_err(io::Error::other)??;
        Ok(lock(&self.shared.feeder).ledger.clone())
    }
}

impl Feeder {
    /// Feeds one; gives the half that is still to be written, if it is written slowly.
    fn feed_one(&mut self, reachable: [bool; 2]) -> io::Result<Option<(PathBuf, Vec<u8>)>> {
        let n = self.ledger.len();
        let (vat, out) = self.doors.out[n % self.doors.out.len()].clone();
        // Turns after each company had one, so that every company sends and receives.
        let turn = n / self.doors.out.len();
        let way =
            if turn % RECEIVED_ONE_IN == RECEIVED_ONE_IN - 1 { Way::Received } else { Way::Sent };
        let sample = self.samples.next(vat, way);
        let name = format!("{n:04}_{}", sample.file_name);
        let fed = Fed {
            vat,
            way,
            file_name: name.clone(),
            bytes: sample.bytes.len() as u64,
            pristine: sample.pristine,
        };
        let Sample { bytes, .. } = sample;
        self.ledger.insert(BlobHash::of(&bytes).to_string(), fed);
        match way {
            Way::Received => {
                self.received += 1;
                for portal in self.deliver_to(reachable) {
                    drop_file(&self.doors.sdi[portal].join(vat.to_string()), &name, &bytes)?;
                }
                Ok(None)
            }
            Way::Sent if n.is_multiple_of(SLOWLY_ONE_IN) => {
                let (head, rest) = bytes.split_at(bytes.len() / 2);
                fs::write(out.join(&name), head)?;
                Ok(Some((out.join(name), rest.to_vec())))
            }
            Way::Sent => drop_file(&out, &name, &bytes).map(|()| None),
        }
    }

    fn deliver_to(&self, reachable: [bool; 2]) -> Vec<usize> {
        let mut portals: Vec<usize> = (0..2).filter(|portal| reachable[*portal]).collect();
        if portals.is_empty() {
            portals = vec![0, 1];
        }
        if portals.len() == 2 && !self.received.is_multiple_of(TWICE_ONE_IN) {
            portals = vec![self.received % 2];
        }
        portals
    }
}

/// Puts a whole file there, as a careful program does.
fn drop_file(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let half = folder.join(format!(".{name}"));
    fs::write(&half, bytes)?;
    fs::rename(half, folder.join(name))
}

fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    io::Write::write_all(&mut fs::OpenOptions::new().append(true).open(path)?, bytes)
}

/// No code of ours panics while it holds a lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
