//! What routes do to requests and answers, what endpoints are told of callers, and what the access log says.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};

use isobar_tests::{Client, Isobar, Origin, Response, one_service, wait_for};
use serde_json::Value;

/// A listener `web` and these routes to one service over an endpoint that echoes.
fn with_routes(routes: &str) -> (Origin, Isobar) {
    let origin = Origin::echoing();
    let service = one_service(&[origin.address], "", "").replacen("service = \"app\"\n", "", 1);
    let isobar = Isobar::start(&format!("{service}{routes}"));
    (origin, isobar)
}

fn ask(isobar: &Isobar, method: &str, request: &str) -> Response {
    let mut client = isobar.connect();
    client.send(request);
    client.response(method)
}

/// The values of a field in a head, or in an echoed one.
fn values(head: &str, name: &str) -> Vec<String> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).collect()
}

#[test]
fn the_first_route_that_matches_wins_and_none_is_404() {
    let (origin, isobar) = with_routes(
        "[[routes]]\npath = \"/cart\"\nmethods = [\"GET\"]\nrespond = { status = 200, body = \"cart\" }\n\
         [[routes]]\nhost = \"*.example.com\"\nheaders = { x-canary = \"1\" }\nrespond = { status = 200, body = \"canary\" }\n\
         [[routes]]\npath_exact = \"/only\"\nrespond = { status = 200, body = \"only\" }\n\
         [[routes]]\npath_regex = \"/item/[0-9]+\"\nservice = \"app\"\n",
    );
    let cases = [
        ("GET /cart/1", "a", "", "cart"),
        ("GET /cartoon", "a", "", ""),
        ("PUT /cart", "a", "", ""),
        ("GET /", "shop.example.com", "x-canary: 1\r\n", "canary"),
        ("GET /", "shop.example.com", "x-canary: 2\r\n", ""),
        ("GET /", "example.com", "x-canary: 1\r\n", ""),
        ("GET /only", "a", "", "only"),
        ("GET /only/", "a", "", ""),
        ("GET /item/7", "a", "", "GET /item/7 HTTP/1.1"),
        ("GET /item/7a", "a", "", ""),
    ];
    for (line, host, fields, begin) in cases {
        let response = ask(&isobar, "GET", &format!("{line} HTTP/1.1\r\nhost: {host}\r\n{fields}\r\n"));
        if begin.is_empty() {
            assert_eq!((response.status, response.error()), (404, "no-route"), "{line} {host} {fields}");
        } else {
            assert!(response.text().starts_with(begin), "{line} {host} {fields}: {}", response.text());
        }
    }
    assert_eq!(origin.heads().len(), 1);
    isobar.assert_no_leak();
}

#[test]
fn a_refusal_is_json_for_those_who_accept_it() {
    let (_origin, isobar) = with_routes("");
    let response = ask(&isobar, "GET", "GET / HTTP/1.1\r\nhost: a\r\naccept: application/json\r\n\r\n");
    assert_eq!(response.header("content-type"), Some("application/json"));
    let body: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(body["error"]["code"], "no-route");
}

#[test]
fn redirects_fill_in_host_path_and_query() {
    let (_origin, isobar) = with_routes(
        "[[routes]]\npath = \"/old\"\nredirect = { to = \"https://{host}{path}{query}\", status = 308 }\n\
         [[routes]]\nredirect = { to = \"/new\" }\n",
    );
    let response = ask(&isobar, "GET", "GET /old/x?a=b HTTP/1.1\r\nhost: shop.example.com:8080\r\n\r\n");
    assert_eq!(response.status, 308);
    assert_eq!(response.header("location"), Some("https://shop.example.com/old/x?a=b"));
    let response = ask(&isobar, "GET", "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!((response.status, response.header("location")), (307, Some("/new")));
    isobar.assert_no_leak();
}

#[test]
fn a_fixed_answer_takes_the_body_of_its_request_and_keeps_the_connection() {
    let (_origin, isobar) = with_routes("[[routes]]\nrespond = { status = 410, body = \"gone\" }\n");
    let mut client = isobar.connect();
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody");
        let response = client.response("POST");
        assert_eq!((response.status, response.text().as_str(), response.error()), (410, "gone", ""));
    }
    client.send("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.response("HEAD").header("content-length"), Some("4"));
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.response("GET").text(), "gone", "the answer to HEAD had a body");
    drop(client);
    isobar.assert_no_leak();
}

