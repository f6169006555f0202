//! No input makes the crate panic, and hostile files are refused: mutations of every shared sample, and
//! files built to cost time or memory.

mod shared;

use fatturapa::check::{Context, Report, check_bytes};
use fatturapa::{Date, invoice, messages, view};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

fn check(name: &str, bytes: &[u8]) -> Report {
    check_bytes(
        name,
        bytes,
        &Context::received(Date::new(2026, 11, 24).expect("a day that exists")),
    )
}

/// Everything the crate does with a file of a stranger.
fn use_all(name: &str, bytes: &[u8]) {
    let report = check(name, bytes);
    let _ = (report.to_json(), report.to_text());
    let _ = messages::read(bytes);
    if let Ok(file) = invoice::read(name, bytes) {
        let _ = (view::html(&file, Some(bytes)), view::text(&file));
        #[cfg(feature = "pdf")]
        let _ = view::pdf(&file);
        let _ = invoice::attachment(bytes, 0, 0);
    }
}

#[test]
fn mutated_samples_never_panic() {
    let samples: Vec<(String, Vec<u8>)> = shared::rows("MANIFEST.tsv")
        .into_iter()
        .map(|row| (row[0].clone(), shared::bytes(&row[0])))
        .filter(|(_, bytes)| !bytes.is_empty() && bytes.len() < 40_000)
        .collect();
    let edit = (any::<prop::sample::Index>(), any::<u8>(), 0_u8..5);
    let strategy = (any::<prop::sample::Index>(), prop::collection::vec(edit, 1..6));
    let config = Config { cases: 2_000, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&strategy, |(which, edits)| {
            let (name, bytes) = which.get(&samples);
            let mut bytes = bytes.clone();
            for (place, value, kind) in edits {
                if bytes.is_empty() {
                    break;
                }
                let at = place.index(bytes.len());
                match kind {
                    0 => bytes[at] = value,
                    1 => drop(bytes.remove(at)),
                    2 => bytes.insert(at, value),
                    3 => bytes.truncate(at),
                    _ => {
                        let end = (at + usize::from(value)).min(bytes.len());
                        let part = bytes[at..end].to_vec();
                        bytes.splice(at..at, part);
                    }
                }
            }
            use_all(name, &bytes);
            Ok(())
        })
        .unwrap();
}

#[test]
fn samples_as_they_are_never_panic() {
    for row in shared::rows("MANIFEST.tsv") {
        use_all(&row[0], &shared::bytes(&row[0]));
    }
}

#[test]
fn files_built_to_hurt_are_refused() {
    let root = "<p:FatturaElettronica xmlns:p=\"http://ivaservizi.agenziaentrate.gov.it/docs/xsd/fatture/v1.2\" versione=\"FPR12\">";
    let fill = |piece: &str| format!("{root}{}", piece.repeat(4_900_000 / piece.len()));
    for hostile in [
        fill("<a>"),
        fill("<a/>"),
        fill("<p:a/>"),
        fill("&amp;"),
        fill("<a b='' c='' d=''/>"),
        fill("<a xmlns='u'/>"),
        fill("]"),
        format!("<a {}", "b='' ".repeat(900_000)),
        "(".repeat(4_900_000),
    ] {
        assert!(!check("x.xml", hostile.as_bytes()).codes.is_empty());
    }
    assert_eq!(check("x.xml", &vec![b' '; 5_242_881]).codes, ["00003"]);
    assert_eq!(check("x.xml", b"").codes, ["00106"]);
    assert_eq!(check("x.xml.p7m", &[0x30, 0x80].repeat(1_000_000)).codes, ["00106"]);
}
