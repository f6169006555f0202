//! What the transport alone carries: a dialler in this process, a portal in another, frames as the
//! engine sends them, and nothing behind them. Prints one JSON line per run.
//!
//! `carry [quic|tcp] [bbr|cubic] [PORT]`: with a port, dials that port of loopback instead of the
//! portal's own, so that a link (`link`) may stand in between; the portal then listens on PORT + 1.

use std::{
    error::Error,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use node::transport::{
    Class, Congestion, Dialer, Endpoint, Identity, Limits, Listener, PinSet, Transport, tcp,
};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};

const BUNDLE_FRAMES: usize = 100;
const BUNDLE_FRAME_BYTES: usize = 512 * 1024;
const PINGS: usize = 2000;
const PING_BYTES: usize = 100;

type AnyError = Box<dyn Error>;

fn main() -> Result<(), AnyError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| arguments.iter().any(|argument| argument == word);
    let transport = if has("tcp") { Transport::Tcp } else { Transport::Quic };
    let congestion = if has("cubic") { Congestion::Cubic } else { Congestion::Bbr };
    let port = arguments.iter().find_map(|argument| argument.parse::<u16>().ok());
    let runtime = tokio::runtime::Runtime::new()?;
    if has("serve") {
        runtime.block_on(serve(congestion, port.unwrap_or(0)))
    } else {
        runtime.block_on(carry(transport, congestion, port))
    }
}

/// The portal: echoes control, and answers every bundle with eight bytes of control.
async fn serve(congestion: Congestion, port: u16) -> Result<(), AnyError> {
    let mut lines = std::io::stdin().lines();
    let mut read_pem = || -> Result<String, AnyError> {
        let mut pem = String::new();
        for line in lines.by_ref() {
            let line = line?;
            pem += &line;
            pem.push('\n');
            if line.starts_with("-----END") {
                break;
            }
        }
        Ok(pem)
    };
    let identity = Identity::from_pem(&read_pem()?, &read_pem()?)?;
    let customer = Identity::from_pem(&read_pem()?, &read_pem()?)?;
    let pins = PinSet::new([(customer.peer(), None)].into());
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let endpoint = Endpoint::bind_with(local, congestion)?;
    let socket = tcp::listen(endpoint.local())?;
    println!("{}", endpoint.local());
    let mut listener =
        Listener::start(&identity, &pins, vec![endpoint], vec![socket], Limits::default())?;
    while let Some(connection) = listener.accept().await {
        let (sender, mut receiver) = connection.split();
        while let Some(Ok((class, frame))) = receiver.recv().await {
            let answer = match class {
                Class::Control => frame,
                _ => Bytes::from_static(b"received"),
            };
            if sender.send(Class::Control, answer).await.is_err() {
                break;
            }
        }
    }
    Ok(())
}

async fn carry(
    transport: Transport,
    congestion: Congestion,
    port: Option<u16>,
) -> Result<(), AnyError> {
    let (portal, customer) = (pems()?, pems()?);
    let name = if congestion == Congestion::Bbr { "bbr" } else { "cubic" };
    let mut child = Command::new(std::env::current_exe()?)
        .args(["serve", name, &port.map_or(0, |port| port + 1).to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().ok_or("no stdin")?;
    write!(stdin, "{}{}{}{}", portal.0, portal.1, customer.0, customer.1)?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
    let mut remote: SocketAddr = line.trim().parse()?;
    remote.set_port(port.unwrap_or(remote.port()));

    let portal = Identity::from_pem(&portal.0, &portal.1)?.peer();
    let customer = Identity::from_pem(&customer.0, &customer.1)?;
    let line = Endpoint::bind_with((Ipv4Addr::LOCALHOST, 0).into(), congestion)?;
    let dialer = Dialer::new(customer, PinSet::new([(portal, None)].into()), vec![line]);

    let started = Instant::now();
    let connection = dialer.dial(0, remote, portal, transport).await?;
    let (sender, mut receiver) = connection.split();
    sender.send(Class::Control, "hello".into()).await?;
    receiver.recv().await.ok_or("closed")??;
    let opened = started.elapsed();

    let ping = Bytes::from(vec![7; PING_BYTES]);
    let mut quiet = Vec::with_capacity(PINGS);
    for _ in 0..PINGS {
        let sent = Instant::now();
        sender.send(Class::Control, ping.clone()).await?;
        receiver.recv().await.ok_or("closed")??;
        quiet.push(sent.elapsed());
    }

    let started = Instant::now();
    let bundles = sender.clone();
    let sending = tokio::spawn(async move {
        let frame = Bytes::from(vec![9; BUNDLE_FRAME_BYTES]);
        for _ in 0..BUNDLE_FRAMES {
            bundles.send(Class::Bundles, frame.clone()).await?;
        }
        Ok::<_, node::transport::ConnectionError>(())
    });
    let (mut received, mut busy, mut ping_sent) = (0, Vec::new(), Instant::now());
    sender.send(Class::Control, ping.clone()).await?;
    while received < BUNDLE_FRAMES {
        let (_, frame) = receiver.recv().await.ok_or("closed")??;
        if frame.len() == PING_BYTES {
            busy.push(ping_sent.elapsed());
            ping_sent = Instant::now();
            sender.send(Class::Control, ping.clone()).await?;
        } else {
            received += 1;
        }
    }
    let elapsed = started.elapsed();
    sending.await??;

    let stats = sender.stats();
    println!(
        "{{\"transport\":\"{transport:?}\",\"congestion\":\"{name}\",\"open_ms\":{:.2},\"ping_p50_us\":{},\"ping_p99_us\":{},\"bulk_mb\":{:.1},\"bulk_s\":{:.3},\"bulk_mb_per_s\":{:.1},\"busy_ping_p50_us\":{},\"busy_ping_p99_us\":{},\"lost_packets\":{},\"sent_datagrams\":{},\"received_datagrams\":{}}}",
        opened.as_secs_f64() * 1e3,
        percentile(&mut quiet, 50),
        percentile(&mut quiet, 99),
        (BUNDLE_FRAMES * BUNDLE_FRAME_BYTES) as f64 / 1e6,
        elapsed.as_secs_f64(),
        (BUNDLE_FRAMES * BUNDLE_FRAME_BYTES) as f64 / 1e6 / elapsed.as_secs_f64(),
        percentile(&mut busy, 50),
        percentile(&mut busy, 99),
        stats.lost_packets,
        stats.sent_datagrams,
        stats.received_datagrams,
    );
    sender.close(0, "measured").await;
    child.kill()?;
    child.wait()?;
    Ok(())
}

/// A certificate and its key, for a day.
fn pems() -> Result<(String, String), AnyError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(vec!["carry.test".into()])?;
    let now = std::time::SystemTime::now();
    params.not_before = (now - Duration::from_secs(3600)).into();
    params.not_after = (now + Duration::from_secs(24 * 3600)).into();
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

/// In microseconds.
fn percentile(samples: &mut [Duration], percent: usize) -> u128 {
    samples.sort_unstable();
    samples
        .get((samples.len() * percent / 100).min(samples.len().saturating_sub(1)))
        .map_or(0, Duration::as_micros)
}
