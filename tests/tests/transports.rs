//! The ways in and out: TCP over both versions of IP, unix sockets, old protocol versions, kept and closed connections.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use isobar_tests::dirty::{assert_closed, in_front_of};
use isobar_tests::{Client, Isobar, Origin, PATIENCE, wait_for};
use rustix::process::Signal;

/// Listens at `listen`, forwards to `endpoint`.
fn config(listen: &str, endpoint: &str, service: &str) -> String {
    format!(
        "[runtime]\nworkers = 2\n[[listeners]]\nname = \"web\"\nlisten = \"{listen}\"\nservice = \"app\"\n\
         [services.app]\nendpoints = [\"{endpoint}\"]\n{service}\n"
    )
}

/// Answers every request of a stream that ends with an empty line.
fn serve_heads(mut stream: impl Read + Write) {
    let (mut kept, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(n @ 1..) = stream.read(&mut piece) {
        kept.extend_from_slice(&piece[..n]);
        while let Some(at) = kept.windows(4).position(|window| window == b"\r\n\r\n") {
            let head: Vec<u8> = kept.drain(..at + 4).collect();
            let length = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", head.len());
            stream.write_all(&[length.as_bytes(), &head].concat()).unwrap();
        }
    }
}

fn unix_endpoint(path: &Path) {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || serve_heads(stream));
        }
    });
}

fn over_unix(path: &Path) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /x HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn unix_sockets_carry_requests_on_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let (inward, outward) = (folder.path().join("in.sock"), folder.path().join("out.sock"));
    unix_endpoint(&outward);
    let endpoint = format!("unix:{}", outward.display());
    let mut isobar = Isobar::start(&config(&format!("unix:{}", inward.display()), &endpoint, ""));
    for _ in 0..3 {
        let text = over_unix(&inward);
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(text.contains("GET /x HTTP/1.1\r\nhost: test\r\n"), "{text}");
        assert!(text.contains("x-forwarded-for: unknown\r\n"), "{text}");
    }
    assert!((isobar.metric(&["isobar_upstream_connections_total{"])) <= 2.0, "connections are kept");
    isobar.assert_no_leak();
    isobar.signal(Signal::TERM);
    assert_eq!(isobar.wait().code(), Some(0));
    assert!(!inward.exists(), "the socket of a listener that closed is left behind");
}

#[test]
fn a_unix_socket_left_behind_is_taken_over_and_other_files_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let origin = Origin::answering("ok");
    let endpoint = origin.address.to_string();
    let left = folder.path().join("left.sock");
    drop(UnixListener::bind(&left).unwrap());
    let listen = format!("unix:{}", left.display());
    let isobar = Isobar::start(&config(&listen, &endpoint, ""));
    assert!(over_unix(&left).ends_with("ok"));
    let mut second = Isobar::launch(&config(&listen, &endpoint, ""), |command| command).expect_errors();
    assert_eq!(second.wait().code(), Some(1), "a socket in use was taken over");
    assert!(over_unix(&left).ends_with("ok"));
    assert!(left.symlink_metadata().unwrap().file_type().is_socket());
    isobar.assert_no_leak();
    let file = folder.path().join("notes.txt");
    std::fs::write(&file, "mine").unwrap();
    let listen = format!("unix:{}", file.display());
    let mut third = Isobar::launch(&config(&listen, &endpoint, ""), |command| command).expect_errors();
    assert_eq!(third.wait().code(), Some(1));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
}

#[test]
fn ipv6_carries_requests_on_both_sides() {
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || serve_heads(stream));
        }
    });
    let isobar = Isobar::start(&config("[::1]:0", &endpoint, ""));
    assert!(isobar.listener("web").is_ipv6());
    let response = isobar.get("/six");
    assert!(response.text().starts_with("GET /six HTTP/1.1\r\n"), "{}", response.head);
    assert!(response.text().contains("x-forwarded-for: ::1\r\n"), "{}", response.text());
    isobar.assert_no_leak();
}

#[test]
fn a_listener_on_every_interface_takes_both_versions_of_ip() {
    let origin = Origin::echoing();
    let isobar = Isobar::start(&config(":0", &origin.address.to_string(), ""));
    let port = isobar.listener("web").port();
    for (address, client) in [("127.0.0.1", "127.0.0.1"), ("::1", "::1")] {
        let mut caller = Client::connect(SocketAddr::new(address.parse().unwrap(), port));
        caller.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
        let text = caller.response("GET").text();
        assert!(text.contains(&format!("x-forwarded-for: {client}\r\n")), "{text}");
    }
    isobar.assert_no_leak();
}

#[test]
fn an_endpoint_may_be_named() {
    let origin = Origin::answering("named");
    let isobar = Isobar::start(&config("127.0.0.1:0", &format!("localhost:{}", origin.address.port()), ""));
    // localhost may also mean ::1, where nobody listens: that attempt is repeated at the other address.
    for _ in 0..4 {
        assert_eq!(isobar.get("/").text(), "named");
    }
}

