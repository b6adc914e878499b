//! A worker: one thread, one runtime, its own connections, pools, buffers and counters.
//!
//! Invariants: everything in [`Worker`] is reached from its own thread alone; what other threads read (counters, the
//! number of connections, the drain state) is atomic and written with plain stores on the request path.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use isobar_core::{Draw, Instant, Snapshot};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::access_log::{LogBatch, LogQueue};
use crate::buffer::Stock;
use crate::clock::Clock;
use crate::connection::{self, Connection};
use crate::deadlines::Deadlines;
use crate::listener::{Accepted, Acceptor, BoundSocket, ListenerShared};
use crate::metrics::WorkerMetrics;
use crate::plan::Plan;
use crate::scratch::Scratch;
use crate::upstream::{IdleLimits, Pool};
use crate::view::ClusterView;

/// Between two looks at idle connections to endpoints and at published snapshots.
const HOUSEKEEPING: Duration = Duration::from_millis(500);

/// After a drain began, an idle connection has this long to send a request that was already on its way; then it is
/// closed. A request in flight is answered with `connection: close` meanwhile.
pub(crate) const DRAIN_QUIET: Duration = Duration::from_millis(500);

/// Exchanges in stock: enough for a busy moment, little enough to forget after one.
const SCRATCH_MAX: usize = 64;

/// What the other threads tell a worker.
pub(crate) enum Message {
    Connection(Accepted),
    /// Finish what is in flight, take no more.
    Drain,
    /// End, whatever is open.
    Stop,
}

/// The side of a worker that other threads hold.
#[derive(Clone)]
pub(crate) struct WorkerHandle {
    /// Bounded by what it carries: each connection in it holds a descriptor, and those are limited.
    pub(crate) messages: UnboundedSender<Message>,
    /// Open downstream connections.
    pub(crate) n_connections: Arc<AtomicUsize>,
    pub(crate) metrics: Arc<WorkerMetrics>,
}

/// One cluster with the connections that lead to it.
pub(crate) struct Cluster {
    pub(crate) view: ClusterView,
    pub(crate) pool: Pool,
}

/// The state of one worker.
pub(crate) struct Worker {
    /// Its place among the workers, from 0: the shard in which it counts for endpoints.
    pub(crate) number: usize,
    #[expect(
        clippy::redundant_allocation,
        reason = "the outer count is this worker's own; the inner one is shared"
    )]
    pub(crate) plan: Rc<Arc<Plan>>,
    pub(crate) clock: Clock,
    pub(crate) deadlines: Rc<Deadlines>,
    pub(crate) stock: Stock,
    #[expect(clippy::vec_box, reason = "a scratch is large and goes out and back as the box it is")]
    scratch: RefCell<Vec<Box<Scratch>>>,
    pub(crate) clusters: Vec<Cluster>,
    pub(crate) draw: RefCell<Draw>,
    pub(crate) metrics: Arc<WorkerMetrics>,
    log: Option<RefCell<LogBatch>>,
    pub(crate) draining: Cell<bool>,
    n_connections: Arc<AtomicUsize>,
}

/// What a worker is made of.
pub(crate) struct WorkerInputs {
    pub(crate) plan: Arc<Plan>,
    pub(crate) clusters: Vec<Arc<ArcSwap<Snapshot>>>,
    pub(crate) clock: Clock,
    pub(crate) seed: u64,
    /// This worker's place among the workers, from 0.
    pub(crate) number: usize,
    /// Number of workers: idle limits are divided by it.
    pub(crate) n_workers: usize,
    pub(crate) log: Option<LogQueue>,
    pub(crate) handle: WorkerHandle,
    /// The listeners, where this is the only worker.
    pub(crate) acceptors: Vec<(Acceptor, BoundSocket)>,
    /// Held until the last listener closed.
    pub(crate) accepted: std::sync::mpsc::Sender<()>,
}

