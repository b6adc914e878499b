//! A stream to an endpoint as the exchange sees it: a connection of HTTP/1.1 that carries one request.
//!
//! Invariants: nothing can be read before the request's head was written; a stream that is dropped before its end is
//! reset, so the endpoint hears of a request that nobody waits for; what the endpoint says it has not begun with
//! (`REFUSED_STREAM`, GOAWAY) is told apart from what it may have done.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use h2::client::{ResponseFuture, SendRequest};
use h2::ext::Protocol;
use h2::{Reason, RecvStream};
use http::Response;
use http::header::SEC_WEBSOCKET_KEY;
use isobar_http1::{Framing, HeadLimits, Method, RequestHead};

use super::gone;
use super::incoming::Incoming;
use super::link::Link;
use super::memory::{EndpointMemory, Heading};
use super::outgoing::Outgoing;
use super::piece::Piece;
use super::translate::{self, BodyForm};
use crate::websocket::{self, Proof};

/// Bounds of a request's head. It was parsed before and got our lines added: what is refused here is a defect of ours.
const REQUEST_LIMITS: HeadLimits = HeadLimits { head_bytes: 2 << 20, target_bytes: 2 << 20, n_headers: 2048 };

/// See the module's page.
#[derive(Debug)]
pub(crate) struct EndpointStream {
    request: Request,
    heading: Heading<RequestHead>,
    /// For what the endpoint will say.
    lead: Vec<u8>,
    answer: Answer,
    method: Method,
    /// The endpoint has not begun with the request and never will.
    is_unprocessed: bool,
    /// What a caller's key is to be answered with, where the request asks for a WebSocket.
    proof: Option<Proof>,
    lease: Lease,
    /// What `Link::n_heard` was when this began.
    n_heard: u64,
}

impl Drop for EndpointStream {
    fn drop(&mut self) {
        let lead = match &mut self.answer {
            Answer::Coming(incoming) => incoming.take_lead(),
            Answer::Unasked | Answer::Awaited { .. } | Answer::Failed(_) => std::mem::take(&mut self.lead),
        };
        let memory = EndpointMemory { lead, heading: std::mem::take(&mut self.heading) };
        self.lease.0.stream_memory.put(memory);
    }
}

/// One of the streams that a link counts.
#[derive(Debug)]
struct Lease(Rc<Link>);

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.release();
    }
}

#[derive(Debug)]
enum Request {
    /// Its head is not complete.
    Head(SendRequest<Piece>),
    Body(Outgoing),
    /// The endpoint, or HTTP/2, did not take it.
    Failed,
}

#[derive(Debug)]
enum Answer {
    /// The request was not sent.
    Unasked,
    /// The final head has not come.
    Awaited {
        response: ResponseFuture,
        informational: Vec<u8>,
    },
    Coming(Incoming),
    Failed(io::ErrorKind),
}

impl EndpointStream {
    /// A stream of `link`, which counts it from now on.
    pub(super) fn new(link: Rc<Link>, sender: SendRequest<Piece>) -> Self {
        let EndpointMemory { lead, heading } = link.stream_memory.take();
        let n_heard = link.n_heard();
        Self {
            request: Request::Head(sender),
            heading,
            lead,
            answer: Answer::Unasked,
            method: Method::Other,
            is_unprocessed: false,
            proof: None,
            lease: Lease(link),
            n_heard,
        }
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.lease.0.is_tls()
    }

    /// Whether the endpoint said that it has not begun with the request: any other may have it.
    pub(crate) fn is_unprocessed(&self) -> bool {
        self.is_unprocessed
    }

    /// Says that the endpoint did not answer in time: as with HTTP/1.1, no request comes after this one on its connection.
    pub(crate) fn give_up(&self) {
        self.lease.0.retire();
    }

    /// The same, unless something came on the connection meanwhile: then it is this request alone that takes long.
    pub(crate) fn give_up_if_silent(&self) {
        if self.lease.0.n_heard() == self.n_heard {
            self.give_up();
        }
    }

    /// Whether the endpoint said that it takes extended CONNECT.
    pub(crate) fn takes_tunnels(&self) -> bool {
        matches!(&self.request, Request::Head(sender) if sender.is_extended_connect_protocol_enabled())
    }

    /// Ends what is sent through a tunnel.
    pub(crate) fn end_tunnel(&mut self) {
        if let (Some(_), Request::Body(outgoing)) = (&self.proof, &mut self.request) {
            outgoing.end();
        }
    }

    fn fail(&mut self, error: h2::Error) -> io::Error {
        let refused = error.reason() == Some(Reason::REFUSED_STREAM);
        self.is_unprocessed |= error.is_remote() && (refused || error.is_go_away());
        let error = gone(error);
        self.answer = Answer::Failed(error.kind());
        error
    }

