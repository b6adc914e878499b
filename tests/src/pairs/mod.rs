//! Callers and endpoints that speak HTTP/1.1 or HTTP/2, in the clear or over TLS, behind one set of words.
//!
//! A [`Stage`] is one proxy with four endpoints, one of each kind, that all play the same part; a [`Pair`] names what is
//! spoken on either side. Both ends of a message are an [`Exchange`]: what it sends, and what it receives.
//!
//! Limits: over HTTP/1.1 a connection carries one exchange at a time; errors are those of the transport, whatever their
//! protocol calls them.

mod http1;
mod http2;
mod peer;
mod stage;

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

pub use peer::{Caller, Line};
pub use stage::{Pair, Part, Side, Stage, play, until};

/// A connection's bytes.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// Names and values.
pub type Fields = Vec<(String, String)>;

/// What a protocol is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// What begins a message.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// Of a request.
    pub method: String,
    /// Of a request.
    pub path: String,
    /// Of an answer.
    pub status: u16,
    /// In the order that they came; names in lower case.
    pub fields: Fields,
}

impl Head {
    /// The first value of this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// How the length of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    None,
    /// Ahead.
    Length(usize),
    /// By its end, which trailers may follow.
    Open,
}

/// One request and its answer, as one side sees it.
pub struct Exchange {
    /// The request's; empty at the side that sent it.
    pub head: Head,
    /// What this side sends.
    pub sending: Sending,
    /// What the other side sends.
    pub receiving: Receiving,
    line: Line,
}

/// The sending direction of an exchange.
pub enum Sending {
    /// Over HTTP/1.1.
    Http1(http1::Writer),
    /// Over HTTP/2.
    Http2(http2::Sender),
}

/// The receiving direction of an exchange.
pub enum Receiving {
    /// Over HTTP/1.1.
    Http1(http1::Reader),
    /// Over HTTP/2.
    Http2(http2::Receiver),
}

impl Sending {
    /// Sends the head of an answer.
    pub async fn head(&mut self, status: u16, fields: &[(&str, &str)], body: Body) -> io::Result<()> {
        match self {
            Self::Http1(writer) => writer.answer(status, fields, body).await,
            Self::Http2(sender) => sender.answer(status, fields, body),
        }
    }

    /// Sends an informational answer.
    pub async fn informational(&mut self, status: u16, fields: &[(&str, &str)]) -> io::Result<()> {
        match self {
            Self::Http1(writer) => writer.informational(status, fields).await,
            Self::Http2(sender) => sender.informational(status, fields),
        }
    }

    /// Sends a piece of the body.
    pub async fn data(&mut self, piece: &[u8]) -> io::Result<()> {
        match self {
            Self::Http1(writer) => writer.data(piece).await,
            Self::Http2(sender) => sender.data(piece).await,
        }
    }

    /// Ends what is sent through a tunnel.
    pub async fn end_tunnel(&mut self) -> io::Result<()> {
        match self {
            Self::Http1(writer) => writer.close().await,
            Self::Http2(sender) => sender.end(&[]),
        }
    }

    /// Ends the message, with these trailers.
    pub async fn end(&mut self, trailers: &[(&str, &str)]) -> io::Result<()> {
        match self {
            Self::Http1(writer) => writer.end(trailers).await,
            Self::Http2(sender) => sender.end(trailers),
        }
    }
}

impl Receiving {
    /// The next head of an answer, informational ones included.
    pub async fn head(&mut self) -> io::Result<Head> {
        match self {
            Self::Http1(reader) => reader.answer().await,
            Self::Http2(receiver) => receiver.answer().await,
        }
    }

    /// The next piece of the body; `None` at the message's proper end.
    pub async fn data(&mut self) -> io::Result<Option<Bytes>> {
        match self {
            Self::Http1(reader) => reader.data().await,
            Self::Http2(receiver) => receiver.data().await,
        }
    }

    /// The rest of the body.
    pub async fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(piece) = self.data().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }

    /// What followed the body.
    pub fn trailers(&self) -> &Fields {
        match self {
            Self::Http1(reader) => &reader.trailers,
            Self::Http2(receiver) => &receiver.trailers,
        }
    }
}

impl Exchange {
    /// Breaks off: a reset of the stream, or of the connection.
    pub fn reset(self) {
        match self.sending {
            Sending::Http1(_) => self.line.reset_on_close(),
            Sending::Http2(mut sender) => sender.reset(),
        }
    }

    /// Waits until the other side broke off or went away.
    pub async fn gone(&mut self) {
        match (&mut self.sending, &mut self.receiving) {
            (_, Receiving::Http1(reader)) => reader.gone().await,
            (Sending::Http2(sender), _) => sender.gone().await,
            (Sending::Http1(_), Receiving::Http2(_)) => {}
        }
    }

    /// Reads the answer to its end: its head and the body.
    pub async fn answer(&mut self) -> io::Result<(Head, Vec<u8>)> {
        loop {
            let head = self.receiving.head().await?;
            if head.status >= 200 {
                return Ok((head, self.receiving.rest().await?));
            }
        }
    }

    /// Takes the WebSocket that was asked for.
    pub async fn accept_websocket(&mut self) -> io::Result<()> {
        match (&mut self.sending, &mut self.receiving) {
            (Sending::Http1(writer), Receiving::Http1(reader)) => {
                let key = self.head.field("sec-websocket-key").ok_or(broken("no key"))?;
                let proof = http1::proof_of(key);
                let fields = [
                    ("connection", "Upgrade"),
                    ("upgrade", "websocket"),
                    ("sec-websocket-accept", proof.as_str()),
                ];
                reader.open();
                writer.answer(101, &fields, Body::None).await
            }
            (sending, _) => sending.head(200, &[], Body::Open).await,
        }
    }

    /// Sends a whole answer.
    pub async fn reply(&mut self, status: u16, body: &str) -> io::Result<()> {
        self.sending.head(status, &[], Body::Length(body.len())).await?;
        self.sending.data(body.as_bytes()).await?;
        self.sending.end(&[]).await
    }
}

fn broken(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, what)
}
