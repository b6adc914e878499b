//! Who takes picks: the priority that is sound, and fail-open where none is.
//!
//! A priority is sound when at least one of its endpoints and at least the configured share of them is not unhealthy.
//! Traffic goes to the first sound priority; those before it are passed over, since the few that are left there would
//! take what the whole priority was sized for. Where no priority is sound the probes are likelier wrong than the
//! endpoints: health is ignored from the first priority on that has anybody left, or from the first of all.
//!
//! Invariants: what has no weight or drains never counts and never takes picks; an endpoint that has to prove itself
//! first (`initial = "unhealthy"`) does neither before it has been healthy once. Limit: a priority takes all of the
//! traffic or none.

use std::collections::BTreeMap;

use crate::{EndpointState, Member};

/// The decision over one set of members.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rotation {
    /// The first priority that takes part.
    first: u32,
    /// Health is ignored.
    pub(super) fail_open: bool,
    /// Endpoints that count, and how many of them are not unhealthy.
    pub(super) n: usize,
    pub(super) n_healthy: usize,
}

/// Endpoints of one priority that count, and how many of them are not unhealthy.
#[derive(Clone, Copy, Default)]
struct Level {
    n: usize,
    n_healthy: usize,
}

impl Level {
    fn is_sound(self, min_healthy_percent: u8) -> bool {
        self.n_healthy > 0 && self.n_healthy * 100 >= self.n * usize::from(min_healthy_percent)
    }
}

fn is_able(member: &Member) -> bool {
    member.endpoint.weight > 0 && member.state != EndpointState::Draining
}

fn is_healthy(member: &Member) -> bool {
    member.state != EndpointState::Unhealthy
}

impl Rotation {
    pub(super) fn of(members: &[Member], proven: &[bool], min_healthy_percent: u8) -> Self {
        let mut levels: BTreeMap<u32, Level> = BTreeMap::new();
        let counted = members.iter().zip(proven).filter(|(member, proven)| **proven && is_able(member));
        for (member, _) in counted {
            let level = levels.entry(member.endpoint.priority).or_default();
            level.n += 1;
            level.n_healthy += usize::from(is_healthy(member));
        }
        let first = |fits: &dyn Fn(Level) -> bool| {
            levels.iter().find(|(_, level)| fits(**level)).map(|(priority, _)| *priority)
        };
        let sound = first(&|level| level.is_sound(min_healthy_percent));
        Self {
            first: sound.or_else(|| first(&|level| level.n_healthy > 0)).unwrap_or(0),
            fail_open: sound.is_none() && !levels.is_empty(),
            n: levels.values().map(|level| level.n).sum(),
            n_healthy: levels.values().map(|level| level.n_healthy).sum(),
        }
    }

    /// Whether this member takes picks.
    pub(super) fn admits(&self, member: &Member, proven: bool) -> bool {
        let is_in_use = member.endpoint.priority >= self.first;
        is_able(member) && is_in_use && proven && (self.fail_open || is_healthy(member))
    }
}
