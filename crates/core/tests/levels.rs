//! Laws of what divides a service: priorities, zones, subsets and cookies, for every policy.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::endpoint;
use isobar_core::{
    Cluster, ClusterSettings, Draw, Endpoint, Instant, Layout, MemberIndex, NoPick, PickRequest, PolicyKind,
    ProbeSettings, Snapshot, StickyKey, Subset, Verdict, ZoneAware,
};
use proptest::prelude::*;

/// A cluster in which these endpoints are unhealthy, by their ids.
fn cluster(
    settings: &ClusterSettings,
    endpoints: Vec<Endpoint>,
    dead: impl Fn(&Endpoint) -> bool,
) -> Cluster {
    let second = Duration::from_secs(1);
    let probe = ProbeSettings {
        interval: second,
        failing_interval: second,
        healthy_after: 1,
        unhealthy_after: 1,
        initial: Verdict::Unknown,
    };
    let mut cluster = Cluster::new("web", ClusterSettings { probes: vec![probe], ..settings.clone() }, 1, 0);
    common::set(&mut cluster, endpoints);
    let later = Instant(1_000_000_000_000);
    let due: Vec<_> = std::iter::from_fn(|| cluster.poll_action(later)).collect();
    for due in due {
        let result = if dead(&due.endpoint) { Err(Arc::from("dead")) } else { Ok(()) };
        cluster.handle_probe(&due, result, later);
    }
    cluster
}

/// Ten endpoints of each priority, this many of each healthy.
fn by_priority(policy: PolicyKind, healthy: &[u16]) -> Snapshot {
    let settings = ClusterSettings { policy: policy.into(), ..Default::default() };
    let ports =
        (0..healthy.len() as u16 * 10).map(|port| endpoint(&port.to_string(), port, 1, u32::from(port) / 10));
    let dead = |endpoint: &Endpoint| {
        let place: u16 = endpoint.id.parse().unwrap();
        place % 10 >= healthy[usize::from(place) / 10]
    };
    cluster(&settings, ports.collect(), dead).snapshot()
}

/// How many of 10,000 picks, each with a key of its own, go to each of three priorities.
fn spread(snapshot: &Snapshot) -> [u32; 3] {
    let (mut draw, mut counts) = (Draw::new(3), [0; 3]);
    for key in 0..10_000_u64 {
        let key = Some(Layout::Isobar.hash(&key.to_le_bytes()));
        let request = PickRequest { key, ticket: snapshot.take_ticket(), ..Default::default() };
        let index = snapshot.pick(&request, &mut draw).unwrap();
        assert!(snapshot.member(index).is_eligible);
        counts[snapshot.member(index).endpoint.priority as usize] += 1;
    }
    counts
}

#[test]
fn requests_are_spread_over_priorities_by_their_loads() {
    // 10,000 picks: the standard deviation of a count is at most 50; 250 is five of them.
    for policy in PolicyKind::ALL {
        for (healthy, expected) in [
            (&[8, 10, 10][..], [10_000_i32, 0, 0]),
            (&[5, 10, 10], [7_000, 3_000, 0]),
            (&[2, 2, 10], [2_800, 2_800, 4_400]),
            (&[0, 10, 10], [0, 10_000, 0]),
        ] {
            let counts = spread(&by_priority(policy, healthy));
            for (count, expected) in counts.iter().zip(expected) {
                assert!((count.cast_signed() - expected).abs() < 250, "{}: {counts:?}", policy.name());
            }
        }
    }
}

#[test]
fn a_key_keeps_its_priority_and_its_endpoint_there() {
    for policy in PolicyKind::ALL.into_iter().filter(|policy| policy.is_keyed()) {
        let snapshot = by_priority(policy, &[5, 10]);
        for key in 0..500_u64 {
            let key = Some(Layout::Isobar.hash(&key.to_le_bytes()));
            let pick = |seed| {
                let request = PickRequest { key, ticket: seed, ..Default::default() };
                snapshot.pick(&request, &mut Draw::new(seed)).unwrap()
            };
            assert_eq!(pick(1), pick(2), "{}", policy.name());
        }
    }
}

