//! Laws of priority levels: which of them a pick comes from.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::endpoint;
use isobar_core::{
    Cluster, ClusterSettings, Draw, Endpoint, Instant, Layout, MemberIndex, NoPick, PickRequest, PolicyKind,
    ProbeSettings, Snapshot, Verdict,
};

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
        let request = PickRequest { key, ticket: snapshot.ticket().take(), ..Default::default() };
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
            let request =
                PickRequest { tried: &tried, ticket: snapshot.ticket().take(), ..Default::default() };
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
