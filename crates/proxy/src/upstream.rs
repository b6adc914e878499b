//! Connections to endpoints: made, used, kept idle, closed.
//!
//! A worker owns its connections; nothing here is shared between workers but the endpoint's count of connections.
//! Invariants: an idle connection that shows any sign of life is closed, never used; idle ones are found by the
//! endpoint's live record, which is one per id, generation and address, so a new address never meets an old connection.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::hash::{BuildHasherDefault, Hasher};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use isobar_core::{Address, Endpoint, Instant, Live};
use isobar_tls::{NoServerName, Originator};
use rustls::InvalidMessage;
use tokio::net::{TcpStream, UnixStream};

use crate::h2::EndpointStream;
use crate::socket::Socket;
use crate::stream::Stream;
use crate::tls_stream::{HandshakeError, TlsStream};

/// A connection to one endpoint; counted in the endpoint's live record until it is dropped.
pub(crate) struct Upstream {
    pub(crate) stream: Stream,
    /// Carried a request before.
    pub(crate) reused: bool,
    made: Instant,
    /// `None` for a stream of HTTP/2, whose connection holds it.
    permit: Option<Permit>,
}

/// One of the connections that the endpoint's maximum counts.
pub(crate) struct Permit(Arc<Live>);

impl Permit {
    /// Takes one where fewer than `max` are open; 0 stands for no maximum.
    pub(crate) fn take(live: &Arc<Live>, max: usize) -> Option<Self> {
        live.try_open_connection(max.min(u32::MAX as usize) as u32).then(|| Self(Arc::clone(live)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.close_connection();
    }
}

impl Upstream {
    pub(crate) fn new(stream: Stream, permit: Permit, now: Instant) -> Self {
        Self { stream, reused: false, made: now, permit: Some(permit) }
    }

    /// A stream of HTTP/2; `reused`: its connection carried a request before.
    pub(crate) fn of_stream(stream: EndpointStream, reused: bool, now: Instant) -> Self {
        Self { stream: Stream::Endpoint(Box::new(stream)), reused, made: now, permit: None }
    }
}

/// Why there is no connection to an endpoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    NoServerName(#[from] NoServerName),
    /// Displays as what an operator can do.
    #[error("{}", isobar_tls::explain(.0))]
    Tls(#[from] rustls::Error),
    /// What one does that does not speak TLS, or that is told a certificate it does not like.
    #[error("it closed the connection during the handshake: does it speak TLS there?")]
    Closed,
    /// It did not choose `h2`, or what came is none.
    #[error("it does not speak HTTP/2 there: is `protocol` of the service right?")]
    NoHttp2,
    /// It allows no streams, or said at once that it takes no more.
    #[error("it takes no requests on its connections of HTTP/2: is it overloaded, or about to end?")]
    NoStreams,
}

impl ConnectError {
    /// Whether settings or certificates are at fault, rather than the way to the endpoint.
    pub(crate) fn is_of_tls(&self) -> bool {
        !matches!(self, Self::Io(_) | Self::NoHttp2 | Self::NoStreams)
    }
}

/// Connects to an endpoint and carries the handshake out where TLS is spoken, `http2` then agreed upon by ALPN; the
/// caller bounds the time.
pub(crate) async fn connect(
    endpoint: &Endpoint,
    tls: Option<&Originator>,
    http2: bool,
) -> Result<Stream, ConnectError> {
    let socket = match &endpoint.address {
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Socket::Tcp(stream)
        }
        Address::Unix(path) => Socket::Unix(UnixStream::connect(path).await?),
    };
    let Some(tls) = tls else { return Ok(Stream::Plain(socket)) };
    let mut stream = Box::new(TlsStream::to_endpoint(socket, tls.connect(tls.name(endpoint)?)?));
    match poll_fn(|cx| stream.poll_handshake(cx)).await {
        Ok(()) if http2 && !stream.speaks_http2() => Err(ConnectError::NoHttp2),
        Ok(()) => Ok(Stream::Tls(stream)),
        Err(HandshakeError::Lost(error)) if is_closed(&error) => Err(ConnectError::Closed),
        Err(HandshakeError::Lost(error)) => Err(error.into()),
        Err(HandshakeError::PlainHttp) => {
            Err(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType).into())
        }
        Err(HandshakeError::Tls(error)) => Err(error.into()),
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
}

struct Idle {
    upstream: Upstream,
    since: Instant,
}

/// Limits of idle connections of one service, per worker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IdleLimits {
    pub(crate) per_endpoint: usize,
    pub(crate) idle_timeout: Duration,
    pub(crate) max_age: Duration,
}

