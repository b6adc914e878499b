//! Who may go on: streams that something came for, and windows in both directions.
//!
//! Invariants: who waits for the connection's window or room is woken in the order in which he came to wait, keeps his place
//! until he gets something, and is not woken before there is something for him; the peer gets back what was read, in pieces that are worth a frame.

use crate::connection::{Connection, Key, OUT_MAX};
use crate::frame;

impl Connection {
    /// Streams that may be served now, or will not be served after all: their holders are to look. Each is told once.
    pub fn take_touched(&mut self, mut wake: impl FnMut(Key)) {
        for key in self.touched.drain(..) {
            if let Some(Some(slot)) = self.slots.get_mut(key as usize) {
                slot.is_touched = false;
                wake(Key(key));
            }
        }
    }

    pub(crate) fn touch(&mut self, key: Key) {
        let slot = self.slot(key);
        (slot.wants_read, slot.wants_write) = (false, false);
        if !std::mem::replace(&mut slot.is_touched, true) {
            self.touched.push(key.0);
        }
    }

    /// Gives payload that was read back to the peer.
    pub(crate) fn give_back(&mut self, key: Key, n: u32) {
        let half = self.bounds.stream_window / 2;
        let slot = self.slot(key);
        slot.receiving.owed += n;
        if slot.receiving.owed >= half && !slot.receiving.is_complete && slot.broken.is_none() {
            let (id, owed) = (slot.id, std::mem::take(&mut slot.receiving.owed));
            slot.receiving.window += i64::from(owed);
            frame::put_window_update(id, owed, &mut self.out);
        }
        self.give_back_to_all(n);
    }

    pub(crate) fn give_back_to_all(&mut self, n: u32) {
        self.owed += n;
        // As soon as for one stream: what others leave unread may be nearly all of the connection's window.
        let least = self.bounds.stream_window.min(self.bounds.connection_window) / 2;
        if self.owed >= least && self.end.is_none() {
            let owed = std::mem::take(&mut self.owed);
            self.recv_window += i64::from(owed);
            frame::put_window_update(0, owed, &mut self.out);
        }
    }

    /// Puts a stream among those that wait for the connection's window or room: in the place that it had, if it was woken and
    /// others took what there was.
    pub(crate) fn queue(&mut self, key: Key) {
        self.n_turns += 1;
        let newest = self.n_turns;
        let slot = self.slot(key);
        if std::mem::replace(&mut slot.is_queued, true) {
            return;
        }
        let turn = *slot.turn.get_or_insert(newest);
        let waits_longer =
            |other: &u32| self.slots[*other as usize].as_ref().is_some_and(|other| other.turn < Some(turn));
        let place = if turn == newest { self.queue.len() } else { self.queue.partition_point(waits_longer) };
        self.queue.insert(place, key.0);
    }

    /// Wakes as many of those that wait as there is something for.
    pub(crate) fn grant(&mut self) {
        let mut room = (self.room() as i64).min(self.send_window);
        // A little room is no reason to wake somebody: it grows when what fills it is sent.
        let is_worth_it = room >= (OUT_MAX / 2) as i64 || self.out.is_empty();
        while room > 0 && is_worth_it {
            let Some(key) = self.queue.pop_front() else { return };
            if let Some(Some(slot)) = self.slots.get_mut(key as usize)
                && slot.is_queued
            {
                slot.is_queued = false;
                // One whose own window is used up is woken when that is opened.
                if slot.broken.is_none() && slot.send_window > 0 {
                    room -= frame::PAYLOAD_MAX as i64;
                    self.touch(Key(key));
                }
            }
        }
    }
}
