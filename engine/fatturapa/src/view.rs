//! An invoice as a page that accountants know: header, parties, lines, VAT summary, payment, attachments.
//! One model, three forms. No script, nothing fetched, every text escaped.

mod html;
#[cfg(feature = "pdf")]
mod pdf;
mod text;
mod words;

use rust_decimal::Decimal;

use crate::invoice::{Invoice, InvoiceFile, Party, ReferenceKind};

pub use self::html::html;
#[cfg(feature = "pdf")]
pub use self::pdf::{Letter, letter, pdf};
pub use self::text::text;

/// One invoice laid out, before it takes a form.
struct Page {
    title: String,
    subtitle: String,
    supplier: Vec<String>,
    buyer: Vec<String>,
    facts: Vec<(String, String)>,
    sections: Vec<Section>,
    total: (String, String),
    /// Names of attachments with their sizes, in the order of the file.
    attachments: Vec<(String, String)>,
}

struct Section {
    title: &'static str,
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

struct Column {
    title: &'static str,
    /// Share of the width, in hundredths.
    width: u16,
    is_number: bool,
}

const fn left(title: &'static str, width: u16) -> Column {
    Column { title, width, is_number: false }
}

const fn right(title: &'static str, width: u16) -> Column {
    Column { title, width, is_number: true }
}

fn pages(file: &InvoiceFile) -> Vec<Page> {
    file.bodies.iter().map(|invoice| page(file, invoice)).collect()
}

fn page(file: &InvoiceFile, invoice: &Invoice) -> Page {
    let date = invoice.date.italian_text();
    let mut facts = vec![
        ("Tipo documento".to_owned(), words::named(&invoice.kind, words::document(&invoice.kind))),
        ("Numero".to_owned(), invoice.number.clone()),
        ("Data".to_owned(), date.clone()),
        ("Divisa".to_owned(), invoice.currency.clone()),
        ("Codice destinatario".to_owned(), file.recipient.to_string()),
    ];
    if let Some(pec) = &file.recipient_pec {
        facts.push(("PEC destinatario".to_owned(), pec.to_string()));
    }
    facts.push((
        "Trasmissione".to_owned(),
        format!(
            "{} {}{} n. {}",
            file.format.as_str(),
            file.transmitter.country,
            file.transmitter.code,
            file.progressive
        ),
    ));
    if let Some(by) = &file.issued_by {
        let by = if by == "CC" { "cessionario/committente" } else { "terzo" };
        facts.push(("Emessa da".to_owned(), by.to_owned()));
    }
    if invoice.is_art73 {
        facts.push(("Art. 73 DPR 633/72".to_owned(), "sì".to_owned()));
    }
    if let Some(corrected) = &invoice.corrected {
        let what = format!("{} ({})", corrected.number, corrected.elements);
        facts.push(("Fattura rettificata".to_owned(), what));
    }
    for reason in &invoice.reasons {
        facts.push(("Causale".to_owned(), reason.clone()));
    }
    let sections = [
        references(invoice),
        lines(file, invoice),
        funds(invoice),
        discounts(invoice),
        vat(invoice),
        withholdings(invoice),
        payments(invoice),
    ];
    let mut sections: Vec<Section> =
        sections.into_iter().filter(|section| !section.rows.is_empty()).collect();
    if let Some(duty) = &invoice.stamp_duty {
        let amount = duty.amount.map_or_else(|| "assolto in modo virtuale".to_owned(), money);
        let rows = vec![vec!["Bollo".to_owned(), amount]];
        sections.push(Section {
            title: "Imposta di bollo",
            columns: vec![left("", 70), right("Importo", 30)],
            rows,
        });
    }
    let attachments = invoice.attachments.iter().map(|attachment| {
        let about = attachment.description.as_deref().unwrap_or_default();
        let size = format!("{} byte {about}", attachment.size);
        (attachment.safe_name(), size.trim().to_owned())
    });
    Page {
        title: format!("{} n. {}", words::document(&invoice.kind), invoice.number),
        subtitle: format!("del {date}"),
        supplier: party(&file.supplier, file.supplier_representative.as_ref()),
        buyer: party(&file.buyer, file.buyer_representative.as_ref()),
        facts,
        sections,
        total: (
            "Totale documento".to_owned(),
            format!("{} {}", money(invoice.total()), invoice.currency),
        ),
        attachments: attachments.collect(),
    }
}

fn party(party: &Party, representative: Option<&Party>) -> Vec<String> {
    let mut lines = vec![party.name.clone()];
    if let Some(vat) = &party.vat {
        lines.push(format!("P.IVA {}{}", vat.country, vat.code));
    }
    if let Some(code) = &party.tax_code {
        lines.push(format!("C.F. {code}"));
    }
    if let Some(address) = &party.address {
        let number = address.number.as_deref().unwrap_or_default();
        lines.push(format!("{} {number}", address.street).trim().to_owned());
        let province = address.province.as_ref().map(|p| format!(" ({p})")).unwrap_or_default();
        lines.push(format!("{} {}{province} {}", address.postcode, address.town, address.country));
    }
    if let Some(regime) = &party.regime {
        lines.push(format!("Regime fiscale {}", words::named(regime, words::regime(regime))));
    }
    if let Some(register) = &party.register {
        lines.push(format!("REA {register}"));
    }
    lines.extend(party.contacts.iter().cloned());
    if let Some(representative) = representative {
        lines.push(format!("Rappresentante fiscale: {}", representative.name));
    }
    lines.retain(|line| !line.is_empty());
    lines
}

fn references(invoice: &Invoice) -> Section {
    let mut rows: Vec<Vec<String>> = invoice
        .references
        .iter()
        .map(|reference| {
            let kind = match reference.kind {
                ReferenceKind::Order => "Ordine d'acquisto",
                ReferenceKind::Contract => "Contratto",
                ReferenceKind::Agreement => "Convenzione",
                ReferenceKind::Receipt => "Ricezione",
                ReferenceKind::Invoice => "Fattura collegata",
            };
            vec![
                kind.to_owned(),
                reference.document.clone(),
                reference.date.map(crate::Date::italian_text).unwrap_or_default(),
                reference.cup.clone().unwrap_or_default(),
                reference.cig.clone().unwrap_or_default(),
            ]
        })
        .collect();
    rows.extend(invoice.delivery_notes.iter().map(|note| {
        let date = note.date.map(crate::Date::italian_text).unwrap_or_default();
        vec![
            "Documento di trasporto".to_owned(),
            note.number.clone(),
            date,
            String::new(),
            String::new(),
        ]
    }));
    let columns = vec![
        left("Riferimento", 28),
        left("Numero", 24),
        left("Data", 14),
        left("CUP", 17),
        left("CIG", 17),
    ];
    Section { title: "Riferimenti", columns, rows }
}

fn lines(file: &InvoiceFile, invoice: &Invoice) -> Section {
    let is_simplified = file.format == crate::invoice::Format::FSM10;
    let rows = invoice
        .lines
        .iter()
        .map(|line| {
            let mut description = line.description.clone();
            for (kind, value) in &line.articles {
                description.push_str(&format!(" [{kind} {value}]"));
            }
            if let (Some(from), Some(to)) = (line.from, line.to) {
                description.push_str(&format!(
                    " dal {} al {}",
                    from.italian_text(),
                    to.italian_text()
                ));
            }
            for other in &line.other {
                description.push_str(&format!(" ({other})"));
            }
            let rate = line.rate.map(percent).unwrap_or_default();
            let nature = line.nature.as_deref().unwrap_or_default();
            let discounts: Vec<String> = line
                .discounts
                .iter()
                .map(|d| {
                    let sign = if d.is_surcharge { "+" } else { "-" };
                    match (d.amount, d.percent) {
                        (Some(amount), _) => format!("{sign}{}", money(amount)),
                        (None, Some(rate)) => format!("{sign}{}", percent(rate)),
                        (None, None) => String::new(),
                    }
                })
                .collect();
            if is_simplified {
                let tax = line.tax.map(money).unwrap_or_default();
                return vec![
                    line.number.clone(),
                    description,
                    tax,
                    format!("{rate} {nature}"),
                    money(line.total),
                ];
            }
            vec![
                line.number.clone(),
                description,
                line.quantity.map(plain).unwrap_or_default(),
                line.unit.clone().unwrap_or_default(),
                line.unit_price.map(money).unwrap_or_default(),
                discounts.join(" "),
                format!("{rate} {nature}").trim().to_owned(),
                money(line.total),
            ]
        })
        .collect();
    let columns = if is_simplified {
        vec![
            right("N.", 5),
            left("Descrizione", 50),
            right("Imposta", 15),
            right("IVA", 12),
            right("Importo", 18),
        ]
    } else {
        vec![
            right("N.", 5),
            left("Descrizione", 35),
            right("Quantità", 10),
            left("UM", 6),
            right("Prezzo", 12),
            right("Sconto", 10),
            right("IVA", 9),
            right("Totale", 13),
        ]
    };
    Section { title: "Beni e servizi", columns, rows }
}

fn funds(invoice: &Invoice) -> Section {
    let rows = invoice.funds.iter().map(|fund| {
        let base = fund.base.map(money).unwrap_or_default();
        let vat =
            format!("{} {}", percent(fund.vat_rate), fund.nature.as_deref().unwrap_or_default());
        vec![
            fund.kind.clone(),
            percent(fund.rate),
            base,
            vat.trim().to_owned(),
            money(fund.contribution),
        ]
    });
    let rows = rows.collect();
    let columns = vec![
        left("Cassa", 28),
        right("Aliquota", 14),
        right("Imponibile", 20),
        right("IVA", 18),
        right("Contributo", 20),
    ];
    Section { title: "Cassa previdenziale", columns, rows }
}

fn discounts(invoice: &Invoice) -> Section {
    let rows = invoice.discounts.iter().map(|d| {
        let kind = if d.is_surcharge { "Maggiorazione" } else { "Sconto" };
        let rate = d.percent.map(percent).unwrap_or_default();
        vec![kind.to_owned(), rate, d.amount.map(money).unwrap_or_default()]
    });
    let rows = rows.collect();
    let columns = vec![left("", 50), right("Percentuale", 25), right("Importo", 25)];
    Section { title: "Sconti e maggiorazioni sul documento", columns, rows }
}

fn vat(invoice: &Invoice) -> Section {
    let rows = invoice.vat.iter().map(|row| {
        let nature = row.nature.as_deref().map(|n| words::named(n, words::nature(n)));
        let law = row.law.clone().unwrap_or_default();
        let due = match row.due.as_deref() {
            Some("I") => "immediata",
            Some("D") => "differita",
            Some("S") => "scissione dei pagamenti",
            _ => "",
        };
        let about = [nature.unwrap_or_default(), law, due.to_owned()];
        let about: Vec<_> = about.into_iter().filter(|part| !part.is_empty()).collect();
        vec![
            percent(row.rate),
            about.join(" - "),
            row.rounding.map(money).unwrap_or_default(),
            money(row.taxable),
            money(row.tax),
        ]
    });
    let rows = rows.collect();
    let columns = vec![
        right("Aliquota", 10),
        left("Natura, norma, esigibilità", 44),
        right("Arrotond.", 12),
        right("Imponibile", 17),
        right("Imposta", 17),
    ];
    Section { title: "Riepilogo IVA", columns, rows }
}

fn withholdings(invoice: &Invoice) -> Section {
    let rows = invoice
        .withholdings
        .iter()
        .map(|w| vec![w.kind.clone(), w.reason.clone(), percent(w.rate), money(w.amount)]);
    let rows = rows.collect();
    let columns = vec![
        left("Ritenuta", 30),
        left("Causale", 25),
        right("Aliquota", 20),
        right("Importo", 25),
    ];
    Section { title: "Ritenute", columns, rows }
}

fn payments(invoice: &Invoice) -> Section {
    let rows = invoice.payments.iter().map(|payment| {
        let mut how = words::named(&payment.method, words::payment(&payment.method));
        let parts = [&payment.bank, &payment.beneficiary, &payment.code];
        for part in parts.into_iter().flatten() {
            how.push_str(&format!(", {part}"));
        }
        let due = payment.due.map(crate::Date::italian_text).unwrap_or_default();
        let iban = payment.iban.clone().unwrap_or_default();
        vec![how, iban, due, money(payment.amount)]
    });
    let rows = rows.collect();
    let columns =
        vec![left("Modalità", 36), left("IBAN", 32), left("Scadenza", 14), right("Importo", 18)];
    Section { title: "Pagamento", columns, rows }
}

/// An amount as Italians write it, with at least two decimals: `1.234,50`.
fn money(amount: Decimal) -> String {
    let mut amount = amount.normalize();
    if amount.scale() < 2 {
        amount.rescale(2);
    }
    plain_text(&amount.to_string())
}

fn plain(amount: Decimal) -> String {
    plain_text(&amount.normalize().to_string())
}

fn percent(rate: Decimal) -> String {
    format!("{}%", plain(rate))
}

fn plain_text(number: &str) -> String {
    let (sign, digits) = number.strip_prefix('-').map_or(("", number), |rest| ("-", rest));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let mut text = String::from(sign);
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place) % 3 == 0 {
            text.push('.');
        }
        text.push(digit);
    }
    if !part.is_empty() {
        text.push(',');
        text.push_str(part);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_italian() {
        let check = |text: &str, shown| assert_eq!(money(text.parse().unwrap()), shown);
        check("1234567.5", "1.234.567,50");
        check("-0.125", "-0,125");
        check("100", "100,00");
    }
}
