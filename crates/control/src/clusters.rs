//! All clusters of the process, by service, over reloads.
//!
//! Invariants: a service that a reload keeps keeps its cluster, and with it every number, edit and verdict; a reload is
//! prepared as a whole before anything of it is seen, and can still be dropped then.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use isobar_config::{DiscoverySettings, ServiceSettings};
use isobar_discovery::{Lookup, ResolveErrors};
use isobar_tls::Originator;

use crate::handle::ClusterHandle;
use crate::journal::Journal;
use crate::owner::{OwnerContext, spawn};
use crate::probe::Prober;
use crate::sources::{FollowedFile, ReadEndpoints, SourceContext, mixed};

/// How long a reload waits for a file of endpoints and the names in it: a file system that hangs must not hold up
/// every later change.
const FILE_PATIENCE: Duration = Duration::from_secs(30);

/// How long a configuration that took effect is waited for: longer than the second that new names are given.
const COMMIT_PATIENCE: Duration = Duration::from_secs(3);

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
    /// Files that running services newly discover.
    files: BTreeMap<String, Vec<FollowedFile>>,
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
        let files = self.follow_files(services).await?;
        let unknown: Vec<ServiceSettings> =
            services.iter().map(|service| self.unknown_part(service)).collect();
        isobar_discovery::resolve(&unknown, Arc::clone(&self.context.sources.lookup)).await?;
        let handles = services.iter().map(async |service| match self.find(&service.name) {
            Some(handle) => handle,
            None => spawn(service, &self.context).await,
        });
        Ok(Prepared { handles: join_all(handles).await, services: services.to_vec(), files })
    }

    /// Follows the files that running services are to discover from now on, by service.
    async fn follow_files(
        &self,
        services: &[ServiceSettings],
    ) -> Result<BTreeMap<String, Vec<FollowedFile>>, PrepareError> {
        let wanted: Vec<(&str, PathBuf)> =
            services.iter().flat_map(|service| self.new_files(service)).collect();
        let context = &self.context;
        let follow = async |(service, path): (&str, PathBuf)| {
            let seed = mixed(context.seed, service);
            let followed = context.sources.follow_file(service, seed, &path);
            let followed = tokio::time::timeout(FILE_PATIENCE, followed).await;
            let silent = |problem| SilentFile { service: service.to_owned(), path: path.clone(), problem };
            match followed {
                Err(_) => Err(silent(format!("it could not be read within {} s", FILE_PATIENCE.as_secs()))),
                Ok(file) => match file.problem() {
                    Some(problem) => Err(silent(problem)),
                    None => Ok((service.to_owned(), file)),
                },
            }
        };
        let (mut files, mut silent) = (BTreeMap::<String, Vec<FollowedFile>>::new(), Vec::new());
        for followed in join_all(wanted.into_iter().map(follow)).await {
            match followed {
                Ok((service, file)) => files.entry(service).or_default().push(file),
                Err(problem) => silent.push(problem),
            }
        }
        if silent.is_empty() { Ok(files) } else { Err(PrepareError::Files(silent)) }
    }

    /// The files that a service is to discover and that it does not discover now; none of a service that does not run.
    fn new_files<'a>(&self, service: &'a ServiceSettings) -> Vec<(&'a str, PathBuf)> {
        let current = self.lock();
        let Some((_, before)) = current.get(&service.name) else { return Vec::new() };
        let new = service.discovery.iter().filter(|source| !before.discovery.contains(source));
        new.map(|DiscoverySettings::File(path)| (service.name.as_str(), path.clone())).collect()
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

    /// Puts a prepared configuration in force: kept clusters take their new settings, others end. Waits until the
    /// endpoints can be seen, for a few seconds at most.
    pub async fn commit(&self, mut prepared: Prepared) {
        let pairs = prepared.handles.into_iter().zip(prepared.services);
        let next: BTreeMap<_, _> =
            pairs.map(|(handle, settings)| (settings.name.clone(), (handle, settings))).collect();
        let before = std::mem::replace(&mut *self.lock(), next.clone());
        let mut on_their_way = Vec::new();
        for (name, (handle, settings)) in next {
            let Some((_, old)) = before.get(&name) else { continue };
            if *old == settings {
                continue;
            }
            let files = prepared.files.remove(&name).unwrap_or_default();
            match handle.configure(settings, files).await {
                Ok(configured) => on_their_way.push(configured.in_force()),
                Err(error) => tracing::error!(%error, "a cluster could not take its new settings"),
            }
        }
        match tokio::time::timeout(COMMIT_PATIENCE, join_all(on_their_way)).await {
            Ok(results) => {
                for error in results.into_iter().filter_map(Result::err) {
                    tracing::error!(%error, "a cluster could not take its new settings");
                }
            }
            Err(_) => {
                tracing::warn!(
                    "the endpoints of other settings are not found yet; they follow when they are"
                );
            }
        }
    }

    /// What probes speak from now on, by service; others are probed in the clear.
    pub fn set_probe_tls(&self, tls: HashMap<String, Originator>) {
        self.context.prober.set_tls(tls);
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
