//! The committed corpus over the wire: every message gets the status that its index line states, and nothing of a
//! refused one reaches the other side.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Arc, Mutex};

use isobar_tests::dirty::{Case, Recorder, assert_closed, corpus, in_front_of};
use isobar_tests::{Client, Origin, PATIENCE, Visit, wait_for};

/// The case that is the beginning of HTTP/2.
const PREFACE: &str = "requests/http2-preface.http";

/// Head of the request whose body is a case of kind `chunked`.
const CHUNKED_HEAD: &str = "POST / HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: chunked\r\n\r\n";

fn code_of(status: u16) -> &'static str {
    match status {
        400 => "bad-request",
        414 => "uri-too-long",
        431 => "headers-too-large",
        501 => "not-implemented",
        505 => "version-not-supported",
        other => panic!("no code is refused with {other}"),
    }
}

/// Reads every promised answer; returns how many were not refusals.
fn assert_answers(client: &mut Client, case: &Case) -> usize {
    let mut n_accepted = 0;
    for expected in case.statuses() {
        let response = client.any_response("GET").unwrap_or_else(|| panic!("{}: no answer", case.file));
        assert_eq!(response.status, expected, "{}: {}", case.file, response.head);
        if expected == 200 {
            assert_eq!(response.text(), "recorded", "{}", case.file);
            n_accepted += 1;
        } else {
            assert_eq!(response.error(), code_of(expected), "{}", case.file);
        }
    }
    n_accepted
}

/// The first head is within the rules, whatever its body and what follows are.
fn has_a_good_head(case: &Case) -> bool {
    let statuses = case.statuses();
    statuses.first() == Some(&200) || (statuses.len() == 1 && case.verdict[0] == "bad-chunk-size")
}

#[test]
fn a_head_that_breaks_a_rule_is_answered_closed_and_never_reaches_an_endpoint() {
    let origin = Origin::answering("reached");
    let isobar = in_front_of(origin.address, "", "");
    // The preface is refused by the codec; here it begins another protocol, which has tests of its own.
    let heads: Vec<Case> = corpus(&["request"])
        .into_iter()
        .filter(|case| case.is_refused() && !has_a_good_head(case) && case.file != PREFACE)
        .collect();
    assert!(heads.len() > 200, "only {} cases", heads.len());
    for case in &heads {
        let mut client = isobar.connect();
        // What follows on the connection must not be read either.
        client.send([&case.bytes[..], b"GET /behind HTTP/1.1\r\nhost: a.example\r\n\r\n"].concat());
        assert_answers(&mut client, case);
        assert_closed(&mut client, &case.file);
        assert_eq!(origin.n_connections(), 0, "{}: something was forwarded", case.file);
    }
    isobar.assert_no_leak();
}

#[test]
fn an_accepted_request_reaches_the_endpoint_whole_and_alone() {
    let recorder = Recorder::start();
    let isobar = in_front_of(recorder.origin.address, "", "");
    for case in corpus(&["request"]).iter().filter(|case| has_a_good_head(case)) {
        let before = recorder.messages().len();
        let mut client = isobar.connect();
        client.send(&case.bytes);
        let n_accepted = assert_answers(&mut client, case);
        if case.is_refused() {
            assert_closed(&mut client, &case.file);
        } else {
            client.half_close();
            assert!(client.any_response("GET").is_none(), "{}: a further answer", case.file);
        }
        let messages = recorder.messages();
        assert_eq!(messages.len() - before, n_accepted, "{}", case.file);
    }
    isobar.assert_no_leak();
}

#[test]
fn a_chunked_body_is_forwarded_whole_or_refused_and_never_ended_for_the_endpoint() {
    let recorder = Recorder::start();
    let isobar = in_front_of(recorder.origin.address, "", "");
    for case in corpus(&["chunked"]) {
        let before = recorder.messages().len();
        let mut client = isobar.connect();
        client.send(CHUNKED_HEAD);
        client.send(&case.bytes);
        let n_accepted = assert_answers(&mut client, &case);
        if case.is_refused() {
            assert_closed(&mut client, &case.file);
        } else {
            client.half_close();
            let further = client.any_response("GET");
            assert!(further.is_none_or(|further| further.status == 400), "{}", case.file);
        }
        assert_eq!(recorder.messages().len() - before, n_accepted, "{}", case.file);
    }
    isobar.assert_no_leak();
}

