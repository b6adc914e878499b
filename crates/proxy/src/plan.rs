//! The configuration as the data path reads it: compiled, indexed by number, shared by all workers.
//!
//! Invariants: every index stored here is in range (references were checked by `config`); nothing here changes after
//! it was built: a new configuration is a new plan.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use isobar_config::{
    HashKey, HeaderEdits, ListenerSettings, LogFormat, PathRewrite, PoolSettings, RetrySettings, RouteAction,
    RouteSettings, Settings, StickySettings,
};
use isobar_core::{Layout, PolicyKind, RouteMatch, RouteTable, SplitTable, WeightSource};
use isobar_http1::HeadLimits;
use isobar_tls::{Originator, Terminator, TlsSet};

/// How long an endpoint may take to begin its response where the route sets no `timeout`: the habit of nginx
/// (`proxy_read_timeout`), so that a silent endpoint cannot hold a request for ever.
pub(crate) const RESPONSE_HEAD_TIMEOUT: Duration = Duration::from_mins(1);

/// Everything that the workers need to know.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) listeners: Vec<ListenerPlan>,
    pub(crate) routes: Vec<RoutePlan>,
    pub(crate) services: Vec<ServicePlan>,
    /// Names of the series that requests are counted under, each once.
    pub(crate) series: Vec<Series>,
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) log_format: Option<LogFormat>,
}

/// One listener.
#[derive(Debug)]
pub(crate) struct ListenerPlan {
    pub(crate) name: Arc<str>,
    pub(crate) head_timeout: Duration,
    pub(crate) body_idle: Duration,
    pub(crate) idle: Duration,
    /// TLS with callers, where it is spoken.
    pub(crate) tls: Option<Terminator>,
    pub(crate) handshake_timeout: Duration,
    /// TLS handshakes in progress.
    pub(crate) handshakes_max: usize,
    pub(crate) head_limits: HeadLimits,
    /// Longest request body; `u64::MAX` where there is no bound.
    pub(crate) body_max: u64,
    /// Open connections; `usize::MAX` where there is no bound.
    pub(crate) connections_max: usize,
    /// HTTP/2 streams of one connection at a time.
    pub(crate) streams_max: u32,
    pub(crate) normalize_path: bool,
    pub(crate) table: RouteTable,
    /// Counts the requests that no route took.
    pub(crate) unrouted: usize,
}

/// One route.
#[derive(Debug)]
pub(crate) struct RoutePlan {
    pub(crate) name: Arc<str>,
    pub(crate) action: ActionPlan,
    pub(crate) path: PathRewrite,
    pub(crate) host: Option<String>,
    pub(crate) request_edits: EditPlan,
    pub(crate) response_edits: EditPlan,
    /// Bound on the whole request.
    pub(crate) timeout: Option<Duration>,
    pub(crate) retry: RetrySettings,
    pub(crate) upgrades: Vec<String>,
}

/// What a route does.
#[derive(Debug)]
pub(crate) enum ActionPlan {
    Forward { split: Option<SplitTable>, branches: Vec<Branch> },
    Redirect { to: String, status: u16, series: usize },
    Respond { status: u16, body: String, series: usize },
}

/// One service of a split.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Branch {
    pub(crate) service: usize,
    pub(crate) series: usize,
}

/// Compiled header changes.
#[derive(Debug, Default)]
pub(crate) struct EditPlan {
    /// Names (lower case) whose fields are left out.
    pub(crate) drops: Vec<Box<str>>,
    /// Whole field lines to append.
    pub(crate) lines: Box<[u8]>,
}

/// One service.
#[derive(Debug)]
pub(crate) struct ServicePlan {
    pub(crate) name: Arc<str>,
    pub(crate) policy: &'static str,
    /// What places its requests, where its policy goes by a key.
    pub(crate) placement: Option<Placement>,
    /// What load probes ask for, where its policy sends any.
    pub(crate) load_probe: Option<Box<str>>,
    /// Its policy heeds what answers tell of load.
    pub(crate) hears_load: bool,
    pub(crate) connect_timeout: Duration,
    pub(crate) pool: PoolSettings,
    /// Its endpoints speak HTTP/2.
    pub(crate) http2: bool,
    pub(crate) debug_headers: bool,
    /// What an error counts for in its endpoints' load reports, where these are read.
    pub(crate) error_penalty: Option<f32>,
    /// The cookie by which callers keep their endpoint.
    pub(crate) sticky: Option<StickyPlan>,
    /// TLS to its endpoints, where it is spoken.
    pub(crate) tls: Option<Originator>,
}