impl Worker {
    fn new(inputs: WorkerInputs) -> Self {
        let clusters = inputs.clusters.into_iter().zip(&inputs.plan.services);
        let clusters = clusters
            .map(|(published, service)| Cluster {
                view: ClusterView::new(published),
                pool: Pool::new(IdleLimits {
                    per_endpoint: service.pool.idle.div_ceil(inputs.n_workers),
                    idle_timeout: service.pool.idle_timeout,
                    max_age: service.pool.max_age,
                }),
            })
            .collect();
        Self {
            number: inputs.number,
            plan: Rc::new(inputs.plan),
            clock: inputs.clock,
            deadlines: Rc::new(Deadlines::new()),
            stock: Stock::default(),
            scratch: RefCell::default(),
            clusters,
            draw: RefCell::new(Draw::new(inputs.seed)),
            metrics: inputs.handle.metrics,
            log: inputs.log.map(|queue| RefCell::new(LogBatch::new(queue))),
            draining: Cell::new(false),
            n_connections: inputs.handle.n_connections,
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// The memory of an exchange, with its request buffer lent.
    pub(crate) fn take_scratch(&self) -> Box<Scratch> {
        let mut scratch = self.scratch.borrow_mut().pop().unwrap_or_default();
        self.stock.lend(&mut scratch.down);
        scratch
    }

    /// Takes the memory of an exchange back.
    pub(crate) fn return_scratch(&self, mut scratch: Box<Scratch>) {
        self.stock.give_back(&mut scratch.down);
        self.stock.give_back(&mut scratch.up);
        let mut stock = self.scratch.borrow_mut();
        if stock.len() < SCRATCH_MAX && scratch.is_worth_keeping() {
            stock.push(scratch);
        }
    }

    /// Whether access log lines are wanted.
    pub(crate) fn logs(&self) -> bool {
        self.log.is_some()
    }

    /// Appends one access log line.
    pub(crate) fn log(&self, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(log) = &self.log {
            self.count_lost(log.borrow_mut().line(write));
        }
    }

    fn flush_log(&self) {
        if let Some(log) = &self.log {
            self.count_lost(log.borrow_mut().flush());
        }
    }

    fn count_lost(&self, n_lines: u64) {
        if n_lines > 0 {
            self.metrics.log_lines_lost.add(n_lines);
        }
    }

    fn start_connection(self: &Rc<Self>, accepted: Accepted) {
        let presence = Presence::new(self, &accepted.listener);
        if let Some(connection) = Connection::new(self, accepted, presence) {
            tokio::task::spawn_local(connection::serve(connection));
        }
    }

    fn drain(&self) {
        self.draining.set(true);
        self.deadlines.hurry_idle(self.now().after(DRAIN_QUIET));
        for cluster in &self.clusters {
            cluster.pool.clear();
        }
    }

    async fn keep_house(&self) {
        let mut interval = tokio::time::interval(HOUSEKEEPING);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.flush_log();
            let now = self.now();
            for cluster in &self.clusters {
                cluster.view.refresh();
                cluster.pool.sweep(now);
            }
        }
    }
}

/// Runs a worker until it is told to stop.
pub(crate) fn run(mut inputs: WorkerInputs, mut messages: UnboundedReceiver<Message>) -> std::io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    let (acceptors, accepted) = (std::mem::take(&mut inputs.acceptors), inputs.accepted.clone());
    let worker = Rc::new(Worker::new(inputs));
    runtime.block_on(async {
        for (acceptor, socket) in acceptors {
            tokio::task::spawn_local(acceptor.run(socket, accepted.clone()));
        }
        drop(accepted);
        let (driven, kept) = (Rc::clone(&worker), Rc::clone(&worker));
        tokio::task::spawn_local(async move { driven.deadlines.drive(driven.clock).await });
        tokio::task::spawn_local(async move { kept.keep_house().await });
        while let Some(message) = messages.recv().await {
            match message {
                Message::Connection(accepted) => worker.start_connection(accepted),
                Message::Drain => worker.drain(),
                Message::Stop => break,
            }
        }
    });
    // Ends what is still open: their guards report, their pools close.
    drop(runtime);
    worker.flush_log();
    Ok(())
}

/// Counts an open connection for as long as it lives.
pub(crate) struct Presence {
    worker: Rc<Worker>,
    listener: Arc<ListenerShared>,
}

impl Presence {
    fn new(worker: &Rc<Worker>, listener: &Arc<ListenerShared>) -> Self {
        worker.metrics.listeners[listener.index].opened.add(1);
        Self { worker: Rc::clone(worker), listener: Arc::clone(listener) }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.worker.metrics.listeners[self.listener.index].closed.add(1);
        self.worker.n_connections.fetch_sub(1, Ordering::Relaxed);
        self.listener.release();
    }
}
