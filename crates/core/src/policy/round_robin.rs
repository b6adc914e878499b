//! `round-robin`: nginx's smooth weighted sequence, as a function of the cluster's ticket.
//!
//! nginx keeps a current weight per peer and changes all of them on every pick; the sequence repeats after
//! the sum of the weights, divided by their greatest common divisor. So it is computed once into a cycle and
//! the ticket indexes it: any number of threads walk one sequence without a lock. Ties go to the first in
//! written order. A changed weight or set makes a new cycle, entered where the ticket stands.
//!
//! A cycle longer than `CYCLE_MAX` is not stored but computed, by earliest deadline: a member of weight w is due at
//! (k + 1/2) / w for every k, and picks come in the order in which they are due, the first in written order where several
//! are due at once. Members of equal weight take turns, so that what is looked at are distinct weights, not members.
//!
//! Weights that follow load change every second: a level of them whose weights differ has gRPC's sequence (`static_stride`), which
//! needs no cycle to be made, up to the members that it is for.

use std::collections::BTreeMap;

use super::{Candidate, Facts, Plan, Policy, static_stride};
use crate::{Draw, MemberIndex, PickRequest};

/// Longest stored cycle: 16 KiB, which still fits the first-level cache beside the request.
const CYCLE_MAX: u64 = 4096;

/// How often the moment of a pick is searched for before it is counted up to: what is left after so many guesses, each of
/// which leaves a small part, are picks that are due at once.
const GUESSES: u32 = 16;

/// The stored sequence.
#[derive(Debug)]
struct Cycle {
    order: Box<[MemberIndex]>,
}

/// The computed sequence.
#[derive(Debug)]
struct Deadlines {
    groups: Box<[Group]>,
    members: Box<[MemberIndex]>,
    /// Picks of a whole cycle.
    total: u64,
}

/// Members of equal weight, which act as one.
#[derive(Debug)]
struct Group {
    /// Picks of all of them in a cycle.
    rate: u64,
    /// Where they stand among the members.
    from: usize,
    len: u64,
}

pub(super) fn compile(plan: &Plan<'_>) -> Box<dyn Policy> {
    let candidates = plan.candidates;
    let divisor = candidates.iter().fold(0, |divisor, candidate| gcd(divisor, candidate.weight)).max(1);
    let total: u64 = candidates.iter().map(|candidate| u64::from(candidate.weight / divisor)).sum();
    // Equal weights have one turn each in both sequences, and a stored round is the cheapest way to it.
    let is_even = total == candidates.len() as u64;
    if plan.has_live_weights && !is_even && candidates.len() <= static_stride::MEMBERS_MAX {
        return static_stride::compile(plan);
    }
    if total <= CYCLE_MAX {
        return Box::new(Cycle { order: smooth_cycle(candidates, divisor, total) });
    }
    let (mut groups, mut members) = (Vec::new(), Vec::with_capacity(candidates.len()));
    for (weight, places) in by_weight(candidates, divisor) {
        let len = places.len() as u64;
        groups.push(Group { rate: u64::from(weight) * len, from: members.len(), len });
        members.extend(places.into_iter().map(|place| candidates[place].index));
    }
    groups.sort_by_key(|group| members[group.from]);
    Box::new(Deadlines { groups: groups.into(), members: members.into(), total })
}

impl Policy for Cycle {
    fn choose(&self, _: &Facts<'_>, request: &PickRequest<'_>, _: &mut Draw) -> MemberIndex {
        self.order[(request.ticket % self.order.len() as u64) as usize]
    }
}

impl Policy for Deadlines {
    fn choose(&self, _: &Facts<'_>, request: &PickRequest<'_>, _: &mut Draw) -> MemberIndex {
        let (group, turn) = self.due(request.ticket % self.total);
        self.members[group.from + (turn % group.len) as usize]
    }
}

impl Deadlines {
    /// The group whose turn is the one of this number in a cycle, and which of its own turns that is.
    fn due(&self, number: u64) -> (&Group, u64) {
        let mut moment = self.moment_before(number);
        let mut n_due: u64 = self.groups.iter().map(|group| group.turns(moment)).sum();
        loop {
            let next = self.groups.iter().map(|group| group.next(moment)).min_by(Turn::total_order);
            let Some(next) = next else { unreachable!("a level has a member") };
            for group in &self.groups {
                if group.next(moment).total_order(&next).is_eq() {
                    if n_due == number {
                        return (group, group.turns(moment));
                    }
                    n_due += 1;
                }
            }
            moment = next.moment();
        }
    }

