//! What happens to a cluster, in the past tense; the shell makes each one log line, one metric and one message.

use std::sync::Arc;

/// Something that happened to a cluster.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ClusterEvent {
    /// The endpoint's id; `None` for what happened to the cluster as a whole.
    pub id: Option<Arc<str>>,
    /// What happened.
    pub kind: EventKind,
    /// Why, for people; empty where the kind says it all.
    pub reason: Arc<str>,
}

/// The kinds of events.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum EventKind {
    /// An id that was not there before.
    Added,
    /// An id that is no longer there.
    Removed,
    /// The same id at another address: a new generation, its numbers start over.
    Readdressed,
    /// The same id and address with another weight, priority, zone or metadata; its numbers go on.
    Changed,
    /// Two sources name the id; the first in written order stays.
    DuplicateDropped,
    /// Probes pass.
    Healthy,
    /// Probes or connections fail.
    Unhealthy,
    /// It takes no new picks.
    Draining,
    /// It takes picks again.
    Undrained,
    /// An answer without the endpoint, among too many losses at once, is not believed yet.
    LossHeld,
    /// Too few endpoints are healthy, so health is ignored.
    FailOpenBegan,
    /// Enough are healthy again.
    FailOpenEnded,
}

impl EventKind {
    /// Every kind, in the order of the variants.
    pub const ALL: [Self; 12] = [
        Self::Added,
        Self::Removed,
        Self::Readdressed,
        Self::Changed,
        Self::DuplicateDropped,
        Self::Healthy,
        Self::Unhealthy,
        Self::Draining,
        Self::Undrained,
        Self::LossHeld,
        Self::FailOpenBegan,
        Self::FailOpenEnded,
    ];

    /// The name in logs, metrics and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Readdressed => "readdressed",
            Self::Changed => "changed",
            Self::DuplicateDropped => "duplicate-dropped",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Draining => "draining",
            Self::Undrained => "undrained",
            Self::LossHeld => "loss-held",
            Self::FailOpenBegan => "fail-open-began",
            Self::FailOpenEnded => "fail-open-ended",
        }
    }
}

impl ClusterEvent {
    pub(crate) fn of(id: &Arc<str>, kind: EventKind) -> Self {
        Self { id: Some(id.clone()), kind, reason: "".into() }
    }

    pub(crate) fn because(id: &Arc<str>, kind: EventKind, reason: impl Into<Arc<str>>) -> Self {
        Self { id: Some(id.clone()), kind, reason: reason.into() }
    }

    pub(crate) fn whole(kind: EventKind, reason: impl Into<Arc<str>>) -> Self {
        Self { id: None, kind, reason: reason.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_place_and_a_name_of_its_own() {
        let mut names: Vec<_> = EventKind::ALL.iter().map(|kind| kind.name()).collect();
        assert!(EventKind::ALL.iter().enumerate().all(|(place, kind)| *kind as usize == place));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), EventKind::ALL.len());
    }
}
