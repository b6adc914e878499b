//! Everything that the proxy answers itself when it cannot or will not forward, and the one place that gives it a
//! status.
//!
//! Invariant (architecture, section 4): a status is chosen in [`ErrorCode::status`] and nowhere else; every refusal has
//! a code that docs/operations/errors.md lists.

use std::io::Write as _;

use isobar_grpc::{Status, write_percent_encoded};
use isobar_http1::{Reject, RejectKind, reason_phrase};

/// Why a request was not answered by an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The message breaks a rule of HTTP.
    Rejected(Reject),
    /// The body is longer than the listener's `limits.body`.
    BodyTooLarge,
    /// The connection ended inside the request's head.
    HeadTruncated,
    /// The connection ended inside the request's body.
    BodyTruncated,
    /// Head or body did not arrive in time.
    RequestTimeout,
    /// Plain HTTP came where TLS is spoken.
    PlainHttp,
    /// The `grpc-timeout` of a call is malformed.
    BadGrpcTimeout,
    NoRoute,
    NoEndpoints,
    /// A bound was reached: an endpoint's connections, or this process's descriptors.
    Overloaded,
    ConnectFailed,
    UpstreamReset,
    /// The endpoint's response breaks a rule of HTTP.
    BadResponse(Reject),
    /// The endpoint switched to a protocol that nobody asked for, or without the proof that it speaks it.
    UnwantedUpgrade,
    /// The endpoint answered a request for a tunnel with another success.
    UpgradeDeclined,
    /// The route does not take a tunnel, or not one of this protocol.
    UpgradeNotAllowed,
    /// The endpoint speaks HTTP/2 and takes no tunnels.
    NoExtendedConnect,
    UpstreamTimeout,
}

/// What `x-isobar-error`, the metrics and the access log call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ErrorCode {
    BadRequest,
    HeadersTooLarge,
    UriTooLong,
    BodyTooLarge,
    NotImplemented,
    VersionNotSupported,
    RequestTimeout,
    NoRoute,
    NoEndpoints,
    Overloaded,
    ConnectFailed,
    UpstreamReset,
    BadResponse,
    UpstreamTimeout,
    /// The caller went away before a response began; never sent, only counted and logged.
    Cancelled,
}

impl ErrorCode {
    /// Every code, in the order of their numbers.
    pub(crate) const ALL: [Self; 15] = [
        Self::BadRequest,
        Self::HeadersTooLarge,
        Self::UriTooLong,
        Self::BodyTooLarge,
        Self::NotImplemented,
        Self::VersionNotSupported,
        Self::RequestTimeout,
        Self::NoRoute,
        Self::NoEndpoints,
        Self::Overloaded,
        Self::ConnectFailed,
        Self::UpstreamReset,
        Self::BadResponse,
        Self::UpstreamTimeout,
        Self::Cancelled,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::HeadersTooLarge => "headers-too-large",
            Self::UriTooLong => "uri-too-long",
            Self::BodyTooLarge => "body-too-large",
            Self::NotImplemented => "not-implemented",
            Self::VersionNotSupported => "version-not-supported",
            Self::RequestTimeout => "request-timeout",
            Self::NoRoute => "no-route",
            Self::NoEndpoints => "no-endpoints",
            Self::Overloaded => "overloaded",
            Self::ConnectFailed => "connect-failed",
            Self::UpstreamReset => "upstream-reset",
            Self::BadResponse => "bad-response",
            Self::UpstreamTimeout => "upstream-timeout",
            Self::Cancelled => "cancelled",
        }
    }

    /// The statuses of a response with this code: the only place that decides them.
    ///
    /// `Cancelled` is 499 in logs and metrics, as in nginx; it is never sent.
    pub(crate) fn status(self) -> Statuses {
        let (http, grpc) = match self {
            Self::BadRequest => (400, Status::Internal),
            Self::NoRoute => (404, Status::Unimplemented),
            Self::RequestTimeout => (408, Status::DeadlineExceeded),
            Self::BodyTooLarge => (413, Status::ResourceExhausted),
            Self::UriTooLong => (414, Status::ResourceExhausted),
            Self::HeadersTooLarge => (431, Status::ResourceExhausted),
            Self::Cancelled => (499, Status::Cancelled),
            Self::NotImplemented => (501, Status::Unimplemented),
            Self::ConnectFailed | Self::UpstreamReset => (502, Status::Unavailable),
            Self::BadResponse => (502, Status::Internal),
            Self::NoEndpoints => (503, Status::Unavailable),
            Self::Overloaded => (503, Status::ResourceExhausted),
            Self::UpstreamTimeout => (504, Status::DeadlineExceeded),
            Self::VersionNotSupported => (505, Status::Internal),
        };
        Statuses { http, grpc }
    }
}

