//! What health does to rotation: who takes picks, when health is ignored, and what a drain leaves.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{endpoint, events};
use isobar_core::{
    Cluster, ClusterSettings, Draw, Edit, EndpointState, EventKind, FailureClass, Found, InFlight, Instant,
    MemberIndex, NoPick, Outcome, PickRequest, PolicyKind, ProbeSettings, SourceSet, Verdict,
};
use proptest::prelude::*;

/// Longer than any interval, so that a round finds every probe due.
const ROUND_NS: u64 = 3_600_000_000_000;

/// Rounds so far, over all tests: time only has to move on.
static ROUNDS: AtomicU64 = AtomicU64::new(1);

fn settings(initial: Verdict, min_healthy_percent: u8) -> ClusterSettings {
    ClusterSettings {
        policy: PolicyKind::RoundRobin.into(),
        probes: vec![ProbeSettings {
            interval: Duration::from_secs(2),
            failing_interval: Duration::from_millis(500),
            healthy_after: 2,
            unhealthy_after: 3,
            initial,
        }],
        min_healthy_percent,
        ..ClusterSettings::default()
    }
}

fn cluster_of(n: u16, settings: ClusterSettings) -> Cluster {
    let mut cluster = Cluster::new("web", settings, 1, 1);
    let found =
        (0..n).map(|port| Found { endpoint: endpoint(&port.to_string(), port, 1, 0), inferred: None });
    cluster.set_sources(vec![SourceSet { name: "test".into(), found: found.collect() }], Instant(0));
    events(&mut cluster);
    cluster
}

/// Probes everybody once; those in `failing` fail.
fn round(cluster: &mut Cluster, failing: &[&str]) {
    let now = Instant(ROUNDS.fetch_add(1, Ordering::Relaxed) * ROUND_NS);
    let mut due = Vec::new();
    while let Some(one) = cluster.poll_action(now) {
        due.push(one);
    }
    for one in due {
        let fails = failing.contains(&&*one.endpoint.id);
        let result = if fails { Err(Arc::from("status 503")) } else { Ok(()) };
        cluster.handle_probe(&one, result, now);
    }
}