    /// A moment, in parts of 2^64 of a cycle, by which no more turns than this were due, and hardly fewer.
    fn moment_before(&self, number: u64) -> u64 {
        let step = u64::MAX / self.total;
        let (mut low, mut high) = (0, u64::MAX);
        let mut guess = step.saturating_mul(number);
        for _ in 0..GUESSES {
            let n_due: u64 = self.groups.iter().map(|group| group.turns(guess)).sum();
            if n_due > number {
                high = guess;
                let back = step.saturating_mul(n_due - number);
                guess = guess.saturating_sub(back).max(low + (high - low) / 4);
            } else {
                low = guess;
                if n_due == number {
                    break;
                }
                let ahead = step.saturating_mul(number - n_due);
                guess = guess.saturating_add(ahead).min(low + (high - low) / 4 * 3);
            }
        }
        low
    }
}

/// When a turn is due: a fraction of a cycle.
#[derive(Clone, Copy)]
struct Turn {
    /// Twice its number and one.
    odd: u64,
    rate: u64,
}

impl Turn {
    fn total_order(&self, other: &Self) -> std::cmp::Ordering {
        let scaled = |turn: &Self, rate: u64| u128::from(turn.odd) * u128::from(rate);
        scaled(self, other.rate).cmp(&scaled(other, self.rate))
    }

    /// The first part of 2^64 of a cycle that is not before it.
    fn moment(self) -> u64 {
        (u128::from(self.odd) << 63).div_ceil(u128::from(self.rate)) as u64
    }
}

impl Group {
    /// Turns that were due up to a moment.
    fn turns(&self, moment: u64) -> u64 {
        /// Half of a turn, in parts of 2^64.
        const HALF: u128 = 1 << 63;
        ((u128::from(moment) * u128::from(self.rate) + HALF) >> 64) as u64
    }

    /// The first turn after a moment.
    fn next(&self, moment: u64) -> Turn {
        Turn { odd: 2 * self.turns(moment) + 1, rate: self.rate }
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
    let mut groups: Vec<Turns> = by_weight(candidates, divisor)
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

/// The places of each weight, divided by `divisor`.
fn by_weight(candidates: &[Candidate], divisor: u32) -> BTreeMap<u32, Vec<usize>> {
    let mut places: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (place, candidate) in candidates.iter().enumerate() {
        places.entry(candidate.weight / divisor).or_default().push(place);
    }
    places
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
            has_live_weights: false,
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
    fn equal_members_past_the_stored_cycle_take_turns_in_written_order() {
        let n = CYCLE_MAX as u32 + 1;
        let turns: Vec<u32> = (0..n).chain(0..n).collect();
        assert_eq!(sequence(&vec![1; n as usize], 2 * u64::from(n)), turns);
    }

    #[test]
    fn past_the_stored_cycle_turns_come_when_they_are_due() {
        // Of 3 : 2 : 1, times a number that no common divisor takes out.
        let weights = [3 * 1_019, 2 * 1_013, 1_009];
        let all = sequence(&weights, 12);
        assert_eq!(all, [0, 1, 0, 2, 1, 0, 0, 1, 0, 2, 1, 0]);
    }

    proptest! {
        #[test]
        fn the_cycle_is_nginx_at_any_weights(weights in prop::collection::vec(1_u32..9, 1..40)) {
            let n = 2 * weights.iter().copied().map(u64::from).sum::<u64>();
            prop_assert_eq!(sequence(&weights, n), nginx(&weights, n));
        }

        #[test]
        fn past_the_stored_cycle_every_pick_is_the_next_that_is_due(
            weights in prop::collection::vec(prop_oneof![1_u32..10, 1_u32..5_000], 1..30),
        ) {
            // The one keeps the divisor at one, so that the sum is past the bound.
            let weights = [weights, vec![CYCLE_MAX as u32, 1]].concat();
            let total: u64 = weights.iter().copied().map(u64::from).sum();
            let mut counts = vec![0_u64; weights.len()];
            let mut due = 0.0;
            for (n, place) in (0_u32..).zip(sequence(&weights, total)) {
                let (count, weight) = (counts[place as usize], weights[place as usize]);
                // Members of one weight take the turns of their sum.
                let n_alike = weights.iter().filter(|other| **other == weight).count() as f64;
                let alike: u64 = counts.iter().zip(&weights).filter(|(_, w)| **w == weight).map(|(n, _)| *n).sum();
                let at = (alike as f64 + 0.5) / (f64::from(weight) * n_alike);
                prop_assert!(at >= due - 1e-12, "pick {n}: {at} after {due}");
                due = at;
                counts[place as usize] = count + 1;
                // By then each has its share, to within one and what others of its weight have before it.
                let share = at * f64::from(weight);
                prop_assert!((counts[place as usize] as f64 - share).abs() <= 1.5, "{count} for {share}");
            }
            prop_assert_eq!(counts, weights.iter().copied().map(u64::from).collect::<Vec<_>>());
        }
    }
}
