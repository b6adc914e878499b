//! What is refused, dropped, put to normal form and passed on, rule by rule, over the wire.
//!
//! The corpus (corpora.rs) has many spellings of each rule; here each stands once, to be read.
#![allow(clippy::unwrap_used, reason = "a test")]

use isobar_tests::dirty::{Recorder, answer_to, assert_closed, in_front_of};
use isobar_tests::{Client, Origin};

const GET: &str = "GET / HTTP/1.1\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a.example\r\n";

/// Rule, what is sent before the empty line, what after it, status.
type Row = (&'static str, String, &'static str, u16);

fn refused_heads() -> Vec<Row> {
    let get = |rest: &str| format!("{GET}Host: a.example\r\n{rest}\r\n");
    let post = |rest: &str| format!("{POST}{rest}\r\n");
    let target = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n");
    vec![
        ("both lengths", post("Content-Length: 5\r\nTransfer-Encoding: chunked"), "0\r\n\r\n", 400),
        ("differing lengths", post("Content-Length: 5\r\nContent-Length: 6"), "hello", 400),
        ("a list of differing lengths", post("Content-Length: 5, 6"), "hello", 400),
        ("a signed length", post("Content-Length: +5"), "hello", 400),
        ("a length with a space", post("Content-Length: 1 5"), "hello", 400),
        ("a length that overflows", post("Content-Length: 18446744073709551616"), "", 400),
        ("a length that is no number", post("Content-Length: five"), "hello", 400),
        ("chunked not last", post("Transfer-Encoding: chunked, gzip"), "0\r\n\r\n", 400),
        ("no chunked at all", post("Transfer-Encoding: gzip"), "", 400),
        ("chunked twice", post("Transfer-Encoding: chunked, chunked"), "0\r\n\r\n", 400),
        ("an unknown coding", post("Transfer-Encoding: foo, chunked"), "0\r\n\r\n", 501),
        (
            "a coding in HTTP/1.0",
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n".into(),
            "0\r\n\r\n",
            400,
        ),
        ("a bare CR", get("X: a\rb"), "", 400),
        ("a line that ends with LF", format!("{GET}Host: a.example\nX: y\r\n"), "", 400),
        ("a folded line", get("X: a\r\n b"), "", 400),
        ("a space before the colon", get("X : a"), "", 400),
        ("an empty name", get(": a"), "", 400),
        ("a name that is no token", get("X(y): a"), "", 400),
        ("a control byte in a value", get("X: a\x01b"), "", 400),
        ("NUL in a value", get("X: a\0b"), "", 400),
        ("NUL in a name", get("X\0: a"), "", 400),
        ("no Host", GET.into(), "", 400),
        ("two Hosts", get("Host: a.example"), "", 400),
        ("a Host that is no authority", format!("{GET}Host: a/b\r\n"), "", 400),
        ("a Host with a user", format!("{GET}Host: a@b\r\n"), "", 400),
        ("a Host that differs from the target", target("http://b.example/"), "", 400),
        ("a head over 32 KiB", get(&format!("X: {}", "a".repeat(33_000))), "", 431),
        ("more than 100 fields", get("X: a\r\n".repeat(100).trim_end()), "", 431),
        ("a target over 8 KiB", target(&format!("/{}", "a".repeat(8192))), "", 414),
        ("major version 2", "GET / HTTP/2.0\r\nHost: a\r\n".into(), "", 505),
        ("CONNECT", "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n".into(), "", 501),
        ("an encoded slash", target("/a%2fb"), "", 400),
        ("an encoded backslash", target("/a%5Cb"), "", 400),
        ("an encoded NUL", target("/a%00b"), "", 400),
        ("an encoded slash behind dots", target("/..%2f..%2fetc/passwd"), "", 400),
        (
            "Connection that names the framing",
            post("Content-Length: 5\r\nConnection: content-length"),
            "hello",
            400,
        ),
    ]
}

#[test]
fn a_head_against_the_rules_is_refused_with_the_status_of_its_rule_and_ends_the_connection() {
    let origin = Origin::answering("reached");
    let isobar = in_front_of(origin.address, "", "");
    for (rule, head, body, status) in refused_heads() {
        let mut client = isobar.connect();
        client.send(format!("{head}\r\n{body}GET /behind HTTP/1.1\r\nHost: a.example\r\n\r\n"));
        let response = client.any_response("GET").unwrap_or_else(|| panic!("{rule}: no answer"));
        assert_eq!(response.status, status, "{rule}: {}", response.head);
        assert_ne!(response.error(), "", "{rule}");
        assert_eq!(response.header("connection"), Some("close"), "{rule}");
        assert_closed(&mut client, rule);
        assert_eq!(origin.n_connections(), 0, "{rule}: something was forwarded");
    }
    isobar.assert_no_leak();
}

