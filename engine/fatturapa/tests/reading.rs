//! Every shared case that is an invoice or a message is read into its record, whatever its wrapping.

mod shared;

use fatturapa::id::{RecipientCode, SdiFileName, TaxCode, VatNumber};
use fatturapa::invoice::{self, ReadError};
use fatturapa::messages;
use fatturapa::xml::XmlError;

#[test]
fn valid_cases_are_read() {
    let mut read = 0;
    for row in shared::rows("MANIFEST.tsv") {
        let (path, kind, verdict, why) = (&row[0], &*row[1], &*row[2], &row[3]);
        let bytes = shared::bytes(path);
        match (kind, verdict) {
            ("invoice" | "p7m", "valid" | "divergent") => match invoice::read(path, &bytes) {
                Ok(file) => {
                    assert!(!file.bodies.is_empty(), "{path}");
                    read += 1;
                }
                Err(ReadError::NotAnInvoice { .. }) if why.contains("obsolete") => {}
                Err(error) => panic!("{path}: {error}"),
            },
            ("notification", _) => {
                let result = messages::read(&bytes);
                // One sample has an empty IdentificativoSdI: nothing binds it to an invoice.
                assert_eq!(result.is_err(), why.contains("''"), "{path}: {result:?}");
            }
            ("p7m", _) => assert!(invoice::read(path, &bytes).is_err(), "{path}"),
            ("malicious", _) if why.contains("DTD") => assert_eq!(
                invoice::read(path, &bytes).unwrap_err(),
                ReadError::Xml(XmlError::Dtd),
                "{path}"
            ),
            _ => drop(invoice::read(path, &bytes)),
        }
    }
    assert!(read >= 79, "only {read} invoices were read");
}

#[test]
fn identifiers_are_judged_as_the_table_says() {
    for row in shared::rows("IDENTIFIERS.tsv") {
        let (kind, text, verdict) = (&*row[0], &*row[1], &*row[2]);
        let office = |wanted| RecipientCode::parse(text).is_ok_and(|c| c.is_office() == wanted);
        let ok = match kind {
            "piva" => VatNumber::parse(text).is_ok(),
            "cf" => TaxCode::parse(text).is_ok(),
            "dest-FPA12" => office(true),
            "dest-FPR12" => office(false),
            "filename" => SdiFileName::parse(text).is_ok(),
            other => panic!("unknown kind {other}"),
        };
        assert_eq!(ok, verdict != "invalid", "{kind} {text}");
    }
}
