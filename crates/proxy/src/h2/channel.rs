//! A connection of HTTP/2 and its streams: the machine that they share, and who is to be woken for what.
//!
//! One task drives the connection: it alone touches the socket. Each stream is held by the task of an exchange, which reads
//! and writes the machine; what it wrote leaves when the driver is polled next, with what the others wrote meanwhile.
//!
//! Invariants: everything of a connection stays on its worker; a stream that is dropped is given back, and reset unless it
//! was over; nothing is received while too much waits to be sent.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use isobar_http2::{Broken, Connection, FrameHead, Key, Read, Reason, WriteError};

use crate::buffer::Buffer;
use crate::stream::Stream;
use crate::worker::Worker;

/// Reads in one wake before other connections of the worker get their turn.
const READS_PER_WAKE: usize = 16;

/// See the module's page.
pub(crate) struct Channel {
    connection: RefCell<Connection>,
    wakers: RefCell<Vec<Option<Waker>>>,
    driver: RefCell<Option<Waker>>,
    /// The driver was woken and has not come yet.
    is_driver_due: Cell<bool>,
    /// Reads that brought something.
    n_heard: Cell<u64>,
    worker: Rc<Worker>,
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").field("n_heard", &self.n_heard).finish_non_exhaustive()
    }
}

/// How a drive left the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drive {
    /// It goes on; whether everything that was to be said is in the socket.
    Open { flushed: bool },
    /// It is over, and everything that was to be said is in the socket.
    Said,
    /// The socket is of no more use.
    Lost,
}

impl Channel {
    pub(super) fn new(connection: Connection, worker: Rc<Worker>) -> Rc<Self> {
        Rc::new(Self {
            connection: RefCell::new(connection),
            wakers: RefCell::default(),
            driver: RefCell::default(),
            is_driver_due: Cell::new(false),
            n_heard: Cell::new(0),
            worker,
        })
    }

    /// The machine; not to be held over a call of this module.
    pub(super) fn connection(&self) -> std::cell::RefMut<'_, Connection> {
        self.connection.borrow_mut()
    }

    /// A number that changes when anything comes from the peer.
    pub(super) fn n_heard(&self) -> u64 {
        self.n_heard.get()
    }

    /// Makes the task that polls the one that drives.
    pub(super) fn be_driven_by(&self, cx: &Context<'_>) {
        self.is_driver_due.set(false);
        let mut driver = self.driver.borrow_mut();
        if !driver.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *driver = Some(cx.waker().clone());
        }
    }

    /// Has the driver come.
    pub(super) fn wake_driver(&self) {
        if !self.is_driver_due.replace(true)
            && let Some(waker) = &*self.driver.borrow()
        {
            waker.wake_by_ref();
        }
    }

    /// Moves bytes between the socket and the machine. `first` were read already; `look` sees every frame that comes, and
    /// `sent` how much went.
    pub(super) fn poll_drive(
        &self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
        first: &mut Vec<u8>,
        mut look: impl FnMut(FrameHead) -> Result<(), Reason>,
        mut sent: impl FnMut(usize),
    ) -> Drive {
        if !first.is_empty() {
            let bytes = std::mem::take(first);
            self.lend_memory();
            self.connection().receive(&bytes, &mut look);
        }
        let mut is_socket_open = true;
        let mut n_reads = 0;
        while self.receive(cx, stream, &mut look, &mut is_socket_open) {
            n_reads += 1;
            if n_reads == READS_PER_WAKE {
                self.wake_driver();
                break;
            }
        }
        self.wake_touched();
        let was_stuffed = self.connection().is_stuffed();
        let is_flushed = match self.poll_send(cx, stream, &mut sent) {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(_)) => {
                self.lose();
                return Drive::Lost;
            }
            Poll::Pending => false,
        };
        if !is_socket_open {
            self.lose();
            return Drive::Lost;
        }
        if is_flushed && self.connection().end().is_some() {
            return Drive::Said;
        }
        if was_stuffed && !self.connection().is_stuffed() {
            // Nobody has asked the socket for what comes meanwhile.
            self.wake_driver();
        }
        Drive::Open { flushed: is_flushed }
    }

    /// Receives once; false when nothing more is there.
    fn receive(
        &self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
        look: impl FnMut(FrameHead) -> Result<(), Reason>,
        is_socket_open: &mut bool,
    ) -> bool {
        let connection = self.connection();
        if connection.end().is_some() || connection.is_stuffed() {
            return false;
        }
        let mut buffer = Buffer::default();
        self.worker.stock.lend(&mut buffer);
        let read = stream.poll_read(cx, buffer.room());
        let goes_on = match read {
            Poll::Ready(Ok(n)) if n > 0 => {
                self.n_heard.set(self.n_heard.get().wrapping_add(1));
                drop(connection);
                self.lend_memory();
                self.connection().receive(&buffer.room()[..n], look);
                true
            }
            Poll::Ready(_) => {
                *is_socket_open = false;
                false
            }
            Poll::Pending => false,
        };
        self.worker.stock.give_back(&mut buffer);
        goes_on
    }

    fn lend_memory(&self) {
        let mut connection = self.connection();
        if connection.is_without_memory() {
            connection.lend_memory(self.worker.outputs.take());
        }
    }

    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
        sent: &mut impl FnMut(usize),
    ) -> Poll<io::Result<()>> {
        loop {
            let mut connection = self.connection();
            if connection.output().is_empty() {
                if let Some(memory) = connection.take_memory() {
                    self.worker.outputs.put(memory);
                }
                drop(connection);
                return stream.poll_flush(cx);
            }
            let n = std::task::ready!(stream.poll_write(cx, connection.output(), b""))?;
            sent(n);
            connection.sent(n);
            drop(connection);
            self.wake_touched();
        }
    }

    /// Breaks off every stream: the socket is of no more use.
    pub(super) fn lose(&self) {
        self.connection().lost();
        self.wake_touched();
    }

    /// Wakes whoever waits on streams that may be served.
    pub(super) fn wake_touched(&self) {
        let wakers = self.wakers.borrow();
        self.connection().take_touched(|key| {
            if let Some(Some(waker)) = wakers.get(key.0 as usize) {
                waker.wake_by_ref();
            }
        });
    }

    fn wait(&self, key: Key, cx: &Context<'_>) {
        let mut wakers = self.wakers.borrow_mut();
        let place = key.0 as usize;
        if wakers.len() <= place {
            wakers.resize(place + 1, None);
        }
        if !wakers[place].as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            wakers[place] = Some(cx.waker().clone());
        }
    }

    /// Has what was just added to the output sent.
    fn send_soon(&self) {
        if !self.connection().output().is_empty() {
            self.wake_driver();
        }
    }
}

