//! Starts that cannot work, stops under load, and resources that run out.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use isobar_tests::{Client, Isobar, Origin, one_service, wait_for};
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\nbody";

/// Callers that send at the same time.
const N_CALLERS: usize = 8;

/// Descriptors that the starved proxy may have.
const N_DESCRIPTORS: u64 = 64;

/// What a load saw.
#[derive(Default)]
struct Tally {
    answered: AtomicUsize,
    lost: AtomicUsize,
    wrong: AtomicUsize,
}

/// Sends on one kept connection until the proxy says that it closes it.
fn call_until_closed(isobar: &Isobar, request: &str, tally: &Tally) {
    let mut client = isobar.connect();
    loop {
        client.send(request);
        match client.any_response("GET") {
            None => {
                tally.lost.fetch_add(1, Ordering::SeqCst);
                return;
            }
            Some(response) if response.status != 200 => {
                tally.wrong.fetch_add(1, Ordering::SeqCst);
            }
            Some(response) => {
                tally.answered.fetch_add(1, Ordering::SeqCst);
                if response.header("connection").is_some_and(|value| value == "close") {
                    assert!(client.is_closed_by_peer());
                    return;
                }
            }
        }
    }
}

/// Sends with a connection for each request until told to stop.
fn call_anew_until(stop: &AtomicBool, isobar: &Isobar, tally: &Tally) {
    while !stop.load(Ordering::SeqCst) {
        let mut client = isobar.connect();
        client.send(POST);
        let seen = match client.any_response("POST") {
            None => &tally.lost,
            Some(response) if response.status != 200 => &tally.wrong,
            Some(_) => &tally.answered,
        };
        seen.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_stop_under_load_fails_no_request_and_exits_0() {
    let origins = [Origin::echoing(), Origin::echoing()];
    let service = one_service(&[origins[0].address, origins[1].address], "", "");
    let mut isobar = Isobar::start(&format!("[runtime]\nworkers = 2\nshutdown_delay = \"1s\"\n{service}"));
    let (tally, told_to_go) = (Tally::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (isobar, tally, told_to_go) = (&isobar, &tally, &told_to_go);
        for n in 0..N_CALLERS {
            let request = if n % 2 == 0 { GET } else { POST };
            scope.spawn(move || call_until_closed(isobar, request, tally));
            scope.spawn(move || call_anew_until(told_to_go, isobar, tally));
        }
        wait_for("load", || (tally.answered.load(Ordering::SeqCst) > 500).then_some(()));
        assert_eq!(isobar.admin("/readyz").status, 200);
        isobar.signal(Signal::TERM);
        wait_for("/readyz to say so", || (isobar.admin("/readyz").status == 503).then_some(()));
        // Not ready, but still accepting: that is what the delay is for.
        assert_eq!(isobar.get("/").status, 200);
        told_to_go.store(true, Ordering::SeqCst);
    });
    assert_eq!(isobar.wait().code(), Some(0), "{}", isobar.log_text());
    let counts = [&tally.lost, &tally.wrong].map(|count| count.load(Ordering::SeqCst));
    assert_eq!(counts, [0, 0], "lost and wrong of {} requests", tally.answered.load(Ordering::SeqCst));
    assert!(!isobar.has_logged("connections were cut"));
}

#[test]
fn a_request_in_flight_at_a_stop_is_finished_and_its_connection_closed() {
    let (go, told) = std::sync::mpsc::channel::<()>();
    let told = std::sync::Mutex::new(told);
    let origin = Origin::start(move |visit| {
        visit.head();
        told.lock().unwrap().recv().unwrap();
        visit.answer("late");
    });
    let mut isobar = Isobar::start(&one_service(&[origin.address], "", ""));
    let mut client = isobar.connect();
    client.send(GET);
    wait_for("the request to arrive", || (origin.heads().len() == 1).then_some(()));
    isobar.signal(Signal::TERM);
    wait_for("draining", || isobar.has_logged("\"draining\"").then_some(()));
    go.send(()).unwrap();
    let response = client.response("GET");
    assert_eq!((response.text().as_str(), response.header("connection")), ("late", Some("close")));
    assert!(client.is_closed_by_peer());
    assert_eq!(isobar.wait().code(), Some(0));
}

#[test]
fn a_request_that_outlasts_the_grace_is_cut_and_the_exit_is_still_0() {
    let origin = Origin::start(|visit| {
        visit.head();
        visit.is_closed_by_peer();
    });
    let service = one_service(&[origin.address], "", "");
    let mut isobar = Isobar::start(&format!("[runtime]\nshutdown_grace = \"100ms\"\n{service}"));
    let mut client = isobar.connect();
    client.send(GET);
    wait_for("the request to arrive", || (origin.heads().len() == 1).then_some(()));
    isobar.signal(Signal::TERM);
    assert!(client.any_response("GET").is_none());
    assert_eq!(isobar.wait().code(), Some(0));
    assert!(isobar.has_logged("connections were cut"));
}

/// Starts with this configuration, which must fail with exit code 1 and a log that has every one of these texts.
fn assert_start_fails(config: &str, texts: &[&str]) {
    let mut isobar = Isobar::launch(config, |command| command).expect_errors();
    assert_eq!(isobar.wait().code(), Some(1), "{}", isobar.log_text());
    for text in texts {
        wait_for(text, || isobar.has_logged(text).then_some(()));
    }
    assert!(!isobar.has_logged("panicked"), "{}", isobar.log_text());
}

#[test]
fn a_port_in_use_is_named_at_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = one_service(&[taken.local_addr().unwrap()], "", "").replace("127.0.0.1:0", &address);
    assert_start_fails(&config, &["cannot listen on", &address, "web", "another process listens there"]);
}

