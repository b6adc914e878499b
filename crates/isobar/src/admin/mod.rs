//! The admin interface over HTTP, on a socket of its own: liveness, readiness, metrics, and the API for operators.
//!
//! | call | answer | file |
//! | --- | --- | --- |
//! | `GET /healthz` | 200 while the process can answer at all | here |
//! | `GET /readyz` | 200, or 503 with the reason while starting or draining | here |
//! | `GET /metrics` | every metric as text | `metrics.rs` |
//! | `GET /api/v1/services`, `/api/v1/services/{service}` | services; one with its endpoints | `services.rs` |
//! | `PUT`, `PATCH`, `DELETE .../endpoints/{id}`, `DELETE .../endpoints/{id}/override` | changes | `endpoints.rs` |
//! | `GET /api/v1/events` | what happens, as it happens | `events.rs` |
//! | `GET`, `PUT /api/v1/config` | the configuration that runs | `config.rs` |
//!
//! Invariants: it runs on the control runtime and touches no worker; long work goes to the blocking pool. The first
//! three answer anybody; everything else only whom [`Access`] lets in. Every error is a JSON object with a code and a
//! message. Whatever a caller sends, it costs bounded memory and no panic.

mod access;
mod body;
mod change;
mod config;
mod connection;
mod endpoints;
mod events;
mod host;
mod listener;
mod metrics;
mod moment;
mod process;
mod refusal;
mod services;
mod token;

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, put};
use axum::{Extension, Router, middleware};
use isobar_control::{Clusters, Journal};
use isobar_discovery::SystemLookup;

pub(crate) use access::Access;
pub(crate) use listener::{AdminBindError, AdminListener};
pub(crate) use process::ProcessMetrics;
pub(crate) use token::TokenError;

use crate::configuration::Configured;
use crate::readiness::{Phase, Readiness};
use refusal::Refusal;

/// Appends whole metric families to a text.
pub(crate) type RenderMetrics = dyn Fn(&mut String) + Send + Sync;

/// What the admin interface tells about and changes.
#[derive(Clone)]
pub(crate) struct Subjects {
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) metrics: Arc<RenderMetrics>,
    pub(crate) clusters: Arc<Clusters<SystemLookup>>,
    pub(crate) journal: Journal,
    pub(crate) configuration: Arc<dyn Configured>,
    pub(crate) access: Arc<Access>,
}

/// Every call of the admin interface.
pub(crate) fn router(subjects: Subjects) -> Router {
    let endpoint = put(endpoints::put).patch(endpoints::patch).delete(endpoints::remove);
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics::show))
        .route("/api/v1/services", get(services::list))
        .route("/api/v1/services/{service}", get(services::show))
        .route("/api/v1/services/{service}/endpoints/{id}", endpoint)
        .route("/api/v1/services/{service}/endpoints/{id}/override", delete(endpoints::clear))
        .route("/api/v1/events", get(events::listen))
        .route("/api/v1/config", get(config::show).put(config::put))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(Extension(events::Streams::default()))
        .layer(middleware::from_fn_with_state(subjects.clone(), access::guard))
        .with_state(subjects)
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(subjects): State<Subjects>) -> Response {
    let refuse = |code, message| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, code, message).into_response();
    match subjects.readiness.phase() {
        Phase::Ready => "ready\n".into_response(),
        Phase::Starting => refuse("starting", "not every part runs yet"),
        Phase::Draining => refuse("draining", "stopping: only requests in flight are finished"),
    }
}

async fn not_found() -> Refusal {
    let message = "there is no such call; there are /healthz, /readyz, /metrics, /api/v1/services, \
                   /api/v1/services/{service}, /api/v1/services/{service}/endpoints/{id}, \
                   /api/v1/services/{service}/endpoints/{id}/override, /api/v1/events and /api/v1/config; \
                   a slash within a name is written %2F";
    Refusal::new(StatusCode::NOT_FOUND, "not-found", message)
}

async fn method_not_allowed() -> Refusal {
    let message = "this call does not answer that method; the field `allow` tells which it answers";
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", message)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
