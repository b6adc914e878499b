//! Calls to an admin interface over one connection.
//!
//! Invariants: an answer is bounded in size and time; whatever answers, it becomes JSON or a failure that says what to do.

use std::io;
use std::time::Duration;

use axum::body::Body;
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use isobar_config::AddressText;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::Target;

/// From a call to the last byte of its answer, and for connecting: an interface that is slower than this is stuck.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of an answer: a hundred thousand endpoints, at some 400 bytes each, are below it.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("cannot start: {0}")]
    Runtime(io::Error),
    #[error(
        "cannot connect to {target}: {source}; if the proxy runs, add `[admin]` with `listen` to its configuration and \
         restart it (--admin or ISOBAR_ADMIN names another address)"
    )]
    Connect { target: Target, source: io::Error },
    #[error("{target} did not answer within {} seconds; its log may say why", ANSWER_TIMEOUT.as_secs())]
    Silent { target: Target },
    #[error("the exchange with {target} broke off: {reason}; try again")]
    Broken { target: Target, reason: String },
    #[error(
        "{target} does not answer as an admin interface of isobar (status {status}); check --admin or ISOBAR_ADMIN"
    )]
    Foreign { target: Target, status: u16 },
    #[error("the token is not text that a header can carry; check ISOBAR_ADMIN_TOKEN")]
    Token,
    #[error("{message} ({code})")]
    Refused { code: String, message: String },
    #[error("{0}")]
    Endpoint(String),
}

/// A connection to an admin interface.
pub(super) struct Client {
    target: Target,
    authorization: Option<HeaderValue>,
    connection: SendRequest<Body>,
}

impl Client {
    /// Connects to the first address of the target that works.
    pub(super) async fn connect(target: &Target, token: Option<String>) -> Result<Self, Failure> {
        let bearer = |token: String| HeaderValue::try_from(format!("Bearer {}", token.trim()));
        let authorization = token.map(bearer).transpose().map_err(|_| Failure::Token)?;
        let connected = tokio::time::timeout(ANSWER_TIMEOUT, open(target.address())).await;
        let stream = connected
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|source| Failure::Connect { target: target.clone(), source })?;
        let (connection, driver) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(target, &error))?;
        // Its failure shows in the call that waits for an answer.
        tokio::spawn(async { drop(driver.await) });
        Ok(Self { target: target.clone(), authorization, connection })
    }

    /// A call without a body.
    pub(super) async fn fetch(&mut self, path: &str) -> Result<Value, Failure> {
        self.call(Method::GET, path, Body::empty()).await
    }

    /// A call that changes something.
    pub(super) async fn patch(&mut self, path: &str, change: &Value) -> Result<Value, Failure> {
        self.call(Method::PATCH, path, Body::from(change.to_string())).await
    }

    async fn call(&mut self, method: Method, path: &str, body: Body) -> Result<Value, Failure> {
        let exchange = tokio::time::timeout(ANSWER_TIMEOUT, self.exchange(method, path, body)).await;
        let (status, text) =
            exchange.unwrap_or_else(|_| Err(Failure::Silent { target: self.target.clone() }))?;
        let foreign = || Failure::Foreign { target: self.target.clone(), status: status.as_u16() };
        let answer: Value = serde_json::from_slice(&text).map_err(|_| foreign())?;
        if status.is_success() {
            return Ok(answer);
        }
        let word = |name: &str| answer["error"][name].as_str().map(str::to_owned).ok_or_else(foreign);
        Err(Failure::Refused { code: word("code")?, message: word("message")? })
    }

    async fn exchange(
        &mut self,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<(StatusCode, Vec<u8>), Failure> {
        let target = self.target.clone();
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, target.host())
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(body).map_err(|error| broken(&target, &error))?;
        self.connection.ready().await.map_err(|error| broken(&target, &error))?;
        let response =
            self.connection.send_request(request).await.map_err(|error| broken(&target, &error))?;
        let status = response.status();
        let read = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let read = read.map_err(|error| Failure::Broken { target, reason: error.to_string() })?;
        Ok((status, read.to_bytes().to_vec()))
    }
}

fn broken(target: &Target, error: &impl std::error::Error) -> Failure {
    Failure::Broken { target: target.clone(), reason: error.to_string() }
}

/// A connection of either kind.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn open(address: &AddressText) -> io::Result<Box<dyn Stream>> {
    Ok(match address {
        AddressText::Tcp { host, port } => Box::new(TcpStream::connect((host.as_str(), *port)).await?),
        AddressText::Unix(path) => Box::new(UnixStream::connect(path).await?),
    })
}

/// A path of the API: every name is one segment, whatever characters it has (RFC 3986, section 2.1).
pub(super) fn path(segments: &[&str]) -> String {
    let mut path = "/api/v1".to_owned();
    for segment in segments {
        path.push('/');
        for byte in segment.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                path.push(char::from(byte));
            } else {
                path.extend(['%', hex(byte >> 4), hex(byte & 15)]);
            }
        }
    }
    path
}

fn hex(digit: u8) -> char {
    char::from_digit(u32::from(digit), 16).unwrap_or('0').to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_segment_of_a_path_whatever_it_has() {
        assert_eq!(
            path(&["services", "web", "endpoints", "web/[::1]:80 ü%"]),
            "/api/v1/services/web/endpoints/web%2F%5B%3A%3A1%5D%3A80%20%C3%BC%25"
        );
    }
}
