//! A part of a body on its way through the library, which tells when it is in the socket's hands.
//!
//! The library says how much may be sent, not why it is no more: a window of the peer that is nearly used up and a buffer that is
//! nearly full look alike. Filling the last bytes of a buffer again and again makes frames of a few bytes each, which cost both
//! sides much and which some peers take for a flood. With the pieces that are still waiting counted the two can be told apart.
//!
//! Invariant: a piece counts from its making to its drop, and the library drops it when it has written all of it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

use bytes::{Buf, Bytes};

/// What of one stream waits in the library.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    n_pieces: Cell<usize>,
    waker: RefCell<Option<Waker>>,
}

impl Waiting {
    pub(super) fn is_none(&self) -> bool {
        self.n_pieces.get() == 0
    }

    /// Has this task woken when nothing waits any more.
    pub(super) fn wake(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Piece {
    bytes: Bytes,
    waiting: Option<Rc<Waiting>>,
}

impl Piece {
    pub(super) fn new(bytes: Bytes, waiting: &Rc<Waiting>) -> Self {
        waiting.n_pieces.set(waiting.n_pieces.get() + 1);
        Self { bytes, waiting: Some(Rc::clone(waiting)) }
    }

    /// A piece that no other follows, so that nobody asks for it.
    pub(super) fn last(bytes: Bytes) -> Self {
        Self { bytes, waiting: None }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let Some(waiting) = &self.waiting else { return };
        waiting.n_pieces.set(waiting.n_pieces.get() - 1);
        if waiting.is_none()
            && let Some(waker) = waiting.waker.take()
        {
            waker.wake();
        }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, n: usize) {
        self.bytes.advance(n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_waits_until_it_is_dropped() {
        let waiting = Rc::new(Waiting::default());
        let pieces = [b"a", b"b"].map(|bytes| Piece::new(Bytes::from_static(bytes), &waiting));
        assert!(!waiting.is_none());
        drop(pieces);
        assert!(waiting.is_none());
    }
}
