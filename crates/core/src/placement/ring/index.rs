//! The points of a ring as they are looked up.
//!
//! The circle is cut into equal stretches; for each of them it is known where its points begin, and each point is a mark
//! of four bytes. A large ring is mostly cache misses: of these marks a ring of half a million points has two megabytes,
//! and a lookup touches one place of them. Invariant: what marks answer is what a search among the places answers; what
//! they leave open, since they hold only some bits of a place, is searched for.

use super::Point;

/// Marks that are compared together: a line of the cache holds them, and of a thousand stretches two have more.
const RUN: usize = 12;

/// Points of a stretch, on average.
const POINTS_PER_STRETCH: usize = 5;

/// See the module's page.
#[derive(Debug)]
pub(super) struct Index {
    /// For each point how far into its stretch it lies, in the upper bits, and its node in the lower ones; and [`RUN`]
    /// more, so that a run can be read from any of them.
    marks: Box<[u32]>,
    /// Bits of a node.
    node_bits: u32,
    /// The whole place of each point, rising.
    places: Box<[u64]>,
    /// For each stretch where its points begin; and where the last ones end.
    starts: Box<[u32]>,
    /// How far a place is shifted so that its first bit is the first of a word.
    shift: u32,
}

impl Index {
    /// The index of these points, which rise, whose places have so many bits, and which are at least one.
    pub(super) fn new(points: &[Point], bits: u32) -> Self {
        let greatest = points.iter().map(|point| point.node).max().unwrap_or(0);
        let n_stretches = (points.len() / POINTS_PER_STRETCH).max(1);
        let mut index = Self {
            marks: Box::default(),
            // At least one, so that a fraction never fills its word.
            node_bits: (u32::BITS - greatest.leading_zeros()).max(1),
            places: points.iter().map(|point| point.at).collect(),
            starts: vec![points.len() as u32; n_stretches + 1].into(),
            shift: u64::BITS - bits,
        };
        let mut marks = Vec::with_capacity(points.len() + RUN);
        let mut n_begun = 0;
        for point in points {
            let (stretch, fraction) = index.position(point.at);
            while n_begun <= stretch {
                index.starts[n_begun] = marks.len() as u32;
                n_begun += 1;
            }
            marks.push(fraction | point.node);
        }
        marks.resize(points.len() + RUN, 0);
        index.marks = marks.into();
        index
    }

    /// How many points there are.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Which point is the first that is not before a hash; the first of all where there is none.
    #[inline]
    pub(super) fn find(&self, hash: u64) -> usize {
        let (stretch, wanted) = self.position(hash);
        let (from, end) = (self.starts[stretch] as usize, self.starts[stretch + 1] as usize);
        let n = (end - from) as u32;
        let last = wanted | self.node_mask();
        // All at once, without a branch: a processor would guess half of the comparisons wrong.
        let (mut before, mut not_after) = (0, 0);
        for (at, mark) in (0..).zip(&self.marks[from..from + RUN]) {
            before += u32::from(at < n && *mark < wanted);
            not_after += u32::from(at < n && *mark <= last);
        }
        let is_open = n > RUN as u32 || before != not_after;
        let found = if is_open {
            from + self.places[from..end].partition_point(|at| *at < hash)
        } else {
            from + before as usize
        };
        if found < self.places.len() { found } else { 0 }
    }

    /// The node of a point.
    #[inline]
    pub(super) fn node(&self, point: usize) -> u32 {
        self.marks[point] & self.node_mask()
    }

    /// Where each point lies.
    #[cfg(test)]
    pub(super) fn places(&self) -> &[u64] {
        &self.places
    }

    fn node_mask(&self) -> u32 {
        (1 << self.node_bits) - 1
    }

    /// The stretch of a place, and how far into it that lies, in the upper bits of a mark.
    fn position(&self, place: u64) -> (usize, u32) {
        let n_stretches = (self.starts.len() - 1) as u128;
        let wide = u128::from(place << self.shift) * n_stretches;
        ((wide >> u64::BITS) as usize, (wide >> u32::BITS) as u32 & !self.node_mask())
    }
}
