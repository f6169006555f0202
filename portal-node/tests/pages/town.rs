//! Two portals in this process, on ports of the system's choice, and the authority that issued
//! everybody's certificates.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use certgen::{Authority, Existing, Host, Issued, Moment, Options, PortalName};
use engine::id::VatNumber;
use node::{config::NodeConfig, control, transport::identity::certificate};
use portal_node::{
    config::PortalConfig,
    service::{self, Ask},
};
use tokio::task::JoinHandle;

use super::ports::free_address;

/// Patience of a test that waits for something another task does.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// One portal.
pub struct House {
    pub config: PortalConfig,
    pub pages: SocketAddr,
    running: Option<JoinHandle<()>>,
}

/// All of it. Removed when dropped.
pub struct Town {
    pub root: tempfile::TempDir,
    pub a: House,
    pub b: House,
    authority: Authority,
}

pub fn vat(text: &str) -> VatNumber {
    VatNumber::parse(text).unwrap()
}

impl Town {
    /// Both portals up, nobody in them.
    pub async fn found() -> Self {
        Self::found_with(|_, _, _| {}).await
    }

    /// The same, told more: by name, with the folder of everything and the authority.
    pub async fn found_with(more: impl Fn(&mut PortalConfig, &Path, &mut Authority)) -> Self {
        let root = tempfile::tempdir().unwrap();
        let mut authority =
            Authority::open_or_create(&root.path().join("authority"), Moment::now()).unwrap();
        let mut pins = Vec::new();
        for name in ["a", "b"] {
            let hosts = vec![Host::parse("localhost").unwrap()];
            let name = PortalName::parse(name).unwrap();
            let issued = authority.issue_portal(name, hosts, Options::default()).unwrap();
            issued.write(root.path(), Existing::Refuse).unwrap();
            pins.push(issued.peer().to_string());
        }
        let (at_a, at_b) = (free_address().unwrap(), free_address().unwrap());
        let config = |name: &str, here: SocketAddr, other: &str, pin: &str, there: SocketAddr| {
            let path = |end: &str| root.path().join(format!("{name}{end}")).display().to_string();
            let text = format!(
                "data = {:?}\ncert = {:?}\nkey = {:?}\nlisten = [\"{here}\"]\nsdi = {:?}\n\
                 [[portal]]\nname = {other:?}\npin = {pin:?}\naddresses = [\"{there}\"]\n\
                 [[line]]\naddress = \"127.0.0.1\"\n\
                 [door]\nlisten = [\"127.0.0.1:0\"]\nurl = \"https://localhost\"\n\
                 name = \"Intermediario Prova S.r.l.\"\nabout = \"Verona\"\npec = \"noi@pec.example.it\"\n\
                 recipient_code = \"ABC1234\"\nspool = {:?}\n\
                 authority = {:?}\n",
                path("-data"),
                path(".cert"),
                path(".key"),
                path("-sdi"),
                path("-pec"),
                root.path().join("authority").display().to_string(),
            );
            let config: PortalConfig = toml::from_str(&text).unwrap();
            House { config, pages: SocketAddr::from(([127, 0, 0, 1], 0)), running: None }
        };
        let mut a = config("a", at_a, "B", &pins[1], at_b);
        let mut b = config("b", at_b, "A", &pins[0], at_a);
        more(&mut a.config, root.path(), &mut authority);
        more(&mut b.config, root.path(), &mut authority);
        a.open().await;
        b.open().await;
        Self { root, a, b, authority }
    }

    /// Issues a certificate for `vat`; returns its files' common stem.
    pub fn issue(&mut self, vat: VatNumber, name: &str) -> PathBuf {
        let issued: Issued = self.authority.issue_node(vat, Options::default()).unwrap();
        let folder = self.root.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        issued.write(&folder, Existing::Refuse).unwrap();
        folder.join(vat.to_string())
    }

    /// The authority's certificate, PEM.
    pub fn authority(&self) -> String {
        self.authority.cert_pem().to_owned()
    }
}

