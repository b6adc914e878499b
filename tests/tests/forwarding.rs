//! What an endpoint learns of a caller and what a caller learns of an endpoint: forwarding headers, request ids, the
//! debug headers, and everything else as it came.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;

use isobar_tests::{Isobar, Origin};

/// A proxy with these trusted networks in front of an endpoint that echoes; the text of a request as the endpoint got it.
struct Stage {
    isobar: Isobar,
    _origin: Origin,
}

impl Stage {
    fn start(trusted: &str) -> Self {
        let origin = Origin::echoing();
        let isobar = Isobar::start(&format!(
            "[runtime]\ntrusted_proxies = [{trusted}]\n[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n\
             service = \"app\"\n[services.app]\nendpoints = [\"{}\"]\n",
            origin.address
        ));
        Self { isobar, _origin: origin }
    }

    fn seen(&self, head: &str) -> Seen {
        let mut client = self.isobar.connect();
        client.send(head);
        let response = client.response("GET");
        assert_eq!(response.status, 200, "{}", response.head);
        Seen(response.text())
    }
}

struct Seen(String);

impl Seen {
    /// The values of every field of this name, in order.
    fn all(&self, name: &str) -> Vec<&str> {
        let lines = self.0.lines().skip(1).take_while(|line| !line.is_empty());
        let fields = lines.filter_map(|line| line.split_once(':'));
        fields.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }
}

const FORGED: &str = "GET / HTTP/1.1\r\nhost: shop.test:81\r\nX-Forwarded-For: 192.0.2.1\r\nx-forwarded-for: 192.0.2.2\r\n\
    X-Forwarded-Proto: https\r\nX-Forwarded-Host: forged.test\r\nForwarded: for=192.0.2.1\r\nX-Real-IP: 192.0.2.1\r\n\
    X-Forwarded-Port: 443\r\n\r\n";

#[test]
fn forwarding_headers_of_a_stranger_are_replaced_by_the_truth() {
    for trusted in ["", "\"10.0.0.0/8\", \"::1\""] {
        let stage = Stage::start(trusted);
        let seen = stage.seen(FORGED);
        assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(seen.all("x-forwarded-proto"), ["http"]);
        assert_eq!(seen.all("x-forwarded-host"), ["shop.test:81"]);
        for name in ["forwarded", "x-real-ip", "x-forwarded-port"] {
            assert!(seen.all(name).is_empty(), "{name} of a stranger was forwarded: {}", seen.0);
        }
    }
}

