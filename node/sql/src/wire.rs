//! The PostgreSQL protocol, version 3, as bytes: messages read with a bound on their length,
//! messages written through a small buffer, so that whoever reads slowly slows the writer down
//! and costs no memory. It knows what a message looks like and not what it means.

use std::{
    io::{self, BufReader, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use rustls::{ServerConnection, StreamOwned};

use crate::error::{SqlError, code};

/// Longest message before a client is known.
const STARTUP_BYTES_MAX: usize = 10_000;
/// Longest message of a client that is.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Bytes kept before they go out.
const OUT_BYTES: usize = 16 * 1024;
/// How often a wait for a client looks whether it shall end.
pub const TICK: Duration = Duration::from_millis(500);

/// A connection, as it came or inside TLS.
pub enum Stream {
    /// As it came.
    Plain(TcpStream),
    /// Inside TLS.
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Stream {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => &tls.sock,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(into),
            Self::Tls(tls) => tls.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}

/// Why a conversation ends.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The client is gone, or the network.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The client sent what is no message; it is told before the end.
    #[error("{0}")]
    Fatal(SqlError),
    /// We stop.
    #[error("the service stops")]
    Stopped,
}

impl WireError {
    pub(crate) fn protocol(why: impl Into<String>) -> Self {
        Self::Fatal(SqlError::new(code::PROTOCOL, why))
    }
}

/// A message of a client.
pub struct Message {
    /// Its letter.
    pub kind: u8,
    /// What follows its length.
    pub body: Vec<u8>,
}

/// Both directions of one connection.
pub struct Wire {
    /// A question is several messages, read at once.
    stream: BufReader<Stream>,
    out: Vec<u8>,
}

impl Wire {
    /// `stall` is how long a client may take none of what it is sent.
    pub fn new(stream: Stream, stall: Duration) -> io::Result<Self> {
        let socket = stream.socket();
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(TICK))?;
        socket.set_write_timeout(Some(stall))?;
        Ok(Self { stream: BufReader::new(stream), out: Vec::with_capacity(OUT_BYTES + 1024) })
    }

    /// The connection, from which nothing was read that is not taken: what a client says in the
    /// clear must not pass for what it says inside TLS.
    pub fn into_stream(self) -> Result<Stream, WireError> {
        if self.stream.buffer().is_empty() {
            return Ok(self.stream.into_inner());
        }
        Err(WireError::protocol("received unencrypted data after SSL request"))
    }

    /// Fills `into`; `goes_on` is asked at every tick.
    fn fill(&mut self, into: &mut [u8], goes_on: &dyn Fn() -> bool) -> Result<(), WireError> {
        let mut done = 0;
        while done < into.len() {
            match self.stream.read(&mut into[done..]) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(n) => done += n,
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) =>
                {
                    if !goes_on() {
                        return Err(WireError::Stopped);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The first message, which has no letter.
    pub fn startup(&mut self, deadline: Instant) -> Result<Vec<u8>, WireError> {
        let goes_on = move || Instant::now() < deadline;
        let mut length = [0; 4];
        self.fill(&mut length, &goes_on)?;
        let length = u32::from_be_bytes(length) as usize;
        if !(8..=STARTUP_BYTES_MAX).contains(&length) {
            return Err(WireError::protocol("invalid length of startup packet"));
        }
        let mut body = vec![0; length - 4];
        self.fill(&mut body, &goes_on)?;
        Ok(body)
    }

    /// The next message.
    pub fn message(
        &mut self,
        known: bool,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Message, WireError> {
        let mut head = [0; 5];
        self.fill(&mut head, goes_on)?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let most = if known { MESSAGE_BYTES_MAX } else { STARTUP_BYTES_MAX };
        if !(4..=most).contains(&length) {
            let why = format!("invalid message length {length}: at most {most} bytes");
            return Err(WireError::protocol(why));
        }
        let mut body = vec![0; length - 4];
        self.fill(&mut body, goes_on)?;
        Ok(Message { kind: head[0], body })
    }

    /// Puts one message into the buffer: `body` writes what follows the length.
    pub fn put(&mut self, kind: u8, body: impl FnOnce(&mut Vec<u8>)) -> Result<(), WireError> {
        let start = begin(&mut self.out, kind);
        body(&mut self.out);
        end(&mut self.out, start);
        if self.out.len() >= OUT_BYTES { self.flush() } else { Ok(()) }
    }

    /// Puts bytes that are a whole message already.
    pub fn put_whole(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        self.out.extend_from_slice(bytes);
        if self.out.len() >= OUT_BYTES { self.flush() } else { Ok(()) }
    }

    /// A byte before there are messages.
    pub fn answer(&mut self, byte: u8) -> Result<(), WireError> {
        self.out.push(byte);
        self.flush()
    }

    /// Sends what is in the buffer. Waits for a client that reads slowly.
    pub fn flush(&mut self) -> Result<(), WireError> {
        let stream = self.stream.get_mut();
        let sent = stream.write_all(&self.out).and_then(|()| stream.flush());
        self.out.clear();
        if self.out.capacity() > 4 * OUT_BYTES {
            self.out = Vec::with_capacity(OUT_BYTES + 1024);
        }
        Ok(sent?)
    }

    /// An error; `fatal` ones are the last message.
    pub fn error(&mut self, error: &SqlError, fatal: bool) -> Result<(), WireError> {
        let severity = if fatal { "FATAL" } else { "ERROR" };
        self.put(b'E', |out| {
            for (field, text) in
                [(b'S', severity), (b'V', severity), (b'C', error.code), (b'M', &error.message)]
            {
                out.push(field);
                text_to(out, text);
            }
            if let Some(hint) = error.hint {
                out.push(b'H');
                text_to(out, hint);
            }
            out.push(0);
        })
    }
}

/// Begins a message in `out`.
pub fn begin(out: &mut Vec<u8>, kind: u8) -> usize {
    out.push(kind);
    out.extend([0; 4]);
    out.len()
}

/// Ends the message begun at `start`.
pub fn end(out: &mut [u8], start: usize) {
    let length = u32::try_from(out.len() - start + 4).unwrap_or(u32::MAX);
    out[start - 4..start].copy_from_slice(&length.to_be_bytes());
}

/// A text and its end.
pub fn text_to(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().filter(|byte| *byte != 0));
    out.push(0);
}

/// What follows in a message, taken piece by piece.
pub struct Cut<'a>(pub &'a [u8]);

impl<'a> Cut<'a> {
    fn short() -> WireError {
        WireError::protocol("insufficient data left in message")
    }

    pub fn byte(&mut self) -> Result<u8, WireError> {
        Ok(self.bytes(1)?[0])
    }

    pub fn short_int(&mut self) -> Result<u16, WireError> {
        let bytes = self.bytes(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub fn int(&mut self) -> Result<i32, WireError> {
        let bytes = self.bytes(4)?;
        Ok(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or_else(Self::short)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// A text up to its end.
    pub fn text(&mut self) -> Result<&'a str, WireError> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or_else(Self::short)?;
        let text = std::str::from_utf8(&self.0[..end]);
        self.0 = &self.0[end + 1..];
        text.map_err(|_| WireError::protocol("invalid byte sequence for encoding UTF8"))
    }
}
