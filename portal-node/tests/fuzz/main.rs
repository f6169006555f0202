//! The corpus of `portal-node/fuzz`, replayed, and mutations of it: the same targets as
//! libFuzzer's, without it. What a long run finds is added to the corpus.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "../../../engine/fuzz/src/replay.rs"]
mod replay;
#[path = "../../fuzz/src/targets.rs"]
mod targets;

use std::{fs, path::PathBuf};

use certgen::{Authority, Existing, Moment, Options, PortalName};
use engine::id::VatNumber;
use targets::TARGETS;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

#[test]
fn the_corpus_stops_nothing() {
    replay::replay(&folder(), &TARGETS);
}

#[test]
fn mutations_of_the_corpus_stop_nothing() {
    replay::mutate(&folder(), &TARGETS);
}

/// The first corpus, which a long run grows from.
#[test]
#[ignore = "writes portal-node/fuzz/corpus"]
fn write_seeds() {
    let home = tempfile::tempdir().unwrap();
    let mut authority = Authority::open_or_create(&home.path().join("ca"), Moment::now()).unwrap();
    let tenant = VatNumber::parse("02038490237").unwrap();
    authority
        .issue_node(tenant, Options::default())
        .unwrap()
        .write(home.path(), Existing::Refuse)
        .unwrap();
    authority
        .issue_portal(PortalName::parse("a").unwrap(), vec![], Options::default())
        .unwrap()
        .write(home.path(), Existing::Refuse)
        .unwrap();
    let read = |name: &str| fs::read(home.path().join(name)).unwrap();
    let [cert, key] = ["cert", "key"].map(|kind| read(&format!("{tenant}.{kind}")));
    let certificates = [
        cert.clone(),
        [cert.clone(), key.clone()].concat(),
        [read("a.cert"), cert].concat(),
        key,
        b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n".to_vec(),
        b"-----BEGIN EC PRIVATE KEY-----\n-----END EC PRIVATE KEY-----\n".to_vec(),
    ];
    let filled = |default: &str| {
        let line = |line: &str| match line.strip_prefix("# ") {
            Some(rest) if rest.starts_with('[') || rest.contains(" = ") => rest.to_owned(),
            _ => line.to_owned(),
        };
        let lines: Vec<_> = default.replace("\n#: ", "\n").lines().map(line).collect();
        lines.join("\n").replace("64 hexadecimal digits", &"ab".repeat(32)).into_bytes()
    };
    let (node, portal) = (node::config::DEFAULT, portal_node::config::DEFAULT);
    let wrong = b"data = \"/x\"\nsync = \"30m\"\ncolour = \"red\"\n".to_vec();
    let all = [
        ("certificate", certificates.to_vec()),
        ("node-config", vec![node.into(), filled(node), wrong.clone()]),
        ("portal-config", vec![portal.into(), filled(portal), wrong]),
    ];
    for (name, seeds) in all {
        let folder = folder().join(name);
        fs::create_dir_all(&folder).unwrap();
        for (n, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{n:02}")), seed).unwrap();
        }
    }
}
