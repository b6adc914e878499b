//! Sources, reloads and edits by operators, interleaved at random, against a naive model: precedence holds, no endpoint
//! is lost or doubled, no number of a surviving endpoint starts over.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::endpoint;
use isobar_core::{
    ClusterSettings, Edit, EditError, EndpointState, Found, InFlight, Instant, MemberIndex, Outcome,
    PolicyKind, Snapshot, SourceSet,
};
use proptest::prelude::*;

/// What a source names: id, port, weight.
type Named = Vec<(u8, u16, u32)>;

#[derive(Clone, Debug)]
enum Operation {
    /// A source has another set: a file was saved, a name answered.
    Source(usize, Named),
    /// The configuration was read anew: other sources, another policy.
    Reload(Vec<Named>, bool),
    Put(u8, u16, u32),
    Patch(u8, Option<u32>, Option<bool>),
    Remove(u8),
    Clear(u8),
    /// An attempt begins and stays in flight.
    Begin(prop::sample::Index),
    /// All attempts end.
    End,
}

fn named() -> impl Strategy<Value = Named> {
    prop::collection::vec((0_u8..5, 1_u16..3, 0_u32..3), 0..5)
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        3 => (0_usize..3, named()).prop_map(|(at, set)| Operation::Source(at, set)),
        2 => (prop::collection::vec(named(), 0..3), any::<bool>()).prop_map(|(sets, p2c)| Operation::Reload(sets, p2c)),
        2 => (0_u8..6, 1_u16..3, 0_u32..3).prop_map(|(id, port, weight)| Operation::Put(id, port, weight)),
        4 => (0_u8..6, prop::option::of(0_u32..5), prop::option::of(any::<bool>()))
            .prop_map(|(id, weight, draining)| Operation::Patch(id, weight, draining)),
        2 => (0_u8..6).prop_map(Operation::Remove),
        2 => (0_u8..6).prop_map(Operation::Clear),
        3 => any::<prop::sample::Index>().prop_map(Operation::Begin),
        1 => Just(Operation::End),
    ]
}

/// What an operator said of one id, in plain words.
#[derive(Clone, Default, Debug, PartialEq)]
struct Said {
    described: Option<(u16, u32)>,
    weight: Option<u32>,
    drain: bool,
    removed: bool,
    /// It was said of something that a source named then or later.
    of_a_source: bool,
}

#[derive(Default, Debug)]
struct Model {
    sources: Vec<Named>,
    said: BTreeMap<u8, Said>,
}

/// An endpoint as it should be shown: id, port, weight, draining, source.
type Shown = (u8, u16, u32, bool, String);

impl Model {
    fn is_named(&self, id: u8) -> bool {
        self.sources.iter().flatten().any(|(named, ..)| *named == id)
    }

    /// Sources changed: what was said of their endpoints ends with these.
    fn settle(&mut self) {
        let named: Vec<u8> = self.sources.iter().flatten().map(|(id, ..)| *id).collect();
        self.said.retain(|id, said| {
            let still = named.contains(id);
            let keeps = still || !said.of_a_source;
            said.of_a_source |= still;
            keeps
        });
    }

    fn shown(&self) -> Vec<Shown> {
        let mut shown: Vec<Shown> = Vec::new();
        let mut seen = Vec::new();
        for (at, source) in self.sources.iter().enumerate() {
            for (id, port, weight) in source {
                if seen.contains(id) {
                    continue;
                }
                seen.push(*id);
                match self.said.get(id) {
                    None => shown.push((*id, *port, *weight, false, format!("source-{at}"))),
                    Some(said) if said.removed => {}
                    Some(said) => {
                        let (port, weight) = said.described.unwrap_or((*port, *weight));
                        let weight = said.weight.unwrap_or(weight);
                        shown.push((*id, port, weight, said.drain, "admin".into()));
                    }
                }
            }
        }
        for (id, said) in &self.said {
            if let (false, Some((port, weight))) = (seen.contains(id), said.described) {
                shown.push((*id, port, said.weight.unwrap_or(weight), said.drain, "admin".into()));
            }
        }
        shown
    }

