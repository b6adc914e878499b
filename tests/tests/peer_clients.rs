//! Real callers of the listeners, in the clear and over TLS: curl, nghttp, h2load, Node, k6, grpcurl, and nginx as a proxy
//! in front.
//!
//! Limit: what browsers do is in `browser.rs`.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::SocketAddr;
use std::process::Command;

use isobar_tests::real::{Draw, Program, command, free_address, peer, run, script};
use isobar_tests::servers::{nginx, open_folder};
use isobar_tests::{Certificates, Isobar, Origin, Visit, one_service};

const LARGE: usize = 5 << 20;
const UPLOAD: usize = 1 << 20;

/// The proxy with a listener in the clear and one with TLS, before one endpoint.
struct Site {
    isobar: Isobar,
    certificates: Certificates,
}

impl Site {
    /// Before an endpoint of HTTP/1.1 with pages, uploads that come back, and trailers.
    fn start() -> Self {
        // Requests at once are connections to this endpoint, whose queue holds some hundred.
        Self::before(Origin::start(serve).address, "connect_timeout = \"10s\"\n")
    }

    fn before(endpoint: SocketAddr, service: &str) -> Self {
        let certificates = Certificates::for_localhost();
        let listener = "[[listeners]]\nname = \"tls\"\nlisten = \"127.0.0.1:0\"\nservice = \"app\"\n"
            .to_owned()
            + &certificates.listener(&["web"], "");
        let isobar = Isobar::start(&one_service(&[endpoint], &listener, service));
        Self { isobar, certificates }
    }

    fn port(&self, listener: &str) -> u16 {
        self.isobar.listener(listener).port()
    }

    /// The URL of the listener, `web` or `tls`.
    fn url(&self, listener: &str) -> String {
        match listener {
            "tls" => format!("https://localhost:{}", self.port("tls")),
            _ => format!("http://127.0.0.1:{}", self.port("web")),
        }
    }
}

fn serve(visit: &mut Visit) {
    const TRAILERS: &str =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nx-sum: 7\r\n\r\n";
    while let Some(head) = visit.head() {
        let body = visit.body(&head);
        let path = head.split([' ', '?']).nth(1).unwrap();
        let answer = match path {
            "/large" => vec![b'x'; LARGE],
            "/page" => b"a page".to_vec(),
            _ => body,
        };
        if path == "/trailers" {
            visit.send(TRAILERS);
            continue;
        }
        let is_sent = visit.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", answer.len()));
        if is_sent && !head.starts_with("HEAD ") {
            visit.send(&answer);
        }
    }
}

/// What a command that succeeded wrote to its output.
fn output(command: Command) -> String {
    String::from_utf8_lossy(&run(command).stdout).into_owned()
}

/// A file of random bytes in a folder of its own, and what it holds.
fn upload() -> (tempfile::TempDir, String, Vec<u8>) {
    let mut draw = Draw(5);
    let content: Vec<u8> = (0..UPLOAD / 8).flat_map(|_| draw.bits().to_le_bytes()).collect();
    let folder = open_folder();
    let file = folder.path().join("upload");
    std::fs::write(&file, &content).unwrap();
    (folder, file.display().to_string(), content)
}

#[test]
fn curl_is_served_in_every_version_that_it_speaks_and_an_offered_upgrade_to_h2c_is_not_taken() {
    let (site, (_folder, file, content)) = (Site::start(), upload());
    for (listener, flag, version) in [
        ("web", "--http1.1", "1.1"),
        ("web", "--http2-prior-knowledge", "2"),
        ("web", "--http2", "1.1"),
        ("tls", "--http1.1", "1.1"),
        ("tls", "--http2", "2"),
    ] {
        let curl = |arguments: &[&str], path: &str| {
            let mut curl = command("curl");
            curl.args(["--silent", "--show-error", "--fail", "--ipv4", "--max-time", "60", flag]);
            curl.args(["--cacert", &site.certificates.at("ca.pem")]).args(arguments);
            curl.arg(site.url(listener) + path);
            run(curl).stdout
        };
        let told = curl(&["--write-out", " %{http_version}"], "/page");
        assert_eq!(String::from_utf8(told).unwrap(), format!("a page {version}"), "{listener} {flag}");
        let echoed = curl(&["--data-binary", &format!("@{file}")], "/echo");
        assert!(echoed == content, "{listener} {flag}: {} bytes came back", echoed.len());
        assert_eq!(curl(&[], "/large").len(), LARGE, "{listener} {flag}");
        assert!(curl(&["--head"], "/page").starts_with(b"HTTP/"), "{listener} {flag}");
        // Of streams on one connection by prior knowledge this curl loses all but the first, with any server.
        if flag != "--http2-prior-knowledge" {
            let at_once = curl(&["--parallel", "--parallel-max", "30"], "/page?[1-200]");
            assert_eq!(at_once, b"a page".repeat(200), "{listener} {flag}");
        }
    }
    site.isobar.assert_no_leak();
}

