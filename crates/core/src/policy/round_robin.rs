//! `round-robin`: nginx's smooth weighted sequence, as a function of the cluster's ticket.
//!
//! nginx keeps a current weight per peer and changes all of them on every pick; the sequence repeats after
//! the sum of the weights, divided by their greatest common divisor. So it is computed once into a cycle and
//! the ticket indexes it: any number of threads walk one sequence without a lock. Ties go to the first in
//! written order. A changed weight or set makes a new cycle, entered where the ticket stands.
//!
//! A cycle longer than `CYCLE_MAX` is not stored. Then the multiples of the golden ratio, a sequence of low
//! discrepancy, fall on the line of cumulative weights, found by binary search. Of any N consecutive picks
//! each member has its share to within 3 + 3.53 ln N (Kuipers and Niederreiter, "Uniform Distribution of
//! Sequences", chapter 2, theorem 3.4, with all partial quotients one).

use super::{Candidate, Facts, Plan, Policy};
use crate::draw::scale;
use crate::{Draw, MemberIndex, PickRequest};

/// Longest stored cycle: 16 KiB, which still fits the first-level cache beside the request.
const CYCLE_MAX: u64 = 4096;

/// The golden ratio's fraction of 2^64: the step whose multiples leave the evenest gaps.
const GOLDEN_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The stored sequence.
#[derive(Debug)]
struct Cycle {
    order: Box<[MemberIndex]>,
}

/// The computed sequence.
#[derive(Debug)]
struct Line {
    members: Box<[MemberIndex]>,
    /// Where each member's stretch of the line ends; strictly rising.
    ends: Box<[u64]>,
    total: u64,
}

pub(super) fn compile(plan: &Plan<'_>) -> Box<dyn Policy> {
    let candidates = plan.candidates;
    let divisor = candidates.iter().fold(0, |divisor, candidate| gcd(divisor, candidate.weight)).max(1);
    let total: u64 = candidates.iter().map(|candidate| u64::from(candidate.weight / divisor)).sum();
    if total <= CYCLE_MAX {
        return Box::new(Cycle { order: smooth_cycle(candidates, divisor, total) });
    }
    let mut total = 0;
    let ends = candidates
        .iter()
        .map(|candidate| {
            total += u64::from(candidate.weight);
            total
        })
        .collect();
    Box::new(Line { members: candidates.iter().map(|candidate| candidate.index).collect(), ends, total })
}

impl Policy for Cycle {
    fn choose(&self, _: &Facts<'_>, request: &PickRequest<'_>, _: &mut Draw) -> MemberIndex {
        self.order[(request.ticket % self.order.len() as u64) as usize]
    }
}

impl Policy for Line {
    fn choose(&self, _: &Facts<'_>, request: &PickRequest<'_>, _: &mut Draw) -> MemberIndex {
        let at = scale(request.ticket.wrapping_mul(GOLDEN_STEP), self.total);
        self.members[self.ends.partition_point(|end| *end <= at)]
    }
}

/// Members of equal weight: of these the least chosen comes next, in written order, so they take turns.
struct Turns {
    weight: i64,
    /// As nginx's current weight of the member whose turn it is.
    current: i64,
    /// Places among the candidates, rising.
    places: Vec<usize>,
    turn: usize,
}

