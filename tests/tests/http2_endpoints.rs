//! Endpoints that speak HTTP/2: scripted ones frame by frame, and the proxy itself as the endpoint of another.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::mpsc;

use isobar_tests::http2::{END_HEADERS, END_STREAM, Http2, block, kind};
use isobar_tests::real::command;
use isobar_tests::{Isobar, Origin, one_service, wait_for};

const REFUSED_STREAM: [u8; 4] = [0, 0, 0, 7];
const GOAWAY_BEFORE_ALL: [u8; 8] = [0; 8];
const ONE_STREAM: [u8; 6] = [0, 3, 0, 0, 0, 1];
const POST: &str = "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\nbody";

fn start(origins: &[&Origin]) -> Isobar {
    let endpoints: Vec<_> = origins.iter().map(|origin| origin.address).collect();
    Isobar::start(&one_service(&endpoints, "", "protocol = \"h2\"\n"))
}

/// Answers every request with this body.
fn answering(body: &'static str, settings: &'static [u8]) -> Origin {
    Origin::start(move |visit| {
        let Some(mut peer) = Http2::accept(&visit.stream, settings) else { return };
        while let Some(stream) = peer.next_request() {
            peer.answer(stream, body);
        }
    })
}

#[test]
fn requests_of_all_callers_of_a_worker_share_a_connection() {
    let origin = answering("shared", &[]);
    let isobar = Isobar::start(&format!(
        "[runtime]\nworkers = 1\n{}",
        one_service(&[origin.address], "", "protocol = \"h2\"\n")
    ));
    for _ in 0..20 {
        assert_eq!(isobar.get("/").text(), "shared");
    }
    assert_eq!(origin.n_connections(), 1);
    isobar.assert_no_leak();
}

#[test]
fn another_connection_is_made_when_the_streams_of_one_are_in_use() {
    let (arrived, arrivals) = mpsc::channel();
    let arrived = std::sync::Mutex::new(arrived);
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let origin = Origin::start(move |visit| {
        let Some(mut peer) = Http2::accept(&visit.stream, &ONE_STREAM) else { return };
        while let Some(stream) = peer.next_request() {
            arrived.lock().unwrap().send(()).unwrap();
            released.lock().unwrap().recv().unwrap();
            peer.answer(stream, "one");
        }
    });
    let isobar = start(&[&origin]);
    let mut callers: Vec<_> = (0..3).map(|_| isobar.connect()).collect();
    for caller in &mut callers {
        caller.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
        arrivals.recv().unwrap();
    }
    for _ in 0..3 {
        release.send(()).unwrap();
    }
    for caller in &mut callers {
        assert_eq!(caller.response("GET").text(), "one");
    }
    assert_eq!(origin.n_connections(), 3);
    drop(callers);
    isobar.assert_no_leak();
}

#[test]
fn what_an_endpoint_has_not_begun_with_goes_elsewhere_whatever_its_method() {
    for goes_away in [false, true] {
        let refusing = Origin::start(move |visit| {
            let Some(mut peer) = Http2::accept(&visit.stream, &[]) else { return };
            while let Some(stream) = peer.next_request() {
                if goes_away {
                    peer.send(kind::GOAWAY, 0, 0, &GOAWAY_BEFORE_ALL);
                } else {
                    peer.send(kind::RST_STREAM, 0, stream, &REFUSED_STREAM);
                }
            }
        });
        let taking = answering("taken", &[]);
        let isobar = start(&[&refusing, &taking]);
        for _ in 0..6 {
            let mut caller = isobar.connect();
            caller.send(POST);
            assert_eq!(caller.response("POST").text(), "taken", "goes away: {goes_away}");
        }
        assert!(refusing.n_connections() > 0);
        isobar.assert_no_leak();
    }
}

#[test]
fn a_request_that_may_have_been_begun_is_not_sent_again() {
    let resetting = Origin::start(|visit| {
        let Some(mut peer) = Http2::accept(&visit.stream, &[]) else { return };
        while let Some(stream) = peer.next_request() {
            peer.send(kind::RST_STREAM, 0, stream, &[0, 0, 0, 2]);
        }
    });
    let isobar = start(&[&resetting]);
    let mut caller = isobar.connect();
    caller.send(POST);
    let answer = caller.response("POST");
    assert_eq!((answer.status, answer.error()), (502, "upstream-reset"));
    assert_eq!(isobar.count(&["isobar_attempts_total"]), 1);
}

