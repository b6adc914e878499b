//! The memory of a caller's stream, recycled between those of a worker.
//!
//! Invariants: what is taken is empty; at most [`SHELF_MAX`] are kept, none of them larger than [`KEEP_BYTES`].

use std::cell::RefCell;

use isobar_http1::{HeadProgress, ResponseHead};

/// Memories that are kept: as many as there are tasks that wait for streams.
const SHELF_MAX: usize = 128;

/// Capacity above which one is let go, so that a huge head does not stay in memory for ever.
const KEEP_BYTES: usize = 16 * 1024;

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct StreamMemory {
    /// The request's head as text, and lines around its chunks.
    pub(super) lead: Vec<u8>,
    pub(super) heading: Heading,
}

/// The answer before its final head.
#[derive(Debug, Default)]
pub(super) struct Heading {
    /// The part of a head that came.
    pub(super) bytes: Vec<u8>,
    pub(super) progress: HeadProgress,
    pub(super) parsed: ResponseHead,
}

impl Heading {
    /// Makes ready for another head; what was parsed stays to be looked at.
    pub(super) fn restart(&mut self) {
        self.bytes.clear();
        self.progress = HeadProgress::default();
    }
}

/// Where they lie.
#[derive(Debug, Default)]
pub(crate) struct Shelf(RefCell<Vec<StreamMemory>>);

impl Shelf {
    pub(super) fn take(&self) -> StreamMemory {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    pub(super) fn put(&self, mut memory: StreamMemory) {
        let mut shelf = self.0.borrow_mut();
        if shelf.len() < SHELF_MAX && memory.lead.capacity() + memory.heading.bytes.capacity() <= KEEP_BYTES {
            memory.lead.clear();
            memory.heading.restart();
            shelf.push(memory);
        }
    }
}
