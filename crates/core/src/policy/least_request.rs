//! `least-request`: the least loaded of all members, by a full scan.
//!
//! Load is in-flight attempts divided by weight. Ties are drawn by weight, so an idle cluster is spread by weight and
//! not in written order. A new member is idle and wins until it has as much as the others: with many callers it is
//! flooded at first; `p2c` is gentler. Limits: a pick looks at every member, some nanoseconds each.

use super::{Candidate, Facts, Plan, Policy};
use crate::{Draw, MemberIndex, PickRequest};

#[derive(Debug)]
struct LeastRequest {
    candidates: Box<[Candidate]>,
}

pub(super) fn compile(plan: &Plan<'_>) -> Box<dyn Policy> {
    Box::new(LeastRequest { candidates: plan.candidates.into() })
}

impl Policy for LeastRequest {
    fn choose(&self, facts: &Facts<'_>, request: &PickRequest<'_>, draw: &mut Draw) -> MemberIndex {
        let mut best = (u64::MAX, 1_u64, self.candidates[0].index);
        let mut tied = 0_u64;
        for candidate in &self.candidates {
            if request.tried.contains(&candidate.index) {
                continue;
            }
            let load = u64::from(facts.members[candidate.index.0 as usize].live.in_flight());
            let weight = u64::from(candidate.weight);
            // load / weight against the best's, without the division: products of 32-bit numbers fit.
            let (here, there) = (load * best.1, best.0.min(u64::from(u32::MAX)) * weight);
            let is_first = best.0 == u64::MAX;
            if is_first || here < there {
                best = (load, weight, candidate.index);
                tied = weight;
            } else if here == there {
                tied += weight;
                // Replacing the choice with chance weight / total leaves each with its share of the final total.
                if draw.below_wide(tied) < weight {
                    best = (load, weight, candidate.index);
                }
            }
        }
        best.2
    }
}
