//! Identities as they are made, and what OpenSSL thinks of them.

use crate::desk::{Desk, TENANT, field, mode};

#[test]
fn a_node_gets_a_key_a_certificate_and_a_p12() {
    let desk = Desk::new();
    let issued = desk.done(&["issue", TENANT, "--out", "id"]);
    let names = ["cert", "key", "p12", "p12.password"].map(|suffix| format!("{TENANT}.{suffix}"));
    assert_eq!(desk.names("id"), names);
    for (name, expected) in names.iter().zip([0o644, 0o600, 0o600, 0o600]) {
        assert_eq!(mode(&desk.path(&format!("id/{name}"))), expected, "{name}");
    }
    assert_eq!(mode(&desk.path("staffetta-ca/ca.key")), 0o600);

    desk.openssl(&[
        "verify",
        "-x509_strict",
        "-CAfile",
        "staffetta-ca/ca.cert",
        "-purpose",
        "sslclient",
        &format!("id/{TENANT}.cert"),
    ]);
    let cert = format!("id/{TENANT}.cert");
    let text = desk.openssl_text(&["x509", "-in", &cert, "-noout", "-text"]);
    for expected in [
        "CN = 02038490237, organizationIdentifier = VATIT-02038490237",
        "NIST CURVE: P-256",
        "ecdsa-with-SHA256",
        "URI:urn:staffetta:tenant:02038490237",
        "TLS Web Client Authentication, TLS Web Server Authentication",
        "CA:FALSE",
    ] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
    let by_key = desk.pin_by_openssl(&["pkey", "-in", &format!("id/{TENANT}.key"), "-pubout"]);
    let by_cert = desk.pin_by_openssl(&["x509", "-in", &cert, "-noout", "-pubkey"]);
    assert_eq!((by_key.as_str(), by_cert.as_str()), (field(&issued, "pin"), field(&issued, "pin")));
}

#[test]
fn the_curl_pin_is_the_same_pin_in_base64() {
    let desk = Desk::new();
    let issued = desk.done(&["issue", TENANT]);
    desk.pin_by_openssl(&["x509", "-in", &format!("{TENANT}.cert"), "-noout", "-pubkey"]);
    desk.openssl(&["dgst", "-sha256", "-binary", "-out", "pin.bin", "pin.der"]);
    let base64 = desk.openssl_text(&["base64", "-in", "pin.bin"]);
    assert_eq!(field(&issued, "curl_pin"), format!("sha256//{}", base64.trim()));
}

#[test]
fn validity_is_what_was_asked_for_and_never_rcgens_default() {
    let desk = Desk::new();
    let issued = desk.done(&["issue", TENANT, "--days", "30"]);
    let cert = format!("{TENANT}.cert");
    let day = 86_400;
    let lasts = |seconds: i64| {
        let seconds = seconds.to_string();
        desk.try_openssl(&["x509", "-in", &cert, "-noout", "-checkend", &seconds]).0
    };
    assert!(lasts(28 * day) && !lasts(30 * day), "{issued}");
    let authority = ["x509", "-in", "staffetta-ca/ca.cert", "-noout", "-checkend"];
    let ends_within_11_years = (11 * 366 * day).to_string();
    assert!(!desk.try_openssl(&[&authority[..], &[&ends_within_11_years]].concat()).0);
}

#[test]
fn a_portal_is_found_by_its_host_names() {
    let desk = Desk::new();
    let hosts = ["--host", "portal.example.it", "--host", "192.0.2.7"];
    desk.done(&[&["issue-portal", "portal-a", "--out", "id"], &hosts[..]].concat());
    let verify = ["verify", "-CAfile", "staffetta-ca/ca.cert", "-purpose", "sslserver"];
    for (how, host, expected) in [
        ("-verify_hostname", "portal.example.it", true),
        ("-verify_hostname", "other.example.it", false),
        ("-verify_ip", "192.0.2.7", true),
    ] {
        let args = [&verify[..], &[how, host, "id/portal-a.cert"]].concat();
        assert_eq!(desk.try_openssl(&args).0, expected, "{host}");
    }
    let read = desk.done(&["inspect", "id/portal-a.cert"]);
    assert_eq!(read["subject"]["name"], "portal-a");
    assert_eq!(read["subject"]["hosts"][1], "192.0.2.7");
}