#[test]
fn rewrites_change_what_the_endpoint_sees_and_keep_the_query() {
    let (_origin, isobar) = with_routes(
        "[[routes]]\npath = \"/strip\"\nservice = \"app\"\nrewrite = { strip_prefix = \"/strip\" }\n\
         [[routes]]\npath = \"/fixed\"\nservice = \"app\"\nrewrite = { path = \"/other\", host = \"cart.internal\" }\n",
    );
    let cases = [
        ("/strip/a/b?q=1", "GET /a/b?q=1 HTTP/1.1", "shop"),
        ("/strip", "GET / HTTP/1.1", "shop"),
        ("/strip?q=1", "GET /?q=1 HTTP/1.1", "shop"),
        ("/fixed/a?q=1", "GET /other?q=1 HTTP/1.1", "cart.internal"),
    ];
    for (target, line, host) in cases {
        let seen = ask(&isobar, "GET", &format!("GET {target} HTTP/1.1\r\nhost: shop\r\n\r\n")).text();
        assert_eq!(seen.lines().next(), Some(line), "{target}");
        assert_eq!(values(&seen, "host"), [host], "{target}");
        assert_eq!(values(&seen, "x-forwarded-host"), ["shop"], "{target}");
    }
}

#[test]
fn header_changes_are_made_in_the_order_remove_set_add_on_both_ways() {
    let edits = "{ set = { x-env = \"prod\" }, add = { x-more = [\"1\", \"2\"] }, remove = [\"x-debug\"] }";
    let origin = Origin::start(|visit| {
        while let Some(head) = visit.head() {
            visit.send(format!(
                "HTTP/1.1 200 OK\r\nX-Env: a\r\nx-env: b\r\nX-Debug: 1\r\nx-more: 0\r\nx-kept: k\r\n\
                 content-length: {}\r\n\r\n{head}",
                head.len()
            ));
        }
    });
    let service = one_service(&[origin.address], "", "");
    let isobar = Isobar::start(&format!(
        "{service}[[routes]]\nservice = \"app\"\nrequest_headers = {edits}\nresponse_headers = {edits}\n"
    ));
    let request =
        "GET / HTTP/1.1\r\nhost: a\r\nX-Env: a\r\nx-env: b\r\nX-Debug: 1\r\nx-more: 0\r\nx-kept: k\r\n\r\n";
    let response = ask(&isobar, "GET", request);
    for head in [response.text(), response.head] {
        assert_eq!(values(&head, "x-env"), ["prod"], "{head}");
        assert_eq!(values(&head, "x-more"), ["0", "1", "2"], "{head}");
        assert!(values(&head, "x-debug").is_empty(), "{head}");
        assert_eq!(values(&head, "x-kept"), ["k"], "{head}");
    }
}

/// What a caller claims about others before it.
const CLAIMS: &str = "GET / HTTP/1.1\r\nhost: shop\r\nx-forwarded-for: 192.0.2.1\r\nx-forwarded-proto: https\r\n\
                      x-forwarded-host: claimed\r\nx-real-ip: 192.0.2.1\r\nforwarded: for=192.0.2.1\r\n\r\n";

