//! Heads and trailers between the fields of HTTP/2 and the text of HTTP/1.1.
//!
//! Invariants: the text goes through the strict parser of HTTP/1 afterwards, so here is refused only what the text could
//! hide or turn into something else (RFC 9113, section 8): a byte that ends a line, white space that a parser would
//! strip, fields that speak of one connection, two names for one host, a target that is no path. Every field that is
//! written came in; what is added is the framing that the body will have.
//! Limit: the library has cut a fragment (`#...`) off the path before it is seen here, where HTTP/1 refuses one.

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri, request, response};
use isobar_http1::{Field, HeaderId, RequestHead, ResponseHead, is_token};

/// A request that RFC 9113, section 8 calls malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("a field speaks of one connection")]
    ConnectionField,
    #[error("a value holds a byte that it must not, or begins or ends with white space")]
    Value,
    #[error("the path is none")]
    Path,
    #[error("the authority has user information")]
    UserInformation,
    #[error("host and authority differ")]
    TwoHosts,
    #[error("the protocol of a tunnel has no name, or the tunnel has a length")]
    Tunnel,
}

/// What extended CONNECT (RFC 8441) asks for, and what an upgrade of HTTP/1.1 needs beside it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tunnel<'a> {
    pub(super) protocol: &'a str,
    pub(super) key: &'a [u8],
}

/// A head that the fields of HTTP/2 cannot carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("HTTP/2 cannot carry this head")]
pub(super) struct Untranslatable;

/// The form that a body takes in HTTP/1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyForm {
    /// There is none.
    None,
    /// As it is: the length says where it ends.
    Plain,
    Chunked,
}

impl BodyForm {
    /// For a message that has not ended with its head. Only chunks can be followed by trailers, so announced ones count
    /// for more than a length.
    fn choose(fields: &HeaderMap) -> Self {
        let has_length = fields.contains_key(CONTENT_LENGTH) && !fields.contains_key(TRAILER);
        if has_length { Self::Plain } else { Self::Chunked }
    }
}

/// Appends the head of a caller's request; `ended`: no body follows. A tunnel is asked for by an upgrade.
pub(super) fn write_request(
    parts: &request::Parts,
    tunnel: Option<Tunnel<'_>>,
    ended: bool,
    out: &mut Vec<u8>,
) -> Result<BodyForm, Malformed> {
    let form = match tunnel {
        // What comes behind the head is the tunnel's, whatever it is.
        Some(_) => BodyForm::Plain,
        None if ended => BodyForm::None,
        None => BodyForm::choose(&parts.headers),
    };
    let method = if tunnel.is_some() { &Method::GET } else { &parts.method };
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    let authority = parts.uri.authority().map(Authority::as_str);
    if authority.is_some_and(|authority| authority.contains('@')) {
        return Err(Malformed::UserInformation);
    }
    out.extend_from_slice(target(method, &parts.uri, authority)?.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if let Some(authority) = authority {
        line(b"host", authority.as_bytes(), out);
    }
    let (mut has_host, mut has_cookies) = (false, false);
    for (name, value) in &parts.headers {
        let value = value.as_bytes();
        check(name, value)?;
        match *name {
            HOST if std::mem::replace(&mut has_host, true) => return Err(Malformed::TwoHosts),
            HOST if authority.is_some_and(|authority| authority.as_bytes() == value) => {}
            HOST if authority.is_some() => return Err(Malformed::TwoHosts),
            CONTENT_LENGTH if tunnel.is_some() => return Err(Malformed::Tunnel),
            // The library refuses it too; behind it would come the next request, or nothing.
            CONTENT_LENGTH if form == BodyForm::None && value.iter().any(|&byte| byte != b'0') => {
                return Err(Malformed::Value);
            }
            // Without a meaning here (RFC 8441, section 5); ours stands below.
            SEC_WEBSOCKET_KEY if tunnel.is_some() => {}
            // The library counts DATA by it all the same.
            CONTENT_LENGTH if form == BodyForm::Chunked => {
                if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
                    return Err(Malformed::Value);
                }
            }
            COOKIE => has_cookies = true,
            _ => line(name.as_str().as_bytes(), value, out),
        }
    }
    if has_cookies {
        write_cookies(&parts.headers, out);
    }
    if let Some(tunnel) = tunnel {
        write_upgrade(tunnel, out)?;
    }
    match form {
        BodyForm::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        // RFC 9110, section 8.6: methods that mean something by a body tell that there is none.
        BodyForm::None
            if [Method::POST, Method::PUT, Method::PATCH].contains(method)
                && !parts.headers.contains_key(CONTENT_LENGTH) =>
        {
            out.extend_from_slice(b"content-length: 0\r\n");
        }
        BodyForm::None | BodyForm::Plain => {}
    }
    out.extend_from_slice(b"\r\n");
    Ok(form)
}

