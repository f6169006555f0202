//! A disk that returns other bytes than were written: an error or what was written, no panic.

use std::{fs, path::Path};

use engine::store::{Store as _, StoreError, Table};
use node::truth::{Truth, TruthOptions};

use crate::{bundle, open, options, value};

const BUNDLES: u32 = 300;

fn model(dir: &Path) -> Vec<u8> {
    let truth = open(dir);
    for n in 1..=BUNDLES {
        truth.apply(bundle(n)).unwrap();
        if n % 10 == 0 {
            truth.barrier().unwrap();
        }
    }
    drop(truth);
    fs::read(dir.join("truth.redb")).unwrap()
}

/// Flipped bits, zeroed pages and lost ends all over the file, its header most.
fn damage(case: usize, whole: &[u8]) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    let spread = case.wrapping_mul(2_654_435_761) % whole.len();
    let at = if case.is_multiple_of(3) { spread % 512 } else { spread };
    match case % 4 {
        0 | 1 => bytes[at] ^= 1 << (case / 4 % 8),
        2 => bytes.iter_mut().skip(at / 4096 * 4096).take(4096).for_each(|byte| *byte = 0),
        _ => bytes.truncate(at),
    }
    bytes
}

fn damaged(options: TruthOptions, mut found: impl FnMut(usize, u32, Option<Vec<u8>>)) -> usize {
    let home = tempfile::tempdir().unwrap();
    let whole = model(&home.path().join("model"));
    let mut refused = 0;
    for case in 0..240 {
        let dir = home.path().join(format!("{case}"));
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("truth.redb"), damage(case, &whole)).unwrap();
        match Truth::open(&dir, options) {
            Ok(truth) => {
                for n in 1..=BUNDLES {
                    if let Ok(value) = truth.get(Table::Bundles, &n.to_be_bytes()) {
                        found(case, n, value);
                    }
                }
                let _ = truth.last(Table::Bundles, &[], &[255; 5]);
                let _ = truth.apply(bundle(BUNDLES + 1)).and_then(|()| truth.barrier());
            }
            Err(StoreError::Damaged { .. } | StoreError::Io { .. }) => refused += 1,
            Err(other) => panic!("case {case}: {other}"),
        }
        fs::remove_dir_all(dir).unwrap();
    }
    refused
}

#[test]
fn a_small_store_is_checked_when_opened_so_what_it_gives_is_right() {
    let mut gone = None;
    let refused = damaged(options(), |case, n, found| match found {
        // It went back to the last state that is whole: an end is missing, nothing between.
        None => gone = Some((case, gone.map_or(n, |(c, first)| if c == case { first } else { n }))),
        Some(found) => {
            assert!(gone.is_none_or(|(c, _)| c != case), "case {case}: {n} is beyond a gap");
            assert!(found == value(n), "case {case}: bundle {n} differs");
        }
    });
    assert!(refused > 20, "the damage was real: {refused}");
}

#[test]
fn a_store_too_large_to_check_still_never_panics() {
    damaged(TruthOptions { check_on_open_bytes_max: 0, ..options() }, |_, _, _| {});
}