#[test]
fn a_log_that_cannot_be_written_is_named_at_the_start() {
    for path in ["absent/folder/access.log", "/"] {
        let service = one_service(&[([127, 0, 0, 1], 9).into()], "", "");
        assert_start_fails(&format!("access_log = {{ to = \"{path}\" }}\n{service}"), &[path]);
    }
}

#[test]
fn a_name_that_does_not_resolve_is_named_at_the_start() {
    let config = one_service(&[([127, 0, 0, 1], 9).into()], "", "")
        .replace("127.0.0.1:9\"", "no-such-name.invalid:80\"");
    assert_start_fails(&config, &["no-such-name.invalid", "app"]);
}

#[test]
fn without_descriptors_kept_connections_are_served_and_new_ones_once_others_close() {
    // One worker accepts by itself, several have an acceptor beside them.
    for workers in [1, 2] {
        starve_and_recover(workers);
    }
}

fn starve_and_recover(workers: usize) {
    let origin = Origin::answering("ok");
    let service = one_service(&[origin.address], "", "");
    let isobar = Isobar::start(&format!("[runtime]\nworkers = {workers}\n{service}"));
    let mut kept = isobar.connect();
    kept.send(GET);
    assert_eq!(kept.response("GET").status, 200);
    let pid = Pid::from_raw(i32::try_from(isobar.pid()).unwrap()).unwrap();
    let starved = Rlimit { current: Some(N_DESCRIPTORS), maximum: Some(N_DESCRIPTORS) };
    prlimit(Some(pid), Resource::Nofile, starved).unwrap();
    let crowd: Vec<Client> = (0..2 * N_DESCRIPTORS).map(|_| isobar.connect()).collect();
    wait_for("the proxy to run out", || {
        isobar.has_logged("no more connections can be accepted").then_some(())
    });
    for request in [GET, POST, GET] {
        kept.send(request);
        assert_eq!(kept.response("GET").status, 200, "a kept connection was not served");
    }
    drop(crowd);
    assert_eq!(isobar.get("/").status, 200);
    assert!(isobar.metric(&["isobar_accepts_exhausted_total"]) > 0.0);
    drop(kept);
    isobar.assert_no_leak();
    assert!(!isobar.has_logged("panicked"), "{}", isobar.log_text());
}

#[test]
fn a_full_disk_under_the_access_log_costs_lines_and_no_request() {
    let origin = Origin::answering("ok");
    let service = one_service(&[origin.address], "", "");
    let isobar = Isobar::start(&format!("access_log = {{ to = \"/dev/full\" }}\n{service}")).expect_errors();
    wait_for("lines to be lost", || {
        assert_eq!(isobar.get("/").text(), "ok");
        (isobar.metric(&["isobar_access_log_lines_lost_total"]) > 0.0).then_some(())
    });
    assert_eq!(isobar.get("/").text(), "ok");
    isobar.assert_no_leak();
}
