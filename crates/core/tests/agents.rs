//! Agents over time: what they say, what ends it, and answers that come too late.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{endpoint, events};
use isobar_core::{
    AgentDue, AgentLine, AgentSettings, Cluster, ClusterSettings, EndpointState, EventKind, Instant, Member,
    PolicyKind, WeightSettings, WeightSource,
};

const AGENTS: AgentSettings = AgentSettings { port: 9999, interval: Duration::from_secs(2) };

/// Settings of a service with these agents, and with weights that follow them and reports.
fn asking(agents: Option<AgentSettings>) -> ClusterSettings {
    let source = WeightSource::Reported { blackout: Duration::from_secs(10), error_penalty_percent: 100 };
    let (update, expiry) = (Duration::from_secs(1), Duration::from_mins(3));
    let weights = WeightSettings { source, update, expiry, agents };
    ClusterSettings { policy: PolicyKind::RoundRobin.into(), weights, ..Default::default() }
}

/// A cluster of endpoints with agents, and the moment that it lives in.
struct World {
    cluster: Cluster,
    now: Instant,
}

impl World {
    fn new(n_endpoints: u16) -> Self {
        let mut cluster = Cluster::new("web", asking(Some(AGENTS)), 1, 0);
        common::set(&mut cluster, (0..n_endpoints).map(|n| endpoint(&n.to_string(), n, 1, 0)).collect());
        Self { cluster, now: Instant(0) }
    }

    fn members(&self) -> Vec<Member> {
        self.cluster.snapshot().members().to_vec()
    }

    fn weights(&self) -> Vec<u32> {
        self.members().iter().map(Member::effective_weight).collect()
    }

    fn states(&self) -> Vec<EndpointState> {
        self.members().iter().map(|member| member.state).collect()
    }

    /// All questions that are due a minute later.
    fn asked(&mut self) -> Vec<AgentDue> {
        self.now = self.now.after(Duration::from_mins(1));
        std::iter::from_fn(|| self.cluster.poll_agent(self.now)).collect()
    }

    /// Asks every agent, and answers for it.
    fn say(&mut self, lines: &[(&str, &str)]) {
        let lines: BTreeMap<_, _> = lines.iter().copied().collect();
        for due in self.asked() {
            let line = lines.get(&*due.endpoint.id).and_then(|text| AgentLine::parse(text.as_bytes()));
            self.cluster.handle_agent(&due, line.as_ref(), self.now);
        }
        self.cluster.handle_timeout(self.now);
    }

    fn configure(&mut self, agents: Option<AgentSettings>) {
        self.cluster.set_settings(asking(agents), self.now);
    }
}

#[test]
fn an_agent_sets_the_share_takes_out_and_brings_back_and_its_silence_changes_nothing() {
    let mut world = World::new(2);
    let mut said = |text: &'static str| {
        world.say(&[("0", text)]);
        let member = &world.members()[0];
        (member.effective_weight(), member.state, member.reason.to_string(), events(&mut world.cluster))
    };
    let (drained, undrained) = (EventKind::Draining, EventKind::Undrained);
    let (unknown, draining, unhealthy, healthy) =
        (EndpointState::Unknown, EndpointState::Draining, EndpointState::Unhealthy, EndpointState::Healthy);
    for (text, weight, state, reason, event) in [
        ("75%", 75, unknown, "", None),
        ("nonsense", 75, unknown, "", None),
        ("drain", 0, draining, "agent: drain", Some(drained)),
        ("", 0, draining, "agent: drain", None),
        ("50%", 0, draining, "agent: drain", None),
        ("up", 50, healthy, "", Some(undrained)),
        ("down # broken", 0, unhealthy, "agent: down: broken", Some(EventKind::Unhealthy)),
        ("100%", 0, unhealthy, "agent: down: broken", None),
        ("ready", 100, healthy, "", Some(EventKind::Healthy)),
        ("0%", 0, draining, "agent: 0%", Some(drained)),
        ("200%", 200, healthy, "", Some(undrained)),
        ("maint", 0, draining, "agent: maint", Some(drained)),
    ] {
        let events: Vec<_> = event.map(|event| ("0".to_owned(), event)).into_iter().collect();
        assert_eq!(said(text), (weight, state, reason.to_owned(), events), "{text}");
    }
    // The last one is not taken out by probes or connections, so nobody ignores it.
    assert_eq!(world.weights(), [0, 100]);
    world.configure(None);
    assert_eq!((world.weights(), world.asked().len()), (vec![100; 2], 0));
}

#[test]
fn an_agent_s_bound_on_connections_is_obeyed_until_it_says_otherwise() {
    let mut world = World::new(1);
    let live = world.members()[0].live.clone();
    world.say(&[("0", "maxconn:1")]);
    assert!(live.try_open_connection(0) && !live.try_open_connection(0));
    world.say(&[("0", "up")]);
    assert!(!live.try_open_connection(0));
    world.say(&[("0", "maxconn:0")]);
    assert!(live.try_open_connection(0) && live.try_open_connection(0));
}

#[test]
fn at_another_interval_what_agents_said_goes_on_and_on_another_port_they_speak_anew() {
    let slower = AgentSettings { interval: Duration::from_secs(5), ..AGENTS };
    let elsewhere = AgentSettings { port: 9998, ..slower };
    let (drained, broken, free) = (EndpointState::Draining, EndpointState::Unhealthy, EndpointState::Unknown);
    for other in [Some(elsewhere), None] {
        let mut world = World::new(3);
        let live = world.members()[2].live.clone();
        world.say(&[("0", "drain"), ("1", "down # disk"), ("2", "50% maxconn:1")]);
        assert!(live.try_open_connection(0));
        world.configure(Some(slower));
        assert_eq!((world.states(), world.weights()), (vec![drained, broken, free], vec![0, 0, 50]));
        assert!(!live.try_open_connection(0));
        events(&mut world.cluster);
        // Answers that are on their way when the port changes are those of the old agents.
        let owed = world.asked();
        assert_eq!(owed.len(), 3);
        world.configure(other);
        for due in owed {
            let line = AgentLine::parse(b"0% down maxconn:1");
            world.cluster.handle_agent(&due, line.as_ref(), world.now);
        }
        assert_eq!((world.states(), world.weights()), (vec![free; 3], vec![100; 3]));
        assert_eq!(events(&mut world.cluster), [("0".to_owned(), EventKind::Undrained)]);
        assert!(live.try_open_connection(0) && live.try_open_connection(0));
        let asked: Vec<_> = world.asked().iter().map(|due| due.settings).collect();
        assert_eq!(asked, other.map_or(Vec::new(), |other| vec![other; 3]));
    }
}
