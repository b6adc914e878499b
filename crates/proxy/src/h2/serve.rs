//! A caller's HTTP/2 connection: the library's state, driven by the connection's own task; a local task a stream.
//!
//! Invariants: a stream in progress keeps the connection open, unless the caller floods or its listener's time is over;
//! when the listener closes the caller is told to send no more (GOAWAY) and what is in flight goes on; a stream's panic
//! ends that stream alone. Limits: the connection's idle time is that of HTTP/1.1; an answer that the caller does not
//! take is given up with its connection after it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use h2::server::{self, SendResponse};
use h2::{Reason, RecvStream};
use isobar_core::Instant;

use super::flood::{CloseReason, Verdict};
use super::piece::Piece;
use super::wire::Wire;
use super::{
    CONNECTION_WINDOW, CallerStream, FIELD_OVERHEAD, SEND_BUFFER_MAX, SMALL_FRAME, STREAM_WINDOW, preface,
};
use crate::connection::Trunk;
use crate::plan::ListenerPlan;
use crate::stream::Stream;
use crate::websocket;

/// Streams that are taken in one wake before other connections of the worker get their turn.
const ACCEPTS_PER_WAKE: usize = 64;

/// Streams that their caller reset before they were taken, waiting to be forgotten: more than come in a second before
/// that is called a flood, so that it gets its own name.
const PENDING_RESETS_MAX: usize = 256;

/// Streams that we reset, remembered so that frames on their way are not taken for errors.
const LOCAL_RESETS_MAX: usize = 64;

/// Streams that we reset for errors of the caller in one connection; then it is closed.
const ERROR_RESETS_MAX: usize = 256;

/// Small frames of DATA that wait for slow exchanges, for all of a connection: a stream's window full of messages of 8 bytes,
/// which a caller of gRPC sends without meaning harm. The library keeps some 200 bytes for each.
const SMALL_FRAMES_MAX: usize = STREAM_WINDOW as usize / 8;

/// The compression table that callers may fill: the default of the protocol, told here so that it is seen to be a bound.
const HEADER_TABLE: u32 = 4096;

/// After the last stream of a connection that is to end, the caller has this long to take what was said and close.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Serves a connection; `first` are bytes of it that were read already.
pub(crate) async fn serve(stream: Stream, trunk: Trunk, first: Vec<u8>) {
    let verdict = Rc::new(Cell::new(None));
    let is_tls = stream.is_tls();
    let handshake = {
        let terms = trunk.listener.terms();
        let listener = terms.listener();
        trunk.deadline.set(trunk.now().after(listener.head_timeout));
        let worker = Rc::clone(&trunk.listener.worker);
        let wire = Wire::of_caller(stream, first, preface::LEN, worker, Rc::clone(&verdict));
        builder(listener).handshake::<_, Piece>(wire)
    };
    let mut handshake = pin!(handshake);
    let shaken = poll_fn(|cx| match handshake.as_mut().poll(cx) {
        Poll::Pending if trunk.deadline.fired() => Poll::Ready(None),
        polled => polled.map(Some),
    });
    let connection = match shaken.await {
        Some(Ok(connection)) => connection,
        Some(Err(error)) => return count_error(&trunk, &error),
        None => return count(&trunk, CloseReason::Timeout),
    };
    let streams = Rc::new(Streams::default());
    let mut served = Served { connection, trunk, is_tls, verdict, streams, stage: Stage::New };
    poll_fn(|cx| served.poll(cx)).await;
}

fn builder(listener: &ListenerPlan) -> server::Builder {
    let limits = listener.head_limits;
    // What passes here and is too much for the listener is answered by the parser, with a code and a line in the log.
    let list = limits.head_bytes + FIELD_OVERHEAD * limits.n_headers;
    let mut builder = server::Builder::new();
    builder
        .max_concurrent_streams(listener.streams_max)
        .max_header_list_size(list as u32)
        .header_table_size(HEADER_TABLE)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER_MAX)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_concurrent_reset_streams(LOCAL_RESETS_MAX)
        .max_local_error_reset_streams(Some(ERROR_RESETS_MAX))
        .data_frame_budget(SMALL_FRAMES_MAX * SMALL_FRAME)
        .enable_connect_protocol();
    builder
}

fn count(trunk: &Trunk, reason: CloseReason) {
    trunk.listener.terms().listener_counters().http2.closed[reason as usize].add(1);
}

/// Counts the end of a connection that the library found wrong; a caller that left is none of them.
fn count_error(trunk: &Trunk, error: &h2::Error) {
    tracing::debug!(client = ?trunk.peer, %error, "an HTTP/2 connection ended");
    if error.is_io() || error.is_remote() {
        return;
    }
    let is_flood = error.reason() == Some(Reason::ENHANCE_YOUR_CALM);
    count(trunk, if is_flood { CloseReason::OtherFlood } else { CloseReason::ProtocolError });
}

