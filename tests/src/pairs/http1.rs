//! HTTP/1.1 for [`pairs`](super): one message at a time in each direction.
//!
//! Invariant: a message that ends before its framing says so is an error.

use std::io;
use std::pin::pin;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64ct::{Base64, Encoding as _};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};

use super::{Body, Duplex, Fields, Head, broken};

/// Bytes that a read may bring.
const ROOM: usize = 64 << 10;

/// The reading half of a connection.
pub struct Reader {
    half: ReadHalf<Box<dyn Duplex>>,
    buffer: BytesMut,
    framing: Framing,
    /// Its request was HEAD.
    pub(super) head_only: bool,
    pub(super) trailers: Fields,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Left(usize),
    /// This much of the present chunk is left.
    Chunk(usize),
    /// Bytes without a form of their own, to the connection's end.
    Open,
    Ended,
}

/// The writing half of a connection.
pub struct Writer {
    half: WriteHalf<Box<dyn Duplex>>,
    chunked: bool,
    pub(super) ended: bool,
}

/// What a server of WebSocket answers to this key (RFC 6455, section 4.2.2).
pub(super) fn proof_of(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    Base64::encode_string(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref())
}

fn line(name: &str, value: &str) -> String {
    format!("{name}: {value}\r\n")
}

/// The halves of a connection.
pub(super) fn split(stream: Box<dyn Duplex>) -> (Reader, Writer) {
    let (read, write) = tokio::io::split(stream);
    let reader = Reader {
        half: read,
        buffer: BytesMut::new(),
        framing: Framing::Ended,
        head_only: false,
        trailers: Fields::new(),
    };
    (reader, Writer { half: write, chunked: false, ended: true })
}

impl Reader {
    /// Reads once; 0 is the end.
    async fn read(&mut self) -> io::Result<usize> {
        // Otherwise the buffer grows by a few bytes, and each read gets no more.
        self.buffer.reserve(ROOM);
        self.half.read_buf(&mut self.buffer).await
    }

    async fn fill(&mut self) -> io::Result<()> {
        match self.read().await? {
            0 => Err(broken("the connection ended")),
            _ => Ok(()),
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.buffer.split_to(at + 2);
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            self.fill().await?;
        }
    }

    async fn fields(&mut self) -> io::Result<Fields> {
        let mut fields = Fields::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(fields);
            }
            let (name, value) = line.split_once(':').ok_or(broken("a line without a colon"))?;
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// The next request; `None` at the connection's end.
    pub(super) async fn request(&mut self) -> Option<Head> {
        let line = self.line().await.ok()?;
        let mut words = line.split(' ');
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let fields = self.fields().await.ok()?;
        let head = Head { method, path, status: 0, fields };
        self.begin(&head, Framing::Left(0));
        Some(head)
    }

    pub(super) async fn answer(&mut self) -> io::Result<Head> {
        let line = self.line().await?;
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status: u16 = status.ok_or(broken("no status"))?;
        let head = Head { status, fields: self.fields().await?, ..Head::default() };
        self.begin(&head, Framing::Open);
        if status == 101 {
            self.framing = Framing::Open;
        } else if status < 200 || [204, 304].contains(&status) || self.head_only {
            self.framing = Framing::Ended;
        }
        Ok(head)
    }

    /// What comes from here on is no message.
    pub(super) fn open(&mut self) {
        self.framing = Framing::Open;
    }

    fn begin(&mut self, head: &Head, otherwise: Framing) {
        self.trailers.clear();
        self.framing = if head.field("transfer-encoding").is_some() {
            Framing::Chunk(0)
        } else {
            head.field("content-length").map_or(otherwise, |length| Framing::Left(length.parse().unwrap()))
        };
    }

    pub(super) async fn data(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            match self.framing {
                Framing::Ended | Framing::Left(0) => return Ok(None),
                Framing::Chunk(0) => {
                    let line = self.line().await?;
                    let len = usize::from_str_radix(&line, 16).map_err(|_| broken("no size of a chunk"))?;
                    self.framing = Framing::Chunk(len);
                    if len == 0 {
                        self.trailers = self.fields().await?;
                        self.framing = Framing::Ended;
                    }
                }
                Framing::Open if self.buffer.is_empty() => {
                    if self.read().await? == 0 {
                        return Ok(None);
                    }
                }
                _ if self.buffer.is_empty() => self.fill().await?,
                Framing::Open => return Ok(Some(self.buffer.split().freeze())),
                Framing::Left(left) => {
                    let n = left.min(self.buffer.len());
                    self.framing = Framing::Left(left - n);
                    return Ok(Some(self.buffer.split_to(n).freeze()));
                }
                Framing::Chunk(left) => {
                    let n = left.min(self.buffer.len());
                    let piece = self.buffer.split_to(n).freeze();
                    self.framing = Framing::Chunk(left - n);
                    if n == left && !self.line().await?.is_empty() {
                        return Err(broken("a chunk longer than it said"));
                    }
                    return Ok(Some(piece));
                }
            }
        }
    }

    /// Whether the message was read to its end.
    pub(super) fn is_ended(&self) -> bool {
        matches!(self.framing, Framing::Ended | Framing::Left(0))
    }

    pub(super) async fn gone(&mut self) {
        while self.read().await.is_ok_and(|n| n > 0) {}
    }
}

impl Writer {
    async fn begin(&mut self, first: String, fields: &[(&str, &str)], body: Body) -> io::Result<()> {
        let lines: String = fields.iter().map(|(name, value)| line(name, value)).collect();
        let framing = match body {
            Body::None => String::new(),
            Body::Length(n) => line("content-length", &n.to_string()),
            Body::Open => line("transfer-encoding", "chunked"),
        };
        let text = first + &lines + &framing + "\r\n";
        self.chunked = body == Body::Open;
        self.ended = body == Body::None;
        self.raw(text.as_bytes()).await
    }

    pub(super) async fn request(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: Body,
    ) -> io::Result<()> {
        self.begin(format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n"), fields, body).await
    }

    pub(super) async fn answer(
        &mut self,
        status: u16,
        fields: &[(&str, &str)],
        body: Body,
    ) -> io::Result<()> {
        self.begin(format!("HTTP/1.1 {status} It\r\n"), fields, body).await
    }

    pub(super) async fn informational(&mut self, status: u16, fields: &[(&str, &str)]) -> io::Result<()> {
        self.begin(format!("HTTP/1.1 {status} It\r\n"), fields, Body::None).await
    }

    pub(super) async fn data(&mut self, piece: &[u8]) -> io::Result<()> {
        if piece.is_empty() {
            return Ok(());
        }
        if self.chunked {
            self.half.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
            self.half.write_all(piece).await?;
            return self.raw(b"\r\n").await;
        }
        self.raw(piece).await
    }

    pub(super) async fn end(&mut self, trailers: &[(&str, &str)]) -> io::Result<()> {
        if self.chunked {
            let lines: String = trailers.iter().map(|(name, value)| line(name, value)).collect();
            let section = format!("0\r\n{lines}\r\n");
            self.raw(section.as_bytes()).await?;
        }
        self.ended = true;
        Ok(())
    }

    /// Sends bytes as they are.
    pub async fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut half = pin!(&mut self.half);
        half.write_all(bytes).await?;
        half.flush().await
    }

    /// Ends the sending direction of the connection.
    pub async fn close(&mut self) -> io::Result<()> {
        self.half.shutdown().await
    }
}
