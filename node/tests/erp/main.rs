//! The installed program as an ERP meets it: both portals away, and everything answers. The pages
//! under `docs/erp` are run as they stand.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![cfg(unix)]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rcgen::{CertificateParams, KeyPair};
use rusqlite::Connection;
use serde_json::Value;

const OURS: &str = "02038490237";
const PROGRAM: &str = env!("CARGO_BIN_EXE_staffetta-node");

/// A node with one P.IVA and a portal that is not there.
struct Node {
    home: tempfile::TempDir,
    process: Child,
    address: String,
    sql: String,
}

impl Node {
    fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name).display().to_string();
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::new(vec!["node.test".into()]).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let day = Duration::from_secs(24 * 3600);
        params.not_before = (UNIX_EPOCH + now - day).into();
        params.not_after = (UNIX_EPOCH + now + day * 90).into();
        fs::write(path("n.cert"), params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(path("n.key"), key.serialize_pem()).unwrap();
        fs::set_permissions(path("n.key"), fs::Permissions::from_mode(0o600)).unwrap();
        let config = format!(
            "data = {:?}\ntime_server = \"\"\nsync = \"30m\"\nwindows = [\"00:00-24:00\"]\nlogs = \"json\"\n\
             [api]\nlisten = [\"127.0.0.1:0\"]\n[sql]\nlisten = [\"127.0.0.1:0\"]\n\
             [[portal]]\nname = \"A\"\npin = \"{}\"\naddresses = [\"127.0.0.1:9\"]\n\
             [[tenant]]\nvat = \"{OURS}\"\ncert = {:?}\nkey = {:?}\nspool = {:?}\n",
            path("data"),
            "ab".repeat(32),
            path("n.cert"),
            path("n.key"),
            path("spool"),
        );
        fs::write(path("node.toml"), config).unwrap();
        let mut process = Command::new(PROGRAM)
            .args(["run", "--config", &path("node.toml")])
            .env_remove("RUST_LOG")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut address = String::new();
        let sql = loop {
            let line = lines.next().expect("it says where it answers").unwrap();
            // Every line is an object: `logs = "json"`.
            let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
            let message = line["message"].as_str().unwrap_or_default();
            if let Some(at) = message.strip_prefix("the API answers at ") {
                address = at.to_owned();
            }
            if let Some(at) = message.strip_prefix("SQL answers at ") {
                break at.to_owned();
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        Self { home, process, address, sql }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Runs a command of the program on this node's configuration.
    fn command(&self, words: &[&str]) -> Output {
        let config = self.path("node.toml");
        Command::new(PROGRAM).args(words).arg("--config").arg(config).output().unwrap()
    }

    fn done(&self, words: &[&str]) -> String {
        let output = self.command(words);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {told}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An invoice of ours.
fn sample() -> String {
    let text = include_str!("../invoice.xml");
    let (head, tail) = text.split_at(text.find("<CedentePrestatore>").unwrap());
    let from = tail.find("<IdCodice>").unwrap() + "<IdCodice>".len();
    let to = from + tail[from..].find('<').unwrap();
    format!("{head}{}{OURS}{}", &tail[..from], &tail[to..])
}

/// The code in a page, of one language.
fn code(page: &str, language: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/erp").join(page);
    let text = fs::read_to_string(path).unwrap();
    let fence = format!("```{language}\n");
    let blocks = text.split(&fence).skip(1);
    blocks.map(|block| block.split("```").next().unwrap()).collect::<Vec<_>>().join("\n")
}

fn json(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap();
    serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{}: {error}: {text}", path.display()))
}

/// Runs a program on code, in `dir`.
fn script(program: &str, code: &str, dir: &Path, environment: &[(&str, &str)]) -> String {
    let file = dir.join(format!("{program}.page"));
    fs::write(&file, code).unwrap();
    let output = Command::new(program)
        .arg(&file)
        .current_dir(dir)
        .envs(environment.iter().copied())
        .output()
        .unwrap_or_else(|error| {
            panic!("{program} is needed for the pages under docs/erp: {error}")
        });
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program}:\n{out}\n{err}");
    out.into_owned()
}

#[test]
fn the_pages_for_erps_work_as_they_stand_with_both_portals_away() {
    let node = Node::start();
    let token = node.done(&["token", "add", "erp", "--vat", OURS]);
    let password = node.done(&["user", "add", "anna", "--vat", OURS]);
    let work = node.path("work");
    fs::create_dir(&work).unwrap();
    fs::write(work.join("fattura.xml"), sample()).unwrap();
    let environment = [
        ("STAFFETTA", node.address.as_str()),
        ("TOKEN", &token),
        ("ERP_USER", "anna"),
        ("ERP_PASSWORD", &password),
    ];
    let curl = format!("set -euo pipefail\n{}", code("curl.md", "sh"));
    script("bash", &curl, &work, &environment);
    let taken = json(&work.join("taken.json"));
    assert_eq!(json(&work.join("list.json"))["invoices"][0]["id"], taken["id"]);
    assert_eq!(json(&work.join("one.json"))["state"], "queued");
    assert_eq!(fs::read_to_string(work.join("original.xml")).unwrap(), sample());
    assert!(fs::read(work.join("fattura.pdf")).unwrap().starts_with(b"%PDF-"));
    assert!(fs::read(work.join("fattura.html")).unwrap().starts_with(b"<!DOCTYPE"));
    assert_eq!(json(&work.join("marked.json"))["annotation"]["notes"], "bonifico");
    let kinds = json(&work.join("changes.json"))["changes"].as_array().unwrap().len();
    assert_eq!(kinds, 2, "the invoice and its marks");
    assert_eq!(json(&work.join("later.json"))["changes"].as_array().unwrap().len(), 0);
    let stream = fs::read_to_string(work.join("stream.txt")).unwrap();
    assert_eq!(stream.matches("event: change").count(), 2, "{stream}");
    let resumed = fs::read_to_string(work.join("resumed.txt")).unwrap();
    assert_eq!(resumed.matches("event: change").count(), 0, "{resumed}");
    assert_eq!(json(&work.join("sync.json"))["vat"], OURS);
    assert_eq!(json(&work.join("refused.json"))["status"], 422);

    let told = script("python3", &code("python.md", "python"), &work, &environment);
    assert!(told.contains(&format!("OK {}", taken["id"].as_str().unwrap())), "{told}");

    // The same over SQL, encrypted, a moment later.
    let psql = |query: &str| {
        let (host, port) = node.sql.rsplit_once(':').unwrap();
        let place = format!("host={host} port={port} user=anna dbname=staffetta sslmode=require");
        let mut command = Command::new("psql");
        command.args(["-X", "-A", "-t", &place, "-c", query]).env("PGPASSWORD", &password);
        let output = command.output().expect("apt-get install postgresql-client");
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let query = "SELECT id, state, notes, paid_at::date FROM invoices WHERE direction = 'sent'";
    let wanted = format!("{}|queued|bonifico|2026-11-30\n", taken["id"].as_str().unwrap());
    for _ in 0..600 {
        if psql(query) == wanted {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(psql(query), wanted);
    let fresh = "SELECT vat, as_of, connected, pending, behind FROM sync_status";
    assert_eq!(psql(fresh), format!("{OURS}||f|2|0\n"));

    // Whoever is removed is refused at the next request.
    node.done(&["token", "remove", "erp"]);
    let gone = "curl -s -o /dev/null -w '%{http_code}' -H \"Authorization: Bearer $TOKEN\" $STAFFETTA/api/v1/sync";
    assert_eq!(script("bash", gone, &work, &environment), "401");
    let figures = "curl -sf -u \"$ERP_USER:$ERP_PASSWORD\" $STAFFETTA/metrics";
    let figures = script("bash", figures, &work, &environment);
    assert!(figures.contains(&format!("staffetta_records{{vat=\"{OURS}\"}} 2")), "{figures}");
    assert!(figures.contains("staffetta_portal_connected{vat=\"02038490237\",portal=\"A\"} 0"));
}

#[test]
fn exports_doctor_and_help_work_from_the_command_line() {
    let node = Node::start();
    fs::write(node.path("spool/out/fattura.xml"), sample()).unwrap();
    for _ in 0..600 {
        if node.path("spool/taken/fattura.xml").exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let sqlite = node.path("fatture.sqlite").display().to_string();
    let told = node.done(&["export", "--format", "sqlite", "--out", &sqlite]);
    assert!(told.starts_with("1 invoices"), "{told}");
    let db = Connection::open(&sqlite).unwrap();
    let lines: i64 = db.query_row("SELECT count(*) FROM invoice_lines", [], |r| r.get(0)).unwrap();
    assert!(lines > 0);
    let fresh = "SELECT vat, as_of, documents FROM sync_status";
    let fresh: (String, Option<String>, i64) =
        db.query_row(fresh, [], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?))).unwrap();
    assert_eq!(fresh, (OURS.to_owned(), None, 1));
    for format in ["csv", "parquet"] {
        let out = node.path(format).display().to_string();
        node.done(&["export", "--format", format, "--out", &out]);
        let one = node.path(format).join(format!("invoices.{format}"));
        assert!(fs::metadata(one).unwrap().len() > 100);
    }
    let none = node.command(&["export", "--format", "csv", "--out", "/x", "--vat", "12345678903"]);
    assert_eq!(none.status.code(), Some(3));

    // The portal is not there, which is wrong, and everything else is well.
    let bundle = node.path("bundle.json").display().to_string();
    let doctor = node.command(&["doctor", "--json", "--bundle", &bundle]);
    assert_eq!(doctor.status.code(), Some(1), "{}", String::from_utf8_lossy(&doctor.stderr));
    let report: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let verdict = |check: &str| {
        let found = findings.iter().find(|f| f["check"].as_str().unwrap().starts_with(check));
        found.unwrap_or_else(|| panic!("{check} in {report:#}"))["verdict"].clone()
    };
    for check in ["clock", "data folder", "certificate", "service", "archive", "folder"] {
        assert_eq!(verdict(check), "ok", "{check}");
    }
    assert_eq!(verdict(&format!("mirror of {OURS} = archive")), "ok");
    assert_eq!(verdict("portal A at 127.0.0.1:9 by UDP"), "error");
    assert_eq!(verdict("portal A at 127.0.0.1:9 by TCP"), "error");
    let wrong = |f: &&Value| f["verdict"] == "error";
    assert!(findings.iter().filter(wrong).all(|f| !f["cure"].as_str().unwrap().is_empty()));
    assert_eq!(json(Path::new(&bundle))["findings"], report["findings"]);
    let mode = fs::metadata(&bundle).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);

    let state = json(&node.path("spool/stato.json"));
    assert_eq!((&state["vat"], &state["as_of"]), (&OURS.into(), &Value::Null));
    for (words, found) in [
        (&["completions", "bash"][..], "complete -F"),
        (&["completions", "powershell"], "Register-ArgumentCompleter"),
        (&["man"], ".TH staffetta-node"),
    ] {
        let output = Command::new(PROGRAM).args(words).output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains(found), "{words:?}");
    }
    // Every page that the first one names is there.
    let man =
        |folder: &Path| Command::new(PROGRAM).args(["man", "--out"]).arg(folder).output().unwrap();
    let folder = node.path("man");
    assert_eq!(man(&folder).status.code(), Some(4));
    fs::create_dir(&folder).unwrap();
    assert!(man(&folder).status.success());
    let first = fs::read_to_string(folder.join("staffetta-node.1")).unwrap();
    let named: Vec<_> = first.lines().filter_map(|line| line.strip_suffix("(1)")).collect();
    assert!(named.len() > 10, "{first}");
    for page in named {
        let page = page.replace('\\', "");
        assert!(folder.join(format!("{page}.1")).exists(), "{page} in {first}");
    }
}
