//! Heads and trailers on their way out: parsed text of HTTP/1.1 to the fields of HTTP/2.
//!
//! Invariants: names go in lower case; fields of the connection and of framing, which HTTP/2 says otherwise, stay behind.
//! What else must not go on is gone already.

use isobar_http1::{Field, HeaderId, RequestHead, ResponseHead, is_lower_token};
use memchr::memchr;

use crate::hpack::Encoder;

/// The name of WebSocket in `:protocol` (RFC 8441, section 5).
const WEBSOCKET: &[u8] = b"websocket";

/// Lines that can be no trailer section.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoTrailers;

/// Encodes fields behind what `out` holds.
pub(crate) struct Outbound<'a> {
    pub(crate) encoder: &'a mut Encoder,
    /// For names in lower case.
    pub(crate) name: &'a mut Vec<u8>,
    pub(crate) out: &'a mut Vec<u8>,
}

impl Outbound<'_> {
    /// The head of an answer; one that switches to a tunnel says that the tunnel stands.
    pub(crate) fn response(&mut self, parsed: &ResponseHead, head: &[u8]) {
        let switches = parsed.status == 101;
        // A gRPC answer that is a head alone ends with it; the length came with the text of HTTP/1.1.
        let is_call_ended = parsed.find(HeaderId::GrpcStatus, head).is_some();
        self.encoder.begin(self.out);
        self.status(if switches { 200 } else { parsed.status });
        for field in &parsed.fields {
            let stays = match field.id {
                HeaderId::ContentLength => is_call_ended,
                HeaderId::SecWebSocketAccept => switches,
                id => !may_go_on(id),
            };
            if !stays {
                self.field(field, head);
            }
        }
    }

    /// The head of a request; `websocket`: it asks for that tunnel.
    pub(crate) fn request(&mut self, parsed: &RequestHead, head: &[u8], https: bool, websocket: bool) {
        self.encoder.begin(self.out);
        let method: &[u8] = if websocket { b"CONNECT" } else { parsed.method_name.of(head) };
        self.encoder.encode(b":method", method, self.out);
        self.encoder.encode(b":scheme", if https { b"https" } else { b"http" }, self.out);
        self.encoder.encode(b":authority", parsed.authority.of(head), self.out);
        self.encoder.encode(b":path", parsed.target.of(head), self.out);
        if websocket {
            self.encoder.encode(b":protocol", WEBSOCKET, self.out);
        }
        for field in &parsed.fields {
            let stays = match field.id {
                HeaderId::Host => true,
                HeaderId::SecWebSocketKey => websocket,
                id => !may_go_on(id),
            };
            if !stays {
                self.field(field, head);
            }
        }
        // Trailers of the answer are taken, whatever the caller does with them; servers of gRPC insist on this line.
        self.encoder.encode(b"te", b"trailers", self.out);
    }

    /// Trailers from complete lines `name: value\r\n`.
    pub(crate) fn trailers(&mut self, lines: &[u8]) -> Result<(), NoTrailers> {
        self.encoder.begin(self.out);
        for line in lines.split_inclusive(|&byte| byte == b'\n') {
            let line = line.strip_suffix(b"\r\n").ok_or(NoTrailers)?;
            let colon = memchr(b':', line).ok_or(NoTrailers)?;
            self.named(&line[..colon], line[colon + 1..].trim_ascii());
        }
        Ok(())
    }

    fn status(&mut self, status: u16) {
        let digits = [status / 100, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8);
        self.encoder.encode(b":status", &digits, self.out);
    }

    fn field(&mut self, field: &Field, head: &[u8]) {
        self.named(field.name.of(head), field.value.of(head));
    }

    fn named(&mut self, name: &[u8], value: &[u8]) {
        if is_lower_token(name) {
            return self.encoder.encode(name, value, self.out);
        }
        self.name.clear();
        self.name.extend(name.iter().map(u8::to_ascii_lowercase));
        self.encoder.encode(self.name, value, self.out);
    }
}

fn may_go_on(id: HeaderId) -> bool {
    !matches!(
        id,
        HeaderId::Connection
            | HeaderId::TransferEncoding
            | HeaderId::KeepAlive
            | HeaderId::ProxyConnection
            | HeaderId::Upgrade
            | HeaderId::Te
    )
}
