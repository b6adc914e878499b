//! What makes a message malformed (RFC 9113, section 8).

use isobar_http1::{is_lower_token, may_hold_control};
use memchr::memchr3;

/// A message that RFC 9113, section 8 calls malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// A field speaks of one connection.
    ConnectionField,
    /// A name is no token in lower case.
    Name,
    /// A value holds a byte that it must not, or begins or ends with white space.
    Value,
    /// A pseudo-field is missing, unknown, said twice or out of place.
    PseudoField,
    /// The path is none.
    Path,
    /// The authority has user information.
    UserInformation,
    /// Host and authority differ.
    TwoHosts,
    /// The length is no number, said twice, or there is no body for it.
    Length,
    /// The protocol of a tunnel has no name, or the tunnel has a length.
    Tunnel,
    /// The trailers are longer than they may be.
    Trailers,
    /// The status is none, or one that HTTP/2 does not have.
    Status,
}

impl Malformed {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConnectionField => "a field speaks of one connection",
            Self::Name => "a name is no token in lower case",
            Self::Value => "a value holds a byte that it must not, or begins or ends with white space",
            Self::PseudoField => "a pseudo-field is missing, unknown, said twice or out of place",
            Self::Path => "the path is none",
            Self::UserInformation => "the authority has user information",
            Self::TwoHosts => "host and authority differ",
            Self::Length => "the length is no number, said twice, or there is no body for it",
            Self::Tunnel => "the protocol of a tunnel has no name, or the tunnel has a length",
            Self::Trailers => "the trailers are longer than they may be",
            Self::Status => "the status is none, or one that HTTP/2 does not have",
        }
    }
}

/// Section 8.2.1.
pub(crate) fn check_name(name: &[u8]) -> Result<(), Malformed> {
    if is_lower_token(name) { Ok(()) } else { Err(Malformed::Name) }
}

/// What a line of text could hide.
pub(crate) fn check_value(value: &[u8]) -> Result<(), Malformed> {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let ends_line = may_hold_control(value) && memchr3(b'\r', b'\n', 0, value).is_some();
    if ends_line || is_blank(value.first()) || is_blank(value.last()) {
        return Err(Malformed::Value);
    }
    Ok(())
}