#[test]
fn a_request_that_ends_early_is_never_completed_for_the_endpoint() {
    let recorder = Recorder::start();
    let isobar = in_front_of(recorder.origin.address, "", "");
    for case in corpus(&["request"]).iter().filter(|case| case.statuses().is_empty()) {
        let mut client = isobar.connect();
        client.send(&case.bytes);
        client.half_close();
        let answer = client.any_response("GET");
        assert!(answer.is_none_or(|answer| answer.status == 400), "{}", case.file);
        assert!(client.is_closed_by_peer(), "{}", case.file);
    }
    isobar.assert_no_leak();
    assert_eq!(recorder.messages().len(), 0);
}

/// What the scripted endpoint saw of each connection after its answer, by file.
type Closes = Arc<Mutex<BTreeMap<String, bool>>>;

/// Answers `/N` with the bytes of case N; ends the connection where the case ends by that, and otherwise notes whether
/// the proxy closes it without another request.
fn serve_case(visit: &mut Visit, cases: &[Case], closes: &Closes) {
    while let Some(head) = visit.head() {
        let number: usize = head.split(['/', ' ']).nth(2).unwrap().parse().unwrap();
        let case = &cases[number];
        visit.send(&case.bytes);
        if ["until-close", "truncated", "incomplete"].contains(&case.verdict.last().unwrap().as_str()) {
            return;
        }
        if case.is_refused() || case.status == ["-"] {
            visit.stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let closed = match visit.stream.read(&mut [0]) {
                Ok(n) => n == 0,
                Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
            };
            closes.lock().unwrap().insert(case.file.clone(), closed);
            return;
        }
    }
}

/// Bounds of responses are an endpoint's, not a listener's, so these two files are within them: strictness.rs goes over.
fn is_within_an_endpoint_s_bounds(case: &Case) -> bool {
    ["head-too-large", "too-many-headers"].contains(&case.verdict[0].as_str())
}

fn ask_for(client: &mut Client, number: usize, case: &Case) -> &'static str {
    let method = if case.kind == "response-to-head" { "HEAD" } else { "GET" };
    let upgrade = if case.statuses() == [101] { "connection: upgrade\r\nupgrade: websocket\r\n" } else { "" };
    client.send(format!("{method} /{number} HTTP/1.1\r\nhost: a.example\r\n{upgrade}\r\n"));
    method
}

#[test]
fn a_response_that_breaks_a_rule_becomes_502_and_its_connection_is_not_used_again() {
    let cases = Arc::new(corpus(&["response", "response-to-head"]));
    let closes = Closes::default();
    let (served, noted) = (Arc::clone(&cases), Arc::clone(&closes));
    let origin = Origin::start(move |visit| serve_case(visit, &served, &noted));
    let isobar = in_front_of(origin.address, "", "");
    let mut n_refused = 0;
    for (number, case) in cases.iter().enumerate() {
        if is_within_an_endpoint_s_bounds(case) {
            continue;
        }
        let mut client = isobar.connect();
        let method = ask_for(&mut client, number, case);
        for &expected in &case.statuses() {
            let response = client.any_response(method).unwrap_or_else(|| panic!("{}: no answer", case.file));
            assert_eq!(response.status, expected, "{}: {}", case.file, response.head);
            if expected == 502 {
                let ended = case.verdict[0] == "incomplete";
                assert_eq!(
                    response.error(),
                    if ended { "upstream-reset" } else { "bad-response" },
                    "{}",
                    case.file
                );
            } else {
                assert_eq!(response.error(), "", "{}", case.file);
            }
        }
        if case.status == ["-"] {
            // The head was good and is out: only the end of the connection can tell.
            assert!(client.any_response(method).is_none(), "{}: a broken body passed for whole", case.file);
        }
        if case.is_refused() && case.verdict[0] != "incomplete" {
            n_refused += 1;
            let closed = wait_for("the end of the endpoint's connection", || {
                closes.lock().unwrap().get(&case.file).copied()
            });
            assert!(closed, "{}: the connection was kept or used again", case.file);
        }
    }
    assert!(n_refused > 40, "only {n_refused} refused responses");
    isobar.assert_no_leak();
}
