//! Rarer failures of endpoints: unreachable in several ways, silent under every kind of time limit, speaking when not
//! asked. `failures_endpoint.rs` has the plain ones, one for each point of an exchange.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;
use std::time::Duration;

use isobar_tests::dirty::{assert_closed, in_front_of};
use isobar_tests::{Isobar, Origin, one_service, wait_for};
use socket2::{Domain, Socket, Type};

const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\nbody";

/// An address that refuses connections: bound, so that nobody else gets it, and not listening.
fn refusing() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// An address that answers no connection attempt: its queue is full and nobody accepts.
struct Blackhole {
    address: SocketAddr,
    _listener: Socket,
    _queued: Vec<Socket>,
}

impl Blackhole {
    fn start() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut queued = Vec::new();
        // A queue of length 0 holds one or two connections, by kernel.
        for _ in 0..8 {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            let connected = socket.connect_timeout(&address.into(), Duration::from_millis(200));
            queued.push(socket);
            if connected.is_err() {
                return Self { address, _listener: listener, _queued: queued };
            }
        }
        panic!("the queue of a listener with backlog 0 takes more than 8 connections");
    }
}

/// Sends one request, checks the answer to it, and that nothing is left of it.
fn assert_answer(isobar: &Isobar, request: &str, status: u16, code: &str) {
    let mut client = isobar.connect();
    client.send(request);
    let response = client.response(request.split(' ').next().unwrap());
    assert_eq!((response.status, response.error()), (status, code), "{request:?} {}", response.head);
    drop(client);
    isobar.assert_no_leak();
}

/// Waits until no connection to an endpoint is open.
fn assert_no_upstream(isobar: &Isobar) {
    wait_for("connections to endpoints to close", || {
        (isobar.metric(&["isobar_upstream_connections_open{"]) == 0.0).then_some(())
    });
}

fn failures(isobar: &Isobar, reason: &str) -> f64 {
    isobar.metric(&["isobar_failures_total{", &format!("reason=\"{reason}\"")])
}

#[test]
fn a_refused_connection_is_connect_failed_for_any_method() {
    let (_socket, address) = refusing();
    let isobar = in_front_of(address, "", "");
    assert_answer(&isobar, GET, 502, "connect-failed");
    assert_answer(&isobar, POST, 502, "connect-failed");
    assert!(failures(&isobar, "connect") >= 2.0, "{:?}", isobar.metrics());
    assert_no_upstream(&isobar);
}

#[test]
fn a_connection_that_is_never_made_is_given_up_after_connect_timeout() {
    let hole = Blackhole::start();
    let isobar = in_front_of(hole.address, "", "connect_timeout = \"100ms\"");
    assert_answer(&isobar, GET, 502, "connect-failed");
    assert_answer(&isobar, POST, 502, "connect-failed");
    assert_no_upstream(&isobar);
}

#[test]
fn a_missing_unix_socket_is_connect_failed() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none.sock");
    let isobar = Isobar::start(&format!(
        "[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\nservice = \"app\"\n\
         [services.app]\nendpoints = [\"unix:{}\"]\n",
        missing.display()
    ));
    assert_answer(&isobar, GET, 502, "connect-failed");
}

#[test]
fn another_endpoint_takes_over_where_one_cannot_be_reached() {
    let (_socket, refused) = refusing();
    let good = Origin::answering("good");
    let isobar = Isobar::start(&format!(
        "[runtime]\nworkers = 1\n[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\nservice = \"app\"\n\
         [services.app]\npolicy = \"round-robin\"\ndebug_headers = true\nendpoints = [\"{refused}\", \"{}\"]\n",
        good.address
    ));
    let mut attempts = Vec::new();
    for request in [GET, POST, GET, POST] {
        let mut client = isobar.connect();
        client.send(request);
        let response = client.response("GET");
        assert_eq!((response.status, response.text().as_str()), (200, "good"), "{request:?}");
        attempts.push(response.header("x-isobar-attempts").unwrap().to_owned());
        assert_eq!(response.header("x-isobar-endpoint"), Some(good.address.to_string().as_str()));
    }
    assert!(attempts.contains(&"2".to_owned()), "no request met the endpoint that refuses: {attempts:?}");
    assert!(isobar.metric(&["isobar_retries_total{"]) >= 1.0);
    isobar.assert_no_leak();
}

