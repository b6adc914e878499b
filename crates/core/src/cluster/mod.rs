//! The cluster: our live view of one service, as a pure machine with one owner.
//!
//! It folds three things into members: what the sources name (in written order), what operators changed (an overlay
//! above it, see `edit`), and what health checks say (`health`). Calling order: any `set_*`, `edit` or `handle_*`; then
//! [`Cluster::poll_event`] until `None`; then, where [`Cluster::take_change`] says so, [`Cluster::snapshot`]; probes by
//! [`Cluster::poll_action`]; and again at [`Cluster::poll_timeout`].
//!
//! Invariants: an endpoint that survives an update, that is one with the same id and address, keeps its live
//! record whatever else changed; a new address under an id is a new generation with a new record; ids are
//! unique and keep their written order; a refused edit changes nothing; health takes no endpoint out where all priorities
//! together could then not carry the load and its own had less than the configured share. Limits: sources are full sets, folded in O(n log n); a generation is
//! unique within one `Cluster`, so the owner keeps it over reloads.

mod edit;
mod event;
mod folding;
mod load;
mod losses;
mod rotation;
mod spill;
mod weighing;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

pub use edit::{Edit, EditError, OVERRIDES_MAX};
pub use event::{ClusterEvent, EventKind};
pub(crate) use load::Load;
pub use losses::{LOSS_GRACE, LOSS_PERCENT_MAX};

use crate::health::{Health, ProbeDue, ProbeSettings, Verdict};
use crate::weights::{Agents, Weigher};
use crate::{
    Bell, Endpoint, EndpointState, Instant, Member, PolicySettings, Snapshot, StickyKey, Subset, Ticket,
    WeightSettings, ZoneAware,
};
use edit::Overlay;
use losses::Losses;
use rotation::Rotation;

/// How many broken connections in a row take out an endpoint is the first probe's `unhealthy_after`; this many where
/// there is no probe: never, since nobody would bring it back.
const NO_ALARM: u32 = 0;

/// An endpoint as a source names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The name it was found under, where its absence would be a conclusion (from a DNS answer) and no statement.
    pub inferred: Option<Arc<str>>,
}

/// What one source names at present, as a full set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceSet {
    /// The source's name, shown with its endpoints.
    pub name: Arc<str>,
    /// Its endpoints in order.
    pub found: Vec<Found>,
}

/// The part of a service's settings that decides.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClusterSettings {
    /// How endpoints are chosen.
    pub policy: PolicySettings,
    /// Active checks; all must pass.
    pub probes: Vec<ProbeSettings>,
    /// Health is ignored where a smaller share of the endpoints is healthy and cannot carry the load, in percent.
    pub min_healthy_percent: u8,
    /// Where weights come from.
    pub weights: WeightSettings,
    /// Callers keep their endpoint by values under this key, where that is set.
    pub sticky: Option<StickyKey>,
    /// Endpoints of the proxy's own zone are preferred, where that is set.
    pub zone_aware: Option<ZoneAware>,
    /// This proxy uses a part of the endpoints, where that is set.
    pub subset: Option<Subset>,
}

/// Owns the members of one service over updates and compiles snapshots of them.
#[derive(Debug)]
pub struct Cluster {
    service: Arc<str>,
    settings: ClusterSettings,
    sources: Vec<SourceSet>,
    losses: Losses,
    overlay: Overlay,
    health: Health,
    agents: Agents,
    weigher: Weigher,
    members: Vec<Member>,
    /// (id, source) of endpoints that another source named first, so that each loss is told once.
    duplicates: BTreeSet<(Arc<str>, Arc<str>)>,
    fail_open: bool,
    /// What each priority gets, lowest first, in percent.
    loads: Vec<(u32, u8)>,
    /// Something that a snapshot shows has changed since the last one.
    changed: bool,
    events: VecDeque<ClusterEvent>,
    revision: u64,
    /// Given to the next live record; never reused, so an id that left and came back is told apart.
    next_generation: u64,
    /// Workers that count for an endpoint.
    n_shards: usize,
    bell: Arc<Bell>,
    ticket: Arc<Ticket>,
    load: Arc<Load>,
}

