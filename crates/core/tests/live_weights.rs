//! Live weights over time: reports, garbage and silence against a naive model; what is measured.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::rc::Rc;
use std::time::Duration;

use common::{endpoint, events};
use isobar_core::{
    Cluster, ClusterSettings, Draw, FailureClass, Found, InFlight, Instant, LoadMetrics, LoadReport,
    MemberIndex, Outcome, PickRequest, PolicyKind, Snapshot, SourceSet, WeightSettings, WeightSource,
};
use proptest::prelude::*;

const UPDATE: Duration = Duration::from_secs(1);
const BLACKOUT: Duration = Duration::from_secs(10);
const EXPIRY: Duration = Duration::from_mins(3);

fn reported() -> WeightSettings {
    let source = WeightSource::Reported { blackout: BLACKOUT, error_penalty_percent: 100 };
    WeightSettings { source, update: UPDATE, expiry: EXPIRY, agents: None }
}

fn measured() -> WeightSettings {
    WeightSettings { source: WeightSource::Measured, ..reported() }
}

/// A cluster of endpoints with these weights and the moment that it lives in.
struct World {
    cluster: Cluster,
    now: Instant,
}

impl World {
    fn new(policy: PolicyKind, weights: WeightSettings, configured: &[u32]) -> Self {
        let settings = ClusterSettings { policy: policy.into(), weights, ..Default::default() };
        let mut cluster = Cluster::new("web", settings, 1, 0);
        let found = (0_u16..).zip(configured).map(|(port, weight)| Found {
            endpoint: endpoint(&port.to_string(), port, *weight, 0),
            inferred: None,
        });
        cluster.set_sources(vec![SourceSet { name: "test".into(), found: found.collect() }], Instant(0));
        events(&mut cluster);
        cluster.take_change();
        Self { cluster, now: Instant(0) }
    }

    fn snapshot(&self) -> Rc<Snapshot> {
        Rc::new(self.cluster.snapshot())
    }

    fn report(&self, place: usize, report: LoadReport) {
        let guard = InFlight::start(self.snapshot(), MemberIndex(place as u32), 0, self.now);
        guard.report(report, 1.0);
        guard.finish(Outcome::Success);
    }

    /// One attempt that took so long.
    fn attempt(&self, place: usize, latency: Duration, outcome: Outcome) {
        let mut guard = InFlight::start(self.snapshot(), MemberIndex(place as u32), 0, self.now);
        guard.answered(self.now.after(latency));
        guard.finish(outcome);
    }

    /// Passes one update period; whether there is something to publish.
    fn step(&mut self) -> bool {
        self.now = self.now.after(UPDATE);
        assert!(self.cluster.poll_timeout().is_some_and(|due| due <= self.now), "a weighing is due");
        self.cluster.handle_timeout(self.now);
        self.cluster.take_change()
    }

    fn steps(&mut self, period: Duration) {
        for _ in 0..period.as_secs() {
            self.step();
        }
    }

    fn weights(&self) -> Vec<u32> {
        self.snapshot().members().iter().map(isobar_core::Member::effective_weight).collect()
    }
}

fn metrics(rate: f64, utilization: f64, errors: f64) -> LoadReport {
    let metrics = LoadMetrics {
        cpu_utilization: utilization,
        rps_fractional: rate,
        eps: errors,
        ..LoadMetrics::default()
    };
    LoadReport::of(&metrics).unwrap()
}

/// Reports as in the issue: the same rate, one three times as busy.
fn report_all(world: &World) {
    for (place, utilization) in [0.9, 0.3, 0.3].into_iter().enumerate() {
        world.report(place, metrics(100.0, utilization, 0.0));
    }
}

#[test]
fn reports_count_after_the_blackout_until_they_expire_and_then_from_a_blackout_on() {
    let mut world = World::new(PolicyKind::P2c, reported(), &[1, 1, 1]);
    assert_eq!(world.weights(), [100; 3]);
    for _ in 0..2 {
        report_all(&world);
        world.steps(BLACKOUT);
        assert_eq!(world.weights(), [100; 3], "in the blackout, which begins when the first report is found");
        assert!(world.step());
        assert_eq!(world.weights(), [43, 129, 129]);
        world.steps(EXPIRY.saturating_sub(BLACKOUT + UPDATE));
        assert_eq!(world.weights(), [43, 129, 129]);
        assert!(world.step());
        assert_eq!(world.weights(), [100; 3]);
    }
}