/// What callers are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Statuses {
    pub(crate) http: u16,
    /// Those that made a gRPC call.
    pub(crate) grpc: Status,
}

impl Refusal {
    pub(crate) fn code(self) -> ErrorCode {
        match self {
            Self::Rejected(reject) => match reject.kind() {
                RejectKind::BadRequest => ErrorCode::BadRequest,
                RejectKind::HeadTooLarge => ErrorCode::HeadersTooLarge,
                RejectKind::TargetTooLong => ErrorCode::UriTooLong,
                RejectKind::NotImplemented => ErrorCode::NotImplemented,
                RejectKind::VersionNotSupported => ErrorCode::VersionNotSupported,
            },
            Self::HeadTruncated | Self::BodyTruncated | Self::PlainHttp | Self::BadGrpcTimeout => {
                ErrorCode::BadRequest
            }
            Self::BodyTooLarge => ErrorCode::BodyTooLarge,
            Self::RequestTimeout => ErrorCode::RequestTimeout,
            Self::NoRoute => ErrorCode::NoRoute,
            Self::NoEndpoints => ErrorCode::NoEndpoints,
            Self::Overloaded => ErrorCode::Overloaded,
            Self::ConnectFailed => ErrorCode::ConnectFailed,
            Self::UpstreamReset => ErrorCode::UpstreamReset,
            Self::BadResponse(_) | Self::UnwantedUpgrade | Self::UpgradeDeclined => ErrorCode::BadResponse,
            Self::UpgradeNotAllowed | Self::NoExtendedConnect => ErrorCode::NotImplemented,
            Self::UpstreamTimeout => ErrorCode::UpstreamTimeout,
        }
    }

    /// The rule of HTTP that was broken, for the access log; docs/operations/errors.md lists them.
    pub(crate) fn rule(self) -> Option<&'static str> {
        match self {
            Self::Rejected(reject) | Self::BadResponse(reject) => Some(reject.name()),
            _ => None,
        }
    }

    /// One sentence for the caller; tells nothing about the inside.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::Rejected(reject) => reject.reason(),
            Self::BodyTooLarge => "the body is longer than this listener allows",
            Self::HeadTruncated => "the connection ended inside the head",
            Self::BodyTruncated => "the connection ended inside the body",
            Self::RequestTimeout => "the request did not arrive in time",
            Self::PlainHttp => "this port speaks TLS: use https",
            Self::BadGrpcTimeout => "grpc-timeout is not one to eight digits and a unit, once",
            Self::NoRoute => "no route matches this request",
            Self::NoEndpoints => "the service has no endpoint to answer",
            Self::Overloaded => "a limit was reached; try again shortly",
            Self::ConnectFailed => "no connection to the service could be made",
            Self::UpstreamReset => "the service closed the connection before it answered",
            Self::BadResponse(_) | Self::UnwantedUpgrade => "the service's answer was not valid HTTP",
            Self::UpgradeDeclined => "the service did not take the upgrade",
            Self::UpgradeNotAllowed => "an upgrade to this protocol is not allowed here",
            Self::NoExtendedConnect => "the service cannot be upgraded to this protocol over HTTP/2",
            Self::UpstreamTimeout => "the service did not answer in time",
        }
    }

    /// Appends the whole response to `out`.
    pub(crate) fn write(self, form: Form, out: &mut Vec<u8>) {
        let Form { json, head_only, keep_alive, grpc } = form;
        let code = self.code();
        if grpc {
            write_status_line(200, out);
            out.extend_from_slice(b"content-type: application/grpc\r\ncontent-length: 0\r\n");
            write_grpc_status(code, self.sentence(), out);
            out.extend_from_slice(b"x-isobar-error: ");
            out.extend_from_slice(code.name().as_bytes());
            out.extend_from_slice(b"\r\n\r\n");
            return;
        }
        let body = if json {
            format!("{{\"error\":{{\"code\":\"{}\",\"message\":\"{}\"}}}}\n", code.name(), self.sentence())
        } else {
            format!("{}: {}\n", code.name(), self.sentence())
        };
        let kind = if json { "application/json" } else { "text/plain; charset=utf-8" };
        write_status_line(code.status().http, out);
        let retry = if code == ErrorCode::Overloaded { "retry-after: 1\r\n" } else { "" };
        let close = if keep_alive { "" } else { "connection: close\r\n" };
        let written = write!(
            out,
            "date: {}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nx-isobar-error: {}\r\n{retry}{close}\r\n",
            httpdate::HttpDate::from(std::time::SystemTime::now()),
            body.len(),
            code.name(),
        );
        debug_assert!(written.is_ok(), "writing to memory cannot fail");
        if !head_only {
            out.extend_from_slice(body.as_bytes());
        }
    }
}

