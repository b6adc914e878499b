//! Laws of the translation between HTTP/2 and the text of HTTP/1.1.
#![allow(clippy::unwrap_used, reason = "tests")]

use http::Request;
use isobar_http1::{Framing, HeadLimits, HeadProgress};
use proptest::prelude::*;

use super::*;

const LIMITS: HeadLimits = HeadLimits { head_bytes: 4096, target_bytes: 1024, n_headers: 50 };

/// Names and values.
type Fields<'a> = &'a [(&'a [u8], &'a [u8])];

/// The request as a server of HTTP/2 gets it from the library; `None` where that refuses it.
fn received(
    method: &str,
    authority: Option<&str>,
    path: &[u8],
    fields: Fields<'_>,
) -> Option<request::Parts> {
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(Scheme::HTTP);
    if let Some(authority) = authority {
        uri.authority = Some(Authority::try_from(authority).ok()?);
    }
    uri.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
    let mut request = Request::builder().method(method).body(()).ok()?;
    *request.uri_mut() =
        if authority.is_some() { Uri::from_parts(uri).ok()? } else { Uri::from(uri.path_and_query?) };
    for (name, value) in fields {
        // Upper case never comes so far.
        let name = HeaderName::from_lowercase(name).ok()?;
        request.headers_mut().append(name, HeaderValue::from_bytes(value).ok()?);
    }
    Some(request.into_parts().0)
}