/// A customer's server in this process. It ends when dropped.
pub struct Server {
    pub config: NodeConfig,
    running: JoinHandle<()>,
}

impl Server {
    /// One with the certificate and key at `stem`, which knows both portals.
    pub async fn start(town: &Town, of: VatNumber, stem: &Path) -> Self {
        let dir = town.root.path().join(format!("server-{of}"));
        let mut text = format!("data = {:?}\n", dir.join("data"));
        for (name, house, other) in [("A", &town.a, &town.b), ("B", &town.b, &town.a)] {
            let (pin, at) = (other.config.portals[0].pin, house.config.listen[0]);
            text +=
                &format!("[[portal]]\nname = {name:?}\npin = \"{pin}\"\naddresses = [\"{at}\"]\n");
        }
        text += &format!(
            "[[tenant]]\nvat = \"{of}\"\ncert = {:?}\nkey = {:?}\nspool = {:?}\n",
            stem.with_extension("cert"),
            stem.with_extension("key"),
            dir.join("spool"),
        );
        let config: NodeConfig = toml::from_str(&text).unwrap();
        let told = config.clone();
        let running = tokio::spawn(async move { node::service::run(&told).await.unwrap() });
        let out = dir.join("spool/out");
        until("the server is up", || async { out.is_dir() }).await;
        Self { config, running }
    }

    /// Sends an invoice.
    pub fn send(&self, name: &str, text: &str) {
        let out = self.config.tenants[0].spool.join("out");
        fs::write(out.join(name), text).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl House {
    /// Whether somebody's server replicates with this portal now.
    pub async fn is_connected(&self, pin: &str) -> bool {
        let told = self.status().await;
        let sessions = told["tenants"].as_array().unwrap().iter();
        let mut sessions = sessions.flat_map(|tenant| tenant["sessions"].as_array().unwrap());
        sessions
            .any(|session| session["peer"].as_str().is_some_and(|peer| peer.contains(&pin[..8])))
    }

    /// Starts it and waits until its pages can be asked for.
    pub async fn open(&mut self) {
        let config = self.config.clone();
        let _ = fs::remove_file(config.data.join("control.json"));
        self.running = Some(tokio::spawn(async move {
            service::run(&config).await.unwrap();
        }));
        let begun = Instant::now();
        loop {
            if let Ok(told) = control::ask(&self.config.data, Ask::Status).await {
                if self.config.door.is_some() {
                    self.pages = told["pages"][0].as_str().unwrap().parse().unwrap();
                }
                return;
            }
            assert!(!self.running.as_ref().unwrap().is_finished(), "the portal did not start");
            assert!(begun.elapsed() < PATIENCE, "the portal does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The folder of its letters.
    pub fn spool(&self) -> PathBuf {
        self.config.door.as_ref().expect("it has pages").spool.clone()
    }

    /// What it says of itself.
    pub async fn status(&self) -> serde_json::Value {
        control::ask(&self.config.data, Ask::Status).await.unwrap()
    }

    /// The first administrator's link, its path only.
    pub async fn admin_link(&self, user: &str, stem: &Path) -> String {
        let file = stem.with_extension("cert");
        let read = certificate(&fs::read(&file).unwrap(), "the certificate").unwrap();
        let ask = Ask::AdminLink { user: user.into(), spki: read.spki, not_after: read.not_after };
        let told = control::ask(&self.config.data, ask).await.unwrap();
        let link = told["link"].as_str().unwrap_or_else(|| panic!("{told}")).to_owned();
        link.strip_prefix("https://localhost").unwrap().to_owned()
    }
}

/// Waits until `is_so`.
pub async fn until<F: Future<Output = bool>>(what: &str, is_so: impl FnMut() -> F) {
    within(PATIENCE, what, is_so).await;
}

/// Waits until `is_so`, and no longer than `time`.
pub async fn within<F: Future<Output = bool>>(
    time: Duration,
    what: &str,
    mut is_so: impl FnMut() -> F,
) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < time, "not within {} s: {what}", time.as_secs());
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}
