//! What the transport alone carries: a dialler in this process, a portal in another, frames as the
//! engine sends them, and nothing behind them. Prints one JSON line per run.
//!
//! `carry [quic|tcp] [steady|bbr|cubic] [pings=2000] [frames=100] [frame_kb=512] [rtt_ms=40 ...]`: with a
//! setting of a link, as `link` takes them, that link stands in between.

use std::{
    error::Error,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use benches::link::{Link, LinkSpec};
use bytes::Bytes;
use node::transport::{
    Class, Congestion, Dialer, Endpoint, Identity, Limits, Listener, PinSet, Transport, tcp,
};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};

const PING_BYTES: usize = 100;

type AnyError = Box<dyn Error>;

/// What one run does.
struct Plan {
    transport: Transport,
    congestion: Congestion,
    pings: usize,
    frames: usize,
    frame_bytes: usize,
    link: Vec<String>,
}

fn main() -> Result<(), AnyError> {
    let mut plan = Plan {
        transport: Transport::Quic,
        congestion: Congestion::default(),
        pings: 2000,
        frames: 100,
        frame_bytes: 512 * 1024,
        link: Vec::new(),
    };
    let mut serving = false;
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some(("pings", value)) => plan.pings = value.parse()?,
            Some(("frames", value)) => plan.frames = value.parse()?,
            Some(("frame_kb", value)) => plan.frame_bytes = value.parse::<usize>()? * 1024,
            Some(_) => plan.link.push(argument),
            None => match argument.as_str() {
                "quic" => plan.transport = Transport::Quic,
                "tcp" => plan.transport = Transport::Tcp,
                "steady" => plan.congestion = Congestion::Steady,
                "bbr" => plan.congestion = Congestion::Bbr,
                "cubic" => plan.congestion = Congestion::Cubic,
                "serve" => serving = true,
                other => return Err(format!("{other} is not understood").into()),
            },
        }
    }
    let runtime = tokio::runtime::Runtime::new()?;
    if serving { runtime.block_on(serve(plan.congestion)) } else { runtime.block_on(carry(&plan)) }
}

/// The portal: echoes control, and answers every bundle with eight bytes of control.
async fn serve(congestion: Congestion) -> Result<(), AnyError> {
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
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
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

async fn carry(plan: &Plan) -> Result<(), AnyError> {
    let Plan { transport, congestion, pings, frames, frame_bytes, .. } = *plan;
    let (portal, customer) = (pems()?, pems()?);
    let name = match congestion {
        Congestion::Steady => "steady",
        Congestion::Bbr => "bbr",
        Congestion::Cubic => "cubic",
    };
    let mut child = Command::new(std::env::current_exe()?)
        .args(["serve", name])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().ok_or("no stdin")?;
    write!(stdin, "{}{}{}{}", portal.0, portal.1, customer.0, customer.1)?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
    let mut remote: SocketAddr = line.trim().parse()?;
    let mut spec = LinkSpec::clear(remote);
    for setting in &plan.link {
        spec.set(setting)?;
    }
    let link = if plan.link.is_empty() { None } else { Some(Link::start(spec)?) };
    if let Some(link) = &link {
        remote = link.local();
    }

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
    let mut quiet = Vec::with_capacity(pings);
    for _ in 0..pings {
        let sent = Instant::now();
        sender.send(Class::Control, ping.clone()).await?;
        receiver.recv().await.ok_or("closed")??;
        quiet.push(sent.elapsed());
    }

    let started = Instant::now();
    let bundles = sender.clone();
    let sending = tokio::spawn(async move {
        let frame = Bytes::from(vec![9; frame_bytes]);
        for _ in 0..frames {
            bundles.send(Class::Bundles, frame.clone()).await?;
        }
        Ok::<_, node::transport::ConnectionError>(())
    });
    let (mut received, mut busy, mut ping_sent) = (0, Vec::new(), Instant::now());
    sender.send(Class::Control, ping.clone()).await?;
    while received < frames {
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
    let overflow = link.as_ref().map_or(0, |link| link.up().overflow_packets);
    println!(
        "{{\"link\":\"{}\",\"transport\":\"{transport:?}\",\"congestion\":\"{name}\",\"open_ms\":{:.2},\"ping_p50_us\":{},\"ping_p99_us\":{},\"bulk_mb\":{:.1},\"bulk_s\":{:.3},\"bulk_mb_per_s\":{:.1},\"busy_ping_p50_us\":{},\"busy_ping_p99_us\":{},\"lost_packets\":{},\"overflow_packets\":{overflow},\"sent_datagrams\":{},\"received_datagrams\":{}}}",
        plan.link.join(" "),
        opened.as_secs_f64() * 1e3,
        percentile(&mut quiet, 50),
        percentile(&mut quiet, 99),
        (frames * frame_bytes) as f64 / 1e6,
        elapsed.as_secs_f64(),
        (frames * frame_bytes) as f64 / 1e6 / elapsed.as_secs_f64(),
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
