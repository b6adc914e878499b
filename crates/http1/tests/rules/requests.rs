//! What an accepted request head says.

use isobar_http1::{
    Framing, HeadLimits, HeadProgress, HeaderId, Method, Reject, RequestHead, TargetForm, Version,
};

const LIMITS: HeadLimits = HeadLimits { head_bytes: 4096, target_bytes: 512, n_headers: 100 };

/// A head of these lines, which must be accepted.
fn parse(lines: &str) -> (RequestHead, Vec<u8>) {
    let (head, buf, result) = try_parse(lines);
    assert_eq!(result, Ok(Some(buf.len())), "{lines}");
    (head, buf)
}

fn try_parse(lines: &str) -> (RequestHead, Vec<u8>, Result<Option<usize>, Reject>) {
    let buf = format!("{}\r\n\r\n", lines.replace('\n', "\r\n")).into_bytes();
    let mut head = RequestHead::new();
    let result = head.parse(&buf, &mut HeadProgress::default(), &LIMITS);
    (head, buf, result)
}

/// Names of the fields that may go on.
fn forwarded(lines: &str) -> Vec<String> {
    let (head, buf) = parse(lines);
    let forwarded = head.fields.iter().filter(|field| !field.hop_by_hop);
    forwarded.map(|field| String::from_utf8(field.name.of(&buf).to_vec()).unwrap()).collect()
}

#[test]
fn a_head_is_an_index_of_its_buffer() {
    let (head, buf) = parse("PATCH /a/b?c=d HTTP/1.1\nhOsT: x.example:1\nX-A:  \t b c \t\nx-empty:");
    assert_eq!(head.method, Method::Patch);
    assert_eq!(head.method_name.of(&buf), b"PATCH");
    assert_eq!(head.version, Version::Http11);
    assert_eq!(head.form, TargetForm::Origin);
    assert_eq!(head.target.of(&buf), b"/a/b?c=d");
    assert_eq!(head.path.of(&buf), b"/a/b");
    assert_eq!(head.query.of(&buf), b"?c=d");
    assert_eq!(head.authority.of(&buf), b"x.example:1");
    let fields: Vec<_> = head.fields.iter().map(|f| (f.name.of(&buf), f.value.of(&buf), f.id)).collect();
    let expected: [(&[u8], &[u8], HeaderId); 3] = [
        (b"hOsT", b"x.example:1", HeaderId::Host),
        (b"X-A", b"b c", HeaderId::Other),
        (b"x-empty", b"", HeaderId::Other),
    ];
    assert_eq!(fields, expected);
}

#[test]
fn a_head_forgets_the_one_before() {
    let mut head = RequestHead::new();
    let first =
        b"POST http://a/x?y HTTP/1.1\r\nHost: a\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\
        Content-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(head.parse(first, &mut HeadProgress::default(), &LIMITS), Ok(Some(first.len())));
    assert!(head.expects_continue && head.upgrade.is_some() && !head.keep_alive);
    let second = b"GET / HTTP/1.1\r\nHost: b\r\n\r\n";
    assert_eq!(head.parse(second, &mut HeadProgress::default(), &LIMITS), Ok(Some(second.len())));
    let (fresh, _) = parse("GET / HTTP/1.1\nHost: b");
    assert_eq!(head, fresh);
    assert_eq!(head.find(HeaderId::ContentLength, second), None);
}

#[test]
fn values_are_found_by_id() {
    let (head, buf) = parse("GET / HTTP/1.1\nHost: a\nX-Forwarded-For: 1\naccept: x\nx-forwarded-for: 2");
    assert_eq!(head.find(HeaderId::XForwardedFor, &buf), Some(&b"1"[..]));
    assert_eq!(head.fields_named(HeaderId::XForwardedFor, &buf).collect::<Vec<_>>(), [b"1", b"2"]);
    assert_eq!(head.find(HeaderId::Cookie, &buf), None);
    assert_eq!(head.fields_named(HeaderId::Cookie, &buf).count(), 0);
}

