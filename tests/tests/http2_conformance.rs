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

/// Cases that fail, each with the reason. Both are the `h2` crate's doing; neither lets anything pass that should not.
const MISSES: [(&str, &str); 2] = [
    (
        "RFC 9113 :: 4. http frames :: invalid header block fragment",
        "a block of fields that ends within a field ends the connection, with PROTOCOL_ERROR where COMPRESSION_ERROR is \
         asked for: the library has one error for all that is wrong with a block",
    ),
    (
        "RFC 9113 :: 8. expressing http semantics in http2 :: sends headers frame with pseudo header in trailer",
        "the library drops pseudo-fields of trailers before anybody sees them, and so the request goes on without them",
    ),
];

/// A case that passes or not as time falls: it says GOAWAY, opens no stream, and wants a PING answered after that. The
/// library closes a connection that was said to end and has no stream (RFC 9113, section 6.8, lets it), which comes
/// after that answer only where both frames were read at once.
const RACE: &str = "RFC 9113 :: 7. error codes :: sends goaway frame with unknown error code";

/// The cases that failed, but for [`RACE`]; panics where one was lost.
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
    let (mut passed, mut failed) = (named("Test passed: "), named("Test failed: "));
    failed.remove(RACE);
    // A case that panics gets no line.
    passed.insert(RACE.to_owned());
    assert_eq!(passed.len() + failed.len(), N_CASES, "{text}");
    failed
}

fn assert_misses_only_what_is_explained(address: SocketAddr) {
    let explained: BTreeSet<String> = MISSES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(failed_cases(address), explained, "left: what fails; right: what is explained");
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
fn every_case_of_httpwg_passes_in_the_clear_but_for_those_that_are_explained() {
    let origin = endpoint();
    let isobar = Isobar::start(&one_service(&[origin.address], "", "")).expect_open();
    assert_misses_only_what_is_explained(isobar.listener("web"));
}

#[test]
fn every_case_of_httpwg_passes_over_tls_but_for_those_that_are_explained() {
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
    assert_misses_only_what_is_explained(address);
}