#[test]
fn an_idempotent_request_goes_to_another_endpoint_after_a_reset_and_others_do_not() {
    let bad = Origin::start(|visit| {
        visit.head();
        visit.reset();
    });
    let good = Origin::answering("good");
    let isobar = Isobar::start(&format!(
        "[runtime]\nworkers = 1\n[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\nservice = \"app\"\n\
         [services.app]\npolicy = \"round-robin\"\nendpoints = [\"{}\", \"{}\"]\n",
        bad.address, good.address
    ));
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
        for _ in 0..2 {
            let mut client = isobar.connect();
            client.send(format!("{method} / HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\nhi"));
            assert_eq!(client.response("HEAD").status, 200, "{method}");
        }
    }
    let statuses: Vec<u16> = (0..4)
        .map(|_| {
            let mut client = isobar.connect();
            client.send(POST);
            client.response("POST").status
        })
        .collect();
    assert!(statuses.contains(&502) && statuses.contains(&200), "{statuses:?}");
    assert!(bad.heads().len() >= 3);
    isobar.assert_no_leak();
}

#[test]
fn bytes_before_the_request_do_not_answer_it() {
    let n_answered = std::sync::Arc::new(Mutex::new(0));
    let counted = std::sync::Arc::clone(&n_answered);
    let origin = Origin::start(move |visit| {
        visit.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly");
        while visit.head().is_some() {
            visit.answer("asked for");
            *counted.lock().unwrap() += 1;
        }
    });
    let isobar = in_front_of(origin.address, "", "");
    // The first answer may be taken for an early one; behind it nothing may be shifted by one.
    let mut client = isobar.connect();
    for n in 1..=3 {
        client.send(GET);
        let response = client.response("GET");
        assert_eq!(response.status, 200);
        assert!(["early", "asked for"].contains(&response.text().as_str()));
        // What the proxy did not ask for is there before it could use the connection again.
        wait_for("the endpoint to have answered", || (*n_answered.lock().unwrap() >= n).then_some(()));
    }
    assert!(origin.n_connections() >= 2, "a connection with unasked bytes was used again");
    drop(client);
    isobar.assert_no_leak();
}

/// A silent endpoint that tells when the proxy hung up on it.
fn silent() -> (Origin, std::sync::Arc<Mutex<usize>>) {
    let hung_up = std::sync::Arc::new(Mutex::new(0));
    let counted = std::sync::Arc::clone(&hung_up);
    let origin = Origin::start(move |visit| {
        visit.head();
        if visit.is_closed_by_peer() {
            *counted.lock().unwrap() += 1;
        }
    });
    (origin, hung_up)
}

fn with_route(endpoint: SocketAddr, route: &str) -> Isobar {
    Isobar::start(&format!(
        "[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n[[routes]]\nservice = \"app\"\n{route}\n\
         [services.app]\nendpoints = [\"{endpoint}\"]\n"
    ))
}

#[test]
fn a_silent_endpoint_is_upstream_timeout_and_is_hung_up_on() {
    for (route, n_attempts) in [
        ("timeout = \"150ms\"", 1),
        ("retry = { attempts = 2, per_try_timeout = \"100ms\" }", 1),
        ("retry = { attempts = 3, on = [\"timeout\"], per_try_timeout = \"100ms\" }", 3),
        ("timeout = \"10s\"\nretry = { attempts = 2, on = [\"timeout\"], per_try_timeout = \"100ms\" }", 2),
    ] {
        let (origin, hung_up) = silent();
        let isobar = with_route(origin.address, route);
        assert_answer(&isobar, GET, 504, "upstream-timeout");
        wait_for("the proxy to hang up", || (*hung_up.lock().unwrap() == n_attempts).then_some(()));
        assert_eq!(origin.heads().len(), n_attempts, "{route}");
        assert_answer(&isobar, POST, 504, "upstream-timeout");
        assert_eq!(origin.heads().len(), n_attempts + 1, "a POST that arrived is not repeated: {route}");
        assert_no_upstream(&isobar);
    }
}

