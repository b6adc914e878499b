//! Sequences of updates and attempts against a naive model of a cluster.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use common::endpoint;
use isobar_core::{
    ClusterSettings, Endpoint, EventKind, FailureClass, InFlight, Instant, MemberIndex, Outcome, PolicyKind,
    Snapshot,
};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Operation {
    Set(Vec<(u8, u16, u32, u32)>),
    Begin(prop::sample::Index),
    Finish(prop::sample::Index, Outcome),
    Open(prop::sample::Index, u32),
}

fn operation() -> impl Strategy<Value = Operation> {
    let described = (0_u8..5, 1_u16..3, 0_u32..3, 0_u32..2);
    let outcome = prop_oneof![
        Just(Outcome::Success),
        Just(Outcome::Failure(FailureClass::BadResponse)),
        Just(Outcome::Timeout),
        Just(Outcome::Cancelled),
        Just(Outcome::Refused),
    ];
    prop_oneof![
        2 => prop::collection::vec(described, 0..7).prop_map(Operation::Set),
        4 => any::<prop::sample::Index>().prop_map(Operation::Begin),
        4 => (any::<prop::sample::Index>(), outcome).prop_map(|(which, outcome)| Operation::Finish(which, outcome)),
        1 => (any::<prop::sample::Index>(), 0_u32..3).prop_map(|(which, max)| Operation::Open(which, max)),
    ]
}

/// What a live record should hold.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
struct Record {
    in_flight: u32,
    failures: u32,
    connections: u32,
}

/// The naive cluster: every record that ever was, and which endpoint has which now.
#[derive(Default)]
struct Model {
    records: Vec<Record>,
    present: Vec<(Endpoint, usize)>,
    /// Ids that the last set named more than once.
    doubled: BTreeSet<Arc<str>>,
}

impl Model {
    fn set(&mut self, endpoints: &[Endpoint]) -> Vec<(String, EventKind)> {
        let (mut events, mut losses) = (Vec::new(), Vec::new());
        let mut doubled = BTreeSet::new();
        let mut present: Vec<(Endpoint, usize)> = Vec::new();
        for endpoint in endpoints {
            let id = endpoint.id.clone();
            if present.iter().any(|(other, _)| other.id == id) {
                // Told once, until a set names it once again.
                if doubled.insert(id.clone()) && !self.doubled.contains(&id) {
                    losses.push((id.to_string(), EventKind::DuplicateDropped));
                }
                continue;
            }
            let before = self.present.iter().find(|(other, _)| other.id == id);
            let record = match before {
                Some((other, record)) if other.address == endpoint.address => {
                    if other != endpoint {
                        events.push((id.to_string(), EventKind::Changed));
                    }
                    *record
                }
                other => {
                    self.records.push(Record::default());
                    events.push(if other.is_some() {
                        (id.to_string(), EventKind::Readdressed)
                    } else {
                        (id.to_string(), EventKind::Added)
                    });
                    self.records.len() - 1
                }
            };
            present.push((endpoint.clone(), record));
        }
        let ids: BTreeSet<_> = present.iter().map(|(endpoint, _)| endpoint.id.clone()).collect();
        let mut removed: Vec<_> = self
            .present
            .iter()
            .map(|(endpoint, _)| endpoint.id.clone())
            .filter(|id| !ids.contains(id))
            .collect();
        removed.sort();
        events.extend(removed.into_iter().map(|id| (id.to_string(), EventKind::Removed)));
        self.present = present;
        self.doubled = doubled;
        losses.extend(events);
        losses
    }

    fn finish(&mut self, record: usize, outcome: Outcome) {
        let record = &mut self.records[record];
        record.in_flight -= 1;
        match outcome {
            Outcome::Success => record.failures = 0,
            Outcome::Failure(_) | Outcome::Timeout => record.failures += 1,
            Outcome::Cancelled | Outcome::Refused => {}
        }
    }
}

