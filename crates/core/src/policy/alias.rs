//! The alias table: a draw by weight in constant time.
//!
//! After Vose, "A Linear Algorithm for Generating Random Numbers with a Given Distribution" (1991). Built
//! with integers, so that a weight of zero is never drawn. Invariants: one random word a draw; a share is
//! off by less than 2^-31 of the whole. Limits: at most 2^32 - 1 weights.

use crate::Draw;

/// A slot keeps its own place with chance `keep` / 2^32, else answers `other`.
#[derive(Clone, Copy, Debug)]
struct Slot {
    keep: u32,
    other: u32,
}

/// A compiled distribution over the places of a list of weights.
#[derive(Clone, Debug)]
pub(crate) struct Alias {
    slots: Box<[Slot]>,
}

impl Alias {
    /// Compiles `weights` in O(n). If all are zero, all are equal.
    pub(crate) fn new(weights: &[u32]) -> Self {
        let total: u128 = weights.iter().copied().map(u128::from).sum();
        // Every slot holds `total` of the weights times their number: the small are filled up by the large.
        // If all are zero none is small, and each slot stays its own.
        let mut left: Vec<u128> =
            weights.iter().map(|weight| u128::from(*weight) * weights.len() as u128).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..weights.len()).partition(|place| left[*place] < total);
        let mut slots: Box<[Slot]> =
            (0..weights.len() as u32).map(|place| Slot { keep: u32::MAX, other: place }).collect();
        while let (Some(poor), Some(rich)) = (small.pop(), large.last().copied()) {
            let keep = (left[poor] << 32) / total;
            slots[poor] = Slot { keep: keep as u32, other: rich as u32 };
            left[rich] -= total - left[poor];
            if left[rich] < total {
                large.pop();
                small.push(rich);
            }
        }
        Self { slots }
    }

    /// Draws a place; zero where there are none.
    pub(crate) fn choose(&self, draw: &mut Draw) -> usize {
        self.at(draw.next_u64())
    }

    /// The place that 64 uniform bits fall on.
    fn at(&self, bits: u64) -> usize {
        // One multiplication gives both: the high word is the slot, the low one how far into it the bits fell.
        let wide = u128::from(bits) * self.slots.len() as u128;
        let (place, depth) = ((wide >> 64) as usize, (wide as u64 >> 32) as u32);
        match self.slots.get(place) {
            Some(slot) if depth < slot.keep => place,
            Some(slot) => slot.other as usize,
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// How much of the whole, in units of 2^-32 of a slot, each place is drawn.
    fn masses(table: &Alias) -> Vec<u128> {
        let mut masses = vec![0; table.slots.len()];
        for (place, slot) in table.slots.iter().enumerate() {
            masses[place] += u128::from(slot.keep);
            masses[slot.other as usize] += (1 << 32) - u128::from(slot.keep);
        }
        masses
    }

    proptest! {
        #[test]
        fn shares_are_the_weights(weights in prop::collection::vec(prop_oneof![0_u32..4, any::<u32>()], 1..80)) {
            let total: u128 = weights.iter().copied().map(u128::from).sum();
            prop_assume!(total > 0);
            for (mass, weight) in masses(&Alias::new(&weights)).into_iter().zip(&weights) {
                let exact = (u128::from(*weight) * weights.len() as u128) << 32;
                prop_assert!((mass * total).abs_diff(exact) < 2 * total * weights.len() as u128);
                prop_assert_eq!(*weight == 0, mass == 0);
            }
        }

        #[test]
        fn a_weight_of_zero_is_never_drawn(
            weights in prop::collection::vec(0_u32..2, 1..20),
            seed: u64,
        ) {
            prop_assume!(weights.contains(&1));
            let (table, mut draw) = (Alias::new(&weights), Draw::new(seed));
            prop_assert!((0..100).all(|_| weights[table.choose(&mut draw)] == 1));
        }
    }

    #[test]
    fn draws_follow_the_shares() {
        // 60,000 draws: the standard deviation of a count is at most 122; 600 is about five of them.
        let (table, mut draw) = (Alias::new(&[1, 2, 0, 3]), Draw::new(3));
        let mut counts = [0_i64; 4];
        for _ in 0..60_000 {
            counts[table.choose(&mut draw)] += 1;
        }
        for (count, expected) in counts.into_iter().zip([10_000, 20_000, 0, 30_000]) {
            assert!((count - expected).abs() < 600, "{counts:?}");
        }
    }

    #[test]
    fn not_even_the_first_bits_fall_on_a_weight_of_zero() {
        let table = Alias::new(&[0, 1]);
        assert_eq!([0, 1, 1 << 63, u64::MAX].map(|bits| table.at(bits)), [1; 4]);
    }

    #[test]
    fn all_zero_is_all_equal_and_none_is_the_first() {
        let mut draw = Draw::new(1);
        assert_eq!(masses(&Alias::new(&[0, 0])), [1 << 32, 1 << 32]);
        assert_eq!(Alias::new(&[]).choose(&mut draw), 0);
    }
}
