//! Everything that the proxy answers itself when it cannot or will not forward, and the one place that gives it a
//! status.
//!
//! Invariant (architecture, section 4): a status is chosen in [`ErrorCode::status`] and nowhere else; every refusal has
//! a code that docs/operations/errors.md lists.

use std::io::Write as _;

use isobar_http1::{Reject, RejectKind};

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

    /// The status of a response with this code: the only place that decides one.
    ///
    /// `Cancelled` is 499 in logs and metrics, as in nginx; it is never sent.
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::NoRoute => 404,
            Self::RequestTimeout => 408,
            Self::BodyTooLarge => 413,
            Self::UriTooLong => 414,
            Self::HeadersTooLarge => 431,
            Self::Cancelled => 499,
            Self::NotImplemented => 501,
            Self::ConnectFailed | Self::UpstreamReset | Self::BadResponse => 502,
            Self::NoEndpoints | Self::Overloaded => 503,
            Self::UpstreamTimeout => 504,
            Self::VersionNotSupported => 505,
        }
    }
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
            Self::HeadTruncated | Self::BodyTruncated | Self::PlainHttp => ErrorCode::BadRequest,
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
        let Form { json, head_only, keep_alive } = form;
        let code = self.code();
        let body = if json {
            format!("{{\"error\":{{\"code\":\"{}\",\"message\":\"{}\"}}}}\n", code.name(), self.sentence())
        } else {
            format!("{}: {}\n", code.name(), self.sentence())
        };
        let kind = if json { "application/json" } else { "text/plain; charset=utf-8" };
        write_status_line(code.status(), out);
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
#[derive(Debug, Clone, Copy)]
pub(crate) struct Form {
    /// JSON rather than text.
    pub(crate) json: bool,
    /// The request was HEAD.
    pub(crate) head_only: bool,
    /// The connection serves on; otherwise the response announces its close.
    pub(crate) keep_alive: bool,
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

fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        408 => "Request Timeout",
        410 => "Gone",
        413 => "Content Too Large",
        414 => "URI Too Long",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        // RFC 9112, section 4: the phrase may be empty; only the number counts.
        _ => "",
    }
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
            Refusal::NoRoute.write(Form { json, head_only: false, keep_alive: false }, &mut out);
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
        Refusal::NoEndpoints.write(Form { json: false, head_only: true, keep_alive: true }, &mut out);
        assert!(out.ends_with(b"\r\n\r\n"));
        assert!(!String::from_utf8_lossy(&out).contains("content-length: 0"));
    }
}
