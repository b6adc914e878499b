//! `slowhttptest` in its three modes: a few hundred slow connections do not keep a normal caller from its answers.
//!
//! Limits: each attack lasts a few seconds; what slow readers cost in memory is the subject of `memory`.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::process::{Child, Stdio};

use isobar_tests::real::{command, raise_descriptor_limit};
use isobar_tests::{Isobar, Origin, wait_for};

/// Connections that one attack holds at the same time.
const N_SLOW: usize = 300;

fn start(origin: &Origin) -> Isobar {
    Isobar::start(&format!(
        "[runtime]\nworkers = 1\n[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\nservice = \"app\"\n\
         [services.app]\nconnect_timeout = \"10s\"\nendpoints = [\"{}\"]\n",
        origin.address
    ))
}

/// Reads bodies and answers with much or little.
fn origin() -> Origin {
    let big = "isobar ".repeat(1 << 20);
    Origin::start(move |visit| {
        while let Some(head) = visit.head() {
            visit.body(&head);
            let is_big = head.starts_with("GET /big");
            visit.answer(if is_big { &big } else { "small" });
        }
    })
}

/// Starts one attack on `path`: 300 connections within a second, something slow each second, six seconds long.
fn attack(isobar: &Isobar, mode: &[&str], path: &str) -> (Child, tempfile::TempDir) {
    raise_descriptor_limit(4_000);
    let folder = tempfile::tempdir().unwrap();
    let output = std::fs::File::create(folder.path().join("output")).unwrap();
    let n_slow = N_SLOW.to_string();
    let mut slowhttptest = command("slowhttptest");
    slowhttptest.args(mode).args(["-c", &n_slow, "-r", &n_slow, "-l", "6", "-p", "5", "-u"]);
    slowhttptest.arg(format!("http://{}{path}", isobar.listener("web"))).current_dir(folder.path());
    let child = slowhttptest.stdin(Stdio::null()).stdout(output).stderr(Stdio::null()).spawn().unwrap();
    (child, folder)
}

fn a_normal_caller_is_served_during(mode: &[&str], path: &str) {
    let origin = origin();
    let isobar = start(&origin);
    let (mut attacker, folder) = attack(&isobar, mode, path);
    wait_for("the slow connections", || {
        (isobar.metric(&["isobar_connections_open{"]) >= N_SLOW as f64 * 0.9).then_some(())
    });
    let mut kept = isobar.connect();
    let mut n_served = 0;
    while attacker.try_wait().unwrap().is_none() {
        kept.send("POST /small HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nhello");
        let response = kept.response("POST");
        assert_eq!((response.status, response.text().as_str()), (200, "small"), "{}", response.head);
        let response = isobar.get("/small");
        assert_eq!((response.status, response.text().as_str()), (200, "small"), "{}", response.head);
        n_served += 2;
    }
    assert!(n_served >= 20, "only {n_served} requests were served during the attack");
    let output = std::fs::read(folder.path().join("output")).unwrap();
    let output = String::from_utf8_lossy(&output);
    let mut verdicts = output.lines().filter(|line| line.contains("service available")).peekable();
    assert!(verdicts.peek().is_some(), "slowhttptest says nothing of the service: {output}");
    assert!(verdicts.all(|line| line.contains("YES")), "the service was not available: {output}");
    drop(kept);
    isobar.assert_no_leak();
}

#[test]
fn slow_heads_leave_the_service_available() {
    a_normal_caller_is_served_during(&["-H", "-i", "1", "-x", "24"], "/small");
}

#[test]
fn slow_bodies_leave_the_service_available() {
    a_normal_caller_is_served_during(&["-B", "-i", "1", "-s", "8192", "-x", "10"], "/small");
}

#[test]
fn slow_readers_leave_the_service_available() {
    let mode = ["-X", "-w", "512", "-y", "1024", "-n", "1", "-z", "32", "-k", "3"];
    a_normal_caller_is_served_during(&mode, "/big");
}
