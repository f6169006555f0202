//! Two portals and nodes as processes of their own, each with its folder and its log.
//!
//! `staffetta-node` is another package's binary: it is taken from beside `staffetta-portal`,
//! where `cargo test --workspace` (`make test`) and `cargo build` put both.

use std::{
    ffi::OsStr,
    fs,
    io::{ErrorKind, Read as _},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread::sleep,
    time::{Duration, Instant, SystemTime},
};

use certgen::{Authority, Host, Issued, Moment, Options, PortalName};
use engine::id::VatNumber;
use serde_json::Value;

use crate::chrome::Chrome;

pub const VAT: &str = "02038490237";
pub const OTHER_VAT: &str = "12345678903";
const INVOICE: &str = include_str!("../../../node/tests/invoice.xml");

pub fn vat(text: &str) -> VatNumber {
    VatNumber::parse(text).unwrap()
}

/// An invoice that `VAT` sends.
pub fn sent(number: &str) -> String {
    INVOICE.replace("NUMERO", number)
}

/// An invoice that `VAT` receives.
pub fn received(number: &str) -> String {
    let supplier = "@supplier@";
    let swapped = INVOICE.replace(VAT, supplier).replace(OTHER_VAT, VAT);
    swapped.replace(supplier, OTHER_VAT).replace("NUMERO", number)
}

pub fn portal_binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_staffetta-portal"))
}

/// Fails with a sentence where it is missing, or older than what it is made of: a binary of
/// another day speaks another protocol.
pub fn node_binary() -> PathBuf {
    let path = portal_binary().with_file_name("staffetta-node");
    let built = fs::metadata(&path).and_then(|meta| meta.modified()).ok();
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let sources = ["engine", "node/src"].map(|folder| newest(&workspace.join(folder)));
    assert!(
        built.is_some_and(|built| sources.iter().all(|source| *source <= built)),
        "{} is missing or old: run cargo build -p node first, or make test, which builds everything",
        path.display()
    );
    path
}

/// When the last Rust source below `folder` was written.
fn newest(folder: &Path) -> SystemTime {
    let mut newest = SystemTime::UNIX_EPOCH;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !["tests", "examples", "target"].contains(&&*name) {
            newest = newest.max(self::newest(&path));
        } else if name.ends_with(".rs") {
            newest = newest.max(fs::metadata(&path).unwrap().modified().unwrap());
        }
    }
    newest
}

/// A folder, an authority, and loopback addresses that no other test uses.
pub struct Town {
    dir: tempfile::TempDir,
    authority: Authority,
    network: u32,
}

/// The two portals, at work.
pub struct Portals {
    pub a: Service,
    pub b: Service,
}

/// A process, or one that can be started.
pub struct Service {
    pub binary: PathBuf,
    pub config: PathBuf,
    pub dir: PathBuf,
    pub pin: String,
    child: Option<Child>,
    pub user: Option<u32>,
    /// A program and its arguments that the process is started by.
    pub under: Vec<String>,
}

impl Town {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::open_or_create(&dir.path().join("ca"), Moment::now()).unwrap();
        let test = NEXT.fetch_add(1, Ordering::Relaxed);
        let network = std::process::id().wrapping_mul(64).wrapping_add(test) % 65_000;
        Self { dir, authority, network }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Loopback is a /8: each test has a /24 of its own.
    pub fn address(&self, n: u8) -> String {
        let [_, _, high, low] = self.network.to_be_bytes();
        format!("{}:4433", Ipv4Addr::new(127, high.wrapping_add(1), low, n))
    }

    pub fn issue_node(&mut self, tenant: &str) -> Issued {
        self.authority.issue_node(vat(tenant), Options::default()).unwrap()
    }

    pub fn issue_node_at(&mut self, tenant: &str, seconds_ago: i64, valid_days: u16) -> Issued {
        let now = Moment::from_unix(unix_seconds() - seconds_ago);
        self.authority.issue_node(vat(tenant), Options { valid_days, now }).unwrap()
    }

    /// Both portals, started, and a node of [`VAT`] that they admit, which is not.
    pub fn with_node() -> (Self, Portals, Service) {
        let mut town = Self::new();
        let portals = town.portals();
        let issued = town.issue_node(VAT);
        let node = town.node("node", &issued, &portals);
        portals.admit(&node);
        (town, portals, node)
    }

    /// Both portals, started.
    pub fn portals(&mut self) -> Portals {
        self.portals_with(|_, _| String::new())
    }

