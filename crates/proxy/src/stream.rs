//! A connected byte stream, TCP or unix, with poll-style calls that take plain slices.
//!
//! Invariants: `poll_read` clears tokio's readiness after a short read, so that waiting for the next byte costs no
//! system call; nothing here buffers. Limits: TLS streams join this enum when TLS does.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::net::Shutdown;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// One connection, downstream or upstream.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Reads into `into`, which must not be empty; `Ok(0)` is the end of the stream.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(into);
        let polled = match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
        };
        polled.map_ok(|()| buffer.filled().len())
    }

    /// Ready when a read would not block: bytes, the end, or an error.
    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
        }
    }

    /// Writes the slices in order, as much as the socket takes at once.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        let both = [IoSlice::new(first), IoSlice::new(second)];
        let one = if second.is_empty() { first } else { second };
        let vectored = !first.is_empty() && !second.is_empty();
        match self {
            Self::Tcp(stream) if vectored => Pin::new(stream).poll_write_vectored(cx, &both),
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, one),
            Self::Unix(stream) if vectored => Pin::new(stream).poll_write_vectored(cx, &both),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, one),
        }
    }

    /// Whether an idle connection shows a sign of life that it must not show: bytes, the end or an error.
    ///
    /// Costs no system call while the kernel has reported nothing.
    pub(crate) fn is_disturbed(&self) -> bool {
        let mut byte = [0_u8; 1];
        let read = match self {
            Self::Tcp(stream) => stream.try_read(&mut byte),
            Self::Unix(stream) => stream.try_read(&mut byte),
        };
        !matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Ends the sending direction; an error means that the connection is gone already, which is what was wanted.
    pub(crate) fn shutdown_write(&self) {
        let ended = match self {
            Self::Tcp(stream) => rustix::net::shutdown(stream, Shutdown::Write),
            Self::Unix(stream) => rustix::net::shutdown(stream, Shutdown::Write),
        };
        if let Err(error) = ended {
            tracing::trace!(%error, "shutdown of a connection that is gone");
        }
    }

    /// Makes the close of this connection a reset, so that the peer cannot take a cut message for a whole one.
    pub(crate) fn reset_on_close(&self) {
        if let Self::Tcp(stream) = self
            && let Err(error) = stream.set_zero_linger()
        {
            tracing::trace!(%error, "linger of a connection that is gone");
        }
    }
}
