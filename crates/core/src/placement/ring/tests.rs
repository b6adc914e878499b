//! The rings of others, point by point, and what holds for all.

#![allow(clippy::unwrap_used, reason = "tests")]
use super::*;
use proptest::prelude::*;

fn nodes<'a>(names: &'a [String], weights: &[u32]) -> Vec<Node<'a>> {
    names.iter().zip(weights).map(|(name, weight)| Node { name, weight: *weight }).collect()
}

fn addresses(ports: std::ops::Range<u32>) -> Vec<String> {
    ports.map(|port| format!("127.0.0.1:{port}")).collect()
}

#[test]
fn envoy_s_ring_comes_out() {
    let names = addresses(90..96);
    let mut points = envoy(&nodes(&names, &[1; 6]), 12.0, PointHash::Xxhash);
    points.sort();
    let expected = [
        (833_437_586_790_550_860, 4),
        (928_266_305_478_181_108, 2),
        (1_033_482_794_131_418_490, 0),
        (3_551_244_743_356_806_947, 5),
        (3_851_675_632_748_031_481, 3),
        (5_583_722_120_771_150_861, 1),
        (6_311_230_543_546_372_928, 1),
        (7_700_377_290_971_790_572, 3),
        (13_144_177_310_400_110_813, 5),
        (13_444_792_449_719_432_967, 2),
        (15_516_499_411_664_133_160, 4),
        (16_117_243_373_044_804_889, 0),
    ];
    let found: Vec<_> = points.iter().map(|point| (point.at, point.node)).collect();
    assert_eq!(found, expected);
}

/// Envoy's ring of host names, as its tests keep it.
#[test]
fn envoy_s_ring_of_other_names_comes_out() {
    let names: Vec<String> = (90..96).map(|name: u32| name.to_string()).collect();
    let mut points = envoy(&nodes(&names, &[1; 6]), 12.0, PointHash::Xxhash);
    points.sort();
    let expected = [
        (1_975_508_444_536_362_413, 5),
        (2_376_063_919_839_173_711, 5),
        (2_386_806_903_309_390_596, 3),
        (6_749_904_478_991_551_885, 4),
        (6_803_900_775_736_438_537, 3),
        (7_225_015_537_174_310_577, 2),
        (8_787_465_352_164_086_522, 0),
        (11_282_020_843_382_717_940, 2),
        (13_723_418_369_486_627_818, 1),
        (13_776_502_110_861_797_421, 0),
        (14_338_313_586_354_474_791, 1),
        (15_364_271_037_087_512_980, 4),
    ];
    let found: Vec<_> = points.iter().map(|point| (point.at, point.node)).collect();
    assert_eq!(found, expected);
}

/// Envoy's ring by its other function, as its tests keep it.
#[test]
fn envoy_s_ring_by_murmur_comes_out() {
    let names = addresses(80..86);
    let mut points = envoy(&nodes(&names, &[1; 6]), 12.0, PointHash::Murmur2);
    points.sort();
    let expected = [
        (1_358_027_074_129_602_068, 5),
        (4_361_834_613_929_391_114, 3),
        (7_224_494_972_555_149_682, 4),
        (7_701_421_856_454_313_576, 1),
        (8_649_315_368_077_433_379, 2),
        (8_739_448_859_063_030_639, 4),
        (9_887_544_217_113_020_895, 1),
        (10_150_910_876_324_007_731, 2),
        (15_168_472_011_420_622_455, 3),
        (15_427_156_902_705_414_897, 0),
        (16_375_050_414_328_759_093, 5),
        (17_613_279_263_364_193_813, 0),
    ];
    let found: Vec<_> = points.iter().map(|point| (point.at, point.node)).collect();
    assert_eq!(found, expected);
}

#[test]
fn the_function_of_points_moves_envoy_s_ring_alone() {
    let names = addresses(80..86);
    for layout in Layout::ALL {
        let [first, second] =
            PointHash::ALL.map(|hash| Ring::new(layout, hash, &nodes(&names, &[1, 2, 3, 4, 5, 6])));
        let is_same = first.index.places() == second.index.places();
        assert_eq!(is_same, layout != Layout::Envoy, "{layout:?}");
    }
}

