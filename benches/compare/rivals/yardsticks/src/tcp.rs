//! A TCP client with two addresses: it uses one until that one fails or is silent for a second, then
//! the other, and says again what was not acknowledged.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, timeout},
};

use super::{
    AnyError,
    said::{MESSAGE_BYTES, Said, number},
};

/// How long an answer, or a connection, is waited for before the other address is tried.
const PATIENCE: Duration = Duration::from_secs(1);
/// After an address that refuses at once.
const BREATH: Duration = Duration::from_millis(50);

/// Acknowledges what comes, for ever.
pub async fn serve() -> Result<(), AnyError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    loop {
        let (mut stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let mut message = [0; MESSAGE_BYTES];
            while stream.read_exact(&mut message).await.is_ok() {
                if stream.write_all(&(number(&message) + 1).to_be_bytes()).await.is_err() {
                    break;
                }
            }
        });
    }
}

/// Writes to one or the other.
pub async fn write(addresses: [SocketAddr; 2]) -> Result<(), AnyError> {
    let mut said = Said::start();
    for address in addresses.iter().cycle() {
        if said.is_over() {
            break;
        }
        match timeout(PATIENCE, TcpStream::connect(address)).await {
            // Whatever ended it, the other is next.
            Ok(Ok(stream)) => drop(converse(stream, &mut said).await),
            Ok(Err(_)) => sleep(BREATH).await,
            Err(_) => {}
        }
    }
    said.print();
    Ok(())
}

/// Says all that is not acknowledged, until an answer stays away too long.
async fn converse(mut stream: TcpStream, said: &mut Said) -> Result<(), AnyError> {
    stream.set_nodelay(true)?;
    let (mut from, mut to) = stream.split();
    let mut next = said.acknowledged();
    let mut heard = Instant::now();
    let mut answer = [0; 8];
    let mut filled = 0;
    while !said.is_over() {
        while next < said.count() {
            timeout(PATIENCE, to.write_all(&Said::message(next))).await??;
            next += 1;
        }
        if next == said.acknowledged() {
            heard = Instant::now();
        }
        tokio::select! {
            read = from.read(&mut answer[filled..]) => {
                let read = read?;
                if read == 0 {
                    return Err("the end".into());
                }
                filled += read;
                if filled == answer.len() {
                    said.acknowledge(number(&answer));
                    (filled, heard) = (0, Instant::now());
                }
            }
            () = tokio::time::sleep_until(said.at(next)) => {}
            () = tokio::time::sleep_until(heard + PATIENCE) => return Err("silence".into()),
        }
    }
    Ok(())
}
