//! How a client comes in: TLS or not, who it is, and its proof of the password (SCRAM-SHA-256,
//! RFC 5802), which never travels. Nobody gets further without.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    net::{IpAddr, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::{
    error::{SqlError, code},
    server::Login,
    wire::{Cut, Stream, Wire, WireError, text_to},
};

/// How long coming in may take.
const LOGIN: Duration = Duration::from_secs(20);
/// What a wrong password costs whoever guesses.
const REFUSED: Duration = Duration::from_millis(300);
/// Wrong passwords of one user from one address in [`GUESSES_SPAN`]; after them it has to wait.
const GUESSES_MAX: u32 = 10;
const GUESSES_SPAN: Duration = Duration::from_secs(60);
/// Addresses, each with some of its users, that are remembered: the oldest are forgotten first.
const GUESSERS_MAX: usize = 4096;
/// Users of one address that are told apart. Names that do not exist share these with those that
/// do, so that having to wait tells nobody which is which.
const USERS_TOLD_APART: u64 = 64;
const SSL_REQUEST: i32 = 80_877_103;
const GSS_REQUEST: i32 = 80_877_104;
const CANCEL_REQUEST: i32 = 80_877_102;

/// What a client wants.
pub enum Arrival {
    /// To talk: its parameters.
    Session(Wire, BTreeMap<String, String>, Instant),
    /// To stop a statement of another connection.
    Cancel {
        /// That connection.
        pid: i32,
        /// What it was told.
        key: i32,
    },
}

/// Who guessed wrong of late.
#[derive(Default)]
pub struct Guesses(Mutex<BTreeMap<(IpAddr, u64), (Instant, u32)>>);

impl Guesses {
    fn place(from: IpAddr, user: &str) -> (IpAddr, u64) {
        let mut hasher = DefaultHasher::new();
        user.hash(&mut hasher);
        (from, hasher.finish() % USERS_TOLD_APART)
    }

    /// Lets a client try, unless it has been wrong too often.
    pub fn admit(&self, from: IpAddr, user: &str) -> Result<(), WireError> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(&Self::place(from, user)) {
            Some((since, count)) if since.elapsed() < GUESSES_SPAN && *count >= GUESSES_MAX => {
                let why = "too many wrong passwords from this address: wait a minute";
                Err(WireError::Fatal(SqlError::new(code::PASSWORD, why)))
            }
            _ => Ok(()),
        }
    }

    /// One was wrong.
    pub fn note(&self, from: IpAddr, user: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = Self::place(from, user);
        if known.len() >= GUESSERS_MAX && !known.contains_key(&place) {
            let oldest = known.iter().min_by_key(|(_, (since, _))| *since).map(|(place, _)| *place);
            oldest.and_then(|oldest| known.remove(&oldest));
        }
        let (since, count) = known.entry(place).or_insert((Instant::now(), 0));
        if since.elapsed() >= GUESSES_SPAN {
            (*since, *count) = (Instant::now(), 0);
        }
        *count += 1;
    }
}

/// Lets a client say what it wants.
pub fn arrive(
    socket: TcpStream,
    tls: Option<&Arc<ServerConfig>>,
    stall: Duration,
) -> Result<Arrival, WireError> {
    let deadline = Instant::now() + LOGIN;
    let local = socket.peer_addr()?.ip().is_loopback();
    let mut wire = Wire::new(Stream::Plain(socket), stall)?;
    let mut encrypted = false;
    // TLS or GSS may each be asked for once.
    for _ in 0..3 {
        let body = wire.startup(deadline)?;
        let mut cut = Cut(&body);
        match cut.int()? {
            SSL_REQUEST if !encrypted => match tls {
                None => wire.answer(b'N')?,
                Some(tls) => {
                    wire.answer(b'S')?;
                    wire = shake(wire.into_stream()?, tls, deadline, stall)?;
                    encrypted = true;
                }
            },
            GSS_REQUEST => wire.answer(b'N')?,
            CANCEL_REQUEST => return Ok(Arrival::Cancel { pid: cut.int()?, key: cut.int()? }),
            version if version >> 16 == 3 => {
                let mut parameters = BTreeMap::new();
                let mut unknown = Vec::new();
                loop {
                    let name = cut.text()?;
                    if name.is_empty() {
                        break;
                    }
                    let value = cut.text()?;
                    if name.starts_with("_pq_.") {
                        unknown.push(name.to_owned());
                    } else {
                        parameters.insert(name.to_owned(), value.to_owned());
                    }
                }
                if version & 0xffff != 0 || !unknown.is_empty() {
                    wire.put(b'v', |out| {
                        out.extend(0_i32.to_be_bytes());
                        out.extend((unknown.len() as u32).to_be_bytes());
                        unknown.iter().for_each(|name| text_to(out, name));
                    })?;
                }
                if tls.is_some() && !encrypted && !local {
                    let why = "connections from other machines need TLS: use sslmode=require";
                    let error = SqlError::new(code::AUTHORIZATION, why);
                    wire.error(&error, true)?;
                    wire.flush()?;
                    return Err(WireError::Stopped);
                }
                return Ok(Arrival::Session(wire, parameters, deadline));
            }
            _ => return Err(WireError::protocol("unsupported frontend protocol")),
        }
    }
    Err(WireError::protocol("too many requests for encryption"))
}

