//! A pick allocates nothing, and neither do its guard and a route found without patterns.
//!
//! A binary of its own, because the counting allocator serves the whole process.
#![allow(unsafe_code, reason = "an allocator can only be replaced by implementing an unsafe trait")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;

use common::{cluster, endpoint};
use isobar_core::{
    Cluster, ClusterSettings, Draw, Endpoint, HostPattern, InFlight, Instant, MemberIndex, Outcome, PathRule,
    PickRequest, PolicyKind, PolicySettings, RequestView, RouteMatch, RouteTable, SplitTable, StickyKey,
    StickyValue, Subset, ZoneAware,
};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; the counter needs no destructor and so
// allocates nothing itself.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises are passed on as they are.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations_of(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
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
    for policy in plain.chain(bounded) {
        for members in shapes {
            let snapshot = cluster(policy, members).snapshot();
            let mut draw = Draw::new(1);
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
                        ticket: snapshot.ticket().take(),
                        ..Default::default()
                    };
                    if let Ok(index) = snapshot.pick(&request, &mut draw) {
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
                    ticket: snapshot.ticket().take(),
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
