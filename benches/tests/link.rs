//! The switch of a link, tried with sockets: what is carried, what vanishes, what is refused.

// Helpers of tests unwrap too; clippy excuses only functions marked as tests.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use benches::link::{Link, LinkHandle, LinkSpec, Path, Switch};

const PATIENCE: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_millis(150);

/// A portal that echoes over UDP and TCP at one port.
fn echo() -> SocketAddr {
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
            break (udp, tcp);
        }
    };
    let target = udp.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = udp.recv_from(&mut buffer) {
            let _ = udp.send_to(&buffer[..length], from);
        }
    });
    thread::spawn(move || {
        for stream in tcp.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut back = stream.try_clone().unwrap();
                let _ = std::io::copy(&mut stream, &mut back);
                let _ = back.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    target
}

fn link() -> LinkHandle {
    Link::start(LinkSpec::clear(echo())).unwrap()
}

fn udp() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

fn answers(client: &UdpSocket, link: &LinkHandle, patience: Duration) -> bool {
    client.set_read_timeout(Some(patience)).unwrap();
    client.send_to(b"ping", link.local()).unwrap();
    client.recv(&mut [0; 16]).is_ok()
}

fn tcp(link: &LinkHandle) -> TcpStream {
    let stream = TcpStream::connect(link.local()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn exchange(stream: &mut TcpStream) {
    stream.write_all(b"hello").unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"hello");
}

#[test]
fn both_protocols_pass_at_one_port_and_each_client_keeps_its_own_way() {
    let link = link();
    let clients = [udp(), udp(), udp()];
    for (n, client) in clients.iter().enumerate() {
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.send_to(&[n as u8], link.local()).unwrap();
    }
    for (n, client) in clients.iter().enumerate() {
        let mut answer = [9];
        client.recv(&mut answer).unwrap();
        assert_eq!(usize::from(answer[0]), n);
    }
    let mut stream = tcp(&link);
    exchange(&mut stream);
    // A megabyte, whole and in order, and its end.
    let sent: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let (mut writing, copy) = (stream.try_clone().unwrap(), sent.clone());
    let writer = thread::spawn(move || {
        writing.write_all(&copy).unwrap();
        writing.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    writer.join().unwrap();
    assert!(received == sent);
    assert!(link.up().bytes >= 1_000_000 && link.down().delivered_bytes >= 1_000_000);
}

#[test]
fn a_silent_line_swallows_datagrams_and_only_delays_streams() {
    let link = link();
    let (client, mut stream) = (udp(), tcp(&link));
    assert!(answers(&client, &link, PATIENCE));
    exchange(&mut stream);

    link.set_switch(Switch::Silent);
    assert!(!answers(&client, &link, SILENCE));
    stream.write_all(b"hello").unwrap();
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    let waited = stream.read(&mut [0; 5]).unwrap_err();
    assert!(matches!(waited.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
    let mut newcomer = tcp(&link);

    link.set_switch(Switch::Up);
    assert!(answers(&client, &link, PATIENCE));
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"hello");
    exchange(&mut newcomer);
    assert!(link.up().cut_packets > 0);
}

#[test]
fn a_cable_cut_loses_what_is_under_way() {
    let spec = LinkSpec { up: Path::of_rtt_ms(400.0), ..LinkSpec::clear(echo()) };
    let link = Link::start(spec).unwrap();
    let client = udp();
    client.send_to(b"ping", link.local()).unwrap();
    thread::sleep(Duration::from_millis(50));
    link.set_switch(Switch::Silent);
    thread::sleep(Duration::from_millis(300));
    link.set_switch(Switch::Up);
    client.set_read_timeout(Some(SILENCE)).unwrap();
    assert!(client.recv(&mut [0; 16]).is_err());
    assert_eq!(link.up().delivered_packets, 0);
}

#[test]
fn a_refusing_line_resets_streams_and_closes_its_ports_until_it_is_up() {
    let link = link();
    let (client, mut stream) = (udp(), tcp(&link));
    assert!(answers(&client, &link, PATIENCE));
    exchange(&mut stream);

    link.set_switch(Switch::Refusing);
    let cut = stream.read(&mut [0; 5]).unwrap_err();
    assert_eq!(cut.kind(), ErrorKind::ConnectionReset);
    let refused = (0..100).any(|_| {
        thread::sleep(Duration::from_millis(10));
        TcpStream::connect(link.local()).is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused)
    });
    assert!(refused);
    assert!(!answers(&client, &link, SILENCE));

    link.set_switch(Switch::Up);
    let back = (0..100).any(|_| answers(&client, &link, Duration::from_millis(50)));
    assert!(back);
    let mut stream = (0..100)
        .find_map(|_| {
            thread::sleep(Duration::from_millis(10));
            TcpStream::connect(link.local()).ok()
        })
        .unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    exchange(&mut stream);
}

#[test]
fn udp_alone_can_be_blocked() {
    let link = link();
    let client = udp();
    link.block_udp(true);
    assert!(!answers(&client, &link, SILENCE));
    exchange(&mut tcp(&link));
    link.block_udp(false);
    assert!(answers(&client, &link, PATIENCE));
}
