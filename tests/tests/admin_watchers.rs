//! Those who watch: a thousand event streams while traffic goes on, and Prometheus.
//!
//! Limits: the time of a scrape is printed, not asserted. Sockets' buffers belong to the kernel and are not counted; those
//! of the thousand may hold all that a stream is told, so the reader whose buffers are full has a test of its own.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use isobar_tests::real::{self, Program, free_address, raise_descriptor_limit};
use isobar_tests::{Client, Isobar, Load, Origin, PATIENCE, one_service, wait_for};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

/// The bound on open streams: docs/operations/admin.md.
const N_STREAMS: usize = 1_000;
/// What a thousand watchers may hold: 20 KiB each, the reason that the bound on streams gives, and as much again.
const GROWTH_MAX_KIB: u64 = 40_000;
/// Changes, each of which is told to every stream: 400,000 events in all.
const N_CHANGES: usize = 400;

/// As small as the system allows, so that a stream that is not read fills soon.
const SMALL_BUFFER: usize = 1;
/// Together more changes than the buffers of the slowest reader and the backlog hold.
const N_ENDPOINTS: usize = 1_000;
const N_ROUNDS: usize = 10;

fn open_stream(isobar: &Isobar) -> TcpStream {
    listen(TcpStream::connect(isobar.admin_address()).unwrap())
}

fn listen(mut stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /api/v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&head));
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head));
    stream
}

/// Reads until the text has come.
fn read_until(stream: &mut TcpStream, text: &str) {
    let (mut seen, mut piece) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&seen).contains(text) {
        let n = stream.read(&mut piece).unwrap();
        assert!(n > 0, "the stream ended before {text}");
        seen.extend_from_slice(&piece[..n]);
    }
}

