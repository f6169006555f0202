//! Thousands of attempts that go nowhere cost a fixed amount of memory, and the door still opens.
//!
//! The portal runs in a process of its own (this test program again), so that its memory is its
//! own; the attempts come from thousands of loopback addresses, as from thousands of strangers.

#![cfg(target_os = "linux")]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    process::{Command, Stdio},
    time::Duration,
};

use engine::id::PeerId;
use node::transport::{Class, Dialer, Endpoint, Identity, Limits, Listener, Transport, tcp};

use crate::support::{Party, loopback, pins, soon};

const ATTEMPTS: usize = 5000;
const TCP_ATTEMPTS: usize = 600;
const MEMORY_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Tells the child who it is: folder of its identity, and the customer's pin.
const CHILD: &str = "STAFFETTA_HALF_OPEN_CHILD";

#[tokio::test]
async fn thousands_of_half_open_handshakes_cost_little() {
    let (portal, customer, folder) = (Party::new(), Party::new(), tempfile::tempdir().unwrap());
    fs::write(folder.path().join("cert"), &portal.cert_pem).unwrap();
    fs::write(folder.path().join("key"), &portal.key_pem).unwrap();
    let arguments = format!("{} {}", folder.path().display(), customer.peer());
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "half_open::portal", "--ignored", "--nocapture"])
        .env(CHILD, arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut answer = move |about: &str| -> String {
        let lines = lines.by_ref().map(Result::unwrap);
        lines
            .filter_map(|line| line.split_once(about).map(|(_, rest)| rest.to_owned()))
            .next()
            .unwrap()
    };
    let quic: SocketAddr = answer("quic ").parse().unwrap();
    let over_tcp: SocketAddr = answer("tcp ").parse().unwrap();
    let mut memory = move || -> u64 {
        writeln!(stdin, "memory").unwrap();
        answer("memory ").parse().unwrap()
    };

    let first_packets = first_packets().await;
    let before = memory();
    for (n, packet) in first_packets.iter().enumerate() {
        let n = n + 256;
        let source = Ipv4Addr::new(127, 1, u8::try_from(n / 256).unwrap(), (n % 256) as u8);
        UdpSocket::bind((source, 0)).unwrap().send_to(packet, quic).unwrap();
        if n % 64 == 0 {
            // Slow enough for its socket's buffer to hold what comes.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let mut sockets = Vec::new();
    for _ in 0..TCP_ATTEMPTS {
        sockets.push(tokio::net::TcpStream::connect(over_tcp).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let cost = memory().saturating_sub(before);
    println!("{ATTEMPTS} attempts over QUIC and {TCP_ATTEMPTS} over TCP cost {cost} bytes");
    assert!(cost < MEMORY_BYTES_MAX, "{cost} bytes");

    // In the thick of it a customer from elsewhere still gets in.
    let line = Endpoint::bind("127.2.0.1:0".parse().unwrap()).unwrap();
    let dialer = Dialer::new(customer.identity.clone(), pins([portal.peer()]), vec![line]);
    let connection =
        soon(dialer.dial(0, quic, portal.peer(), Transport::Quic)).await.expect("a way in");
    let (sender, mut receiver) = connection.split();
    sender.send(Class::Control, "hello".into()).await.unwrap();
    assert_eq!(&soon(receiver.recv()).await.unwrap().unwrap().1[..], b"hello");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// First packets of as many diallers, caught before they reach anyone.
async fn first_packets() -> Vec<Vec<u8>> {
    let (stranger, nobody) = (Party::new(), Party::new());
    let sink = tokio::net::UdpSocket::bind(loopback()).await.unwrap();
    let to = sink.local_addr().unwrap();
    let mut packets = Vec::with_capacity(ATTEMPTS);
    let mut buffer = [0; 2048];
    while packets.len() < ATTEMPTS {
        let dialer = stranger.dialer(&pins([nobody.peer()]));
        let dial = dialer.dial(0, to, nobody.peer(), Transport::Quic);
        tokio::select! {
            _ = dial => unreachable!("nobody answers"),
            received = sink.recv_from(&mut buffer) => {
                packets.push(buffer[..received.unwrap().0].to_vec());
            }
        }
    }
    packets
}

/// The portal of the test above. It echoes what its customers say on control.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by the test above, in a process of its own"]
async fn portal() {
    let Ok(arguments) = std::env::var(CHILD) else { return };
    let (folder, customer) = arguments.split_once(' ').unwrap();
    let read = |name: &str| fs::read_to_string(format!("{folder}/{name}")).unwrap();
    let identity = Identity::from_pem(&read("cert"), &read("key")).unwrap();
    let pins = pins([PeerId::parse_hex(customer).unwrap()]);
    let endpoint = Endpoint::bind(loopback()).unwrap();
    let socket = tcp::listen(loopback()).unwrap();
    println!("\nquic {}\ntcp {}", endpoint.local(), socket.local_addr().unwrap());
    let mut listener =
        Listener::start(&identity, &pins, vec![endpoint], vec![socket], Limits::default()).unwrap();
    std::thread::spawn(|| {
        for _ in std::io::stdin().lines() {
            println!("\nmemory {}", resident_bytes());
        }
    });
    while let Some(connection) = listener.accept().await {
        let (sender, mut receiver) = connection.split();
        while let Some(Ok((class, frame))) = receiver.recv().await {
            sender.send(class, frame).await.unwrap();
        }
    }
}

fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
