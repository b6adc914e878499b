//! Endpoints that refuse, reset, stall, lie or break off at every point of an exchange: the caller gets the status of
//! the interface, or an answer that it can tell is not whole, and nothing leaks.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::Read;
use std::net::Shutdown;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use isobar_tests::{Client, Isobar, Origin, PATIENCE, Response, one_service, refusing_address, watching};

const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\nbody";
const BOUNDED_ROUTE: &str = "[[routes]]\nservice = \"app\"\ntimeout = \"200ms\"";

/// An endpoint that sends these bytes for each request head and closes, with a reset where asked for.
fn breaking(answer: &'static [u8], reset: bool) -> Origin {
    Origin::start(move |visit| {
        if let Some(head) = visit.head() {
            visit.body(&head);
            visit.send(answer);
            if reset {
                visit.reset();
            }
        }
    })
}

/// Sends one request on a connection of its own.
fn ask(isobar: &Isobar, request: &str) -> Response {
    let mut client = isobar.connect();
    client.send(request);
    client.response("GET")
}

fn assert_refused(isobar: &Isobar, request: &str, status: u16, code: &str) {
    let response = ask(isobar, request);
    assert_eq!((response.status, response.error()), (status, code), "{request:?}");
    isobar.assert_no_leak();
}

/// Everything up to the end, and whether the end was orderly.
fn to_the_end(client: &mut Client) -> (String, bool) {
    let mut bytes = Vec::new();
    let orderly = client.stream.read_to_end(&mut bytes).is_ok();
    (String::from_utf8_lossy(&bytes).into_owned(), orderly)
}

#[test]
fn a_refused_connection_is_tried_elsewhere_for_any_method() {
    let healthy = Origin::answering("ok");
    let isobar = Isobar::start(&one_service(&[refusing_address(), healthy.address], "", ""));
    for request in [GET, POST, GET, POST, POST, GET] {
        assert_eq!(ask(&isobar, request).status, 200, "{request:?}");
    }
    isobar.assert_no_leak();
    assert!(isobar.metric(&["isobar_failures_total{", "reason=\"connect"]) > 0.0);
}

#[test]
fn connections_refused_everywhere_are_502_connect_failed() {
    let isobar = Isobar::start(&one_service(&[refusing_address(), refusing_address()], "", ""));
    assert_refused(&isobar, GET, 502, "connect-failed");
    assert_refused(&isobar, POST, 502, "connect-failed");
}

#[test]
fn silence_before_or_inside_the_head_is_504_at_the_route_s_timeout() {
    for sent in [&b""[..], b"HTTP/1.1 200 OK\r\ncontent-le"] {
        let (origin, closed) = watching(sent);
        let isobar = Isobar::start(&(one_service(&[origin.address], "", "") + BOUNDED_ROUTE));
        for request in [GET, POST] {
            assert_refused(&isobar, request, 504, "upstream-timeout");
            assert!(closed.recv_timeout(PATIENCE).unwrap(), "the endpoint's connection stayed open");
        }
        assert_eq!(origin.heads().len(), 2, "a request whose time was over was repeated");
    }
}

#[test]
fn a_get_that_was_reset_or_closed_before_any_byte_is_repeated_elsewhere() {
    for reset in [true, false] {
        let (breaking, healthy) = (breaking(b"", reset), Origin::answering("ok"));
        let isobar = Isobar::start(&one_service(&[breaking.address, healthy.address], "", ""));
        for _ in 0..6 {
            assert_eq!(ask(&isobar, GET).text(), "ok");
        }
        isobar.assert_no_leak();
        assert!(!breaking.heads().is_empty());
        assert_eq!(healthy.heads().len(), 6);
    }
}

#[test]
fn a_post_that_may_have_arrived_is_never_repeated() {
    for reset in [true, false] {
        let origins = [breaking(b"", reset), breaking(b"", reset)];
        let isobar = Isobar::start(&one_service(&[origins[0].address, origins[1].address], "", ""));
        assert_refused(&isobar, POST, 502, "upstream-reset");
        assert_eq!(origins[0].heads().len() + origins[1].heads().len(), 1);
    }
}

#[test]
fn half_a_head_is_502_upstream_reset() {
    for reset in [true, false] {
        let origin = breaking(b"HTTP/1.1 200 OK\r\ncontent-le", reset);
        let isobar = Isobar::start(&one_service(&[origin.address], "", ""));
        assert_refused(&isobar, GET, 502, "upstream-reset");
        assert_refused(&isobar, POST, 502, "upstream-reset");
    }
}

#[test]
fn a_head_that_is_not_http_is_502_bad_response_and_not_repeated() {
    for garbage in
        [&b"SSH-2.0-OpenSSH_9.2\r\n\r\n"[..], b"\0\0\0\x12\x04\0\0\0\0\0\r\n\r\n", b"HTTP/1.1 OK\r\n\r\n"]
    {
        let (origin, closed) = watching(garbage);
        let isobar = Isobar::start(&one_service(&[origin.address], "", ""));
        assert_refused(&isobar, GET, 502, "bad-response");
        assert!(closed.recv_timeout(PATIENCE).unwrap());
        assert_eq!(origin.heads().len(), 1);
    }
}

