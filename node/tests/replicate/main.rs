//! Two portals and a node as real hosts: real certificates, QUIC and TCP on loopback, real
//! stores on disk.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod mended;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use engine::{
    archive,
    bundle::{Item, PublicKey},
    document::invoice::{self, Direction, InvoiceContent, Party},
    grant::{Grant, Role},
    id::{BlobHash, DocumentId, LogId, PeerId, VatNumber},
    route::Mode,
    store::Store,
    vector::Digest,
    wire::{Frame, Hello, VERSIONS},
};
use node::{
    feed::Cursor,
    host::{Host, HostConfig, HostHandle, PortalAddress},
    mirror::{Derived, Mirror, MirrorOptions},
    originals,
    projector::Projector,
    transport::{
        Class, Connection, Dialer, Endpoint, Identity, Limits, Listener, PinSet, Transport, tcp,
    },
    truth::{Truth, TruthOptions},
};
use rcgen::{CertificateParams, KeyPair};

fn tenant() -> VatNumber {
    VatNumber::parse("02038490237").unwrap()
}

fn identity() -> Identity {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = CertificateParams::new(vec!["a.test".into()]).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let day = Duration::from_secs(24 * 3600);
    params.not_before = (UNIX_EPOCH + now - day).into();
    params.not_after = (UNIX_EPOCH + now + day).into();
    let cert = params.self_signed(&key).unwrap().pem();
    Identity::from_pem(&cert, &key.serialize_pem()).unwrap()
}

struct Server {
    host: HostHandle,
    store: Arc<dyn Store>,
    accepting: Option<tokio::task::JoinHandle<()>>,
}

struct Place<'a> {
    dir: &'a Path,
    identity: &'a Identity,
    portals: &'a [PeerId],
    dial: Vec<PortalAddress>,
    listen: Option<SocketAddr>,
    mode: Mode,
}

/// Starts a process's worth of things; a portal listens, whoever dials has one line.
async fn start(place: Place<'_>) -> Server {
    let Place { dir, identity, portals, dial, listen, mode } = place;
    let store = Arc::new(Truth::open(dir, TruthOptions::default()).unwrap());
    let role = if listen.is_some() { Role::Portal } else { Role::Node };
    let pins = PinSet::new(portals.iter().map(|peer| (*peer, None)).collect());
    let line = Endpoint::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let host = Host::start(HostConfig {
        identity: identity.clone(),
        role,
        tenant: (role == Role::Node).then(tenant),
        portals: portals.to_vec(),
        dial,
        mode,
        pins: pins.clone(),
        dialer: Some(Dialer::new(identity.clone(), pins.clone(), vec![line])),
        store: store.clone(),
    })
    .unwrap();
    let mut quic = None;
    if let Some(address) = listen {
        // The socket of one that was stopped goes with its last connection.
        until("the address is free", async || {
            quic = Endpoint::bind(address).ok();
            quic.is_some()
        })
        .await;
    }
    let accepting = listen.zip(quic).map(|(address, quic)| {
        let tcp = tcp::listen(address).unwrap();
        let mut listener =
            Listener::start(identity, &pins, vec![quic], vec![tcp], Limits::default()).unwrap();
        let host = host.clone();
        tokio::spawn(async move {
            while let Some(connection) = listener.accept().await {
                host.accepted(connection);
            }
        })
    });
    Server { host, store, accepting }
}

impl Server {
    /// Stops, and waits until the store's files are free.
    async fn stop(mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            let _ = accepting.await;
        }
        let weak = Arc::downgrade(&self.store);
        drop(self);
        until("the store is released", async || weak.strong_count() == 0).await;
    }

    async fn own_log(&self, items: Vec<Item>) -> LogId {
        self.host.append(tenant(), items, vec![]).await.unwrap().0
    }

    fn holds(&self, file: &[u8]) -> bool {
        let hash = BlobHash::of(file);
        let found = archive::blob(&*self.store, tenant(), &DocumentId::invoice(&hash), &hash);
        found.unwrap().as_deref() == Some(file)
    }
}

