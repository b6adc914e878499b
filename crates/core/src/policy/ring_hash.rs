//! `ring-hash`: a key belongs to the member of the next point on a ring.
//!
//! The layout says whose ring; ours does not depend on the order of the members. Ties, cold start and recovery mean
//! nothing to it: a member has its keys from its first moment, and gets them back when it returns. Only bounded load
//! looks at what is in flight.

use super::keyed::{self, Places};
use super::{Facts, Plan, Policy};
use crate::placement::Ring;
use crate::{Draw, MemberIndex, PickRequest};

#[derive(Debug)]
struct RingHash {
    places: Places,
    ring: Ring,
}

pub(super) fn compile(plan: &Plan<'_>) -> Box<dyn Policy> {
    let names = keyed::names(plan);
    let ring = Ring::new(plan.settings.layout, plan.settings.point_hash, &keyed::nodes(&names, plan));
    Box::new(RingHash { places: Places::new(plan), ring })
}

impl Policy for RingHash {
    fn choose(&self, facts: &Facts<'_>, request: &PickRequest<'_>, draw: &mut Draw) -> MemberIndex {
        self.places.seen(facts, request).first(self.ring.walk(keyed::hash(request, draw)))
    }
}
