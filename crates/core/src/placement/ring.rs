//! A ring of points: a hash belongs to the node of the next point.
//!
//! Karger et al., "Consistent Hashing and Random Trees" (1997), in five layouts whose points, hashes and lookups differ;
//! each module function names its source. Invariants: points rise; of equal points the layout says which counts. Lookup
//! is a step into an index over the upper bits and a short search behind it. Limits: [`POINTS_MAX`] points; above it
//! weights lose precision. Under libketama's rules a node of less than a fortieth of the average weight has no point.

use std::cmp::Ordering;
use std::fmt::Write as _;

use super::hashing::{Crc32, full_hash, md5_words, xxh64};
use super::{Layout, Node};

/// Points of a ring at most: 8 million, 96 MiB, as in Envoy.
const POINTS_MAX: u64 = 8 << 20;

/// Points for each unit of weight, ours and nginx's: shares of nodes of weight one stay within some 20 % of the mean (algorithms
/// page, section 19 b).
const POINTS_PER_WEIGHT: u64 = 160;

/// Where weights are large, ours get so many points in all and no more, unless there are more nodes than that allows:
/// enough for weights that differ by a hundred, built in a few milliseconds.
const SPREAD_MAX: u64 = 1 << 16;

/// Marks that are compared together: half a line of the cache.
const RUN: usize = 4;

/// Points for each entry of the index, about: so many that few entries have more than are compared together.
const POINTS_PER_BUCKET: u64 = 2;

/// Bits of the index at most: enough for [`POINTS_MAX`] by the constant above, and fewer than a hash has.
const INDEX_BITS_MAX: u32 = 22;

/// Envoy's `minimum_ring_size`.
const ENVOY_POINTS_MIN: f64 = 1024.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    at: u64,
    node: u32,
}

/// How a hash finds its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nearest {
    /// The first that is not before it.
    Next,
    /// Of the two beside it the nearer, the one before where both are as near.
    EitherSide,
}

/// What a lookup reads of a point: 8 bytes, since a large ring is mostly cache misses.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// The 32 bits of its place behind those that the index knows.
    fraction: u32,
    node: u32,
}

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Ring {
    /// Those of the points, and [`RUN`] more.
    marks: Box<[Mark]>,
    /// The whole place of each mark, for what the fractions leave open.
    places: Box<[u64]>,
    /// For each value of the upper bits, where its marks begin; and where the last ones end.
    index: Box<[u32]>,
    /// How far a hash is shifted to be a place in the index.
    shift: u32,
    nearest: Nearest,
    /// Where the last point may lie.
    bits: u32,
}

