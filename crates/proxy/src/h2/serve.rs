//! A caller's HTTP/2 connection, driven by the connection's own task; a local task a stream.
//!
//! Invariants: a stream in progress keeps the connection open, unless the caller floods or its listener's time is over;
//! when the listener closes the caller is told to send no more (GOAWAY) and what is in flight goes on; a stream's panic
//! ends that stream alone. Limits: the connection's idle time is that of HTTP/1.1; an answer that the caller does not
//! take is given up with its connection after it.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use isobar_core::Instant;
use isobar_http2::{Bounds, Connection, Reason};

use super::channel::{Channel, Drive, Held};
use super::flood::{CloseReason, Meter};
use super::{CallerStream, FIELD_OVERHEAD, STREAM_WINDOW, connection_window};
use crate::buffer::Buffer;
use crate::connection::Trunk;
use crate::plan::ListenerPlan;
use crate::stream::Stream;
use crate::websocket;

/// Frames of CONTINUATION behind one of HEADERS: the largest heads that listeners take need a few.
const CONTINUATIONS_MAX: usize = 16;

/// Bytes that are taken and thrown away after the end: what was on its way when the caller was told.
const DISCARDED_MAX: usize = 1 << 20;

/// After the last stream of a connection that is to end, the caller has this long to take what was said and close.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Serves a connection; `first` are bytes of it that were read already.
pub(crate) async fn serve(stream: Stream, trunk: Trunk, first: Vec<u8>) {
    let is_tls = stream.is_tls();
    let connection = {
        let terms = trunk.listener.terms();
        trunk.deadline.set(trunk.now().after(terms.listener().head_timeout));
        Connection::server(bounds(terms.listener()), false)
    };
    let channel = Channel::new(connection, Rc::clone(&trunk.listener.worker));
    let (stage, meter, verdict) = (Stage::Greeting, Meter::default(), None);
    let mut served = Served {
        channel,
        stream,
        first,
        trunk,
        is_tls,
        meter,
        verdict,
        stage,
        is_taking: false,
        n_discarded: 0,
    };
    poll_fn(|cx| served.poll(cx)).await;
}

