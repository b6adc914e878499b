//! Connections of HTTP/2 to endpoints that are shared: what one request meets there is not for the others to bear.
#![allow(clippy::unwrap_used, reason = "a test")]

use isobar_tests::http2::{Http2, kind};
use isobar_tests::{Isobar, Origin, one_service};

const INTERNAL_ERROR: [u8; 4] = [0, 0, 0, 2];
const NO_STREAMS: [u8; 6] = [0, 3, 0, 0, 0, 0];
const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";

/// One worker, so that all requests share a connection.
fn start(origins: &[&Origin]) -> Isobar {
    let endpoints: Vec<_> = origins.iter().map(|origin| origin.address).collect();
    let service = one_service(&endpoints, "", "protocol = \"h2\"\n");
    Isobar::start(&format!("[runtime]\nworkers = 1\n{service}"))
}

#[test]
fn a_stream_that_is_reset_on_a_connection_in_use_is_a_failure_that_counts() {
    let resetting = Origin::start(|visit| {
        let Some(mut peer) = Http2::accept(&visit.stream, &[]) else { return };
        while let Some(stream) = peer.next_request() {
            peer.send(kind::RST_STREAM, 0, stream, &INTERNAL_ERROR);
        }
    });
    let isobar = start(&[&resetting]);
    for _ in 0..5 {
        let mut caller = isobar.connect();
        caller.send(GET);
        assert_eq!(caller.response("GET").error(), "upstream-reset");
    }
    let attempts = isobar.count(&["isobar_attempts_total"]);
    assert!((5..=10).contains(&attempts), "{attempts} attempts for five requests of two each");
    assert_eq!(isobar.count(&["isobar_failures_total", "reason=\"reset\""]), attempts);
    assert_eq!(resetting.n_connections(), 1, "the connection had no part in it");
    isobar.assert_no_leak();
}

#[test]
fn an_endpoint_that_allows_no_streams_fails_its_requests_at_once_and_is_not_connected_to_without_end() {
    let full = Origin::start(|visit| {
        let Some(mut peer) = Http2::accept(&visit.stream, &NO_STREAMS) else { return };
        while peer.next_frame().is_some() {}
    });
    let taking = Origin::start(|visit| {
        let Some(mut peer) = Http2::accept(&visit.stream, &[]) else { return };
        while let Some(stream) = peer.next_request() {
            peer.answer(stream, "taken");
        }
    });
    let isobar = start(&[&full, &taking]);
    for _ in 0..6 {
        let mut caller = isobar.connect();
        caller.send(GET);
        assert_eq!(caller.response("GET").text(), "taken");
    }
    let n = full.n_connections();
    assert!((1..=6).contains(&n), "{n} connections for six requests");
    isobar.assert_no_leak();
}

#[test]
fn callers_that_take_nothing_hold_up_no_other_on_the_same_connection() {
    const LARGE: usize = 64 << 20;
    let origin = Origin::start(|visit| {
        while let Some(head) = visit.head() {
            let len = if head.contains("/large") { LARGE } else { 256 << 10 };
            visit.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {len}\r\n\r\n"));
            visit.send(vec![b'x'; len]);
        }
    });
    let back = Isobar::start(&one_service(&[origin.address], "", ""));
    let service = one_service(&[back.listener("web")], "", "protocol = \"h2\"\n");
    let front = Isobar::start(&format!("[runtime]\nworkers = 1\n{service}"));
    let mut stalled = Vec::new();
    for _ in 0..40 {
        let mut caller = front.connect();
        caller.send("GET /large HTTP/1.1\r\nhost: test\r\n\r\n");
        assert_eq!(caller.exactly(12).unwrap(), b"HTTP/1.1 200");
        stalled.push(caller);
    }
    for _ in 0..20 {
        assert_eq!(front.get("/").text().len(), 256 << 10);
    }
    drop(stalled);
    front.assert_no_leak();
}
