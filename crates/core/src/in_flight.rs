//! The in-flight guard: one attempt at one endpoint, from its start to its one outcome.
//!
//! Invariants: the endpoint's in-flight count goes up once at the start and down once at the drop, however
//! the attempt ends, a panic included; exactly one outcome is reported. Limits: the guard trusts its holder
//! to give the same snapshot for as long as it lives.

use std::ops::Deref;

use crate::{Instant, Member, MemberIndex, Snapshot};

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
    outcome: Outcome,
}

impl<H: Deref<Target = Snapshot>> InFlight<H> {
    /// Begins an attempt at the member `index`, which must come from a pick of this very snapshot.
    ///
    /// # Panics
    /// If the snapshot has no such member.
    #[must_use = "dropping the guard ends the attempt"]
    pub fn start(holder: H, index: MemberIndex, now: Instant) -> Self {
        holder.member(index).live.begin();
        Self { holder, index, started: now, outcome: Outcome::Cancelled }
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

impl<H: Deref<Target = Snapshot>> Drop for InFlight<H> {
    fn drop(&mut self) {
        let live = &self.member().live;
        live.end();
        match self.outcome {
            Outcome::Success => live.succeeded(),
            Outcome::Failure(_) | Outcome::Timeout => live.failed(),
            Outcome::Cancelled | Outcome::Refused => {}
        }
    }
}
