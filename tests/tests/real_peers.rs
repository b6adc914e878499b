//! nginx, Apache and lighttpd behind one service, curl in front of it.
//!
//! Limits: the servers serve one folder of files; what they do beyond files is not asked here.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::SocketAddr;
use std::time::Duration;

use isobar_tests::real::{Draw, command, run};
use isobar_tests::servers::{Servers, open_folder, write};
use isobar_tests::{Isobar, Origin, PATIENCE, Visit};

const BIG: usize = 100 << 20;

/// Three servers of one folder, and the proxy in front of them, round-robin.
struct Site {
    isobar: Isobar,
    servers: Servers,
}

fn proxy(endpoints: &[SocketAddr]) -> Isobar {
    let endpoints: Vec<String> = endpoints.iter().map(|address| format!("\"{address}\"")).collect();
    Isobar::start(&format!(
        "[runtime]\nworkers = 2\n[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\nservice = \"app\"\n\
         [services.app]\npolicy = \"round-robin\"\nconnect_timeout = \"10s\"\nendpoints = [{}]\n",
        endpoints.join(", ")
    ))
}

impl Site {
    fn start() -> Self {
        let servers = Servers::start();
        Self { isobar: proxy(&servers.addresses), servers }
    }

    fn file(&self, name: &str, content: &[u8]) {
        std::fs::write(self.servers.files().join(name), content).unwrap();
    }
}

/// What curl, given these arguments and the proxy's URL of `path`, writes to its output.
fn curl(isobar: &Isobar, arguments: &[&str], path: &str) -> Vec<u8> {
    let mut curl = command("curl");
    curl.args(["--silent", "--show-error", "--http1.1", "--max-time", "60"]).args(arguments);
    curl.arg(format!("http://{}{path}", isobar.listener("web")));
    run(curl).stdout
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The value of a field in a head that curl wrote.
fn field(head: &str, name: &str) -> String {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).expect(name).1.to_owned()
}

fn random_content(size: usize) -> Vec<u8> {
    let mut draw = Draw(2);
    (0..size / 8).flat_map(|_| draw.bits().to_le_bytes()).collect()
}

#[test]
fn three_kinds_of_servers_take_turns_and_answer_get_head_and_ranges() {
    let site = Site::start();
    let content = random_content(200_000);
    site.file("page", &content);
    let mut kinds = BTreeSet::new();
    for _ in 0..3 {
        let head = text(&curl(&site.isobar, &["--head"], "/page"));
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert_eq!(field(&head, "content-length"), "200000", "{head}");
        kinds.insert(field(&head, "server").split(['/', ' ']).next().unwrap().to_lowercase());
    }
    let expected = ["apache", "lighttpd", "nginx"].map(str::to_owned);
    assert!(kinds.iter().eq(&expected), "{kinds:?}");
    for _ in 0..3 {
        assert!(curl(&site.isobar, &[], "/page") == content, "GET");
        for (range, bytes) in [("0-0", 0..1), ("1000-99999", 1000..100_000), ("-500", 199_500..200_000)] {
            let got = curl(&site.isobar, &["--range", range, "--write-out", "%{http_code}"], "/page");
            assert!(got == [&content[bytes], b"206"].concat(), "range {range}");
        }
        let several = text(&curl(&site.isobar, &["--include", "--range", "0-9,100-109"], "/page"));
        assert!(several.contains("multipart/byteranges"), "two ranges: {}", &several[..300]);
        let beyond = curl(&site.isobar, &["-r", "200000-", "-o", "/dev/null", "-w", "%{http_code}"], "/page");
        assert_eq!(text(&beyond), "416");
        let missing = curl(&site.isobar, &["-o", "/dev/null", "-w", "%{http_code}"], "/nothing");
        assert_eq!(text(&missing), "404");
    }
    site.isobar.assert_no_leak();
}

#[test]
fn a_file_of_100_mib_arrives_identical_from_every_server() {
    let site = Site::start();
    let content = random_content(BIG);
    site.file("big", &content);
    for turn in 0..3 {
        let got = curl(&site.isobar, &[], "/big");
        assert_eq!(got.len(), BIG, "turn {turn}");
        assert!(got == content, "turn {turn}: the bytes differ");
    }
    site.isobar.assert_no_leak();
}

#[test]
fn a_page_of_many_parts_arrives_over_parallel_kept_connections() {
    let site = Site::start();
    let contents: Vec<Vec<u8>> =
        (0..300_usize).map(|n| format!("part {n} ").repeat(n * 20).into_bytes()).collect();
    for (n, content) in contents.iter().enumerate() {
        site.file(&format!("part{n}"), content);
    }
    let out = site.servers.files().with_file_name("out");
    std::fs::create_dir(&out).unwrap();
    let pattern = out.join("#1").display().to_string();
    let arguments = ["--fail", "--parallel", "--parallel-max", "30", "--output", &pattern];
    curl(&site.isobar, &arguments, "/part[0-299]");
    for (n, content) in contents.iter().enumerate() {
        assert!(std::fs::read(out.join(n.to_string())).unwrap() == *content, "part {n}");
    }
    site.isobar.assert_no_leak();
}

