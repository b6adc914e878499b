//! HTTP/2 connections to the endpoints of one service, and the streams on them.
//!
//! A link is one connection, driven by a local task from its making to its end. A request takes a stream of the first
//! link that has one free; else it waits for a link that is being made, or has another one made.
//!
//! Invariants: a link is offered once the endpoint's SETTINGS are there, so no stream waits in a queue for its turn and
//! who does not speak HTTP/2 is found out before a request is lost on him; a link that will take no more (GOAWAY, age,
//! an endpoint that leaves) is forgotten and ends when its last stream does; each holds one permit of the endpoint's
//! connections for as long as it lives.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::hash::BuildHasherDefault;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use isobar_core::{Endpoint, Instant, Live};
use isobar_http2::{Bounds, Connection, Reason};
use isobar_tls::Originator;

use super::channel::{Channel, Drive, Held};
use super::{EndpointStream, STREAM_WINDOW, connection_window};
use crate::stream::Stream;
use crate::upstream::{self, AddressHasher, ConnectError, IdleLimits, Permit};
use crate::worker::Worker;

/// Streams of one link at a time, whatever the endpoint allows: past it another connection moves more than another
/// stream, and a connection that is lost takes no more than these with it.
const STREAMS_MAX: u32 = 256;

/// Requests that may wait for one link while it is made: what most servers allow on it at least (RFC 9113, section 6.5.2).
const WAITING_MAX: usize = 100;

/// Bytes of an endpoint's head or trailers: what they may have in HTTP/1.1 (64 KiB) and one more, so that too much is seen to
/// be.
const HEAD_BYTES_MAX: usize = 64 * 1024 + 1;

/// The same as a list of fields, which cost something beside their bytes there.
const HEADER_LIST_MAX: u32 = 80 * 1024;

/// Frames of CONTINUATION behind one of HEADERS.
const CONTINUATIONS_MAX: usize = 64;

const BOUNDS: Bounds = Bounds {
    streams_max: STREAMS_MAX,
    stream_window: STREAM_WINDOW,
    connection_window: connection_window(STREAMS_MAX),
    head_bytes: HEAD_BYTES_MAX,
    header_list_max: HEADER_LIST_MAX,
    continuations_max: CONTINUATIONS_MAX,
};

/// An endpoint that says nothing for so long while it is asked is perhaps not there any more, whatever the deadlines of its
/// callers: the state of a firewall that was lost, for one.
const SILENCE: Duration = Duration::from_secs(1);

/// After the last request of a link its endpoint has this long to take what was said.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Why a link was not made; many requests may have waited for it.
pub(crate) type LinkError = Rc<ConnectError>;

/// See the module's page.
pub(crate) struct Link {
    state: RefCell<State>,
    is_tls: bool,
    made: Instant,
    n_streams: Cell<usize>,
    idle_since: Cell<Instant>,
    is_used: Cell<bool>,
    /// Since when requests have been made and nothing was heard, and what `Channel::n_heard` was then.
    unheard: Cell<(u64, Instant)>,
    /// No more requests are put on it.
    is_retired: Cell<bool>,
    worker: Rc<Worker>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("state", &self.state)
            .field("n_streams", &self.n_streams)
            .finish_non_exhaustive()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let State::Open(channel) = &*self.state.borrow() {
            // Nobody will use it any more; its driver is to see that.
            channel.wake_driver();
        }
    }
}

#[derive(Debug)]
enum State {
    Opening(Vec<Waker>),
    Open(Rc<Channel>),
    Failed(LinkError),
    Closed,
}

impl Link {
    fn new(is_tls: bool, worker: &Rc<Worker>) -> Rc<Self> {
        let now = worker.now();
        Rc::new(Self {
            state: RefCell::new(State::Opening(Vec::new())),
            is_tls,
            made: now,
            n_streams: Cell::new(0),
            idle_since: Cell::new(now),
            is_used: Cell::new(false),
            unheard: Cell::new((u64::MAX, now)),
            is_retired: Cell::new(false),
            worker: Rc::clone(worker),
        })
    }

    pub(super) fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Counts a stream as ended.
    pub(super) fn release(&self) {
        self.n_streams.set(self.n_streams.get() - 1);
        if self.n_streams.get() == 0 {
            self.idle_since.set(self.worker.now());
        }
    }

    /// Lets it end with the streams that it has: it may lead nowhere.
    pub(crate) fn retire(&self) {
        self.is_retired.set(true);
    }

