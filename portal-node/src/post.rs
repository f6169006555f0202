//! Letters to a customer's PEC: the one-time code.
//!
//! Every letter lies in the spool folder before anything else happens to it; only this service may
//! read it, since it holds a secret. Without a mail server it stays there, as a file for whoever
//! sends it on. With one it leaves as soon as the server takes it: what the server cannot take
//! now is tried again, after a restart too, until the letter would be of no use; what it will
//! never take is given up at once. Either way whoever sent it is told.

use std::{
    collections::BTreeMap,
    error::Error as _,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    address::Envelope,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, Tls, TlsParameters},
    },
};
use node::private;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::{
    config::{DoorConfig, SmtpConfig, SmtpTls},
    door::sessions::secret,
    office::now_ms,
};

/// Longest that the mail server may take for one step.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between a letter that did not leave and its next try, at first and at most.
const AGAIN_MS: u64 = 5_000;
const AGAIN_MS_MAX: u64 = 60_000;
/// How often it is looked whether a letter is due.
const LOOK: Duration = Duration::from_secs(1);
/// Letters given up that are remembered.
const LOST_MAX: usize = 100;

/// A letter to be sent.
#[derive(Clone, Debug)]
pub struct Letter<'l> {
    /// To whom.
    pub to: &'l str,
    /// What it is about.
    pub subject: &'l str,
    /// What it says.
    pub text: &'l str,
    /// When it is of no use any more, milliseconds since 1970.
    pub until_ms: u64,
}

/// What became of a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The mail server took it; or it is in the spool, where there is no server.
    Left,
    /// It is tried again; why it did not leave yet.
    Waits(String),
    /// It was given up; why.
    Lost(String),
}

/// How a letter that has not left stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// To whom.
    pub to: String,
    /// Since when, milliseconds since 1970.
    pub since_ms: u64,
    /// Until when it is tried; for one that was given up, when that was.
    pub until_ms: u64,
    /// Why it has not left.
    pub why: String,
}

/// Sends letters. See the module's header.
pub struct Post {
    from: String,
    folder: PathBuf,
    server: Option<Server>,
}

struct Server {
    name: String,
    transport: AsyncSmtpTransport<Tokio1Executor>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By the name of the file.
    waiting: BTreeMap<String, Waiting>,
    /// Given up, the newest last.
    lost: Vec<Standing>,
}

struct Waiting {
    standing: Standing,
    tries: u32,
    next_ms: u64,
}

/// A letter as it waits for the mail server.
#[derive(Serialize, Deserialize)]
struct Queued {
    to: String,
    since_ms: u64,
    until_ms: u64,
    letter: String,
}

