//! The life of a proxy process: start, ready, signals, drain, end. Every wait is for a line of its log.
#![allow(clippy::unwrap_used)]

mod openmetrics;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Longest wait for anything; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running `isobar proxy` and its log; killed when dropped.
struct Proxy {
    child: Child,
    log: mpsc::Receiver<Value>,
    _folder: tempfile::TempDir,
}

impl Proxy {
    fn spawn(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("isobar.toml"), config).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_isobar"))
            .args(["--log-format", "json", "proxy"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (lines, log) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                // What is no JSON is shown by the wait that then fails.
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if lines.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, log, _folder: folder }
    }

    /// The next log line with this message; lines before it are passed over.
    fn wait_for(&self, message: &str) -> Value {
        let mut passed = Vec::new();
        loop {
            match self.log.recv_timeout(PATIENCE) {
                Ok(line) if line["message"].as_str().is_some_and(|text| text.contains(message)) => {
                    return line;
                }
                Ok(line) => passed.push(line),
                Err(error) => panic!("no line with {message:?} ({error}) after {passed:#?}"),
            }
        }
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn end(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn address(line: &Value) -> SocketAddr {
    line["address"].as_str().unwrap().parse().unwrap()
}

/// Status and body of a GET.
fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let fields = "host: localhost\r\naccept: application/openmetrics-text\r\nconnection: close";
    write!(stream, "GET {path} HTTP/1.1\r\n{fields}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn config(runtime: &str) -> String {
    format!(
        r#"
[runtime]
workers = 1
{runtime}

[admin]
listen = "127.0.0.1:0"

[[listeners]]
name = "web"
listen = "127.0.0.1:0"

[[routes]]
path = "/hello"
respond = {{ status = 200, body = "hello" }}

[[routes]]
path = "/cart"
service = "cart"

[services.cart]
endpoints = ["127.0.0.1:9"]
"#
    )
}

#[test]
fn a_drain_first_says_so_then_ends_with_0() {
    let proxy = Proxy::spawn(&config(r#"shutdown_delay = "1ms""#));
    assert_eq!(proxy.wait_for("listening")["listener"], "web");
    let admin = address(&proxy.wait_for("admin interface listening"));
    proxy.wait_for("ready");
    assert_eq!(get(admin, "/healthz").0, 200);
    assert_eq!(get(admin, "/readyz").0, 200);
    proxy.send(Signal::TERM);
    assert_eq!(proxy.wait_for("stopping")["signal"], "SIGTERM");
    proxy.wait_for("stopped");
    assert_eq!(proxy.end().code(), Some(0));
}

#[test]
fn during_the_shutdown_delay_it_is_not_ready_and_still_accepts_and_a_second_signal_ends_it() {
    let proxy = Proxy::spawn(&config(r#"shutdown_delay = "1m""#));
    let web = address(&proxy.wait_for("listening"));
    let admin = address(&proxy.wait_for("admin interface listening"));
    proxy.wait_for("ready");
    proxy.send(Signal::INT);
    proxy.wait_for("not ready any more");
    let (status, reason) = get(admin, "/readyz");
    assert_eq!(status, 503);
    assert!(reason.contains("draining"), "{reason}");
    assert_eq!(get(admin, "/healthz").0, 200);
    assert_eq!(get(web, "/hello"), (200, "hello".to_owned()));
    proxy.send(Signal::TERM);
    proxy.wait_for("stopping at once");
    assert_eq!(proxy.end().code(), Some(1));
}

#[test]
fn a_hangup_and_a_request_to_reopen_the_log_leave_it_running() {
    let proxy = Proxy::spawn(&config(""));
    let admin = address(&proxy.wait_for("admin interface listening"));
    proxy.wait_for("ready");
    for _ in 0..2 {
        proxy.send(Signal::HUP);
        proxy.wait_for("SIGHUP");
        let told = proxy.wait_for("the configuration is unchanged");
        assert_eq!((&told["level"], &told["from"]), (&"INFO".into(), &"isobar.toml".into()), "{told}");
    }
    proxy.send(Signal::USR1);
    proxy.wait_for("SIGUSR1");
    assert_eq!(get(admin, "/readyz").0, 200);
}

#[test]
fn what_is_wrong_with_a_configuration_that_was_put_is_told_of_the_request() {
    let proxy = Proxy::spawn(&config(""));
    let admin = address(&proxy.wait_for("admin interface listening"));
    proxy.wait_for("ready");
    let text = "listeners = 1";
    let mut stream = TcpStream::connect(admin).unwrap();
    write!(
        stream,
        "PUT /api/v1/config HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}",
        text.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 422") && answer.contains("--> (request body):1:13"), "{answer}");
    assert!(!answer.contains("isobar.toml"), "{answer}");
    let logged = proxy.wait_for("(request body):1:13");
    assert_eq!(logged["from"], "PUT /api/v1/config", "{logged}");
}

#[test]
fn a_scrape_after_traffic_is_open_metrics_and_counts_it() {
    let proxy = Proxy::spawn(&config(""));
    let web = address(&proxy.wait_for("listening"));
    let admin = address(&proxy.wait_for("admin interface listening"));
    proxy.wait_for("ready");
    let before = openmetrics::parse(&get(admin, "/metrics").1).unwrap();
    for _ in 0..3 {
        assert_eq!(get(web, "/hello").0, 200);
    }
    assert_eq!(get(web, "/nothing").0, 404);
    let after = openmetrics::parse(&get(admin, "/metrics").1).unwrap();
    assert_eq!(after.get(r#"isobar_endpoint_events_total{service="cart",event="added"}"#), Some(&1.0));
    assert!(after.contains_key("process_open_fds"));
    let requests = |samples: &openmetrics::Samples| -> f64 {
        samples.iter().filter(|(name, _)| name.starts_with("isobar_requests_total")).map(|(_, n)| n).sum()
    };
    assert!((requests(&after) - requests(&before) - 4.0).abs() < 0.5, "{after:#?}");
}

#[test]
fn without_an_admin_section_there_is_no_admin_interface() {
    let all = config("");
    let (before, rest) = all.split_once("[admin]").unwrap();
    let rest = rest.split_once("\n\n").unwrap().1;
    let proxy = Proxy::spawn(&format!("{before}{rest}"));
    let line = proxy.wait_for("ready");
    assert_eq!(line["workers"], 1);
    proxy.send(Signal::TERM);
    assert_eq!(proxy.end().code(), Some(0));
}

#[test]
fn a_port_in_use_ends_the_start_with_1_and_names_the_port() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().map(|address| (taken, address.to_string())).unwrap();
    for section in ["[admin]\n", "name = \"web\"\n"] {
        let free = format!("{section}listen = \"127.0.0.1:0\"");
        assert!(config("").contains(&free));
        let proxy = Proxy::spawn(&config("").replace(&free, &format!("{section}listen = \"{}\"", taken.1)));
        assert_eq!(proxy.wait_for(&taken.1)["level"], "ERROR");
        assert_eq!(proxy.end().code(), Some(1));
    }
}

/// An endpoint that has read a request's head and waits to be told what to do.
fn held_request(proxy: &Proxy, endpoint: &TcpListener) -> (TcpStream, TcpStream) {
    let web = address(&proxy.wait_for("listening"));
    let mut caller = TcpStream::connect(web).unwrap();
    caller.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(caller, "GET /cart HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut upstream = endpoint.accept().unwrap().0;
    upstream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        upstream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    (caller, upstream)
}

fn config_with_endpoint(runtime: &str) -> (TcpListener, String) {
    let endpoint = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = endpoint.local_addr().unwrap().to_string();
    (endpoint, config(runtime).replace("127.0.0.1:9\"", &format!("{address}\"")))
}

#[test]
fn a_request_in_flight_outlives_the_listener_and_the_admin_interface_tells_of_it() {
    let (endpoint, config) = config_with_endpoint(r#"shutdown_grace = "1m""#);
    let proxy = Proxy::spawn(&config);
    let (mut caller, mut upstream) = held_request(&proxy, &endpoint);
    let admin = address(&proxy.wait_for("admin interface listening"));
    proxy.send(Signal::TERM);
    proxy.wait_for("draining");
    assert_eq!(get(admin, "/readyz").0, 503);
    let samples = openmetrics::parse(&get(admin, "/metrics").1).unwrap();
    let open = samples.iter().find(|(name, _)| name.starts_with("isobar_connections_open")).unwrap();
    assert!((open.1 - 1.0).abs() < 0.5, "{open:?}");
    write!(upstream, "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone").unwrap();
    let mut answer = String::new();
    caller.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"), "{answer}");
    proxy.wait_for("stopped");
    assert_eq!(proxy.end().code(), Some(0));
}

#[test]
fn a_request_that_outlasts_the_grace_is_cut_and_counted() {
    let (endpoint, config) = config_with_endpoint(r#"shutdown_grace = "1ms""#);
    let proxy = Proxy::spawn(&config);
    let (mut caller, upstream) = held_request(&proxy, &endpoint);
    proxy.send(Signal::TERM);
    assert_eq!(proxy.wait_for("connections were cut")["connections"], 1);
    proxy.wait_for("stopped");
    assert_eq!(proxy.end().code(), Some(0));
    let mut rest = Vec::new();
    // A reset or an end, but nothing that looks like an answer.
    assert!(caller.read_to_end(&mut rest).is_err() || rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    drop(upstream);
}
