//! One attempt: a connection to one endpoint, the request on it, and the wait for a final response head.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use isobar_core::{FailureClass, InFlight, Instant, MemberIndex, Outcome};
use isobar_http1::{Framing, HeadLimits, HeadProgress, Reject};

use super::body_gone;
use super::checkout::NoUpstream;
use super::forward::Call;
use crate::heads::{self, RequestFacts};
use crate::metrics::AttemptFailure;
use crate::plan::RESPONSE_HEAD_TIMEOUT;
use crate::pump::{Pump, PumpError};
use crate::refusal::Refusal;
use crate::upstream::Upstream;
use crate::view::View;

/// Bounds of a response head: endpoints are not hostile but may be broken. 64 KiB is twice what callers may send by
/// default; fields beyond 256 are a loop somewhere.
const RESPONSE_LIMITS: HeadLimits =
    HeadLimits { head_bytes: 64 * 1024, target_bytes: 64 * 1024, n_headers: 256 };

/// The request's way to the endpoint.
pub(super) struct Upload {
    pub(super) pump: Pump,
    /// The endpoint takes no more of it; its answer may still come.
    pub(super) stopped: bool,
}

/// A final head is in `scratch.response`, its bytes at the front of `scratch.up`.
pub(super) struct Answered {
    pub(super) upstream: Upstream,
    pub(super) upload: Upload,
    pub(super) guard: InFlight<View>,
    pub(super) head_len: usize,
}

/// How an attempt ended.
#[expect(
    clippy::large_enum_variant,
    reason = "made once a request and moved once; a box would allocate for it"
)]
pub(super) enum Attempt {
    Answered(Answered),
    Failed(Failure),
    /// The endpoint is at its maximum of connections.
    Full,
    CallerGone,
    /// The request itself is at fault.
    CallerBlamed(Refusal),
}

/// Why there is no answer from this endpoint.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each asked for by one rule of repetition"
)]
pub(super) struct Failure {
    pub(super) refusal: Refusal,
    pub(super) kind: AttemptFailure,
    /// No byte of the request was written, or the endpoint said that it has not begun with it.
    pub(super) unsent: bool,
    /// All of the request is still at hand.
    pub(super) restartable: bool,
    /// A reused connection that gave no byte of response.
    pub(super) stale: bool,
    /// The time of the whole request is over.
    pub(super) request_expired: bool,
    /// See `End::Refused`.
    pub(super) message_end: Option<usize>,
}

/// What ended a wait for the endpoint's head.
enum Step {
    Final(usize),
    Informational(usize),
    /// The connection ended; whether bytes of a response had come.
    Reset,
    BadHead(Reject),
    Expired,
    CallerGone,
    CallerBlamed(Refusal),
}