/// A letter cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// An address.
    #[error("{0:?} is no address to send a letter to")]
    Address(String),
    /// The spool folder, or a file that [door.smtp] names.
    #[error("cannot use {path}: {error}")]
    File {
        /// The file or folder.
        path: String,
        /// What the system says.
        error: io::Error,
    },
    /// The mail server's name or authority.
    #[error("[door.smtp]: {0}")]
    Smtp(#[from] lettre::transport::smtp::Error),
    /// It cannot be written down.
    #[error("the letter cannot be written: {0}")]
    Letter(#[from] lettre::error::Error),
}

impl Post {
    /// Sends as `door` says. What waited before a restart waits again.
    ///
    /// # Errors
    /// [`PostError`]
    pub fn new(door: &DoorConfig) -> Result<Self, PostError> {
        let from = door.pec.clone();
        mailbox(&from)?;
        let folder = door.spool.clone();
        private::folder(&folder).map_err(file_error(&folder))?;
        let server = match &door.smtp {
            Some(smtp) => Some(Server {
                name: smtp.host.clone(),
                transport: transport(smtp)?,
                state: Mutex::new(State { waiting: waiting(&folder)?, lost: Vec::new() }),
            }),
            None => None,
        };
        Ok(Self { from, folder, server })
    }

    /// Sends a letter. It is in the spool once this returns, or on its way.
    ///
    /// # Errors
    /// [`PostError`]; it is sent to nobody then.
    pub async fn send(&self, letter: Letter<'_>) -> Result<Fate, PostError> {
        let Letter { to, subject, text, until_ms } = letter;
        let message = Message::builder()
            .from(mailbox(&self.from)?)
            .to(mailbox(to)?)
            .subject(subject)
            .header(ContentType::TEXT_PLAIN)
            .body(text.to_owned())?;
        let since_ms = now_ms();
        let stem = format!("{since_ms}-{:.8}", secret().unwrap_or_default());
        let Some(server) = &self.server else {
            self.keep(&format!("{stem}.eml"), &message.formatted())?;
            return Ok(Fate::Left);
        };
        let name = format!("{stem}.json");
        let letter = String::from_utf8_lossy(&message.formatted()).into_owned();
        let queued = Queued { to: to.to_owned(), since_ms, until_ms, letter };
        let bytes = serde_json::to_vec(&queued).map_err(io::Error::from);
        self.keep(&name, &bytes.map_err(file_error(&self.folder))?)?;
        // Whoever tries again leaves it alone while the first try lasts.
        let next_ms = since_ms + AGAIN_MS_MAX;
        let waiting = Waiting { standing: queued.standing(), tries: 0, next_ms };
        server
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .waiting
            .insert(name.clone(), waiting);
        Ok(self.attempt(server, &name).await)
    }

    /// Tries again what waits, until the task is dropped.
    pub async fn run(&self) {
        let Some(server) = &self.server else { return std::future::pending().await };
        loop {
            let now = now_ms();
            let due: Vec<String> = {
                let state = server.state.lock().unwrap_or_else(PoisonError::into_inner);
                let due = state.waiting.iter().filter(|(_, waiting)| waiting.next_ms <= now);
                due.map(|(name, _)| name.clone()).collect()
            };
            for name in due {
                self.attempt(server, &name).await;
            }
            sleep(LOOK).await;
        }
    }

    /// The letters that wait for the mail server, the oldest first.
    #[must_use]
    pub fn waiting(&self) -> Vec<Standing> {
        let Some(server) = &self.server else { return Vec::new() };
        let state = server.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting.values().map(|waiting| waiting.standing.clone()).collect()
    }

    /// The letters that were given up since the start, the oldest first.
    #[must_use]
    pub fn lost(&self) -> Vec<Standing> {
        let Some(server) = &self.server else { return Vec::new() };
        server.state.lock().unwrap_or_else(PoisonError::into_inner).lost.clone()
    }

    /// Tries to send one, and keeps what became of it.
    async fn attempt(&self, server: &Server, name: &str) -> Fate {
        let path = self.folder.join(name);
        let read = fs::read(&path).and_then(|bytes| Ok(serde_json::from_slice::<Queued>(&bytes)?));
        let fate = match read {
            Ok(queued) if queued.until_ms <= now_ms() => {
                Fate::Lost("it was of no use any more before the mail server took it".to_owned())
            }
            Ok(queued) => self.offer(server, &queued).await,
            Err(error) => Fate::Lost(format!("{} cannot be read: {error}", path.display())),
        };
        let mut state = server.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &fate {
            Fate::Waits(why) => {
                if let Some(waiting) = state.waiting.get_mut(name) {
                    tracing::warn!(to = %waiting.standing.to, %why, "a letter waits");
                    waiting.standing.why.clone_from(why);
                    let pause = AGAIN_MS << waiting.tries.min(8);
                    waiting.next_ms = now_ms() + pause.min(AGAIN_MS_MAX);
                    waiting.tries += 1;
                }
            }
            Fate::Left => {
                if let Some(Waiting { standing, .. }) = state.waiting.remove(name) {
                    state.lost.retain(|lost| lost.to != standing.to);
                }
            }
            Fate::Lost(why) => {
                if let Some(Waiting { mut standing, .. }) = state.waiting.remove(name) {
                    tracing::error!(to = %standing.to, %why, "a letter is given up");
                    standing.why.clone_from(why);
                    standing.until_ms = now_ms();
                    if state.lost.len() >= LOST_MAX {
                        state.lost.remove(0);
                    }
                    state.lost.push(standing);
                }
            }
        }
        drop(state);
        if !matches!(fate, Fate::Waits(_))
            && let Err(error) = fs::remove_file(&path)
        {
            tracing::warn!(path = %path.display(), %error, "a letter that is done is still there");
        }
        fate
    }

    async fn offer(&self, server: &Server, queued: &Queued) -> Fate {
        let address = |text: &str| text.parse::<Address>().map_err(|error| error.to_string());
        let envelope = address(&self.from).and_then(|from| {
            Envelope::new(Some(from), vec![address(&queued.to)?]).map_err(|error| error.to_string())
        });
        let envelope = match envelope {
            Ok(envelope) => envelope,
            Err(why) => return Fate::Lost(why),
        };
        match server.transport.send_raw(&envelope, queued.letter.as_bytes()).await {
            Ok(_) => Fate::Left,
            Err(error) => {
                let mut why = format!("{}: {error}", server.name);
                let mut cause = error.source();
                while let Some(deeper) = cause {
                    let deeper_text = deeper.to_string();
                    if !why.contains(&deeper_text) {
                        why = format!("{why}: {deeper_text}");
                    }
                    cause = deeper.source();
                }
                let code = error.status().map_or(0, u16::from);
                // 53x is about how we log in there, which is mended here.
                if (500..600).contains(&code) && !(530..540).contains(&code) {
                    Fate::Lost(why)
                } else {
                    Fate::Waits(why)
                }
            }
        }
    }

    fn keep(&self, name: &str, bytes: &[u8]) -> Result<(), PostError> {
        let path = self.folder.join(name);
        private::write(&path, bytes).map_err(file_error(&path))
    }
}

impl Queued {
    fn standing(&self) -> Standing {
        let Self { to, since_ms, until_ms, .. } = self;
        Standing { to: to.clone(), since_ms: *since_ms, until_ms: *until_ms, why: String::new() }
    }
}

/// What waits in the folder from before.
fn waiting(folder: &Path) -> Result<BTreeMap<String, Waiting>, PostError> {
    let mut waiting = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(file_error(folder))? {
        let path = entry.map_err(file_error(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.ends_with(".json") || name.starts_with('.') {
            continue;
        }
        let read = fs::read(&path).and_then(|bytes| Ok(serde_json::from_slice::<Queued>(&bytes)?));
        let queued = read.map_err(file_error(&path))?;
        waiting.insert(name, Waiting { standing: queued.standing(), tries: 0, next_ms: 0 });
    }
    Ok(waiting)
}

fn file_error(path: &Path) -> impl Fn(io::Error) -> PostError {
    let path = path.display().to_string();
    move |error| PostError::File { path: path.clone(), error }
}

fn mailbox(address: &str) -> Result<Mailbox, PostError> {
    address.parse().map_err(|_| PostError::Address(address.to_owned()))
}

fn transport(smtp: &SmtpConfig) -> Result<AsyncSmtpTransport<Tokio1Executor>, PostError> {
    let path = &smtp.password_file;
    let password = fs::read_to_string(path).map_err(file_error(path))?;
    let credentials = Credentials::new(smtp.user.clone(), password.trim_end().to_owned());
    let mut tls = TlsParameters::builder(smtp.host.clone());
    if let Some(path) = &smtp.authority {
        let pem = fs::read(path).map_err(file_error(path))?;
        tls = tls.add_root_certificate(Certificate::from_pem(&pem)?);
    }
    let tls = tls.build_rustls()?;
    let (tls, port) = match smtp.tls {
        SmtpTls::Implicit => (Tls::Wrapper(tls), 465),
        SmtpTls::Starttls => (Tls::Required(tls), 587),
    };
    Ok(AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&smtp.host)
        .port(smtp.port.unwrap_or(port))
        .tls(tls)
        .timeout(Some(PATIENCE))
        .credentials(credentials)
        .build())
}
