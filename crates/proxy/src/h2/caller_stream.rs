//! A caller's stream as the exchange sees it: a connection of HTTP/1.1 that carries one request.
//!
//! Invariants: behind the request's end a read waits for the caller to go away, as on a connection; a stream that is
//! dropped before its answer's end is reset, so that a cut answer is never taken for a whole one.

use std::io;
use std::task::{Context, Poll, ready};

use isobar_http2::Reason;

use super::channel::Held;
use crate::websocket::{self, Key};

/// See the module's page.
#[derive(Debug)]
pub(crate) struct CallerStream {
    held: Held,
    is_tls: bool,
    /// The key of the WebSocket that the caller's tunnel is to be.
    tunnel: Option<Key>,
}

impl CallerStream {
    pub(super) fn new(held: Held, is_tls: bool, tunnel: Option<Key>) -> Self {
        Self { held, is_tls, tunnel }
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Whether a tunnel is asked for: any success then says that it stands.
    pub(crate) fn wants_tunnel(&self) -> bool {
        self.tunnel.is_some()
    }

    /// Whether this is the proof of the key that the endpoint got; where the caller made the key it is his to look.
    pub(crate) fn is_proof(&self, proof: Option<&[u8]>) -> bool {
        self.tunnel.is_none_or(|key| proof == Some(&websocket::prove(&key)))
    }

    /// Ends what is sent through a tunnel.
    pub(crate) fn end_tunnel(&mut self) {
        if self.tunnel.is_some() {
            self.held.finish();
        }
    }

    /// Reads into `into`, which must not be empty; behind the request's end only the caller's leaving ends the wait.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        match ready!(self.held.poll_read(cx, into)) {
            Ok(0) if !self.wants_tunnel() => self.poll_gone(cx).map(Err),
            Ok(n) => Poll::Ready(Ok(n)),
            Err(_) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }

    /// Ready when a read would not block.
    pub(crate) fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.held.is_read() && !self.wants_tunnel() {
            return self.poll_gone(cx).map(Err);
        }
        self.held.poll_readable(cx).map(Ok)
    }

    /// Ready when the caller has reset the stream, or is gone.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.held.poll_broken(cx).map(|_| io::ErrorKind::ConnectionReset.into())
    }

    /// Takes bytes of the answer.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.held.poll_write(cx, first, second)
    }
}

impl Drop for CallerStream {
    fn drop(&mut self) {
        // Where the request's body was not read to its end, the caller is told to stop when the stream is given back.
        if !self.held.is_sent() {
            // RFC 8441, section 5: what a reset is under a WebSocket.
            let is_tunnel = self.tunnel.is_some();
            self.held.reset(if is_tunnel { Reason::CANCEL } else { Reason::INTERNAL_ERROR });
        }
    }
}
