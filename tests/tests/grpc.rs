//! gRPC through the proxy: real servers and clients (`grpcio`) over h2c and TLS, and the proxy's own answers line by line.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use isobar_tests::http2::Http2;
use isobar_tests::real::{command, peer, run};
use isobar_tests::{Certificates, Isobar, Origin, one_service, refusing_address, wait_for};
use tempfile::TempDir;

/// A gRPC server, killed with `kill -9` when dropped.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(folder: &TempDir, name: &str, arguments: &[&str]) -> Self {
        let mut server = peer("grpc_server.py");
        server.arg(name).arg(folder.path().join(name)).args(arguments);
        let mut child = server.stdout(Stdio::piped()).spawn().unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let port = port.trim().parse().expect("the server prints its port");
        Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// What a client that carried this scenario out printed.
fn client(address: SocketAddr, ca: &str, scenario: &[&str]) -> String {
    let mut client = peer("grpc_client.py");
    client.arg(address.to_string()).arg(ca).args(scenario);
    String::from_utf8(run(client).stdout).unwrap()
}

/// A client that goes on while the test does something.
fn client_beside(isobar: &Isobar, scenario: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let mut client = peer("grpc_client.py");
    client.arg(isobar.listener("web").to_string()).arg("-").args(scenario);
    let mut child = client.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    (child, lines)
}

fn next_line(lines: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    line.trim().to_owned()
}

fn rest_of(mut child: Child, lines: BufReader<ChildStdout>) -> Vec<String> {
    let rest = lines.lines().map(Result::unwrap).collect();
    assert!(child.wait().unwrap().success());
    rest
}

fn start(endpoints: &[SocketAddr], service: &str) -> Isobar {
    Isobar::start(&one_service(endpoints, "", &format!("protocol = \"h2\"\n{service}")))
}

const SCENARIOS: [&[&str]; 4] = [&["kinds", "a"], &["deadlines"], &["cancellation"], &["services"]];

#[test]
fn every_kind_of_call_passes_in_the_clear_as_without_a_proxy() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder, "a", &[]);
    for scenario in SCENARIOS {
        client(server.address, "-", scenario);
    }
    let isobar = start(&[server.address], "");
    for scenario in SCENARIOS {
        client(isobar.listener("web"), "-", scenario);
    }
    let ended = |status| isobar.count(&["isobar_grpc_calls_total{", &format!("grpc_status=\"{status}\"")]);
    assert!(ended("ok") > 10 && ended("not-found") == 2 && ended("data-loss") == 1, "{:?}", isobar.metrics());
    isobar.assert_no_leak();
}

#[test]
fn every_kind_of_call_passes_over_tls_on_both_sides() {
    let (folder, certificates) = (tempfile::tempdir().unwrap(), Certificates::for_localhost());
    certificates.issue("end", &["127.0.0.1"]);
    let server = Server::start(&folder, "a", &[&certificates.at("end.pem"), &certificates.at("end.key")]);
    let listener = certificates.listener(&["web"], "");
    let ca = certificates.at("ca.pem");
    let service =
        format!("protocol = \"h2\"\ntls = {{ ca = \"{ca}\" }}\nhealth = {{ grpc = \"shop.Cart\" }}\n");
    let isobar = Isobar::start(&one_service(&[server.address], &listener, &service));
    for scenario in SCENARIOS {
        client(isobar.listener("web"), &ca, scenario);
    }
    let passed = || isobar.count(&["isobar_probes_total{", "result=\"passed\""]);
    wait_for("a probe over TLS to pass", || (passed() > 0).then_some(()));
    assert_eq!(isobar.count(&["isobar_probes_total{", "result=\"failed\""]), 0);
    isobar.assert_no_leak();
}

