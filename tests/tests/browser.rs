//! A browser as the caller: Chromium loads a page over HTTPS that tries what pages do, and posts what came of it.
//!
//! Limits: Chromium is told to believe any certificate, since it trusts CAs of its own; whom it believes is no matter here.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::process::Stdio;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use isobar_tests::real::{Program, command, peer, script};
use isobar_tests::{Certificates, Isobar, Origin, Visit};
use serde_json::{Value, json};

/// Longest time that Chromium gets for its start and the page, on a machine that does much else.
const PAGE_PATIENCE: Duration = Duration::from_secs(90);

/// Serves the page and what it asks for; a report goes to the test.
fn serve(visit: &mut Visit, reports: &Mutex<Sender<Value>>) {
    const LARGE: usize = 20 << 20;
    let page = std::fs::read(script("browser.html")).unwrap();
    while let Some(head) = visit.head() {
        let body = visit.body(&head);
        let (kind, answer) = match head.split([' ', '?']).nth(1).unwrap() {
            "/" => ("text/html", page.clone()),
            "/image" => ("image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec()),
            "/large" => ("text/plain", vec![b'x'; LARGE]),
            "/report" => {
                reports.lock().unwrap().send(serde_json::from_slice(&body).unwrap()).unwrap();
                ("text/plain", Vec::new())
            }
            _ => ("application/octet-stream", body),
        };
        let length = answer.len();
        // What it left is no matter of the endpoint's.
        let _ = visit
            .send(format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"))
            && visit.send(&answer);
    }
}

#[test]
fn chromium_agrees_upon_h2_and_uploads_streams_aborts_and_talks_over_a_websocket() {
    let (sender, reports) = channel();
    let sender = Arc::new(Mutex::new(sender));
    let site = Origin::start(move |visit| serve(visit, &sender));
    let (_echo, chat) = Program::announced(peer("echo_server.py"));
    let certificates = Certificates::for_localhost();
    let isobar = Isobar::start(&format!(
        "[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n{}\n[[routes]]\npath = \"/chat\"\nservice = \"chat\"\n\
         [[routes]]\npath = \"/\"\nservice = \"site\"\n[services.chat]\nendpoints = [\"{chat}\"]\n\
         [services.site]\nendpoints = [\"{}\"]\n",
        certificates.listener(&["web"], ""),
        site.address
    ));
    let profile = tempfile::tempdir().unwrap();
    let mut chromium = command("chromium-headless-shell");
    // The tests may run as root, for whom Chromium has no sandbox; nothing of it goes beyond this machine.
    chromium.args(["--no-sandbox", "--disable-gpu", "--disable-quic", "--ignore-certificate-errors"]);
    chromium.args(["--no-first-run", "--disable-background-networking", "--disable-component-update"]);
    chromium.args(["--disable-sync", "--remote-debugging-port=0"]);
    chromium.arg(format!("--user-data-dir={}", profile.path().display()));
    chromium.arg(format!("https://localhost:{}/", isobar.listener("web").port()));
    let browser = Program::start({
        chromium.stdout(Stdio::null()).stderr(Stdio::null());
        chromium
    });
    let report = reports.recv_timeout(PAGE_PATIENCE).expect("the page reports");
    assert_eq!(
        report,
        json!({
            "page": "h2", "images": ["h2", "h2", "h2", "h2", "h2"],
            "uploads": true, "streamed": true, "aborted": true, "talked": true,
        })
    );
    drop(browser);
    isobar.assert_no_leak();
}
