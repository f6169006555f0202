//! What a replica holds of a space: for each log, how far. Finding what two replicas
//! differ in costs one comparison, whatever number of documents they hold.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    bundle::ChainHash,
    id::{LogId, Seq, VatNumber},
};

/// {log -> last bundle held}, every earlier bundle included. A log that is not listed is
/// at 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vector(BTreeMap<LogId, Seq>);

impl Vector {
    /// How far `log` is held.
    #[must_use]
    pub fn get(&self, log: &LogId) -> Seq {
        self.0.get(log).copied().unwrap_or(0)
    }

    /// Notes that `log` is held up to `seq`. A vector never goes back; returns whether it moved.
    pub fn raise(&mut self, log: LogId, seq: Seq) -> bool {
        if seq <= self.get(&log) {
            return false;
        }
        self.0.insert(log, seq);
        true
    }

    /// Notes that `log` is held up to `seq` only: the peer lost what it had (a restored store).
    pub fn lower(&mut self, log: LogId, seq: Seq) {
        if seq < self.get(&log) {
            self.0.insert(log, seq);
        }
    }

    /// The logs, in order.
    pub fn iter(&self) -> impl Iterator<Item = (LogId, Seq)> + '_ {
        self.0.iter().map(|(log, seq)| (*log, *seq))
    }

    /// Number of logs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bundles that `self` holds and `other` does not. Saturates: a peer may claim any number.
    #[must_use]
    pub fn ahead_of(&self, other: &Self) -> u64 {
        let ahead = self.iter().map(|(log, seq)| seq.saturating_sub(other.get(&log)));
        ahead.fold(0, u64::saturating_add)
    }
}

impl FromIterator<(LogId, Seq)> for Vector {
    fn from_iter<I: IntoIterator<Item = (LogId, Seq)>>(pairs: I) -> Self {
        let mut vector = Self::default();
        for (log, seq) in pairs {
            vector.raise(log, seq);
        }
        vector
    }
}

/// 16 bytes that are equal on two replicas that hold the same bundles of a space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest(pub [u8; 16]);

impl Digest {
    /// The digest of a space: of each log, in order, how far and the chain hash there. The
    /// chain hash stands for every bundle before it, so this is O(logs).
    #[must_use]
    pub fn of_space<'a>(logs: impl Iterator<Item = (&'a LogId, Seq, &'a ChainHash)>) -> Self {
        let mut hasher = Sha256::new();
        for (log, seq, hash) in logs {
            hasher.update(log.as_bytes());
            hasher.update(seq.to_be_bytes());
            hasher.update(hash.0);
        }
        Self::cut(hasher)
    }

    /// The digest of many spaces.
    #[must_use]
    pub fn of_root<'a>(spaces: impl Iterator<Item = (VatNumber, &'a Self)>) -> Self {
        let mut hasher = Sha256::new();
        for (tenant, digest) in spaces {
            hasher.update(tenant.as_u64().to_be_bytes());
            hasher.update(digest.0);
        }
        Self::cut(hasher)
    }

    fn cut(hasher: Sha256) -> Self {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.finalize()[..16]);
        Self(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_only_rises_and_counts_what_another_lacks() {
        let (a, b) = (LogId::from_bytes([1; 16]), LogId::from_bytes([2; 16]));
        let mut ours: Vector = [(a, 5), (b, 2)].into_iter().collect();
        assert!(!ours.raise(a, 4));
        assert_eq!(ours.get(&a), 5);
        let theirs: Vector = [(a, 3), (b, 9)].into_iter().collect();
        assert_eq!(ours.ahead_of(&theirs), 2);
        assert_eq!(theirs.ahead_of(&ours), 7);
        let liar: Vector = [(a, u64::MAX), (b, u64::MAX)].into_iter().collect();
        assert_eq!(liar.ahead_of(&ours), u64::MAX, "and does not overflow");
    }

    #[test]
    fn the_digest_tells_histories_of_one_length_apart() {
        let log = LogId::from_bytes([1; 16]);
        let digest = |hash| Digest::of_space([(&log, 5, &ChainHash([hash; 32]))].into_iter());
        assert_ne!(digest(1), digest(2));
    }
}
