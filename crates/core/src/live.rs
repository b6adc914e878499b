//! The live record of an endpoint: the numbers that every thread shares and that outlive snapshots.
//!
//! Invariants: one record per (id, generation), shared by every snapshot that holds the endpoint; counts
//! never wrap below zero. Every access is relaxed: the numbers steer load and publish no other memory. What only one
//! worker writes stands in a shard of its own, so that an attempt writes no line that another worker's attempt writes
//! but the first one here. Limits: counts are 32 bits wide.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::latency::{Fade, Latency};
use crate::shard::{EndpointCounts, Measures, Shard};
use crate::weights::Slot;
use crate::{Bell, Instant};

/// Consecutive failures are counted this far and no further: far above any threshold, and far enough from
/// the end of the word that racing increments past the check cannot wrap it to zero.
const FAILURES_MAX: u32 = u32::MAX / 2;

/// The numbers of one endpoint that all threads share.
///
/// Aligned to two cache lines, since processors fetch lines in pairs: endpoints never share one.
#[derive(Debug)]
#[repr(align(128))]
pub struct Live {
    generation: u64,
    in_flight: AtomicU32,
    consecutive_failures: AtomicU32,
    /// Connect failures and resets since the last success.
    broken_connections: AtomicU32,
    /// As many broken connections in a row ring the bell; 0: none do.
    alarm_at: AtomicU32,
    connections: AtomicU32,
    /// Renewed only where a policy asks for it.
    latency: Latency,
    /// What failures add to it, on average; likewise.
    penalty: Latency,
    /// Draining or gone: connections to it are used up and not kept.
    leaving: AtomicBool,
    /// Latencies of successes are summed: weights come from them.
    measured: AtomicBool,
    /// The endpoint's agent allows as many connections; 0: it does not say.
    connections_max: AtomicU32,
    /// What the endpoint reported last of its load.
    reading: Slot,
    bell: Arc<Bell>,
    /// One place a worker, filled at its first use of the endpoint.
    shards: Box<[OnceLock<Box<Shard>>]>,
}

impl Live {
    /// A fresh record, counted in by up to `n_shards` workers.
    pub(crate) fn new(generation: u64, n_shards: usize, bell: Arc<Bell>) -> Self {
        Self {
            generation,
            in_flight: AtomicU32::new(0),
            consecutive_failures: AtomicU32::new(0),
            broken_connections: AtomicU32::new(0),
            alarm_at: AtomicU32::new(0),
            connections: AtomicU32::new(0),
            latency: Latency::default(),
            penalty: Latency::default(),
            leaving: AtomicBool::new(false),
            measured: AtomicBool::new(false),
            connections_max: AtomicU32::new(0),
            reading: Slot::default(),
            bell,
            shards: (0..n_shards).map(|_| OnceLock::new()).collect(),
        }
    }

    /// Which address this endpoint id has reached by now: unique within the cluster and rising, so that a
    /// connection to an earlier address is recognised.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Attempts that have begun and not ended.
    #[inline]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Failures and timeouts since the last success.
    pub fn consecutive_failures(&self) -> u32 {
        self.consecutive_failures.load(Ordering::Relaxed)
    }

    /// Connect failures and resets since the last success.
    pub fn broken_connections(&self) -> u32 {
        self.broken_connections.load(Ordering::Relaxed)
    }

    /// Whether the endpoint is draining or gone, so that no connection to it is worth keeping.
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// What all workers counted.
    pub fn counts(&self) -> EndpointCounts {
        EndpointCounts::of(self.shards.iter().filter_map(OnceLock::get).map(|shard| &**shard))
    }

