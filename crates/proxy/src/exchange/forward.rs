//! Forwarding: attempts at endpoints until one answers or none may be made any more.
//!
//! Invariants (architecture, section 4): no attempt goes to an endpoint that this request tried while another is
//! eligible; what may have reached an endpoint is repeated only for an idempotent method; a connection that turned out
//! to be closed by the endpoint while it was idle costs no attempt.

use std::time::Duration;

use std::rc::Rc;
use std::sync::Arc;

use isobar_core::{Instant, MemberIndex, NoPick, PickRequest};
use isobar_http1::HeaderId;

use super::attempt::{Attempt, Failure};
use super::sticky::Cookie;
use super::{End, body_gone, hash_key};
use crate::connection::Connection;
use crate::generation::{Cluster, Generation, Terms};
use crate::grpc;
use crate::heads;
use crate::load_probes;
use crate::metrics::{AttemptFailure, ServiceCounters};
use crate::plan::{RoutePlan, ServicePlan};
use crate::record::{Record, RequestId};
use crate::refusal::Refusal;
use crate::scratch::Scratch;
use crate::view::View;
use crate::websocket;
use crate::worker::Worker;

/// Endpoints that a request remembers having tried, those at their maximum of connections included: a request that met
/// this many full ones is refused rather than kept looking.
const TRIED_MAX: usize = 16;

/// What the attempts of one request share.
pub(super) struct Call<'a> {
    pub(super) connection: &'a mut Connection,
    pub(super) scratch: &'a mut Scratch,
    pub(super) record: &'a mut Record,
    pub(super) worker: &'a Worker,
    pub(super) route: &'a RoutePlan,
    pub(super) generation: &'a Rc<Generation>,
    /// The service's place in the generation.
    pub(super) place: usize,
    pub(super) service: &'a ServicePlan,
    pub(super) cluster: &'a Cluster,
    pub(super) counters: &'a ServiceCounters,
    pub(super) head_len: usize,
    pub(super) body_idle: Duration,
    pub(super) body_max: u64,
    /// End of the whole request, where the route or the caller bounds it.
    pub(super) limit: Option<Instant>,
    /// The caller of a gRPC call set that end.
    pub(super) caller_set_limit: bool,
    /// The caller asked for an upgrade that the route allows.
    pub(super) upgrade: bool,
    /// The caller is one of `trusted_proxies`.
    pub(super) trusted: bool,
    /// What the caller's cookie says, where the service has sticky ones.
    pub(super) cookie: Cookie,
}

/// Forwards the request to an endpoint of the service and relays the answer.
pub(super) async fn forward(
    connection: &mut Connection,
    terms: &Terms,
    scratch: &mut Scratch,
    head_len: usize,
    route: &RoutePlan,
    service: usize,
    record: &mut Record,
) -> End {
    let (worker, plan) = (terms.worker(), terms.plan());
    let head = &scratch.down.filled()[..head_len];
    record.request_id = if scratch.request.find(HeaderId::XRequestId, head).is_some() {
        RequestId::Received
    } else {
        heads::make_request_id(&mut worker.draw.borrow_mut())
    };
    let upgrade = scratch.request.upgrade.is_some_and(|name| {
        route.upgrades.iter().any(|allowed| allowed.as_bytes().eq_ignore_ascii_case(name.of(head)))
    });
    if connection.stream.wants_tunnel() && !(upgrade && websocket::key(&scratch.request, head).is_some()) {
        return End::Refused { refusal: Refusal::UpgradeNotAllowed, message_end: None };
    }
    let listener = terms.listener();
    let (body_idle, body_max) = (listener.body_idle, listener.body_max);
    let trusted = connection
        .peer
        .is_some_and(|(ip, _)| plan.trusted_proxies.iter().any(|network| network.contains(&ip)));
    let service_plan = &plan.services[service];
    if let Some(placement) = &service_plan.placement {
        let (peer, caller) = (connection.peer.map(|(ip, _)| ip), connection.caller.as_deref());
        let proxies = trusted.then_some(&*plan.trusted_proxies);
        record.key = hash_key::hash(placement, &scratch.request, head, &scratch.path, peer, proxies, caller);
    }
    let cookie = Cookie::of(service_plan, &scratch.request, head);
    let asked = match record.grpc.map(|_| grpc::timeout(&scratch.request, head)) {
        None => None,
        Some(Ok(asked)) => asked,
        Some(Err(refusal)) => {
            let message_end = body_gone::end_of_buffered_body(scratch, head_len);
            return End::Refused { refusal, message_end };
        }
    };
    let timeout = [route.timeout, asked].into_iter().flatten().min();
    let limit = timeout.map(|timeout| record.arrived.after(timeout));
    let call = Call {
        connection,
        scratch,
        record,
        worker,
        route,
        generation: &terms.generation,
        place: service,
        service: service_plan,
        cluster: &terms.generation.clusters[service],
        counters: &terms.generation.metrics.services[service],
        head_len,
        body_idle,
        body_max,
        limit,
        caller_set_limit: asked.is_some() && timeout == asked,
        upgrade,
        trusted,
        cookie,
    };
    call.run().await
}

/// The endpoints tried so far.
struct Tried {
    indexes: [MemberIndex; TRIED_MAX],
    len: usize,
}

impl Tried {
    fn none() -> Self {
        Self { indexes: [MemberIndex(0); TRIED_MAX], len: 0 }
    }

