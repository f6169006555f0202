//! A client of SQL that costs as little as it can: clients are other machines, and what one takes
//! of the processors here is missing where the answers are made. It speaks to node and PostgreSQL
//! alike, counts the rows of an answer as their bytes come, and decodes none but for us.

use std::{io, net::SocketAddr};

use benches::end::AnyError;
use bytes::{Buf, BytesMut};
use postgres_protocol::{
    IsNull,
    authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256},
    message::{backend::Header, frontend},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{PASSWORD, TENANT, USER};

/// Room for what comes at once.
const READ_BYTES: usize = 64 * 1024;

/// A connection.
pub struct Client {
    stream: TcpStream,
    read: BytesMut,
    write: BytesMut,
}

impl Client {
    /// Comes in.
    pub async fn connect(address: SocketAddr) -> Result<Self, AnyError> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut client = Self { stream, read: BytesMut::new(), write: BytesMut::new() };
        frontend::startup_message([("user", USER), ("database", TENANT)], &mut client.write)?;
        let mut scram = ScramSha256::new(PASSWORD.as_bytes(), ChannelBinding::unsupported());
        loop {
            client.send().await?;
            // The answers that we must answer: SASL asked for, its second step, and its end.
            let said = loop {
                match client.message().await? {
                    (b'R', said) => break Some(said),
                    (b'Z', _) => break None,
                    _ => {}
                }
            };
            let Some(mut said) = said else { return Ok(client) };
            match said.try_get_i32()? {
                0 => {}
                10 => frontend::sasl_initial_response(
                    SCRAM_SHA_256,
                    scram.message(),
                    &mut client.write,
                )?,
                11 => {
                    scram.update(&said)?;
                    frontend::sasl_response(scram.message(), &mut client.write)?;
                }
                12 => scram.finish(&said)?,
                other => return Err(format!("it wants to be proved by {other}").into()),
            }
        }
    }

    /// Has a statement prepared under this name.
    pub async fn prepare(&mut self, name: &str, sql: &str) -> Result<(), AnyError> {
        frontend::parse(name, sql, [], &mut self.write)?;
        frontend::sync(&mut self.write);
        self.send().await?;
        self.rows().await.map(drop)
    }

    /// Asks a prepared statement about this subject, if it has one, and says how many rows the
    /// answer had, all of them here.
    pub async fn ask(&mut self, name: &str, subject: Option<&str>) -> Result<usize, AnyError> {
        let text = |subject: &str, out: &mut BytesMut| {
            out.extend_from_slice(subject.as_bytes());
            Ok(IsNull::No)
        };
        // Parameters are texts; columns come in binary.
        let bound = frontend::bind("", name, [], subject, text, [1], &mut self.write);
        bound.map_err(|_| io::Error::other("that subject is too long"))?;
        frontend::execute("", 0, &mut self.write)?;
        frontend::sync(&mut self.write);
        self.send().await?;
        self.rows().await
    }

    /// The rows of a statement, as texts; what is null is empty.
    pub async fn texts(&mut self, sql: &str) -> Result<Vec<Vec<String>>, AnyError> {
        frontend::query(sql, &mut self.write)?;
        self.send().await?;
        let mut rows = Vec::new();
        loop {
            match self.message().await? {
                (b'D', mut row) => {
                    let mut texts = Vec::new();
                    for _ in 0..row.try_get_u16()? {
                        let length = usize::try_from(row.try_get_i32()?).unwrap_or(0);
                        let length = length.min(row.len());
                        texts.push(String::from_utf8(row.split_to(length).to_vec())?);
                    }
                    rows.push(texts);
                }
                (b'Z', _) => return Ok(rows),
                _ => {}
            }
        }
    }

    async fn send(&mut self) -> Result<(), AnyError> {
        self.stream.write_all(&self.write).await?;
        self.write.clear();
        Ok(())
    }

    /// How many rows come until it is our turn again.
    async fn rows(&mut self) -> Result<usize, AnyError> {
        let mut rows = 0;
        loop {
            while let Some((kind, length)) = self.whole()? {
                match kind {
                    b'D' => rows += 1,
                    b'E' => return Err(refused(&self.read[..length])),
                    _ => {}
                }
                self.read.advance(length);
                if kind == b'Z' {
                    return Ok(rows);
                }
            }
            self.more().await?;
        }
    }

    /// The next message: its letter, and what follows its length.
    async fn message(&mut self) -> Result<(u8, BytesMut), AnyError> {
        loop {
            if let Some((kind, length)) = self.whole()? {
                let mut message = self.read.split_to(length);
                if kind == b'E' {
                    return Err(refused(&message));
                }
                message.advance(5);
                return Ok((kind, message));
            }
            self.more().await?;
        }
    }

    /// The letter and the length of the message that is here, if it is here whole.
    fn whole(&self) -> Result<Option<(u8, usize)>, AnyError> {
        let Some(header) = Header::parse(&self.read)? else { return Ok(None) };
        let length = usize::try_from(header.len())? + 1;
        Ok((self.read.len() >= length).then_some((header.tag(), length)))
    }

    async fn more(&mut self) -> Result<(), AnyError> {
        self.read.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err("it hung up".into()),
            _ => Ok(()),
        }
    }
}

/// What an error says, field by field.
fn refused(message: &[u8]) -> AnyError {
    let fields = message.get(5..).unwrap_or_default().split(|byte| *byte == 0);
    let fields: Vec<_> = fields.map(String::from_utf8_lossy).collect();
    format!("it was refused: {}", fields.join(" ").trim_end()).into()
}
