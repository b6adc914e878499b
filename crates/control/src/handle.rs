//! The handle through which the rest of the program reaches a cluster: its snapshots, its owner's mailbox, its reports.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use isobar_config::ServiceSettings;
use isobar_core::{Edit, EditError, Snapshot};
use isobar_discovery::{Feed, Found};
use tokio::sync::{mpsc, oneshot};

use crate::metrics::EventCounts;
use crate::owner::Message;
use crate::sources::{FollowedFile, SourceReport, report};

/// The owner's task has ended, so its cluster changes no more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("service \"{service}\": its cluster has no owner any more; the last snapshot stays in use")]
pub struct OwnerGone {
    /// The cluster's service.
    pub service: String,
}

/// What the owner and its handles share besides snapshots.
pub(crate) struct Shared {
    pub(crate) events: EventCounts,
    probes_passed: AtomicU64,
    probes_failed: AtomicU64,
    agents_answered: AtomicU64,
    agents_silent: AtomicU64,
    /// Read by reports, written at a reload; never on a request's path.
    sources: Mutex<Vec<(Arc<str>, Feed<Found>)>>,
    /// Endpoints that an operator removed; as the sources.
    removed: Mutex<Vec<Arc<str>>>,
}

impl Shared {
    pub(crate) fn new(sources: Vec<(Arc<str>, Feed<Found>)>) -> Self {
        Self {
            events: EventCounts::default(),
            probes_passed: AtomicU64::new(0),
            probes_failed: AtomicU64::new(0),
            agents_answered: AtomicU64::new(0),
            agents_silent: AtomicU64::new(0),
            sources: Mutex::new(sources),
            removed: Mutex::default(),
        }
    }

    pub(crate) fn count_probe(&self, passed: bool) {
        let count = if passed { &self.probes_passed } else { &self.probes_failed };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_agent(&self, answered: bool) {
        let count = if answered { &self.agents_answered } else { &self.agents_silent };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn set_removed<'a>(&self, removed: impl Iterator<Item = &'a Arc<str>> + Clone) {
        let mut known = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.iter().eq(removed.clone()) {
            *known = removed.cloned().collect();
        }
    }

    pub(crate) fn set_sources(&self, sources: Vec<(Arc<str>, Feed<Found>)>) {
        *self.sources.lock().unwrap_or_else(PoisonError::into_inner) = sources;
    }
}

/// A way to one cluster: its published snapshots, and its owner's mailbox.
#[derive(Clone)]
pub struct ClusterHandle {
    pub(crate) service: Arc<str>,
    pub(crate) published: Arc<ArcSwap<Snapshot>>,
    pub(crate) mailbox: mpsc::Sender<Message>,
    pub(crate) shared: Arc<Shared>,
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

    /// The snapshot that is published now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.published.load_full()
    }

    /// What its sources say of themselves, in written order.
    pub fn sources(&self) -> Vec<SourceReport> {
        let sources = self.shared.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.iter().map(|(name, feed)| report(name, feed)).collect()
    }

    /// The endpoints that sources name and an operator removed, by id.
    pub fn removed(&self) -> Vec<Arc<str>> {
        self.shared.removed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often each kind of event happened.
    pub(crate) fn events(&self) -> &EventCounts {
        &self.shared.events
    }

    /// Probes that passed, and that failed.
    pub(crate) fn probes(&self) -> (u64, u64) {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (of(&self.shared.probes_passed), of(&self.shared.probes_failed))
    }

    /// Questions to agents that were answered in words that are understood, and the others.
    pub(crate) fn agents(&self) -> (u64, u64) {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (of(&self.shared.agents_answered), of(&self.shared.agents_silent))
    }

    /// Hands the owner other settings of the service, with the files that are newly discovered; waits for room in its
    /// mailbox.
    ///
    /// # Errors
    ///
    /// Fails when the owner's task has ended, as it does while the program stops.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, nothing was sent.
    pub(crate) async fn configure(
        &self,
        settings: ServiceSettings,
        files: Vec<FollowedFile>,
    ) -> Result<Configured, OwnerGone> {
        let (answer, answered) = oneshot::channel();
        let message = Message::Configure(Box::new(settings), files, answer);
        self.mailbox.send(message).await.map_err(|_| self.gone())?;
        Ok(Configured { service: Arc::clone(&self.service), answered })
    }

    /// Hands the owner a change by an operator and waits until it is published or refused.
    ///
    /// # Errors
    ///
    /// The outer error says that the owner's task has ended; the inner one why the change is refused.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, the change may or may not be made.
    pub async fn edit(&self, edit: Edit) -> Result<Result<(), EditError>, OwnerGone> {
        let (answer, answered) = oneshot::channel();
        self.mailbox.send(Message::Edit(edit, answer)).await.map_err(|_| self.gone())?;
        answered.await.map_err(|_| self.gone())
    }

    fn gone(&self) -> OwnerGone {
        OwnerGone { service: self.service.to_string() }
    }
}

/// Settings on their way into force.
pub(crate) struct Configured {
    service: Arc<str>,
    answered: oneshot::Receiver<()>,
}

impl Configured {
    /// Waits until a snapshot with them is published; fails where the owner's task ended first.
    pub(crate) async fn in_force(self) -> Result<(), OwnerGone> {
        self.answered.await.map_err(|_| OwnerGone { service: self.service.to_string() })
    }
}
