//! The certificates in force: read from the disk, followed, and what is said of them in log and metrics.
//!
//! Invariants: files that are not sound change nothing, are told once and counted; keys for session tickets live as long
//! as the process and never reach the disk.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use isobar_config::Settings;
use isobar_tls::{CertificateExpiry, Originator, TICKET_KEY_LIFETIME, TicketKeys, TlsProblems, TlsSet};
use tracing::{debug, error, info, warn};

/// Bytes of a file that are read: bundles of a system have some 250KiB.
const FILE_BYTES_MAX: u64 = 4 << 20;

#[derive(Default)]
struct InForce {
    fingerprint: [u8; 32],
    expiries: Vec<CertificateExpiry>,
    /// Why the last files were refused, while they are.
    refused: Option<String>,
}

/// See the module's page.
#[derive(Default)]
pub(crate) struct Certificates {
    keys: Arc<TicketKeys>,
    in_force: Mutex<InForce>,
    n_refused: AtomicU64,
}

impl Certificates {
    /// Reads every file that the settings name. Blocks.
    pub(crate) fn load(&self, settings: &Settings) -> Result<TlsSet, TlsProblems> {
        isobar_tls::load(settings, &read, &self.keys)
    }

    /// Whether these are in force already.
    pub(crate) fn has(&self, tls: &TlsSet) -> bool {
        self.lock().fingerprint == tls.fingerprint
    }

    /// Remembers what is in force from now on.
    pub(crate) fn take_over(&self, tls: &TlsSet) {
        let mut in_force = self.lock();
        if in_force.refused.take().is_some() {
            info!("the files of certificates are sound again");
        }
        if in_force.fingerprint != tls.fingerprint {
            warn_of_expired(&tls.expiries);
        }
        in_force.fingerprint = tls.fingerprint;
        in_force.expiries.clone_from(&tls.expiries);
    }

    /// Remembers why changed files were refused.
    pub(crate) fn refuse(&self, reason: &str) {
        self.n_refused.fetch_add(1, Ordering::Relaxed);
        let before = self.lock().refused.replace(reason.to_owned());
        if before.as_deref() == Some(reason) {
            debug!("certificates are refused for the same reason as before");
            return;
        }
        for line in reason.lines() {
            warn!("{line}");
        }
        warn!("changed certificates refused: those in force stay");
    }

    /// Rotates the keys of session tickets until the task is dropped.
    pub(crate) async fn rotate_keys(self: Arc<Self>) {
        loop {
            tokio::time::sleep(TICKET_KEY_LIFETIME).await;
            if let Err(reason) = self.keys.rotate() {
                error!(%reason, "keys of session tickets stay in use");
            }
        }
    }

    pub(crate) fn render_metrics(&self, out: &mut String) {
        let in_force = self.lock();
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "# TYPE isobar_certificates_refused counter\n\
             # HELP isobar_certificates_refused Changed files of certificates that were refused.\n\
             isobar_certificates_refused_total {}\n\
             # TYPE isobar_certificates_failing gauge\n\
             # HELP isobar_certificates_failing 1 while the last files that came are refused.\n\
             isobar_certificates_failing {}\n\
             # TYPE isobar_certificate_not_after_seconds gauge\n# UNIT isobar_certificate_not_after_seconds seconds\n\
             # HELP isobar_certificate_not_after_seconds When a certificate of ours ends, in seconds since 1970.\n",
            self.n_refused.load(Ordering::Relaxed),
            u8::from(in_force.refused.is_some()),
        );
        for expiry in &in_force.expiries {
            let file = expiry.file.display().to_string();
            let file = file.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let seconds = expiry.not_after.as_secs();
            let _ = writeln!(out, "isobar_certificate_not_after_seconds{{file=\"{file}\"}} {seconds}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, InForce> {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is spoken to the endpoints of each service that has TLS.
pub(crate) fn by_service(settings: &Settings, tls: &TlsSet) -> HashMap<String, Originator> {
    let pairs = settings.services.iter().zip(&tls.services);
    pairs.filter_map(|(service, tls)| Some((service.name.clone(), tls.clone()?))).collect()
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 4MiB"));
    }
    Ok(bytes)
}

fn warn_of_expired(expiries: &[CertificateExpiry]) {
    // A clock before 1970 makes no certificate old.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    for expiry in expiries.iter().filter(|expiry| expiry.not_after < now) {
        warn!(file = %expiry.file.display(), "the certificate has expired: callers will refuse it; renew it");
    }
}
