//! What the traffic saw: requests, failures and latencies, in all and by endpoint, over the whole run and lately.
//!
//! Invariants: pure, the time is an argument counted from the start; every request is counted once in the total, and
//! once at the endpoint that answered it, if one did. At most [`TRACKS_MAX`] endpoints are told apart.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::histogram::Histogram;

/// Seconds that "lately" covers, the current one included: short enough to follow a change, long enough for a share
/// that does not flicker.
const WINDOW_SECS: u64 = 5;

/// Endpoints that are told apart; the demo starts with five, and a user may add some.
const TRACKS_MAX: usize = 64;

/// How a request failed, as its caller saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Failure {
    /// No connection to the proxy could be made.
    Connect,
    /// The connection ended before the answer did.
    Broken,
    /// There was no whole answer in time.
    Timeout,
    /// The answer had a status other than 200.
    Status(u16),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("no connection to the proxy"),
            Self::Broken => f.write_str("connection broken"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Status(status) => write!(f, "status {status}"),
        }
    }
}

/// What is to be counted of one request.
#[derive(Debug)]
pub(super) struct Sample<'a> {
    /// The endpoint that answered, where one did.
    pub(super) endpoint: Option<&'a str>,
    /// From sending to the end of the answer.
    pub(super) latency: Duration,
    pub(super) failure: Option<Failure>,
}

/// Numbers of the last seconds or of the whole run. Latencies are those of requests that did not fail.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Reading {
    pub(super) requests: u64,
    pub(super) failures: u64,
    /// Requests a second.
    pub(super) rate: f64,
    pub(super) p50: Option<Duration>,
    pub(super) p99: Option<Duration>,
}

/// All counts of a run.
#[derive(Debug)]
pub(super) struct Ledger {
    total: Track,
    endpoints: BTreeMap<String, Track>,
    failures: BTreeMap<Failure, u64>,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self { total: Track::new(), endpoints: BTreeMap::new(), failures: BTreeMap::new() }
    }

    /// Counts a request that ended at `now`.
    pub(super) fn record(&mut self, now: Duration, sample: &Sample<'_>) {
        self.total.record(now, sample);
        if let Some(failure) = sample.failure {
            *self.failures.entry(failure).or_default() += 1;
        }
        let Some(id) = sample.endpoint else { return };
        if let Some(track) = self.endpoints.get_mut(id) {
            track.record(now, sample);
        } else if self.endpoints.len() < TRACKS_MAX {
            let track = self.endpoints.entry(id.to_owned()).or_insert_with(Track::new);
            track.record(now, sample);
        }
    }

    /// All requests of the last seconds.
    pub(super) fn recent(&self, now: Duration) -> Reading {
        self.total.recent(now)
    }

    /// All requests of the run, which has lasted for `now`.
    pub(super) fn whole(&self, now: Duration) -> Reading {
        self.total.whole(now)
    }

    /// The requests of the last seconds that one endpoint answered.
    pub(super) fn recent_of(&self, id: &str, now: Duration) -> Reading {
        self.endpoints.get(id).map(|track| track.recent(now)).unwrap_or_default()
    }

    /// The requests of the run that one endpoint answered.
    pub(super) fn whole_of(&self, id: &str, now: Duration) -> Reading {
        self.endpoints.get(id).map(|track| track.whole(now)).unwrap_or_default()
    }

    /// How often requests failed, by how.
    pub(super) fn failures(&self) -> impl Iterator<Item = (Failure, u64)> {
        self.failures.iter().map(|(failure, n)| (*failure, *n))
    }
}

/// The counts of one second, or of a whole run.
#[derive(Debug, Clone)]
struct Counts {
    requests: u64,
    failures: u64,
    latencies: Histogram,
}

impl Counts {
    fn new() -> Self {
        Self { requests: 0, failures: 0, latencies: Histogram::new() }
    }

    fn record(&mut self, sample: &Sample<'_>) {
        self.requests += 1;
        if sample.failure.is_some() {
            self.failures += 1;
        } else {
            self.latencies.record(sample.latency);
        }
    }

    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.failures += other.failures;
        self.latencies.add(&other.latencies);
    }

    fn clear(&mut self) {
        (self.requests, self.failures) = (0, 0);
        self.latencies.clear();
    }

    fn read(&self, covered: Duration) -> Reading {
        let seconds = covered.as_secs_f64();
        Reading {
            requests: self.requests,
            failures: self.failures,
            rate: if seconds > 0.0 { self.requests as f64 / seconds } else { 0.0 },
            p50: self.latencies.quantile(0.5),
            p99: self.latencies.quantile(0.99),
        }
    }
}

/// The counts of one endpoint, or of all.
#[derive(Debug)]
struct Track {
    whole: Counts,
    /// A ring: second `s` is at `s % WINDOW_SECS`.
    recent: Vec<(u64, Counts)>,
}