    fn push(&mut self, index: MemberIndex) {
        if self.len < TRIED_MAX {
            self.indexes[self.len] = index;
            self.len += 1;
        }
    }

    fn is_full(&self) -> bool {
        self.len == TRIED_MAX
    }

    /// The same endpoints in a newer snapshot; those that it has no more are left out.
    fn carried(&self, from: &View, to: &View) -> Self {
        let mut carried = Self::none();
        for index in self.as_slice() {
            let live = &from.member(*index).live;
            let place = to.members().iter().position(|member| Arc::ptr_eq(&member.live, live));
            if let Some(place) = place {
                carried.push(MemberIndex(place as u32));
            }
        }
        carried
    }

    fn as_slice(&self) -> &[MemberIndex] {
        &self.indexes[..self.len]
    }
}

impl Call<'_> {
    async fn run(mut self) -> End {
        let mut view = self.cluster.view.snapshot();
        let mut tried = Tried::none();
        let mut only_fresh = false;
        // What the last failed attempt would be answered with.
        let mut last = Refusal::NoEndpoints;
        loop {
            if self.record.grpc.is_some() && self.rest().is_some_and(|rest| rest.is_zero()) {
                return self.refused(Refusal::UpstreamTimeout);
            }
            let now = self.worker.now();
            let holder = self.holder(&view, tried.as_slice());
            let index = match holder.map_or_else(|| self.pick(&view, &mut tried, last, now), Ok) {
                Ok(index) => index,
                Err(refusal) => return self.refused(refusal),
            };
            let failure = match self.attempt(&view, index, only_fresh, now).await {
                Attempt::Answered(answered) => return self.relay(answered).await,
                Attempt::Failed(failure) => failure,
                Attempt::Full if tried.is_full() => return self.refused(Refusal::Overloaded),
                Attempt::Full => {
                    self.cookie.holder_is_full |= holder.is_some();
                    tried.push(index);
                    last = Refusal::Overloaded;
                    continue;
                }
                Attempt::CallerGone => return End::Cancelled,
                Attempt::CallerBlamed(refusal) => return End::Refused { refusal, message_end: None },
            };
            if failure.stale {
                self.record.n_attempts -= 1;
            } else {
                self.counters.failures[failure.kind as usize].add(1);
            }
            if !self.may_repeat(&failure) {
                return End::Refused { refusal: failure.refusal, message_end: failure.message_end };
            }
            // A connection that the endpoint closed while it was idle is no reason to leave it.
            if !(failure.stale && holder.is_some()) {
                tried.push(index);
            }
            // The attempt may have taken long: whoever left or drains since must not get the next one.
            let newer = self.cluster.view.snapshot();
            if !newer.is(&view) {
                tried = tried.carried(&view, &newer);
                view = newer;
            }
            only_fresh |= failure.stale;
            last = failure.refusal;
            self.record.retried_for = Some(AttemptFailure::ALL[failure.kind as usize].1);
            self.counters.retries.add(1);
        }
    }

    /// What is left of the time of the whole request, where that is bounded.
    pub(super) fn rest(&self) -> Option<Duration> {
        self.limit.map(|limit| limit.since(self.worker.now()))
    }

    /// The endpoint of the next attempt; `last` is what the attempts so far came to.
    fn pick(
        &self,
        view: &View,
        tried: &mut Tried,
        last: Refusal,
        now: Instant,
    ) -> Result<MemberIndex, Refusal> {
        loop {
            let request = PickRequest {
                key: self.record.key,
                tried: tried.as_slice(),
                ticket: view.take_ticket(),
                now,
                pool: self.service.hears_load.then_some(&self.cluster.loads.pool),
            };
            self.counters.picks.add(1);
            match view.pick(&request, &mut self.worker.draw.borrow_mut()) {
                Ok(index) => {
                    if self.service.load_probe.is_some() {
                        load_probes::send_due(self.generation, self.place, view);
                    }
                    return Ok(index);
                }
                Err(NoPick::Empty) => return Err(Refusal::NoEndpoints),
                // Every endpoint is at its bound: another round would find the same.
                Err(NoPick::AllTried) if last == Refusal::Overloaded => return Err(last),
                Err(NoPick::AllTried) => *tried = Tried::none(),
            }
        }
    }

    /// Whether another attempt may follow this failure.
    fn may_repeat(&self, failure: &Failure) -> bool {
        let retry = &self.route.retry;
        if failure.stale {
            // The endpoint closed it while it was idle: the request costs it nothing to come again.
            return failure.restartable && (failure.unsent || self.scratch.request.method.is_idempotent());
        }
        let safe = failure.unsent || self.scratch.request.method.is_idempotent();
        let wanted = match failure.kind {
            AttemptFailure::Connect => retry.on_connect_failure,
            AttemptFailure::Reset => retry.on_reset,
            AttemptFailure::Timeout => retry.on_timeout && !failure.request_expired,
            AttemptFailure::BadResponse => false,
        };
        wanted && safe && failure.restartable && self.record.n_attempts < retry.attempts
    }

    /// A refusal before any byte of the request's body was touched by an attempt that still counts.
    fn refused(&self, refusal: Refusal) -> End {
        let message_end = body_gone::end_of_buffered_body(self.scratch, self.head_len);
        End::Refused { refusal, message_end }
    }
}
