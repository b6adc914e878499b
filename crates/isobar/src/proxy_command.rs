//! `isobar proxy`: from the command line to a running proxy, and from a signal to the end of it.
//!
//! ```text
//! settings -> names resolved -> sockets bound -> workers -> admin interface -> ready
//! SIGTERM  -> not ready, still accepting (shutdown_delay) -> draining (shutdown_grace) -> exit 0
//! ```
//!
//! Invariants: every socket is bound before anything is served, so a start either takes all its addresses or none; the
//! admin interface answers until the last request is done; each failure of a start is a line of the log that says what
//! to do, and exit code 1.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use isobar_config::Settings;
use isobar_control::{ClusterHandle, SystemLookup};
use isobar_core::Address;
use isobar_proxy::{Bound, Inputs, Proxy};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use crate::admin::{self, AdminListener, ProcessMetrics, Subjects};
use crate::cli::{EXIT_FAILED, EXIT_USAGE, LogLines, ProxyArgs};
use crate::files::{Disk, environment};
use crate::readiness::{Phase, Readiness};
use crate::signals::Signals;
use crate::{check, limits, logging, terminal};

/// Threads of the control runtime: one may be in a long computation while the other serves probes.
const CONTROL_THREADS: usize = 2;

/// Threads for blocking work of the control runtime: name lookups at start, scrapes later.
const CONTROL_BLOCKING_THREADS_MAX: usize = 64;