/// A stream, held by an exchange.
#[derive(Debug)]
pub(super) struct Held {
    channel: Rc<Channel>,
    key: Key,
}

impl Held {
    pub(super) fn new(channel: Rc<Channel>, key: Key) -> Self {
        Self { channel, key }
    }

    pub(super) fn channel(&self) -> &Rc<Channel> {
        &self.channel
    }

    /// Reads into `into`, which must not be empty; `Ok(0)` is the end of the message.
    pub(super) fn poll_read(&self, cx: &Context<'_>, into: &mut [u8]) -> Poll<Result<usize, Broken>> {
        let read = self.channel.connection().read(self.key, into);
        match read {
            Read::Bytes(n) => {
                // A window that was opened is said.
                self.channel.send_soon();
                Poll::Ready(Ok(n))
            }
            Read::End => Poll::Ready(Ok(0)),
            Read::Broken(broken) => Poll::Ready(Err(broken)),
            Read::Blocked => {
                self.channel.wait(self.key, cx);
                Poll::Pending
            }
        }
    }

    /// Ready when a read would not block.
    pub(super) fn poll_readable(&self, cx: &Context<'_>) -> Poll<()> {
        if self.channel.connection().is_readable(self.key) {
            return Poll::Ready(());
        }
        self.channel.wait(self.key, cx);
        Poll::Pending
    }

    /// Everything that the peer sends was read.
    pub(super) fn is_read(&self) -> bool {
        self.channel.connection().is_read(self.key)
    }

    /// Ready when the stream is over before its end.
    pub(super) fn poll_broken(&self, cx: &Context<'_>) -> Poll<Broken> {
        if let Some(broken) = self.channel.connection().broken(self.key) {
            return Poll::Ready(broken);
        }
        self.channel.wait(self.key, cx);
        Poll::Pending
    }

    pub(super) fn broken(&self) -> Option<Broken> {
        self.channel.connection().broken(self.key)
    }

    /// Takes bytes of the slices in order, as many as may be sent now.
    pub(super) fn poll_write(
        &self,
        cx: &Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.channel.lend_memory();
        let written = self.channel.connection().write(self.key, first, second);
        match written {
            Ok(0) if !(first.is_empty() && second.is_empty() || self.is_sent()) => {
                self.channel.wait(self.key, cx);
                Poll::Pending
            }
            Ok(n) => {
                self.channel.send_soon();
                Poll::Ready(Ok(n))
            }
            Err(WriteError::Broken(_)) => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Err(WriteError::Invalid(why)) => {
                Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)))
            }
        }
    }

    /// Whether the message's end was sent.
    pub(super) fn is_sent(&self) -> bool {
        self.channel.connection().is_sent(self.key)
    }

    /// Ends a body that has no other end.
    pub(super) fn finish(&self) {
        self.channel.connection().finish(self.key);
        self.channel.send_soon();
    }

    /// Ends the stream, unless it is over.
    pub(super) fn reset(&self, reason: Reason) {
        self.channel.connection().reset(self.key, reason);
    }

    /// See `Connection::take_asked` and `prove`.
    pub(super) fn answer_key(&self, prove: impl FnOnce(&[u8]) -> [u8; 28]) -> bool {
        let mut connection = self.channel.connection();
        let Some(asked) = connection.take_asked(self.key) else { return false };
        connection.prove(self.key, prove(&asked));
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut connection = self.channel.connection();
        connection.release(self.key);
        let is_last = connection.n_streams() == 0;
        drop(connection);
        // Its turn to write may be another's now.
        self.channel.wake_touched();
        if let Some(waker) = self.channel.wakers.borrow_mut().get_mut(self.key.0 as usize) {
            *waker = None;
        }
        if is_last {
            self.channel.wake_driver();
        } else {
            self.channel.send_soon();
        }
    }
}
