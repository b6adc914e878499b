//! `p2c`: the less loaded of two members drawn by weight (power of two choices), or of more.
//!
//! Load is in-flight attempts in whole shares: divided by weight, times the mean weight, rounded down. Unrounded, one
//! attempt at a heavy member would lose against an idle light one, which under a light load gave light members up to twice
//! their share; with equal weights rounding changes nothing. All are drawn from the weighted distribution and made
//! distinct by drawing again: drawing two uniformly and comparing by weight instead would give
//! light members about half of what they should have. Ties go to the first drawn, so an idle cluster is
//! spread by weight alone. A new member is idle and so wins its comparisons, but is drawn no more often than
//! its weight says: it is not flooded.

use std::hint::select_unpredictable;
use std::sync::Arc;

use super::{Alias, Facts, Plan, Policy};
use crate::{Draw, Live, MemberIndex, PickRequest};

/// How often one is drawn again until it differs from those before. A member with nine tenths of the
/// weight still meets a rival in over half of its draws; one with more than that is right alone.
const REDRAWS: u32 = 8;

/// Members that are compared at most: what a ninth would add is less than what looking at it costs.
pub const CHOICES_MAX: u8 = 8;

#[derive(Debug)]
struct P2c {
    rivals: Rivals,
    /// How many are compared, from two to [`CHOICES_MAX`].
    choices: usize,
}

/// A member that may be drawn. Its numbers are at hand, so that a pick reads as few lines of memory as it can.
#[derive(Debug)]
pub(super) struct Rival {
    pub(super) live: Arc<Live>,
    pub(super) weight: u32,
    /// What an attempt counts for: the mean weight over its own.
    share: f32,
    pub(super) index: MemberIndex,
}

/// Draws members by weight, distinct unless one outweighs the rest by far or is alone.
#[derive(Debug)]
pub(super) struct Rivals {
    all: Box<[Rival]>,
    /// Absent when all weights are equal: then distinct places are drawn without a table.
    shares: Option<Alias>,
}

pub(super) fn compile(plan: &Plan<'_>) -> Box<dyn Policy> {
    let choices = plan.settings.choices.clamp(2, CHOICES_MAX);
    Box::new(P2c { rivals: Rivals::new(plan), choices: choices.into() })
}

impl Policy for P2c {
    fn choose(&self, _: &Facts<'_>, _: &PickRequest<'_>, draw: &mut Draw) -> MemberIndex {
        if self.choices == 2 {
            let (first, second) = self.rivals.draw(draw);
            return lesser(first, second).index;
        }
        self.best_of_more(draw).index
    }
}

impl P2c {
    fn best_of_more(&self, draw: &mut Draw) -> &Rival {
        let (first, second) = self.rivals.draw_two(draw);
        let mut drawn = [first; CHOICES_MAX as usize];
        drawn[1] = second;
        let all = &self.rivals.all;
        let mut best = lesser(&all[first], &all[second]);
        for n in 2..self.choices.min(all.len()) {
            drawn[n] = self.rivals.draw_other(&drawn[..n], draw);
            best = lesser(best, &all[drawn[n]]);
        }
        best
    }
}

/// The less loaded one, the former where both are alike.
pub(super) fn lesser<'a>(first: &'a Rival, second: &'a Rival) -> &'a Rival {
    let load = |rival: &Rival| (rival.live.in_flight() as f32 * rival.share) as u32;
    let first_wins = load(first) <= load(second);
    // A processor would guess half of these wrong.
    select_unpredictable(first_wins, first, second)
}

impl Rivals {
    pub(super) fn new(plan: &Plan<'_>) -> Self {
        let weights: Vec<u32> = plan.candidates.iter().map(|candidate| candidate.weight).collect();
        let equal = weights.iter().all(|weight| *weight == weights[0]);
        let sum: f64 = weights.iter().copied().map(f64::from).sum();
        let mean = (sum / weights.len() as f64) as f32;
        let rival = |candidate: &super::Candidate| Rival {
            share: mean / candidate.weight as f32,
            live: Arc::clone(&plan.members[candidate.index.0 as usize].live),
            weight: candidate.weight,
            index: candidate.index,
        };
        let all = plan.candidates.iter().map(rival).collect();
        Self { all, shares: (!equal).then(|| Alias::new(&weights)) }
    }

