//! The running proxy as the rest of the program holds it: start, watch, drain, end. Changes are in `apply.rs`.
//!
//! Invariant: a start is a change from an empty configuration, so that a part that was there from the beginning and one
//! that came later differ in nothing.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use isobar_config::Settings;
use isobar_core::Snapshot;
use isobar_tls::TlsSet;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::access_log::LogError;
use crate::apply::Update;
use crate::bind::Bound;
use crate::clock::Clock;
use crate::control::Control;
use crate::exposition;
use crate::listener::Acceptor;
use crate::readings::Readings;
use crate::worker::{self, Message, WorkerHandle, WorkerInputs};

/// How long the last lines of the access log may take after the grace is over: a disk needs less, a reader that has
/// stopped would hold the process for ever.
const LOG_PATIENCE: Duration = Duration::from_secs(2);

/// How often `join` looks whether the last connection is gone.
const JOIN_STEP: Duration = Duration::from_millis(10);

/// What a proxy is started from.
pub struct Inputs {
    /// The checked configuration.
    pub settings: Arc<Settings>,
    /// The clusters' published snapshots, in the order of `settings.services`.
    pub clusters: Vec<Arc<ArcSwap<Snapshot>>>,
    /// What speaks TLS, made of the same settings.
    pub tls: TlsSet,
    /// Worker threads.
    pub workers: NonZeroUsize,
    /// Seed of the workers' generators.
    pub seed: u64,
}

/// Why a proxy could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The access log cannot be written.
    #[error(transparent)]
    AccessLog(#[from] LogError),
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
    pub(crate) workers: Arc<[WorkerHandle]>,
    pub(crate) readings: ArcSwap<Readings>,
    /// One change at a time; no request and no scrape waits for it.
    pub(crate) control: Mutex<Control>,
    threads: Vec<JoinHandle<()>>,
}

impl Proxy {
    /// Starts the workers and begins to accept.
    pub fn start(inputs: Inputs, bound: Bound) -> Result<Self, StartError> {
        let n_workers = inputs.workers.get();
        let readings = Readings::empty(n_workers);
        let mut control = Control::empty();
        let log = control.prepare_log(&inputs.settings, &readings.log_lines_refused)?;
        let mut threads = Vec::new();
        let workers = start_workers(n_workers, inputs.seed, &mut threads)?;
        // With one worker the acceptors run on it; with several they have a thread of their own.
        if n_workers > 1 {
            let (acceptors, inbox) = unbounded_channel();
            threads.push(spawn("acceptor".into(), move || accept_all(inbox))?);
            control.acceptors = Some(acceptors);
        }
        let update = Update { settings: inputs.settings, clusters: inputs.clusters, tls: inputs.tls };
        let proxy = Self {
            workers,
            readings: ArcSwap::from_pointee(readings),
            control: Mutex::new(control),
            threads,
        };
        proxy.commit(&mut proxy.control(), update, bound, log);
        Ok(proxy)
    }

    pub(crate) fn control(&self) -> std::sync::MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends the metrics as `OpenMetrics` text, without the final `# EOF`.
    pub fn render_metrics(&self, out: &mut String) {
        exposition::render(&self.readings.load_full(), out);
    }

    /// Opens the access log's file again, for log rotation.
    pub fn reopen_access_log(&self) {
        if let Some(log) = &self.readings.load_full().log {
            log.reopen();
        }
    }

    /// Stops listening and lets the workers finish what is in flight; returns at once, or after a change that is being
    /// applied. No change is applied after it.
    pub fn drain(&self) {
        let mut control = self.control();
        control.draining = true;
        // The workers first: once a listener has closed they forget it, and must not before they know what that means.
        for worker in &*self.workers {
            worker.tell(Message::Drain);
        }
        for listener in &*self.readings.load().listeners {
            listener.close();
        }
    }

    /// Downstream connections that are open.
    pub fn open_connections(&self) -> usize {
        self.workers.iter().map(|worker| worker.n_connections.load(Ordering::Relaxed)).sum()
    }

    /// Waits until the last connection is gone or `grace` is over, then ends the workers; call `drain` first.
    pub fn join(self, grace: Duration) -> DrainReport {
        let end = Instant::now() + grace;
        // The kernel's queues are emptied into the workers before the count means anything.
        self.control().await_closed(end);
        while self.open_connections() > 0 && Instant::now() < end {
            std::thread::sleep(JOIN_STEP);
        }
        let cut = self.open_connections();
        for worker in &*self.workers {
            worker.tell(Message::Stop);
        }
        let Self { readings, control, threads, .. } = self;
        let mut control = control.into_inner().unwrap_or_else(PoisonError::into_inner);
        // The acceptors' thread ends when nobody can send it another.
        control.acceptors = None;
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the proxy panicked");
            }
        }
        // It holds the last queue to the access log that is not the control side's.
        drop(readings);
        control.finish_logs(end.max(Instant::now() + LOG_PATIENCE));
        DrainReport { cut }
    }
}

fn start_workers(
    n_workers: usize,
    seed: u64,
    threads: &mut Vec<JoinHandle<()>>,
) -> Result<Arc<[WorkerHandle]>, StartError> {
    let clock = Clock::start();
    let mut handles = Vec::new();
    for index in 0..n_workers {
        let (messages, inbox) = unbounded_channel();
        let n_connections = Arc::new(AtomicUsize::new(0));
        let seed = seed.wrapping_add(index as u64);
        let n_connections_told = Arc::clone(&n_connections);
        let inputs =
            WorkerInputs { clock, seed, number: index, n_workers, n_connections: n_connections_told };
        handles.push(WorkerHandle { messages, n_connections });
        threads.push(spawn(format!("worker-{index}"), move || {
            if let Err(error) = worker::run(inputs, inbox) {
                tracing::error!(%error, "a worker could not run");
            }
        })?);
    }
    Ok(handles.into())
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StartError> {
    std::thread::Builder::new().name(name).spawn(run).map_err(StartError::Thread)
}

/// The acceptors' own thread, until no other can come; the proxy waits for those it has before.
fn accept_all(mut inbox: UnboundedReceiver<Box<Acceptor>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the acceptors' runtime could not start");
            return;
        }
    };
    runtime.block_on(async {
        while let Some(acceptor) = inbox.recv().await {
            tokio::spawn(acceptor.run());
        }
    });
}
