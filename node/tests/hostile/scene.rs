//! A portal, an honest node of the tenant connected to it, and a second node whose key is in
//! bad hands.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use engine::{
    archive,
    bundle::Item,
    document::invoice::{self, Direction, InvoiceContent, Party},
    grant::{Grant, Role},
    id::{BlobHash, DocumentId, LogId, PeerId, VatNumber},
    record::Record,
    route::Mode,
    store::Store,
    vector::{Digest, Vector},
};
use node::{
    host::{Host, HostConfig, HostHandle, PortalAddress, SessionView},
    transport::{Dialer, Endpoint, Identity, Limits, Listener, PinSet, tcp},
    truth::{Truth, TruthOptions},
};
use rcgen::{CertificateParams, KeyPair};

use crate::peer::Peer;

pub fn tenant() -> VatNumber {
    VatNumber::parse("02038490237").unwrap()
}

pub fn foreign() -> VatNumber {
    VatNumber::parse("12345678903").unwrap()
}

/// Someone with a key.
pub struct Party_ {
    pub identity: Identity,
    pub cert_pem: String,
    pub key_pem: String,
}

pub fn party() -> Party_ {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = CertificateParams::new(vec!["a.test".into()]).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let day = Duration::from_secs(24 * 3600);
    params.not_before = (UNIX_EPOCH + now - day).into();
    params.not_after = (UNIX_EPOCH + now + day).into();
    let cert_pem = params.self_signed(&key).unwrap().pem();
    let key_pem = key.serialize_pem();
    Party_ { identity: Identity::from_pem(&cert_pem, &key_pem).unwrap(), cert_pem, key_pem }
}

pub struct Scene {
    _dirs: [tempfile::TempDir; 2],
    pub portal: HostHandle,
    /// What the portal has on disk.
    pub store: Arc<dyn Store>,
    pub portal_peer: PeerId,
    pub address: SocketAddr,
    pub node: HostHandle,
    honest: SessionView,
    pub bad: Party_,
    said: u32,
}

/// Starts a replica that trusts `portals`.
pub fn start(
    dir: &Path,
    identity: &Identity,
    role: Role,
    portals: Vec<PeerId>,
    dial: Vec<PortalAddress>,
) -> (HostHandle, PinSet, Arc<dyn Store>) {
    let store: Arc<dyn Store> = Arc::new(Truth::open(dir, TruthOptions::default()).unwrap());
    let pins = PinSet::new(portals.iter().map(|portal| (*portal, None)).collect());
    let line = Endpoint::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let host = Host::start(HostConfig {
        identity: identity.clone(),
        role,
        tenant: (role == Role::Node).then(tenant),
        portals,
        dial,
        mode: Mode::Live,
        pins: pins.clone(),
        dialer: Some(Dialer::new(identity.clone(), pins.clone(), vec![line])),
        store: Arc::clone(&store),
    })
    .unwrap();
    (host, pins, store)
}

impl Scene {
    pub async fn new() -> Self {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let (portal_id, node_id, bad) = (party().identity, party().identity, party());
        let portal_peer = portal_id.peer();
        let (portal, pins, store) =
            start(dirs[0].path(), &portal_id, Role::Portal, vec![portal_peer], vec![]);
        let (quic, socket, address) = endpoints();
        let mut listener =
            Listener::start(&portal_id, &pins, vec![quic], vec![socket], Limits::default())
                .unwrap();
        let accepting = portal.clone();
        tokio::spawn(async move {
            while let Some(connection) = listener.accept().await {
                accepting.accepted(connection);
            }
        });
        let grant =
            |id: &Identity| Item::Grant(Grant { spki: id.spki().to_vec(), not_after_ms: u64::MAX });
        let grants = vec![grant(&node_id), grant(&bad.identity)];
        portal.append(tenant(), grants, vec![]).await.unwrap();
        // Somebody else's space, which is none of theirs.
        portal.append(foreign(), vec![grant(&party().identity)], vec![]).await.unwrap();
        let dial = vec![PortalAddress { peer: portal_peer, addresses: vec![address] }];
        let (node, ..) = start(dirs[1].path(), &node_id, Role::Node, vec![portal_peer], dial);
        until("the honest node is connected", async || {
            node.view().await.sessions.iter().any(|session| session.greeted && session.primary)
        })
        .await;
        let mut scene = Self {
            _dirs: dirs,
            honest: node.view().await.sessions[0].clone(),
            portal,
            store,
            portal_peer,
            address,
            node,
            bad,
            said: 0,
        };
        scene.honest_goes_on().await;
        scene
    }