impl Cluster {
    /// An empty cluster for the service `name`, counted in by up to `n_shards` workers; `seed` spreads its probes.
    pub fn new(name: &str, settings: ClusterSettings, n_shards: usize, seed: u64) -> Self {
        Self {
            service: name.into(),
            health: Health::new(settings.probes.clone(), seed),
            agents: Agents::new(settings.weights.agents, seed),
            weigher: Weigher::new(settings.weights),
            settings,
            sources: Vec::new(),
            losses: Losses::default(),
            overlay: Overlay::default(),
            members: Vec::new(),
            duplicates: BTreeSet::new(),
            fail_open: false,
            loads: Vec::new(),
            changed: false,
            events: VecDeque::new(),
            revision: 0,
            next_generation: 0,
            n_shards,
            bell: Arc::default(),
            ticket: Arc::default(),
            load: Arc::new(Load::new(n_shards)),
        }
    }

    /// Rings when an endpoint's connections broke too often in a row; then call [`Self::handle_bell`].
    pub fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Folds in the full sets of all sources, in written order.
    pub fn set_sources(&mut self, sources: Vec<SourceSet>, now: Instant) {
        let (health, members) = (&self.health, &self.members);
        let agreed = |id: &str| {
            let member = members.iter().find(|member| &*member.endpoint.id == id);
            member
                .is_some_and(|member| health.standing(member.live.generation()).verdict == Verdict::Unhealthy)
        };
        let held = self.losses.hold(&self.sources, sources, agreed, now);
        self.sources = held.sources;
        for id in held.newly {
            let reason =
                format!("missing from an answer with too many others; kept up to {} s", LOSS_GRACE.as_secs());
            self.events.push_back(ClusterEvent::because(&id, EventKind::LossHeld, reason));
        }
        self.fold(now);
    }

    /// Takes a change by an operator.
    ///
    /// # Errors
    /// Says why it is refused; then nothing has changed.
    pub fn edit(&mut self, edit: Edit, now: Instant) -> Result<(), EditError> {
        let sources = &self.sources;
        let named =
            |id: &str| sources.iter().flat_map(|source| &source.found).any(|found| &*found.endpoint.id == id);
        self.overlay.apply(edit, named)?;
        self.fold(now);
        Ok(())
    }

    /// The endpoints that sources name and an operator removed, by id.
    pub fn removed(&self) -> impl Iterator<Item = &Arc<str>> + Clone {
        self.overlay.removed()
    }

    /// Takes over new settings; endpoints, their numbers and their verdicts stay.
    pub fn set_settings(&mut self, settings: ClusterSettings, now: Instant) {
        if settings == self.settings {
            return;
        }
        self.health.set_settings(settings.probes.clone(), now);
        self.set_agents(settings.weights.agents, now);
        self.weigher.set_settings(settings.weights, &self.members, now);
        self.settings = settings;
        for member in &self.members {
            member.live.set_alarm(self.alarm_at());
        }
        self.judge(true);
    }

    /// Takes the result of a probe that [`Self::poll_action`] asked for.
    pub fn handle_probe(&mut self, due: &ProbeDue, result: Result<(), Arc<str>>, now: Instant) {
        if self.health.handle_result(due.generation, due.probe, result, now) {
            self.judge(false);
        }
    }

    /// Looks for endpoints whose connections broke too often in a row.
    pub fn handle_bell(&mut self, now: Instant) {
        if !self.bell.answer() {
            return;
        }
        let at = self.alarm_at();
        let mut condemned = false;
        for member in &self.members {
            let n = member.live.broken_connections();
            // One that is out already stays out: in an outage of all of them this is run again and again.
            if at != NO_ALARM && n >= at && member.state != EndpointState::Unhealthy {
                let reason = format!("{n} connections in a row failed");
                condemned |= self.health.condemn(member.live.generation(), reason.into(), now);
            }
        }
        if condemned {
            self.judge(false);
        }
    }