#[test]
fn nghttp_is_served_whatever_frames_it_makes_of_its_requests() {
    let (site, (_folder, file, content)) = (Site::start(), upload());
    for listener in ["web", "tls"] {
        let nghttp = |arguments: &[&str], path: &str| {
            let mut nghttp = command("nghttp");
            nghttp.args(["--no-verify-peer", "--timeout=20s"]).args(arguments).arg(site.url(listener) + path);
            run(nghttp).stdout
        };
        let data = format!("--data={file}");
        for arguments in [
            &[data.as_str()][..],
            &[&data, "--padding=200"],
            &[&data, "--trailer=x-sum: 7"],
            &[&data, "--expect-continue"],
            &[&data, "--no-content-length", "--weight=256"],
        ] {
            assert!(nghttp(arguments, "/echo") == content, "{listener} {arguments:?}");
        }
        assert_eq!(nghttp(&["--window-bits=10", "--connection-window-bits=12"], "/large").len(), LARGE);
        assert_eq!(nghttp(&["--continuation"], "/page"), b"a page");
        let many = nghttp(&["--multiply=90", "--no-dep"], "/page");
        assert_eq!(many, b"a page".repeat(90), "{listener}");
        let told = String::from_utf8(nghttp(&["--null-out", "--verbose"], "/trailers")).unwrap();
        assert!(told.contains("x-sum: 7"), "{told}");
    }
    site.isobar.assert_no_leak();
}

#[test]
fn h2load_is_served_in_every_version_without_one_failure() {
    let (site, (_folder, file, _)) = (Site::start(), upload());
    let data = format!("--data={file}");
    for listener in ["web", "tls"] {
        for version in ["--npn-list=h2", "--h1"] {
            for (arguments, path) in
                [(&["--requests=3000"][..], "/page"), (&["--requests=60", &data][..], "/echo")]
            {
                let mut load = command("h2load");
                load.args(["--clients=4", "--max-concurrent-streams=10", version]).args(arguments);
                load.arg(site.url(listener) + path);
                let report = output(load);
                let all_good = report.contains(" 0 failed, 0 errored, 0 timeout");
                assert!(
                    all_good && report.contains(" 0 3xx, 0 4xx, 0 5xx"),
                    "{listener} {version}: {report}"
                );
                let spoken = if version == "--h1" { "http/1.1" } else { "h2" };
                assert!(report.contains(&format!("Application protocol: {spoken}")), "{report}");
            }
        }
    }
    site.isobar.assert_no_leak();
}

#[test]
fn node_is_served_over_one_connection_of_many_streams_and_over_kept_ones() {
    let site = Site::start();
    for listener in ["web", "tls"] {
        let mut node = peer("calls.mjs");
        node.arg(site.url(listener));
        if listener == "tls" {
            // The listener has an address of version 4.
            node.arg(site.certificates.at("ca.pem")).env("NODE_OPTIONS", "--dns-result-order=ipv4first");
        }
        assert_eq!(output(node).trim(), "served", "{listener}");
    }
    site.isobar.assert_no_leak();
}

