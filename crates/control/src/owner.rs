//! The task that owns one cluster, and the handle through which the rest of the program reaches it.
//!
//! Invariants: the first snapshot is published before the handle exists, so no reader ever waits for one; after a
//! change the newest state is published within [`PUBLICATION_GAP`]; two publications are never closer than that.
//!
//! The task ends when every handle is gone; the snapshot it published last stays readable.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use isobar_core::{
    Cluster, ClusterEvent, ClusterSettings, Endpoint, EventKind, Found, PolicyKind, Snapshot, SourceSet,
};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::graveyard::Graveyard;
use crate::metrics::EventCounts;

/// Updates that may wait for an owner. An owner folds one in microseconds, so more than a few waiting means that a
/// source sends faster than anything can use; it then waits for room.
pub const MAILBOX_LEN: usize = 16;

/// The least time between two publications: each makes every worker refresh its view, and a deployment that replaces
/// a thousand endpoints one by one should cost a hundred refreshes a second, not a thousand.
pub const PUBLICATION_GAP: Duration = Duration::from_millis(10);

/// How often replaced snapshots are looked at while some are still held.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// What an owner is told.
enum Message {
    /// The full set of endpoints, in order.
    Endpoints(Vec<Endpoint>),
}

/// The owner's task has ended, so its cluster changes no more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("service \"{service}\": its cluster has no owner any more; the last snapshot stays in use")]
pub struct OwnerGone {
    /// The cluster's service.
    pub service: String,
}

/// A way to one cluster: its published snapshots, and its owner's mailbox.
#[derive(Clone)]
pub struct ClusterHandle {
    service: Arc<str>,
    published: Arc<ArcSwap<Snapshot>>,
    mailbox: mpsc::Sender<Message>,
    events: Arc<EventCounts>,
}

impl ClusterHandle {
    /// Name of the service.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The place where snapshots are published.
    pub fn published(&self) -> Arc<ArcSwap<Snapshot>> {
        Arc::clone(&self.published)
    }

    /// How often each kind of event happened.
    pub(crate) fn events(&self) -> &EventCounts {
        &self.events
    }

    /// Hands the owner a full set of endpoints; waits for room in its mailbox, not for the publication.
    ///
    /// # Errors
    ///
    /// Fails when the owner's task has ended, as it does while the program stops.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, nothing was sent.
    pub async fn set_endpoints(&self, endpoints: Vec<Endpoint>) -> Result<(), OwnerGone> {
        self.mailbox
            .send(Message::Endpoints(endpoints))
            .await
            .map_err(|_| OwnerGone { service: self.service.to_string() })
    }
}

/// Publishes the first snapshot of a cluster and starts its owner on the current runtime.
pub fn spawn(service: &str, policy: PolicyKind, n_shards: usize, endpoints: Vec<Endpoint>) -> ClusterHandle {
    let settings = ClusterSettings { policy, ..ClusterSettings::default() };
    let mut cluster = Cluster::new(service, settings, n_shards, 0);
    let events = Arc::new(EventCounts::default());
    cluster.set_sources(configured(endpoints), isobar_core::Instant(0));
    while let Some(event) = cluster.poll_event() {
        announce(service, &event, &events, Occasion::Start);
    }
    let published = Arc::new(ArcSwap::from_pointee(cluster.snapshot()));
    let (sender, mailbox) = mpsc::channel(MAILBOX_LEN);
    let owner = Owner {
        service: service.into(),
        cluster,
        published: Arc::clone(&published),
        graveyard: Graveyard::new(),
        events: Arc::clone(&events),
        changed: false,
        next_publication: Instant::now() + PUBLICATION_GAP,
    };
    tokio::spawn(owner.run(mailbox));
    ClusterHandle { service: service.into(), published, mailbox: sender, events }
}

struct Owner {
    service: Arc<str>,
    cluster: Cluster,
    published: Arc<ArcSwap<Snapshot>>,
    graveyard: Graveyard<Snapshot>,
    events: Arc<EventCounts>,
    /// Whether the cluster has changed since the last publication.
    changed: bool,
    /// No publication before this.
    next_publication: Instant,
}

impl Owner {
    async fn run(mut self, mut mailbox: mpsc::Receiver<Message>) {
        let mut sweeps = tokio::time::interval(SWEEP_INTERVAL);
        sweeps.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // Publication first: a source that never pauses must not put it off.
                biased;
                () = tokio::time::sleep_until(self.next_publication), if self.changed => self.publish(),
                _ = sweeps.tick(), if !self.graveyard.is_empty() => self.graveyard.sweep(),
                message = mailbox.recv() => match message {
                    Some(message) => self.handle_message(message),
                    None => break,
                },
            }
        }
        if self.changed {
            self.publish();
        }
    }

    fn handle_message(&mut self, message: Message) {
        match message {
            Message::Endpoints(endpoints) => {
                self.cluster.set_sources(configured(endpoints), isobar_core::Instant(0));
                while let Some(event) = self.cluster.poll_event() {
                    announce(&self.service, &event, &self.events, Occasion::Update);
                }
                self.changed |= self.cluster.take_change();
            }
        }
    }

    fn publish(&mut self) {
        let replaced = self.published.swap(Arc::new(self.cluster.snapshot()));
        self.graveyard.bury(replaced);
        self.changed = false;
        self.next_publication = Instant::now() + PUBLICATION_GAP;
    }
}

/// When an event happened: at start additions are expected, afterwards each is news.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Occasion {
    Start,
    Update,
}

/// The endpoints of the configuration as a source.
fn configured(endpoints: Vec<Endpoint>) -> Vec<SourceSet> {
    let found = endpoints.into_iter().map(|endpoint| Found { endpoint, inferred: None });
    vec![SourceSet { name: "configuration".into(), found: found.collect() }]
}

/// The one place where an event of a cluster becomes a log line and a count.
fn announce(service: &str, event: &ClusterEvent, counts: &EventCounts, occasion: Occasion) {
    counts.count(event.kind);
    let (event_name, endpoint, reason) =
        (event.kind.name(), event.id.as_deref().unwrap_or_default(), &*event.reason);
    match event.kind {
        EventKind::Added if occasion == Occasion::Start => {
            debug!(service, endpoint, reason, "endpoint {event_name}");
        }
        EventKind::DuplicateDropped
        | EventKind::Unhealthy
        | EventKind::LossHeld
        | EventKind::FailOpenBegan => {
            warn!(service, endpoint, reason, "endpoint {event_name}");
        }
        _ => info!(service, endpoint, reason, "endpoint {event_name}"),
    }
}

#[cfg(test)]
#[path = "owner_tests.rs"]
pub(crate) mod tests;
