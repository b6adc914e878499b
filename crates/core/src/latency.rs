//! The latency of an endpoint, estimated so that a peak counts at once and is forgotten slowly.
//!
//! The peak-sensitive moving average of Finagle's `PeakEwma`, with linkerd's read that changes nothing: an estimate that
//! nothing renews fades, so that whoever was slow is tried again. Invariants: one word, renewed by one compare-and-swap,
//! a lost update allowed; every estimate is finite and not negative. Limits: 24 bits of precision, and a reading is up to
//! a sixteenth high; ages beyond fifty days count as less.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::Instant;

/// Nanoseconds of a tick: an age is a number of ticks in 32 bits.
const TICK: u64 = 1 << 20;

/// Never observed. Not an estimate, since one with this time has some microseconds.
const NONE: u64 = 0;

/// An estimate that was not renewed for so many decays says nothing any more: it has faded to a twentieth, and the next
/// observation stands alone.
const FORGOTTEN_DECAYS: u32 = 3;

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

    /// Ticks since it was made; a clock of another thread may be a little ahead.
    fn age(self, now: Instant) -> u32 {
        let age = tick(now).wrapping_sub(self.tick);
        if age > u32::MAX / 2 { 0 } else { age }
    }
}

fn tick(now: Instant) -> u32 {
    (now.0 / TICK) as u32
}

/// How estimates fade: a decay, prepared for reading.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fade {
    /// By how many halvings in a tick; negative.
    halvings: f32,
    /// Ticks after which an estimate says nothing.
    forgotten: u32,
}

impl Fade {
    /// To a part of e in each `decay`, which is above zero.
    pub(crate) fn new(decay: Duration) -> Self {
        let ticks = decay.as_nanos() as f32 / TICK as f32;
        Self {
            halvings: -std::f32::consts::LOG2_E / ticks,
            forgotten: (ticks * FORGOTTEN_DECAYS as f32) as u32,
        }
    }

    /// The part of an estimate that is left after so many ticks.
    fn kept(self, age: u32) -> f32 {
        (age as f32 * self.halvings).exp2()
    }

    /// The same for picks, which compare what is left of estimates: exact after each halving and on a line between, so up
    /// to a sixteenth high, in a third of the time.
    fn roughly_kept(self, age: u32) -> f32 {
        /// Below the smallest normal number nothing is left.
        const LEAST: f32 = -126.0;
        /// The exponent of one, and the place of exponents, in a number's bits.
        const BIAS: f32 = 127.0;
        const UNIT: f32 = 8_388_608.0;
        f32::from_bits((((age as f32 * self.halvings).max(LEAST) + BIAS) * UNIT) as u32)
    }
}

/// What an estimate says at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reading {
    /// What is left of it.
    pub(crate) micros: f32,
    /// It is so old that it says nothing.
    pub(crate) is_forgotten: bool,
}

impl Latency {
    /// Takes an observation into the estimate: above it, it is the estimate; below, the estimate moves towards it the
    /// more, the longer ago the last one was.
    pub(crate) fn observe(&self, latency: Duration, now: Instant, decay: Duration) {
        let (before, fade) = (self.0.load(Relaxed), Fade::new(decay));
        let latest = (latency.min(LONGEST).as_nanos() as f32 / 1_000.0).max(f32::MIN_POSITIVE);
        let micros = match Estimate::unpack(before) {
            Some(estimate) => {
                let (age, kept) = (estimate.age(now), fade.kept(estimate.age(now)));
                let is_lower = age <= fade.forgotten && latest < estimate.micros * kept;
                if is_lower { estimate.micros * kept + latest * (1.0 - kept) } else { latest }
            }
            None => latest,
        };
        let after = Estimate { micros, tick: tick(now) }.pack();
        // Whoever was faster has told as much: one of two observations at once may be lost.
        let _ = self.0.compare_exchange(before, after, Relaxed, Relaxed);
    }

    /// Moves what is left of the estimate towards an observation by this share of the distance; the first begins at zero.
    pub(crate) fn lean(&self, towards: Duration, share: f32, now: Instant, decay: Duration) {
        let (before, fade) = (self.0.load(Relaxed), Fade::new(decay));
        let left =
            Estimate::unpack(before).map_or(0.0, |estimate| estimate.micros * fade.kept(estimate.age(now)));
        let towards = towards.min(LONGEST).as_nanos() as f32 / 1_000.0;
        let micros = (left + (towards - left) * share).max(f32::MIN_POSITIVE);
        let _ =
            self.0.compare_exchange(before, Estimate { micros, tick: tick(now) }.pack(), Relaxed, Relaxed);
    }

    /// Whether there was an observation.
    pub(crate) fn is_any(&self) -> bool {
        self.0.load(Relaxed) != NONE
    }

    /// What is left of the estimate; `None` before the first observation.
    #[inline]
    pub(crate) fn read(&self, now: Instant, fade: Fade) -> Option<Reading> {
        let estimate = Estimate::unpack(self.0.load(Relaxed))?;
        let age = estimate.age(now);
        Some(Reading { micros: estimate.micros * fade.roughly_kept(age), is_forgotten: age > fade.forgotten })
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
        latency.read(now, Fade::new(DECAY)).unwrap().micros / 1_000.0
    }

    #[test]
    fn a_peak_counts_at_once_and_fades() {
        let latency = Latency::default();
        assert_eq!(latency.read(at(1), Fade::new(DECAY)), None);
        latency.observe(Duration::from_millis(20), at(1_000), DECAY);
        latency.observe(Duration::from_millis(200), at(1_001), DECAY);
        assert!((millis(&latency, at(1_001)) - 200.0).abs() < 0.5);
        let left = millis(&latency, at(2_001)) / (200.0 / std::f32::consts::E);
        assert!((0.999..1.063).contains(&left), "{left}");
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

    #[test]
    fn a_reading_is_never_low_and_at_most_a_sixteenth_high_and_falls_with_age() {
        let fade = Fade::new(DECAY);
        assert_eq!(fade.roughly_kept(0).to_bits(), 1.0_f32.to_bits());
        let mut before = 1.0;
        for age in (0..60_000).step_by(7) {
            let (rough, exact) = (fade.roughly_kept(age), fade.kept(age));
            assert!(
                rough >= exact * 0.9999 && rough <= exact * 17.0 / 16.0 + 1e-37,
                "{age}: {rough} for {exact}"
            );
            assert!(rough <= before);
            before = rough;
        }
    }

    #[test]
    fn an_estimate_is_forgotten_after_three_decays() {
        let (latency, fade) = (Latency::default(), Fade::new(DECAY));
        latency.observe(Duration::from_millis(50), at(1_000), DECAY);
        let is_forgotten = |millis| latency.read(at(millis), fade).unwrap().is_forgotten;
        assert!(!is_forgotten(3_990) && is_forgotten(4_010));
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
                let micros = latency.read(Instant(now), Fade::new(DECAY)).unwrap().micros;
                prop_assert!(micros.is_finite() && micros >= 0.0);
            }
        }
    }
}