/// How often a drain looks whether the last connection has gone.
const DRAIN_LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Why a start failed; each displays as one or more lines that say what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartFailure {
    #[error("cannot start the control threads: {0}")]
    Runtime(io::Error),
    #[error("cannot take over the signals: {0}")]
    Signals(io::Error),
    #[error(transparent)]
    Resolve(#[from] isobar_control::ResolveErrors),
    #[error(transparent)]
    Bind(#[from] isobar_proxy::BindErrors),
    #[error(transparent)]
    Admin(#[from] admin::AdminBindError),
    #[error(transparent)]
    Proxy(#[from] isobar_proxy::StartError),
}

/// Runs the command; returns when the proxy has drained.
pub(crate) fn run(args: &ProxyArgs, verbose: u8, lines: LogLines) -> ExitCode {
    let process = ProcessMetrics::new();
    logging::start(verbose, lines);
    let settings = match settings(args, lines) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    limits::raise_open_files();
    match start(settings, process).map(Running::finish) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            for line in failure.to_string().lines() {
                error!("{line}");
            }
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// The settings that the command line asks for. What is wrong with them has been told when this gives an exit code.
fn settings(args: &ProxyArgs, lines: LogLines) -> Result<Settings, ExitCode> {
    if !args.listen.is_empty() {
        return isobar_config::from_flags(&args.listen, &args.to, args.policy.as_deref()).map_err(
            |problems| {
                for problem in problems {
                    terminal::complain(&format!("error: {problem}"));
                }
                terminal::complain("\nFor more information, try 'isobar proxy --help'.");
                ExitCode::from(EXIT_USAGE)
            },
        );
    }
    match isobar_config::load(&args.config, &Disk, &environment) {
        Ok(loaded) => {
            for line in loaded.warnings.lines() {
                warn!("{line}");
            }
            info!(config = %args.config.display(), files = loaded.files.len(), "configuration read");
            Ok(loaded.settings)
        }
        Err(findings) => {
            match lines {
                LogLines::Text => check::show(&findings),
                LogLines::Json => findings.lines().iter().for_each(|line| error!("{line}")),
            }
            error!(config = %args.config.display(), errors = findings.n_errors(), "configuration refused");
            Err(ExitCode::from(EXIT_FAILED))
        }
    }
}

/// A started proxy with everything around it.
pub(crate) struct Running {
    settings: Arc<Settings>,
    control: Runtime,
    readiness: Arc<Readiness>,
    seat: Arc<Seat>,
    stop: oneshot::Receiver<()>,
    /// Also keeps the owners of the clusters.
    clusters: Arc<[ClusterHandle]>,
    /// Where the listeners listen, in the order of the settings.
    addresses: Vec<Address>,
    admin: Option<Address>,
}

/// Starts a proxy with everything around it; at the return it accepts.
pub(crate) fn start(settings: Settings, process: ProcessMetrics) -> Result<Running, StartFailure> {
    let settings = Arc::new(settings);
    let control = control_runtime().map_err(StartFailure::Runtime)?;
    let seat = Arc::new(Seat::default());
    let readiness = Arc::new(Readiness::new());
    let stop = serve_signals(&control, &seat)?;

    let endpoints = control.block_on(isobar_control::resolve(&settings.services, Arc::new(SystemLookup)))?;
    let bound = isobar_proxy::bind(&settings)?;
    let admin = match &settings.admin {
        Some(admin) => Some(control.block_on(AdminListener::bind(&admin.listen))?),
        None => None,
    };
    let clusters: Arc<[ClusterHandle]> = {
        let _inside = control.enter();
        let pairs = settings.services.iter().zip(endpoints);
        pairs
            .map(|(service, endpoints)| isobar_control::spawn(&service.name, service.policy, endpoints))
            .collect()
    };
    tell_addresses(&bound, admin.as_ref());
    let addresses = bound.addresses().into_iter().map(|(_, address)| address).collect();
    let admin_address = admin.as_ref().map(|admin| admin.address().clone());
    let inputs = Inputs {
        settings: Arc::clone(&settings),
        clusters: clusters.iter().map(ClusterHandle::published).collect(),
        workers: workers(&settings),
        // The standard library's hash keys are its one source of randomness.
        seed: RandomState::new().hash_one(()),
    };
    let n_workers = inputs.workers.get();
    seat.put(Proxy::start(inputs, bound)?);
    if let Some(admin) = admin {
        let metrics = metrics_renderer(&seat, &clusters, process);
        control.spawn(admin.serve(admin::router(Subjects { readiness: Arc::clone(&readiness), metrics })));
    }
    readiness.enter(Phase::Ready);
    info!(workers = n_workers, version = env!("CARGO_PKG_VERSION"), "ready");
    Ok(Running { settings, control, readiness, seat, stop, clusters, addresses, admin: admin_address })
}

impl Running {
    /// Waits for the first stop signal, then drains. Runs on the main thread, which has nothing else to do and may
    /// therefore block.
    fn finish(mut self) {
        // The sender lives in the signal task, which ends with the process.
        let _ = self.control.block_on(&mut self.stop);
        self.drain();
    }

    /// Where the listeners listen, in the order of the settings.
    pub(crate) fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Where the admin interface listens, where there is one.
    pub(crate) fn admin_address(&self) -> Option<&Address> {
        self.admin.as_ref()
    }

    /// The clusters, in the order of the settings' services.
    pub(crate) fn clusters(&self) -> &[ClusterHandle] {
        &self.clusters
    }

    /// Waits so long for the first stop signal; whether it came. Not to be called again after it came.
    pub(crate) fn wait_for_stop(&mut self, patience: Duration) -> bool {
        let stop = &mut self.stop;
        self.control.block_on(async { tokio::time::timeout(patience, stop).await.is_ok() })
    }

    /// Lets requests in flight finish, and ends.
    pub(crate) fn drain(self) {
        let runtime = &self.settings.runtime;
        self.readiness.enter(Phase::Draining);
        info!(delay = ?runtime.shutdown_delay, grace = ?runtime.shutdown_grace, "not ready any more");
        std::thread::sleep(runtime.shutdown_delay);
        self.seat.with(Proxy::drain);
        info!("draining");
        let deadline = Instant::now() + runtime.shutdown_grace;
        // Joining takes the proxy away from the admin interface, so it comes when there is nothing left to tell.
        while self.seat.with(Proxy::open_connections).is_some_and(|n| n > 0) && Instant::now() < deadline {
            std::thread::sleep(DRAIN_LOOK_INTERVAL);
        }
        let Some(proxy) = self.seat.take() else { return };
        let report = proxy.join(deadline.saturating_duration_since(Instant::now()));
        if report.cut > 0 {
            warn!(connections = report.cut, "shutdown_grace is over: connections were cut");
        }
        info!("stopped");
        self.control.shutdown_background();
    }
}

/// Where the proxy is while others may ask it something: empty before its start and after its end.
#[derive(Default)]
struct Seat(RwLock<Option<Proxy>>);

impl Seat {
    fn put(&self, proxy: Proxy) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(proxy);
    }

    fn take(&self) -> Option<Proxy> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn with<T>(&self, ask: impl FnOnce(&Proxy) -> T) -> Option<T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(ask)
    }
}

fn control_runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .max_blocking_threads(CONTROL_BLOCKING_THREADS_MAX)
        .thread_name("isobar-control")
        .enable_all()
        .build()
}

fn serve_signals(control: &Runtime, seat: &Arc<Seat>) -> Result<oneshot::Receiver<()>, StartFailure> {
    let (stop, stopped) = oneshot::channel();
    let _inside = control.enter();
    let signals = Signals::install().map_err(StartFailure::Signals)?;
    let seat = Arc::clone(seat);
    control.spawn(signals.serve(stop, move || {
        seat.with(Proxy::reopen_access_log);
    }));
    Ok(stopped)
}

fn workers(settings: &Settings) -> NonZeroUsize {
    NonZeroUsize::new(settings.runtime.workers)
        .or_else(|| std::thread::available_parallelism().ok())
        .unwrap_or(NonZeroUsize::MIN)
}

fn tell_addresses(bound: &Bound, admin: Option<&AdminListener>) {
    for (listener, address) in bound.addresses() {
        info!(listener, %address, "listening");
    }
    if let Some(admin) = admin {
        info!(address = %admin.address(), "admin interface listening");
    }
}

fn metrics_renderer(
    seat: &Arc<Seat>,
    clusters: &Arc<[ClusterHandle]>,
    process: ProcessMetrics,
) -> Arc<admin::RenderMetrics> {
    let (seat, clusters) = (Arc::clone(seat), Arc::clone(clusters));
    Arc::new(move |out: &mut String| {
        seat.with(|proxy| proxy.render_metrics(out));
        isobar_control::render_metrics(&clusters, out);
        process.render(out);
    })
}