fn translated(parts: &request::Parts, ended: bool) -> Result<String, Malformed> {
    let mut out = Vec::new();
    write_request(parts, None, ended, &mut out)?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

fn is_accepted(text: &[u8]) -> bool {
    matches!(RequestHead::new().parse(text, &mut HeadProgress::default(), &LIMITS), Ok(Some(_)))
}

fn refused(method: &str, authority: Option<&str>, path: &str, fields: Fields<'_>) -> bool {
    let Some(parts) = received(method, authority, path.as_bytes(), fields) else { return true };
    translated(&parts, false).map_or(true, |text| !is_accepted(text.as_bytes()))
}

#[test]
fn a_request_is_the_same_in_text() {
    let fields: Fields<'_> =
        &[(b"accept", b"*/*"), (b"cookie", b"a=1"), (b"x-b", b"\xFF"), (b"cookie", b"b=2")];
    let parts = received("GET", Some("h:1"), b"/a?b", fields).unwrap();
    assert_eq!(
        translated(&parts, true).unwrap(),
        "GET /a?b HTTP/1.1\r\nhost: h:1\r\naccept: */*\r\nx-b: \u{FFFD}\r\ncookie: a=1; b=2\r\n\r\n"
    );
}

#[test]
fn the_framing_is_a_length_where_one_came_and_chunks_otherwise() {
    let head = |method, fields, ended| {
        let parts = received(method, Some("h"), b"/", fields).unwrap();
        let text = translated(&parts, ended).unwrap();
        let mut request = RequestHead::new();
        request.parse(text.as_bytes(), &mut HeadProgress::default(), &LIMITS).unwrap().unwrap();
        (request.framing, text.contains("content-length"))
    };
    assert_eq!(head("GET", &[], true), (Framing::None, false));
    assert_eq!(head("POST", &[], true), (Framing::Length(0), true));
    assert_eq!(head("POST", &[(b"content-length", b"5")], false), (Framing::Length(5), true));
    assert_eq!(head("POST", &[], false), (Framing::Chunked, false));
    // Trailers need chunks.
    let announced: Fields<'_> = &[(b"content-length", b"5"), (b"trailer", b"x-sum")];
    assert_eq!(head("POST", announced, false), (Framing::Chunked, false));
}

#[test]
fn what_rfc_9113_calls_malformed_is_refused() {
    let one: &[(&str, Fields<'_>)] = &[
        ("connection", &[(b"connection", b"close")]),
        ("keep-alive", &[(b"keep-alive", b"5")]),
        ("proxy-connection", &[(b"proxy-connection", b"close")]),
        ("transfer-encoding", &[(b"transfer-encoding", b"chunked")]),
        ("upgrade", &[(b"upgrade", b"websocket")]),
        ("te", &[(b"te", b"gzip")]),
        ("white space before", &[(b"x", b" a")]),
        ("white space behind", &[(b"x", b"a\t")]),
        ("two hosts", &[(b"host", b"other")]),
        ("two lengths", &[(b"content-length", b"1"), (b"content-length", b"2")]),
        ("a length that is none", &[(b"content-length", b"+1"), (b"trailer", b"x")]),
        ("upper case", &[(b"X-Upper", b"a")]),
        ("an empty name", &[(b"", b"a")]),
    ];
    for (what, fields) in one {
        assert!(refused("POST", Some("h"), "/", fields), "{what}");
    }
    for (what, authority, path) in [
        ("user information", Some("u@h"), "/"),
        ("no host", None, "/"),
        ("a target in absolute form", Some("h"), "http://h/"),
        ("a target that is no path", Some("h"), "x"),
        ("an asterisk", Some("h"), "*"),
        ("an empty host", Some(":80"), "/"),
    ] {
        assert!(refused("GET", authority, path, &[]), "{what}");
    }
    assert!(!refused("GET", Some("h"), "/", &[(b"te", b"trailers"), (b"host", b"h")]));
    assert!(!refused("GET", None, "/", &[(b"host", b"h")]));
    assert!(!refused("OPTIONS", Some("h"), "*", &[]));
}

#[test]
fn an_answer_has_the_framing_that_its_body_will_have() {
    let head = |status: u16, fields: &[(&str, &str)], ended, is_head| {
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        let mut out = Vec::new();
        let form = write_response(&response.body(()).unwrap().into_parts().0, ended, is_head, &mut out);
        let mut parsed = ResponseHead::new();
        let method = if is_head { isobar_http1::Method::Head } else { isobar_http1::Method::Get };
        parsed.parse(&out, &mut HeadProgress::default(), &LIMITS, method).unwrap().unwrap();
        (form, parsed.framing)
    };
    assert_eq!(head(200, &[], false, false), (BodyForm::Chunked, Framing::Chunked));
    assert_eq!(head(200, &[("content-length", "3")], false, false), (BodyForm::Plain, Framing::Length(3)));
    assert_eq!(head(200, &[], true, false), (BodyForm::None, Framing::Length(0)));
    assert_eq!(head(200, &[("content-length", "3")], true, true), (BodyForm::None, Framing::None));
    assert_eq!(head(204, &[], true, false), (BodyForm::None, Framing::None));
    assert_eq!(head(103, &[("link", "</a>")], true, false), (BodyForm::None, Framing::None));
    let announced = [("content-length", "3"), ("trailer", "x")];
    assert_eq!(head(200, &announced, false, false), (BodyForm::Chunked, Framing::Chunked));
}

#[test]
fn a_request_to_an_endpoint_says_nothing_of_the_connection() {
    let text = "POST /a?b HTTP/1.1\r\nHost: h:1\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut parsed = RequestHead::new();
    let n = parsed.parse(text.as_bytes(), &mut HeadProgress::default(), &LIMITS).unwrap().unwrap();
    let request = request(&parsed, &text.as_bytes()[..n], true).unwrap();
    assert_eq!(request.uri(), "https://h:1/a?b");
    let names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
    assert_eq!(names, ["x-a", "te"]);
}

#[test]
fn trailers_are_the_same_both_ways() {
    let lines = b"grpc-status: 0\r\nx-sum: \xFFab c\r\n";
    let fields = trailers(lines).unwrap();
    let mut out = Vec::new();
    write_trailers(&fields, &mut out).unwrap();
    assert_eq!(out, [&lines[..], b"\r\n"].concat());
}

/// Pieces that messages are made of, harmless and not.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[a-z0-9./:@?%=&_-]{0,6}".prop_map(String::into_bytes),
        1 => proptest::sample::select(vec![
            &b"\r\n"[..], b"\n", b"\r", b"\0", b" ", b"\t", b"\x7F", b"\xFF", b":", b",", b"\"", b"<", b"|",
            b"chunked", b"HTTP/1.1", b"content-length", b"host", b"transfer-encoding", b"1", b"0x1", b"+1",
            b"h", b"[::1]", b"%2e", b"%00", b"*", b"\\", b"{", b"^", b"`",
        ]).prop_map(<[u8]>::to_vec),
    ]
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(piece(), 0..4).prop_map(|pieces| pieces.concat())
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        2 => proptest::sample::select(vec![
            &b"content-length"[..], b"host", b"transfer-encoding", b"connection", b"te", b"trailer", b"expect",
            b"content_length", b"x", b"upgrade", b"cookie",
        ]).prop_map(<[u8]>::to_vec),
        1 => text(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// Nothing that is refused in HTTP/1.1 comes in by HTTP/2. Left out: a fragment, which the library cuts off, and
    /// a Host beside the authority, which HTTP/2 allows where they are the same.
    #[test]
    fn what_http_1_refuses_is_refused_through_the_translation(
        method in prop_oneof![Just(b"GET".to_vec()), Just(b"POST".to_vec()), text()],
        target in text().prop_map(|rest| [b"/", rest.as_slice()].concat()),
        host in prop_oneof![Just(b"h".to_vec()), text()],
        fields in proptest::collection::vec((name(), text()), 0..4),
        by_authority: bool,
        ended: bool,
    ) {
        let mut plain = [&method[..], b" ", &target, b" HTTP/1.1\r\nhost: ", &host, b"\r\n"].concat();
        for (name, value) in &fields {
            plain.extend_from_slice(&[&name[..], b": ", value, b"\r\n"].concat());
        }
        plain.extend_from_slice(b"\r\n");
        let is_refused = !is_accepted(&plain);
        let mut all: Vec<(&[u8], &[u8])> = fields.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        let authority = std::str::from_utf8(&host).ok().filter(|_| by_authority);
        if authority.is_none() {
            all.insert(0, (b"host", &host));
        }
        let method = String::from_utf8_lossy(&method);
        let has_both = authority.is_some() && fields.iter().any(|(name, _)| name == b"host");
        if is_refused && !target.contains(&b'#') && !has_both
            && let Some(parts) = received(&method, authority, &target, &all)
            && let Ok(text) = translated(&parts, ended)
        {
            prop_assert!(
                !is_accepted(text.as_bytes()),
                "{:?} is refused, {:?} is not", String::from_utf8_lossy(&plain), text
            );
        }
    }

    /// And what comes in has exactly the fields that came, so no value became a line of its own.
    #[test]
    fn no_value_becomes_another_field(
        target in text().prop_map(|rest| [b"/", rest.as_slice()].concat()),
        fields in proptest::collection::vec((name(), text()), 0..4),
    ) {
        let all: Vec<(&[u8], &[u8])> = fields.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        if let Some(parts) = received("GET", Some("h"), &target, &all)
            && let Ok(text) = translated(&parts, true)
        {
            let n_cookies = parts.headers.get_all(COOKIE).iter().count();
            let n_hosts = parts.headers.get_all(HOST).iter().count();
            let n_lines = parts.headers.len() - n_hosts - n_cookies.saturating_sub(1) + 3;
            prop_assert_eq!(text.matches("\r\n").count(), n_lines, "{:?}", text);
        }
    }
}