/// The ids that picks reach.
fn reached(cluster: &Cluster) -> Vec<String> {
    let snapshot = cluster.snapshot();
    let mut draw = Draw::new(5);
    let mut ids: Vec<String> = (0..100)
        .filter_map(|ticket| snapshot.pick(&PickRequest { ticket, ..Default::default() }, &mut draw).ok())
        .map(|index| snapshot.member(index).endpoint.id.to_string())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[test]
fn unhealthy_endpoints_take_no_picks_and_come_back_after_their_passes() {
    let mut cluster = cluster_of(3, settings(Verdict::Unknown, 20));
    round(&mut cluster, &["1"]);
    assert_eq!(reached(&cluster), ["0", "2"]);
    let member = cluster.snapshot().members()[1].clone();
    assert_eq!(
        (member.state, &*member.reason, member.effective_weight()),
        (EndpointState::Unhealthy, "status 503", 0)
    );
    assert!(events(&mut cluster).contains(&("1".into(), EventKind::Unhealthy)));
    round(&mut cluster, &[]);
    assert_eq!(reached(&cluster), ["0", "2"], "one pass of two");
    round(&mut cluster, &[]);
    assert_eq!(reached(&cluster), ["0", "1", "2"]);
    assert!(events(&mut cluster).contains(&("1".into(), EventKind::Healthy)));
}

#[test]
fn an_endpoint_that_must_prove_itself_first_takes_nothing_before_not_even_when_all_do() {
    let mut cluster = cluster_of(2, settings(Verdict::Unhealthy, 50));
    assert!(reached(&cluster).is_empty());
    let pick = cluster.snapshot().pick(&PickRequest::default(), &mut Draw::new(0));
    assert_eq!(pick, Err(NoPick::Empty));
    round(&mut cluster, &["1"]);
    assert!(reached(&cluster).is_empty(), "one pass of two");
    round(&mut cluster, &["1"]);
    assert_eq!(reached(&cluster), ["0"], "two passes");
    for _ in 0..3 {
        round(&mut cluster, &["0", "1"]);
    }
    assert_eq!(reached(&cluster), ["0"], "health is ignored for what was healthy once only");
}

#[test]
fn checks_that_are_added_to_a_running_service_take_nobody_out_before_their_first_result() {
    let mut cluster = cluster_of(2, ClusterSettings { min_healthy_percent: 20, ..Default::default() });
    assert_eq!(reached(&cluster), ["0", "1"]);
    cluster.set_settings(settings(Verdict::Unhealthy, 20), Instant(0));
    assert_eq!(reached(&cluster), ["0", "1"]);
    round(&mut cluster, &["1"]);
    assert_eq!(reached(&cluster), ["0"]);
}

#[test]
fn too_few_healthy_ones_open_the_rest_and_enough_close_it() {
    let mut cluster = cluster_of(10, settings(Verdict::Unknown, 20));
    let failing: Vec<String> = (1..10).map(|n| n.to_string()).collect();
    let failing: Vec<&str> = failing.iter().map(String::as_str).collect();
    round(&mut cluster, &failing[1..]);
    assert_eq!(reached(&cluster), ["0", "1"], "two of ten are a fifth");
    events(&mut cluster);
    for _ in 0..3 {
        round(&mut cluster, &failing);
    }
    assert_eq!(reached(&cluster).len(), 10);
    assert!(events(&mut cluster).contains(&(String::new(), EventKind::FailOpenBegan)));
    round(&mut cluster, &failing[1..]);
    round(&mut cluster, &failing[1..]);
    assert_eq!(reached(&cluster), ["0", "1"]);
    assert!(events(&mut cluster).contains(&(String::new(), EventKind::FailOpenEnded)));
}

#[test]
fn broken_connections_take_an_endpoint_out_and_probes_bring_it_back() {
    let mut cluster = cluster_of(3, settings(Verdict::Unknown, 20));
    round(&mut cluster, &[]);
    let snapshot = cluster.snapshot();
    let fail = |n: usize, class| {
        for _ in 0..n {
            InFlight::start(&snapshot, MemberIndex(0), 0, Instant(0)).finish(Outcome::Failure(class));
        }
    };
    fail(9, FailureClass::Status);
    fail(2, FailureClass::Reset);
    cluster.handle_bell(Instant(0));
    assert_eq!(reached(&cluster).len(), 3);
    fail(1, FailureClass::Connect);
    cluster.handle_bell(Instant(0));
    assert_eq!(reached(&cluster), ["1", "2"]);
    assert_eq!(&*cluster.snapshot().members()[0].reason, "3 connections in a row failed");
    round(&mut cluster, &[]);
    round(&mut cluster, &[]);
    assert_eq!(reached(&cluster).len(), 3);
    assert_eq!(cluster.snapshot().members()[0].live.broken_connections(), 0);
}

#[test]
fn without_probes_broken_connections_change_nothing_because_nobody_would_undo_it() {
    let mut cluster = cluster_of(2, ClusterSettings { min_healthy_percent: 20, ..Default::default() });
    let snapshot = cluster.snapshot();
    for _ in 0..100 {
        InFlight::start(&snapshot, MemberIndex(0), 0, Instant(0))
            .finish(Outcome::Failure(FailureClass::Connect));
    }
    cluster.handle_bell(Instant(0));
    assert_eq!(reached(&cluster).len(), 2);
}

#[test]
fn a_drained_endpoint_takes_nothing_even_when_the_rest_is_dead() {
    let mut cluster = cluster_of(2, settings(Verdict::Unknown, 50));
    cluster.edit(Edit::Patch { id: "0".into(), weight: None, draining: Some(true) }, Instant(0)).unwrap();
    assert_eq!(reached(&cluster), ["1"]);
    for _ in 0..3 {
        round(&mut cluster, &["0", "1"]);
    }
    assert_eq!(reached(&cluster), ["1"], "fail-open ignores health, not operators");
    let drained = cluster.snapshot().members()[0].clone();
    assert_eq!((drained.state, drained.live.is_leaving()), (EndpointState::Draining, true));
    cluster.edit(Edit::Patch { id: "0".into(), weight: None, draining: Some(false) }, Instant(0)).unwrap();
    let back = cluster.snapshot().members()[0].clone();
    assert_eq!(
        (back.state, back.live.is_leaving()),
        (EndpointState::Unhealthy, false),
        "its verdict went on"
    );
}

#[test]
fn a_removed_endpoint_s_record_says_so_to_those_that_still_hold_it() {
    let mut cluster = cluster_of(2, settings(Verdict::Unknown, 20));
    let before = cluster.snapshot();
    common::set(&mut cluster, vec![endpoint("0", 0, 1, 0)]);
    assert!(!before.members()[0].live.is_leaving() && before.members()[1].live.is_leaving());
}

/// A cluster with endpoints of these priorities, named by their places, in health as probed with those in `failing`.
fn cluster_by_priority(priorities: &[u32], min_healthy_percent: u8, failing: &[&str]) -> Cluster {
    let mut cluster = Cluster::new("web", settings(Verdict::Unknown, min_healthy_percent), 1, 1);
    let found = priorities.iter().zip(0..).map(|(priority, port)| Found {
        endpoint: endpoint(&port.to_string(), port, 1, *priority),
        inferred: None,
    });
    cluster.set_sources(vec![SourceSet { name: "test".into(), found: found.collect() }], Instant(0));
    events(&mut cluster);
    round(&mut cluster, failing);
    cluster
}

#[test]
fn priorities_take_what_the_lower_ones_cannot_carry_and_health_counts_while_they_can() {
    let of = |failing: &[&str]| reached(&cluster_by_priority(&[0, 0, 0, 0, 0, 0, 7], 20, failing));
    assert_eq!(of(&[]), ["0", "1", "2", "3", "4", "5"]);
    assert_eq!(of(&["0"]), ["1", "2", "3", "4", "5"], "83 % of six carry the load of six");
    assert_eq!(of(&["0", "1", "2", "3"]), ["4", "5", "6"], "a third of six leaves the rest to the reserve");
    assert_eq!(of(&["0", "1", "2", "3", "4"]), ["5", "6"], "few, but the reserve carries what is left");
    assert_eq!(of(&["0", "1", "2", "3", "4", "5"]), ["6"], "one reserve of one is enough");
    let mut pressed = cluster_by_priority(&[0, 0, 0, 0, 0, 0, 7], 20, &["0", "1", "2", "3", "4", "6"]);
    assert_eq!(reached(&pressed), ["0", "1", "2", "3", "4", "5", "6"], "all are in panic");
    assert!(events(&mut pressed).contains(&(String::new(), EventKind::FailOpenBegan)));
    let mut half = cluster_by_priority(&[0, 0, 0, 0, 0, 0, 7, 7], 20, &["0", "1", "2", "3", "4", "7"]);
    assert_eq!(reached(&half), ["0", "1", "2", "3", "4", "5", "6"], "only the first is in panic");
    assert!(events(&mut half).contains(&(String::new(), EventKind::FailOpenBegan)));
    let mut gone = cluster_by_priority(&[0, 0, 7, 7], 20, &["0", "1", "2"]);
    assert_eq!(reached(&gone), ["3"], "half a reserve is not in panic, and who gets nothing is not open");
    assert!(!events(&mut gone).contains(&(String::new(), EventKind::FailOpenBegan)));
}

proptest! {
    /// Invariant: where health leaves fewer than the configured share, these carry the load; and it leaves somebody.
    #[test]
    fn health_never_removes_more_than_the_configured_share_or_what_is_spare(
        n in 1_u16..12, percent in 0_u8..=100, failing in prop::collection::vec(0_u16..12, 0..12), rounds in 1_usize..5,
    ) {
        let mut cluster = cluster_of(n, settings(Verdict::Unknown, percent));
        let failing: Vec<String> = failing.iter().map(ToString::to_string).collect();
        let failing: Vec<&str> = failing.iter().map(String::as_str).collect();
        for _ in 0..rounds {
            round(&mut cluster, &failing);
        }
        let reached = reached(&cluster).len();
        prop_assert!(reached >= 1);
        let (n, percent) = (usize::from(n), usize::from(percent));
        let is_enough = reached * 140 >= n * 100;
        prop_assert!(is_enough || reached * 100 >= n * percent, "{reached} of {n} at {percent} %");
    }
}
