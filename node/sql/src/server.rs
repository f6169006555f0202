//! Listens, and gives each client a thread: SQLite works in the thread that asks, and a client
//! that reads slowly then holds up nobody but itself. How many there may be is bounded.

use std::{
    collections::BTreeMap,
    fmt, io,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use ring::rand::{SecureRandom, SystemRandom};
use rustls::ServerConfig;

use crate::{
    auth::{self, Arrival, Guesses},
    error::{SqlError, code},
    flight::Flights,
    queue::Queue,
    reader::{Outside, Watch},
    session::Session,
    wire::{Stream, Wire, WireError},
};

/// Room for the deepest statement admitted, taken apart again by recursion.
const STACK_BYTES: usize = 16 * 1024 * 1024;

/// Answers whether a proof over a message is right, with the server's own signature.
pub type Answer = Box<dyn Fn(&[u8], &[u8]) -> Option<[u8; 32]> + Send>;

/// What is known of a user that wants to come in. One that does not exist has all of it too,
/// but nothing it can prove.
pub struct Login {
    /// The password's salt.
    pub salt: Vec<u8>,
    /// Rounds of its hash.
    pub iterations: u32,
    /// Checks its proof.
    pub answer: Answer,
    /// What it sees once it is in; none for a user that does not exist.
    pub tenant: Option<Tenant>,
    /// Whether it may still come in: asked before every statement.
    pub still: Box<dyn Fn() -> bool + Send>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

/// What one user sees.
#[derive(Clone)]
pub struct Tenant {
    /// Its VAT number: the name of the database.
    pub vat: String,
    /// Its shelf.
    pub shelf: PathBuf,
    /// Originals and freshness.
    pub outside: Arc<dyn Outside>,
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenant").field("vat", &self.vat).finish_non_exhaustive()
    }
}

/// Who knows the users.
pub trait House: Send + Sync + 'static {
    /// What is known of this name.
    ///
    /// # Errors
    /// A sentence, when users cannot be looked up at all.
    fn login(&self, user: &str) -> Result<Login, String>;
}

/// Bounds of a server.
#[derive(Clone)]
pub struct Options {
    /// TLS, offered to all and needed by whoever is not on this machine. Without it, nobody is
    /// encrypted.
    pub tls: Option<Arc<ServerConfig>>,
    /// Connections at once.
    pub connections_max: usize,
    /// How long one statement may work; clients may ask for less.
    pub statement_timeout: Duration,
    /// How long a client may take none of what it is sent, before it is cut off.
    pub write_stall: Duration,
    /// How long a cursor may stand still: until then SQLite's journal cannot be folded back into
    /// the file, and grows with all that is written meanwhile.
    pub cursor_rest: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tls: None,
            connections_max: 64,
            statement_timeout: Duration::from_secs(60),
            write_stall: Duration::from_secs(60),
            cursor_rest: Duration::from_secs(600),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("tls", &self.tls.is_some()).finish_non_exhaustive()
    }
}

/// What every connection shares.
pub(crate) struct Shared {
    pub house: Box<dyn House>,
    pub options: Options,
    pub stopping: AtomicBool,
    pub live: AtomicUsize,
    pub flights: Flights,
    queue: Arc<Queue>,
    guesses: Guesses,
    next_pid: AtomicUsize,
    /// What stops the statement of a connection, by its number and secret.
    watches: Mutex<BTreeMap<(i32, i32), Arc<Watch>>>,
}

/// A server at work. Dropping it ends it: nobody new comes in, statements stop.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// Starts to listen.
    ///
    /// # Errors
    /// What the system says of the address.
    pub fn start(address: SocketAddr, house: impl House, options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            house: Box::new(house),
            options,
            stopping: AtomicBool::new(false),
            live: AtomicUsize::new(0),
            flights: Flights::default(),
            queue: Arc::default(),
            guesses: Guesses::default(),
            next_pid: AtomicUsize::new(1),
            watches: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        thread::Builder::new()
            .name("sql door".to_owned())
            .spawn(move || accept(&listener, &accepting))?;
        Ok(Self { address, shared })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.live.load(Ordering::SeqCst)
    }

    /// Statements answered with what another client's statement found at the same time.
    #[must_use]
    pub fn shared_answers(&self) -> u64 {
        self.shared.flights.told()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        let watches = self.shared.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.values().for_each(|watch| watch.cancel());
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let accepted = listener.accept();
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok((socket, from)) = accepted else {
            // Too many open files, most likely.
            thread::sleep(Duration::from_millis(50));
            continue;
        };
        // Whoever is too many is told so, by a thread as everybody else; beyond that, not even so.
        let before = shared.live.fetch_add(1, Ordering::SeqCst);
        if before >= shared.options.connections_max + 16 {
            shared.live.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        let place = Place(Arc::clone(shared));
        let crowded = before >= shared.options.connections_max;
        let serve = move || {
            let served = serve(&place.0, socket, crowded);
            if let Err(error) = served {
                tracing::debug!(%from, %error, "an SQL client left");
            }
        };
        let spawned = thread::Builder::new()
            .name("sql client".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(serve);
        if let Err(error) = spawned {
            tracing::warn!(%error, "no thread for an SQL client");
        }
    }
}

/// A place among the connections, given back when dropped.
struct Place(Arc<Shared>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::SeqCst);
    }
}

