//! `random`: a member by weight, at random, in constant time.
//!
//! No state, no coordination: the baseline that others are measured against. Ties, cold start and recovery
//! mean nothing to it; it never looks at load.

use super::{Alias, Facts, Plan, Policy};
use crate::{Draw, MemberIndex, PickRequest};

#[derive(Debug)]
struct Random {
    members: Box<[MemberIndex]>,
    shares: Alias,
}

pub(super) fn compile(plan: &Plan<'_>) -> Box<dyn Policy> {
    let candidates = plan.candidates;
    let weights: Vec<u32> = candidates.iter().map(|candidate| candidate.weight).collect();
    Box::new(Random {
        members: candidates.iter().map(|candidate| candidate.index).collect(),
        shares: Alias::new(&weights),
    })
}

impl Policy for Random {
    fn choose(&self, _: &Facts<'_>, _: &PickRequest<'_>, draw: &mut Draw) -> MemberIndex {
        self.members[self.shares.choose(draw)]
    }
}
