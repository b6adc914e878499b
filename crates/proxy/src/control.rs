//! What the control side of a proxy holds between two changes: a seat for each listener, and the access logs.
//!
//! Invariants: reached under one lock, which no worker and no scrape takes; a listener keeps its seat (its number, its
//! socket, its connections) as long as its identity is in the configuration.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use isobar_config::{ListenerSettings, Settings};
use tokio::sync::mpsc::UnboundedSender;

use crate::access_log::{LogError, LogQueue, LogWriter, RetiredLog};
use crate::bind::{self, BindErrors, Bound, BoundSocket, Occasion};
use crate::generation::LogChange;
use crate::listener::{Acceptor, Label, ListenerShared};
use crate::matching::{ListenerIdentity, continued};
use crate::plan::Plan;
use crate::worker::{Message, WorkerHandle};

/// A listener as the applying side holds it.
pub(crate) struct Seat {
    identity: ListenerIdentity,
    shared: Arc<ListenerShared>,
    /// Disconnected when the socket is closed.
    closed: mpsc::Receiver<()>,
}

/// What only one change at a time may touch.
pub(crate) struct Control {
    /// In the order of the plan.
    seats: Vec<Seat>,
    /// Removed listeners whose sockets were not closed in time.
    leaving: Vec<Seat>,
    log: Option<LogWriter>,
    retired_logs: Vec<RetiredLog>,
    /// Where acceptors start; `None`: on the only worker.
    pub(crate) acceptors: Option<UnboundedSender<Box<Acceptor>>>,
    next_listener: u32,
    pub(crate) draining: bool,
}

/// What a change does to the access log: the writer is open already.
pub(crate) enum PreparedLog {
    Keep,
    Switch(Option<LogWriter>),
}

/// Who comes and who goes.
pub(crate) struct Seating {
    pub(crate) acceptors: Vec<Acceptor>,
    pub(crate) removed: Vec<Seat>,
}

impl Control {
    /// Before the first configuration.
    pub(crate) fn empty() -> Self {
        Self {
            seats: Vec::new(),
            leaving: Vec::new(),
            log: None,
            retired_logs: Vec::new(),
            acceptors: None,
            next_listener: 0,
            draining: false,
        }
    }

    /// For each of these listeners the place of the seat that it keeps.
    fn kept(&self, listeners: &[ListenerSettings]) -> Vec<Option<usize>> {
        let old: Vec<_> = self.seats.iter().map(|seat| &seat.identity).collect();
        let new: Vec<_> = listeners.iter().map(ListenerIdentity::of).collect();
        continued(&old, &new.iter().collect::<Vec<_>>())
    }

    /// Binds what has no seat yet.
    pub(crate) fn bind_added(&self, listeners: &[ListenerSettings]) -> Result<Bound, BindErrors> {
        let kept = self.kept(listeners);
        let added = listeners.iter().zip(kept).filter(|(_, kept)| kept.is_none());
        bind::bind_each(added.map(|(listener, _)| listener), Occasion::Change)
    }

    /// Gives every listener its seat: kept ones theirs, with new settings, added ones a new one.
    pub(crate) fn seat(
        &mut self,
        settings: &Settings,
        plan: &Plan,
        bound: Bound,
        workers: &Arc<[WorkerHandle]>,
    ) -> Seating {
        let kept = self.kept(&settings.listeners);
        let labels: HashMap<String, Arc<Label>> = self
            .seats
            .iter()
            .map(|seat| seat.shared.label())
            .map(|label| (label.name.clone(), label))
            .collect();
        let mut old: Vec<Option<Seat>> = std::mem::take(&mut self.seats).into_iter().map(Some).collect();
        let (mut sockets, mut acceptors) = (bound.sockets.into_iter(), Vec::new());
        for ((listener, plan), kept) in settings.listeners.iter().zip(&plan.listeners).zip(kept) {
            let label = labels.get(&listener.name).cloned().unwrap_or_else(|| Label::new(&listener.name));
            if let Some(seat) = kept.and_then(|place| old[place].take()) {
                seat.shared.change(label, plan.connections_max);
                self.seats.push(seat);
            } else if let Some(bound) = sockets.next() {
                let shared = self.admit(&bound, label, plan.connections_max);
                let (sender, closed) = mpsc::channel();
                let identity = ListenerIdentity::of(listener);
                self.seats.push(Seat { identity, shared: Arc::clone(&shared), closed });
                acceptors.push(Acceptor { shared, workers: Arc::clone(workers), bound, closed: sender });
            }
        }
        debug_assert_eq!(self.seats.len(), plan.listeners.len(), "sockets and settings belong together");
        Seating { acceptors, removed: old.into_iter().flatten().collect() }
    }

