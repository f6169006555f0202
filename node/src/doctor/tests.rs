//! Each check on a node that is well, and on one where the thing it looks at is wrong.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use engine::id::{DocumentId, Kind};
use rcgen::{CertificateParams, KeyPair, SanType};
use tokio::net::UdpSocket;

use super::*;
use crate::{
    moment::now_ms,
    originals::Listing,
    projector::Compared,
    transport::{Endpoint, Identity, Limits, Listener, PinSet, tcp},
};

const OURS: &str = "02038490237";

/// The configuration of a node whose service does not run.
struct Home {
    dir: tempfile::TempDir,
    text: String,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for folder in ["data", "spool/out", "spool/taken", "spool/rejected", "spool/in"] {
            fs::create_dir_all(path(folder)).unwrap();
        }
        fs::write(path("secret"), "c2VjcmV0").unwrap();
        let text = format!(
            "data = {:?}\ntime_server = \"\"\n[[webhook]]\nurl = \"http://localhost/x\"\nsecret_file = {:?}\n\
             [[tenant]]\nvat = \"{OURS}\"\ncert = {:?}\nkey = {:?}\nspool = {:?}\n",
            path("data"),
            path("secret"),
            path("n.cert"),
            path("n.key"),
            path("spool"),
        );
        let home = Self { dir, text };
        home.certificate(90, OURS);
        for (name, mode) in [("data", 0o700), ("secret", 0o600)] {
            home.allow(name, mode);
        }
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn allow(&self, name: &str, mode: u32) {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(self.path(name), mode).unwrap();
    }