/// The form of a refusal.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent wishes of the caller")]
pub(crate) struct Form {
    /// JSON rather than text.
    pub(crate) json: bool,
    /// The request was HEAD.
    pub(crate) head_only: bool,
    /// The connection serves on; otherwise the response announces its close.
    pub(crate) keep_alive: bool,
    /// The request is a gRPC call: the response is a head alone, its status among the fields.
    pub(crate) grpc: bool,
}

/// Appends the lines that end a gRPC call.
pub(crate) fn write_grpc_status(code: ErrorCode, sentence: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"grpc-status: ");
    out.extend_from_slice(code.status().grpc.number().as_bytes());
    out.extend_from_slice(b"\r\ngrpc-message: ");
    write_percent_encoded(code.name(), out);
    out.extend_from_slice(b": ");
    write_percent_encoded(sentence, out);
    out.extend_from_slice(b"\r\n");
}

/// Appends `HTTP/1.1 STATUS Reason\r\n`.
pub(crate) fn write_status_line(status: u16, out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(digits.format(status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason_phrase(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_stand_at_their_number() {
        for (index, code) in ErrorCode::ALL.into_iter().enumerate() {
            assert_eq!(code as usize, index);
        }
    }

    #[test]
    fn the_length_of_a_refusal_is_the_length_of_its_body() {
        for json in [false, true] {
            let mut out = Vec::new();
            Refusal::NoRoute.write(Form { json, ..Form::default() }, &mut out);
            let text = String::from_utf8(out).unwrap_or_default();
            let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
            assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
            assert!(head.starts_with("HTTP/1.1 404 Not Found\r\n"));
            assert!(head.contains("x-isobar-error: no-route"));
        }
    }

    #[test]
    fn a_refusal_of_head_sends_no_body_but_its_length() {
        let mut out = Vec::new();
        Refusal::NoEndpoints.write(Form { head_only: true, keep_alive: true, ..Form::default() }, &mut out);
        assert!(out.ends_with(b"\r\n\r\n"));
        assert!(!String::from_utf8_lossy(&out).contains("content-length: 0"));
    }

    #[test]
    fn a_refusal_of_a_call_is_a_head_that_says_its_status() {
        let mut out = Vec::new();
        Refusal::NoRoute.write(Form { json: true, grpc: true, ..Form::default() }, &mut out);
        assert_eq!(
            String::from_utf8_lossy(&out),
            "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\ngrpc-status: 12\r\n\
             grpc-message: no-route: no route matches this request\r\nx-isobar-error: no-route\r\n\r\n"
        );
    }
}
