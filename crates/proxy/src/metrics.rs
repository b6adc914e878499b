//! Counters and histograms: each worker writes its own with plain stores, a scrape sums them.
//!
//! Invariants: one writer a cell (the worker that owns the block), so an increment is a load and a store, never a
//! locked instruction; readers may see a sum that is a few increments old. A block belongs to a name, not to a
//! configuration: as long as the name goes on, so does the block, and exchanges under older configurations count into it.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use isobar_grpc::Status;

use crate::h2::CloseReason;
use crate::handshake::HandshakeFailure;
use crate::matching::continued;
use crate::plan::Plan;
use crate::refusal::ErrorCode;

/// Buckets double every two steps from 64 microseconds to 50 seconds, which bounds the error of a quantile to 19 %.
pub(crate) const N_BUCKETS: usize = 41;

/// Upper bound of the first bucket, as a power of two of microseconds.
const FIRST_BUCKET_BITS: u32 = 6;

/// A number that one thread increments and others read.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`; only the owner of the block may call this.
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Durations in buckets.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: [Counter; N_BUCKETS],
    sum_micros: Counter,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: std::array::from_fn(|_| Counter::default()), sum_micros: Counter::default() }
    }
}

impl Histogram {
    pub(crate) fn record(&self, duration: Duration) {
        let micros = duration.as_micros() as u64;
        self.buckets[bucket_of(micros)].add(1);
        self.sum_micros.add(micros);
    }

    pub(crate) fn bucket(&self, index: usize) -> u64 {
        self.buckets[index].value()
    }

    pub(crate) fn sum_micros(&self) -> u64 {
        self.sum_micros.value()
    }
}

/// The bucket of a duration: the first whose bound is not below it; the last takes the rest.
fn bucket_of(micros: u64) -> usize {
    if micros <= 1 << FIRST_BUCKET_BITS {
        return 0;
    }
    // Bounds are 2^k and 1.5 * 2^k; `micros - 1` makes the bounds inclusive.
    let below = micros - 1;
    let bits = below.ilog2();
    let upper_half = ((below >> (bits - 1)) & 1) as u32;
    let index = (bits - FIRST_BUCKET_BITS) * 2 + upper_half + 1;
    (index as usize).min(N_BUCKETS - 1)
}

/// Inclusive upper bound of a bucket in microseconds; `None` for the last.
pub(crate) fn bucket_bound_micros(index: usize) -> Option<u64> {
    if index + 1 >= N_BUCKETS {
        return None;
    }
    let base = 1_u64 << (FIRST_BUCKET_BITS as usize + index / 2);
    Some(if index.is_multiple_of(2) { base } else { base + base / 2 })
}

/// Requests of one (route, service).
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct RequestCounters {
    /// By hundreds of the status; answers of endpoints and of routes.
    pub(crate) answered: [Counter; 6],
    /// Refused, by code.
    pub(crate) refused: [Counter; ErrorCode::ALL.len()],
    /// Those that are gRPC calls, by number of the status; last those that got none.
    pub(crate) grpc: [Counter; Status::N + 1],
}

/// Why an attempt failed, as a metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum AttemptFailure {
    Connect,
    Reset,
    BadResponse,
    Timeout,
}

impl AttemptFailure {
    pub(crate) const ALL: [(Self, &'static str); 4] = [
        (Self::Connect, "connect"),
        (Self::Reset, "reset"),
        (Self::BadResponse, "bad-response"),
        (Self::Timeout, "timeout"),
    ];
}

/// One service.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct ServiceCounters {
    pub(crate) picks: Counter,
    pub(crate) attempts: Counter,
    pub(crate) retries: Counter,
    pub(crate) failures: [Counter; AttemptFailure::ALL.len()],
    pub(crate) connections: Counter,
    /// From the first byte of the request to the last of the response.
    pub(crate) total: Histogram,
    /// From sending the request to the response's head.
    pub(crate) upstream: Histogram,
}

