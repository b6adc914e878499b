//! A stop at an awkward moment: heads and bodies half sent, connections that wait to be accepted, answers half read.
//!
//! A request is accepted once the proxy has read a byte of it; those are the ones that a stop may not lose.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use isobar_tests::{Client, Isobar, Origin, Visit, one_service, wait_for};
use rustix::process::Signal;

const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";

fn start(origin: &Origin) -> Isobar {
    Isobar::start(&one_service(&[origin.address], "", ""))
}

fn drain(isobar: &Isobar) {
    isobar.signal(Signal::TERM);
    wait_for("draining", || isobar.has_logged("\"draining\"").then_some(()));
}

/// Waits until the proxy serves this many connections: with bytes sent before, they have been read or will be.
fn wait_for_connections(isobar: &Isobar, n: usize) {
    wait_for("connections", || (isobar.metric(&["isobar_connections_open{"]) >= n as f64).then_some(()));
}

#[test]
fn a_request_of_which_a_part_was_sent_before_the_stop_is_served() {
    let origin = Origin::echoing();
    for (part, rest) in [
        ("GET / HTTP/1.1\r\nho", "st: test\r\n\r\n"),
        ("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 9\r\n\r\npart", " rest"),
        (
            "POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart",
            "\r\n5\r\n rest\r\n0\r\n\r\n",
        ),
    ] {
        let mut isobar = start(&origin);
        let mut client = isobar.connect();
        client.send(part);
        wait_for_connections(&isobar, 1);
        drain(&isobar);
        client.send(rest);
        let response = client.response("POST");
        assert_eq!(response.status, 200, "{part:?}");
        assert!(part.starts_with("GET") || response.text().ends_with("part rest"), "{}", response.text());
        assert!(client.is_closed_by_peer());
        drop(client);
        assert_eq!(isobar.wait().code(), Some(0));
    }
}

#[test]
fn connections_that_wait_to_be_accepted_at_the_stop_are_served() {
    const N: usize = 100;
    let origin = Origin::answering("served");
    let mut isobar = start(&origin);
    let address = isobar.listener("web");
    isobar.signal(Signal::STOP);
    let mut clients: Vec<Client> = (0..N).map(|_| Client::connect(address)).collect();
    for client in &mut clients {
        client.send(GET);
    }
    isobar.signal(Signal::TERM);
    isobar.signal(Signal::CONT);
    for mut client in clients {
        assert_eq!(client.response("GET").text(), "served");
    }
    assert_eq!(isobar.wait().code(), Some(0));
}

#[test]
fn idle_connections_are_closed_and_new_ones_refused() {
    let origin = Origin::answering("x");
    let mut isobar = Isobar::start(&format!(
        "[runtime]\nshutdown_grace = \"60s\"\n{}",
        one_service(&[origin.address], "", "")
    ));
    let address = isobar.listener("web");
    let mut idle: Vec<Client> = (0..20).map(|_| isobar.connect()).collect();
    for client in &mut idle {
        client.send(GET);
        client.response("GET");
    }
    let mut unused = isobar.connect();
    wait_for_connections(&isobar, 21);
    drain(&isobar);
    wait_for("new connections to be refused", || TcpStream::connect(address).is_err().then_some(()));
    for mut client in idle {
        assert!(client.is_closed_by_peer());
    }
    assert!(unused.is_closed_by_peer());
    assert_eq!(isobar.wait().code(), Some(0));
}

#[test]
fn an_answer_that_is_on_its_way_at_the_stop_arrives_whole() {
    const SIZE: usize = 32 * 1024 * 1024;
    let origin = Origin::start(|visit| {
        visit.head();
        visit.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n"));
        visit.send(vec![b'z'; SIZE]);
    });
    let mut isobar = start(&origin);
    let mut client = isobar.connect();
    client.send(GET);
    assert_eq!(client.exactly(12).unwrap(), b"HTTP/1.1 200");
    drain(&isobar);
    while client.exactly(1).unwrap() != b"\n" || client.exactly(2).unwrap() != b"\r\n" {}
    assert!(client.exactly(SIZE).is_some_and(|body| body.iter().all(|&byte| byte == b'z')));
    drop(client);
    assert_eq!(isobar.wait().code(), Some(0));
}

#[test]
fn a_tunnel_lives_on_until_it_ends_or_the_grace_is_over() {
    let origin = Origin::start(|visit: &mut Visit| {
        visit.head();
        visit.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
        loop {
            let bytes = visit.take(4);
            if bytes.len() < 4 || !visit.send(&bytes) {
                return;
            }
        }
    });
    let mut isobar = start(&origin);
    let mut client = isobar.connect();
    client.send("GET / HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    assert_eq!(client.response("GET").status, 101);
    drain(&isobar);
    for _ in 0..3 {
        client.send("ping");
        assert_eq!(client.exactly(4).unwrap(), b"ping");
    }
    drop(client);
    assert_eq!(isobar.wait().code(), Some(0));
    assert!(!isobar.has_logged("connections were cut"));
}

#[test]
fn whatever_reached_an_endpoint_during_a_stop_without_notice_is_answered() {
    const N_CALLERS: usize = 8;
    for round in 0..3 {
        let served = Arc::new(Mutex::new(BTreeSet::new()));
        let kept = Arc::clone(&served);
        let origin = Origin::start(move |visit| {
            while let Some(head) = visit.head() {
                kept.lock().unwrap().insert(head.split(' ').nth(1).unwrap().to_owned());
                visit.answer("x");
            }
        });
        let mut isobar = start(&origin);
        let address = isobar.listener("web");
        let answered = Mutex::new(BTreeSet::new());
        std::thread::scope(|scope| {
            for caller in 0..N_CALLERS {
                let answered = &answered;
                scope.spawn(move || call_until_refused(address, caller, answered));
            }
            wait_for("load", || (answered.lock().unwrap().len() > 200 * (round + 1)).then_some(()));
            isobar.signal(Signal::TERM);
        });
        assert_eq!(isobar.wait().code(), Some(0));
        let (served, answered) = (served.lock().unwrap(), answered.lock().unwrap());
        let lost: Vec<_> = served.difference(&answered).collect();
        assert!(lost.is_empty(), "of {} requests at the endpoint were not answered: {lost:?}", served.len());
    }
}

/// Sends requests, a few on each connection, until connections are refused.
fn call_until_refused(address: std::net::SocketAddr, caller: usize, answered: &Mutex<BTreeSet<String>>) {
    for n_connection in 0.. {
        let Ok(stream) = TcpStream::connect(address) else { return };
        let mut client = Client::over(stream);
        for n_request in 0..5 {
            let path = format!("/{caller}/{n_connection}/{n_request}");
            client.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n"));
            let Some(response) = client.any_response("GET") else { break };
            assert_eq!(response.status, 200, "{}", response.head);
            answered.lock().unwrap().insert(path);
            if response.header("connection") == Some("close") {
                break;
            }
        }
    }
}
