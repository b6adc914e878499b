//! Where the endpoints of one service come from: the list in its settings, then its discovered files, in written order.
//!
//! Each is a feed of written endpoints whose host names are resolved again and again. Invariants: a source that a
//! reload keeps (the list always, a file by its path) goes on and forgets nothing; a source that fails keeps what it
//! said last.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use isobar_config::{DiscoverySettings, EndpointSettings, ServiceSettings};
use isobar_core::{Address, Draw, Endpoint, Found, SourceSet};
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

impl Source {
    fn new(
        name: Arc<str>,
        path: Option<PathBuf>,
        feed: Feed<isobar_discovery::Found>,
        news: &Arc<Notify>,
    ) -> Self {
        let (mut watched, news) = (feed.clone(), Arc::clone(news));
        let wakes = tokio::spawn(async move {
            while watched.changed().await.is_ok() {
                news.notify_one();
            }
        });
        Self { name, path, feed, wakes }
    }

    fn of_file(file: FollowedFile, news: &Arc<Notify>) -> Self {
        let name = file.path.display().to_string().into();
        Self::new(name, Some(file.path), file.feed, news)
    }
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

impl<L: Lookup> SourceContext<L> {
    async fn names(
        &self,
        service: &str,
        seed: u64,
        written: Feed<EndpointSettings>,
    ) -> Feed<isobar_discovery::Found> {
        let lookup = Arc::clone(&self.lookup);
        isobar_discovery::names(written, lookup, RERESOLVE_INTERVAL, seed, service).await
    }

    /// Follows a discovered file; it has been read once, and its names asked for, when this returns.
    pub(crate) async fn follow_file(&self, service: &str, seed: u64, path: &Path) -> FollowedFile {
        let read = Arc::clone(&self.read);
        let written = isobar_discovery::file(path.to_owned(), move |path, text| read(path, text)).await;
        let seed = mixed(seed, &path.to_string_lossy());
        FollowedFile { path: path.to_owned(), feed: self.names(service, seed, written).await }
    }
}

/// A discovered file that is followed and not yet one of a cluster's sources.
pub(crate) struct FollowedFile {
    path: PathBuf,
    feed: Feed<isobar_discovery::Found>,
}

impl FollowedFile {
    /// Why it has no endpoints to offer, where that is not what it says.
    pub(crate) fn problem(&self) -> Option<String> {
        let state = self.feed.borrow();
        state.problem.as_deref().filter(|_| state.endpoints.is_empty()).map(ToOwned::to_owned)
    }
}

/// A seed of one's own for whoever has this name, so that those who start together do not stay in step.
pub(crate) fn mixed(seed: u64, name: &str) -> u64 {
    name.bytes().fold(seed, |seed, byte| Draw::new(seed ^ u64::from(byte)).next_u64())
}

/// The sources of one service.
pub(crate) struct Sources {
    list: FixedList,
    /// The list of the settings, and behind it the files.
    followed: Vec<Source>,
    /// Files that the settings name no more, until what they now list is found.
    leaving: Vec<Source>,
    /// The revision of the list that must be found before those leave.
    awaited: u64,
    /// Told whenever a source says something new.
    news: Arc<Notify>,
}

impl Sources {
    /// Follows the sources of a service; each has been read once when this returns.
    pub(crate) async fn follow<L: Lookup>(
        settings: &ServiceSettings,
        context: &SourceContext<L>,
        seed: u64,
    ) -> Self {
        let (list, written) = isobar_discovery::fixed(settings.endpoints.clone());
        let news = Arc::default();
        let inline = context.names(&settings.name, seed, written).await;
        let mut followed = vec![Source::new(CONFIGURATION.into(), None, inline, &news)];
        for DiscoverySettings::File(path) in &settings.discovery {
            let file = context.follow_file(&settings.name, seed, path).await;
            followed.push(Source::of_file(file, &news));
        }
        Self { list, followed, leaving: Vec::new(), awaited: 0, news }
    }

    /// Takes over what a reload says; `files` has those that were not followed before.
    pub(crate) fn replace(&mut self, settings: &ServiceSettings, files: Vec<FollowedFile>) {
        self.awaited = self.list.replace(settings.endpoints.clone());
        let mut before = self.followed.split_off(1);
        let mut new: Vec<Source> = files.into_iter().map(|file| Source::of_file(file, &self.news)).collect();
        for DiscoverySettings::File(path) in &settings.discovery {
            for pool in [&mut before, &mut new, &mut self.leaving] {
                if let Some(at) = pool.iter().position(|source| source.path.as_ref() == Some(path)) {
                    self.followed.push(pool.swap_remove(at));
                    break;
                }
            }
        }
        self.leaving.append(&mut before);
        self.news.notify_one();
    }

    /// Drops the files that the settings name no more, once what these list is found; true when nothing is to be
    /// waited for.
    pub(crate) fn settle(&mut self) -> bool {
        let settled = self.followed[0].feed.borrow().written >= self.awaited;
        if settled {
            self.leaving.clear();
        }
        settled
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
        self.followed.iter().chain(&self.leaving).map(set).collect()
    }

    /// What all of them say of themselves, without their endpoints; readable while the owner works.
    pub(crate) fn reports(&self) -> Vec<(Arc<str>, Feed<isobar_discovery::Found>)> {
        self.followed.iter().map(|source| (Arc::clone(&source.name), source.feed.clone())).collect()
    }
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
    Found { inferred: found.inferred.then(|| written_as(&endpoint)).flatten(), endpoint }
}

/// What one written endpoint was found under: the ids of its addresses are `NAME/ADDRESS`. Another port is another
/// written endpoint, so that its addresses are no answer's loss.
fn written_as(endpoint: &Endpoint) -> Option<Arc<str>> {
    let (name, _) = endpoint.id.rsplit_once('/')?;
    let Address::Tcp(address) = &endpoint.address else { return None };
    Some(format!("{name}:{}", address.port()).into())
}
