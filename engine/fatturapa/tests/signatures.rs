//! Signatures of the shared samples: intact as they are, broken by one changed byte, trusted by a list.

mod shared;

use fatturapa::Date;
use fatturapa::check::{Context, Report, check_bytes};
use fatturapa::signature::{Form, Trust};

fn check(bytes: &[u8], trust: Trust<'_>, day: Date) -> Report {
    check_bytes("x.xml", bytes, &Context { trust, ..Context::received(day) })
}

fn day(year: i32) -> Date {
    Date::new(year, 7, 1).expect("a day that exists")
}

const XADES: &str = "samples/slamdunk/ok_ITHVQWPH73P42H501Y_X0024.xml";
const CADES: &str = "samples/fe-net/IT02182030391_31.xml.p7m";

#[test]
fn real_signatures_are_intact() {
    for (path, form, year) in [
        (XADES, Form::Xades, 2018),
        ("samples/isife/IT01234567890_X1111.xml", Form::Xades, 2014),
        ("samples/isife/IT01234567890_11111_NS_001.xml", Form::Xades, 2014),
        ("samples/isife/IT01234567890_11111_DT_001.xml", Form::Xades, 2014),
        ("samples/isife/IT01234567890_11111_MC_001.xml", Form::Xades, 2014),
        ("samples/isife/IT01234567890_11111_AT_001.xml", Form::Xades, 2014),
        (CADES, Form::Cades, 2019),
        ("samples/fe-net/IT02182030391_31.Base64.CRLF.xml.p7m", Form::Cades, 2019),
        ("samples/fe-php/IT00484960588_ERKHK.xml.p7m", Form::Cades, 2019),
        ("samples/oca/fatturapa_in/IT01234567890_FPR03.xml.p7m", Form::Cades, 2019),
        ("samples/isife/IT01234567890_11111.xml.p7m", Form::Cades, 2014),
    ] {
        let report = check(&shared::bytes(path), Trust::Unjudged, day(year));
        let [signature] = &report.signatures[..] else { panic!("{path}: {:?}", report.signatures) };
        assert_eq!((signature.form, signature.is_intact), (form, true), "{path}: {signature:?}");
        assert!(signature.signed_at.is_some() && !signature.signer.is_empty(), "{path}");
    }
}

#[test]
fn one_changed_byte_breaks_a_signature() {
    for (path, from, to) in [(XADES, "<Numero>", "<Numero>9"), (CADES, "FPR12", "FPA12")] {
        let bytes = shared::bytes(path);
        let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).expect("the text");
        let mut changed = bytes.clone();
        changed.splice(at..at + from.len(), to.bytes());
        let report = check(&changed, Trust::Unjudged, day(2018));
        assert!(report.codes.contains(&"00102".to_owned()), "{path}: {}", report.to_text());
    }
}

#[test]
fn time_and_trust_are_judged() {
    let bytes = shared::bytes(XADES);
    let codes = |trust, year| check(&bytes, trust, day(year)).codes;
    let has = |codes: Vec<String>, code: &str| codes.iter().any(|own| own == code);
    assert!(has(codes(Trust::Unjudged, 2026), "00100"));
    assert!(!has(codes(Trust::Unjudged, 2018), "00100"));
    assert!(has(codes(Trust::Unjudged, 2017), "00105"));
    assert!(has(codes(Trust::List(&[]), 2018), "00104"));
    // The signer's own certificate in the list is trust enough.
    let text = String::from_utf8(bytes.clone()).expect("UTF-8");
    let from = text.find("X509Certificate>").expect("a certificate") + 16;
    let base64: String =
        text[from..].chars().take_while(|c| *c != '<').filter(|c| !c.is_whitespace()).collect();
    use base64::Engine as _;
    let der = base64::engine::general_purpose::STANDARD.decode(base64).expect("base64");
    assert!(!has(codes(Trust::List(&[der]), 2018), "00104"));
}
