//! The dynamic table (RFC 7541 sections 2.3.2 and 4): the latest fields, the newest first.
//!
//! Names and values stand one after the other in one buffer, in the order they came, so that a field is two slices
//! and an insertion two copies. What is evicted stays there as dead bytes until the buffer is full; then the live bytes
//! move to its front, or into a larger one.
//!
//! # What always holds
//! - The fields' sizes, each with [`OVERHEAD`], add up to the maximum at most.
//! - The buffer holds at most four times the maximum in bytes (a power of two that twice the maximum fits in), and
//!   less where fewer bytes were ever live.
//! - Moving live bytes costs no more than copying them in did: at least as many come in before the next move.

use std::collections::VecDeque;

/// What a field counts beyond the bytes of its name and its value (RFC 7541 section 4.1).
const OVERHEAD: usize = 32;

/// The first buffer: room for a few short fields, since many connections never insert more.
const BUFFER_MIN: usize = 256;

/// Where a field stands.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Counted from the first byte that was ever inserted, wrapping.
    start: u32,
    name_len: u32,
    value_len: u32,
}

/// The latest fields of one direction of a connection.
#[derive(Debug)]
pub(super) struct DynamicTable {
    bytes: Vec<u8>,
    /// Where `bytes` begins, counted as `Entry::start` is.
    base: u32,
    /// The newest first.
    entries: VecDeque<Entry>,
    /// In bytes as RFC 7541 counts them.
    size: usize,
    max: usize,
}

/// What a field counts, in bytes.
pub(super) fn size_of(name: &[u8], value: &[u8]) -> usize {
    name.len() + value.len() + OVERHEAD
}

impl DynamicTable {
    /// An empty table, without memory of its own yet.
    pub(super) fn new(max: usize) -> Self {
        Self { bytes: Vec::new(), base: 0, entries: VecDeque::new(), size: 0, max }
    }

    /// The size that the fields may add up to.
    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// Name and value of the field that so many others came after.
    #[inline]
    pub(super) fn field(&self, age: usize) -> Option<(&[u8], &[u8])> {
        let entry = self.entries.get(age)?;
        let behind = self.bytes.get(entry.start.wrapping_sub(self.base) as usize..)?;
        let (name, behind) = behind.split_at_checked(entry.name_len as usize)?;
        Some((name, behind.get(..entry.value_len as usize)?))
    }

    /// How many fields there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Changes the maximum and evicts what is above it.
    pub(super) fn set_max(&mut self, max: usize) {
        self.max = max;
        self.evict_to(max);
    }

    /// Adds a field, for which older ones go. One larger than the table empties it and is not added, as the RFC has it.
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8]) {
        let size = size_of(name, value);
        let Some(rest) = self.max.checked_sub(size) else {
            self.evict_to(0);
            return;
        };
        self.evict_to(rest);
        let len = name.len() + value.len();
        if self.bytes.capacity() - self.bytes.len() < len {
            self.make_room(len);
        }
        let start = self.base.wrapping_add(self.bytes.len() as u32);
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        self.entries.push_front(Entry { start, name_len: name.len() as u32, value_len: value.len() as u32 });
        self.size += size;
    }

    fn evict_to(&mut self, size: usize) {
        while self.size > size
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size -= oldest.name_len as usize + oldest.value_len as usize + OVERHEAD;
        }
    }

    #[cold]
    fn make_room(&mut self, len: usize) {
        let dead = match self.entries.back() {
            Some(oldest) => oldest.start.wrapping_sub(self.base) as usize,
            None => self.bytes.len(),
        };
        self.bytes.drain(..dead);
        self.base = self.base.wrapping_add(dead as u32);
        let live = self.bytes.len();
        let wanted = 2 * (live + len);
        if self.bytes.capacity() < wanted {
            self.bytes.reserve_exact(wanted.next_power_of_two().max(BUFFER_MIN) - live);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_what_a_naive_table_keeps_within_its_memory() {
        let mut state = 1_u32;
        let mut draw = |n: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % n
        };
        let mut table = DynamicTable::new(4096);
        // Starts near the wrap of the counted positions.
        table.base = u32::MAX - 5000;
        let mut naive: VecDeque<(Vec<u8>, Vec<u8>)> = VecDeque::new();
        for round in 0..20_000_u32 {
            if draw(200) == 0 {
                table.set_max(draw(4097) as usize);
            } else {
                let spread = if draw(10) == 0 { 5000 } else { 40 };
                let name = vec![round as u8; draw(spread) as usize];
                let value = vec![(round >> 8) as u8; draw(spread) as usize];
                table.insert(&name, &value);
                naive.push_front((name, value));
            }
            let mut size = 0;
            let fitting = naive.iter().take_while(|(name, value)| {
                size += size_of(name, value);
                size <= table.max()
            });
            let n = fitting.count();
            naive.truncate(n);
            assert!((0..n).all(|age| {
                table.field(age).is_some_and(|(name, value)| naive[age] == (name.to_vec(), value.to_vec()))
            }));
            assert_eq!(table.field(n), None);
            assert!(table.bytes.capacity() <= 8192, "{}", table.bytes.capacity());
            assert!(table.entries.capacity() <= 128);
        }
    }
}