    /// Both portals with pages, started.
    pub fn portals_with_doors(&mut self) -> Portals {
        let urls = [1, 2].map(|n| self.door(n));
        self.portals_with(|n, dir| {
            format!(
                "[door]\nlisten = [{listen:?}]\nurl = {url:?}\nname = \"Intermediario Prova S.r.l.\"\n\
                 about = \"P.IVA 01234567897, Via Roma 1, 37121 Verona (VR)\"\n\
                 pec = \"noi@pec.example.it\"\nrecipient_code = \"ABC1234\"\nspool = {spool:?}\n",
                listen = urls[n].strip_prefix("https://").unwrap(),
                url = urls[n],
                spool = dir.join("pec"),
            )
        })
    }

    /// The address of a portal's pages, the first being 1.
    pub fn door(&self, n: u8) -> String {
        format!("https://{}", self.address(n).replace(":4433", ":4443"))
    }

    /// A browser of somebody with this certificate.
    pub fn browser(&self, name: &str, issued: &Issued, pictures: &Path) -> Chrome {
        Chrome::start(&self.path(name), self.authority.cert_pem(), issued, pictures)
    }

    fn portals_with(&mut self, more: impl Fn(usize, &Path) -> String) -> Portals {
        let hosts = [1, 2].map(|n| self.address(n).replace(":4433", ""));
        let issued = [0, 1].map(|n| {
            let name = ["portal-a", "portal-b"][n];
            let hosts = vec![Host::parse(&hosts[n]).unwrap()];
            let portal = PortalName::parse(name).unwrap();
            self.authority.issue_portal(portal, hosts, Options::default()).unwrap()
        });
        let pins = issued.each_ref().map(pin);
        let mut services = Vec::new();
        for (n, name) in ["a", "b"].into_iter().enumerate() {
            let (cert, key) = self.write(name, &issued[n]);
            let dir = self.path(name);
            let other = 1 - n;
            let config = format!(
                "data = {data:?}\ncert = {cert:?}\nkey = {key:?}\nlisten = [{listen:?}]\n\
                 sdi = {sdi:?}\n[[portal]]\nname = {name:?}\npin = {pin:?}\naddresses = [{to:?}]\n",
                data = dir.join("data"),
                sdi = dir.join("sdi"),
                listen = self.address(n as u8 + 1),
                name = ["A", "B"][other],
                pin = pins[other],
                to = self.address(other as u8 + 1),
            ) + &more(n, &dir);
            services.push(self.service(portal_binary(), name, &config, &pins[n]));
        }
        let mut b = services.pop().unwrap();
        let mut a = services.pop().unwrap();
        a.start();
        b.start();
        Portals { a, b }
    }

    /// A node of `VAT` with this identity that knows both portals, not started. Its data folder
    /// is `data` where given.
    pub fn node(&self, name: &str, issued: &Issued, portals: &Portals) -> Service {
        self.node_in(name, issued, portals, &self.path(name).join("data"))
    }

    pub fn node_in(&self, name: &str, issued: &Issued, portals: &Portals, data: &Path) -> Service {
        let (cert, key) = self.write(name, issued);
        let dir = self.path(name);
        let mut config = format!("data = {data:?}\n");
        for (n, portal) in [&portals.a, &portals.b].into_iter().enumerate() {
            config += &format!(
                "[[portal]]\nname = {:?}\npin = {:?}\naddresses = [{:?}]\n",
                ["A", "B"][n],
                portal.pin,
                self.address(n as u8 + 1)
            );
        }
        config += &format!(
            "[[tenant]]\nvat = {VAT:?}\ncert = {cert:?}\nkey = {key:?}\nspool = {:?}\n",
            dir.join("spool")
        );
        self.service(node_binary(), name, &config, &pin(issued))
    }

    pub fn service(&self, binary: PathBuf, name: &str, config: &str, pin: &str) -> Service {
        let dir = self.path(name);
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("config.toml");
        fs::write(&path, config).unwrap();
        Service {
            binary,
            config: path,
            dir,
            pin: pin.to_owned(),
            child: None,
            user: None,
            under: vec![],
        }
    }

    /// Certificate and key as files.
    pub fn write(&self, name: &str, issued: &Issued) -> (PathBuf, PathBuf) {
        let dir = self.path(name);
        fs::create_dir_all(&dir).unwrap();
        let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
        fs::write(&cert, &issued.certified.cert_pem).unwrap();
        fs::write(&key, issued.key_pem.expose()).unwrap();
        mode(&key, 0o600);
        (cert, key)
    }
}

impl Portals {
    /// Admits `node` at A and waits until B knows it too.
    pub fn admit(&self, node: &Service) {
        let cert = node.dir.join("cert.pem");
        let (code, text) = self.a.run(&["admit"], &[VAT, cert.to_str().unwrap()]);
        assert_eq!(code, 0, "{text}");
        until("B knows the tenant", || {
            self.b.status()["tenants"].as_array().is_some_and(|t| !t.is_empty())
        });
    }
}

