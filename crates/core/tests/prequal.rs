//! `prequal` over simulated time: servers that differ, lie, fail and recover, and load probes that tell of them.

#![allow(clippy::unwrap_used, reason = "tests")]
mod common;

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use common::cluster;
use isobar_core::{
    Draw, FailureClass, InFlight, Instant, LoadPool, Outcome, PickRequest, PolicyKind, PolicySettings,
    ProbeReport, Snapshot,
};

const MILLI: u64 = 1_000_000;

/// Requests that a server works on at once; others wait for their turn.
const SLOTS: usize = 4;

/// Answers that a server remembers, and of how many of them it tells the median.
const REMEMBERED: usize = 64;
const NEAREST: usize = 5;

/// A server: first come, first served.
#[derive(Clone)]
struct Server {
    /// When each slot is free.
    free: [u64; SLOTS],
    n_in_flight: u32,
    /// How many requests were in flight when one came, and how long it took.
    latencies: VecDeque<(u32, u64)>,
}

impl Server {
    /// When a request that comes now is answered.
    fn serve(&mut self, world: &World, place: usize, now: u64, nature: &mut Draw) -> u64 {
        let free = self.free.iter_mut().min().unwrap();
        let service = exponential(nature) * (world.service_ms)(place, now) * MILLI as f64;
        *free = now.max(*free) + service as u64;
        *free
    }

    /// As in the paper: the median latency of those that came to about as many requests in flight as there are now.
    fn report(&self) -> ProbeReport {
        let mut near: Vec<(u32, u64)> = self.latencies.iter().copied().collect();
        near.sort_by_key(|(n, _)| n.abs_diff(self.n_in_flight));
        near.truncate(NEAREST);
        near.sort_by_key(|(_, latency)| *latency);
        let median = near.get(near.len() / 2).map_or(0, |(_, latency)| *latency);
        ProbeReport { in_flight: Some(self.n_in_flight as f32), latency: Some(Duration::from_nanos(median)) }
    }
}

/// How a simulated service behaves.
struct World {
    /// Mean time of service of each server, in milliseconds, at a time.
    service_ms: fn(server: usize, at: u64) -> f64,
    /// Whether a server fails at once, at a time.
    fails: fn(server: usize, at: u64) -> bool,
    /// Whether a server answers load probes.
    tells: fn(server: usize) -> bool,
    n_servers: usize,
    /// Proxies that know nothing of each other.
    n_callers: usize,
    per_second: f64,
    seconds: u64,
}

/// What came of it.
struct Course {
    /// In milliseconds, rising; of requests that did not fail.
    latencies: Vec<f64>,
    /// Requests of each server, by second.
    counts: Vec<Vec<f64>>,
}

impl Course {
    fn quantile(&self, share: f64) -> f64 {
        self.latencies[(share * (self.latencies.len() - 1) as f64) as usize]
    }

    /// The share of a server from one second to another.
    fn share(&self, server: usize, from: usize, to: usize) -> f64 {
        let window = &self.counts[from..to];
        let own: f64 = window.iter().map(|second| second[server]).sum();
        own / window.iter().flatten().sum::<f64>()
    }
}