/// How often each is picked in one round of the tickets.
fn shares(world: &World, n: u64) -> Vec<f64> {
    let (snapshot, mut draw) = (world.snapshot(), Draw::new(5));
    let mut counts = vec![0.0; snapshot.members().len()];
    for ticket in 0..n {
        let request = PickRequest { ticket, ..PickRequest::default() };
        counts[snapshot.pick(&request, &mut draw).unwrap().0 as usize] += 1.0;
    }
    counts.iter().map(|count| count / n as f64).collect()
}

/// gRFC A58's example weights, as shares: those of its static stride sequences, whose order `round-robin` has.
const STRIDES: [(&[f64], &[f64]); 4] = [
    (&[1.0, 2.0, 3.0], &[2.0, 4.0, 6.0]),
    (&[1.0, 1.0, 2.0], &[1.0, 1.0, 2.0]),
    (&[5.0, 1.0, 1.0], &[5.0, 1.0, 1.0]),
    (&[10.0, 0.0, 30.0], &[10.0, 20.0, 30.0]),
];

#[test]
fn shares_are_those_of_the_published_weighted_sequences_under_every_policy_without_a_key() {
    let policies = PolicyKind::ALL.into_iter().filter(|kind| !kind.is_keyed());
    for (kind, (weights, published)) in policies.flat_map(|kind| STRIDES.map(|stride| (kind, stride))) {
        let mut world = World::new(kind, reported(), &vec![1; weights.len()]);
        for (place, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
            world.report(place, metrics(*weight, 1.0, 0.0));
        }
        world.steps(BLACKOUT + UPDATE);
        let sum: f64 = published.iter().sum();
        for (share, published) in shares(&world, 30_000).iter().zip(published) {
            assert!((share - published / sum).abs() < 0.01, "{kind:?} {weights:?}: {share}");
        }
    }
}

#[test]
fn round_robin_has_the_published_sequence_of_reports() {
    // Weights of 10 and 30, and of none: the mean of the others.
    let mut world = World::new(PolicyKind::RoundRobin, reported(), &[1, 1, 1]);
    world.report(0, metrics(10.0, 1.0, 0.0));
    world.report(2, metrics(30.0, 1.0, 0.0));
    world.steps(BLACKOUT + UPDATE);
    assert_eq!(world.weights(), [50, 100, 150]);
    let (snapshot, mut draw) = (world.snapshot(), Draw::new(5));
    let picks = (0..12).map(|ticket| {
        let request = PickRequest { ticket, ..PickRequest::default() };
        snapshot.pick(&request, &mut draw).unwrap().0
    });
    assert_eq!(picks.collect::<Vec<_>>(), [1, 2, 2, 0, 1, 2, 1, 2, 2, 0, 1, 2]);
}

#[test]
fn configured_weights_are_factors_and_one_reporter_alone_changes_nothing() {
    let mut world = World::new(PolicyKind::RoundRobin, reported(), &[2, 1, 0]);
    world.report(0, metrics(100.0, 0.9, 0.0));
    world.steps(BLACKOUT + UPDATE);
    assert_eq!(world.weights(), [200, 100, 0]);
    world.report(1, metrics(100.0, 0.3, 0.0));
    world.steps(BLACKOUT + UPDATE);
    assert_eq!(world.weights(), [100, 150, 0]);
}

#[test]
fn a_change_that_nobody_would_notice_makes_no_snapshot() {
    let mut world = World::new(PolicyKind::P2c, reported(), &[1, 1]);
    let pair = |world: &World, busy: f64| {
        world.report(0, metrics(100.0, busy, 0.0));
        world.report(1, metrics(100.0, 0.5, 0.0));
    };
    pair(&world, 0.5);
    world.steps(BLACKOUT + UPDATE);
    pair(&world, 0.51);
    assert!(!world.step());
    pair(&world, 0.6);
    assert!(world.step());
    assert_eq!(world.weights(), [91, 109]);
    assert!(!world.step(), "the same reports once more");
}

