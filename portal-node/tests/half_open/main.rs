//! Thousands of strangers begin a handshake with a portal and go no further: it costs the portal a
//! fixed amount of memory, and its customers notice little.
//!
//! The portal is the program as it is installed. The strangers come from thousands of loopback
//! addresses, half of them with QUIC's first packet and half by TCP: of these a third is silent, a
//! third says half of what TLS begins with, a third all of it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod good;
mod portal;
#[path = "../../../benches/src/ports.rs"]
mod ports;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use node::transport::Transport;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
    sync::watch,
};

use good::GoodPeer;
use portal::{Portal, stranger};

const MEMORY_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What one run found.
#[derive(Debug)]
struct Found {
    attempts: usize,
    memory_before: u64,
    memory_peak: u64,
    calm_ms: Vec<f64>,
    under_load_ms: Vec<f64>,
    newcomer_quic_ms: f64,
    newcomer_tcp_ms: f64,
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() as f64 * share) as usize).min(sorted.len() - 1)]
}

impl Found {
    fn rise(&self) -> u64 {
        self.memory_peak.saturating_sub(self.memory_before)
    }

    fn p99_ratio(&self) -> f64 {
        quantile(&self.under_load_ms, 0.99) / quantile(&self.calm_ms, 0.99)
    }

    fn print(&self) {
        let of = |all: &[f64], share| format!("{:.2}", quantile(all, share));
        println!(
            "{{\"scenario\":\"half-open\",\"attempts\":{},\"rss_before_bytes\":{},\"rss_rise_bytes\":{},\
             \"bundles_calm\":{},\"acknowledged_p50_ms\":{},\"acknowledged_p99_ms\":{},\
             \"bundles_under_load\":{},\"under_load_p50_ms\":{},\"under_load_p99_ms\":{},\
             \"p99_ratio\":{:.2},\"newcomer_quic_ms\":{:.1},\"newcomer_tcp_ms\":{:.1}}}",
            self.attempts,
            self.memory_before,
            self.rise(),
            self.calm_ms.len(),
            of(&self.calm_ms, 0.5),
            of(&self.calm_ms, 0.99),
            self.under_load_ms.len(),
            of(&self.under_load_ms, 0.5),
            of(&self.under_load_ms, 0.99),
            self.p99_ratio(),
            self.newcomer_quic_ms,
            self.newcomer_tcp_ms,
        );
    }
}

/// One of thousands of strangers' addresses.
fn source(n: usize) -> IpAddr {
    Ipv4Addr::new(127, 1, (n / 250) as u8, (n % 250) as u8 + 1).into()
}

/// `attempts` handshakes are begun; `samples` bundles are acknowledged before that.
async fn run(attempts: usize, samples: usize) -> Found {
    let portal = Portal::start().await;
    let mut good = GoodPeer::connected(&portal, Transport::Quic).await;
    let mut calm_ms = Vec::new();
    for _ in 0..samples {
        calm_ms.push(good.acknowledged().await);
    }
    let initials = initials(attempts / 2).await;
    let hello = client_hello().await;
    let memory_before = portal.resident_bytes();

    let (over, is_over) = watch::channel(false);
    let watched = tokio::spawn(peak(portal.pid(), is_over.clone()));
    let address = portal.address;
    let quic = tokio::spawn(async move {
        for (n, packet) in initials.iter().enumerate() {
            UdpSocket::bind((source(n), 0)).unwrap().send_to(packet, address).unwrap();
            pace(n).await;
        }
    });
    let tcp = tokio::spawn(async move {
        for n in 0..attempts / 2 {
            tokio::spawn(half_open(n, address, hello.clone(), is_over.clone()));
            pace(n).await;
        }
    });
    // Newcomers arrive in the thick of it, and the good peer writes on.
    let newcomers = async {
        quic.await.unwrap();
        tcp.await.unwrap();
        let quic = GoodPeer::connects(&portal, Transport::Quic).await;
        let tcp = GoodPeer::connects(&portal, Transport::Tcp).await;
        (quic, tcp)
    };
    let mut under_load_ms = Vec::new();
    let (newcomer_quic_ms, newcomer_tcp_ms) = {
        tokio::pin!(newcomers);
        loop {
            tokio::select! {
                biased;
                arrived = &mut newcomers => break arrived,
                sample = good.acknowledged() => under_load_ms.push(sample),
            }
        }
    };
    while under_load_ms.len() < samples {
        under_load_ms.push(good.acknowledged().await);
    }
    over.send(true).unwrap();
    let memory_peak = watched.await.unwrap();
    calm_ms.sort_by(f64::total_cmp);
    under_load_ms.sort_by(f64::total_cmp);
    Found {
        attempts,
        memory_before,
        memory_peak,
        calm_ms,
        under_load_ms,
        newcomer_quic_ms,
        newcomer_tcp_ms,
    }
}

