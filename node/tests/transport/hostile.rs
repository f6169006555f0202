//! What others can do with our ports: an admitted peer that breaks the framing, a stranger with
//! garbage, a client that hopes for a ticket.

use std::{net::SocketAddr, sync::Arc};

use engine::limits::FRAME_BYTES_MAX;
use node::transport::{
    ALPN, Class, ConnectionError, DialError, Endpoint, FrameReceiver, Transport, code,
};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, HandshakeKind, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::support::{Party, Portal, TRANSPORTS, connect, loopback, pins, soon};

/// Believes any server: these clients are the ones to be judged.
#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

fn client(party: Option<&Party>, alpn: &[&[u8]]) -> ClientConfig {
    client_of(party, alpn, &[&rustls::version::TLS13])
}

fn client_of(
    party: Option<&Party>,
    alpn: &[&[u8]],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ClientConfig {
    let builder =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Credulous));
    let mut config = match party {
        None => builder.with_no_client_auth(),
        Some(party) => {
            let cert = CertificateDer::from_pem_slice(party.cert_pem.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(party.key_pem.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![cert], key).unwrap()
        }
    };
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config
}

async fn tls(config: &Arc<ClientConfig>, to: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("a.test").unwrap();
    soon(TlsConnector::from(Arc::clone(config)).connect(name, TcpStream::connect(to).await?)).await
}

async fn quic(config: ClientConfig, to: SocketAddr) -> Result<quinn::Connection, String> {
    let endpoint = quinn::Endpoint::client(loopback()).unwrap();
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(config).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    soon(endpoint.connect_with(config, to, "a.test").unwrap()).await.map_err(|e| e.to_string())
}

/// An admitted peer writes `control` and, on a stream of its own, `other`; the portal's receiver.
async fn receives_quic(control: &[u8], other: &[u8], finish: bool) -> (FrameReceiver, Held) {
    let party = Party::new();
    let mut portal = Portal::open([party.peer()]);
    let to = portal.address(Transport::Quic);
    let connection = quic(client(Some(&party), &[ALPN]), to).await.unwrap();
    let (mut stream, _recv) = connection.open_bi().await.unwrap();
    stream.write_all(control).await.unwrap();
    if !other.is_empty() {
        let mut uni = connection.open_uni().await.unwrap();
        uni.write_all(other).await.unwrap();
        if finish {
            uni.finish().unwrap();
        }
        Box::leak(Box::new(uni));
    }
    if finish {
        stream.finish().unwrap();
    }
    let (_, receiver) = soon(portal.listener.accept()).await.unwrap().split();
    (receiver, Box::new((portal, connection, stream, _recv)))
}

/// The same over TCP, bytes as they are.
async fn receives_tcp(bytes: &[u8], finish: bool) -> (FrameReceiver, Held) {
    let party = Party::new();
    let mut portal = Portal::open([party.peer()]);
    let config = Arc::new(client(Some(&party), &[ALPN]));
    let mut stream = tls(&config, portal.address(Transport::Tcp)).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
    if finish {
        stream.shutdown().await.unwrap();
    }
    let (_, receiver) = soon(portal.listener.accept()).await.unwrap().split();
    (receiver, Box::new((portal, stream)))
}

/// Keeps the other end alive.
type Held = Box<dyn std::any::Any>;

async fn fails(mut receiver: FrameReceiver) -> ConnectionError {
    loop {
        if let Err(error) = soon(receiver.recv()).await.expect("an error before the end") {
            return error;
        }
    }
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap().to_be_bytes()
}

fn segment(class: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[class][..], &length, bytes].concat()
}

