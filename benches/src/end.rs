//! One end of a session as a process of its own: a portal or a node that does what it is told.
//!
//! The bench program starts `end`, which is built beside it; orders go in as lines of JSON and answers come
//! out, so what an end costs in processor and memory is its own, told by the kernel. The end
//! runs the product's host, transport and truth; only the orders are the bench's.

mod serve;

use std::{
    io::{self, BufRead, BufReader, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use engine::{
    grant::Role,
    id::{PeerId, VatNumber},
};
use node::{host::meter::Reading, transport::Identity};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::packaged;

pub use serve::{now_ns, serve};

/// Anything that ends a bench.
pub type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// A certificate and its key, and the pin they make.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Papers {
    /// PEM.
    pub cert: String,
    /// PEM.
    pub key: String,
}

/// What an end is told when it starts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Place {
    /// Where its truth lies.
    pub dir: PathBuf,
    /// Who it is.
    pub papers: Papers,
    /// Node or portal.
    pub role: Role,
    /// The tenant: whose node it is, or whom a portal's orders are about.
    pub tenant: VatNumber,
    /// The pins of all portals, in hexadecimal.
    pub portals: Vec<String>,
    /// Where a portal listens.
    pub listen: Option<SocketAddr>,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// Invoices as they come in, each with its original, one bundle each.
    Received,
    /// Invoices as they go out.
    Sent,
    /// Status changes of received invoices, one bundle each.
    Statuses,
    /// The same, all in one bundle.
    StatusesTogether,
    /// One file of this many bytes, in chunks.
    Large,
}

/// What an end is told to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Order {
    /// Opens the truth and works, dialling these portals (pin, addresses), over this many lines.
    Start {
        /// Whom.
        dial: Vec<(String, Vec<SocketAddr>)>,
        /// Lines of its own.
        lines: usize,
        /// Also keeps a mirror, as a node does.
        mirror: bool,
    },
    /// Closes everything in good order.
    Stop,
    /// Whom the next orders are about, where it was somebody else before.
    About {
        /// The tenant.
        tenant: VatNumber,
    },
    /// Admits a node.
    Admit {
        /// Its certificate, PEM.
        cert: String,
        /// Its key, which only the bench has a reason to send.
        key: String,
    },
    /// Writes, and answers when all of it is durable here.
    Write {
        /// What.
        what: What,
        /// From which document.
        first: u64,
        /// How many; of a large file, its bytes.
        count: u64,
        /// At most so many not yet durable.
        in_flight: usize,
        /// One every so many milliseconds, by one; 0 for as fast as it goes.
        every_ms: u64,
        /// Also waits until a portal holds each of them durably.
        acknowledged: bool,
    },
    /// Waits until so many bundles are held durably.
    Hold {
        /// How many in all.
        bundles: u64,
    },
    /// Waits until so many bundles of all tenants together are held durably.
    HoldInAll {
        /// How many in all.
        bundles: u64,
    },
    /// Waits until each of these peers is known to hold all that is held here.
    Equal {
        /// Pins.
        peers: Vec<String>,
    },
    /// Waits until this many sessions are open.
    Greeted {
        /// How many.
        sessions: usize,
    },
    /// Waits until the mirror shows so many bundles.
    Mirrored {
        /// How many in all.
        bundles: u64,
    },
    /// Notes when each of the next `count` bundles after `bundles` is held durably, and when
    /// the mirror, if there is one, shows it.
    Trace {
        /// How many there were.
        bundles: u64,
        /// How many more.
        count: u64,
    },
    /// How it stands.
    Read,
}

/// When something was said, was durable here, and was known to be durable at a portal.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Said {
    /// Nanoseconds of the machine's monotonic clock.
    pub said_ns: u64,
    /// The same.
    pub durable_ns: u64,
    /// The same; 0 when nobody waited.
    pub acknowledged_ns: u64,
}

/// How an end stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    /// Now.
    pub at_ns: u64,
    /// Processor time of the process.
    pub cpu_ns: u64,
    /// Memory resident now.
    pub rss_bytes: u64,
    /// The most that ever was.
    pub peak_bytes: u64,
    /// Bytes the truth takes on disk.
    pub disk_bytes: u64,
    /// Bundles held durably.
    pub bundles: u64,
    /// What was carried.
    pub reading: Reading,
    /// The pin at the other end of the primary session, if there is one.
    pub primary: Option<String>,
    /// What a person should know.
    pub alarms: Vec<String>,
}

/// What an end answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// It is done, at this nanosecond.
    Done(u64),
    /// To [`Order::Write`].
    Written(Vec<Said>),
    /// To [`Order::Trace`]: held, and shown by the mirror.
    Traced(Vec<u64>, Vec<u64>),
    /// To [`Order::Read`].
    State(Box<State>),
    /// It cannot be done.
    Failed(String),
}

