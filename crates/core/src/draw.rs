//! Chance and order, both owned by the caller: a seeded generator and a shared ticket.
//!
//! Invariants: the same seed gives the same numbers in every release (golden vectors below); drawing never
//! allocates. Limits: the generator is for spreading load, not for secrets.

use std::sync::atomic::{AtomicU64, Ordering};

/// A small seeded generator: xoshiro256++, its state filled by `SplitMix64` as its authors advise
/// (Blackman and Vigna, "Scrambled Linear Pseudorandom Number Generators", 2021).
///
/// One per worker or shard; two with different seeds are independent for all practical purposes.
#[derive(Clone, Debug)]
pub struct Draw {
    state: [u64; 4],
}

impl Draw {
    /// A generator whose whole sequence follows from `seed`; any seed is good, zero included.
    pub fn new(seed: u64) -> Self {
        let mut mixer = seed;
        let state = std::array::from_fn(|_| split_mix(&mut mixer));
        Self { state }
    }

    /// The next 64 uniform bits.
    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.state;
        let drawn = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let shifted = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= shifted;
        s[3] = s[3].rotate_left(45);
        drawn
    }

    /// A uniform number below `n`; zero where `n` is zero.
    ///
    /// Multiply and shift over 64 bits: no value is more likely than another by more than `n` / 2^64.
    pub fn below(&mut self, n: u32) -> u32 {
        self.below_wide(u64::from(n)) as u32
    }

    /// As [`Self::below`] for sums of weights; the bias stays under `n` / 2^64.
    pub(crate) fn below_wide(&mut self, n: u64) -> u64 {
        scale(self.next_u64(), n)
    }
}

/// Maps 64 uniform bits, read as a fraction of one, onto `0..n`.
pub(crate) fn scale(bits: u64, n: u64) -> u64 {
    ((u128::from(bits) * u128::from(n)) >> 64) as u64
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A counter that every thread of a cluster shares, so that round robin is one sequence and not one per
/// worker.
///
/// It stands on cache lines of its own: it is the one word that every pick of a cluster writes.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Ticket {
    next: AtomicU64,
}

impl Ticket {
    /// The next number, starting at zero, each given out once; wraps after 2^64.
    pub fn take(&self) -> u64 {
        // Relaxed: the number orders picks among themselves and publishes nothing else.
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_generator_is_xoshiro256_plus_plus() {
        // The first ten outputs of the reference implementation from the state 1, 2, 3, 4.
        let mut draw = Draw { state: [1, 2, 3, 4] };
        let expected: [u64; 10] = [
            41_943_041,
            58_720_359,
            3_588_806_011_781_223,
            3_591_011_842_654_386,
            9_228_616_714_210_784_205,
            9_973_669_472_204_895_162,
            14_011_001_112_246_962_877,
            12_406_186_145_184_390_807,
            15_849_039_046_786_891_736,
            10_450_023_813_501_588_000,
        ];
        assert_eq!(expected, std::array::from_fn(|_| draw.next_u64()));
    }

    #[test]
    fn the_seed_is_spread_by_split_mix() {
        let expected: [u64; 4] = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
        ];
        assert_eq!(expected, Draw::new(1_234_567).state);
    }

    #[test]
    fn tickets_are_consecutive_from_zero() {
        let ticket = Ticket::default();
        assert_eq!([0, 1, 2], std::array::from_fn(|_| ticket.take()));
    }

    #[test]
    fn below_is_uniform() {
        // 60,000 draws over 6 values: the standard deviation of a count is 91; 500 is over five of them.
        let mut draw = Draw::new(7);
        let mut counts = [0_i64; 6];
        for _ in 0..60_000 {
            counts[draw.below(6) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (count - 10_000).abs() < 500), "{counts:?}");
    }

    proptest! {
        #[test]
        fn below_stays_below(seed: u64, n in 1_u32..) {
            prop_assert!(Draw::new(seed).below(n) < n);
        }
    }
}
