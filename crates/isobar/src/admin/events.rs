//! `GET /api/v1/events`: what happens, as server-sent events (HTML standard, section 9.2), until the reader goes.
//!
//! Invariants: at most [`STREAMS_MAX`] streams are open; a stream keeps one event of its own, all others stand in the
//! journal's backlog that all streams share, and a reader that falls behind it is told how many it missed. Many streams
//! are told of an event one after the other and not at once. Streams end when the process drains.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use isobar_control::Notice;
use serde_json::json;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};

use super::connection::Endless;
use super::refusal::Refusal;
use super::{Subjects, moment};
use crate::readiness::{Phase, Readiness};

/// Streams open at once. Each costs a connection and its buffers, some 20 KiB: a thousand are no danger, and more
/// watchers than that should share one.
pub(super) const STREAMS_MAX: usize = 1000;

/// Without events a comment is sent this often: proxies on the way give up silent connections after 30 to 60 seconds.
pub(super) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);

/// How far the streams stand apart that are told of the same event: 4,000 writes a second, some 4 % of a core. A thousand
/// streams are told within a quarter of a second, one alone at once.
const STREAM_SPREAD: Duration = Duration::from_micros(250);

/// Events that go out in one piece, where several came until a stream's turn.
const EVENTS_PER_TURN: usize = 64;

/// The streams that may still be opened.
#[derive(Clone)]
pub(super) struct Streams {
    free: Arc<Semaphore>,
    n_opened: Arc<AtomicUsize>,
}

impl Default for Streams {
    fn default() -> Self {
        Self { free: Arc::new(Semaphore::new(STREAMS_MAX)), n_opened: Arc::default() }
    }
}

impl Streams {
    fn n_open(&self) -> usize {
        STREAMS_MAX - self.free.available_permits()
    }
}

/// Opens a stream of everything that is told from now on.
pub(super) async fn listen(
    State(subjects): State<Subjects>,
    Extension(streams): Extension<Streams>,
    endless: Option<Extension<Endless>>,
) -> Result<Response, Refusal> {
    let refuse = |code, message| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, code, message);
    if subjects.readiness.phase() == Phase::Draining {
        return Err(refuse("draining", "stopping: there will be no more events"));
    }
    let Ok(permit) = Arc::clone(&streams.free).try_acquire_owned() else {
        let message =
            format!("{STREAMS_MAX} event streams are open; close one, or let its reader pass events on");
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too-many-streams", message));
    };
    let reading = Reading {
        notices: subjects.journal.listen(),
        readiness: Arc::clone(&subjects.readiness),
        number: streams.n_opened.fetch_add(1, Ordering::Relaxed),
        streams,
        _permit: permit,
    };
    if let Some(Extension(endless)) = endless {
        endless.begin();
    }
    let texts = stream::unfold(reading, async |mut reading| {
        let text = reading.next().await?;
        Some((Ok::<_, Infallible>(text), reading))
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(texts)).into_response())
}

/// One open stream.
struct Reading {
    notices: broadcast::Receiver<Arc<Notice>>,
    readiness: Arc<Readiness>,
    /// Which of the streams that were ever opened.
    number: usize,
    streams: Streams,
    _permit: OwnedSemaphorePermit,
}

impl Reading {
    /// The next piece of text; `None` when there will be no more.
    async fn next(&mut self) -> Option<String> {
        let received = tokio::select! {
            biased;
            () = self.readiness.reach(Phase::Draining) => return None,
            received = self.notices.recv() => received,
            () = tokio::time::sleep(HEARTBEAT_INTERVAL) => return Some(": nothing new\n\n".to_owned()),
        };
        let mut text = match received {
            Ok(notice) => event(&notice),
            Err(RecvError::Lagged(n)) => lagged(n),
            Err(RecvError::Closed) => return None,
        };
        self.await_turn().await;
        for _ in 1..EVENTS_PER_TURN {
            match self.notices.try_recv() {
                Ok(notice) => text.push_str(&event(&notice)),
                Err(TryRecvError::Lagged(n)) => text.push_str(&lagged(n)),
                // Where it is closed the next call says so.
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        Some(text)
    }

    /// Waits for its place in the round of all streams; the only one has nothing to wait for.
    async fn await_turn(&self) {
        let place = self.number % self.streams.n_open().max(1);
        let wait = STREAM_SPREAD * u32::try_from(place).unwrap_or(u32::MAX);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }
}

fn event(notice: &Notice) -> String {
    let content = json!({
        "at": moment::text(notice.at),
        "service": notice.service.as_deref(),
        "endpoint": notice.endpoint.as_deref(),
        "event": notice.event,
        "reason": &*notice.reason,
    });
    format!("event: {}\ndata: {content}\n\n", notice.event)
}

fn lagged(n_missed: u64) -> String {
    let content = json!({
        "at": moment::text(SystemTime::now()),
        "service": null,
        "endpoint": null,
        "event": "lagged",
        "reason": format!("{n_missed} events were missed: read the services anew"),
        "missed": n_missed,
    });
    format!("event: lagged\ndata: {content}\n\n")
}