#[test]
fn forwarding_headers_of_a_trusted_proxy_are_kept_and_continued() {
    for trusted in ["\"127.0.0.1\"", "\"127.0.0.0/8\"", "\"0.0.0.0/0\""] {
        let stage = Stage::start(trusted);
        let seen = stage.seen(FORGED);
        let chain = seen.all("x-forwarded-for").join(", ");
        assert_eq!(chain, "192.0.2.1, 192.0.2.2, 127.0.0.1");
        assert_eq!(seen.all("x-forwarded-proto"), ["https"]);
        assert_eq!(seen.all("x-forwarded-host"), ["forged.test"]);
        let plain = stage.seen("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n");
        assert_eq!(plain.all("x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(
            (plain.all("x-forwarded-proto"), plain.all("x-forwarded-host")),
            (vec!["http"], vec!["shop.test"])
        );
    }
}

#[test]
fn via_names_the_version_that_was_received_and_is_appended() {
    let stage = Stage::start("");
    assert_eq!(stage.seen("GET / HTTP/1.1\r\nhost: test\r\n\r\n").all("via"), ["1.1 isobar"]);
    assert_eq!(stage.seen("GET / HTTP/1.0\r\nhost: test\r\n\r\n").all("via"), ["1.0 isobar"]);
    let chained = stage.seen("GET / HTTP/1.1\r\nhost: test\r\nvia: 1.1 edge\r\n\r\n");
    assert_eq!(chained.all("via").join(", "), "1.1 edge, 1.1 isobar");
}

#[test]
fn a_request_without_an_id_gets_one_of_its_own_and_an_id_is_kept() {
    let stage = Stage::start("");
    let mut made = BTreeSet::new();
    for _ in 0..50 {
        let seen = stage.seen("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
        let ids = seen.all("x-request-id");
        assert!(ids.len() == 1 && ids[0].len() == 32, "{ids:?}");
        assert!(ids[0].bytes().all(|byte| byte.is_ascii_hexdigit()), "{ids:?}");
        assert!(made.insert(ids[0].to_owned()), "an id was given twice: {ids:?}");
    }
    let seen = stage.seen("GET / HTTP/1.1\r\nhost: test\r\nX-Request-ID: mine-1\r\n\r\n");
    assert_eq!(seen.all("x-request-id"), ["mine-1"]);
}

#[test]
fn everything_else_passes_as_it_came_in_order_and_spelling() {
    let stage = Stage::start("");
    let fields = "Accept: a\r\nTraceParent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\
        tracestate: x=1\r\nAuthorization: Basic eDp5\r\nCookie: a=1; b=2\r\nCookie: c=3\r\nX-Empty:\r\nx-odd!#$%&'*+.^_`|~: \t v \t\r\n\
        Range: bytes=0-1\r\nIf-None-Match: \"x\"\r\nAccept: b\r\n";
    let seen = stage.seen(&format!("GET /a?b HTTP/1.1\r\nHost: Shop.Test\r\n{fields}\r\n"));
    let start = format!("GET /a?b HTTP/1.1\r\nHost: Shop.Test\r\n{fields}");
    assert!(seen.0.starts_with(&start), "{}", seen.0);
}

#[test]
fn internal_headers_can_be_set_by_neither_side() {
    let origin = Origin::start(|visit| {
        while let Some(head) = visit.head() {
            visit.send(format!(
                "HTTP/1.1 200 OK\r\nX-Isobar-Error: forged\r\nx-isobar-endpoint: forged\r\ncontent-length: {}\r\n\r\n{head}",
                head.len()
            ));
        }
    });
    let isobar = Isobar::start(&format!(
        "[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\nservice = \"app\"\n\
         [services.app]\ndebug_headers = true\nendpoints = [{{ address = \"{}\", id = \"one\" }}]\n",
        origin.address
    ));
    let mut client = isobar.connect();
    client.send("GET / HTTP/1.1\r\nhost: test\r\nX-Isobar-Endpoint: other\r\nx-isobar-anything: 1\r\n\r\n");
    let response = client.response("GET");
    assert!(!response.text().to_lowercase().contains("x-isobar-"), "{}", response.text());
    assert_eq!(response.error(), "");
    assert_eq!(response.head.to_lowercase().matches("x-isobar-endpoint").count(), 1, "{}", response.head);
    assert_eq!(response.header("x-isobar-endpoint"), Some("one"));
    assert_eq!(response.header("x-isobar-attempts"), Some("1"));
}

#[test]
fn without_debug_headers_an_answer_tells_nothing_of_the_inside() {
    let origin = Origin::answering("x");
    let isobar = Isobar::start(&format!(
        "[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\nservice = \"app\"\n\
         [services.app]\nendpoints = [\"{}\"]\n",
        origin.address
    ));
    let head = isobar.get("/").head.to_lowercase();
    assert!(!head.contains("isobar"), "{head}");
}

#[test]
fn an_absolute_target_becomes_a_path_and_its_authority_the_host() {
    let stage = Stage::start("");
    let seen = stage.seen("GET http://Shop.Test:80/a/b?c HTTP/1.1\r\nhost: Shop.Test:80\r\n\r\n");
    assert!(seen.0.starts_with("GET /a/b?c HTTP/1.1\r\n"), "{}", seen.0);
    assert_eq!(seen.all("host"), ["Shop.Test:80"]);
    let bare = stage.seen("OPTIONS * HTTP/1.1\r\nhost: test\r\n\r\n");
    assert!(bare.0.starts_with("OPTIONS * HTTP/1.1\r\n"), "{}", bare.0);
}

#[test]
fn a_length_of_a_request_reaches_the_endpoint_once_and_unchanged() {
    let stage = Stage::start("");
    let twice =
        stage.seen("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\nabc");
    assert_eq!(twice.all("content-length"), ["3"], "an equal length in two fields goes on as one");
    let chunked = stage
        .seen("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    assert_eq!((chunked.all("transfer-encoding"), chunked.all("content-length")), (vec!["chunked"], vec![]));
    assert!(chunked.0.ends_with("\r\n\r\nabc"), "{}", chunked.0);
}
