//! Byte buffers and the per-worker stock that lends them.
//!
//! A connection holds a buffer only while it has bytes; an idle one holds none. The stock is a stack, so that the
//! buffer lent next is the one whose lines are still in the cache.

use std::cell::RefCell;
use std::ops::Range;

/// Size of a lent buffer. Larger means fewer system calls for large bodies; smaller means less memory for a slow
/// reader. 33 KiB keeps 1,000 slow readers at 33 MiB and relays 64 KiB with their head in two reads; at 32 KiB the head
/// would push the last bytes into a third, which costs a read and a write more.
pub(crate) const BUFFER_BYTES: usize = 33 * 1024;

/// Buffers that one worker keeps in stock, 8 MiB: two for each stream of a full connection of HTTP/2. More than this at
/// once is a burst whose memory goes back to the system.
const STOCK_MAX: usize = 256;

/// A buffer with a filled part; bytes are consumed at its front and appended at its end.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    fn with_capacity(capacity: usize) -> Self {
        Self { bytes: vec![0; capacity].into_boxed_slice(), start: 0, end: 0 }
    }

    /// Whether it has memory of its own.
    pub(crate) fn is_lent(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// The filled bytes.
    pub(crate) fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    /// Room behind the filled part.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.end..]
    }

    pub(crate) fn room_len(&self) -> usize {
        self.bytes.len() - self.end
    }

    /// Says that `n` bytes were written to the room.
    pub(crate) fn filled_more(&mut self, n: usize) {
        debug_assert!(self.end + n <= self.bytes.len());
        self.end += n;
    }

    /// Drops `n` bytes at the front.
    pub(crate) fn consume(&mut self, n: usize) {
        debug_assert!(n <= self.len());
        self.start += n;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Makes room behind the filled part: moves it to the front, then doubles up to `max` bytes in all.
    ///
    /// Returns false when the buffer is full and may not grow.
    pub(crate) fn make_room(&mut self, max: usize) -> bool {
        if self.room_len() > 0 {
            return true;
        }
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            return true;
        }
        let capacity = (self.bytes.len() * 2).min(max);
        if capacity <= self.bytes.len() {
            return false;
        }
        let mut larger = vec![0; capacity].into_boxed_slice();
        larger[..self.end].copy_from_slice(&self.bytes[..self.end]);
        self.bytes = larger;
        true
    }

    /// Cuts `range` (relative to the filled part) out of it by moving what stands behind it forward.
    pub(crate) fn cut(&mut self, range: Range<usize>) {
        let (from, to) = (self.start + range.start, self.start + range.end);
        self.bytes.copy_within(to..self.end, from);
        self.end -= to - from;
    }

    fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }
}

/// The buffers that a worker has in stock.
#[derive(Debug, Default)]
pub(crate) struct Stock {
    buffers: RefCell<Vec<Buffer>>,
}

impl Stock {
    /// Gives `buffer` memory if it has none.
    pub(crate) fn lend(&self, buffer: &mut Buffer) {
        if !buffer.is_lent() {
            *buffer = self.buffers.borrow_mut().pop().unwrap_or_else(|| Buffer::with_capacity(BUFFER_BYTES));
        }
    }

    /// Takes the memory of `buffer` back, and with it whatever it held.
    pub(crate) fn give_back(&self, buffer: &mut Buffer) {
        let mut returned = std::mem::take(buffer);
        let mut buffers = self.buffers.borrow_mut();
        if returned.bytes.len() == BUFFER_BYTES && buffers.len() < STOCK_MAX {
            returned.clear();
            buffers.push(returned);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(bytes: &[u8]) -> Buffer {
        let mut buffer = Buffer::with_capacity(8);
        buffer.room()[..bytes.len()].copy_from_slice(bytes);
        buffer.filled_more(bytes.len());
        buffer
    }

    #[test]
    fn room_is_made_by_moving_first_and_growing_second() {
        let mut buffer = holding(b"abcdefgh");
        buffer.consume(3);
        assert!(buffer.make_room(16));
        assert_eq!((buffer.filled(), buffer.room_len()), (&b"defgh"[..], 3));
        buffer.room().copy_from_slice(b"ijk");
        buffer.filled_more(3);
        assert!(buffer.make_room(16));
        assert_eq!((buffer.filled(), buffer.room_len()), (&b"defghijk"[..], 8));
    }

    #[test]
    fn a_full_buffer_at_its_maximum_refuses_to_grow() {
        let mut buffer = holding(b"abcdefgh");
        assert!(!buffer.make_room(8));
        assert_eq!(buffer.filled(), b"abcdefgh");
    }

    #[test]
    fn a_cut_keeps_what_stands_before_and_behind() {
        let mut buffer = holding(b"abcdefgh");
        buffer.consume(1);
        buffer.cut(2..5);
        assert_eq!(buffer.filled(), b"bcgh");
    }

    #[test]
    fn a_returned_buffer_is_lent_again_empty() {
        let stock = Stock::default();
        let mut buffer = Buffer::default();
        stock.lend(&mut buffer);
        buffer.filled_more(5);
        stock.give_back(&mut buffer);
        assert!(!buffer.is_lent());
        stock.lend(&mut buffer);
        assert_eq!((buffer.len(), buffer.room_len()), (0, BUFFER_BYTES));
    }
}
