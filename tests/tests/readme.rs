//! The configuration in the README, in front of three real servers, loaded by wrk.
//!
//! Only the addresses are changed: ports are chosen by the system here.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::Path;

use isobar_tests::Isobar;
use isobar_tests::real::{command, run};
use isobar_tests::servers::Servers;

/// The first block of TOML in the README.
fn configuration() -> String {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = std::fs::read_to_string(readme).unwrap();
    let (_, behind) = text.split_once("```toml\n").expect("a configuration in the README");
    behind.split_once("```").unwrap().0.to_owned()
}

/// Replaces exactly one occurrence.
fn replaced(text: &str, what: &str, with: &str) -> String {
    assert_eq!(text.matches(what).count(), 1, "{what} in the README's configuration:\n{text}");
    text.replace(what, with)
}

#[test]
fn the_configuration_of_the_readme_keeps_its_weights_over_three_servers_and_serves_wrk() {
    let servers = Servers::start();
    std::fs::write(servers.files().join("index.html"), "x".repeat(1000)).unwrap();
    let mut config = replaced(&configuration(), "\":8080\"", "\"127.0.0.1:0\"");
    for (port, address) in
        ["127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:9003"].iter().zip(servers.addresses)
    {
        config = replaced(&config, port, &address.to_string());
    }
    let isobar = Isobar::start(&config);
    let sequence: Vec<char> = (0..7)
        .map(|_| isobar.get("/index.html").header("server").unwrap().to_lowercase().chars().next().unwrap())
        .collect();
    assert_eq!(
        sequence,
        ['n', 'n', 'a', 'n', 'l', 'n', 'n'],
        "nginx, Apache and lighttpd take turns by weight"
    );
    let mut wrk = command("wrk");
    wrk.args(["--threads", "2", "--connections", "32", "--duration", "3s", "--timeout", "10s"]);
    wrk.arg(format!("http://{}/index.html", isobar.listener("web")));
    let output = run(wrk).stdout;
    let report = String::from_utf8(output).unwrap();
    assert!(!report.contains("Non-2xx") && !report.contains("Socket errors"), "{report}");
    isobar.assert_no_leak();
    let answered = isobar.metric(&["isobar_requests_total{", "code=\"2xx\""]);
    let all = isobar.metric(&["isobar_requests_total{"]);
    assert!(answered > 100.0, "wrk got {answered} answers:\n{report}");
    // wrk goes away in the middle of its last requests.
    assert!(all - answered <= 32.0, "{all} requests, {answered} answered:\n{report}");
}
