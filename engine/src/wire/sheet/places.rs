//! Bodies that are alike, byte under byte (PROTOCOL.md section 3.1).
//!
//! A status change is some hundred bytes of which ten say something, and to zstd each body is one
//! more text in which it has to find what repeats, and say so. Bodies of one length have the same
//! field in the same place: laid out place by place, what never changes is a row of zeros, and a
//! time that goes on is a row of small numbers. So do stores of measurements (the shuffle filter of
//! HDF5 and Blosc, BYTE_STREAM_SPLIT of Parquet).

use std::collections::BTreeMap;

use super::{at_most, number, part, put};
use crate::{chunk::reader::Reader, fault::Fault};

/// Of fewer bodies of one length zstd makes as little.
const ALIKE_MIN: usize = 8;
/// Bodies are alike if at most one place in so many ever changes. Where texts of any length stand,
/// as in what is said of an invoice, bodies are of one length by chance, and one place is many fields.
const PLACES_A_CHANGING_ONE: usize = 3;

/// Adds what is left of the bodies.
pub(super) fn put_rests(rests: &[Vec<u8>], sheet: &mut Vec<u8>) {
    let mut alike: BTreeMap<usize, Vec<&[u8]>> = BTreeMap::new();
    for rest in rests {
        alike.entry(rest.len()).or_default().push(rest);
    }
    alike.retain(|_, rests| are_alike(rests));
    put(sheet, alike.len() as u64);
    alike.keys().for_each(|len| put(sheet, *len as u64));
    for (len, rests) in &alike {
        sheet.extend_from_slice(rests[0]);
        for place in 0..*len {
            sheet.extend(rests.windows(2).map(|two| two[1][place].wrapping_sub(two[0][place])));
        }
    }
    for rest in rests.iter().filter(|rest| !alike.contains_key(&rest.len())) {
        sheet.extend_from_slice(rest);
    }
}

fn are_alike(rests: &[&[u8]]) -> bool {
    let (first, behind) = (rests[0], &rests[1..]);
    let changes = |place: &usize| behind.iter().any(|rest| rest[*place] != first[*place]);
    rests.len() >= ALIKE_MIN
        && (0..first.len()).filter(changes).count() * PLACES_A_CHANGING_ONE <= first.len()
}

/// Reads what [`put_rests`] added, of these lengths; one behind the other.
pub(super) fn read_rests(reader: &mut Reader<'_>, lens: &[usize]) -> Result<Vec<u8>, Fault> {
    let mut alike: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for _ in 0..at_most(number(reader)?, lens.len())? {
        alike.insert(number(reader)?, Vec::new());
    }
    let (mut end, mut others) = (0, Vec::new());
    for len in lens {
        match alike.get_mut(len) {
            Some(starts) => starts.push(end),
            None => others.push(end..end + len),
        }
        end += len;
    }
    let mut rests = vec![0; end];
    for (len, starts) in &alike {
        let (first, behind) = starts.split_first().ok_or(Fault::Malformed)?;
        rests[*first..first + len].copy_from_slice(part(reader, *len)?);
        for place in 0..*len {
            let mut byte = rests[first + place];
            for (start, more) in behind.iter().zip(part(reader, behind.len())?) {
                byte = byte.wrapping_add(*more);
                rests[start + place] = byte;
            }
        }
    }
    for other in others {
        let len = other.len();
        rests[other].copy_from_slice(part(reader, len)?);
    }
    Ok(rests)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether any are laid out by places, and how long the sheet is.
    fn there_and_back(rests: &[Vec<u8>]) -> (bool, usize) {
        let mut sheet = Vec::new();
        put_rests(rests, &mut sheet);
        let lens: Vec<_> = rests.iter().map(Vec::len).collect();
        let mut reader = Reader(&sheet);
        assert_eq!(read_rests(&mut reader, &lens), Ok(rests.concat()));
        assert!(reader.0.is_empty());
        (sheet[0] > 0, sheet.len())
    }

    #[test]
    fn what_never_changes_is_zeros_and_what_counts_is_ones() {
        let rests: Vec<_> = (250..=255).chain(0..=3).map(|n| vec![7, 8, n, 9]).collect();
        let mut sheet = Vec::new();
        put_rests(&rests, &mut sheet);
        let zeros = [0; 9];
        let expected = [&[1, 4, 7, 8, 250, 9][..], &zeros, &zeros, &[1; 9], &zeros].concat();
        assert_eq!(sheet, expected);
        there_and_back(&rests);
    }

    #[test]
    fn few_and_unlike_ones_stay_as_they_are() {
        let few: Vec<_> = (1..ALIKE_MIN as u8).map(|n| vec![1, 2, n]).collect();
        assert_eq!(there_and_back(&few), (false, 1 + 3 * few.len()));
        let unlike: Vec<_> = (0..20).map(|n| vec![n, n, 1]).collect();
        assert_eq!(there_and_back(&unlike), (false, 1 + 3 * 20));
        // Beside those that are alike, in any order.
        let mixed: Vec<_> = (0..30).map(|n| vec![n; if n % 3 == 0 { 5 } else { 2 }]).collect();
        let alike = (0..10).flat_map(|n| [vec![0, 0, n], mixed[n as usize].clone()]);
        assert!(there_and_back(&alike.collect::<Vec<_>>()).0);
        assert_eq!(there_and_back(&[]), (false, 1));
        assert_eq!(there_and_back(&vec![vec![]; 9]), (true, 2));
    }

    #[test]
    fn lengths_that_no_body_has_are_refused() {
        for (sheet, lens) in [
            (&[1, 4][..], &[3, 3][..]),
            (&[3, 1, 2, 3], &[1, 2]),
            (&[1, 3, 1, 1], &[3]),
            (&[1, 3, 1, 1, 1], &[3, 3]),
            (&[0, 1], &[2]),
            (&[1], &[2]),
        ] {
            assert_eq!(read_rests(&mut Reader(sheet), lens), Err(Fault::Malformed), "{sheet:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bodies_come_back(
            rests in prop::collection::vec(prop::collection::vec(0_u8..3, 0..6), 0..60)
        ) {
            there_and_back(&rests);
        }
    }
}
