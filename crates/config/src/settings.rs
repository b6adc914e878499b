//! The checked settings: what the rest of the program reads, free of TOML, defaults filled in, every value in bounds.
//!
//! Invariants: names referenced by listeners and routes exist; names are unique within their kind; every bound of the
//! reference page holds. Addresses may still carry host names: resolving them is an effect and happens elsewhere.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use isobar_core::RouteMatch;

use crate::service_settings::ServiceSettings;
use crate::tls_settings::ListenerTls;

/// A whole configuration, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Process-wide settings.
    pub runtime: RuntimeSettings,
    /// Admin interface; `None` leaves it off.
    pub admin: Option<AdminSettings>,
    /// Access log; `None` leaves it off.
    pub access_log: Option<AccessLogSettings>,
    /// Listeners in written order; at least one.
    pub listeners: Vec<ListenerSettings>,
    /// Routes in written order; the first match wins.
    pub routes: Vec<RouteSettings>,
    /// Services by name, in written order.
    pub services: Vec<ServiceSettings>,
}

/// `[runtime]`.
#[derive(Debug, Clone, PartialEq)]
pub struct RuntimeSettings {
    /// Worker threads; 0 stands for one per available core.
    pub workers: usize,
    /// How long listeners stay open after SIGTERM while `/readyz` says 503.
    pub shutdown_delay: Duration,
    /// How long requests in flight may take to finish after that.
    pub shutdown_grace: Duration,
    /// Networks whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Where this proxy stands, where that is told.
    pub zone: Option<String>,
    /// What this proxy is called, where that is told.
    pub instance: Option<String>,
}

/// `[admin]`.
#[derive(Debug, Clone, PartialEq)]
pub struct AdminSettings {
    /// Where the admin interface listens.
    pub listen: AddressText,
    /// File with the bearer token, already relative to the configuration file's folder; `None`: no token is asked for.
    pub token_file: Option<PathBuf>,
    /// Host names in lower case that it answers to besides the loopback ones.
    pub hosts: Vec<String>,
}

/// `[access_log]`.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessLogSettings {
    /// Where lines go.
    pub to: LogTarget,
    /// Their form.
    pub format: LogFormat,
}

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// A file, appended to and reopened on SIGUSR1; already relative to the configuration file's folder.
    File(PathBuf),
}

/// Form of an access log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// `key=value` text.
    Text,
}

/// An address as written: a host name is not resolved yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AddressText {
    /// `HOST:PORT`, `:PORT` (empty host: every interface, v6 and v4) or `[::1]:PORT` (host without brackets).
    Tcp {
        /// Host name or IP literal; empty for `:PORT`.
        host: String,
        /// Port; 0 lets the system choose (listeners only).
        port: u16,
    },
    /// `unix:/path`.
    Unix(PathBuf),
}

/// `[[listeners]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct ListenerSettings {
    /// Unique name, for logs and metrics.
    pub name: String,
    /// Where it listens.
    pub listen: AddressText,
    /// TLS with its callers; `None`: none.
    pub tls: Option<ListenerTls>,
    /// Its time limits.
    pub timeouts: ListenerTimeouts,
    /// Its size limits.
    pub limits: ListenerLimits,
    /// The service that takes every request no route of this listener matched; `None` answers 404.
    pub service: Option<String>,
    /// Whether routing and forwarding use the normalised path (dot segments resolved, encoded slashes refused).
    pub normalize_path: bool,
}

/// `timeouts` of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerTimeouts {
    /// From the first byte of a request head to its last.
    pub head: Duration,
    /// Longest silence within a body, in either direction.
    pub body_idle: Duration,
    /// Longest wait for the next request on a kept connection.
    pub idle: Duration,
    /// From accepting a connection to the end of its TLS handshake.
    pub handshake: Duration,
}

/// `limits` of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Bytes of a request head, request line included.
    pub head: usize,
    /// Bytes of a request target.
    pub target: usize,
    /// Number of header fields.
    pub headers: usize,
    /// Bytes of a request body; 0 stands for no bound.
    pub body: u64,
    /// Open connections; 0 stands for no bound of its own.
    pub connections: usize,
    /// TLS handshakes in progress; at least 1.
    pub handshakes: usize,
    /// HTTP/2 streams of one connection at a time; at least 1.
    pub streams: u32,
}

/// `[[routes]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteSettings {
    /// Name in logs and metrics; by default host and path.
    pub name: String,
    /// Names of the listeners it serves; empty: all of them.
    pub listeners: Vec<String>,
    /// The conditions, as `core` matches them.
    pub matches: RouteMatch,
    /// What happens to a matching request.
    pub action: RouteAction,
    /// Changes to target and Host before forwarding.
    pub rewrite: Rewrite,
    /// Changes to the request's headers.
    pub request_headers: HeaderEdits,
    /// Changes to the response's headers.
    pub response_headers: HeaderEdits,
    /// Bound on the whole request; `None`: only the wait for a response head is bounded.
    pub timeout: Option<Duration>,
    /// When failed attempts are repeated.
    pub retry: RetrySettings,
    /// Protocols (lower case) that an Upgrade may switch to.
    pub upgrades: Vec<String>,
}

/// What a route does with a request.
#[derive(Debug, Clone, PartialEq)]
pub enum RouteAction {
    /// Sends it to one of these services, chosen by weight; a plain `service` is a split of one.
    Forward(Vec<SplitEntry>),
    /// Answers with a redirect; `{host}`, `{path}` and `{query}` stand for the request's (`{query}` with its `?`).
    Redirect {
        /// Template of the Location.
        to: String,
        /// 301, 302, 303, 307 or 308.
        status: u16,
    },
    /// Answers with a fixed response.
    Respond {
        /// Its status, 200 to 599.
        status: u16,
        /// Its body.
        body: String,
    },
}

/// One branch of a weighted split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitEntry {
    /// Service name.
    pub service: String,
    /// Share; the sum over a split is positive.
    pub weight: u32,
}

/// `rewrite` of a route.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rewrite {
    /// Change to the path.
    pub path: PathRewrite,
    /// Replaces the Host that the endpoint sees; `None` keeps the caller's.
    pub host: Option<String>,
}

/// Change to the path of a forwarded request; the query is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PathRewrite {
    /// As it came.
    #[default]
    Keep,
    /// Without this leading run of whole segments; it does not end with a slash.
    StripPrefix(String),
    /// Another path altogether.
    Replace(String),
}

/// `request_headers` or `response_headers` of a route; names are lower case and checked, values are legal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderEdits {
    /// Replaces every field of the name.
    pub set: Vec<(String, String)>,
    /// Adds a field.
    pub add: Vec<(String, String)>,
    /// Removes every field of the name.
    pub remove: Vec<String>,
}

/// `retry` of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetrySettings {
    /// Attempts in all, the first included; at least 1.
    pub attempts: u32,
    /// Repeat when no connection could be made.
    pub on_connect_failure: bool,
    /// Repeat when the connection broke before a response head, for idempotent methods or unsent requests.
    pub on_reset: bool,
    /// Repeat when `per_try_timeout` expired before a response head, for idempotent methods.
    pub on_timeout: bool,
    /// Bound on one attempt, up to its response head.
    pub per_try_timeout: Option<Duration>,
}

impl Default for RetrySettings {
    /// Two attempts, after connect failures and resets.
    fn default() -> Self {
        Self {
            attempts: 2,
            on_connect_failure: true,
            on_reset: true,
            on_timeout: false,
            per_try_timeout: None,
        }
    }
}
