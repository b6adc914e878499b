//! The live record of an endpoint: the numbers that every thread shares and that outlive snapshots.
//!
//! Invariants: one record per (id, generation), shared by every snapshot that holds the endpoint; counts
//! never wrap below zero. Every access is relaxed: the numbers steer load and publish no other memory.
//! Limits: counts are 32 bits wide.

use std::sync::atomic::{AtomicU32, Ordering};

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
    connections: AtomicU32,
}

impl Live {
    pub(crate) fn new(generation: u64) -> Self {
        Self {
            generation,
            in_flight: AtomicU32::new(0),
            consecutive_failures: AtomicU32::new(0),
            connections: AtomicU32::new(0),
        }
    }

    /// Which address this endpoint id has reached by now: unique within the cluster and rising, so that a
    /// connection to an earlier address is recognised.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Attempts that have begun and not ended.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Failures and timeouts since the last success.
    pub fn consecutive_failures(&self) -> u32 {
        self.consecutive_failures.load(Ordering::Relaxed)
    }

    /// Open connections to the endpoint, in use or idle.
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Counts one more open connection unless `max` are open; zero is no maximum.
    ///
    /// On `true` the caller owes one [`Self::close_connection`].
    #[must_use = "on true a connection is counted and must be given back"]
    pub fn try_open_connection(&self, max: u32) -> bool {
        let max = if max == 0 { u32::MAX } else { max };
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

    pub(crate) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn end(&self) {
        let before = self.in_flight.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "an attempt ended that had not begun");
    }

    /// Writes only if there is something to clear: on the healthy path the line stays shared.
    pub(crate) fn succeeded(&self) {
        if self.consecutive_failures() != 0 {
            self.consecutive_failures.store(0, Ordering::Relaxed);
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

    #[test]
    fn connections_stop_at_their_maximum_and_come_back() {
        let live = Live::new(0);
        assert!(live.try_open_connection(2) && live.try_open_connection(2));
        assert!(!live.try_open_connection(2));
        assert_eq!(live.connections(), 2);
        live.close_connection();
        assert!(live.try_open_connection(2));
    }

    #[test]
    fn zero_is_no_maximum() {
        let live = Live::new(0);
        assert!((0..1_000).all(|_| live.try_open_connection(0)));
        assert_eq!(live.connections(), 1_000);
    }

    #[test]
    fn failures_saturate_instead_of_wrapping() {
        let live = Live::new(0);
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
        let live = Live::new(0);
        let opened: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..1_000).filter(|_| live.try_open_connection(1_500)).count()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_default()).sum()
        });
        assert_eq!((opened, live.connections()), (1_500, 1_500));
    }
}
