//! `isobar demo` over the built binary, where output is no terminal.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Longest wait for anything; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Ports that are free, and an end that bounds every wait of a test: its output ends with it.
const FREE_PORTS: [&str; 6] = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--for", "60s"];

fn demo(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_isobar"));
    command.arg("demo").args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A running demo and its lines; killed when dropped.
struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    fn start(args: &[&str]) -> Self {
        let mut child = demo(args).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The next line that holds this; panics when the demo ends before.
    fn wait_for(&mut self, part: &str) -> String {
        let mut passed = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "no line with {part:?} after\n{passed}");
            if line.contains(part) {
                return line;
            }
            passed.push_str(&line);
        }
    }

    fn interrupt(mut self) -> (Option<i32>, String) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address after `http://` in a text.
fn address(text: &str) -> &str {
    let rest = text.split_once("http://").unwrap().1;
    rest.split(['/', ',', '\n']).next().unwrap()
}

fn ask(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_run_for_a_time_ends_with_0_and_a_summary_without_a_failed_request() {
    let output =
        demo(&["--for", "2s", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let total = text.lines().find(|line| line.contains(" requests in ")).unwrap();
    assert!(total.contains(" 0 failed,") && !total.starts_with("0 requests"), "{text}");
    for id in ["plain-1", "plain-2", "heavy", "slow", "flapping"] {
        assert!(text.lines().any(|line| line.starts_with(id)), "{id} is missing in\n{text}");
    }
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    assert!(!output.stderr.contains(&0x1b), "escapes without a terminal");
}

#[test]
fn a_killed_and_a_flapping_instance_fail_no_request_and_an_interrupt_ends_it_with_the_summary() {
    let mut running = Running::start(&[&["--rate", "500"], &FREE_PORTS[..]].concat());
    let proxy = running.wait_for("proxy http://");
    let proxy = address(&proxy).to_owned();
    // An instance that is killed before its first probe and before any request is never asked again.
    running.wait_for("/s  0 failed");
    let answer = ask(&proxy, "/");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("x-isobar-endpoint: "), "{answer}");
    let farewell = ask(&proxy, "/die");
    let killed = farewell.lines().find_map(|line| line.split_once(" dies")).unwrap().0.to_owned();
    running.wait_for("killed");
    running.wait_for("(fails now, unhealthy)");
    let (code, rest) = running.interrupt();
    assert_eq!(code, Some(0), "{rest}");
    let total = rest.lines().find(|line| line.contains(" requests in ")).unwrap();
    assert!(total.contains(" 0 failed,"), "{rest}");
    assert!(rest.lines().any(|line| line.starts_with(&killed)), "{killed} is missing in\n{rest}");
    assert!(
        rest.contains("repeated every failed attempt"),
        "no attempt failed, which proves nothing:\n{rest}"
    );
    assert!(TcpStream::connect(proxy).is_err(), "the proxy outlived its demo");
}

#[test]
fn a_suggested_command_runs_as_it_is_written() {
    let mut running = Running::start(&FREE_PORTS);
    let line = running.wait_for(" drain demo ");
    let (command, _) = line.trim_start().split_once("    ").unwrap();
    let output = Command::new("sh").args(["-c", command]).stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{command}: {told}");
    assert!(output.stdout.ends_with(b"in flight\n"), "{command}: {told}");
}

#[test]
fn the_admin_interface_is_that_of_a_proxy() {
    let mut running = Running::start(&FREE_PORTS);
    let line = running.wait_for("admin interface http://");
    let admin = address(line.split_once("admin interface ").unwrap().1).to_owned();
    assert!(ask(&admin, "/readyz").starts_with("HTTP/1.1 200"));
    running.wait_for("/s  0 failed");
    assert!(ask(&admin, "/metrics").contains("isobar_requests_total"));
}

#[test]
fn a_port_asked_for_that_is_taken_ends_it_with_1_and_a_message_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (flag, other) in [("--listen", "--admin"), ("--admin", "--listen")] {
        let output = demo(&["--for", "1s", flag, &address, other, "127.0.0.1:0"]).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.starts_with("error: ") && told.contains(&address) && told.contains(flag), "{told}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn one_address_for_both_ends_it_with_1_and_a_message_that_says_so() {
    let output = demo(&["--for", "1s", "--listen", ":9900", "--admin", "127.0.0.1:9900"]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("--listen :9900 and --admin 127.0.0.1:9900 are the same address"), "{told}");
}

#[test]
fn addresses_are_taken_in_the_forms_that_the_proxy_takes() {
    let output = demo(&["--for", "1s", "--listen", ":0", "--admin", "localhost:0"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let total = text.lines().find(|line| line.contains(" requests in ")).unwrap();
    assert!(total.contains(" 0 failed,"), "{text}");
}

#[test]
fn usual_ports_that_are_taken_are_replaced_by_free_ones() {
    // Taken by this test, or by whoever had them before: either way they cannot be had.
    let _taken = [TcpListener::bind("127.0.0.1:8080"), TcpListener::bind("127.0.0.1:9900")];
    let output = demo(&["--for", "1s"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(!text.contains("127.0.0.1:8080") && !text.contains("127.0.0.1:9900"), "{text}");
    assert!(text.contains("--admin http://127.0.0.1:"), "{text}");
}

#[test]
fn a_reader_that_goes_away_ends_it_with_0() {
    let mut child = demo(&FREE_PORTS).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("isobar demo"), "{line}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
