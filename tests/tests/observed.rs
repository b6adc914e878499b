//! What an operator sees: the access log line of every kind of request, its rotation, and the metrics.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use isobar_tests::{Isobar, Origin, one_service, wait_for};
use rustix::process::Signal;
use serde_json::Value;

/// A proxy that logs to `access.log` in its folder.
fn start(format: &str, config: &str) -> Isobar {
    Isobar::start(&format!("[access_log]\nto = \"access.log\"\nformat = \"{format}\"\n{config}"))
}

fn log_file(isobar: &Isobar) -> PathBuf {
    isobar.dir.path().join("access.log")
}

/// Waits for `n` lines.
fn lines(isobar: &Isobar, n: usize) -> Vec<String> {
    let file = log_file(isobar);
    wait_for("lines of the access log", || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let whole: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        (whole.len() >= n && text.ends_with('\n')).then_some(whole)
    })
}

/// The lines in the order of arrival: workers hand their batches over in no order.
fn json_lines(isobar: &Isobar, n: usize) -> Vec<Value> {
    let found = lines(isobar, n);
    assert_eq!(found.len(), n, "{found:?}");
    let mut parsed: Vec<Value> = found.iter().map(|line| serde_json::from_str(line).expect(line)).collect();
    parsed.sort_by_key(|line| line["time_us"].as_u64());
    parsed
}

#[test]
fn a_line_tells_the_whole_story_of_a_request() {
    let origin = Origin::answering("hello");
    let isobar = start("json", &one_service(&[origin.address], "", ""));
    let mut client = isobar.connect();
    let local = client.stream.local_addr().unwrap().to_string();
    let head = "POST /a/../b%20c?q=secret HTTP/1.1\r\nhost: shop.test:80\r\nx-request-id: r-1\r\ncontent-length: 4\r\n\r\n";
    client.send(format!("{head}body"));
    let response = client.response("POST");
    let line = &json_lines(&isobar, 1)[0];
    for (key, value) in [
        ("listener", "web"),
        ("client", local.as_str()),
        ("method", "POST"),
        ("host", "shop.test:80"),
        ("protocol", "HTTP/1.1"),
        ("route", "default"),
        ("service", "app"),
        ("endpoint", origin.address.to_string().as_str()),
        ("request_id", "r-1"),
    ] {
        assert_eq!(line[key], value, "{key} in {line}");
    }
    assert_eq!((line["status"].as_u64(), line["attempts"].as_u64()), (Some(200), Some(1)));
    assert_eq!(line["bytes_in"].as_u64(), Some(head.len() as u64 + 4), "{line}");
    assert_eq!(line["bytes_out"].as_u64(), Some(response.head.len() as u64 + 5), "{line}");
    assert!(line["error"].is_null() && line["retry"].is_null(), "{line}");
    let micros = |key: &str| line[key].as_u64().unwrap_or_else(|| panic!("{key} in {line}"));
    assert!(micros("first_byte_us") <= micros("total_us"), "{line}");
    assert!(micros("connect_us") <= micros("first_byte_us"), "{line}");
    // Between 2020 and 2100, in microseconds since the epoch.
    assert!((1_577_836_800_000_000..4_102_444_800_000_000).contains(&micros("time_us")), "{line}");
}

#[test]
fn a_line_names_the_reason_of_a_failure() {
    let refusing = isobar_tests::refusing_address();
    let isobar = start("json", &one_service(&[refusing], "", ""));
    assert_eq!(isobar.get("/").error(), "connect-failed");
    let mut bad = isobar.connect();
    bad.send("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n");
    assert_eq!(bad.response("GET").status, 400);
    let found = json_lines(&isobar, 2);
    assert_eq!(
        (found[0]["status"].as_u64(), found[0]["error"].as_str()),
        (Some(502), Some("connect-failed"))
    );
    assert_eq!((found[0]["attempts"].as_u64(), found[0]["retry"].as_str()), (Some(2), Some("connect")));
    assert_eq!((found[1]["status"].as_u64(), found[1]["error"].as_str()), (Some(400), Some("bad-request")));
}

#[test]
fn a_caller_that_left_is_logged_as_499() {
    let (origin, told) = isobar_tests::watching(b"");
    let isobar = start("json", &one_service(&[origin.address], "", ""));
    let mut client = isobar.connect();
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    wait_for("the request to arrive", || (origin.heads().len() == 1).then_some(()));
    client.reset();
    assert!(told.recv().unwrap(), "the endpoint's connection stays open");
    let line = &json_lines(&isobar, 1)[0];
    assert_eq!((line["status"].as_u64(), line["error"].as_str()), (Some(499), Some("cancelled")));
}

/// What a caller may send to break a log: quotes, ends of lines in disguise, obs-text, controls are refused before.
const HOSTILE: [&[u8]; 3] = [
    b"GET /a\"b\\c?{\"x\":1} HTTP/1.1\r\nhost: test\r\nx-request-id: a\"},{\"b\r\n\r\n",
    b"GET /x HTTP/1.1\r\nhost: test\r\nx-request-id: \xff\xfe\x80 status=200\r\n\r\n",
    b"GET /%0a%0d HTTP/1.1\r\nhost: test\r\nx-request-id: a\tb\r\n\r\n",
];

#[test]
fn nobody_writes_a_line_of_his_own() {
    for format in ["json", "text"] {
        let origin = Origin::answering("x");
        let isobar = start(format, &one_service(&[origin.address], "", ""));
        for request in HOSTILE {
            let mut client = isobar.connect();
            client.send(request);
            client.response("GET");
        }
        let found = lines(&isobar, HOSTILE.len());
        assert_eq!(found.len(), HOSTILE.len(), "{found:?}");
        for line in found {
            assert_eq!(line.matches('\n').count(), 1, "{line:?}");
            assert!(line.trim_end().bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line:?}");
            if format == "json" {
                let value: Value = serde_json::from_str(&line).expect(&line);
                assert_eq!(value["listener"], "web");
            } else {
                assert_eq!(
                    line.matches(" status=").count() - line.matches("\\u0080 status=").count(),
                    1,
                    "{line}"
                );
            }
        }
    }
}

