//! Where the endpoints of one service come from: the list in its settings, then its discovered files, in written order.
//!
//! Each is a feed of written endpoints whose host names are resolved again and again. Invariants: a source that a
//! reload keeps (the list always, a file by its path) goes on and forgets nothing; a source that fails keeps what it
//! said last.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use isobar_config::{DiscoverySettings, EndpointSettings, ServiceSettings};
use isobar_core::{Found, SourceSet};
use isobar_discovery::{Feed, FixedList, Lookup, RERESOLVE_INTERVAL};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// The name of the list that stands in the settings.
const CONFIGURATION: &str = "configuration";

/// Reads the text of a discovered file.
pub type ReadEndpoints = dyn Fn(&Path, String) -> Result<Vec<EndpointSettings>, String> + Send + Sync;

/// What a source says of itself.
#[derive(Debug, Clone)]
pub struct SourceReport {
    /// Its name: `configuration`, or the path of a file.
    pub name: Arc<str>,
    /// How many endpoints it names.
    pub n_endpoints: usize,
    /// Why it could not be read last; the endpoints are those of the last time that it could.
    pub problem: Option<Arc<str>>,
    /// When it was last read as it is.
    pub updated: Option<SystemTime>,
}

/// One source that is followed.
pub(crate) struct Source {
    name: Arc<str>,
    /// The file; `None` for the list of the settings.
    path: Option<PathBuf>,
    feed: Feed<isobar_discovery::Found>,
    wakes: JoinHandle<()>,
}

impl Drop for Source {
    fn drop(&mut self) {
        self.wakes.abort();
    }
}

/// What the sources of every service need.
pub(crate) struct SourceContext<L> {
    pub(crate) lookup: Arc<L>,
    pub(crate) read: Arc<ReadEndpoints>,
}

impl<L> Clone for SourceContext<L> {
    fn clone(&self) -> Self {
        Self { lookup: Arc::clone(&self.lookup), read: Arc::clone(&self.read) }
    }
}

/// The sources of one service.
pub(crate) struct Sources<L> {
    service: Arc<str>,
    context: SourceContext<L>,
    list: FixedList,
    followed: Vec<Source>,
    /// Told whenever a source says something new.
    news: Arc<Notify>,
    seed: u64,
}

impl<L: Lookup> Sources<L> {
    /// Follows the sources of a service; each has been read once when this returns.
    pub(crate) async fn follow(settings: &ServiceSettings, context: SourceContext<L>, seed: u64) -> Self {
        let (list, written) = isobar_discovery::fixed(settings.endpoints.clone());
        let mut sources = Self {
            service: settings.name.as_str().into(),
            context,
            list,
            followed: Vec::new(),
            news: Arc::default(),
            seed,
        };
        let inline = sources.source(CONFIGURATION.into(), None, written).await;
        sources.followed.push(inline);
        sources.follow_files(&settings.discovery).await;
        sources
    }

    /// Takes over what a reload says.
    pub(crate) async fn replace(&mut self, settings: &ServiceSettings) {
        self.list.replace(settings.endpoints.clone());
        self.follow_files(&settings.discovery).await;
        self.news.notify_one();
    }

    /// Puts these files behind the list, in their order; those that are followed already go on.
    async fn follow_files(&mut self, discovery: &[DiscoverySettings]) {
        let mut before = self.followed.split_off(1);
        for DiscoverySettings::File(path) in discovery {
            let kept = before.iter().position(|source| source.path.as_ref() == Some(path));
            let source = if let Some(at) = kept {
                before.swap_remove(at)
            } else {
                let read = Arc::clone(&self.context.read);
                let written = isobar_discovery::file(path.clone(), move |path, text| read(path, text)).await;
                self.source(path.display().to_string().into(), Some(path.clone()), written).await
            };
            self.followed.push(source);
        }
    }

    async fn source(&self, name: Arc<str>, path: Option<PathBuf>, written: Feed<EndpointSettings>) -> Source {
        let lookup = Arc::clone(&self.context.lookup);
        let feed =
            isobar_discovery::names(written, lookup, RERESOLVE_INTERVAL, self.seed, &self.service).await;
        let (mut watched, news) = (feed.clone(), Arc::clone(&self.news));
        let wakes = tokio::spawn(async move {
            while watched.changed().await.is_ok() {
                news.notify_one();
            }
        });
        Source { name, path, feed, wakes }
    }

    /// Told whenever a source says something new.
    pub(crate) fn news(&self) -> Arc<Notify> {
        Arc::clone(&self.news)
    }

    /// What all of them say now, for the cluster. A source that was never read names nothing.
    pub(crate) fn sets(&self) -> Vec<SourceSet> {
        let set = |source: &Source| SourceSet {
            name: Arc::clone(&source.name),
            found: source.feed.borrow().endpoints.iter().map(found).collect(),
        };
        self.followed.iter().map(set).collect()
    }

    /// What all of them say of themselves, without their endpoints; readable while the owner works.
    pub(crate) fn reports(&self) -> Vec<(Arc<str>, Feed<isobar_discovery::Found>)> {
        self.followed.iter().map(|source| (Arc::clone(&source.name), source.feed.clone())).collect()
    }
}

/// Reads a file of endpoints once, names included; why it has none to offer, where that is not what it says.
pub(crate) async fn first_problem<L: Lookup>(
    service: &str,
    path: &Path,
    context: &SourceContext<L>,
) -> Option<String> {
    let read = Arc::clone(&context.read);
    let written = isobar_discovery::file(path.to_owned(), move |path, text| read(path, text)).await;
    let lookup = Arc::clone(&context.lookup);
    let feed = isobar_discovery::names(written, lookup, RERESOLVE_INTERVAL, 0, service).await;
    let state = feed.borrow();
    state.problem.as_deref().filter(|_| state.endpoints.is_empty()).map(ToOwned::to_owned)
}

/// The report of one source.
pub(crate) fn report(name: &Arc<str>, feed: &Feed<isobar_discovery::Found>) -> SourceReport {
    let state = feed.borrow();
    SourceReport {
        name: Arc::clone(name),
        n_endpoints: state.endpoints.len(),
        problem: state.problem.clone(),
        updated: state.updated,
    }
}

fn found(found: &isobar_discovery::Found) -> Found {
    let endpoint = found.endpoint.clone();
    // The id of an endpoint of a name is `NAME/ADDRESS`.
    let name = endpoint.id.rsplit_once('/').map(|(name, _)| name.into());
    Found { inferred: name.filter(|_| found.inferred), endpoint }
}