fn write_upgrade(tunnel: Tunnel<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
    if !is_token(tunnel.protocol.as_bytes()) {
        return Err(Malformed::Tunnel);
    }
    line(b"connection", b"upgrade", out);
    line(b"upgrade", tunnel.protocol.as_bytes(), out);
    line(b"sec-websocket-key", tunnel.key, out);
    Ok(())
}

fn target<'a>(method: &Method, uri: &'a Uri, authority: Option<&'a str>) -> Result<&'a str, Malformed> {
    if *method == Method::CONNECT {
        // The parser of HTTP/1 says what becomes of it.
        return authority.ok_or(Malformed::Path);
    }
    let path = uri.path_and_query().map_or("", PathAndQuery::as_str);
    let is_path = path.starts_with('/') || (path == "*" && *method == Method::OPTIONS);
    // A blank would end the target in the request line.
    let has_blank = path.bytes().any(|byte| byte <= b' ' || byte == 0x7F);
    if is_path && !has_blank { Ok(path) } else { Err(Malformed::Path) }
}

fn check(name: &HeaderName, value: &[u8]) -> Result<(), Malformed> {
    if is_of_connection(name) || (*name == TE && !value.eq_ignore_ascii_case(b"trailers")) {
        return Err(Malformed::ConnectionField);
    }
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let ends_line = memchr::memchr3(b'\r', b'\n', 0, value).is_some();
    if ends_line || is_blank(value.first()) || is_blank(value.last()) {
        return Err(Malformed::Value);
    }
    Ok(())
}

