//! How the generations of one worker follow each other, and what its listeners make of them.
//!
//! Invariants: a listener's view points to the newest generation that has the listener, so the connections of a removed
//! one go on under the last; a view is there from the handover that brings its listener until the acceptor's news that
//! no more connections come; once a view is closing it stays so, and its connections end as at a drain.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use crate::connection::{self, Connection};
use crate::generation::{Generation, Handover, Terms};
use crate::listener::Accepted;
use crate::worker::{Presence, Worker};

/// After its listener began to close, an idle connection has this long to send a request that was already on its way;
/// then it is closed. A request in flight is answered with `connection: close` meanwhile.
pub(crate) const CLOSING_QUIET: Duration = Duration::from_millis(500);

/// A worker's view of one listener; its connections hold it.
pub(crate) struct ListenerView {
    pub(crate) worker: Rc<Worker>,
    terms: RefCell<Rc<Terms>>,
    closing: Cell<bool>,
}

impl ListenerView {
    /// What holds for the next exchange.
    pub(crate) fn terms(&self) -> Rc<Terms> {
        Rc::clone(&self.terms.borrow())
    }

    /// Whether connections end as soon as nothing is in flight on them.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.get()
    }
}

/// The newest generation of a worker, and the views of its listeners by number.
pub(crate) struct Succession {
    worker: Rc<Worker>,
    newest: RefCell<Rc<Generation>>,
    views: RefCell<BTreeMap<u32, Rc<ListenerView>>>,
}

impl Succession {
    pub(crate) fn new(worker: &Rc<Worker>) -> Self {
        Self {
            worker: Rc::clone(worker),
            newest: RefCell::new(Rc::new(Generation::empty(worker))),
            views: RefCell::default(),
        }
    }

    pub(crate) fn newest(&self) -> Rc<Generation> {
        Rc::clone(&self.newest.borrow())
    }

    /// Takes over a new configuration: it holds for every exchange that begins after this.
    pub(crate) fn take_over(&self, handover: &Handover) {
        let generation = Rc::new(self.newest().succeed(handover));
        let mut views = self.views.borrow_mut();
        for (place, listener) in handover.listeners.iter().enumerate() {
            let terms = Terms::new(&generation, place);
            if let Some(view) = views.get(&listener.id) {
                view.terms.replace(terms);
                continue;
            }
            let worker = Rc::clone(&self.worker);
            let view = ListenerView { worker, terms: RefCell::new(terms), closing: Cell::new(false) };
            views.insert(listener.id, Rc::new(view));
        }
        let kept: BTreeSet<u32> = handover.listeners.iter().map(|listener| listener.id).collect();
        for (_, view) in views.iter().filter(|(listener, _)| !kept.contains(listener)) {
            view.closing.set(true);
        }
        let end = self.worker.now().after(CLOSING_QUIET);
        self.worker.deadlines.hurry_idle(end, |listener| !kept.contains(&listener));
        self.newest.replace(generation);
    }

    /// Closes every listener's view and keeps no connection to endpoints from now on.
    pub(crate) fn drain(&self) {
        for view in self.views.borrow().values() {
            view.closing.set(true);
        }
        self.worker.deadlines.hurry_idle(self.worker.now().after(CLOSING_QUIET), |_| true);
        for cluster in &self.newest().clusters {
            cluster.close();
        }
    }

    /// Starts the task of a connection.
    pub(crate) fn start_connection(&self, accepted: Accepted) {
        let presence = Presence::new(&self.worker, &accepted.listener);
        let Some(view) = self.views.borrow().get(&accepted.listener.id).cloned() else {
            tracing::error!("a connection came from a listener that is not there; it is closed");
            return;
        };
        view.terms.borrow().listener_counters().opened.add(1);
        if let Some(connection) = Connection::new(view, accepted) {
            tokio::task::spawn_local(connection::serve(connection, presence));
        }
    }

    /// Forgets a listener that has handed over its last connection; one that broke is in the configuration still, and
    /// its connections must hear of what comes.
    pub(crate) fn forget(&self, listener: u32) {
        let mut views = self.views.borrow_mut();
        if views.get(&listener).is_some_and(|view| view.is_closing()) {
            views.remove(&listener);
        }
    }
}
