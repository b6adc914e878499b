//! Changes of endpoints by an operator: `PUT`, `PATCH`, `DELETE`, and the end of an override.
//!
//! Invariant: an answer is given when the change is published, so that whoever asks next sees it.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use isobar_control::ClusterHandle;
use isobar_core::{Edit, EditError};

use super::body::{self, CHANGE_BYTES_MAX};
use super::refusal::{self, Refusal};
use super::{Subjects, change, services};

/// Service and endpoint id of a path, decoded.
type Named = Result<Path<(String, String)>, PathRejection>;

/// Adds an endpoint or replaces it.
pub(super) async fn put(
    State(subjects): State<Subjects>,
    named: Named,
    request: Request,
) -> Result<Response, Refusal> {
    let (cluster, id) = find(&subjects, named)?;
    let edit = change::put(&id, &body::read(request, CHANGE_BYTES_MAX).await?)?;
    apply(&cluster, edit).await?;
    show(&cluster, &id)
}

/// Changes its weight, or whether it drains.
pub(super) async fn patch(
    State(subjects): State<Subjects>,
    named: Named,
    request: Request,
) -> Result<Response, Refusal> {
    let (cluster, id) = find(&subjects, named)?;
    let edit = change::patch(&id, &body::read(request, CHANGE_BYTES_MAX).await?)?;
    apply(&cluster, edit).await?;
    show(&cluster, &id)
}

/// Removes it; one that a source names is left out from now on.
pub(super) async fn remove(State(subjects): State<Subjects>, named: Named) -> Result<Response, Refusal> {
    let (cluster, id) = find(&subjects, named)?;
    apply(&cluster, Edit::Remove { id: id.into() }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Forgets every change of it.
pub(super) async fn clear(State(subjects): State<Subjects>, named: Named) -> Result<Response, Refusal> {
    let (cluster, id) = find(&subjects, named)?;
    apply(&cluster, Edit::Clear { id: id.into() }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn find(subjects: &Subjects, named: Named) -> Result<(ClusterHandle, String), Refusal> {
    let Path((service, id)) = named.map_err(|error| services::bad_path(&error))?;
    change::check_id(&id)?;
    Ok((services::find(subjects, &service)?, id))
}

async fn apply(cluster: &ClusterHandle, edit: Edit) -> Result<(), Refusal> {
    let edited = cluster
        .edit(edit)
        .await
        .map_err(|error| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", error.to_string()))?;
    edited.map_err(|error| match error {
        EditError::UnknownEndpoint | EditError::Removed => unknown(error),
        EditError::NoOverride => Refusal::new(StatusCode::NOT_FOUND, "no-override", error.to_string()),
        EditError::TooMany => Refusal::new(StatusCode::CONFLICT, "too-many-overrides", error.to_string()),
    })
}

fn unknown(error: EditError) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "unknown-endpoint", error.to_string())
}

fn show(cluster: &ClusterHandle, id: &str) -> Result<Response, Refusal> {
    let snapshot = cluster.snapshot();
    // Somebody else may have removed it since.
    let member = snapshot.members().iter().find(|member| &*member.endpoint.id == id);
    let member = member.ok_or_else(|| unknown(EditError::UnknownEndpoint))?;
    Ok(refusal::json(StatusCode::OK, &services::endpoint(member)))
}
