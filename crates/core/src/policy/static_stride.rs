//! gRPC's static stride scheduler, for `round-robin` under weights that change: what is compiled is one pass over the members.
//!
//! gRFC A58. Positions of a sequence go around the members again and again; a generation is one such round. Weights are scaled so that
//! the greatest is [`SCALE`], and in generation g member i of weight W is taken unless (W g + i [`OFFSET`]) mod `SCALE` < `SCALE` - W.
//! The offset lets members of equal weight pause in different generations.
//!
//! gRPC counts positions up until one is taken. Here the ticket counts what is taken, and the position is computed: a member is
//! taken when W g + i `OFFSET` passes a multiple of `SCALE`, so that divisions tell how often that was before any
//! generation. Invariants: a pick is a function of its ticket; tickets in a row give gRPC's sequence from its
//! position zero; in `SCALE` generations a member is taken W times.
//! Limits: [`MEMBERS_MAX`]; a weight below 1/65535 of the greatest counts as much as that.

use super::{Candidate, Facts, Plan, Policy};
use crate::{Draw, MemberIndex, PickRequest};

/// What the greatest weight becomes, and the generations after which the sequence repeats.
const SCALE: u32 = u16::MAX as u32;

/// How far apart members stand within the scale: half of it.
const OFFSET: u32 = SCALE / 2;

/// A pick looks at all members a few times, at some 3 ns each: with so many it stays near half a microsecond, and below two where
/// one weight exceeds all others. Of more members many have weights in common, and the earliest deadline looks at those alone.
pub(super) const MEMBERS_MAX: usize = 128;

#[derive(Debug)]
struct StaticStride {
    strides: Box<[Stride]>,
    /// Picks after which the sequence repeats.
    total: u64,
    /// All members' offsets.
    offset_sum: u64,
}

#[derive(Debug)]
struct Stride {
    index: MemberIndex,
    /// Above zero and at most `SCALE`.
    weight: u32,
    /// Below `SCALE`.
    offset: u32,
}

/// Compiles the candidates, at most [`MEMBERS_MAX`].
pub(super) fn compile(plan: &Plan<'_>) -> Box<dyn Policy> {
    Box::new(StaticStride::new(plan.candidates))
}

impl Policy for StaticStride {
    fn choose(&self, _: &Facts<'_>, request: &PickRequest<'_>, _: &mut Draw) -> MemberIndex {
        self.taken(request.ticket % self.total)
    }
}

impl StaticStride {
    fn new(candidates: &[Candidate]) -> Self {
        let greatest = candidates.iter().map(|candidate| candidate.weight).max().unwrap_or(1);
        let stride = |(candidate, place): (&Candidate, u32)| Stride {
            index: candidate.index,
            weight: scaled(candidate.weight, greatest),
            offset: place * OFFSET % SCALE,
        };
        let strides: Box<[Stride]> = candidates.iter().zip(0..).map(stride).collect();
        let total = strides.iter().map(|stride| u64::from(stride.weight)).sum();
        let offset_sum = strides.iter().map(|stride| u64::from(stride.offset)).sum();
        Self { strides, total, offset_sum }
    }

    /// The member that is taken after this many, fewer than `total`.
    fn taken(&self, number: u64) -> MemberIndex {
        let (mut low, mut high) = self.span(number);
        loop {
            let generation = u64::midpoint(low, high);
            let (before, through) = self.counts(generation as u32);
            if number < before {
                high = generation - 1;
            } else if number >= through {
                low = generation + 1;
            } else {
                return self.taken_in(generation as u32, number - before);
            }
        }
    }

    /// The first and the last generation that can be the one of this number.
    ///
    /// The members' quotients, with fractions, sum to a line; whole quotients stay less than one a member below it. So there
    /// are as many generations as the greatest weight is mean weights, and two: eight halvings for the most members.
    fn span(&self, number: u64) -> (u64, u64) {
        let line = number * u64::from(SCALE);
        let slack = self.strides.len() as u64 * u64::from(SCALE);
        let first = line.saturating_sub(self.offset_sum) / self.total;
        let last = (line + slack - self.offset_sum).div_ceil(self.total) - 1;
        (first, last.min(u64::from(SCALE - 1)))
    }

    /// How many are taken before a generation, and how many with it.
    fn counts(&self, generation: u32) -> (u64, u64) {
        self.strides.iter().fold((0, 0), |(before, through), stride| {
            (
                before + u64::from(stride.turns_before(generation)),
                through + u64::from(stride.turns_before(generation + 1)),
            )
        })
    }

    /// The member that is taken after so many others of its generation.
    fn taken_in(&self, generation: u32, n_before: u64) -> MemberIndex {
        let taken = self.strides.iter().filter(|stride| stride.is_taken(generation));
        let Some(stride) = taken.take(n_before as usize + 1).last() else {
            unreachable!("the member of the greatest weight is taken in every generation")
        };
        stride.index
    }
}

impl Stride {
    /// How often it is taken before a generation, at most `SCALE`: no product is beyond 32 bits.
    fn turns_before(&self, generation: u32) -> u32 {
        (self.weight * generation + self.offset) / SCALE
    }