/// The bench's hold on one end. Dropped, the process is killed.
pub struct End {
    child: Child,
    /// None once it was asked to leave.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// Its pin.
    pub pin: String,
    /// What it was told.
    pub place: Place,
}

impl Papers {
    /// A new key with a certificate for a day.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn issue() -> Result<Self, AnyError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(vec!["bench.test".into()])?;
        let now = std::time::SystemTime::now();
        params.not_before = (now - Duration::from_secs(3600)).into();
        params.not_after = (now + Duration::from_secs(24 * 3600)).into();
        let cert = params.self_signed(&key)?.pem();
        Ok(Self { cert, key: key.serialize_pem() })
    }

    /// The identity they make.
    ///
    /// # Errors
    /// When they are no certificate and key.
    pub fn identity(&self) -> Result<Identity, AnyError> {
        Ok(Identity::from_pem(&self.cert, &self.key)?)
    }

    /// Their pin.
    ///
    /// # Errors
    /// As [`Papers::identity`].
    pub fn pin(&self) -> Result<PeerId, AnyError> {
        Ok(self.identity()?.peer())
    }
}

impl End {
    /// Starts the process.
    ///
    /// # Errors
    /// What the system says; the program `end` is to be there.
    pub fn spawn(place: Place) -> Result<Self, AnyError> {
        let program = std::env::current_exe()?.with_file_name("end");
        let mut child = Command::new(&program)
            .envs(packaged::environment())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| {
                let program = program.display();
                format!("{program}: {error} (cargo build --release -p benches builds it)")
            })?;
        let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the process has no pipes".into());
        };
        let pin = place.papers.pin()?.to_string();
        let mut end =
            Self { child, orders: Some(orders), answers: BufReader::new(answers), pin, place };
        let place = end.place.clone();
        end.say(&place)?;
        Ok(end)
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives an order without waiting.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn order(&mut self, order: &Order) -> Result<(), AnyError> {
        self.say(order)
    }

    /// Waits for the answer to the oldest order.
    ///
    /// # Errors
    /// When the process is gone, or cannot do it.
    pub fn answer(&mut self) -> Result<Answer, AnyError> {
        match self.listen()? {
            Answer::Failed(why) => Err(why.into()),
            answer => Ok(answer),
        }
    }

    /// Gives an order that is done at a nanosecond.
    ///
    /// # Errors
    /// As [`End::answer`].
    pub fn done(&mut self, order: &Order) -> Result<u64, AnyError> {
        self.order(order)?;
        match self.answer()? {
            Answer::Done(at_ns) => Ok(at_ns),
            other => Err(format!("an odd answer: {other:?}").into()),
        }
    }

    /// Has it write as fast as it can.
    ///
    /// # Errors
    /// As [`End::answer`].
    pub fn write(&mut self, what: What, first: u64, count: u64) -> Result<Vec<Said>, AnyError> {
        // What the SdI says comes one after the other, and is said in that order.
        let in_flight = if what == What::Statuses { 1 } else { 256 };
        let (every_ms, acknowledged) = (0, false);
        self.order(&Order::Write { what, first, count, in_flight, every_ms, acknowledged })?;
        self.written()
    }

    /// Waits for the answer to [`Order::Write`].
    ///
    /// # Errors
    /// As [`End::answer`].
    pub fn written(&mut self) -> Result<Vec<Said>, AnyError> {
        match self.answer()? {
            Answer::Written(said) => Ok(said),
            other => Err(format!("an odd answer: {other:?}").into()),
        }
    }

    /// How it stands.
    ///
    /// # Errors
    /// As [`End::answer`].
    pub fn read(&mut self) -> Result<State, AnyError> {
        self.order(&Order::Read)?;
        match self.answer()? {
            Answer::State(state) => Ok(*state),
            other => Err(format!("an odd answer: {other:?}").into()),
        }
    }

    /// Lets it end by itself, with its files closed as a process closes them.
    ///
    /// # Errors
    /// What the system says.
    pub fn leave(&mut self) -> Result<(), AnyError> {
        self.orders = None;
        self.child.wait()?;
        Ok(())
    }

    /// Kills it, if it is there still.
    ///
    /// # Errors
    /// What the system says.
    pub fn kill(&mut self) -> Result<(), AnyError> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn say(&mut self, what: &impl Serialize) -> Result<(), AnyError> {
        let mut line = serde_json::to_string(what)?;
        line.push('\n');
        let orders = self.orders.as_mut().ok_or("the process was asked to leave")?;
        orders.write_all(line.as_bytes())?;
        Ok(orders.flush()?)
    }

    fn listen<T: DeserializeOwned>(&mut self) -> Result<T, AnyError> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.kill();
    }
}

/// Copies a folder without folders in it: the state of an end that is stopped.
///
/// # Errors
/// What the system says.
pub fn copy_dir(from: &Path, to: &Path) -> Result<(), AnyError> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}
