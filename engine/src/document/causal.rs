//! In which order changes apply: each after those it was made upon.
//!
//! It reads headers only. A change that comes twice counts once, and one that depends on a
//! change which is not here waits.

use std::collections::BTreeMap;

use crate::chunk::{self, Header};

/// Places of changes in the list they came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Order {
    /// Those that can be applied, in an order in which they can.
    pub(super) ready: Vec<usize>,
    /// Those that cannot yet.
    pub(super) waiting: Vec<usize>,
    /// Hashes by place; empty where nothing depends on anything (a single change).
    pub(super) hashes: Vec<[u8; 32]>,
}

impl Order {
    /// Orders `changes`, whose headers are `headers`.
    pub(super) fn of(changes: &[&[u8]], headers: &[Header<'_>]) -> Self {
        // Most documents are one change, and nearly all of those depend on nothing.
        if let [header] = headers {
            return match header.deps().len() {
                0 => Self { ready: vec![0], ..Self::default() },
                _ => Self { waiting: vec![0], ..Self::default() },
            };
        }
        let hashes: Vec<_> = changes.iter().map(|change| chunk::hash(change)).collect();
        let mut places = BTreeMap::new();
        for (place, hash) in hashes.iter().enumerate() {
            places.entry(*hash).or_insert(place);
        }
        // How many changes each waits for, and who waits for each: Kahn's algorithm.
        let mut missing = vec![0_usize; headers.len()];
        let mut followers: Vec<Vec<usize>> = vec![Vec::new(); headers.len()];
        let mut ready = Vec::new();
        for place in places.values().copied() {
            for dep in headers[place].deps() {
                missing[place] += 1;
                // A change that is not here never comes off the count.
                if let Some(before) = places.get(&dep) {
                    followers[*before].push(place);
                }
            }
            if missing[place] == 0 {
                ready.push(place);
            }
        }
        let mut next = 0;
        while let Some(place) = ready.get(next).copied() {
            next += 1;
            for follower in std::mem::take(&mut followers[place]) {
                missing[follower] -= 1;
                if missing[follower] == 0 {
                    ready.push(follower);
                }
            }
        }
        let mut waiting: Vec<_> =
            places.into_values().filter(|place| missing[*place] > 0).collect();
        waiting.sort_unstable();
        Self { ready, waiting, hashes }
    }
}