#[test]
fn calls_of_one_connection_are_shared_out_among_all_servers() {
    const N_CALLS: usize = 10_000;
    let folder = tempfile::tempdir().unwrap();
    let servers = ["a", "b", "c", "d", "e"].map(|name| Server::start(&folder, name, &[]));
    let isobar = start(&servers.each_ref().map(|server| server.address), "");
    let told = client(isobar.listener("web"), "-", &["spread", &N_CALLS.to_string()]);
    let shares: BTreeMap<&str, usize> = told
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, taken)| (name, taken.parse().unwrap()))
        .collect();
    let even = N_CALLS / servers.len();
    assert_eq!(shares.len(), servers.len());
    assert_eq!(shares.values().sum::<usize>(), N_CALLS);
    for taken in shares.values() {
        assert!(taken.abs_diff(even) * 50 <= even, "within 2 % of {even}: {shares:?}");
    }
    assert_eq!(isobar.count(&["isobar_connections_total{"]), 1);
    isobar.assert_no_leak();
}

#[test]
fn a_killed_server_takes_no_call_with_it_that_it_had_not_been_given() {
    const N_CALLS: usize = 4_000;
    /// As many calls as the client has threads are under way at a time.
    const N_UNDER_WAY: usize = 8;
    let folder = tempfile::tempdir().unwrap();
    let names = ["a", "b", "c", "d", "e"];
    let mut servers = Vec::from(names.map(|name| Server::start(&folder, name, &[])));
    let addresses: Vec<SocketAddr> = servers.iter().map(|server| server.address).collect();
    let isobar = start(&addresses, "");
    let (caller, mut lines) = client_beside(&isobar, &["survive", &N_CALLS.to_string()]);
    assert_eq!(next_line(&mut lines), "begun");
    drop(servers.remove(2));
    let failed = rest_of(caller, lines);
    assert!(failed.len() <= N_UNDER_WAY, "only what was under way may fail: {failed:?}");
    assert!(failed.iter().all(|line| line.ends_with("UNAVAILABLE")), "{failed:?}");
    let journals: Vec<String> =
        names.iter().map(|name| std::fs::read_to_string(folder.path().join(name)).unwrap()).collect();
    let begun: Vec<&str> = journals.iter().flat_map(|journal| journal.lines()).collect();
    let calls: BTreeSet<&str> = begun.iter().copied().collect();
    assert_eq!(begun.len(), calls.len(), "no call was begun twice");
    assert!(calls.len() + failed.len() >= N_CALLS);
    assert!(isobar.count(&["isobar_retries_total{"]) > 0, "calls met the dead server and went elsewhere");
    isobar.assert_no_leak();
}

#[test]
fn a_stream_whose_server_dies_ends_with_a_status_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder, "a", &[]);
    let isobar = start(&[server.address], "");
    let (caller, mut lines) = client_beside(&isobar, &["cut"]);
    assert_eq!(next_line(&mut lines), "streaming");
    drop(server);
    assert_eq!(rest_of(caller, lines), ["UNAVAILABLE upstream-reset: the service broke off its answer"]);
    isobar.assert_no_leak();
}

#[test]
fn the_health_service_moves_calls_away_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let servers = ["a", "b"].map(|name| Server::start(&folder, name, &[]));
    let health = "health = { grpc = \"shop.Cart\", interval = \"100ms\", timeout = \"5s\", unhealthy_after = 1, \
                  healthy_after = 1 }\n";
    let isobar = start(&servers.each_ref().map(|server| server.address), health);
    let healthy = || isobar.count(&["isobar_endpoints{", "state=\"healthy\""]);
    let names = || client(isobar.listener("web"), "-", &["spread", "100"]);
    wait_for("both to be healthy", || (healthy() == 2).then_some(()));
    assert_eq!(names(), "a 50\nb 50\n");
    client(servers[0].address, "-", &["say", "Serve", "NOT_SERVING"]);
    wait_for("one to be out", || (healthy() == 1).then_some(()));
    assert_eq!(names(), "b 100\n");
    assert!(isobar.has_logged("the gRPC health service says NOT_SERVING"));
    client(servers[0].address, "-", &["say", "Serve", "SERVING"]);
    wait_for("both to be healthy again", || (healthy() == 2).then_some(()));
    assert_eq!(names(), "a 50\nb 50\n");
}