fn shake(
    stream: Stream,
    config: &Arc<ServerConfig>,
    deadline: Instant,
    stall: Duration,
) -> Result<Wire, WireError> {
    let Stream::Plain(mut socket) = stream else {
        return Err(WireError::protocol("TLS inside TLS"));
    };
    let mut connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    while connection.is_handshaking() {
        match connection.complete_io(&mut socket) {
            Ok(_) => {}
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
                    && Instant::now() < deadline => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Wire::new(Stream::Tls(Box::new(StreamOwned::new(connection, socket))), stall)?)
}

/// Has the client prove that it knows the password of `user`.
pub fn prove(
    wire: &mut Wire,
    user: &str,
    login: &Login,
    deadline: Instant,
) -> Result<(), WireError> {
    let goes_on = move || Instant::now() < deadline;
    wire.put(b'R', |out| {
        out.extend(10_u32.to_be_bytes());
        text_to(out, "SCRAM-SHA-256");
        out.push(0);
    })?;
    wire.flush()?;
    let message = wire.message(false, &goes_on)?;
    let mut cut = Cut(&message.body);
    if message.kind != b'p' || cut.text()? != "SCRAM-SHA-256" {
        return Err(WireError::protocol("expected a SCRAM-SHA-256 response"));
    }
    let length = usize::try_from(cut.int()?).unwrap_or(0);
    let first = text(cut.bytes(length)?)?;
    let (header, bare) = match first.split_once(",,") {
        Some((flag @ ("n" | "y"), bare)) => (format!("{flag},,"), bare),
        _ => {
            return Err(WireError::protocol(
                "malformed SCRAM message: channel binding is not offered",
            ));
        }
    };
    let nonce = bare
        .split(',')
        .find_map(|part| part.strip_prefix("r="))
        .filter(|nonce| !nonce.is_empty() && nonce.len() <= 256)
        .ok_or_else(|| WireError::protocol("malformed SCRAM message: no nonce"))?;
    let mut random = [0; 18];
    SystemRandom::new().fill(&mut random).map_err(|_| io::Error::other("no random numbers"))?;
    let nonce = format!("{nonce}{}", STANDARD.encode(random));
    let server_first =
        format!("r={nonce},s={},i={}", STANDARD.encode(&login.salt), login.iterations);
    wire.put(b'R', |out| {
        out.extend(11_u32.to_be_bytes());
        out.extend(server_first.bytes());
    })?;
    wire.flush()?;
    let message = wire.message(false, &goes_on)?;
    if message.kind != b'p' {
        return Err(WireError::protocol("expected a SCRAM response"));
    }
    let last = text(&message.body)?;
    let (without, proof) = last
        .rsplit_once(",p=")
        .ok_or_else(|| WireError::protocol("malformed SCRAM message: no proof"))?;
    let expected = format!("c={},r={nonce}", STANDARD.encode(&header));
    let proof = STANDARD.decode(proof).unwrap_or_default();
    let spoken = format!("{bare},{server_first},{without}");
    let answer = (login.answer)(spoken.as_bytes(), &proof).filter(|_| without == expected);
    let Some(answer) = answer else {
        std::thread::sleep(REFUSED);
        let shown: String = user.chars().take(63).collect();
        let why = format!("password authentication failed for user \"{shown}\"");
        return Err(WireError::Fatal(SqlError::new(code::PASSWORD, why)));
    };
    wire.put(b'R', |out| {
        out.extend(12_u32.to_be_bytes());
        out.extend(format!("v={}", STANDARD.encode(answer)).bytes());
    })?;
    wire.put(b'R', |out| out.extend(0_u32.to_be_bytes()))
}

fn text(bytes: &[u8]) -> Result<&str, WireError> {
    std::str::from_utf8(bytes).map_err(|_| WireError::protocol("malformed SCRAM message"))
}
