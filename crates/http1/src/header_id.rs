//! Known field names as small numbers, so that nothing after parsing compares text.
//!
//! A name is here when the codec or the proxy treats it specially. Look-up is a switch on the length, then one or two
//! comparisons of a length known when compiling.

use crate::class::is;

/// A field name that Isobar knows, or [`HeaderId::Other`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum HeaderId {
    /// Any name without a meaning here; forwarded as it came.
    #[default]
    Other,
    /// `Host`
    Host,
    /// `Connection`
    Connection,
    /// `Content-Length`
    ContentLength,
    /// `Transfer-Encoding`
    TransferEncoding,
    /// `Keep-Alive`
    KeepAlive,
    /// `Proxy-Connection`
    ProxyConnection,
    /// `TE`
    Te,
    /// `Upgrade`
    Upgrade,
    /// `Expect`
    Expect,
    /// Any `x-isobar-*`: ours alone, dropped when it comes in.
    IsobarInternal,
    /// `Trailer`
    Trailer,
    /// `Proxy-Authenticate`
    ProxyAuthenticate,
    /// `Proxy-Authorization`
    ProxyAuthorization,
    /// `Authorization`
    Authorization,
    /// `Via`
    Via,
    /// `Forwarded`
    Forwarded,
    /// `X-Forwarded-For`
    XForwardedFor,
    /// `X-Forwarded-Proto`
    XForwardedProto,
    /// `X-Forwarded-Host`
    XForwardedHost,
    /// `X-Forwarded-Port`
    XForwardedPort,
    /// `X-Real-IP`
    XRealIp,
    /// `X-Request-ID`
    XRequestId,
    /// `Traceparent`
    Traceparent,
    /// `Accept`
    Accept,
    /// `User-Agent`
    UserAgent,
    /// `Cookie`
    Cookie,
    /// `Set-Cookie`
    SetCookie,
    /// `Date`
    Date,
    /// `Server`
    Server,
    /// `Location`
    Location,
    /// `Retry-After`
    RetryAfter,
    /// `Cache-Control`
    CacheControl,
    /// `Content-Type`
    ContentType,
    /// `Content-Encoding`
    ContentEncoding,
    /// `grpc-status`
    GrpcStatus,
    /// `grpc-timeout`
    GrpcTimeout,
    /// `Sec-WebSocket-Key`
    SecWebSocketKey,
    /// `Sec-WebSocket-Version`
    SecWebSocketVersion,
    /// `Sec-WebSocket-Accept`
    SecWebSocketAccept,
    /// `Sec-WebSocket-Protocol`
    SecWebSocketProtocol,
    /// `Sec-WebSocket-Extensions`
    SecWebSocketExtensions,
}

impl HeaderId {
    /// The id of a field name, whatever its case.
    #[inline]
    pub fn of(name: &[u8]) -> Self {
        match name.len() {
            2 if is(name, b"te") => Self::Te,
            3 if is(name, b"via") => Self::Via,
            4 if is(name, b"host") => Self::Host,
            4 if is(name, b"date") => Self::Date,
            6 => Self::of_six(name),
            7 if is(name, b"upgrade") => Self::Upgrade,
            7 if is(name, b"trailer") => Self::Trailer,
            8 if is(name, b"location") => Self::Location,
            9 if is(name, b"forwarded") => Self::Forwarded,
            9 if is(name, b"x-real-ip") => Self::XRealIp,
            10 => Self::of_ten(name),
            11 if is(name, b"traceparent") => Self::Traceparent,
            11 if is(name, b"retry-after") => Self::RetryAfter,
            11 if is(name, b"grpc-status") => Self::GrpcStatus,
            12 if is(name, b"content-type") => Self::ContentType,
            12 if is(name, b"x-request-id") => Self::XRequestId,
            12 if is(name, b"grpc-timeout") => Self::GrpcTimeout,
            13 if is(name, b"authorization") => Self::Authorization,
            13 if is(name, b"cache-control") => Self::CacheControl,
            14 if is(name, b"content-length") => Self::ContentLength,
            15 if is(name, b"x-forwarded-for") => Self::XForwardedFor,
            16 => Self::of_sixteen(name),
            17 => Self::of_seventeen(name),
            18 if is(name, b"proxy-authenticate") => Self::ProxyAuthenticate,
            19 if is(name, b"proxy-authorization") => Self::ProxyAuthorization,
            20 if is(name, b"sec-websocket-accept") => Self::SecWebSocketAccept,
            21 if is(name, b"sec-websocket-version") => Self::SecWebSocketVersion,
            22 if is(name, b"sec-websocket-protocol") => Self::SecWebSocketProtocol,
            24 if is(name, b"sec-websocket-extensions") => Self::SecWebSocketExtensions,
            _ => Self::of_rest(name),
        }
    }

