//! `maglev`: a key belongs to the member of one entry of a table.
//!
//! Shares are exact to an entry, a lookup is one division; a change of the members moves a few more keys than a ring
//! would. Ties, cold start and recovery mean nothing to it. Only bounded load looks at what is in flight.

use super::keyed::{self, Places};
use super::{Facts, Plan, Policy};
use crate::placement::Maglev;
use crate::{Draw, MemberIndex, PickRequest};

#[derive(Debug)]
struct MaglevHash {
    places: Places,
    table: Maglev,
}

pub(super) fn compile(plan: &Plan<'_>) -> Box<dyn Policy> {
    let names = keyed::names(plan);
    let table = Maglev::new(&keyed::nodes(&names, plan), plan.settings.table_size);
    Box::new(MaglevHash { places: Places::new(plan), table })
}

impl Policy for MaglevHash {
    fn choose(&self, facts: &Facts<'_>, request: &PickRequest<'_>, draw: &mut Draw) -> MemberIndex {
        self.places.seen(facts, request).first(self.table.walk(keyed::hash(request, draw)))
    }
}
