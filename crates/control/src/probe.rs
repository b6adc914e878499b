//! One probe: a connection, and over HTTP a GET and the status of its answer.
//!
//! Invariants: a probe ends within its timeout, the wait for a permit not counted; it reads no body and keeps no
//! connection, so that it meets the endpoint as a new caller would. At most [`PROBES_MAX`] are under way in the process.

use std::sync::Arc;

use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use isobar_config::{HealthSettings, ProbeKind};
use isobar_core::{Address, Endpoint};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;

/// Probes under way at once, over all services: each holds a descriptor, of which callers need the rest.
const PROBES_MAX: usize = 1024;

/// Probes of one service under way at once: one whose endpoints all keep silent leaves room for the others. Five
/// thousand endpoints that answer within a second fit into an interval of twenty; where none answers, probes come later.
const PROBES_OF_SERVICE_MAX: usize = 256;

/// Permission to have a connection of a probe open.
#[derive(Debug, Clone)]
pub(crate) struct Prober {
    of_service: Arc<Semaphore>,
    of_all: Arc<Semaphore>,
}

impl Default for Prober {
    fn default() -> Self {
        let permits = |max| Arc::new(Semaphore::new(max));
        Self { of_service: permits(PROBES_OF_SERVICE_MAX), of_all: permits(PROBES_MAX) }
    }
}

impl Prober {
    /// One for another service, which shares only what all share.
    pub(crate) fn for_service(&self) -> Self {
        Self { of_all: Arc::clone(&self.of_all), ..Self::default() }
    }

    /// Sends a probe and says why it failed.
    pub(crate) async fn probe(&self, settings: &HealthSettings, endpoint: &Endpoint) -> Result<(), String> {
        // Closed by nobody; an error would only mean that there is no bound.
        let _permits = (self.of_service.acquire().await, self.of_all.acquire().await);
        match tokio::time::timeout(settings.timeout, send(settings, endpoint)).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer within {}", isobar_config::format_duration(settings.timeout))),
        }
    }
}

async fn send(settings: &HealthSettings, endpoint: &Endpoint) -> Result<(), String> {
    match &endpoint.address {
        Address::Tcp(address) => {
            let mut address = *address;
            if let Some(port) = settings.port {
                address.set_port(port);
            }
            let stream =
                TcpStream::connect(address).await.map_err(|error| format!("cannot connect: {error}"))?;
            ask(&settings.probe, stream, &address.to_string()).await
        }
        Address::Unix(path) => {
            let stream =
                UnixStream::connect(path).await.map_err(|error| format!("cannot connect: {error}"))?;
            ask(&settings.probe, stream, "localhost").await
        }
    }
}

async fn ask<S>(probe: &ProbeKind, stream: S, authority: &str) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let ProbeKind::Http { path, host, status } = probe else { return Ok(()) };
    let request = Request::get(path)
        .header(HOST, host.as_deref().unwrap_or(authority))
        .header(USER_AGENT, "isobar-probe")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("the request cannot be made: {error}"))?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| format!("no HTTP: {error}"))?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(|error| format!("no answer: {error}"))?;
        let got = answer.status().as_u16();
        if status.iter().any(|(least, most)| (*least..=*most).contains(&got)) {
            Ok(())
        } else {
            Err(format!("status {got}"))
        }
    };
    // The connection is driven here, not by a task of its own, and ends with the answer's head.
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        result = &mut exchange => result,
        ended = connection => match ended {
            // The answer may have come with the end.
            Ok(()) => exchange.await,
            Err(error) => Err(format!("no answer: {error}")),
        },
    }
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