#[test]
fn a_body_cut_before_its_length_is_cut_for_the_caller_too() {
    for reset in [true, false] {
        let origin = breaking(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf", reset);
        let isobar = Isobar::start(&one_service(&[origin.address], "", ""));
        let mut client = isobar.connect();
        client.send(GET);
        let (answer, _) = to_the_end(&mut client);
        assert!(answer.contains("content-length: 1000\r\n"), "{answer}");
        assert!(answer.len() < 1000, "{answer}");
        isobar.assert_no_leak();
        assert_eq!(origin.heads().len(), 1, "a request whose answer had begun was repeated");
    }
}

#[test]
fn a_chunked_body_cut_before_its_end_never_gets_a_last_chunk() {
    let origin = breaking(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", false);
    let isobar = Isobar::start(&one_service(&[origin.address], "", ""));
    let mut client = isobar.connect();
    client.send(GET);
    let (answer, _) = to_the_end(&mut client);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(!answer.ends_with("0\r\n\r\n"), "{answer}");
    isobar.assert_no_leak();

    // HTTP/1.0 knows no chunks: only a reset tells that the body is not whole.
    let mut client = isobar.connect();
    client.send("GET / HTTP/1.0\r\nhost: test\r\n\r\n");
    let (_, orderly) = to_the_end(&mut client);
    assert!(!orderly, "half a body looks whole");
    isobar.assert_no_leak();
}

#[test]
fn a_close_delimited_body_ends_whole_by_a_close_and_cut_by_a_reset() {
    for reset in [false, true] {
        let origin = Origin::start(move |visit| {
            if visit.head().is_some() {
                visit.send("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nbody");
                if reset {
                    // The reset must not overtake the bytes: wait until the proxy has passed them on.
                    visit.line();
                    visit.reset();
                }
            }
        });
        let isobar = Isobar::start(&one_service(&[origin.address], "", ""));
        let mut client = isobar.connect();
        if reset {
            client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 3\r\n\r\n");
            assert!(client.exactly(17).unwrap().starts_with(b"HTTP/1.1 200 OK\r\n"));
            client.send("x\r\n");
            let (answer, _) = to_the_end(&mut client);
            assert!(!answer.ends_with("0\r\n\r\n"), "{answer}");
        } else {
            client.send(GET);
            assert_eq!(client.response("GET").text(), "body");
        }
        drop(client);
        isobar.assert_no_leak();
    }
}

#[test]
fn a_body_that_falls_silent_is_cut_after_body_idle() {
    let (origin, closed) = watching(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf");
    let isobar = Isobar::start(&one_service(&[origin.address], "timeouts = { body_idle = \"100ms\" }", ""));
    let mut client = isobar.connect();
    client.send(GET);
    let (answer, _) = to_the_end(&mut client);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(closed.recv_timeout(PATIENCE).unwrap());
    isobar.assert_no_leak();
}

#[test]
fn an_endpoint_that_takes_no_more_of_an_upload_is_504_after_body_idle() {
    let (test_ended, ended) = channel::<()>();
    let ended = Mutex::new(ended);
    let origin = Origin::start(move |visit| {
        visit.head();
        // Ends when the test drops its side.
        let _ = ended.lock().unwrap().recv();
    });
    let isobar = Isobar::start(&one_service(&[origin.address], "timeouts = { body_idle = \"300ms\" }", ""));
    let mut client = isobar.connect();
    client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 100000000\r\n\r\n");
    client.send(vec![b'x'; 50_000_000]);
    let response = client.response("POST");
    assert_eq!((response.status, response.error()), (504, "upstream-timeout"));
    drop((client, test_ended));
    isobar.assert_no_leak();
}

#[test]
fn an_answer_that_comes_before_the_end_of_a_large_upload_arrives_whole() {
    let body = "no".repeat(50_000);
    let answer = format!("HTTP/1.1 413 Content Too Large\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let (test_ended, ended) = channel::<()>();
    let ended = Mutex::new(ended);
    let origin = Origin::start(move |visit| {
        visit.head();
        visit.send(&answer);
        // Ends when the test drops its side.
        let _ = ended.lock().unwrap().recv();
    });
    let isobar = Isobar::start(&one_service(&[origin.address], "", ""));
    let mut client = isobar.connect();
    client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 20000000\r\n\r\n");
    client.send(vec![b'x'; 20_000_000]);
    let response = client.response("POST");
    assert_eq!((response.status, response.error()), (413, ""));
    assert_eq!(response.text(), body);
    drop((client, test_ended));
    isobar.assert_no_leak();
}

#[test]
fn a_kept_connection_that_the_endpoint_closed_while_idle_costs_no_request() {
    let (closed, told) = channel();
    let origin = Origin::start(move |visit| {
        let head = visit.head().unwrap_or_default();
        visit.body(&head);
        visit.answer("ok");
        visit.stream.shutdown(Shutdown::Both).unwrap();
        // The test may have ended by now.
        let _ = closed.send(());
    });
    let isobar =
        Isobar::start(&format!("[runtime]\nworkers = 1\n{}", one_service(&[origin.address], "", "")));
    let mut client = isobar.connect();
    for request in [GET, GET, POST, GET, POST, POST] {
        client.send(request);
        assert_eq!(client.response("GET").status, 200, "{request:?}");
        told.recv_timeout(PATIENCE).unwrap();
    }
    drop(client);
    isobar.assert_no_leak();
    assert_eq!(origin.heads().len(), 6, "a request reached an endpoint twice");
}
