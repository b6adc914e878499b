//! gRPC calls on the data path: which requests are calls, how long they may take, and how they ended.
//!
//! A call is a request like any other to the exchange; what differs is how refusals are written, where its deadline comes
//! from and which answers speak against the endpoint ([decision 12](../../../docs/decisions/0012-grpc-outcomes.md)).
//!
//! Invariants: a request that did not come over HTTP/2 is never a call, and asking costs it one comparison; no message is
//! looked into.
//! Limit: a call to a listener of HTTP/1.1 is forwarded as the plain request that it is there.

use std::time::Duration;

use isobar_core::{FailureClass, Outcome};
use isobar_grpc::{Status, is_call, parse_timeout};
use isobar_http1::{HeaderId, RequestHead, ResponseHead};

use crate::refusal::{ErrorCode, Refusal};
use crate::stream::Stream;

/// What is known of a call.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct GrpcCall {
    /// What the endpoint's answer said.
    said: Option<Status>,
}

impl GrpcCall {
    /// The call that a request is, if it is one.
    pub(crate) fn of(stream: &Stream, request: &RequestHead, head: &[u8]) -> Option<Self> {
        let is_one = stream.is_http2() && request.find(HeaderId::ContentType, head).is_some_and(is_call);
        is_one.then(Self::default)
    }

    /// The same for a head that was not understood, as far as it came. Over HTTP/2 its lines are our own translation, in
    /// which no value ends a line.
    pub(crate) fn of_unparsed(stream: &Stream, head: &[u8]) -> Option<Self> {
        const NAME: &[u8] = b"\r\ncontent-type: ";
        if !stream.is_http2() {
            return None;
        }
        let value = &head[memchr::memmem::find(head, NAME)? + NAME.len()..];
        let end = memchr::memchr(b'\r', value)?;
        is_call(&value[..end]).then(Self::default)
    }

    /// Takes what the head of an answer says: a status where the answer is a head alone.
    pub(crate) fn note_head(&mut self, response: &ResponseHead, head: &[u8]) {
        self.said = response.find(HeaderId::GrpcStatus, head).map(Status::parse);
    }

    /// Takes what the trailers of an answer say.
    pub(crate) fn note_trailers(&mut self, lines: &[u8]) {
        self.said = Status::of_trailers(lines).or(self.said);
    }

    /// The outcome of an attempt whose answer came whole and had status 200: without a status it was no answer.
    pub(crate) fn outcome(self) -> Outcome {
        match self.said {
            None => Outcome::Failure(FailureClass::BadResponse),
            Some(status) if status.blames_endpoint() => Outcome::Failure(FailureClass::Status),
            Some(_) => Outcome::Success,
        }
    }

    /// The status that the call ended with; `None` where none was said.
    pub(crate) fn status(self, error: Option<ErrorCode>) -> Option<Status> {
        error.map_or(self.said, |code| Some(code.status().grpc))
    }
}

/// How long the caller of a call waits, if it says so.
pub(crate) fn timeout(request: &RequestHead, head: &[u8]) -> Result<Option<Duration>, Refusal> {
    let mut values = request.fields_named(HeaderId::GrpcTimeout, head);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => parse_timeout(value).map(Some).ok_or(Refusal::BadGrpcTimeout),
        // Which of them the endpoint would obey is not known.
        (Some(_), Some(_)) => Err(Refusal::BadGrpcTimeout),
    }
}