#[test]
fn a_connection_is_kept_after_an_answer_of_the_proxy_s_own() {
    let (_socket, address) = refusing();
    let isobar = in_front_of(address, "", "");
    let mut client = isobar.connect();
    for request in [GET, POST, GET] {
        client.send(request);
        assert_eq!(client.response("GET").error(), "connect-failed");
    }
    drop(client);
    isobar.assert_no_leak();
}

#[test]
fn bytes_behind_an_answer_end_the_connection_to_the_endpoint() {
    let origin = Origin::start(|visit| {
        while visit.head().is_some() {
            visit.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged");
        }
    });
    let isobar = in_front_of(origin.address, "", "");
    let mut client = isobar.connect();
    for _ in 0..3 {
        client.send(GET);
        assert_eq!(client.response("GET").text(), "ok");
    }
    assert_eq!(origin.n_connections(), 3, "a connection with bytes left over was used again");
    drop(client);
    isobar.assert_no_leak();
}

#[test]
fn an_early_final_answer_reaches_the_caller_and_ends_the_upload() {
    let origin = Origin::start(|visit| {
        visit.head();
        visit.send("HTTP/1.1 413 Content Too Large\r\ncontent-length: 7\r\n\r\ntoo big");
        visit.is_closed_by_peer();
    });
    let isobar = in_front_of(origin.address, "", "");
    let mut client = isobar.connect();
    client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 100000000\r\n\r\nbegin");
    let response = client.response("POST");
    assert_eq!((response.status, response.text().as_str()), (413, "too big"));
    assert_eq!(response.header("connection"), Some("close"));
    assert_closed(&mut client, "an early answer");
    drop(client);
    isobar.assert_no_leak();
    assert_no_upstream(&isobar);
}

#[test]
fn an_answer_of_an_endpoint_that_stopped_reading_is_not_lost() {
    let origin = Origin::start(|visit| {
        visit.head();
        visit.send("HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
        // Closed with bytes unread: the proxy's writes are answered by a reset.
    });
    let isobar = in_front_of(origin.address, "", "");
    for _ in 0..20 {
        let mut client = isobar.connect();
        client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 400000\r\n\r\n");
        client.send(vec![b'x'; 200_000]);
        let response = client.response("POST");
        assert_eq!(response.status, 401, "{}", response.head);
    }
    isobar.assert_no_leak();
    assert_no_upstream(&isobar);
}

#[test]
fn a_listener_that_went_away_and_came_back_is_used_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let isobar = in_front_of(address, "", "");
    assert_answer(&isobar, GET, 502, "connect-failed");
    let again = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    again.set_reuse_address(true).unwrap();
    again.bind(&address.into()).unwrap();
    again.listen(16).unwrap();
    let listener = TcpListener::from(again);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut piece = [0; 4096];
            while stream.read(&mut piece).is_ok_and(|n| n > 0) {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
            }
        }
    });
    assert_answer(&isobar, GET, 200, "");
}

#[test]
fn a_close_that_crosses_the_next_request_costs_a_get_nothing_and_a_post_its_answer() {
    for (request, status, code) in [(GET, 200, ""), (POST, 502, "upstream-reset")] {
        let origin = Origin::start(|visit| {
            visit.head();
            visit.answer("ok");
            if visit.index == 0 {
                // The next request is on its way or has arrived; it is never answered.
                visit.head();
                return;
            }
            while visit.head().is_some() {
                visit.answer("ok");
            }
        });
        let isobar =
            Isobar::start(&format!("[runtime]\nworkers = 1\n{}", one_service(&[origin.address], "", "")));
        assert_answer(&isobar, GET, 200, "");
        assert_answer(&isobar, request, status, code);
        assert_answer(&isobar, request, 200, "");
        // The first, the one that was crossed (a GET once more), the last.
        let expected = if status == 200 { 4 } else { 3 };
        assert_eq!(origin.heads().len(), expected, "{:?}", origin.heads());
    }
}
