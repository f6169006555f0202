//! Invoices that a receiver has, named by the bundle that brought them (PROTOCOL.md section 3.2).
//!
//! Of what a status change says, once it stands among others, four fifths are the invoice's id: 15
//! random bytes. Whoever has the invoice knows them, and changes come nearly in the order in which
//! the invoices did.

use std::collections::BTreeMap;

use super::{at_most, number, part, put};
use crate::{
    chunk::reader::Reader,
    fault::Fault,
    id::{DocumentId, LogId, Seq},
    limits,
};

/// What the documents about one invoice share of their ids.
pub type InvoiceId = [u8; DocumentId::ABOUT_BYTES];

/// A bundle that brought an invoice: the first that it tells of.
pub type Reference = (LogId, Seq);

/// Invoices that the receiver has.
pub type Known = BTreeMap<InvoiceId, Reference>;

/// Adds references of a run of log `own`, in their order.
pub(super) fn put_references(references: &[Reference], own: LogId, sheet: &mut Vec<u8>) {
    let mut others: Vec<_> = references.iter().map(|(log, _)| *log).collect();
    others.retain(|log| *log != own);
    others.sort_unstable();
    others.dedup();
    put(sheet, others.len() as u64);
    others.iter().for_each(|log| sheet.extend_from_slice(log.as_bytes()));
    put(sheet, references.len() as u64);
    for (log, _) in references {
        put(sheet, others.binary_search(log).map_or(0, |at| at as u64 + 1));
    }
    let mut before = 0;
    for (_, seq) in references {
        let step = seq.wrapping_sub(before).cast_signed();
        put(sheet, (step << 1 ^ step >> 63).cast_unsigned());
        before = *seq;
    }
}

/// Reads what [`put_references`] added to a run of log `own`.
pub(super) fn read_references(
    reader: &mut Reader<'_>,
    own: LogId,
) -> Result<Vec<Reference>, Fault> {
    let mut logs = vec![own];
    for _ in 0..at_most(number(reader)?, limits::RUN_REFERENCES_MAX)? {
        let log = part(reader, 16)?.try_into().map_err(|_| Fault::Malformed)?;
        logs.push(LogId::from_bytes(log));
    }
    let mut references = Vec::new();
    for _ in 0..at_most(number(reader)?, limits::RUN_REFERENCES_MAX)? {
        let log = logs.get(number(reader)?).ok_or(Fault::Malformed)?;
        references.push((*log, 0));
    }
    let mut before: Seq = 0;
    for (_, seq) in &mut references {
        let step = reader.u64().map_err(|_| Fault::Malformed)?;
        before = before.wrapping_add(step >> 1 ^ (step & 1).wrapping_neg());
        *seq = before;
    }
    Ok(references)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_places_come_back(places in prop::collection::vec((0_u8..3, any::<Seq>()), 0..40)) {
            let places = places.into_iter().map(|(log, seq)| (LogId::from_bytes([log; 16]), seq));
            let places: Vec<_> = places.collect();
            let mut sheet = Vec::new();
            let own = LogId::from_bytes([1; 16]);
            put_references(&places, own, &mut sheet);
            let mut reader = Reader(&sheet);
            prop_assert_eq!(read_references(&mut reader, own), Ok(places));
            prop_assert!(reader.0.is_empty());
        }
    }

    #[test]
    fn what_comes_in_order_is_ones() {
        let (log, own) = (LogId::from_bytes([9; 16]), LogId::from_bytes([10; 16]));
        let mut sheet = Vec::new();
        put_references(&[(log, 7), (log, 8), (own, 9), (log, 8)], own, &mut sheet);
        assert_eq!(sheet, [&[1][..], &[9; 16], &[4, 1, 1, 0, 1, 14, 2, 2, 1]].concat());
    }
}
