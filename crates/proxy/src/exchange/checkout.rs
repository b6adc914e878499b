//! How an attempt comes to a connection: one that is kept, a new one, or a stream of HTTP/2.
//!
//! Invariants: an attempt is counted once it may have a connection; the wait for one is bounded by `connect_timeout` and
//! by the time of the whole request; a connection of HTTP/2 that is being made outlives the request that asked for it,
//! since others may wait for it too.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use isobar_core::{Endpoint, Instant, MemberIndex};

use super::attempt::Failure;
use super::body_gone;
use super::forward::Call;
use crate::h2::{Link, LinkError};
use crate::metrics::AttemptFailure;
use crate::refusal::Refusal;
use crate::upstream::{self, ConnectError, Permit, Upstream};
use crate::view::View;
use crate::websocket;

/// Why an attempt has no connection.
pub(super) enum NoUpstream {
    /// The endpoint is at its maximum of connections.
    Full,
    Failed(Failure),
    /// Nothing like this can be said to it.
    Unfit(Refusal),
}

/// New connections that a request waits for in vain, because others took their streams, before the endpoint has failed it.
const WAITS_MAX: u32 = 8;

impl Call<'_> {
    /// A connection to the endpoint that this request may use.
    pub(super) async fn check_out(
        &mut self,
        view: &View,
        index: MemberIndex,
        only_fresh: bool,
        now: Instant,
    ) -> Result<Upstream, NoUpstream> {
        if self.service.http2 {
            let upstream = self.open_stream(view, index, only_fresh, now).await?;
            return self.check_tunnel(upstream, &view.member(index).endpoint);
        }
        let live = &view.member(index).live;
        let idle = if only_fresh { None } else { self.cluster.pool.check_out(live, now) };
        if let Some(upstream) = idle {
            self.count();
            return Ok(upstream);
        }
        let maximum = self.service.pool.max_connections_per_endpoint;
        let permit = Permit::take(live, maximum).ok_or(NoUpstream::Full)?;
        self.count();
        self.connect(view, index, permit, now).await.map_err(NoUpstream::Failed)
    }

    fn count(&mut self) {
        self.record.n_attempts += 1;
        self.counters.attempts.add(1);
    }

    /// Bounds the wait for a connection.
    fn arm_connect(&self, now: Instant) {
        let deadline = now.after(self.service.connect_timeout);
        self.connection.deadline.set(self.limit.map_or(deadline, |limit| limit.min(deadline)));
    }

    async fn connect(
        &mut self,
        view: &View,
        index: MemberIndex,
        permit: Permit,
        now: Instant,
    ) -> Result<Upstream, Failure> {
        self.arm_connect(now);
        let connected = {
            let endpoint = &view.member(index).endpoint;
            let mut connecting = pin!(upstream::connect(endpoint, self.cluster.tls.as_ref(), false));
            poll_fn(|cx| match connecting.as_mut().poll(cx) {
                Poll::Pending if self.connection.deadline.fired() => Poll::Ready(Err(timed_out())),
                polled => polled,
            })
            .await
        };
        let done = self.worker.now();
        self.record.connect = done.since(now);
        match connected {
            Ok(stream) => {
                self.counters.connections.add(1);
                Ok(Upstream::new(stream, permit, done))
            }
            Err(error) => Err(self.no_connection(&view.member(index).endpoint, &error, done)),
        }
    }

    /// A stream of a connection that has one free, of one that is being made, or of another.
    async fn open_stream(
        &mut self,
        view: &View,
        index: MemberIndex,
        only_fresh: bool,
        now: Instant,
    ) -> Result<Upstream, NoUpstream> {
        let member = view.member(index);
        let links = &self.cluster.links;
        if let Some((stream, reused)) = links.stream(&member.live, only_fresh, now) {
            self.count();
            return Ok(Upstream::of_stream(stream, reused, now));
        }
        self.arm_connect(now);
        let mut is_counted = false;
        let mut n_waits = 0;
        loop {
            let link = if let Some(link) = links.opening(&member.live) {
                link
            } else {
                let maximum = self.service.pool.max_connections_per_endpoint;
                let permit = Permit::take(&member.live, maximum).ok_or(NoUpstream::Full)?;
                let (tls, timeout) = (self.cluster.tls.as_ref(), self.service.connect_timeout);
                let worker = &self.connection.listener.worker;
                self.counters.connections.add(1);
                links.open(&member.endpoint, &member.live, tls, permit, timeout, worker)
            };
            if !std::mem::replace(&mut is_counted, true) {
                self.count();
            }
            let opened = self.wait_for(&link).await;
            let done = self.worker.now();
            self.record.connect = done.since(now);
            if let Err(error) = opened {
                return Err(NoUpstream::Failed(self.no_connection(&member.endpoint, &error, done)));
            }
            // The link that was waited for may be full by now, for others waited too; then the next is tried.
            if let Some((stream, reused)) =
                link.stream(done).or_else(|| links.stream(&member.live, only_fresh, done))
            {
                return Ok(Upstream::of_stream(stream, reused, done));
            }
            n_waits += 1;
            let is_useless = !link.takes_requests();
            if is_useless {
                link.retire();
            }
            if is_useless || n_waits == WAITS_MAX {
                let error = ConnectError::NoStreams;
                return Err(NoUpstream::Failed(self.no_connection(&member.endpoint, &error, done)));
            }
        }
    }

    /// Keeps a WebSocket from an endpoint that would take its head for a request.
    fn check_tunnel(&self, upstream: Upstream, endpoint: &Endpoint) -> Result<Upstream, NoUpstream> {
        let head = &self.scratch.down.filled()[..self.head_len];
        let is_tunnel = self.upgrade && websocket::key(&self.scratch.request, head).is_some();
        if !is_tunnel || upstream.stream.takes_tunnels() {
            return Ok(upstream);
        }
        if self.cluster.complaints.is_due(&endpoint.id, self.worker.now()) {
            let error =
                "it does not announce extended CONNECT (RFC 8441): use `protocol = \"http1\"` for WebSocket";
            tracing::warn!(service = %self.service.name, endpoint = %endpoint.id, error, "no WebSocket with the endpoint");
        }
        Err(NoUpstream::Unfit(Refusal::NoExtendedConnect))
    }

    async fn wait_for(&mut self, link: &Link) -> Result<(), LinkError> {
        poll_fn(|cx| match link.poll_open(cx) {
            Poll::Pending if self.connection.deadline.fired() => Poll::Ready(Err(timed_out().into())),
            polled => polled,
        })
        .await
    }

    fn no_connection(&self, endpoint: &Endpoint, error: &ConnectError, done: Instant) -> Failure {
        if error.is_of_tls() {
            self.complain(endpoint, error);
        } else if matches!(error, ConnectError::NoHttp2) {
            if self.cluster.complaints.is_due(&endpoint.id, done) {
                tracing::warn!(service = %self.service.name, endpoint = %endpoint.id, %error, "no HTTP/2 with the endpoint");
            }
        } else {
            tracing::debug!(service = %self.service.name, endpoint = %endpoint.id, %error, "connect failed");
        }
        let request_expired = self.limit.is_some_and(|limit| done >= limit);
        Failure {
            refusal: if request_expired { Refusal::UpstreamTimeout } else { Refusal::ConnectFailed },
            kind: AttemptFailure::Connect,
            unsent: true,
            restartable: true,
            stale: false,
            request_expired,
            message_end: body_gone::end_of_buffered_body(self.scratch, self.head_len),
        }
    }

    /// Tells the operator of trouble with TLS, once in a while.
    pub(super) fn complain(&self, endpoint: &Endpoint, error: &dyn std::fmt::Display) {
        if self.cluster.complaints.is_due(&endpoint.id, self.worker.now()) {
            tracing::warn!(service = %self.service.name, endpoint = %endpoint.id, %error, "no TLS with the endpoint");
        }
    }
}

fn timed_out() -> ConnectError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}