/// What a real client is told of a call that it makes with this deadline in seconds: code, words, reason.
fn told(isobar: &Isobar, method: &str, size: &str, timeout: &str) -> Vec<String> {
    let told = client(isobar.listener("web"), "-", &["expect", method, size, timeout]);
    told.lines().map(str::to_owned).collect()
}

#[test]
fn what_the_proxy_refuses_is_a_status_with_the_reason_of_the_refusal() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder, "a", &[]);
    let unavailable = start(&[refusing_address()], "");
    assert_eq!(told(&unavailable, "Name", "0", "60")[0], "UNAVAILABLE");
    assert_eq!(told(&unavailable, "Name", "0", "60")[2], "connect-failed");
    let route = |path: &str| {
        format!(
            "[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\nlimits = {{ body = \"1KiB\", head = \"2KiB\" }}\n\
             [[routes]]\npath = \"{path}\"\nservice = \"app\"\ntimeout = \"300ms\"\n\
             [services.app]\nprotocol = \"h2\"\nendpoints = [\"{}\"]\n[access_log]\nto = \"access.log\"\nformat = \"json\"\n",
            server.address
        )
    };
    let isobar = Isobar::start(&route("/test.Peer/"));
    // The endpoint knows the deadline too, and may be the first to say so.
    assert_eq!(told(&isobar, "Hang", "0", "60")[0], "DEADLINE_EXCEEDED");
    assert_eq!(
        client(server.address, "-", &["say", "Cancelled", ""]).trim(),
        "yes",
        "the endpoint hears of it"
    );
    assert_eq!(
        told(&isobar, "Name", "100000", "60"),
        [
            "RESOURCE_EXHAUSTED",
            "body-too-large: the body is longer than this listener allows",
            "body-too-large"
        ]
    );
    let nowhere = Isobar::start(&route("/other"));
    assert_eq!(
        told(&nowhere, "Name", "0", "60"),
        ["UNIMPLEMENTED", "no-route: no route matches this request", "no-route"]
    );
    let full = start(&[server.address], "pool = { max_connections_per_endpoint = 1 }\n");
    let one_stream = Server::start(&folder, "one", &["--streams", "1"]);
    let crowded = start(&[one_stream.address], "pool = { max_connections_per_endpoint = 1 }\n");
    assert_eq!(client(crowded.listener("web"), "-", &["crowd"]).trim(), "RESOURCE_EXHAUSTED");
    client(full.listener("web"), "-", &["say", "Name", ""]);
    for isobar in [&unavailable, &isobar, &nowhere, &crowded, &full] {
        isobar.assert_no_leak();
    }
}

/// The head and the trailers of the answer to a request without a message, as curl shows them.
fn answer_to(isobar: &Isobar, content_type: &str, fields: &[&str]) -> String {
    let mut curl = command("curl");
    curl.args(["-sS", "-i", "--http2-prior-knowledge", "--max-time", "20", "-d", ""]);
    curl.arg("-H").arg(format!("content-type: {content_type}"));
    for field in [&["te: trailers"], fields].concat() {
        curl.args(["-H", field]);
    }
    curl.arg(format!("http://{}/a.B/C", isobar.listener("web")));
    String::from_utf8_lossy(&run(curl).stdout).into_owned()
}

