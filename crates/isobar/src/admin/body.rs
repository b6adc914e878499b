//! Bodies of calls: bounded in size and in time.
//!
//! Invariant: no byte past the bound is kept, and a body whose announced length is over it is not read at all.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;

use super::refusal::Refusal;

/// A change of an endpoint: hundreds of bytes at most, so that this is room for any writer's taste.
pub(super) const CHANGE_BYTES_MAX: usize = 64 * 1024;

/// A configuration: the bound that its files have.
pub(super) const CONFIGURATION_BYTES_MAX: usize = isobar_config::FILE_BYTES_MAX;

/// From the head to the last byte of a body.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads the whole body.
pub(super) async fn read(request: Request, max: usize) -> Result<Vec<u8>, Refusal> {
    let announced =
        request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > max) {
        return Err(too_large(max));
    }
    match tokio::time::timeout(BODY_TIMEOUT, collect(request.into_body(), max)).await {
        Ok(read) => read,
        Err(_) => Err(Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            "request-timeout",
            format!("the body did not arrive within {} seconds; send it again", BODY_TIMEOUT.as_secs()),
        )),
    }
}

async fn collect(mut body: Body, max: usize) -> Result<Vec<u8>, Refusal> {
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Refusal::new(StatusCode::BAD_REQUEST, "bad-body", format!("the body broke off: {error}"))
        })?;
        // Trailers say nothing that any call needs.
        let Ok(piece) = frame.into_data() else { continue };
        if piece.len() > max - read.len() {
            return Err(too_large(max));
        }
        read.extend_from_slice(&piece);
    }
    Ok(read)
}

fn too_large(max: usize) -> Refusal {
    Refusal::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body-too-large",
        format!("the body of this call has at most {max} bytes"),
    )
}
