//! Frames that are wrong in themselves, or out of turn.

use std::sync::Arc;

use engine::{
    fault::Fault,
    id::LogId,
    wire::{Frame, Hello, Tenant, VERSIONS},
};
use node::transport::{ALPN, Class, Transport, code};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};

use crate::{
    peer::{Peer, Writer, empty_space, hello},
    scene::{Party_, Scene, foreign, sent, soon, tenant},
};

/// Says these bytes after an honest `Hello`, or instead of one; the session ends so.
async fn ends(scene: &mut Scene, first: bool, say: (Class, Vec<u8>), fault: Fault) {
    let before = scene.held().await;
    for transport in [Transport::Quic, Transport::Tcp] {
        let mut peer = Peer::dial_by(scene, &scene.bad.identity, transport).await;
        if !first {
            peer.greet().await;
        }
        peer.say_bytes(say.0, say.1.clone().into()).await;
        let code = u32::from(fault.code());
        assert_eq!(peer.ended().await, (Some(fault), code), "{transport:?}");
    }
    assert_eq!(scene.held().await, before, "nothing of it is stored");
    scene.honest_goes_on().await;
}

fn control(frame: &Frame) -> (Class, Vec<u8>) {
    (Class::Control, frame.encode())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_out_of_turn_or_malformed_ends_that_session_with_its_fault() {
    let mut scene = Scene::new().await;
    let tenant = Tenant(tenant());
    let ack = Frame::Ack { tenant, logs: vec![] };
    ends(&mut scene, true, control(&ack), Fault::NotGreeted).await;
    ends(&mut scene, false, control(&hello()), Fault::NotGreeted).await;
    let of = |versions, agent: &str| {
        Frame::Hello(Hello {
            versions,
            agent: agent.to_owned(),
            primary: false,
            spaces: vec![empty_space(tenant.0)],
            root: Default::default(),
        })
    };
    ends(&mut scene, true, control(&of((9, 12), "future")), Fault::Version).await;
    ends(&mut scene, true, control(&of((0, 0), "past")), Fault::Version).await;
    ends(&mut scene, true, control(&of(VERSIONS, &"x".repeat(65))), Fault::TooLarge).await;

    let garbage = (Class::Control, vec![0xff; 100]);
    ends(&mut scene, true, garbage.clone(), Fault::Malformed).await;
    ends(&mut scene, false, garbage, Fault::Malformed).await;
    ends(&mut scene, false, (Class::Blobs, vec![]), Fault::Malformed).await;
    let mut run = Writer::new(&scene.bad.identity, tenant.0, 1);
    let run = Frame::Run(run.run(vec![sent(run.id(), b"x").0], &[b"x"])).encode();
    let half = run[..run.len() / 2].to_vec();
    ends(&mut scene, false, (Class::Bundles, half), Fault::Malformed).await;
    let longer = [&run[..], &[0]].concat();
    ends(&mut scene, false, (Class::Bundles, longer), Fault::Malformed).await;
    let log = LogId::from_bytes([1; 16]);
    let logs = vec![(log, 1); engine::limits::LOGS_PER_SPACE_MAX + 1];
    ends(&mut scene, false, control(&Frame::Have { tenant, logs }), Fault::TooLarge).await;
    // A P.IVA with a wrong check digit is none.
    let mut bytes = Frame::Ack { tenant, logs: vec![] }.encode();
    bytes[1] ^= 1;
    ends(&mut scene, false, (Class::Control, bytes), Fault::Malformed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_of_a_foreign_tenant_ends_the_session() {
    let mut scene = Scene::new().await;
    let tenant = Tenant(foreign());
    let log = LogId::from_bytes([1; 16]);
    let cut = engine::bundle::BlobRef::of(b"secret").cut();
    for frame in [
        Frame::Have { tenant, logs: vec![(log, 1)] },
        Frame::Ack { tenant, logs: vec![(log, 1)] },
        Frame::Want { tenant, log, after: 0 },
        Frame::WantChunks { tenant, cut, first: 0, count: 1 },
        Frame::Spaces(vec![empty_space(foreign())]),
    ] {
        ends(&mut scene, false, control(&frame), Fault::WrongTenant).await;
    }
    let Frame::Hello(mut greeting) = hello() else { unreachable!() };
    greeting.spaces.push(empty_space(foreign()));
    ends(&mut scene, true, control(&Frame::Hello(greeting)), Fault::WrongTenant).await;
    let mut writer = Writer::new(&scene.bad.identity, foreign(), 1);
    let run = Frame::Run(writer.run(vec![sent(writer.id(), b"x").0], &[b"x"]));
    ends(&mut scene, false, (Class::Bundles, run.encode()), Fault::WrongTenant).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_announced_longer_than_any_closes_before_it_is_read() {
    let mut scene = Scene::new().await;
    let before = scene.held().await;
    for length in [u32::MAX, engine::limits::FRAME_BYTES_MAX as u32 + 1] {
        let connection = raw(&scene, &scene.bad).await;
        let (mut stream, _answers) = connection.open_bi().await.unwrap();
        stream.write_all(&length.to_be_bytes()).await.unwrap();
        let quinn::ConnectionError::ApplicationClosed(close) = soon(connection.closed()).await
        else {
            panic!("not closed by the portal")
        };
        assert_eq!(close.error_code, code::TOO_LARGE.into());
        assert!(String::from_utf8_lossy(&close.reason).contains("was announced"));
    }
    assert_eq!(scene.held().await, before);
    scene.honest_goes_on().await;
}

/// A QUIC connection without our transport's manners.
async fn raw(scene: &Scene, party: &Party_) -> quinn::Connection {
    let cert = CertificateDer::from_pem_slice(party.cert_pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(party.key_pem.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous))
        .with_client_auth_cert(vec![cert], key)
        .unwrap();
    config.alpn_protocols = vec![ALPN.to_vec()];
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(config).unwrap();
    let endpoint = quinn::Endpoint::client((std::net::Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    soon(endpoint.connect_with(config, scene.address, "a.test").unwrap()).await.unwrap()
}

/// Believes any server: this client is the one to be judged.
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