    /// Every listener, in the order of the plan.
    pub(crate) fn listeners(&self) -> Arc<[Arc<ListenerShared>]> {
        self.seats.iter().map(|seat| Arc::clone(&seat.shared)).collect()
    }

    fn admit(&mut self, bound: &BoundSocket, label: Arc<Label>, max_open: usize) -> Arc<ListenerShared> {
        let id = self.next_listener;
        self.next_listener += 1;
        ListenerShared::new(id, bound.file.is_some(), label, max_open)
    }

    /// Starts to accept.
    pub(crate) fn start(&self, acceptor: Acceptor, workers: &[WorkerHandle]) {
        let acceptor = Box::new(acceptor);
        let Some(thread) = &self.acceptors else {
            return workers[0].tell(Message::Listen(acceptor));
        };
        if thread.send(acceptor).is_err() {
            tracing::error!("the acceptors' thread has ended and takes no listener");
        }
    }

    /// Opens the log that the settings name, unless it is the one there is.
    pub(crate) fn prepare_log(
        &self,
        settings: &Settings,
        lost: &Arc<AtomicU64>,
    ) -> Result<PreparedLog, LogError> {
        let target = settings.access_log.as_ref().map(|log| &log.to);
        if target == self.log.as_ref().map(|log| &log.target) {
            return Ok(PreparedLog::Keep);
        }
        let writer = target.map(|target| LogWriter::start(target, lost)).transpose()?;
        Ok(PreparedLog::Switch(writer))
    }

    /// Makes the prepared log the current one.
    pub(crate) fn switch_log(&mut self, log: PreparedLog) -> LogChange {
        self.retired_logs.retain(|log| !log.has_ended());
        let PreparedLog::Switch(next) = log else { return LogChange::Keep };
        let queue = next.as_ref().map(|log| log.queue.clone());
        let last = std::mem::replace(&mut self.log, next);
        self.retired_logs.extend(last.map(LogWriter::retire));
        LogChange::Switch(queue)
    }

    /// The way to the current log.
    pub(crate) fn log_queue(&self) -> Option<LogQueue> {
        self.log.as_ref().map(|log| log.queue.clone())
    }

    /// Writes out and ends every log, until `end`; no worker and no reader may be left.
    pub(crate) fn finish_logs(self, end: Instant) {
        let current = self.log.map(LogWriter::retire);
        for log in self.retired_logs.into_iter().chain(current) {
            log.join(end);
        }
    }

    /// Closes removed listeners and waits for it; returns their names.
    pub(crate) fn close(&mut self, removed: Vec<Seat>, end: Instant) -> Vec<String> {
        let names = removed.iter().map(|seat| seat.shared.label().name.clone()).collect();
        for seat in &removed {
            seat.shared.close();
        }
        self.leaving.extend(removed);
        self.await_left(end);
        names
    }

    fn await_left(&mut self, end: Instant) {
        self.leaving.retain(|seat| !seat.is_closed_by(end));
    }

    /// Waits until every socket is closed.
    pub(crate) fn await_closed(&mut self, end: Instant) {
        self.await_left(end);
        self.seats.retain(|seat| !seat.is_closed_by(end));
    }
}

impl Seat {
    fn is_closed_by(&self, end: Instant) -> bool {
        let wait = end.saturating_duration_since(Instant::now());
        self.closed.recv_timeout(wait) == Err(mpsc::RecvTimeoutError::Disconnected)
    }
}