    /// Open connections to the endpoint, in use or idle.
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Counts one more open connection unless `max` are open, or as many as the endpoint's agent allows; zero is no
    /// maximum.
    ///
    /// On `true` the caller owes one [`Self::close_connection`].
    #[must_use = "on true a connection is counted and must be given back"]
    pub fn try_open_connection(&self, max: u32) -> bool {
        let bound = |max: u32| if max == 0 { u32::MAX } else { max };
        let max = bound(max).min(bound(self.connections_max.load(Ordering::Relaxed)));
        self.connections
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| (open < max).then(|| open + 1))
            .is_ok()
    }

    /// Gives back one connection counted by [`Self::try_open_connection`].
    pub fn close_connection(&self) {
        let closed =
            self.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| open.checked_sub(1));
        debug_assert!(closed.is_ok(), "a connection was closed that had not been counted");
    }

    /// The latency that the next answer is expected to have, in microseconds: none where nothing is known and nothing in
    /// flight, so that it will be known; more than any where the first answer is out.
    #[inline]
    pub(crate) fn expected_micros(&self, now: Instant, fade: Fade) -> f32 {
        /// More than any estimate, and far from the greatest number.
        const UNKNOWN: f32 = 1e30;
        match self.latency.read(now, fade) {
            Some(reading) if reading.is_forgotten && self.in_flight() == 0 => 0.0,
            Some(reading) => reading.micros,
            None if self.in_flight() == 0 => 0.0,
            None => UNKNOWN,
        }
    }

    /// What failures of late cost, in microseconds; none where there were none.
    pub(crate) fn penalty_micros(&self, now: Instant, fade: Fade) -> f32 {
        let reading = self.penalty.read(now, fade).filter(|reading| !reading.is_forgotten);
        reading.map_or(0.0, |reading| reading.micros)
    }

    /// Takes an attempt into what failures cost: one that failed as such a latency, with this share of all of late.
    pub(crate) fn penalise(&self, latency: Duration, share: f32, now: Instant, decay: Duration) {
        // Nothing is written where nothing ever failed.
        if !latency.is_zero() || self.penalty.is_any() {
            self.penalty.lean(latency, share, now, decay);
        }
    }

    /// Takes an observation into the estimate.
    pub(crate) fn observe(&self, latency: Duration, now: Instant, decay: Duration) {
        self.latency.observe(latency, now, decay);
    }

    /// What the endpoint reported last of its load.
    pub(crate) fn reading(&self) -> &Slot {
        &self.reading
    }

    /// What weights are measured by, over all workers.
    pub(crate) fn measures(&self) -> Measures {
        Measures::of(self.shards.iter().filter_map(OnceLock::get).map(|shard| &**shard))
    }

    /// Says whether weights come from what is measured here.
    pub(crate) fn set_measured(&self, measured: bool) {
        self.measured.store(measured, Ordering::Relaxed);
    }

    /// Says how many connections the endpoint's agent allows; 0 stands for any number.
    pub(crate) fn set_connections_max(&self, max: u32) {
        self.connections_max.store(max, Ordering::Relaxed);
    }

    pub(crate) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn end(&self) {
        let before = self.in_flight.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "an attempt ended that had not begun");
    }

    /// Says how many broken connections in a row ring the cluster's bell; 0 stands for never.
    pub(crate) fn set_alarm(&self, at: u32) {
        self.alarm_at.store(at, Ordering::Relaxed);
    }

    pub(crate) fn set_leaving(&self, leaving: bool) {
        self.leaving.store(leaving, Ordering::Relaxed);
    }

    /// Counts an ended attempt for the worker `shard`; a shard beyond the number given at the start counts nothing.
    pub(crate) fn count(&self, shard: usize, failed: bool, latency: Option<Duration>) {
        if let Some(place) = self.shards.get(shard) {
            let place = place.get_or_init(Box::default);
            place.count(failed, latency);
            if let (true, false, Some(latency)) = (self.measured.load(Ordering::Relaxed), failed, latency) {
                place.measure(latency);
            }
        }
    }

    /// Writes only if there is something to clear: on the healthy path the line stays shared.
    pub(crate) fn succeeded(&self) {
        if self.consecutive_failures() != 0 {
            self.consecutive_failures.store(0, Ordering::Relaxed);
        }
        self.mend();
    }

    /// Forgets broken connections: one worked, or probes passed.
    pub(crate) fn mend(&self) {
        if self.broken_connections() != 0 {
            self.broken_connections.store(0, Ordering::Relaxed);
        }
    }

    /// Counts a connect failure or a reset.
    pub(crate) fn broke(&self) {
        if self.broken_connections() >= FAILURES_MAX {
            return;
        }
        let n = self.broken_connections.fetch_add(1, Ordering::Relaxed) + 1;
        let at = self.alarm_at.load(Ordering::Relaxed);
        if at != 0 && n >= at {
            self.bell.ring();
        }
    }

    pub(crate) fn failed(&self) {
        if self.consecutive_failures() < FAILURES_MAX {
            self.consecutive_failures.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> Live {
        Live::new(0, 2, Arc::default())
    }

    #[test]
    fn the_bell_rings_from_the_threshold_on_and_a_success_starts_over() {
        let live = live();
        live.broke();
        assert!(!live.bell.answer(), "there is no threshold yet");
        live.set_alarm(3);
        live.broke();
        assert!(!live.bell.answer());
        live.broke();
        assert!(live.bell.answer());
        live.succeeded();
        assert_eq!(live.broken_connections(), 0);
        live.broke();
        assert!(!live.bell.answer());
    }

    #[test]
    fn every_worker_counts_in_its_own_shard_and_one_too_many_counts_nowhere() {
        let live = live();
        live.count(0, false, None);
        live.count(1, true, Some(Duration::from_micros(5)));
        live.count(2, true, None);
        let counts = live.counts();
        assert_eq!((counts.attempts, counts.failures), (2, 1));
    }

    #[test]
    fn connections_stop_at_their_maximum_and_come_back() {
        let live = live();
        assert!(live.try_open_connection(2) && live.try_open_connection(2));
        assert!(!live.try_open_connection(2));
        assert_eq!(live.connections(), 2);
        live.close_connection();
        assert!(live.try_open_connection(2));
    }

    #[test]
    fn of_two_maxima_the_smaller_counts() {
        for (max, agents, allowed) in [(0, 2, 2), (3, 2, 2), (2, 3, 2), (2, 0, 2)] {
            let live = live();
            live.set_connections_max(agents);
            let opened = (0..5).filter(|_| live.try_open_connection(max)).count();
            assert_eq!(opened, allowed, "{max} {agents}");
        }
    }

    #[test]
    fn only_successes_are_measured_and_only_where_it_is_asked_for() {
        let live = live();
        let millis = Duration::from_millis;
        live.count(0, false, Some(millis(5)));
        live.set_measured(true);
        let before = live.measures();
        live.count(0, false, Some(millis(20)));
        live.count(1, false, Some(millis(10)));
        live.count(1, true, Some(millis(1)));
        live.count(1, false, None);
        let expected = Measures { attempts: 4, failures: 1, answered: 2, latency_us: 30_000 };
        assert_eq!(live.measures().since(&before), expected);
        assert_eq!((before.attempts, before.answered), (1, 0));
    }

    #[test]
    fn zero_is_no_maximum() {
        let live = live();
        assert!((0..1_000).all(|_| live.try_open_connection(0)));
        assert_eq!(live.connections(), 1_000);
    }

    #[test]
    fn failures_saturate_instead_of_wrapping() {
        let live = live();
        live.consecutive_failures.store(FAILURES_MAX, Ordering::Relaxed);
        live.failed();
        assert_eq!(live.consecutive_failures(), FAILURES_MAX);
    }

    #[test]
    fn records_never_share_a_cache_line() {
        assert_eq!((align_of::<Live>(), size_of::<Live>()), (128, 128));
    }

    #[test]
    fn a_connection_maximum_holds_over_racing_threads() {
        let live = live();
        let opened: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..1_000).filter(|_| live.try_open_connection(1_500)).count()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_default()).sum()
        });
        assert_eq!((opened, live.connections()), (1_500, 1_500));
    }
}
