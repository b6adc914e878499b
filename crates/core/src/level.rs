//! The eligible members of one priority, by zone and subset, and the policies compiled for them.
//!
//! Invariants: a pick is one of them that the request has not tried, and is missing only where the request has tried all
//! of them; its work is bounded by the constants below. Where the request has tried all of its zone's subset, the rest of
//! that zone comes next, then the other zones. Limits: what lies outside of the subset is drawn by weight, not by policy.

use crate::cluster::ClusterSettings;
use crate::policy::{Candidate, Facts, Policy};
use crate::zones::{ZoneShares, Zoned};
use crate::{Draw, Member, MemberIndex, PickRequest};

/// How often a candidate that was tried already is drawn again by the policy. Four: with half of the weight
/// tried, 31 of 32 picks still come from the policy itself.
const REDRAWS: u32 = 4;

/// How many members are looked at when the redraws are used up, unless more were tried. Enough to hold most
/// levels as a whole, where the choice is then exact by weight; few enough to stay under a microsecond.
const SCAN_WINDOW: usize = 64;

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Level {
    /// The percentage of the requests that this level and those before it get.
    pub(crate) load_end: u8,
    /// All of them; where zones count, those of the own one. It stands here and not in a list, so that a pick of a service
    /// without zones follows one pointer less.
    first: Group,
    /// Where zones count.
    zones: Option<Box<Zones>>,
}

/// The other zones, and what each gets.
#[derive(Debug)]
struct Zones {
    shares: ZoneShares,
    others: Box<[Group]>,
}

impl Level {
    /// Compiles the eligible `candidates` of one priority, at least one.
    pub(crate) fn compile(
        settings: &ClusterSettings,
        members: &[Member],
        priority: u32,
        candidates: Vec<Candidate>,
        load_end: u8,
    ) -> Self {
        let of_level = || {
            let all = (0..).map(MemberIndex).zip(members);
            all.filter(move |(_, member)| member.endpoint.priority == priority && member.endpoint.weight > 0)
        };
        let zone_aware = settings.zone_aware.as_ref();
        let zoned = zone_aware.and_then(|aware| {
            Zoned::divide(aware, of_level().map(|(_, member)| member), members, &candidates)
        });
        let group = |candidates: Vec<Candidate>, chosen: Option<Vec<MemberIndex>>| {
            Group::compile(settings, members, candidates, chosen.as_deref())
        };
        let Some(Zoned { zones, shares }) = zoned else {
            let chosen = settings.subset.map(|subset| subset.choose(of_level()));
            return Self { load_end, first: group(candidates, chosen), zones: None };
        };
        let mut groups = zones.into_iter().map(|(zone, candidates)| {
            let of_zone = of_level().filter(|(_, member)| member.endpoint.zone == zone);
            let chosen = settings.subset.map(|subset| subset.choose(of_zone));
            group(candidates, chosen)
        });
        let Some(first) = groups.next() else {
            unreachable!("the own zone is one of those that are divided")
        };
        Self { load_end, first, zones: Some(Box::new(Zones { shares, others: groups.collect() })) }
    }

    /// A pick of the zone whose turn it is, else of any; `None` only when the request has tried all of the level.
    pub(crate) fn pick(
        &self,
        facts: &Facts<'_>,
        request: &PickRequest<'_>,
        draw: &mut Draw,
    ) -> Option<MemberIndex> {
        match &self.zones {
            None => self.first.pick(facts, request, draw),
            Some(zones) => self.pick_by_zone(zones, facts, request, draw),
        }
    }

    fn pick_by_zone(
        &self,
        zones: &Zones,
        facts: &Facts<'_>,
        request: &PickRequest<'_>,
        draw: &mut Draw,
    ) -> Option<MemberIndex> {
        let drawn = zones.shares.draw(request.key, draw);
        let of_turn = drawn.checked_sub(1).map_or(&self.first, |other| &zones.others[other]);
        let mut all = std::iter::once(&self.first).chain(&zones.others);
        let choice = of_turn.pick(facts, request, draw);
        choice.or_else(|| all.find_map(|group| group.pick(facts, request, draw)))
    }
}

/// Members that a policy chooses among.
#[derive(Debug)]
struct Group {
    candidates: Box<[Candidate]>,
    policy: Box<dyn Policy>,
    /// Those outside of the subset: for another attempt once all of it were tried.
    rest: Box<[Candidate]>,
}

impl Group {
    /// Of those `chosen` for the subset, in order; all where there is no subset or none of it is eligible.
    fn compile(
        settings: &ClusterSettings,
        members: &[Member],
        candidates: Vec<Candidate>,
        chosen: Option<&[MemberIndex]>,
    ) -> Self {
        let is_chosen = |candidate: &Candidate| match chosen {
            Some(chosen) => chosen.binary_search(&candidate.index).is_ok(),
            None => true,
        };
        let (mut used, mut rest): (Vec<_>, Vec<_>) = candidates.into_iter().partition(is_chosen);
        if used.is_empty() {
            std::mem::swap(&mut used, &mut rest);
        }
        let policy = settings.policy.compile(members, &used, settings.weights.is_live());
        Self { policy, candidates: used.into(), rest: rest.into() }
    }

    /// The policy's choice, else that of a few redraws, else that of a bounded scan; `None` only when the
    /// request has tried all of the group.
    #[inline]
    fn pick(&self, facts: &Facts<'_>, request: &PickRequest<'_>, draw: &mut Draw) -> Option<MemberIndex> {
        let choice = self.policy.choose(facts, request, draw);
        if request.tried.contains(&choice) { self.pick_untried(facts, request, draw) } else { Some(choice) }
    }

    #[cold]
    fn pick_untried(
        &self,
        facts: &Facts<'_>,
        request: &PickRequest<'_>,
        draw: &mut Draw,
    ) -> Option<MemberIndex> {
        for _ in 0..REDRAWS {
            // A fresh number in place of the ticket: the ticket would only lead to the same candidate.
            let again = PickRequest { ticket: draw.next_u64(), ..*request };
            let choice = self.policy.choose(facts, &again, draw);
            if !request.tried.contains(&choice) {
                return Some(choice);
            }
        }
        scan(&self.candidates, request.tried, draw).or_else(|| scan(&self.rest, request.tried, draw))
    }
}

/// Draws by weight among the untried of a window that begins at a random place.
///
/// The window is one longer than the tried are many, so it holds an untried candidate if there is one.
fn scan(candidates: &[Candidate], tried: &[MemberIndex], draw: &mut Draw) -> Option<MemberIndex> {
    let len = candidates.len();
    let window = len.min(SCAN_WINDOW.max(tried.len() + 1));
    let start = draw.below(len as u32) as usize;
    let mut chosen = None;
    let mut total = 0_u64;
    for candidate in candidates.iter().cycle().skip(start).take(window) {
        if tried.contains(&candidate.index) {
            continue;
        }
        let weight = u64::from(candidate.weight);
        total += weight;
        // Replacing the choice with chance weight / total leaves each with its share of the final total.
        if draw.below_wide(total) < weight {
            chosen = Some(candidate.index);
        }
    }
    chosen
}