    #[inline]
    fn of_six(name: &[u8]) -> Self {
        match name[0] | 0x20 {
            b'a' if is(name, b"accept") => Self::Accept,
            b'c' if is(name, b"cookie") => Self::Cookie,
            b's' if is(name, b"server") => Self::Server,
            b'e' if is(name, b"expect") => Self::Expect,
            _ => Self::Other,
        }
    }

    #[inline]
    fn of_ten(name: &[u8]) -> Self {
        match name[0] | 0x20 {
            b'u' if is(name, b"user-agent") => Self::UserAgent,
            b'c' if is(name, b"connection") => Self::Connection,
            b's' if is(name, b"set-cookie") => Self::SetCookie,
            b'k' if is(name, b"keep-alive") => Self::KeepAlive,
            _ => Self::of_rest(name),
        }
    }

    #[inline]
    fn of_sixteen(name: &[u8]) -> Self {
        match name[0] | 0x20 {
            b'x' if is(name, b"x-forwarded-host") => Self::XForwardedHost,
            b'x' if is(name, b"x-forwarded-port") => Self::XForwardedPort,
            b'p' if is(name, b"proxy-connection") => Self::ProxyConnection,
            b'c' if is(name, b"content-encoding") => Self::ContentEncoding,
            _ => Self::of_rest(name),
        }
    }

    #[inline]
    fn of_seventeen(name: &[u8]) -> Self {
        match name[0] | 0x20 {
            b't' if is(name, b"transfer-encoding") => Self::TransferEncoding,
            b'x' if is(name, b"x-forwarded-proto") => Self::XForwardedProto,
            b's' if is(name, b"sec-websocket-key") => Self::SecWebSocketKey,
            _ => Self::of_rest(name),
        }
    }

    /// `x-isobar-*`, also with underscores: gateways that make variables of field names cannot tell them apart.
    #[inline]
    fn of_rest(name: &[u8]) -> Self {
        const PREFIX: &[u8; 9] = b"x-isobar-";
        let Some((prefix, _)) = name.split_first_chunk::<9>() else { return Self::Other };
        if prefix[0] | 0x20 != b'x' {
            return Self::Other;
        }
        if is(&prefix.map(|b| if b == b'_' { b'-' } else { b }), PREFIX) {
            Self::IsobarInternal
        } else {
            Self::Other
        }
    }

    /// Whether a field of this name is for one connection only, or ours, and so is never forwarded.
    ///
    /// The connection's own fields are those of RFC 9110 section 7.6.1. `Trailer` goes on to the end, as do
    /// `Proxy-Authorization` and `Proxy-Authenticate`: a reverse proxy is not the party they are meant for.
    #[inline]
    pub fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::TransferEncoding
                | Self::KeepAlive
                | Self::ProxyConnection
                | Self::Te
                | Self::Upgrade
                | Self::IsobarInternal
        )
    }

    /// Whether the field decides where a message ends or where it goes.
    #[inline]
    pub(crate) fn is_framing(self) -> bool {
        matches!(self, Self::Host | Self::ContentLength | Self::TransferEncoding)
    }

    /// This id's place in a set of ids.
    #[inline]
    pub(crate) fn bit(self) -> u64 {
        1 << self as u8
    }
}

