//! What must not be done, and the exit code and sentence that say so.

use crate::desk::{Desk, OTHER_TENANT, TENANT, field};

#[test]
fn an_existing_key_is_never_overwritten_unless_forced() {
    let desk = Desk::new();
    for name in ["key", "cert", "p12", "p12.password"] {
        let file = format!("{TENANT}.{name}");
        desk.write(&file, b"precious");
        desk.fails(&["issue", TENANT], 5, &[&file, "--force"]);
        assert_eq!(desk.read(&file), b"precious");
        assert_eq!(desk.names("."), [file.as_str()], "nothing else was written");
        std::fs::remove_file(desk.path(&file)).unwrap();
    }
    desk.write(&format!("{TENANT}.key"), b"precious");
    desk.fails(&["request", TENANT], 5, &[".key"]);
    assert_eq!(desk.names("."), [format!("{TENANT}.key")]);

    let issued = desk.done(&["issue", TENANT, "--force"]);
    let pin = desk.pin_by_openssl(&["pkey", "-in", &format!("{TENANT}.key"), "-pubout"]);
    assert_eq!(field(&issued, "pin"), pin);
}

#[test]
fn forcing_leaves_no_password_of_the_file_it_replaced() {
    let desk = Desk::new();
    desk.done(&["issue", TENANT]);
    desk.write("password", b"chosen");
    desk.done(&["issue", TENANT, "--force", "--p12-password-file", "password"]);
    assert!(!desk.path(&format!("{TENANT}.p12.password")).exists());
}

#[test]
fn a_renewal_never_overwrites_a_key_that_is_not_the_old_ones() {
    let desk = Desk::new();
    desk.done(&["issue", TENANT, "--out", "id"]);
    desk.done(&["issue", TENANT, "--out", "other"]);
    let key = desk.read(&format!("other/{TENANT}.key"));
    let cert = format!("id/{TENANT}.cert");
    desk.fails(&["renew", &cert, "--out", "other"], 5, &["exists"]);
    std::fs::remove_file(desk.path(&format!("other/{TENANT}.cert"))).unwrap();
    desk.fails(&["renew", &cert, "--out", "other"], 5, &["exists"]);
    assert_eq!(desk.read(&format!("other/{TENANT}.key")), key);
    assert_eq!(desk.text("staffetta-ca/ledger.jsonl").lines().count(), 2, "none was renewed");
    assert!(desk.names("other").iter().all(|name| !name.starts_with('.')));
}

#[test]
fn bad_input_is_named_with_its_cure() {
    let desk = Desk::new();
    desk.write("garbage", &[0x30, 0x82, 0xff, 0xff, 0, 1, 2, 3]);
    desk.write(
        "text",
        b"-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydA==\n-----END CERTIFICATE-----\n",
    );
    desk.write("empty", b"");
    desk.write("huge", &vec![b'a'; 70_000]);
    let host = ["--host", "portal.example.it"];
    for (args, words) in [
        (&["issue", "123"][..], &["123", "11 digits"][..]),
        (&["issue", "02038490238"], &["02038490238", "check digit"]),
        (&["issue", "../../etc/x"], &["VAT number"]),
        (&["issue", TENANT, "--days", "1"], &["1 days", "at least 2"]),
        (&["issue-portal", "../a", host[0], host[1]], &["../a", "lowercase"]),
        (&["issue-portal", "a", "--host", "*.example.it"], &["*.example.it", "host name"]),
        (&["issue", TENANT, "--p12-password-file", "empty"], &["empty", "one line"]),
        (&["inspect", "garbage"], &["garbage", "give a .cert"]),
        (&["inspect", "text"], &["text", "give a .cert"]),
        (&["inspect", "empty"], &["empty", "give a .cert"]),
        (&["inspect", "huge"], &["huge", "larger"]),
        (&["sign", "garbage"], &["garbage"]),
        (&["revoke", "garbage", "--ca", "none"], &["garbage"]),
        (&["revoke", &"zz".repeat(32)], &["64 hexadecimal"]),
        (&["revoke", &"ab".repeat(32), "--ca", "none"], &["none", "no authority"]),
    ] {
        desk.fails(args, 3, words);
    }
    desk.fails(&["inspect", "absent"], 4, &["absent", "No such file"]);
    desk.fails(&["list", "--ca", "absent"], 4, &["absent"]);
    desk.fails(&["issue", TENANT, "--out", "text"], 4, &["text"]);
    assert_eq!(desk.certgen(&["issue"]).0, 2);
    assert_eq!(desk.certgen(&["issue-portal", "a"]).0, 2);
    let (code, out, err) = desk.certgen(&["--json", "issue", "123"]);
    let error: serde_json::Value = serde_json::from_str(&err).unwrap();
    assert_eq!((code, out.as_str(), &error["code"]), (3, "", &3.into()));
}

#[test]
fn a_certificate_with_the_wrong_key_is_found_out() {
    let desk = Desk::new();
    desk.done(&["issue", TENANT, "--out", "a"]);
    desk.done(&["issue", TENANT, "--out", "b"]);
    let (cert, key) = (format!("a/{TENANT}.cert"), format!("b/{TENANT}.key"));
    let (code, out, _) = desk.certgen(&["inspect", &cert, "--key", &key]);
    assert!(code == 1 && out.contains("NO"), "{out}");
    desk.fails(&["p12", &cert, "--key", &key, "--out", "c"], 5, &["another key"]);
    assert!(!desk.path("c").exists());

    std::fs::copy(desk.path(&key), desk.path("staffetta-ca/ca.key")).unwrap();
    desk.fails(&["issue", TENANT, "--out", "c"], 4, &["ca.cert", "backup"]);
    std::fs::remove_file(desk.path("staffetta-ca/ca.key")).unwrap();
    desk.fails(&["issue", TENANT, "--out", "c"], 4, &["part of an authority"]);
}

