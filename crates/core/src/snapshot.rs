//! The snapshot: the immutable compiled state of a cluster that answers `pick`.
//!
//! Invariants: a pick is an eligible member that the request has not tried; which priority level it comes from follows
//! from the levels' loads, and where the request has tried all of that one, it is the lowest that has another; it
//! neither blocks nor allocates, and its work is bounded. Limits: limits of an endpoint's own are not tested.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::{ClusterSettings, Load};
use crate::level::Level;
use crate::policy::{Candidate, Facts};
use crate::{Draw, Endpoint, Instant, Live, LoadPool, PolicyKind, PolicySettings, Stickiness, Ticket};

/// What keeps an endpoint in or out of rotation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum EndpointState {
    /// Checks pass.
    Healthy,
    /// Checks or connections fail, or its first check is waited for.
    Unhealthy,
    /// No check has said anything yet, or there is none.
    Unknown,
    /// Takes no new picks.
    Draining,
}

impl EndpointState {
    /// Every state, in the order of the variants.
    pub const ALL: [Self; 4] = [Self::Healthy, Self::Unhealthy, Self::Unknown, Self::Draining];

    /// The name in the admin interface and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Unknown => "unknown",
            Self::Draining => "draining",
        }
    }
}

/// One endpoint inside a snapshot.
#[derive(Clone, Debug)]
pub struct Member {
    /// What is known of it.
    pub endpoint: Arc<Endpoint>,
    /// Its numbers, shared with every other snapshot that holds it.
    pub live: Arc<Live>,
    /// Its state.
    pub state: EndpointState,
    /// Why it is in that state, for people; empty where the state says it all.
    pub reason: Arc<str>,
    /// The source that names it.
    pub source: Arc<str>,
    /// An operator drains it.
    pub draining: bool,
    /// Whether picks may choose it.
    pub is_eligible: bool,
    /// Its weight while picks may choose it: the configured one, or in hundredths where weights are live.
    pub weight: u32,
}

impl Member {
    /// Its share by configuration, load and health: its weight while picks may choose it, else zero. In hundredths where
    /// weights are live.
    pub fn effective_weight(&self) -> u32 {
        if self.is_eligible { self.weight } else { 0 }
    }
}

/// Live records are compared by identity: their numbers change all the time.
impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.live, &other.live)
            && self.endpoint == other.endpoint
            && (self.state, &self.reason, &self.source) == (other.state, &other.reason, &other.source)
            && (self.draining, self.is_eligible, self.weight)
                == (other.draining, other.is_eligible, other.weight)
    }
}

/// The place of a member in one snapshot; means nothing in another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MemberIndex(pub u32);

/// What one attempt asks of a pick.
#[derive(Clone, Copy, Debug, Default)]
pub struct PickRequest<'a> {
    /// The request's hash key, for policies that place by key.
    pub key: Option<u64>,
    /// Members of this snapshot that the request has tried.
    pub tried: &'a [MemberIndex],
    /// Taken by [`Snapshot::take_ticket`], one for each attempt.
    pub ticket: u64,
    /// The present, for policies that look at latencies.
    pub now: Instant,
    /// What load probes told whoever asks, for `prequal`.
    pub pool: Option<&'a RefCell<LoadPool>>,
}

/// Why there is no pick.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum NoPick {
    /// The service has no endpoint that may take picks: wait for an update or refuse the request.
    #[error("the service has no endpoint that takes requests: add one, raise a weight or end a drain")]
    Empty,
    /// The request has tried every eligible endpoint: answer with its last failure.
    #[error("the request has tried every endpoint: answer with the last failure")]
    AllTried,
}

/// The immutable compiled state of a cluster.
#[derive(Debug)]
pub struct Snapshot {
    service: Arc<str>,
    revision: u64,
    policy: PolicySettings,
    members: Box<[Member]>,
    /// The eligible members by priority, lowest first; none is empty.
    levels: Box<[Level]>,
    /// Where callers are sent back to the endpoint that answered them.
    stickiness: Option<Stickiness>,
    ticket: Arc<Ticket>,
    load: Arc<Load>,
}

