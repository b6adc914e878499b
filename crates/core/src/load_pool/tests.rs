//! The pool's rules one by one; what they come to is simulated in `tests/prequal.rs`.

use super::*;

fn entry(n: u64, in_flight: f32, latency: f32, at: Instant) -> Entry {
    let index = MemberIndex(n as u32);
    Entry {
        index,
        generation: n,
        in_flight,
        elsewhere: 0.0,
        unit: 1.0,
        latency,
        is_failing: false,
        is_own: false,
        at,
        uses: 0,
    }
}

/// A pool of so many members with these reports of requests in flight and latency, one after the other.
fn pool(n_members: usize, reports: &[(f32, f32)]) -> LoadPool {
    let (mut pool, mut draw) = (LoadPool::default(), Draw::new(1));
    pool.begin_pick(n_members, Instant(0));
    for (n, (in_flight, latency)) in (0..).zip(reports) {
        pool.add(entry(n, *in_flight, *latency, Instant(n)), &mut draw);
    }
    pool
}

fn places(pool: &LoadPool) -> Vec<u32> {
    pool.entries.iter().map(|entry| entry.index.0).collect()
}

#[test]
fn uses_follow_the_paper_s_equation() {
    for (gained, removed, expected) in [(3.0, 1.0, 1.32), (1.0, 0.25, 3.39), (0.5, 0.25, 11.76)] {
        let found = reuse(16.0, 100.0, gained, removed);
        assert!((found - expected).abs() < 0.01, "{found}");
    }
    assert_eq!(reuse(16.0, 10.0, 3.0, 1.0).to_bits(), REUSE_MAX.to_bits());
    assert_eq!(reuse(16.0, 1e6, 9.0, 0.0).to_bits(), 1.0_f32.to_bits(), "once at least");
}

#[test]
fn rounding_keeps_the_mean() {
    let mut draw = Draw::new(3);
    for value in [0.0, 0.25, 1.0, 1.32, 11.76] {
        let sum: u32 = (0..100_000).map(|_| round(value, &mut draw)).sum();
        // Five standard deviations of a mean of 100,000 are 0.008 at most.
        assert!((f64::from(sum) / 1e5 - f64::from(value)).abs() < 0.01, "{value}: {sum}");
    }
}

#[test]
fn of_the_cold_the_quickest_is_chosen_and_of_the_hot_the_least_busy() {
    let mut draw = Draw::new(1);
    let all = [(1.0, 30.0), (2.0, 10.0), (3.0, 20.0), (99.0, 1.0)];
    assert_eq!(pool(100, &all).choose(|_| true, &mut draw), Some(MemberIndex(1)));
    let hot = |entry: &Entry| entry.index != MemberIndex(1);
    assert_eq!(pool(100, &all).choose(hot, &mut draw), Some(MemberIndex(2)));
    // Where nothing was told of few requests in flight all are hot.
    let mut busy = pool(100, &[(5.0, 1.0), (4.0, 9.0), (6.0, 1.0)]);
    (0..RECENT).for_each(|_| busy.recent.add(0.0));
    assert_eq!(busy.choose(|_| true, &mut draw), Some(MemberIndex(1)));
}

#[test]
fn fewer_than_two_usable_reports_choose_nothing() {
    let mut draw = Draw::new(1);
    assert_eq!(pool(100, &[]).choose(|_| true, &mut draw), None);
    assert_eq!(pool(100, &[(1.0, 1.0)]).choose(|_| true, &mut draw), None);
    let mut two = pool(100, &[(1.0, 1.0), (1.0, 2.0)]);
    assert_eq!(two.choose(|entry| entry.generation == 0, &mut draw), None);
    assert!(two.choose(|_| true, &mut draw).is_some());
}

#[test]
fn a_report_is_used_up() {
    let mut draw = Draw::new(1);
    // Of three members, all of which are known, each report may be used sixteen times.
    let mut pool = pool(3, &[(1.0, 10.0), (1.0, 10.0), (9.0, 10.0)]);
    pool.gain = 0.0;
    for _ in 0..16 {
        pool.entries[0].latency = 1.0;
        assert_eq!(pool.choose(|entry| entry.generation != 2, &mut draw), Some(MemberIndex(0)));
    }
    assert_eq!(places(&pool), [1, 2]);
}

#[test]
fn the_oldest_and_the_worst_are_dropped_in_turns() {
    let mut pool = pool(100, &[(1.0, 1.0), (1.0, 50.0), (1.0, 2.0), (1.0, 40.0), (1.0, 3.0)]);
    let left = [vec![1, 2, 3, 4], vec![2, 3, 4], vec![3, 4], vec![4]];
    for expected in left {
        pool.remove_one(f32::INFINITY);
        assert_eq!(places(&pool), expected);
    }
}

#[test]
fn there_is_one_report_of_an_endpoint_sixteen_in_all_and_none_older_than_a_second() {
    let reports = vec![(1.0, 1.0); 20];
    let mut pool = pool(100, &reports);
    assert_eq!(places(&pool), (4..20).collect::<Vec<_>>());
    pool.add(entry(9, 2.0, 2.0, Instant(30)), &mut Draw::new(1));
    assert_eq!((pool.entries.len(), places(&pool)[15]), (POOL_MAX, 9));
    pool.sift(Instant(10 + 1_000_000_000), |_| true);
    assert_eq!(places(&pool), [10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 9]);
    pool.sift(Instant(0), |entry| entry.generation == 12);
    assert_eq!(places(&pool), [12]);
}

#[test]
fn probes_are_three_a_pick_and_a_thousand_a_second() {
    let mut pool = LoadPool::default();
    let probes = |pool: &mut LoadPool, from_ms: u64, picks: u64, step_us: u64| -> u32 {
        (0..picks).map(|n| pool.begin_pick(10, Instant(from_ms * 1_000_000 + n * step_us * 1_000))).sum()
    };
    // A hundred picks a second get all of theirs, ten thousand a second share the thousand.
    assert_eq!(probes(&mut pool, 1_000, 100, 10_000), 300);
    let all = probes(&mut pool, 3_000, 10_000, 100);
    assert!((1_000..=1_000 + POOL_MAX as u32).contains(&all), "{all}");
    // A long rest is no credit.
    assert!(probes(&mut pool, 100_000, 1_000, 0) <= POOL_MAX as u32);
}

#[test]
fn a_member_is_due_once_and_no_more_are_due_than_a_pool_holds() {
    let mut pool = LoadPool::default();
    (0..100).for_each(|n| pool.owe(MemberIndex(n / 2)));
    let due: Vec<_> = std::iter::from_fn(|| pool.take_due()).collect();
    assert_eq!(due.len(), POOL_MAX);
    assert!(due.iter().all(|one| due.iter().filter(|other| *other == one).count() == 1));
}

#[test]
fn the_bound_of_the_cold_is_a_quantile_of_the_last_reports() {
    let mut recent = LoadPool::default().recent;
    assert!(recent.bound().is_infinite());
    (0..1_000_u16).for_each(|n| recent.add(f32::from(n * 37 % 100)));
    let mut last: Vec<f32> = (1_000 - RECENT as u16..1_000).map(|n| f32::from(n * 37 % 100)).collect();
    last.sort_by(f32::total_cmp);
    assert_eq!(recent.sorted.to_vec(), last);
    assert_eq!(recent.bound().to_bits(), last[52].to_bits());
}