/// RFC 9113, section 8.2.2.
fn is_of_connection(name: &HeaderName) -> bool {
    *name == CONNECTION
        || *name == TRANSFER_ENCODING
        || *name == UPGRADE
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

/// RFC 9113, section 8.2.3: what was split for the sake of compression is one field again.
fn write_cookies(fields: &HeaderMap, out: &mut Vec<u8>) {
    for (place, cookie) in fields.get_all(COOKIE).iter().enumerate() {
        out.extend_from_slice(if place == 0 { b"cookie: " } else { b"; " });
        out.extend_from_slice(cookie.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the head of an endpoint's response; `ended`: no body follows.
pub(super) fn write_response(
    parts: &response::Parts,
    ended: bool,
    is_head: bool,
    out: &mut Vec<u8>,
) -> BodyForm {
    let status = parts.status;
    let bodiless = is_head || status.is_informational() || [204, 304].contains(&status.as_u16());
    let form = if ended || bodiless { BodyForm::None } else { BodyForm::choose(&parts.headers) };
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(digits.format(status.as_u16()).as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, value) in &parts.headers {
        if !(form == BodyForm::Chunked && *name == CONTENT_LENGTH) {
            line(name.as_str().as_bytes(), value.as_bytes(), out);
        }
    }
    match form {
        BodyForm::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        BodyForm::None if !bodiless && !parts.headers.contains_key(CONTENT_LENGTH) => {
            out.extend_from_slice(b"content-length: 0\r\n");
        }
        BodyForm::None | BodyForm::Plain => {}
    }
    out.extend_from_slice(b"\r\n");
    form
}

/// Appends the head by which an endpoint took a tunnel: in HTTP/1.1 it switches to it, with this proof of the key.
pub(super) fn write_switch(parts: &response::Parts, protocol: &str, proof: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
    for (name, value) in &parts.headers {
        if ![CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT].contains(name) {
            line(name.as_str().as_bytes(), value.as_bytes(), out);
        }
    }
    line(b"connection", b"upgrade", out);
    line(b"upgrade", protocol.as_bytes(), out);
    line(b"sec-websocket-accept", proof, out);
    out.extend_from_slice(b"\r\n");
}

fn line(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends a trailer section, its empty line included; true where it can be one.
pub(super) fn write_trailers(fields: &HeaderMap, out: &mut Vec<u8>) -> Result<(), Malformed> {
    for (name, value) in fields {
        check(name, value.as_bytes())?;
        line(name.as_str().as_bytes(), value.as_bytes(), out);
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// The fields of complete lines `name: value\r\n`.
pub(super) fn trailers(lines: &[u8]) -> Result<HeaderMap, Untranslatable> {
    let mut fields = HeaderMap::new();
    for line in lines.split_inclusive(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r\n").ok_or(Untranslatable)?;
        let colon = memchr::memchr(b':', line).ok_or(Untranslatable)?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).map_err(|_| Untranslatable)?;
        append(&line[..colon], value, &mut fields)?;
    }
    Ok(fields)
}

fn append(name: &[u8], value: HeaderValue, fields: &mut HeaderMap) -> Result<(), Untranslatable> {
    let name = HeaderName::from_bytes(name).map_err(|_| Untranslatable)?;
    fields.try_append(name, value).map_err(|_| Untranslatable)?;
    Ok(())
}

/// Appends fields whose values share one copy of the head.
fn append_parsed<'a>(
    parsed: impl Iterator<Item = &'a Field>,
    head: &[u8],
    fields: &mut HeaderMap,
) -> Result<(), Untranslatable> {
    let shared = Bytes::copy_from_slice(head);
    for field in parsed {
        let value = shared.slice(field.value.start as usize..field.value.end as usize);
        let mut value = HeaderValue::from_maybe_shared(value).map_err(|_| Untranslatable)?;
        // A value that comes once would only push others out of the peer's table, which costs both ends.
        value.set_sensitive(matches!(field.id, HeaderId::XRequestId | HeaderId::GrpcTimeout));
        append(field.name.of(head), value, fields)?;
    }
    Ok(())
}

/// The answer that a tunnel stands, from a head of HTTP/1.1 that switches to it.
pub(super) fn switched(parsed: &ResponseHead, head: &[u8]) -> Result<Response<()>, Untranslatable> {
    let mut response = response(parsed, head)?;
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().remove(SEC_WEBSOCKET_ACCEPT);
    Ok(response)
}

/// The response whose head was parsed from `head`.
pub(super) fn response(parsed: &ResponseHead, head: &[u8]) -> Result<Response<()>, Untranslatable> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(parsed.status).map_err(|_| Untranslatable)?;
    let fields = response.headers_mut();
    fields.try_reserve(parsed.fields.len()).map_err(|_| Untranslatable)?;
    // A gRPC answer that is a head alone ends with it; the length came with the text of HTTP/1.1.
    let is_call_ended = parsed.find(HeaderId::GrpcStatus, head).is_some();
    let goes_on = |id| may_go_on(id) && !(is_call_ended && id == HeaderId::ContentLength);
    append_parsed(parsed.fields.iter().filter(|field| goes_on(field.id)), head, fields)?;
    Ok(response)
}

/// Fields of the connection and of framing are said otherwise in HTTP/2; what else must not go on is gone already.
fn may_go_on(id: HeaderId) -> bool {
    !matches!(
        id,
        HeaderId::Connection
            | HeaderId::TransferEncoding
            | HeaderId::KeepAlive
            | HeaderId::ProxyConnection
            | HeaderId::Upgrade
            | HeaderId::Te
    )
}

/// The request whose head was parsed from `head`, as it goes to an endpoint.
pub(super) fn request(parsed: &RequestHead, head: &[u8], https: bool) -> Result<Request<()>, Untranslatable> {
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(if https { Scheme::HTTPS } else { Scheme::HTTP });
    uri.authority = Some(Authority::try_from(parsed.authority.of(head)).map_err(|_| Untranslatable)?);
    uri.path_and_query = Some(PathAndQuery::try_from(parsed.target.of(head)).map_err(|_| Untranslatable)?);
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(parsed.method_name.of(head)).map_err(|_| Untranslatable)?;
    *request.uri_mut() = Uri::from_parts(uri).map_err(|_| Untranslatable)?;
    let fields = request.headers_mut();
    fields.try_reserve(parsed.fields.len()).map_err(|_| Untranslatable)?;
    let going_on = parsed.fields.iter().filter(|field| may_go_on(field.id) && field.id != HeaderId::Host);
    append_parsed(going_on, head, fields)?;
    // Trailers of the answer are taken, whatever the caller does with them; servers of gRPC insist on this line.
    fields.insert(TE, HeaderValue::from_static("trailers"));
    Ok(request)
}

#[cfg(test)]
#[path = "translate_tests.rs"]
mod tests;