#[test]
fn a_caller_that_leaves_resets_the_stream_and_leaves_the_connection() {
    let (told, codes) = mpsc::channel();
    let told = std::sync::Mutex::new(told);
    let origin = Origin::start(move |visit| {
        let Some(mut peer) = Http2::accept(&visit.stream, &[]) else { return };
        while let Some(stream) = peer.next_request() {
            told.lock().unwrap().send(None).unwrap();
            let reset = peer.wait_for(kind::RST_STREAM);
            assert_eq!(reset.stream, stream);
            told.lock().unwrap().send(Some(reset.code())).unwrap();
        }
    });
    let isobar = start(&[&origin]);
    for _ in 0..2 {
        let mut caller = isobar.connect();
        caller.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
        assert_eq!(codes.recv().unwrap(), None);
        drop(caller);
        assert_eq!(codes.recv().unwrap(), Some(8), "CANCEL");
    }
    isobar.assert_no_leak();
}

#[test]
fn a_reset_reaches_an_endpoint_that_takes_no_more_of_the_request() {
    /// What an endpoint takes that says nothing of its windows.
    const WINDOW: usize = 65_535;
    for answers in [false, true] {
        let (told, heard) = mpsc::channel();
        let told = std::sync::Mutex::new(told);
        let origin = Origin::start(move |visit| {
            let Some(mut peer) = Http2::accept(&visit.stream, &[]) else { return };
            let Some(stream) = peer.next_request() else { return };
            if answers {
                peer.send(kind::HEADERS, END_HEADERS, stream, &block(&[(":status", "200")]));
            }
            let mut n_taken = 0;
            while n_taken < WINDOW {
                n_taken += peer.wait_for(kind::DATA).payload.len();
            }
            told.lock().unwrap().send(None).unwrap();
            let reset = peer.wait_for(kind::RST_STREAM);
            told.lock().unwrap().send(Some((reset.stream == stream, reset.code()))).unwrap();
        });
        let isobar = start(&[&origin]);
        let mut caller = Http2::connect(isobar.listener("web"), &[]);
        caller.request(1, "POST", "/", &[], false);
        for piece in vec![b'x'; WINDOW].chunks(16_384) {
            caller.send(kind::DATA, 0, 1, piece);
        }
        assert_eq!(heard.recv().unwrap(), None);
        caller.send(kind::DATA, 0, 1, &[b'x'; 16_384]);
        // An answer to it shows that what came before was taken in.
        caller.send(kind::PING, 0, 0, &[0; 8]);
        while caller.wait_for(kind::PING).flags & 1 == 0 {}
        caller.send(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8]);
        assert_eq!(heard.recv().unwrap(), Some((true, 8)), "CANCEL");
        drop(caller);
        isobar.assert_no_leak();
    }
}

#[test]
fn a_connection_that_gave_no_answer_in_time_gets_no_other_request() {
    let origin = Origin::start(|visit| {
        let silent = visit.index == 0;
        let Some(mut peer) = Http2::accept(&visit.stream, &[]) else { return };
        while let Some(stream) = peer.next_request() {
            if !silent {
                peer.answer(stream, "awake");
            }
        }
    });
    let isobar = Isobar::start(&format!(
        "[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n[[routes]]\nservice = \"app\"\ntimeout = \"300ms\"\n\
         [services.app]\nprotocol = \"h2\"\nendpoints = [\"{}\"]\n[runtime]\nworkers = 1\n",
        origin.address
    ));
    assert_eq!(isobar.get("/").error(), "upstream-timeout");
    assert_eq!(isobar.get("/").text(), "awake");
    assert_eq!(origin.n_connections(), 2);
    isobar.assert_no_leak();
}

#[test]
fn an_answer_before_the_end_of_the_upload_is_not_lost() {
    let origin = Origin::start(|visit| {
        let Some(mut peer) = Http2::accept(&visit.stream, &[]) else { return };
        while let Some(stream) = peer.next_request() {
            peer.answer(stream, "enough");
            peer.send(kind::RST_STREAM, 0, stream, &[0; 4]);
        }
    });
    let isobar = start(&[&origin]);
    let mut caller = isobar.connect();
    caller.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 1000000\r\n\r\npart");
    assert_eq!(caller.response("POST").text(), "enough");
    drop(caller);
    isobar.assert_no_leak();
}

