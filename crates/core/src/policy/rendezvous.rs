//! `rendezvous`: a key belongs to the member that bids highest for it.
//!
//! Moves the fewest keys of all, with weights exact in expectation and no table. Ties, cold start and recovery mean
//! nothing to it. Limits: a pick looks at every member.

use super::keyed::{self, Places, Standing};
use super::{Facts, Plan, Policy};
use crate::placement::Rendezvous;
use crate::{Draw, MemberIndex, PickRequest};

#[derive(Debug)]
struct HighestBid {
    places: Places,
    table: Rendezvous,
}

pub(super) fn compile(plan: &Plan<'_>) -> Box<dyn Policy> {
    let names = keyed::names(plan);
    let table = Rendezvous::new(&keyed::nodes(&names, plan));
    Box::new(HighestBid { places: Places::new(plan), table })
}

impl Policy for HighestBid {
    fn choose(&self, facts: &Facts<'_>, request: &PickRequest<'_>, draw: &mut Draw) -> MemberIndex {
        let hash = keyed::hash(request, draw);
        let seen = self.places.seen(facts, request);
        let free = self.table.best(hash, |place| seen.standing(place) == Standing::Free);
        let untried = || self.table.best(hash, |place| seen.standing(place) != Standing::Tried);
        self.places.index(free.or_else(untried).unwrap_or(0))
    }
}
