//! What the policies by key have in common: names, skipping what was tried, bounded load.
//!
//! Bounded load after Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads" (2016): a member takes
//! no more than `percent` of its fair share of the attempts in flight, this one included, and at least one; a key whose
//! member is full goes to the next in its order. Since the shares sum to more than what is in flight, some member has
//! room. Limit: a walk ends after [`WALK_MAX`] steps and then takes the first that was not tried.

use super::{Candidate, Facts, Plan};
use crate::placement::Node;
use crate::{Draw, Layout, MemberIndex, PickRequest};

/// Steps of a walk: a ring names a member many times in a row by chance, and a few microseconds are the most that a
/// full cluster may cost.
const WALK_MAX: usize = 1024;

/// The members of a level as a placement names them.
#[derive(Debug)]
pub(super) struct Places {
    candidates: Box<[Candidate]>,
    bounded_load_percent: Option<u32>,
    weight_sum: u64,
}

impl Places {
    pub(super) fn new(plan: &Plan<'_>) -> Self {
        Self {
            candidates: plan.candidates.into(),
            bounded_load_percent: plan.settings.bounded_load_percent,
            weight_sum: plan.candidates.iter().map(|candidate| u64::from(candidate.weight)).sum(),
        }
    }

    /// Whether the member at this place may take one more.
    fn has_room(&self, candidate: Candidate, facts: &Facts<'_>) -> bool {
        let Some(percent) = self.bounded_load_percent else { return true };
        let in_flight = u128::from(facts.members[candidate.index.0 as usize].live.in_flight());
        let all = u128::from(facts.load.in_flight()) + 1;
        let share = all * u128::from(percent) * u128::from(candidate.weight);
        in_flight < share.div_ceil(100 * u128::from(self.weight_sum)).max(1)
    }

    /// The first of a walk that was not tried and has room; else the first that was not tried; else the first.
    pub(super) fn first(
        &self,
        walk: impl Iterator<Item = u32>,
        facts: &Facts<'_>,
        request: &PickRequest<'_>,
    ) -> MemberIndex {
        let mut first_untried = None;
        for place in walk.take(WALK_MAX) {
            let candidate = self.candidates[place as usize];
            if request.tried.contains(&candidate.index) {
                continue;
            }
            if self.has_room(candidate, facts) {
                return candidate.index;
            }
            first_untried.get_or_insert(candidate.index);
        }
        first_untried.unwrap_or(self.candidates[0].index)
    }

    /// Whether the member at this place was not tried and, where that is asked, has room.
    pub(super) fn may_take(
        &self,
        place: u32,
        facts: &Facts<'_>,
        request: &PickRequest<'_>,
        room: bool,
    ) -> bool {
        let candidate = self.candidates[place as usize];
        !request.tried.contains(&candidate.index) && (!room || self.has_room(candidate, facts))
    }

    pub(super) fn index(&self, place: u32) -> MemberIndex {
        self.candidates[place as usize].index
    }
}

/// The request's hash; a request without a key goes anywhere.
pub(super) fn hash(request: &PickRequest<'_>, draw: &mut Draw) -> u64 {
    request.key.unwrap_or_else(|| draw.next_u64())
}

/// The names that places follow from.
///
/// Ours is the id, which stays when the address changes. The others know servers by what stands in their configuration:
/// the endpoint's `hash_key`, else its address, for HAProxy a number, its place among the endpoints, from one.
pub(super) fn names(plan: &Plan<'_>) -> Vec<String> {
    let name = |candidate: &Candidate| {
        let endpoint = &plan.members[candidate.index.0 as usize].endpoint;
        match (&endpoint.hash_key, plan.settings.layout) {
            (Some(key), layout) if layout != Layout::Haproxy || key.parse::<u32>().is_ok() => key.to_string(),
            (_, Layout::Haproxy) => (u64::from(candidate.index.0) + 1).to_string(),
            (_, Layout::Isobar) => endpoint.id.to_string(),
            (_, Layout::Nginx | Layout::Envoy | Layout::Ketama) => endpoint.address.to_string(),
        }
    };
    plan.candidates.iter().map(name).collect()
}

/// The names with their weights.
pub(super) fn nodes<'a>(names: &'a [String], plan: &Plan<'_>) -> Vec<Node<'a>> {
    let with_weight = names.iter().zip(plan.candidates);
    with_weight.map(|(name, candidate)| Node { name, weight: candidate.weight }).collect()
}
