//! Request methods and protocol versions, as far as proxying depends on them.
//!
//! Methods are case-sensitive (RFC 9110 section 9.1): `Get` is [`Method::Other`].

/// A request method. Its spelling is kept in the head, so that unknown ones are forwarded as they came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
    /// `TRACE`
    Trace,
    /// `PATCH`
    Patch,
    /// `CONNECT`
    Connect,
    /// Any other token.
    #[default]
    Other,
}

impl Method {
    /// The method of this exact spelling.
    pub fn of(name: &[u8]) -> Self {
        match name {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"PATCH" => Self::Patch,
            b"CONNECT" => Self::Connect,
            _ => Self::Other,
        }
    }

    /// Whether doing it twice is the same as doing it once (RFC 9110 section 9.2.2).
    pub fn is_idempotent(self) -> bool {
        self.is_safe() || matches!(self, Self::Put | Self::Delete)
    }

    /// Whether it only reads (RFC 9110 section 9.2.1).
    pub fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options | Self::Trace)
    }
}

/// The protocol version of a message; every minor version above 1 counts as 1.1 (RFC 9110 section 2.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    #[default]
    Http11,
}

impl Version {
    /// From the digit behind `HTTP/1.`.
    pub(crate) fn of_minor(digit: u8) -> Self {
        if digit == b'0' { Self::Http10 } else { Self::Http11 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idempotent_methods_are_those_of_the_rfc() {
        let names = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT", "get"];
        let idempotent: Vec<&str> =
            names.into_iter().filter(|name| Method::of(name.as_bytes()).is_idempotent()).collect();
        assert_eq!(idempotent, ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"]);
        let safe: Vec<&str> =
            names.into_iter().filter(|name| Method::of(name.as_bytes()).is_safe()).collect();
        assert_eq!(safe, ["GET", "HEAD", "OPTIONS", "TRACE"]);
    }
}
