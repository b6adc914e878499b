//! The checked settings of a service: its endpoints and where they come from, its probes, its connections.
//!
//! Invariants: the identities of `endpoints` are unique, no source is named twice, every bound of the reference page holds.

use std::path::PathBuf;
use std::time::Duration;

use isobar_core::{PolicySettings, StickyKey, Subset, WeightSettings, ZoneAware};

use crate::settings::AddressText;
use crate::tls_settings::ServiceTls;

/// `[services.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceSettings {
    /// Its name.
    pub name: String,
    /// How endpoints are chosen.
    pub policy: PolicySettings,
    /// What of a request is its key; `None` where the policy places by none.
    pub hash_key: Option<HashKey>,
    /// Where the weights of its endpoints come from.
    pub weights: WeightSettings,
    /// The path that load probes ask for; `None` where the policy sends none.
    pub load_probe: Option<String>,
    /// Its endpoints in written order.
    pub endpoints: Vec<EndpointSettings>,
    /// Where more of its endpoints come from, in written order; with none, `endpoints` are all.
    pub discovery: Vec<DiscoverySettings>,
    /// Its probes; an endpoint is healthy while all of them say so. With none, health is not watched.
    pub health: Vec<HealthSettings>,
    /// Fail-open: health is ignored where a smaller share is healthy and cannot carry the load, 0 to 100.
    pub min_healthy_percent: u8,
    /// Bound on making a connection to an endpoint.
    pub connect_timeout: Duration,
    /// Its idle connections.
    pub pool: PoolSettings,
    /// TLS to its endpoints; `None`: none.
    pub tls: Option<ServiceTls>,
    /// Whether its endpoints speak HTTP/2.
    pub http2: bool,
    /// Whether responses tell which endpoint answered.
    pub debug_headers: bool,
    /// The cookie by which callers keep their endpoint; `None`: none.
    pub sticky: Option<StickySettings>,
    /// Preference for this proxy's zone; `None`: zones do not count.
    pub zone_aware: Option<ZoneAware>,
    /// The part of its endpoints that this proxy uses; `None`: all.
    pub subset: Option<Subset>,
}

/// `sticky` of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StickySettings {
    /// The cookie's name: a token.
    pub cookie: String,
    /// How long the caller keeps it; `None`: until it is closed.
    pub ttl: Option<Duration>,
    /// What its values follow from.
    pub key: StickyKey,
}

/// One entry of `endpoints`.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointSettings {
    /// Where it listens.
    pub address: AddressText,
    /// Identity; `None`: its address.
    pub id: Option<String>,
    /// Share of the traffic; 0 takes none.
    pub weight: u32,
    /// Level: 0 is used first.
    pub priority: u32,
    /// Zone, where given.
    pub zone: Option<String>,
    /// The name that its places under a policy by key follow from, where given.
    pub hash_key: Option<String>,
}

/// What of a request a policy by key hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// The caller's address, as text.
    ClientIp,
    /// The first header of this name, in lower case.
    Header(String),
    /// The first cookie of this name.
    Cookie(String),
    /// The first parameter of this name in the query, as it is written.
    Query(String),
    /// The path that is routed on, without the query.
    Path,
    /// The host that is asked for, in lower case and without the port.
    Host,
}

/// One table of `discovery`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiscoverySettings {
    /// A watched file, for [`crate::read_endpoints`]; already relative to the configuration file's folder.
    File(PathBuf),
}

/// One table of `health`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthSettings {
    /// What is asked.
    pub probe: ProbeKind,
    /// From the beginning of one probe to that of the next.
    pub interval: Duration,
    /// The same while the endpoint is unhealthy or its verdict is about to change.
    pub failing_interval: Duration,
    /// How long a probe may take, the connection included.
    pub timeout: Duration,
    /// Passed probes in a row that make an unhealthy endpoint healthy; at least 1.
    pub healthy_after: u32,
    /// Failed probes in a row that make a healthy endpoint unhealthy; at least 1.
    pub unhealthy_after: u32,
    /// What a new endpoint counts as.
    pub initial: InitialHealth,
    /// Whether an `http` probe speaks HTTP/2, as the service does.
    pub http2: bool,
    /// Port to probe instead of the endpoint's own; without meaning for a unix socket.
    pub port: Option<u16>,
}

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeKind {
    /// A GET over HTTP/1.1.
    Http {
        /// Target: begins with `/`, visible ASCII, may hold a query.
        path: String,
        /// Host field; `None`: the endpoint's address.
        host: Option<String>,
        /// Statuses that pass, both ends included; at least one range, each from 200 to 599.
        status: Vec<(u16, u16)>,
    },
    /// A connection that is made and closed.
    Tcp,
    /// The gRPC health service, over HTTP/2.
    Grpc {
        /// The service asked for; empty: the whole server.
        service: String,
        /// Authority; `None`: the endpoint's address.
        host: Option<String>,
    },
}

/// What an endpoint counts as before its probes decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InitialHealth {
    /// Takes traffic; the first probe decides at once.
    #[default]
    Unknown,
    /// Takes traffic until `unhealthy_after` probes failed.
    Healthy,
    /// Takes none until `healthy_after` probes passed.
    Unhealthy,
}

/// `pool` of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSettings {
    /// Idle connections kept per endpoint, over all workers.
    pub idle: usize,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
    /// How long any connection is used.
    pub max_age: Duration,
    /// Open connections per endpoint over all workers; 0: no bound.
    pub max_connections_per_endpoint: usize,
}
