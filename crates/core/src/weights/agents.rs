//! The agents beside the endpoints of one cluster: when to ask whom, and what their last words are.
//!
//! Asked as probes are (see `health`): spread, with jitter, one at a time. Invariants: what an agent does not speak of
//! stays as it was, and so does everything while it cannot be reached: that the endpoint works is for probes to find.
//! What an agent said ends only by what it says later, with the endpoint, or when agents are asked on another port or
//! no more: then that of all is forgotten, and an answer that was on its way counts for nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::agent::AgentLine;
use crate::health::{Health, ProbeSettings, Standing, Verdict};
use crate::{Endpoint, Instant, Live, Member};

/// The settings of agents.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AgentSettings {
    /// The port of an endpoint's host that its agent speaks on.
    pub port: u16,
    /// From the begin of a question to that of the next.
    pub interval: Duration,
}

/// An agent to ask.
#[derive(Clone, Debug)]
pub struct AgentDue {
    /// Where and how often.
    pub settings: AgentSettings,
    /// Beside which endpoint.
    pub endpoint: Arc<Endpoint>,
    /// Which generation of it; given back with the answer.
    pub generation: u64,
}

/// The last words of one agent.
#[derive(Debug)]
struct Said {
    live: Arc<Live>,
    percent: u32,
    /// Why the endpoint takes no new requests.
    rest: Option<&'static str>,
}

/// What a line changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct AgentChange {
    /// Whether the endpoint works, or takes new requests.
    pub(crate) standing: bool,
    /// It takes no new requests now (true), or takes some again.
    pub(crate) rests: Option<bool>,
}

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Agents {
    checks: Health,
    settings: Option<AgentSettings>,
    said: BTreeMap<u64, Said>,
    /// A percentage has changed since it was last asked for.
    percent_changed: bool,
}

/// One word of an agent decides.
fn checks(settings: Option<AgentSettings>) -> Vec<ProbeSettings> {
    let check = |AgentSettings { interval, .. }| ProbeSettings {
        interval,
        failing_interval: interval,
        healthy_after: 1,
        unhealthy_after: 1,
        initial: Verdict::Unknown,
    };
    settings.map(check).into_iter().collect()
}

/// The percentage where none was said.
const WHOLE: u32 = 100;

/// Why an endpoint of no weight takes no new requests.
const NO_WEIGHT: &str = "agent: 0%";

impl Agents {
    /// None where there are no settings.
    pub(crate) fn new(settings: Option<AgentSettings>, seed: u64) -> Self {
        Self {
            checks: Health::new(checks(settings), seed),
            settings,
            said: BTreeMap::new(),
            percent_changed: false,
        }
    }

    /// Changes where and how often they are asked; what is said elsewhere, or no more, is forgotten.
    pub(crate) fn set_settings(&mut self, settings: Option<AgentSettings>, members: &[Member], now: Instant) {
        if settings == self.settings {
            return;
        }
        if settings.map(|settings| settings.port) != self.port() {
            // Other checks would begin with the verdicts of these.
            self.checks.set_settings(Vec::new(), now);
            for said in std::mem::take(&mut self.said).into_values() {
                said.live.set_connections_max(0);
            }
        }
        self.settings = settings;
        self.checks.set_settings(checks(settings), now);
        self.watch_only(members, now);
    }

    fn port(&self) -> Option<u16> {
        self.settings.map(|settings| settings.port)
    }

    /// Asks exactly those beside these members from now on.
    pub(crate) fn watch_only(&mut self, members: &[Member], now: Instant) {
        if self.settings.is_none() {
            return;
        }
        self.checks.watch_only(members, now);
        let mut before = std::mem::take(&mut self.said);
        let said = |member: &Member| {
            let generation = member.live.generation();
            let fresh = || Said { live: Arc::clone(&member.live), percent: WHOLE, rest: None };
            (generation, before.remove(&generation).unwrap_or_else(fresh))
        };
        self.said = members.iter().map(said).collect();
    }

    /// See `Health::set_endpoint`.
    pub(crate) fn set_endpoint(&mut self, generation: u64, endpoint: &Arc<Endpoint>) {
        self.checks.set_endpoint(generation, endpoint);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.settings.and_then(|_| self.checks.poll_timeout())
    }

    /// The next agent to ask, if one is due; its answer is owed to [`Self::handle`].
    pub(crate) fn poll_action(&mut self, now: Instant) -> Option<AgentDue> {
        let settings = self.settings?;
        let due = self.checks.poll_action(now)?;
        Some(AgentDue { settings, endpoint: due.endpoint, generation: due.generation })
    }

    /// Takes what it said; `None` where it said nothing that is understood.
    pub(crate) fn handle(&mut self, due: &AgentDue, line: Option<&AgentLine>, now: Instant) -> AgentChange {
        let mut change = AgentChange::default();
        if self.port() != Some(due.settings.port) {
            return change;
        }
        let operation = line.and_then(AgentLine::operation);
        match operation {
            Some(result) => change.standing = self.checks.handle_result(due.generation, 0, result, now),
            None => self.checks.handle_silence(due.generation, 0, now),
        }
        let (Some(said), Some(line)) = (self.said.get_mut(&due.generation), line) else { return change };
        if let Some(max) = line.connections_max {
            said.live.set_connections_max(max);
        }
        let before = said.resting();
        said.rest = line.rest(said.rest);
        let percent = line.percent.unwrap_or(said.percent);
        self.percent_changed |= percent != said.percent;
        said.percent = percent;
        let after = said.resting();
        change.standing |= before != after;
        change.rests = (before.is_some() != after.is_some()).then_some(after.is_some());
        change
    }

    /// Why the endpoint takes no new requests, where its agent says so.
    pub(crate) fn resting(&self, generation: u64) -> Option<&'static str> {
        self.said.get(&generation).and_then(Said::resting)
    }

    /// The share of its weight that its agent leaves it, in percent.
    pub(crate) fn percent(&self, generation: u64) -> u32 {
        self.said.get(&generation).map_or(WHOLE, |said| said.percent)
    }

    /// Whether a percentage has changed since the last call.
    pub(crate) fn take_percent_change(&mut self) -> bool {
        std::mem::take(&mut self.percent_changed)
    }

    /// What is known of an endpoint's health once its agent has had its say: one that says it does not work is believed;
    /// one that says it works only where nothing else is asked (`alone`).
    pub(crate) fn over(&self, generation: u64, standing: Standing, alone: bool) -> Standing {
        if self.settings.is_none() {
            return standing;
        }
        let said = self.checks.standing(generation);
        match said.verdict {
            Verdict::Unhealthy => Standing { is_proven: standing.is_proven, ..said },
            Verdict::Healthy if alone => said,
            Verdict::Healthy | Verdict::Unknown => standing,
        }
    }
}

impl Said {
    fn resting(&self) -> Option<&'static str> {
        self.rest.or((self.percent == 0).then_some(NO_WEIGHT))
    }
}
