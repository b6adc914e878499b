//! What one worker counts of one endpoint: plain stores of a single writer, summed by whoever asks.
//!
//! Invariants: one writer a shard (the worker whose number it has), so a count is a load and a store, never a locked
//! instruction; a shard is allocated at its worker's first use of the endpoint. Limit: readers may see a sum that is a
//! few attempts old.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The smoothed latency moves by an eighth of the distance to each new one: the weight of TCP's round-trip estimate
/// (RFC 6298, section 2), which follows a change within some twenty attempts and ignores a single slow one.
const LATENCY_STEP: i64 = 8;

/// The counts of one worker; on a cache line of its own, since every attempt writes it.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Shard {
    attempts: AtomicU64,
    failures: AtomicU64,
    /// Smoothed time to a response head in microseconds; 0 before the first.
    latency_us: AtomicU64,
    /// Successes with their latency, and the sum of these in microseconds; counted where weights are measured.
    answered: AtomicU64,
    latency_sum_us: AtomicU64,
}

/// What weights are measured by: counts that only rise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Measures {
    pub(crate) attempts: u64,
    pub(crate) failures: u64,
    /// Successes whose latency is in the sum.
    pub(crate) answered: u64,
    pub(crate) latency_us: u64,
}

impl Measures {
    /// Sums the shards.
    pub(crate) fn of<'a>(shards: impl Iterator<Item = &'a Shard>) -> Self {
        let mut sum = Self::default();
        for shard in shards {
            sum.attempts = sum.attempts.wrapping_add(shard.attempts.load(Relaxed));
            sum.failures = sum.failures.wrapping_add(shard.failures.load(Relaxed));
            sum.answered = sum.answered.wrapping_add(shard.answered.load(Relaxed));
            sum.latency_us = sum.latency_us.wrapping_add(shard.latency_sum_us.load(Relaxed));
        }
        sum
    }

    /// What came since an earlier reading.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            attempts: self.attempts.wrapping_sub(before.attempts),
            failures: self.failures.wrapping_sub(before.failures),
            answered: self.answered.wrapping_sub(before.answered),
            latency_us: self.latency_us.wrapping_sub(before.latency_us),
        }
    }
}

impl Shard {
    /// Adds the latency of a success.
    pub(crate) fn measure(&self, latency: Duration) {
        self.answered.store(self.answered.load(Relaxed).wrapping_add(1), Relaxed);
        let sum = self.latency_sum_us.load(Relaxed).wrapping_add(latency.as_micros() as u64);
        self.latency_sum_us.store(sum, Relaxed);
    }

    /// Counts an attempt that ended.
    pub(crate) fn count(&self, failed: bool, latency: Option<Duration>) {
        self.attempts.store(self.attempts.load(Relaxed).wrapping_add(1), Relaxed);
        if failed {
            self.failures.store(self.failures.load(Relaxed).wrapping_add(1), Relaxed);
        }
        if let Some(latency) = latency {
            // At least one: zero stands for "none yet". Halved range, so that the difference fits.
            let latest = (latency.as_micros() as u64).clamp(1, u64::MAX / 2).cast_signed();
            let smoothed = self.latency_us.load(Relaxed).cast_signed();
            let next = if smoothed == 0 { latest } else { smoothed + (latest - smoothed) / LATENCY_STEP };
            self.latency_us.store(next.max(1).cast_unsigned(), Relaxed);
        }
    }
}

/// The counts of an endpoint over all workers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EndpointCounts {
    /// Attempts that were sent and ended.
    pub attempts: u64,
    /// Those of them that failed or timed out.
    pub failures: u64,
    /// Smoothed time from an attempt's start to its response head; `None` before the first.
    pub latency: Option<Duration>,
}

impl EndpointCounts {
    /// Sums the shards; latencies are averaged by the attempts behind them.
    pub(crate) fn of<'a>(shards: impl Iterator<Item = &'a Shard>) -> Self {
        let mut sum = Self::default();
        let (mut weighted_us, mut weight) = (0_u128, 0_u128);
        for shard in shards {
            let (attempts, latency_us) = (shard.attempts.load(Relaxed), shard.latency_us.load(Relaxed));
            sum.attempts = sum.attempts.wrapping_add(attempts);
            sum.failures = sum.failures.wrapping_add(shard.failures.load(Relaxed));
            if latency_us > 0 {
                let attempts = u128::from(attempts.max(1));
                weighted_us += u128::from(latency_us) * attempts;
                weight += attempts;
            }
        }
        sum.latency = weighted_us.checked_div(weight).map(|mean_us| Duration::from_micros(mean_us as u64));
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_sum_and_latencies_are_weighted_by_attempts() {
        let (busy, idle) = (Shard::default(), Shard::default());
        for _ in 0..3 {
            busy.count(false, Some(Duration::from_micros(100)));
        }
        idle.count(true, Some(Duration::from_micros(500)));
        let sum = EndpointCounts::of([&busy, &idle].into_iter());
        assert_eq!((sum.attempts, sum.failures), (4, 1));
        assert_eq!(sum.latency, Some(Duration::from_micros(200)));
        assert_eq!(EndpointCounts::of(std::iter::empty()), EndpointCounts::default());
    }

    #[test]
    fn the_latency_follows_a_change_and_never_overflows() {
        let shard = Shard::default();
        shard.count(false, Some(Duration::ZERO));
        assert_eq!(EndpointCounts::of([&shard].into_iter()).latency, Some(Duration::from_micros(1)));
        for _ in 0..60 {
            shard.count(false, Some(Duration::from_millis(80)));
        }
        let followed = EndpointCounts::of([&shard].into_iter()).latency.unwrap_or_default();
        assert!(followed > Duration::from_millis(79), "{followed:?}");
        shard.count(false, Some(Duration::MAX));
        shard.count(false, Some(Duration::ZERO));
    }
}
