//! The admin interface: liveness, readiness and metrics over HTTP, on a socket of its own.
//!
//! | call | answer |
//! | --- | --- |
//! | `GET /healthz` | 200 while the process can answer at all |
//! | `GET /readyz` | 200, or 503 with the reason while starting or draining |
//! | `GET /metrics` | `OpenMetrics` text |
//!
//! Invariants: it runs on the control runtime and touches no worker; a scrape is rendered on the blocking pool. Those
//! three answer any Host; everything else answers a loopback Host only, so that a web page that points a name of its
//! own at this machine (DNS rebinding) learns nothing. Every error is a JSON object with a code and a message.

mod host;
mod listener;
mod process;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

pub(crate) use listener::{AdminBindError, AdminListener};
pub(crate) use process::ProcessMetrics;

use crate::readiness::{Phase, Readiness};

/// Content type of what `/metrics` answers (`OpenMetrics` 1.0, section "Overall Structure").
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Paths that any Host may ask for: they carry no name, address or setting that is secret, and probes use any.
const OPEN_PATHS: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Appends whole metric families to a text.
pub(crate) type RenderMetrics = dyn Fn(&mut String) + Send + Sync;

/// What the admin interface tells about.
#[derive(Clone)]
pub(crate) struct Subjects {
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) metrics: Arc<RenderMetrics>,
}

/// Every call of the admin interface.
pub(crate) fn router(subjects: Subjects) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(middleware::from_fn(guard_host))
        .with_state(subjects)
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(subjects): State<Subjects>) -> Response {
    match subjects.readiness.phase() {
        Phase::Ready => "ready\n".into_response(),
        Phase::Starting => refuse(StatusCode::SERVICE_UNAVAILABLE, "starting", "not every part runs yet"),
        Phase::Draining => refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "draining",
            "stopping: only requests in flight are finished",
        ),
    }
}

async fn metrics(State(subjects): State<Subjects>) -> Response {
    // Large clusters make this milliseconds of work, which must not hold up a probe on a runtime of two threads.
    let rendered = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        (subjects.metrics)(&mut text);
        text.push_str("# EOF\n");
        text
    })
    .await;
    match rendered {
        Ok(text) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(_) => refuse(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the metrics could not be rendered; see the log",
        ),
    }
}

async fn not_found() -> Response {
    refuse(StatusCode::NOT_FOUND, "not-found", "there is no such call; see /healthz, /readyz and /metrics")
}

async fn method_not_allowed() -> Response {
    refuse(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "this call answers GET and HEAD")
}

async fn guard_host(request: Request, next: Next) -> Response {
    if OPEN_PATHS.contains(&request.uri().path()) || host::is_loopback(&request) {
        return next.run(request).await;
    }
    refuse(
        StatusCode::FORBIDDEN,
        "host-not-allowed",
        "ask with a loopback Host: localhost, 127.0.0.1 or [::1]",
    )
}

/// An error as every call gives it.
fn refuse(status: StatusCode, code: &str, message: &str) -> Response {
    let body = serde_json::json!({ "error": { "code": code, "message": message } });
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