#[test]
fn k6_finds_every_answer_right_over_http_1_and_2() {
    let site = Site::start();
    // Without TLS it speaks HTTP/1.1 alone; with it HTTP/2 unless Go is told otherwise.
    for (listener, go, protocol) in
        [("web", "", "HTTP/1.1"), ("tls", "", "HTTP/2.0"), ("tls", "http2client=0", "HTTP/1.1")]
    {
        let mut k6 = command("k6");
        k6.args(["run", "--quiet", "--no-color", "--no-usage-report"]).arg(script("k6.js"));
        k6.env("ISOBAR_URL", site.url(listener)).env("ISOBAR_PROTOCOL", protocol).env("GODEBUG", go);
        k6.env("SSL_CERT_FILE", site.certificates.at("ca.pem"));
        let report = output(k6);
        assert!(report.contains("900"), "three requests an iteration: {report}");
    }
    site.isobar.assert_no_leak();
}

#[test]
fn nginx_in_front_speaks_tls_with_us_and_keeps_its_connections() {
    let (site, (_folder, file, content)) = (Site::start(), upload());
    let (folder, address) = (open_folder(), free_address());
    let server = format!(
        "client_max_body_size 0;\nupstream us {{ server 127.0.0.1:{}; keepalive 4; }}\n\
         server {{ listen {address} http2; location / {{ proxy_pass https://us; proxy_http_version 1.1;\n\
         proxy_set_header connection \"\"; proxy_ssl_verify on; proxy_ssl_trusted_certificate {};\n\
         proxy_ssl_name localhost; proxy_ssl_server_name on; }} }}",
        site.port("tls"),
        site.certificates.at("ca.pem")
    );
    let front = nginx(folder.path(), address, &server);
    let curl = |arguments: &[&str], path: &str| {
        let mut curl = command("curl");
        curl.args(["--silent", "--show-error", "--fail", "--http2-prior-knowledge", "--max-time", "60"]);
        curl.args(arguments).arg(format!("http://{address}{path}"));
        run(curl).stdout
    };
    for _ in 0..20 {
        assert_eq!(curl(&[], "/page"), b"a page");
    }
    assert!(curl(&["--data-binary", &format!("@{file}")], "/echo") == content);
    assert_eq!(curl(&[], "/large").len(), LARGE);
    let taken = site.isobar.count(&["isobar_connections_total", "listener=\"tls\""]);
    assert!((1..5).contains(&taken), "{taken} connections for 22 requests");
    drop(front);
    site.isobar.assert_no_leak();
}

#[test]
fn grpcurl_lists_calls_and_watches_over_h2c_and_tls() {
    let journal = tempfile::TempDir::new().unwrap();
    let mut server = peer("grpc_server.py");
    server.arg("a").arg(journal.path().join("a"));
    let (_server, endpoint) = Program::announced(server);
    let site = Site::before(endpoint, "protocol = \"h2\"\n");
    let ca = site.certificates.at("ca.pem");
    for (trust, at) in [
        (&["-plaintext"][..], format!("127.0.0.1:{}", site.port("web"))),
        (&["-cacert", &ca][..], format!("localhost:{}", site.port("tls"))),
    ] {
        let grpcurl = |arguments: &[&str], call: &str| {
            let mut grpcurl = command("grpcurl");
            grpcurl.args(trust).args(arguments).args([&at, call]);
            grpcurl.output().unwrap()
        };
        let listed = grpcurl(&[], "list");
        assert_eq!(
            String::from_utf8_lossy(&listed.stdout),
            "grpc.health.v1.Health\ngrpc.reflection.v1alpha.ServerReflection\ntest.Peer\n",
            "{listed:?}"
        );
        let ask = |service: &str, call: &str, further: &[&str]| {
            let asked = format!("{{\"service\": \"{service}\"}}");
            grpcurl(&[&["-d", &asked], further].concat(), &format!("grpc.health.v1.Health/{call}"))
        };
        let checked = ask("shop.Cart", "Check", &[]);
        assert!(String::from_utf8_lossy(&checked.stdout).contains("\"SERVING\""), "{checked:?}");
        let unknown = ask("nothing", "Check", &[]);
        assert!(String::from_utf8_lossy(&unknown.stderr).contains("Code: NotFound"), "{unknown:?}");
        let watched = ask("shop.Cart", "Watch", &["-max-time", "1"]);
        assert!(String::from_utf8_lossy(&watched.stdout).contains("\"SERVING\""), "{watched:?}");
        assert!(String::from_utf8_lossy(&watched.stderr).contains("DeadlineExceeded"), "{watched:?}");
    }
    site.isobar.assert_no_leak();
}