    /// Ready when a read would not block.
    pub(crate) fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match &mut self.answer {
                Answer::Unasked => return Poll::Pending,
                Answer::Failed(kind) => return Poll::Ready(Err((*kind).into())),
                Answer::Awaited { informational, .. } if !informational.is_empty() => {
                    return Poll::Ready(Ok(()));
                }
                Answer::Awaited { .. } => ready!(self.poll_head(cx))?,
                Answer::Coming(incoming) => return incoming.poll_ready(cx),
            }
        }
    }

    /// Reads into `into`, which must not be empty; `Ok(0)` is the end of the answer.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            match &mut self.answer {
                Answer::Unasked => return Poll::Pending,
                Answer::Failed(kind) => return Poll::Ready(Err((*kind).into())),
                Answer::Awaited { informational, .. } if !informational.is_empty() => {
                    let n = informational.len().min(into.len());
                    into[..n].copy_from_slice(&informational[..n]);
                    informational.drain(..n);
                    return Poll::Ready(Ok(n));
                }
                Answer::Awaited { .. } => ready!(self.poll_head(cx))?,
                Answer::Coming(incoming) => return incoming.poll_read(cx, into),
            }
        }
    }

    /// Takes the next head.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Answer::Awaited { response, informational } = &mut self.answer else {
            return Poll::Ready(Ok(()));
        };
        let is_head = self.method == Method::Head;
        match response.poll_informational(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Some(Ok(head))) => {
                translate::write_response(&head.into_parts().0, true, is_head, informational);
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(self.fail(error))),
            Poll::Ready(None) => {}
        }
        match ready!(Pin::new(response).poll(cx)) {
            Ok(response) => {
                let lead = std::mem::take(&mut self.lead);
                self.answer = Answer::Coming(begin(response, is_head, self.proof.as_ref(), lead));
            }
            Err(error) => return Poll::Ready(Err(self.fail(error))),
        }
        Poll::Ready(Ok(()))
    }

    /// Takes bytes of the request.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        let (mut first, mut second, mut n_taken) = (first, second, 0);
        loop {
            match &mut self.request {
                Request::Failed => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                Request::Body(outgoing) => {
                    return match outgoing.poll_write(cx, first, second) {
                        Poll::Ready(Ok(n)) => Poll::Ready(Ok(n_taken + n)),
                        Poll::Pending if n_taken > 0 => Poll::Ready(Ok(n_taken)),
                        polled => polled,
                    };
                }
                Request::Head(sender) => {
                    if let Err(error) = ready!(sender.poll_ready(cx)) {
                        // No stream was opened: nothing was begun.
                        self.is_unprocessed = true;
                        self.request = Request::Failed;
                        return Poll::Ready(Err(self.fail(error)));
                    }
                    if first.is_empty() {
                        (first, second) = (second, b"");
                        if first.is_empty() {
                            return Poll::Ready(Ok(n_taken));
                        }
                    }
                }
            }
            let n = self.take_head(first)?;
            n_taken += n;
            first = &first[n..];
        }
    }

    /// Takes bytes of the head, and sends it when it is complete.
    fn take_head(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let is_tls = self.is_tls();
        let Request::Head(sender) = &mut self.request else { return Ok(0) };
        let Heading { bytes: before, progress, parsed } = &mut self.heading;
        let n_before = before.len();
        let whole: &[u8] = if n_before == 0 {
            bytes
        } else {
            before.extend_from_slice(bytes);
            before
        };
        let head_len = match parsed.parse(whole, progress, &REQUEST_LIMITS) {
            Ok(None) => {
                if n_before == 0 {
                    before.extend_from_slice(bytes);
                }
                return Ok(bytes.len());
            }
            Ok(Some(head_len)) => head_len,
            Err(reject) => return Err(self.cannot_carry(reject.reason())),
        };
        let head = &whole[..head_len];
        let Ok(mut request) = translate::request(parsed, head, is_tls) else {
            return Err(self.cannot_carry("a head that HTTP/2 cannot carry"));
        };
        let key = websocket::key(parsed, head);
        self.proof = key.map(websocket::prove);
        let (method, mut framing) = (parsed.method, parsed.framing);
        if key.is_some() {
            framing = Framing::UntilClose;
            *request.method_mut() = http::Method::CONNECT;
            request.headers_mut().remove(SEC_WEBSOCKET_KEY);
            request.extensions_mut().insert(Protocol::from_static(websocket::NAME));
        }
        let ends = matches!(framing, Framing::None | Framing::Length(0));
        match sender.send_request(request, ends) {
            Ok((response, stream)) => {
                self.method = method;
                self.request = Request::Body(Outgoing::new(stream, framing));
                self.answer = Answer::Awaited { response, informational: Vec::new() };
                Ok(head_len - n_before)
            }
            Err(error) => {
                self.is_unprocessed = true;
                self.request = Request::Failed;
                Err(self.fail(error))
            }
        }
    }

    fn cannot_carry(&mut self, why: &'static str) -> io::Error {
        self.request = Request::Failed;
        self.answer = Answer::Failed(io::ErrorKind::InvalidInput);
        io::Error::new(io::ErrorKind::InvalidInput, why)
    }
}

fn begin(
    response: Response<RecvStream>,
    is_head: bool,
    proof: Option<&Proof>,
    mut head: Vec<u8>,
) -> Incoming {
    let (parts, body) = response.into_parts();
    if let Some(proof) = proof
        && parts.status.is_success()
    {
        translate::write_switch(&parts, websocket::NAME, proof, &mut head);
        return Incoming::new(body, head, BodyForm::Plain);
    }
    let form = translate::write_response(&parts, body.is_end_stream(), is_head, &mut head);
    Incoming::new(body, head, form)
}
