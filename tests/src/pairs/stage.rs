//! One proxy that speaks everything on both sides, and the four endpoints behind it.
//!
//! Invariant: whoever waits here waits for a condition, with a bound.

use std::fmt;
use std::future::Future;
use std::net::{SocketAddr, TcpListener as Blocking};
use std::pin::Pin;
use std::sync::Arc;

use rustls::{ClientConfig, ServerConfig};
use tokio::net::TcpListener;

use super::peer::{Caller, Line, Script, dial, serve};
use super::{Duplex, Exchange, Version};
use crate::{Certificates, Isobar, PATIENCE};

/// What one side speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Side {
    /// The protocol.
    pub version: Version,
    /// Whether over TLS.
    pub tls: bool,
}

/// What both sides speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// The caller's side.
    pub caller: Side,
    /// The endpoint's side.
    pub endpoint: Side,
}

impl Side {
    /// Every one of them.
    pub const ALL: [Self; 4] = [
        Self { version: Version::Http1, tls: false },
        Self { version: Version::Http1, tls: true },
        Self { version: Version::Http2, tls: false },
        Self { version: Version::Http2, tls: true },
    ];

    /// As it stands in paths and names of services.
    fn name(self) -> &'static str {
        match (self.version, self.tls) {
            (Version::Http1, false) => "http1",
            (Version::Http1, true) => "http1-tls",
            (Version::Http2, false) => "http2",
            (Version::Http2, true) => "http2-tls",
        }
    }
}

impl Pair {
    /// Every one of them.
    pub fn all() -> impl Iterator<Item = Self> {
        Side::ALL
            .into_iter()
            .flat_map(|caller| Side::ALL.into_iter().map(move |endpoint| Self { caller, endpoint }))
    }

    /// Those of one kind on both sides, and the two that translate over TLS.
    pub fn main() -> impl Iterator<Item = Self> {
        Self::all().filter(|pair| {
            pair.caller == pair.endpoint
                || (pair.caller.tls && pair.endpoint.tls && pair.caller.version != pair.endpoint.version)
        })
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.caller.name(), self.endpoint.name())
    }
}

type RawScript =
    Arc<dyn Fn(Box<dyn Duplex>, Line, Version) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// What the endpoints do.
#[derive(Clone)]
pub enum Part {
    /// With each exchange.
    Script(Script),
    /// With each connection, byte by byte.
    Raw(RawScript),
}

impl Part {
    /// Plays each exchange by this script.
    pub fn of<F: Future<Output = Option<Exchange>> + Send + 'static>(
        script: impl Fn(Exchange) -> F + Send + Sync + 'static,
    ) -> Self {
        Self::Script(Arc::new(move |exchange| Box::pin(script(exchange))))
    }

    /// Plays each connection by this script.
    pub fn raw<F: Future<Output = ()> + Send + 'static>(
        script: impl Fn(Box<dyn Duplex>, Line, Version) -> F + Send + Sync + 'static,
    ) -> Self {
        Self::Raw(Arc::new(move |stream, line, version| Box::pin(script(stream, line, version))))
    }
}

/// See the module's page.
pub struct Stage {
    /// The proxy.
    pub isobar: Isobar,
    /// Where the endpoints listen, in the order of [`Side::ALL`].
    pub endpoints: [SocketAddr; 4],
    certificates: Certificates,
}

impl Stage {
    /// Endpoints that play this part, behind a proxy with one worker.
    pub fn new(part: &Part) -> Self {
        Self::with(part, "", "")
    }

    /// As `new`, with further lines for each listener and each service.
    pub fn with(part: &Part, listener: &str, service: &str) -> Self {
        let certificates = Certificates::for_localhost();
        let endpoints = Side::ALL.map(|side| {
            let alpn = if side.version == Version::Http2 { "h2" } else { "http/1.1" };
            endpoint(side, side.tls.then(|| speaking(&certificates, alpn)), part)
        });
        let isobar = Isobar::start(&configuration(&certificates, &endpoints, listener, service));
        Self { isobar, endpoints, certificates }
    }