fn bounds(listener: &ListenerPlan) -> Bounds {
    let limits = listener.head_limits;
    Bounds {
        streams_max: listener.streams_max,
        stream_window: STREAM_WINDOW,
        connection_window: connection_window(listener.streams_max),
        // What is longer is answered by the parser, with a code and a line in the log.
        head_bytes: limits.head_bytes + 1,
        header_list_max: (limits.head_bytes + FIELD_OVERHEAD * limits.n_headers) as u32,
        continuations_max: CONTINUATIONS_MAX,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// What the protocol begins with has not come.
    Greeting,
    New,
    /// No exchange is in progress; the deadline is the end of the caller's idle time.
    Idle,
    Busy,
    /// The caller was told to send no more; what is in flight goes on.
    Leaving,
    /// Nothing is in flight any more; the deadline is the end.
    LastWords,
    /// It is over for a mistake, which the caller was told; the deadline is the end.
    Ended,
}

/// A connection while it lives.
struct Served {
    channel: Rc<Channel>,
    stream: Stream,
    /// Read already.
    first: Vec<u8>,
    trunk: Trunk,
    is_tls: bool,
    meter: Meter,
    /// What the meter has found.
    verdict: Option<CloseReason>,
    stage: Stage,
    /// The caller has taken something since the deadline was set.
    is_taking: bool,
    /// Bytes that came after the end.
    n_discarded: usize,
}

impl Drop for Served {
    fn drop(&mut self) {
        // Also where its task panics: whoever holds a stream is to know.
        self.channel.lose();
    }
}

impl Served {
    /// Ready when the connection is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.channel.be_driven_by(cx);
        let Self { channel, stream, first, trunk, meter, verdict, is_taking, .. } = self;
        let meter = std::cell::RefCell::new(meter);
        let drive = channel.poll_drive(
            cx,
            stream,
            first,
            |frame| {
                let close = meter.borrow_mut().received(frame, || trunk.now());
                *verdict = close;
                close.map_or(Ok(()), |_| Err(Reason::ENHANCE_YOUR_CALM))
            },
            |n| {
                meter.borrow_mut().sent(n);
                *is_taking = true;
            },
        );
        self.accept();
        match drive {
            Drive::Open { flushed } => return self.poll_time(flushed),
            Drive::Lost => {}
            // Who floods gets no more of our time.
            Drive::Said if self.verdict.is_some() => {}
            Drive::Said => {
                if self.stage != Stage::Ended {
                    self.stage = Stage::Ended;
                    self.stream.shutdown_write();
                    self.trunk.deadline.set(self.trunk.now().after(LAST_WORDS));
                }
                if self.poll_discard(cx).is_pending() && !self.trunk.deadline.fired() {
                    return Poll::Pending;
                }
            }
        }
        self.tell_end();
        Poll::Ready(())
    }

    /// Takes what still comes, since a close with unread bytes would destroy what was said last; ready when the caller has
    /// closed too, or sent more than could have been on its way.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut buffer = Buffer::default();
        let stock = &self.trunk.listener.worker.stock;
        stock.lend(&mut buffer);
        let polled = loop {
            match self.stream.poll_read(cx, buffer.room()) {
                Poll::Ready(Ok(n)) if n > 0 && self.n_discarded < DISCARDED_MAX => {
                    self.n_discarded += n;
                }
                Poll::Ready(_) => break Poll::Ready(()),
                Poll::Pending => break Poll::Pending,
            }
        };
        stock.give_back(&mut buffer);
        polled
    }

    /// Has every request served that has come.
    fn accept(&mut self) {
        loop {
            let accepted = self.channel.connection().accept();
            let Some((key, asks_tunnel)) = accepted else { break };
            let worker = &self.trunk.listener.worker;
            let tunnel = asks_tunnel.then(|| websocket::draw_key(&mut worker.draw.borrow_mut()));
            if let Some(text) = tunnel {
                self.channel.connection().fill_in_key(key, text);
            }
            let held = Held::new(Rc::clone(&self.channel), key);
            let connection = self.trunk.branch(CallerStream::new(held, self.is_tls, tunnel));
            worker.servants.serve(worker, connection);
        }
        if let Some((n, malformed)) = self.channel.connection().take_malformed() {
            let malformed = malformed.as_str();
            tracing::debug!(client = ?self.trunk.peer, malformed, "a request over HTTP/2 is refused");
            self.trunk.listener.terms().listener_counters().http2.malformed.add(n);
        }
    }

    fn count(&self, reason: CloseReason) {
        self.trunk.listener.terms().listener_counters().http2.closed[reason as usize].add(1);
    }

    /// Counts the end of a connection that was ended for what its caller did; one that left did nothing.
    fn tell_end(&self) {
        let end = self.channel.connection().end();
        let close = match (self.verdict, end) {
            (Some(close), _) => close,
            (None, None | Some(Reason::NO_ERROR)) => return,
            (None, Some(Reason::ENHANCE_YOUR_CALM)) => CloseReason::OtherFlood,
            (None, Some(_)) => CloseReason::ProtocolError,
        };
        tracing::debug!(client = ?self.trunk.peer, ?close, ?end, "an HTTP/2 connection is closed");
        self.count(close);
    }

    fn last_words(&mut self) {
        self.stage = Stage::LastWords;
        self.trunk.deadline.set(self.trunk.now().after(LAST_WORDS));
    }

    fn leave(&mut self) {
        self.is_taking = true;
        self.channel.connection().leave();
        self.channel.wake_driver();
        self.stage = Stage::Leaving;
        self.trunk.deadline.set(Instant(u64::MAX));
    }

    /// The caller has as long for the rest of the last answer as for any, as long as he takes some of it.
    fn poll_last_answer(&mut self) -> Poll<()> {
        if std::mem::take(&mut self.is_taking) {
            let patience = self.trunk.listener.terms().listener().body_idle;
            self.trunk.deadline.set(self.trunk.now().after(patience));
        } else if self.trunk.deadline.fired() {
            self.count(CloseReason::Timeout);
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Keeps the deadline; ready when the connection's time is over. `flushed`: everything is in the socket.
    fn poll_time(&mut self, flushed: bool) -> Poll<()> {
        let (is_idle, is_greeted, has_left) = {
            let connection = self.channel.connection();
            (connection.n_streams() == 0, connection.is_greeted(), connection.has_left())
        };
        match self.stage {
            Stage::Greeting if is_greeted => {
                self.stage = Stage::New;
                return self.poll_time(flushed);
            }
            Stage::New | Stage::Busy if is_idle => {
                let patience = self.trunk.patience(self.stage == Stage::Busy);
                self.stage = Stage::Idle;
                self.trunk.deadline.set_idle(self.trunk.now().after(patience));
            }
            Stage::New | Stage::Idle if !is_idle => {
                self.stage = Stage::Busy;
                // Never, unless the listener closes and hurries those that are marked as idle.
                self.trunk.deadline.set_idle(Instant(u64::MAX));
            }
            Stage::Idle | Stage::Busy if self.trunk.deadline.fired() => self.leave(),
            Stage::Busy if self.trunk.is_closing() => self.leave(),
            Stage::Leaving if is_idle && !flushed => return self.poll_last_answer(),
            Stage::Leaving if is_idle => self.last_words(),
            Stage::LastWords if !is_idle => {
                // It was on its way when the caller was told.
                self.stage = Stage::Leaving;
                self.trunk.deadline.set(Instant(u64::MAX));
            }
            Stage::LastWords if has_left && flushed => {
                self.stream.shutdown_write();
                if self.trunk.deadline.fired() {
                    return Poll::Ready(());
                }
            }
            Stage::Greeting | Stage::LastWords if self.trunk.deadline.fired() => {
                self.count(CloseReason::Timeout);
                return Poll::Ready(());
            }
            Stage::Greeting
            | Stage::New
            | Stage::Idle
            | Stage::Busy
            | Stage::Leaving
            | Stage::LastWords
            | Stage::Ended => {}
        }
        Poll::Pending
    }
}
