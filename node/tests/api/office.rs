//! A node at work in a test: a real host over a store in memory, its mirror and its projector,
//! and the API on loopback behind a door with two users of one tenant and one of another.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use engine::{
    bundle::Item,
    document::invoice::Receiving,
    grant::Role,
    id::VatNumber,
    route::Mode,
    store::{Store, memory::MemoryStore},
};
use node::{
    api::{
        Api,
        caller::Caller,
        keys::IdempotencyKeys,
        router,
        serve::{Accounts, Served, guarded, listen},
        space::{Space, SpaceParts, Spaces},
    },
    freshness::Remembered,
    host::{Host, HostConfig, HostHandle},
    intake::Intake,
    judgement::Judge,
    metrics,
    mirror::{Mirror, MirrorOptions},
    projector::Projector,
    register::Register,
    transport::{Identity, PinSet},
};
use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

pub const OURS: &str = "02038490237";
pub const THEIRS: &str = "12345678903";

/// A sample invoice whose supplier is [`OURS`], with a number of its own.
pub fn sample(number: &str) -> Vec<u8> {
    let text = include_str!("../invoice.xml");
    let supplier = text.find("<CedentePrestatore>").unwrap();
    let (head, tail) = text.split_at(supplier);
    let from = tail.find("<IdCodice>").unwrap() + "<IdCodice>".len();
    let to = from + tail[from..].find('<').unwrap();
    let tail = format!("{}{OURS}{}", &tail[..from], &tail[to..]);
    let from = tail.find("<Numero>").unwrap() + "<Numero>".len();
    let to = from + tail[from..].find('<').unwrap();
    format!("{head}{}{number}{}", &tail[..from], &tail[to..]).into_bytes()
}

struct Users;

impl Accounts for Users {
    fn by_password(&self, name: &str, password: &str) -> Option<Caller> {
        let vat = |text| VatNumber::parse(text).unwrap();
        match (name, password) {
            ("anna", "segreta: 1") => Some(Caller::admitted(vat(OURS), name, true)),
            ("ugo", "solo lettura") => Some(Caller::admitted(vat(OURS), name, false)),
            ("altri", "altrove") => Some(Caller::admitted(vat(THEIRS), name, true)),
            _ => None,
        }
    }

    fn by_token(&self, token: &str) -> Option<Caller> {
        let ours = VatNumber::parse(OURS).unwrap();
        (token == "st_abc").then(|| Caller::admitted(ours, "token", true))
    }
}

pub struct Office {
    pub host: HostHandle,
    pub mirror: Arc<Mirror>,
    pub space: Arc<Space>,
    pub served: Served,
    _home: tempfile::TempDir,
}

pub fn identity() -> Identity {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = CertificateParams::new(vec!["a.test".into()]).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let day = Duration::from_secs(24 * 3600);
    params.not_before = (UNIX_EPOCH + now - day).into();
    params.not_after = (UNIX_EPOCH + now + day).into();
    let cert = params.self_signed(&key).unwrap().pem();
    Identity::from_pem(&cert, &key.serialize_pem()).unwrap()
}

impl Office {
    pub async fn open() -> Self {
        Self::over(Arc::new(MemoryStore::new()), None).await
    }

    /// On a store that may have been used before, in TLS as `tls`.
    pub async fn over(store: Arc<dyn Store>, tls: Option<&Identity>) -> Self {
        let home = tempfile::tempdir().unwrap();
        let (mirror, _) = Mirror::open(&home.path().join("m"), MirrorOptions::default()).unwrap();
        let mirror = Arc::new(mirror);
        let ours = VatNumber::parse(OURS).unwrap();
        let host = Host::start(HostConfig {
            identity: identity(),
            role: Role::Node,
            tenant: Some(ours),
            portals: vec![],
            dial: vec![],
            mode: Mode::Live,
            pins: PinSet::new(BTreeMap::new()),
            dialer: None,
            store: Arc::clone(&store),
        })
        .unwrap();
        let projector = Projector::new(ours, Arc::clone(&store), Arc::clone(&mirror));
        tokio::spawn(projector.run(host.clone()));
        let space = Arc::new(Space::new(SpaceParts {
            judge: Judge::new(Arc::new(Register::new(ours, Arc::clone(&mirror)))),
            tenant: ours,
            host: host.clone(),
            store: Arc::clone(&store),
            mirror: Arc::clone(&mirror),
            portals: vec![],
            is_source: false,
            remembered: Remembered::default(),
            taken: None,
        }));
        let spaces: BTreeMap<_, _> = [(ours, Arc::clone(&space))].into();
        let spaces: Arc<dyn Spaces> = Arc::new(spaces);
        let keys = Arc::new(IdempotencyKeys::in_memory());
        let metrics = metrics::router([(ours, Arc::clone(&space))].into());
        let router = guarded(router(Api::new(spaces, keys)).merge(metrics), Users);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let served = listen(address, tls, router).await.unwrap();
        Self { host, mirror, space, served, _home: home }
    }

    /// What arrives from outside.
    pub async fn receive(&self, number: &str) -> String {
        let ours = VatNumber::parse(OURS).unwrap();
        let receiving =
            Receiving { sdi_id: format!("77{number}"), at_ms: 1_764_000_000_000, metadata: None };
        let bytes = sample(number);
        let intake = Intake::read("IT12345678903_A.xml", &bytes, Some(receiving)).unwrap();
        let item: Item = intake.item(self.host.log()).unwrap();
        self.host.append(ours, vec![item], vec![bytes]).await.unwrap();
        self.space.settled().await;
        intake.document.to_string()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[ANNA], b"").await
    }

    pub async fn ask(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.served.address()).await.unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
        for header in headers {
            head.push_str(&format!("{header}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        stream.write_all(head.as_bytes()).await.unwrap();
        // A server that refuses early may close before it has read everything.
        let _ = stream.write_all(body).await;
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        Answer::read(&bytes)
    }
}

/// Basic credentials of the user who may write.
pub const ANNA: &str = "Authorization: Basic YW5uYTpzZWdyZXRhOiAx";
/// Of the one who may only read.
pub const UGO: &str = "Authorization: Basic dWdvOnNvbG8gbGV0dHVyYQ==";
/// Of a user of another tenant, which is not served here.
pub const ALTRI: &str = "Authorization: Basic YWx0cmk6YWx0cm92ZQ==";

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    fn read(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("an answer has a head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = bytes[end + 4..].to_vec();
        let body = if head.contains("transfer-encoding: chunked") { unchunk(&body) } else { body };
        Self { status, head, body }
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{}\n{text}", self.head);
        self
    }

    /// It is a problem of this kind.
    #[track_caller]
    pub fn problem(self, status: u16, kind: &str) -> Value {
        let answer = self.is(status);
        assert!(answer.head.contains("content-type: application/problem+json"), "{}", answer.head);
        let problem = answer.json();
        assert_eq!(problem["type"], format!("urn:staffetta:problem:{kind}"));
        assert_eq!(problem["status"], status);
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
        problem
    }
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = bytes.windows(2).position(|w| w == b"\r\n") {
        let len = std::str::from_utf8(&bytes[..end]).unwrap();
        let len = usize::from_str_radix(len, 16).unwrap();
        whole.extend_from_slice(&bytes[end + 2..end + 2 + len]);
        bytes = &bytes[end + 4 + len..];
    }
    whole
}
