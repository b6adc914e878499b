//! A connected byte stream, in the clear or over TLS, with poll-style calls that take plain slices.
//!
//! Invariants: in the clear, what is written is in the socket; over TLS it is after `poll_flush`, so whoever ends a
//! message flushes. A stream that ends means that the peer said so: over TLS an end without a word is an error.

use std::io;
use std::task::{Context, Poll};

use crate::socket::Socket;
use crate::tls_stream::TlsStream;

/// One connection, downstream or upstream.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(Socket),
    /// Boxed, so that those in the clear stay small.
    Tls(Box<TlsStream>),
}

impl Stream {
    /// Reads into `into`, which must not be empty; `Ok(0)` is the end of the stream.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => socket.poll_read(cx, into),
            Self::Tls(stream) => stream.poll_read(cx, into),
        }
    }

    /// Ready when a read would not block: bytes, the end, or an error. Over TLS it may turn out that nothing is there
    /// for the reader after all.
    pub(crate) fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => socket.poll_read_ready(cx),
            Self::Tls(stream) => stream.poll_read_ready(cx),
        }
    }

    /// Writes the slices in order, as much as is taken at once.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => socket.poll_write(cx, first, second),
            Self::Tls(stream) => stream.poll_write(cx, first, second),
        }
    }

    /// Ready when everything that was written is in the socket.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => stream.poll_flush(cx),
        }
    }

    /// Whether an idle connection shows a sign of life that it must not show: bytes, the end or an error.
    ///
    /// Costs no system call while the kernel has reported nothing.
    pub(crate) fn is_disturbed(&mut self) -> bool {
        match self {
            Self::Plain(socket) => {
                let read = socket.try_read(&mut [0]);
                !matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
            Self::Tls(stream) => stream.is_disturbed(),
        }
    }

    /// Tells the peer that nothing more comes, where the protocol has a word for it; only to be said when nothing is cut.
    pub(crate) fn say_close(&mut self) {
        if let Self::Tls(stream) = self {
            stream.say_close();
        }
    }

    /// Ends the sending direction.
    pub(crate) fn shutdown_write(&mut self) {
        self.say_close();
        self.socket().shutdown_write();
    }

    /// Makes the close of this connection a reset, so that the peer cannot take a cut message for a whole one.
    pub(crate) fn reset_on_close(&self) {
        self.socket().reset_on_close();
    }

    /// The TLS of the connection, if it has any.
    pub(crate) fn tls(&mut self) -> Option<&mut TlsStream> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => Some(stream),
        }
    }

    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.socket(),
        }
    }
}
