//! Bounds of a listener: each has its status, is exact to the byte, and refuses before an endpoint hears of it.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::fmt::Write as _;

use isobar_tests::{Isobar, Origin, Response, one_service, wait_for};

const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";

fn started(listener: &str) -> (Origin, Isobar) {
    let origin = Origin::echoing();
    let isobar = Isobar::start(&one_service(&[origin.address], listener, ""));
    (origin, isobar)
}

/// Sends one request on a connection of its own; a refusal must close it.
fn ask(isobar: &Isobar, request: &str) -> Response {
    let mut client = isobar.connect();
    client.send(request);
    let response = client.response("POST");
    if response.status != 200 {
        client.half_close();
        assert!(client.is_closed_by_peer(), "{request:?} left the connection open");
    }
    response
}

/// A head of exactly this many bytes.
fn head_of(n_bytes: usize) -> String {
    let (start, end) = ("GET / HTTP/1.1\r\nhost: test\r\nx-long: ", "\r\n\r\n");
    format!("{start}{}{end}", "a".repeat(n_bytes - start.len() - end.len()))
}

#[test]
fn a_head_above_its_limit_is_431_and_one_at_it_passes() {
    let (origin, isobar) = started("limits = { head = \"1KiB\" }");
    assert_eq!(ask(&isobar, &head_of(1024)).status, 200);
    let response = ask(&isobar, &head_of(1025));
    assert_eq!((response.status, response.error()), (431, "headers-too-large"));
    isobar.assert_no_leak();
    assert_eq!(origin.heads().len(), 1);
}

#[test]
fn a_head_that_never_ends_is_431_at_the_limit_not_at_its_end() {
    let (_origin, isobar) = started("limits = { head = \"1KiB\" }");
    let response = ask(&isobar, head_of(4096).trim_end());
    assert_eq!((response.status, response.error()), (431, "headers-too-large"));
    isobar.assert_no_leak();
}

#[test]
fn a_target_above_its_limit_is_414_and_one_at_it_passes() {
    let (origin, isobar) = started("limits = { target = \"64B\" }");
    for (n_bytes, status, error) in [(64, 200, ""), (65, 414, "uri-too-long")] {
        let target = format!("/{}", "a".repeat(n_bytes - 1));
        let response = ask(&isobar, &format!("GET {target} HTTP/1.1\r\nhost: test\r\n\r\n"));
        assert_eq!((response.status, response.error()), (status, error), "{n_bytes} bytes");
    }
    isobar.assert_no_leak();
    assert_eq!(origin.heads().len(), 1);
}

#[test]
fn more_fields_than_the_limit_are_431_and_as_many_pass() {
    let (origin, isobar) = started("limits = { headers = 10 }");
    for (n_fields, status, error) in [(10, 200, ""), (11, 431, "headers-too-large")] {
        let mut request = "GET / HTTP/1.1\r\nhost: test\r\n".to_owned();
        for n in 1..n_fields {
            write!(request, "x-{n}: a\r\n").unwrap();
        }
        let response = ask(&isobar, &(request + "\r\n"));
        assert_eq!((response.status, response.error()), (status, error), "{n_fields} fields");
    }
    isobar.assert_no_leak();
    assert_eq!(origin.heads().len(), 1);
}

#[test]
fn a_body_above_its_limit_is_413_by_length_and_chunked_and_one_at_it_passes() {
    let (origin, isobar) = started("limits = { body = \"100B\" }");
    for (n_bytes, status, error) in [(100, 200, ""), (101, 413, "body-too-large")] {
        let body = "b".repeat(n_bytes);
        let by_length = format!("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {n_bytes}\r\n\r\n{body}");
        let response = ask(&isobar, &by_length);
        assert_eq!((response.status, response.error()), (status, error), "{n_bytes} bytes by length");
    }
    assert_eq!(origin.heads().len(), 1, "a body that says it is too long reached an endpoint");
    for (n_chunks, status, error) in [(10, 200, ""), (11, 413, "body-too-large")] {
        let chunks = "a\r\n0123456789\r\n".repeat(n_chunks);
        let chunked =
            format!("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n{chunks}0\r\n\r\n");
        let response = ask(&isobar, &chunked);
        assert_eq!((response.status, response.error()), (status, error), "{n_chunks} chunks");
    }
    isobar.assert_no_leak();
}

#[test]
fn a_kept_connection_that_falls_silent_is_closed_without_a_word() {
    let (_origin, isobar) = started("timeouts = { idle = \"100ms\" }");
    let mut client = isobar.connect();
    client.send(GET);
    assert_eq!(client.response("GET").status, 200);
    assert_eq!(client.exactly(1), None, "bytes on an idle connection");
    assert!(client.is_closed_by_peer());
    isobar.assert_no_leak();
}

#[test]
fn a_connection_that_never_sends_is_closed_without_a_word() {
    let (_origin, isobar) = started("timeouts = { head = \"100ms\" }");
    let mut client = isobar.connect();
    assert_eq!(client.exactly(1), None, "bytes on a silent connection");
    assert!(client.is_closed_by_peer());
    isobar.assert_no_leak();
}

#[test]
fn connections_above_the_limit_wait_until_one_closes() {
    let (origin, isobar) = started("limits = { connections = 2 }");
    let mut held = [isobar.connect(), isobar.connect()];
    for client in &mut held {
        client.send(GET);
        assert_eq!(client.response("GET").status, 200);
    }
    let mut waiting = isobar.connect();
    waiting.send(GET);
    for client in &mut held {
        client.send(GET);
        assert_eq!(client.response("GET").status, 200);
    }
    assert_eq!(origin.heads().len(), 4, "a connection above the limit was served");
    assert!((isobar.metric(&["isobar_connections_open{"]) - 2.0).abs() < f64::EPSILON);
    let [first, second] = held;
    drop(first);
    assert_eq!(waiting.response("GET").status, 200);
    drop((second, waiting));
    isobar.assert_no_leak();
}

#[test]
fn an_endpoint_at_its_limit_of_connections_answers_503_overloaded_and_serves_again_later() {
    let (go, told) = std::sync::mpsc::channel::<()>();
    let told = std::sync::Mutex::new(told);
    let origin = Origin::start(move |visit| {
        while visit.head().is_some() {
            told.lock().unwrap().recv().unwrap();
            visit.answer("ok");
        }
    });
    let pool = "pool = { max_connections_per_endpoint = 1 }";
    let isobar = Isobar::start(&one_service(&[origin.address], "", pool));
    let mut first = isobar.connect();
    first.send(GET);
    wait_for("the request to arrive", || (origin.heads().len() == 1).then_some(()));
    let response = isobar.get("/");
    assert_eq!((response.status, response.error()), (503, "overloaded"));
    assert_eq!(response.header("retry-after"), Some("1"));
    go.send(()).unwrap();
    assert_eq!(first.response("GET").status, 200);
    go.send(()).unwrap();
    first.send(GET);
    assert_eq!(first.response("GET").status, 200);
    drop(first);
    isobar.assert_no_leak();
}
