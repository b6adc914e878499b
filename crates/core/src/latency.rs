//! The latency of an endpoint, estimated so that a peak counts at once and is forgotten slowly.
//!
//! The peak-sensitive moving average of Finagle's `PeakEwma`, with linkerd's read that changes nothing: an estimate that
//! nothing renews fades, so that whoever was slow is tried again. Invariants: one word, renewed by one compare-and-swap,
//! a lost update allowed; every estimate is finite and not negative. Limits: 24 bits of precision; ages beyond fifty days
//! count as less.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::Instant;

/// Nanoseconds of a tick: an age is a number of ticks in 32 bits.
const TICK: u64 = 1 << 20;

/// Never observed. Not an estimate, since one with this time has some microseconds.
const NONE: u64 = 0;

/// An estimate that was not renewed for so many decays says nothing any more: it has faded to a twentieth, and the next
/// observation stands alone.
pub(crate) const FORGOTTEN_DECAYS: u32 = 3;

/// Longest latency that is told apart: what takes longer is as bad.
const LONGEST: Duration = Duration::from_mins(10);

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Latency(AtomicU64);

/// An estimate and when it was made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate {
    /// Microseconds, above zero.
    micros: f32,
    tick: u32,
}

impl Estimate {
    fn unpack(word: u64) -> Option<Self> {
        (word != NONE).then(|| Self { micros: f32::from_bits((word >> 32) as u32), tick: word as u32 })
    }

    fn pack(self) -> u64 {
        u64::from(self.micros.to_bits()) << 32 | u64::from(self.tick)
    }

    /// How long ago it was made; a clock of another thread may be a little ahead.
    fn age(self, now: Instant) -> Duration {
        let ticks = (now.0 / TICK) as u32;
        let age = ticks.wrapping_sub(self.tick);
        let ahead = age > u32::MAX / 2;
        if ahead { Duration::ZERO } else { Duration::from_nanos(u64::from(age) * TICK) }
    }

    /// What is left of it, in microseconds.
    fn faded(self, now: Instant, decay: Duration) -> f32 {
        self.micros * kept(self.age(now), decay)
    }
}

/// The part of an estimate that is left after `age`: e to the power of minus age by decay.
fn kept(age: Duration, decay: Duration) -> f32 {
    if age.is_zero() { 1.0 } else { (-age.as_secs_f32() / decay.as_secs_f32()).exp() }
}

impl Latency {
    /// Takes an observation into the estimate: above it, it is the estimate; below, the estimate moves towards it the
    /// more, the longer ago the last one was.
    pub(crate) fn observe(&self, latency: Duration, now: Instant, decay: Duration) {
        let before = self.0.load(Relaxed);
        let latest = (latency.min(LONGEST).as_nanos() as f32 / 1_000.0).max(f32::MIN_POSITIVE);
        let micros = match Estimate::unpack(before) {
            Some(estimate)
                if estimate.age(now) <= decay * FORGOTTEN_DECAYS && latest < estimate.faded(now, decay) =>
            {
                let kept = kept(estimate.age(now), decay);
                estimate.micros * kept + latest * (1.0 - kept)
            }
            Some(_) | None => latest,
        };
        let after = Estimate { micros, tick: (now.0 / TICK) as u32 }.pack();
        // Whoever was faster has told as much: one of two observations at once may be lost.
        let _ = self.0.compare_exchange(before, after, Relaxed, Relaxed);
    }

    /// The faded estimate in microseconds, and its age; `None` before the first observation.
    pub(crate) fn read(&self, now: Instant, decay: Duration) -> Option<(f32, Duration)> {
        let estimate = Estimate::unpack(self.0.load(Relaxed))?;
        Some((estimate.faded(now, decay), estimate.age(now)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    const DECAY: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Instant {
        Instant(millis * 1_000_000)
    }

    fn millis(latency: &Latency, now: Instant) -> f32 {
        latency.read(now, DECAY).unwrap().0 / 1_000.0
    }

    #[test]
    fn a_peak_counts_at_once_and_fades() {
        let latency = Latency::default();
        assert_eq!(latency.read(at(1), DECAY), None);
        latency.observe(Duration::from_millis(20), at(1_000), DECAY);
        latency.observe(Duration::from_millis(200), at(1_001), DECAY);
        assert!((millis(&latency, at(1_001)) - 200.0).abs() < 0.5);
        assert!((millis(&latency, at(2_001)) - 200.0 / std::f32::consts::E).abs() < 0.5);
        assert!(millis(&latency, at(12_001)) < 0.1);
    }

    #[test]
    fn lower_observations_pull_by_the_time_between() {
        let latency = Latency::default();
        latency.observe(Duration::from_millis(100), at(0), DECAY);
        latency.observe(Duration::from_millis(10), at(0), DECAY);
        assert!((millis(&latency, at(0)) - 100.0).abs() < 0.5, "at the same moment it has no weight");
        latency.observe(Duration::from_millis(10), at(1_000), DECAY);
        let expected = 100.0 / std::f32::consts::E + 10.0 * (1.0 - 1.0 / std::f32::consts::E);
        assert!((millis(&latency, at(1_000)) - expected).abs() < 0.5);
    }

    #[test]
    fn a_clock_that_is_a_little_behind_changes_nothing() {
        let latency = Latency::default();
        latency.observe(Duration::from_millis(50), at(1_000), DECAY);
        assert!((millis(&latency, at(990)) - 50.0).abs() < 0.1);
    }

    proptest! {
        #[test]
        fn every_estimate_is_finite_and_not_negative(
            steps in prop::collection::vec((0_u64..u64::MAX / 64, any::<u64>()), 1..40),
        ) {
            let (latency, mut now) = (Latency::default(), 0_u64);
            for (step, nanos) in steps {
                now = now.saturating_add(step);
                latency.observe(Duration::from_nanos(nanos), Instant(now), DECAY);
                let (micros, _) = latency.read(Instant(now), DECAY).unwrap();
                prop_assert!(micros.is_finite() && micros >= 0.0);
            }
        }
    }
}
