//! The latest reading of an endpoint, as whoever saw a response leaves it for the owner of the cluster.
//!
//! Invariants: one word, written by one store; a reading that is stored again is another word, so the reader can tell a
//! new report from an old one without a clock that both share. Limit: of two readings at once one may be lost.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::report::Reading;

/// No reading yet; no reading is this word, since none is zero.
pub(super) const NONE: u64 = 0;

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Slot(AtomicU64);

impl Slot {
    /// Leaves a reading.
    pub(crate) fn leave(&self, reading: Reading) {
        let count = (self.0.load(Relaxed) as u32).wrapping_add(1);
        // The sign tells the kinds apart, as neither has one.
        let number = match reading {
            Reading::Weight(number) => number,
            Reading::Factor(number) => -number,
        };
        self.0.store(u64::from(number.to_bits()) << 32 | u64::from(count), Relaxed);
    }

    /// The word as it stands, to be compared with an earlier one.
    pub(super) fn word(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The reading in a word; `None` before the first.
pub(super) fn reading(word: u64) -> Option<Reading> {
    let number = f32::from_bits((word >> 32) as u32);
    let reading = if number.is_sign_negative() { Reading::Factor(-number) } else { Reading::Weight(number) };
    (word != NONE).then_some(reading)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_comes_out_as_it_went_in_and_each_makes_another_word() {
        let slot = Slot::default();
        assert_eq!(reading(slot.word()), None);
        let mut before = slot.word();
        for left in [Reading::Weight(7.5), Reading::Weight(7.5), Reading::Factor(0.05), Reading::Factor(1.0)]
        {
            slot.leave(left);
            assert_eq!(reading(slot.word()), Some(left));
            assert_ne!(slot.word(), before);
            before = slot.word();
        }
    }
}