#[test]
fn a_rotated_log_is_written_anew_and_loses_no_line() {
    let origin = Origin::answering("x");
    let isobar = start("json", &one_service(&[origin.address], "", ""));
    isobar.get("/before");
    lines(&isobar, 1);
    let moved = isobar.dir.path().join("access.log.1");
    std::fs::rename(log_file(&isobar), &moved).unwrap();
    isobar.signal(Signal::USR1);
    wait_for("the log to be opened again", || log_file(&isobar).exists().then_some(()));
    isobar.get("/behind");
    let fresh = json_lines(&isobar, 1);
    assert_eq!(fresh[0]["path"], "/behind");
    assert!(std::fs::read_to_string(moved).unwrap().contains("/before"));
}

#[test]
fn a_drain_writes_every_line_before_the_exit() {
    let origin = Origin::answering("x");
    let mut isobar = start("json", &one_service(&[origin.address], "", ""));
    let mut client = isobar.connect();
    for n in 0..200 {
        client.send(format!("GET /{n} HTTP/1.1\r\nhost: test\r\n\r\n"));
        client.response("GET");
    }
    isobar.signal(Signal::TERM);
    assert_eq!(isobar.wait().code(), Some(0));
    assert_eq!(std::fs::read_to_string(log_file(&isobar)).unwrap().lines().count(), 200);
}

/// Reads the families of an `OpenMetrics` text: name and type.
fn families(text: &str) -> BTreeMap<&str, &str> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    lines.filter_map(|line| line.split_once(' ')).collect()
}

#[test]
fn the_metrics_that_the_interface_promises_are_there_from_the_start() {
    let origin = Origin::answering("x");
    let isobar = Isobar::start(&one_service(&[origin.address], "", ""));
    let fields = "host: localhost\r\naccept: application/openmetrics-text\r\n";
    let response = isobar.admin_call("GET", "/metrics", fields, "");
    assert!(response.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let text = response.text();
    assert!(text.ends_with("# EOF\n"));
    let found = families(&text);
    for (name, kind) in [
        ("isobar_requests", "counter"),
        ("isobar_grpc_calls", "counter"),
        ("isobar_attempts", "counter"),
        ("isobar_retries", "counter"),
        ("isobar_failures", "counter"),
        ("isobar_request_duration_seconds", "histogram"),
        ("isobar_upstream_duration_seconds", "histogram"),
        ("isobar_endpoints", "gauge"),
        ("isobar_connections_open", "gauge"),
        ("isobar_upstream_connections_open", "gauge"),
        ("isobar_in_flight", "gauge"),
        ("isobar_picks", "counter"),
        ("isobar_access_log_lines_lost", "counter"),
        ("isobar_endpoint_events", "counter"),
        ("isobar_probes", "counter"),
        ("isobar_agent_checks", "counter"),
        ("isobar_discovery_age_seconds", "gauge"),
        ("isobar_configuration_applied", "counter"),
        ("isobar_configuration_refused", "counter"),
        ("isobar_configuration_age_seconds", "gauge"),
    ] {
        assert_eq!(found.get(name), Some(&kind), "{name}");
    }
    let ours = found.keys().filter(|name| !name.starts_with("process_"));
    for name in ours {
        assert!(name.starts_with("isobar_"), "{name}");
    }
}

#[test]
fn every_request_is_counted_once_under_what_became_of_it() {
    let origin = Origin::answering("0123456789");
    let config = format!(
        "[[routes]]\nname = \"gone\"\npath = \"/gone\"\nrespond = {{ status = 410 }}\n{}",
        one_service(&[origin.address], "", "")
    );
    let isobar = Isobar::start(&config);
    let before = isobar.metric(&["isobar_requests_total{"]);
    for path in ["/", "/", "/gone"] {
        isobar.get(path);
    }
    let mut bad = isobar.connect();
    bad.send("BAD\r\n\r\n");
    assert_eq!(bad.response("GET").status, 400);
    drop(bad);
    isobar.assert_no_leak();
    let is = |parts: &[&str], n: f64| {
        let found = isobar.metric(parts);
        assert!((found - n).abs() < 0.01, "{parts:?}: {found}, not {n}: {:#?}", isobar.metrics());
    };
    assert!(before.abs() < 0.01);
    is(&["isobar_requests_total{"], 4.0);
    is(
        &["isobar_requests_total{", "route=\"default\"", "service=\"app\"", "code=\"2xx\"", "reason=\"\""],
        2.0,
    );
    is(&["isobar_requests_total{", "route=\"gone\"", "code=\"4xx\"", "reason=\"\""], 1.0);
    is(&["isobar_requests_total{", "code=\"4xx\"", "reason=\"bad-request\""], 1.0);
    is(&["isobar_request_duration_seconds_count{service=\"app\""], 2.0);
    is(&["isobar_upstream_duration_seconds_count{service=\"app\""], 2.0);
    is(&["isobar_request_duration_seconds_bucket{", "le=\"+Inf\""], 2.0);
    is(&["isobar_attempts_total{"], 2.0);
    is(&["isobar_picks_total{", "policy=\"round-robin\""], 2.0);
    is(&["isobar_connections_total{listener=\"web\""], 4.0);
    is(&["isobar_endpoints{service=\"app\""], 1.0);
}
