//! An upgraded connection: bytes both ways until both sides ended.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use isobar_core::{InFlight, Outcome};
use isobar_http1::Framing;

use super::End;
use super::attempt::Upload;
use super::forward::Call;
use crate::heads::{self, ResponseShape};
use crate::pump::Pump;
use crate::upstream::Upstream;
use crate::view::View;

/// Silence in both directions that ends a tunnel: WebSocket applications ping every minute or less, while an hour keeps
/// a forgotten one from living for ever.
const TUNNEL_IDLE: Duration = Duration::from_hours(1);

impl Call<'_> {
    /// Sends the 101 on and becomes a tunnel.
    pub(super) async fn tunnel(
        mut self,
        mut upstream: Upstream,
        upload: Upload,
        guard: InFlight<View>,
        head_len: usize,
    ) -> End {
        let mut lead = std::mem::take(&mut self.scratch.to_caller);
        lead.clear();
        let shape = ResponseShape { chunked: false, keep_alive: true, until_close: true };
        let head = &self.scratch.up.filled()[..head_len];
        let edits = &self.route.response_edits;
        heads::write_response(&self.scratch.response, head, shape, &self.scratch.request, edits, &mut lead);
        self.write_cookie(&guard, &mut lead);
        heads::end_response(None, &mut lead);
        self.scratch.up.consume(head_len);
        let first = upload.pump.source_end();
        let mut to_endpoint = Pump::new(Framing::UntilClose, false, upload.pump.into_lead(), first);
        let mut to_caller = Pump::new(Framing::UntilClose, false, lead, 0);
        let mut ended = Ended::default();
        poll_fn(|cx| self.poll_tunnel(cx, &mut upstream, &mut to_endpoint, &mut to_caller, &mut ended)).await;
        self.record.bytes_in += to_endpoint.n_bytes;
        self.record.bytes_out += to_caller.n_written;
        guard.finish(Outcome::Success);
        End::Broken
    }

    fn poll_tunnel(
        &mut self,
        cx: &mut Context<'_>,
        upstream: &mut Upstream,
        to_endpoint: &mut Pump,
        to_caller: &mut Pump,
        ended: &mut Ended,
    ) -> Poll<()> {
        let before = (to_endpoint.n_written + to_caller.n_written, *ended);
        if !ended.to_endpoint {
            let down = &mut self.scratch.down;
            match to_endpoint.poll(cx, &mut self.connection.stream, down, &mut upstream.stream) {
                Poll::Ready(Ok(())) => {
                    ended.to_endpoint = true;
                    upstream.stream.shutdown_write();
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {}
            }
        }
        if !ended.to_caller {
            let up = &mut self.scratch.up;
            match to_caller.poll(cx, &mut upstream.stream, up, &mut self.connection.stream) {
                Poll::Ready(Ok(())) => {
                    ended.to_caller = true;
                    self.connection.stream.shutdown_write();
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {}
            }
        }
        if ended.to_endpoint && ended.to_caller {
            return Poll::Ready(());
        }
        if before.0 == 0 || before != (to_endpoint.n_written + to_caller.n_written, *ended) {
            // With one direction over the other is a rest of an answer: silence then means what it means in a body.
            let half_closed = ended.to_endpoint || ended.to_caller;
            let patience = if half_closed { self.body_idle } else { TUNNEL_IDLE };
            self.connection.deadline.set(self.worker.now().after(patience));
        } else if self.connection.deadline.fired() {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

/// Which directions are over.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
struct Ended {
    to_endpoint: bool,
    to_caller: bool,
}