    /// Two of them.
    pub(super) fn draw(&self, draw: &mut Draw) -> (&Rival, &Rival) {
        let (first, second) = self.draw_two(draw);
        (&self.all[first], &self.all[second])
    }

    /// One of them.
    pub(super) fn draw_one(&self, draw: &mut Draw) -> &Rival {
        &self.all[self.draw_other(&[], draw)]
    }

    fn draw_two(&self, draw: &mut Draw) -> (usize, usize) {
        let len = self.all.len();
        if let Some(shares) = &self.shares {
            let first = shares.choose(draw);
            return (first, self.draw_other(&[first], draw));
        }
        let first = draw.below(len as u32) as usize;
        let step = if len > 1 { 1 + draw.below(len as u32 - 1) as usize } else { 0 };
        let second = first + step;
        (first, if second < len { second } else { second - len })
    }

    /// One that is not among these, unless the draws do not find one.
    fn draw_other(&self, drawn: &[usize], draw: &mut Draw) -> usize {
        let mut one = || match &self.shares {
            Some(shares) => shares.choose(draw),
            None => draw.below(self.all.len() as u32) as usize,
        };
        let mut other = one();
        for _ in 0..REDRAWS {
            if !drawn.contains(&other) {
                break;
            }
            other = one();
        }
        other
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Load;
    use crate::policy::Candidate;
    use crate::{Address, Endpoint, Live, Member, PolicyKind, PolicySettings};
    use std::net::{Ipv4Addr, SocketAddr};
    use std::sync::Arc;

    fn members(weights: &[u32]) -> Vec<Member> {
        let address = Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 80)));
        let member = |(place, weight): (usize, &u32)| Member {
            endpoint: Arc::new(Endpoint {
                id: place.to_string().into(),
                address: address.clone(),
                weight: *weight,
                priority: 0,
                zone: None,
                host: None,
                hash_key: None,
                metadata: std::collections::BTreeMap::new(),
            }),
            live: Arc::new(Live::new(place as u64, 1, Arc::default())),
            state: crate::EndpointState::Unknown,
            reason: "".into(),
            source: "".into(),
            draining: false,
            is_eligible: true,
            weight: *weight,
        };
        weights.iter().enumerate().map(member).collect()
    }

    fn policy(members: &[Member], choices: u8) -> Box<dyn Policy> {
        let index = |place| MemberIndex(place);
        let candidates: Vec<_> = (0..)
            .zip(members)
            .map(|(place, member)| Candidate { index: index(place), weight: member.endpoint.weight })
            .collect();
        let settings = PolicySettings { choices, ..PolicyKind::P2c.into() };
        compile(&Plan { settings: &settings, members, candidates: &candidates, has_live_weights: false })
    }

    /// How often each member is chosen in `n` picks among two; `begin` counts every pick as in flight for good.
    fn counts(weights: &[u32], n: u32, begin: bool) -> Vec<f64> {
        counts_of(2, weights, n, begin)
    }

    fn counts_of(choices: u8, weights: &[u32], n: u32, begin: bool) -> Vec<f64> {
        let members = members(weights);
        let (policy, mut draw) = (policy(&members, choices), Draw::new(11));
        let mut counts = vec![0.0; weights.len()];
        for _ in 0..n {
            let MemberIndex(place) = policy.choose(
                &Facts { members: &members, load: &Load::new(0) },
                &PickRequest::default(),
                &mut draw,
            );
            counts[place as usize] += 1.0;
            if begin {
                members[place as usize].live.begin();
            }
        }
        counts
    }

    #[test]
    fn an_idle_cluster_is_spread_by_weight() {
        // The plain comparison by weight gives the light one of such a set about half of its share.
        // Standard deviation of the light one's count: 96; 500 is five of them.
        let counts = counts(&[2, 2, 2, 2, 1], 90_000, false);
        for (count, expected) in counts.iter().zip([20_000.0, 20_000.0, 20_000.0, 20_000.0, 10_000.0]) {
            assert!((count - expected).abs() < 650.0, "{counts:?}");
        }
        assert!((counts[4] - 10_000.0).abs() < 500.0, "{counts:?}");
    }

    #[test]
    fn an_idle_cluster_is_spread_by_weight_however_many_are_compared() {
        for choices in [3, 5, CHOICES_MAX] {
            let counts = counts_of(choices, &[2, 2, 2, 2, 1], 90_000, false);
            assert!((counts[4] - 10_000.0).abs() < 500.0, "{choices}: {counts:?}");
        }
    }

    #[test]
    fn with_so_many_choices_only_the_least_loaded_few_are_chosen() {
        // Eight of twenty are compared: the thirteen busiest of different loads always meet a lesser one.
        let members = members(&[1; 20]);
        for (n, member) in members.iter().enumerate() {
            (0..n).for_each(|_| member.live.begin());
        }
        let greatest = |choices| {
            let (policy, mut draw) = (policy(&members, choices), Draw::new(5));
            let facts = Facts { members: &members, load: &Load::new(0) };
            let mut choose = || policy.choose(&facts, &PickRequest::default(), &mut draw).0;
            (0..20_000).map(|_| choose()).max()
        };
        assert_eq!(greatest(2), Some(18));
        assert!((Some(8)..=Some(12)).contains(&greatest(CHOICES_MAX)));
    }

    #[test]
    fn more_choices_than_members_are_all_of_them() {
        let members = members(&[1, 1, 1]);
        members[0].live.begin();
        members[2].live.begin();
        let (policy, mut draw) = (policy(&members, CHOICES_MAX), Draw::new(5));
        let facts = Facts { members: &members, load: &Load::new(0) };
        let choices = (0..1_000).map(|_| policy.choose(&facts, &PickRequest::default(), &mut draw));
        assert!(choices.filter(|choice| *choice == MemberIndex(1)).count() > 990);
    }

    #[test]
    fn attempts_that_pile_up_settle_by_weight() {
        let counts = counts(&[1, 2, 3], 6_000, true);
        for (count, expected) in counts.iter().zip([1_000.0, 2_000.0, 3_000.0]) {
            assert!((count - expected).abs() < 20.0, "{counts:?}");
        }
    }

    #[test]
    fn the_most_loaded_of_equals_is_never_chosen() {
        // The two drawn are distinct, so the most loaded always meets a lesser rival.
        let members = members(&[1; 5]);
        let (policy, mut draw) = (policy(&members, 2), Draw::new(5));
        members[3].live.begin();
        let facts = Facts { members: &members, load: &Load::new(0) };
        let choices =
            std::iter::repeat_with(|| policy.choose(&facts, &PickRequest::default(), &mut draw)).take(1_000);
        assert!(choices.into_iter().all(|choice| choice != MemberIndex(3)));
    }

    #[test]
    fn load_counts_by_weight() {
        // 3 of 4 against 1 of 1: the heavy one is the less loaded, though it has more in flight.
        let members = members(&[4, 1]);
        let (policy, mut draw) = (policy(&members, 2), Draw::new(5));
        (0..3).for_each(|_| members[0].live.begin());
        members[1].live.begin();
        let facts = Facts { members: &members, load: &Load::new(0) };
        assert!(
            (0..1_000).all(|_| policy.choose(&facts, &PickRequest::default(), &mut draw) == MemberIndex(0))
        );
    }

    #[test]
    fn a_single_member_and_one_that_outweighs_all_are_chosen() {
        assert_eq!(counts(&[7], 10, true), [10.0]);
        assert!(counts(&[u32::MAX, 1], 1_000, false)[0] > 990.0);
    }
}
