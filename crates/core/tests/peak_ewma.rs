//! `peak-ewma` over simulated time: who is slow, fails fast or has recovered gets what it should.

#![allow(clippy::unwrap_used, reason = "tests")]
mod common;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use common::cluster;
use isobar_core::{
    Draw, FailureClass, InFlight, Instant, MemberIndex, Outcome, PickRequest, PolicyKind, Snapshot,
};

/// How an endpoint answers at a moment.
type Behaviour = fn(endpoint: usize, at: Duration) -> (Duration, bool);

const MILLI: Duration = Duration::from_millis(1);

/// Requests that each endpoint of three gets in each second, 600 a second arriving evenly.
fn shares(kind: PolicyKind, seconds: usize, behaviour: Behaviour) -> Vec<[f64; 3]> {
    let snapshot = Arc::new(cluster(kind, &[(1, 0); 3]).snapshot());
    let (mut draw, mut guards) = (Draw::new(7), Vec::new());
    let mut ends: BinaryHeap<Reverse<(Instant, usize)>> = BinaryHeap::new();
    let mut counts = vec![[0.0; 3]; seconds];
    for n in 0..seconds as u64 * 600 {
        let now = Instant(n * 1_000_000_000 / 600);
        while let Some(Reverse((at, place))) = ends.peek().copied().filter(|Reverse((at, _))| *at <= now) {
            ends.pop();
            let (guard, fails): &mut (Option<InFlight<Arc<Snapshot>>>, bool) = &mut guards[place];
            let mut guard = guard.take().unwrap();
            if *fails {
                guard.failed(at, Duration::ZERO);
                guard.finish(Outcome::Failure(FailureClass::Reset));
            } else {
                guard.answered(at);
                guard.finish(Outcome::Success);
            }
        }
        let request = PickRequest { ticket: n, now, ..Default::default() };
        let index = snapshot.pick(&request, &mut draw).unwrap();
        let MemberIndex(endpoint) = index;
        counts[(now.0 / 1_000_000_000) as usize][endpoint as usize] += 1.0;
        let (latency, fails) = behaviour(endpoint as usize, Duration::from_nanos(now.0));
        ends.push(Reverse((now.after(latency), guards.len())));
        guards.push((Some(InFlight::start(Arc::clone(&snapshot), index, 0, now)), fails));
    }
    counts
}

/// The share of the first endpoint over these seconds, where a third is equal.
fn first(counts: &[[f64; 3]]) -> f64 {
    let own: f64 = counts.iter().map(|second| second[0]).sum();
    own / counts.iter().flatten().sum::<f64>()
}

#[test]
fn one_that_becomes_ten_times_slower_soon_gets_a_third_of_its_share_at_most_and_all_of_it_after_recovery() {
    // Slow from the tenth second to the thirtieth. Answers spread a little, as everywhere.
    let behaviour: Behaviour = |endpoint, at| {
        let jitter = Duration::from_micros((at.as_nanos() % 997) as u64);
        let slow = endpoint == 0 && (10..30).contains(&at.as_secs());
        (if slow { MILLI * 50 } else { MILLI * 5 } + jitter, false)
    };
    let counts = shares(PolicyKind::PeakEwma, 60, behaviour);
    assert!(first(&counts[3..10]) > 0.25, "{:?}", &counts[..10]);
    assert!(first(&counts[13..30]) < 1.0 / 9.0, "{:?}", &counts[10..30]);
    assert!(counts[13..30].iter().map(|second| second[0]).sum::<f64>() > 0.0, "it is still looked at");
    assert!(first(&counts[40..]) > 0.8 / 3.0, "{:?}", &counts[30..]);
}

#[test]
fn one_that_fails_at_once_attracts_no_more_than_its_share_and_recovers() {
    let behaviour: Behaviour = |endpoint, at| {
        let fails = endpoint == 0 && at.as_secs() < 20;
        (if fails { MILLI / 10 } else { MILLI * 5 }, fails)
    };
    let counts = shares(PolicyKind::PeakEwma, 60, behaviour);
    assert!(first(&counts[1..20]) < 0.02, "{:?}", &counts[..20]);
    assert!(first(&counts[35..]) > 0.8 / 3.0, "{:?}", &counts[20..]);
    // What looks at in-flight attempts alone sends it the most.
    let misled = shares(PolicyKind::LeastRequest, 20, behaviour);
    assert!(first(&misled) > 1.0 / 3.0, "{misled:?}");
}

#[test]
fn equals_share_equally_and_none_starves() {
    let behaviour: Behaviour =
        |_, at| (MILLI * 5 + Duration::from_micros((at.as_nanos() % 4999) as u64), false);
    let counts = shares(PolicyKind::PeakEwma, 60, behaviour);
    for endpoint in 0..3 {
        let all: f64 = counts.iter().map(|second| second[endpoint]).sum();
        assert!((0.25..0.42).contains(&(all / 36_000.0)), "{all}");
        for window in counts.chunks(10) {
            assert!(window.iter().any(|second| second[endpoint] > 0.0));
        }
    }
}

#[test]
fn a_wish_to_be_left_alone_is_heeded() {
    let snapshot = Arc::new(cluster(PolicyKind::PeakEwma, &[(1, 0); 2]).snapshot());
    let second = |n: u64| Instant(n * 1_000_000_000);
    for (place, retry_after) in [(0, 60), (1, 0)] {
        let mut guard = InFlight::start(Arc::clone(&snapshot), MemberIndex(place), 0, second(1));
        if retry_after > 0 {
            guard.failed(second(1), Duration::from_secs(retry_after));
            guard.finish(Outcome::Failure(FailureClass::Status));
        } else {
            guard.answered(Instant(second(1).0 + 1_000_000));
            guard.finish(Outcome::Success);
        }
    }
    let mut draw = Draw::new(1);
    let picks = |at: u64, draw: &mut Draw| {
        let request = PickRequest { now: second(at), ..Default::default() };
        (0..100).filter(|_| snapshot.pick(&request, draw) == Ok(MemberIndex(0))).count()
    };
    assert_eq!(picks(2, &mut draw), 0);
    assert_eq!(picks(9, &mut draw), 0);
    assert!(picks(11, &mut draw) > 0, "after three decays it is tried again");
}
