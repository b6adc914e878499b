//! A change of the configuration, from the control side: all of it or nothing.
//!
//! ```text
//! compile -> bind added listeners -> open another log -> hand over to every worker -> accept on the added ones
//!            `----------- may fail: nothing has changed ----------'                     close the removed ones
//! ```
//!
//! Invariants: everything that can fail comes before everything that has an effect; names decide which counters go on,
//! identities (see `matching.rs`) which sockets, connections and pools do; a worker learns of a listener before its
//! first connection and of its removal before its socket closes, since both come through the same mailbox.
//! Limits: the workers take over one after the other, so for a moment two configurations serve side by side, each
//! request under one of them.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use isobar_config::Settings;
use isobar_core::{Address, Snapshot};
use isobar_tls::TlsSet;

use crate::access_log::LogError;
use crate::bind::{BindErrors, Bound};
use crate::control::{Control, PreparedLog};
use crate::generation::{ClusterSource, Handover};
use crate::matching::continued;
use crate::metrics::Continuity;
use crate::plan::Plan;
use crate::readings::Readings;
use crate::server::Proxy;
use crate::worker::Message;

/// How long `apply` waits until every worker has taken over and the sockets of removed listeners are closed, so that
/// its caller meets the new configuration and the next change may bind their addresses. Both take one turn of an event
/// loop, or the pause of an acceptor that ran out of descriptors; what takes longer happens without being waited for.
const SETTLE_WAIT: Duration = Duration::from_secs(1);

/// A new configuration.
pub struct Update {
    /// The checked configuration; `runtime` and `admin` are the caller's business, but for `trusted_proxies`.
    pub settings: Arc<Settings>,
    /// The clusters' published snapshots, in the order of `settings.services`. A cluster is the same as before, and
    /// its connections stay, if both its service's name and this pointer are.
    pub clusters: Vec<Arc<ArcSwap<Snapshot>>>,
    /// What speaks TLS, made of the same settings.
    pub tls: TlsSet,
}

/// What a change did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Names and real addresses of listeners that are new.
    pub added: Vec<(String, Address)>,
    /// Names of listeners that accept no more; their requests in flight finish.
    pub removed: Vec<String>,
}

/// Why a configuration was not taken over; nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The proxy is on its way to its end.
    #[error("the proxy is draining and takes no new configuration: start another process with it")]
    Draining,
    /// Added listeners could not be bound.
    #[error(transparent)]
    Bind(#[from] BindErrors),
    /// The access log's new target cannot be written.
    #[error(transparent)]
    AccessLog(#[from] LogError),
}

impl Proxy {
    /// Takes over a new configuration; all or nothing. Returns when the workers have taken over and the sockets of
    /// removed listeners are closed; a worker that is busy for longer than a second takes over later.
    ///
    /// Every request that begins after it is served under the new configuration, on kept connections too; a request in
    /// flight finishes under the one that it began with. Waits that have begun (for the next request of a kept
    /// connection) keep their end.
    ///
    /// Blocks: it may look up the names of added listeners.
    pub fn apply(&self, update: Update) -> Result<Applied, ApplyError> {
        let mut control = self.control();
        if control.draining {
            return Err(ApplyError::Draining);
        }
        let bound = control.bind_added(&update.settings.listeners)?;
        let log = control.prepare_log(&update.settings, &self.readings.load().log_lines_refused)?;
        Ok(self.commit(&mut control, update, bound, log))
    }

    /// The part that cannot fail; `bound` are the listeners that are new, in order.
    pub(crate) fn commit(
        &self,
        control: &mut Control,
        update: Update,
        bound: Bound,
        log: PreparedLog,
    ) -> Applied {
        let before = self.readings.load_full();
        let plan = Arc::new(Plan::compile(&update.settings, &update.tls));
        let added = bound.addresses();
        let seating = control.seat(&update.settings, &plan, bound, &self.workers);
        let listeners = control.listeners();
        let continuity = Continuity::between(&before.plan, &plan);
        let metrics: Vec<_> = before.metrics.iter().map(|metrics| metrics.next(&continuity)).collect();
        let clusters = cluster_sources(&before, &plan, &update.clusters);
        let log = control.switch_log(log);
        let (taken, takeover) = mpsc::channel();
        for (worker, metrics) in self.workers.iter().zip(&metrics) {
            worker.tell(Message::Handover(Box::new(Handover {
                plan: Arc::clone(&plan),
                clusters: Arc::clone(&clusters),
                listeners: Arc::clone(&listeners),
                metrics: Arc::clone(metrics),
                log: log.clone(),
                _taken: taken.clone(),
            })));
        }
        drop(taken);
        self.readings.store(Arc::new(Readings {
            plan,
            clusters: update.clusters,
            listeners,
            metrics,
            log: control.log_queue(),
            log_lines_refused: Arc::clone(&before.log_lines_refused),
        }));
        for acceptor in seating.acceptors {
            control.start(acceptor, &self.workers);
        }
        let end = Instant::now() + SETTLE_WAIT;
        let removed = control.close(seating.removed, end);
        // Nobody sends: this ends when the last worker has dropped its handover.
        if takeover.recv_timeout(end.saturating_duration_since(Instant::now()))
            == Err(mpsc::RecvTimeoutError::Timeout)
        {
            tracing::warn!("a worker is busy and takes over the new configuration later");
        }
        Applied { added, removed }
    }
}

/// Where each cluster of the new plan comes from.
fn cluster_sources(
    before: &Readings,
    plan: &Plan,
    published: &[Arc<ArcSwap<Snapshot>>],
) -> Arc<[ClusterSource]> {
    fn identities<'a>(
        plan: &'a Plan,
        published: &[Arc<ArcSwap<Snapshot>>],
    ) -> Vec<(&'a str, *const ArcSwap<Snapshot>)> {
        let names = plan.services.iter().map(|service| &*service.name);
        names.zip(published.iter().map(Arc::as_ptr)).collect()
    }
    debug_assert_eq!(plan.services.len(), published.len(), "every service has a cluster");
    let continued = continued(&identities(&before.plan, &before.clusters), &identities(plan, published));
    published
        .iter()
        .zip(continued)
        .map(|(published, continues)| ClusterSource { published: Arc::clone(published), continues })
        .collect()
}
