//! The one place where an event of a cluster becomes a log line, a count and a message to whoever listens.
//!
//! Invariant: a listener that does not read costs nothing but the [`BACKLOG`] that all share; it learns how many events
//! it missed.

use std::sync::Arc;
use std::time::SystemTime;

use isobar_core::{ClusterEvent, EventKind};
use tokio::sync::broadcast;
use tracing::{debug, info, warn};

use crate::metrics::EventCounts;

/// Events kept for listeners that are behind: a deployment of a thousand endpoints passes through, and a listener
/// that is further behind reads the state anew.
const BACKLOG: usize = 4096;

/// Something that happened, as the admin interface tells it.
#[derive(Debug, Clone)]
pub struct Notice {
    /// When.
    pub at: SystemTime,
    /// The service; `None` for what concerns the whole process.
    pub service: Option<Arc<str>>,
    /// The endpoint's id, where it concerns one.
    pub endpoint: Option<Arc<str>>,
    /// What: the name of an [`EventKind`], or one of the process's own.
    pub event: &'static str,
    /// Why, for people; empty where the name says it all.
    pub reason: Arc<str>,
}

/// Whether an event is news: at a start, additions are expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    Start,
    Update,
}

/// Tells events.
#[derive(Debug, Clone)]
pub struct Journal(broadcast::Sender<Arc<Notice>>);

impl Default for Journal {
    fn default() -> Self {
        Self(broadcast::channel(BACKLOG).0)
    }
}

impl Journal {
    /// Everything that is told from now on.
    pub fn listen(&self) -> broadcast::Receiver<Arc<Notice>> {
        self.0.subscribe()
    }

    /// Tells listeners of something that concerns the whole process; logging it is the caller's business.
    pub fn tell_process(&self, event: &'static str, reason: &str) {
        self.send(Notice {
            at: SystemTime::now(),
            service: None,
            endpoint: None,
            event,
            reason: reason.into(),
        });
    }

    /// Logs, counts and tells an event of a cluster.
    pub(crate) fn tell(
        &self,
        service: &Arc<str>,
        event: &ClusterEvent,
        counts: &EventCounts,
        occasion: Occasion,
    ) {
        counts.count(event.kind);
        log(service, event, occasion);
        self.send(Notice {
            at: SystemTime::now(),
            service: Some(Arc::clone(service)),
            endpoint: event.id.clone(),
            event: event.kind.name(),
            reason: event.reason.clone(),
        });
    }

    fn send(&self, notice: Notice) {
        // Without a listener there is nobody to tell.
        let _ = self.0.send(Arc::new(notice));
    }
}

fn log(service: &str, event: &ClusterEvent, occasion: Occasion) {
    let (endpoint, reason) = (event.id.as_deref(), Some(&*event.reason).filter(|reason| !reason.is_empty()));
    let text = sentence(event.kind);
    match event.kind {
        EventKind::Added if occasion == Occasion::Start => debug!(service, endpoint, reason, "{text}"),
        EventKind::DuplicateDropped
        | EventKind::Unhealthy
        | EventKind::LossHeld
        | EventKind::FailOpenBegan => {
            warn!(service, endpoint, reason, "{text}");
        }
        _ => info!(service, endpoint, reason, "{text}"),
    }
}

fn sentence(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Added => "endpoint added",
        EventKind::Removed => "endpoint removed",
        EventKind::Readdressed => "endpoint has a new address",
        EventKind::Changed => "endpoint changed",
        EventKind::DuplicateDropped => "two endpoints have the same id: only the first is used",
        EventKind::Healthy => "endpoint healthy",
        EventKind::Unhealthy => "endpoint unhealthy",
        EventKind::Draining => "endpoint drains: it takes no new requests",
        EventKind::Undrained => "endpoint takes requests again",
        EventKind::LossHeld => "endpoint kept for a while although its name no longer answers it",
        EventKind::FailOpenBegan => "too few endpoints are healthy: health is ignored",
        EventKind::FailOpenEnded => "enough endpoints are healthy again: health counts",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_listener_that_is_behind_learns_how_much_it_missed_and_goes_on() {
        let journal = Journal::default();
        let mut listener = journal.listen();
        for _ in 0..BACKLOG + 3 {
            journal.tell_process("configuration-applied", "");
        }
        let missed = listener.recv().await.unwrap_err();
        assert_eq!(missed, broadcast::error::RecvError::Lagged(3));
        assert_eq!(listener.recv().await.unwrap().event, "configuration-applied");
    }
}
