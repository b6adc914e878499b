//! A caller's stream as the exchange sees it: a connection of HTTP/1.1 that carries one request.
//!
//! Invariants: behind the request's end a read waits for the caller to go away, as on a connection; a stream that is
//! dropped before its answer's end is reset, so that a cut answer is never taken for a whole one.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use h2::ext::Protocol;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::request;
use isobar_http1::{Framing, HeadLimits, Method, ResponseHead};

use super::gone;
use super::incoming::Incoming;
use super::memory::{CallerMemory, Heading, Shelf};
use super::outgoing::Outgoing;
use super::piece::Piece;
use super::translate::{self, Malformed, Tunnel};
use crate::websocket::{self, Key};

/// Bounds of an answer's head. It was parsed before and got the route's fields added: what is refused here is a defect
/// of ours, not of anybody's message.
const ANSWER_LIMITS: HeadLimits =
    HeadLimits { head_bytes: 256 * 1024, target_bytes: 256 * 1024, n_headers: 1024 };

/// See the module's page.
#[derive(Debug)]
pub(crate) struct CallerStream {
    incoming: Incoming,
    answer: Answer,
    heading: Heading<ResponseHead>,
    method: Method,
    is_tls: bool,
    /// Where its memory comes from.
    shelf: Rc<Shelf<ResponseHead>>,
    /// Asks for a tunnel; the key that was made for it.
    tunnel: Option<Key>,
}

#[derive(Debug)]
enum Answer {
    /// No final head yet.
    Head(SendResponse<Piece>),
    Body(Outgoing),
}

/// What a head in the bytes written came to.
enum Headed {
    /// All bytes were taken and more must come.
    Incomplete,
    /// This many bytes belong to it; another head follows.
    Informational(usize),
    /// This many bytes belong to it.
    Final(usize, Outgoing),
}

impl CallerStream {
    /// Takes over an accepted stream; hands it back where the request is malformed. `key` is for a tunnel.
    pub(super) fn new(
        parts: &request::Parts,
        body: RecvStream,
        respond: SendResponse<Piece>,
        is_tls: bool,
        shelf: Rc<Shelf<ResponseHead>>,
        key: impl FnOnce() -> Key,
    ) -> Result<Self, (Malformed, SendResponse<Piece>)> {
        let protocol = parts.extensions.get::<Protocol>();
        let key = protocol.map(|_| key());
        let tunnel =
            protocol.zip(key.as_ref()).map(|(protocol, key)| Tunnel { protocol: protocol.as_str(), key });
        let CallerMemory { mut lead, heading } = shelf.take();
        match translate::write_request(parts, tunnel, body.is_end_stream(), &mut lead) {
            Ok(form) => Ok(Self {
                incoming: Incoming::new(body, lead, form),
                answer: Answer::Head(respond),
                heading,
                method: if key.is_some() {
                    Method::Get
                } else {
                    Method::of(parts.method.as_str().as_bytes())
                },
                is_tls,
                shelf,
                tunnel: key,
            }),
            Err(malformed) => Err((malformed, respond)),
        }
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Whether a tunnel is asked for: any success then says that it stands.
    pub(crate) fn wants_tunnel(&self) -> bool {
        self.tunnel.is_some()
    }

    /// Whether this is the proof of the key that the endpoint got; where the caller made the key it is his to look.
    pub(crate) fn is_proof(&self, proof: Option<&[u8]>) -> bool {
        self.tunnel.is_none_or(|key| proof == Some(&websocket::prove(&key)))
    }

    /// Ends what is sent through a tunnel.
    pub(crate) fn end_tunnel(&mut self) {
        if let (Some(_), Answer::Body(outgoing)) = (&self.tunnel, &mut self.answer) {
            outgoing.end();
        }
    }

    /// Reads into `into`, which must not be empty; behind the request's end only the caller's leaving ends the wait.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        if !self.incoming.is_ended() {
            // The end of a body whose length was told may come in a frame of its own: it says no more than the length did.
            match ready!(self.incoming.poll_read(cx, into))? {
                0 => {}
                n => return Poll::Ready(Ok(n)),
            }
        }
        if self.wants_tunnel() {
            return Poll::Ready(Ok(0));
        }
        self.poll_gone(cx).map(Err)
    }

    /// Ready when a read would not block.
    pub(crate) fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.incoming.is_ended() {
            ready!(self.incoming.poll_ready(cx))?;
        }
        if self.incoming.is_ended() && !self.wants_tunnel() {
            self.poll_gone(cx).map(Err)
        } else {
            Poll::Ready(Ok(()))
        }
    }

    /// Ready when the caller has reset the stream, or is gone.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let reset = match &mut self.answer {
            Answer::Head(respond) => respond.poll_reset(cx),
            Answer::Body(outgoing) => outgoing.poll_reset(cx),
        };
        reset.map(|reset| reset.map_or_else(gone, |_| io::ErrorKind::ConnectionReset.into()))
    }

    /// Takes bytes of the answer.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        let (mut first, mut second, mut n_taken) = (first, second, 0);
        loop {
            let respond = match &mut self.answer {
                Answer::Head(respond) => respond,
                Answer::Body(outgoing) => {
                    return match outgoing.poll_write(cx, first, second) {
                        Poll::Ready(Ok(n)) => Poll::Ready(Ok(n_taken + n)),
                        Poll::Pending if n_taken > 0 => Poll::Ready(Ok(n_taken)),
                        polled => polled,
                    };
                }
            };
            if first.is_empty() {
                (first, second) = (second, b"");
                if first.is_empty() {
                    return Poll::Ready(Ok(n_taken));
                }
            }
            let n = match take_head(&mut self.heading, respond, first, self.method)? {
                Headed::Incomplete => first.len(),
                Headed::Informational(n) => n,
                Headed::Final(n, outgoing) => {
                    self.answer = Answer::Body(outgoing);
                    n
                }
            };
            n_taken += n;
            first = &first[n..];
        }
    }
}