    /// A certificate for `vat` that ends so many days from now.
    fn certificate(&self, days: i64, vat: &str) {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::new(vec!["node.test".into()]).unwrap();
        let urn = format!("urn:staffetta:tenant:{vat}").try_into().unwrap();
        params.subject_alt_names.push(SanType::URI(urn));
        let moment = |days: i64| {
            let day = i64::try_from(now_ms() / 1000).unwrap() + days * 86_400 + 60;
            (UNIX_EPOCH + Duration::from_secs(day.try_into().unwrap())).into()
        };
        (params.not_before, params.not_after) = (moment(-400), moment(days));
        fs::write(self.path("n.cert"), params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(self.path("n.key"), key.serialize_pem()).unwrap();
        self.allow("n.key", 0o600);
    }

    fn identity(&self) -> Identity {
        Identity::load(&self.path("n.cert"), &self.path("n.key")).unwrap()
    }

    /// What is found with the first `from` of the configuration replaced.
    async fn look(&self, from: &str, to: &str) -> Vec<Finding> {
        assert!(self.text.contains(from), "{from}");
        let config = toml::from_str(&self.text.replacen(from, to, 1)).unwrap();
        let (findings, _) = examine(&config).await;
        for finding in &findings {
            let is_well = finding.verdict == Verdict::Ok;
            assert_eq!(finding.cure.is_empty(), is_well, "{finding:?}");
        }
        findings
    }
}

#[track_caller]
fn check(findings: &[Finding], check: &str, verdict: Verdict, words: &str) {
    let found = findings.iter().find(|finding| finding.check.starts_with(check));
    let found = found.unwrap_or_else(|| panic!("{check} in {findings:#?}"));
    assert_eq!(found.verdict, verdict, "{found:?}");
    assert!(found.found.contains(words), "{words}: {found:?}");
}

#[tokio::test]
async fn on_a_node_that_is_well_only_portals_and_the_service_are_missing() {
    let home = Home::new();
    let findings = home.look("", "").await;
    let wrong = findings.iter().filter(|found| found.verdict != Verdict::Ok);
    let wrong: Vec<_> = wrong.map(|found| &*found.check).collect();
    assert_eq!(wrong, ["configuration", "service"], "{findings:#?}");
    check(&findings, "configuration", Verdict::Error, "[[portal]]");
    for name in
        ["clock", "data folder", "disk", "certificate", "folder", "secret", "name localhost"]
    {
        check(&findings, name, Verdict::Ok, "");
    }
}

#[tokio::test]
async fn what_is_wrong_on_this_machine_is_said() {
    let home = Home::new();
    let data = home.path("data").display().to_string();
    let findings = home.look(&data, &home.path("none").display().to_string()).await;
    check(&findings, "data folder", Verdict::Error, "not there");
    check(&findings, "disk", Verdict::Error, "");
    let findings = home.look(&data, &home.path("secret").display().to_string()).await;
    check(&findings, "data folder", Verdict::Error, "not a folder");
    // A disk on which nothing is free.
    check(&home.look(&data, "/proc").await, "disk", Verdict::Warning, "0 MiB free");
    home.allow("data", 0o755);
    home.allow("secret", 0o644);
    fs::remove_dir(home.path("spool/in")).unwrap();
    let findings = home.look("", "").await;
    check(&findings, "data folder", Verdict::Error, "mode 755");
    check(&findings, "secret of webhook", Verdict::Error, "mode 644");
    let folder = format!("folder {}", home.path("spool/in").display());
    check(&findings, &folder, Verdict::Error, "");
    fs::remove_file(home.path("secret")).unwrap();
    check(&home.look("", "").await, "secret of webhook", Verdict::Error, "");
}

#[tokio::test]
async fn a_configuration_that_was_not_filled_in_is_said() {
    let config: NodeConfig = toml::from_str(config::DEFAULT).unwrap();
    assert!(config.tenant(None).unwrap_err().contains("no [[tenant]]"));
    let config = NodeConfig { time_server: String::new(), ..config };
    let (findings, _) = examine(&config).await;
    check(&findings, "configuration", Verdict::Error, "[[tenant]]");
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_said() {
    let home = Home::new();
    let name = format!("certificate of {OURS}");
    for (days, vat, verdict, words) in [
        (10, OURS, Verdict::Warning, "ends in 10 days"),
        (-3, OURS, Verdict::Error, "n.cert"),
        (90, "12345678903", Verdict::Error, "issued for P.IVA 12345678903"),
    ] {
        home.certificate(days, vat);
        check(&home.look("", "").await, &name, verdict, words);
    }
    home.certificate(90, OURS);
    home.allow("n.key", 0o644);
    check(&home.look("", "").await, &name, Verdict::Error, "644");
    let (cert, key) = (home.path("none"), home.path("n.key"));
    let door = format!("[api]\nlisten = []\ncert = {cert:?}\nkey = {key:?}\n[[webhook]]");
    let findings = home.look("[[webhook]]", &door).await;
    check(&findings, "certificate of api", Verdict::Error, "none");
}

#[tokio::test]
async fn names_and_ports_that_do_not_serve_are_said() {
    let home = Home::new();
    let findings = home.look("http://localhost/x", "http://erp.invalid/x").await;
    check(&findings, "name erp.invalid", Verdict::Error, "");
    let findings = home.look("time_server = \"\"", "time_server = \"time.invalid\"").await;
    check(&findings, "name time.invalid", Verdict::Error, "");
    check(&findings, "clock", Verdict::Warning, "not compared");
    let server = clock::tests::server(-3_600_000, |_| {}).await;
    let findings = home.look("time_server = \"\"", &format!("time_server = {server:?}")).await;
    check(&findings, "clock", Verdict::Error, "ahead of");
    // The port is another program's, as our service does not run.
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap();
    let door = format!("[sql]\nlisten = [\"{address}\"]\n[[webhook]]");
    check(&home.look("[[webhook]]", &door).await, "sql address", Verdict::Error, "another program");
    drop(taken);
    check(&home.look("[[webhook]]", &door).await, "sql address", Verdict::Ok, "free");
    check(&[network::port("api", address, true).await], "api", Verdict::Error, "nobody answers");
}

/// A portal, and what its datagrams go through.
async fn portal(admitted: &Identity, bytes_max: usize) -> (Listener, Identity, SocketAddr) {
    bounded(admitted, bytes_max, Limits::default()).await
}

async fn bounded(
    admitted: &Identity,
    bytes_max: usize,
    limits: Limits,
) -> (Listener, Identity, SocketAddr) {
    let own = Home::new().identity();
    let pins = PinSet::new([(admitted.peer(), None)].into());
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let endpoints = vec![Endpoint::bind(here).unwrap()];
    // The way in by TCP is the same number, so that one address leads to both.
    let way = Arc::new(UdpSocket::bind(here).await.unwrap());
    let sockets = vec![tcp::listen(way.local_addr().unwrap()).unwrap()];
    let listener = Listener::start(&own, &pins, endpoints, sockets, limits).unwrap();
    let (address, beyond) = (way.local_addr().unwrap(), listener.quic_locals()[0]);
    tokio::spawn(async move {
        let (mut packet, mut client) = (vec![0; 65_536], None);
        while let Ok((length, from)) = way.recv_from(&mut packet).await {
            let to = if from == beyond { client } else { Some(beyond) };
            if from != beyond {
                client = Some(from);
            }
            if let Some(to) = to.filter(|_| length <= bytes_max) {
                let _ = way.send_to(&packet[..length], to).await;
            }
        }
    });
    (listener, own, address)
}

#[tokio::test]
async fn a_portal_is_tried_over_each_line_by_udp_and_tcp() {
    let home = Home::new();
    let ours = home.identity();
    let named = |pin: &dyn std::fmt::Display, address: SocketAddr, line: &str| {
        format!(
            "[[line]]\naddress = \"{line}\"\n[[portal]]\nname = \"A\"\npin = \"{pin}\"\naddresses = [\"{address}\"]\n[[webhook]]"
        )
    };
    let by = |address: SocketAddr, over: &str| format!("portal A at {address} by {over}");
    let (_listener, own, address) = portal(&ours, 65_536).await;
    let findings = home.look("[[webhook]]", &named(&own.peer(), address, "127.0.0.1")).await;
    check(&findings, &by(address, "UDP"), Verdict::Ok, "packets of 1");
    check(&findings, &by(address, "TCP"), Verdict::Ok, "it answers with its pin");
    // No such network card; another pin than the portal's.
    let findings = home.look("[[webhook]]", &named(&own.peer(), address, "192.0.2.1")).await;
    check(&findings, &by(address, "UDP"), Verdict::Error, "address");
    let findings = home.look("[[webhook]]", &named(&ours.peer(), address, "127.0.0.1")).await;
    check(&findings, &by(address, "UDP"), Verdict::Error, "");
    check(&findings, &by(address, "TCP"), Verdict::Error, "");
    // Nobody there; long packets lost on the way; a certificate that is not admitted.
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    let findings = home.look("[[webhook]]", &named(&own.peer(), nobody, "127.0.0.1")).await;
    check(&findings, &by(nobody, "UDP"), Verdict::Error, "");
    check(&findings, &by(nobody, "TCP"), Verdict::Error, "");
    let (_narrow, own, address) = portal(&ours, 1250).await;
    let findings = home.look("[[webhook]]", &named(&own.peer(), address, "127.0.0.1")).await;
    check(&findings, &by(address, "UDP"), Verdict::Warning, "only short packets");
    home.certificate(90, OURS);
    let findings = home.look("[[webhook]]", &named(&own.peer(), address, "127.0.0.1")).await;
    check(&findings, &by(address, "UDP"), Verdict::Error, "");
    check(&findings, &by(address, "TCP"), Verdict::Error, "");
}

/// The service has connections too: what a portal refuses because of them is no fault.
#[tokio::test]
async fn a_portal_that_has_enough_connections_of_this_node_is_asked_again() {
    let home = Home::new();
    let ours = home.identity();
    for (most, verdict, said) in
        [(1, Verdict::Ok, "it answers with its pin"), (0, Verdict::Warning, "takes no more")]
    {
        let limits = Limits { connections_per_peer_max: most, ..Limits::default() };
        let (mut listener, own, address) = bounded(&ours, 65_536, limits).await;
        tokio::spawn(async move {
            while let Some(connection) = listener.accept().await {
                tokio::spawn(async move {
                    let (_sender, mut receiver) = connection.split();
                    while let Some(Ok(_)) = receiver.recv().await {}
                });
            }
        });
        let portal = format!(
            "[[portal]]\nname = \"A\"\npin = \"{}\"\naddresses = [\"{address}\"]\n[[webhook]]",
            own.peer()
        );
        let findings = home.look("[[webhook]]", &portal).await;
        check(&findings, &format!("portal A at {address} by UDP"), verdict, said);
        check(&findings, &format!("portal A at {address} by TCP"), verdict, said);
    }
}

#[test]
fn what_the_service_says_is_judged() {
    let answer = serde_json::json!({ "tenants": [] });
    assert_eq!(to_text(&service::findings(&answer)), "ok      service: it answers\n");
    let error = Finding::error("x", "two\nlines", "do this");
    assert_eq!(to_text(&[error]), "ERROR   x: two lines -> do this\n");
    let lost = Listing { unreadable: vec!["bundle 7".into()], ..Listing::default() };
    check(&[service::archive(Some(lost), OURS)], "archive", Verdict::Error, "bundle 7");
    check(&[service::archive(None, OURS)], "archive", Verdict::Error, "in time");
    check(
        &[service::archive(Some(Listing::default()), OURS)],
        "archive",
        Verdict::Ok,
        "0 originals",
    );
    let compared = |differing: usize, moved: bool| {
        let differing = vec![DocumentId::single(Kind::Profile); differing];
        let compared = Compared { documents: 3, shown: 3, differing, moved };
        [service::mirror(&serde_json::json!({ "compared": compared }), OURS)]
    };
    check(&compared(0, false), "mirror", Verdict::Ok, "3 documents");
    check(&compared(1, false), "mirror", Verdict::Error, "1 differ");
    check(&compared(1, true), "mirror", Verdict::Warning, "1 differ");
    let silent = [service::mirror(&serde_json::Value::Null, OURS)];
    check(&silent, "mirror", Verdict::Error, "in time");
    let answer = serde_json::json!({ "tenants": [{
        "vat": OURS, "bundles": 9, "written": 2, "queued": 1, "records": 8, "mirror_behind": 4,
        "in_out": 0, "certificate_days_left": 90, "sent_bytes": 0, "received_bytes": 0,
        "portals": [], "sessions": [], "routes": [], "storage": "the disk is full",
        "spool": ["out/ is not there"], "alarms": ["two writers"], "as_of": null,
        "webhooks": [],
    }] });
    let findings = service::findings(&answer);
    check(&findings, "storage of", Verdict::Error, "the disk is full");
    check(&findings, "mirror of", Verdict::Warning, "4 bundles behind");
    check(&findings, "synchronised", Verdict::Warning, "never");
    check(&findings, "files of", Verdict::Warning, "out/");
    check(&findings, "alarm of", Verdict::Warning, "two writers");
}