#[test]
fn a_chunked_body_against_the_rules_is_refused_and_never_completed() {
    let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(5000));
    let rows = [
        ("a size that is no number", "x\r\nhello\r\n0\r\n\r\n"),
        ("a size with 0x", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("a size that overflows", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("a size line that ends with LF", "5\nhello\r\n0\r\n\r\n"),
        ("a chunk that ends with LF", "5\r\nhello\n0\r\n\r\n"),
        ("a chunk longer than its size", "4\r\nhello\r\n0\r\n\r\n"),
        ("an extension over its bound", long.as_str()),
        ("a trailer that is folded", "0\r\nX: a\r\n b\r\n\r\n"),
    ];
    let recorder = Recorder::start();
    let isobar = in_front_of(recorder.origin.address, "", "");
    for (rule, body) in rows {
        let mut client = isobar.connect();
        client.send(format!("{POST}Transfer-Encoding: chunked\r\n\r\n{body}"));
        let response = client.any_response("POST").unwrap_or_else(|| panic!("{rule}: no answer"));
        assert_eq!((response.status, response.error()), (400, "bad-request"), "{rule}");
        assert_closed(&mut client, rule);
    }
    isobar.assert_no_leak();
    assert!(recorder.messages().is_empty(), "{:?}", recorder.messages());
}

#[test]
fn hop_by_hop_fields_and_those_that_connection_names_stay_on_their_hop() {
    let recorder = Recorder::start();
    let isobar = in_front_of(recorder.origin.address, "", "");
    let dropped = "Connection: keep-alive, X-Private\r\nX-Private: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\n\
                   TE: trailers\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nX-Isobar-Endpoint: forged\r\n\
                   x-isobar-error: forged\r\n";
    let kept = "X-Public: 2\r\n";
    let response = answer_to(&isobar, format!("{GET}Host: a.example\r\n{dropped}{kept}\r\n"));
    assert_eq!(response.status, 200);
    let received = recorder.last().to_lowercase();
    for name in [
        "connection",
        "x-private",
        "keep-alive",
        "proxy-connection",
        "te",
        "upgrade",
        "x-isobar-endpoint",
        "x-isobar-error",
    ] {
        assert!(!received.contains(&format!("\r\n{name}:")), "{name} passed:\n{received}");
    }
    assert!(received.contains("\r\nx-public: 2\r\n"), "{received}");
}

#[test]
fn an_upgrade_passes_only_for_a_protocol_that_the_route_allows() {
    let recorder = Recorder::start();
    let isobar = in_front_of(recorder.origin.address, "", "");
    for (protocol, passes) in [("websocket", true), ("h2c", false), ("TLS/1.0", false)] {
        let fields =
            format!("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: {protocol}\r\nHTTP2-Settings: AA\r\n");
        assert_eq!(answer_to(&isobar, format!("{GET}Host: a.example\r\n{fields}\r\n")).status, 200);
        let received = recorder.last().to_lowercase();
        assert_eq!(received.contains("\r\nupgrade:"), passes, "{protocol}:\n{received}");
        assert_eq!(received.contains("\r\nconnection: upgrade\r\n"), passes, "{protocol}:\n{received}");
        assert!(!received.contains("http2-settings"), "{protocol}:\n{received}");
    }
}

#[test]
fn answers_keep_their_body_and_trailers_whatever_delimits_them() {
    let rows = [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, "", ""),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, "", ""),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, "", ""),
        ("GET", "HTTP/1.1 200 OK\r\n\r\nuntil the end", 200, "until the end", ""),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
            200,
            "ok",
            "X-Sum: 1\r\n",
        ),
    ];
    for (method, bytes, status, body, trailers) in rows {
        let origin = saying(bytes.to_owned());
        let isobar = in_front_of(origin.address, "", "");
        let mut client = isobar.connect();
        client.send(format!("{method} / HTTP/1.1\r\nHost: a.example\r\nTE: trailers\r\n\r\n"));
        let response = client.any_response(method).unwrap();
        assert_eq!((response.status, response.text().as_str()), (status, body), "{bytes}");
        assert_eq!(response.trailers, trailers, "{bytes}");
        // Nothing is left over, and the caller's connection lives on where an endpoint's did not.
        client.send("GET /a%00 HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(client.any_response("GET").expect("the next answer").status, 400, "{bytes}");
    }
}

#[test]
fn trailers_of_a_request_are_forwarded() {
    let recorder = Recorder::start();
    let isobar = in_front_of(recorder.origin.address, "", "");
    let body = "5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n";
    let request = format!("{POST}Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n{body}");
    assert_eq!(answer_to(&isobar, request).status, 200);
    assert!(recorder.last().ends_with("\r\n0\r\nX-Sum: 1\r\n\r\n"), "{}", recorder.last());
}

#[test]
fn hop_by_hop_fields_of_a_response_stay_on_their_hop() {
    let origin = Origin::start(|visit| {
        while visit.head().is_some() {
            visit.send(
                "HTTP/1.1 200 OK\r\nConnection: x-private\r\nX-Private: 1\r\nKeep-Alive: timeout=5\r\n\
                 X-Public: 2\r\nContent-Length: 2\r\n\r\nok",
            );
        }
    });
    let isobar = in_front_of(origin.address, "", "");
    let response = answer_to(&isobar, format!("{GET}Host: a.example\r\n\r\n"));
    assert_eq!(response.header("x-private"), None, "{}", response.head);
    assert_eq!(response.header("keep-alive"), None, "{}", response.head);
    assert_eq!(response.header("x-public"), Some("2"));
}

