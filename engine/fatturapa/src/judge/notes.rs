//! Advice on what the SdI does not control and a bookkeeper wants to know. Never a code.

use rust_decimal::Decimal;

use super::{Body, Findings};
use crate::invoice::Format;

pub(super) fn judge(body: &Body<'_>, findings: &mut Findings<'_>) {
    total(body, findings);
    stamp_duty(body, findings);
    payments(body, findings);
    if let Some(pec) = body.file.recipient_pec.as_deref()
        && body.place == 0
        && crate::id::PecAddress::parse(pec).is_err()
    {
        findings.advise(
            super::header(body.file, "DatiTrasmissione/PECDestinatario"),
            format!("«{pec}» non sembra un indirizzo PEC."),
            "Controllare la PEC del cliente: la fattura non gli arriverebbe.",
        );
    }
    if body.place == 0
        && body.file.format == Format::FPA12
        && !body.file.in_cms
        && !body.file.has_xml_signature
    {
        findings.advise(
            super::root(body.file).to_owned(),
            "La fattura alla pubblica amministrazione non è firmata.".to_owned(),
            "Firmarla prima dell'invio (XAdES o CAdES).",
        );
    }
}

fn total(body: &Body<'_>, findings: &mut Findings<'_>) {
    let invoice = body.invoice;
    let Some(declared) = invoice.declared_total else { return };
    // Discounts of the document and stamp duty may or may not be in the declared total.
    let slack = invoice.stamp_duty.as_ref().and_then(|duty| duty.amount).unwrap_or_default();
    let wanted = invoice.computed_total().saturating_add(invoice.rounding.unwrap_or_default());
    let difference = declared.saturating_sub(wanted).abs();
    if invoice.discounts.is_empty() && difference > slack.abs().saturating_add(Decimal::ONE) {
        findings.advise(
            body.document("ImportoTotaleDocumento"),
            format!("Il totale dichiarato è {declared}, il riepilogo dà {wanted}."),
            "Controllare il totale: il SdI non lo verifica, il cliente sì.",
        );
    }
}

/// Stamp duty is due above 77.47 euro outside VAT (RULES.md section 2, the note after the table).
fn stamp_duty(body: &Body<'_>, findings: &mut Findings<'_>) {
    let threshold = Decimal::new(7747, 2);
    let is_due =
        |nature: &str| nature.starts_with("N2") || matches!(nature, "N3.5" | "N3.6" | "N4");
    let sum = body
        .invoice
        .vat
        .iter()
        .filter(|row| row.nature.as_deref().is_some_and(is_due))
        .fold(Decimal::ZERO, |sum, row| sum.saturating_add(row.taxable));
    if sum > threshold && body.invoice.stamp_duty.is_none() && body.invoice.kind != "TD04" {
        findings.advise(
            body.document("DatiBollo"),
            format!("Gli importi fuori campo, esenti o non imponibili sono {sum}: manca il bollo."),
            "Valutare l'imposta di bollo di 2 euro (DatiBollo).",
        );
    }
}

fn payments(body: &Body<'_>, findings: &mut Findings<'_>) {
    for (place, payment) in body.invoice.payments.iter().enumerate() {
        if let Some(iban) = payment.iban.as_deref().filter(|iban| !is_iban(iban)) {
            findings.advise(
                body.path(&format!("DatiPagamento//DettaglioPagamento[{}]/IBAN", place + 1)),
                format!("L'IBAN {iban} ha le cifre di controllo sbagliate."),
                "Controllare l'IBAN: il cliente non riuscirebbe a pagare.",
            );
        }
    }
}

/// The check of ISO 13616: the rearranged number is 1 modulo 97.
pub(crate) fn is_iban(text: &str) -> bool {
    let Some((head, tail)) = text.split_at_checked(4) else { return false };
    let remainder = tail.bytes().chain(head.bytes()).try_fold(0_u32, |sum, byte| match byte {
        b'0'..=b'9' => Some((sum * 10 + u32::from(byte - b'0')) % 97),
        b'A'..=b'Z' => Some((sum * 100 + u32::from(byte - b'A') + 10) % 97),
        b'a'..=b'z' => Some((sum * 100 + u32::from(byte - b'a') + 10) % 97),
        _ => None,
    });
    remainder == Some(1)
}

#[cfg(test)]
mod tests {
    use super::is_iban;

    #[test]
    fn an_iban_is_one_modulo_97() {
        assert!(is_iban("IT60X0542811101000000123456"));
        assert!(!is_iban("IT61X0542811101000000123456"));
        assert!(!is_iban("IT"));
    }
}
