//! A connection's bytes as the library reads and writes them, counted on their way.
//!
//! Invariants: bytes that were read before the protocol was known come first; once the meter has spoken nothing more is
//! handed on or read, so what a flood costs ends with the read that showed it.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::flood::{Meter, Verdict};
use crate::stream::Stream;
use crate::worker::Worker;

/// See the module's page.
pub(super) struct Wire {
    stream: Stream,
    /// Read already.
    first: Vec<u8>,
    watch: Option<Watch>,
    /// Counts the reads that brought something.
    n_heard: Option<Rc<Cell<u64>>>,
}

/// Whoever watches a connection for floods.
struct Watch {
    meter: Meter,
    worker: Rc<Worker>,
    verdict: Rc<Cell<Option<Verdict>>>,
}

impl Wire {
    /// A caller's connection; what is wrong with it will stand in `verdict`.
    pub(super) fn of_caller(
        stream: Stream,
        first: Vec<u8>,
        preface_len: usize,
        worker: Rc<Worker>,
        verdict: Rc<Cell<Option<Verdict>>>,
    ) -> Self {
        let meter = Meter::new(preface_len);
        Self { stream, first, watch: Some(Watch { meter, worker, verdict }), n_heard: None }
    }

    /// A connection to an endpoint, which is trusted not to flood.
    pub(super) fn to_endpoint(stream: Stream, n_heard: Rc<Cell<u64>>) -> Self {
        Self { stream, first: Vec::new(), watch: None, n_heard: Some(n_heard) }
    }
}

impl Watch {
    /// How many of the bytes may be handed on.
    fn received(&mut self, bytes: &[u8]) -> usize {
        let worker = &self.worker;
        match self.meter.received(bytes, || worker.now()) {
            Ok(()) => bytes.len(),
            Err((verdict, n)) => {
                self.verdict.set(Some(verdict));
                n
            }
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.watch.as_ref().is_some_and(|watch| watch.verdict.get().is_some()) {
            return Poll::Pending;
        }
        let before = into.filled().len();
        if this.first.is_empty() {
            std::task::ready!(this.stream.poll_read_buf(cx, into))?;
        } else {
            let n = this.first.len().min(into.remaining());
            into.put_slice(&this.first[..n]);
            this.first.drain(..n);
            if this.first.is_empty() {
                this.first = Vec::new();
            }
        }
        if let Some(n_heard) = &this.n_heard {
            n_heard.set(n_heard.get().wrapping_add(1));
        }
        if let Some(watch) = &mut this.watch {
            let n_read = into.filled().len() - before;
            let n = watch.received(&into.filled()[before..]);
            into.set_filled(before + n);
            if n == 0 && n_read > 0 {
                // No bytes would be the end of the stream.
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut parts = slices.iter().filter(|slice| !slice.is_empty());
        let (first, second): (&[u8], &[u8]) =
            (parts.next().map_or(b"", |slice| slice), parts.next().map_or(b"", |slice| slice));
        let n = std::task::ready!(this.stream.poll_write(cx, first, second))?;
        if let Some(watch) = &mut this.watch {
            watch.meter.sent(n);
        }
        Poll::Ready(Ok(n))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        std::task::ready!(this.stream.poll_flush(cx))?;
        this.stream.shutdown_write();
        Poll::Ready(Ok(()))
    }
}