fn serve(shared: &Arc<Shared>, socket: TcpStream, crowded: bool) -> Result<(), WireError> {
    let (spare, from) = (socket.try_clone()?, socket.peer_addr()?.ip());
    let stall = shared.options.write_stall;
    let arrived = auth::arrive(socket, shared.options.tls.as_ref(), stall);
    let (mut wire, parameters, deadline) = match arrived {
        Ok(Arrival::Cancel { pid, key }) => {
            let watches = shared.watches.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(watch) = watches.get(&(pid, key)) {
                watch.cancel();
            }
            return Ok(());
        }
        Ok(Arrival::Session(wire, parameters, deadline)) => (wire, parameters, deadline),
        Err(WireError::Fatal(error)) => {
            // Nothing is encrypted yet where this comes from.
            let mut wire = Wire::new(Stream::Plain(spare), stall)?;
            wire.error(&error, true)?;
            wire.flush()?;
            return Err(WireError::Fatal(error));
        }
        Err(error) => return Err(error),
    };
    drop(spare);
    let done = talk(shared, &mut wire, from, &parameters, deadline, crowded);
    match &done {
        Err(WireError::Fatal(error)) => {
            wire.error(error, true)?;
            wire.flush()?;
        }
        Err(WireError::Stopped) => {
            let error = SqlError::new(code::SHUTDOWN, "the service stops");
            wire.error(&error, true)?;
            wire.flush()?;
        }
        _ => {}
    }
    done
}

fn talk(
    shared: &Arc<Shared>,
    wire: &mut Wire,
    from: IpAddr,
    parameters: &BTreeMap<String, String>,
    deadline: std::time::Instant,
    crowded: bool,
) -> Result<(), WireError> {
    let fatal = |code, why: String| WireError::Fatal(SqlError::new(code, why));
    if crowded {
        let why = "there are too many connections: close some, or raise sql.connections_max";
        return Err(fatal(code::TOO_MANY, why.to_owned()));
    }
    let user = parameters.get("user").cloned().unwrap_or_default();
    shared.guesses.admit(from, &user)?;
    let login = shared.house.login(&user).map_err(|why| fatal(code::NOT_NOW, why))?;
    let proved = auth::prove(wire, &user, &login, deadline);
    if matches!(&proved, Err(WireError::Fatal(error)) if error.code == code::PASSWORD) {
        tracing::warn!(%from, user = %user.escape_debug(), "a wrong password for SQL");
        shared.guesses.note(from, &user);
    }
    proved?;
    let Some(tenant) = login.tenant.clone() else {
        return Err(fatal(code::PASSWORD, "password authentication failed".to_owned()));
    };
    let watch = Arc::new(Watch::new(Arc::clone(&shared.queue)));
    let mut random = [0; 4];
    let drawn = SystemRandom::new().fill(&mut random);
    drawn.map_err(|_| io::Error::other("no random numbers"))?;
    let number = shared.next_pid.fetch_add(1, Ordering::SeqCst) % 0x7fff_ffff;
    let name = (i32::try_from(number).unwrap_or(1), i32::from_be_bytes(random));
    let known = Known { shared: Arc::clone(shared), name };
    shared.watches.lock().unwrap_or_else(PoisonError::into_inner).insert(name, Arc::clone(&watch));
    let mut session =
        Session::new(Arc::clone(shared), user, tenant, login.still, watch, parameters);
    let done = session.run(wire, known.name);
    drop(known);
    done
}

/// A connection that can be cancelled, until this is dropped.
struct Known {
    shared: Arc<Shared>,
    name: (i32, i32),
}

impl Drop for Known {
    fn drop(&mut self) {
        let watches = self.shared.watches.lock();
        watches.unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        statement::{Statement, parse},
        translate::translate,
    };

    /// What the parser builds by a loop is taken apart by recursion, and unoptimised its frames
    /// are large.
    #[test]
    fn the_deepest_statements_leave_half_of_a_clients_stack() {
        let chains = ["+1", "=1", "! ", "[1]", "::a", " or 1", " is null", " union select 1"];
        let work = move || {
            for link in chains {
                let text = format!("select 1{}", link.repeat(65_000 / link.len()));
                let refused = parse(&text).and_then(|all| match &all[0] {
                    Statement::Query(query) => translate(query, &[]),
                    other => panic!("{other:?}"),
                });
                let code = refused.map(drop).unwrap_err().code;
                assert!(["54001", "0A000"].contains(&code), "{link}: {code}");
            }
        };
        let thread = thread::Builder::new().stack_size(STACK_BYTES / 2).spawn(work);
        thread.unwrap().join().unwrap();
    }
}