#[test]
fn an_endpoint_keeps_its_weight_over_changes_of_others_and_a_new_one_begins_as_the_mean() {
    let mut world = World::new(PolicyKind::P2c, reported(), &[1, 1, 1]);
    report_all(&world);
    world.steps(BLACKOUT + UPDATE);
    let found =
        (0..4).map(|port| Found { endpoint: endpoint(&port.to_string(), port, 1, 0), inferred: None });
    let set = SourceSet { name: "test".into(), found: found.collect() };
    world.cluster.set_sources(vec![set], world.now);
    assert_eq!(world.weights(), [43, 129, 129, 100]);
    world.cluster.set_settings(ClusterSettings::default(), world.now);
    assert_eq!((world.weights(), world.cluster.poll_timeout()), (vec![1; 4], None));
}

#[test]
fn what_answers_ten_times_slower_gets_a_tenth_in_small_steps_and_all_of_it_again_afterwards() {
    let mut world = World::new(PolicyKind::P2c, measured(), &[1, 1, 1]);
    let drive = |world: &mut World, slow: u64, periods: u32| {
        for _ in 0..periods {
            for (place, latency) in [slow, 5, 5].into_iter().enumerate() {
                (0..10).for_each(|_| {
                    world.attempt(place, Duration::from_millis(latency), Outcome::Success);
                });
            }
            let before = world.weights();
            world.step();
            for (before, after) in before.iter().zip(world.weights()) {
                let ratio = f64::from(after) / f64::from(*before);
                // Weights are whole numbers, so a step can look a little larger than it is.
                assert!((0.76..1.30).contains(&ratio), "{before} to {after}");
            }
        }
    };
    drive(&mut world, 5, 5);
    assert_eq!(world.weights(), [100; 3]);
    drive(&mut world, 50, 30);
    let weights = world.weights();
    assert!(weights[0] * 9 < weights[1] && weights[1] == weights[2], "{weights:?}");
    drive(&mut world, 5, 30);
    assert!(world.weights().iter().all(|weight| (95..=105).contains(weight)), "{:?}", world.weights());
}

#[test]
fn who_fails_fast_loses_weight_by_its_failures_and_never_looks_quick() {
    let mut world = World::new(PolicyKind::P2c, measured(), &[1, 1]);
    for _ in 0..40 {
        for attempt in 0..10 {
            let fails = attempt % 2 == 0;
            let latency = Duration::from_micros(if fails { 50 } else { 5_000 });
            let failure = Outcome::Failure(FailureClass::Status);
            world.attempt(0, latency, if fails { failure } else { Outcome::Success });
            world.attempt(1, Duration::from_millis(5), Outcome::Success);
        }
        world.step();
    }
    let weights = world.weights();
    assert!(weights[1].abs_diff(weights[0] * 2) < 8, "{weights:?}");
    for _ in 0..40 {
        world.attempt(0, Duration::from_micros(50), Outcome::Failure(FailureClass::Connect));
        world.attempt(1, Duration::from_millis(5), Outcome::Success);
        world.step();
    }
    let weights = world.weights();
    assert_eq!(weights[0], 10, "in use still: {weights:?}");
    assert!(weights[1] > 190, "{weights:?}");
    // Nobody uses either: what was measured is forgotten.
    world.steps(EXPIRY + Duration::from_secs(30));
    assert_eq!(world.weights(), [100; 2]);
}

#[derive(Clone, Debug)]
enum Operation {
    /// (which, rate, utilization, errors), sound or not.
    Report(usize, f64, f64, f64),
    Load(usize, String),
    Text(usize, String),
    Wait(u16),
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => 0.01_f64..50.0,
        1 => prop::sample::select(vec![0.0, -1.0, f64::NAN, f64::INFINITY, 1e12, f64::MIN_POSITIVE]),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    let which = || 0_usize..4;
    prop_oneof![
        4 => (which(), number(), number(), prop_oneof![Just(0.0), number()])
            .prop_map(|(which, rate, utilization, errors)| Operation::Report(which, rate, utilization, errors)),
        1 => (which(), "(0\\.[0-9]|1|-1|NaN|x)").prop_map(|(which, text)| Operation::Load(which, text)),
        1 => (which(), "TEXT [a-z=,0-9 -]{0,20}").prop_map(|(which, text)| Operation::Text(which, text)),
        4 => (1_u16..30).prop_map(Operation::Wait),
        1 => (150_u16..400).prop_map(Operation::Wait),
    ]
}

