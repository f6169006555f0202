//! How often somebody may be wrong: by account, by address, by certificate, by code.
//!
//! A leaky bucket each: so many failures at once, then one per interval. Whoever is over it is
//! told to wait before any password is hashed.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use engine::id::{PeerId, VatNumber};

/// Whose failures are counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// An account's.
    User(String),
    /// An address's.
    Address(IpAddr),
    /// A certificate's.
    Peer(PeerId),
    /// Those of the code sent for a P.IVA.
    Code(VatNumber),
}

impl Key {
    /// Failures at once, and how long one takes to be forgotten.
    const fn allowance(&self) -> (f64, Duration) {
        match self {
            Self::User(_) => (5.0, Duration::from_secs(60)),
            // An office has one address and many people.
            Self::Address(_) => (30.0, Duration::from_secs(10)),
            Self::Peer(_) => (15.0, Duration::from_secs(20)),
            Self::Code(_) => (5.0, Duration::from_secs(600)),
        }
    }
}

/// Buckets kept: above it the emptiest go.
const BUCKETS_MAX: usize = 20_000;

struct Bucket {
    level: f64,
    at: Instant,
}

/// The buckets.
#[derive(Default)]
pub struct Throttle {
    buckets: Mutex<HashMap<Key, Bucket>>,
}

impl Throttle {
    /// How long `keys` must wait, if any of them must.
    pub fn wait(&self, keys: &[Key], now: Instant) -> Option<Duration> {
        let buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = keys.iter().filter_map(|key| {
            let (most, interval) = key.allowance();
            let over = level(key, buckets.get(key)?, now) - (most - 1.0);
            (over > 0.0).then(|| interval.mul_f64(over))
        });
        waits.max()
    }

    /// Counts a failure of each of `keys`.
    pub fn failed(&self, keys: &[Key], now: Instant) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys {
            let level = buckets.get(key).map_or(0.0, |bucket| level(key, bucket, now)) + 1.0;
            buckets.insert(key.clone(), Bucket { level, at: now });
        }
        if buckets.len() > BUCKETS_MAX {
            buckets.retain(|key, bucket| level(key, bucket, now) > 1.0);
        }
        if buckets.len() > BUCKETS_MAX {
            // More than can be told apart; the addresses and certificates come back at once.
            buckets.clear();
        }
    }

    /// Forgets the failures of `key`: it was right.
    pub fn right(&self, key: &Key) {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

fn level(key: &Key, bucket: &Bucket, now: Instant) -> f64 {
    let leaked = now.duration_since(bucket.at).as_secs_f64() / key.allowance().1.as_secs_f64();
    (bucket.level - leaked).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_wrong_passwords_are_one_too_many_for_a_minute() {
        let throttle = Throttle::default();
        let (user, start) = (Key::User("rossi".into()), Instant::now());
        let keys = [user.clone(), Key::Address("10.0.0.1".parse().unwrap())];
        for _ in 0..5 {
            assert_eq!(throttle.wait(&keys, start), None);
            throttle.failed(&keys, start);
        }
        assert!(throttle.wait(&keys, start).is_some());
        assert_eq!(throttle.wait(&keys[1..], start), None, "the office goes on");
        assert_eq!(throttle.wait(&[Key::User("verdi".into())], start), None);
        assert_eq!(throttle.wait(&keys, start + Duration::from_secs(61)), None);
        throttle.right(&user);
        assert_eq!(throttle.wait(&keys, start), None);
    }
}
