//! A ring of points: a hash belongs to the node of the next point.
//!
//! Karger et al., "Consistent Hashing and Random Trees" (1997), in five layouts whose points, hashes and lookups differ;
//! each module function names its source. Invariants: points rise; of equal points the layout says which counts; the
//! index (see `index`) answers as a search would. Limits: [`POINTS_MAX`] points; above it
//! weights lose precision. Under libketama's rules a node of less than a fortieth of the average weight has no point.

mod index;
mod sorting;

use std::fmt::Write as _;

use super::hashing::{Crc32, full_hash, md5_words, xxh64};
use super::{Layout, Node, PointHash};
use index::Index;

/// Points of a ring at most: 8 million, as in Envoy; 110 MiB.
const POINTS_MAX: u64 = 8 << 20;

/// Points for each unit of weight, ours and nginx's: shares of nodes of weight one stay within some 20 % of the mean (algorithms
/// page, section 19 b).
const POINTS_PER_WEIGHT: u64 = 160;

/// Where weights are large, ours get so many points in all and no more, unless there are more nodes than that allows:
/// enough for weights that differ by a hundred, built in a few milliseconds.
const SPREAD_MAX: u64 = 1 << 16;

/// Envoy's `minimum_ring_size`.
const ENVOY_POINTS_MIN: f64 = 1024.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    at: u64,
    node: u32,
}

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Ring {
    index: Index,
    /// Where the last point may lie.
    bits: u32,
}

impl Ring {
    /// Compiles the nodes, at least one; `point_hash` is of meaning to Envoy's layout.
    pub(crate) fn new(layout: Layout, point_hash: PointHash, nodes: &[Node<'_>]) -> Self {
        let (mut points, bits) = match layout {
            Layout::Isobar => (isobar(nodes), u64::BITS),
            Layout::Envoy => (envoy(nodes, ENVOY_POINTS_MIN, point_hash), u64::BITS),
            Layout::Nginx => (nginx(nodes), u32::BITS),
            Layout::Ketama => (ketama(nodes), u32::BITS),
            Layout::Haproxy => (haproxy(nodes), u32::BITS),
        };
        // Ours does not depend on the order of the nodes: their names decide. The others keep the written order.
        let rank = |point: &Point| (layout == Layout::Isobar).then(|| nodes[point.node as usize].name);
        sorting::sort(&mut points, bits, |a, b| rank(a).cmp(&rank(b)).then(a.node.cmp(&b.node)));
        if layout == Layout::Haproxy {
            meet_halfway(&mut points, bits);
        } else {
            points.dedup_by_key(|point| point.at);
        }
        Self { index: Index::new(&points, bits), bits }
    }

    /// The nodes that a hash goes to: its own, then those of the points that follow, clockwise and once around.
    #[inline]
    pub(crate) fn walk(&self, hash: u64) -> impl Iterator<Item = u32> + '_ {
        let hash = if self.bits == u64::BITS { hash } else { hash & u64::from(u32::MAX) };
        let first = self.index.find(hash);
        (first..self.index.len()).chain(0..first).map(|point| self.index.node(point))
    }
}

/// Moves each point to the end of what is nearer to it than to the next one, so that the first point that is not before a
/// hash is the nearest to it; one that lies as near to both belongs to the one before.
fn meet_halfway(points: &mut [Point], bits: u32) {
    let Some(first) = points.first().copied() else { return };
    let around = u128::from(first.at) + (1_u128 << bits);
    for place in 0..points.len() {
        let next = points.get(place + 1).map_or(around, |next| next.at.into());
        points[place].at = u128::midpoint(points[place].at.into(), next) as u64;
    }
    // The last may own what lies behind the end, which is the beginning.
    if let Some(last) = points.last_mut()
        && last.at >> bits != 0
    {
        last.at &= (1 << bits) - 1;
        points.rotate_right(1);
    }
}

/// Ours: XXH64 of the name under one seed a point, so that a node's points are the same whatever the others are.
fn isobar(nodes: &[Node<'_>]) -> Vec<Point> {
    let bound =
        SPREAD_MAX.max((2 * POINTS_PER_WEIGHT * nodes.len() as u64).next_power_of_two()).min(POINTS_MAX);
    let halved = halvings(nodes, bound);
    let n_points: u64 = nodes.iter().map(|node| points_of(node, halved)).sum();
    let mut points = Vec::with_capacity(n_points as usize);
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

/// Envoy's `RingHashLoadBalancer::Ring`: entries by a running sum of scaled, normalised weights; the hash of `name_i`.
fn envoy(nodes: &[Node<'_>], points_min: f64, point_hash: PointHash) -> Vec<Point> {
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
            points.push(Point { at: point_hash.hash(name.as_bytes()), node: place });
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
    let n_points: u64 = nodes.iter().map(|node| points_of(node, halved)).sum();
    let mut points = Vec::with_capacity(n_points as usize);
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
