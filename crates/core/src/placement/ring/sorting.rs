//! Points in the order of their places.
//!
//! Points are spread evenly, since hashes placed them, so two passes that spread them by upper bits leave few to be
//! compared; the first makes parts that fit a near cache, in which the second works. Invariant: the order is that of a
//! full sort, however the points lie. Limit: places that are not spread evenly cost the time of a full sort.

use std::cmp::Ordering;

use super::Point;

/// Points of a part of the first pass, about: 256 KiB of them and of where they go, half of a second-level cache.
const POINTS_PER_PART: usize = 8 << 10;

/// Bits of the first pass at most: as many places are written to at once, and a processor keeps no more at hand.
const PART_BITS_MAX: u32 = 10;

/// Points that the second pass leaves together, about: so few are sorted by insertion.
const POINTS_PER_BUCKET: usize = 4;

/// Sorts points whose places have so many bits; where two lie at one place `ties` decides.
pub(super) fn sort(points: &mut [Point], bits: u32, ties: impl Fn(&Point, &Point) -> Ordering) {
    let order = |a: &Point, b: &Point| a.at.cmp(&b.at).then_with(|| ties(a, b));
    let part_bits = (points.len() / POINTS_PER_PART).next_power_of_two().trailing_zeros().min(PART_BITS_MAX);
    let mut parts = vec![Point { at: 0, node: 0 }; points.len()];
    let ends = spread(points, &mut parts, 1 << part_bits, |point| upper(point.at, bits, part_bits));
    let mut from = 0;
    for end in ends {
        let (part, into) = (&parts[from..end], &mut points[from..end]);
        from = end;
        let bucket_bits = (part.len() / POINTS_PER_BUCKET).next_power_of_two().trailing_zeros();
        let rest = bits - part_bits;
        let bucket_bits = bucket_bits.min(rest);
        let below = |point: &Point| upper(point.at & low_mask(rest), rest, bucket_bits);
        let mut start = 0;
        for end in spread(part, into, 1 << bucket_bits, below) {
            into[start..end].sort_unstable_by(order);
            start = end;
        }
    }
}

/// The first `n` of the `bits` of a place.
fn upper(at: u64, bits: u32, n: u32) -> usize {
    if n == 0 { 0 } else { (at >> (bits - n)) as usize }
}

fn low_mask(bits: u32) -> u64 {
    u64::MAX >> (u64::BITS - bits)
}

/// Moves the points into their buckets, in the order in which they come, and tells where each bucket ends.
fn spread(
    points: &[Point],
    into: &mut [Point],
    n_buckets: usize,
    bucket: impl Fn(&Point) -> usize,
) -> Vec<usize> {
    let mut ends = vec![0; n_buckets];
    for point in points {
        ends[bucket(point)] += 1;
    }
    let mut end = 0;
    for bucket in &mut ends {
        let n = std::mem::replace(bucket, end);
        end += n;
    }
    for point in points {
        let end = &mut ends[bucket(point)];
        into[*end] = *point;
        *end += 1;
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_order_is_that_of_a_full_sort(seed: u64, n in 0_u32..40_000, bits in 28_u32..65, crowd in 0_u32..28) {
            let mut draw = crate::Draw::new(seed);
            // The greater the crowd, the more of them lie in one corner.
            let mut points: Vec<Point> = (0..n)
                .map(|node| Point { at: draw.next_u64() >> (u64::BITS - bits) >> draw.below(crowd + 1), node })
                .collect();
            let mut expected = points.clone();
            expected.sort();
            sort(&mut points, bits, |a, b| a.node.cmp(&b.node));
            prop_assert_eq!(points, expected);
        }
    }
}
