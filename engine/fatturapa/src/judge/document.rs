//! Checks on the document as a whole: its date, number, type, and whether it exists twice.

use std::collections::BTreeMap;

use super::parties::are_same;
use super::{Body, Findings, InvoiceKey, Register, header};
use crate::date::Date;
use crate::invoice::{InvoiceFile, ReferenceKind};

pub(super) fn judge(body: &Body<'_>, received: Date, findings: &mut Findings<'_>) {
    let invoice = body.invoice;
    if invoice.date > received {
        let (date, today) = (invoice.date.italian_text(), received.italian_text());
        let detail = format!("La fattura è del {date}, la ricezione del {today}.");
        let expected = Some(format!("al più tardi {received}"));
        let found = Some(invoice.date.to_string());
        findings.add("00403", body.document("Data"), &detail, found, expected);
    }
    if !invoice.number.bytes().any(|b| b.is_ascii_digit()) {
        let detail = format!("Il numero è «{}».", invoice.number);
        let found = Some(invoice.number.clone());
        findings.add("00425", body.document("Numero"), &detail, found, None);
    }
    let linked = invoice.references.iter().filter(|r| r.kind == ReferenceKind::Invoice);
    for (place, reference) in linked.enumerate() {
        if let Some(date) = reference.date.filter(|date| *date > invoice.date) {
            let path = body.path(&format!("DatiGenerali/DatiFattureCollegate[{}]/Data", place + 1));
            let detail = format!(
                "La fattura è del {}, quella collegata del {}.",
                invoice.date.italian_text(),
                date.italian_text()
            );
            findings.add("00418", path, &detail, Some(date.to_string()), None);
        }
    }
    for (place, withholding) in invoice.withholdings.iter().enumerate() {
        let is_old = findings
            .rule("00999")
            .is_some_and(|r| r.is_about(&withholding.reason) && r.holds_on(invoice.date));
        if is_old {
            let path = body.document(&format!("DatiRitenuta[{}]/CausalePagamento", place + 1));
            let detail = format!("La causale è {}.", withholding.reason);
            findings.add("00999", path, &detail, Some(withholding.reason.clone()), None);
        }
    }
    kind(body, findings);
    if body.is_simplified() {
        simplified_limit(body, findings);
    }
}

/// Checks that depend on TipoDocumento.
fn kind(body: &Body<'_>, findings: &mut Findings<'_>) {
    let (file, kind) = (body.file, &*body.invoice.kind);
    let about = |code: &str| findings.table.rule(code).is_some_and(|rule| rule.is_about(kind));
    let same = are_same(&file.supplier, &file.buyer);
    let kind_path = body.document("TipoDocumento");
    let detail = format!("Il documento è {kind}.");
    let found = || Some(kind.to_owned());
    if about("00471") && same {
        findings.add("00471", kind_path.clone(), &detail, found(), None);
    }
    if about("00472") && !same {
        findings.add("00472", kind_path, &detail, found(), None);
    }
    if about("00475") && file.buyer.vat.is_none() {
        let path = header(file, "CessionarioCommittente/DatiAnagrafici/IdFiscaleIVA");
        findings.add("00475", path, &detail, None, Some("IdFiscaleIVA".to_owned()));
    }
    if about("00474") {
        for (place, line) in body.invoice.lines.iter().enumerate() {
            if line.rate.is_some_and(|rate| rate.is_zero()) {
                let path = body.line(place, "AliquotaIVA");
                findings.add("00474", path, "", Some("0.00".to_owned()), None);
            }
        }
    }
    // Kinds of this rule read `IT:TD29` (the country must be IT) or `!IT:TD17` (it must not).
    let Some(seller) = &file.supplier.vat else { return };
    let rule = findings.rule("00473");
    for entry in rule.map_or(&[][..], |rule| &rule.kinds) {
        let Some((country, of)) = entry.split_once(':') else { continue };
        let (is_refused, wanted) = match country.strip_prefix('!') {
            Some(refused) => (seller.country == refused, format!("diverso da {refused}")),
            None => (seller.country != country, country.to_owned()),
        };
        if of == kind && is_refused {
            let path = header(file, "CedentePrestatore/DatiAnagrafici/IdFiscaleIVA/IdPaese");
            let detail =
                format!("Con {kind} il paese deve essere {wanted}, qui è {}.", seller.country);
            findings.add("00473", path, &detail, Some(seller.country.clone()), Some(wanted));
        }
    }
}

/// Code 00460. A correction (DatiFatturaRettificata) is free of the bound by law (art. 21-bis DPR 633/72);
/// amounts in another currency cannot be compared with it here.
fn simplified_limit(body: &Body<'_>, findings: &mut Findings<'_>) {
    let Some(rule) = findings.rule("00460") else { return };
    let invoice = body.invoice;
    let regime = body.file.supplier.regime.as_deref().unwrap_or_default();
    let is_exempt = rule.is_about(regime) && rule.holds_on(invoice.date);
    let total = invoice.computed_total();
    if is_exempt || invoice.corrected.is_some() || invoice.currency != "EUR" {
        return;
    }
    if total > rule.tolerance() {
        let detail = format!("Il totale è {total} euro, il massimo {}.", rule.tolerance());
        let expected = Some(format!("al massimo {}", rule.tolerance()));
        let path = body.path("DatiBeniServizi/Importo");
        findings.add("00460", path, &detail, Some(total.to_string()), expected);
    }
}

/// Codes 00404 and 00409: an invoice that exists already, in the register or in this file.
pub(super) fn twins(file: &InvoiceFile, findings: &mut Findings<'_>, register: &dyn Register) {
    let mut seen: BTreeMap<InvoiceKey, usize> = BTreeMap::new();
    for (place, invoice) in file.bodies.iter().enumerate() {
        let body = Body { file, invoice, place };
        let key = InvoiceKey::of(file, invoice, findings.table);
        let found = Some(invoice.number.clone());
        if register.is_invoice_accepted(&key) {
            let detail = format!("È la fattura {} del {}.", key.number, key.year);
            findings.add("00404", body.document("Numero"), &detail, found.clone(), None);
        }
        if let Some(first) = seen.get(&key) {
            let detail = format!(
                "La fattura {} del {} è la numero {} e la numero {} del file.",
                key.number,
                key.year,
                first + 1,
                place + 1
            );
            findings.add("00409", body.document("Numero"), &detail, found, None);
        } else {
            seen.insert(key, place);
        }
    }
}