/// What one endpoint should count as, by the rules of docs/policies/weights.md read plainly.
#[derive(Clone, Default)]
struct Model {
    /// A weight, or a factor.
    waiting: Option<Result<f64, f64>>,
    reading: Option<Result<f64, f64>>,
    first: Option<u64>,
    last: u64,
}

impl Model {
    fn weigh(&mut self, second: u64) -> Option<Result<f64, f64>> {
        if let Some(reading) = self.waiting.take() {
            (self.reading, self.last) = (Some(reading), second);
            self.first = self.first.or(Some(second));
        } else if second - self.last >= EXPIRY.as_secs() {
            self.first = None;
        }
        self.reading.filter(|_| self.first.is_some_and(|first| second - first >= BLACKOUT.as_secs()))
    }
}

/// The ideal weights of these readings.
fn ideal(readings: &[Option<Result<f64, f64>>], configured: &[u32]) -> Vec<f64> {
    let mean = |numbers: &[f64]| numbers.iter().sum::<f64>() / numbers.len() as f64;
    let weights: Vec<f64> = readings.iter().flatten().filter_map(|one| one.ok()).collect();
    let factors: Vec<Option<f64>> = readings
        .iter()
        .map(|one| one.map(|one| one.map_or_else(|factor| factor, |weight| weight / mean(&weights))))
        .collect();
    let known: Vec<f64> = factors.iter().flatten().copied().collect();
    let factor = |factor: &Option<f64>| {
        if known.len() < 2 { 1.0 } else { factor.unwrap_or(mean(&known)).clamp(0.01, 40.0) }
    };
    factors.iter().zip(configured).map(|(one, weight)| f64::from(*weight) * 100.0 * factor(one)).collect()
}

proptest! {
    #[test]
    fn reports_garbage_and_silence_give_the_weights_of_a_naive_model(
        operations in prop::collection::vec(operation(), 1..40),
        configured in prop::collection::vec(1_u32..5, 4..=4),
    ) {
        let mut world = World::new(PolicyKind::P2c, reported(), &configured);
        let (mut models, mut second) = (vec![Model::default(); 4], 0_u64);
        for operation in operations {
            match operation {
                Operation::Report(which, rate, utilization, errors) => {
                    let given = LoadMetrics { cpu_utilization: utilization, rps_fractional: rate, eps: errors, ..Default::default() };
                    let report = LoadReport::of(&given);
                    let sound = rate > 0.0 && rate <= 1e9 && (1e-4..=100.0).contains(&utilization)
                        && (0.0..=1e9).contains(&errors);
                    prop_assert_eq!(report.is_some(), sound);
                    if let Some(report) = report {
                        world.report(which, report);
                        let weight = rate / (utilization + errors / rate);
                        if (f32::MIN_POSITIVE..=f32::MAX).contains(&(weight as f32)) {
                            models[which].waiting = Some(Ok(f64::from(weight as f32)));
                        }
                    }
                }
                Operation::Load(which, text) => {
                    let report = LoadReport::parse_load(text.as_bytes());
                    let load = text.parse::<f64>().ok().filter(|load| *load >= 0.0);
                    prop_assert_eq!(report.is_some(), load.is_some());
                    if let (Some(report), Some(load)) = (report, load) {
                        world.report(which, report);
                        models[which].waiting = Some(Err((1.0 - load).max(0.05)));
                    }
                }
                Operation::Text(which, text) => {
                    // Without rate and utilization it says nothing.
                    if let Some(report) = LoadReport::parse_text(text.as_bytes()) {
                        world.report(which, report);
                    }
                }
                Operation::Wait(n) => for _ in 0..n {
                    second += 1;
                    world.step();
                    let readings: Vec<_> = models.iter_mut().map(|model| model.weigh(second)).collect();
                    for (weight, ideal) in world.weights().iter().zip(ideal(&readings, &configured)) {
                        // Two percent of tolerance, and half for the whole number.
                        let off = (f64::from(*weight) - ideal).abs();
                        prop_assert!(off <= ideal * 0.021 + 0.51, "{weight} for {ideal} at {second}");
                    }
                },
            }
        }
    }
}