#[tokio::test]
async fn an_oversize_frame_closes_before_it_is_read() {
    let over = length(FRAME_BYTES_MAX + 1);
    let (receiver, _held) = receives_quic(&over, &[], false).await;
    let expected =
        ConnectionError::FrameTooLarge { class: Class::Control, length: u32::from_be_bytes(over) };
    assert_eq!(fails(receiver).await, expected);

    let huge = [&[1][..], &u32::MAX.to_be_bytes()].concat();
    let (receiver, held) = receives_quic(&length(0), &huge, false).await;
    let expected = ConnectionError::FrameTooLarge { class: Class::Bundles, length: u32::MAX };
    assert_eq!(fails(receiver).await, expected);
    // And the peer is told its fault.
    let held = held.downcast::<(Portal, quinn::Connection, quinn::SendStream, quinn::RecvStream)>();
    let closed = soon(held.unwrap().1.closed()).await;
    let quinn::ConnectionError::ApplicationClosed(close) = closed else { panic!("{closed}") };
    assert_eq!(close.error_code, code::TOO_LARGE.into());

    let (receiver, _held) = receives_tcp(&segment(2, &over), false).await;
    let expected =
        ConnectionError::FrameTooLarge { class: Class::Blobs, length: u32::from_be_bytes(over) };
    assert_eq!(fails(receiver).await, expected);
}

#[tokio::test]
async fn half_frames_are_a_fault_when_the_stream_ends_and_patience_until_then() {
    let half = [&length(10)[..], b"half"].concat();
    let (receiver, _held) = receives_quic(&half, &[], true).await;
    assert_eq!(fails(receiver).await, ConnectionError::FrameCut { class: Class::Control });
    let bundle = [&[1][..], &half].concat();
    let (receiver, _held) = receives_quic(&length(0), &bundle, true).await;
    assert_eq!(fails(receiver).await, ConnectionError::FrameCut { class: Class::Bundles });
    let (receiver, _held) = receives_tcp(&segment(1, &half), true).await;
    assert_eq!(fails(receiver).await, ConnectionError::FrameCut { class: Class::Bundles });

    let (mut receiver, _held) = receives_quic(&half, &[], false).await;
    let waiting = tokio::time::timeout(std::time::Duration::from_millis(50), receiver.recv());
    assert!(waiting.await.is_err());
}

#[tokio::test]
async fn streams_and_segments_of_no_class_are_malformed() {
    for name in [0, 3, 255] {
        let (receiver, _held) = receives_quic(&length(0), &[name, 0, 0, 0, 0], false).await;
        assert!(matches!(fails(receiver).await, ConnectionError::Malformed(_)));
    }
    let lawless = [segment(3, b"x"), segment(1, b""), vec![1, 255, 255], segment(255, b"abc")];
    for bytes in lawless {
        let (receiver, _held) = receives_tcp(&bytes, false).await;
        assert!(matches!(fails(receiver).await, ConnectionError::Malformed(_)));
    }
}

#[tokio::test]
async fn garbage_to_both_ports_harms_nobody() {
    let customer = Party::new();
    let mut portal = Portal::open([customer.peer()]);
    let udp = UdpSocket::bind(loopback()).await.unwrap();
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    for n in 0..2000_usize {
        let bytes: Vec<u8> = (0..n % 1400)
            .map(|_| {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (noise >> 33) as u8
            })
            .collect();
        udp.send_to(&bytes, portal.address(Transport::Quic)).await.unwrap();
        if n % 100 == 0 {
            let mut tcp = TcpStream::connect(portal.address(Transport::Tcp)).await.unwrap();
            let _ = tcp.write_all(&bytes).await;
        }
    }
    let mut web = TcpStream::connect(portal.address(Transport::Tcp)).await.unwrap();
    web.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // A TLS alert, or a reset: whatever it is, it ends.
    let _ = soon(web.read_to_end(&mut answer)).await;
    for transport in TRANSPORTS {
        connect(&mut portal, &customer, transport).await;
    }
}

