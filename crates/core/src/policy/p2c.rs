//! `p2c`: the less loaded of two members drawn by weight (power of two choices).
//!
//! Load is in-flight attempts divided by weight. Both are drawn from the weighted distribution and made
//! distinct by drawing the second again: drawing two uniformly and comparing by weight instead would give
//! light members about half of what they should have. Ties go to the first drawn, so an idle cluster is
//! spread by weight alone. A new member is idle and so wins its comparisons, but is drawn no more often than
//! its weight says: it is not flooded.

use super::{Alias, Candidate, Facts, Policy};
use crate::{Draw, MemberIndex, PickRequest};

/// How often the second is drawn again until it differs from the first. A member with nine tenths of the
/// weight still meets a rival in over half of its draws; one with more than that is right alone.
const REDRAWS: u32 = 8;

#[derive(Debug)]
struct P2c {
    candidates: Box<[Candidate]>,
    /// Absent when all weights are equal: then two distinct places are drawn without a table.
    shares: Option<Alias>,
}

pub(super) fn compile(candidates: &[Candidate]) -> Box<dyn Policy> {
    let weights: Vec<u32> = candidates.iter().map(|candidate| candidate.weight).collect();
    let equal = weights.iter().all(|weight| *weight == weights[0]);
    Box::new(P2c { candidates: candidates.into(), shares: (!equal).then(|| Alias::new(&weights)) })
}

impl Policy for P2c {
    fn choose(&self, facts: &Facts<'_>, _: &PickRequest<'_>, draw: &mut Draw) -> MemberIndex {
        let (first, second) = self.two(draw);
        let load =
            |candidate: Candidate| u64::from(facts.members[candidate.index.0 as usize].live.in_flight());
        // a / w <= b / v without the division; both sides fit, being products of 32-bit numbers.
        let first_wins = load(first) * u64::from(second.weight) <= load(second) * u64::from(first.weight);
        if first_wins { first.index } else { second.index }
    }
}

impl P2c {
    /// Two candidates, distinct unless one outweighs the rest by far or is alone.
    fn two(&self, draw: &mut Draw) -> (Candidate, Candidate) {
        let len = self.candidates.len() as u32;
        let Some(shares) = &self.shares else {
            let first = draw.below(len);
            let step = if len > 1 { 1 + draw.below(len - 1) } else { 0 };
            let second = (u64::from(first) + u64::from(step)) % u64::from(len);
            return (self.candidates[first as usize], self.candidates[second as usize]);
        };
        let first = shares.choose(draw);
        let mut second = shares.choose(draw);
        for _ in 0..REDRAWS {
            if second != first {
                break;
            }
            second = shares.choose(draw);
        }
        (self.candidates[first], self.candidates[second])
    }
}
