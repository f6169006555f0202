//! Checks on VAT rates and Natura, row by row: lines, funds, summary, and how they answer each other.

use rust_decimal::Decimal;

use super::{Body, Findings};

/// One row that bears VAT, wherever it stands.
struct Row<'i> {
    rate: Option<Decimal>,
    nature: Option<&'i str>,
    path: String,
    nature_path: String,
}

pub(super) fn judge(body: &Body<'_>, findings: &mut Findings<'_>) {
    let invoice = body.invoice;
    let rate_name = if body.is_simplified() { "DatiIVA/Aliquota" } else { "AliquotaIVA" };
    let lines: Vec<Row<'_>> = invoice
        .lines
        .iter()
        .enumerate()
        .map(|(place, line)| Row {
            rate: line.rate,
            nature: line.nature.as_deref(),
            path: body.line(place, rate_name),
            nature_path: body.line(place, "Natura"),
        })
        .collect();
    let funds: Vec<Row<'_>> = invoice
        .funds
        .iter()
        .enumerate()
        .map(|(place, fund)| Row {
            rate: Some(fund.vat_rate),
            nature: fund.nature.as_deref(),
            path: body.fund(place, "AliquotaIVA"),
            nature_path: body.fund(place, "Natura"),
        })
        .collect();
    let summary: Vec<Row<'_>> = invoice
        .vat
        .iter()
        .enumerate()
        .map(|(place, row)| Row {
            rate: Some(row.rate),
            nature: row.nature.as_deref(),
            path: body.vat_row(place, "AliquotaIVA"),
            nature_path: body.vat_row(place, "Natura"),
        })
        .collect();
    nature_beside_rate(&lines, "00400", "00401", findings);
    nature_beside_rate(&funds, "00413", "00414", findings);
    nature_beside_rate(&summary, "00429", "00430", findings);
    for row in lines.iter().chain(&funds).chain(&summary) {
        fraction(row, findings);
        generic_nature(body, row, findings);
    }
    for (place, row) in invoice.vat.iter().enumerate() {
        let nature = row.nature.as_deref().unwrap_or_default();
        if nature.starts_with("N6") && row.due.as_deref() == Some("S") {
            let detail = format!("La natura è {nature}.");
            let path = body.vat_row(place, "EsigibilitaIVA");
            findings.add("00420", path, &detail, Some("S".to_owned()), Some("I o D".to_owned()));
        }
    }
    withheld(body, findings);
    if !body.is_simplified() {
        let used: Vec<&Row<'_>> = lines.iter().chain(&funds).collect();
        rates_answer(&used, &summary, findings);
        natures_answer(&used, &summary, findings);
    }
}

fn nature_beside_rate(rows: &[Row<'_>], none: &str, both: &str, findings: &mut Findings<'_>) {
    for row in rows {
        match (row.rate, row.nature) {
            (Some(rate), None) if rate.is_zero() => {
                findings.add(none, row.nature_path.clone(), "", None, Some("Natura".to_owned()));
            }
            (Some(rate), Some(nature)) if !rate.is_zero() => {
                let detail = format!("L'aliquota è {rate}, la natura {nature}.");
                let found = Some(nature.to_owned());
                findings.add(both, row.nature_path.clone(), &detail, found, None);
            }
            _ => {}
        }
    }
}

fn fraction(row: &Row<'_>, findings: &mut Findings<'_>) {
    if let Some(rate) = row.rate.filter(|rate| *rate > Decimal::ZERO && *rate < Decimal::ONE) {
        let detail = format!("È indicato {rate}.");
        let percent = rate.checked_mul(Decimal::ONE_HUNDRED).map(|percent| percent.to_string());
        findings.add("00424", row.path.clone(), &detail, Some(rate.to_string()), percent);
    }
}

fn generic_nature(body: &Body<'_>, row: &Row<'_>, findings: &mut Findings<'_>) {
    let Some(rule) = findings.rule("00445") else { return };
    if let Some(nature) = row.nature.filter(|nature| rule.is_about(nature))
        && rule.holds_on(body.invoice.date)
    {
        let detail = format!("È indicato {nature}.");
        let expected = Some(format!("{nature}.x"));
        let path = row.nature_path.clone();
        findings.add("00445", path, &detail, Some(nature.to_owned()), expected);
    }
}

fn withheld(body: &Body<'_>, findings: &mut Findings<'_>) {
    let invoice = body.invoice;
    if !invoice.withholdings.is_empty() {
        return;
    }
    for (place, line) in invoice.lines.iter().enumerate().filter(|(_, line)| line.is_withheld) {
        let detail = format!("È la riga {}.", line.number);
        let path = body.line(place, "Ritenuta");
        findings.add("00411", path, &detail, Some("SI".to_owned()), None);
    }
    for (place, _) in invoice.funds.iter().enumerate().filter(|(_, fund)| fund.is_withheld) {
        findings.add("00415", body.fund(place, "Ritenuta"), "", Some("SI".to_owned()), None);
    }
}

/// Code 00419 for a rate without summary, 00443 for a summary whose rate nothing uses.
fn rates_answer(used: &[&Row<'_>], summary: &[Row<'_>], findings: &mut Findings<'_>) {
    let mut told = Vec::new();
    for row in used {
        let Some(rate) = row.rate else { continue };
        if !summary.iter().any(|other| other.rate == Some(rate)) && !told.contains(&rate) {
            told.push(rate);
            let detail = format!("È l'aliquota {rate}.");
            findings.add("00419", row.path.clone(), &detail, Some(rate.to_string()), None);
        }
    }
    for row in summary {
        let Some(rate) = row.rate else { continue };
        if !used.iter().any(|other| other.rate == Some(rate)) {
            let detail = format!("È l'aliquota {rate}.");
            findings.add("00443", row.path.clone(), &detail, Some(rate.to_string()), None);
        }
    }
}

/// Code 00444, both ways, among rows at zero that state a Natura; a row that states none has its own code.
fn natures_answer(used: &[&Row<'_>], summary: &[Row<'_>], findings: &mut Findings<'_>) {
    let zero = |row: &Row<'_>| row.rate.is_some_and(|rate| rate.is_zero());
    let uses_none = used.iter().any(|row| zero(row) && row.nature.is_none());
    let sums_none = summary.iter().any(|row| zero(row) && row.nature.is_none());
    let has_summary = summary.iter().any(zero);
    let has_use = used.iter().any(|row| zero(row));
    let mut told = Vec::new();
    let mut tell = |row: &Row<'_>, where_not: &str| {
        let Some(nature) = row.nature else { return };
        if told.contains(&(nature.to_owned(), where_not.to_owned())) {
            return;
        }
        told.push((nature.to_owned(), where_not.to_owned()));
        let detail = format!("{nature} non è presente {where_not}.");
        let path = row.nature_path.clone();
        findings.add("00444", path, &detail, Some(nature.to_owned()), None);
    };
    // Without any summary at zero the rate itself is missing: 00419 says so.
    if has_summary && !sums_none {
        for row in used.iter().filter(|row| zero(row) && row.nature.is_some()) {
            if !summary.iter().any(|other| other.nature == row.nature) {
                tell(row, "nel riepilogo");
            }
        }
    }
    if has_use && !uses_none {
        for row in summary.iter().filter(|row| zero(row) && row.nature.is_some()) {
            if !used.iter().any(|other| other.nature == row.nature) {
                tell(row, "nelle righe");
            }
        }
    }
}
