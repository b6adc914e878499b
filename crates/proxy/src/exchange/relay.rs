//! The answer's way to the caller, once its head is final.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use isobar_core::{FailureClass, InFlight, Outcome};
use isobar_http1::HeaderId;

use super::End;
use super::attempt::{Answered, Upload};
use super::forward::Call;
use super::load_report;
use crate::heads::{self, ResponseShape};
use crate::load_probes;
use crate::pump::{Pump, PumpError};
use crate::refusal::{ErrorCode, Refusal, write_grpc_status};
use crate::upstream::Upstream;
use crate::view::View;

/// How the body's way ended.
enum Relayed {
    Whole,
    /// The endpoint broke off.
    Cut(Outcome),
    /// The caller went away.
    Abandoned,
    /// The caller took nothing for too long.
    Stalled,
}

impl Call<'_> {
    /// Sends an informational response on; false when the caller is gone.
    pub(super) async fn relay_informational(&mut self, head_len: usize) -> bool {
        let mut out = std::mem::take(&mut self.scratch.to_caller);
        out.clear();
        let head = &self.scratch.up.filled()[..head_len];
        // RFC 9110, section 15.2: a client of HTTP/1.0 does not know informational responses.
        let wanted = self.scratch.request.version == isobar_http1::Version::Http11;
        if wanted {
            heads::write_informational(&self.scratch.response, head, &mut out);
        }
        self.scratch.up.consume(head_len);
        let written = self.connection.write_all(&out, self.body_idle).await;
        self.scratch.to_caller = out;
        written
    }

    /// Relays the final response.
    pub(super) async fn relay(mut self, answered: Answered) -> End {
        let Answered { mut upstream, mut upload, mut guard, head_len } = answered;
        self.note_head(&mut guard, head_len);
        if self.scratch.response.status == 101 {
            let head = &self.scratch.up.filled()[..head_len];
            let proof = self.scratch.response.find(HeaderId::SecWebSocketAccept, head);
            let is_proof = self.connection.stream.is_proof(proof);
            if !self.upgrade || self.scratch.response.upgrade.is_none() || !is_proof {
                guard.finish(Outcome::Failure(FailureClass::BadResponse));
                return End::Refused { refusal: Refusal::UnwantedUpgrade, message_end: None };
            }
            return self.tunnel(upstream, upload, guard, head_len).await;
        }
        if self.connection.stream.wants_tunnel() && (200..300).contains(&self.record.status) {
            // It would say that the tunnel stands.
            self.finish(guard);
            return End::Refused { refusal: Refusal::UpgradeDeclined, message_end: None };
        }
        // An answer that came before the end of the upload leaves the connection in the middle of a message.
        let wishes_keep_alive =
            self.scratch.request.keep_alive && !self.connection.is_closing() && upload.pump.is_finished();
        let shape = ResponseShape::choose(&self.scratch.response, &self.scratch.request, wishes_keep_alive);
        let mut download = self.encode_response(shape, &guard, head_len);
        let mut armed = false;
        let relayed =
            poll_fn(|cx| self.poll_relay(cx, &mut upstream, &mut upload, &mut download, &mut armed)).await;
        self.record.bytes_in += upload.pump.n_bytes;
        self.record.bytes_out += download.n_written;
        let reusable = self.is_reusable(&upload, &download);
        let uploaded = upload.pump.is_finished();
        let message_end = upload.pump.source_end();
        let ending = self.end_call(&relayed, &download);
        if let (Some(penalty), Relayed::Whole) = (self.service.error_penalty, &relayed) {
            load_report::note_trailers(download.trailers(), &guard, penalty);
        }
        self.scratch.to_caller = download.into_lead();
        self.scratch.to_endpoint = upload.pump.into_lead();
        self.scratch.up.consume(self.scratch.up.len());
        match relayed {
            Relayed::Whole => {
                self.finish(guard);
                if reusable {
                    self.cluster.pool.check_in(upstream, self.worker.now());
                }
                if uploaded {
                    End::Answered { message_end, keep_alive: shape.keep_alive }
                } else {
                    End::Early
                }
            }
            Relayed::Cut(outcome) => {
                guard.failed(self.worker.now(), Duration::ZERO);
                guard.finish(outcome);
                if let Some(ending) = ending {
                    if self.connection.write_all(&ending, self.body_idle).await {
                        self.record.bytes_out += ending.len() as u64;
                    }
                } else if shape.until_close {
                    // Only a reset tells this caller that the body is not whole.
                    self.connection.stream.reset_on_close();
                }
                End::Broken
            }
            Relayed::Abandoned | Relayed::Stalled => {
                guard.finish(Outcome::Cancelled);
                self.record.error = Some(ErrorCode::Cancelled);
                End::Broken
            }
        }
    }

    /// The response's head, encoded, with its body to follow; takes the head's bytes out of the `up` buffer.
    fn encode_response(&mut self, shape: ResponseShape, guard: &InFlight<View>, head_len: usize) -> Pump {
        let mut lead = std::mem::take(&mut self.scratch.to_caller);
        lead.clear();
        let scratch = &*self.scratch;
        let head = &scratch.up.filled()[..head_len];
        let edits = &self.route.response_edits;
        heads::write_response(&scratch.response, head, shape, &scratch.request, edits, &mut lead);
        let framing = scratch.response.framing;
        self.write_cookie(guard, &mut lead);
        let debug = self.service.debug_headers;
        let origin = debug.then(|| (&*guard.member().endpoint, self.record.n_attempts));
        heads::end_response(origin, &mut lead);
        self.scratch.up.consume(head_len);
        Pump::new(framing, shape.chunked, lead, 0)
    }

    /// Notes how an answer ended; for a gRPC call that was cut between two pieces gives what ends it with a status, so
    /// that its caller hears more than that the stream was reset.
    fn end_call(&mut self, relayed: &Relayed, download: &Pump) -> Option<Vec<u8>> {
        let Relayed::Cut(outcome) = relayed else {
            if let Some(call) = &mut self.record.grpc {
                call.note_trailers(download.trailers());
            }
            return None;
        };
        let timed_out = *outcome == Outcome::Timeout && self.record.grpc.is_some();
        let (code, sentence) = if timed_out {
            (ErrorCode::UpstreamTimeout, Refusal::UpstreamTimeout.sentence())
        } else {
            (ErrorCode::UpstreamReset, "the service broke off its answer")
        };
        self.record.error = Some(code);
        if self.record.grpc.is_none() || self.record.status != 200 {
            return None;
        }
        let mut lines = Vec::new();
        write_grpc_status(code, sentence, &mut lines);
        download.ending(&lines)
    }

    /// Notes what the head says of the request and of the endpoint: that it asks to be left alone, where it says for how
    /// many seconds.
    fn note_head(&mut self, guard: &mut InFlight<View>, head_len: usize) {
        let (response, head) = (&self.scratch.response, &self.scratch.up.filled()[..head_len]);
        self.record.status = response.status;
        if let Some(call) = &mut self.record.grpc {
            call.note_head(response, head);
        }
        if let Some(penalty) = self.service.error_penalty {
            load_report::note_head(response, head, guard, penalty);
        }
        if let (true, Some((view, index))) = (self.service.hears_load, &self.record.endpoint) {
            load_probes::hear(self.generation, self.place, view, *index, response, head);
        }
        let (429 | 503) = response.status else { return };
        let wish = response.find(HeaderId::RetryAfter, head);
        let seconds = wish.and_then(|wish| std::str::from_utf8(wish).ok()?.parse().ok());
        if let Some(seconds) = seconds {
            guard.failed(self.worker.now(), Duration::from_secs(seconds));
        }
    }

    fn finish(&self, guard: InFlight<View>) {
        guard.finish(match self.record.grpc {
            Some(call) if self.record.status == 200 => call.outcome(),
            _ if self.record.status >= 500 => Outcome::Failure(FailureClass::Status),
            _ => Outcome::Success,
        });
    }

    /// Whether the endpoint's connection can carry another request.
    fn is_reusable(&self, upload: &Upload, download: &Pump) -> bool {
        upload.pump.is_finished()
            && download.is_finished()
            && self.scratch.response.keep_alive
            && self.scratch.up.len() == download.source_end()
    }

    /// Moves both bodies, watches the caller and the clock.
    fn poll_relay(
        &mut self,
        cx: &mut Context<'_>,
        upstream: &mut Upstream,
        upload: &mut Upload,
        download: &mut Pump,
        armed: &mut bool,
    ) -> Poll<Relayed> {
        let before = download.n_written + upload.pump.n_written;
        if !upload.stopped && !upload.pump.is_finished() {
            let down = &mut self.scratch.down;
            let polled = upload.pump.poll(cx, &mut self.connection.stream, down, &mut upstream.stream);
            // Whatever is wrong with the rest of the request, its answer is on the way and is not lost.
            upload.stopped = matches!(polled, Poll::Ready(Err(_)));
        }
        let up = &mut self.scratch.up;
        match download.poll(cx, &mut upstream.stream, up, &mut self.connection.stream) {
            Poll::Ready(Ok(())) => return Poll::Ready(Relayed::Whole),
            Poll::Ready(Err(PumpError::Sink(_))) => return Poll::Ready(Relayed::Abandoned),
            Poll::Ready(Err(error)) => {
                tracing::debug!(service = %self.service.name, ?error, "an answer broke off");
                return Poll::Ready(Relayed::Cut(Outcome::Failure(FailureClass::Reset)));
            }
            Poll::Pending => {}
        }
        if self.caller_has_left(cx, upload) {
            return Poll::Ready(Relayed::Abandoned);
        }
        if !*armed || before != download.n_written + upload.pump.n_written {
            *armed = true;
            let at = self.worker.now().after(self.body_idle);
            self.connection.deadline.set(self.limit.map_or(at, |limit| limit.min(at)));
        } else if self.connection.deadline.fired() {
            return Poll::Ready(if download.waits_for_sink() {
                Relayed::Stalled
            } else {
                Relayed::Cut(Outcome::Timeout)
            });
        }
        Poll::Pending
    }
}