#[test]
fn whoever_has_tried_all_of_a_priority_gets_the_others_in_order() {
    for policy in PolicyKind::ALL {
        // The second has no load at all and the third neither: they are there for whoever needs another attempt.
        let snapshot = by_priority(policy, &[10, 10, 1]);
        let (mut draw, mut tried) = (Draw::new(1), Vec::new());
        for n in 0..21_u32 {
            let request = PickRequest { tried: &tried, ticket: snapshot.take_ticket(), ..Default::default() };
            let index = snapshot.pick(&request, &mut draw).unwrap();
            assert_eq!(snapshot.member(index).endpoint.priority, n / 10, "{}", policy.name());
            tried.push(index);
        }
        let request = PickRequest { tried: &tried, ..Default::default() };
        assert_eq!(snapshot.pick(&request, &mut draw), Err(NoPick::AllTried));
        let mut all: Vec<MemberIndex> = tried;
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 21, "nobody twice, and nobody that is dead");
    }
}

/// A proxy in the zone `a`.
fn zone_aware(min_endpoints: usize) -> ZoneAware {
    ZoneAware { zone: "a".into(), min_endpoints, proxies: BTreeMap::new() }
}

/// Endpoints in these zones, a blank standing for none; those in upper case are dead.
fn by_zone(policy: PolicyKind, zones: &str, min_endpoints: usize) -> Snapshot {
    let settings = ClusterSettings {
        policy: policy.into(),
        zone_aware: Some(zone_aware(min_endpoints)),
        min_healthy_percent: 20,
        ..Default::default()
    };
    let endpoints = (0..).zip(zones.chars()).map(|(port, zone)| {
        let zone = zone.to_ascii_lowercase().to_string();
        let zone = (zone != " ").then(|| zone.into());
        Endpoint { zone, ..endpoint(&port.to_string(), port, 1, 0) }
    });
    let dead: Vec<bool> = zones.chars().map(|zone| zone.is_ascii_uppercase()).collect();
    let is_dead = |endpoint: &Endpoint| dead[endpoint.id.parse::<usize>().unwrap()];
    cluster(&settings, endpoints.collect(), is_dead).snapshot()
}

/// The percentage of 20,000 picks that goes to each zone, in their order, none being the first.
fn percents(snapshot: &Snapshot) -> Vec<u64> {
    let mut draw = Draw::new(3);
    let mut counts: BTreeMap<Option<Arc<str>>, u64> = BTreeMap::new();
    for member in snapshot.members() {
        counts.insert(member.endpoint.zone.clone(), 0);
    }
    for key in 0..20_000_u64 {
        let key = Some(Layout::Isobar.hash(&key.to_le_bytes()));
        let request = PickRequest { key, ticket: snapshot.take_ticket(), ..Default::default() };
        let index = snapshot.pick(&request, &mut draw).unwrap();
        *counts.entry(snapshot.member(index).endpoint.zone.clone()).or_default() += 1;
    }
    counts.values().map(|count| (count + 100) / 200).collect()
}

#[test]
fn the_own_zone_gets_what_its_endpoints_can_take_and_the_rest_goes_where_there_is_more() {
    // A ring spreads by its arcs where zones do not count, so it is held to the rows in which they do.
    for policy in PolicyKind::ALL {
        for (zones, min, expected, by_zones) in [
            ("aaabbb", 6, &[100, 0][..], true),
            ("aaaabb", 6, &[100, 0], true),
            // A third of the endpoints for half of the proxies: two thirds stay.
            ("aabbbb", 6, &[67, 33], true),
            // 20 % of the endpoints for a third of the proxies: 60 % stay; b has 27 % left over, c nothing.
            ("aabbbbbbcc", 6, &[60, 40, 0], true),
            // Dead ones take nothing, but their proxies are still there.
            ("aabbCC", 4, &[100, 0, 0], true),
            ("aabbbbBB", 6, &[67, 33], true),
            // What has no zone is there for all.
            ("aabb  ", 6, &[33, 67, 0], true),
            ("aabb", 6, &[50, 50], false),
            ("bbbccc", 6, &[50, 50], false),
            ("aaaaaa", 6, &[100], false),
            // Most are dead: health is ignored, and zones with it.
            ("aBBBBB", 1, &[17, 83], false),
        ] {
            let shares = percents(&by_zone(policy, zones, min));
            let slack = if policy == PolicyKind::RingHash && !by_zones { 15 } else { 2 };
            for (share, expected) in shares.iter().zip(expected) {
                assert!(share.abs_diff(*expected) <= slack, "{}: {zones}: {shares:?}", policy.name());
            }
        }
    }
}

