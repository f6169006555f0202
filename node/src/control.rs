//! How another process of this machine asks a running service: one line of JSON each way
//! over a loopback socket. The address and a secret stand in a file that only the service's
//! user can read, so whoever may read the data may ask.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

use crate::private;

/// Longest line either way: the longest invoice there is, told as JSON.
const LINE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Longest that one question may take: anybody on this machine can connect and say nothing.
const ANSWER: Duration = Duration::from_secs(60);
/// Pause after the system could not give us a socket.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Serialize, Deserialize)]
struct Door {
    address: SocketAddr,
    secret: String,
}

#[derive(Serialize, Deserialize)]
struct Asked<T> {
    secret: String,
    question: T,
}

/// A question, and where its answer goes.
pub type Question<T> = (T, oneshot::Sender<serde_json::Value>);

/// Answers questions of type `T` until the returned receiver is dropped; `dir` gets the file.
///
/// # Errors
/// When no socket or file can be made.
pub async fn listen<T: DeserializeOwned + Send + 'static>(
    dir: &Path,
) -> io::Result<mpsc::Receiver<Question<T>>> {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let mut secret = [0; 32];
    SystemRandom::new().fill(&mut secret).map_err(|_| io::Error::other("no random numbers"))?;
    let secret = hex::encode(secret);
    let door = Door { address: socket.local_addr()?, secret: secret.clone() };
    private::write(&door_file(dir), &serde_json::to_vec(&door)?)?;
    let (questions, asked) = mpsc::channel(16);
    tokio::spawn(async move {
        while !questions.is_closed() {
            match socket.accept().await {
                Ok((stream, _)) => {
                    let answering = answer(stream, secret.clone(), questions.clone());
                    tokio::spawn(timeout(ANSWER, answering));
                }
                // Too many open files, most likely; one that asks later is answered again.
                Err(_) => sleep(PAUSE).await,
            }
        }
    });
    Ok(asked)
}

async fn answer<T: DeserializeOwned>(
    stream: TcpStream,
    secret: String,
    questions: mpsc::Sender<Question<T>>,
) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read.take(LINE_BYTES_MAX)).read_line(&mut line).await?;
    let asked: Asked<T> = serde_json::from_str(&line)?;
    if asked.secret != secret {
        return Ok(());
    }
    let (reply, answer) = oneshot::channel();
    if questions.send((asked.question, reply)).await.is_ok()
        && let Ok(answer) = answer.await
    {
        let mut line = serde_json::to_vec(&answer)?;
        line.push(b'\n');
        write.write_all(&line).await?;
    }
    Ok(())
}

/// Asks the service whose data folder is `dir`.
///
/// # Errors
/// [`ControlError`] when it is not running or does not answer.
pub async fn ask<T: Serialize>(dir: &Path, question: T) -> Result<serde_json::Value, ControlError> {
    let path = door_file(dir);
    let named = || path.display().to_string();
    let text = fs::read(&path).map_err(|_| ControlError::NotRunning { path: named() })?;
    let door: Door =
        serde_json::from_slice(&text).map_err(|_| ControlError::NotRunning { path: named() })?;
    let talk = async {
        let stream = TcpStream::connect(door.address).await?;
        let (read, mut write) = stream.into_split();
        let mut line = serde_json::to_vec(&Asked { secret: door.secret, question })?;
        line.push(b'\n');
        write.write_all(&line).await?;
        let mut answer = String::new();
        BufReader::new(read.take(LINE_BYTES_MAX)).read_line(&mut answer).await?;
        io::Result::Ok(serde_json::from_str(&answer)?)
    };
    talk.await.map_err(|_| ControlError::NotRunning { path: named() })
}

fn door_file(dir: &Path) -> PathBuf {
    dir.join("control.json")
}

/// The service cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Not running, or with another data folder.
    #[error("the service does not answer ({path}): start it, or check `data` in the configuration")]
    NotRunning {
        /// The control file.
        path: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_can_read_the_file_is_answered_and_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        assert!(ask(dir.path(), "status").await.is_err());
        let mut questions = listen::<String>(dir.path()).await.unwrap();
        tokio::spawn(async move {
            while let Some((question, reply)) = questions.recv().await {
                let _ = reply.send(serde_json::json!({ "asked": question }));
            }
        });
        assert_eq!(ask(dir.path(), "status").await.unwrap()["asked"], "status");
        let path = door_file(dir.path());
        let mut door: Door = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        door.secret = "wrong".to_owned();
        fs::write(&path, serde_json::to_vec(&door).unwrap()).unwrap();
        assert!(ask(dir.path(), "status").await.is_err());
    }
}
