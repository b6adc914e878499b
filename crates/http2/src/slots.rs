//! The streams of a connection: those that are held, by key and by number, and those that are over and remembered.

use crate::connection::{Connection, ENDED_MAX, GIVEN_UP_MAX, Key};
use crate::stream::Slot;
use crate::{Reason, frame};

impl Connection {
    pub(crate) fn slot(&mut self, key: Key) -> &mut Slot {
        self.slots[key.0 as usize].as_mut().expect("a key is used by who holds it, until it is released")
    }

    pub(crate) fn find(&self, id: u32) -> Option<Key> {
        let place = self.by_id.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(Key(self.by_id[place].1))
    }

    /// A new stream; `id` 0: its number comes later.
    pub(crate) fn hold(&mut self, id: u32) -> u32 {
        let memory = self.spare.pop().unwrap_or_default();
        let slot = Slot::new(id, self.bounds.stream_window, self.peer.initial_window, memory);
        self.n_streams += 1;
        let key = if let Some(key) = self.free.pop() {
            self.slots[key as usize] = Some(slot);
            key
        } else {
            self.slots.push(Some(slot));
            self.slots.len() as u32 - 1
        };
        if id != 0 {
            self.by_id.push((id, key));
        }
        key
    }

    /// Gives an opened stream its number.
    pub(crate) fn number(&mut self, key: Key) -> u32 {
        self.newest += if self.newest == 0 { 1 } else { 2 };
        let id = self.newest;
        self.slot(key).id = id;
        self.by_id.push((id, key.0));
        id
    }

    pub(crate) fn offer(&mut self, key: u32) {
        self.accepted.push_back(key);
    }

    /// Takes back a stream that nobody has accepted yet; true where it was such a one.
    pub(crate) fn withdraw(&mut self, key: Key) -> bool {
        let Some(place) = self.accepted.iter().position(|waiting| *waiting == key.0) else { return false };
        self.accepted.remove(place);
        self.release(key);
        true
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> + use<> {
        let keys: Vec<u32> =
            (0..).zip(&self.slots).filter_map(|(key, slot)| slot.as_ref().map(|_| key)).collect();
        keys.into_iter().map(Key)
    }

    pub(crate) fn remember_ended(&mut self, id: u32) {
        self.ended[self.n_ended % ENDED_MAX] = id;
        self.n_ended = self.n_ended.wrapping_add(1);
    }

    /// Says that a stream is over for us.
    pub(crate) fn give_up(&mut self, id: u32, reason: Reason) {
        self.remember_given_up(id);
        frame::put_reset(id, reason, &mut self.out);
    }

    pub(crate) fn remember_given_up(&mut self, id: u32) {
        if self.given_up.len() == GIVEN_UP_MAX {
            self.given_up.pop_front();
        }
        self.given_up.push_back(id);
    }

    /// Whether this is one of the last streams that we ended before their peer did.
    pub(crate) fn was_given_up(&self, id: u32) -> bool {
        self.given_up.contains(&id)
    }

    /// Whether we began this stream, and its peer has not ended it as far as is remembered.
    pub(crate) fn was_begun(&self, id: u32) -> bool {
        id <= self.newest && !id.is_multiple_of(2) && !self.was_ended(id)
    }

    pub(crate) fn was_ended(&self, id: u32) -> bool {
        self.ended.contains(&id)
    }
}

#[cfg(test)]
#[path = "slots_tests.rs"]
mod tests;