#[test]
fn whoever_has_tried_all_of_its_zone_goes_on_in_the_others() {
    for policy in PolicyKind::ALL {
        let snapshot = by_zone(policy, "aaabbb", 6);
        let (mut draw, mut tried) = (Draw::new(1), Vec::new());
        for n in 0..6 {
            let request = PickRequest { tried: &tried, ticket: snapshot.take_ticket(), ..Default::default() };
            let index = snapshot.pick(&request, &mut draw).unwrap();
            assert_eq!(index.0 / 3, n / 3, "{}", policy.name());
            assert!(!tried.contains(&index));
            tried.push(index);
        }
    }
}

/// The places that 500 picks reach.
fn reached(snapshot: &Snapshot) -> Vec<u32> {
    let mut draw = Draw::new(3);
    let picks = (0..500_u64).map(|key| {
        let key = Some(Layout::Isobar.hash(&key.to_le_bytes()));
        let request = PickRequest { key, ticket: snapshot.take_ticket(), ..Default::default() };
        snapshot.pick(&request, &mut draw).unwrap().0
    });
    let mut places: Vec<u32> = picks.collect();
    places.sort_unstable();
    places.dedup();
    places
}

/// Forty endpoints, of which a proxy uses a subset of five.
fn subset(policy: PolicyKind, instance: &str, dead: &[u32]) -> Snapshot {
    let settings = ClusterSettings {
        policy: policy.into(),
        subset: Some(Subset::new(5, instance)),
        min_healthy_percent: 20,
        ..Default::default()
    };
    let endpoints = (0..40).map(|port| endpoint(&port.to_string(), port, 1, 0)).collect();
    let is_dead = |endpoint: &Endpoint| dead.contains(&endpoint.id.parse().unwrap());
    cluster(&settings, endpoints, is_dead).snapshot()
}

#[test]
fn a_subset_is_all_that_is_used_and_health_does_not_change_it() {
    for policy in PolicyKind::ALL {
        let all = reached(&subset(policy, "proxy-1", &[]));
        assert_eq!(all.len(), 5, "{}", policy.name());
        assert_eq!(reached(&subset(policy, "proxy-1", &all[..2])), all[2..], "who is left takes it");
        let open = reached(&subset(policy, "proxy-1", &all));
        assert!(open.len() > 20 && open.iter().all(|place| !all.contains(place)), "none left: all others");
        assert_ne!(all, reached(&subset(policy, "proxy-2", &[])));
    }
}

#[test]
fn whoever_has_tried_a_whole_subset_goes_on_outside_of_it() {
    for policy in PolicyKind::ALL {
        let snapshot = subset(policy, "proxy-1", &[]);
        let inside = reached(&snapshot);
        let (mut draw, mut tried) = (Draw::new(1), Vec::new());
        for n in 0..40 {
            let request = PickRequest { tried: &tried, ticket: snapshot.take_ticket(), ..Default::default() };
            let index = snapshot.pick(&request, &mut draw).unwrap();
            assert_eq!(inside.contains(&index.0), n < 5, "{}", policy.name());
            assert!(!tried.contains(&index));
            tried.push(index);
        }
    }
}

