//! The test cases of `httpwg` for RFC 9113, against a listener in the clear and one with TLS.
//!
//! Limit: httpwg speaks no TLS, so haproxy stands between it and that listener and passes bytes on.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::net::SocketAddr;

use isobar_tests::real::{Program, command, free_address};
use isobar_tests::servers::{open_folder, write};
use isobar_tests::{Certificates, Isobar, Origin, one_service};

/// Cases of httpwg 0.2.5.
const N_CASES: usize = 107;

/// The cases that failed; panics where one was lost.
fn failed_cases(address: SocketAddr) -> BTreeSet<String> {
    let mut httpwg = command("httpwg");
    // Its own patience is short, for a machine that does nothing else.
    httpwg.args(["--address", &address.to_string(), "--connect-timeout", "5000", "--frame-timeout", "5000"]);
    // All cases share a thread: looking up names for a backtrace would stop the others for seconds.
    httpwg.env("RUST_BACKTRACE", "0").env("RUST_LIB_BACKTRACE", "0");
    // It fails where a case failed; the lines say which.
    let output = httpwg.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let named = |word: &str| {
        let lines = text.lines().filter_map(|line| line.split_once(word));
        lines.map(|(_, name)| name.trim().to_owned()).collect::<BTreeSet<_>>()
    };
    let (passed, failed) = (named("Test passed: "), named("Test failed: "));
    assert_eq!(passed.len() + failed.len(), N_CASES, "{text}");
    failed
}

fn assert_passes(address: SocketAddr) {
    assert_eq!(failed_cases(address), BTreeSet::new());
}

/// An endpoint that takes the whole of a request: an early answer would end streams before their mistake is made.
fn endpoint() -> Origin {
    Origin::start(|visit| {
        while let Some(head) = visit.head() {
            visit.body(&head);
            visit.answer("a body of more than one byte");
        }
    })
}

#[test]
fn every_case_of_httpwg_passes_in_the_clear() {
    let origin = endpoint();
    let isobar = Isobar::start(&one_service(&[origin.address], "", "")).expect_open();
    assert_passes(isobar.listener("web"));
}

#[test]
fn every_case_of_httpwg_passes_over_tls() {
    let (origin, certificates) = (endpoint(), Certificates::for_localhost());
    let config = one_service(&[origin.address], &certificates.listener(&["web"], ""), "");
    let isobar = Isobar::start(&config).expect_open();
    let (folder, address) = (open_folder(), free_address());
    let text = format!(
        "defaults\n mode tcp\n timeout connect 10s\n timeout client 60s\n timeout server 60s\n\
         listen tunnel\n bind {address}\n server listener {} ssl alpn h2 verify required ca-file {} sni str(localhost)\n",
        isobar.listener("web"),
        certificates.at("ca.pem")
    );
    let mut haproxy = command("haproxy");
    haproxy.arg("-db").arg("-f").arg(write(folder.path(), "haproxy.cfg", &text));
    let _haproxy = Program::start(haproxy).listening_at(address);
    assert_passes(address);
}