#[test]
fn a_thousand_event_streams_that_nobody_reads_hold_bounded_memory_and_disturb_nobody() {
    raise_descriptor_limit(8_000);
    let origin = Origin::answering("a");
    let isobar = Isobar::start(&one_service(&[origin.address], "", ""));
    let load = Load::on(isobar.listener("web"));
    load.wait_for_answers(200);
    assert_eq!(isobar.admin("/metrics").status, 200);
    let before = isobar.memory_kib();
    let mut streams: Vec<TcpStream> = (0..N_STREAMS).map(|_| open_stream(&isobar)).collect();
    let refused = isobar.admin("/api/v1/events");
    assert!(refused.status == 503 && refused.text().contains("too-many-streams"), "{refused:?}");
    let path = format!("/api/v1/services/app/endpoints/{}", origin.address.to_string().replace(':', "%3A"));
    for n in 1..=N_CHANGES {
        let body = format!("{{\"weight\": {n}}}");
        assert_eq!(isobar.admin_call("PATCH", &path, "host: localhost\r\n", &body).status, 200, "change {n}");
        if n % 50 == 0 {
            assert_eq!(isobar.admin("/healthz").status, 200);
        }
    }
    load.wait_for_answers(200);
    let grown = isobar.memory_kib().saturating_sub(before);
    assert!(grown < GROWTH_MAX_KIB, "{N_STREAMS} streams hold {grown} KiB");
    assert_eq!(isobar.admin("/healthz").text(), "ok\n");
    read_until(&mut streams[0], "event: changed\n");
    drop(streams);
    wait_for("a place for another stream", || {
        let mut client = Client::connect(isobar.admin_address());
        client.send("GET /api/v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let mut begin = [0; 12];
        client.stream.read_exact(&mut begin).unwrap();
        (&begin == b"HTTP/1.1 200").then_some(())
    });
    load.end_without_failure();
}

#[test]
fn a_reader_that_never_reads_holds_nobody_up_and_is_told_what_it_missed() {
    // Nobody listens there and nobody asks: they only have to change.
    let endpoints = |weight: usize| {
        let endpoint = |n| format!("{{ address = \"127.1.{}.{}:9\", weight = {weight} }}", n / 250, n % 250);
        (0..N_ENDPOINTS).map(endpoint).collect::<Vec<_>>().join(", ")
    };
    let config = |weight| {
        format!(
            "[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\nservice = \"app\"\n\
             [services.app]\nendpoints = [{}]\n",
            endpoints(weight)
        )
    };
    let isobar = Isobar::start(&config(1));
    let mut reader = open_stream(&isobar);
    // The endpoints are told in their order, so the last one ends a round.
    let mut round = |weight| {
        isobar.configure(&config(weight));
        read_until(&mut reader, "\"endpoint\":\"127.1.3.249:9\"");
    };
    // What reloads hold is not the slow reader's.
    (2..2 + N_ROUNDS).for_each(&mut round);
    let before = isobar.memory_kib();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(SMALL_BUFFER).unwrap();
    socket.connect(&isobar.admin_address().into()).unwrap();
    let mut slowest = listen(socket.into());
    (2 + N_ROUNDS..2 + 2 * N_ROUNDS).for_each(&mut round);
    let grown = isobar.memory_kib().saturating_sub(before);
    assert!(grown < GROWTH_MAX_KIB / 4, "a reader that never reads holds {grown} KiB");
    read_until(&mut slowest, "event: lagged\n");
}

#[test]
fn promtool_has_nothing_to_say_about_the_metrics() {
    let origin = Origin::answering("a");
    let isobar = Isobar::start(&one_service(&[origin.address], "", ""));
    assert_eq!(isobar.get("/").status, 200);
    let text = isobar.admin("/metrics").body;
    let mut promtool = real::command("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = promtool.spawn().unwrap();
    child.stdin.take().unwrap().write_all(&text).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn prometheus_scrapes_the_proxy() {
    let origin = Origin::answering("a");
    let isobar = Isobar::start(&one_service(&[origin.address], "", ""));
    assert_eq!(isobar.get("/").status, 200);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("prometheus.yml");
    let targets = isobar.admin_address();
    std::fs::write(
        &file,
        format!(
            "scrape_configs:\n- job_name: isobar\n  scrape_interval: 1s\n  static_configs:\n  - targets: ['{targets}']\n"
        ),
    )
    .unwrap();
    let address = free_address();
    let mut command = real::command("prometheus");
    command
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _prometheus = Program::start(command).listening_at(address);
    let ask = |path: &str| -> Option<Value> {
        let mut client = Client::connect(address);
        client.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"));
        serde_json::from_slice(&client.any_response("GET")?.body).ok()
    };
    wait_for("Prometheus to find its target up", || {
        let answer = ask("/api/v1/targets")?;
        let target = &answer["data"]["activeTargets"][0];
        assert_ne!(target["health"], "down", "{}", target["lastError"]);
        (target["health"] == "up").then_some(())
    });
    wait_for("a request to be counted", || {
        let answer = ask("/api/v1/query?query=isobar_requests_total")?;
        let value = answer["data"]["result"][0]["value"][1].as_str()?.to_owned();
        (value == "1").then_some(())
    });
}

#[test]
fn a_scrape_of_a_thousand_endpoints_names_each_and_tells_how_long_it_took() {
    // Nothing listens there and nobody asks: endpoints without probes are not connected to.
    let endpoints: Vec<_> =
        (0..1_000_u32).map(|n| ([127, 1, (n / 250) as u8, (n % 250) as u8], 9).into()).collect();
    let isobar = Isobar::start(&one_service(&endpoints, "", ""));
    let mut fastest = Duration::MAX;
    for _ in 0..20 {
        let begin = Instant::now();
        let text = isobar.admin("/metrics").text();
        fastest = fastest.min(begin.elapsed());
        assert!(endpoints.iter().all(|address| text.contains(&format!("endpoint=\"{address}\""))));
    }
    tell(&format!("a scrape of 1,000 endpoints took {fastest:?}, the fastest of 20"));
}

#[expect(clippy::print_stdout, reason = "a measurement that a test run shows")]
fn tell(line: &str) {
    println!("{line}");
}
