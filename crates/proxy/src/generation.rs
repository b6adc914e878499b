//! A generation: everything that one configuration means to one worker.
//!
//! A worker has a newest generation, and older ones for as long as an exchange that began under them lasts, or a
//! connection of a listener that no later one has. An exchange takes its [`Terms`] when the first byte of its request is
//! there and keeps them to its end, so every index that it uses means the same throughout.
//!
//! Invariants: nothing in a generation changes after it was built, but for what is inside its clusters, counters and
//! log; what has the same identity in the next configuration is the same object there: clusters with their pools,
//! counters, the log's batch. Limits: a tunnel keeps its generation until it ends, since its record is counted and
//! logged by the names of the configuration that it began under; it costs the memory of one plan, and keeps no idle
//! connection, since pools that have no successor are closed at once.

use std::rc::Rc;
use std::sync::{Arc, mpsc};

use arc_swap::ArcSwap;
use isobar_core::Snapshot;
use isobar_tls::Originator;

use crate::access_log::{LogBatch, LogQueue};
use crate::complaints::Complaints;
use crate::h2::Links;
use crate::listener::ListenerShared;
use crate::load_probes::Loads;
use crate::matching::ended;
use crate::metrics::{ListenerCounters, WorkerMetrics};
use crate::plan::{ListenerPlan, Plan, ServicePlan};
use crate::upstream::{IdleLimits, Pool};
use crate::view::ClusterView;
use crate::worker::Worker;

/// A new configuration on its way to a worker.
pub(crate) struct Handover {
    pub(crate) plan: Arc<Plan>,
    /// In the order of the plan.
    pub(crate) clusters: Arc<[ClusterSource]>,
    /// In the order of the plan.
    pub(crate) listeners: Arc<[Arc<ListenerShared>]>,
    /// The worker's own.
    pub(crate) metrics: Arc<WorkerMetrics>,
    pub(crate) log: LogChange,
    /// Its end tells the control side that the worker has taken over.
    pub(crate) _taken: mpsc::Sender<()>,
}

/// Where a cluster of a new generation comes from.
pub(crate) struct ClusterSource {
    pub(crate) published: Arc<ArcSwap<Snapshot>>,
    /// Place of the same cluster in the generation before.
    pub(crate) continues: Option<usize>,
}

/// What becomes of the access log.
#[derive(Clone)]
pub(crate) enum LogChange {
    Keep,
    /// Lines go there from now on; `None`: there is no log.
    Switch(Option<LogQueue>),
}

/// One cluster with the connections that lead to it.
pub(crate) struct Cluster {
    pub(crate) view: ClusterView,
    pub(crate) pool: Pool,
    /// Where its endpoints speak HTTP/2.
    pub(crate) links: Links,
    http2: bool,
    /// With sessions of this worker's own.
    pub(crate) tls: Option<Originator>,
    pub(crate) complaints: Complaints,
    /// Where its policy goes by what endpoints tell.
    pub(crate) loads: Loads,
}

impl Cluster {
    /// Closes what is idle and keeps no connection from now on.
    pub(crate) fn close(&self) {
        self.pool.close();
        self.links.close();
    }
}

/// See the module's page.
pub(crate) struct Generation {
    pub(crate) worker: Rc<Worker>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) clusters: Vec<Rc<Cluster>>,
    pub(crate) metrics: Arc<WorkerMetrics>,
    log: Option<Rc<LogBatch>>,
}

impl Generation {
    /// What a worker has before its first configuration.
    pub(crate) fn empty(worker: &Rc<Worker>) -> Self {
        Self {
            worker: Rc::clone(worker),
            plan: Arc::default(),
            clusters: Vec::new(),
            metrics: Arc::default(),
            log: None,
        }
    }

    /// The generation after this one; what does not go on is told so.
    pub(crate) fn succeed(&self, handover: &Handover) -> Self {
        let log = match &handover.log {
            LogChange::Keep => self.log.clone(),
            LogChange::Switch(queue) => {
                if let Some(log) = &self.log {
                    log.retire();
                }
                let lost = &handover.metrics.log_lines_lost;
                queue.clone().map(|queue| Rc::new(LogBatch::new(queue, Arc::clone(lost))))
            }
        };
        Self {
            worker: Rc::clone(&self.worker),
            plan: Arc::clone(&handover.plan),
            clusters: self.succeed_clusters(handover),
            metrics: Arc::clone(&handover.metrics),
            log,
        }
    }

    fn succeed_clusters(&self, handover: &Handover) -> Vec<Rc<Cluster>> {
        let continued: Vec<_> = handover.clusters.iter().map(|source| source.continues).collect();
        for place in ended(self.clusters.len(), &continued) {
            self.clusters[place].close();
        }
        let sources = handover.clusters.iter().zip(&handover.plan.services);
        sources
            .map(|(source, service)| {
                let limits = self.idle_limits(service);
                if let Some(place) = source.continues {
                    let cluster = &self.clusters[place];
                    if cluster.tls == service.tls && cluster.http2 == service.http2 {
                        cluster.pool.set_limits(limits);
                        cluster.links.set_limits(limits);
                        return Rc::clone(cluster);
                    }
                    // Another protocol or TLS identity must not meet connections that were made under this one.
                    cluster.close();
                }
                let view = ClusterView::new(Arc::clone(&source.published));
                Rc::new(Cluster {
                    view,
                    pool: Pool::new(limits),
                    links: Links::new(limits),
                    http2: service.http2,
                    tls: service.tls.as_ref().map(|tls| tls.for_worker(service.http2)),
                    complaints: Complaints::default(),
                    loads: Loads::default(),
                })
            })
            .collect()
    }

    /// This worker's part of what the service may keep idle.
    fn idle_limits(&self, service: &ServicePlan) -> IdleLimits {
        IdleLimits {
            per_endpoint: service.pool.idle.div_ceil(self.worker.n_workers),
            idle_timeout: service.pool.idle_timeout,
            max_age: service.pool.max_age,
        }
    }

    /// Appends one access log line, where there is a log.
    pub(crate) fn log(&self, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(log) = &self.log {
            log.line(write);
        }
    }

    /// Hands over log lines, takes over published snapshots, closes what has been idle for too long.
    pub(crate) fn keep_house(&self) {
        if let Some(log) = &self.log {
            log.flush();
        }
        let now = self.worker.now();
        for cluster in &self.clusters {
            cluster.view.refresh();
            cluster.pool.sweep(now);
            cluster.links.sweep(now);
        }
    }
}

/// What holds for one exchange: a generation, and the place of the connection's listener in it.
pub(crate) struct Terms {
    pub(crate) generation: Rc<Generation>,
    listener: usize,
}

impl Terms {
    /// `listener` is a position in the generation's plan.
    pub(crate) fn new(generation: &Rc<Generation>, listener: usize) -> Rc<Self> {
        Rc::new(Self { generation: Rc::clone(generation), listener })
    }

    pub(crate) fn worker(&self) -> &Worker {
        &self.generation.worker
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.generation.plan
    }

    /// The settings of the connection's listener.
    pub(crate) fn listener(&self) -> &ListenerPlan {
        &self.generation.plan.listeners[self.listener]
    }

    /// The counters of the connection's listener.
    pub(crate) fn listener_counters(&self) -> &ListenerCounters {
        &self.generation.metrics.listeners[self.listener]
    }
}