fn exponential(draw: &mut Draw) -> f64 {
    let uniform = (draw.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    -(1.0 - uniform).ln()
}

fn run(policy: PolicySettings, world: &World) -> Course {
    let members = vec![(1, 0); world.n_servers];
    let caller = || (cluster(policy, &members).snapshot(), RefCell::new(LoadPool::default()));
    let callers: Vec<_> = std::iter::repeat_with(caller).take(world.n_callers).collect();
    let (mut draw, mut nature) = (Draw::new(7), Draw::new(8));
    let idle = Server { free: [0; SLOTS], n_in_flight: 0, latencies: VecDeque::new() };
    let mut servers = vec![idle; world.n_servers];
    let mut guards: Vec<Option<(InFlight<&Snapshot>, bool, u32)>> = Vec::new();
    let mut ends: BinaryHeap<Reverse<(u64, usize, usize)>> = BinaryHeap::new();
    let mut course =
        Course { latencies: Vec::new(), counts: vec![vec![0.0; world.n_servers]; world.seconds as usize] };
    let mut now = 0;
    loop {
        now += (exponential(&mut nature) * 1e9 / world.per_second) as u64;
        while let Some(Reverse((at, id, server))) =
            ends.peek().copied().filter(|Reverse((at, ..))| *at <= now)
        {
            ends.pop();
            let (mut guard, failed, n_before) = guards[id].take().unwrap();
            servers[server].n_in_flight -= 1;
            if failed {
                guard.failed(Instant(at), Duration::ZERO);
                guard.finish(Outcome::Failure(FailureClass::Status));
                continue;
            }
            let latency = at - guard.started().0;
            course.latencies.push(latency as f64 / MILLI as f64);
            servers[server].latencies.push_back((n_before, latency));
            if servers[server].latencies.len() > REMEMBERED {
                servers[server].latencies.pop_front();
            }
            guard.answered(Instant(at));
            guard.finish(Outcome::Success);
        }
        if now >= world.seconds * 1_000 * MILLI {
            break;
        }
        let (snapshot, pool) = &callers[nature.below(world.n_callers as u32) as usize];
        let request = PickRequest {
            ticket: guards.len() as u64,
            now: Instant(now),
            pool: Some(pool),
            ..Default::default()
        };
        let index = snapshot.pick(&request, &mut draw).unwrap();
        let place = index.0 as usize;
        course.counts[(now / (1_000 * MILLI)) as usize][place] += 1.0;
        let failed = (world.fails)(place, now);
        let end =
            if failed { now + MILLI / 10 } else { servers[place].serve(world, place, now, &mut nature) };
        servers[place].n_in_flight += 1;
        ends.push(Reverse((end, guards.len(), place)));
        let guard = InFlight::start(snapshot, index, 0, Instant(now));
        guards.push(Some((guard, failed, servers[place].n_in_flight - 1)));
        let mut pool = pool.borrow_mut();
        while let Some(probed) = pool.take_due() {
            let report = servers[probed.0 as usize].report();
            let report = if (world.tells)(probed.0 as usize) { report } else { ProbeReport::default() };
            pool.learn(snapshot, probed, report, Instant(now), &mut draw);
        }
    }
    course.latencies.sort_by(f64::total_cmp);
    course
}

fn probed() -> PolicySettings {
    PolicySettings { load_probes: true, ..PolicyKind::Prequal.into() }
}

/// Twenty servers, every second twice as slow, three quarters of what they can do.
const UNEQUAL: World = World {
    service_ms: |server, _| if server % 2 == 0 { 10.0 } else { 20.0 },
    fails: |_, _| false,
    tells: |_| true,
    n_servers: 20,
    n_callers: 10,
    per_second: 4_500.0,
    seconds: 10,
};

#[test]
fn beside_servers_twice_as_slow_the_slowest_answers_come_sooner_than_by_p2c_and_far_sooner_than_at_random() {
    let p99 = |policy: PolicySettings| run(policy, &UNEQUAL).quantile(0.99);
    let (prequal, own, p2c, random, turns) = (
        p99(probed()),
        p99(PolicyKind::Prequal.into()),
        p99(PolicyKind::P2c.into()),
        p99(PolicyKind::Random.into()),
        p99(PolicyKind::RoundRobin.into()),
    );
    assert!(prequal * 1.1 < p2c && own * 1.1 < p2c, "{prequal} {own} {p2c}");
    assert!(p2c * 2.0 < random && prequal * 2.0 < turns, "{p2c} {random} {turns}");
}

#[test]
fn a_load_beyond_what_the_slow_can_take_is_carried_by_the_others() {
    // In turns every second server would get more than it can do; as a whole they can do all of it.
    let world = World { per_second: 5_400.0, ..UNEQUAL };
    let (prequal, turns) = (run(probed(), &world), run(PolicyKind::RoundRobin.into(), &world));
    assert!(prequal.quantile(0.999) * 5.0 < turns.quantile(0.999));
    assert!(prequal.share(0, 2, 10) > 1.5 * prequal.share(1, 2, 10));
}

#[test]
fn servers_that_tell_nothing_are_judged_by_what_the_proxy_sees() {
    let world = World { tells: |server| server < 10, ..UNEQUAL };
    let course = run(probed(), &world);
    assert!(
        course.quantile(0.99) < run(PolicyKind::P2c.into(), &world).quantile(0.99),
        "{}",
        course.quantile(0.99)
    );
    let (telling, silent): (f64, f64) = (
        (0..10).map(|one| course.share(one, 2, 10)).sum(),
        (10..20).map(|one| course.share(one, 2, 10)).sum(),
    );
    assert!((0.3..0.7).contains(&telling), "{telling} {silent}");
}

#[test]
fn one_that_fails_at_once_attracts_no_more_than_its_share_and_recovers() {
    for policy in [probed(), PolicyKind::Prequal.into()] {
        let world = World {
            service_ms: |_, _| 10.0,
            fails: |server, at| server == 0 && at < 10_000 * MILLI,
            tells: |_| true,
            n_servers: 5,
            n_callers: 1,
            per_second: 1_000.0,
            seconds: 30,
        };
        let course = run(policy, &world);
        let by_second: Vec<f64> = (0..30).map(|at| course.share(0, at, at + 1)).collect();
        assert!(course.share(0, 1, 10) < 0.05, "{by_second:?}");
        assert!(course.share(0, 20, 30) > 0.08, "{by_second:?}");
    }
}

#[test]
fn one_that_becomes_ten_times_slower_is_left_and_found_again_when_it_has_recovered() {
    for policy in [probed(), PolicyKind::Prequal.into()] {
        let world = World {
            service_ms: |server, at| {
                if server == 0 && (5_000 * MILLI..15_000 * MILLI).contains(&at) { 50.0 } else { 5.0 }
            },
            fails: |_, _| false,
            tells: |_| true,
            n_servers: 5,
            n_callers: 1,
            per_second: 1_000.0,
            seconds: 30,
        };
        let course = run(policy, &world);
        assert!(course.share(0, 8, 15) < 0.2 / 3.0, "{}", course.share(0, 8, 15));
        assert!(course.share(0, 25, 30) > 0.8 * 0.2, "{}", course.share(0, 25, 30));
    }
}

#[test]
fn equals_share_equally_whether_few_or_many() {
    for n_servers in [2, 3, 10, 100] {
        let world = World {
            service_ms: |_, _| 10.0,
            fails: |_, _| false,
            tells: |_| true,
            n_servers,
            n_callers: 3,
            per_second: 200.0 * n_servers as f64,
            seconds: 5,
        };
        let course = run(probed(), &world);
        let equal = 1.0 / n_servers as f64;
        for server in 0..n_servers {
            let share = course.share(server, 0, 5);
            assert!((0.5 * equal..1.6 * equal).contains(&share), "{server} of {n_servers}: {share}");
        }
    }
}
