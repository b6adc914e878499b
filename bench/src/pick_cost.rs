//! What policies cost: nanoseconds per pick, allocations, milliseconds until a changed endpoint shows in a snapshot.
//!
//! Endpoints have different numbers of requests in flight and different latencies, keys are spread, and time passes, so
//! that what is looked up is not always in the nearest cache and branches cannot be learnt. Picks alone are timed, without
//! their guards. Runs in the harness's own program, which is optimised and counts allocations.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use isobar_core::{
    Address, Cluster, ClusterSettings, Draw, Edit, Endpoint, Found, InFlight, Layout, LoadPool, MemberIndex,
    Outcome, PickRequest, PolicyKind, PolicySettings, Snapshot, SourceSet,
};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use crate::stats::summarise;

/// Endpoints of one cluster.
pub(crate) const SIZES: [u32; 6] = [3, 30, 300, 3_000, 10_000, 100_000];
/// Rings that follow others are measured up to here: their number of points has no bound but theirs.
const SIZE_MAX_OF_OTHERS: u32 = 10_000;
/// Threads that pick at once.
pub(crate) const THREADS: [usize; 2] = [1, 2];
/// Rounds of each figure, of which the best is told: what else runs on the machine, and takes its caches, can only add.
pub(crate) const ROUNDS: usize = 15;
/// Length of a round, about: long enough for the clock, short enough to often fit between two disturbances.
const ROUND: Duration = Duration::from_millis(10);
/// Picks of a round at most, and of the round that finds out how many fit.
const PICKS_MAX: u32 = 400_000;
const PICKS_FIRST: u32 = 200;
/// An endpoint has fewer requests in flight than this.
const IN_FLIGHT_END: u32 = 8;
/// Between two picks, in nanoseconds.
const STEP_NS: u64 = 1_000;
/// When the first pick is made.
const BEGIN: isobar_core::Instant = isobar_core::Instant(10_000_000_000);
/// A step that leaves no bit of a key in its place, in the time of one addition.
const KEY_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// One policy as it is measured.
struct Subject {
    name: String,
    settings: PolicySettings,
    weight: fn(u32) -> u32,
    size_max: u32,
}

/// Measures the policies of these names, or all, and gives each row to `tell` when it is known; `allocations` counts
/// those of the calling thread.
pub fn measure_picks(policies: &[&str], allocations: fn() -> u64, mut tell: impl FnMut(Value)) {
    for subject in subjects() {
        if !policies.is_empty() && !policies.contains(&subject.settings.kind.name()) {
            continue;
        }
        for n in SIZES.into_iter().filter(|n| *n <= subject.size_max) {
            tell(row(&subject, n, allocations));
        }
    }
}

/// Every policy; with layouts, bounded load and weights where it has them.
fn subjects() -> Vec<Subject> {
    let mut subjects = Vec::new();
    let mut add = |name: &str, settings: PolicySettings, weight: fn(u32) -> u32, size_max: u32| {
        subjects.push(Subject { name: name.to_owned(), settings, weight, size_max });
    };
    for kind in PolicyKind::ALL {
        let name = kind.name();
        add(name, kind.into(), |_| 1, u32::MAX);
        if kind.is_keyed() {
            let bounded = PolicySettings { bounded_load_percent: Some(125), ..kind.into() };
            add(&format!("{name}, bounded load"), bounded, |_| 1, SIZE_MAX_OF_OTHERS);
        } else {
            add(&format!("{name}, weights 1 to 4"), kind.into(), |place| 1 + place % 4, u32::MAX);
        }
    }
    for layout in Layout::ALL.into_iter().filter(|layout| *layout != Layout::default()) {
        let settings = PolicySettings { layout, ..PolicyKind::RingHash.into() };
        add(&format!("ring-hash, {}", layout.name()), settings, |_| 1, SIZE_MAX_OF_OTHERS);
    }
    subjects
}

fn row(subject: &Subject, n: u32, allocations: fn() -> u64) -> Value {
    let mut cluster = cluster(subject, n);
    let snapshot = cluster.snapshot();
    let guards = occupy(&snapshot, n);
    let ns = THREADS.map(|threads| pick_ns(&snapshot, threads));
    let mut picker = Picker::new(1);
    let before = allocations();
    for _ in 0..PICKS_FIRST {
        pick(&snapshot, &mut picker);
    }
    let allocated = allocations() - before;
    drop(guards);
    json!({
        "policy": subject.name, "endpoints": n, "ns": ns, "allocations": allocated,
        "update_ms": update_ms(&mut cluster, n),
    })
}

