//! One connection of the admin interface, and how long it may take.
//!
//! Invariants: an ordinary connection lives no longer than [`CONNECTION_AGE_MAX`] and [`CONNECTION_GRACE`] together, so
//! callers that stall cannot keep others out for long. One that carries an event stream gives back its place among the
//! ordinary ones and lives as long as the stream. Either is cut when its peer takes nothing for [`WRITE_STALL_MAX`].

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::Sleep;
use tracing::debug;

/// From the end of one exchange (or the start of the connection) to the last byte of the next head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connection is used. A caller that stops reading an answer cannot be told from a slow one, so all are
/// bounded; a scraper that keeps its connection opens a new one this often.
pub(super) const CONNECTION_AGE_MAX: Duration = Duration::from_mins(2);

/// How long an exchange that runs at that moment may take to finish.
pub(super) const CONNECTION_GRACE: Duration = Duration::from_secs(10);

/// How long the peer may take no byte while there are some for it: longer than any network's hiccup.
pub(super) const WRITE_STALL_MAX: Duration = Duration::from_secs(30);

/// Bytes of a request head, the least that hyper allows; no call needs more. It bounds what waits to be written, too.
const HEAD_BYTES_MAX: usize = 8192;

/// A connection of any kind.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// With each request: how its call tells the connection that the answer goes on until somebody ends it.
#[derive(Debug, Clone, Default)]
pub(super) struct Endless(Arc<Notify>);

impl Endless {
    /// Says so.
    pub(super) fn begin(&self) {
        self.0.notify_one();
    }
}

/// Serves until the connection ends; the permit is its place among the ordinary ones.
pub(super) async fn serve(stream: Box<dyn Stream>, router: Router, permit: OwnedSemaphorePermit) {
    let (endless, router) = (Endless::default(), TowerToHyperService::new(router));
    let told = endless.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(told.clone());
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(StallBound::new(stream)), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = endless.0.notified() => {
            drop(permit);
            // Whatever follows the stream would be an ordinary exchange without a place.
            connection.as_mut().graceful_shutdown();
            Some(connection.await)
        }
        () = tokio::time::sleep(CONNECTION_AGE_MAX) => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(CONNECTION_GRACE, connection).await.ok()
        }
    };
    match ended {
        Some(Ok(())) => {}
        Some(Err(error)) => debug!(%error, "a connection to the admin interface failed"),
        None => debug!("a stalled connection to the admin interface was cut"),
    }
}

/// A connection that fails once its peer has taken nothing for [`WRITE_STALL_MAX`].
struct StallBound {
    stream: Box<dyn Stream>,
    /// Runs while a write waits.
    stall: Option<Pin<Box<Sleep>>>,
}

impl StallBound {
    fn new(stream: Box<dyn Stream>) -> Self {
        Self { stream, stall: None }
    }

    /// Passes on what became of a write, unless it has waited too long.
    fn bound<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_STALL_MAX)));
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes nothing any more")))
    }
}

impl AsyncRead for StallBound {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for StallBound {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.bound(written, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.bound(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.bound(shut, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.bound(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
