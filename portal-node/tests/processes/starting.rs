//! What a process is started with: each mistake ends it with one sentence and the code that
//! `main.rs` documents.

use std::{fs, net::UdpSocket, path::Path};

use crate::town::{OTHER_VAT, Service, Town, VAT, mode, node_binary, until};

/// One sentence, among whatever was logged.
fn fails(service: &Service, code: i32, words: &[&str]) {
    let (found, said) = service.fails();
    assert_eq!(found, code, "{said}");
    let sentences: Vec<_> = said.lines().filter(|line| line.starts_with("staffetta-")).collect();
    assert_eq!(sentences.len(), 1, "{said}");
    for word in words {
        assert!(sentences[0].contains(word), "{word:?} is not in {:?}", sentences[0]);
    }
    assert!(!said.contains("panicked"), "{said}");
}

fn with(service: &Service, from: &str, to: &str) {
    let text = fs::read_to_string(&service.config).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(&service.config, text.replace(from, to)).unwrap();
}

#[test]
fn a_mistake_in_what_it_is_given_ends_a_process_with_one_sentence() {
    let mut town = Town::new();
    let mut portals = town.portals();
    let issued = town.issue_node(VAT);
    let other = town.issue_node(VAT);
    let expired = town.issue_node_at(VAT, 90 * 86_400, 30);
    let foreign = town.issue_node(OTHER_VAT);
    let node = |name: &str| town.node(name, &issued, &portals);

    let one = node("configuration");
    for (from, to, words) in [
        ("data =", "dati =", "line 1: unknown field `dati`"),
        ("[[tenant]]", "[[tenant]]\ncolour = 1", "unknown field `colour`"),
        ("[[tenant]]", "[[tenant", "line"),
        ("data =", "sync = \"30\"\ndata =", "write \"live\" or a period such as \"30m\""),
        ("data =", "sync = \"0m\"\ndata =", "write \"live\" or a period"),
        (&*portals.a.pin.clone(), "abc", "expected 64 hexadecimal digits"),
        (VAT, "02038490238", "02038490238"),
    ] {
        let before = fs::read_to_string(&one.config).unwrap();
        with(&one, from, to);
        fails(&one, 3, &["configuration", "config.toml", words]);
        fs::write(&one.config, before).unwrap();
    }
    for garbage in [&b"\xff\xfe\x00garbage"[..], b"\x00\x01\x02"] {
        fs::write(&one.config, garbage).unwrap();
        fails(&one, 3, &["configuration", "config.toml"]);
    }
    fs::remove_file(&one.config).unwrap();
    fails(&one, 3, &["cannot read the configuration", "No such file"]);
    fs::create_dir(&one.config).unwrap();
    fails(&one, 3, &["cannot read the configuration"]);

    let one = node("no-tenant");
    let text = fs::read_to_string(&one.config).unwrap();
    fs::write(&one.config, text.split("[[tenant]]").next().unwrap()).unwrap();
    fails(&one, 3, &["[[tenant]]"]);

    let one = node("exposed");
    mode(&one.dir.join("key.pem"), 0o644);
    fails(&one, 3, &["key.pem", "can be read by others", "chmod 600"]);

    let one = node("swapped");
    fs::write(one.dir.join("key.pem"), other.key_pem.expose()).unwrap();
    fails(&one, 3, &["key.pem", "does not belong to the certificate in"]);
    fs::write(one.dir.join("key.pem"), "garbage").unwrap();
    fails(&one, 3, &["key.pem", "no private key"]);
    fs::remove_file(one.dir.join("cert.pem")).unwrap();
    fails(&one, 3, &["cannot read", "cert.pem"]);

    let one = town.node("expired", &expired, &portals);
    fails(&one, 3, &["cert.pem", "expired on", "renew it"]);
    let (code, said) =
        portals.a.run(&["admit"], &[VAT, one.dir.join("cert.pem").to_str().unwrap()]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("expired on"), "{said}");

    let one = town.node("foreign", &foreign, &portals);
    fails(&one, 3, &["cert.pem", "was issued for P.IVA", VAT]);
    let (code, said) =
        portals.a.run(&["admit"], &[VAT, one.dir.join("cert.pem").to_str().unwrap()]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("was issued for P.IVA"), "{said}");

    // Nobody runs here.
    let one = node("nobody");
    let (code, said) = one.run(&["status"], &[]);
    assert_eq!((code, said.lines().count()), (4, 1), "{said}");
    assert!(said.contains("does not answer"), "{said}");

    // A portal whose port is taken: by another portal, or by anybody over UDP or TCP.
    portals.b.stop();
    let taken = UdpSocket::bind(town.address(2)).unwrap();
    fails(&portals.b, 4, &["listen address", &town.address(2), "in use"]);
    drop(taken);
    let taken = std::net::TcpListener::bind(town.address(2)).unwrap();
    fails(&portals.b, 4, &["listen address", &town.address(2), "in use"]);
    drop(taken);
    portals.b.start();
    let twin = town.service(
        portals.b.binary.clone(),
        "twin",
        &fs::read_to_string(&portals.b.config).unwrap().replace(
            &format!("{:?}", portals.b.dir.join("data")),
            &format!("{:?}", town.path("twin").join("data")),
        ),
        &portals.b.pin,
    );
    fails(&twin, 4, &["listen address", "in use"]);
}

#[test]
fn two_processes_on_one_store_are_told_apart_and_the_first_goes_on() {
    let mut town = Town::new();
    let mut portals = town.portals();
    let issued = town.issue_node(VAT);
    let mut node = town.node("node", &issued, &portals);
    node.start();
    let twin = town.node_in("twin", &issued, &portals, &node.dir.join("data"));
    fails(&twin, 4, &[node.dir.join("data").to_str().unwrap(), "in use by another process"]);
    assert!(node.try_status().is_some(), "the first is still asked and answers");

    fails(&portals.a, 4, &["data", "in use by another process"]);
    assert!(portals.a.try_status().is_some());
    portals.admit(&node);
    until("everything else goes on", || node.is_in_sync());
    for private in ["data", "data/control.json", "data/02038490237/truth"] {
        assert_eq!(others(&node.dir.join(private)), 0, "{private} is for its user only");
    }
    node.stop();
    portals.a.stop();
}

#[test]
fn usage_and_help_are_told_apart() {
    let run = |args: &[&str]| {
        let output = std::process::Command::new(node_binary()).args(args).output().unwrap();
        output.status.code()
    };
    assert_eq!(run(&["--help"]), Some(0));
    assert_eq!(run(&["config", "show"]), Some(0));
    assert_eq!(run(&["sing"]), Some(2));
    assert_eq!(run(&["run"]), Some(2));
    assert_eq!(run(&["check", "/nothing/here.xml"]), Some(3));
}

fn others(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).unwrap().permissions().mode() & 0o077
}
