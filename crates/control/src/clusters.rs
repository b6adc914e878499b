//! All clusters of the process, by service, over reloads.
//!
//! Invariants: a service that a reload keeps keeps its cluster, and with it every number, edit and verdict; a reload is
//! prepared as a whole before anything of it is seen, and can still be dropped then.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use isobar_config::{DiscoverySettings, ServiceSettings};
use isobar_discovery::{Lookup, ResolveErrors};

use crate::handle::ClusterHandle;
use crate::journal::Journal;
use crate::owner::{OwnerContext, spawn};
use crate::probe::Prober;
use crate::sources::{ReadEndpoints, SourceContext, first_problem};

/// Every cluster of the process.
pub struct Clusters<L> {
    context: OwnerContext<L>,
    current: Mutex<BTreeMap<String, (ClusterHandle, ServiceSettings)>>,
}

/// A file of endpoints that says nothing yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilentFile {
    /// The service that is to discover it.
    pub service: String,
    /// Its path.
    pub path: PathBuf,
    /// Why.
    pub problem: String,
}

/// Why a configuration cannot take effect.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Names without an address.
    #[error(transparent)]
    Resolve(#[from] ResolveErrors),
    /// Files of endpoints that could not be read.
    #[error("{}", lines(.0))]
    Files(Vec<SilentFile>),
}

fn lines(files: &[SilentFile]) -> String {
    let line = |file: &SilentFile| {
        let SilentFile { service, path, problem } = file;
        format!(
            "service \"{service}\" runs and would discover {} instead, which has no endpoints to offer: {problem}; write \
             the file first",
            path.display()
        )
    };
    files.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The clusters of a configuration that is not in force yet; dropping it ends those that are new.
pub struct Prepared {
    /// In the order of the services.
    handles: Vec<ClusterHandle>,
    services: Vec<ServiceSettings>,
}

impl Prepared {
    /// One cluster for each service, in the order of the settings.
    pub fn handles(&self) -> &[ClusterHandle] {
        &self.handles
    }
}

impl<L: Lookup> Clusters<L> {
    /// None yet; their endpoints will be counted in by `n_shards` workers. `read` reads the text of a discovered file.
    pub fn new(lookup: L, read: Arc<ReadEndpoints>, journal: Journal, n_shards: usize, seed: u64) -> Self {
        let sources = SourceContext { lookup: Arc::new(lookup), read };
        let context = OwnerContext { sources, journal, prober: Prober::default(), n_shards, seed };
        Self { context, current: Mutex::default() }
    }

    /// Makes the clusters that these services need beside those that there are.
    ///
    /// # Errors
    ///
    /// Tells every endpoint in the settings whose host name has no address, unless its service had that name already:
    /// a name that worked before keeps its last addresses. Tells every file that a running service is to discover from
    /// now on and that says nothing yet: what it would take the place of works.
    pub async fn prepare(&self, services: &[ServiceSettings]) -> Result<Prepared, PrepareError> {
        self.check_files(services).await?;
        let unknown: Vec<ServiceSettings> =
            services.iter().map(|service| self.unknown_part(service)).collect();
        isobar_discovery::resolve(&unknown, Arc::clone(&self.context.sources.lookup)).await?;
        let mut handles = Vec::with_capacity(services.len());
        for service in services {
            let known = self.find(&service.name);
            handles.push(match known {
                Some(handle) => handle,
                None => spawn(service, &self.context).await,
            });
        }
        Ok(Prepared { handles, services: services.to_vec() })
    }

    async fn check_files(&self, services: &[ServiceSettings]) -> Result<(), PrepareError> {
        let mut silent = Vec::new();
        for service in services {
            let before = self.lock().get(&service.name).map(|(_, settings)| settings.discovery.clone());
            let Some(before) = before else { continue };
            for source in service.discovery.iter().filter(|source| !before.contains(source)) {
                let DiscoverySettings::File(path) = source;
                if let Some(problem) = first_problem(&service.name, path, &self.context.sources).await {
                    silent.push(SilentFile { service: service.name.clone(), path: path.clone(), problem });
                }
            }
        }
        if silent.is_empty() { Ok(()) } else { Err(PrepareError::Files(silent)) }
    }

    /// The service with only those endpoints that it did not have before.
    fn unknown_part(&self, service: &ServiceSettings) -> ServiceSettings {
        let current = self.lock();
        let before = current.get(&service.name).map(|(_, settings)| settings.endpoints.as_slice());
        let is_new = |endpoint: &&isobar_config::EndpointSettings| {
            !before.unwrap_or_default().iter().any(|old| old.address == endpoint.address)
        };
        let endpoints = service.endpoints.iter().filter(is_new).cloned().collect();
        ServiceSettings { endpoints, ..service.clone() }
    }

    /// Puts a prepared configuration in force: kept clusters take their new settings, others end.
    pub async fn commit(&self, prepared: Prepared) {
        let pairs = prepared.handles.into_iter().zip(prepared.services);
        let next: BTreeMap<_, _> =
            pairs.map(|(handle, settings)| (settings.name.clone(), (handle, settings))).collect();
        let before = std::mem::replace(&mut *self.lock(), next.clone());
        for (name, (handle, settings)) in next {
            let is_new = before.get(&name).is_none_or(|(_, old)| *old != settings);
            if is_new
                && before.contains_key(&name)
                && let Err(error) = handle.configure(settings).await
            {
                tracing::error!(%error, "a cluster could not take its new settings");
            }
        }
    }

    /// The cluster of a service.
    pub fn find(&self, service: &str) -> Option<ClusterHandle> {
        self.lock().get(service).map(|(handle, _)| handle.clone())
    }

    /// All clusters, by the names of their services.
    pub fn all(&self) -> Vec<ClusterHandle> {
        self.lock().values().map(|(handle, _)| handle.clone()).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, (ClusterHandle, ServiceSettings)>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