#[test]
fn words_tell_a_request_from_another() {
    let desk = Desk::new();
    let asked = desk.done(&["request", TENANT, "--out", "a"]);
    let other = desk.done(&["request", TENANT, "--out", "b"]);
    let csr = format!("a/{TENANT}.csr");
    let (right, wrong) = (field(&asked, "words"), field(&other, "words"));
    assert_eq!(desk.done(&["inspect", &csr, "--words", right])["words_match"], true);
    assert_eq!(desk.certgen(&["inspect", &csr, "--words", wrong]).0, 1);
    desk.fails(&["inspect", &csr, "--words", "abete"], 3, &["8 words", "found 1"]);
    desk.fails(&["sign", &csr, "--words", wrong], 5, &["do not match"]);
    assert!(!desk.path("staffetta-ca").exists(), "nothing was signed");
}

#[test]
fn a_revoked_pin_is_never_certified_again() {
    let desk = Desk::new();
    desk.done(&["request", TENANT]);
    let (csr, cert) = (format!("{TENANT}.csr"), format!("{TENANT}.cert"));
    desk.done(&["sign", &csr]);
    desk.done(&["revoke", &cert]);
    desk.fails(&["sign", &csr, "--out", "again"], 5, &["revoked", "new key"]);
    desk.fails(&["renew", &cert, "--out", "again"], 5, &["revoked"]);
    desk.fails(&["renew", &cert, "--same-key", "--out", "again"], 5, &["revoked"]);
    assert_eq!(desk.names("again"), [""; 0]);
}

#[test]
fn one_key_never_names_two_holders() {
    let desk = Desk::new();
    desk.openssl(&[
        "genpkey",
        "-algorithm",
        "EC",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-out",
        "k",
    ]);
    for tenant in [TENANT, OTHER_TENANT] {
        let san = format!("subjectAltName=URI:urn:staffetta:tenant:{tenant}");
        let csr = format!("{tenant}.csr");
        desk.openssl(&[
            "req", "-new", "-key", "k", "-subj", "/CN=x", "-addext", &san, "-out", &csr,
        ]);
    }
    desk.done(&["sign", &format!("{TENANT}.csr")]);
    let second = format!("{OTHER_TENANT}.csr");
    desk.fails(&["sign", &second], 5, &[TENANT, OTHER_TENANT]);
    desk.fails(&["sign", &second, "--renews", &format!("{TENANT}.cert")], 5, &[TENANT]);
}

#[test]
fn only_requests_we_understand_are_signed() {
    let desk = Desk::new();
    let p256 = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let p384 = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"];
    let tenant = format!("subjectAltName=URI:urn:staffetta:tenant:{TENANT}");
    let with_host = format!("{tenant},DNS:www.example.it");
    let two = format!("{tenant},URI:urn:staffetta:portal:a");
    for (key, san, code, words) in [
        (&p384[..], tenant.as_str(), 3, "P-256"),
        (&["-algorithm", "ED25519"], &tenant, 3, ""),
        (&p256, "subjectAltName=DNS:www.example.it", 3, "request for a node"),
        (&p256, &with_host, 3, "request for a node"),
        (&p256, &two, 3, "request for a node"),
        (&p256, "subjectAltName=URI:urn:staffetta:portal:a,DNS:a.it", 5, "--portal"),
    ] {
        desk.openssl(&[&["genpkey", "-out", "k"], key].concat());
        let digest = ["-sha256", "-subj", "/CN=x", "-addext", san];
        desk.openssl(&[&["req", "-new", "-key", "k", "-out", "r.csr"], &digest[..]].concat());
        desk.fails(&["sign", "r.csr", "--out", "out"], code, &["r.csr", words]);
        assert!(!desk.path("out").exists(), "{san}");
    }
    // A request whose signature was spoilt on the way.
    desk.openssl(&["req", "-in", "r.csr", "-outform", "der", "-out", "r.der"]);
    let mut spoilt = desk.read("r.der");
    *spoilt.last_mut().unwrap() ^= 1;
    desk.write("r.der", &spoilt);
    desk.fails(&["sign", "r.der"], 3, &["r.der", "not signed by its own key"]);
    // A certificate is not a request.
    desk.done(&["issue", TENANT]);
    let cert = format!("{TENANT}.cert");
    desk.fails(&["sign", &cert, "--out", "out"], 3, &[&cert, "request"]);
}

#[test]
fn another_authoritys_certificate_is_not_renewed() {
    let desk = Desk::new();
    desk.done(&["issue", TENANT, "--ca", "theirs"]);
    desk.done(&["init-ca", "--out", "ours"]);
    desk.fails(&["init-ca", "--out", "ours"], 5, &["ours", "already"]);
    let cert = format!("{TENANT}.cert");
    desk.fails(&["renew", &cert, "--ca", "ours", "--out", "new"], 5, &["not issued by", "ours"]);
    desk.fails(&["renew", "ours/ca.cert", "--ca", "ours", "--out", "new"], 5, &["not issued by"]);
    desk.fails(&["revoke", &cert, "--ca", "ours"], 5, &["not in the ledger", "--force"]);
    let revoked = desk.done(&["revoke", &cert, "--ca", "ours", "--force"]);
    assert_eq!(desk.text("ours/revoked.txt"), format!("{}\n", field(&revoked, "pin")));
    desk.fails(
        &["issue", TENANT, "--ca", "ours", "--days", "4000", "--out", "long"],
        5,
        &["ends on", "--days"],
    );
}