#[tokio::test]
async fn no_certificate_no_protocol_no_old_tls_no_connection() {
    let customer = Party::new();
    let portal = Portal::open([customer.peer()]);
    let to = portal.address(Transport::Tcp);
    let refused = async |config: ClientConfig| {
        let Ok(mut stream) = tls(&Arc::new(config), to).await else { return };
        let mut answer = Vec::new();
        // An alert, or a close that says why; nothing else.
        let _ = soon(stream.read_to_end(&mut answer)).await;
        assert!(answer.is_empty() || answer[0] == 255, "the portal said {answer:?}");
    };
    refused(client(None, &[ALPN])).await;
    refused(client(Some(&customer), &[])).await;
    refused(client(Some(&customer), &[b"h2"])).await;
    refused(client_of(Some(&customer), &[ALPN], &[&rustls::version::TLS12])).await;
    let other = quic(client(Some(&customer), &[b"h3"]), portal.address(Transport::Quic)).await;
    assert!(other.is_err());
    soon(async {
        while portal.listener.stats().failed < 5 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(portal.listener.stats().connections, 0);
}

#[tokio::test]
async fn a_client_that_hopes_to_resume_gets_no_ticket() {
    let customer = Party::new();
    let mut portal = Portal::open([customer.peer()]);
    let mut config = client(Some(&customer), &[ALPN]);
    config.resumption = Resumption::in_memory_sessions(16);
    config.enable_early_data = true;
    let config = Arc::new(config);
    for _ in 0..2 {
        let mut stream = tls(&config, portal.address(Transport::Tcp)).await.unwrap();
        stream.write_all(&segment(0, &length(0))).await.unwrap();
        let (sender, mut receiver) = soon(portal.listener.accept()).await.unwrap().split();
        soon(receiver.recv()).await.unwrap().unwrap();
        // Tickets would precede this answer.
        sender.send(Class::Control, "welcome".into()).await.unwrap();
        let mut answer = [0; 3 + 4 + 7];
        soon(stream.read_exact(&mut answer)).await.unwrap();
        assert_eq!(stream.get_ref().1.tls13_tickets_received(), 0);
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
        assert!(!stream.get_ref().1.is_early_data_accepted());
    }

    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(Arc::clone(&config)).unwrap();
    let quic_config = quinn::ClientConfig::new(Arc::new(crypto));
    let endpoint = quinn::Endpoint::client(loopback()).unwrap();
    for _ in 0..2 {
        let connecting =
            endpoint.connect_with(quic_config.clone(), portal.address(Transport::Quic), "b.test");
        // With a ticket this would succeed the second time.
        let connecting = connecting.unwrap().into_0rtt().err().expect("no early data");
        let connection = soon(connecting).await.unwrap();
        let (mut stream, mut answers) = connection.open_bi().await.unwrap();
        stream.write_all(&length(0)).await.unwrap();
        let (sender, _receiver) = soon(portal.listener.accept()).await.unwrap().split();
        sender.send(Class::Control, "welcome".into()).await.unwrap();
        soon(answers.read_exact(&mut [0; 11])).await.unwrap();
    }
}

#[tokio::test]
async fn dialling_nobody_says_what_is_there() {
    let (customer, portal) = (Party::new(), Party::new());
    let dialer = customer.dialer(&pins([portal.peer()]));
    // The discard port, RFC 863: nobody serves it.
    let nobody = (std::net::Ipv4Addr::LOCALHOST, 9).into();
    let dial = dialer.dial(0, nobody, portal.peer(), Transport::Tcp);
    assert!(matches!(soon(dial).await, Err(DialError::Unreachable { .. })));
    let dial = dialer.dial(0, nobody, portal.peer(), Transport::Quic);
    assert_eq!(soon(dial).await.unwrap_err(), DialError::Timeout { remote: nobody });
    let dial = dialer.dial(7, nobody, portal.peer(), Transport::Quic);
    assert_eq!(soon(dial).await.unwrap_err(), DialError::NoSuchLine { line: 7 });

    // Something answers, and it is not TLS.
    let web = tokio::net::TcpListener::bind(loopback()).await.unwrap();
    let remote = web.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = web.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        stream.read_to_end(&mut Vec::new()).await
    });
    let dial = dialer.dial(0, remote, portal.peer(), Transport::Tcp);
    assert!(matches!(soon(dial).await, Err(DialError::Tls { .. })));
    assert!(Endpoint::bind("192.0.2.1:0".parse().unwrap()).is_err());
}
