//! A worker: one thread, one runtime, its own connections, pools, buffers and counters.
//!
//! Invariants: everything in [`Worker`] is reached from its own thread alone; what other threads read (counters, the
//! number of connections) is atomic and written with plain stores on the request path. A [`Worker`] knows no
//! configuration: that is a [`Generation`](crate::generation::Generation), which knows its worker.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use isobar_core::{Draw, Instant};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::buffer::Stock;
use crate::clock::Clock;
use crate::deadlines::Deadlines;
use crate::generation::Handover;
use crate::h2::{OutputStock, Servants};
use crate::listener::{Accepted, Acceptor, ListenerShared};
use crate::scratch::Scratch;
use crate::succession::Succession;

/// Between two looks at idle connections to endpoints and at published snapshots.
const HOUSEKEEPING: Duration = Duration::from_millis(500);

/// Exchanges in stock: enough for a busy moment, little enough to forget after one.
const SCRATCH_MAX: usize = 128;

/// What the other threads tell a worker.
pub(crate) enum Message {
    /// Serve under a new configuration.
    Handover(Box<Handover>),
    /// Accept from this listener as well; told to a worker that is the only one.
    Listen(Box<Acceptor>),
    /// Comes after the handover that brings its listener.
    Connection(Accepted),
    /// The listener with this number has closed: no connection of it comes after this.
    Closed(u32),
    /// Finish what is in flight, take no more.
    Drain,
    /// End, whatever is open.
    Stop,
}

/// The side of a worker that other threads hold.
#[derive(Clone)]
pub(crate) struct WorkerHandle {
    /// Bounded by what it carries: each connection in it holds a descriptor, and those are limited.
    pub(crate) messages: UnboundedSender<Message>,
    /// Open downstream connections.
    pub(crate) n_connections: Arc<AtomicUsize>,
}

impl WorkerHandle {
    /// Tells the worker something; it is only gone after a panic, which is in the log.
    pub(crate) fn tell(&self, message: Message) {
        if self.messages.send(message).is_err() {
            tracing::error!("a worker has ended and takes no more messages");
        }
    }
}

/// What a worker works with, whatever the configuration.
pub(crate) struct Worker {
    /// Its place among the workers, from 0: the shard in which it counts for endpoints.
    pub(crate) number: usize,
    pub(crate) clock: Clock,
    /// Number of workers: what is kept idle is divided by it.
    pub(crate) n_workers: usize,
    pub(crate) deadlines: Rc<Deadlines>,
    pub(crate) stock: Stock,
    #[expect(clippy::vec_box, reason = "a scratch is large and goes out and back as the box it is")]
    scratch: RefCell<Vec<Box<Scratch>>>,
    /// Streams of callers are served in these.
    pub(crate) servants: Servants,
    /// Connections of HTTP/2 put what they send into these.
    pub(crate) outputs: OutputStock,
    pub(crate) draw: RefCell<Draw>,
    n_connections: Arc<AtomicUsize>,
}

/// What a worker is made of.
pub(crate) struct WorkerInputs {
    pub(crate) clock: Clock,
    pub(crate) seed: u64,
    /// This worker's place among the workers, from 0.
    pub(crate) number: usize,
    pub(crate) n_workers: usize,
    pub(crate) n_connections: Arc<AtomicUsize>,
}

impl Worker {
    fn new(inputs: WorkerInputs) -> Self {
        Self {
            number: inputs.number,
            clock: inputs.clock,
            n_workers: inputs.n_workers,
            deadlines: Rc::new(Deadlines::new()),
            stock: Stock::default(),
            scratch: RefCell::default(),
            servants: Servants::default(),
            outputs: OutputStock::default(),
            draw: RefCell::new(Draw::new(inputs.seed)),
            n_connections: inputs.n_connections,
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// The memory of an exchange, with its request buffer lent.
    pub(crate) fn take_scratch(&self) -> Box<Scratch> {
        let mut scratch = self.scratch.borrow_mut().pop().unwrap_or_default();
        self.stock.lend(&mut scratch.down);
        scratch
    }

    /// Takes the memory of an exchange back.
    pub(crate) fn return_scratch(&self, mut scratch: Box<Scratch>) {
        self.stock.give_back(&mut scratch.down);
        self.stock.give_back(&mut scratch.up);
        let mut stock = self.scratch.borrow_mut();
        if stock.len() < SCRATCH_MAX && scratch.is_worth_keeping() {
            stock.push(scratch);
        }
    }
}

async fn keep_house(succession: Rc<Succession>) {
    let mut interval = tokio::time::interval(HOUSEKEEPING);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        succession.newest().keep_house();
    }
}

/// Runs a worker until it is told to stop; it has nothing to serve before its first handover.
pub(crate) fn run(inputs: WorkerInputs, mut messages: UnboundedReceiver<Message>) -> std::io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    let worker = Rc::new(Worker::new(inputs));
    let succession = Rc::new(Succession::new(&worker));
    runtime.block_on(async {
        let driven = Rc::clone(&worker);
        tokio::task::spawn_local(async move { driven.deadlines.drive(driven.clock).await });
        tokio::task::spawn_local(keep_house(Rc::clone(&succession)));
        while let Some(message) = messages.recv().await {
            match message {
                Message::Handover(handover) => succession.take_over(&handover),
                Message::Listen(acceptor) => {
                    tokio::task::spawn_local(acceptor.run());
                }
                Message::Connection(accepted) => succession.start_connection(accepted),
                Message::Closed(listener) => succession.forget(listener),
                Message::Drain => succession.drain(),
                Message::Stop => break,
            }
        }
    });
    // Ends what is still open: guards report, pools close, the log's last lines are handed over.
    drop(runtime);
    Ok(())
}

/// Counts an open connection for as long as it lives.
pub(crate) struct Presence {
    worker: Rc<Worker>,
    listener: Arc<ListenerShared>,
}

impl Presence {
    /// Takes over what the acceptor counted.
    pub(crate) fn new(worker: &Rc<Worker>, listener: &Arc<ListenerShared>) -> Self {
        Self { worker: Rc::clone(worker), listener: Arc::clone(listener) }
    }
}

impl Presence {
    /// The listener that the connection came through.
    pub(crate) fn listener(&self) -> &Arc<ListenerShared> {
        &self.listener
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.worker.n_connections.fetch_sub(1, Ordering::Relaxed);
        self.listener.release();
    }
}
