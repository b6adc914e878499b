//! What the sample instances are like: their names, weights, delays, and when the flapping one fails.
//!
//! Invariants: pure; chance comes from seeds, and the time is an argument, so every demo tells the same story.

use std::time::Duration;

use isobar_core::Draw;

/// Seed of every draw of the demo. Fixed, so that what one user saw another can see.
pub(super) const SEED: u64 = 20;

/// The flapping instance fails once in each stretch of this length: often enough to be seen several times in half a
/// minute, rarely enough that its recovery shows as well.
const CYCLE: Duration = Duration::from_secs(12);

/// Within a cycle it works at least this long, and at most [`HEALTHY_SPREAD_MS`] longer.
const HEALTHY_MIN_MS: u64 = 3_000;
const HEALTHY_SPREAD_MS: u32 = 3_000;

/// Then it fails at least this long, and at most [`FAILING_SPREAD_MS`] longer.
const FAILING_MIN_MS: u64 = 2_000;
const FAILING_SPREAD_MS: u32 = 2_000;

/// What one sample instance is like.
#[derive(Debug)]
pub(super) struct Nature {
    /// Its endpoint id.
    pub(super) id: &'static str,
    /// A few words on it.
    pub(super) what: &'static str,
    /// Its configured weight.
    pub(super) weight: u32,
    /// The shortest and the longest time that it takes for an answer, in milliseconds.
    pub(super) delay_ms: (u32, u32),
    /// Whether it fails now and then.
    pub(super) flaps: bool,
}

/// The instances of the demo, in the order shown.
pub(super) const NATURES: [Nature; 5] = [
    Nature { id: "plain-1", what: "plain", weight: 1, delay_ms: (2, 6), flaps: false },
    Nature { id: "plain-2", what: "plain", weight: 1, delay_ms: (2, 6), flaps: false },
    Nature { id: "heavy", what: "weight 3", weight: 3, delay_ms: (2, 6), flaps: false },
    Nature { id: "slow", what: "slow, 50 ms", weight: 1, delay_ms: (40, 60), flaps: false },
    Nature { id: "flapping", what: "flapping", weight: 1, delay_ms: (2, 6), flaps: true },
];

impl Nature {
    /// How long it takes for one answer.
    pub(super) fn delay(&self, draw: &mut Draw) -> Duration {
        let (shortest, longest) = self.delay_ms;
        Duration::from_millis(u64::from(shortest + draw.below(longest - shortest + 1)))
    }

    /// Whether it fails at `now`, counted from the start of the demo.
    pub(super) fn is_failing(&self, seed: u64, now: Duration) -> bool {
        if !self.flaps {
            return false;
        }
        let cycle_ms = CYCLE.as_millis() as u64;
        let now_ms = now.as_millis() as u64;
        let mut draw = Draw::new(seed.wrapping_add(now_ms / cycle_ms));
        let begin = HEALTHY_MIN_MS + u64::from(draw.below(HEALTHY_SPREAD_MS));
        let end = begin + FAILING_MIN_MS + u64::from(draw.below(FAILING_SPREAD_MS));
        (begin..end).contains(&(now_ms % cycle_ms))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn flapping() -> &'static Nature {
        NATURES.iter().find(|nature| nature.flaps).unwrap()
    }

    /// Lengths of the runs of working and failing, in steps of 10 ms, beginning with working.
    fn runs(seed: u64, cycles: u32) -> Vec<u64> {
        let (mut runs, mut failing) = (vec![0], false);
        let steps = (CYCLE * cycles).as_millis() as u64 / 10;
        for step in 0..steps {
            let now = flapping().is_failing(seed, Duration::from_millis(step * 10));
            if now != failing {
                failing = now;
                runs.push(0);
            }
            *runs.last_mut().unwrap() += 10;
        }
        runs
    }

    #[test]
    fn the_flapping_instance_fails_once_a_cycle_and_recovers() {
        for seed in 0..50 {
            let runs = runs(seed, 4);
            assert_eq!(runs.len(), 9, "seed {seed}: {runs:?}");
            for failing in runs.iter().skip(1).step_by(2) {
                assert!((1_990..=4_010).contains(failing), "seed {seed}: {runs:?}");
            }
            assert!(runs[0] >= HEALTHY_MIN_MS, "seed {seed}: {runs:?}");
        }
    }

    #[test]
    fn the_same_seed_fails_at_the_same_times_and_another_at_others() {
        assert_eq!(runs(SEED, 3), runs(SEED, 3));
        assert_ne!(runs(SEED, 3), runs(SEED + 100, 3));
    }

    #[test]
    fn instances_that_do_not_flap_never_fail() {
        for nature in NATURES.iter().filter(|nature| !nature.flaps) {
            assert!((0..600).all(|tenth| !nature.is_failing(SEED, Duration::from_millis(tenth * 100))));
        }
    }

    #[test]
    fn a_delay_is_within_its_bounds_and_the_slow_one_is_slower_than_all_others() {
        let mut draw = Draw::new(SEED);
        for nature in &NATURES {
            let (shortest, longest) = nature.delay_ms;
            for _ in 0..200 {
                let delay = nature.delay(&mut draw).as_millis();
                assert!((u128::from(shortest)..=u128::from(longest)).contains(&delay));
            }
        }
        let longest_of_others =
            NATURES.iter().filter(|nature| nature.id != "slow").map(|n| n.delay_ms.1).max();
        let slow = NATURES.iter().find(|nature| nature.id == "slow").unwrap();
        assert!(Some(slow.delay_ms.0) > longest_of_others);
    }

    #[test]
    fn ids_are_unique_and_each_kind_is_there() {
        let ids: std::collections::BTreeSet<_> = NATURES.iter().map(|nature| nature.id).collect();
        assert_eq!(ids.len(), NATURES.len());
        assert_eq!(NATURES.iter().filter(|nature| nature.flaps).count(), 1);
        assert_eq!(NATURES.iter().filter(|nature| nature.weight > 1).count(), 1);
    }
}