#[test]
fn trailers_and_informational_answers_come_through() {
    let origin = Origin::start(|visit| {
        let Some(mut peer) = Http2::accept(&visit.stream, &[]) else { return };
        while let Some(stream) = peer.next_request() {
            peer.send(kind::HEADERS, END_HEADERS, stream, &block(&[(":status", "103"), ("link", "</a>")]));
            peer.send(kind::HEADERS, END_HEADERS, stream, &block(&[(":status", "200")]));
            peer.send(kind::DATA, 0, stream, b"body");
            peer.send(kind::HEADERS, END_HEADERS | END_STREAM, stream, &block(&[("grpc-status", "0")]));
        }
    });
    let isobar = start(&[&origin]);
    let mut curl = command("curl");
    curl.args(["--silent", "--include", "--raw", &format!("http://{}/", isobar.listener("web"))]);
    let output = String::from_utf8_lossy(&curl.output().unwrap().stdout).into_owned();
    assert!(
        output.starts_with("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n"),
        "{output}"
    );
    assert!(output.ends_with("\r\n\r\n4\r\nbody\r\n0\r\ngrpc-status: 0\r\n\r\n"), "{output}");
}

#[test]
fn an_answer_that_is_cut_is_not_taken_for_a_whole_one() {
    let origin = Origin::start(|visit| {
        let Some(mut peer) = Http2::accept(&visit.stream, &[]) else { return };
        while let Some(stream) = peer.next_request() {
            peer.send(kind::HEADERS, END_HEADERS, stream, &block(&[(":status", "200")]));
            peer.send(kind::DATA, 0, stream, b"half");
            peer.send(kind::RST_STREAM, 0, stream, &[0, 0, 0, 2]);
        }
    });
    let isobar = start(&[&origin]);
    let mut curl = command("curl");
    curl.args(["--silent", &format!("http://{}/", isobar.listener("web"))]);
    let output = curl.output().unwrap();
    assert!(!output.status.success() || output.stdout.starts_with(b"upstream-reset"), "{output:?}");
}

#[test]
fn an_endpoint_that_speaks_http_1_is_found_out_before_it_gets_a_request() {
    let origin = Origin::answering("old");
    let isobar = start(&[&origin]);
    let answer = isobar.get("/");
    assert_eq!((answer.status, answer.error()), (502, "connect-failed"));
    wait_for("the operator's hint", || isobar.has_logged("no HTTP/2 with the endpoint").then_some(()));
}

/// The proxy before itself, so that both sides speak HTTP/2: a request through both, by curl.
fn through_both(protocol: &str, arguments: &[&str], path: &str) -> (bool, String) {
    let origin = Origin::echoing();
    let inner = Isobar::start(&one_service(&[origin.address], "", ""));
    let outer = Isobar::start(&one_service(&[inner.listener("web")], "", "protocol = \"h2\"\n"));
    let mut curl = command("curl");
    curl.args(["--silent", "--max-time", "60", protocol]).args(arguments);
    curl.arg(format!("http://{}{path}", outer.listener("web")));
    let output = curl.output().unwrap();
    outer.assert_no_leak();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn every_pair_of_protocols_carries_methods_and_bodies() {
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large");
    std::fs::write(&large, vec![b'x'; 3 << 20]).unwrap();
    let large = format!("@{}", large.display());
    for protocol in ["--http1.1", "--http2-prior-knowledge"] {
        let (ok, answer) = through_both(protocol, &[], "/a?b");
        assert!(ok && answer.starts_with("GET /a?b HTTP/1.1\r\n"), "{protocol}: {answer}");
        let (ok, answer) = through_both(protocol, &["--request", "DELETE"], "/");
        assert!(ok && answer.starts_with("DELETE / HTTP/1.1\r\n"), "{protocol}: {answer}");
        let (ok, _) = through_both(protocol, &["--head"], "/");
        assert!(ok, "{protocol}");
        let (ok, answer) = through_both(protocol, &["--data-binary", &large], "/");
        assert!(ok && answer.ends_with(&"x".repeat(3 << 20)), "{protocol}: {}", answer.len());
        let chunked = ["--header", "transfer-encoding: chunked", "--data-binary", &large];
        let chunked = if protocol == "--http1.1" { &chunked[..] } else { &chunked[2..] };
        let (ok, answer) = through_both(protocol, chunked, "/");
        assert!(ok && answer.ends_with(&"x".repeat(3 << 20)), "{protocol}: {}", answer.len());
    }
}
