//! A stream to an endpoint as the exchange sees it: a connection of HTTP/1.1 that carries one request.
//!
//! Invariants: nothing can be read before the request's head was written; a stream that is dropped before its end is
//! reset, so the endpoint hears of a request that nobody waits for; what the endpoint says it has not begun with
//! (`REFUSED_STREAM`, GOAWAY) is told apart from what it may have done.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use isobar_core::Instant;

use super::channel::Held;
use super::link::Link;
use crate::websocket;

/// See the module's page.
#[derive(Debug)]
pub(crate) struct EndpointStream {
    held: Held,
    /// A WebSocket is asked for.
    is_tunnel: bool,
    lease: Lease,
    /// What `Channel::n_heard` was when this began.
    n_heard: u64,
}

/// One of the streams that a link counts.
#[derive(Debug)]
struct Lease(Rc<Link>);

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl EndpointStream {
    /// A stream of `link`, which counts it from now on.
    pub(super) fn new(link: Rc<Link>, held: Held) -> Self {
        let n_heard = held.channel().n_heard();
        Self { held, is_tunnel: false, lease: Lease(link), n_heard }
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.lease.0.is_tls()
    }

    /// Whether the endpoint said that it has not begun with the request: any other may have it.
    pub(crate) fn is_unprocessed(&self) -> bool {
        self.held.broken().is_some_and(|broken| broken.is_unprocessed)
    }

    /// Says that the endpoint did not answer in time: as with HTTP/1.1, no request comes after this one on its connection.
    pub(crate) fn give_up(&self) {
        self.lease.0.retire();
    }

    /// The same, unless something came on the connection not long ago: then it is this request alone that takes long, or was
    /// given little time.
    pub(crate) fn give_up_if_silent(&self, now: Instant) {
        if self.lease.0.is_silent(self.held.channel(), now) {
            self.give_up();
        }
    }

    /// Whether the connection ended as an idle one does: it said that it had not begun with the request, or nothing at all.
    pub(crate) fn is_lost_as_idle(&self) -> bool {
        let is_silent = self.held.channel().n_heard() == self.n_heard;
        self.held
            .broken()
            .is_some_and(|broken| broken.reason.is_none() && (broken.is_unprocessed || is_silent))
    }

    /// Whether the endpoint said that it takes extended CONNECT.
    pub(crate) fn takes_tunnels(&self) -> bool {
        self.held.channel().connection().takes_connect()
    }

    /// Ends what is sent through a tunnel.
    pub(crate) fn end_tunnel(&mut self) {
        if self.is_tunnel {
            self.held.finish();
        }
    }

    /// Ready when a read would not block.
    pub(crate) fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.held.poll_readable(cx).map(Ok)
    }

    /// Reads into `into`, which must not be empty; `Ok(0)` is the end of the answer.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        self.held.poll_read(cx, into).map_err(|_| io::ErrorKind::ConnectionReset.into())
    }

    /// Takes bytes of the request.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.held.poll_write(cx, first, second);
        self.is_tunnel |= self.held.answer_key(websocket::prove);
        written
    }
}
