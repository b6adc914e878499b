//! What an accepted response head says.

use isobar_http1::{Framing, HeadLimits, HeadProgress, HeaderId, Method, ResponseHead, Version};

const LIMITS: HeadLimits = HeadLimits { head_bytes: 4096, target_bytes: 0, n_headers: 100 };

fn parse(lines: &str, method: Method) -> (ResponseHead, Vec<u8>) {
    let buf = format!("{}\r\n\r\n", lines.replace('\n', "\r\n")).into_bytes();
    let mut head = ResponseHead::new();
    let result = head.parse(&buf, &mut HeadProgress::default(), &LIMITS, method);
    assert_eq!(result, Ok(Some(buf.len())), "{lines}");
    (head, buf)
}

#[test]
fn a_status_line_is_taken_apart() {
    let cases = [
        ("HTTP/1.1 200 OK", Version::Http11, 200, "OK"),
        ("HTTP/1.0 404 Not Found", Version::Http10, 404, "Not Found"),
        ("HTTP/1.1 503 ", Version::Http11, 503, ""),
        ("HTTP/1.1 503", Version::Http11, 503, ""),
        ("HTTP/1.1 200  two spaces", Version::Http11, 200, " two spaces"),
        ("HTTP/1.3 599 später", Version::Http11, 599, "später"),
    ];
    for (line, version, status, reason) in cases {
        let (head, buf) = parse(line, Method::Get);
        assert_eq!((head.version, head.status), (version, status), "{line}");
        assert_eq!(head.reason.of(&buf), reason.as_bytes(), "{line}");
    }
}

#[test]
fn framing_follows_status_method_and_fields() {
    use Framing::{Chunked, Length, None, UntilClose};
    let cases = [
        ("200 OK\nContent-Length: 5", Method::Get, Length(5), true),
        ("200 OK\nContent-Length: 0", Method::Get, Length(0), true),
        ("200 OK\nTransfer-Encoding: chunked", Method::Get, Chunked, true),
        ("200 OK", Method::Get, UntilClose, false),
        ("200 OK\nConnection: keep-alive", Method::Get, UntilClose, false),
        ("200 OK\nContent-Length: 5\nConnection: close", Method::Get, Length(5), false),
        ("200 OK\nContent-Length: 5", Method::Head, None, true),
        ("200 OK\nTransfer-Encoding: chunked", Method::Head, None, true),
        ("200 OK", Method::Head, None, true),
        ("304 Not Modified\nContent-Length: 5", Method::Get, None, true),
        ("204 No Content", Method::Get, None, true),
        ("204 No Content\nContent-Length: 0", Method::Get, None, true),
        ("204 No Content\nContent-Length: 5", Method::Get, None, false),
        ("204 No Content\nTransfer-Encoding: chunked", Method::Get, None, false),
        ("100 Continue", Method::Post, None, true),
        ("205 Reset Content", Method::Get, UntilClose, false),
        ("500 Oops\nContent-Length: 1", Method::Post, Length(1), true),
    ];
    for (lines, method, framing, keep_alive) in cases {
        let (head, _) = parse(&format!("HTTP/1.1 {lines}"), method);
        assert_eq!((head.framing, head.keep_alive), (framing, keep_alive), "{lines}");
    }
}

#[test]
fn a_response_of_http10_persists_only_if_it_says_so() {
    for (fields, keep_alive) in [("", false), ("\nConnection: Keep-Alive", true)] {
        let (head, _) = parse(&format!("HTTP/1.0 200 OK\nContent-Length: 0{fields}"), Method::Get);
        assert_eq!(head.keep_alive, keep_alive, "{fields}");
    }
}

#[test]
fn a_length_without_a_body_goes_on_only_where_it_means_something() {
    for (status, method, goes_on) in [
        ("204", Method::Get, false),
        ("103", Method::Get, false),
        ("304", Method::Get, true),
        ("200", Method::Head, true),
    ] {
        let (head, _) = parse(&format!("HTTP/1.1 {status} X\nContent-Length: 5"), method);
        assert_eq!(head.fields[0].id, HeaderId::ContentLength);
        assert_eq!(!head.fields[0].hop_by_hop, goes_on, "{status}");
    }
}

#[test]
fn a_switch_of_protocols_names_the_one() {
    let (head, buf) =
        parse("HTTP/1.1 101 Switching Protocols\nConnection: upgrade\nUpgrade: websocket", Method::Get);
    assert_eq!(head.upgrade.unwrap().of(&buf), b"websocket");
    assert_eq!(head.framing, Framing::None);
    assert!(!head.is_informational());
    let (head, _) = parse("HTTP/1.1 101 Switching Protocols\nUpgrade: websocket", Method::Get);
    assert_eq!(head.upgrade, None);
}

#[test]
fn informational_is_what_another_response_follows() {
    for (status, expected) in
        [(100, true), (101, false), (103, true), (199, true), (200, false), (999, false)]
    {
        let (head, _) = parse(&format!("HTTP/1.1 {status} X"), Method::Get);
        assert_eq!(head.is_informational(), expected, "{status}");
    }
}

#[test]
fn what_is_for_one_connection_is_not_forwarded() {
    let (head, buf) = parse(
        "HTTP/1.1 200 OK\nServer: x\nConnection: X-Drop, keep-alive\nKeep-Alive: timeout=5\nX-Drop: 1\n\
         X-Isobar-Endpoint: forged\nProxy-Authenticate: Basic\nContent-Length: 0",
        Method::Get,
    );
    let kept: Vec<&[u8]> = head.fields.iter().filter(|f| !f.hop_by_hop).map(|f| f.name.of(&buf)).collect();
    let expected: [&[u8]; 3] = [b"Server", b"Proxy-Authenticate", b"Content-Length"];
    assert_eq!(kept, expected);
    assert_eq!(head.find(HeaderId::Server, &buf), Some(&b"x"[..]));
    assert_eq!(head.fields_named(HeaderId::SetCookie, &buf).count(), 0);
}
