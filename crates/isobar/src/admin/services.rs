//! `GET /api/v1/services`, and one of them with its endpoints.

use std::time::SystemTime;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use isobar_control::{ClusterHandle, SourceReport};
use isobar_core::{EndpointState, Member, Snapshot};
use serde_json::{Value, json};

use super::Subjects;
use super::refusal::{self, Refusal};

/// Services that a message names.
const NAMED_MAX: usize = 20;

/// Every service, without its endpoints.
pub(super) async fn list(State(subjects): State<Subjects>) -> Response {
    let services: Vec<Value> =
        subjects.clusters.all().iter().map(|cluster| service(cluster, &cluster.snapshot())).collect();
    refusal::json(StatusCode::OK, &json!({ "services": services }))
}

/// One service with its endpoints.
pub(super) async fn show(
    State(subjects): State<Subjects>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Refusal> {
    let Path(name) = path.map_err(|error| bad_path(&error))?;
    let cluster = find(&subjects, &name)?;
    // Tens of thousands of endpoints make this milliseconds of work, which must not hold up a probe.
    let rendered = tokio::task::spawn_blocking(move || {
        let snapshot = cluster.snapshot();
        let mut shown = service(&cluster, &snapshot);
        shown["endpoints"] = snapshot.members().iter().map(endpoint).collect();
        refusal::json(StatusCode::OK, &shown)
    });
    rendered.await.map_err(|_| Refusal::defect("the service"))
}

/// The cluster of a service, by the name in the path.
pub(super) fn find(subjects: &Subjects, name: &str) -> Result<ClusterHandle, Refusal> {
    subjects.clusters.find(name).ok_or_else(|| {
        let message = format!("there is no service \"{}\"; {}", name.escape_debug(), known(subjects));
        Refusal::new(StatusCode::NOT_FOUND, "unknown-service", message)
    })
}

/// Which services there are, as far as they fit into a sentence.
fn known(subjects: &Subjects) -> String {
    let all = subjects.clusters.all();
    let named: Vec<&str> = all.iter().take(NAMED_MAX).map(ClusterHandle::service).collect();
    match (named.is_empty(), all.len() - named.len()) {
        (true, _) => "the configuration has none".to_owned(),
        (_, 0) => format!("there are: {}", named.join(", ")),
        (_, more) => format!("there are: {} and {more} more, see /api/v1/services", named.join(", ")),
    }
}

/// A path with escapes that give no text.
pub(super) fn bad_path(error: &PathRejection) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "bad-path", format!("the path cannot be decoded: {error}"))
}

fn service(cluster: &ClusterHandle, snapshot: &Snapshot) -> Value {
    let states: Value = EndpointState::ALL
        .iter()
        .map(|state| {
            let n = snapshot.members().iter().filter(|member| member.state == *state).count();
            (state.name().to_owned(), Value::from(n))
        })
        .collect();
    let now = SystemTime::now();
    json!({
        "name": cluster.service(),
        "policy": snapshot.policy().name(),
        "revision": snapshot.revision(),
        "states": states,
        "fail_open": is_fail_open(snapshot),
        "removed": cluster.removed().iter().map(|id| &**id).collect::<Vec<_>>(),
        "sources": cluster.sources().iter().map(|report| source(report, now)).collect::<Vec<_>>(),
    })
}

/// Whether health is ignored, because too few endpoints are healthy.
fn is_fail_open(snapshot: &Snapshot) -> bool {
    snapshot.members().iter().any(|member| member.is_eligible && member.state == EndpointState::Unhealthy)
}

fn source(report: &SourceReport, now: SystemTime) -> Value {
    // A clock that was set back gives an age of zero.
    let age = report.updated.map(|updated| now.duration_since(updated).unwrap_or_default());
    json!({
        "name": &*report.name,
        "endpoints": report.n_endpoints,
        "problem": report.problem.as_deref(),
        "updated_age_seconds": age.map(|age| age.as_millis() as f64 / 1000.0),
    })
}

/// One endpoint.
pub(super) fn endpoint(member: &Member) -> Value {
    let counts = member.live.counts();
    let endpoint = &member.endpoint;
    json!({
        "id": &*endpoint.id,
        "address": endpoint.address.to_string(),
        "weight": endpoint.weight,
        "effective_weight": member.effective_weight(),
        "zone": endpoint.zone.as_deref(),
        "priority": endpoint.priority,
        "state": member.state.name(),
        "draining": member.draining,
        "reason": &*member.reason,
        "source": &*member.source,
        "in_flight": member.live.in_flight(),
        "connections": member.live.connections(),
        "requests": counts.attempts,
        "failures": counts.failures,
        "latency_ms": counts.latency.map(|latency| latency.as_micros() as f64 / 1000.0),
    })
}
