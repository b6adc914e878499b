//! Callers that speak HTTP/2: curl for the main road, raw frames for everything that curl would not do.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::mpsc;
use std::time::Instant;

use isobar_tests::http2::{END_HEADERS, END_STREAM, Http2, block, kind, request_block};
use isobar_tests::real::{command, run};
use isobar_tests::{Isobar, Origin, one_service, wait_for};
use rustix::process::Signal;

const NO_ERROR: u32 = 0;
const PROTOCOL_ERROR: u32 = 1;
const CANCEL: [u8; 4] = [0, 0, 0, 8];
const ENHANCE_YOUR_CALM: u32 = 11;

fn start(origin: &Origin) -> Isobar {
    Isobar::start(&one_service(&[origin.address], "", ""))
}

fn curl(isobar: &Isobar, path: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut curl = command("curl");
    curl.args(["--silent", "--include", "--http2-prior-knowledge", "--max-time", "20"]).args(arguments);
    curl.arg(format!("http://{}{path}", isobar.listener("web")));
    let output = run_any(curl);
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn run_any(mut command: std::process::Command) -> std::process::Output {
    command.output().unwrap()
}

#[test]
fn a_request_of_curl_is_forwarded_and_logged_as_what_it_is() {
    let origin = Origin::echoing();
    let isobar = start(&origin);
    let (code, answer) =
        curl(&isobar, "/a?b", &["--header", "cookie: a=1", "--header", "x-own: 1", "--data", "body"]);
    assert_eq!(code, Some(0), "{answer}");
    assert!(answer.starts_with("HTTP/2 200"), "{answer}");
    let at = isobar.listener("web");
    assert!(answer.contains(&format!("POST /a?b HTTP/1.1\r\nhost: {at}\r\n")), "{answer}");
    for line in ["cookie: a=1\r\n", "x-own: 1\r\n", "content-length: 4\r\n", "via: 2.0 isobar\r\n"] {
        assert!(answer.contains(line), "{line} in {answer}");
    }
    assert!(answer.ends_with("\r\n\r\nbody"), "{answer}");
    isobar.assert_no_leak();
}

#[test]
fn a_body_without_a_length_and_trailers_pass_both_ways() {
    let origin = Origin::start(|visit| {
        while let Some(head) = visit.head() {
            assert!(head.to_lowercase().contains("transfer-encoding: chunked"), "{head}");
            let mut all = String::new();
            while !all.ends_with("0\r\nx-sum: 7\r\n\r\n") {
                all += &visit.line();
            }
            visit.send(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nback\r\n0\r\nx-late: 1\r\n\r\n",
            );
        }
    });
    let isobar = start(&origin);
    let mut caller = Http2::connect(isobar.listener("web"), &[]);
    caller.request(1, "POST", "/", &[], false);
    caller.send(kind::DATA, 0, 1, b"there");
    caller.send(kind::HEADERS, END_HEADERS | END_STREAM, 1, &block(&[("x-sum", "7")]));
    let head = caller.wait_for(kind::HEADERS);
    assert_eq!(head.flags & END_STREAM, 0);
    assert_eq!(caller.wait_for(kind::DATA).payload, b"back");
    let trailers = caller.wait_for(kind::HEADERS);
    assert_eq!(trailers.flags & END_STREAM, END_STREAM);
}

#[test]
fn an_informational_answer_comes_before_the_final_one() {
    let origin = Origin::start(|visit| {
        while visit.head().is_some() {
            visit.send("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n");
            visit.answer("x");
        }
    });
    let isobar = start(&origin);
    let (code, answer) = curl(&isobar, "/", &[]);
    assert_eq!(code, Some(0));
    assert!(answer.starts_with("HTTP/2 103") && answer.contains("\r\n\r\nHTTP/2 200"), "{answer}");
}

#[test]
fn streams_of_one_connection_do_not_wait_for_each_other() {
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let origin = Origin::start(move |visit| {
        while let Some(head) = visit.head() {
            if head.starts_with("GET /slow ") {
                released.lock().unwrap().recv().unwrap();
            }
            visit.answer(if head.starts_with("GET /slow ") { "slow" } else { "fast" });
        }
    });
    let isobar = start(&origin);
    let mut caller = Http2::connect(isobar.listener("web"), &[]);
    caller.request(1, "GET", "/slow", &[], true);
    caller.request(3, "GET", "/fast", &[], true);
    assert_eq!(caller.body(3), b"fast");
    release.send(()).unwrap();
    assert_eq!(caller.body(1), b"slow");
    drop(caller);
    isobar.assert_no_leak();
}

#[test]
fn a_reset_reaches_the_endpoint_while_it_works() {
    let (gone, heard) = mpsc::channel();
    let gone = std::sync::Mutex::new(gone);
    let origin = Origin::start(move |visit| {
        if visit.head().is_some() {
            gone.lock().unwrap().send(None).unwrap();
            assert!(visit.is_closed_by_peer());
            gone.lock().unwrap().send(Some(Instant::now())).unwrap();
        }
    });
    let isobar = start(&origin);
    let mut caller = Http2::connect(isobar.listener("web"), &[]);
    caller.request(1, "GET", "/", &[], true);
    assert_eq!(heard.recv().unwrap(), None);
    caller.send(kind::RST_STREAM, 0, 1, &CANCEL);
    assert!(heard.recv().unwrap().is_some());
    // The connection serves on.
    caller.request(3, "GET", "/", &[], true);
    assert_eq!(heard.recv().unwrap(), None);
    drop(caller);
    assert!(heard.recv().unwrap().is_some());
    isobar.assert_no_leak();
}

#[test]
fn an_answer_that_is_cut_ends_in_a_reset() {
    let origin = Origin::start(|visit| {
        visit.head();
        visit.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    });
    let isobar = start(&origin);
    let mut caller = Http2::connect(isobar.listener("web"), &[]);
    caller.request(1, "GET", "/", &[], true);
    loop {
        let frame = caller.next_frame().unwrap();
        assert!(!(frame.kind == kind::DATA && frame.flags & END_STREAM != 0), "taken for whole");
        if frame.kind == kind::RST_STREAM || (frame.kind == kind::HEADERS && frame.flags & END_STREAM != 0) {
            break;
        }
    }
}

#[test]
fn a_caller_that_takes_nothing_is_sent_its_window_and_no_more() {
    const WINDOW: [u8; 6] = [0, 4, 0, 0, 0, 100];
    let origin = Origin::start(|visit| {
        while visit.head().is_some() {
            visit.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 64 << 20));
            visit.send(vec![b'x'; 64 << 20]);
        }
    });
    let isobar = start(&origin);
    let before = isobar.memory_kib();
    let mut caller = Http2::connect(isobar.listener("web"), &WINDOW);
    caller.request(1, "GET", "/", &[], true);
    caller.wait_for(kind::HEADERS);
    assert_eq!(caller.wait_for(kind::DATA).payload.len(), 100);
    caller.send(kind::PING, 0, 0, &[7; 8]);
    // Nothing of the body comes before the answer to what was asked after it.
    while caller.next_frame().unwrap().kind != kind::PING {}
    assert!(isobar.memory_kib() < before + 16 * 1024, "{before} -> {}", isobar.memory_kib());
    caller.send(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 50]);
    assert_eq!(caller.wait_for(kind::DATA).payload.len(), 50);
}