#[test]
fn persistence_follows_version_and_connection() {
    let cases = [
        ("1.1", "", true),
        ("1.1", "\nConnection: close", false),
        ("1.1", "\nConnection: Keep-Alive", true),
        ("1.1", "\nConnection: keep-alive, CLOSE", false),
        ("1.1", "\nConnection: x\nConnection: close", false),
        ("1.1", "\nProxy-Connection: close", true),
        ("1.0", "", false),
        ("1.0", "\nConnection: keep-alive", true),
        ("1.0", "\nConnection: keep-alive, close", false),
        ("1.0", "\nKeep-Alive: timeout=5", false),
        ("1.7", "", true),
    ];
    for (version, fields, keep_alive) in cases {
        let (head, _) = parse(&format!("GET / HTTP/{version}\nHost: a{fields}"));
        assert_eq!(head.keep_alive, keep_alive, "{version} {fields}");
    }
}

#[test]
fn what_is_for_one_connection_is_not_forwarded() {
    let names = forwarded(
        "GET / HTTP/1.1\nHost: a\nKeep-Alive: timeout=5\nProxy-Connection: keep-alive\nTE: trailers\n\
         Upgrade: h2c\nTrailer: X-Sum\nProxy-Authorization: Basic x\nConnection: keep-alive\nX-Isobar-Error: forged\n\
         x_isobar_error: forged\nX-Kept: 1",
    );
    assert_eq!(names, ["Host", "Trailer", "Proxy-Authorization", "X-Kept"]);
}

#[test]
fn what_connection_names_is_not_forwarded_wherever_it_stands() {
    let names = forwarded(
        "GET / HTTP/1.1\nX-One: 1\nHost: a\nConnection: x-one, , X-TWO\nx-two: 1\nX-Two: 2\nX-Twos: 3\n\
         Connection:x-three,close\nX-THREE: 3\nCookie: a",
    );
    assert_eq!(names, ["Host", "X-Twos", "Cookie"]);
}

#[test]
fn a_known_name_can_be_dropped_by_connection_too() {
    assert_eq!(forwarded("GET / HTTP/1.1\nHost: a\nCookie: x\nConnection: cookie"), ["Host"]);
}

#[test]
fn of_equal_lengths_exactly_one_goes_on() {
    let (head, _) = parse("POST / HTTP/1.1\nContent-Length: 5\nHost: a\nContent-length: 5\nContent-Length:5");
    assert_eq!(head.framing, Framing::Length(5));
    let lengths = head.fields.iter().filter(|field| field.id == HeaderId::ContentLength);
    assert_eq!(lengths.map(|field| field.hop_by_hop).collect::<Vec<_>>(), [false, true, true]);
}

#[test]
fn an_upgrade_is_one_protocol_that_connection_names() {
    let cases = [
        ("HTTP/1.1", "Connection: Upgrade\nUpgrade: websocket", Some("websocket")),
        ("HTTP/1.1", "Connection: keep-alive, upgrade\nUpgrade: foo/2", Some("foo/2")),
        ("HTTP/1.1", "Upgrade: websocket", None),
        ("HTTP/1.1", "Connection: upgrade", None),
        ("HTTP/1.1", "Connection: upgrade\nUpgrade:", None),
        ("HTTP/1.1", "Connection: upgrade\nUpgrade: websocket, h2c", None),
        ("HTTP/1.1", "Connection: upgrade\nUpgrade: websocket\nUpgrade: websocket", None),
        ("HTTP/1.1", "Connection: upgrade\nUpgrade: web socket", None),
        ("HTTP/1.1", "Connection: upgrade\nUpgrade: a/b/c", None),
        ("HTTP/1.1", "Connection: upgrade\nUpgrade: a/", None),
        ("HTTP/1.0", "Connection: upgrade\nUpgrade: websocket", None),
    ];
    for (version, fields, expected) in cases {
        let (head, buf) = parse(&format!("GET / {version}\nHost: a\n{fields}"));
        let protocol = head.upgrade.map(|span| str::from_utf8(span.of(&buf)).unwrap());
        assert_eq!(protocol, expected, "{version} {fields}");
    }
}

