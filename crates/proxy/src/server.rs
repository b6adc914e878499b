//! The running proxy as the rest of the program holds it: start, watch, drain, end.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use isobar_config::{LogTarget, Settings};
use isobar_core::Snapshot;
use tokio::sync::{mpsc::unbounded_channel, watch};

use crate::access_log::LogWriter;
use crate::clock::Clock;
use crate::exposition;
use crate::listener::{Acceptor, Bound, BoundSocket, ListenerShared};
use crate::metrics::WorkerMetrics;
use crate::plan::Plan;
use crate::worker::{self, Message, WorkerHandle, WorkerInputs};

/// How often `join` looks whether the last connection is gone.
const JOIN_STEP: Duration = Duration::from_millis(10);

/// What a proxy is started from.
pub struct Inputs {
    /// The checked configuration.
    pub settings: Arc<Settings>,
    /// The clusters' published snapshots, in the order of `settings.services`.
    pub clusters: Vec<Arc<ArcSwap<Snapshot>>>,
    /// Worker threads.
    pub workers: NonZeroUsize,
    /// Seed of the workers' generators.
    pub seed: u64,
}

/// Why a proxy could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The access log cannot be written.
    #[error(
        "the access log {target} cannot be opened: {source}; check `access_log.to` and its folder's permissions"
    )]
    AccessLog {
        /// Where it was to go.
        target: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The system gave no thread.
    #[error("a thread could not be started: {0}; check the limits on processes and memory")]
    Thread(#[source] std::io::Error),
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainReport {
    /// Connections that were cut at the end of the grace.
    pub cut: usize,
}

/// A running proxy.
pub struct Proxy {
    pub(crate) plan: Arc<Plan>,
    pub(crate) clusters: Vec<Arc<ArcSwap<Snapshot>>>,
    pub(crate) workers: Arc<[WorkerHandle]>,
    pub(crate) listeners: Vec<Arc<ListenerShared>>,
    closing: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
    /// Ends when every acceptor has closed its socket. In a mutex only so that a proxy can be shared for its metrics.
    accepting: Mutex<mpsc::Receiver<()>>,
    pub(crate) log: Option<LogWriter>,
}

impl Proxy {
    /// Starts the workers and begins to accept.
    pub fn start(inputs: Inputs, bound: Bound) -> Result<Self, StartError> {
        let plan = Arc::new(Plan::compile(&inputs.settings));
        let log = inputs.settings.access_log.as_ref().map(|log| start_log(&log.to)).transpose()?;
        let clock = Clock::start();
        let n_workers = inputs.workers.get();
        let (mut handles, mut waiting) = (Vec::new(), Vec::new());
        for _ in 0..n_workers {
            let (messages, inbox) = unbounded_channel();
            let metrics = WorkerMetrics::new(&plan);
            handles.push(WorkerHandle { messages, n_connections: Arc::new(AtomicUsize::new(0)), metrics });
            waiting.push(inbox);
        }
        let workers: Arc<[WorkerHandle]> = handles.into();
        let (closing, closed) = watch::channel(false);
        let (mut acceptors, mut listeners) = (Vec::new(), Vec::new());
        for (index, socket) in bound.sockets.into_iter().enumerate() {
            let max_open = plan.listeners[index].connections_max;
            let shared = ListenerShared::new(index, socket.unix_path.is_some(), max_open);
            listeners.push(Arc::clone(&shared));
            let acceptor = Acceptor { shared, workers: Arc::clone(&workers), closing: closed.clone() };
            acceptors.push((acceptor, socket));
        }
        let mut threads = Vec::new();
        let (accepted, accepting) = mpsc::channel();
        // With one worker the acceptors run on it; with several they have a thread of their own.
        let mut on_worker = Vec::new();
        if n_workers == 1 {
            on_worker = std::mem::take(&mut acceptors);
        } else {
            let accepted = accepted.clone();
            threads.push(spawn("acceptor".into(), move || accept_all(acceptors, &accepted))?);
        }
        for (index, inbox) in waiting.into_iter().enumerate() {
            let inputs = WorkerInputs {
                plan: Arc::clone(&plan),
                clusters: inputs.clusters.clone(),
                clock,
                seed: inputs.seed.wrapping_add(index as u64),
                number: index,
                n_workers,
                log: log.as_ref().map(LogWriter::queue),
                handle: workers[index].clone(),
                acceptors: std::mem::take(&mut on_worker),
                accepted: accepted.clone(),
            };
            threads.push(spawn(format!("worker-{index}"), move || {
                if let Err(error) = worker::run(inputs, inbox) {
                    tracing::error!(%error, "a worker could not run");
                }
            })?);
        }
        Ok(Self {
            plan,
            clusters: inputs.clusters,
            workers,
            listeners,
            closing,
            threads,
            accepting: Mutex::new(accepting),
            log,
        })
    }

    /// Appends the metrics as `OpenMetrics` text, without the final `# EOF`.
    pub fn render_metrics(&self, out: &mut String) {
        exposition::render(self, out);
    }

    /// Opens the access log's file again, for log rotation.
    pub fn reopen_access_log(&self) {
        if let Some(log) = &self.log {
            log.reopen();
        }
    }

    /// Stops listening and lets the workers finish what is in flight; returns at once.
    pub fn drain(&self) {
        self.closing.send_replace(true);
        for worker in &*self.workers {
            if worker.messages.send(Message::Drain).is_err() {
                tracing::error!("a worker ended before it was drained");
            }
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        *self.closing.borrow()
    }

    /// Downstream connections that are open.
    pub fn open_connections(&self) -> usize {
        self.workers.iter().map(|worker| worker.n_connections.load(Ordering::Relaxed)).sum()
    }

    /// Waits until the last connection is gone or `grace` is over, then ends the workers; call `drain` first.
    pub fn join(self, grace: Duration) -> DrainReport {
        let end = Instant::now() + grace;
        // The kernel's queues are emptied into the workers before the count means anything.
        {
            let accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner);
            while accepting.recv_timeout(end.saturating_duration_since(Instant::now())).is_ok() {}
        }
        while self.open_connections() > 0 && Instant::now() < end {
            std::thread::sleep(JOIN_STEP);
        }
        let cut = self.open_connections();
        for worker in &*self.workers {
            if worker.messages.send(Message::Stop).is_err() {
                tracing::error!("a worker ended before it was stopped");
            }
        }
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the proxy panicked");
            }
        }
        if let Some(log) = self.log {
            log.stop();
        }
        DrainReport { cut }
    }
}

fn start_log(target: &LogTarget) -> Result<LogWriter, StartError> {
    LogWriter::start(target).map_err(|source| {
        let target = match target {
            LogTarget::Stdout => "stdout".to_owned(),
            LogTarget::File(path) => path.display().to_string(),
        };
        StartError::AccessLog { target, source }
    })
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StartError> {
    std::thread::Builder::new().name(name).spawn(run).map_err(StartError::Thread)
}

/// The acceptors' own thread; `accepted` is held until the last one closed its socket.
fn accept_all(acceptors: Vec<(Acceptor, BoundSocket)>, accepted: &mpsc::Sender<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the acceptors' runtime could not start");
            return;
        }
    };
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for (acceptor, socket) in acceptors {
            tasks.spawn(acceptor.run(socket, accepted.clone()));
        }
        while tasks.join_next().await.is_some() {}
    });
}