async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not within 30 s: {what}");
}

fn grant(identity: &Identity) -> Item {
    let key = PublicKey::from_spki(identity.spki()).unwrap();
    Item::Grant(Grant { spki: key.spki().to_vec(), not_after_ms: u64::MAX })
}

/// An address that nobody else takes, also while its server is down: loopback is a /8, and
/// what binds to a port of the system's choice does so on 127.0.0.1.
fn own_address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(64);
    let [.., high, low] = std::process::id().to_be_bytes();
    SocketAddr::from(([127, NEXT.fetch_add(1, Ordering::Relaxed), high, low], 4433))
}

/// A portal that admits a node.
async fn portal(dir: &Path, identity: &Identity, at: SocketAddr, node: &Identity) -> Server {
    let portal = start(Place {
        dir,
        identity,
        portals: &[identity.peer()],
        dial: vec![],
        listen: Some(at),
        mode: Mode::Live,
    })
    .await;
    portal.own_log(vec![grant(node)]).await;
    portal
}

/// A portal, and a node that it admits and that dials it.
async fn portal_and_node(dirs: &[tempfile::TempDir], mode: Mode) -> (Server, Server) {
    let (portal_id, node_id, at) = (identity(), identity(), own_address());
    let portals = [portal_id.peer()];
    let portal = portal(dirs[0].path(), &portal_id, at, &node_id).await;
    let node = start(Place {
        dir: dirs[1].path(),
        identity: &node_id,
        portals: &portals,
        dial: vec![PortalAddress { peer: portals[0], addresses: vec![at] }],
        listen: None,
        mode,
    })
    .await;
    (portal, node)
}

