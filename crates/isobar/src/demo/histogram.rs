//! A histogram of durations with buckets that widen with the value.
//!
//! Invariants: microseconds in at most [`BUCKETS`] buckets, each no wider than a sixteenth of its lower bound, so a
//! quantile is too large by 6.25 % at most; longer durations than 2^32 us count as that.

use std::time::Duration;

/// Buckets for each doubling of the value.
const STEPS: u32 = 16;
/// log2 of [`STEPS`].
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// The values below `STEPS` have a bucket each; every doubling up to 2^32 has `STEPS`.
const BUCKETS: usize = ((u32::BITS - STEP_BITS + 1) * STEPS) as usize;

/// Counted durations.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    counts: Box<[u32; BUCKETS]>,
    n: u64,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self { counts: Box::new([0; BUCKETS]), n: 0 }
    }

    /// Counts a duration.
    pub(super) fn record(&mut self, duration: Duration) {
        let micros = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
        let count = &mut self.counts[bucket(micros)];
        *count = count.saturating_add(1);
        self.n += 1;
    }

    /// Adds what another one counted.
    pub(super) fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&*other.counts) {
            *count = count.saturating_add(*more);
        }
        self.n += other.n;
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.counts.fill(0);
        self.n = 0;
    }

    /// The duration that `share` (0 to 1) of the counted ones do not exceed; `None` where nothing was counted.
    pub(super) fn quantile(&self, share: f64) -> Option<Duration> {
        if self.n == 0 {
            return None;
        }
        let rank = ((self.n as f64 * share).ceil() as u64).clamp(1, self.n);
        let mut seen = 0;
        let reached = self.counts.iter().position(|count| {
            seen += u64::from(*count);
            seen >= rank
        });
        reached.map(|index| Duration::from_micros(upper_bound(index)))
    }
}

fn bucket(micros: u32) -> usize {
    if micros < STEPS {
        return micros as usize;
    }
    let doubling = micros.ilog2() - STEP_BITS;
    let step = (micros >> doubling) - STEPS;
    ((doubling + 1) * STEPS + step) as usize
}

/// The largest value of a bucket.
fn upper_bound(index: usize) -> u64 {
    let index = index as u64;
    let steps = u64::from(STEPS);
    if index < steps {
        return index;
    }
    let (doubling, step) = (index / steps - 1, index % steps);
    ((steps + step + 1) << doubling) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_one_has_no_quantile_and_any_duration_fits() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.quantile(0.5), None);
        histogram.record(Duration::ZERO);
        assert_eq!(histogram.quantile(1.0), Some(Duration::ZERO));
        histogram.record(Duration::MAX);
        assert_eq!(histogram.quantile(1.0), Some(Duration::from_micros(u64::from(u32::MAX))));
        histogram.clear();
        assert_eq!(histogram.quantile(0.5), None);
    }

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        let mut next = 0_u64;
        for index in 0..BUCKETS {
            assert_eq!(bucket(next as u32), index);
            assert_eq!(bucket(upper_bound(index) as u32), index);
            next = upper_bound(index) + 1;
        }
        assert_eq!(next, 1 << 32);
    }

    proptest! {
        #[test]
        fn a_quantile_is_that_of_the_sorted_values_up_to_a_sixteenth(
            values in prop::collection::vec(0_u32..10_000_000, 1..200),
            share in 0.0_f64..=1.0,
            split in 0_usize..200,
        ) {
            let (mut whole, mut part) = (Histogram::new(), Histogram::new());
            for (at, value) in values.iter().enumerate() {
                let to = if at < split { &mut whole } else { &mut part };
                to.record(Duration::from_micros(u64::from(*value)));
            }
            whole.add(&part);
            let mut sorted = values;
            sorted.sort_unstable();
            let rank = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len());
            let exact = u128::from(sorted[rank - 1]);
            let found = whole.quantile(share).map(|found| found.as_micros()).unwrap_or_default();
            prop_assert!(found >= exact && found <= exact + exact / 16, "{found} for {exact}");
        }
    }
}