#[test]
fn routing_and_forwarding_see_the_same_path() {
    let recorder = Recorder::start();
    let route = "[[routes]]\npath = \"/admin\"\nrespond = { status = 403, body = \"no\" }\n";
    let isobar = in_front_of(recorder.origin.address, "", route);
    let rows = [
        ("/admin/x", None),
        ("/public/../admin/x", None),
        ("/public/%2e%2E/admin", None),
        ("/./admin", None),
        ("/a/b/../../admin/", None),
        ("http://a.example/public/../admin", None),
        ("/%61dmin-not", Some("/%61dmin-not")),
        ("/administration", Some("/administration")),
        ("/admin/../public", Some("/public")),
        ("/../../public/./x", Some("/public/x")),
        ("/a/%2e/b/%2E%2e/c?d=/../e", Some("/a/c?d=/../e")),
    ];
    for (target, forwarded) in rows {
        let response = answer_to(&isobar, format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n"));
        match forwarded {
            None => assert_eq!(response.status, 403, "{target} came past the route"),
            Some(path) => {
                assert_eq!(response.status, 200, "{target}");
                let received = recorder.last();
                assert!(received.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{target}: {received}");
            }
        }
    }
}

#[test]
fn a_listener_that_does_not_normalise_forwards_the_path_as_it_came() {
    let recorder = Recorder::start();
    let isobar = in_front_of(recorder.origin.address, "normalize_path = false", "");
    for path in ["/a%2fb", "/a/../b", "/a%5cb"] {
        let response = answer_to(&isobar, format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n"));
        assert_eq!(response.status, 200, "{path}");
        assert!(recorder.last().starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{}", recorder.last());
    }
}

/// Answers every request with these bytes and ends the connection.
fn saying(bytes: String) -> Origin {
    Origin::start(move |visit| {
        if visit.head().is_some() {
            visit.send(&bytes);
        }
    })
}

#[test]
fn a_response_against_the_rules_becomes_502() {
    let rows = [
        (
            "both lengths",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        ),
        (
            "differing lengths",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok".to_owned(),
        ),
        ("lines that end with LF", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok".to_owned()),
        ("a folded line", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok".to_owned()),
        ("NUL in a value", "HTTP/1.1 200 OK\r\nX: a\0\r\nContent-Length: 2\r\n\r\nok".to_owned()),
        ("no HTTP at all", "SSH-2.0-OpenSSH_9.9\r\n\r\n".to_owned()),
        (
            "a switch that nobody asked for",
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n".to_owned(),
        ),
        ("a head over 64 KiB", format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "a".repeat(70_000))),
        ("more than 256 fields", format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: a\r\n".repeat(257))),
    ];
    for (rule, bytes) in rows {
        let origin = saying(bytes);
        let isobar = in_front_of(origin.address, "", "");
        let response = answer_to(&isobar, format!("{GET}Host: a.example\r\n\r\n"));
        assert_eq!((response.status, response.error()), (502, "bad-response"), "{rule}: {}", response.head);
    }
}

#[test]
fn informational_answers_are_relayed_in_order_before_the_final_one() {
    let origin = saying(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\n\
         Content-Length: 2\r\n\r\nok"
            .to_owned(),
    );
    let isobar = in_front_of(origin.address, "", "");
    let mut client = isobar.connect();
    client.send(format!("{GET}Host: a.example\r\n\r\n"));
    let statuses: Vec<u16> = (0..3).map(|_| client.any_response("GET").unwrap().status).collect();
    assert_eq!(statuses, [103, 102, 200]);
}

fn post_with_expectation(client: &mut Client) {
    client.send(format!("{POST}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"));
}

#[test]
fn expect_100_continue_works_from_end_to_end() {
    let origin = Origin::start(|visit| {
        while let Some(head) = visit.head() {
            assert!(head.to_lowercase().contains("\r\nexpect: 100-continue\r\n"), "{head}");
            visit.send("HTTP/1.1 100 Continue\r\n\r\n");
            let body = visit.body(&head);
            visit.answer(&String::from_utf8_lossy(&body));
        }
    });
    let isobar = in_front_of(origin.address, "", "");
    let mut client = isobar.connect();
    post_with_expectation(&mut client);
    assert_eq!(client.any_response("POST").unwrap().status, 100, "the body waits for this");
    client.send("hello");
    let response = client.any_response("POST").unwrap();
    assert_eq!((response.status, response.text().as_str()), (200, "hello"));
}

#[test]
fn an_endpoint_that_refuses_an_expectation_is_heard() {
    let origin = saying("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n".to_owned());
    let isobar = in_front_of(origin.address, "", "");
    let mut client = isobar.connect();
    post_with_expectation(&mut client);
    assert_eq!(client.any_response("POST").unwrap().status, 417);
}
