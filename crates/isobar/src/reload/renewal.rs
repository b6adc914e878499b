//! Certificates that change under a configuration that stays.
//!
//! Invariant: one change at a time, whether of the configuration or of certificates; files that are not sound change
//! nothing.

use std::path::PathBuf;
use std::sync::Arc;

use isobar_config::Settings;
use isobar_control::ClusterHandle;
use isobar_discovery::FileWatch;
use isobar_tls::TlsSet;
use tracing::info;

use super::{Configuration, READING_PATIENCE};

impl Configuration {
    pub(super) async fn load_certificates(&self, settings: &Arc<Settings>) -> Result<TlsSet, String> {
        let (certificates, settings) = (Arc::clone(&self.certificates), Arc::clone(settings));
        let loading = tokio::task::spawn_blocking(move || certificates.load(&settings));
        match tokio::time::timeout(READING_PATIENCE, loading).await {
            Ok(Ok(loaded)) => loaded.map_err(|problems| problems.to_string()),
            Ok(Err(error)) => Err(format!("reading certificates broke off: {error}")),
            Err(_) => Err(format!("certificates could not be read within {} s", READING_PATIENCE.as_secs())),
        }
    }

    /// Follows the files that the settings in force name for TLS, until the task is dropped.
    pub(crate) async fn watch_certificates(self: Arc<Self>) {
        loop {
            let paths: Vec<PathBuf> = isobar_tls::paths(&self.settings()).into_iter().collect();
            if paths.is_empty() {
                self.changed.notified().await;
                continue;
            }
            let mut watch = FileWatch::new(paths).await;
            // What changed between the last reading and the watch.
            self.renew_certificates().await;
            loop {
                tokio::select! {
                    () = watch.changed() => self.renew_certificates().await,
                    () = self.changed.notified() => break,
                }
            }
        }
    }

    /// Reads the files of certificates again; where they are sound and others than before, they take effect.
    async fn renew_certificates(&self) {
        let _turn = self.turn.lock().await;
        self.renew_certificates_in_turn().await;
    }

    /// As `renew_certificates`, for who has the turn already.
    pub(super) async fn renew_certificates_in_turn(&self) {
        let settings = self.settings();
        let tls = match self.load_certificates(&settings).await {
            Ok(tls) => tls,
            Err(reason) => return self.certificates.refuse(&reason),
        };
        if self.certificates.has(&tls) {
            return self.certificates.take_over(&tls);
        }
        let handles = settings.services.iter().map(|service| self.clusters.find(&service.name));
        let Some(handles) = handles.collect::<Option<Vec<_>>>() else { return };
        let published = handles.iter().map(ClusterHandle::published).collect();
        match self.hand_over(&settings, published, &tls).await {
            Ok(_) => {
                self.certificates.take_over(&tls);
                info!("other certificates took effect");
            }
            Err(reason) => self.certificates.refuse(&reason),
        }
    }
}