    /// Does what time alone brings about: held losses whose grace is over come true, and weights follow the load.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.losses.release(&mut self.sources, now) {
            self.fold(now);
        }
        self.weigh(now);
    }

    /// When something is due next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = [
            self.health.poll_timeout(),
            self.agents.poll_timeout(),
            self.losses.poll_timeout(),
            self.weigher.poll_timeout(),
        ];
        due.into_iter().flatten().min()
    }

    /// The next probe to send, if one is due; its result is owed to [`Self::handle_probe`].
    pub fn poll_action(&mut self, now: Instant) -> Option<ProbeDue> {
        self.health.poll_action(now)
    }

    /// What happened, oldest first.
    pub fn poll_event(&mut self) -> Option<ClusterEvent> {
        self.events.pop_front()
    }

    /// Whether a new snapshot would differ from the last one asked for.
    pub fn take_change(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Compiles the present state. Every snapshot shares the live records and the ticket of the cluster.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::compile(
            self.service.clone(),
            self.revision,
            &self.settings,
            self.members.clone(),
            &self.loads,
            self.ticket.clone(),
            self.load.clone(),
        )
    }

    fn alarm_at(&self) -> u32 {
        self.settings.probes.first().map_or(NO_ALARM, |probe| probe.unhealthy_after)
    }

    /// Brings states, weights and eligibility up to date with health, agents and load, and counts a revision where these or anything before
    /// (`changed`) changed.
    fn judge(&mut self, mut changed: bool) {
        let mut proven = Vec::with_capacity(self.members.len());
        for member in &mut self.members {
            let generation = member.live.generation();
            let standing = self.agents.over(
                generation,
                self.health.standing(generation),
                self.settings.probes.is_empty(),
            );
            let rest = if member.draining { Some(BY_OPERATOR) } else { self.agents.resting(generation) };
            let (state, reason) = match standing.verdict {
                _ if let Some(reason) = rest => (EndpointState::Draining, reason.into()),
                Verdict::Unknown => (EndpointState::Unknown, standing.reason.clone()),
                Verdict::Healthy => (EndpointState::Healthy, standing.reason.clone()),
                Verdict::Unhealthy => (EndpointState::Unhealthy, standing.reason.clone()),
            };
            if state != member.state {
                member.live.set_leaving(state == EndpointState::Draining);
                let id = member.endpoint.id.clone();
                match state {
                    EndpointState::Healthy if member.state != EndpointState::Draining => {
                        member.live.mend();
                        self.events.push_back(ClusterEvent::of(&id, EventKind::Healthy));
                    }
                    EndpointState::Unhealthy if standing.is_known => {
                        self.events.push_back(ClusterEvent::because(
                            &id,
                            EventKind::Unhealthy,
                            reason.clone(),
                        ));
                    }
                    _ => {}
                }
            }
            let weight =
                self.weigher.weight(generation, member.endpoint.weight, self.agents.percent(generation));
            changed |= state != member.state || reason != member.reason || weight != member.weight;
            (member.state, member.reason, member.weight) = (state, reason, weight);
            proven.push(standing.is_proven);
        }
        changed |= self.admit(&proven);
        if changed {
            self.revision += 1;
            self.changed = true;
        }
    }

    /// Decides who takes picks (see `rotation`), given who is `proven`. True when that changed anything.
    fn admit(&mut self, proven: &[bool]) -> bool {
        let rotation = Rotation::of(&self.members, proven, self.settings.min_healthy_percent);
        // Where nobody is left there is nothing to say of health.
        let fail_open = rotation.fail_open();
        if fail_open != self.fail_open && rotation.n > 0 {
            let kind = if fail_open { EventKind::FailOpenBegan } else { EventKind::FailOpenEnded };
            let reason = format!("{} of {} endpoints are not unhealthy", rotation.n_healthy, rotation.n);
            self.events.push_back(ClusterEvent::whole(kind, reason));
            self.fail_open = fail_open;
        }
        let mut changed = !rotation.loads().eq(self.loads.iter().copied());
        self.loads = rotation.loads().collect();
        for (member, proven) in self.members.iter_mut().zip(proven) {
            let eligible = rotation.admits(member, *proven);
            changed |= eligible != member.is_eligible;
            member.is_eligible = eligible;
        }
        changed
    }
}

/// Why an endpoint drains that an operator drains.
const BY_OPERATOR: &str = "drained by an operator";

/// The source of what an operator added or changed.
const ADMIN: &str = "admin";
