//! One probe: a connection, and over HTTP a GET and the status of its answer, or a call of the gRPC health service, by the
//! protocol of the service.
//!
//! Invariants: a probe ends within its timeout, the wait for a permit not counted; it reads no body (but a
//! health service's message) and keeps no connection, so that it meets the endpoint as a new caller would. At most [`PROBES_MAX`] are under way in the process.

#[path = "probe_http2.rs"]
mod http2;

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use isobar_config::{HealthSettings, ProbeKind};
use isobar_core::{Address, Endpoint};
use isobar_tls::Originator;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

use crate::agent::{AGENTS_MAX, AGENTS_OF_SERVICE_MAX};

/// Probes under way at once, over all services: each holds a descriptor, of which callers need the rest.
const PROBES_MAX: usize = 1024;

/// Probes of one service under way at once: one whose endpoints all keep silent leaves room for the others. Five
/// thousand endpoints that answer within a second fit into an interval of twenty; where none answers, probes come later.
const PROBES_OF_SERVICE_MAX: usize = 256;

/// A bound on connections of one kind, and within it one for each service.
#[derive(Debug, Clone)]
pub(crate) struct Bound {
    service_max: usize,
    service: Arc<Semaphore>,
    process: Arc<Semaphore>,
}

impl Bound {
    fn new(service_max: usize, process_max: usize) -> Self {
        let permits = |max| Arc::new(Semaphore::new(max));
        Self { service_max, service: permits(service_max), process: permits(process_max) }
    }

    fn for_service(&self) -> Self {
        Self { service: Arc::new(Semaphore::new(self.service_max)), ..self.clone() }
    }

    /// Waits until a connection may be made; it is counted while what is given lives.
    pub(crate) async fn permits(&self) -> impl Sized {
        // Closed by nobody; an error would only mean that there is no bound.
        (self.service.acquire().await, self.process.acquire().await)
    }
}

/// Permission to have a connection of a probe or to an agent open, and the TLS that probes speak.
#[derive(Debug, Clone)]
pub(crate) struct Prober {
    probes: Bound,
    /// Apart, so that agents behind a firewall that drops what is sent to them delay no probe.
    pub(crate) agents: Bound,
    /// By service; one that is not there is probed in the clear.
    tls: Arc<ArcSwap<HashMap<String, Originator>>>,
}

impl Default for Prober {
    fn default() -> Self {
        Self {
            probes: Bound::new(PROBES_OF_SERVICE_MAX, PROBES_MAX),
            agents: Bound::new(AGENTS_OF_SERVICE_MAX, AGENTS_MAX),
            tls: Arc::default(),
        }
    }
}

impl Prober {
    /// One for another service, which shares only what all share.
    pub(crate) fn for_service(&self) -> Self {
        Self {
            probes: self.probes.for_service(),
            agents: self.agents.for_service(),
            tls: Arc::clone(&self.tls),
        }
    }

    /// What probes speak from now on, by service.
    pub(crate) fn set_tls(&self, tls: HashMap<String, Originator>) {
        self.tls.store(Arc::new(tls));
    }

    /// What probes of a service speak.
    pub(crate) fn tls(&self, service: &str) -> Option<Originator> {
        self.tls.load().get(service).cloned()
    }

    /// Sends a probe and says why it failed.
    pub(crate) async fn probe(
        &self,
        settings: &HealthSettings,
        tls: Option<&Originator>,
        endpoint: &Endpoint,
    ) -> Result<(), String> {
        let _permits = self.probes.permits().await;
        match tokio::time::timeout(settings.timeout, send(settings, tls, endpoint)).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer within {}", isobar_config::format_duration(settings.timeout))),
        }
    }
}

async fn send(
    settings: &HealthSettings,
    tls: Option<&Originator>,
    endpoint: &Endpoint,
) -> Result<(), String> {
    match &endpoint.address {
        Address::Tcp(address) => {
            let mut address = *address;
            if let Some(port) = settings.port {
                address.set_port(port);
            }
            let stream =
                TcpStream::connect(address).await.map_err(|error| format!("cannot connect: {error}"))?;
            over(settings, tls, endpoint, stream, &address.to_string()).await
        }
        Address::Unix(path) => {
            let stream =
                UnixStream::connect(path).await.map_err(|error| format!("cannot connect: {error}"))?;
            over(settings, tls, endpoint, stream, "localhost").await
        }
    }
}

/// Carries the TLS handshake out where there is one, which is part of every kind of probe then, and asks.
async fn over<S>(
    settings: &HealthSettings,
    tls: Option<&Originator>,
    endpoint: &Endpoint,
    stream: S,
    authority: &str,
) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Some(tls) = tls else { return ask(settings, stream, "http", authority).await };
    let name = tls.name(endpoint).map_err(|error| error.to_string())?;
    let connected = TlsConnector::from(tls.config_for(settings.http2)).connect(name, stream).await;
    let stream = connected.map_err(|error| format!("no TLS: {}", told(&error)))?;
    ask(settings, stream, "https", authority).await
}

/// An error's own words, or those about TLS where that is what lies beneath it.
fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = Some(error);
    while let Some(this) = cause {
        if let Some(reason) = this.downcast_ref::<rustls::Error>() {
            return isobar_tls::explain(reason);
        }
        // An I/O error shows what it carries, but names the cause of that as its own.
        let carried = this.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause =
            carried.map(|carried| carried as &(dyn std::error::Error + 'static)).or_else(|| this.source());
    }
    error.to_string()
}

async fn ask<S>(settings: &HealthSettings, stream: S, scheme: &str, authority: &str) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (path, host, status) = match &settings.probe {
        ProbeKind::Tcp => return Ok(()),
        ProbeKind::Grpc { service, host } => {
            return http2::check(stream, scheme, host.as_deref().unwrap_or(authority), service).await;
        }
        ProbeKind::Http { path, host, status } => (path, host, status),
    };
    if settings.http2 {
        let target = format!("{scheme}://{}{path}", host.as_deref().unwrap_or(authority));
        return judge(http2::get(stream, &target).await?, status);
    }
    let request = Request::get(path)
        .header(HOST, host.as_deref().unwrap_or(authority))
        .header(USER_AGENT, "isobar-probe")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("the request cannot be made: {error}"))?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| format!("no HTTP: {error}"))?;
    let exchange = async {
        let answer =
            sender.send_request(request).await.map_err(|error| format!("no answer: {}", told(&error)))?;
        judge(answer.status().as_u16(), status)
    };
    // The connection is driven here, not by a task of its own, and ends with the answer's head.
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        result = &mut exchange => result,
        ended = connection => match ended {
            // The answer may have come with the end.
            Ok(()) => exchange.await,
            Err(error) => Err(format!("no answer: {}", told(&error))),
        },
    }
}

fn judge(got: u16, passing: &[(u16, u16)]) -> Result<(), String> {
    let passes = passing.iter().any(|(least, most)| (*least..=*most).contains(&got));
    if passes { Ok(()) } else { Err(format!("status {got}")) }
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
