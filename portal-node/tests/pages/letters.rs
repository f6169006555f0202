//! The one-time code by letter: through a mail server as there are, with TLS and a log-in, and what
//! is said and done when it is away, does not know us, or does not know the PEC.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use certgen::{Authority, Existing, Host, Options, PortalName};
use portal_node::config::{PortalConfig, SmtpConfig, SmtpTls};

use super::{
    browser::Browser,
    people::{ADIGE, papers_to_sign, sign_by},
    ports::free_address,
    tools::python,
    town::{Town, until},
};

const PEC: &str = "adige@pec.example.it";
const PASSWORD: &str = "segreto di prova\n";

/// A mail server. It ends when dropped.
struct Server {
    child: Child,
    letters: PathBuf,
}

impl Server {
    fn start(root: &Path, port: u16, way: &str) -> Self {
        let letters = root.join("letters");
        fs::create_dir_all(&letters).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pages/smtp.py");
        let child = Command::new(python("python3"))
            .arg(script)
            .arg(&letters)
            .arg(port.to_string())
            .args([root.join("posta.cert"), root.join("posta.key")])
            .arg(way)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, letters }
    }

    /// The letters it took, the oldest first.
    fn letters(&self) -> Vec<String> {
        let paths = fs::read_dir(&self.letters).unwrap().map(|entry| entry.unwrap().path());
        let mut paths: Vec<_> =
            paths.filter(|path| path.extension().is_some_and(|end| end == "eml")).collect();
        paths.sort();
        paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Tells a portal of a mail server at `port`, whose certificate it makes.
fn with_smtp(
    config: &mut PortalConfig,
    root: &Path,
    authority: &mut Authority,
    tls: SmtpTls,
    port: u16,
    password: &str,
) {
    if !root.join("posta.cert").exists() {
        let hosts = vec![Host::parse("localhost").unwrap()];
        let name = PortalName::parse("posta").unwrap();
        let issued = authority.issue_portal(name, hosts, Options::default()).unwrap();
        issued.write(root, Existing::Refuse).unwrap();
        fs::write(root.join("posta.password"), password).unwrap();
    }
    config.door.as_mut().unwrap().smtp = Some(SmtpConfig {
        host: "localhost".to_owned(),
        tls,
        port: Some(port),
        authority: Some(root.join("authority/ca.cert")),
        user: "portale".to_owned(),
        password_file: root.join("posta.password"),
    });
}

/// A town whose portals know a mail server that does not run yet, and an owner whose contract is
/// ready to sign.
async fn town(tls: SmtpTls, pec: &str, password: &str) -> (Town, u16, Browser, Browser) {
    let port = free_address().unwrap().port();
    let mut town = Town::found_with(|config, root, authority| {
        with_smtp(config, root, authority, tls, port, password);
    })
    .await;
    let mut admin = town.admin().await;
    let stem = town.customer(&mut admin, ADIGE, "Officine Adige").await;
    let mut maria = town.person(&mut admin, &stem, ADIGE, "maria", "owner").await;
    papers_to_sign(&mut maria, ADIGE, pec).await;
    (town, port, admin, maria)
}

async fn is_up(port: u16) {
    until("the mail server listens", || async { TcpStream::connect(("127.0.0.1", port)).is_ok() })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_goes_through_a_mail_server_and_signs_the_contract() {
    for (tls, way) in [(SmtpTls::Implicit, "implicit"), (SmtpTls::Starttls, "starttls")] {
        let (town, port, _, mut maria) = town(tls, PEC, PASSWORD).await;
        let server = Server::start(town.root.path(), port, way);
        is_up(port).await;
        let page = maria.post("/contratto/codice", &[]).await;
        let page_text = maria.get("/contratto").await.text();
        assert_eq!(page.location, "/contratto?fatto=codice", "{way}: {page_text}");
        let letters = server.letters();
        assert_eq!(letters.len(), 1, "{letters:?}");
        let head = "portale noi@pec.example.it ['adige@pec.example.it']\n";
        assert!(letters[0].starts_with(head), "{}", letters[0]);
        assert!(letters[0].contains("Subject: Codice per firmare il contratto"), "{}", letters[0]);
        assert_eq!(fs::read_dir(town.a.spool()).unwrap().count(), 0, "no secret is left");
        sign_by(&mut maria, &letters[0]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_waits_for_a_mail_server_that_is_away_and_everybody_is_told() {
    let (town, port, mut admin, mut maria) = town(SmtpTls::Implicit, PEC, PASSWORD).await;
    let page = maria.post("/contratto/codice", &[]).await;
    assert_eq!(page.location, "/contratto", "{}", page.text());
    let text = maria.get("/contratto").await.text();
    assert!(text.contains("Il codice è in coda") && text.contains("localhost"), "{text}");
    assert!(text.contains("in coda,"), "the record says so: {text}");
    let text = admin.get("/ufficio").await.text();
    assert!(text.contains("1 lettera aspetta il server di posta"), "{text}");
    let told = town.a.status().await;
    assert_eq!((&told["letters"]["waiting"], &told["letters"]["lost"]), (&1.into(), &0.into()));

    let server = Server::start(town.root.path(), port, "implicit");
    until("it has left by itself", || async { !server.letters().is_empty() }).await;
    let shared = tokio::sync::Mutex::new(&mut maria);
    until("nobody is told of it any more", || async {
        !shared.lock().await.get("/contratto").await.text().contains("Il codice è in coda")
    })
    .await;
    sign_by(&mut maria, &server.letters()[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pec_that_the_mail_server_does_not_know_is_named() {
    let (town, port, _, mut maria) =
        town(SmtpTls::Implicit, "nessuno@pec.example.it", PASSWORD).await;
    let server = Server::start(town.root.path(), port, "implicit");
    is_up(port).await;
    let page = maria.post("/contratto/codice", &[]).await;
    assert_eq!(page.location, "/contratto", "{}", page.text());
    let text = maria.get("/contratto").await.text();
    assert!(text.contains("Il codice non è partito: controllate la PEC"), "{text}");
    assert!(text.contains("no such mailbox here"), "{text}");
    assert_eq!(town.a.status().await["letters"]["lost"], 1);
    assert_eq!(fs::read_dir(town.a.spool()).unwrap().count(), 0, "it is not kept");
    assert!(server.letters().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_that_the_mail_server_refuses_is_mended_here_and_the_code_waits() {
    let (town, port, _, mut maria) = town(SmtpTls::Implicit, PEC, "another").await;
    let server = Server::start(town.root.path(), port, "implicit");
    is_up(port).await;
    let page = maria.post("/contratto/codice", &[]).await;
    assert_eq!(page.location, "/contratto", "{}", page.text());
    assert!(maria.get("/contratto").await.text().contains("Il codice è in coda"));
    let told = town.a.status().await;
    assert_eq!(told["letters"]["waiting"], 1, "{told}");
    assert!(told["letters"]["why"].as_str().unwrap().contains("535"), "{told}");
    assert!(server.letters().is_empty());
}
