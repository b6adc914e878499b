//! Who takes picks: what each priority gets by its health (see `spill`), and fail-open where too few are healthy.
//!
//! Invariants: what has no weight or drains never counts and never takes picks; an endpoint that has to prove itself
//! first (`initial = "unhealthy"`) does neither before it has been healthy once; a healthy endpoint of a priority without
//! load may still take another attempt. Health is ignored in a priority that is in panic and gets load.

use std::collections::BTreeMap;

use super::spill::{Census, Share, shares};
use crate::{EndpointState, Member};

/// The decision over one set of members.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rotation {
    /// What each priority gets, lowest first.
    shares: Vec<(u32, Share)>,
    /// Endpoints that count, and how many of them are not unhealthy.
    pub(super) n: usize,
    pub(super) n_healthy: usize,
}

fn is_able(member: &Member) -> bool {
    member.endpoint.weight > 0 && member.state != EndpointState::Draining
}

fn is_healthy(member: &Member) -> bool {
    member.state != EndpointState::Unhealthy
}

impl Rotation {
    pub(super) fn of(members: &[Member], proven: &[bool], min_healthy_percent: u8) -> Self {
        let mut levels: BTreeMap<u32, Census> = BTreeMap::new();
        let counted = members.iter().zip(proven).filter(|(member, proven)| **proven && is_able(member));
        for (member, _) in counted {
            let level = levels.entry(member.endpoint.priority).or_default();
            level.n += 1;
            level.n_healthy += usize::from(is_healthy(member));
        }
        let counts: Vec<Census> = levels.values().copied().collect();
        Self {
            n: counts.iter().map(|level| level.n).sum(),
            n_healthy: counts.iter().map(|level| level.n_healthy).sum(),
            shares: levels.into_keys().zip(shares(&counts, min_healthy_percent)).collect(),
        }
    }

    /// Whether health is ignored anywhere.
    pub(super) fn fail_open(&self) -> bool {
        self.shares.iter().any(|(_, share)| ignores_health(*share))
    }

    /// What each priority gets, lowest first, in percent.
    pub(super) fn loads(&self) -> impl Iterator<Item = (u32, u8)> {
        self.shares.iter().map(|(priority, share)| (*priority, share.load))
    }

    /// Whether this member takes picks.
    pub(super) fn admits(&self, member: &Member, proven: bool) -> bool {
        let of_priority = |at: usize| self.shares[at].1;
        let found = self.shares.binary_search_by_key(&member.endpoint.priority, |(priority, _)| *priority);
        let ignored = found.is_ok_and(|at| ignores_health(of_priority(at)));
        is_able(member) && proven && (is_healthy(member) || ignored)
    }
}

fn ignores_health(share: Share) -> bool {
    share.in_panic && share.load > 0
}
