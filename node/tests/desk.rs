//! `check` and `show` as a person runs them, on the shared samples.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{
    path::PathBuf,
    process::{Command, Output},
};

fn shared(file: &str) -> PathBuf {
    let folder = std::env::var_os("STAFFETTA_FATTURAPA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/fatturapa")),
        PathBuf::from,
    );
    let path = folder.join(file);
    assert!(path.is_file(), "{} is missing: set STAFFETTA_FATTURAPA", path.display());
    path
}

fn desk(args: &[&str], file: &str) -> Output {
    let path = shared(file);
    let binary = env!("CARGO_BIN_EXE_staffetta-node");
    Command::new(binary).args(args).arg(path).output().unwrap()
}

#[test]
fn a_good_invoice_is_accepted_and_a_bad_one_explained() {
    let good = desk(&["check", "--json"], "rule-cases/ok-base.xml");
    assert_eq!(good.status.code(), Some(0));
    let line: serde_json::Value = serde_json::from_slice(&good.stdout).unwrap();
    assert_eq!((&line["kind"], &line["xsd"]), (&"invoice".into(), &"valid".into()));
    assert_eq!(line["codes"], serde_json::json!([]));

    let bad = desk(&["check"], "rule-cases/00421-imposta.xml");
    assert_eq!(bad.status.code(), Some(1));
    let text = String::from_utf8(bad.stdout).unwrap();
    assert!(text.contains("00421") && text.contains("22.00"), "{text}");
}

#[test]
fn a_day_can_be_given_and_nonsense_is_refused() {
    let day = ["check", "--json", "--received", "2100-01-01"];
    let later = desk(&day, "rule-cases/00403-futura.xml");
    assert!(String::from_utf8(later.stdout).unwrap().contains(r#""codes":[]"#));
    let never = desk(&["check", "--received", "soon"], "rule-cases/ok-base.xml");
    assert_eq!(never.status.code(), Some(2));
}

#[test]
fn an_invoice_is_shown_in_three_forms_and_a_signed_one_too() {
    for file in ["rule-cases/ok-lotto.xml", "samples/oca/fatturapa_in/IT01234567890_FPR03.xml.p7m"]
    {
        let html = desk(&["show", "--html"], file);
        assert_eq!(html.status.code(), Some(0), "{}", String::from_utf8_lossy(&html.stderr));
        let html = String::from_utf8(html.stdout).unwrap();
        assert!(html.starts_with("<!") && !html.contains("<script"));
        assert!(desk(&["show", "--pdf"], file).stdout.starts_with(b"%PDF-"));
        assert!(!desk(&["show"], file).stdout.is_empty());
    }
    let none = desk(&["show"], "samples/simevo/malicious/billion_laughs.xml");
    assert_eq!(none.status.code(), Some(3));
    assert!(!none.stderr.is_empty());
}