#[test]
fn forwarding_headers_of_strangers_are_replaced() {
    let (_origin, isobar) = with_routes("[[routes]]\nservice = \"app\"\n");
    let seen = ask(&isobar, "GET", CLAIMS).text();
    assert_eq!(values(&seen, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(values(&seen, "x-forwarded-proto"), ["http"]);
    assert_eq!(values(&seen, "x-forwarded-host"), ["shop"]);
    assert!(!seen.contains("192.0.2.1"), "{seen}");
    assert_eq!(values(&seen, "via"), ["1.1 isobar"]);
}

#[test]
fn forwarding_headers_of_trusted_proxies_are_believed_and_continued() {
    let origin = Origin::echoing();
    let service = one_service(&[origin.address], "", "");
    let isobar = Isobar::start(&format!("[runtime]\ntrusted_proxies = [\"127.0.0.0/8\"]\n{service}"));
    let seen = ask(&isobar, "GET", CLAIMS).text();
    assert_eq!(values(&seen, "x-forwarded-for"), ["192.0.2.1, 127.0.0.1"]);
    assert_eq!(values(&seen, "x-forwarded-proto"), ["https"]);
    assert_eq!(values(&seen, "x-forwarded-host"), ["claimed"]);
}

#[test]
fn a_request_id_is_kept_or_made_and_a_made_one_is_never_made_twice() {
    let (_origin, isobar) = with_routes("[[routes]]\nservice = \"app\"\n");
    let kept =
        ask(&isobar, "GET", "GET / HTTP/1.1\r\nhost: a\r\nx-request-id: mine\r\ntraceparent: t\r\n\r\n")
            .text();
    assert_eq!(values(&kept, "x-request-id"), ["mine"]);
    assert_eq!(values(&kept, "traceparent"), ["t"]);
    let mut made: Vec<String> =
        (0..20).flat_map(|_| values(&isobar.get("/").text(), "x-request-id")).collect();
    assert!(
        made.iter().all(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())),
        "{made:?}"
    );
    made.sort_unstable();
    made.dedup();
    assert_eq!(made.len(), 20);
}

#[test]
fn unix_sockets_work_on_both_sides_and_leave_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let (front, back) = (dir.path().join("front.sock"), dir.path().join("back.sock"));
    let listener = UnixListener::bind(&back).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut piece = [0; 4096];
            while stream.read(&mut piece).is_ok_and(|n| n > 0) {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nunix").unwrap();
            }
        }
    });
    let mut isobar = Isobar::start(&format!(
        "[[listeners]]\nname = \"web\"\nlisten = \"unix:{}\"\nservice = \"app\"\n\
         [services.app]\nendpoints = [\"unix:{}\"]\n",
        front.display(),
        back.display()
    ));
    let mut stream = UnixStream::connect(&front).unwrap();
    for _ in 0..2 {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        let mut answer = String::new();
        while !answer.ends_with("unix") {
            let mut piece = [0; 4096];
            let n = stream.read(&mut piece).unwrap();
            assert!(n > 0, "{answer}");
            answer += std::str::from_utf8(&piece[..n]).unwrap();
        }
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
    drop(stream);
    isobar.assert_no_leak();
    isobar.signal(rustix::process::Signal::TERM);
    assert_eq!(isobar.wait().code(), Some(0));
    assert!(!front.exists(), "the socket file stayed");
}

/// Answers each connection on an IPv6 address with the head it read.
fn echoing_on_v6() -> SocketAddr {
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            let start =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", head.len());
            stream.write_all(&[start.as_bytes(), &head].concat()).unwrap();
        }
    });
    address
}

#[test]
fn ipv6_works_on_both_sides() {
    let origin = echoing_on_v6();
    let config = one_service(&[origin], "", "").replace("127.0.0.1:0", "[::1]:0");
    let isobar = Isobar::start(&config);
    assert!(isobar.listener("web").is_ipv6());
    let seen = isobar.get("/").text();
    assert_eq!(values(&seen, "x-forwarded-for"), ["::1"]);
    isobar.assert_no_leak();
}

#[test]
fn a_listener_on_every_interface_takes_both_families_and_shows_v4_as_v4() {
    let origin = Origin::echoing();
    let isobar = Isobar::start(&one_service(&[origin.address], "", "").replace("127.0.0.1:0", ":0"));
    let port = isobar.listener("web").port();
    for (address, shown) in [("127.0.0.1", "127.0.0.1"), ("::1", "::1")] {
        let address = SocketAddr::new(address.parse().unwrap(), port);
        assert!(TcpStream::connect(address).is_ok());
        let mut client = Client::connect(address);
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(values(&client.response("GET").text(), "x-forwarded-for"), [shown]);
    }
    isobar.assert_no_leak();
}

#[test]
fn debug_headers_name_endpoint_and_attempts_and_are_off_by_default() {
    let healthy = Origin::answering("ok");
    let endpoints = format!("{{ address = \"{}\", id = \"good\" }}", healthy.address);
    for (debug, endpoint, attempts) in [("debug_headers = true", Some("good"), Some("1")), ("", None, None)] {
        let config =
            one_service(&[], "", debug).replace("endpoints = []", &format!("endpoints = [{endpoints}]"));
        let response = Isobar::start(&config).get("/");
        assert_eq!(response.header("x-isobar-endpoint"), endpoint);
        assert_eq!(response.header("x-isobar-attempts"), attempts);
    }
}