impl Ring {
    /// Compiles the nodes, at least one.
    pub(crate) fn new(layout: Layout, nodes: &[Node<'_>]) -> Self {
        let (points, bits) = match layout {
            Layout::Isobar => (isobar(nodes), u64::BITS),
            Layout::Envoy => (envoy(nodes, ENVOY_POINTS_MIN), u64::BITS),
            Layout::Nginx => (nginx(nodes), u32::BITS),
            Layout::Ketama => (ketama(nodes), u32::BITS),
            Layout::Haproxy => (haproxy(nodes), u32::BITS),
        };
        let is_haproxy = layout == Layout::Haproxy;
        let nearest = if is_haproxy { Nearest::EitherSide } else { Nearest::Next };
        // Ours does not depend on the order of the nodes: their names decide. The others keep the written order.
        let ties = |a: &Point, b: &Point| match layout {
            Layout::Isobar => nodes[a.node as usize].name.cmp(nodes[b.node as usize].name),
            _ => Ordering::Equal,
        };
        Self::sorted(&points, bits, nearest, !is_haproxy, ties)
    }

    /// Sorts by the upper bits first, in one pass as points are uniform, which gives the index as well; of points at
    /// one place the first remains, where they are to be `distinct`.
    fn sorted(
        points: &[Point],
        bits: u32,
        nearest: Nearest,
        distinct: bool,
        ties: impl Fn(&Point, &Point) -> Ordering,
    ) -> Self {
        let n_buckets = (points.len() as u64 / POINTS_PER_BUCKET).next_power_of_two();
        let shift = bits - n_buckets.trailing_zeros().clamp(1, INDEX_BITS_MAX);
        let n_buckets = 1_usize << (bits - shift);
        let mut ends = vec![0_u32; n_buckets];
        for point in points {
            ends[(point.at >> shift) as usize] += 1;
        }
        let mut end = 0;
        for bucket in &mut ends {
            let n = std::mem::replace(bucket, end);
            end += n;
        }
        let mut spread = vec![Point { at: 0, node: 0 }; points.len()];
        for point in points {
            let place = &mut ends[(point.at >> shift) as usize];
            spread[*place as usize] = *point;
            *place += 1;
        }
        let mut index = Vec::with_capacity(n_buckets + 1);
        let mut marks = Vec::with_capacity(points.len());
        let mut places: Vec<u64> = Vec::with_capacity(points.len());
        let mut from = 0;
        for end in ends {
            index.push(marks.len() as u32);
            let bucket = &mut spread[from..end as usize];
            bucket.sort_by(|a, b| a.at.cmp(&b.at).then_with(|| ties(a, b)));
            for point in bucket {
                if distinct && places.last() == Some(&point.at) {
                    continue;
                }
                marks.push(Mark { fraction: fraction(point.at, shift), node: point.node });
                places.push(point.at);
            }
            from = end as usize;
        }
        index.push(marks.len() as u32);
        // So that a run can be read from any of them.
        marks.extend([Mark { fraction: 0, node: 0 }; RUN]);
        Self { marks: marks.into(), places: places.into(), index: index.into(), shift, nearest, bits }
    }

    /// The place of the point that a hash belongs to.
    fn find(&self, hash: u64) -> usize {
        let n = self.places.len();
        let bucket = (hash >> self.shift) as usize;
        let (from, end) = (self.index[bucket] as usize, self.index[bucket + 1] as usize);
        let wanted = fraction(hash, self.shift);
        let before = if end - from <= RUN {
            // All at once, without a branch: a processor would guess half of the comparisons wrong.
            let run = &self.marks[from..from + RUN];
            let is_before =
                |(at, mark): (usize, &Mark)| usize::from(from + at < end && mark.fraction < wanted);
            run.iter().enumerate().map(is_before).sum()
        } else {
            self.marks[from..end].partition_point(|mark| mark.fraction < wanted)
        };
        let mut next = from + before;
        while next < end && self.marks[next].fraction == wanted && self.places[next] < hash {
            next += 1;
        }
        if next == n {
            next = 0;
        }
        if self.nearest == Nearest::Next {
            return next;
        }
        let before = if next == 0 { n - 1 } else { next - 1 };
        let width = u64::MAX >> (u64::BITS - self.bits);
        let behind = hash.wrapping_sub(self.places[before]) & width;
        let ahead = self.places[next].wrapping_sub(hash) & width;
        if behind <= ahead { before } else { next }
    }

    /// The nodes that a hash goes to: its own, then those of the points that follow, clockwise and once around.
    pub(crate) fn walk(&self, hash: u64) -> impl Iterator<Item = u32> + '_ {
        let hash = if self.bits == u64::BITS { hash } else { hash & u64::from(u32::MAX) };
        let first = self.find(hash);
        let (before, from) = self.marks[..self.places.len()].split_at(first);
        from.iter().chain(before).map(|mark| mark.node)
    }
}

/// Of the bits below `shift` the upper 32, or all.
fn fraction(at: u64, shift: u32) -> u32 {
    let below = at & ((1 << shift) - 1);
    (below >> shift.saturating_sub(u32::BITS)) as u32
}

