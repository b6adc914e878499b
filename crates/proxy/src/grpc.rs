//! gRPC calls on the data path: which requests are calls, how long they may take, and how they ended.
//!
//! A call is a request like any other to the exchange; what differs is how refusals are written, where its deadline comes
//! from and which answers speak against the endpoint (decision 12).
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use isobar_http1::{HeadLimits, HeadProgress, Method};

    use super::*;

    const LIMITS: HeadLimits = HeadLimits { head_bytes: 4096, target_bytes: 1024, n_headers: 50 };

    fn answered(fields: &str, trailers: &str) -> GrpcCall {
        let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        let mut head = ResponseHead::new();
        head.parse(text.as_bytes(), &mut HeadProgress::default(), &LIMITS, Method::Other).unwrap().unwrap();
        let mut call = GrpcCall::default();
        call.note_head(&head, text.as_bytes());
        call.note_trailers(trailers.as_bytes());
        call
    }

    #[test]
    fn the_outcome_of_an_attempt_is_what_its_status_says() {
        let failed = Outcome::Failure(FailureClass::Status);
        for (status, outcome) in Status::all()
            .map(|status| (status, if status.blames_endpoint() { failed } else { Outcome::Success }))
        {
            let line = format!("grpc-status: {}\r\n", status.number());
            for call in [answered("", &line), answered(&line, "")] {
                assert_eq!(call.outcome(), outcome, "{status:?}");
                assert_eq!(call.status(None), Some(status));
            }
        }
        let blamed = Status::all().filter(|status| status.blames_endpoint()).map(Status::name);
        assert_eq!(
            blamed.collect::<Vec<_>>(),
            ["unknown", "deadline-exceeded", "internal", "unavailable", "data-loss"]
        );
    }

    #[test]
    fn an_answer_without_a_status_is_a_failure_and_one_that_is_none_is_unknown() {
        assert_eq!(answered("", "x-a: b\r\n").outcome(), Outcome::Failure(FailureClass::BadResponse));
        assert_eq!(answered("", "").status(None), None);
        assert_eq!(answered("", "grpc-status: fine\r\n").status(None), Some(Status::Unknown));
    }

    #[test]
    fn what_trailers_say_counts_for_more_than_the_head_and_our_own_error_for_most() {
        let call = answered("grpc-status: 0\r\n", "grpc-status: 5\r\n");
        assert_eq!(call.status(None), Some(Status::NotFound));
        assert_eq!(call.status(Some(ErrorCode::Cancelled)), Some(Status::Cancelled));
    }

    #[test]
    fn a_deadline_is_taken_once_or_refused() {
        let asked = |fields: &str| {
            let text = format!("POST / HTTP/1.1\r\nhost: h\r\n{fields}\r\n");
            let mut head = RequestHead::new();
            head.parse(text.as_bytes(), &mut HeadProgress::default(), &LIMITS).unwrap().unwrap();
            timeout(&head, text.as_bytes())
        };
        assert_eq!(asked(""), Ok(None));
        assert_eq!(asked("grpc-timeout: 5S\r\n"), Ok(Some(Duration::from_secs(5))));
        for malformed in
            ["grpc-timeout: 5\r\n", "grpc-timeout:\r\n", "grpc-timeout: 5S\r\ngrpc-timeout: 5S\r\n"]
        {
            assert_eq!(asked(malformed), Err(Refusal::BadGrpcTimeout), "{malformed}");
        }
    }
}