/// One listener.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct ListenerCounters {
    pub(crate) opened: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
    pub(crate) handshakes: HandshakeCounters,
    pub(crate) http2: Http2Counters,
}

/// HTTP/2 with the callers of one listener.
#[derive(Debug, Default)]
pub(crate) struct Http2Counters {
    /// Connections that were closed before their caller did, by reason.
    pub(crate) closed: [Counter; CloseReason::ALL.len()],
    /// Requests that were reset because RFC 9113 calls them malformed.
    pub(crate) malformed: Counter,
}

/// TLS handshakes of one listener.
#[derive(Debug, Default)]
pub(crate) struct HandshakeCounters {
    pub(crate) done: Counter,
    pub(crate) failed: [Counter; HandshakeFailure::ALL.len()],
}

/// Everything that one worker counts under one plan, in the order of the plan.
///
/// Blocks are aligned to two cache lines, since processors fetch lines in pairs: two workers never share one.
#[derive(Debug, Default)]
pub(crate) struct WorkerMetrics {
    pub(crate) requests: Box<[Arc<RequestCounters>]>,
    pub(crate) services: Box<[Arc<ServiceCounters>]>,
    pub(crate) listeners: Box<[Arc<ListenerCounters>]>,
    pub(crate) log_lines_lost: Arc<Counter>,
}

impl WorkerMetrics {
    /// The metrics of the plan that `continuity` leads to; blocks whose names go on are the same ones.
    pub(crate) fn next(&self, continuity: &Continuity) -> Arc<Self> {
        Arc::new(Self {
            requests: carry(&self.requests, &continuity.series),
            services: carry(&self.services, &continuity.services),
            listeners: carry(&self.listeners, &continuity.listeners),
            log_lines_lost: Arc::clone(&self.log_lines_lost),
        })
    }
}

fn carry<T: Default>(blocks: &[Arc<T>], continued: &[Option<usize>]) -> Box<[Arc<T>]> {
    continued
        .iter()
        .map(|place| place.map_or_else(Arc::default, |place| Arc::clone(&blocks[place])))
        .collect()
}

/// For each name of a new plan, the place of the same name in the old one.
pub(crate) struct Continuity {
    series: Vec<Option<usize>>,
    services: Vec<Option<usize>>,
    listeners: Vec<Option<usize>>,
}

impl Continuity {
    pub(crate) fn between(old: &Plan, new: &Plan) -> Self {
        fn names<'a, T, K: Hash + Eq>(
            old: &'a [T],
            new: &'a [T],
            name: fn(&'a T) -> K,
        ) -> Vec<Option<usize>> {
            let all = |parts: &'a [T]| parts.iter().map(name).collect::<Vec<K>>();
            continued(&all(old), &all(new))
        }
        Self {
            series: names(&old.series, &new.series, |series| (&series.route, &series.service)),
            services: names(&old.services, &new.services, |service| &service.name),
            listeners: names(&old.listeners, &new.listeners, |listener| &listener.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_lies_within_the_bounds_of_its_bucket() {
        for micros in (0..200_000).chain([1 << 20, (1 << 26) - 1, 1 << 26, u64::MAX >> 1]) {
            let index = bucket_of(micros);
            if let Some(bound) = bucket_bound_micros(index) {
                assert!(micros <= bound, "{micros} over the bound {bound} of bucket {index}");
            }
            if index > 0 {
                let below = bucket_bound_micros(index - 1).unwrap_or(u64::MAX);
                assert!(micros > below, "{micros} belongs below bucket {index}");
            }
        }
    }

    #[test]
    fn the_last_bounded_bucket_ends_at_fifty_seconds() {
        assert_eq!(bucket_bound_micros(N_BUCKETS - 2), Some(3 << 24));
        assert_eq!(bucket_bound_micros(N_BUCKETS - 1), None);
    }
}
