//! The table of all shared cases with their verdicts, printed by `cargo test -p fatturapa --test cases
//! -- --nocapture`. There is no exception list.

mod shared;

use fatturapa::Date;
use fatturapa::check::{Context, Xsd, check_bytes};

fn context() -> Context<'static> {
    Context::received(Date::new(2026, 11, 24).expect("a day that exists"))
}

#[test]
fn every_rule_case_reports_its_codes_and_no_others() {
    let mut wrong = Vec::new();
    println!("{:<50} {:<8} {:<14} reported", "rule case", "xsd", "expected");
    for row in shared::rows("RULE-CASES.tsv") {
        let report = check_bytes(&row[0], &shared::bytes(&row[0]), &context());
        let codes = report.codes.join(",");
        println!("{:<50} {:<8} {:<14} {codes}", row[0], format!("{:?}", report.xsd), row[1]);
        let expected = if row[1] == "-" { String::new() } else { row[1].clone() };
        let xsd = if row[2] == "yes" { Xsd::Valid } else { Xsd::Invalid };
        if codes != expected || report.xsd != xsd {
            wrong.push(format!("{}: {}", row[0], report.to_text()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_sample_has_the_verdict_of_the_manifest() {
    let mut wrong = Vec::new();
    println!("{:<75} {:<10} {:<8} codes", "sample", "manifest", "xsd");
    for row in shared::rows("MANIFEST.tsv") {
        let report = check_bytes(&row[0], &shared::bytes(&row[0]), &context());
        let codes = report.codes.join(",");
        println!("{:<75} {:<10} {:<8} {codes}", row[0], row[2], format!("{:?}", report.xsd));
        let expected = match &*row[2] {
            "valid" => row[1] != "p7m" || !row[3].contains("obsolete"),
            "divergent" => true,
            "malicious" => row[3].contains("XSD-valid"),
            _ => false,
        };
        if (report.xsd == Xsd::Valid) != expected {
            wrong.push(report.to_text());
        }
        if std::env::var_os("STAFFETTA_CASES_VERBOSE").is_some() {
            println!("{}", report.to_text());
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
