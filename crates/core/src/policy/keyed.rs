//! What the policies by key have in common: names, skipping what was tried, bounded load.
//!
//! Bounded load after Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads" (2016): a member takes
//! no more than `percent` of its fair share of the attempts in flight, this one included, rounded up; a key whose
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

    /// The same places as one request sees them.
    #[inline]
    pub(super) fn seen<'a>(&'a self, facts: &'a Facts<'a>, request: &'a PickRequest<'a>) -> Seen<'a> {
        let bound = self.bounded_load_percent.map(|percent| {
            // With this attempt.
            let all = u128::from(facts.load.in_flight()) + 1;
            all * u128::from(percent)
        });
        Seen { places: self, facts, request, bound }
    }

    #[inline]
    pub(super) fn index(&self, place: u32) -> MemberIndex {
        self.candidates[place as usize].index
    }
}

/// What a member can do for a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Free,
    /// It has its share in flight.
    Full,
    /// The request has tried it.
    Tried,
}

/// The places as one request sees them.
pub(super) struct Seen<'a> {
    places: &'a Places,
    facts: &'a Facts<'a>,
    request: &'a PickRequest<'a>,
    /// Attempts in flight times the percentage, where load is bounded.
    bound: Option<u128>,
}

impl Seen<'_> {
    /// How the member at this place stands.
    #[inline]
    pub(super) fn standing(&self, place: u32) -> Standing {
        let candidate = self.places.candidates[place as usize];
        if self.request.tried.contains(&candidate.index) {
            return Standing::Tried;
        }
        let Some(bound) = self.bound else { return Standing::Free };
        let in_flight = u128::from(self.facts.members[candidate.index.0 as usize].live.in_flight());
        // in_flight < bound * weight / (100 * sum), without the division; an idle one always has room.
        let has_room =
            in_flight * 100 * u128::from(self.places.weight_sum) < bound * u128::from(candidate.weight);
        if in_flight == 0 || has_room { Standing::Free } else { Standing::Full }
    }

    /// The first of a walk that is free; else the first that was not tried; else the first of all.
    #[inline]
    pub(super) fn first(&self, walk: impl Iterator<Item = u32>) -> MemberIndex {
        let mut first_full = None;
        for place in walk.take(WALK_MAX) {
            match self.standing(place) {
                Standing::Free => return self.places.index(place),
                Standing::Full => {
                    first_full.get_or_insert(place);
                }
                Standing::Tried => {}
            }
        }
        self.places.index(first_full.unwrap_or(0))
    }
}

/// The request's hash; a request without a key goes anywhere.
#[inline]
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