/// Whether `name`, which is no known name, is `Content-Length` or `Transfer-Encoding` but for its hyphens. Readers that make
/// variables of field names (RFC 3875 section 4.1.18) take `_` for `-`, and some are more generous.
#[inline]
pub(crate) fn is_framing_lookalike(name: &[u8]) -> bool {
    let joined: &[u8] = match name.first() {
        Some(b'c' | b'C') => b"contentlength",
        Some(b't' | b'T') => b"transferencoding",
        _ => return false,
    };
    let letters = name.iter().filter(|&&b| b != b'-' && b != b'_');
    name.len() >= joined.len() && letters.map(u8::to_ascii_lowercase).eq(joined.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use HeaderId as Id;

    const NAMES: &[(&str, Id)] = &[
        ("Host", Id::Host),
        ("Connection", Id::Connection),
        ("Content-Length", Id::ContentLength),
        ("Transfer-Encoding", Id::TransferEncoding),
        ("Keep-Alive", Id::KeepAlive),
        ("Proxy-Connection", Id::ProxyConnection),
        ("TE", Id::Te),
        ("Upgrade", Id::Upgrade),
        ("Expect", Id::Expect),
        ("X-Isobar-Endpoint", Id::IsobarInternal),
        ("Trailer", Id::Trailer),
        ("Proxy-Authenticate", Id::ProxyAuthenticate),
        ("Proxy-Authorization", Id::ProxyAuthorization),
        ("Authorization", Id::Authorization),
        ("Via", Id::Via),
        ("Forwarded", Id::Forwarded),
        ("X-Forwarded-For", Id::XForwardedFor),
        ("X-Forwarded-Proto", Id::XForwardedProto),
        ("X-Forwarded-Host", Id::XForwardedHost),
        ("X-Forwarded-Port", Id::XForwardedPort),
        ("X-Real-IP", Id::XRealIp),
        ("X-Request-ID", Id::XRequestId),
        ("Traceparent", Id::Traceparent),
        ("Accept", Id::Accept),
        ("User-Agent", Id::UserAgent),
        ("Cookie", Id::Cookie),
        ("Set-Cookie", Id::SetCookie),
        ("Date", Id::Date),
        ("Server", Id::Server),
        ("Location", Id::Location),
        ("Retry-After", Id::RetryAfter),
        ("Cache-Control", Id::CacheControl),
        ("Content-Type", Id::ContentType),
        ("Content-Encoding", Id::ContentEncoding),
        ("Grpc-Status", Id::GrpcStatus),
        ("Grpc-Timeout", Id::GrpcTimeout),
        ("Sec-WebSocket-Key", Id::SecWebSocketKey),
        ("Sec-WebSocket-Version", Id::SecWebSocketVersion),
        ("Sec-WebSocket-Accept", Id::SecWebSocketAccept),
        ("Sec-WebSocket-Protocol", Id::SecWebSocketProtocol),
        ("Sec-WebSocket-Extensions", Id::SecWebSocketExtensions),
    ];

    #[test]
    fn every_known_name_has_its_id_in_any_case_and_no_other_byte_string_has_it() {
        for &(name, id) in NAMES {
            for spelled in [name.to_owned(), name.to_lowercase(), name.to_uppercase()] {
                assert_eq!(Id::of(spelled.as_bytes()), id, "{spelled}");
            }
            // The end of an internal name is free.
            let fixed = if id == Id::IsobarInternal { "x-isobar-".len() } else { name.len() };
            for i in 0..fixed {
                for b in 0..=255_u8 {
                    let mut changed = name.as_bytes().to_vec();
                    changed[i] = b;
                    let same = changed.eq_ignore_ascii_case(name.as_bytes())
                        || id == Id::IsobarInternal && b == b'_' && name.as_bytes()[i] == b'-';
                    assert_eq!(Id::of(&changed) == id, same, "{name} with {b} at {i}");
                }
            }
        }
    }

    #[test]
    fn internal_names_are_known_by_their_prefix() {
        for name in ["x-isobar-", "X-Isobar-A", "x_isobar_endpoint", "x-isobar_attempts-and-more"] {
            assert_eq!(Id::of(name.as_bytes()), Id::IsobarInternal, "{name}");
        }
        for name in ["x-isobar", "", "isobar-x", "ax-isobar-y", "y-isobar-z"] {
            assert_eq!(Id::of(name.as_bytes()), Id::Other, "{name}");
        }
    }

    #[test]
    fn a_name_of_framing_but_for_its_hyphens_is_a_lookalike() {
        let alike = [
            "content_length",
            "Content_Length",
            "TRANSFER_ENCODING",
            "Transfer--Encoding",
            "transferencoding",
            "ContentLength-",
        ];
        for name in alike {
            assert!(is_framing_lookalike(name.as_bytes()), "{name}");
        }
        for name in
            ["", "content_lengths", "content_lenght", "x_transfer_encoding", "transfer-encodin", "Content"]
        {
            assert!(!is_framing_lookalike(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn every_id_has_its_own_bit() {
        let all = NAMES.iter().fold(Id::Other.bit(), |set, (_, id)| {
            assert_eq!(set & id.bit(), 0, "{id:?}");
            set | id.bit()
        });
        assert_eq!(all.count_ones() as usize, NAMES.len() + 1);
    }
}