#[test]
fn a_refusal_is_a_head_alone_and_a_plain_request_gets_a_plain_one() {
    // One worker writes the lines of the log in the order of the requests.
    let isobar = Isobar::start(&format!(
        "{}[runtime]\nworkers = 1\n[access_log]\nto = \"access.log\"\nformat = \"json\"\n",
        one_service(&[refusing_address()], "", "protocol = \"h2\"\n")
    ));
    let answer = answer_to(&isobar, "application/grpc", &[]);
    assert_eq!(
        answer,
        "HTTP/2 200 \r\ncontent-type: application/grpc\r\ngrpc-status: 14\r\n\
         grpc-message: connect-failed: no connection to the service could be made\r\nx-isobar-error: connect-failed\r\n\r\n"
    );
    for call in ["application/grpc+json", "application/grpc;a=b"] {
        assert_eq!(answer_to(&isobar, call, &[]), answer);
    }
    for other in ["application/grpc-web", "application/json"] {
        let plain = answer_to(&isobar, other, &[]);
        assert!(plain.starts_with("HTTP/2 502 ") && !plain.contains("grpc-status"), "{plain}");
    }
    assert_eq!(isobar.get("/").status, 502);
    let calls = isobar.count(&["isobar_grpc_calls_total{", "service=\"app\"", "grpc_status=\"unavailable\""]);
    assert_eq!(calls, 3);
    let lines = wait_for("the access log", || {
        let text = std::fs::read_to_string(isobar.dir.path().join("access.log")).ok()?;
        (text.lines().count() == 6).then_some(text)
    });
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(first["status"], 200);
    assert_eq!(first["grpc_status"], "unavailable");
    assert_eq!(first["error"], "connect-failed");
    let last: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!(last.get("grpc_status"), None, "{last}");
}

#[test]
fn a_deadline_is_shortened_on_its_way_and_no_endpoint_sees_one_that_is_over() {
    let origin = Origin::start(|visit| {
        while let Some(head) = visit.head() {
            visit.body(&head);
            visit.answer("");
        }
    });
    let isobar = Isobar::start(&one_service(&[refusing_address(), origin.address], "", ""));
    for _ in 0..4 {
        answer_to(&isobar, "application/grpc", &["grpc-timeout: 10S"]);
    }
    for head in origin.heads() {
        let timeout = head.lines().find_map(|line| line.strip_prefix("grpc-timeout: ")).unwrap();
        let micros: u32 = timeout.strip_suffix('u').unwrap().parse().unwrap();
        assert!(micros < 10_000_000, "{timeout}");
    }
    let n_seen = origin.heads().len();
    assert!(n_seen >= 2);
    let over = answer_to(&isobar, "application/grpc", &["grpc-timeout: 0n"]);
    assert!(
        over.contains("grpc-status: 4\r\n") && over.contains("x-isobar-error: upstream-timeout"),
        "{over}"
    );
    for malformed in [&["grpc-timeout: 10s"][..], &["grpc-timeout: 1S", "grpc-timeout: 2S"]] {
        let refused = answer_to(&isobar, "application/grpc", malformed);
        assert!(refused.contains("grpc-status: 13\r\n"), "{refused}");
        assert!(refused.contains("x-isobar-error: bad-request"), "{refused}");
    }
    assert_eq!(origin.heads().len(), n_seen);
}

#[test]
fn deadlines_that_callers_set_do_not_cost_a_connection_unless_it_is_silent_for_long() {
    let n_requests = AtomicUsize::new(0);
    let origin = Origin::start(move |visit| {
        let Some(mut peer) = Http2::accept(&visit.stream, &[]) else { return };
        while let Some(stream) = peer.next_request() {
            // Every other one is answered.
            if n_requests.fetch_add(1, Ordering::SeqCst) % 2 == 1 {
                peer.answer(stream, "");
            }
        }
    });
    let service = "protocol = \"h2\"\n[runtime]\nworkers = 1\n";
    let isobar = Isobar::start(&one_service(&[origin.address], "", service));
    for (timeout, n_connections) in [("100m", 1), ("1200m", 2)] {
        let over = answer_to(&isobar, "application/grpc", &[&format!("grpc-timeout: {timeout}")]);
        let lines = "grpc-status: 4\r\ngrpc-message: upstream-timeout: the service did not answer in time\r\n\
                     x-isobar-error: upstream-timeout\r\n\r\n";
        assert!(over.ends_with(lines), "{over}");
        let next = answer_to(&isobar, "application/grpc", &[]);
        assert!(next.starts_with("HTTP/2 200"), "{next}");
        assert_eq!(origin.n_connections(), n_connections, "after {timeout}");
    }
    isobar.assert_no_leak();
}
