//! Replaced snapshots, kept until nobody else holds them, so that their memory is freed on the control side.
//!
//! Invariant: a buried snapshot is no longer published, so the number of its holders only falls. A count of one seen
//! here therefore stays one, and the drop that follows is the last.
//!
//! Limit: past [`GRAVEYARD_LEN_MAX`] the oldest snapshots are left to their holders, the last of which then frees them.

use std::collections::VecDeque;
use std::sync::Arc;

/// Snapshots that may wait at once.
///
/// Only an exchange that outlives a publication keeps one waiting. A tunnel can do so for hours; with a publication
/// every 10 ms the worst case would grow without end, and a thousand snapshots of a thousand endpoints are some tens of
/// megabytes: enough to show in a memory graph, not enough to end the process.
pub(crate) const GRAVEYARD_LEN_MAX: usize = 1024;

/// Replaced values of which somebody may still hold a reference.
pub(crate) struct Graveyard<T> {
    waiting: VecDeque<Arc<T>>,
}

impl<T> Graveyard<T> {
    pub(crate) fn new() -> Self {
        Self { waiting: VecDeque::new() }
    }

    /// Takes a value that is published no more; at once frees it when nobody else holds it.
    pub(crate) fn bury(&mut self, value: Arc<T>) {
        self.sweep();
        if Arc::strong_count(&value) == 1 {
            return;
        }
        if self.waiting.len() == GRAVEYARD_LEN_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(value);
    }

    /// Frees every value that nobody else holds any more.
    pub(crate) fn sweep(&mut self) {
        self.waiting.retain(|value| Arc::strong_count(value) > 1);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_held_elsewhere_is_freed_by_a_sweep_and_not_by_its_holder() {
        let mut graveyard = Graveyard::new();
        let held = Arc::new(7);
        let watched = Arc::downgrade(&held);
        graveyard.bury(Arc::clone(&held));
        drop(held);
        assert!(watched.upgrade().is_some(), "the holder's drop was the last");
        graveyard.sweep();
        assert!(watched.upgrade().is_none(), "the sweep kept a value that nobody holds");
        assert!(graveyard.is_empty());
    }

    #[test]
    fn a_value_held_by_nobody_is_freed_at_once() {
        let mut graveyard = Graveyard::new();
        graveyard.bury(Arc::new(7));
        assert!(graveyard.is_empty());
    }

    #[test]
    fn a_sweep_keeps_what_is_still_held() {
        let mut graveyard = Graveyard::new();
        let held = Arc::new(7);
        graveyard.bury(Arc::clone(&held));
        graveyard.sweep();
        assert!(!graveyard.is_empty());
        assert_eq!(Arc::strong_count(&held), 2);
    }

    #[test]
    fn a_full_graveyard_leaves_the_oldest_to_their_holders() {
        let mut graveyard = Graveyard::new();
        let held: Vec<_> = (0..=GRAVEYARD_LEN_MAX).map(Arc::new).collect();
        for value in &held {
            graveyard.bury(Arc::clone(value));
        }
        assert_eq!(Arc::strong_count(&held[0]), 1);
        assert_eq!(Arc::strong_count(&held[1]), 2);
    }
}