/// Ours: XXH64 of the name under one seed a point, so that a node's points are the same whatever the others are.
fn isobar(nodes: &[Node<'_>]) -> Vec<Point> {
    let bound =
        SPREAD_MAX.max((2 * POINTS_PER_WEIGHT * nodes.len() as u64).next_power_of_two()).min(POINTS_MAX);
    let halved = halvings(nodes, bound);
    let mut points = Vec::new();
    for (node, place) in nodes.iter().zip(0..) {
        let n = points_of(node, halved);
        points.extend((0..n).map(|n| Point { at: xxh64(node.name.as_bytes(), n), node: place }));
    }
    points
}

/// How often all numbers of points must be halved so that there are no more than `bound`.
///
/// Halves: a change of the sum moves nothing, unless it passes a power of two; then every second point goes or comes.
fn halvings(nodes: &[Node<'_>], bound: u64) -> u32 {
    let total: u64 = nodes.iter().map(|node| u64::from(node.weight)).sum();
    let mut halved = 0;
    while (total * POINTS_PER_WEIGHT) >> halved > bound {
        halved += 1;
    }
    halved
}

/// The points of a node by its weight, at least one.
fn points_of(node: &Node<'_>, halved: u32) -> u64 {
    ((u64::from(node.weight) * POINTS_PER_WEIGHT) >> halved).max(1)
}

/// Envoy's `RingHashLoadBalancer::Ring`: entries by a running sum of scaled, normalised weights; XXH64 of `name_i`.
fn envoy(nodes: &[Node<'_>], points_min: f64) -> Vec<Point> {
    let total: f64 = nodes.iter().map(|node| f64::from(node.weight)).sum();
    let least = nodes.iter().map(|node| f64::from(node.weight) / total).fold(1.0, f64::min);
    let scale = ((least * points_min).ceil() / least).min(POINTS_MAX as f64);
    let mut points = Vec::with_capacity(scale.ceil() as usize);
    let (mut hashes, mut target) = (0.0, 0.0);
    let mut name = String::new();
    for (node, place) in nodes.iter().zip(0..) {
        target += scale * (f64::from(node.weight) / total);
        let mut n = 0_u64;
        while hashes < target {
            name.clear();
            let written = write!(name, "{}_{n}", node.name);
            debug_assert!(written.is_ok(), "writing to memory cannot fail");
            points.push(Point { at: xxh64(name.as_bytes(), 0), node: place });
            n += 1;
            hashes += 1.0;
        }
    }
    points
}

/// nginx's `ngx_http_upstream_init_chash`: 160 points for each unit of weight, each the CRC-32 of host, zero byte, port
/// and the point before. Beyond [`POINTS_MAX`], where nginx would go on, fewer.
fn nginx(nodes: &[Node<'_>]) -> Vec<Point> {
    let halved = halvings(nodes, POINTS_MAX);
    let mut points = Vec::new();
    for (node, place) in nodes.iter().zip(0..) {
        let (host, port) = match node.name.strip_prefix("unix:") {
            Some(path) => (path, ""),
            // What is behind the last colon may be a part of an address of IPv6.
            None => match node.name.rsplit_once(':') {
                Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
                _ => (node.name, ""),
            },
        };
        let base = Crc32::default().feed(host.as_bytes()).feed(b"\0").feed(port.as_bytes());
        let mut before = 0_u32;
        points.extend((0..points_of(node, halved)).map(|_| {
            before = base.clone().feed(&before.to_le_bytes()).finish();
            Point { at: before.into(), node: place }
        }));
    }
    points
}

/// libketama's `ketama_create_continuum`: four points of each MD5 of `name-k`, 160 for a node of average weight.
fn ketama(nodes: &[Node<'_>]) -> Vec<Point> {
    let total: f64 = nodes.iter().map(|node| f64::from(node.weight)).sum();
    let (mut points, mut name) = (Vec::new(), String::new());
    for (node, place) in nodes.iter().zip(0..) {
        // In single precision, as there.
        let share = (f64::from(node.weight) / total) as f32;
        let n = f64::from((f64::from(share) * 40.0 * nodes.len() as f64) as f32).floor() as u64;
        for k in 0..n {
            name.clear();
            let written = write!(name, "{}-{k}", node.name);
            debug_assert!(written.is_ok(), "writing to memory cannot fail");
            points.extend(md5_words(name.as_bytes()).map(|word| Point { at: word.into(), node: place }));
        }
    }
    if points.is_empty() {
        // So many nodes that none reaches a fortieth of an average share: their names decide.
        points.extend(
            nodes
                .iter()
                .zip(0..)
                .map(|(node, place)| Point { at: md5_words(node.name.as_bytes())[0].into(), node: place }),
        );
    }
    points
}

/// HAProxy's `lb_chash.c`: 16 points for each unit of weight, at `full_hash(id * 4096 + j)`. A name is the id; one that
/// is no number counts by its place.
fn haproxy(nodes: &[Node<'_>]) -> Vec<Point> {
    /// `SRV_EWGHT_RANGE`: the points that a server can have.
    const RANGE: u32 = 4096;
    /// `BE_WEIGHT_SCALE`.
    const SCALE: u32 = 16;
    let mut points = Vec::new();
    for (node, place) in nodes.iter().zip(0_u32..) {
        let id = node.name.parse().unwrap_or(place + 1);
        let n = node.weight.saturating_mul(SCALE).min(RANGE);
        points.extend((0..n).map(|j| {
            let at = full_hash(RANGE.wrapping_mul(id).wrapping_add(j));
            Point { at: at.into(), node: place }
        }));
    }
    points
}

#[cfg(test)]
mod tests;
