//! HTTP/2 for [`pairs`](super), by the `h2` crate.
//!
//! Invariant: what was not read holds the other side's window.

use std::future::poll_fn;
use std::io;

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Response};

use super::{Body, Fields, Head, broken};

/// The largest frame of DATA that every peer takes (RFC 9113, section 4.2).
const PART: usize = 16 << 10;

/// The sending direction of a stream.
pub struct Sender {
    /// No final head was sent: this is an endpoint's.
    pub(super) respond: Option<SendResponse<Bytes>>,
    pub(super) stream: Option<SendStream<Bytes>>,
}

/// The receiving direction of a stream.
pub struct Receiver {
    /// No final head has come: this is a caller's.
    pub(super) response: Option<ResponseFuture>,
    pub(super) body: Option<RecvStream>,
    pub(super) trailers: Fields,
}

pub(super) fn fields_of(map: &HeaderMap) -> Fields {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    map.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}

pub(super) fn map_of(fields: &[(&str, &str)], body: Body) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        map.append(name, HeaderValue::from_str(value).unwrap());
    }
    if let Body::Length(n) = body {
        map.insert(http::header::CONTENT_LENGTH, n.into());
    }
    map
}

pub(super) fn failed(error: h2::Error) -> io::Error {
    io::Error::other(error)
}

impl Sender {
    fn response(status: u16, fields: &[(&str, &str)], body: Body) -> Response<()> {
        let mut response = Response::builder().status(status).body(()).unwrap();
        *response.headers_mut() = map_of(fields, body);
        response
    }

    pub(super) fn answer(&mut self, status: u16, fields: &[(&str, &str)], body: Body) -> io::Result<()> {
        let respond = self.respond.as_mut().ok_or(broken("a second answer"))?;
        let response = Self::response(status, fields, body);
        self.stream = Some(respond.send_response(response, body == Body::None).map_err(failed)?);
        Ok(())
    }

    pub(super) fn informational(&mut self, status: u16, fields: &[(&str, &str)]) -> io::Result<()> {
        let respond = self.respond.as_mut().ok_or(broken("no stream of an endpoint"))?;
        respond.send_informational(Self::response(status, fields, Body::None)).map_err(failed)
    }

    /// A part goes to the library whole as soon as the window has room for any of it, so that the rest of a window never makes a
    /// frame of a few bytes: the library takes many of them for a flood.
    pub(super) async fn data(&mut self, piece: &[u8]) -> io::Result<()> {
        let stream = self.stream.as_mut().ok_or(broken("no head was sent"))?;
        for part in piece.chunks(PART) {
            stream.reserve_capacity(part.len());
            while stream.capacity() == 0 {
                match poll_fn(|cx| stream.poll_capacity(cx)).await {
                    Some(capacity) => drop(capacity.map_err(failed)?),
                    None => return Err(broken("the stream is over")),
                }
            }
            stream.send_data(Bytes::copy_from_slice(part), false).map_err(failed)?;
        }
        Ok(())
    }

    pub(super) fn end(&mut self, trailers: &[(&str, &str)]) -> io::Result<()> {
        let stream = self.stream.as_mut().ok_or(broken("no head was sent"))?;
        if trailers.is_empty() {
            return stream.send_data(Bytes::new(), true).map_err(failed);
        }
        stream.send_trailers(map_of(trailers, Body::None)).map_err(failed)
    }

    pub(super) fn reset(&mut self) {
        match (&mut self.stream, &mut self.respond) {
            (Some(stream), _) => stream.send_reset(Reason::CANCEL),
            (None, Some(respond)) => respond.send_reset(Reason::CANCEL),
            (None, None) => {}
        }
    }

    pub(super) async fn gone(&mut self) {
        // The reason is of no interest, nor is that of the whole connection.
        let _ = match (&mut self.stream, &mut self.respond) {
            (Some(stream), _) => poll_fn(|cx| stream.poll_reset(cx)).await,
            (None, Some(respond)) => poll_fn(|cx| respond.poll_reset(cx)).await,
            (None, None) => return,
        };
    }
}

impl Receiver {
    pub(super) async fn answer(&mut self) -> io::Result<Head> {
        let response = self.response.as_mut().ok_or(broken("a second answer"))?;
        let informational = poll_fn(|cx| response.poll_informational(cx)).await;
        if let Some(informational) = informational {
            let (parts, ()) = informational.map_err(failed)?.into_parts();
            let fields = fields_of(&parts.headers);
            return Ok(Head { status: parts.status.as_u16(), fields, ..Head::default() });
        }
        let response = self.response.take().ok_or(broken("a second answer"))?;
        let (parts, body) = response.await.map_err(failed)?.into_parts();
        self.body = Some(body);
        let fields = fields_of(&parts.headers);
        Ok(Head { status: parts.status.as_u16(), fields, ..Head::default() })
    }

    pub(super) async fn data(&mut self) -> io::Result<Option<Bytes>> {
        let body = self.body.as_mut().ok_or(broken("no head has come"))?;
        if let Some(piece) = body.data().await {
            let piece = piece.map_err(failed)?;
            // Of a stream that is over nobody wants more.
            let _ = body.flow_control().release_capacity(piece.len());
            return Ok(Some(piece));
        }
        if let Some(trailers) = body.trailers().await.map_err(failed)? {
            self.trailers = fields_of(&trailers);
        }
        Ok(None)
    }
}
