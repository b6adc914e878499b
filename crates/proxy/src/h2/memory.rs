//! The memory of streams, recycled between those of a worker or of a connection.
//!
//! Invariants: what is taken is empty; at most [`SHELF_MAX`] are kept, none of them larger than [`KEEP_BYTES`].

use std::cell::RefCell;

use isobar_http1::{HeadProgress, RequestHead, ResponseHead};

/// Memories that are kept: as many as there are tasks that wait for streams.
const SHELF_MAX: usize = 128;

/// Capacity above which one is let go, so that a huge head does not stay in memory for ever.
const KEEP_BYTES: usize = 16 * 1024;

/// A stream's memory: what is encoded of one direction, and the head that is written in the other.
#[derive(Debug, Default)]
pub(crate) struct StreamMemory<Head> {
    /// The head that came as text, and lines around its chunks.
    pub(super) lead: Vec<u8>,
    pub(super) heading: Heading<Head>,
}

/// Of a caller's stream.
pub(crate) type CallerMemory = StreamMemory<ResponseHead>;

/// Of a stream to an endpoint.
pub(crate) type EndpointMemory = StreamMemory<RequestHead>;

/// A head on its way out, before it is whole.
#[derive(Debug, Default)]
pub(super) struct Heading<Head> {
    /// The part of a head that came.
    pub(super) bytes: Vec<u8>,
    pub(super) progress: HeadProgress,
    pub(super) parsed: Head,
}

impl<Head> Heading<Head> {
    /// Makes ready for another head; what was parsed stays to be looked at.
    pub(super) fn restart(&mut self) {
        self.bytes.clear();
        self.progress = HeadProgress::default();
    }
}

/// Where they lie.
#[derive(Debug)]
pub(crate) struct Shelf<Head>(RefCell<Vec<StreamMemory<Head>>>);

impl<Head> Default for Shelf<Head> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<Head: Default> Shelf<Head> {
    pub(super) fn take(&self) -> StreamMemory<Head> {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    pub(super) fn put(&self, mut memory: StreamMemory<Head>) {
        let mut shelf = self.0.borrow_mut();
        if shelf.len() < SHELF_MAX && memory.lead.capacity() + memory.heading.bytes.capacity() <= KEEP_BYTES {
            memory.lead.clear();
            memory.heading.restart();
            shelf.push(memory);
        }
    }
}