fn any_settings() -> impl Strategy<Value = ClusterSettings> {
    let policy = prop::sample::select(&PolicyKind::ALL[..]);
    let zones = prop::option::of(1_usize..8);
    let subset = prop::option::of(1_usize..5);
    (policy, zones, subset, 0_u8..=100).prop_map(|(policy, zones, subset, min_healthy_percent)| {
        ClusterSettings {
            policy: isobar_core::PolicySettings { table_size: 101, ..policy.into() },
            zone_aware: zones.map(zone_aware),
            subset: subset.map(|size| Subset::new(size, "proxy")),
            sticky: Some(StickyKey::of_service("web")),
            min_healthy_percent,
            ..Default::default()
        }
    })
}

proptest! {
    #[test]
    fn picks_reach_the_eligible_all_of_them_and_nobody_else_however_a_service_is_divided(
        settings in any_settings(),
        members in prop::collection::vec((0_u32..4, 0_u32..3, 0_usize..4, any::<bool>()), 0..14),
        key: Option<u64>,
        seed: u64,
    ) {
        let zone = |place: usize| [None, Some("a"), Some("b"), Some("c")][place].map(Arc::from);
        let endpoints = (0..).zip(&members).map(|(port, (weight, priority, place, _))| {
            Endpoint { zone: zone(*place), ..endpoint(&port.to_string(), port, *weight, *priority) }
        });
        let is_dead = |endpoint: &Endpoint| members[endpoint.id.parse::<usize>().unwrap()].3;
        let snapshot = cluster(&settings, endpoints.collect(), is_dead).snapshot();
        let n_eligible = snapshot.members().iter().filter(|member| member.is_eligible).count();
        prop_assert!(n_eligible > 0 || members.iter().all(|(weight, ..)| *weight == 0), "there is always somebody");
        let (mut draw, mut tried) = (Draw::new(seed), Vec::new());
        loop {
            let request = PickRequest { key, tried: &tried, ticket: snapshot.take_ticket(), ..Default::default() };
            match snapshot.pick(&request, &mut draw) {
                Ok(index) => {
                    prop_assert!(snapshot.member(index).is_eligible && !tried.contains(&index));
                    tried.push(index);
                }
                Err(NoPick::Empty) => break prop_assert_eq!(n_eligible, 0),
                Err(NoPick::AllTried) => break prop_assert_eq!(tried.len(), n_eligible),
            }
        }
        // A cookie finds its endpoint while that is eligible, wherever it stands.
        let stickiness = snapshot.stickiness().unwrap();
        for (index, member) in (0..).map(MemberIndex).zip(snapshot.members()) {
            let found = stickiness.holder(stickiness.value(&member.endpoint));
            prop_assert_eq!(found, member.is_eligible.then_some(index));
        }
    }

    #[test]
    fn a_subset_changes_by_one_at_most_when_one_endpoint_comes_or_goes(
        ids in prop::collection::btree_set(0_u16..500, 1..60), size in 1_usize..20, gone: prop::sample::Index,
    ) {
        let of = |ids: Vec<u16>| {
            let settings = ClusterSettings {
                policy: PolicyKind::RoundRobin.into(),
                subset: Some(Subset::new(size, "proxy")),
                ..Default::default()
            };
            let endpoints = ids.iter().map(|id| endpoint(&id.to_string(), *id, 1, 0)).collect();
            let snapshot = cluster(&settings, endpoints, |_| false).snapshot();
            let used = reached(&snapshot).into_iter().map(|place| ids[place as usize]);
            used.collect::<std::collections::BTreeSet<u16>>()
        };
        let all: Vec<u16> = ids.iter().copied().collect();
        let gone = all[gone.index(all.len())];
        let before = of(all.clone());
        prop_assert_eq!(before.len(), size.min(all.len()));
        let backwards: Vec<u16> = all.iter().rev().copied().collect();
        prop_assert_eq!(&before, &of(backwards), "no order counts");
        if all.len() > 1 {
            let after = of(all.into_iter().filter(|id| *id != gone).collect());
            let stayed = before.intersection(&after).count();
            prop_assert!(stayed + usize::from(before.contains(&gone)) == before.len(), "{:?} {:?}", before, after);
        }
    }
}