    fn unknown(&self, id: u8) -> EditError {
        let removed = self.said.get(&id).is_some_and(|said| said.removed);
        if removed { EditError::Removed } else { EditError::UnknownEndpoint }
    }

    fn edit(&mut self, operation: &Operation) -> Result<(), EditError> {
        match *operation {
            Operation::Put(id, port, weight) => {
                let of_a_source = self.is_named(id);
                let drain = self.said.get(&id).is_some_and(|said| said.drain);
                let described = Some((port, weight));
                self.said.insert(id, Said { described, drain, of_a_source, ..Said::default() });
            }
            Operation::Patch(id, weight, draining) => {
                if !self.shown().iter().any(|(shown, ..)| *shown == id) {
                    return Err(self.unknown(id));
                }
                let of_a_source = self.is_named(id);
                let said = self.said.entry(id).or_default();
                said.of_a_source |= of_a_source;
                said.weight = weight.or(said.weight);
                said.drain = draining.unwrap_or(said.drain);
                if *said == (Said { of_a_source, ..Said::default() }) {
                    self.said.remove(&id);
                }
            }
            Operation::Remove(id) => {
                if !self.shown().iter().any(|(shown, ..)| *shown == id) {
                    return Err(self.unknown(id));
                }
                self.said.remove(&id);
                if self.is_named(id) {
                    self.said.insert(id, Said { removed: true, of_a_source: true, ..Said::default() });
                }
            }
            Operation::Clear(id) => {
                self.said.remove(&id).ok_or(EditError::NoOverride)?;
            }
            _ => {}
        }
        Ok(())
    }
}

fn edit_of(operation: &Operation) -> Option<Edit> {
    let name = |id: &u8| -> Arc<str> { id.to_string().into() };
    Some(match operation {
        Operation::Put(id, port, weight) => Edit::Put(endpoint(&id.to_string(), *port, *weight, 0)),
        Operation::Patch(id, weight, draining) => {
            Edit::Patch { id: name(id), weight: *weight, draining: *draining }
        }
        Operation::Remove(id) => Edit::Remove { id: name(id) },
        Operation::Clear(id) => Edit::Clear { id: name(id) },
        _ => return None,
    })
}

fn sources_of(model: &Model) -> Vec<SourceSet> {
    let source = |(at, named): (usize, &Named)| SourceSet {
        name: format!("source-{at}").into(),
        found: named
            .iter()
            .map(|(id, port, weight)| Found {
                endpoint: endpoint(&id.to_string(), *port, *weight, 0),
                inferred: None,
            })
            .collect(),
    };
    model.sources.iter().enumerate().map(source).collect()
}

fn shown_by(snapshot: &Snapshot) -> Vec<Shown> {
    let shown = |member: &isobar_core::Member| {
        let isobar_core::Address::Tcp(address) = &member.endpoint.address else { panic!("all are on TCP") };
        assert_eq!(member.draining, member.state == EndpointState::Draining);
        assert_eq!(member.draining, member.live.is_leaving());
        assert_eq!(member.is_eligible, !member.draining && member.endpoint.weight > 0);
        let id = member.endpoint.id.parse().unwrap_or(u8::MAX);
        (id, address.port(), member.endpoint.weight, member.draining, member.source.to_string())
    };
    snapshot.members().iter().map(shown).collect()
}

/// Which record an id has, at which port.
type Records = BTreeMap<u8, (u16, u64)>;

fn records(snapshot: &Snapshot) -> Records {
    let pairs = shown_by(snapshot).into_iter().zip(snapshot.members());
    pairs.map(|((id, port, ..), member)| (id, (port, member.live.generation()))).collect()
}

