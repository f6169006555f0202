//! What failover is measured against: a client writes a message every few milliseconds and a server
//! acknowledges each at once, storing nothing, while something fails in between.
//!
//! `tcp server` and `multipath server CERT` print the port they listen at; `tcp client ADDRESS
//! ADDRESS` and `multipath client ADDRESS ADDRESS CERT` write for some seconds, then print when each
//! message was said and when it was acknowledged, 0 for never, in milliseconds of the machine's
//! monotonic clock.

mod multipath;
mod said;
mod tcp;

use std::net::SocketAddr;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), AnyError> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let address = |text: &str| text.parse::<SocketAddr>();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match words[..] {
            ["tcp", "server"] => tcp::serve().await,
            ["tcp", "client", one, other] => tcp::write([address(one)?, address(other)?]).await,
            ["multipath", "server", timers, cert] => multipath::serve(timers, cert).await,
            ["multipath", "client", timers, one, other, cert] => {
                multipath::write(timers, [address(one)?, address(other)?], cert).await
            }
            _ => Err(format!("there is no {words:?}: read the head of main.rs").into()),
        }
    })
}
