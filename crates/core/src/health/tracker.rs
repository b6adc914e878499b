//! The verdict of one probe of one endpoint: rise and fall.
//!
//! | verdict | left for |
//! | --- | --- |
//! | unknown | healthy by the first pass, unhealthy by the first failure |
//! | healthy | unhealthy by `unhealthy_after` failures in a row |
//! | unhealthy | healthy by `healthy_after` passes in a row |
//!
//! Invariant: a result that agrees with the verdict ends a run of those that do not, so an endpoint that alternates
//! keeps its verdict.

use super::{ProbeSettings, Verdict};

/// What is known of one endpoint by one probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tracker {
    pub(super) verdict: Verdict,
    /// Results in a row that speak against the verdict.
    against: u32,
    /// A result has come, so the verdict is more than an assumption.
    pub(super) is_known: bool,
    /// It was assumed or found to work at some time, so that it may take traffic when health is ignored.
    pub(super) is_proven: bool,
}

impl Tracker {
    pub(super) fn new(initial: Verdict) -> Self {
        Self { verdict: initial, against: 0, is_known: false, is_proven: initial != Verdict::Unhealthy }
    }

    /// Takes a result; true when the verdict changed.
    pub(super) fn take(&mut self, passed: bool, settings: &ProbeSettings) -> bool {
        let first = !std::mem::replace(&mut self.is_known, true);
        let next = match (self.verdict, passed) {
            (Verdict::Unknown, true) => Verdict::Healthy,
            (Verdict::Unknown, false) => Verdict::Unhealthy,
            (Verdict::Healthy, true) | (Verdict::Unhealthy, false) => {
                self.against = 0;
                // The assumption "unhealthy" is confirmed: it now is a verdict, which readers must see.
                return first && !passed;
            }
            (Verdict::Healthy, false) => {
                self.against += 1;
                if self.against < settings.unhealthy_after {
                    return false;
                }
                Verdict::Unhealthy
            }
            (Verdict::Unhealthy, true) => {
                self.against += 1;
                if self.against < settings.healthy_after {
                    return false;
                }
                Verdict::Healthy
            }
        };
        self.condemn_or_acquit(next);
        true
    }

    /// Sets the verdict without a probe: connections failed.
    pub(super) fn condemn(&mut self) {
        self.is_known = true;
        self.condemn_or_acquit(Verdict::Unhealthy);
    }

    fn condemn_or_acquit(&mut self, verdict: Verdict) {
        self.verdict = verdict;
        self.is_proven |= verdict == Verdict::Healthy;
        self.against = 0;
    }

    /// Whether the next look should come soon.
    pub(super) fn is_pressing(&self) -> bool {
        self.verdict == Verdict::Unhealthy || self.against > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn settings(healthy_after: u32, unhealthy_after: u32) -> ProbeSettings {
        ProbeSettings {
            interval: Duration::from_secs(2),
            failing_interval: Duration::from_millis(500),
            healthy_after,
            unhealthy_after,
            initial: Verdict::Unknown,
        }
    }

    #[test]
    fn the_first_result_decides_an_unknown_endpoint() {
        for (passed, verdict) in [(true, Verdict::Healthy), (false, Verdict::Unhealthy)] {
            let mut tracker = Tracker::new(Verdict::Unknown);
            assert!(tracker.take(passed, &settings(3, 3)));
            assert_eq!(tracker.verdict, verdict);
        }
    }

    #[test]
    fn one_that_alternates_keeps_its_verdict_and_is_looked_at_often() {
        let mut tracker = Tracker::new(Verdict::Healthy);
        for _ in 0..10 {
            assert!(!tracker.take(false, &settings(2, 2)) && tracker.is_pressing());
            assert!(!tracker.take(true, &settings(2, 2)) && !tracker.is_pressing());
        }
    }

    proptest! {
        #[test]
        fn a_verdict_falls_by_a_run_of_failures_and_rises_by_a_run_of_passes(
            results in prop::collection::vec(any::<bool>(), 0..60), rise in 1_u32..5, fall in 1_u32..5,
        ) {
            let (settings, mut tracker) = (settings(rise, fall), Tracker::new(Verdict::Healthy));
            for n in 1..=results.len() {
                tracker.take(results[n - 1], &settings);
                // Naive: the verdict is that of the last run long enough to decide; before any, the initial one.
                let mut expected = Verdict::Healthy;
                for at in 0..n {
                    let run = |passed: bool, len: u32| {
                        at + 1 >= len as usize && results[at + 1 - len as usize..=at].iter().all(|one| *one == passed)
                    };
                    if run(true, rise) && expected == Verdict::Unhealthy {
                        expected = Verdict::Healthy;
                    } else if run(false, fall) && expected == Verdict::Healthy {
                        expected = Verdict::Unhealthy;
                    }
                }
                prop_assert_eq!(tracker.verdict, expected);
            }
        }
    }
}
