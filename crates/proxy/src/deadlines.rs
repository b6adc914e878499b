//! The deadlines of one worker: a dense table that is scanned when the nearest one may have passed.
//!
//! A connection owns one slot for its whole life and moves the slot's deadline with a plain store, so no timer is made
//! per request. The scan is a walk over an array (10,000 connections: some ten microseconds) and happens at most once
//! per [`GRAIN`], and only when some deadline is due: a worker whose deadlines lie a minute ahead sleeps for a minute.
//!
//! Invariants: a deadline fires at most `GRAIN` plus the timer's resolution late and never early; a slot that fired
//! stays fired until it is set again.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use isobar_core::Instant;

use crate::clock::Clock;

/// Shortest time between two scans: the lateness that a timeout may have.
const GRAIN: Duration = Duration::from_millis(10);

/// Stands for "no deadline".
const NEVER: u64 = u64::MAX;

struct Slot {
    at: u64,
    /// Number of the listener that the connection came through.
    listener: u32,
    fired: bool,
    /// Waits for the next request: the end of its listener may close it early.
    idle: bool,
    waker: Option<Waker>,
}

/// The table of one worker.
pub(crate) struct Deadlines {
    slots: RefCell<Vec<Slot>>,
    free: RefCell<Vec<u32>>,
    /// No armed slot is due before this instant.
    next: Cell<u64>,
    driver: RefCell<Option<Waker>>,
}

impl Deadlines {
    pub(crate) fn new() -> Self {
        Self {
            slots: RefCell::default(),
            free: RefCell::default(),
            next: Cell::new(NEVER),
            driver: RefCell::default(),
        }
    }

    /// Takes a slot for one connection of the listener with this number.
    pub(crate) fn slot(self: &Rc<Self>, listener: u32) -> Deadline {
        let mut slots = self.slots.borrow_mut();
        let fresh = Slot { at: NEVER, listener, fired: false, idle: false, waker: None };
        let index = if let Some(index) = self.free.borrow_mut().pop() {
            slots[index as usize] = fresh;
            index
        } else {
            slots.push(fresh);
            (slots.len() - 1) as u32
        };
        Deadline { table: Rc::clone(self), index }
    }

    /// Brings the deadlines of idle connections forward to `at`, where their listener is one of these.
    pub(crate) fn hurry_idle(&self, at: Instant, is_meant: impl Fn(u32) -> bool) {
        for slot in self.slots.borrow_mut().iter_mut().filter(|slot| slot.idle && is_meant(slot.listener)) {
            slot.at = slot.at.min(at.0);
        }
        self.bring_forward(at.0);
    }

    fn bring_forward(&self, at: u64) {
        if at < self.next.get() {
            self.next.set(at);
            if let Some(waker) = &*self.driver.borrow() {
                waker.wake_by_ref();
            }
        }
    }

    /// Fires what is due and finds the next deadline.
    fn scan(&self, now: Instant) {
        let mut next = NEVER;
        for slot in self.slots.borrow_mut().iter_mut() {
            if slot.at <= now.0 {
                slot.at = NEVER;
                slot.fired = true;
                if let Some(waker) = &slot.waker {
                    waker.wake_by_ref();
                }
            } else {
                next = next.min(slot.at);
            }
        }
        self.next.set(next);
    }

    /// Runs for as long as the worker does: sleeps to the next deadline, scans, and again.
    pub(crate) async fn drive(&self, clock: Clock) {
        let sleep = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(sleep);
        let mut armed = NEVER;
        std::future::poll_fn(|cx| {
            if !self.driver.borrow().as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                *self.driver.borrow_mut() = Some(cx.waker().clone());
            }
            loop {
                let now = clock.now();
                if self.next.get() <= now.0 {
                    self.scan(now);
                    armed = NEVER;
                }
                let next = self.next.get();
                if next == NEVER {
                    return Poll::<()>::Pending;
                }
                if next != armed {
                    armed = next;
                    let wait = Instant(next).since(now).max(GRAIN);
                    sleep.as_mut().reset(tokio::time::Instant::now() + wait);
                }
                if sleep.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                armed = NEVER;
            }
        })
        .await;
    }
}

/// The deadline of one connection; its slot is free again when this is dropped.
pub(crate) struct Deadline {
    table: Rc<Deadlines>,
    index: u32,
}

impl Deadline {
    /// Names the task to wake; called once by the task that owns the connection.
    pub(crate) fn wake_with(&self, waker: &Waker) {
        self.table.slots.borrow_mut()[self.index as usize].waker = Some(waker.clone());
    }

    /// Moves the deadline; forgets an earlier firing.
    pub(crate) fn set(&self, at: Instant) {
        self.store(at.0, false);
    }

    /// As `set`, for a connection that waits for its next request.
    pub(crate) fn set_idle(&self, at: Instant) {
        self.store(at.0, true);
    }

    /// Number of the listener that the connection came through.
    pub(crate) fn listener(&self) -> u32 {
        self.table.slots.borrow()[self.index as usize].listener
    }

    /// Whether the deadline has passed.
    pub(crate) fn fired(&self) -> bool {
        self.table.slots.borrow()[self.index as usize].fired
    }

    fn store(&self, at: u64, idle: bool) {
        {
            let slot = &mut self.table.slots.borrow_mut()[self.index as usize];
            slot.at = at;
            slot.fired = false;
            slot.idle = idle;
        }
        self.table.bring_forward(at);
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        let slot = &mut self.table.slots.borrow_mut()[self.index as usize];
        slot.at = NEVER;
        slot.idle = false;
        slot.waker = None;
        self.table.free.borrow_mut().push(self.index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_fires_when_due_and_not_before() {
        let table = Rc::new(Deadlines::new());
        let slot = table.slot(0);
        slot.set(Instant(100));
        table.scan(Instant(99));
        assert!(!slot.fired());
        table.scan(Instant(100));
        assert!(slot.fired());
    }

    #[test]
    fn a_moved_deadline_forgets_the_old_one() {
        let table = Rc::new(Deadlines::new());
        let slot = table.slot(0);
        slot.set(Instant(100));
        slot.set(Instant(300));
        table.scan(Instant(200));
        assert!(!slot.fired());
        assert_eq!(table.next.get(), 300);
    }

    #[test]
    fn hurry_moves_idle_deadlines_of_its_listener_only() {
        let table = Rc::new(Deadlines::new());
        let (busy, idle, other) = (table.slot(0), table.slot(0), table.slot(1));
        busy.set(Instant(1000));
        idle.set_idle(Instant(1000));
        other.set_idle(Instant(1000));
        table.hurry_idle(Instant(10), |listener| listener == 0);
        table.scan(Instant(10));
        assert!(!busy.fired() && !other.fired());
        assert!(idle.fired());
    }

    #[test]
    fn a_slot_is_reused_without_its_past() {
        let table = Rc::new(Deadlines::new());
        let slot = table.slot(0);
        slot.set(Instant(1));
        table.scan(Instant(2));
        drop(slot);
        let again = table.slot(0);
        assert!(!again.fired());
        assert_eq!(table.slots.borrow().len(), 1);
    }
}
