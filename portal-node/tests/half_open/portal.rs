//! The portal as a process, with a customer admitted.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use certgen::{Authority, Moment, Options, PortalName};
use engine::id::{PeerId, VatNumber};
use node::{
    control, service,
    transport::{Dialer, Endpoint, Identity, PinSet},
};
use tempfile::TempDir;

use super::ports::free_address;

pub fn tenant() -> VatNumber {
    VatNumber::parse("02038490237").unwrap()
}

pub struct Portal {
    /// Where it answers QUIC and TCP.
    pub address: SocketAddr,
    pub peer: PeerId,
    /// Its customer's.
    pub customer: Identity,
    child: Child,
    _dir: TempDir,
}

impl Portal {
    /// Starts it and admits the customer.
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (config, data) = (dir.path().join("portal.toml"), dir.path().join("data"));
        let certs = dir.path().join("certs");
        let mut authority =
            Authority::open_or_create(&dir.path().join("ca"), Moment::now()).unwrap();
        let portal = PortalName::parse("a").unwrap();
        let issued = authority.issue_portal(portal, vec![], Options::default()).unwrap();
        issued.write(&certs, certgen::Existing::Refuse).unwrap();
        let peer = PeerId::parse_hex(&issued.peer().to_string()).unwrap();
        let node = authority.issue_node(tenant(), Options::default()).unwrap();
        node.write(&certs, certgen::Existing::Refuse).unwrap();
        let paper = |name: String| certs.join(name);
        let own = [paper(format!("{}.cert", tenant())), paper(format!("{}.key", tenant()))];
        let customer = Identity::load(&own[0], &own[1]).unwrap();
        let sdi = dir.path().join("sdi");
        fs::create_dir_all(sdi.join(tenant().to_string())).unwrap();
        let address = free_address().unwrap();
        fs::write(
            &config,
            format!(
                "data = {data:?}\nsdi = {sdi:?}\nlisten = [\"{address}\"]\ncert = {:?}\nkey = {:?}\n",
                paper("a.cert".to_owned()),
                paper("a.key".to_owned()),
            ),
        )
        .unwrap();
        let log = fs::File::create(dir.path().join("log.txt")).unwrap();
        let child = command(&config, "run").stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let portal = Self { address, peer, customer, child, _dir: dir };
        for _ in 0..1200 {
            if control::ask(&data, service::Ask::Status).await.is_ok() {
                let mut admit = command(&config, "admit");
                admit.arg(tenant().to_string()).arg(&own[0]);
                assert!(admit.stdout(Stdio::null()).status().unwrap().success());
                return portal;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the portal does not answer");
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn resident_bytes(&self) -> u64 {
        resident_bytes(self.pid())
    }
}

impl Drop for Portal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(config: &PathBuf, verb: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_staffetta-portal"));
    command.arg(verb).arg("--config").arg(config).stdin(Stdio::null());
    command
}

/// Memory of a process that is in use.
pub fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// A dialler nobody knows, and the name of nobody.
pub fn stranger() -> (Dialer, PeerId) {
    static STRANGER: std::sync::OnceLock<(Identity, PeerId)> = std::sync::OnceLock::new();
    let (identity, nobody) = STRANGER.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let mut authority = Authority::open_or_create(dir.path(), Moment::now()).unwrap();
        let issued = authority.issue_node(tenant(), Options::default()).unwrap();
        issued.write(dir.path(), certgen::Existing::Refuse).unwrap();
        let paper = |kind: &str| dir.path().join(format!("{}.{kind}", tenant()));
        (Identity::load(&paper("cert"), &paper("key")).unwrap(), PeerId::of_spki(b"nobody"))
    });
    let line = Endpoint::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let pins = PinSet::new([(*nobody, None)].into());
    (Dialer::new(identity.clone(), pins, vec![line]), *nobody)
}
