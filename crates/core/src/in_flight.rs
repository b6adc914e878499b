//! The in-flight guard: one attempt at one endpoint, from its start to its one outcome.
//!
//! Invariants: the endpoint's in-flight count goes up once at the start and down once at the drop, however
//! the attempt ends, a panic included; exactly one outcome is reported. Limits: the guard trusts its holder
//! to give the same snapshot for as long as it lives.

use std::ops::Deref;
use std::time::Duration;

use crate::{Instant, Live, LoadReport, Member, MemberIndex, PolicyKind, Snapshot};

/// A failure counts as an answer that took so long (linkerd's default): one that fails fast looks slow.
const FAILURE_PENALTY: Duration = Duration::from_secs(5);

/// The part of the attempts of late that the last one is taken for, where failures are weighed by how many there are.
const FAILURE_SHARE: f32 = 1.0 / 16.0;

/// Longest wish to be left alone that is granted: what is asked for in hours is asked for by mistake.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(5);

/// What kind of failure an attempt met.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FailureClass {
    /// No connection could be made.
    Connect,
    /// The connection broke after the attempt had begun.
    Reset,
    /// The response broke the protocol.
    BadResponse,
    /// The response carried a status that counts as a failure.
    Status,
}

/// How an attempt ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// The endpoint answered.
    Success,
    /// The endpoint failed.
    Failure(FailureClass),
    /// The endpoint did not answer in time.
    Timeout,
    /// The caller went away; this says nothing about the endpoint.
    Cancelled,
    /// The attempt was never sent; this says nothing about the endpoint.
    Refused,
}

/// Counts one attempt as in flight and reports its outcome when dropped.
///
/// Generic over how it holds the snapshot (`Rc` within a worker, `Arc` across threads, or a borrow), so
/// that no pick touches a reference count which all threads share. Dropped without an outcome it reports
/// [`Outcome::Cancelled`].
pub struct InFlight<H: Deref<Target = Snapshot>> {
    holder: H,
    index: MemberIndex,
    started: Instant,
    /// Time to the response head, once it came.
    latency: Option<Duration>,
    /// When a failure was seen, and how long the endpoint asked to be left alone.
    failed: Option<(Instant, Duration)>,
    /// Which worker or shard of a client counts the attempt.
    shard: u32,
    outcome: Outcome,
}

impl<H: Deref<Target = Snapshot>> InFlight<H> {
    /// Begins an attempt at the member `index`, which must come from a pick of this very snapshot; the worker `shard`
    /// counts it.
    ///
    /// # Panics
    /// If the snapshot has no such member.
    #[must_use = "dropping the guard ends the attempt"]
    pub fn start(holder: H, index: MemberIndex, shard: usize, now: Instant) -> Self {
        holder.member(index).live.begin();
        holder.load().begin(shard);
        Self {
            holder,
            index,
            started: now,
            latency: None,
            failed: None,
            shard: u32::try_from(shard).unwrap_or(u32::MAX),
            outcome: Outcome::Cancelled,
        }
    }

    /// Notes that the head of the final response has come.
    pub fn answered(&mut self, now: Instant) {
        self.latency = Some(now.since(self.started));
    }

    /// Notes when a failure was seen, and how long the endpoint asks to be left alone (zero where it does not): a policy
    /// that looks at latencies takes it for an answer that took as long, and five seconds at least.
    pub fn failed(&mut self, now: Instant, retry_after: Duration) {
        self.failed = Some((now, retry_after.min(RETRY_AFTER_MAX)));
    }

    /// Leaves what the endpoint reports of its load for the owner of the cluster, an error counting as `error_penalty` of
    /// a request's work.
    pub fn report(&self, report: LoadReport, error_penalty: f32) {
        if let Some(reading) = report.reading(error_penalty) {
            self.member().live.reading().leave(reading);
        }
    }

