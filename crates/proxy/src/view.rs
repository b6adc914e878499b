//! A worker's view of one cluster: the snapshot it picks from, refreshed when the owner published another.
//!
//! Invariants: a pick costs one relaxed pointer comparison and a count that only this worker touches; the view drops
//! its reference promptly, so that the owner, which keeps one, is the last to hold a snapshot.

use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};
use isobar_core::Snapshot;

/// A snapshot held by a worker; cloning it touches no count that other threads see.
#[derive(Clone)]
#[expect(
    clippy::redundant_allocation,
    reason = "the outer count is this worker's own; the inner one is shared"
)]
pub(crate) struct View(Rc<Arc<Snapshot>>);

impl View {
    /// Whether both show the same snapshot.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Deref for View {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.0
    }
}

/// One cluster as a worker sees it.
pub(crate) struct ClusterView {
    current: RefCell<Current>,
}

struct Current {
    published: Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>,
    view: View,
}

impl ClusterView {
    pub(crate) fn new(published: Arc<ArcSwap<Snapshot>>) -> Self {
        let view = View(Rc::new(published.load_full()));
        Self { current: RefCell::new(Current { published: Cache::new(published), view }) }
    }

    /// The snapshot to pick from now.
    pub(crate) fn snapshot(&self) -> View {
        self.refresh();
        self.current.borrow().view.clone()
    }

    /// Takes over what was published.
    pub(crate) fn refresh(&self) {
        let current = &mut *self.current.borrow_mut();
        let published = current.published.load();
        if !Arc::ptr_eq(published, &current.view.0) {
            current.view = View(Rc::new(Arc::clone(published)));
        }
    }
}
