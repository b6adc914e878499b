//! Real servers as endpoints, over HTTP/1.1 and HTTP/2, in the clear and over TLS: nginx, Node and hypercorn.
//!
//! Limit: trailers are asked of those that can send them: nginx cannot, hypercorn over HTTP/2 only.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::SocketAddr;
use std::path::Path;

use isobar_tests::real::{Draw, Program, command, free_address, peer, run};
use isobar_tests::servers::{nginx, open_folder};
use isobar_tests::{Certificates, Isobar, Origin, one_service};

const LARGE: usize = 20 << 20;
const UPLOAD: usize = 1 << 20;

/// How an endpoint is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Way {
    is_h2: bool,
    is_tls: bool,
}

const WAYS: [Way; 4] = [
    Way { is_h2: false, is_tls: false },
    Way { is_h2: false, is_tls: true },
    Way { is_h2: true, is_tls: false },
    Way { is_h2: true, is_tls: true },
];

impl Way {
    fn version(self) -> &'static str {
        if self.is_h2 { "HTTP/2.0" } else { "HTTP/1.1" }
    }
}

fn random_content(size: usize) -> Vec<u8> {
    let mut draw = Draw(3);
    (0..size / 8).flat_map(|_| draw.bits().to_le_bytes()).collect()
}

/// The proxy before an endpoint that is spoken to in this way.
fn before(endpoint: SocketAddr, certificates: &Certificates, way: Way) -> Isobar {
    let protocol = if way.is_h2 { "h2" } else { "http1" };
    let ca = certificates.at("ca.pem");
    let tls = if way.is_tls { format!("tls = {{ ca = \"{ca}\" }}\n") } else { String::new() };
    // Requests at once are connections to an endpoint of HTTP/1.1, whose queue may be short.
    let service = format!("protocol = \"{protocol}\"\n{tls}connect_timeout = \"10s\"\n");
    Isobar::start(&one_service(&[endpoint], "", &service))
}

/// What curl, over HTTP/2, gets for this path.
fn curl(isobar: &Isobar, path: &str, arguments: &[&str]) -> Vec<u8> {
    let mut curl = command("curl");
    curl.args(["--silent", "--show-error", "--fail", "--http2-prior-knowledge", "--max-time", "60"]);
    curl.args(arguments).arg(format!("http://{}{path}", isobar.listener("web")));
    run(curl).stdout
}

/// Asks for everything that every server is good for, in every way; `start` gives a server that speaks in one.
fn assert_serves(
    start: impl Fn(&Path, &Certificates, Way) -> (Program, SocketAddr),
    has_trailers: impl Fn(Way) -> bool,
) {
    let certificates = Certificates::for_localhost();
    let folder = open_folder();
    let (large, upload) = (random_content(LARGE), random_content(UPLOAD));
    std::fs::write(folder.path().join("large"), &large).unwrap();
    std::fs::write(folder.path().join("page"), "a page").unwrap();
    let file = folder.path().join("upload");
    std::fs::write(&file, &upload).unwrap();
    let data = format!("@{}", file.display());
    for way in WAYS {
        let (_server, endpoint) = start(folder.path(), &certificates, way);
        let isobar = before(endpoint, &certificates, way);
        assert_eq!(String::from_utf8(curl(&isobar, "/version", &[])).unwrap(), way.version(), "{way:?}");
        assert!(curl(&isobar, "/large", &[]) == large, "{way:?}: a large answer");
        let echoed = curl(&isobar, "/echo", &["--data-binary", &data]);
        assert!(echoed == upload, "{way:?}: {} bytes came back", echoed.len());
        assert_serves_at_once(&isobar, &["--requests=600"], "/page");
        let data = format!("--data={}", file.display());
        assert_serves_at_once(&isobar, &["--requests=40", &data], "/echo");
        if has_trailers(way) {
            assert_trailers(&isobar, way);
        }
        isobar.assert_no_leak();
    }
}

/// Two callers with twenty requests each at once, as many as this in all.
fn assert_serves_at_once(isobar: &Isobar, arguments: &[&str], path: &str) {
    let mut load = command("h2load");
    load.args(["--clients=2", "--max-concurrent-streams=20"]).args(arguments);
    load.arg(format!("http://{}{path}", isobar.listener("web")));
    let report = String::from_utf8_lossy(&run(load).stdout).into_owned();
    let all_good =
        report.contains(" 0 failed, 0 errored, 0 timeout") && report.contains(" 0 3xx, 0 4xx, 0 5xx");
    assert!(all_good, "{report}");
}

fn assert_trailers(isobar: &Isobar, way: Way) {
    let mut client = isobar.connect();
    client.send("GET /trailers HTTP/1.1\r\nhost: test\r\nte: trailers\r\n\r\n");
    let answer = client.response("GET");
    assert_eq!((answer.text().as_str(), answer.trailers.as_str()), ("body", "x-sum: 7\r\n"), "{way:?}");
}

/// nginx with files; what is posted it gives to an endpoint of its own, which sends it back.
fn nginx_of(folder: &Path, certificates: &Certificates, way: Way, echo: SocketAddr) -> (Program, SocketAddr) {
    let address = free_address();
    let at = folder.display();
    let [certificate, key] = ["web.pem", "web.key"].map(|file| certificates.at(file));
    let tls = format!(" ssl; ssl_certificate {certificate}; ssl_certificate_key {key}");
    let tls = if way.is_tls { tls.as_str() } else { "" };
    let h2 = if way.is_h2 { " http2" } else { "" };
    let server = format!(
        "client_max_body_size 0;\nserver {{ listen {address}{h2}{tls}; root {at};\n\
         location = /version {{ return 200 $server_protocol; }}\n\
         location = /echo {{ proxy_pass http://{echo}; }} }}"
    );
    (nginx(folder, address, &server), address)
}

#[test]
fn nginx_serves_files_and_uploads_in_every_way_that_it_is_spoken_to() {
    let echo = Origin::start(|visit| {
        while let Some(head) = visit.head() {
            let body = visit.body(&head);
            visit.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()));
            visit.send(&body);
        }
    });
    assert_serves(|folder, certificates, way| nginx_of(folder, certificates, way, echo.address), |_| false);
}

#[test]
fn node_serves_files_uploads_and_trailers_in_every_way_that_it_is_spoken_to() {
    assert_serves(
        |folder, certificates, way| {
            let mut node = peer("echo_server.mjs");
            node.arg(match way {
                Way { is_tls: true, .. } => "tls",
                Way { is_h2: true, .. } => "h2c",
                Way { .. } => "http1",
            });
            node.arg(folder).args([certificates.at("web.pem"), certificates.at("web.key")]);
            Program::announced(node)
        },
        |_| true,
    );
}

#[test]
fn hypercorn_serves_files_uploads_and_trailers_in_every_way_that_it_is_spoken_to() {
    assert_serves(
        |folder, certificates, way| {
            let mut server = peer("hypercorn_server.py");
            server.arg(folder);
            if way.is_tls {
                server.args([certificates.at("web.pem"), certificates.at("web.key")]);
            }
            Program::announced(server)
        },
        |way| way.is_h2,
    );
}