proptest! {
    #[test]
    fn precedence_holds_and_nothing_is_lost_doubled_or_reset(operations in prop::collection::vec(operation(), 1..50)) {
        let mut cluster = common::empty(PolicyKind::P2c);
        let mut model = Model::default();
        let mut snapshot = Arc::new(cluster.snapshot());
        let mut guards: Vec<InFlight<Arc<Snapshot>>> = Vec::new();
        let mut in_flight: BTreeMap<u64, u32> = BTreeMap::new();
        for operation in operations {
            let before = records(&snapshot);
            match &operation {
                Operation::Source(at, named) => {
                    if let Some(source) = model.sources.get_mut(*at) {
                        source.clone_from(named);
                    }
                    model.settle();
                    cluster.set_sources(sources_of(&model), Instant(0));
                }
                Operation::Reload(sources, p2c) => {
                    model.sources.clone_from(sources);
                    model.settle();
                    let policy = if *p2c { PolicyKind::P2c } else { PolicyKind::Random };
                    cluster.set_settings(ClusterSettings { policy: policy.into(), ..Default::default() }, Instant(0));
                    cluster.set_sources(sources_of(&model), Instant(0));
                }
                Operation::Begin(which) if !snapshot.members().is_empty() => {
                    let index = MemberIndex(which.index(snapshot.members().len()) as u32);
                    let guard = InFlight::start(snapshot.clone(), index, 0, Instant(0));
                    *in_flight.entry(guard.member().live.generation()).or_default() += 1;
                    guards.push(guard);
                }
                Operation::End => {
                    guards.drain(..).for_each(|guard| guard.finish(Outcome::Success));
                    in_flight.clear();
                }
                edit => {
                    let Some(edit) = edit_of(edit) else { continue };
                    prop_assert_eq!(cluster.edit(edit, Instant(0)), model.edit(&operation));
                }
            }
            snapshot = Arc::new(cluster.snapshot());
            prop_assert_eq!(shown_by(&snapshot), model.shown(), "after {:?}", operation);
            for (id, (port, generation)) in records(&snapshot) {
                match before.get(&id) {
                    Some((port_before, before)) => prop_assert_eq!(generation == *before, port == *port_before),
                    None => prop_assert!(before.values().all(|(_, old)| *old != generation)),
                }
            }
            for member in snapshot.members() {
                let expected = in_flight.get(&member.live.generation()).copied().unwrap_or_default();
                prop_assert_eq!(member.live.in_flight(), expected);
            }
        }
    }
}

#[test]
fn edits_of_what_is_not_there_are_refused_by_name() {
    let mut cluster = common::empty(PolicyKind::Random);
    common::set(&mut cluster, vec![endpoint("x", 1, 1, 0)]);
    assert_eq!(cluster.edit(Edit::Clear { id: "x".into() }, Instant(0)), Err(EditError::NoOverride));
    let unknown = Edit::Patch { id: "y".into(), weight: Some(2), draining: None };
    assert_eq!(cluster.edit(unknown, Instant(0)), Err(EditError::UnknownEndpoint));
    assert_eq!(cluster.edit(Edit::Remove { id: "y".into() }, Instant(0)), Err(EditError::UnknownEndpoint));
    assert!(common::events(&mut cluster).is_empty());
}

#[test]
fn the_loser_of_two_sources_is_told_once_and_takes_over_when_the_first_drops_it() {
    let mut cluster = common::empty(PolicyKind::Random);
    let set = |name: &str, port: u16| SourceSet {
        name: name.into(),
        found: vec![Found { endpoint: endpoint("a", port, 1, 0), inferred: None }],
    };
    cluster.set_sources(vec![set("file", 1), set("names", 2)], Instant(0));
    let told = common::events(&mut cluster);
    assert_eq!(told.iter().filter(|(_, kind)| *kind == isobar_core::EventKind::DuplicateDropped).count(), 1);
    cluster.set_sources(vec![set("file", 1), set("names", 2)], Instant(0));
    assert!(common::events(&mut cluster).is_empty());
    assert_eq!(&*cluster.snapshot().members()[0].source, "file");
    cluster.set_sources(vec![set("names", 2)], Instant(0));
    assert_eq!(&*cluster.snapshot().members()[0].source, "names");
}