/// Slow enough for the portal's socket to hold what comes: 2,500 in a second.
async fn pace(n: usize) {
    if n.is_multiple_of(25) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A TCP connection that never becomes a session.
async fn half_open(n: usize, to: SocketAddr, hello: Vec<u8>, mut is_over: watch::Receiver<bool>) {
    let socket = TcpSocket::new_v4().unwrap();
    // Other addresses than those of the QUIC strangers, 10,000 further on.
    socket.bind(SocketAddr::new(source(10_000 + n), 0)).unwrap();
    let Ok(mut stream) = socket.connect(to).await else { return };
    let said = [0, hello.len() / 2, hello.len()][n % 3];
    let _ = stream.write_all(&hello[..said]).await;
    let _ = is_over.wait_for(|over| *over).await;
}

/// The most memory that the process takes until it is over.
async fn peak(pid: u32, mut is_over: watch::Receiver<bool>) -> u64 {
    let mut peak = 0;
    loop {
        peak = peak.max(portal::resident_bytes(pid));
        tokio::select! {
            _ = is_over.wait_for(|over| *over) => return peak,
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
    }
}

/// First packets of as many diallers, caught before they reach anyone.
async fn initials(count: usize) -> Vec<Vec<u8>> {
    let sink = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let to = sink.local_addr().unwrap();
    let mut packets = Vec::with_capacity(count);
    let mut buffer = [0; 2048];
    while packets.len() < count {
        let (dialer, nobody) = stranger();
        tokio::select! {
            _ = dialer.dial(0, to, nobody, Transport::Quic) => unreachable!("nobody answers"),
            received = sink.recv_from(&mut buffer) => {
                packets.push(buffer[..received.unwrap().0].to_vec());
            }
        }
    }
    packets
}

/// What TLS begins with over TCP, caught in the same way.
async fn client_hello() -> Vec<u8> {
    let sink = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let to = sink.local_addr().unwrap();
    let (dialer, nobody) = stranger();
    let heard = async {
        let (mut stream, _) = sink.accept().await.unwrap();
        let mut buffer = vec![0; 4096];
        let length = stream.read(&mut buffer).await.unwrap();
        buffer.truncate(length);
        buffer
    };
    tokio::select! {
        _ = dialer.dial(0, to, nobody, Transport::Tcp) => unreachable!("nobody answers"),
        hello = heard => hello,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_half_open_handshakes_cost_little_memory_and_keep_nobody_out() {
    let found = run(500, 20).await;
    found.print();
    assert!(found.rise() <= MEMORY_BYTES_MAX, "{found:?}");
}

/// `make half-open`: speed is measured, so nothing else should run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures speed: make half-open"]
async fn five_thousand_half_open_handshakes() {
    let began = Instant::now();
    let found = run(5000, 500).await;
    found.print();
    assert!(found.rise() <= MEMORY_BYTES_MAX, "{} bytes", found.rise());
    assert!(found.p99_ratio() <= 2.0, "{}", found.p99_ratio());
    println!("in {} s", began.elapsed().as_secs());
}
