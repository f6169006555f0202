//! A portal and its customers, each with a key of its own.

use std::{
    collections::BTreeMap,
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use engine::id::PeerId;
use node::transport::{
    Connection, DialError, Dialer, Endpoint, FrameReceiver, FrameSender, Identity, Limits,
    Listener, PinSet, Transport, tcp,
};
use rcgen::{CertificateParams, KeyPair};

pub const TRANSPORTS: [Transport; 2] = [Transport::Quic, Transport::Tcp];
pub const DAY: u64 = 24 * 3600;

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// A certificate (PEM) for `key`, valid from a day ago until `not_after`.
pub fn certificate(key: &KeyPair, not_after: u64) -> String {
    let mut params = CertificateParams::new(vec!["a.test".into()]).unwrap();
    let moment = |seconds: u64| (UNIX_EPOCH + Duration::from_secs(seconds)).into();
    params.not_before = moment(now() - DAY);
    params.not_after = moment(not_after);
    params.self_signed(key).unwrap().pem()
}

pub fn p256() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap()
}

/// Someone with a key.
pub struct Party {
    pub identity: Identity,
    pub cert_pem: String,
    pub key_pem: String,
}

impl Party {
    pub fn new() -> Self {
        let key = p256();
        let (cert_pem, key_pem) = (certificate(&key, now() + DAY), key.serialize_pem());
        Self { identity: Identity::from_pem(&cert_pem, &key_pem).unwrap(), cert_pem, key_pem }
    }

    pub fn peer(&self) -> PeerId {
        self.identity.peer()
    }

    /// A dialler that admits `pins`, with one line on loopback.
    pub fn dialer(&self, pins: &PinSet) -> Dialer {
        let line = Endpoint::bind(loopback()).unwrap();
        Dialer::new(self.identity.clone(), pins.clone(), vec![line])
    }
}

pub fn pins(peers: impl IntoIterator<Item = PeerId>) -> PinSet {
    PinSet::new(peers.into_iter().map(|peer| (peer, None)).collect::<BTreeMap<_, _>>())
}

/// A portal that answers over QUIC and TCP.
pub struct Portal {
    pub party: Party,
    pub pins: PinSet,
    pub listener: Listener,
}

impl Portal {
    pub fn open(admitted: impl IntoIterator<Item = PeerId>) -> Self {
        Self::open_with(admitted, Limits::default())
    }

    pub fn open_with(admitted: impl IntoIterator<Item = PeerId>, limits: Limits) -> Self {
        let (party, pins) = (Party::new(), pins(admitted));
        let endpoints = vec![Endpoint::bind(loopback()).unwrap()];
        let sockets = vec![tcp::listen(loopback()).unwrap()];
        let listener = Listener::start(&party.identity, &pins, endpoints, sockets, limits).unwrap();
        Self { party, pins, listener }
    }

    pub fn address(&self, transport: Transport) -> SocketAddr {
        match transport {
            Transport::Quic => self.listener.quic_locals()[0],
            Transport::Tcp => self.listener.tcp_locals()[0],
        }
    }

    /// `customer` dials this portal, expecting it to be who it is.
    pub async fn dialled_by(
        &self,
        customer: &Party,
        transport: Transport,
    ) -> Result<Connection, DialError> {
        let dialer = customer.dialer(&pins([self.party.peer()]));
        soon(dialer.dial(0, self.address(transport), self.party.peer(), transport)).await
    }
}

/// Two ends of one connection, opened by a `hello` each way.
pub struct Ends {
    pub ours: (FrameSender, FrameReceiver),
    pub theirs: (FrameSender, FrameReceiver),
}

/// A customer admitted by a portal, connected. The portal comes first.
pub async fn connected(transport: Transport) -> (Portal, Party, Ends) {
    let customer = Party::new();
    let mut portal = Portal::open([customer.peer()]);
    let ends = connect(&mut portal, &customer, transport).await;
    (portal, customer, ends)
}

pub async fn connect(portal: &mut Portal, customer: &Party, transport: Transport) -> Ends {
    use node::transport::Class::Control;
    let mut theirs = portal.dialled_by(customer, transport).await.unwrap().split();
    theirs.0.send(Control, "hello".into()).await.unwrap();
    let mut ours = soon(portal.listener.accept()).await.unwrap().split();
    assert_eq!(soon(ours.1.recv()).await.unwrap().unwrap(), (Control, "hello".into()));
    ours.0.send(Control, "welcome".into()).await.unwrap();
    assert_eq!(soon(theirs.1.recv()).await.unwrap().unwrap(), (Control, "welcome".into()));
    assert_eq!(ours.0.authenticated().peer(), customer.peer());
    assert_eq!(theirs.0.authenticated().peer(), portal.party.peer());
    Ends { ours, theirs }
}

/// Fails the test instead of hanging.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it happens soon")
}
