//! The policies: one file each behind one small trait, and the table that names them.
//!
//! Invariants: a policy is compiled for the members of one priority level, at least one, each with a weight
//! above zero, and always answers one of them; it keeps no state that changes with a pick. Adding one takes
//! its file, a variant and one line of `TABLE`.

mod alias;
mod keyed;
mod least_request;
mod maglev;
mod p2c;
mod peak_ewma;
mod prequal;
mod random;
mod rendezvous;
mod ring_hash;
mod round_robin;
mod static_stride;

use std::fmt;
use std::time::Duration;

use crate::cluster::Load;
use crate::placement::Maglev;
use crate::{Draw, Layout, Member, MemberIndex, PickRequest, PointHash};

pub(crate) use alias::Alias;
pub use p2c::CHOICES_MAX;

/// A member that a policy may choose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) index: MemberIndex,
    /// Above zero.
    pub(crate) weight: u32,
}

/// What a policy may read of the present while it chooses.
pub(crate) struct Facts<'a> {
    /// All members of the snapshot, in its order.
    pub(crate) members: &'a [Member],
    /// Attempts in flight in the whole cluster.
    pub(crate) load: &'a Load,
}

/// A strategy compiled for one level.
pub(crate) trait Policy: Send + Sync + fmt::Debug {
    /// Chooses a candidate: a function of its arguments and of what was compiled, without allocation.
    fn choose(&self, facts: &Facts<'_>, request: &PickRequest<'_>, draw: &mut Draw) -> MemberIndex;
}

/// Which strategy spreads the requests of a service.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum PolicyKind {
    /// nginx's smooth weighted round robin.
    RoundRobin,
    /// By weight at random.
    Random,
    /// The less loaded of two, or more, drawn by weight.
    #[default]
    P2c,
    /// The least loaded of all.
    LeastRequest,
    /// The one of two drawn by weight whose next answer is expected sooner.
    PeakEwma,
    /// The quickest of those that lately told of few requests in flight.
    Prequal,
    /// By a key, on a ring of points.
    RingHash,
    /// By a key, in a table filled by turns.
    Maglev,
    /// By a key, to the highest of all bids.
    Rendezvous,
}

/// A policy with its options; those of other policies mean nothing to it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PolicySettings {
    /// Which.
    pub kind: PolicyKind,
    /// Whose placement `ring-hash` and `maglev` follow.
    pub layout: Layout,
    /// How `ring-hash` places points under Envoy's layout.
    pub point_hash: PointHash,
    /// Entries of Maglev's table: a prime.
    pub table_size: u32,
    /// No endpoint of a policy by key has more than this many percent of its fair share in flight, where that is set.
    pub bounded_load_percent: Option<u32>,
    /// Over this time `peak-ewma` and `prequal` forget two thirds of a slow answer; above zero.
    pub decay: Duration,
    /// How many members `p2c` compares, from two to eight.
    pub choices: u8,
    /// Whether reports of load probes come into the pool of `prequal`.
    pub load_probes: bool,
}

/// Where none is said: long enough to remember a slow answer over a few quick ones, short enough to notice within ten
/// seconds that an endpoint has recovered.
const DECAY: Duration = Duration::from_secs(3);

impl From<PolicyKind> for PolicySettings {
    fn from(kind: PolicyKind) -> Self {
        Self {
            kind,
            layout: Layout::default(),
            point_hash: PointHash::default(),
            table_size: Maglev::SIZE,
            bounded_load_percent: None,
            decay: DECAY,
            choices: 2,
            load_probes: false,
        }
    }
}

impl Default for PolicySettings {
    fn default() -> Self {
        PolicyKind::default().into()
    }
}

impl PolicySettings {
    /// Compiles for the candidates of a level, at least one; `has_live_weights` tells whether their weights follow load.
    pub(crate) fn compile(
        &self,
        members: &[Member],
        candidates: &[Candidate],
        has_live_weights: bool,
    ) -> Box<dyn Policy> {
        (TABLE[self.kind as usize].compile)(&Plan { settings: self, members, candidates, has_live_weights })
    }
}

/// What a policy is compiled from.
pub(crate) struct Plan<'a> {
    pub(crate) settings: &'a PolicySettings,
    /// All members of the snapshot, in its order.
    pub(crate) members: &'a [Member],
    /// Those of the level, at least one.
    pub(crate) candidates: &'a [Candidate],
    /// Whether weights follow load, so that this is compiled again and again.
    pub(crate) has_live_weights: bool,
}

struct Row {
    kind: PolicyKind,
    name: &'static str,
    compile: fn(&Plan<'_>) -> Box<dyn Policy>,
}

const TABLE: [Row; 9] = [
    Row { kind: PolicyKind::RoundRobin, name: "round-robin", compile: round_robin::compile },
    Row { kind: PolicyKind::Random, name: "random", compile: random::compile },
    Row { kind: PolicyKind::P2c, name: "p2c", compile: p2c::compile },
    Row { kind: PolicyKind::LeastRequest, name: "least-request", compile: least_request::compile },
    Row { kind: PolicyKind::PeakEwma, name: "peak-ewma", compile: peak_ewma::compile },
    Row { kind: PolicyKind::Prequal, name: "prequal", compile: prequal::compile },
    Row { kind: PolicyKind::RingHash, name: "ring-hash", compile: ring_hash::compile },
    Row { kind: PolicyKind::Maglev, name: "maglev", compile: maglev::compile },
    Row { kind: PolicyKind::Rendezvous, name: "rendezvous", compile: rendezvous::compile },
];

impl PolicyKind {
    /// Every policy, in the order of their variants.
    pub const ALL: [Self; TABLE.len()] = {
        let mut all = [Self::RoundRobin; TABLE.len()];
        let mut place = 0;
        while place < TABLE.len() {
            assert!(TABLE[place].kind as usize == place, "TABLE follows the order of the variants");
            all[place] = TABLE[place].kind;
            place += 1;
        }
        all
    };

    /// The policy that the configuration calls `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.name == name).map(|row| row.kind)
    }

    /// What the configuration calls it.
    pub fn name(self) -> &'static str {
        TABLE[self as usize].name
    }

    /// Whether it looks at how long endpoints take to answer.
    pub(crate) fn is_timed(self) -> bool {
        matches!(self, Self::PeakEwma | Self::Prequal)
    }

    /// Whether it places requests by a key.
    pub fn is_keyed(self) -> bool {
        matches!(self, Self::RingHash | Self::Maglev | Self::Rendezvous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_is_found_by_its_name() {
        for kind in PolicyKind::ALL {
            assert_eq!(PolicyKind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(PolicyKind::from_name("least-loaded"), None);
    }

    #[test]
    fn the_default_is_p2c() {
        assert_eq!(PolicyKind::default().name(), "p2c");
    }
}