    /// A configuration of the proxy, with further lines for each listener and each service.
    pub fn configuration(&self, listener: &str, service: &str) -> String {
        configuration(&self.certificates, &self.endpoints, listener, service)
    }

    fn target(&self, side: Side) -> (SocketAddr, Option<Arc<ClientConfig>>) {
        let name = if side.tls { "tls" } else { "plain" };
        let tls = side.tls.then(|| {
            let alpn: &[u8] = if side.version == Version::Http2 { b"h2" } else { b"http/1.1" };
            let mut config = (*self.certificates.client(None)).clone();
            config.alpn_protocols = vec![alpn.to_vec()];
            Arc::new(config)
        });
        (self.isobar.listener(name), tls)
    }

    /// A caller of this pair.
    pub async fn connect(&self, pair: Pair) -> Caller {
        let (address, tls) = self.target(pair.caller);
        let prefix = format!("/{}", pair.endpoint.name());
        Caller::connect(address, tls, pair.caller.version, &prefix).await.unwrap()
    }

    /// A caller's connection of this pair, without a protocol.
    pub async fn connect_raw(&self, side: Side) -> (Line, Box<dyn Duplex>) {
        let (address, tls) = self.target(side);
        dial(address, tls).await.unwrap()
    }

    /// Waits until nothing is in flight.
    pub async fn settle(&self) {
        until("nothing to be in flight", || self.isobar.metric(&["isobar_in_flight{"]) == 0.0).await;
    }
}

/// A server's side with the certificate `web` that agrees upon this protocol.
fn speaking(certificates: &Certificates, alpn: &str) -> Arc<ServerConfig> {
    let mut config = (*certificates.server("web", false)).clone();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    Arc::new(config)
}

fn configuration(
    certificates: &Certificates,
    endpoints: &[SocketAddr; 4],
    listener: &str,
    service: &str,
) -> String {
    let mut text = format!(
        "[runtime]\nworkers = 1\n[[listeners]]\nname = \"plain\"\nlisten = \"127.0.0.1:0\"\n{listener}\n\
         [[listeners]]\nname = \"tls\"\nlisten = \"127.0.0.1:0\"\n{}\n{listener}\n",
        certificates.listener(&["web"], ""),
    );
    for (side, address) in Side::ALL.into_iter().zip(endpoints) {
        let name = side.name();
        let protocol = if side.version == Version::Http2 { "h2" } else { "http1" };
        let tls = if side.tls {
            format!("tls = {{ ca = \"{}\" }}\n", certificates.at("ca.pem"))
        } else {
            String::new()
        };
        let part = format!(
            "[[routes]]\npath = \"/{name}\"\nservice = \"{name}\"\n[services.{name}]\nendpoints = [\"{address}\"]\n\
             protocol = \"{protocol}\"\n{tls}{service}\n"
        );
        text += &part;
    }
    text
}

/// Starts an endpoint, on a thread of its own.
fn endpoint(side: Side, tls: Option<Arc<ServerConfig>>, part: &Part) -> SocketAddr {
    let listener = Blocking::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let part = part.clone();
    std::thread::spawn(move || {
        runtime().block_on(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((socket, _)) = listener.accept().await {
                let (tls, part) = (tls.clone(), part.clone());
                tokio::spawn(async move {
                    // How a connection ends is seen at its exchanges.
                    let _ = serve(socket, tls, side.version, part).await;
                });
            }
        });
    });
    address
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Runs the callers' side of a test.
pub fn play<T>(callers: impl Future<Output = T>) -> T {
    runtime().block_on(callers)
}

/// As [`wait_for`](crate::wait_for), while everything else goes on.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(tokio::time::Instant::now() < end, "waited in vain for {what}");
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
}