impl Track {
    fn new() -> Self {
        Self {
            whole: Counts::new(),
            recent: (0..WINDOW_SECS).map(|second| (second, Counts::new())).collect(),
        }
    }

    fn record(&mut self, now: Duration, sample: &Sample<'_>) {
        self.whole.record(sample);
        let second = now.as_secs();
        let (held, counts) = &mut self.recent[(second % WINDOW_SECS) as usize];
        // A sample may be late by a moment, never by a window; one that is would only be missing here.
        if *held < second {
            counts.clear();
            *held = second;
        }
        if *held == second {
            counts.record(sample);
        }
    }

    fn recent(&self, now: Duration) -> Reading {
        let first = (now.as_secs() + 1).saturating_sub(WINDOW_SECS);
        let mut sum = Counts::new();
        for (_, counts) in self.recent.iter().filter(|(second, _)| (first..=now.as_secs()).contains(second)) {
            sum.add(counts);
        }
        sum.read(now.saturating_sub(Duration::from_secs(first)))
    }

    fn whole(&self, now: Duration) -> Reading {
        self.whole.read(now)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn answer(endpoint: &str) -> Sample<'_> {
        Sample { endpoint: Some(endpoint), latency: 4 * MS, failure: None }
    }

    fn failure(failure: Failure) -> Sample<'static> {
        Sample { endpoint: None, latency: 9 * MS, failure: Some(failure) }
    }

    #[test]
    fn every_request_is_in_the_total_and_an_answer_at_its_endpoint_too() {
        let mut ledger = Ledger::new();
        for at in 0..100 {
            ledger.record(at * 10 * MS, &answer(if at % 4 == 0 { "a" } else { "b" }));
        }
        ledger.record(1_000 * MS, &failure(Failure::Timeout));
        ledger.record(1_000 * MS, &failure(Failure::Status(503)));
        ledger.record(1_000 * MS, &failure(Failure::Status(503)));
        let now = 2_000 * MS;
        assert_eq!((ledger.whole(now).requests, ledger.whole(now).failures), (103, 3));
        assert_eq!(ledger.whole_of("a", now).requests, 25);
        assert_eq!(ledger.whole_of("b", now).requests, 75);
        assert_eq!(ledger.whole_of("c", now), Reading::default());
        let failures: Vec<_> = ledger.failures().collect();
        assert_eq!(failures, [(Failure::Timeout, 1), (Failure::Status(503), 2)]);
    }

    #[test]
    fn lately_forgets_what_is_older_than_the_window_and_the_whole_does_not() {
        let mut ledger = Ledger::new();
        for tenth in 0..200 {
            ledger.record(tenth * 100 * MS, &answer(if tenth < 100 { "old" } else { "new" }));
        }
        let now = 19_950 * MS;
        assert_eq!(ledger.recent_of("old", now).requests, 0);
        assert_eq!(ledger.recent_of("new", now).requests, 50);
        assert!((ledger.recent_of("new", now).rate - 10.0).abs() < 0.2, "{:?}", ledger.recent(now));
        assert_eq!(ledger.whole_of("old", now).requests, 100);
        assert_eq!(ledger.recent(now + Duration::from_mins(1)), Reading::default());
    }

    #[test]
    fn the_rate_of_a_young_run_is_over_its_age() {
        let mut ledger = Ledger::new();
        for tenth in 0..10 {
            ledger.record(tenth * 100 * MS, &answer("a"));
        }
        assert!((ledger.recent(1_000 * MS).rate - 10.0).abs() < 0.01);
        assert!(ledger.recent(Duration::ZERO).rate.is_finite());
    }

    #[test]
    fn latencies_are_those_of_requests_that_did_not_fail() {
        let mut ledger = Ledger::new();
        ledger.record(MS, &answer("a"));
        ledger.record(MS, &failure(Failure::Broken));
        assert!(ledger.whole(MS).p99.unwrap() < 5 * MS);
        let mut only_failures = Ledger::new();
        only_failures.record(MS, &failure(Failure::Connect));
        assert_eq!(only_failures.whole(MS).p99, None);
    }

    #[test]
    fn endpoints_past_the_bound_are_in_the_total_only() {
        let mut ledger = Ledger::new();
        for n in 0..TRACKS_MAX + 10 {
            ledger.record(MS, &answer(&format!("e{n}")));
        }
        assert_eq!(ledger.whole(MS).requests, TRACKS_MAX as u64 + 10);
        assert_eq!(ledger.whole_of(&format!("e{TRACKS_MAX}"), MS).requests, 0);
        ledger.record(MS, &answer("e0"));
        assert_eq!(ledger.whole_of("e0", MS).requests, 2);
    }
}
