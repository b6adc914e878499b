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
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use isobar_config::{AdminSettings, Settings, Watched};
use isobar_control::{ClusterHandle, Clusters, Journal};
use isobar_core::Address;
use isobar_discovery::SystemLookup;
use isobar_proxy::{Bound, Inputs, Proxy};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use crate::admin::{self, Access, AdminListener, ProcessMetrics, Subjects};
use crate::certificates::{self, Certificates};
use crate::cli::{DEFAULT_CONFIG, EXIT_FAILED, EXIT_USAGE, LogLines, ProxyArgs};
use crate::configuration::Configured;
use crate::files::{Disk, environment};
use crate::readiness::{Phase, Readiness};
use crate::reload::{Configuration, Origin, Why};
use crate::seat::Seat;
use crate::signals::Signals;
use crate::{check, files, limits, logging, runtimes, terminal};

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
    Prepare(#[from] isobar_control::PrepareError),
    #[error(transparent)]
    Tls(#[from] isobar_tls::TlsProblems),
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
    let origin = match origin(args, lines) {
        Ok(origin) => origin,
        Err(code) => return code,
    };
    limits::raise_open_files();
    match start(origin, process).map(Running::finish) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            for line in failure.to_string().lines() {
                error!("{line}");
            }
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// What the command line asks for. What is wrong with it has been told when this gives an exit code.
fn origin(args: &ProxyArgs, lines: LogLines) -> Result<Origin, ExitCode> {
    if !args.listen.is_empty() {
        let settings = isobar_config::from_flags(&args.listen, &args.to, args.policy.as_deref()).map_err(
            |problems| {
                for problem in problems {
                    terminal::complain(&format!("error: {problem}"));
                }
                terminal::complain("\nFor more information, try 'isobar proxy --help'.");
                ExitCode::from(EXIT_USAGE)
            },
        )?;
        return Ok(Origin {
            file: None,
            settings: Arc::new(settings),
            document: flags_document(args),
            watched: Watched { files: Vec::new(), folders: Vec::new() },
        });
    }
    match isobar_config::load(&args.config, &Disk, &environment) {
        Ok(loaded) => {
            for line in loaded.warnings.lines() {
                warn!("{line}");
            }
            info!(config = %args.config.display(), files = loaded.watched.files.len(), "configuration read");
            Ok(Origin::of(loaded, Some(args.config.clone())))
        }
        Err(findings) => {
            match lines {
                LogLines::Text => check::show(&findings),
                LogLines::Json => findings.lines().iter().for_each(|line| error!("{line}")),
            }
            if args.config == Path::new(DEFAULT_CONFIG) && !args.config.exists() {
                error!(
                    "no file was named, and there is no {DEFAULT_CONFIG} in this folder: name one with -c FILE, or go \
                     without: isobar proxy --listen :8080 --to 127.0.0.1:9001"
                );
            }
            error!(config = %args.config.display(), errors = findings.n_errors(), "configuration refused");
            Err(ExitCode::from(EXIT_FAILED))
        }
    }
}

/// The configuration file that says what these flags say.
fn flags_document(args: &ProxyArgs) -> String {
    // A JSON string is a TOML string.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let listener = |(index, listen): (usize, &String)| {
        let name = if index == 0 { "default".to_owned() } else { format!("default-{}", index + 1) };
        format!("[[listeners]]\nname = \"{name}\"\nlisten = {}\nservice = \"default\"\n\n", quoted(listen))
    };
    let listeners: String = args.listen.iter().enumerate().map(listener).collect();
    let policy =
        args.policy.as_deref().map_or(String::new(), |policy| format!("policy = {}\n", quoted(policy)));
    let endpoints: Vec<String> = args.to.iter().map(|to| quoted(to)).collect();
    format!("{listeners}[services.default]\n{policy}endpoints = [{}]\n", endpoints.join(", "))
}

/// A started proxy with everything around it.
pub(crate) struct Running {
    configuration: Arc<Configuration>,
    control: Runtime,
    /// Serves the admin interface, where there is one.
    admin: Option<Runtime>,
    readiness: Arc<Readiness>,
    seat: Arc<Seat>,
    stop: oneshot::Receiver<()>,
    clusters: Arc<Clusters<SystemLookup>>,
    /// Where the listeners listen, in the order of the settings.
    addresses: Vec<Address>,
    admin_address: Option<Address>,
}

/// Starts a proxy with everything around it; at the return it accepts.
pub(crate) fn start(origin: Origin, process: ProcessMetrics) -> Result<Running, StartFailure> {
    let settings = Arc::clone(&origin.settings);
    let control = runtimes::control().map_err(StartFailure::Runtime)?;
    let seat = Arc::new(Seat::default());
    let readiness = Arc::new(Readiness::new());
    // Before anything is served: from here on no signal has its default effect, and none is lost.
    let signals = {
        let _inside = control.enter();
        Signals::install().map_err(StartFailure::Signals)?
    };
    let journal = Journal::default();
    let n_workers = workers(&settings);
    // The standard library's hash keys are its one source of randomness.
    let seed = RandomState::new().hash_one(());
    let clusters = Arc::new(Clusters::new(
        SystemLookup,
        Arc::new(files::endpoints),
        journal.clone(),
        n_workers.get(),
        seed,
    ));
    let certificates = Arc::<Certificates>::default();
    let tls = certificates.load(&settings)?;
    certificates.take_over(&tls);
    clusters.set_probe_tls(certificates::by_service(&settings, &tls));
    let prepared = control.block_on(clusters.prepare(&settings.services))?;
    let bound = isobar_proxy::bind(&settings)?;
    let admin = settings.admin.as_ref().map(bind_admin).transpose()?;
    let published = prepared.handles().iter().map(ClusterHandle::published).collect();
    control.block_on(clusters.commit(prepared));
    tell_addresses(&bound, admin.as_ref().map(|admin| &admin.listener));
    let addresses = bound.addresses().into_iter().map(|(_, address)| address).collect();
    let admin_address = admin.as_ref().map(|admin| admin.listener.address().clone());
    let inputs =
        Inputs { settings: Arc::clone(&settings), clusters: published, tls, workers: n_workers, seed };
    seat.put(Proxy::start(inputs, bound)?);
    let configuration = Configuration::new(
        origin,
        control.handle().clone(),
        Arc::clone(&seat),
        Arc::clone(&clusters),
        Arc::clone(&certificates),
        journal.clone(),
        n_workers,
    );
    let configuration = Arc::new(configuration);
    let stop = serve_signals(&control, signals, &seat, &configuration);
    control.spawn(Arc::clone(&configuration).watch());
    control.spawn(Arc::clone(&configuration).watch_certificates());
    control.spawn(Arc::clone(&certificates).rotate_keys());
    let admin = admin.map(|Admin { runtime, listener, access }| {
        let subjects = Subjects {
            readiness: Arc::clone(&readiness),
            metrics: metrics_renderer(&seat, &clusters, &configuration, certificates, process),
            clusters: Arc::clone(&clusters),
            journal,
            configuration: Arc::clone(&configuration) as Arc<dyn Configured>,
            access: Arc::new(access),
        };
        runtime.spawn(listener.serve(admin::router(subjects)));
        runtime
    });
    readiness.enter(Phase::Ready);
    info!(workers = n_workers.get(), version = env!("CARGO_PKG_VERSION"), "ready");
    Ok(Running { configuration, control, admin, readiness, seat, stop, clusters, addresses, admin_address })
}

/// The admin interface before it serves.
struct Admin {
    runtime: Runtime,
    listener: AdminListener,
    access: Access,
}

fn bind_admin(settings: &AdminSettings) -> Result<Admin, StartFailure> {
    let runtime = runtimes::admin().map_err(StartFailure::Runtime)?;
    let listener = runtime.block_on(AdminListener::bind(&settings.listen))?;
    Ok(Admin { runtime, listener, access: Access::read(settings)? })
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
        self.admin_address.as_ref()
    }

    /// The cluster of a service.
    pub(crate) fn cluster(&self, service: &str) -> Option<ClusterHandle> {
        self.clusters.find(service)
    }

    /// Waits so long for the first stop signal; whether it came. Not to be called again after it came.
    pub(crate) fn wait_for_stop(&mut self, patience: Duration) -> bool {
        let stop = &mut self.stop;
        self.control.block_on(async { tokio::time::timeout(patience, stop).await.is_ok() })
    }

    /// Lets requests in flight finish, and ends.
    pub(crate) fn drain(self) {
        let settings = self.configuration.settings();
        let runtime = &settings.runtime;
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
        if let Some(admin) = self.admin {
            admin.shutdown_background();
        }
        self.control.shutdown_background();
    }
}

fn serve_signals(
    control: &Runtime,
    signals: Signals,
    seat: &Arc<Seat>,
    configuration: &Arc<Configuration>,
) -> oneshot::Receiver<()> {
    let (stop, stopped) = oneshot::channel();
    let (seat, configuration) = (Arc::clone(seat), Arc::clone(configuration));
    let reopen = move || {
        seat.with(Proxy::reopen_access_log);
    };
    let reload = move || {
        let configuration = Arc::clone(&configuration);
        tokio::spawn(async move { configuration.reload(Why::Hangup).await });
    };
    control.spawn(signals.serve(stop, reopen, reload));
    stopped
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
    configuration: &Arc<Configuration>,
    certificates: Arc<Certificates>,
    process: ProcessMetrics,
) -> Arc<admin::RenderMetrics> {
    let (seat, clusters, configuration) = (Arc::clone(seat), Arc::clone(clusters), Arc::clone(configuration));
    Arc::new(move |out: &mut String| {
        seat.with(|proxy| proxy.render_metrics(out));
        isobar_control::render_metrics(&clusters.all(), out);
        configuration.render_metrics(out);
        certificates.render_metrics(out);
        process.render(out);
    })
}