#[test]
fn subsets_of_many_proxies_use_the_endpoints_alike() {
    // gRFC A68 draws 5 of 10 servers for 100, 500 and 2,000 clients: each is chosen by half of the clients, with a
    // standard deviation of half the root of their number; five of them are allowed.
    for n_proxies in [100_u32, 500, 2_000] {
        let mut counts = [0_u32; 10];
        for proxy in 0..n_proxies {
            let settings = ClusterSettings {
                policy: PolicyKind::RoundRobin.into(),
                subset: Some(Subset::new(5, &format!("proxy-{proxy}"))),
                ..Default::default()
            };
            let endpoints = (0..10).map(|port| endpoint(&format!("server-{port}"), port, 1, 0)).collect();
            let snapshot = cluster(&settings, endpoints, |_| false).snapshot();
            for ticket in 0..5 {
                let request = PickRequest { ticket, ..Default::default() };
                counts[snapshot.pick(&request, &mut Draw::new(0)).unwrap().0 as usize] += 1;
            }
        }
        let bound = (2.5 * f64::from(n_proxies).sqrt()) as u32;
        assert!(counts.iter().all(|count| count.abs_diff(n_proxies / 2) <= bound), "{counts:?}");
    }
}

#[test]
fn every_policy_without_a_key_reaches_everybody_in_the_time_that_chance_allows() {
    // Whoever is drawn with a chance of at least p is missed by ln(n / 10^-12) / p draws once in 10^12 runs.
    let weights = [1, 2, 3, 1, 5, 1, 2, 3, 1, 5];
    let sum: u32 = weights.iter().sum();
    let members: Vec<(u32, u32)> = weights.iter().map(|weight| (*weight, 0)).collect();
    for policy in PolicyKind::ALL.into_iter().filter(|policy| !policy.is_keyed()) {
        let snapshot = common::cluster(policy, &members).snapshot();
        let bound = match policy {
            PolicyKind::RoundRobin => sum,
            _ => (f64::from(sum) * (10.0_f64 / 1e-12).ln()).ceil() as u32,
        };
        let (mut draw, mut seen) = (Draw::new(6), [false; 10]);
        for _ in 0..bound {
            let request = PickRequest { ticket: snapshot.take_ticket(), ..Default::default() };
            seen[snapshot.pick(&request, &mut draw).unwrap().0 as usize] = true;
        }
        assert_eq!(seen, [true; 10], "{}", policy.name());
    }
}

#[test]
fn a_hundred_thousand_endpoints_are_divided_like_ten() {
    let zones = ["a", "b", "c"].map(Arc::from);
    let endpoints: Vec<Endpoint> = (0..100_000_u32)
        .map(|n| Endpoint {
            zone: Some(Arc::clone(&zones[n as usize % 3])),
            ..endpoint(&n.to_string(), n as u16, 1 + n % 3, u32::from(n % 10 == 9))
        })
        .collect();
    for policy in PolicyKind::ALL {
        let settings = ClusterSettings {
            policy: policy.into(),
            zone_aware: Some(zone_aware(6)),
            // A ring or a table of all would be a test of patience.
            subset: Some(Subset::new(20, "proxy")).filter(|_| policy.is_keyed()),
            sticky: Some(StickyKey::of_service("web")),
            ..Default::default()
        };
        let mut cluster = Cluster::new("web", settings, 1, 0);
        common::set(&mut cluster, endpoints.clone());
        let snapshot = cluster.snapshot();
        let stickiness = snapshot.stickiness().unwrap();
        let mut draw = Draw::new(8);
        for key in 0..200_u64 {
            let key = Some(Layout::Isobar.hash(&key.to_le_bytes()));
            let request = PickRequest { key, ticket: snapshot.take_ticket(), ..Default::default() };
            let index = snapshot.pick(&request, &mut draw).unwrap();
            let member = snapshot.member(index);
            assert!(member.is_eligible && member.endpoint.priority == 0, "{}", policy.name());
            assert_eq!(stickiness.holder(stickiness.value(&member.endpoint)), Some(index));
        }
    }
}
