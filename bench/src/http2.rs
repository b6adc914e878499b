//! A caller of HTTP/2 that checks what it is told: for validation and for connections that lie idle.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, StatusCode};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

use crate::error::BenchError;
use crate::grpc;
use crate::process::runtime;
use crate::secure::HOST;
use crate::wire::ANSWER_LIMIT;
use crate::workload::Workload;

/// Open connections of one workload, driven while something is asked on them or they are [`rested`](Self::rest).
pub(crate) struct Connections {
    runtime: Runtime,
    address: SocketAddr,
    workload: Workload,
    tls: Option<Arc<ClientConfig>>,
    open: Vec<SendRequest<Bytes>>,
}

impl Connections {
    /// None yet; `tls` for those over TLS.
    pub(crate) fn new(
        address: SocketAddr,
        workload: Workload,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<Self, BenchError> {
        Ok(Self { runtime: runtime()?, address, workload, tls, open: Vec::new() })
    }

    /// Opens one more and asks once on it.
    pub(crate) fn open(&mut self) -> Result<(), BenchError> {
        let (address, workload, tls) = (self.address, self.workload, self.tls.clone());
        let sender = self.runtime.block_on(in_time(workload, async move {
            let sender = connect(address, tls).await?;
            ask(sender.clone(), workload).await?;
            Ok(sender)
        }))?;
        self.open.push(sender);
        Ok(())
    }

    /// Asks once more on each.
    pub(crate) fn ask_all(&self) -> Result<(), BenchError> {
        for sender in &self.open {
            self.runtime.block_on(in_time(self.workload, ask(sender.clone(), self.workload)))?;
        }
        Ok(())
    }

    /// Asks for nothing for `span`, but answers what the protocol asks by itself.
    pub(crate) fn rest(&self, span: Duration) {
        // The timer is made where the runtime is at hand.
        self.runtime.block_on(async { tokio::time::sleep(span).await });
    }
}

type Failure = Box<dyn std::error::Error>;

async fn in_time<T>(
    workload: Workload,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, BenchError> {
    let done = tokio::time::timeout(ANSWER_LIMIT, work).await;
    done.unwrap_or_else(|_| Err("no answer in time".into()))
        .map_err(|error| BenchError::Answer(format!("{}: {error}", workload.path())))
}

async fn connect(address: SocketAddr, tls: Option<Arc<ClientConfig>>) -> Result<SendRequest<Bytes>, Failure> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return begin(stream).await };
    let stream = TlsConnector::from(tls).connect(ServerName::try_from(HOST)?, stream).await?;
    if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err("HTTP/2 was not agreed upon".into());
    }
    begin(stream).await
}

async fn begin(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<Bytes>, Failure> {
    let (sender, connection) = h2::client::handshake(stream).await?;
    // Its end shows as the failure of what is asked next.
    tokio::spawn(connection);
    Ok(sender)
}

/// Asks for what the workload asks, and checks status, body and, of gRPC, the outcome.
async fn ask(sender: SendRequest<Bytes>, workload: Workload) -> Result<(), Failure> {
    let scheme = if workload.is_tls() { "https" } else { "http" };
    let uri = format!("{scheme}://{HOST}{}", workload.path());
    let is_call = workload == Workload::Unary;
    let request = if is_call { grpc::call(&uri)? } else { Request::get(&uri).body(())? };
    let (answer, mut stream) = sender.ready().await?.send_request(request, !is_call)?;
    if is_call {
        stream.send_data(grpc::message().into(), true)?;
    }
    let (head, mut body) = answer.await?.into_parts();
    let mut received = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        received.extend_from_slice(&piece);
    }
    let trailers = body.trailers().await?;
    check(workload, head.status, &received, trailers.as_ref()).map_err(Into::into)
}

fn check(
    workload: Workload,
    status: StatusCode,
    body: &[u8],
    trailers: Option<&HeaderMap>,
) -> Result<(), String> {
    if status != StatusCode::OK {
        return Err(format!("answered {status}"));
    }
    if body != workload.reply() {
        return Err(format!("the body differs, {} bytes came", body.len()));
    }
    let outcome = trailers.and_then(|trailers| trailers.get("grpc-status"));
    if workload == Workload::Unary && outcome.is_none_or(|status| status != "0") {
        return Err(format!("grpc-status is {outcome:?}, not 0"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_call_without_its_outcome_is_wrong() {
        let with = |outcome: &'static str| {
            HeaderMap::from_iter([(
                http::HeaderName::from_static("grpc-status"),
                HeaderValue::from_static(outcome),
            )])
        };
        let reply = grpc::message();
        let check = |trailers: Option<&HeaderMap>| check(Workload::Unary, StatusCode::OK, &reply, trailers);
        assert_eq!(check(Some(&with("0"))), Ok(()));
        assert!(check(Some(&with("14"))).is_err());
        assert!(check(None).is_err());
    }

    #[test]
    fn only_200_with_the_whole_body_is_right() {
        let reply = Workload::H2Small.reply();
        assert_eq!(check(Workload::H2Small, StatusCode::OK, &reply, None), Ok(()));
        assert!(check(Workload::H2Small, StatusCode::OK, &reply[1..], None).is_err());
        assert!(check(Workload::H2Small, StatusCode::BAD_GATEWAY, &reply, None).is_err());
    }
}
