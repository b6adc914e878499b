//! What an endpoint's own answers say of its weight: successes by the time that they take.
//!
//! At each update the answers since the last one give a mean latency and a share of successes, which move the endpoint's
//! averages by [`DAMPING`]. The latency is that of successes alone: one that fails fast is not a fast one, and its weight
//! falls with its successes. Invariants: what is handed out is finite and not negative; an endpoint that was not used for
//! `expiry` is unknown again. Limits: latency is the time to the head of an answer; what callers gave up before that
//! is not known.

use std::time::Duration;

use super::report::Reading;
use crate::shard::Measures;
use crate::{Instant, Live};

/// The share by which an average moves towards the last period: with four periods to forget two thirds, one odd answer of
/// a quiet endpoint moves its weight by less than a fifth of what it is off.
const DAMPING: f64 = 0.25;

/// Averages of one endpoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    before: Measures,
    /// When it was used last.
    last: Instant,
    /// Mean time to the head of a successful answer, in microseconds.
    latency: Option<f64>,
    /// Share of the attempts that did not fail.
    success: Option<f64>,
}

impl Seen {
    pub(super) fn of(live: &Live) -> Self {
        Self { before: live.measures(), last: Instant::default(), latency: None, success: None }
    }

    /// Takes what was measured since the last call.
    pub(super) fn update(&mut self, live: &Live, now: Instant, expiry: Duration) {
        let measures = live.measures();
        let period = measures.since(&self.before);
        self.before = measures;
        if period.attempts == 0 {
            if now.since(self.last) >= expiry {
                (self.latency, self.success) = (None, None);
            }
            return;
        }
        self.last = now;
        // Counts of several workers are read one after the other, so a failure may be seen before its attempt.
        let failed = (period.failures as f64 / period.attempts as f64).min(1.0);
        self.success = Some(moved(self.success, 1.0 - failed));
        if period.answered > 0 {
            let mean = period.latency_us as f64 / period.answered as f64;
            self.latency = Some(moved(self.latency, mean.max(1.0)));
        }
    }
}

fn moved(average: Option<f64>, latest: f64) -> f64 {
    average.map_or(latest, |average| average + (latest - average) * DAMPING)
}

/// What follows for each: its successes by its latency. One that has not succeeded yet counts with the mean latency of
/// those that have; one that was not used is unknown.
pub(super) fn readings<'a>(seen: impl Iterator<Item = &'a Seen> + Clone) -> Vec<Option<Reading>> {
    let latencies = seen.clone().filter_map(|seen| seen.latency);
    let (sum, n) = latencies.fold((0.0, 0_u32), |(sum, n), latency| (sum + latency, n + 1));
    let mean = if n == 0 { 1.0 } else { sum / f64::from(n) };
    let reading = |seen: &Seen| {
        let success = seen.success?;
        Some(Reading::Weight((success / seen.latency.unwrap_or(mean) * MICROS) as f32))
    };
    seen.map(reading).collect()
}

/// Microseconds of a second: a weight is in successes a second of one request after the other.
const MICROS: f64 = 1e6;
