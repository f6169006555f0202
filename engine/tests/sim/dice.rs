//! The only chance in a run: one stream of numbers from one seed.

use std::{ops::RangeInclusive, time::Duration};

/// SplitMix64 (Steele, Lea, Flood 2014): small, fast, and good enough to pick faults.
#[derive(Clone)]
pub struct Dice(u64);

impl Dice {
    /// The stream named `name` of `seed`: one more number drawn for the plan does not change
    /// what the network draws.
    pub fn new(seed: u64, name: &str) -> Self {
        let mut dice = Self(seed ^ 0x5745_5354_4146_4645);
        for byte in name.bytes() {
            dice.0 = dice.0.wrapping_add(u64::from(byte));
            dice.0 = dice.next();
        }
        dice
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `sides`; 0 when there are none.
    pub fn below(&mut self, sides: u64) -> u64 {
        self.next().checked_rem(sides).unwrap_or(0)
    }

    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    pub fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.below(range.end() - range.start() + 1)
    }

    pub fn permille(&mut self, chance: u64) -> bool {
        self.below(1_000) < chance
    }

    /// A duration between two, in milliseconds.
    pub fn ms(&mut self, range: RangeInclusive<u64>) -> Duration {
        let micros = range.start() * 1_000..=range.end() * 1_000;
        Duration::from_micros(self.within(micros))
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())]
    }

    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&self.next().to_le_bytes()[..part.len()]);
        }
        bytes
    }
}
