//! `peak-ewma`: of two members drawn by weight the one whose next answer is expected sooner.
//!
//! The cost of a member is its estimated latency times one more than what it has in flight, that by weight. The estimate
//! is that of Finagle's `PeakEwma`: a slow answer counts at once, quick ones win it back over the decay; an estimate that
//! nothing renews fades. Failures count as slow (linkerd), so one that fails fast attracts nothing.
//!
//! Ties go to the first drawn, so an idle cluster of equals is spread by weight. A member without a history costs nothing
//! while it is idle, and everything while its first answer is out: it gets one request at a time until it has answered.
//! Nobody starves: a member that was not heard of for three decays and has nothing in flight wins
//! whenever it is drawn. Limit: at low load the quickest get nearly all, which is what is asked for.

use std::hint::select_unpredictable;

use super::p2c::{Rival, Rivals};
use super::{Facts, Plan, Policy};
use crate::latency::Fade;
use crate::{Draw, Instant, MemberIndex, PickRequest};

#[derive(Debug)]
struct PeakEwma {
    rivals: Rivals,
    fade: Fade,
    /// The mean of the weights.
    mean: f32,
}

pub(super) fn compile(plan: &Plan<'_>) -> Box<dyn Policy> {
    let sum: f64 = plan.candidates.iter().map(|candidate| f64::from(candidate.weight)).sum();
    let mean = (sum / plan.candidates.len() as f64) as f32;
    Box::new(PeakEwma { rivals: Rivals::new(plan), fade: Fade::new(plan.settings.decay), mean })
}

impl PeakEwma {
    fn cost(&self, rival: &Rival, now: Instant) -> f32 {
        let in_flight = rival.live.in_flight() as f32 * self.mean / rival.weight as f32;
        rival.live.expected_micros(now, self.fade) * (in_flight + 1.0)
    }
}

impl Policy for PeakEwma {
    fn choose(&self, _: &Facts<'_>, request: &PickRequest<'_>, draw: &mut Draw) -> MemberIndex {
        let (first, second) = self.rivals.draw(draw);
        let cost = |rival| self.cost(rival, request.now);
        // A processor would guess half of these wrong.
        select_unpredictable(cost(first) <= cost(second), first, second).index
    }
}
