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
        let word = draw.next_u64();
        // The high half chooses the slot, the low half whether the slot keeps its own place.
        let place = ((word >> 32) * self.slots.len() as u64) >> 32;
        match self.slots.get(place as usize) {
            Some(slot) if (word as u32) < slot.keep => place as usize,
            Some(slot) => slot.other as usize,
            None => 0,
        }
    }
}