fn agree(model: &Model, snapshot: &Snapshot) -> Result<(), TestCaseError> {
    prop_assert_eq!(snapshot.members().len(), model.present.len());
    for (member, (endpoint, record)) in snapshot.members().iter().zip(&model.present) {
        prop_assert_eq!(&*member.endpoint, endpoint);
        let live = &member.live;
        let held = Record {
            in_flight: live.in_flight(),
            failures: live.consecutive_failures(),
            connections: live.connections(),
        };
        prop_assert_eq!(held, model.records[*record]);
        // Records are made in the order of the model's, so a generation is the place there.
        prop_assert_eq!(live.generation(), *record as u64);
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_cluster_does_what_the_naive_model_does(operations in prop::collection::vec(operation(), 1..60)) {
        let mut cluster = common::empty(PolicyKind::P2c);
        let mut model = Model::default();
        let mut snapshot = Arc::new(cluster.snapshot());
        let mut guards: Vec<(InFlight<Arc<Snapshot>>, usize)> = Vec::new();
        for operation in operations {
            match operation {
                Operation::Set(described) => {
                    let endpoints: Vec<Endpoint> = described
                        .into_iter()
                        .map(|(id, port, weight, priority)| endpoint(&id.to_string(), port, weight, priority))
                        .collect();
                    let before: Vec<_> = model.present.clone();
                    let (expected, revision) = (model.set(&endpoints), snapshot.revision());
                    prop_assert_eq!(common::set(&mut cluster, endpoints), expected);
                    snapshot = Arc::new(cluster.snapshot());
                    prop_assert_eq!(snapshot.revision(), revision + u64::from(before != model.present));
                }
                Operation::Begin(which) if !model.present.is_empty() => {
                    let place = which.index(model.present.len());
                    let record = model.present[place].1;
                    model.records[record].in_flight += 1;
                    guards.push((InFlight::start(snapshot.clone(), MemberIndex(place as u32), 0, Instant(0)), record));
                }
                Operation::Finish(which, outcome) if !guards.is_empty() => {
                    let (guard, record) = guards.swap_remove(which.index(guards.len()));
                    model.finish(record, outcome);
                    guard.finish(outcome);
                }
                Operation::Open(which, max) if !model.present.is_empty() => {
                    let place = which.index(model.present.len());
                    let record = &mut model.records[model.present[place].1];
                    let room = max == 0 || record.connections < max;
                    record.connections += u32::from(room);
                    prop_assert_eq!(snapshot.members()[place].live.try_open_connection(max), room);
                }
                _ => {}
            }
            agree(&model, &snapshot)?;
        }
        drop(guards);
        prop_assert!(snapshot.members().iter().all(|member| member.live.in_flight() == 0));
    }

    #[test]
    fn picks_of_a_cluster_go_only_to_what_it_holds_now(
        sets in prop::collection::vec(prop::collection::vec((0_u8..9, 1_u32..4), 1..9), 1..9),
        seed: u64,
    ) {
        let mut cluster = common::empty(PolicyKind::Random);
        let mut draw = isobar_core::Draw::new(seed);
        for set in sets {
            let held: BTreeMap<String, u32> = set.iter().rev().map(|(id, weight)| (id.to_string(), *weight)).collect();
            common::set(&mut cluster, set.iter().map(|(id, weight)| endpoint(&id.to_string(), 1, *weight, 0)).collect());
            let snapshot = cluster.snapshot();
            for _ in 0..20 {
                let picked = snapshot.pick(&isobar_core::PickRequest::default(), &mut draw);
                let Ok(index) = picked else { return Err(TestCaseError::fail("no pick")) };
                let endpoint = &snapshot.member(index).endpoint;
                prop_assert_eq!(held.get(&*endpoint.id), Some(&endpoint.weight));
            }
        }
    }
}

#[test]
fn a_policy_change_keeps_the_numbers() {
    let mut cluster = common::cluster(PolicyKind::Random, &[(1, 0)]);
    let before = cluster.snapshot();
    let guard = InFlight::start(&before, MemberIndex(0), 0, Instant(0));
    cluster.set_settings(
        ClusterSettings { policy: PolicyKind::RoundRobin.into(), ..Default::default() },
        Instant(0),
    );
    let after = cluster.snapshot();
    assert_eq!((after.policy(), after.revision()), (PolicyKind::RoundRobin, before.revision() + 1));
    assert_eq!(after.members()[0].live.in_flight(), 1);
    drop(guard);
    assert_eq!(after.members()[0].live.in_flight(), 0);
}

#[test]
fn an_id_that_left_and_came_back_is_a_new_generation() {
    let mut cluster = common::cluster(PolicyKind::P2c, &[(1, 0)]);
    let first = cluster.snapshot().members()[0].live.generation();
    common::set(&mut cluster, Vec::new());
    common::set(&mut cluster, vec![endpoint("0", 0, 1, 0)]);
    assert_ne!(cluster.snapshot().members()[0].live.generation(), first);
}