#[test]
fn heads_that_a_caller_does_not_take_stop_it_from_asking_and_nothing_is_lost() {
    let field = "y".repeat(60_000);
    let origin = Origin::start(move |visit| {
        while visit.head().is_some() {
            visit.send(format!("HTTP/1.1 200 OK\r\nx-large: {field}\r\ncontent-length: 0\r\n\r\n"));
        }
    });
    let isobar = start(&origin);
    let mut caller = Http2::connect(isobar.listener("web"), &[]);
    // Some 6 MB of heads, more than sockets hold, of which none is read before the last was asked for.
    for place in 0..100 {
        caller.request(place * 2 + 1, "GET", "/", &[], true);
    }
    let mut answered = std::collections::BTreeSet::new();
    while answered.len() < 100 {
        answered.insert(caller.wait_for(kind::HEADERS).stream);
    }
    caller.request(201, "GET", "/", &[], true);
    assert_eq!(caller.wait_for(kind::HEADERS).stream, 201);
    drop(caller);
    isobar.assert_no_leak();
}

#[test]
fn what_is_malformed_is_reset_and_counted_and_the_connection_serves_on() {
    let origin = Origin::echoing();
    let isobar = start(&origin);
    let mut caller = Http2::connect(isobar.listener("web"), &[]);
    let malformed: &[&[(&str, &str)]] = &[
        &[("connection", "close")],
        &[("transfer-encoding", "chunked")],
        &[("host", "other")],
        &[("x-a", " padded")],
        &[("te", "gzip")],
    ];
    let mut stream = 1;
    for fields in malformed {
        caller.request(stream, "GET", "/", fields, true);
        let reset = caller.wait_for(kind::RST_STREAM);
        assert_eq!((reset.stream, reset.code()), (stream, PROTOCOL_ERROR), "{fields:?}");
        stream += 2;
    }
    for path in ["", "x", "http://test/", "/a b"] {
        caller.request(stream, "GET", path, &[], true);
        let reset = caller.wait_for(kind::RST_STREAM);
        assert_eq!((reset.stream, reset.code()), (stream, PROTOCOL_ERROR), "{path:?}");
        stream += 2;
    }
    caller.request(stream, "GET", "/", &[], true);
    assert!(String::from_utf8_lossy(&caller.body(stream)).starts_with("GET / HTTP/1.1\r\n"));
    assert!(isobar.count(&["isobar_http2_malformed_total"]) >= 2);
    assert_eq!(origin.heads().len(), 1);
}