/// One full cycle of nginx's sequence.
///
/// A step compares one member of each distinct weight instead of all: weights that differ and sum to at
/// most 4096 are at most 90, so a cycle takes at most 370,000 steps where all members would take 16 million.
fn smooth_cycle(candidates: &[Candidate], divisor: u32, total: u64) -> Box<[MemberIndex]> {
    let total = total.cast_signed();
    let mut groups: std::collections::BTreeMap<u32, Vec<usize>> = std::collections::BTreeMap::new();
    for (place, candidate) in candidates.iter().enumerate() {
        groups.entry(candidate.weight / divisor).or_default().push(place);
    }
    let mut groups: Vec<Turns> = groups
        .into_iter()
        .map(|(weight, places)| Turns { weight: i64::from(weight), current: 0, places, turn: 0 })
        .collect();
    let order = (0..total).map(|_| {
        for group in &mut groups {
            group.current += group.weight;
        }
        let best = groups
            .iter_mut()
            .max_by_key(|group| (group.current, std::cmp::Reverse(group.places[group.turn])));
        let Some(best) = best else { unreachable!("a level has a member") };
        let place = best.places[best.turn];
        best.turn += 1;
        // Only when all of the group have had their turn has the next one been chosen once more.
        if best.turn == best.places.len() {
            best.turn = 0;
            best.current -= total;
        }
        candidates[place].index
    });
    order.collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PolicySettings;
    use crate::cluster::Load;
    use proptest::prelude::*;

    fn candidates(weights: &[u32]) -> Vec<Candidate> {
        let index = |place| MemberIndex(place);
        (0..).zip(weights).map(|(place, weight)| Candidate { index: index(place), weight: *weight }).collect()
    }

    /// The first `n` picks, as places.
    fn sequence(weights: &[u32], n: u64) -> Vec<u32> {
        let policy = compile(&Plan {
            settings: &PolicySettings::default(),
            members: &[],
            candidates: &candidates(weights),
        });
        let mut draw = Draw::new(0);
        let facts = Facts { members: &[], load: &Load::new(0) };
        let mut pick =
            |ticket| policy.choose(&facts, &PickRequest { ticket, ..Default::default() }, &mut draw).0;
        (0..n).map(&mut pick).collect()
    }

    /// nginx's rule to the letter, one pick after another.
    fn nginx(weights: &[u32], n: u64) -> Vec<u32> {
        let total: i64 = weights.iter().copied().map(i64::from).sum();
        let mut current = vec![0_i64; weights.len()];
        let mut step = || {
            let mut best = 0;
            for place in 0..weights.len() {
                current[place] += i64::from(weights[place]);
                if current[place] > current[best] {
                    best = place;
                }
            }
            current[best] -= total;
            best as u32
        };
        (0..n).map(|_| step()).collect()
    }

    #[test]
    fn the_published_sequences_come_out() {
        let letters = |weights: &[u32]| -> String {
            let total = weights.iter().copied().map(u64::from).sum();
            sequence(weights, total).into_iter().map(|place| char::from(b'a' + place as u8)).collect()
        };
        assert_eq!(letters(&[5, 1, 1]), "aabacaa");
        assert_eq!(letters(&[3, 2, 1]), "abacba");
        assert_eq!(letters(&[4, 2, 1]), "abacaba");
        assert_eq!(letters(&[7, 3, 1, 1]), "abaacabadaba");
        assert_eq!(letters(&[1, 1, 1]), "abc");
    }

    #[test]
    fn a_common_divisor_changes_nothing() {
        assert_eq!(sequence(&[5_000_000, 1_000_000, 1_000_000], 21), sequence(&[5, 1, 1], 21));
    }

    #[test]
    fn the_longest_stored_cycle_is_still_nginx() {
        let equal = vec![1; CYCLE_MAX as usize];
        assert_eq!(sequence(&equal, 5_000), nginx(&equal, 5_000));
        let distinct: Vec<u32> = (1..=90).collect();
        assert_eq!(sequence(&distinct, CYCLE_MAX), nginx(&distinct, CYCLE_MAX));
        let heavy = [CYCLE_MAX as u32 - 1, 1];
        assert_eq!(sequence(&heavy, 5_000), nginx(&heavy, 5_000));
    }

    #[test]
    fn equal_members_past_the_stored_cycle_still_take_even_turns() {
        let n = 3 * (CYCLE_MAX + 1);
        let mut counts = vec![0_u32; CYCLE_MAX as usize + 1];
        for place in sequence(&vec![1; counts.len()], n) {
            counts[place as usize] += 1;
        }
        assert!(counts.iter().all(|count| (1..=5).contains(count)));
    }

    proptest! {
        #[test]
        fn the_cycle_is_nginx_at_any_weights(weights in prop::collection::vec(1_u32..9, 1..40)) {
            let n = 2 * weights.iter().copied().map(u64::from).sum::<u64>();
            prop_assert_eq!(sequence(&weights, n), nginx(&weights, n));
        }

        #[test]
        fn past_the_cycle_every_window_keeps_the_shares(
            weights in prop::collection::vec(prop_oneof![1_u32..10, 1_u32..1_000_000], 2..30),
            start: u64,
            n in 1_u64..2_000,
        ) {
            // The one keeps the divisor at one, so that the sum is past the bound.
            let weights = [weights, vec![CYCLE_MAX as u32, 1]].concat();
            let total: u64 = weights.iter().copied().map(u64::from).sum();
            let policy = compile(&Plan { settings: &PolicySettings::default(), members: &[], candidates: &candidates(&weights) });
            let mut draw = Draw::new(0);
            let mut counts = vec![0_u32; weights.len()];
            for step in 0..n {
                let request = PickRequest { ticket: start.wrapping_add(step), ..Default::default() };
                counts[policy.choose(&Facts { members: &[], load: &Load::new(0) }, &request, &mut draw).0 as usize] += 1;
            }
            let bound = 3.0 + 3.53 * (n as f64).ln();
            for (count, weight) in counts.iter().zip(&weights) {
                let share = n as f64 * f64::from(*weight) / total as f64;
                prop_assert!((f64::from(*count) - share).abs() <= bound, "{count} of {share} in {n}");
            }
        }
    }
}