#[test]
fn a_p12_opens_in_openssl_with_its_password_and_no_other() {
    let desk = Desk::new();
    desk.write("password", b"chosen by a person\n");
    desk.write("wrong", b"another\n");
    desk.done(&["issue", TENANT, "--out", "a"]);
    desk.done(&["issue", TENANT, "--out", "b", "--p12-password-file", "password"]);
    let legacy = ["--p12-legacy", "--p12-password-file", "password"];
    desk.done(&[&["issue", TENANT, "--out", "c"], &legacy[..]].concat());
    assert!(!desk.path(&format!("b/{TENANT}.p12.password")).exists());

    let generated = format!("a/{TENANT}.p12.password");
    for (folder, password, encryption) in [
        ("a", generated.as_str(), "AES-256-CBC"),
        ("b", "password", "AES-256-CBC"),
        ("c", "password", "pbeWithSHA1And3-KeyTripleDES-CBC"),
    ] {
        let p12 = format!("{folder}/{TENANT}.p12");
        let from = format!("file:{password}");
        let open = ["pkcs12", "-in", &p12, "-noenc", "-passin"];
        let content = desk.openssl_text(&[&open[..], &[&from]].concat());
        assert_eq!(content.matches("BEGIN CERTIFICATE").count(), 2, "with the authority");
        desk.write("p12.pem", content.as_bytes());
        let in_p12 = desk.pin_by_openssl(&["pkey", "-in", "p12.pem", "-pubout"]);
        let key = format!("{folder}/{TENANT}.key");
        assert_eq!(in_p12, desk.pin_by_openssl(&["pkey", "-in", &key, "-pubout"]));
        let (ok, _, info) = desk.try_openssl(&[&open[..], &[&from, "-info", "-noout"]].concat());
        assert!(ok && info.contains(encryption), "{info}");
        assert!(!desk.try_openssl(&[&open[..], &["file:wrong"]].concat()).0);
    }
}

#[test]
fn the_customers_key_never_leaves_its_server() {
    let desk = Desk::new();
    let asked = desk.done(&["request", TENANT, "--out", "customer"]);
    assert_eq!(desk.names("customer"), [format!("{TENANT}.csr"), format!("{TENANT}.key")]);
    assert_eq!(mode(&desk.path(&format!("customer/{TENANT}.key"))), 0o600);
    let csr = format!("customer/{TENANT}.csr");
    desk.openssl(&["req", "-in", &csr, "-noout", "-verify"]);

    // The customer reads the words out; the intermediary compares and signs.
    let words = field(&asked, "words");
    let signed = desk.done(&["sign", &csr, "--words", words, "--out", "office"]);
    assert_eq!(field(&signed, "pin"), field(&asked, "pin"));
    assert_eq!(desk.names("office"), [format!("{TENANT}.cert")]);

    // Back on the customer's server, a .p12 for the browser.
    let (cert, key) = (format!("office/{TENANT}.cert"), format!("customer/{TENANT}.key"));
    desk.openssl(&["verify", "-CAfile", "staffetta-ca/ca.cert", &cert]);
    let ca = ["--ca-cert", "staffetta-ca/ca.cert", "--out", "customer"];
    desk.done(&[&["p12", &cert, "--key", &key], &ca[..]].concat());
    let password = format!("file:customer/{TENANT}.p12.password");
    desk.openssl(&[
        "pkcs12",
        "-in",
        &format!("customer/{TENANT}.p12"),
        "-passin",
        &password,
        "-noout",
    ]);
}

#[test]
fn a_request_made_by_openssl_is_signed_too() {
    let desk = Desk::new();
    desk.openssl(&[
        "genpkey",
        "-algorithm",
        "EC",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-out",
        "own.key",
    ]);
    let san = format!("subjectAltName=URI:urn:staffetta:tenant:{TENANT}");
    let subject = format!("/CN={TENANT}");
    desk.openssl(&[
        "req", "-new", "-key", "own.key", "-subj", &subject, "-addext", &san, "-out", "own.csr",
    ]);
    let signed = desk.done(&["sign", "own.csr"]);
    let pin = desk.pin_by_openssl(&["pkey", "-in", "own.key", "-pubout"]);
    assert_eq!(field(&signed, "pin"), pin);
    let cert = format!("{TENANT}.cert");
    assert_eq!(desk.done(&["inspect", &cert, "--key", "own.key"])["key_matches"], true);
}

#[test]
fn a_certificate_in_der_reads_like_one_in_pem() {
    let desk = Desk::new();
    desk.done(&["issue", TENANT]);
    let cert = format!("{TENANT}.cert");
    desk.openssl(&["x509", "-in", &cert, "-outform", "der", "-out", "cert.der"]);
    assert_eq!(desk.done(&["inspect", "cert.der"]), desk.done(&["inspect", &cert]));
}
