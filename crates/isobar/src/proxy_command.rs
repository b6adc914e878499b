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
use std::time::{Duration, Instant, SystemTime};

use isobar_config::Settings;
use isobar_control::{ClusterHandle, Clusters, Journal};
use isobar_discovery::SystemLookup;
use isobar_proxy::{Bound, Inputs, Proxy};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use crate::admin::{self, Access, AdminListener, ProcessMetrics, Subjects};
use crate::cli::{EXIT_FAILED, EXIT_USAGE, LogLines, ProxyArgs};
use crate::configuration::{self, Applied, ConfigurationReport, Configured};
use crate::files::{Disk, environment};
use crate::readiness::{Phase, Readiness};
use crate::signals::Signals;
use crate::{check, files, limits, logging, terminal};

/// Threads of the control runtime: one may be in a long computation while the other serves probes.
const CONTROL_THREADS: usize = 2;

/// Threads for blocking work of the control runtime: name lookups at start, scrapes later.
const CONTROL_BLOCKING_THREADS_MAX: usize = 64;

/// How often a drain looks whether the last connection has gone.
const DRAIN_LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Why a start failed; each displays as one or more lines that say what to do.
#[derive(Debug, thiserror::Error)]
enum StartFailure {
    #[error("cannot start the control threads: {0}")]
    Runtime(io::Error),
    #[error("cannot take over the signals: {0}")]
    Signals(io::Error),
    #[error(transparent)]
    Resolve(#[from] isobar_discovery::ResolveErrors),
    #[error(transparent)]
    Bind(#[from] isobar_proxy::BindErrors),
    #[error(transparent)]
    Admin(#[from] admin::AdminBindError),
    #[error(transparent)]
    Token(#[from] admin::TokenError),
    #[error(transparent)]
    Proxy(#[from] isobar_proxy::StartError),
}

/// Runs the command; returns when the proxy has drained.
pub(crate) fn run(args: &ProxyArgs, verbose: u8, lines: LogLines) -> ExitCode {
    let process = ProcessMetrics::new();
    logging::start(verbose, lines);
    let (settings, unchanged) = match settings(args, lines) {
        Ok(read) => read,
        Err(code) => return code,
    };
    limits::raise_open_files();
    match start(settings, unchanged, process).map(Running::finish) {
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
fn settings(args: &ProxyArgs, lines: LogLines) -> Result<(Settings, Unchanged), ExitCode> {
    if !args.listen.is_empty() {
        let read = isobar_config::from_flags(&args.listen, &args.to, args.policy.as_deref());
        let settings = read.map_err(|problems| {
            for problem in problems {
                terminal::complain(&format!("error: {problem}"));
            }
            terminal::complain("\nFor more information, try 'isobar proxy --help'.");
            ExitCode::from(EXIT_USAGE)
        })?;
        return Ok((settings, Unchanged::new("the command line".to_owned(), String::new())));
    }
    match isobar_config::load(&args.config, &Disk, &environment) {
        Ok(loaded) => {
            for line in loaded.warnings.lines() {
                warn!("{line}");
            }
            info!(config = %args.config.display(), files = loaded.watched.files.len(), "configuration read");
            let unchanged = Unchanged::new(args.config.display().to_string(), loaded.document);
            Ok((loaded.settings, unchanged))
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
struct Running {
    settings: Arc<Settings>,
    control: Runtime,
    readiness: Arc<Readiness>,
    seat: Arc<Seat>,
    stop: oneshot::Receiver<()>,
    /// Keeps the owners of the clusters.
    _clusters: Arc<Clusters<SystemLookup>>,
}

fn start(settings: Settings, unchanged: Unchanged, process: ProcessMetrics) -> Result<Running, StartFailure> {
    let settings = Arc::new(settings);
    let control = control_runtime().map_err(StartFailure::Runtime)?;
    let seat = Arc::new(Seat::default());
    let readiness = Arc::new(Readiness::new());
    let stop = serve_signals(&control, &seat)?;

    let n_workers = workers(&settings);
    // The standard library's hash keys are its one source of randomness.
    let seed = RandomState::new().hash_one(());
    let journal = Journal::default();
    let (lookup, read) = (SystemLookup, Arc::new(files::endpoints));
    let clusters = Arc::new(Clusters::new(lookup, read, journal.clone(), n_workers.get(), seed));
    let prepared = control.block_on(clusters.prepare(&settings.services))?;
    let bound = isobar_proxy::bind(&settings)?;
    let admin = match &settings.admin {
        Some(admin) => Some((control.block_on(AdminListener::bind(&admin.listen))?, Access::read(admin)?)),
        None => None,
    };
    let published = prepared.handles().iter().map(ClusterHandle::published).collect();
    control.block_on(clusters.commit(prepared));
    tell_addresses(&bound, admin.as_ref().map(|(listener, _)| listener));
    let inputs = Inputs { settings: Arc::clone(&settings), clusters: published, workers: n_workers, seed };
    seat.put(Proxy::start(inputs, bound)?);
    if let Some((listener, access)) = admin {
        let configuration: Arc<dyn Configured> = Arc::new(unchanged);
        let subjects = Subjects {
            readiness: Arc::clone(&readiness),
            metrics: metrics_renderer(&seat, &clusters, &configuration, process),
            clusters: Arc::clone(&clusters),
            journal,
            configuration,
            access: Arc::new(access),
        };
        control.spawn(listener.serve(admin::router(subjects)));
    }
    readiness.enter(Phase::Ready);
    info!(workers = n_workers.get(), version = env!("CARGO_PKG_VERSION"), "ready");
    Ok(Running { settings, control, readiness, seat, stop, _clusters: clusters })
}

impl Running {
    /// Waits for the first stop signal, then lets requests in flight finish. Runs on the main thread, which has nothing
    /// else to do and may therefore block.
    fn finish(self) {
        let runtime = &self.settings.runtime;
        // The sender lives in the signal task, which ends with the process.
        let _ = self.control.block_on(self.stop);
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

/// The configuration of the start, which nothing replaces.
struct Unchanged(ConfigurationReport);

impl Unchanged {
    fn new(from: String, document: String) -> Self {
        let (applied_at, document) = (SystemTime::now(), document.into());
        Self(ConfigurationReport { revision: 1, applied_at, from, document, refused: None })
    }
}

impl Configured for Unchanged {
    fn report(&self) -> ConfigurationReport {
        self.0.clone()
    }

    fn put(&self, _text: String) -> Applied<'_> {
        Box::pin(async { Err("the configuration is changed by a restart".to_owned()) })
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
    clusters: &Arc<Clusters<SystemLookup>>,
    configuration: &Arc<dyn Configured>,
    process: ProcessMetrics,
) -> Arc<admin::RenderMetrics> {
    let (seat, clusters, configuration) = (Arc::clone(seat), Arc::clone(clusters), Arc::clone(configuration));
    Arc::new(move |out: &mut String| {
        seat.with(|proxy| proxy.render_metrics(out));
        isobar_control::render_metrics(&clusters.all(), out);
        let report = configuration.report();
        // A clock that was set back gives an age of zero.
        let age = report.applied_at.elapsed().unwrap_or_default();
        configuration::render_metrics(report.revision, 0, age, out);
        process.render(out);
    })
}
