//! Checks on amounts: lines, taxes, taxable bases, discounts. Exact decimals; a product that no decimal
//! holds cannot equal an amount of the schema, and is reported as different.

use rust_decimal::Decimal;

use super::{Body, Findings};
use crate::invoice::{Discount, Line};

pub(super) fn judge(body: &Body<'_>, findings: &mut Findings<'_>) {
    for (place, discount) in body.invoice.discounts.iter().enumerate() {
        if discount.percent.is_none() && discount.amount.is_none() {
            let path = body.document(&format!("ScontoMaggiorazione[{}]", place + 1));
            findings.add("00437", path, "", None, Some("Percentuale o Importo".to_owned()));
        }
    }
    for (place, line) in body.invoice.lines.iter().enumerate() {
        for (discount, _) in empty(&line.discounts) {
            let path = body.line(place, &format!("ScontoMaggiorazione[{}]", discount + 1));
            let detail = format!("È la riga {}.", line.number);
            findings.add("00438", path, &detail, None, Some("Percentuale o Importo".to_owned()));
        }
        line_total(body, place, line, findings);
    }
    taxes(body, findings);
    taxable(body, findings);
}

fn empty(discounts: &[Discount]) -> impl Iterator<Item = (usize, &Discount)> {
    let is_empty = |d: &Discount| d.percent.is_none() && d.amount.is_none();
    discounts.iter().enumerate().filter(move |(_, d)| is_empty(d))
}

/// Unit price after discounts in cascade, times quantity (RULES.md, 00423).
pub(crate) fn line_amount(line: &Line) -> Option<Decimal> {
    let mut price = line.unit_price?;
    for discount in &line.discounts {
        let change = match (discount.amount, discount.percent) {
            (Some(amount), _) => amount,
            (None, Some(percent)) => {
                price.checked_mul(percent)?.checked_div(Decimal::ONE_HUNDRED)?
            }
            (None, None) => continue,
        };
        price = if discount.is_surcharge {
            price.checked_add(change)?
        } else {
            price.checked_sub(change)?
        };
    }
    price.checked_mul(line.quantity.unwrap_or(Decimal::ONE))
}

fn line_total(body: &Body<'_>, place: usize, line: &Line, findings: &mut Findings<'_>) {
    let Some(rule) = findings.rule("00423") else { return };
    if line.unit_price.is_none() {
        return;
    }
    let wanted = line_amount(line);
    let difference = wanted.and_then(|wanted| line.total.checked_sub(wanted));
    if difference.is_some_and(|difference| difference.abs() <= rule.tolerance()) {
        return;
    }
    let shown = wanted.map_or_else(|| "un altro importo".to_owned(), |w| w.normalize().to_string());
    let detail =
        format!("Alla riga {} è indicato {}, il calcolo dà {shown}.", line.number, line.total);
    let path = body.line(place, "PrezzoTotale");
    findings.add("00423", path, &detail, Some(line.total.to_string()), Some(shown));
}

fn taxes(body: &Body<'_>, findings: &mut Findings<'_>) {
    let Some(rule) = findings.rule("00421") else { return };
    for (place, row) in body.invoice.vat.iter().enumerate() {
        let wanted = row
            .rate
            .checked_mul(row.taxable)
            .and_then(|product| product.checked_div(Decimal::ONE_HUNDRED));
        let difference = wanted.and_then(|wanted| row.tax.checked_sub(wanted));
        if difference.is_some_and(|difference| difference.abs() <= rule.tolerance()) {
            continue;
        }
        let shown = wanted.map_or_else(String::new, |wanted| wanted.round_dp(2).to_string());
        let detail = format!(
            "Su {} al {}% è indicata {}, il calcolo dà {shown}.",
            row.taxable, row.rate, row.tax
        );
        let path = body.vat_row(place, "Imposta");
        findings.add("00421", path, &detail, Some(row.tax.to_string()), Some(shown));
    }
}

/// Code 00422. Rows belong together by rate, and at zero by Natura too; where a row at zero states no Natura
/// (00400, 00413, 00429) all rows at zero are taken together, so that one fault is told once.
fn taxable(body: &Body<'_>, findings: &mut Findings<'_>) {
    let Some(rule) = findings.rule("00422") else { return };
    let invoice = body.invoice;
    let rows = || {
        let lines = invoice.lines.iter().map(|l| (l.rate, l.nature.as_deref(), l.total));
        let funds =
            invoice.funds.iter().map(|f| (Some(f.vat_rate), f.nature.as_deref(), f.contribution));
        lines.chain(funds)
    };
    let is_zero = |rate: Option<Decimal>| rate.is_some_and(|rate| rate.is_zero());
    let is_vague = rows().any(|(rate, nature, _)| is_zero(rate) && nature.is_none())
        || invoice.vat.iter().any(|row| row.rate.is_zero() && row.nature.is_none());
    let mut groups: Vec<(Decimal, Option<&str>, usize, Decimal, Decimal)> = Vec::new();
    for (place, row) in invoice.vat.iter().enumerate() {
        let nature = row.nature.as_deref().filter(|_| row.rate.is_zero() && !is_vague);
        let rounding = row.rounding.unwrap_or_default();
        match groups.iter_mut().find(|group| group.0 == row.rate && group.1 == nature) {
            Some(group) => {
                group.3 = group.3.saturating_add(row.taxable);
                group.4 = group.4.saturating_add(rounding);
            }
            None => groups.push((row.rate, nature, place, row.taxable, rounding)),
        }
    }
    for (rate, nature, place, taxable, rounding) in groups {
        let belongs = |(r, n, _): &(Option<Decimal>, Option<&str>, Decimal)| {
            *r == Some(rate) && (!rate.is_zero() || is_vague || *n == nature)
        };
        let sum =
            rows().filter(belongs).fold(rounding, |sum, (_, _, amount)| sum.saturating_add(amount));
        if taxable.saturating_sub(sum).abs() > rule.tolerance() {
            let of =
                nature.map_or_else(|| format!("{rate}%"), |nature| format!("{rate}% {nature}"));
            let shown = sum.normalize();
            let detail = format!("All'aliquota {of} è indicato {taxable}, le righe danno {shown}.");
            let path = body.vat_row(place, "ImponibileImporto");
            findings.add(
                "00422",
                path,
                &detail,
                Some(taxable.to_string()),
                Some(shown.to_string()),
            );
        }
    }
}