/// The idle connections of one worker to one service.
pub(crate) struct Pool {
    limits: Cell<IdleLimits>,
    idle: RefCell<HashMap<usize, Vec<Idle>, BuildHasherDefault<AddressHasher>>>,
}

impl Pool {
    pub(crate) fn new(limits: IdleLimits) -> Self {
        Self { limits: Cell::new(limits), idle: RefCell::default() }
    }

    /// The connection to `live` that was used last, if one is fit for use.
    pub(crate) fn check_out(&self, live: &Arc<Live>, now: Instant) -> Option<Upstream> {
        let limits = self.limits.get();
        let mut idle = self.idle.borrow_mut();
        let stack = idle.get_mut(&key(live))?;
        while let Some(mut candidate) = stack.pop() {
            if limits.is_fresh(&candidate, now) && !candidate.upstream.stream.is_disturbed() {
                return Some(candidate.upstream);
            }
        }
        None
    }

    /// Keeps a connection for the next request, if there will be one and there is room for it.
    pub(crate) fn check_in(&self, mut upstream: Upstream, now: Instant) {
        let limits = self.limits.get();
        let Some(Permit(live)) = &upstream.permit else { return };
        let is_wanted = limits.per_endpoint > 0 && !live.is_leaving();
        if !is_wanted || now.since(upstream.made) >= limits.max_age {
            return;
        }
        let key = key(live);
        upstream.reused = true;
        let mut idle = self.idle.borrow_mut();
        let stack = idle.entry(key).or_default();
        if stack.len() < limits.per_endpoint {
            stack.push(Idle { upstream, since: now });
        }
    }

    /// Closes what is too old, what the endpoint closed, and what leads to endpoints that drain or are gone.
    pub(crate) fn sweep(&self, now: Instant) {
        let limits = self.limits.get();
        self.idle.borrow_mut().retain(|_, stack| {
            stack.retain_mut(|candidate| {
                !candidate.upstream.permit.as_ref().is_some_and(|permit| permit.0.is_leaving())
                    && limits.is_fresh(candidate, now)
                    && !candidate.upstream.stream.is_disturbed()
            });
            !stack.is_empty()
        });
    }

    /// Takes over other limits; of what is over them the connections that were idle longest are closed.
    pub(crate) fn set_limits(&self, limits: IdleLimits) {
        self.limits.set(limits);
        self.idle.borrow_mut().retain(|_, stack| {
            stack.drain(..stack.len().saturating_sub(limits.per_endpoint));
            !stack.is_empty()
        });
    }

    /// Closes what is idle and keeps nothing from now on.
    pub(crate) fn close(&self) {
        self.set_limits(IdleLimits { per_endpoint: 0, ..self.limits.get() });
    }
}

impl IdleLimits {
    fn is_fresh(&self, candidate: &Idle, now: Instant) -> bool {
        now.since(candidate.since) < self.idle_timeout && now.since(candidate.upstream.made) < self.max_age
    }
}

/// The live record's address: unique while an idle connection holds the record.
pub(crate) fn key(live: &Arc<Live>) -> usize {
    Arc::as_ptr(live) as usize
}

/// Hashes a pointer by one multiplication; there is no attacker who chooses addresses of live records.
#[derive(Default)]
pub(crate) struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte));
        }
    }

    fn write_usize(&mut self, value: usize) {
        // The golden ratio spreads the low bits, which alignment leaves at zero.
        self.0 = (self.0 ^ value as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(26);
    }
}
