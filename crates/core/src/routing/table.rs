//! The route table of one listener: the first match in written order, found through indexes.
//!
//! Routes are filed under their hosts, and under each host by path; a request looks only into the files
//! that its own host and path name, and takes the earliest match among them. So the cost follows the number
//! of labels and segments, not of routes.
//!
//! Invariants: the answer is that of trying every route in written order; finding it does not allocate
//! (patterns aside, whose engine keeps a cache). Limits: routes that share host and path, or whose path is a
//! pattern, are tried one by one.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

use super::host::{HOST_MAX, HostForm};
use super::rules::whole_segments;
use super::{HostPattern, PathRule, RequestView, RouteMatch};

/// A host with no more routes than this has them tried in order: hashing the path costs more.
const LINEAR_MAX: usize = 8;

/// Keyed without randomness: the keys come from the configuration, so no caller can make them collide.
type Map<V> = HashMap<Box<[u8]>, V, BuildHasherDefault<DefaultHasher>>;

/// Routes in written order, compiled.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    routes: Vec<(u32, RouteMatch)>,
    exact: Map<PathIndex>,
    suffix: Map<PathIndex>,
    /// Longest key of `suffix`: nothing longer need be looked up.
    suffix_len_max: usize,
    any: PathIndex,
}

impl RouteTable {
    /// Compiles routes, each with an id of the caller's choice, in the order in which they are tried.
    pub fn compile(routes: impl IntoIterator<Item = (u32, RouteMatch)>) -> Self {
        let routes: Vec<_> = routes.into_iter().collect();
        let (mut exact, mut suffix, mut any): (Map<Vec<u32>>, Map<Vec<u32>>, Vec<u32>) = Default::default();
        for (place, (_, rule)) in (0_u32..).zip(&routes) {
            if rule.hosts.is_empty() {
                any.push(place);
            }
            for host in &rule.hosts {
                let (map, key) = match host {
                    HostPattern::Exact(name) => (&mut exact, name),
                    HostPattern::Suffix(name) => (&mut suffix, name),
                };
                if key.len() <= HOST_MAX {
                    map.entry(key.as_bytes().into()).or_default().push(place);
                }
            }
        }
        let index = |map: Map<Vec<u32>>| -> Map<PathIndex> {
            map.into_iter().map(|(host, places)| (host, PathIndex::new(&places, &routes))).collect()
        };
        let (exact, suffix, any) = (index(exact), index(suffix), PathIndex::new(&any, &routes));
        let suffix_len_max = suffix.keys().map(|key| key.len()).max().unwrap_or(0);
        Self { routes, exact, suffix, suffix_len_max, any }
    }

    /// The id of the first route that takes the request.
    pub fn find(&self, request: &impl RequestView) -> Option<u32> {
        let mut search = Search { routes: &self.routes, request, best: None };
        search.index(&self.any);
        if !self.exact.is_empty() || !self.suffix.is_empty() {
            let form = HostForm::new(request.host());
            let host = form.as_bytes();
            if let Some(index) = self.exact.get(host) {
                search.index(index);
            }
            let first = host.len().saturating_sub(self.suffix_len_max).max(1);
            for at in first..host.len() {
                if host[at] == b'.'
                    && let Some(index) = self.suffix.get(&host[at..])
                {
                    search.index(index);
                }
            }
        }
        search.best.map(|place| self.routes[place as usize].0)
    }
}

/// The routes of one host by path, each list in written order.
#[derive(Clone, Debug, Default)]
struct PathIndex {
    exact: Map<Vec<u32>>,
    /// By prefix without the slash at its end.
    prefix: Map<Vec<u32>>,
    /// Longest key of `prefix`: a long path of many segments costs no more lookups than this.
    prefix_len_max: usize,
    /// Those that no path names.
    rest: Vec<u32>,
}

impl PathIndex {
    fn new(places: &[u32], routes: &[(u32, RouteMatch)]) -> Self {
        let mut index = Self::default();
        if places.len() <= LINEAR_MAX {
            index.rest = places.to_vec();
            return index;
        }
        for place in places {
            let list = match &routes[*place as usize].1.path {
                PathRule::Exact(path) => index.exact.entry(path.as_bytes().into()).or_default(),
                PathRule::Prefix(prefix) => {
                    let segments = whole_segments(prefix);
                    index.prefix_len_max = index.prefix_len_max.max(segments.len());
                    index.prefix.entry(segments.into()).or_default()
                }
                PathRule::Any | PathRule::Regex(_) => &mut index.rest,
            };
            list.push(*place);
        }
        index
    }
}

/// The earliest match so far.
struct Search<'a, R> {
    routes: &'a [(u32, RouteMatch)],
    request: &'a R,
    best: Option<u32>,
}

impl<R: RequestView> Search<'_, R> {
    fn index(&mut self, index: &PathIndex) {
        self.list(&index.rest);
        let path = self.request.path();
        if let Some(list) = index.exact.get(path) {
            self.list(list);
        }
        if index.prefix.is_empty() {
            return;
        }
        for end in 0..=path.len().min(index.prefix_len_max) {
            let whole = end == 0 || end == path.len() || path[end] == b'/';
            if whole && let Some(list) = index.prefix.get(&path[..end]) {
                self.list(list);
            }
        }
    }

    /// Takes the first match of a list if it comes before the best so far.
    fn list(&mut self, places: &[u32]) {
        let before = self.best.unwrap_or(u32::MAX);
        let mut earlier = places.iter().copied().take_while(|place| *place < before);
        let found = earlier.find(|place| self.routes[*place as usize].1.fits_beside_host(self.request));
        self.best = found.or(self.best);
    }
}