impl Service {
    /// Starts it and does not wait until it answers.
    pub fn begin(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        self.child = Some(self.spawn());
    }

    pub fn start(&mut self) {
        self.begin();
        let begun = Instant::now();
        while self.try_status().is_none() {
            if let Some(ended) = self.child.as_mut().unwrap().try_wait().unwrap() {
                panic!("{} ended with {ended}: {}", self.dir.display(), self.log());
            }
            assert!(
                begun.elapsed() < LONG,
                "{} does not answer: {}",
                self.dir.display(),
                self.log()
            );
            sleep(BEAT);
        }
    }

    /// Its number while it runs.
    pub fn process(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some())
    }

    /// Starts it where it must end by itself: exit code, and what it said.
    pub fn fails(&self) -> (i32, String) {
        let before = self.log().len();
        let mut child = self.spawn();
        let begun = Instant::now();
        let ended = loop {
            if let Some(ended) = child.try_wait().unwrap() {
                break ended;
            }
            if begun.elapsed() > LONG {
                let _ = child.kill();
                panic!("it runs and should not: {}", self.log());
            }
            sleep(BEAT);
        };
        (ended.code().expect("no signal"), self.log()[before..].to_owned())
    }

    fn spawn(&self) -> Child {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_file()).unwrap();
        let words = self.under.iter().map(OsStr::new).chain([self.binary.as_os_str()]);
        let words: Vec<_> = words.collect();
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .args(["run", "--config"])
            .arg(&self.config)
            .env("RUST_LOG", "info");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        if let Some(user) = self.user {
            use std::os::unix::process::CommandExt as _;
            command.uid(user).gid(user);
        }
        loop {
            match command.spawn() {
                // Another test's fork holds a just copied binary open for a moment.
                Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => sleep(BEAT),
                child => return child.unwrap(),
            }
        }
    }

    /// Runs another command of the binary: exit code, and all it said.
    pub fn run(&self, before: &[&str], after: &[&str]) -> (i32, String) {
        let mut command = Command::new(&self.binary);
        let output =
            command.args(before).arg("--config").arg(&self.config).args(after).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().expect("no signal"), text)
    }

    pub fn try_status(&self) -> Option<Value> {
        let (code, text) = self.run(&["status", "--json"], &[]);
        (code == 0).then(|| serde_json::from_str(&text).unwrap())
    }

    pub fn status(&self) -> Value {
        self.try_status()
            .unwrap_or_else(|| panic!("{} is gone: {}", self.dir.display(), self.log()))
    }

    /// The only tenant of a node, or `VAT` at a portal; null before there is one.
    pub fn tenant(&self) -> Value {
        let status = self.status();
        let tenants = status["tenants"].as_array().unwrap();
        tenants.iter().find(|tenant| tenant["vat"] == VAT).cloned().unwrap_or_default()
    }

    pub fn status_text(&self) -> String {
        self.run(&["status"], &[]).1
    }

    pub fn log_file(&self) -> PathBuf {
        self.dir.join("log")
    }

    pub fn log(&self) -> String {
        let mut text = Vec::new();
        if let Ok(mut file) = fs::File::open(self.log_file()) {
            file.read_to_end(&mut text).unwrap();
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    pub fn spool(&self, name: &str) -> PathBuf {
        self.dir.join("spool").join(name)
    }

    /// Names in a spool folder, hidden ones too.
    pub fn names(&self, folder: &str) -> Vec<String> {
        names(&self.spool(folder))
    }

    /// Both portals hold what is here, and nothing is in `out/`.
    pub fn is_in_sync(&self) -> bool {
        let tenant = self.tenant();
        let portals = tenant["portals"].as_array().unwrap();
        tenant["in_out"] == 0
            && tenant["mirror_behind"] == 0
            && portals.iter().all(|portal| {
                !portal["holds"].is_null()
                    && portal["pending_up"] == 0
                    && portal["pending_down"] == 0
            })
    }

    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let status = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(status.unwrap().success());
        let ended = child.wait().unwrap();
        assert_eq!(ended.code(), Some(0), "an orderly stop: {}", self.log());
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
            if std::thread::panicking() {
                eprintln!("--- {}\n{}", self.dir.display(), self.log());
            }
        }
    }
}

const BEAT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(90);

/// Fails the test instead of hanging. Nothing is timed by it.
pub fn until(what: &str, condition: impl FnMut() -> bool) {
    within(LONG, what, condition);
}

pub fn within(time: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < time, "not within {} s: {what}", time.as_secs());
        sleep(BEAT);
    }
}

/// What is there, but for what is still being written.
pub fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| !name.ends_with(".half"))
        .collect();
    names.sort();
    names
}

pub fn mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub fn pin(issued: &Issued) -> String {
    issued.certified.peer.to_string()
}

fn unix_seconds() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}