#[test]
fn a_field_that_is_none_ends_the_connection() {
    let origin = Origin::echoing();
    let isobar = start(&origin);
    for field in [
        ("x-a", "1\r\nx-b: 2"),
        ("x-a", "1\n"),
        ("x-a", "\0"),
        (":late", "1"),
        ("x a", "1"),
        ("X-Upper", "1"),
    ] {
        let mut caller = Http2::connect(isobar.listener("web"), &[]);
        caller.request(1, "GET", "/", &[field], true);
        let refused = loop {
            match caller.next_frame() {
                Some(frame) if frame.kind == kind::HEADERS => break false,
                Some(frame) if [kind::GOAWAY, kind::RST_STREAM].contains(&frame.kind) => break true,
                Some(_) => {}
                None => break true,
            }
        };
        assert!(refused, "{field:?}");
    }
    assert_eq!(origin.heads().len(), 0);
}

#[test]
fn a_length_that_the_data_does_not_have_is_no_request() {
    let origin = Origin::echoing();
    let isobar = start(&origin);
    for (length, data) in [("3", "four"), ("5", "four")] {
        let mut caller = Http2::connect(isobar.listener("web"), &[]);
        caller.request(1, "POST", "/", &[("content-length", length)], false);
        caller.send(kind::DATA, END_STREAM, 1, data.as_bytes());
        assert_eq!(caller.wait_for(kind::RST_STREAM).code(), PROTOCOL_ERROR, "{length}");
    }
}

#[test]
fn extended_connect_is_offered_and_connect_without_a_protocol_refused() {
    let origin = Origin::echoing();
    let isobar = start(&origin);
    let mut caller = Http2::connect(isobar.listener("web"), &[]);
    let settings = caller.wait_for(kind::SETTINGS);
    let enables = settings.payload.chunks(6).any(|setting| setting[..2] == [0, 8]);
    assert!(enables);
    let fields = block(&[(":method", "CONNECT"), (":authority", "test:80")]);
    caller.send(kind::HEADERS, END_HEADERS, 1, &fields);
    caller.wait_for(kind::HEADERS);
    assert_eq!(isobar.count(&["isobar_requests_total", "not-implemented"]), 1);
}

#[test]
fn a_stop_lets_streams_finish_and_takes_no_more() {
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let origin = Origin::start(move |visit| {
        while visit.head().is_some() {
            released.lock().unwrap().recv().unwrap();
            visit.answer("late");
        }
    });
    let mut isobar = start(&origin);
    let mut caller = Http2::connect(isobar.listener("web"), &[]);
    caller.request(1, "GET", "/", &[], true);
    wait_for("the request", || (!origin.heads().is_empty()).then_some(()));
    isobar.signal(Signal::TERM);
    let goaway = caller.wait_for(kind::GOAWAY);
    assert_eq!(goaway.code(), NO_ERROR);
    // The library asks whether the caller has seen it.
    let ping = caller.wait_for(kind::PING);
    caller.send(kind::PING, 1, 0, &ping.payload);
    release.send(()).unwrap();
    assert_eq!(caller.body(1), b"late");
    assert_eq!(caller.last_words().map(|frame| frame.code()), None);
    assert_eq!(isobar.wait().code(), Some(0));
}

