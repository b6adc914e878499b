//! `peak-ewma`: of two members drawn by weight the one whose next answer is expected sooner.
//!
//! The cost of a member is its estimated latency times one more than what it has in flight, that by weight. The estimate
//! is that of Finagle's `PeakEwma`: a slow answer counts at once, quick ones win it back over the decay; an estimate that
//! nothing renews fades. Failures count as slow (linkerd), so one that fails fast attracts nothing.
//!
//! Ties go to the first drawn, so an idle cluster of equals is spread by weight. A member without a history costs nothing
//! while it is idle, and everything while its first answer is out: it gets one request at a time until it has answered.
//! Nobody starves: a member that was not heard of for [`FORGOTTEN_DECAYS`] decays and has nothing in flight wins
//! whenever it is drawn. Limit: at low load the quickest get nearly all, which is what is asked for.

use std::time::Duration;

use super::p2c::Pairs;
use super::{Candidate, Facts, Plan, Policy};
use crate::latency::FORGOTTEN_DECAYS;
use crate::{Draw, Instant, MemberIndex, PickRequest};

/// The cost of a member whose first answer is out: more than any estimate.
const UNKNOWN: f32 = 1e30;

#[derive(Debug)]
struct PeakEwma {
    pairs: Pairs,
    decay: Duration,
    /// The mean of the weights.
    mean: f32,
}

pub(super) fn compile(plan: &Plan<'_>) -> Box<dyn Policy> {
    let sum: f64 = plan.candidates.iter().map(|candidate| f64::from(candidate.weight)).sum();
    let mean = (sum / plan.candidates.len() as f64) as f32;
    Box::new(PeakEwma { pairs: Pairs::new(plan.candidates), decay: plan.settings.decay, mean })
}

impl PeakEwma {
    fn cost(&self, candidate: Candidate, facts: &Facts<'_>, now: Instant) -> f32 {
        let live = &facts.members[candidate.index.0 as usize].live;
        let in_flight = live.in_flight() as f32 * self.mean / candidate.weight as f32;
        match live.latency(now, self.decay) {
            Some((_, age)) if in_flight == 0.0 && age > self.decay * FORGOTTEN_DECAYS => 0.0,
            Some((micros, _)) => micros * (in_flight + 1.0),
            None if in_flight == 0.0 => 0.0,
            None => UNKNOWN * (in_flight + 1.0),
        }
    }
}

impl Policy for PeakEwma {
    fn choose(&self, facts: &Facts<'_>, request: &PickRequest<'_>, draw: &mut Draw) -> MemberIndex {
        let (first, second) = self.pairs.draw(draw);
        let cost = |candidate| self.cost(candidate, facts, request.now);
        if cost(first) <= cost(second) { first.index } else { second.index }
    }
}
