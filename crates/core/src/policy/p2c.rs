//! `p2c`: the less loaded of two members drawn by weight (power of two choices).
//!
//! Load is in-flight attempts in whole shares: divided by weight, times the mean weight, rounded down. Unrounded, one
//! attempt at a heavy member would lose against an idle light one, which under a light load gave light members up to twice
//! their share; with equal weights rounding changes nothing. Both are drawn from the weighted distribution and made
//! distinct by drawing the second again: drawing two uniformly and comparing by weight instead would give
//! light members about half of what they should have. Ties go to the first drawn, so an idle cluster is
//! spread by weight alone. A new member is idle and so wins its comparisons, but is drawn no more often than
//! its weight says: it is not flooded.

use super::{Alias, Candidate, Facts, Plan, Policy};
use crate::{Draw, MemberIndex, PickRequest};

/// How often the second is drawn again until it differs from the first. A member with nine tenths of the
/// weight still meets a rival in over half of its draws; one with more than that is right alone.
const REDRAWS: u32 = 8;

#[derive(Debug)]
struct P2c {
    pairs: Pairs,
    /// The mean of the weights, where these differ.
    mean: Option<f32>,
}

/// Draws two candidates by weight, distinct unless one outweighs the rest by far or is alone.
#[derive(Debug)]
pub(super) struct Pairs {
    candidates: Box<[Candidate]>,
    /// Absent when all weights are equal: then two distinct places are drawn without a table.
    shares: Option<Alias>,
}

pub(super) fn compile(plan: &Plan<'_>) -> Box<dyn Policy> {
    let sum: f64 = plan.candidates.iter().map(|candidate| f64::from(candidate.weight)).sum();
    let pairs = Pairs::new(plan.candidates);
    let mean = pairs.shares.is_some().then_some((sum / plan.candidates.len() as f64) as f32);
    Box::new(P2c { pairs, mean })
}

impl Policy for P2c {
    fn choose(&self, facts: &Facts<'_>, _: &PickRequest<'_>, draw: &mut Draw) -> MemberIndex {
        let (first, second) = self.pairs.draw(draw);
        let load = |candidate: Candidate| {
            let in_flight = facts.members[candidate.index.0 as usize].live.in_flight();
            match self.mean {
                None => in_flight,
                Some(mean) => (in_flight as f32 * (mean / candidate.weight as f32)) as u32,
            }
        };
        if load(first) <= load(second) { first.index } else { second.index }
    }
}

impl Pairs {
    pub(super) fn new(candidates: &[Candidate]) -> Self {
        let weights: Vec<u32> = candidates.iter().map(|candidate| candidate.weight).collect();
        let equal = weights.iter().all(|weight| *weight == weights[0]);
        Self { candidates: candidates.into(), shares: (!equal).then(|| Alias::new(&weights)) }
    }

    pub(super) fn draw(&self, draw: &mut Draw) -> (Candidate, Candidate) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PolicySettings;
    use crate::cluster::Load;
    use crate::{Address, Endpoint, Live, Member};
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

    fn policy(weights: &[u32]) -> Box<dyn Policy> {
        let index = |place| MemberIndex(place);
        let candidates: Vec<_> = (0..)
            .zip(weights)
            .map(|(place, weight)| Candidate { index: index(place), weight: *weight })
            .collect();
        compile(&Plan { settings: &PolicySettings::default(), members: &[], candidates: &candidates })
    }

    /// How often each member is chosen in `n` picks; `begin` counts every pick as in flight for good.
    fn counts(weights: &[u32], n: u32, begin: bool) -> Vec<f64> {
        let (policy, members, mut draw) = (policy(weights), members(weights), Draw::new(11));
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
    fn attempts_that_pile_up_settle_by_weight() {
        let counts = counts(&[1, 2, 3], 6_000, true);
        for (count, expected) in counts.iter().zip([1_000.0, 2_000.0, 3_000.0]) {
            assert!((count - expected).abs() < 20.0, "{counts:?}");
        }
    }

    #[test]
    fn the_most_loaded_of_equals_is_never_chosen() {
        // The two drawn are distinct, so the most loaded always meets a lesser rival.
        let (policy, members, mut draw) = (policy(&[1; 5]), members(&[1; 5]), Draw::new(5));
        members[3].live.begin();
        let facts = Facts { members: &members, load: &Load::new(0) };
        let choices =
            std::iter::repeat_with(|| policy.choose(&facts, &PickRequest::default(), &mut draw)).take(1_000);
        assert!(choices.into_iter().all(|choice| choice != MemberIndex(3)));
    }

    #[test]
    fn load_counts_by_weight() {
        // 3 of 4 against 1 of 1: the heavy one is the less loaded, though it has more in flight.
        let (policy, members, mut draw) = (policy(&[4, 1]), members(&[4, 1]), Draw::new(5));
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
