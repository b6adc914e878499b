//! The snapshot: the immutable compiled state of a cluster that answers `pick`.
//!
//! Invariants: a pick is an eligible member that the request has not tried; it comes from the
//! lowest priority level that has one; it neither blocks nor allocates, and its work is bounded by the
//! constants below. Limits: zones and limits of an endpoint's own are not tested.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::Load;
use crate::policy::{Candidate, Facts, Policy};
use crate::{Draw, Endpoint, Instant, Live, LoadPool, PolicyKind, PolicySettings, Ticket};

/// How often a candidate that was tried already is drawn again by the policy. Four: with half of the weight
/// tried, 31 of 32 picks still come from the policy itself.
const REDRAWS: u32 = 4;

/// How many members are looked at when the redraws are used up, unless more were tried. Enough to hold most
/// levels as a whole, where the choice is then exact by weight; few enough to stay under a microsecond.
const SCAN_WINDOW: usize = 64;

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
}

impl Member {
    /// Its share by health and configuration: its weight while picks may choose it, else zero.
    pub fn effective_weight(&self) -> u32 {
        if self.is_eligible { self.endpoint.weight } else { 0 }
    }
}

/// Live records are compared by identity: their numbers change all the time.
impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.live, &other.live)
            && self.endpoint == other.endpoint
            && (self.state, &self.reason, &self.source) == (other.state, &other.reason, &other.source)
            && (self.draining, self.is_eligible) == (other.draining, other.is_eligible)
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
    ticket: Arc<Ticket>,
    load: Arc<Load>,
}

impl Snapshot {
    pub(crate) fn compile(
        service: Arc<str>,
        revision: u64,
        policy: PolicySettings,
        members: Vec<Member>,
        ticket: Arc<Ticket>,
        load: Arc<Load>,
    ) -> Self {
        let mut eligible: Vec<(u32, Candidate)> = (0_u32..)
            .zip(&members)
            .filter(|(_, member)| member.is_eligible)
            .map(|(place, member)| {
                let weight = member.endpoint.weight;
                (member.endpoint.priority, Candidate { index: MemberIndex(place), weight })
            })
            .collect();
        // Stable: within a level the written order stays, which round robin's ties depend on.
        eligible.sort_by_key(|(priority, _)| *priority);
        let levels = eligible
            .chunk_by(|left, right| left.0 == right.0)
            .map(|level| {
                let candidates: Box<[Candidate]> = level.iter().map(|(_, candidate)| *candidate).collect();
                Level { policy: policy.compile(&members, &candidates), candidates }
            })
            .collect();
        Self { service, revision, policy, members: members.into(), levels, ticket, load }
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
        let facts = Facts { members: &self.members, load: &self.load };
        let mut levels = self.levels.iter();
        levels.find_map(|level| level.pick(&facts, request, draw)).ok_or(if self.levels.is_empty() {
            NoPick::Empty
        } else {
            NoPick::AllTried
        })
    }
}

/// The eligible members of one priority, and the policy compiled for them.
#[derive(Debug)]
struct Level {
    candidates: Box<[Candidate]>,
    policy: Box<dyn Policy>,
}

impl Level {
    /// The policy's choice, else that of a few redraws, else that of a bounded scan; `None` only when the
    /// request has tried all of the level.
    fn pick(&self, facts: &Facts<'_>, request: &PickRequest<'_>, draw: &mut Draw) -> Option<MemberIndex> {
        let choice = self.policy.choose(facts, request, draw);
        if !request.tried.contains(&choice) {
            return Some(choice);
        }
        for _ in 0..REDRAWS {
            // A fresh number in place of the ticket: the ticket would only lead to the same candidate.
            let again = PickRequest { ticket: draw.next_u64(), ..*request };
            let choice = self.policy.choose(facts, &again, draw);
            if !request.tried.contains(&choice) {
                return Some(choice);
            }
        }
        self.scan(request.tried, draw)
    }

    /// Draws by weight among the untried of a window that begins at a random place.
    ///
    /// The window is one longer than the tried are many, so it holds an untried member if the level does.
    fn scan(&self, tried: &[MemberIndex], draw: &mut Draw) -> Option<MemberIndex> {
        let len = self.candidates.len();
        let window = len.min(SCAN_WINDOW.max(tried.len() + 1));
        let start = draw.below(len as u32) as usize;
        let mut chosen = None;
        let mut total = 0_u64;
        for candidate in self.candidates.iter().cycle().skip(start).take(window) {
            if tried.contains(&candidate.index) {
                continue;
            }
            let weight = u64::from(candidate.weight);
            total += weight;
            // Replacing the choice with chance weight / total leaves each with its share of the final total.
            if draw.below_wide(total) < weight {
                chosen = Some(candidate.index);
            }
        }
        chosen
    }
}