fn cluster(subject: &Subject, n: u32) -> Cluster {
    let settings = ClusterSettings { policy: subject.settings, ..Default::default() };
    let mut cluster = Cluster::new("web", settings, THREADS.len(), 0);
    let found = (0..n).map(|place| Found {
        endpoint: Endpoint {
            id: id(place),
            address: Address::Tcp(SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + place), 80))),
            weight: (subject.weight)(place),
            priority: 0,
            zone: None,
            host: None,
            hash_key: None,
            metadata: BTreeMap::new(),
        },
        inferred: None,
    });
    cluster.set_sources(vec![SourceSet { name: "bench".into(), found: found.collect() }], BEGIN);
    while cluster.poll_event().is_some() {}
    cluster
}

fn id(place: u32) -> Arc<str> {
    format!("web-{place}").into()
}

/// Gives every endpoint a latency of its own and requests in flight.
fn occupy(snapshot: &Snapshot, n: u32) -> Vec<InFlight<&Snapshot>> {
    let mut draw = Draw::new(2);
    let mut guards = Vec::new();
    for index in (0..n).map(MemberIndex) {
        let mut answered = InFlight::start(snapshot, index, 0, BEGIN);
        answered.answered(BEGIN.after(Duration::from_micros(1_000 + u64::from(draw.below(50_000)))));
        answered.finish(Outcome::Success);
        for _ in 0..draw.below(IN_FLIGHT_END) {
            guards.push(InFlight::start(snapshot, index, 0, BEGIN));
        }
    }
    guards
}

/// What a worker has for its picks.
struct Picker {
    draw: Draw,
    pool: RefCell<LoadPool>,
    key: u64,
    now: u64,
}

impl Picker {
    fn new(seed: u64) -> Self {
        Self { draw: Draw::new(seed), pool: RefCell::default(), key: seed, now: BEGIN.0 }
    }
}

fn pick(snapshot: &Snapshot, picker: &mut Picker) {
    picker.key = picker.key.wrapping_add(KEY_STEP);
    picker.now += STEP_NS;
    let request = PickRequest {
        key: Some(picker.key),
        ticket: snapshot.take_ticket(),
        now: isobar_core::Instant(picker.now),
        pool: Some(&picker.pool),
        ..Default::default()
    };
    let picked = black_box(snapshot.pick(&request, &mut picker.draw));
    assert!(picked.is_ok(), "a cluster with endpoints has a pick");
}

/// Nanoseconds that a thread needs for a pick while as many as that pick at once.
fn pick_ns(snapshot: &Snapshot, threads: usize) -> f64 {
    let first = round_ns(snapshot, threads, PICKS_FIRST);
    let picks = (ROUND.as_nanos() as f64 / first.max(1.0)) as u32;
    let rounds = (0..ROUNDS).map(|_| round_ns(snapshot, threads, picks.clamp(PICKS_FIRST, PICKS_MAX)));
    summarise(rounds.collect()).map_or(f64::NAN, |summary| summary.min)
}

fn round_ns(snapshot: &Snapshot, threads: usize, picks: u32) -> f64 {
    let start = Barrier::new(threads);
    let work = |seed: usize| {
        let mut picker = Picker::new(seed as u64);
        start.wait();
        let begun = thread_ns();
        for _ in 0..picks {
            pick(snapshot, &mut picker);
        }
        (thread_ns() - begun) / f64::from(picks)
    };
    let times: Vec<f64> = thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..threads).map(|seed| scope.spawn(move || work(seed))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or(f64::NAN)).collect()
    });
    times.iter().sum::<f64>() / threads as f64
}

/// Processor time of this thread, in nanoseconds: it does not count who else had the core meanwhile.
fn thread_ns() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

/// Milliseconds from an operator's word that one endpoint drains, or does no more, to the snapshot that knows it.
fn update_ms(cluster: &mut Cluster, n: u32) -> f64 {
    let mut draining = false;
    let mut round = || {
        draining = !draining;
        let edit = Edit::Patch { id: id(n / 2), weight: None, draining: Some(draining) };
        let begun = thread_ns();
        let edited = cluster.edit(edit, BEGIN);
        assert!(edited.is_ok() && cluster.take_change(), "an endpoint that is there can be drained");
        // Dropped later: the proxy does that elsewhere as well.
        let _snapshot = black_box(cluster.snapshot());
        let ms = (thread_ns() - begun) / 1e6;
        while cluster.poll_event().is_some() {}
        ms
    };
    summarise((0..ROUNDS).map(|_| round()).collect()).map_or(f64::NAN, |summary| summary.min)
}
