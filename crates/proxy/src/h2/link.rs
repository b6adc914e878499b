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
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use h2::client::{self, SendRequest};
use isobar_core::{Endpoint, Instant, Live};
use isobar_http1::RequestHead;
use isobar_tls::Originator;

use super::memory::Shelf;
use super::piece::Piece;
use super::wire::Wire;
use super::{CONNECTION_WINDOW, EndpointStream, SEND_BUFFER_MAX, SMALL_FRAME, STREAM_WINDOW};
use crate::clock::Clock;
use crate::upstream::{self, AddressHasher, ConnectError, IdleLimits, Permit};

/// Streams of one link at a time, whatever the endpoint allows: past it another connection moves more than another
/// stream, and a connection that is lost takes no more than these with it.
const STREAMS_MAX: usize = 256;

/// Requests that may wait for one link while it is made: what most servers allow on it at least (RFC 9113, section 6.5.2).
const WAITING_MAX: usize = 100;

/// Bytes of an endpoint's header list: what its heads may have in HTTP/1.1 (64 KiB) and what fields cost beside it.
const HEADER_LIST_MAX: u32 = 80 * 1024;

/// Small frames of DATA that wait for slow callers, for all of a link: one of them must not cost the others theirs, so as many as
/// the link's window holds of messages of 16 bytes.
const SMALL_FRAMES_MAX: usize = CONNECTION_WINDOW as usize / 16;

/// Streams that were reset, remembered so that frames on their way are not taken for errors.
const LOCAL_RESETS_MAX: usize = 256;

/// Why a link was not made; many requests may have waited for it.
pub(crate) type LinkError = Rc<ConnectError>;

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Link {
    state: RefCell<State>,
    is_tls: bool,
    made: Instant,
    n_streams: Cell<usize>,
    idle_since: Cell<Instant>,
    is_used: Cell<bool>,
    /// No more requests are put on it.
    is_retired: Cell<bool>,
    /// Reads that brought something, counted on the wire.
    n_heard: Rc<Cell<u64>>,
    /// Its streams work in these.
    pub(super) stream_memory: Shelf<RequestHead>,
    clock: Clock,
}

#[derive(Debug)]
enum State {
    Opening(Vec<Waker>),
    Open(SendRequest<Piece>),
    Failed(LinkError),
    Closed,
}

impl Link {
    fn new(is_tls: bool, clock: Clock) -> Rc<Self> {
        let now = clock.now();
        Rc::new(Self {
            state: RefCell::new(State::Opening(Vec::new())),
            is_tls,
            made: now,
            n_streams: Cell::new(0),
            idle_since: Cell::new(now),
            is_used: Cell::new(false),
            is_retired: Cell::new(false),
            n_heard: Rc::default(),
            stream_memory: Shelf::default(),
            clock,
        })
    }

    pub(super) fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Counts a stream as ended.
    pub(super) fn release(&self) {
        self.n_streams.set(self.n_streams.get() - 1);
        self.idle_since.set(self.clock.now());
    }

    /// Lets it end with the streams that it has: a request on it was given up, so it may lead nowhere.
    pub(super) fn retire(&self) {
        self.is_retired.set(true);
    }

    /// A number that changes when anything comes from the endpoint.
    pub(super) fn n_heard(&self) -> u64 {
        self.n_heard.get()
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
        match &mut *self.state.borrow_mut() {
            State::Opening(_) => true,
            // An error is a GOAWAY or the end. Pending means that a stream waits for its turn, so none is free.
            State::Open(sender) => {
                !matches!(sender.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Err(_)))
            }
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
    pub(crate) fn stream(self: &Rc<Self>) -> Option<(EndpointStream, bool)> {
        let sender = match &*self.state.borrow() {
            State::Open(sender)
                if self.n_streams.get() < sender.current_max_send_streams().min(STREAMS_MAX) =>
            {
                sender.clone()
            }
            _ => return None,
        };
        self.n_streams.set(self.n_streams.get() + 1);
        let reused = self.is_used.replace(true);
        Some((EndpointStream::new(Rc::clone(self), sender), reused))
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
        usable.find_map(Link::stream)
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
        clock: Clock,
    ) -> Rc<Link> {
        let link = Link::new(tls.is_some(), clock);
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
    let handshake = builder().handshake::<_, Piece>(Wire::to_endpoint(stream, Rc::clone(&link.n_heard)));
    let (sender, connection) = match tokio::time::timeout_at(over, handshake).await {
        Ok(Ok(made)) => made,
        Ok(Err(error)) => return link.change(State::Failed(Rc::new(super::gone(error).into()))),
        Err(_) => return link.change(State::Failed(Rc::new(timed_out()))),
    };
    let mut connection = pin!(connection);
    // Until the endpoint's first SETTINGS come no stream may be opened; every one of them says how many.
    let greeted = poll_fn(|cx| match connection.as_mut().poll(cx) {
        Poll::Ready(ended) => Poll::Ready(Err(ended)),
        Poll::Pending if sender.current_max_send_streams() > 0 => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
    });
    match tokio::time::timeout_at(over, greeted).await {
        Ok(Ok(())) => link.change(State::Open(sender)),
        Ok(Err(ended)) => {
            tracing::debug!(endpoint = %endpoint.id, ?ended, "no HTTP/2 with the endpoint");
            return link.change(State::Failed(Rc::new(ConnectError::NoHttp2)));
        }
        Err(_) => return link.change(State::Failed(Rc::new(timed_out()))),
    }
    // The link holds what keeps the connection open: from here on it is held by who may use it, and by nobody else.
    let link = {
        let weak = Rc::downgrade(&link);
        drop(link);
        weak
    };
    if let Err(error) = connection.await {
        tracing::debug!(endpoint = %endpoint.id, %error, "an HTTP/2 connection to an endpoint ended");
    }
    if let Some(link) = link.upgrade() {
        link.change(State::Closed);
    }
    drop(permit);
}

fn timed_out() -> ConnectError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

fn builder() -> client::Builder {
    let mut builder = client::Builder::new();
    builder
        .enable_push(false)
        .initial_max_send_streams(0)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADER_LIST_MAX)
        .max_send_buffer_size(SEND_BUFFER_MAX)
        .max_concurrent_reset_streams(LOCAL_RESETS_MAX)
        .data_frame_budget(SMALL_FRAMES_MAX * SMALL_FRAME);
    builder
}