#[test]
fn an_expectation_goes_on_only_if_somebody_waits() {
    let cases = [
        ("POST / HTTP/1.1\nContent-Length: 5", true),
        ("POST / HTTP/1.1\nTransfer-Encoding: chunked", true),
        ("POST / HTTP/1.1\nContent-Length: 0", false),
        ("GET / HTTP/1.1\nAccept: x", false),
        ("POST / HTTP/1.0\nContent-Length: 5", false),
    ];
    for (lines, waits) in cases {
        let (head, _) = parse(&format!("{lines}\nHost: a\nExpect: 100-Continue"));
        assert_eq!(head.expects_continue, waits, "{lines}");
        let expect = head.fields.iter().find(|field| field.id == HeaderId::Expect).unwrap();
        assert_eq!(expect.hop_by_hop, !waits, "{lines}");
    }
}

#[test]
fn the_authority_is_that_of_host_or_of_the_target() {
    let cases = [
        ("GET / HTTP/1.1\nHost: a:1", "a:1"),
        ("GET http://A/ HTTP/1.1\nHost: a", "a"),
        ("GET http://a:2/ HTTP/1.0", "a:2"),
        ("GET / HTTP/1.0", ""),
        ("OPTIONS * HTTP/1.1\nHost: [::1]", "[::1]"),
    ];
    for (lines, authority) in cases {
        let (head, buf) = parse(lines);
        assert_eq!(head.authority.of(&buf), authority.as_bytes(), "{lines}");
    }
}

#[test]
fn a_target_at_its_limit_is_accepted_and_one_byte_more_is_not() {
    for (len, expected) in
        [(LIMITS.target_bytes, None), (LIMITS.target_bytes + 1, Some(Reject::TargetTooLong))]
    {
        let target = format!("/{}", "a".repeat(len - 1));
        let (_, _, result) = try_parse(&format!("GET {target} HTTP/1.1\nHost: a"));
        assert_eq!(result.err(), expected, "{len}");
    }
}

#[test]
fn a_head_at_its_limit_is_accepted_and_one_byte_more_is_not() {
    let fixed = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
    for (len, expected) in [(LIMITS.head_bytes, None), (LIMITS.head_bytes + 1, Some(Reject::HeadTooLarge))] {
        let (_, buf, result) = try_parse(&format!("GET / HTTP/1.1\nHost: a\nX: {}", "y".repeat(len - fixed)));
        assert_eq!((buf.len(), result.err()), (len, expected));
    }
}

#[test]
fn fields_at_their_limit_are_accepted_and_one_more_is_not() {
    for (n, expected) in [(LIMITS.n_headers, None), (LIMITS.n_headers + 1, Some(Reject::TooManyHeaders))] {
        let (head, _, result) = try_parse(&format!("GET / HTTP/1.1\nHost: a{}", "\nX: y".repeat(n - 1)));
        assert_eq!(result.err(), expected, "{n}");
        assert!(expected.is_some() || head.fields.len() == n);
    }
}

#[test]
fn a_fixed_head_does_not_grow_the_index() {
    let mut head = RequestHead::new();
    let buf = b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nC: d\r\n\r\n";
    head.parse(buf, &mut HeadProgress::default(), &LIMITS).unwrap();
    let capacity = head.fields.capacity();
    let place = head.fields.as_ptr();
    for _ in 0..100 {
        head.parse(buf, &mut HeadProgress::default(), &LIMITS).unwrap();
    }
    assert_eq!((head.fields.capacity(), head.fields.as_ptr()), (capacity, place));
}