impl Call<'_> {
    /// Tries one endpoint.
    pub(super) async fn attempt(
        &mut self,
        view: &View,
        index: MemberIndex,
        only_fresh: bool,
        now: Instant,
    ) -> Attempt {
        let mut guard = InFlight::start(view.clone(), index, self.worker.number, now);
        self.record.endpoint = Some((view.clone(), index));
        let upstream = match self.check_out(view, index, only_fresh, now).await {
            Ok(mut upstream) => {
                // A connection that others got before it is no less fresh for this request.
                upstream.reused &= !only_fresh;
                upstream
            }
            Err(NoUpstream::Full) => {
                guard.finish(Outcome::Refused);
                return Attempt::Full;
            }
            Err(NoUpstream::Unfit(refusal)) => {
                guard.finish(Outcome::Refused);
                return Attempt::CallerBlamed(refusal);
            }
            Err(NoUpstream::Failed(failure)) => {
                guard.failed(self.worker.now(), Duration::ZERO);
                guard.finish(Outcome::Failure(FailureClass::Connect));
                return Attempt::Failed(failure);
            }
        };
        let upload = Upload { pump: self.encode(view, index), stopped: false };
        self.await_head(upstream, upload, guard).await
    }

    /// The request's head, encoded, with its body to follow.
    fn encode(&mut self, view: &View, index: MemberIndex) -> Pump {
        let mut lead = std::mem::take(&mut self.scratch.to_endpoint);
        lead.clear();
        let head = &self.scratch.down.filled()[..self.head_len];
        let request = &self.scratch.request;
        let facts = RequestFacts {
            route: self.route,
            path: (!self.scratch.path.is_empty()).then_some(self.scratch.path.as_slice()),
            client: self.connection.peer.map(|(ip, _)| ip),
            https: self.connection.stream.is_tls(),
            http2: self.connection.stream.is_http2(),
            certificate: self.connection.caller.as_ref().map_or(&[], |caller| caller.lines.as_slice()),
            trusted: self.trusted,
            endpoint: &view.member(index).endpoint,
            upgrade: self.upgrade,
            request_id: &self.record.request_id,
            grpc_timeout: self.record.grpc.and_then(|_| self.rest()),
        };
        heads::write_request(request, head, &facts, &mut lead);
        let chunked = request.framing == Framing::Chunked;
        // Over HTTP/2 an endpoint can say that it has not begun, which makes any request repeatable.
        let may_be_repeated = request.method.is_idempotent() || self.service.http2;
        Pump::new(request.framing, chunked, lead, self.head_len)
            .bounded(self.body_max)
            .keeping(may_be_repeated && self.route.retry.attempts > 1)
    }

    /// Sends the request and waits for a final head; informational ones go to the caller on the way.
    async fn await_head(
        &mut self,
        mut upstream: Upstream,
        mut upload: Upload,
        mut guard: InFlight<View>,
    ) -> Attempt {
        let per_try = self.route.retry.per_try_timeout.map(|limit| guard.started().after(limit));
        let limit = [self.limit, per_try].into_iter().flatten().min();
        self.scratch.progress = HeadProgress::default();
        let mut n_informational = 0;
        // A deadline of an earlier phase may have fired while that phase ended well.
        let mut armed = false;
        loop {
            let step = poll_fn(|cx| self.poll_step(cx, &mut upstream, &mut upload, limit, &mut armed)).await;
            match step {
                Step::Final(head_len) => {
                    upload.pump.stop_keeping();
                    let now = self.worker.now();
                    guard.answered(now);
                    self.record.first_byte = Some(now.since(self.record.arrived));
                    self.counters.upstream.record(now.since(guard.started()));
                    return Attempt::Answered(Answered { upstream, upload, guard, head_len });
                }
                Step::Informational(head_len) => {
                    n_informational += 1;
                    if !self.relay_informational(head_len).await {
                        return Attempt::CallerGone;
                    }
                    self.scratch.progress = HeadProgress::default();
                    armed = false;
                    if n_informational > INFORMATIONAL_MAX {
                        let reject = Reject::HeadTooLarge;
                        guard.failed(self.worker.now(), Duration::ZERO);
                        guard.set_outcome(Outcome::Failure(FailureClass::BadResponse));
                        return Attempt::Failed(self.failure(
                            &Step::BadHead(reject),
                            &upstream,
                            upload,
                            limit,
                        ));
                    }
                }
                Step::CallerGone => return Attempt::CallerGone,
                Step::CallerBlamed(refusal) => return Attempt::CallerBlamed(refusal),
                Step::Reset if self.is_stale(&upstream) => {
                    guard.finish(Outcome::Refused);
                    return Attempt::Failed(self.failure(&step, &upstream, upload, limit));
                }
                Step::Reset | Step::BadHead(_) | Step::Expired => {
                    guard.failed(self.worker.now(), Duration::ZERO);
                    guard.finish(match step {
                        Step::Expired => Outcome::Timeout,
                        Step::Reset => Outcome::Failure(FailureClass::Reset),
                        _ => Outcome::Failure(FailureClass::BadResponse),
                    });
                    return Attempt::Failed(self.failure(&step, &upstream, upload, limit));
                }
            }
        }
    }

    /// Whether a connection that was used before ended as idle ones do: without a byte of a response, for no fault of the
    /// request.
    fn is_stale(&self, upstream: &Upstream) -> bool {
        upstream.reused && self.scratch.up.is_empty() && upstream.stream.is_lost_as_idle()
    }

    /// Turns the end of a wait into a failure and forgets what came of a response.
    fn failure(
        &mut self,
        step: &Step,
        upstream: &Upstream,
        upload: Upload,
        limit: Option<Instant>,
    ) -> Failure {
        let (refusal, kind) = match step {
            Step::BadHead(reject) => (Refusal::BadResponse(*reject), AttemptFailure::BadResponse),
            Step::Expired => (Refusal::UpstreamTimeout, AttemptFailure::Timeout),
            _ => (Refusal::UpstreamReset, AttemptFailure::Reset),
        };
        let request_expired = self.limit.is_some() && limit == self.limit;
        if kind == AttemptFailure::Timeout {
            if request_expired && self.caller_set_limit {
                upstream.stream.give_up_if_silent(self.worker.now());
            } else {
                upstream.stream.give_up();
            }
        }
        let stale = kind == AttemptFailure::Reset && self.is_stale(upstream);
        let failure = Failure {
            refusal,
            kind,
            unsent: upload.pump.n_written == 0 || upstream.stream.is_unprocessed(),
            restartable: upload.pump.can_restart(),
            stale,
            request_expired,
            message_end: if upload.pump.source_is_done() {
                Some(upload.pump.source_end())
            } else if upload.pump.can_restart() {
                body_gone::end_of_buffered_body(self.scratch, self.head_len)
            } else {
                None
            },
        };
        self.record.bytes_in += upload.pump.n_bytes;
        self.scratch.up.consume(self.scratch.up.len());
        self.scratch.to_endpoint = upload.pump.into_lead();
        failure
    }

    /// Moves the upload, reads the head, watches the caller and the clock.
    fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
        upstream: &mut Upstream,
        upload: &mut Upload,
        limit: Option<Instant>,
        armed: &mut bool,
    ) -> Poll<Step> {
        let was_finished = upload.pump.is_finished();
        let before = upload.pump.n_written + upload.pump.n_bytes;
        if let Some(step) = self.poll_upload(cx, upstream, upload) {
            return Poll::Ready(step);
        }
        if let Poll::Ready(step) = self.poll_head(cx, upstream) {
            return Poll::Ready(step);
        }
        let finished = upload.pump.is_finished() || upload.stopped;
        if self.caller_has_left(cx, upload) {
            return Poll::Ready(Step::CallerGone);
        }
        let progressed = before != upload.pump.n_written + upload.pump.n_bytes;
        if !*armed || progressed || finished != was_finished {
            *armed = true;
            self.arm(finished, limit);
        } else if self.connection.deadline.fired() {
            return Poll::Ready(self.expired(upload, limit));
        }
        Poll::Pending
    }

    /// Sets the deadline of the phase that the attempt is in.
    fn arm(&self, upload_is_finished: bool, limit: Option<Instant>) {
        let now = self.worker.now();
        let phase = if !upload_is_finished {
            Some(now.after(self.body_idle))
        } else if limit.is_none() {
            Some(now.after(RESPONSE_HEAD_TIMEOUT))
        } else {
            None
        };
        if let Some(at) = [phase, limit].into_iter().flatten().min() {
            self.connection.deadline.set(at);
        }
    }

    fn expired(&self, upload: &Upload, limit: Option<Instant>) -> Step {
        let over = limit.is_some_and(|limit| self.worker.now() >= limit);
        let waits_for_caller = !upload.stopped && !upload.pump.is_finished() && !upload.pump.waits_for_sink();
        if waits_for_caller && !over { Step::CallerBlamed(Refusal::RequestTimeout) } else { Step::Expired }
    }

    /// Moves the request; `Some` when that ends the attempt.
    fn poll_upload(
        &mut self,
        cx: &mut Context<'_>,
        upstream: &mut Upstream,
        upload: &mut Upload,
    ) -> Option<Step> {
        if upload.stopped || upload.pump.is_finished() {
            return None;
        }
        let down = &mut self.scratch.down;
        match upload.pump.poll(cx, &mut self.connection.stream, down, &mut upstream.stream) {
            Poll::Pending | Poll::Ready(Ok(())) => None,
            Poll::Ready(Err(PumpError::Sink(error))) => {
                tracing::trace!(%error, "the endpoint stopped reading");
                upload.stopped = true;
                None
            }
            Poll::Ready(Err(PumpError::Source(error))) => {
                tracing::trace!(%error, "the caller went away inside its body");
                Some(Step::CallerGone)
            }
            Poll::Ready(Err(PumpError::Truncated)) => Some(Step::CallerBlamed(Refusal::BodyTruncated)),
            Poll::Ready(Err(PumpError::Rejected(reject))) => {
                Some(Step::CallerBlamed(Refusal::Rejected(reject)))
            }
            Poll::Ready(Err(PumpError::TooLong)) => Some(Step::CallerBlamed(Refusal::BodyTooLarge)),
        }
    }

    fn poll_head(&mut self, cx: &mut Context<'_>, upstream: &mut Upstream) -> Poll<Step> {
        let scratch = &mut *self.scratch;
        loop {
            if !scratch.up.is_empty() {
                let method = scratch.request.method;
                let up = scratch.up.filled();
                match scratch.response.parse(up, &mut scratch.progress, &RESPONSE_LIMITS, method) {
                    Ok(Some(n)) if scratch.response.is_informational() => {
                        return Poll::Ready(Step::Informational(n));
                    }
                    Ok(Some(n)) => return Poll::Ready(Step::Final(n)),
                    Ok(None) => {}
                    Err(reject) => return Poll::Ready(Step::BadHead(reject)),
                }
            }
            if !scratch.up.is_lent() {
                // A request that waits long holds no second buffer meanwhile.
                if upstream.stream.poll_read_ready(cx).is_pending() {
                    return Poll::Pending;
                }
                self.worker.stock.lend(&mut scratch.up);
            }
            if !scratch.up.make_room(RESPONSE_LIMITS.head_bytes + 1) {
                return Poll::Ready(Step::BadHead(Reject::HeadTooLarge));
            }
            match upstream.stream.poll_read(cx, scratch.up.room()) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => return Poll::Ready(Step::Reset),
                Poll::Ready(Err(error)) => {
                    self.tell_of_alert(&error);
                    return Poll::Ready(Step::Reset);
                }
                Poll::Ready(Ok(n)) => scratch.up.filled_more(n),
            }
        }
    }

    /// With TLS 1.3 an endpoint judges our certificate only after the handshake, and the reason comes then.
    fn tell_of_alert(&self, error: &std::io::Error) {
        let reason = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let (Some(reason), Some((view, index))) = (reason, &self.record.endpoint) {
            self.complain(&view.member(*index).endpoint, &isobar_tls::explain(reason));
        }
    }

    /// Whether the caller is gone, as far as the upload does not find it out: that reads, unless it waits for the endpoint.
    pub(super) fn caller_has_left(&mut self, cx: &mut Context<'_>, upload: &Upload) -> bool {
        if upload.pump.is_finished() || upload.stopped {
            return self.connection.stream.is_reset(cx) || self.caller_is_gone(cx);
        }
        upload.pump.waits_for_sink() && self.connection.stream.is_reset(cx)
    }

    /// Whether the caller closed or reset its connection while it waits; bytes of a next request are kept.
    fn caller_is_gone(&mut self, cx: &mut Context<'_>) -> bool {
        while self.scratch.down.room_len() > 0 {
            match self.connection.stream.poll_read(cx, self.scratch.down.room()) {
                Poll::Pending => return false,
                Poll::Ready(Ok(0) | Err(_)) => return true,
                Poll::Ready(Ok(n)) => self.scratch.down.filled_more(n),
            }
        }
        false
    }
}

/// Informational responses before one final response; more is a loop in the endpoint.
const INFORMATIONAL_MAX: u32 = 100;
