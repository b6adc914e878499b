//! Memory for what connections of HTTP/2 have to send, lent from wake to wake, so that a silent connection holds none.
//!
//! Invariant: at most [`KEPT_MAX`] are kept, none of them larger than [`KEEP_BYTES`].

use std::cell::RefCell;

/// Memories that are kept: as many connections as a worker may have in the middle of something.
const KEPT_MAX: usize = 64;

/// Twice what a connection lets wait.
const KEEP_BYTES: usize = 128 * 1024;

/// Where they lie; one a worker.
#[derive(Debug, Default)]
pub(crate) struct OutputStock(RefCell<Vec<Vec<u8>>>);

impl OutputStock {
    pub(super) fn take(&self) -> Vec<u8> {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    pub(super) fn put(&self, memory: Vec<u8>) {
        let mut stock = self.0.borrow_mut();
        if stock.len() < KEPT_MAX && memory.capacity() <= KEEP_BYTES {
            stock.push(memory);
        }
    }
}
