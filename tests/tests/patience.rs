//! Slow and steady: who goes on is not cut, however long it takes; what is bounded as a whole is cut although it goes on.
//!
//! A pause between two pieces is a read that must find nothing: the other side has nothing to say yet.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::{ErrorKind, Read as _};
use std::net::TcpStream;
use std::time::Duration;

use isobar_tests::{Client, Isobar, Origin, PATIENCE, one_service};

/// Length of a pause.
const PAUSE: Duration = Duration::from_millis(100);

/// A timeout that one pause stays far below, even on a busy machine, and that all pauses of a message exceed.
const LIMIT: &str = "600ms";

/// Pieces of a message: their pauses exceed the limit twice.
const N_PIECES: usize = 12;

/// Waits one pause; panics where something arrives.
fn pause(mut stream: &TcpStream) {
    stream.set_read_timeout(Some(PAUSE)).unwrap();
    let found = stream.read(&mut [0]);
    assert!(found.is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "something came in a pause");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
}

fn start(origin: &Origin, timeouts: &str, route: &str) -> Isobar {
    let service = one_service(&[origin.address], &format!("timeouts = {{ {timeouts} }}"), "");
    Isobar::start(&format!("{service}{route}"))
}

fn within_body_idle(origin: &Origin) -> Isobar {
    start(origin, &format!("body_idle = \"{LIMIT}\""), "")
}

#[test]
fn a_body_that_keeps_coming_is_taken_however_long_it_takes() {
    let origin = Origin::echoing();
    let isobar = within_body_idle(&origin);
    for is_chunked in [false, true] {
        let framing = if is_chunked {
            "transfer-encoding: chunked".to_owned()
        } else {
            format!("content-length: {N_PIECES}")
        };
        let mut client = isobar.connect();
        client.send(format!("POST / HTTP/1.1\r\nhost: test\r\n{framing}\r\n\r\n"));
        for _ in 0..N_PIECES {
            pause(&client.stream);
            client.send(if is_chunked { "1\r\nx\r\n" } else { "x" });
        }
        if is_chunked {
            client.send("0\r\n\r\n");
        }
        let response = client.response("POST");
        assert_eq!(response.status, 200, "{}", response.head);
        assert!(response.text().ends_with(&"x".repeat(N_PIECES)));
    }
    isobar.assert_no_leak();
}

/// An endpoint that answers piece by piece.
fn dripping() -> Origin {
    Origin::start(|visit| {
        if visit.head().is_some() {
            visit.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {N_PIECES}\r\n\r\n"));
            for _ in 0..N_PIECES {
                pause(&visit.stream);
                visit.send("x");
            }
        }
    })
}

#[test]
fn an_answer_that_keeps_coming_is_relayed_however_long_it_takes() {
    let origin = dripping();
    let isobar = within_body_idle(&origin);
    assert_eq!(isobar.get("/").text(), "x".repeat(N_PIECES));
    isobar.assert_no_leak();
}

#[test]
fn an_answer_that_outlasts_the_timeout_of_its_route_is_cut_although_it_keeps_coming() {
    let origin = Origin::start(|visit| {
        if visit.head().is_some() {
            visit.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n");
            while visit.send("x") {
                visit.stream.set_read_timeout(Some(PAUSE)).unwrap();
                if !matches!(visit.stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
                {
                    return;
                }
            }
        }
    });
    let isobar = start(&origin, "", &format!("[[routes]]\nservice = \"app\"\ntimeout = \"{LIMIT}\"\n"));
    let mut client = isobar.connect();
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    assert!(client.any_response("GET").is_none(), "shown as whole");
    assert!(client.is_closed_by_peer());
    drop(client);
    isobar.assert_no_leak();
}

#[test]
fn a_head_is_bounded_as_a_whole_although_it_keeps_coming() {
    let origin = Origin::answering("x");
    let isobar = start(&origin, &format!("head = \"{LIMIT}\""), "");
    let mut client = isobar.connect();
    client.send("GET / HTTP/1.1\r\n");
    let mut n_sent = 0;
    client.stream.set_read_timeout(Some(PAUSE)).unwrap();
    while matches!(client.stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock) {
        client.send(format!("x-{n_sent}: y\r\n"));
        n_sent += 1;
        assert!(n_sent < 20 * N_PIECES, "a head may go on for ever");
    }
    client.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let response = client.response("GET");
    assert_eq!((response.status, response.error()), (408, "request-timeout"));
    assert_eq!(origin.n_connections(), 0);
    drop(client);
    isobar.assert_no_leak();
}

#[test]
fn a_kept_connection_that_is_used_again_in_time_stays_open() {
    let origin = Origin::answering("x");
    let isobar = start(&origin, &format!("idle = \"{LIMIT}\", head = \"{LIMIT}\""), "");
    let mut client = isobar.connect();
    for _ in 0..N_PIECES {
        client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
        assert_eq!(client.response("GET").text(), "x");
        pause(&client.stream);
    }
    drop(client);
    isobar.assert_no_leak();
}

#[test]
fn a_pause_between_requests_does_not_count_for_the_next_head() {
    let origin = Origin::answering("x");
    let isobar = start(&origin, &format!("idle = \"60s\", head = \"{LIMIT}\""), "");
    let mut client = isobar.connect();
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    client.response("GET");
    for _ in 0..N_PIECES {
        pause(&client.stream);
    }
    client.send("GET / HTTP/1.1\r\n");
    pause(&client.stream);
    client.send("host: test\r\n\r\n");
    assert_eq!(client.response("GET").text(), "x");
}

#[test]
fn a_tunnel_in_use_lives_longer_than_any_timeout() {
    let origin = Origin::start(|visit| {
        visit.head();
        visit.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
        while !visit.take(1).is_empty() && visit.send("y") {}
    });
    let limits = format!("head = \"{LIMIT}\", body_idle = \"{LIMIT}\", idle = \"{LIMIT}\"");
    let isobar = start(&origin, &limits, "");
    let mut client: Client = isobar.connect();
    client.send("GET / HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    assert_eq!(client.response("GET").status, 101);
    for _ in 0..N_PIECES {
        pause(&client.stream);
        client.send("x");
        assert_eq!(client.exactly(1).unwrap(), b"y");
    }
    drop(client);
    isobar.assert_no_leak();
}

#[test]
fn a_slow_request_does_not_hold_up_others_on_the_same_worker() {
    let origin = Origin::echoing();
    let service = one_service(&[origin.address], "", "");
    let isobar = Isobar::start(&format!("[runtime]\nworkers = 1\n{service}"));
    let mut slow: Vec<Client> = (0..50).map(|_| isobar.connect()).collect();
    for (n, client) in slow.iter_mut().enumerate() {
        client.send(["GET / HT", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nab"][n % 2]);
    }
    for _ in 0..50 {
        assert_eq!(isobar.get("/").status, 200);
    }
    for (n, client) in slow.iter_mut().enumerate() {
        client.send(["TP/1.1\r\nhost: a\r\n\r\n", "cde"][n % 2]);
        assert_eq!(client.response("GET").status, 200);
    }
    drop(slow);
    isobar.assert_no_leak();
}
