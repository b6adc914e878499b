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
//! Sequences", chapter 2, theorem 3.4, with all partial quotients one), and usually within two.

use super::{Candidate, Facts, Policy};
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

pub(super) fn compile(candidates: &[Candidate]) -> Box<dyn Policy> {
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
