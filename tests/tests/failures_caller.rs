//! Callers that go away or stall at every point of an exchange: the endpoint is let go at once and nothing leaks.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::Read;

use isobar_tests::{Client, Isobar, Origin, PATIENCE, one_service, wait_for, watching};

const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";
const HALF_A_POST: &str = "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 100\r\n\r\n0123456789";
const HALF_A_CHUNKED_POST: &str =
    "POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\na\r\n0123456789\r\n";
const HALF_AN_ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf";

/// How a caller leaves.
#[derive(Debug, Clone, Copy)]
enum Departure {
    Reset,
    HalfClose,
    Close,
}

const DEPARTURES: [Departure; 3] = [Departure::Reset, Departure::HalfClose, Departure::Close];

/// Leaves; a half-closed connection stays readable.
fn depart(client: Client, how: Departure) -> Option<Client> {
    match how {
        Departure::Reset => client.reset(),
        Departure::Close => drop(client),
        Departure::HalfClose => {
            client.half_close();
            return Some(client);
        }
    }
    None
}

#[test]
fn a_caller_that_leaves_inside_its_head_leaves_nothing_behind() {
    let origin = Origin::answering("ok");
    let isobar = Isobar::start(&one_service(&[origin.address], "", ""));
    for how in DEPARTURES {
        let mut client = isobar.connect();
        client.send("GET / HTTP/1.1\r\nhost: te");
        if let Some(mut client) = depart(client, how) {
            let response = client.response("GET");
            assert_eq!((response.status, response.error()), (400, "bad-request"));
            assert!(client.is_closed_by_peer());
        }
        isobar.assert_no_leak();
    }
    assert_eq!(origin.n_connections(), 0, "half a head reached an endpoint");
}

#[test]
fn a_caller_that_leaves_inside_its_body_frees_the_endpoint_at_once() {
    let (origin, closed) = watching(b"");
    let isobar = Isobar::start(&one_service(&[origin.address], "", ""));
    let mut n_requests = 0;
    for request in [HALF_A_POST, HALF_A_CHUNKED_POST] {
        for how in DEPARTURES {
            let mut client = isobar.connect();
            client.send(request);
            n_requests += 1;
            wait_for("the head to reach the endpoint", || (origin.heads().len() == n_requests).then_some(()));
            if let Some(mut client) = depart(client, how) {
                let response = client.response("POST");
                assert_eq!((response.status, response.error()), (400, "bad-request"));
                assert!(client.is_closed_by_peer());
            }
            assert!(closed.recv_timeout(PATIENCE).unwrap(), "{how:?}: the endpoint's connection stayed open");
            isobar.assert_no_leak();
        }
    }
}

#[test]
fn a_caller_that_leaves_while_it_waits_frees_the_endpoint_at_once_and_is_counted_as_cancelled() {
    let (origin, closed) = watching(b"");
    let isobar = Isobar::start(&one_service(&[origin.address], "", ""));
    for (n, how) in DEPARTURES.into_iter().enumerate() {
        let mut client = isobar.connect();
        client.send(GET);
        wait_for("the request to arrive", || (origin.heads().len() == n + 1).then_some(()));
        let half_closed = depart(client, how);
        assert!(closed.recv_timeout(PATIENCE).unwrap(), "{how:?}: the endpoint's connection stayed open");
        if let Some(mut client) = half_closed {
            assert!(client.any_response("GET").is_none(), "an answer to a caller that is gone");
        }
        isobar.assert_no_leak();
    }
    assert_eq!(origin.heads().len(), 3, "a cancelled request was repeated");
    let cancelled = isobar.metric(&["isobar_requests_total{", "reason=\"cancelled\""]);
    assert!((cancelled - 3.0).abs() < f64::EPSILON, "{cancelled} of 3 were counted");
}

#[test]
fn a_caller_that_leaves_in_the_middle_of_its_answer_frees_the_endpoint_at_once() {
    let (origin, closed) = watching(HALF_AN_ANSWER);
    let isobar = Isobar::start(&one_service(&[origin.address], "", ""));
    for how in DEPARTURES {
        let mut client = isobar.connect();
        client.send(GET);
        assert!(client.exactly(HALF_AN_ANSWER.len()).unwrap().starts_with(b"HTTP/1.1 200 OK\r\n"));
        let kept = depart(client, how);
        assert!(closed.recv_timeout(PATIENCE).unwrap(), "{how:?}: the endpoint's connection stayed open");
        drop(kept);
        isobar.assert_no_leak();
    }
}

#[test]
fn a_caller_that_leaves_between_requests_is_forgotten_and_the_endpoint_s_connection_kept() {
    let origin = Origin::answering("ok");
    let isobar =
        Isobar::start(&format!("[runtime]\nworkers = 1\n{}", one_service(&[origin.address], "", "")));
    for how in DEPARTURES {
        let mut client = isobar.connect();
        client.send(GET);
        assert_eq!(client.response("GET").status, 200);
        if let Some(mut client) = depart(client, how) {
            assert!(client.is_closed_by_peer());
        }
        isobar.assert_no_leak();
    }
    assert_eq!(origin.n_connections(), 1);
}

#[test]
fn a_head_that_stalls_is_answered_408() {
    let origin = Origin::answering("ok");
    let isobar = Isobar::start(&one_service(&[origin.address], "timeouts = { head = \"100ms\" }", ""));
    let mut client = isobar.connect();
    client.send("GET / HTTP/1.1\r\nhost: te");
    let response = client.response("GET");
    assert_eq!((response.status, response.error()), (408, "request-timeout"));
    assert!(client.is_closed_by_peer());
    isobar.assert_no_leak();
    assert_eq!(origin.n_connections(), 0);
}

#[test]
fn a_body_that_stalls_is_answered_408_and_frees_the_endpoint() {
    let (origin, closed) = watching(b"");
    let isobar = Isobar::start(&one_service(&[origin.address], "timeouts = { body_idle = \"100ms\" }", ""));
    for request in [HALF_A_POST, HALF_A_CHUNKED_POST] {
        let mut client = isobar.connect();
        client.send(request);
        let response = client.response("POST");
        assert_eq!((response.status, response.error()), (408, "request-timeout"));
        assert!(client.is_closed_by_peer());
        assert!(closed.recv_timeout(PATIENCE).unwrap());
        isobar.assert_no_leak();
    }
}

#[test]
fn a_caller_that_takes_nothing_of_its_answer_is_cut_off_and_frees_the_endpoint() {
    let mut endless = b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n".to_vec();
    endless.resize(50_000_000, b'x');
    let (origin, closed) = watching(&endless);
    let isobar = Isobar::start(&one_service(&[origin.address], "timeouts = { body_idle = \"200ms\" }", ""));
    let mut client = isobar.connect();
    client.send(GET);
    assert!(closed.recv_timeout(PATIENCE).unwrap(), "the endpoint's connection stayed open");
    let mut received = Vec::new();
    // Cut off by a close or by a reset: either tells that the body is not whole.
    let _ = client.stream.read_to_end(&mut received);
    assert!(received.len() < 50_000_000);
    isobar.assert_no_leak();
}
