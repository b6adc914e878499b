//! A connected byte stream, in the clear, over TLS or within HTTP/2, with poll-style calls that take plain slices.
//!
//! Invariants: in the clear, what is written is in the socket; over TLS it is after `poll_flush`, so whoever ends a
//! message flushes. A stream that ends means that the peer said so: over TLS an end without a word is an error.

use std::io;
use std::task::{Context, Poll};

use isobar_core::Instant;

use crate::h2::{CallerStream, EndpointStream};
use crate::socket::Socket;
use crate::tls_stream::TlsStream;

/// One connection, downstream or upstream.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(Socket),
    /// Boxed, so that those in the clear stay small.
    Tls(Box<TlsStream>),
    /// One request of a caller that speaks HTTP/2, and its answer.
    Caller(Box<CallerStream>),
    /// One request to an endpoint that speaks HTTP/2, and its answer.
    Endpoint(Box<EndpointStream>),
}

impl Stream {
    /// Reads into `into`, which must not be empty; `Ok(0)` is the end of the stream.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => socket.poll_read(cx, into),
            Self::Tls(stream) => stream.poll_read(cx, into),
            Self::Caller(stream) => stream.poll_read(cx, into),
            Self::Endpoint(stream) => stream.poll_read(cx, into),
        }
    }

    /// Whether the caller of an HTTP/2 stream has reset it, which is known before the rest of its request is read; the task
    /// is woken when that happens.
    pub(crate) fn is_reset(&mut self, cx: &mut Context<'_>) -> bool {
        match self {
            Self::Caller(stream) => stream.poll_gone(cx).is_ready(),
            Self::Plain(_) | Self::Tls(_) | Self::Endpoint(_) => false,
        }
    }

    /// Ready when a read would not block: bytes, the end, or an error. Over TLS it may turn out that nothing is there
    /// for the reader after all.
    pub(crate) fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => socket.poll_read_ready(cx),
            Self::Tls(stream) => stream.poll_read_ready(cx),
            Self::Caller(stream) => stream.poll_read_ready(cx),
            Self::Endpoint(stream) => stream.poll_read_ready(cx),
        }
    }

    /// Writes the slices in order, as much as is taken at once.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => socket.poll_write(cx, first, second),
            Self::Tls(stream) => stream.poll_write(cx, first, second),
            Self::Caller(stream) => stream.poll_write(cx, first, second),
            Self::Endpoint(stream) => stream.poll_write(cx, first, second),
        }
    }

    /// Ready when everything that was written is in the socket.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            // What a stream of HTTP/2 takes, its connection sends.
            Self::Plain(_) | Self::Caller(_) | Self::Endpoint(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => stream.poll_flush(cx),
        }
    }

    /// Whether an idle connection shows a sign of life that it must not show: bytes, the end or an error.
    ///
    /// Costs no system call while the kernel has reported nothing.
    pub(crate) fn is_disturbed(&mut self) -> bool {
        match self {
            Self::Plain(socket) => {
                let read = socket.try_read(&mut [0]);
                !matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
            Self::Tls(stream) => stream.is_disturbed(),
            // Never idle: it ends with its request.
            Self::Caller(_) | Self::Endpoint(_) => true,
        }
    }

    /// Tells the peer that nothing more comes, where the protocol has a word for it; only to be said when nothing is cut.
    pub(crate) fn say_close(&mut self) {
        if let Self::Tls(stream) = self {
            stream.say_close();
        }
    }

    /// Ends the sending direction of a connection, or of a tunnel within HTTP/2.
    pub(crate) fn shutdown_write(&mut self) {
        self.say_close();
        match self {
            Self::Caller(stream) => stream.end_tunnel(),
            Self::Endpoint(stream) => stream.end_tunnel(),
            Self::Plain(socket) => socket.shutdown_write(),
            Self::Tls(stream) => stream.socket().shutdown_write(),
        }
    }

    /// Makes the close of this connection a reset, so that the peer cannot take a cut message for a whole one; a stream
    /// of HTTP/2 does so by itself.
    pub(crate) fn reset_on_close(&self) {
        if let Some(socket) = self.socket() {
            socket.reset_on_close();
        }
    }

    /// The TLS of the connection, if it has any of its own.
    pub(crate) fn tls(&mut self) -> Option<&mut TlsStream> {
        match self {
            Self::Tls(stream) => Some(stream),
            Self::Plain(_) | Self::Caller(_) | Self::Endpoint(_) => None,
        }
    }

    /// Whether its bytes go over TLS.
    pub(crate) fn is_tls(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(_) => true,
            Self::Caller(stream) => stream.is_tls(),
            Self::Endpoint(stream) => stream.is_tls(),
        }
    }

    /// Whether it is a stream of HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        matches!(self, Self::Caller(_) | Self::Endpoint(_))
    }

    /// Whether a caller of HTTP/2 asks for a tunnel: any success then says that it stands.
    pub(crate) fn wants_tunnel(&self) -> bool {
        matches!(self, Self::Caller(stream) if stream.wants_tunnel())
    }

    /// Whether an endpoint that switched to WebSocket gave this proof of a key that was ours.
    pub(crate) fn is_proof(&self, proof: Option<&[u8]>) -> bool {
        match self {
            Self::Caller(stream) => stream.is_proof(proof),
            Self::Plain(_) | Self::Tls(_) | Self::Endpoint(_) => true,
        }
    }

    /// Keeps later requests off the connection below a stream of HTTP/2 that got no answer in time.
    pub(crate) fn give_up(&self) {
        if let Self::Endpoint(stream) = self {
            stream.give_up();
        }
    }

    /// The same, unless anything was heard on that connection not long ago.
    pub(crate) fn give_up_if_silent(&self, now: Instant) {
        if let Self::Endpoint(stream) = self {
            stream.give_up_if_silent(now);
        }
    }

    /// Whether a connection that ended did so as an idle one does; a stream of HTTP/2 may end for reasons of its own.
    pub(crate) fn is_lost_as_idle(&self) -> bool {
        match self {
            Self::Endpoint(stream) => stream.is_lost_as_idle(),
            Self::Plain(_) | Self::Tls(_) | Self::Caller(_) => true,
        }
    }

    /// Whether an endpoint of HTTP/2 takes extended CONNECT.
    pub(crate) fn takes_tunnels(&self) -> bool {
        matches!(self, Self::Endpoint(stream) if stream.takes_tunnels())
    }

    /// Whether the endpoint said that it has not begun with the request that was written.
    pub(crate) fn is_unprocessed(&self) -> bool {
        matches!(self, Self::Endpoint(stream) if stream.is_unprocessed())
    }

    fn socket(&self) -> Option<&Socket> {
        match self {
            Self::Plain(socket) => Some(socket),
            Self::Tls(stream) => Some(stream.socket()),
            Self::Caller(_) | Self::Endpoint(_) => None,
        }
    }
}
