//! The application protocols that are offered by ALPN (RFC 7301), most wanted first.
//!
//! Invariant: both directions offer from here, so a protocol that is added is added in one place.

const HTTP11: &[u8] = b"http/1.1";

/// What is offered, in the form that the library takes.
pub(crate) fn offered() -> Vec<Vec<u8>> {
    vec![HTTP11.to_vec()]
}