/// Takes bytes of the answer's head, and sends it when it is whole.
fn take_head(
    heading: &mut Heading<ResponseHead>,
    respond: &mut SendResponse<Piece>,
    bytes: &[u8],
    method: Method,
) -> io::Result<Headed> {
    let n_before = heading.bytes.len();
    let whole: &[u8] = if n_before == 0 {
        bytes
    } else {
        heading.bytes.extend_from_slice(bytes);
        &heading.bytes
    };
    let parsed = heading.parsed.parse(whole, &mut heading.progress, &ANSWER_LIMITS, method);
    let head_len = match parsed {
        Ok(Some(head_len)) => head_len,
        Ok(None) => {
            if n_before == 0 {
                heading.bytes.extend_from_slice(bytes);
            }
            return Ok(Headed::Incomplete);
        }
        Err(reject) => return Err(io::Error::new(io::ErrorKind::InvalidData, reject.reason())),
    };
    let switches = heading.parsed.status == 101;
    let translate = if switches { translate::switched } else { translate::response };
    let response = translate(&heading.parsed, &whole[..head_len])
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    heading.restart();
    let n = head_len - n_before;
    if heading.parsed.is_informational() {
        respond.send_informational(response).map_err(gone)?;
        return Ok(Headed::Informational(n));
    }
    let framing = if switches { Framing::UntilClose } else { heading.parsed.framing };
    let ends = matches!(framing, Framing::None | Framing::Length(0));
    let stream = respond.send_response(response, ends).map_err(gone)?;
    Ok(Headed::Final(n, Outgoing::new(stream, framing)))
}

impl Drop for CallerStream {
    fn drop(&mut self) {
        match &mut self.answer {
            Answer::Head(respond) => respond.send_reset(Reason::INTERNAL_ERROR),
            Answer::Body(outgoing) if !outgoing.is_ended() => {
                // RFC 8441, section 5: what a reset is under a WebSocket.
                let of_tunnel = self.tunnel.is_some();
                outgoing.send_reset(if of_tunnel { Reason::CANCEL } else { Reason::INTERNAL_ERROR });
            }
            // Where the request's body was not read to its end, the library tells the caller to stop (RFC 9113, section 8.1).
            Answer::Body(_) => {}
        }
        let memory =
            CallerMemory { lead: self.incoming.take_lead(), heading: std::mem::take(&mut self.heading) };
        self.shelf.put(memory);
    }
}