    fn is_taken(&self, generation: u32) -> bool {
        (self.weight * generation + self.offset) % SCALE >= SCALE - self.weight
    }
}

/// To the nearest; none becomes zero, since an endpoint that takes picks always takes some.
fn scaled(weight: u32, greatest: u32) -> u32 {
    let greatest = u64::from(greatest.max(1));
    let scaled = (u64::from(weight) * u64::from(SCALE) + greatest / 2) / greatest;
    (scaled as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn compiled(weights: &[u32]) -> StaticStride {
        let index = |place| MemberIndex(place);
        let candidate = |(place, weight): (u32, &u32)| Candidate { index: index(place), weight: *weight };
        StaticStride::new(&(0..).zip(weights).map(candidate).collect::<Vec<_>>())
    }

    fn sequence(weights: &[u32], n: u64) -> Vec<u32> {
        let policy = compiled(weights);
        (0..n).map(|number| policy.taken(number % policy.total).0).collect()
    }

    /// The rule to the letter: one position after another, from zero.
    fn naive(weights: &[u32], n: u64) -> Vec<u32> {
        let greatest = weights.iter().copied().max().unwrap_or(1);
        let len = weights.len() as u64;
        let taken = |position: &u64| {
            let (i, generation) = (position % len, position / len);
            let weight = u64::from(scaled(weights[i as usize], greatest));
            (weight * generation + i * 32_767) % 65_535 >= 65_535 - weight
        };
        (0..).filter(taken).take(n as usize).map(|position| (position % len) as u32).collect()
    }

    #[test]
    fn the_published_sequences_come_out() {
        let thirds = [1, 2, 2, 0, 1, 2, 1, 2, 2, 0, 1, 2];
        assert_eq!(sequence(&[1, 2, 3], 12), thirds);
        assert_eq!(sequence(&[1, 1, 2], 10), [1, 2, 0, 2, 1, 2, 0, 2, 1, 2]);
        assert_eq!(sequence(&[5, 1, 1], 12), [0, 2, 0, 0, 1, 0, 0, 0, 2, 0, 0, 1]);
        // Published for 10, 0 and 30, where zero stands for the mean of the others.
        assert_eq!(sequence(&[10, 20, 30], 12), thirds);
    }

    #[test]
    fn a_whole_sequence_gives_each_its_weight_and_begins_again() {
        for weights in [&[1, u32::MAX][..], &[7], &[3, 3, 3], &[1, 999, 5, 65_535, 400_000]] {
            let policy = compiled(weights);
            let all = sequence(weights, policy.total);
            for (place, stride) in (0_u32..).zip(&policy.strides) {
                let n = all.iter().filter(|taken| **taken == place).count();
                assert_eq!(n, stride.weight as usize, "{weights:?}");
            }
            let turned = naive(weights, policy.total + 5);
            assert_eq!(all[..5], turned[policy.total as usize..], "{weights:?}");
            assert_eq!(all, turned[..policy.total as usize], "{weights:?}");
        }
    }

    proptest! {
        #[test]
        fn tickets_in_a_row_take_what_the_rule_takes(
            weights in prop::collection::vec(prop_oneof![1_u32..10, 1_u32..5_000, 1..=u32::MAX], 1..=MEMBERS_MAX),
        ) {
            prop_assert_eq!(sequence(&weights, 400), naive(&weights, 400));
        }

        #[test]
        fn shares_follow_the_weights_in_any_stretch(
            weights in prop::collection::vec(1_u32..1_000, 1..40),
            first in any::<u64>(),
            n in 1_u64..4_000,
        ) {
            let policy = compiled(&weights);
            let mut counts = vec![0_u64; weights.len()];
            for number in 0..n {
                let MemberIndex(place) = policy.taken(first.wrapping_add(number) % policy.total);
                counts[place as usize] += 1;
            }
            // One turn by its generations, one in each that is cut, and what the others have before it: one turn each.
            let sum: f64 = weights.iter().copied().map(f64::from).sum();
            for (count, weight) in counts.iter().zip(&weights) {
                let share = n as f64 * f64::from(*weight) / sum;
                let off = 3.0 + 2.0 * weights.len() as f64 * f64::from(*weight) / sum;
                prop_assert!((*count as f64 - share).abs() <= off, "{} for {}", count, share);
            }
        }

        #[test]
        fn a_pick_looks_at_few_generations(
            weights in prop::collection::vec(prop_oneof![Just(1_u32), 1..=u32::MAX], 1..=MEMBERS_MAX),
            number in any::<u64>(),
        ) {
            let policy = compiled(&weights);
            let number = number % policy.total;
            let (first, last) = policy.span(number);
            prop_assert!(first <= last && last - first < weights.len() as u64 + 2, "{} to {}", first, last);
            let (before, _) = policy.counts(first as u32);
            let (_, through) = policy.counts(last as u32);
            prop_assert!((before..through).contains(&number));
        }
    }
}