#[test]
fn a_caller_of_http_1_0_gets_a_close_delimited_body_and_no_chunks() {
    let origin = Origin::start(|visit| {
        while let Some(head) = visit.head() {
            let n_hosts = head.to_lowercase().matches("\r\nhost: ").count();
            assert!(
                head.starts_with("GET / HTTP/1.1\r\n") && n_hosts == 1,
                "HTTP/1.1 demands a Host: {head}"
            );
            visit.send(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
            );
        }
    });
    let isobar = in_front_of(origin.address, "", "");
    let mut client = isobar.connect();
    client.send("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
    let response = client.response("GET");
    assert_eq!((response.status, response.text().as_str()), (200, "abcde"));
    assert!(response.header("transfer-encoding").is_none(), "{}", response.head);
    drop(client);
    isobar.assert_no_leak();
}

#[test]
fn a_caller_of_http_1_0_keeps_its_connection_only_when_it_asks() {
    let origin = Origin::answering("x");
    let isobar = in_front_of(origin.address, "", "");
    let mut kept = isobar.connect();
    for _ in 0..3 {
        kept.send("GET / HTTP/1.0\r\nhost: test\r\nConnection: Keep-Alive\r\n\r\n");
        let response = kept.response("GET");
        assert_eq!(response.header("connection").map(str::to_lowercase).as_deref(), Some("keep-alive"));
    }
    drop(kept);
    let mut plain = isobar.connect();
    plain.send("GET / HTTP/1.0\r\nhost: test\r\n\r\n");
    assert_eq!(plain.response("GET").text(), "x");
    assert_closed(&mut plain, "HTTP/1.0 without keep-alive");
    let mut asked = isobar.connect();
    asked.send(
        "GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\nGET / HTTP/1.1\r\nhost: test\r\n\r\n",
    );
    assert_eq!(asked.response("GET").header("connection"), Some("close"));
    assert_closed(&mut asked, "connection: close");
    isobar.assert_no_leak();
}

#[test]
fn an_endpoint_of_http_1_0_is_relayed_and_its_connection_used_once() {
    let origin = Origin::start(|visit| {
        while visit.head().is_some() {
            visit.send("HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nold");
            if visit.index % 2 == 0 {
                return;
            }
        }
    });
    let isobar = in_front_of(origin.address, "", "");
    let mut client = isobar.connect();
    for _ in 0..4 {
        client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
        let response = client.response("GET");
        assert!(response.head.starts_with("HTTP/1.1 200 OK\r\n"), "{}", response.head);
        assert_eq!(response.text(), "old");
    }
    assert_eq!(origin.n_connections(), 4);
    drop(client);
    isobar.assert_no_leak();
}

#[test]
fn connections_to_endpoints_are_kept_as_the_pool_allows() {
    for (pool, n_expected) in [("", 1), ("pool = { idle = 0 }", 6)] {
        let origin = Origin::answering("x");
        let isobar = Isobar::start(
            &config("127.0.0.1:0", &origin.address.to_string(), pool).replace("workers = 2", "workers = 1"),
        );
        for _ in 0..6 {
            assert_eq!(isobar.get("/").text(), "x");
        }
        assert_eq!(origin.n_connections(), n_expected, "{pool:?}");
        isobar.assert_no_leak();
    }
}

#[test]
fn an_idle_connection_to_an_endpoint_is_closed_after_its_timeout_and_by_the_endpoint() {
    let origin = Origin::start(|visit| {
        while visit.head().is_some() {
            visit.answer("x");
        }
    });
    let isobar = in_front_of(origin.address, "", "pool = { idle_timeout = \"50ms\" }");
    assert_eq!(isobar.get("/").text(), "x");
    wait_for("the idle connection to be closed", || {
        (isobar.metric(&["isobar_upstream_connections_open{"]) == 0.0).then_some(())
    });
    let closing = Origin::start(|visit| {
        visit.head();
        visit.answer("x");
    });
    let isobar = in_front_of(closing.address, "", "");
    assert_eq!(isobar.get("/").text(), "x");
    wait_for("the connection that the endpoint closed to be noticed", || {
        (isobar.metric(&["isobar_upstream_connections_open{"]) == 0.0).then_some(())
    });
}

#[test]
fn a_flood_of_connections_that_close_at_once_leaves_nothing() {
    let origin = Origin::answering("x");
    let isobar = in_front_of(origin.address, "", "");
    for n in 0..500 {
        let mut client = isobar.connect();
        match n % 4 {
            0 => drop(client),
            1 => client.reset(),
            2 => {
                client.send("GET / HTTP/1.1\r\nho");
                client.reset();
            }
            _ => {
                client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
                client.reset();
            }
        }
    }
    assert_eq!(isobar.get("/").text(), "x");
    isobar.assert_no_leak();
}
