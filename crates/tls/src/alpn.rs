//! The application protocols that are offered by ALPN (RFC 7301), most wanted first.
//!
//! Invariant: both directions offer from here, so a protocol that is added is added in one place.

const HTTP11: &[u8] = b"http/1.1";

/// What HTTP/2 over TLS is called.
pub const HTTP2: &[u8] = b"h2";

/// What callers are offered, in the form that the library takes.
pub(crate) fn to_callers() -> Vec<Vec<u8>> {
    vec![HTTP2.to_vec(), HTTP11.to_vec()]
}

/// What an endpoint is offered: the one protocol that its service names.
pub(crate) fn to_endpoints(http2: bool) -> Vec<Vec<u8>> {
    vec![if http2 { HTTP2 } else { HTTP11 }.to_vec()]
}