/// What of a request is hashed, and how.
#[derive(Debug)]
pub(crate) struct Placement {
    pub(crate) key: HashKey,
    pub(crate) layout: Layout,
}

/// A sticky cookie.
#[derive(Debug)]
pub(crate) struct StickyPlan {
    pub(crate) cookie: String,
    /// What follows its value.
    pub(crate) attributes: Box<[u8]>,
}

impl StickyPlan {
    fn compile(settings: &StickySettings) -> Self {
        let mut attributes = "; Path=/; HttpOnly; SameSite=Lax".to_owned();
        if let Some(ttl) = settings.ttl {
            attributes.push_str("; Max-Age=");
            attributes.push_str(&ttl.as_secs().to_string());
        }
        Self { cookie: settings.cookie.clone(), attributes: attributes.into_bytes().into() }
    }
}

/// Labels of a request counter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Series {
    pub(crate) route: Arc<str>,
    /// Empty where no service was involved.
    pub(crate) service: Arc<str>,
}

impl Plan {
    /// Compiles checked settings and the TLS that belongs to them.
    pub(crate) fn compile(settings: &Settings, tls: &TlsSet) -> Self {
        let mut compiler = Compiler { plan: Self::without_routes(settings, tls), places: HashMap::default() };
        for route in &settings.routes {
            let route = compiler.route(route);
            compiler.plan.routes.push(route);
        }
        for (place, listener) in settings.listeners.iter().enumerate() {
            let tls = tls.listeners.get(place).cloned().flatten();
            compiler.listener(listener, tls, &settings.routes);
        }
        compiler.plan
    }

    fn without_routes(settings: &Settings, tls: &TlsSet) -> Self {
        Self {
            services: settings
                .services
                .iter()
                .enumerate()
                .map(|(place, service)| ServicePlan {
                    tls: tls.services.get(place).cloned().flatten(),
                    name: service.name.as_str().into(),
                    policy: service.policy.kind.name(),
                    placement: service
                        .hash_key
                        .clone()
                        .map(|key| Placement { key, layout: service.policy.layout }),
                    load_probe: service.load_probe.as_deref().map(Into::into),
                    hears_load: service.policy.kind == PolicyKind::Prequal,
                    connect_timeout: service.connect_timeout,
                    pool: service.pool,
                    http2: service.http2,
                    debug_headers: service.debug_headers,
                    error_penalty: match service.weights.source {
                        WeightSource::Reported { error_penalty_percent, .. } => {
                            Some(error_penalty_percent as f32 / 100.0)
                        }
                        WeightSource::Configured | WeightSource::Measured => None,
                    },
                    sticky: service.sticky.as_ref().map(StickyPlan::compile),
                })
                .collect(),
            trusted_proxies: settings.runtime.trusted_proxies.clone(),
            log_format: settings.access_log.as_ref().map(|log| log.format),
            ..Self::default()
        }
    }
}

/// A plan in the making.
struct Compiler {
    plan: Plan,
    /// Where each series stands: routes of several listeners, and branches of a split, may share one.
    places: HashMap<Series, usize>,
}

impl Compiler {
    fn series(&mut self, route: &Arc<str>, service: Arc<str>) -> usize {
        let all = &mut self.plan.series;
        let series = Series { route: Arc::clone(route), service };
        *self.places.entry(series).or_insert_with_key(|series| {
            all.push(series.clone());
            all.len() - 1
        })
    }

    fn service_index(&self, name: &str) -> usize {
        let found = self.plan.services.iter().position(|service| &*service.name == name);
        found.unwrap_or_else(|| unreachable!("config checked that service {name} exists"))
    }

    fn branch(&mut self, route: &Arc<str>, service: &str) -> Branch {
        let service = self.service_index(service);
        let name = Arc::clone(&self.plan.services[service].name);
        Branch { service, series: self.series(route, name) }
    }