    /// The bad node connects and is greeted.
    pub async fn greeted(&self) -> Peer {
        let mut peer = Peer::dial(self, &self.bad.identity).await;
        peer.greet().await;
        peer
    }

    /// What the portal holds of all spaces, and the digest of the tenant's.
    pub async fn held(&self) -> (Vec<(VatNumber, Vector)>, Digest) {
        let spaces = self.portal.view().await.spaces.into_iter().collect();
        (spaces, self.greeted().await.digest)
    }

    /// The honest node writes, and the portal has it on the session it had from the start. There
    /// is no alarm.
    pub async fn honest_goes_on(&mut self) {
        self.honest_writes().await;
        assert_eq!(self.portal.view().await.alarms, []);
    }

    /// The same, whatever the portal reports of others.
    pub async fn honest_writes(&mut self) {
        self.said += 1;
        let file = format!("<xml>{}</xml>", self.said).into_bytes();
        let log = self.node.log();
        let (item, _) = sent(log, &file);
        let (log, seq) = self.node.append(tenant(), vec![item], vec![file]).await.unwrap();
        until("the portal holds what the honest node says", async || {
            self.portal.view().await.spaces[&tenant()].get(&log) >= seq
        })
        .await;
        let sessions = self.node.view().await.sessions;
        let same = |session: &SessionView| {
            session.local == self.honest.local && session.remote == self.honest.remote
        };
        assert!(sessions.iter().any(|session| session.greeted && same(session)), "{sessions:?}");
    }

    /// Another node of the tenant is admitted.
    pub async fn admit(&self, party: &Party_) {
        let grant = Grant { spki: party.identity.spki().to_vec(), not_after_ms: u64::MAX };
        self.portal.append(tenant(), vec![Item::Grant(grant)], vec![]).await.unwrap();
    }

    /// What the portal's changes of `document` add up to.
    pub fn record(&self, document: DocumentId) -> Record {
        let changes = archive::changes(&*self.store, tenant(), &document).unwrap();
        Record::derive(document, &changes)
    }
}

/// An invoice in the name of `log`.
pub fn sent(log: LogId, file: &[u8]) -> (Item, DocumentId) {
    let content = InvoiceContent {
        file_name: "IT02038490237_00001.xml".into(),
        original: BlobHash::of(file),
        original_len: file.len() as u64,
        direction: Direction::Sent,
        format: "FPR12".into(),
        number: "1".into(),
        date: "2026-11-24".into(),
        document_type: "TD01".into(),
        supplier: Party::default(),
        buyer: Party::default(),
        recipient_code: "0000000".into(),
        total: "122.00".into(),
        currency: "EUR".into(),
        bodies: 1,
        receiving: None,
    };
    let document = DocumentId::invoice(&content.original);
    (Item::Change { document, change: invoice::create(log, &content).unwrap() }, document)
}

/// QUIC and TCP on one port.
pub fn endpoints() -> (Endpoint, tokio::net::TcpListener, SocketAddr) {
    for _ in 0..100 {
        let socket = tcp::listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        if let Ok(quic) = Endpoint::bind(address) {
            return (quic, socket, address);
        }
    }
    panic!("no port is free for UDP and TCP");
}

/// Fails the test instead of hanging.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it happens soon")
}

pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .unwrap_or_else(|_| panic!("not in a minute: {what}"));
}