/// The streams of a connection that are being served.
#[derive(Default)]
struct Streams {
    n: Cell<usize>,
    /// The connection's task.
    waker: RefCell<Option<Waker>>,
}

/// One of them, for as long as it lives.
pub(crate) struct InProgress(Rc<Streams>);

impl InProgress {
    fn begin(streams: &Rc<Streams>) -> Self {
        streams.n.set(streams.n.get() + 1);
        Self(Rc::clone(streams))
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.n.set(self.0.n.get() - 1);
        if self.0.n.get() == 0
            && let Some(waker) = &*self.0.waker.borrow()
        {
            waker.wake_by_ref();
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    New,
    /// No exchange is in progress; the deadline is the end of the caller's idle time.
    Idle,
    Busy,
    /// The caller was told to send no more; what is in flight goes on.
    Leaving,
    /// Nothing is in flight any more; the deadline is the end.
    LastWords,
}

/// A connection past its handshake.
struct Served {
    connection: server::Connection<Wire, Piece>,
    trunk: Trunk,
    is_tls: bool,
    verdict: Rc<Cell<Option<Verdict>>>,
    streams: Rc<Streams>,
    stage: Stage,
}

impl Served {
    /// Ready when the connection is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.remember(cx);
        for _ in 0..ACCEPTS_PER_WAKE {
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => self.start(request, respond),
                Poll::Ready(Some(Err(error))) => {
                    if self.verdict.get().is_none() {
                        count_error(&self.trunk, &error);
                    }
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => match self.verdict.get() {
                    Some(verdict) if self.stage != Stage::LastWords => self.end_for(verdict),
                    _ => return self.poll_time(),
                },
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn remember(&self, cx: &Context<'_>) {
        let mut waker = self.streams.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    fn start(&mut self, request: http::Request<RecvStream>, respond: SendResponse<Piece>) {
        let (parts, body) = request.into_parts();
        let worker = &self.trunk.listener.worker;
        let key = || websocket::draw_key(&mut worker.draw.borrow_mut());
        match CallerStream::new(&parts, body, respond, self.is_tls, Rc::clone(&worker.stream_memory), key) {
            Ok(stream) => {
                let connection = self.trunk.branch(stream);
                let in_progress = InProgress::begin(&self.streams);
                let worker = &self.trunk.listener.worker;
                worker.servants.serve(worker, (connection, in_progress));
            }
            Err((malformed, mut respond)) => {
                tracing::debug!(client = ?self.trunk.peer, %malformed, "a request over HTTP/2 is refused");
                self.trunk.listener.terms().listener_counters().http2.malformed.add(1);
                respond.send_reset(Reason::PROTOCOL_ERROR);
            }
        }
    }

    /// Ends a connection that floods or breaks the protocol; what is in flight on it ends with it.
    fn end_for(&mut self, verdict: Verdict) {
        tracing::debug!(client = ?self.trunk.peer, ?verdict, "an HTTP/2 connection is closed");
        count(&self.trunk, verdict.close);
        self.connection.abrupt_shutdown(verdict.reason);
        self.last_words();
    }

    fn last_words(&mut self) {
        self.stage = Stage::LastWords;
        self.trunk.deadline.set(self.trunk.now().after(LAST_WORDS));
    }

    fn leave(&mut self) {
        self.connection.graceful_shutdown();
        self.stage = Stage::Leaving;
        self.trunk.deadline.set(Instant(u64::MAX));
    }

    /// Keeps the deadline; ready when the connection's time is over.
    fn poll_time(&mut self) -> Poll<()> {
        let is_idle = self.streams.n.get() == 0;
        match self.stage {
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
            Stage::Idle | Stage::Busy if self.trunk.deadline.fired() => {
                self.leave();
                return self.poll_again();
            }
            Stage::Busy if self.trunk.is_closing() => {
                self.leave();
                return self.poll_again();
            }
            Stage::Leaving if is_idle && !self.connection.has_streams() => self.last_words(),
            Stage::Leaving if is_idle && self.trunk.deadline.fired() => {
                count(&self.trunk, CloseReason::Timeout);
                return Poll::Ready(());
            }
            Stage::LastWords if self.trunk.deadline.fired() => return Poll::Ready(()),
            Stage::New | Stage::Idle | Stage::Busy | Stage::Leaving | Stage::LastWords => {}
        }
        Poll::Pending
    }

    /// The library has something to say, which only a poll sends.
    fn poll_again(&self) -> Poll<()> {
        if let Some(waker) = &*self.streams.waker.borrow() {
            waker.wake_by_ref();
        }
        Poll::Pending
    }
}
