//! The origin of the gRPC comparison: one unary method over HTTP/2 in the clear.
//!
//! Invariants: it answers with the message that it was sent, after it has read all of it, and closes with the trailer
//! `grpc-status: 0`.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

use crate::error::BenchError;
use crate::origin::small_body;
use crate::process::runtime;

/// The method that is called.
pub(crate) const PATH: &str = "/bench.Echo/Unary";
/// The content type of calls and answers.
pub(crate) const CONTENT_TYPE: &str = "application/grpc";
/// The message of every call and answer: not compressed, four bytes of length, a body.
pub(crate) fn message() -> Vec<u8> {
    let body = small_body();
    let mut message = vec![0];
    message.extend_from_slice(&(body.len() as u32).to_be_bytes());
    message.extend_from_slice(&body);
    message
}

/// A POST of [`PATH`] by who speaks gRPC.
pub(crate) fn call(uri: &str) -> Result<Request<()>, http::Error> {
    Request::builder()
        .method(Method::POST)
        .uri(uri)
        .header("content-type", CONTENT_TYPE)
        .header("te", "trailers")
        .body(())
}

/// Serves on `address` until the process ends.
pub fn serve_grpc(address: SocketAddr) -> Result<(), BenchError> {
    let runtime = runtime()?;
    let ended = LocalSet::new().block_on(&runtime, accept(address));
    ended.map_err(|error| BenchError::Machine(format!("the gRPC origin on {address}: {error}")))
}

async fn accept(address: SocketAddr) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::task::spawn_local(serve_connection(stream));
    }
}

/// An error ends the connection, which the peer's caller sees as a failed call.
async fn serve_connection(stream: TcpStream) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(call) = connection.accept().await {
        let (request, respond) = call?;
        tokio::task::spawn_local(answer(request, respond));
    }
    Ok(())
}

async fn answer(request: Request<h2::RecvStream>, mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
    let mut body = request.into_body();
    let mut message = BytesMut::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        message.extend_from_slice(&piece);
    }
    let mut head = Response::new(());
    head.headers_mut().insert("content-type", HeaderValue::from_static(CONTENT_TYPE));
    let mut stream = respond.send_response(head, false)?;
    stream.send_data(message.freeze(), false)?;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    stream.send_trailers(trailers)
}

#[cfg(test)]
mod tests {
    use super::message;

    #[test]
    fn a_message_says_its_own_length() {
        let message = message();
        assert_eq!(&message[..5], [0, 0, 0, 0, 128]);
        assert_eq!(message.len(), 133);
    }
}
