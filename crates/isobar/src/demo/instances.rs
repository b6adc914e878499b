//! The sample instances: tiny HTTP/1.1 servers in this process, which can be killed and come back.
//!
//! | call | answer |
//! | --- | --- |
//! | `GET /healthz` | 200, or 503 while the instance fails |
//! | `GET /die` | 200, after which the instance is killed |
//! | anything else | 200 after the instance's delay; while it fails, the connection is cut without an answer |
//!
//! Invariants: a killed instance refuses connections, as a dead process does, and keeps its port, so that it comes back
//! where it was; it comes back by itself after [`KILLED_FOR`]. At most [`CONNECTIONS_MAX`] connections are open.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Response, StatusCode, header};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use isobar_core::Draw;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::nature::{Nature, SEED};

/// How long a killed instance stays away: long enough to watch the others take over, short enough to see its return.
pub(super) const KILLED_FOR: Duration = Duration::from_secs(10);

/// Connections of one instance: the proxy opens one for each request in flight, which are far fewer.
const CONNECTIONS_MAX: usize = 1_024;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 256;

/// Silence after which a connection is closed; longer than the proxy keeps one, so that the proxy closes first.
const IDLE_TIMEOUT: Duration = Duration::from_mins(2);

/// Pause after an accept that failed for want of descriptors: long enough not to spin.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Ends a connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the sample instance fails on purpose")]
struct Cut;

/// One sample instance.
pub(super) struct Instance {
    pub(super) nature: &'static Nature,
    pub(super) address: SocketAddr,
    /// Whether it serves, as last wished.
    alive: watch::Sender<bool>,
    draw: Mutex<Draw>,
    started: Instant,
    /// Bound and never listening: holds the port while the instance is killed. A port that were free in between could
    /// be given to any outgoing connection.
    _reservation: TcpSocket,
}

impl Instance {
    /// Binds a port and serves until the runtime ends. Must run inside a runtime; `started` is the start of the demo.
    pub(super) fn start(nature: &'static Nature, started: Instant) -> io::Result<Arc<Self>> {
        let reservation = reusable_socket((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = reservation.local_addr()?;
        let listener = reusable_socket(address)?.listen(BACKLOG)?;
        let instance = Arc::new(Self {
            nature,
            address,
            alive: watch::Sender::new(true),
            draw: Mutex::new(Draw::new(SEED)),
            started,
            _reservation: reservation,
        });
        tokio::spawn(Arc::clone(&instance).live(listener));
        Ok(instance)
    }

    pub(super) fn is_alive(&self) -> bool {
        *self.alive.borrow()
    }

    /// Whether it is in a failing stretch of its life.
    pub(super) fn is_failing(&self) -> bool {
        self.nature.is_failing(SEED, self.started.elapsed())
    }

    /// Kills it; once more brings it back.
    pub(super) fn toggle_life(&self) {
        self.alive.send_modify(|alive| *alive = !*alive);
    }

    async fn live(self: Arc<Self>, mut listener: TcpListener) {
        loop {
            self.serve(listener).await;
            info!(instance = self.nature.id, "sample instance killed");
            listener = self.come_back().await;
            info!(instance = self.nature.id, "sample instance is back");
        }
    }

    /// Serves until it is killed; then every connection is closed.
    async fn serve(self: &Arc<Self>, listener: TcpListener) {
        let mut alive = self.alive.subscribe();
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = becomes(&mut alive, false) => break,
                accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                    Ok((stream, _)) => drop(connections.spawn(Arc::clone(self).serve_connection(stream))),
                    Err(error) => {
                        warn!(%error, instance = self.nature.id, "sample instance cannot accept a connection");
                        tokio::time::sleep(EXHAUSTED_PAUSE).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
        drop(listener);
        connections.shutdown().await;
    }

    /// Waits until it is revived or was away long enough, and listens again.
    async fn come_back(&self) -> TcpListener {
        let mut alive = self.alive.subscribe();
        loop {
            // Both ends of the wait mean the same.
            let _ = tokio::time::timeout(KILLED_FOR, becomes(&mut alive, true)).await;
            match reusable_socket(self.address).and_then(|socket| socket.listen(BACKLOG)) {
                Ok(listener) => {
                    self.alive.send_replace(true);
                    return listener;
                }
                Err(error) => {
                    warn!(%error, instance = self.nature.id, "sample instance cannot come back yet");
                    self.alive.send_replace(false);
                }
            }
        }
    }

    async fn serve_connection(self: Arc<Self>, stream: TcpStream) {
        let dies = AtomicBool::new(false);
        let service =
            service_fn(async |request: hyper::Request<hyper::body::Incoming>| match request.uri().path() {
                "/die" => {
                    dies.store(true, Ordering::Relaxed);
                    Ok(self.farewell())
                }
                "/healthz" => Ok(self.health()),
                _ => self.work().await,
            });
        // However the connection ended, its answers are sent.
        let _ = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service)
            .await;
        if dies.load(Ordering::Relaxed) {
            self.alive.send_replace(false);
        }
    }

    async fn work(&self) -> Result<Response<Body>, Cut> {
        if self.is_failing() {
            return Err(Cut);
        }
        let delay = self.nature.delay(&mut self.draw.lock().unwrap_or_else(PoisonError::into_inner));
        tokio::time::sleep(delay).await;
        Ok(Response::new(Body::from(format!("{} answers after {} ms\n", self.nature.id, delay.as_millis()))))
    }

    fn health(&self) -> Response<Body> {
        let mut response = Response::new(Body::from("well\n"));
        if self.is_failing() {
            *response.body_mut() = Body::from("failing\n");
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        response
    }

    /// The last answer of its connection, whose end then kills the instance: so the caller has it before.
    fn farewell(&self) -> Response<Body> {
        let text = format!("{} dies, and is back in {} s\n", self.nature.id, KILLED_FOR.as_secs());
        let mut response = Response::new(Body::from(text));
        response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        response
    }
}

/// A bound socket that shares its port with others of this function which do not listen.
fn reusable_socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn becomes(alive: &mut watch::Receiver<bool>, wanted: bool) {
    // The sender lives as long as the instance, which outlives this wait.
    let _ = alive.wait_for(|alive| *alive == wanted).await;
}

#[cfg(test)]
#[path = "instances_tests.rs"]
mod tests;
