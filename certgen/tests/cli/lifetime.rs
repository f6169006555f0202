//! Certificates as they are renewed and revoked, and what the ledger says of it.

use serde_json::Value;

use crate::desk::{Desk, TENANT, field, mode};

fn standings(listed: &Value) -> Vec<&str> {
    let rows = listed["certificates"].as_array().expect("rows");
    rows.iter().map(|row| field(row, "standing")).collect()
}

#[test]
fn old_and_new_pin_are_good_together_after_a_renewal() {
    let desk = Desk::new();
    let cert = format!("id/{TENANT}.cert");
    let old = desk.done(&["issue", TENANT, "--out", "id"]);
    let old_key = desk.read(&format!("id/{TENANT}.key"));
    let new = desk.done(&["renew", &cert, "--out", "id"]);

    assert_eq!(field(&new, "old_pin"), field(&old, "pin"));
    assert_ne!(field(&new, "pin"), field(&old, "pin"));
    assert_eq!(field(&new, "overlap_ends"), field(&old, "not_after"));
    assert_eq!(standings(&desk.done(&["list"])), ["overlap", "valid"]);
    assert_eq!(desk.text("staffetta-ca/revoked.txt"), "");

    // The old set lies beside the new one, whole and as private as before.
    let serial = &field(&old, "serial")[..8];
    let kept = format!("id/{TENANT}.{serial}.key");
    assert_eq!(desk.read(&kept), old_key);
    assert_eq!(mode(&desk.path(&kept)), 0o600);
    assert_eq!(desk.names("id").len(), 8);
    for (cert, key) in
        [(format!("id/{TENANT}.{serial}.cert"), kept), (cert, format!("id/{TENANT}.key"))]
    {
        desk.openssl(&["verify", "-CAfile", "staffetta-ca/ca.cert", &cert]);
        assert_eq!(desk.done(&["inspect", &cert, "--key", &key])["key_matches"], true);
    }

    desk.done(&["revoke", field(&old, "pin"), "--reason", "server replaced"]);
    assert_eq!(standings(&desk.done(&["list"])), ["revoked", "valid"]);
    assert_eq!(desk.text("staffetta-ca/revoked.txt"), format!("{}\n", field(&old, "pin")));
}

#[test]
fn a_renewal_may_keep_the_key_and_then_does_not_need_it() {
    let desk = Desk::new();
    let old = desk.done(&["issue", TENANT, "--out", "id", "--days", "100"]);
    let key = desk.read(&format!("id/{TENANT}.key"));
    let cert = format!("id/{TENANT}.cert");
    let new = desk.done(&["renew", &cert, "--same-key", "--out", "office"]);
    assert_eq!(field(&new, "pin"), field(&old, "pin"));
    assert_ne!(field(&new, "serial"), field(&old, "serial"));
    assert!(field(&new, "not_after") > field(&old, "not_after"));
    assert_eq!(desk.names("office"), [format!("{TENANT}.cert")]);
    assert_eq!(desk.read(&format!("id/{TENANT}.key")), key);
    assert_eq!(standings(&desk.done(&["list"])), ["overlap", "valid"]);
}

#[test]
fn a_node_made_key_is_renewed_by_a_new_request() {
    let desk = Desk::new();
    desk.done(&["request", TENANT, "--out", "first"]);
    let old = desk.done(&["sign", &format!("first/{TENANT}.csr"), "--out", "office"]);
    desk.done(&["request", TENANT, "--out", "second"]);
    let (csr, cert) = (format!("second/{TENANT}.csr"), format!("office/{TENANT}.cert"));
    let new = desk.done(&["sign", &csr, "--renews", &cert, "--out", "office"]);
    assert_eq!(field(&new, "old_pin"), field(&old, "pin"));
    assert_eq!(desk.names("office").len(), 2, "the old certificate is kept");
    assert_eq!(standings(&desk.done(&["list"])), ["overlap", "valid"]);
}

#[test]
fn a_renewal_cut_short_after_the_copies_can_be_run_again() {
    let desk = Desk::new();
    let cert = format!("id/{TENANT}.cert");
    let old = desk.done(&["issue", TENANT, "--out", "id"]);
    let serial = &field(&old, "serial")[..8];
    for suffix in ["key", "cert"] {
        let bytes = desk.read(&format!("id/{TENANT}.{suffix}"));
        desk.write(&format!("id/{TENANT}.{serial}.{suffix}"), &bytes);
    }
    let new = desk.done(&["renew", &cert, "--out", "id"]);
    let key = format!("id/{TENANT}.key");
    assert_eq!(desk.done(&["inspect", &cert, "--key", &key])["pin"], new["pin"]);
}

#[test]
fn revoking_says_what_stays_good_and_may_be_repeated() {
    let desk = Desk::new();
    let one = desk.done(&["issue", TENANT, "--out", "one"]);
    let two = desk.done(&["issue", TENANT, "--out", "two"]);
    let cert = format!("one/{TENANT}.cert");
    let revoked = desk.done(&["revoke", &cert, "--reason", "stolen"]);
    assert_eq!(field(&revoked, "pin"), field(&one, "pin"));
    assert_eq!(revoked["still_good"][0], two["pin"]);
    assert_eq!(revoked["newly_revoked"], true);
    assert_eq!(desk.done(&["revoke", &cert])["newly_revoked"], false);
    let told = desk.done(&["inspect", &cert, "--ca", "staffetta-ca"]);
    assert_eq!(field(&told, "standing"), "revoked");
    assert_eq!(field(&told["revoked"], "reason"), "stolen");
}

#[test]
fn each_act_adds_one_line_and_changes_none() {
    let desk = Desk::new();
    let cert = format!("id/{TENANT}.cert");
    let steps: [&[&str]; 4] = [
        &["issue", TENANT, "--out", "id"],
        &["renew", &cert, "--out", "new"],
        &["revoke", &cert],
        &["list"],
    ];
    let mut before = String::new();
    for (step, lines) in steps.into_iter().zip([1, 2, 3, 3]) {
        desk.done(step);
        let after = desk.text("staffetta-ca/ledger.jsonl");
        assert!(after.starts_with(&before), "{step:?} changed what was written");
        assert_eq!(after.lines().count(), lines, "{step:?}");
        assert!(!after.contains("PRIVATE"));
        before = after;
    }
}

#[test]
fn many_at_once_share_one_authority_and_one_ledger() {
    let desk = Desk::new();
    std::thread::scope(|scope| {
        for name in ["a", "b", "c", "d", "e", "f"] {
            let desk = &desk;
            scope.spawn(move || desk.done(&["issue", TENANT, "--out", name]));
        }
    });
    assert_eq!(standings(&desk.done(&["list"])), ["valid"; 6]);
    for name in ["a", "b", "c", "d", "e", "f"] {
        let cert = format!("{name}/{TENANT}.cert");
        desk.openssl(&["verify", "-CAfile", "staffetta-ca/ca.cert", &cert]);
    }
}

#[test]
fn people_and_programs_are_told_the_same() {
    let desk = Desk::new();
    let issued = desk.done(&["issue", TENANT]);
    let (code, text, _) = desk.certgen(&["inspect", &format!("{TENANT}.cert")]);
    assert_eq!(code, 0);
    for name in ["pin", "curl_pin", "words", "serial", "not_before", "not_after"] {
        assert!(text.contains(field(&issued, name)), "{name} is not in {text}");
    }
}
