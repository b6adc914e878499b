//! The configuration in force, and how another one takes its place: all of it or nothing.
//!
//! ```text
//! file changed, SIGHUP -> load ----.
//! PUT /api/v1/config -> load_text -+-> check restarts -> prepare clusters -> apply to the proxy -> commit clusters
//!                                       `-------- may fail: nothing has changed --------'
//! ```
//!
//! Invariants: one change at a time; a refused one leaves everything as it was and is remembered with its reason until
//! the next that is accepted; the same reason is logged once in a row. A configuration that was put holds until the
//! file is loaded again, and is never written to disk.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use isobar_config::{Diagnostics, Loaded, Settings, Watched};
use isobar_control::{ClusterHandle, Clusters, Journal};
use isobar_core::Snapshot;
use isobar_discovery::{FileWatch, SystemLookup};
use isobar_proxy::Update;
use isobar_tls::TlsSet;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tracing::{debug, info, warn};

use crate::certificates::{self, Certificates};
use crate::configuration::{Applied, ConfigurationReport, Configured, RefusedConfiguration, render_metrics};
use crate::files::{Disk, environment};
use crate::seat::Seat;

mod renewal;

/// How long reading the files may take: a file system that hangs must not hold up every later change.
const READING_PATIENCE: Duration = Duration::from_secs(30);

/// Where a configuration came from that nobody wrote to the file.
const PUT: &str = "PUT /api/v1/config";

/// What its text is called where something is wrong with it: it stands in no file, whatever paths in it start from.
const REQUEST_BODY: &str = "(request body)";

/// Why the file is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// It may have changed between its first reading and the watch.
    Start,
    Changed,
    OthersIncluded,
    /// Somebody asked for it and waits for an answer.
    Hangup,
}

impl Why {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Changed => "the file changed",
            Self::OthersIncluded => "other files are included",
            Self::Hangup => "SIGHUP",
        }
    }
}

/// What is running.
#[derive(Debug, Clone)]
struct InForce {
    settings: Arc<Settings>,
    report: ConfigurationReport,
}

/// What a configuration starts from.
pub(crate) struct Origin {
    /// The file; `None` where the command line said it all.
    pub(crate) file: Option<PathBuf>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) document: String,
    pub(crate) watched: Watched,
}

impl Origin {
    /// From a configuration that was read: from `file`, which is followed from then on, or from nowhere that lasts.
    pub(crate) fn of(loaded: Loaded, file: Option<PathBuf>) -> Self {
        let Loaded { settings, watched, document, .. } = loaded;
        Self { file, settings: Arc::new(settings), document, watched }
    }
}

/// The configuration of the running process.
pub(crate) struct Configuration {
    file: Option<PathBuf>,
    /// Where changes are carried out and new clusters live, whoever asks for them.
    control: Handle,
    seat: Arc<Seat>,
    clusters: Arc<Clusters<SystemLookup>>,
    certificates: Arc<Certificates>,
    /// Told when other settings came into force, which may name other files of certificates.
    changed: Notify,
    journal: Journal,
    /// Those that run, whatever a configuration that was applied later says.
    n_workers: NonZeroUsize,
    in_force: Mutex<InForce>,
    /// What to watch; of the last configuration that could be read from the file.
    watched: Mutex<Watched>,
    /// What the file said when it was last taken over.
    taken_over: Mutex<Arc<Settings>>,
    /// Held while one change is carried out.
    turn: tokio::sync::Mutex<()>,
    n_applied: AtomicU64,
    n_refused: AtomicU64,
}

