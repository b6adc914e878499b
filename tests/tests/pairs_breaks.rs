//! Every pair of protocols: whoever breaks off, at whatever point, the other side sees an end that is none of a whole message,
//! and nothing is left in flight.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use isobar_tests::http2::{END_HEADERS, END_STREAM, block, frame, kind, request_block};
use isobar_tests::pairs::{Body, Exchange, Pair, Part, Sending, Side, Stage, Version, play, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// What one side has sent when it breaks off.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// An endpoint that tells of every exchange: that it began, and when its caller was gone.
fn telling() -> (Part, mpsc::Receiver<Option<Instant>>) {
    let (tell, told) = mpsc::channel();
    let part = Part::of(move |mut exchange: Exchange| {
        let tell = tell.clone();
        async move {
            tell.send(None).ok()?;
            if exchange.head.path.ends_with("/stuck") && matches!(exchange.sending, Sending::Http1(_)) {
                // To hear of the end it would have to read.
                std::future::pending::<()>().await;
            }
            let path = exchange.head.path.clone();
            if path.ends_with("/head") || path.ends_with("/middle") {
                exchange.sending.head(200, &[], Body::Length(1000)).await.ok()?;
            }
            if path.ends_with("/middle") {
                exchange.sending.data(b"half").await.ok()?;
            }
            exchange.gone().await;
            tell.send(Some(Instant::now())).ok()?;
            None
        }
    });
    (part, told)
}

#[test]
#[expect(clippy::print_stdout, reason = "how long it took is reported, not judged")]
fn a_caller_that_breaks_off_is_seen_by_the_endpoint_at_once() {
    let (part, told) = telling();
    let stage = Stage::new(&part);
    let mut slowest = std::time::Duration::ZERO;
    for pair in Pair::all() {
        for point in ["asked", "upload", "head", "middle"] {
            play(async {
                let mut caller = stage.connect(pair).await;
                let body = if point == "upload" { Body::Length(1000) } else { Body::None };
                let method = if point == "upload" { "POST" } else { "GET" };
                let mut exchange = caller.begin(method, &format!("/{point}"), &[], body).await.unwrap();
                if point == "upload" {
                    exchange.sending.data(b"half").await.unwrap();
                }
                if point == "head" || point == "middle" {
                    assert_eq!(exchange.receiving.head().await.unwrap().status, 200, "{pair} {point}");
                }
                if point == "middle" {
                    assert_eq!(&exchange.receiving.data().await.unwrap().unwrap()[..], b"half", "{pair}");
                }
                let mut next = None;
                until("the request to arrive", || {
                    next = told.try_recv().ok();
                    next.is_some()
                })
                .await;
                assert_eq!(next, Some(None), "{pair} {point}");
                let began = Instant::now();
                exchange.reset();
                if pair.caller.version == Version::Http1 {
                    drop(caller);
                }
                until("the endpoint to hear of it", || {
                    next = told.try_recv().ok();
                    next.is_some()
                })
                .await;
                slowest = slowest.max(next.flatten().unwrap() - began);
                stage.settle().await;
            });
        }
    }
    println!("a caller's leaving is seen by the endpoint within {slowest:?}");
    assert_eq!(stage.isobar.count(&["isobar_requests_total", "bad-request"]), 0);
}

#[test]
fn a_caller_that_resets_an_upload_which_the_endpoint_does_not_take_is_seen() {
    let (part, told) = telling();
    let stage = Stage::new(&part);
    for pair in Pair::all().filter(|pair| pair.caller.version == Version::Http2) {
        play(async {
            let mut caller = stage.connect(pair).await;
            let mut exchange = caller.begin("POST", "/stuck", &[], Body::Length(1 << 30)).await.unwrap();
            let n_sent = AtomicUsize::new(0);
            let piece = vec![7; 64 << 10];
            let mut stalled = 0;
            let sending = async {
                while exchange.sending.data(&piece).await.is_ok() {
                    n_sent.fetch_add(1, Ordering::SeqCst);
                }
            };
            let mut last = 0;
            let stall = until("the upload to stall", || {
                let now = n_sent.load(Ordering::SeqCst);
                stalled = if now == last { stalled + 1 } else { 0 };
                last = now;
                now > 0 && stalled > 100
            });
            tokio::select! { () = sending => panic!("{pair}: all was taken"), () = stall => {} }
            assert_eq!(told.recv().unwrap(), None);
            exchange.reset();
            stage.settle().await;
            if pair.endpoint.version == Version::Http2 {
                until("the endpoint to hear of it", || told.try_recv().is_ok()).await;
            }
        });
    }
}

#[test]
fn a_request_that_is_cut_inside_its_head_never_begins() {
    let (part, told) = telling();
    let stage = Stage::new(&part);
    for side in Side::ALL {
        let whole: Vec<u8> = match side.version {
            Version::Http1 => b"GET /http1/x HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec(),
            Version::Http2 => [
                PREFACE,
                &frame(kind::SETTINGS, 0, 0, &[]),
                &frame(
                    kind::HEADERS,
                    END_HEADERS | END_STREAM,
                    1,
                    &request_block("GET", "/http1/x", &[("x-a", "b")]),
                ),
            ]
            .concat(),
        };
        for n in [0, 1, 10, whole.len() / 2, whole.len() - 1] {
            for resets in [false, true] {
                play(async {
                    let (line, mut stream) = stage.connect_raw(side).await;
                    stream.write_all(&whole[..n]).await.unwrap();
                    stream.flush().await.unwrap();
                    if resets {
                        line.reset_on_close();
                    }
                    drop((stream, line));
                    until("the connection to be over", || {
                        stage.isobar.metric(&["isobar_connections_open{"]) == 0.0
                    })
                    .await;
                });
            }
        }
    }
    assert!(told.try_recv().is_err(), "nothing began");
}

/// The points where an endpoint breaks off; the paths of the requests.
const POINTS: [&str; 4] = ["/nothing", "/head", "/middle", "/upload"];

#[test]
fn an_endpoint_that_breaks_off_is_seen_by_the_caller_as_that() {
    let stage = Stage::new(&Part::of(|mut exchange: Exchange| async move {
        let path = exchange.head.path.clone();
        if path.ends_with("/upload") {
            exchange.receiving.data().await.ok()?;
        }
        if path.ends_with("/head") || path.ends_with("/middle") {
            let body = if path.contains("open") { Body::Open } else { Body::Length(1000) };
            exchange.sending.head(200, &[], body).await.ok()?;
        }
        if path.ends_with("/middle") {
            exchange.sending.data(b"half").await.ok()?;
        }
        exchange.reset();
        None
    }));
    for pair in Pair::all() {
        for point in POINTS {
            for form in ["/told", "/open"] {
                play(async {
                    let mut caller = stage.connect(pair).await;
                    // Not idempotent, so that it is not tried again.
                    let mut exchange =
                        caller.begin("POST", &format!("{form}{point}"), &[], Body::Length(8)).await.unwrap();
                    // The answer may come, and the connection end, before all of it is sent.
                    let _ = exchange.sending.data(b"half").await;
                    if point != "/upload" {
                        let _ = exchange.sending.data(b"rest").await;
                        let _ = exchange.sending.end(&[]).await;
                    }
                    match exchange.answer().await {
                        Ok((head, _)) => {
                            assert_eq!(head.status, 502, "{pair} {form}{point}");
                            assert_eq!(head.field("x-isobar-error"), Some("upstream-reset"), "{pair}");
                        }
                        Err(_) => assert!(["/head", "/middle"].contains(&point), "{pair} {form}{point}"),
                    }
                    drop((exchange, caller));
                    stage.settle().await;
                });
            }
        }
    }
}

#[test]
fn an_endpoint_that_breaks_off_inside_its_head_has_not_answered() {
    let n_left = Arc::new(AtomicUsize::new(0));
    let cut = Arc::clone(&n_left);
    let stage = Stage::new(&Part::raw(move |mut stream, line, version| {
        let cut = cut.load(Ordering::SeqCst);
        async move {
            let mut came = Vec::new();
            let asked = |came: &[u8]| match version {
                Version::Http1 => came.ends_with(b"\r\n\r\n"),
                // The block has the path as it is, or packed; a frame of HEADERS is all that matters.
                Version::Http2 => frames(came).any(|kind| kind == kind::HEADERS),
            };
            if version == Version::Http2 {
                let settings = [frame(kind::SETTINGS, 0, 0, &[]), frame(kind::SETTINGS, 1, 0, &[])].concat();
                if stream.write_all(&settings).await.is_err() || stream.flush().await.is_err() {
                    return;
                }
            }
            while !asked(&came) {
                if stream.read_buf(&mut came).await.is_ok_and(|n| n > 0) {
                    continue;
                }
                return;
            }
            let whole = match version {
                Version::Http1 => b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec(),
                Version::Http2 => frame(
                    kind::HEADERS,
                    END_HEADERS | END_STREAM,
                    1,
                    &block(&[(":status", "200"), ("x-a", "b")]),
                ),
            };
            let n = whole.len() * cut / 4;
            // The proxy may be gone already: then there is nobody to mislead.
            let _ = stream.write_all(&whole[..n.min(whole.len() - 1)]).await;
            let _ = stream.flush().await;
            if cut % 2 == 1 {
                line.reset_on_close();
            }
        }
    }));
    for pair in Pair::all() {
        for cut in 0..=4 {
            n_left.store(cut, Ordering::SeqCst);
            play(async {
                let mut caller = stage.connect(pair).await;
                let mut exchange = caller.begin("POST", "/", &[], Body::Length(0)).await.unwrap();
                exchange.sending.end(&[]).await.unwrap();
                let (head, _) = exchange.answer().await.unwrap();
                assert_eq!(
                    (head.status, head.field("x-isobar-error")),
                    (502, Some("upstream-reset")),
                    "{pair} {cut}"
                );
                drop((exchange, caller));
                stage.settle().await;
            });
        }
    }
}

/// The kinds of the whole frames behind the preface.
fn frames(came: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut rest = came.get(PREFACE.len()..).unwrap_or_default();
    std::iter::from_fn(move || {
        let head = rest.get(..9)?;
        let len = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let kind = head[3];
        rest = rest.get(9 + len..)?;
        Some(kind)
    })
}