    /// The member that is tried.
    pub fn member(&self) -> &Member {
        self.holder.member(self.index)
    }

    /// Its place in the snapshot.
    pub fn index(&self) -> MemberIndex {
        self.index
    }

    /// When the attempt began.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The snapshot that the member was picked from.
    pub fn snapshot(&self) -> &Snapshot {
        &self.holder
    }

    /// Ends the attempt with `outcome`.
    pub fn finish(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }

    /// Notes what a later drop shall report; the last note counts.
    pub fn set_outcome(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl<H: Deref<Target = Snapshot>> InFlight<H> {
    /// Takes what became of the attempt into the estimate of the endpoint's latency; one that the caller gave up before
    /// an answer took at least as long as it was waited for, which nobody told.
    fn estimate(&self, live: &Live, failed: bool, decay: Duration) {
        let answered = |latency: Duration| self.started.after(latency);
        if self.holder.policy() == PolicyKind::Prequal {
            self.penalise(live, failed, decay);
        }
        match (failed, self.failed, self.latency) {
            // Whoever asks to be left alone is, also where its answer is no failure (429).
            (_, Some((now, retry_after)), _) if failed || !retry_after.is_zero() => {
                live.observe(FAILURE_PENALTY.max(retry_after), now, decay);
            }
            (true, _, latency) => {
                live.observe(FAILURE_PENALTY, answered(latency.unwrap_or_default()), decay);
            }
            (false, _, Some(latency)) => live.observe(latency, answered(latency), decay),
            (false, _, None) => {}
        }
    }
}

impl<H: Deref<Target = Snapshot>> InFlight<H> {
    /// Takes what became of the attempt into what failures of the endpoint cost.
    fn penalise(&self, live: &Live, failed: bool, decay: Duration) {
        let now = |latency: Option<Duration>| self.started.after(latency.unwrap_or_default());
        match self.failed {
            Some((now, retry_after)) if !retry_after.is_zero() => {
                live.penalise(FAILURE_PENALTY.max(retry_after), 1.0, now, decay);
            }
            Some((now, _)) if failed => live.penalise(FAILURE_PENALTY, FAILURE_SHARE, now, decay),
            _ if failed => live.penalise(FAILURE_PENALTY, FAILURE_SHARE, now(self.latency), decay),
            _ => live.penalise(Duration::ZERO, FAILURE_SHARE, now(self.latency), decay),
        }
    }
}

impl<H: Deref<Target = Snapshot>> Drop for InFlight<H> {
    fn drop(&mut self) {
        let live = &self.member().live;
        live.end();
        self.holder.load().end(self.shard as usize);
        let failed = match self.outcome {
            Outcome::Success => {
                live.succeeded();
                false
            }
            Outcome::Failure(class) => {
                live.failed();
                match class {
                    FailureClass::Connect | FailureClass::Reset => live.broke(),
                    // Its connections work, whatever it says on them.
                    FailureClass::BadResponse | FailureClass::Status => live.mend(),
                }
                true
            }
            Outcome::Timeout => {
                live.failed();
                true
            }
            Outcome::Cancelled => false,
            Outcome::Refused => return,
        };
        if let Some(decay) = self.holder.decay() {
            self.estimate(live, failed, decay);
        }
        live.count(self.shard as usize, failed, self.latency);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{Address, Cluster, ClusterSettings, Draw, Endpoint, Found, PickRequest, SourceSet};
    use std::rc::Rc;

    fn snapshot() -> Rc<Snapshot> {
        let settings = ClusterSettings { policy: PolicyKind::Random.into(), ..Default::default() };
        let mut cluster = Cluster::new("a", settings, 1, 0);
        let endpoint = Endpoint {
            id: "1".into(),
            address: Address::Tcp("127.0.0.1:1".parse().unwrap()),
            weight: 1,
            priority: 0,
            zone: None,
            host: None,
            hash_key: None,
            metadata: std::collections::BTreeMap::new(),
        };
        let found = vec![Found { endpoint, inferred: None }];
        cluster.set_sources(vec![SourceSet { name: "test".into(), found }], Instant(0));
        Rc::new(cluster.snapshot())
    }

    fn begin(snapshot: &Rc<Snapshot>) -> InFlight<Rc<Snapshot>> {
        let index = snapshot.pick(&PickRequest::default(), &mut Draw::new(0)).unwrap();
        InFlight::start(snapshot.clone(), index, 0, Instant(5))
    }

    #[test]
    fn an_attempt_is_in_flight_from_its_start_to_its_end() {
        let snapshot = snapshot();
        let (first, second) = (begin(&snapshot), begin(&snapshot));
        assert_eq!(first.member().live.in_flight(), 2);
        first.finish(Outcome::Success);
        drop(second);
        assert_eq!(snapshot.members()[0].live.in_flight(), 0);
    }

    #[test]
    fn only_failures_and_timeouts_count_and_a_success_clears_them() {
        let snapshot = snapshot();
        let after = |outcome| {
            begin(&snapshot).finish(outcome);
            snapshot.members()[0].live.consecutive_failures()
        };
        assert_eq!(after(Outcome::Failure(FailureClass::Connect)), 1);
        assert_eq!(after(Outcome::Timeout), 2);
        assert_eq!(after(Outcome::Cancelled), 2);
        assert_eq!(after(Outcome::Refused), 2);
        assert_eq!(after(Outcome::Success), 0);
    }

    #[test]
    fn only_connections_that_broke_count_as_broken_and_any_answer_mends() {
        let snapshot = snapshot();
        let after = |outcome| {
            begin(&snapshot).finish(outcome);
            snapshot.members()[0].live.broken_connections()
        };
        assert_eq!(after(Outcome::Failure(FailureClass::Connect)), 1);
        assert_eq!(after(Outcome::Failure(FailureClass::Reset)), 2);
        assert_eq!(after(Outcome::Timeout), 2);
        assert_eq!(after(Outcome::Cancelled), 2);
        assert_eq!(after(Outcome::Failure(FailureClass::Status)), 0);
        assert_eq!(after(Outcome::Failure(FailureClass::Reset)), 1);
        assert_eq!(after(Outcome::Success), 0);
    }

    #[test]
    fn attempts_that_were_sent_are_counted_with_the_time_to_their_answer() {
        let snapshot = snapshot();
        let mut guard = begin(&snapshot);
        guard.answered(Instant(3_005_000));
        guard.finish(Outcome::Success);
        begin(&snapshot).finish(Outcome::Timeout);
        begin(&snapshot).finish(Outcome::Refused);
        let counts = snapshot.members()[0].live.counts();
        assert_eq!((counts.attempts, counts.failures), (2, 1));
        assert_eq!(counts.latency, Some(Duration::from_micros(3_004)));
    }

    #[test]
    fn a_guard_dropped_without_an_outcome_is_cancelled() {
        let snapshot = snapshot();
        begin(&snapshot).finish(Outcome::Timeout);
        drop(begin(&snapshot));
        assert_eq!(snapshot.members()[0].live.consecutive_failures(), 1);
    }

    #[test]
    fn the_last_noted_outcome_counts() {
        let snapshot = snapshot();
        let mut guard = begin(&snapshot);
        guard.set_outcome(Outcome::Success);
        guard.set_outcome(Outcome::Timeout);
        drop(guard);
        assert_eq!(snapshot.members()[0].live.consecutive_failures(), 1);
    }

    #[test]
    fn a_panic_ends_the_attempt_too() {
        let snapshot = snapshot();
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _guard = begin(&snapshot);
            std::panic::resume_unwind(Box::new("the connection's task panics"));
        }));
        assert!(ended.is_err());
        assert_eq!(snapshot.members()[0].live.in_flight(), 0);
    }
}