impl Configuration {
    pub(crate) fn new(
        origin: Origin,
        control: Handle,
        seat: Arc<Seat>,
        clusters: Arc<Clusters<SystemLookup>>,
        certificates: Arc<Certificates>,
        journal: Journal,
        n_workers: NonZeroUsize,
    ) -> Self {
        let from =
            origin.file.as_deref().map_or("the command line".to_owned(), |file| file.display().to_string());
        let report = ConfigurationReport {
            revision: 1,
            applied_at: SystemTime::now(),
            from,
            document: origin.document.into(),
            refused: None,
        };
        let taken_over = Mutex::new(Arc::clone(&origin.settings));
        let in_force = InForce { settings: origin.settings, report };
        Self {
            file: origin.file,
            control,
            seat,
            clusters,
            certificates,
            changed: Notify::new(),
            journal,
            n_workers,
            in_force: Mutex::new(in_force),
            watched: Mutex::new(origin.watched),
            taken_over,
            turn: tokio::sync::Mutex::default(),
            n_applied: AtomicU64::new(1),
            n_refused: AtomicU64::new(0),
        }
    }

    /// The settings in force.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.lock().settings)
    }

    /// Configurations that were applied, and attempts that were refused.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.n_applied.load(Ordering::Relaxed), self.n_refused.load(Ordering::Relaxed))
    }

    /// Appends the metrics of the configuration.
    pub(crate) fn render_metrics(&self, out: &mut String) {
        render_metrics(self.counts(), &self.report(), out);
    }

    /// Reads the file again and applies it where it says something else than what runs; one that merely stirred, and
    /// says what it said before, leaves alone what was put since.
    pub(crate) async fn reload(&self, why: Why) {
        let Some(file) = self.file.clone() else {
            warn!("{}: there is no file to read, the command line said it all; nothing changes", why.name());
            return;
        };
        let _turn = self.turn.lock().await;
        let from = file.display().to_string();
        let loading = tokio::task::spawn_blocking(move || isobar_config::load(&file, &Disk, &environment));
        let Ok(loading) = tokio::time::timeout(READING_PATIENCE, loading).await else {
            return self
                .refuse(&from, &format!("it could not be read within {} s", READING_PATIENCE.as_secs()));
        };
        let loaded = match loading {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(findings)) => {
                self.watch_also(findings.watched());
                return self.refuse(&from, &findings.lines().join("\n"));
            }
            Err(error) => return self.refuse(&from, &format!("reading it broke off: {error}")),
        };
        *self.watched.lock().unwrap_or_else(PoisonError::into_inner) = loaded.watched.clone();
        let says_the_same = **self.taken_over() == loaded.settings && why != Why::Hangup;
        let settings = Arc::new(loaded.settings.clone());
        if says_the_same || *self.lock().settings == loaded.settings {
            self.accept_unchanged(&from, why);
            if why == Why::Hangup {
                // Whoever asks also means the certificates, and whom the system trusts, which is not watched.
                self.renew_certificates_in_turn().await;
            }
        } else {
            warn_of(&loaded.warnings);
            if let Err(reason) = self.apply(loaded, &from).await {
                return self.refuse(&from, &reason);
            }
        }
        *self.taken_over() = settings;
    }

    /// Follows the file, and whatever it includes, until the task is dropped.
    pub(crate) async fn watch(self: Arc<Self>) {
        if self.file.is_none() {
            return;
        }
        let mut paths = self.watched_paths();
        let mut watch = FileWatch::new(paths.clone()).await;
        let mut why = Why::Start;
        loop {
            self.reload(why).await;
            let now = self.watched_paths();
            if now == paths {
                watch.changed().await;
                why = Why::Changed;
            } else {
                watch = FileWatch::new(now.clone()).await;
                paths = now;
                why = Why::OthersIncluded;
            }
        }
    }

    /// Applies a configuration that is given as a text.
    ///
    /// # Errors
    /// What is wrong with it, with source lines, as a person reads it; nothing has changed then.
    async fn put_text(&self, text: String) -> Result<ConfigurationReport, String> {
        let _turn = self.turn.lock().await;
        let origin = self.file.clone().unwrap_or_else(|| Path::new("config.toml").to_owned());
        let from = PUT.to_owned();
        let loaded = match isobar_config::load_text(&origin, text, &Disk, &environment) {
            Ok(loaded) => loaded,
            Err(findings) => {
                let findings = findings.renamed(REQUEST_BODY);
                self.refuse(&from, &findings.lines().join("\n"));
                return Err(findings.render(false));
            }
        };
        warn_of(&loaded.warnings.clone().renamed(REQUEST_BODY));
        if let Err(reason) = self.apply(loaded, &from).await {
            self.refuse(&from, &reason);
            return Err(reason);
        }
        Ok(self.report())
    }

    /// A refused configuration may be mended in a file that the last good one did not have.
    fn watch_also(&self, refused: &Watched) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let Watched { files, folders } = &mut *watched;
        for (known, new) in [(files, &refused.files), (folders, &refused.folders)] {
            known.extend(new.iter().filter(|path| !known.contains(path)).cloned().collect::<Vec<_>>());
        }
    }

    fn taken_over(&self) -> MutexGuard<'_, Arc<Settings>> {
        self.taken_over.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watched_paths(&self) -> Vec<PathBuf> {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.files.iter().chain(&watched.folders).cloned().collect()
    }

    async fn apply(&self, loaded: Loaded, from: &str) -> Result<(), String> {
        let settings = Arc::new(loaded.settings);
        check_restarts(self.n_workers, &self.lock().settings, &settings)?;
        let tls = self.load_certificates(&settings).await.inspect_err(|_| {
            // Mending the files is enough then.
            let files = isobar_tls::paths(&settings).into_iter().collect();
            self.watch_also(&Watched { files, folders: Vec::new() });
        })?;
        let prepared = self.clusters.prepare(&settings.services).await.map_err(|error| error.to_string())?;
        let published = prepared.handles().iter().map(ClusterHandle::published).collect();
        let applied = self.hand_over(&settings, published, &tls).await?;
        self.clusters.commit(prepared).await;
        self.certificates.take_over(&tls);
        self.accept(settings, loaded.document, from, &applied);
        self.changed.notify_one();
        Ok(())
    }

    /// Makes the proxy and the probes work by these settings and certificates.
    async fn hand_over(
        &self,
        settings: &Arc<Settings>,
        clusters: Vec<Arc<ArcSwap<Snapshot>>>,
        tls: &TlsSet,
    ) -> Result<isobar_proxy::Applied, String> {
        let update = Update { settings: Arc::clone(settings), clusters, tls: tls.clone() };
        let seat = Arc::clone(&self.seat);
        let applying = tokio::task::spawn_blocking(move || seat.with(|proxy| proxy.apply(update)));
        let applied = match applying.await {
            Ok(Some(result)) => result.map_err(|error| error.to_string())?,
            Ok(None) => return Err("the proxy is stopping".to_owned()),
            Err(error) => return Err(format!("applying it broke off: {error}")),
        };
        self.clusters.set_probe_tls(certificates::by_service(settings, tls));
        Ok(applied)
    }

    fn accept(&self, settings: Arc<Settings>, document: String, from: &str, applied: &isobar_proxy::Applied) {
        let mut in_force = self.lock();
        in_force.settings = settings;
        in_force.report = ConfigurationReport {
            revision: in_force.report.revision + 1,
            applied_at: SystemTime::now(),
            from: from.to_owned(),
            document: document.into(),
            refused: None,
        };
        self.n_applied.fetch_add(1, Ordering::Relaxed);
        info!(from, revision = in_force.report.revision, "configuration applied");
        for (listener, address) in &applied.added {
            info!(listener, %address, "listening");
        }
        for listener in &applied.removed {
            info!(listener, "listens no more; its requests in flight finish");
        }
        self.journal.tell_process("configuration-applied", from);
    }

    /// The file says what runs already, perhaps after an attempt that was refused.
    fn accept_unchanged(&self, from: &str, why: Why) {
        let mut in_force = self.lock();
        // What was refused from elsewhere is not mended by a file that merely stirred.
        let is_mended = |refused: &mut RefusedConfiguration| refused.from == from || why == Why::Hangup;
        if in_force.report.refused.take_if(is_mended).is_some() {
            info!(from, "the configuration is again what runs");
        } else if why == Why::Hangup {
            info!(from, revision = in_force.report.revision, "the configuration is unchanged");
        } else {
            debug!(from, why = why.name(), "the configuration says what runs already");
        }
    }

    fn refuse(&self, from: &str, reason: &str) {
        self.n_refused.fetch_add(1, Ordering::Relaxed);
        let (at, from, reason) = (SystemTime::now(), from.to_owned(), reason.to_owned());
        let refused = RefusedConfiguration { at, from: from.clone(), reason: reason.clone() };
        let before = self.lock().report.refused.replace(refused);
        if before.is_some_and(|before| before.from == from && before.reason == reason) {
            debug!(from, "the configuration is refused for the same reason as before");
            return;
        }
        for line in reason.lines() {
            warn!(from, "{line}");
        }
        warn!(from, "configuration refused: what runs goes on unchanged");
        self.journal.tell_process("configuration-refused", &reason);
    }

    fn lock(&self) -> MutexGuard<'_, InForce> {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Configured for Configuration {
    fn report(&self) -> ConfigurationReport {
        self.lock().report.clone()
    }

    fn put(self: Arc<Self>, text: String) -> Applied {
        Box::pin(async move {
            // A task of its own: whoever asked may go, and half a change must not stay.
            let control = self.control.clone();
            let carried_out = control.spawn(async move {
                info!(from = PUT, bytes = text.len(), "configuration received");
                self.put_text(text).await
            });
            match carried_out.await {
                Ok(applied) => applied,
                Err(error) => Err(format!("applying it broke off: {error}")),
            }
        })
    }
}

