//! Connections: a caller's to the proxy, and the proxy's to an endpoint.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpStream as Blocking};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use http::Request;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::http1::{self, split};
use super::http2::{self, failed, fields_of, map_of};
use super::stage::Part;
use super::{Body, Duplex, Exchange, Fields, Head, Receiving, Sending, Version};

/// The socket under a connection, for what only it can do.
#[derive(Clone)]
pub struct Line(Arc<Blocking>);

impl Line {
    fn of(socket: TcpStream) -> io::Result<(Self, TcpStream)> {
        let socket = socket.into_std()?;
        socket.set_nodelay(true)?;
        let line = Self(Arc::new(socket.try_clone()?));
        Ok((line, TcpStream::from_std(socket)?))
    }

    /// Makes the close a reset.
    pub fn reset_on_close(&self) {
        socket2::SockRef::from(&*self.0).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// A caller's connection.
pub struct Caller {
    line: Line,
    /// What every path begins with.
    prefix: String,
    protocol: Protocols,
}

enum Protocols {
    /// `None` while an exchange has it.
    Http1(Option<(http1::Reader, http1::Writer)>),
    Http2(SendRequest<Bytes>),
}

/// Connects to the proxy.
pub(super) async fn dial(
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
) -> io::Result<(Line, Box<dyn Duplex>)> {
    let (line, socket) = Line::of(TcpStream::connect(address).await?)?;
    let Some(tls) = tls else { return Ok((line, Box::new(socket))) };
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(tls).connect(name, socket).await?;
    Ok((line, Box::new(stream)))
}

impl Caller {
    pub(super) async fn connect(
        address: SocketAddr,
        tls: Option<Arc<ClientConfig>>,
        version: Version,
        prefix: &str,
    ) -> io::Result<Self> {
        let (line, stream) = dial(address, tls).await?;
        let protocol = match version {
            Version::Http1 => Protocols::Http1(Some(split(stream))),
            Version::Http2 => {
                let (sender, connection) = h2::client::handshake(stream).await.map_err(failed)?;
                tokio::spawn(async move {
                    // How it ends shows on its streams.
                    let _ = connection.await;
                });
                Protocols::Http2(sender.ready().await.map_err(failed)?)
            }
        };
        Ok(Self { line, prefix: prefix.to_owned(), protocol })
    }

    /// Sends the head of a request.
    ///
    /// # Errors
    /// The connection is over, or over HTTP/1.1 used by another exchange.
    pub async fn begin(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: Body,
    ) -> io::Result<Exchange> {
        let path = format!("{}{path}", self.prefix);
        let (sending, receiving) = match &mut self.protocol {
            Protocols::Http1(halves) => {
                let (mut reader, mut writer) = halves.take().ok_or(super::broken("it is in use"))?;
                writer.request(method, &path, fields, body).await?;
                reader.head_only = method == "HEAD";
                (Sending::Http1(writer), Receiving::Http1(reader))
            }
            Protocols::Http2(sender) => {
                let uri = format!("http://localhost{path}");
                let mut request = Request::builder().method(method).uri(uri).body(()).unwrap();
                *request.headers_mut() = map_of(fields, body);
                open(sender, request, body == Body::None).await?
            }
        };
        Ok(Exchange { head: Head::default(), sending, receiving, line: self.line.clone() })
    }

    /// Asks for a WebSocket: by an upgrade, or by extended CONNECT.
    ///
    /// # Errors
    /// The connection is over, or used.
    pub async fn websocket(&mut self, path: &str, key: &str) -> io::Result<Exchange> {
        let version = ("sec-websocket-version", "13");
        let Protocols::Http2(sender) = &mut self.protocol else {
            let fields =
                [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-key", key), version];
            return self.begin("GET", path, &fields, Body::None).await;
        };
        let uri = format!("http://localhost{}{path}", self.prefix);
        let request = Request::builder().method("CONNECT").uri(uri).header(version.0, version.1);
        let mut request = request.body(()).unwrap();
        request.extensions_mut().insert(Protocol::from_static("websocket"));
        let (sending, receiving) = open(sender, request, false).await?;
        Ok(Exchange { head: Head::default(), sending, receiving, line: self.line.clone() })
    }

    /// Whether the proxy said that it takes extended CONNECT.
    pub fn may_extend_connect(&self) -> bool {
        matches!(&self.protocol, Protocols::Http2(sender) if sender.is_extended_connect_protocol_enabled())
    }

    /// One request without a body, and its whole answer.
    ///
    /// # Errors
    /// The connection is over.
    pub async fn get(&mut self, path: &str) -> io::Result<(Head, Vec<u8>)> {
        let mut exchange = self.begin("GET", path, &[], Body::None).await?;
        let answer = exchange.answer().await?;
        self.take_back(exchange);
        Ok(answer)
    }

    /// Makes the connection of an ended exchange usable for the next.
    pub fn take_back(&mut self, exchange: Exchange) {
        if let (Sending::Http1(writer), Receiving::Http1(reader)) = (exchange.sending, exchange.receiving) {
            assert!(writer.ended && reader.is_ended(), "the exchange is not over");
            self.protocol = Protocols::Http1(Some((reader, writer)));
        }
    }

    /// Cuts the connection.
    pub fn reset(self) {
        self.line.reset_on_close();
    }
}

async fn open(
    sender: &mut SendRequest<Bytes>,
    request: Request<()>,
    ends: bool,
) -> io::Result<(Sending, Receiving)> {
    *sender = sender.clone().ready().await.map_err(failed)?;
    let (response, stream) = sender.send_request(request, ends).map_err(failed)?;
    Ok((
        Sending::Http2(http2::Sender { respond: None, stream: Some(stream) }),
        Receiving::Http2(http2::Receiver { response: Some(response), body: None, trailers: Fields::new() }),
    ))
}

/// What an endpoint does with a request; what it gives back may be followed by another on the same connection.
pub(super) type Script =
    Arc<dyn Fn(Exchange) -> Pin<Box<dyn Future<Output = Option<Exchange>> + Send>> + Send + Sync>;

/// Serves a connection of the proxy.
pub(super) async fn serve(
    socket: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    version: Version,
    part: Part,
) -> io::Result<()> {
    let (line, socket) = Line::of(socket)?;
    let stream: Box<dyn Duplex> = match tls {
        None => Box::new(socket),
        Some(tls) => Box::new(TlsAcceptor::from(tls).accept(socket).await?),
    };
    let script = match part {
        Part::Script(script) => script,
        Part::Raw(script) => {
            script(stream, line, version).await;
            return Ok(());
        }
    };
    match version {
        Version::Http1 => serve_http1(stream, line, script).await,
        Version::Http2 => serve_http2(stream, line, script).await,
    }
}

async fn serve_http1(stream: Box<dyn Duplex>, line: Line, script: Script) -> io::Result<()> {
    let (mut reader, mut writer) = split(stream);
    while let Some(head) = reader.request().await {
        let (sending, receiving) = (Sending::Http1(writer), Receiving::Http1(reader));
        let exchange = Exchange { head, sending, receiving, line: line.clone() };
        match script(exchange).await {
            Some(Exchange { sending: Sending::Http1(w), receiving: Receiving::Http1(r), .. })
                if w.ended && r.is_ended() =>
            {
                (reader, writer) = (r, w);
            }
            _ => return Ok(()),
        }
    }
    Ok(())
}

async fn serve_http2(stream: Box<dyn Duplex>, line: Line, script: Script) -> io::Result<()> {
    let mut builder = h2::server::Builder::new();
    builder.enable_connect_protocol();
    let mut connection = builder.handshake::<_, Bytes>(stream).await.map_err(failed)?;
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted.map_err(failed)?;
        let (parts, body) = request.into_parts();
        let mut fields = fields_of(&parts.headers);
        if let Some(protocol) = parts.extensions.get::<Protocol>() {
            fields.push((":protocol".to_owned(), protocol.as_str().to_owned()));
        }
        let head = Head {
            method: parts.method.to_string(),
            path: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
            status: 0,
            fields,
        };
        let exchange = Exchange {
            head,
            sending: Sending::Http2(http2::Sender { respond: Some(respond), stream: None }),
            receiving: Receiving::Http2(http2::Receiver {
                response: None,
                body: Some(body),
                trailers: Fields::new(),
            }),
            line: line.clone(),
        };
        let script = Arc::clone(&script);
        tokio::spawn(async move {
            // The connection is its own; an exchange that is over is dropped.
            drop(script(exchange).await);
        });
    }
    Ok(())
}