async fn file(server: &Server, log: LogId, file: &[u8]) {
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
    let change = invoice::create(log, &content).unwrap();
    let items = vec![Item::Change { document, change }];
    server.host.append(tenant(), items, vec![file.to_vec()]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invoices_survive_the_loss_of_either_portal_and_of_both() {
    let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let (a_id, b_id, node_id) = (identity(), identity(), identity());
    let portals = [a_id.peer(), b_id.peer()];
    let (a_at, b_at) = (own_address(), own_address());
    let to = |peer: PeerId, at: SocketAddr| PortalAddress { peer, addresses: vec![at] };
    let a_place = || Place {
        dir: dirs[0].path(),
        identity: &a_id,
        portals: &portals,
        dial: vec![to(portals[1], b_at)],
        listen: Some(a_at),
        mode: Mode::Live,
    };
    let b_place = || Place {
        dir: dirs[1].path(),
        identity: &b_id,
        portals: &portals,
        dial: vec![],
        listen: Some(b_at),
        mode: Mode::Live,
    };
    let a = start(a_place()).await;
    let b = start(b_place()).await;
    a.own_log(vec![grant(&node_id)]).await;
    until("B knows the node", async || b.host.view().await.admitted == [node_id.peer()]).await;

    let node = start(Place {
        dir: dirs[2].path(),
        identity: &node_id,
        portals: &portals,
        dial: vec![to(portals[0], a_at), to(portals[1], b_at)],
        listen: None,
        mode: Mode::Live,
    })
    .await;
    // The node's first words tell it the name of its log.
    let log = node.own_log(vec![]).await;
    file(&node, log, b"<xml>first</xml>").await;
    until("A and B hold the first", async || {
        a.holds(b"<xml>first</xml>") && b.holds(b"<xml>first</xml>")
    })
    .await;

    a.stop().await;
    file(&node, log, b"<xml>while A is down</xml>").await;
    until("B holds the second", async || b.holds(b"<xml>while A is down</xml>")).await;

    b.stop().await;
    let large: Vec<u8> = (0..700_000_u32).map(|n| (n % 253) as u8).collect();
    file(&node, log, &large).await;
    assert!(node.holds(&large), "the office goes on working");

    let a = start(a_place()).await;
    let b = start(b_place()).await;
    for server in [&a, &b] {
        until("both hold everything", async || {
            server.holds(b"<xml>while A is down</xml>") && server.holds(&large)
        })
        .await;
    }
    until("the node knows that both hold everything", async || {
        let view = node.host.view().await;
        let ours = &view.spaces[&tenant()];
        portals.iter().all(|portal| {
            view.known.get(&(*portal, tenant())).is_some_and(|held| ours.ahead_of(held) == 0)
        })
    })
    .await;
    assert_eq!(node.host.view().await.alarms, []);

    let files = [b"<xml>first</xml>".as_slice(), b"<xml>while A is down</xml>", &large];
    let mut hashes = files.map(|file| BlobHash::of(file).to_string());
    hashes.sort();
    for server in [&a, &b, &node] {
        let page = originals::page(&*server.store, tenant(), 0, &|_| {}).unwrap();
        let mut listed: Vec<_> = page.originals.into_iter().map(|one| one.sha256).collect();
        listed.sort();
        assert_eq!((listed.as_slice(), page.unreadable.len()), (hashes.as_slice(), 0));
    }

    // Revocation cuts the node off on both portals, live connections included.
    a.host.revoke(tenant(), node_id.peer()).await.unwrap();
    for server in [&a, &b] {
        until("the node is cut off", async || {
            let view = server.host.view().await;
            view.admitted.is_empty()
                && view.sessions.iter().all(|session| session.peer != node_id.peer())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_hangs_up_once_all_is_said_and_stays_during_its_hours() {
    let dirs: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let (portal, node) = portal_and_node(&dirs, Mode::Periodic).await;
    let sessions = async || node.host.view().await.sessions.len();
    assert_eq!(sessions().await, 0, "asleep until it is woken");
    node.host.sync_now();
    until("the node may write", async || node.host.view().await.spaces.contains_key(&tenant()))
        .await;
    until("it hangs up", async || sessions().await == 0).await;
    let log = node.own_log(vec![]).await;
    file(&node, log, b"<xml>in the evening</xml>").await;
    node.host.sync_now();
    until("the portal has it", async || portal.holds(b"<xml>in the evening</xml>")).await;
    until("it hangs up again", async || sessions().await == 0).await;

    node.host.set_mode(Mode::Live);
    until("it is live", async || sessions().await > 0).await;
    file(&node, log, b"<xml>by day</xml>").await;
    until("the portal has that", async || portal.holds(b"<xml>by day</xml>")).await;
    node.host.set_mode(Mode::Periodic);
    until("its hours are over", async || sessions().await == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_mirror_is_a_pure_function_of_the_truth_whatever_happens_to_it() {
    let dirs: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let id = identity();
    let portals = [identity().peer()];
    let node = start(Place {
        dir: dirs[0].path(),
        identity: &id,
        portals: &portals,
        dial: vec![],
        listen: None,
        mode: Mode::Live,
    })
    .await;
    let open = || Mirror::open(&dirs[1].path().join("mirror"), MirrorOptions::default());
    let mirror = Arc::new(open().unwrap().0);
    let projector = Projector::new(tenant(), node.store.clone(), mirror.clone());
    let following = tokio::spawn(projector.clone().run(node.host.clone()));
    let log = node.own_log(vec![]).await;
    for n in 0..20 {
        file(&node, log, format!("<xml>{n}</xml>").as_bytes()).await;
    }
    until("the mirror shows all", async || mirror.count(tenant()).unwrap() == 20).await;
    let rows = |mirror: &Mirror| mirror.scan(tenant(), &[], None, 100).unwrap();
    let before = rows(&mirror);
    following.abort();
    let _ = following.await;
    let upto = mirror.cursor(tenant()).unwrap();

    mirror.renew().unwrap();
    assert_eq!(mirror.count(tenant()).unwrap(), 0);
    projector.follow(upto.position).unwrap();
    assert_eq!(rows(&mirror), before, "set aside and derived again");

    // What the mirror says and the truth does not is found; so is what is not there.
    let compared = projector.compare().unwrap();
    assert!(compared.is_equal() && compared.documents == 20, "{compared:?}");
    let (document, _) = before[7];
    let lie = |record| Derived { document, changed_at: upto.position, record };
    mirror.apply(tenant(), upto, &[lie(Some(b"invented".to_vec()))]).unwrap();
    assert_eq!(projector.compare().unwrap().differing, [document]);
    mirror.apply(tenant(), upto, &[lie(None)]).unwrap();
    assert!(!projector.compare().unwrap().is_equal());

    // Ahead of the truth, as after a restored backup: derived again up to what there is.
    projector.follow(5).unwrap();
    assert_eq!(mirror.position(tenant()).unwrap(), 5);
    projector.follow(upto.position).unwrap();
    assert_eq!(rows(&mirror), before);

    // As far as the truth, but of what it was before it was restored and filled again: found at
    // the next start.
    let other = Cursor::new(upto.position, upto.digest() ^ 1);
    mirror.apply(tenant(), other, &[lie(Some(b"of before".to_vec()))]).unwrap();
    let next = Projector::new(tenant(), node.store.clone(), mirror.clone());
    next.follow(upto.position).unwrap();
    assert_eq!(rows(&mirror), before);
    assert_eq!(mirror.cursor(tenant()).unwrap(), upto);
}

/// Says something on the bundles stream, then the Hello that should have come first.
async fn overtake(connection: Connection) {
    let (sender, mut receiver) = connection.split();
    let send = async |class, frame: Frame| {
        sender.send(class, frame.encode().into()).await.unwrap();
    };
    // Any frame but a Hello is out of turn before the Hello.
    send(Class::Bundles, Frame::Path { primary: false }).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (agent, root) = ("test".to_owned(), Digest::default());
    let hello = Hello { versions: VERSIONS, agent, primary: false, spaces: vec![], root };
    send(Class::Control, Frame::Hello(hello)).await;
    send(Class::Control, Frame::Ping(7)).await;
    loop {
        let (_, bytes) = receiver.recv().await.unwrap().unwrap();
        match Frame::decode(&bytes).unwrap() {
            Frame::Pong(7) => return,
            Frame::Bye(fault) => panic!("the session ended: {fault:?}"),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_overtakes_its_hello_waits_for_it() {
    let dirs: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let (a_id, node_id) = (identity(), identity());
    let portals = [a_id.peer()];
    let (portal_at, stub_at) = (own_address(), own_address());
    let pins = |peer: PeerId| PinSet::new(BTreeMap::from([(peer, None)]));

    // Whoever accepts waits for it.
    let _a = portal(dirs[0].path(), &a_id, portal_at, &node_id).await;
    let line = Endpoint::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let dialer = Dialer::new(node_id.clone(), pins(a_id.peer()), vec![line]);
    for transport in [Transport::Quic, Transport::Tcp] {
        overtake(dialer.dial(0, portal_at, a_id.peer(), transport).await.unwrap()).await;
    }

    // Whoever dials waits for it.
    let quic = Endpoint::bind(stub_at).unwrap();
    let node_pin = pins(node_id.peer());
    let limits = Limits::default();
    let mut listener = Listener::start(&a_id, &node_pin, vec![quic], vec![], limits).unwrap();
    let _node = start(Place {
        dir: dirs[1].path(),
        identity: &node_id,
        portals: &portals,
        dial: vec![PortalAddress { peer: portals[0], addresses: vec![stub_at] }],
        listen: None,
        mode: Mode::Live,
    })
    .await;
    overtake(listener.accept().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_on_a_period_rests_between_two_visits() {
    let dirs: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let (a, node) = portal_and_node(&dirs, Mode::Periodic).await;
    let log = node.own_log(vec![]).await;
    file(&node, log, b"<xml>waits</xml>").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!a.holds(b"<xml>waits</xml>"), "it waits for its time");
    node.host.sync_now();
    until("the visit brings it", async || a.holds(b"<xml>waits</xml>")).await;
    until("the node rests", async || node.host.view().await.sessions.is_empty()).await;
    let known: BTreeMap<_, _> = node.host.view().await.known;
    assert_eq!(known[&(a.host.peer(), tenant())].get(&log), 2);
}
