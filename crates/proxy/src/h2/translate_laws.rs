//! What must hold of every translation of a head between the versions, for the fuzz targets and for the tests that replay them.
//!
//! An input is lines that end with the byte 0xFE, since a field of HTTP/2 can carry CR, LF and NUL to where they must be
//! refused. For a request: a line of letters (`e`: it ends with its head; `t`: a tunnel), method, authority (empty: none),
//! path; for a response: a line of letters (`e`; `h`: to a HEAD) and the status; then names and values in turn.

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, request, response};
use isobar_http1::{Framing, HeadLimits, HeadProgress, RequestHead, ResponseHead};

use super::translate::{self, BodyForm, Tunnel};

const LIMITS: HeadLimits = HeadLimits { head_bytes: 1 << 20, target_bytes: 1 << 20, n_headers: 10_000 };

/// What ends a line of an input.
const END: u8 = 0xFE;

fn lines(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    input.strip_suffix(&[END]).unwrap_or(input).split(|&byte| byte == END)
}

/// The fields as the library hands them on; `None` where it refuses them.
fn fields<'a>(mut lines: impl Iterator<Item = &'a [u8]>) -> Option<HeaderMap> {
    let mut fields = HeaderMap::new();
    while let Some(name) = lines.next() {
        // Upper case never comes so far.
        let name = HeaderName::from_lowercase(name).ok()?;
        fields.append(name, HeaderValue::from_bytes(lines.next().unwrap_or_default()).ok()?);
    }
    Some(fields)
}

/// A request as the library hands it on, whether it ended, and the protocol of its tunnel.
fn received(input: &[u8]) -> Option<(request::Parts, bool, bool)> {
    let mut lines = lines(input);
    let letters = lines.next()?;
    let method = Method::from_bytes(lines.next()?).ok()?;
    let (authority, path) = (lines.next()?, lines.next()?);
    let mut uri = http::uri::Parts::default();
    uri.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
    if !authority.is_empty() {
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(Authority::try_from(authority).ok()?);
    }
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from_parts(uri).ok()?;
    *request.headers_mut() = fields(lines)?;
    Some((request.into_parts().0, letters.contains(&b'e'), letters.contains(&b't')))
}

/// What becomes of a request of HTTP/2: the text that the parser of HTTP/1 accepted, or `None` where it was refused.
///
/// # Panics
/// A law is broken.
pub(super) fn request(input: &[u8]) -> Option<Vec<u8>> {
    let (parts, ended, tunnels) = received(input)?;
    let tunnel = tunnels.then_some(Tunnel { protocol: "websocket", key: b"AAAAAAAAAAAAAAAAAAAAAA==" });
    let mut text = Vec::new();
    let form = translate::write_request(&parts, tunnel, ended, &mut text).ok()?;
    let mut head = RequestHead::new();
    // Refused by the one parser that every request passes.
    let head_len = head.parse(&text, &mut HeadProgress::default(), &LIMITS).ok()?;
    assert_eq!(head_len, Some(text.len()), "one head, and nothing behind it");
    match form {
        BodyForm::None => assert!(matches!(head.framing, Framing::None | Framing::Length(0))),
        BodyForm::Chunked => assert_eq!(head.framing, Framing::Chunked),
        BodyForm::Plain if tunnels => assert_eq!(head.framing, Framing::None),
        BodyForm::Plain => assert!(matches!(head.framing, Framing::Length(_))),
    }
    if !tunnels {
        assert_eq!(head.method_name.of(&text), parts.method.as_str().as_bytes());
        assert_eq!(head.target.of(&text), parts.uri.path_and_query()?.as_str().as_bytes());
    }
    for field in &head.fields {
        let (name, value) = (field.name.of(&text), field.value.of(&text));
        let is_ours: &[&[u8]] = &[
            b"host",
            b"cookie",
            b"transfer-encoding",
            b"content-length",
            b"connection",
            b"upgrade",
            b"sec-websocket-key",
        ];
        let name = std::str::from_utf8(name).expect("names are tokens");
        let came = parts.headers.get_all(name).iter().any(|came| came.as_bytes() == value);
        assert!(came || is_ours.contains(&name.as_bytes()), "{name} did not come");
    }
    let n_codings = head.fields.iter().filter(|field| field.name.of(&text) == b"transfer-encoding").count();
    assert_eq!(n_codings, usize::from(form == BodyForm::Chunked), "only ours");
    round_trip(&head, &text, &parts);
    Some(text)
}

/// The text says in HTTP/2 again what it came from.
fn round_trip(head: &RequestHead, text: &[u8], parts: &request::Parts) {
    let Ok(again) = translate::request(head, text, false) else { return };
    let names = ["host", "cookie", "te", "content-length", "sec-websocket-key"];
    for (name, value) in again.headers() {
        let came = parts.headers.get_all(name).iter().any(|came| came == value);
        assert!(came || names.contains(&name.as_str()), "{name} did not come");
    }
    for name in ["connection", "transfer-encoding", "upgrade", "keep-alive", "proxy-connection", "host"] {
        assert!(!again.headers().contains_key(name), "{name} has no place in HTTP/2");
    }
}

fn answered(input: &[u8]) -> Option<(response::Parts, bool, bool)> {
    let mut lines = lines(input);
    let letters = lines.next()?;
    let mut response = Response::new(());
    *response.status_mut() = http::StatusCode::from_bytes(lines.next()?).ok()?;
    let fields = fields(lines)?;
    let of_connection = ["connection", "transfer-encoding", "upgrade", "keep-alive", "proxy-connection"];
    if of_connection.iter().any(|name| fields.contains_key(*name)) {
        // The library refuses them.
        return None;
    }
    *response.headers_mut() = fields;
    Some((response.into_parts().0, letters.contains(&b'e'), letters.contains(&b'h')))
}

/// As [`request`], for an endpoint's response.
///
/// # Panics
/// A law is broken.
pub(super) fn response(input: &[u8]) -> Option<Vec<u8>> {
    let (parts, ended, is_head) = answered(input)?;
    let mut text = Vec::new();
    let form = translate::write_response(&parts, ended, is_head, &mut text);
    let method = if is_head { isobar_http1::Method::Head } else { isobar_http1::Method::Get };
    let mut head = ResponseHead::new();
    let head_len = head.parse(&text, &mut HeadProgress::default(), &LIMITS, method).ok()?;
    assert_eq!(head_len, Some(text.len()), "one head, and nothing behind it");
    assert_eq!(head.status, parts.status.as_u16());
    if form == BodyForm::None {
        assert!(matches!(head.framing, Framing::None | Framing::Length(_)), "{:?}", head.framing);
    }
    if let Ok(again) = translate::response(&head, &text) {
        for name in ["connection", "transfer-encoding", "upgrade", "keep-alive", "proxy-connection"] {
            assert!(!again.headers().contains_key(name), "{name} has no place in HTTP/2");
        }
    }
    Some(text)
}
