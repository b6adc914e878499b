//! Probes over HTTP/2: a GET, or a call of the gRPC health service.
//!
//! Invariants: the connection is driven by the probe itself and ends with it; of an answer no more is read than
//! decides, and no more than [`ANSWER_BODY_MAX`].

use std::future::Future;

use h2::RecvStream;
use h2::client::SendRequest;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, TE, USER_AGENT};
use hyper::{HeaderMap, Request};
use isobar_grpc::health::{self, Serving};
use isobar_grpc::{PREFIX_LEN, Status, first_message, framed};
use tokio::io::{AsyncRead, AsyncWrite};

use super::told;

/// Bytes of a gRPC answer's body that are waited for: the message that decides, in its frame.
const ANSWER_BODY_MAX: usize = PREFIX_LEN + health::ANSWER_LEN_MAX;

/// Characters of an endpoint's own words that are repeated in a reason.
const WORDS_MAX: usize = 200;

/// The status of the answer to a GET.
pub(super) async fn get<S>(stream: S, target: &str) -> Result<u16, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let request = Request::get(target)
        .version(hyper::Version::HTTP_2)
        .header(USER_AGENT, "isobar-probe")
        .body(())
        .map_err(|error| format!("the request cannot be made: {error}"))?;
    ask(stream, async |mut sender: SendRequest<Bytes>| {
        let (response, _) = sender.send_request(request, true).map_err(|error| unanswered(&error))?;
        Ok(response.await.map_err(|error| unanswered(&error))?.status().as_u16())
    })
    .await
}

/// Asks the gRPC health service for `service`; passes where it serves.
pub(super) async fn check<S>(stream: S, scheme: &str, authority: &str, service: &str) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let request = Request::post(format!("{scheme}://{authority}{}", health::CHECK_PATH))
        .version(hyper::Version::HTTP_2)
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header(USER_AGENT, "isobar-probe")
        .body(())
        .map_err(|error| format!("the request cannot be made: {error}"))?;
    let message = framed(&health::request(service));
    let state = ask(stream, async |mut sender: SendRequest<Bytes>| {
        let (response, mut body) = sender.send_request(request, false).map_err(|error| unanswered(&error))?;
        body.send_data(message.into(), true).map_err(|error| unanswered(&error))?;
        let (head, body) = response.await.map_err(|error| unanswered(&error))?.into_parts();
        if head.status != 200 {
            return Err(format!("status {}, but no gRPC answer", head.status.as_u16()));
        }
        match status(&head.headers) {
            Some(ended) => Err(refused(ended, &head.headers)),
            None => answer(body).await,
        }
    })
    .await?;
    match state {
        Serving::Serving => Ok(()),
        Serving::NotServing => Err("the gRPC health service says NOT_SERVING".to_owned()),
        Serving::ServiceUnknown => Err(format!("the gRPC health service does not know \"{service}\"")),
        Serving::Unknown => Err("the gRPC health service says UNKNOWN".to_owned()),
        Serving::Other(state) => Err(format!("the gRPC health service says state {state}")),
    }
}

/// The state that the answer tells, whose status must be good too.
async fn answer(mut body: RecvStream) -> Result<Serving, String> {
    let mut bytes = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece.map_err(|error| unanswered(&error))?;
        // A connection of its own gives its window back for nobody else's sake.
        let _ = body.flow_control().release_capacity(piece.len());
        bytes.extend_from_slice(&piece);
        if bytes.len() > ANSWER_BODY_MAX {
            return Err("the answer is longer than one of the gRPC health service".to_owned());
        }
    }
    let trailers = body.trailers().await.map_err(|error| unanswered(&error))?.unwrap_or_default();
    match status(&trailers) {
        None => return Err("the answer has no grpc-status".to_owned()),
        Some(Status::Ok) => {}
        Some(ended) => return Err(refused(ended, &trailers)),
    }
    let message = first_message(&bytes, health::ANSWER_LEN_MAX).map_err(|error| error.to_string())?;
    let message = message.ok_or("the answer has no message")?;
    health::serving(message).map_err(|error| error.to_string())
}

fn status(fields: &HeaderMap) -> Option<Status> {
    fields.get("grpc-status").map(|value| Status::parse(value.as_bytes()))
}

/// What an operator reads of a call that failed.
fn refused(ended: Status, fields: &HeaderMap) -> String {
    match ended {
        Status::Unimplemented => "the endpoint has no gRPC health service (grpc.health.v1.Health)".to_owned(),
        Status::NotFound => "the gRPC health service does not know the name that it is asked for".to_owned(),
        _ => {
            let words = fields.get("grpc-message").and_then(|value| value.to_str().ok()).unwrap_or_default();
            let words: String = words.chars().take(WORDS_MAX).collect();
            format!("gRPC status {}: {words}", ended.name())
        }
    }
}

fn unanswered(error: &h2::Error) -> String {
    format!("no answer: {}", told(error))
}

/// Makes HTTP/2 of a stream and lets `exchange` use it, while the connection is driven beside it.
async fn ask<S, T, F>(stream: S, exchange: impl FnOnce(SendRequest<Bytes>) -> F) -> Result<T, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = Result<T, String>>,
{
    let handshake = h2::client::handshake(stream).await;
    let (sender, connection) = handshake.map_err(|error| format!("no HTTP/2: {}", told(&error)))?;
    let exchange = async { exchange(sender.ready().await.map_err(|error| unanswered(&error))?).await };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        answered = &mut exchange => answered,
        ended = connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(format!("no HTTP/2: {}", told(&error))),
        },
    }
}