#[test]
fn a_service_without_weight_is_503_no_endpoints() {
    let origin = Origin::answering("ok");
    let endpoint = format!("endpoints = [{{ address = \"{}\", weight = 0 }}]", origin.address);
    let isobar = Isobar::start(&one_service(&[], "", "").replace("endpoints = []", &endpoint));
    let response = isobar.get("/");
    assert_eq!((response.status, response.error()), (503, "no-endpoints"));
    isobar.assert_no_leak();
    assert_eq!(origin.n_connections(), 0);
}

/// The lines of the access log once there are this many.
fn log_lines(isobar: &Isobar, n: usize) -> Vec<Value> {
    wait_for("lines of the access log", || {
        let text = std::fs::read_to_string(isobar.dir.path().join("access.log")).ok()?;
        let whole = text.ends_with('\n') && text.lines().count() >= n;
        whole.then(|| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    })
}

#[test]
fn every_request_is_one_json_line_that_tells_what_happened() {
    let origin = Origin::answering("ok");
    let service = one_service(&[origin.address], "", "");
    let routes = "[[routes]]\nname = \"all\"\npath = \"/app\"\nservice = \"app\"\n\
                  [[routes]]\nname = \"gone\"\npath = \"/gone\"\nrespond = { status = 410 }\n";
    let isobar = Isobar::start(&format!("access_log = {{ to = \"access.log\" }}\n{service}{routes}"));
    ask(&isobar, "GET", "GET /app/%22?q HTTP/1.1\r\nhost: shop\r\nx-request-id: a\"b\\c\r\n\r\n");
    ask(&isobar, "GET", "GET /gone HTTP/1.0\r\nhost: shop\r\n\r\n");
    ask(&isobar, "GET", "GET / HTTP/9.9\r\n\r\n");
    let lines = log_lines(&isobar, 3);
    let by_status = |status: u64| lines.iter().find(|line| line["status"] == status).unwrap();
    let first = by_status(200);
    for (key, value) in [
        ("listener", "web"),
        ("method", "GET"),
        ("host", "shop"),
        ("path", "/app/%22"),
        ("protocol", "HTTP/1.1"),
        ("route", "all"),
        ("service", "app"),
        ("endpoint", origin.address.to_string().as_str()),
        ("request_id", "a\"b\\c"),
    ] {
        assert_eq!(first[key], value, "{key} in {first}");
    }
    assert_eq!(first["attempts"], 1, "{first}");
    assert!(first["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{first}");
    for key in ["time_us", "bytes_in", "bytes_out", "connect_us", "first_byte_us", "total_us"] {
        assert!(first[key].is_u64(), "{key} in {first}");
    }
    assert_eq!(by_status(410)["route"], "gone");
    assert_eq!(by_status(505)["error"], "version-not-supported");
    isobar.assert_no_leak();
}

#[test]
fn callers_of_http_1_0_get_bodies_that_they_understand() {
    let origin = Origin::start(|visit| {
        while visit.head().is_some() {
            visit.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n");
        }
    });
    let isobar = Isobar::start(&one_service(&[origin.address], "", ""));
    let response = ask(&isobar, "GET", "GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
    assert_eq!((response.text().as_str(), response.header("transfer-encoding")), ("body", None));
    assert_eq!(values(&origin.heads()[0], "host").len(), 1, "HTTP/1.1 demands a Host");
    isobar.assert_no_leak();

    let bounded = Origin::answering("ok");
    let isobar = Isobar::start(&one_service(&[bounded.address], "", ""));
    let mut client = isobar.connect();
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n");
        let response = client.response("GET");
        assert_eq!((response.text().as_str(), response.header("connection")), ("ok", Some("keep-alive")));
    }
    client.send("GET / HTTP/1.0\r\nhost: a\r\n\r\n");
    assert_eq!(client.response("GET").text(), "ok");
    assert!(client.is_closed_by_peer(), "HTTP/1.0 keeps a connection only when asked to");
    isobar.assert_no_leak();
}

#[test]
fn trailers_of_an_answer_arrive() {
    let origin = Origin::start(|visit| {
        while visit.head().is_some() {
            visit.send(
                "HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nx-sum: 7\r\n\r\n",
            );
        }
    });
    let isobar = Isobar::start(&one_service(&[origin.address], "", ""));
    let response = ask(&isobar, "GET", "GET / HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: te\r\n\r\n");
    assert_eq!((response.text().as_str(), response.trailers.as_str()), ("body", "x-sum: 7\r\n"));
    isobar.assert_no_leak();
}