/// Names what a running process cannot take over; it has `n_workers`.
fn check_restarts(n_workers: NonZeroUsize, running: &Settings, wanted: &Settings) -> Result<(), String> {
    let mut lines = Vec::new();
    if running.runtime.workers != wanted.runtime.workers {
        let run = if n_workers.get() == 1 {
            "1 worker runs".to_owned()
        } else {
            format!("{n_workers} workers run")
        };
        let written = match wanted.runtime.workers {
            0 => "0, one per core,".to_owned(),
            n => n.to_string(),
        };
        lines.push(format!("`runtime.workers` takes effect at a restart: {run}, {written} is written"));
    }
    if running.admin != wanted.admin {
        lines.push("`admin` takes effect at a restart: restart, or put its settings back".to_owned());
    }
    if lines.is_empty() { Ok(()) } else { Err(lines.join("\n")) }
}

fn warn_of(warnings: &Diagnostics) {
    for line in warnings.lines() {
        warn!("{line}");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use isobar_config::NoFiles;

    fn settings(workers: usize) -> Settings {
        let text = format!(
            "[runtime]\nworkers = {workers}\n[[listeners]]\nname = \"web\"\nlisten = \":0\"\nservice = \"web\"\n\
             [services.web]\nendpoints = [\"127.0.0.1:9001\"]\n"
        );
        isobar_config::load_text(Path::new("isobar.toml"), text, &NoFiles, &|_: &str| None).unwrap().settings
    }

    #[test]
    fn a_change_of_the_workers_is_refused_with_the_number_of_those_that_run() {
        for (n_workers, running, wanted, told) in [
            (4, 0, 1, "4 workers run, 1 is written"),
            (1, 0, 2, "1 worker runs, 2 is written"),
            (2, 2, 0, "2 workers run, 0, one per core, is written"),
        ] {
            let n_workers = NonZeroUsize::new(n_workers).unwrap();
            let refused = check_restarts(n_workers, &settings(running), &settings(wanted)).unwrap_err();
            assert!(refused.contains("`runtime.workers`") && refused.ends_with(told), "{refused}");
            assert_eq!(check_restarts(n_workers, &settings(wanted), &settings(wanted)), Ok(()));
        }
    }
}
