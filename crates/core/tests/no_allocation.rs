//! A pick allocates nothing, and neither do its guard and a route found without patterns.
//!
//! A binary of its own, because the counting allocator serves the whole process.

mod common;
#[path = "common/counting.rs"]
mod counting;

use std::cell::RefCell;
use std::collections::BTreeMap;

use common::{cluster, endpoint};
use isobar_core::{
    Cluster, ClusterSettings, Draw, Endpoint, HostPattern, InFlight, Instant, LoadPool, MemberIndex, Outcome,
    PathRule, PickRequest, PolicyKind, PolicySettings, ProbeReport, RequestView, RouteMatch, RouteTable,
    SplitTable, StickyKey, StickyValue, Subset, ZoneAware,
};

fn allocations_of(work: impl FnOnce()) -> u64 {
    let before = counting::allocations();
    work();
    counting::allocations() - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations_of(|| drop(std::hint::black_box(Box::new(7)))), 1);
}

#[test]
fn a_pick_and_its_guard_allocate_nothing() {
    let shapes: [&[(u32, u32)]; 4] = [
        &[(5, 0), (1, 0), (1, 0)],
        &[(1, 0); 300],
        &[(3_000, 0), (4_001, 0), (1, 1)],
        &[(1_000_000, 0), (1, 0)],
    ];
    let plain = PolicyKind::ALL.into_iter().map(PolicySettings::from);
    let bounded = plain.clone().filter(|policy| policy.kind.is_keyed());
    let bounded = bounded.map(|policy| PolicySettings { bounded_load_percent: Some(101), ..policy });
    let probed = PolicySettings { load_probes: true, ..PolicyKind::Prequal.into() };
    for policy in plain.chain(bounded).chain([probed]) {
        for members in shapes {
            let snapshot = cluster(policy, members).snapshot();
            let (mut draw, pool) = (Draw::new(1), RefCell::new(LoadPool::default()));
            // A worker's counts of an endpoint are allocated at its first attempt there, once.
            for index in (0..members.len() as u32).map(MemberIndex) {
                InFlight::start(&snapshot, index, 0, Instant(0)).finish(Outcome::Success);
            }
            // From no tried member to all but one: choice, redraws, scan and the next level.
            let tried: Vec<MemberIndex> = (0..members.len() as u32).map(MemberIndex).collect();
            let counted = allocations_of(|| {
                for round in 0..1_000 {
                    let request = PickRequest {
                        key: (round % 3 > 0).then_some(round as u64),
                        tried: &tried[..round % tried.len()],
                        ticket: snapshot.take_ticket(),
                        pool: Some(&pool),
                        ..Default::default()
                    };
                    let picked = snapshot.pick(&request, &mut draw);
                    while let Some(due) = pool.borrow_mut().take_due() {
                        let report = ProbeReport::default();
                        pool.borrow_mut().learn(&snapshot, due, report, Instant(0), &mut draw);
                    }
                    if let Ok(index) = picked {
                        InFlight::start(&snapshot, index, 0, Instant(0)).finish(Outcome::Success);
                    }
                }
            });
            assert_eq!(counted, 0, "{policy:?}");
        }
    }
}

#[test]
fn a_pick_of_a_divided_service_and_a_cookie_that_is_looked_up_allocate_nothing() {
    for kind in PolicyKind::ALL {
        let zone_aware = ZoneAware { zone: "a".into(), min_endpoints: 6, proxies: BTreeMap::new() };
        let settings = ClusterSettings {
            policy: kind.into(),
            zone_aware: Some(zone_aware),
            subset: Some(Subset::new(3, "proxy")),
            sticky: Some(StickyKey::of_service("web")),
            ..Default::default()
        };
        let mut cluster = Cluster::new("web", settings, 1, 0);
        let endpoints = (0..20).map(|port| Endpoint {
            zone: Some(if port % 4 == 0 { "a".into() } else { "b".into() }),
            ..endpoint(&port.to_string(), port, 1, 0)
        });
        common::set(&mut cluster, endpoints.collect());
        let snapshot = cluster.snapshot();
        let mut draw = Draw::new(1);
        let tried: Vec<MemberIndex> = (0..20).map(MemberIndex).collect();
        let counted = allocations_of(|| {
            for round in 0..1_000 {
                let request = PickRequest {
                    key: (round % 3 > 0).then_some(round as u64),
                    tried: &tried[..round % tried.len()],
                    ticket: snapshot.take_ticket(),
                    ..Default::default()
                };
                assert!(snapshot.pick(&request, &mut draw).is_ok());
                let value = StickyValue::parse(b"0123456789abcdef");
                assert!(value.and_then(|value| snapshot.stickiness()?.holder(value)).is_none());
            }
        });
        assert_eq!(counted, 0, "{}", kind.name());
    }
}

struct Get;

impl RequestView for Get {
    fn method(&self) -> &[u8] {
        b"GET"
    }
    fn host(&self) -> &[u8] {
        b"Shop.Example.com."
    }
    fn path(&self) -> &[u8] {
        b"/cart/42"
    }
    fn header_matches(&self, _: &str, _: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        false
    }
}

#[test]
fn a_route_and_a_split_are_found_without_allocation() {
    let rule = |host: &str, n: u32| RouteMatch {
        hosts: vec![HostPattern::Suffix(host.into())],
        path: PathRule::Prefix(if n == 50 { "/cart".into() } else { format!("/{n}") }),
        ..Default::default()
    };
    let table = RouteTable::compile((0..100).map(|n| (n, rule(".example.com", n))));
    let split = SplitTable::new(&[95, 5]);
    let mut draw = Draw::new(1);
    let counted = allocations_of(|| {
        assert_eq!(table.find(&Get), Some(50));
        assert!(split.choose(&mut draw) < 2);
    });
    assert_eq!(counted, 0);
}