fn fingerprint(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Answers with the length and the fingerprint of the body it got and how it was framed.
fn fingerprinting(visit: &mut Visit) {
    while let Some(head) = visit.head() {
        if head.to_lowercase().contains("\r\nexpect: 100-continue\r\n") {
            visit.send("HTTP/1.1 100 Continue\r\n\r\n");
        }
        let body = visit.body(&head);
        let is_chunked = head.to_lowercase().contains("\r\ntransfer-encoding: chunked\r\n");
        visit.answer(&format!("{} {} chunked={is_chunked}", body.len(), fingerprint(&body)));
    }
}

#[test]
fn a_post_of_100_mib_arrives_identical_by_length_and_chunked() {
    let origin = Origin::start(fingerprinting);
    let isobar = proxy(&[origin.address]);
    let folder = open_folder();
    let content = random_content(BIG);
    let from = format!("@{}", write(folder.path(), "body", "").display());
    std::fs::write(folder.path().join("body"), &content).unwrap();
    let print = fingerprint(&content);
    for (field, chunked) in [("x-framing: length", false), ("transfer-encoding: chunked", true)] {
        for expect in ["expect:", "expect: 100-continue"] {
            let got = curl(&isobar, &["--data-binary", &from, "-H", field, "-H", expect], "/upload");
            assert_eq!(text(&got), format!("{BIG} {print} chunked={chunked}"), "{field}, {expect}");
        }
    }
    isobar.assert_no_leak();
}

#[test]
fn an_expectation_travels_to_the_endpoint_and_its_100_back_before_the_body() {
    let origin = Origin::start(|visit| {
        while let Some(head) = visit.head() {
            assert!(head.to_lowercase().contains("\r\nexpect: 100-continue\r\n"), "{head}");
            visit.stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            let early = visit.stream.peek(&mut [0]).is_ok();
            visit.stream.set_read_timeout(Some(PATIENCE)).unwrap();
            visit.send("HTTP/1.1 100 Continue\r\n\r\n");
            let body = visit.body(&head);
            visit.answer(&format!("early={early} {}", text(&body)));
        }
    });
    let isobar = proxy(&[origin.address]);
    let arguments =
        ["--include", "-H", "Expect: 100-continue", "--expect100-timeout", "30", "--data", "the body"];
    let got = text(&curl(&isobar, &arguments, "/"));
    assert!(got.starts_with("HTTP/1.1 100 Continue\r\n"), "{got}");
    assert!(got.ends_with("\r\n\r\nearly=false the body"), "{got}");
    isobar.assert_no_leak();
}

#[test]
fn a_refused_expectation_spares_the_upload() {
    let origin = Origin::start(|visit| {
        if visit.head().is_some() {
            visit.send("HTTP/1.1 417 Expectation Failed\r\ncontent-length: 2\r\n\r\nno");
            visit.is_closed_by_peer();
        }
    });
    let isobar = proxy(&[origin.address]);
    let mut client = isobar.connect();
    client.send("PUT / HTTP/1.1\r\nhost: test\r\ncontent-length: 50000\r\nexpect: 100-continue\r\n\r\n");
    assert_eq!(client.any_response("PUT").unwrap().status, 417, "without a byte of the body");
    let folder = open_folder();
    let file = write(folder.path(), "body", &"b".repeat(50_000)).display().to_string();
    let expect = ["-H", "Expect: 100-continue", "--expect100-timeout", "30"];
    let arguments = [&expect[..], &["-T", &file, "-w", "\n%{http_code} "]].concat();
    let got = text(&curl(&isobar, &arguments, "/"));
    // curl repeats an upload without the expectation after 417, and is refused again.
    assert!(got.starts_with("no") && got.contains("\n417 "), "{got}");
    drop(client);
    isobar.assert_no_leak();
}

#[test]
fn informational_responses_are_relayed_in_order() {
    let origin = Origin::start(|visit| {
        while visit.head().is_some() {
            visit.send("HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n");
            visit.send("HTTP/1.1 102 Processing\r\n\r\n");
            visit.send("HTTP/1.1 103 Early Hints\r\nlink: </b.js>; rel=preload\r\n\r\n");
            visit.answer("done");
        }
    });
    let isobar = proxy(&[origin.address]);
    for _ in 0..2 {
        let got = text(&curl(&isobar, &["--include"], "/"));
        let statuses: Vec<&str> =
            got.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 ")).map(|rest| &rest[..3]).collect();
        assert_eq!(statuses, ["103", "102", "103", "200"], "{got}");
        let (css, js) = (got.find("</a.css>; rel=preload"), got.find("</b.js>; rel=preload"));
        assert!(css.is_some() && css < js, "{got}");
        assert!(got.ends_with("\r\n\r\ndone"), "{got}");
    }
    isobar.assert_no_leak();
}