    /// Whether nothing was heard for long, though requests were made all the while.
    pub(super) fn is_silent(&self, channel: &Channel, now: Instant) -> bool {
        let (n_heard, since) = self.unheard.get();
        n_heard == channel.n_heard() && now.since(since) >= SILENCE
    }

    /// Whether an open link can carry a request at some time.
    pub(crate) fn takes_requests(&self) -> bool {
        match &*self.state.borrow() {
            State::Open(channel) => channel.connection().is_open() && channel.connection().streams_max() > 0,
            State::Opening(_) | State::Failed(_) | State::Closed => false,
        }
    }

    /// Ready when it is open or never will be.
    pub(crate) fn poll_open(&self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        match &mut *self.state.borrow_mut() {
            State::Opening(waiting) => {
                if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                    waiting.push(cx.waker().clone());
                }
                Poll::Pending
            }
            State::Failed(error) => Poll::Ready(Err(Rc::clone(error))),
            State::Open(_) | State::Closed => Poll::Ready(Ok(())),
        }
    }

    /// Whether a request may wait for it.
    fn is_opening(&self) -> bool {
        matches!(&*self.state.borrow(), State::Opening(waiting) if waiting.len() < WAITING_MAX)
    }

    fn change(&self, state: State) {
        let before = self.state.replace(state);
        if let State::Opening(waiting) = before {
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    /// Whether it is of use for a later request.
    fn is_alive(&self) -> bool {
        if self.is_retired.get() {
            return false;
        }
        match &*self.state.borrow() {
            State::Opening(_) => true,
            State::Open(channel) => channel.connection().is_open(),
            State::Failed(_) | State::Closed => false,
        }
    }

    /// Whether it may be kept, by what holds now.
    fn is_fresh(&self, limits: &IdleLimits, now: Instant) -> bool {
        let is_idle = self.n_streams.get() == 0;
        let keeps_none = limits.per_endpoint == 0 && self.is_used.get();
        let idle_max = if keeps_none { Duration::ZERO } else { limits.idle_timeout };
        matches!(&*self.state.borrow(), State::Opening(_))
            || (now.since(self.made) < limits.max_age
                && !(is_idle && now.since(self.idle_since.get()) >= idle_max))
    }

    /// Takes a stream; `None` where none is free.
    pub(crate) fn stream(self: &Rc<Self>, now: Instant) -> Option<(EndpointStream, bool)> {
        let held = match &*self.state.borrow() {
            State::Open(channel) => {
                let key = channel.connection().open()?;
                if self.unheard.get().0 != channel.n_heard() {
                    self.unheard.set((channel.n_heard(), now));
                }
                Held::new(Rc::clone(channel), key)
            }
            State::Opening(_) | State::Failed(_) | State::Closed => return None,
        };
        self.n_streams.set(self.n_streams.get() + 1);
        let reused = self.is_used.replace(true);
        Some((EndpointStream::new(Rc::clone(self), held), reused))
    }
}

/// The links of one worker to one service.
pub(crate) struct Links {
    limits: Cell<IdleLimits>,
    by_endpoint: RefCell<HashMap<usize, Set, BuildHasherDefault<AddressHasher>>>,
}

/// The links to one endpoint.
struct Set {
    /// Keeps the key unique.
    live: Arc<Live>,
    links: Vec<Rc<Link>>,
}

impl Links {
    pub(crate) fn new(limits: IdleLimits) -> Self {
        Self { limits: Cell::new(limits), by_endpoint: RefCell::default() }
    }

    /// A stream of a link that has one free, and whether the link carried a request before; `only_fresh`: of a link that
    /// did not.
    pub(crate) fn stream(
        &self,
        live: &Arc<Live>,
        only_fresh: bool,
        now: Instant,
    ) -> Option<(EndpointStream, bool)> {
        let limits = self.limits.get();
        let mut all = self.by_endpoint.borrow_mut();
        let set = all.get_mut(&upstream::key(live))?;
        set.links.retain(|link| link.is_alive() && link.is_fresh(&limits, now));
        let mut usable = set.links.iter().filter(|link| !(only_fresh && link.is_used.get()));
        usable.find_map(|link| link.stream(now))
    }

    /// A link that is being made and that another request may wait for.
    pub(crate) fn opening(&self, live: &Arc<Live>) -> Option<Rc<Link>> {
        let all = self.by_endpoint.borrow();
        all.get(&upstream::key(live))?.links.iter().find(|link| link.is_opening()).cloned()
    }

    /// Has another link made.
    pub(crate) fn open(
        &self,
        endpoint: &Arc<Endpoint>,
        live: &Arc<Live>,
        tls: Option<&Originator>,
        permit: Permit,
        timeout: Duration,
        worker: &Rc<Worker>,
    ) -> Rc<Link> {
        let link = Link::new(tls.is_some(), worker);
        let mut all = self.by_endpoint.borrow_mut();
        let set = all
            .entry(upstream::key(live))
            .or_insert_with(|| Set { live: Arc::clone(live), links: Vec::new() });
        set.links.push(Rc::clone(&link));
        let making = drive(Rc::clone(&link), Arc::clone(endpoint), tls.cloned(), permit, timeout);
        tokio::task::spawn_local(making);
        link
    }

    /// Forgets what is too old, what ended, and what leads to endpoints that drain or are gone.
    pub(crate) fn sweep(&self, now: Instant) {
        let limits = self.limits.get();
        self.by_endpoint.borrow_mut().retain(|_, set| {
            let is_leaving = set.live.is_leaving();
            set.links.retain(|link| !is_leaving && link.is_alive() && link.is_fresh(&limits, now));
            !set.links.is_empty()
        });
    }

    /// Takes over other limits.
    pub(crate) fn set_limits(&self, limits: IdleLimits) {
        self.limits.set(limits);
    }

    /// Forgets every link; each ends with its last stream.
    pub(crate) fn close(&self) {
        self.limits.set(IdleLimits { per_endpoint: 0, ..self.limits.get() });
        self.by_endpoint.borrow_mut().clear();
    }
}

/// Makes a connection and drives it to its end.
async fn drive(
    link: Rc<Link>,
    endpoint: Arc<Endpoint>,
    tls: Option<Originator>,
    permit: Permit,
    timeout: Duration,
) {
    let over = tokio::time::Instant::now() + timeout;
    let connected = tokio::time::timeout_at(over, upstream::connect(&endpoint, tls.as_ref(), true)).await;
    let stream = match connected {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return link.change(State::Failed(Rc::new(error))),
        Err(_) => return link.change(State::Failed(Rc::new(timed_out()))),
    };
    let mut driven = {
        let connection = Connection::client(BOUNDS, link.is_tls);
        Driven { channel: Channel::new(connection, Rc::clone(&link.worker)), stream }
    };
    // Until the endpoint's first SETTINGS come no stream may be opened; every one of them says how many.
    let greeted = poll_fn(|cx| match driven.poll(cx) {
        Poll::Ready(()) => Poll::Ready(false),
        Poll::Pending if driven.channel.connection().is_greeted() => Poll::Ready(true),
        Poll::Pending => Poll::Pending,
    });
    match tokio::time::timeout_at(over, greeted).await {
        Ok(true) => link.change(State::Open(Rc::clone(&driven.channel))),
        Ok(false) => {
            tracing::debug!(endpoint = %endpoint.id, "no HTTP/2 with the endpoint");
            return link.change(State::Failed(Rc::new(ConnectError::NoHttp2)));
        }
        Err(_) => return link.change(State::Failed(Rc::new(timed_out()))),
    }
    // From here on it is held by who may use it, and by nobody else.
    let link = {
        let weak = Rc::downgrade(&link);
        drop(link);
        weak
    };
    let is_unused = poll_fn(|cx| match driven.poll(cx) {
        Poll::Pending if link.strong_count() == 0 => Poll::Ready(true),
        polled => polled.map(|()| false),
    });
    if is_unused.await {
        driven.channel.connection().fail(Reason::NO_ERROR);
        // An endpoint that takes nothing does not keep it.
        let _ = tokio::time::timeout(LAST_WORDS, poll_fn(|cx| driven.poll(cx))).await;
    }
    if let Some(link) = link.upgrade() {
        link.change(State::Closed);
    }
    tracing::debug!(endpoint = %endpoint.id, end = ?driven.channel.connection().end(), "an HTTP/2 connection to an endpoint ended");
    drop(permit);
}

/// A connection to an endpoint, and the socket that only its driver touches.
struct Driven {
    channel: Rc<Channel>,
    stream: Stream,
}

impl Drop for Driven {
    fn drop(&mut self) {
        // Also where its task panics: whoever holds a stream is to know.
        self.channel.lose();
    }
}

impl Driven {
    /// Ready when it is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.channel.be_driven_by(cx);
        // An endpoint is trusted not to flood.
        let drive = self.channel.poll_drive(cx, &mut self.stream, &mut Vec::new(), |_| Ok(()), |_| {});
        if matches!(drive, Drive::Open { .. }) { Poll::Pending } else { Poll::Ready(()) }
    }
}

fn timed_out() -> ConnectError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}