/// What libketama's `ketama_test` prints for its sample of servers, whose digest its `test.sh` knows.
#[test]
fn libketama_s_million_keys_come_out() {
    use md5::{Digest as _, Md5};
    let names: Vec<String> = (1..9).map(|n| format!("10.0.1.{n}:11211")).collect();
    let weights = [600, 300, 200, 350, 1_000, 800, 950, 100];
    let ring = Ring::new(Layout::Ketama, PointHash::Xxhash, &nodes(&names, &weights));
    let (mut digest, mut lines) = (Md5::new(), String::from("\n"));
    for key in 0..1_000_000 {
        let hash = Layout::Ketama.hash(key.to_string().as_bytes());
        let point = ring.index.find(hash);
        let (at, name) = (ring.index.places()[point], &names[ring.index.node(point) as usize]);
        writeln!(lines, "{hash} {at} {name}").unwrap();
        if lines.len() > 1 << 20 {
            digest.update(&lines);
            lines.clear();
        }
    }
    digest.update(&lines);
    let expected = 0x5672_b131_391f_5aa2_b280_936a_ec1e_ea74_u128;
    assert_eq!(digest.finalize().to_vec(), expected.to_be_bytes());
}

/// As nginx 1.22 answers.
#[test]
fn nginx_s_ring_comes_out() {
    let points = nginx(&[Node { name: "127.0.0.1:8080", weight: 1 }]);
    let first: Vec<u64> = points.iter().take(4).map(|point| point.at).collect();
    assert_eq!(first, [1_841_993_031, 2_462_559_737, 3_720_262_072, 4_088_678_986]);
    let names = addresses(7777..7779);
    let ring = Ring::new(Layout::Nginx, PointHash::Xxhash, &nodes(&names, &[1, 1]));
    for (key, node) in [("/some/path", 1), ("/some/longer/path", 0), ("/sad/zaidoon", 1), ("/g", 0)] {
        assert_eq!(ring.walk(Layout::Nginx.hash(key.as_bytes())).next(), Some(node), "{key}");
    }
    // The walk of three servers that Pingora's tests keep.
    let names = addresses(7777..7780);
    let ring = Ring::new(Layout::Nginx, PointHash::Xxhash, &nodes(&names, &[1, 1, 1]));
    let walk: Vec<u32> = ring.walk(Layout::Nginx.hash(b"doghash")).take(8).collect();
    assert_eq!(walk, [1, 2, 2, 0, 0, 1, 1, 2]);
    let large = Ring::new(Layout::Nginx, PointHash::Xxhash, &nodes(&addresses(1..10), &[100; 9]));
    assert!((143_900..=144_000).contains(&large.index.len()));
}

#[test]
fn a_walk_begins_with_the_next_point_and_passes_every_node() {
    let names = addresses(80..90);
    for layout in Layout::ALL {
        let ring = Ring::new(layout, PointHash::Xxhash, &nodes(&names, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]));
        for key in 0..200_u32 {
            let walk: Vec<u32> = ring.walk(layout.hash(&key.to_le_bytes())).collect();
            assert_eq!(walk.len(), ring.index.len());
            assert!((0..10).all(|node| walk.contains(&node)), "{layout:?}");
        }
    }
}

