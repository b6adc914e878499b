//! What a scrape reads: the newest configuration's names, and where their numbers stand.
//!
//! Invariants: replaced as a whole by each change of the configuration, so names and numbers always belong together; a
//! scrape that holds an older one reads numbers that still move where their names go on.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;
use isobar_core::Snapshot;

use crate::access_log::LogQueue;
use crate::listener::ListenerShared;
use crate::metrics::WorkerMetrics;
use crate::plan::Plan;

/// See the module's page.
pub(crate) struct Readings {
    pub(crate) plan: Arc<Plan>,
    /// In the order of the plan.
    pub(crate) clusters: Vec<Arc<ArcSwap<Snapshot>>>,
    /// In the order of the plan.
    pub(crate) listeners: Arc<[Arc<ListenerShared>]>,
    /// By worker.
    pub(crate) metrics: Vec<Arc<WorkerMetrics>>,
    pub(crate) log: Option<LogQueue>,
    /// Access log lines that a target refused, over all targets there have been.
    pub(crate) log_lines_refused: Arc<AtomicU64>,
}

impl Readings {
    /// Before the first configuration.
    pub(crate) fn empty(n_workers: usize) -> Self {
        Self {
            plan: Arc::default(),
            clusters: Vec::new(),
            listeners: Arc::from([]),
            metrics: (0..n_workers).map(|_| Arc::default()).collect(),
            log: None,
            log_lines_refused: Arc::default(),
        }
    }
}