/// The nth piece of a flood.
type Piece = Box<dyn Fn(u32) -> Vec<u8>>;

/// Sends `piece` until the proxy ends the connection, at most `n` times.
fn flood(isobar: &Isobar, n: usize, piece: impl Fn(u32) -> Vec<u8>) -> Option<u32> {
    let mut caller = Http2::connect(isobar.listener("web"), &[]);
    for n in 0..n as u32 {
        if !caller.raw(&piece(n)) {
            break;
        }
    }
    caller.last_words().map(|frame| frame.code())
}

#[test]
fn a_flood_ends_its_connection_alone_and_is_counted() {
    use isobar_tests::http2::frame;
    let origin = Origin::answering("served");
    let isobar = start(&origin);
    let mut other = Http2::connect(isobar.listener("web"), &[]);
    let get = request_block("GET", "/", &[]);
    let floods: [(&str, Piece); 6] = [
        ("ping-flood", Box::new(|_| frame(kind::PING, 0, 0, &[0; 8]))),
        ("ping-flood", Box::new(|_| frame(kind::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1]))),
        ("idle-flood", Box::new(|_| frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 0, 1]))),
        ("idle-flood", Box::new(|_| frame(77, 0, 0, &[]))),
        (
            "reset-flood",
            Box::new(move |n| {
                let stream = n * 2 + 1;
                [
                    frame(kind::HEADERS, END_HEADERS | END_STREAM, stream, &get),
                    frame(kind::RST_STREAM, 0, stream, &CANCEL),
                ]
                .concat()
            }),
        ),
        (
            "other-flood",
            Box::new(|n| {
                if n == 0 {
                    frame(kind::HEADERS, 0, 1, &request_block("GET", "/", &[]))
                } else {
                    frame(kind::CONTINUATION, 0, 1, &block(&[("x", &"y".repeat(4000))]))
                }
            }),
        ),
    ];
    let mut expected = std::collections::BTreeMap::new();
    for (reason, piece) in floods {
        let code = flood(&isobar, 20_000, piece);
        // A reset of the socket may overtake the last words.
        assert!(matches!(code, None | Some(ENHANCE_YOUR_CALM | PROTOCOL_ERROR)), "{reason}: {code:?}");
        *expected.entry(reason).or_insert(0) += 1;
        let label = format!("reason=\"{reason}\"");
        wait_for(reason, || {
            let n = isobar.count(&["isobar_http2_connections_closed_total", &label]);
            (n == expected[reason]).then_some(())
        });
    }
    other.request(1, "GET", "/", &[], true);
    assert_eq!(other.body(1), b"served");
    drop(other);
    isobar.assert_no_leak();
}

#[test]
fn a_head_over_the_listener_s_limits_is_refused() {
    let origin = Origin::echoing();
    let isobar = start(&origin);
    for (arguments, status) in [
        (vec!["--header".to_owned(), format!("x: {}", "y".repeat(40_000))], "431"),
        ((0..120).flat_map(|n| ["--header".to_owned(), format!("x-{n}: y")]).collect(), "431"),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (_, answer) = curl(&isobar, "/", &arguments);
        assert!(answer.starts_with(&format!("HTTP/2 {status}")), "{answer}");
    }
    let (_, answer) = curl(&isobar, &format!("/{}", "p".repeat(9000)), &[]);
    assert!(answer.starts_with("HTTP/2 414"), "{answer}");
}

#[test]
fn h2load_is_served_on_many_streams_at_once() {
    let origin = Origin::answering("served");
    // Streams in progress are connections to this endpoint, whose queue holds some hundred.
    let isobar = Isobar::start(&one_service(&[origin.address], "", "connect_timeout = \"10s\"\n"));
    let mut load = command("h2load");
    load.args(["--requests=5000", "--clients=2", "--max-concurrent-streams=40"]);
    load.arg(format!("http://{}/", isobar.listener("web")));
    let report = String::from_utf8_lossy(&run(load).stdout).into_owned();
    assert!(report.contains("5000 succeeded, 0 failed, 0 errored"), "{report}");
    isobar.assert_no_leak();
}