impl Snapshot {
    pub(crate) fn compile(
        service: Arc<str>,
        revision: u64,
        settings: &ClusterSettings,
        members: Vec<Member>,
        loads: &[(u32, u8)],
        ticket: Arc<Ticket>,
        load: Arc<Load>,
    ) -> Self {
        let mut eligible: Vec<(u32, Candidate)> = (0_u32..)
            .zip(&members)
            .filter(|(_, member)| member.is_eligible)
            .map(|(place, member)| {
                let weight = member.effective_weight();
                (member.endpoint.priority, Candidate { index: MemberIndex(place), weight })
            })
            .collect();
        // Stable: within a level the written order stays, which round robin's ties depend on.
        eligible.sort_by_key(|(priority, _)| *priority);
        let mut load_end = 0;
        let levels = eligible
            .chunk_by(|left, right| left.0 == right.0)
            .map(|level| {
                let priority = level[0].0;
                let of_level = loads.iter().find(|(of, _)| *of == priority);
                load_end += of_level.map_or(0, |(_, load)| *load);
                let candidates = level.iter().map(|(_, candidate)| *candidate).collect();
                Level::compile(settings, &members, priority, candidates, load_end)
            })
            .collect();
        let stickiness = settings.sticky.map(|key| Stickiness::new(key, &members));
        let policy = settings.policy;
        Self { service, revision, policy, members: members.into(), levels, stickiness, ticket, load }
    }

    /// The name of the service.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Rises with every change that a snapshot shows.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The policy that answers picks.
    pub fn policy(&self) -> PolicyKind {
        self.policy.kind
    }

    /// Every member in written order, eligible or not.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member at `index`, which must come from this snapshot.
    ///
    /// # Panics
    /// If there is no such member.
    pub fn member(&self, index: MemberIndex) -> &Member {
        &self.members[index.0 as usize]
    }

    /// Which endpoint a caller's cookie stands for, where the service has such cookies.
    pub fn stickiness(&self) -> Option<&Stickiness> {
        self.stickiness.as_ref()
    }

    /// The next number of the cluster's sequence, which all its snapshots share; zero where the policy goes by none, so
    /// that its picks write nothing that other workers write.
    pub fn take_ticket(&self) -> u64 {
        if self.policy.kind == PolicyKind::RoundRobin { self.ticket.take() } else { 0 }
    }

    /// What is in flight in the cluster, shared by all its snapshots.
    pub(crate) fn load(&self) -> &Load {
        &self.load
    }

    /// Over which time latencies are forgotten, where the policy looks at them.
    pub(crate) fn decay(&self) -> Option<Duration> {
        self.policy.kind.is_timed().then_some(self.policy.decay)
    }

    /// Picks a member for one attempt.
    ///
    /// # Errors
    /// [`NoPick`] says whether there is nothing to pick from or nothing left.
    pub fn pick(&self, request: &PickRequest<'_>, draw: &mut Draw) -> Result<MemberIndex, NoPick> {
        let Some(first) = self.levels.first() else { return Err(NoPick::Empty) };
        let level = if first.load_end == 100 { first } else { self.shared(first, request, draw) };
        let facts = Facts { members: &self.members, load: &self.load };
        let picked = level.pick(&facts, request, draw);
        picked.or_else(|| self.elsewhere(&facts, request, draw)).ok_or(NoPick::AllTried)
    }

    /// The level whose turn it is where several share the load, drawn by that. A key keeps its level.
    fn shared<'a>(&'a self, first: &'a Level, request: &PickRequest<'_>, draw: &mut Draw) -> &'a Level {
        // Envoy's rule to the letter: h % 100 + 1 <= the loads up to here.
        let hundredth = request.key.unwrap_or_else(|| draw.next_u64()) % 100;
        self.levels.iter().find(|level| hundredth < u64::from(level.load_end)).unwrap_or(first)
    }

    /// The pick of the lowest level that has one, for a request that has tried all of its own.
    #[cold]
    fn elsewhere(
        &self,
        facts: &Facts<'_>,
        request: &PickRequest<'_>,
        draw: &mut Draw,
    ) -> Option<MemberIndex> {
        self.levels.iter().find_map(|level| level.pick(facts, request, draw))
    }
}
