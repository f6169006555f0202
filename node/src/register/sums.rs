//! What a selection of invoices adds up to.

use std::{collections::BTreeMap, str::FromStr as _};

use engine::document::invoice::InvoiceContent;
use rust_decimal::Decimal;

/// Three letters of ISO 4217, `EUR`.
pub type Currency = [u8; 3];

/// What one invoice adds to a sum.
#[derive(Clone, Copy, Debug, Default)]
pub struct Addend {
    currency: Currency,
    /// Less than nothing for a credit note; none where the invoice states no total that can be
    /// read.
    total: Option<Decimal>,
    credit: bool,
    batch: bool,
}

/// The sum of a selection, exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Files in the selection.
    pub invoices: usize,
    /// Credit notes among them (TD04, TD08), whose totals are taken away and not added.
    pub credit_notes: usize,
    /// Files among them that hold several invoices: of each the first alone is in the totals.
    pub batches: usize,
    /// What the totals add up to in each currency.
    pub totals: BTreeMap<Currency, Decimal>,
}

impl Addend {
    /// What this invoice adds.
    #[must_use]
    pub fn of(content: &InvoiceContent) -> Self {
        let credit = matches!(content.document_type.as_str(), "TD04" | "TD08");
        let total = Decimal::from_str(&content.total).ok();
        Self {
            currency: content.currency.as_bytes().try_into().unwrap_or(*b"???"),
            total: total.map(|total| if credit { -total } else { total }),
            credit,
            batch: content.bodies > 1,
        }
    }
}

impl Sums {
    /// Add one.
    pub fn add(&mut self, addend: &Addend) {
        self.invoices += 1;
        self.credit_notes += usize::from(addend.credit);
        self.batches += usize::from(addend.batch);
        if let Some(total) = addend.total {
            let sum = self.totals.entry(addend.currency).or_default();
            *sum = sum.saturating_add(total);
        }
    }
}
