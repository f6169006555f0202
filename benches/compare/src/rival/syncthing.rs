//! Syncthing of the distribution: two instances that share one folder over loopback only, told what
//! to do through its REST interface. An invoice is a file, a status change another small file.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use benches::ports::free_address;
use serde_json::{Value, json};

use super::{Failure, Held, Rival, program::EVERY_MS};

/// How often what has no event of its own is looked at.
const LOOK: Duration = Duration::from_millis(10);
const KEY: &str = "staffetta-compare";

/// One instance, with its folder shared.
struct Instance {
    child: Child,
    api: SocketAddr,
    listen: SocketAddr,
    device: String,
    folder: PathBuf,
}

/// Syncthing as a rival.
#[derive(Default)]
pub struct Syncthing {
    server: Option<Instance>,
    client: Option<Instance>,
}

impl Instance {
    /// Starts it on a home that may be new, as a peer of `other` (device, address).
    fn start(dir: &Path, until: Instant) -> Result<Self, Failure> {
        let (home, folder) = (dir.join("home"), dir.join("fatture"));
        std::fs::create_dir_all(&folder)?;
        if !home.join("config.xml").exists() {
            let made = Command::new("syncthing")
                .args(["generate", "--no-default-folder", "--skip-port-probing", "--home"])
                .arg(&home)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()?;
            if !made.success() {
                return Err(Failure::Broken("syncthing generate failed".into()));
            }
        }
        let id = Command::new("syncthing").arg("--device-id").arg("--home").arg(&home).output()?;
        let device = String::from_utf8_lossy(&id.stdout).trim().to_owned();
        let free = || free_address().map_err(|error| Failure::Broken(error.to_string()));
        let (api, listen) = (free()?, free()?);
        isolate(&home.join("config.xml"), listen)?;
        let child = Command::new("syncthing")
            .args(["serve", "--no-browser", "--no-restart", "--no-upgrade", "--logflags=0"])
            .arg(format!("--gui-address={api}"))
            .arg(format!("--gui-apikey={KEY}"))
            .arg("--home")
            .arg(&home)
            .env("STNODEFAULTFOLDER", "1")
            // No monitor of its own around it: this process is the one that is measured and killed.
            .env("STMONITORED", "yes")
            // Saves the second in which it finds out which SHA-256 is the quicker one.
            .env("STHASHING", "minio")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let instance = Self { child, api, listen, device, folder };
        while let Err(failure) = instance.request("GET", "/rest/system/ping", None) {
            if Instant::now() > until {
                return Err(failure);
            }
            sleep(LOOK);
        }
        Ok(instance)
    }

    /// Its whole configuration: nobody but `other`, nothing beyond loopback.
    fn configure(
        &self,
        other: &str,
        dial: Option<SocketAddr>,
        paused: bool,
    ) -> Result<(), Failure> {
        let mut config: Value =
            serde_json::from_str(&self.request("GET", "/rest/config", None)?)?;
        let addresses = dial.map_or(json!([]), |at| json!([format!("tcp://{at}")]));
        let mut options = config["options"].take();
        for (name, value) in [
            ("listenAddresses", json!([format!("tcp://{}", self.listen)])),
            ("globalAnnounceEnabled", json!(false)),
            ("localAnnounceEnabled", json!(false)),
            ("relaysEnabled", json!(false)),
            ("natEnabled", json!(false)),
            ("startBrowser", json!(false)),
            ("urAccepted", json!(-1)),
            ("crashReportingEnabled", json!(false)),
            ("autoUpgradeIntervalH", json!(0)),
            ("reconnectionIntervalS", json!(1)),
            ("setLowPriority", json!(false)),
            ("progressUpdateIntervalS", json!(-1)),
        ] {
            options[name] = value;
        }
        config["options"] = options;
        config["devices"] = json!([
            {"deviceID": self.device, "compression": "always"},
            {"deviceID": other, "addresses": addresses, "compression": "always", "paused": paused},
        ]);
        config["folders"] = json!([{
            "id": "fatture", "path": self.folder, "type": "sendreceive", "rescanIntervalS": 3600,
            "fsWatcherEnabled": false, "filesystemType": "basic",
            "devices": [{"deviceID": self.device}, {"deviceID": other}],
        }]);
        self.request("PUT", "/rest/config", Some(&config)).map(drop)
    }

    fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Result<String, Failure> {
        let mut stream = TcpStream::connect(self.api)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let body = body.map(Value::to_string).unwrap_or_default();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\nX-API-Key: {KEY}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len(),
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        if !head.contains(" 200 ") {
            let first = head.lines().next().unwrap_or_default();
            return Err(Failure::Broken(format!("{method} {path}: {first}: {}", body.trim())));
        }
        Ok(body.to_owned())
    }

    /// Has it look at what is new below `sub`, and waits until it knows `files`.
    fn scan(&self, sub: &str, files: u64, until: Instant) -> Result<(), Failure> {
        self.request("POST", &format!("/rest/db/scan?folder=fatture&sub={sub}"), None)?;
        self.wait(until, |status| status["localFiles"].as_u64() == Some(files))
    }

    fn wait(&self, until: Instant, done: impl Fn(&Value) -> bool) -> Result<(), Failure> {
        loop {
            let text = self.request("GET", "/rest/db/status?folder=fatture", None)?;
            if done(&serde_json::from_str(&text)?) {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(Failure::Capped);
            }
            sleep(LOOK);
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Syncthing {
    fn ends(&self) -> Result<(&Instance, &Instance), Failure> {
        match (&self.client, &self.server) {
            (Some(client), Some(server)) => Ok((client, server)),
            _ => Err(Failure::Broken("an end is missing".into())),
        }
    }
}

/// A status change, as the other rivals are told it.
fn outcome(k: u64) -> String {
    let (sdi, at) = (10_000_000_000 + k * 900 + k * 7919 % 900, 1_760_000_000_000 + k * 7000);
    json!({"tipo": "RC", "sdi": sdi.to_string(), "at": at + k * 104_729 % 7000}).to_string()
}

/// So that it talks to nobody before it is told to: what is configured at its start is a listener
/// on loopback, an address where nobody is, and no discovery.
fn isolate(config: &Path, listen: SocketAddr) -> std::io::Result<()> {
    let mut text = std::fs::read_to_string(config)?;
    let listener = format!("tcp://{listen}");
    for (element, value) in [
        ("listenAddress", listener.as_str()),
        ("globalAnnounceEnabled", "false"),
        ("localAnnounceEnabled", "false"),
        ("relaysEnabled", "false"),
        ("natEnabled", "false"),
        ("crashReportingEnabled", "false"),
        ("urAccepted", "-1"),
        ("autoUpgradeIntervalH", "0"),
    ] {
        text = with_element(&text, &format!("<{element}>"), value);
    }
    std::fs::write(config, with_element(&text, "<address>tcp://", "127.0.0.1:9"))
}

/// Replaces what follows each `open`, up to the next tag.
fn with_element(text: &str, open: &str, value: &str) -> String {
    let mut parts = text.split(open);
    let mut changed = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        changed += open;
        changed += value;
        changed += part.find('<').map_or("", |at| &part[at..]);
    }
    changed
}

fn files(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let whole = |name: &std::ffi::OsStr| name.to_string_lossy().ends_with(".json");
    entries.flatten().filter(|entry| whole(&entry.file_name())).count() as u64
}

impl Rival for Syncthing {
    fn name(&self) -> &'static str {
        "syncthing"
    }

    fn settings(&self) -> String {
        let version = Command::new("syncthing").arg("--version").output();
        let version = version.map(|out| String::from_utf8_lossy(&out.stdout).into_owned());
        let version = version.unwrap_or_default();
        let version = version.split_whitespace().nth(1).unwrap_or("?").to_owned();
        format!(
            "{version}; compression always, no discovery, no relays, changes told to its scanner \
             by REST instead of the watcher (which waits a second); fsync as by default"
        )
    }

    fn start_server(&mut self, dir: &Path, until: Instant) -> Result<SocketAddr, Failure> {
        let server = Instance::start(dir, until)?;
        let listen = server.listen;
        self.server = Some(server);
        Ok(listen)
    }

    fn write(&mut self, lines: &Path, held: Held, until: Instant) -> Result<(), Failure> {
        let server = self.server.as_ref().ok_or_else(|| Failure::Broken("no server".into()))?;
        for part in ["fatture", "esiti"] {
            std::fs::create_dir_all(server.folder.join(part))?;
        }
        let text = std::fs::read_to_string(lines)?;
        for (n, line) in text.lines().enumerate() {
            std::fs::write(server.folder.join(format!("fatture/{n:07}.json")), line)?;
        }
        // A folder without a peer yet: its only device is itself until a client comes.
        server.configure(&server.device.clone(), None, false)?;
        server.scan("", held.documents, until)
    }

    fn change(&mut self, first: u64, count: u64, until: Instant) -> Result<(), Failure> {
        let server = self.server.as_ref().ok_or_else(|| Failure::Broken("no server".into()))?;
        let documents = files(&server.folder.join("fatture"));
        for k in first..first + count {
            std::fs::write(server.folder.join(format!("esiti/{k:07}.json")), outcome(k))?;
        }
        if count == 0 {
            return Ok(());
        }
        server.scan("esiti", documents + first + count, until)
    }

    fn start_client(
        &mut self,
        dir: &Path,
        at: SocketAddr,
        until: Instant,
    ) -> Result<Duration, Failure> {
        let started = Instant::now();
        let client = Instance::start(dir, until)?;
        let took = started.elapsed();
        let server = self.server.as_ref().ok_or_else(|| Failure::Broken("no server".into()))?;
        client.configure(&server.device, Some(at), true)?;
        server.configure(&client.device, None, false)?;
        // The reconfigured folder is scanned once before it works.
        client.wait(until, |status| status["state"].as_str() == Some("idle"))?;
        self.client = Some(client);
        Ok(took)
    }

    fn sync(&mut self, wanted: Held, until: Instant) -> Result<Duration, Failure> {
        let (client, server) = self.ends()?;
        let started = Instant::now();
        let resume = format!("/rest/system/resume?device={}", server.device);
        client.request("POST", &resume, None)?;
        let all = wanted.documents + wanted.changes;
        // At d = 0 nothing shows on the files: it is done when the index was exchanged.
        client.wait(until, |status| {
            status["globalFiles"].as_u64() == Some(all)
                && status["localFiles"].as_u64() == Some(all)
                && status["needFiles"].as_u64() == Some(0)
        })?;
        loop {
            let completion = format!("/rest/db/completion?folder=fatture&device={}", client.device);
            let known: Value = serde_json::from_str(&server.request("GET", &completion, None)?)?;
            let linked: Value =
                serde_json::from_str(&client.request("GET", "/rest/system/connections", None)?)?;
            if linked["connections"][&server.device]["connected"] == json!(true)
                && known["completion"].as_f64() == Some(100.0)
            {
                break;
            }
            if Instant::now() > until {
                return Err(Failure::Capped);
            }
            sleep(LOOK);
        }
        Ok(started.elapsed())
    }

    fn held(&mut self, _until: Instant) -> Result<Held, Failure> {
        let client = self.client.as_ref().ok_or_else(|| Failure::Broken("no client".into()))?;
        Ok(Held {
            documents: files(&client.folder.join("fatture")),
            changes: files(&client.folder.join("esiti")),
        })
    }

    fn live(
        &mut self,
        held: Held,
        count: u64,
        until: Instant,
    ) -> Result<Option<Vec<f64>>, Failure> {
        let (client, server) = self.ends()?;
        let mut times = Vec::new();
        // One after the other: its scanner takes some 20 ms a change.
        for k in held.changes..held.changes + count {
            let name = format!("esiti/{k:07}.json");
            let said = Instant::now();
            std::fs::write(server.folder.join(&name), outcome(k))?;
            server.request("POST", &format!("/rest/db/scan?folder=fatture&sub={name}"), None)?;
            while !client.folder.join(&name).exists() {
                if Instant::now() > until {
                    return Err(Failure::Capped);
                }
                sleep(Duration::from_millis(1));
            }
            times.push(said.elapsed().as_secs_f64() * 1e3);
            sleep(Duration::from_millis(EVERY_MS));
        }
        Ok(Some(times))
    }

    fn stop_client(&mut self, kill: bool) {
        let Some(mut client) = self.client.take() else { return };
        if !kill && client.request("POST", "/rest/system/shutdown", None).is_ok() {
            let until = Instant::now() + Duration::from_secs(10);
            while matches!(client.child.try_wait(), Ok(None)) && Instant::now() < until {
                sleep(LOOK);
            }
        }
    }

    fn processes(&self) -> [Vec<u32>; 2] {
        [&self.client, &self.server].map(|end| end.iter().map(|end| end.child.id()).collect())
    }
}

/// So that a rival that is not installed is said before anything is measured.
pub fn is_there() -> bool {
    Command::new("syncthing").arg("--version").output().is_ok_and(|out| out.status.success())
}