/// A layout's points as they come, sorted.
fn points(layout: Layout, nodes: &[Node<'_>]) -> Vec<Point> {
    let mut points = match layout {
        Layout::Isobar => isobar(nodes),
        Layout::Envoy => envoy(nodes, ENVOY_POINTS_MIN, PointHash::Xxhash),
        Layout::Nginx => nginx(nodes),
        Layout::Ketama => ketama(nodes),
        Layout::Haproxy => haproxy(nodes),
    };
    points.sort();
    points
}

/// The node of a hash by the layout's own rule.
fn naive(layout: Layout, points: &[Point], hash: u64) -> u32 {
    let next = points.partition_point(|point| point.at < hash) % points.len();
    let before = (next + points.len() - 1) % points.len();
    let ahead = |from: u64, to: u64| to.wrapping_sub(from) & u64::from(u32::MAX);
    let is_nearer = ahead(points[before].at, hash) <= ahead(hash, points[next].at);
    points[if layout == Layout::Haproxy && is_nearer { before } else { next }].node
}

#[test]
fn the_index_finds_what_the_layout_s_rule_finds() {
    let names = addresses(80..90);
    let nodes = nodes(&names, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    for layout in Layout::ALL {
        let (ring, points) = (Ring::new(layout, PointHash::Xxhash, &nodes), points(layout, &nodes));
        let mask = u64::MAX >> (u64::BITS - ring.bits);
        let near = ring.index.places().iter().chain(points.iter().map(|point| &point.at));
        let near = near.flat_map(|at| [at.wrapping_sub(1) & mask, *at, at.wrapping_add(1) & mask]);
        for hash in near.chain([0, mask]) {
            assert_eq!(ring.walk(hash).next(), Some(naive(layout, &points, hash)), "{layout:?} {hash}");
        }
    }
}

#[test]
fn crowded_and_empty_stretches_are_found_as_well() {
    // Points in three corners of the circle: some stretches hold too many to be told apart by marks, most none.
    let corner = |base: u64| (0..40).map(move |step| base + 3 * step);
    let places: Vec<u64> = corner(5).chain(corner(1 << 60)).chain(corner(u64::MAX - 200)).collect();
    let points: Vec<Point> = places.iter().zip(0..).map(|(at, node)| Point { at: *at, node }).collect();
    let index = Index::new(&points, u64::BITS);
    let near = places.iter().flat_map(|at| [at - 1, *at, at + 1]);
    for hash in near.chain([0, 1 << 40, 1 << 61, u64::MAX]) {
        let expected = places.partition_point(|at| *at < hash) % places.len();
        assert_eq!((index.find(hash), index.node(index.find(hash))), (expected, expected as u32), "{hash}");
    }
}

#[test]
fn every_node_keeps_points_beside_one_of_the_greatest_weight() {
    // libketama's rules give a node of less than a fortieth of the mean no point.
    for layout in [Layout::Isobar, Layout::Nginx, Layout::Envoy, Layout::Haproxy] {
        let ring = Ring::new(layout, PointHash::Xxhash, &nodes(&addresses(80..83), &[1_000_000, 1, 1]));
        assert!(ring.index.len() as u64 <= POINTS_MAX + 2, "{layout:?}");
        let nodes: std::collections::BTreeSet<u32> = ring.walk(0).collect();
        assert_eq!(nodes.len(), 3, "{layout:?}");
    }
}

proptest! {
    #[test]
    fn ours_moves_only_keys_of_the_node_that_goes(
        names in prop::collection::btree_set("[a-z]{1,6}", 2..20),
        keys in prop::collection::vec(any::<u64>(), 50),
    ) {
        let names: Vec<String> = names.into_iter().collect();
        let all = nodes(&names, &vec![1; names.len()]);
        let (before, after) = (Ring::new(Layout::Isobar, PointHash::Xxhash, &all), Ring::new(Layout::Isobar, PointHash::Xxhash, &all[1..]));
        for key in keys {
            let was = before.walk(key).next().unwrap();
            let is = after.walk(key).next().unwrap() + 1;
            prop_assert!(was == is || was == 0);
        }
    }

    #[test]
    fn ours_does_not_depend_on_the_order(
        names in prop::collection::btree_set("[a-z]{1,6}", 1..20),
        weights in prop::collection::vec(1_u32..20, 20),
        keys in prop::collection::vec(any::<u64>(), 50),
    ) {
        let names: Vec<String> = names.into_iter().collect();
        let there = nodes(&names, &weights);
        let back: Vec<_> = there.iter().rev().copied().collect();
        let (first, second) = (Ring::new(Layout::Isobar, PointHash::Xxhash, &there), Ring::new(Layout::Isobar, PointHash::Xxhash, &back));
        for key in keys {
            let name = |ring: &Ring, nodes: &[Node<'_>]| {
                nodes[ring.walk(key).next().unwrap() as usize].name.to_owned()
            };
            prop_assert_eq!(name(&first, &there), name(&second, &back));
        }
    }
}

#[test]
fn shares_of_ours_follow_the_weights() {
    // A hundred points and more a node: shares lie within some 30 % (algorithms page, section 19 b).
    let names: Vec<String> = (0..10).map(|n| format!("node-{n}")).collect();
    let weights = [1, 1, 1, 1, 1, 2, 2, 3, 4, 4];
    let ring = Ring::new(Layout::Isobar, PointHash::Xxhash, &nodes(&names, &weights));
    let mut counts = [0.0; 10];
    for key in 0..200_000_u32 {
        let node = ring.walk(Layout::Isobar.hash(&key.to_le_bytes())).next().unwrap();
        counts[node as usize] += 1.0;
    }
    for (count, weight) in counts.iter().zip(weights) {
        let share = count / (10_000.0 * f64::from(weight));
        assert!((0.7..1.3).contains(&share), "{counts:?}");
    }
}