    fn route(&mut self, route: &RouteSettings) -> RoutePlan {
        let name: Arc<str> = route.name.as_str().into();
        let action = match &route.action {
            RouteAction::Forward(entries) => {
                let weights: Vec<u32> = entries.iter().map(|entry| entry.weight).collect();
                ActionPlan::Forward {
                    split: (entries.len() > 1).then(|| SplitTable::new(&weights)),
                    branches: entries.iter().map(|entry| self.branch(&name, &entry.service)).collect(),
                }
            }
            RouteAction::Redirect { to, status } => ActionPlan::Redirect {
                to: to.clone(),
                status: *status,
                series: self.series(&name, "".into()),
            },
            RouteAction::Respond { status, body } => ActionPlan::Respond {
                status: *status,
                body: body.clone(),
                series: self.series(&name, "".into()),
            },
        };
        RoutePlan {
            name,
            action,
            path: route.rewrite.path.clone(),
            host: route.rewrite.host.clone(),
            request_edits: EditPlan::compile(&route.request_headers),
            response_edits: EditPlan::compile(&route.response_headers),
            timeout: route.timeout,
            retry: route.retry.clone(),
            upgrades: route.upgrades.clone(),
        }
    }

    /// Adds a listener with its routes; its `service` becomes a last route that matches everything.
    fn listener(&mut self, listener: &ListenerSettings, tls: Option<Terminator>, routes: &[RouteSettings]) {
        let serves =
            |route: &RouteSettings| route.listeners.is_empty() || route.listeners.contains(&listener.name);
        let mut table: Vec<(u32, RouteMatch)> = routes
            .iter()
            .enumerate()
            .filter(|(_, route)| serves(route))
            .map(|(index, route)| (index as u32, route.matches.clone()))
            .collect();
        if let Some(service) = &listener.service {
            let name: Arc<str> = "default".into();
            let branch = self.branch(&name, service);
            table.push((self.plan.routes.len() as u32, RouteMatch::default()));
            self.plan.routes.push(RoutePlan::plain(name, branch));
        }
        let unrouted = self.series(&"".into(), "".into());
        let limits = listener.limits;
        self.plan.listeners.push(ListenerPlan {
            name: listener.name.as_str().into(),
            head_timeout: listener.timeouts.head,
            body_idle: listener.timeouts.body_idle,
            idle: listener.timeouts.idle,
            tls,
            handshake_timeout: listener.timeouts.handshake,
            handshakes_max: limits.handshakes,
            head_limits: HeadLimits {
                head_bytes: limits.head,
                target_bytes: limits.target,
                n_headers: limits.headers,
            },
            body_max: if limits.body == 0 { u64::MAX } else { limits.body },
            connections_max: if limits.connections == 0 { usize::MAX } else { limits.connections },
            streams_max: limits.streams,
            normalize_path: listener.normalize_path,
            table: RouteTable::compile(table),
            unrouted,
        });
    }
}

impl RoutePlan {
    /// A route that forwards everything as it came.
    fn plain(name: Arc<str>, branch: Branch) -> Self {
        Self {
            name,
            action: ActionPlan::Forward { split: None, branches: vec![branch] },
            path: PathRewrite::Keep,
            host: None,
            request_edits: EditPlan::default(),
            response_edits: EditPlan::default(),
            timeout: None,
            retry: RetrySettings::default(),
            upgrades: vec!["websocket".to_owned()],
        }
    }
}

impl EditPlan {
    fn compile(edits: &HeaderEdits) -> Self {
        let mut lines = Vec::new();
        for (name, value) in edits.set.iter().chain(&edits.add) {
            for part in [name.as_str(), ": ", value, "\r\n"] {
                lines.extend_from_slice(part.as_bytes());
            }
        }
        let drops = edits.set.iter().map(|(name, _)| name).chain(&edits.remove);
        Self { drops: drops.map(|name| name.as_str().into()).collect(), lines: lines.into() }
    }

    /// Whether a field of this name (any case) is left out.
    pub(crate) fn drops(&self, name: &[u8]) -> bool {
        self.drops.iter().any(|drop| drop.as_bytes().eq_ignore_ascii_case(name))
    }
}
